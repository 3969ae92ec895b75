//! How an exchange starts, and what it allows.

use crate::session::SessionConfig;
use crate::setup::{Credentials, SetupConfig};
use ilp_oer::Address;
use ilp_oer::clp::Dialect;

/// How an exchange starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// The packets' settings.
    pub session: SessionConfig,
    /// Our address and protocols.
    pub setup: SetupConfig,
    /// Whether the peer recognises what it has seen before. Not in the 2017 form: such a peer never gets anything twice.
    pub peer_dedupes: bool,
    /// How much and how long.
    pub limits: ExchangeLimits,
}

/// What a peer may use of memory and time, and how long we wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Longest wait for the answer to a message or an unconditional transfer. Default 30 s.
    pub answer_ms_max: i64,
    /// Conditional transfers that expire later than this are refused, in both directions. Default 5 min.
    pub hold_ms_max: i64,
    /// How long after its expiry a fulfill is still taken, because it may have been on its way. Default 1 s.
    pub grace_ms: i64,
    /// After this time an unacknowledged fulfill or reject is sent again, to peers that dedupe. Default 2 s.
    pub retry_ms: i64,
    /// How long an unconditional transfer is remembered, so that its repetition isn't taken for another. Default 2 min.
    pub remember_ms: i64,
    /// Requests that the handler works on at once. Default 256.
    pub handling_max: usize,
    /// Transfers that are under way or remembered, for each direction. Default 100,000, a few hundred bytes each.
    pub transfers_max: usize,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self {
            answer_ms_max: 30_000,
            hold_ms_max: 300_000,
            grace_ms: 1_000,
            retry_ms: 2_000,
            remember_ms: 120_000,
            handling_max: 256,
            transfers_max: 100_000,
        }
    }
}

impl ExchangeConfig {
    /// The usual settings, at this address.
    pub fn new(address: Address) -> Self {
        Self { session: SessionConfig::default(), setup: SetupConfig::new(address), peer_dedupes: true, limits: ExchangeLimits::default() }
    }

    /// The settings for a peer of 2017: named dialect, short errors, nothing sent twice.
    pub fn new_2017(address: Address) -> Self {
        let mut config = Self::new(address);
        config.session.dialect = Some(Dialect::Named);
        config.session.short_errors = true;
        config.peer_dedupes = false;
        config
    }
}

/// The other end, and which form of CLP it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// We dial, and authenticate by setup 0.1.
    Client(Credentials),
    /// We were dialled, and the peer authenticates by setup 0.1.
    Server,
    /// We dial a node of 2017.
    Client2017,
    /// We were dialled by a peer of 2017, with these credentials in the path.
    Server2017(Credentials),
}
