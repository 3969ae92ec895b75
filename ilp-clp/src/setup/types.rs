//! What setup is told, and what it tells.

use super::{Credentials, Protocols};
use crate::InterledgerError;
use ilp_oer::Address;
use thiserror::Error;

/// What a side of a connection says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupConfig {
    /// Our ILP address: the origin of the errors we send.
    pub address: Address,
    /// What we list in setup 0.2.
    pub protocols: Protocols,
    /// How long the peer may take to authenticate, and to answer our setup requests. Default 10 s.
    pub timeout_ms: i64,
}

impl SetupConfig {
    /// The usual protocols and times, at this address.
    pub fn new(address: Address) -> Self {
        Self { address, protocols: Protocols::default(), timeout_ms: 10_000 }
    }
}

/// What the start of a connection brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupEvent {
    /// Server: a peer claims to be an account. Answer with [`Setup::accept`](super::Setup::accept) or [`Setup::refuse`](super::Setup::refuse).
    Authenticate(Credentials),
    /// Client: the server has accepted us. Requests may be sent from now on.
    Authenticated {
        /// Our address on this connection, where the server says one.
        address: Option<Address>,
    },
    /// Both have listed their protocols: this is what they have in common.
    Negotiated(Protocols),
    /// The peer states that a wallet is its own (setup 0.3). To be acknowledged, which says that we heard it, no more.
    Claim {
        /// What to answer.
        request: u32,
        /// Such as `XRP`.
        coin: String,
        /// Such as `test`.
        network: String,
        /// The wallet.
        wallet: String,
        /// Not checked.
        proof: Vec<u8>,
    },
    /// The connection is of no use and has to be closed.
    Failed(SetupFailure),
}

/// Why a connection never came to be of use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetupFailure {
    /// The server refused our token or our account.
    #[error("the server refused us: {0}")]
    Refused(InterledgerError),
    /// Our own credentials can't be sent, being too long.
    #[error("the credentials are too long")]
    Credentials,
    /// The server's answer isn't one to authenticate, or can't be read.
    #[error("the server's answer to setup is none")]
    Unexpected,
    /// The peer said nothing of use in time.
    #[error("the peer did not authenticate in time")]
    TimedOut,
    /// The connection ended.
    #[error("the connection was closed during setup")]
    Closed,
}
