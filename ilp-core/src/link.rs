//! The seam between a worker and one peer connection.
//!
//! A [`Link`] is a sans-IO adapter: frames and commands go in, events and frames come out. It runs inside the worker's own loop, so
//! it must not block, spawn, read a clock or draw random numbers.
//!
//! # Calling order
//!
//! [`start`](Link::start) once; then [`receive`](Link::receive), [`command`](Link::command) and [`tick`](Link::tick) in any order; last
//! [`closed`](Link::closed). Each call may push events and frames to its [`LinkOutput`]; the caller drains both after the call, or after
//! several calls. Frames must reach the socket in the order in which they were pushed.

use bytes::Bytes;
use ilp_oer::{Address, Amount, Condition, Fulfillment, Timestamp, TransferId};
use std::fmt::Debug;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A sans-IO adapter between a worker and one peer connection. See the [module](self) for the calling order.
pub trait Link: Debug + Send {
    /// The connection is open. A dialling link authenticates itself here.
    fn start(&mut self, now: Timestamp, out: &mut LinkOutput);
    /// One whole frame came in. Whatever it holds, it may cost at most this connection.
    fn receive(&mut self, frame: Bytes, now: Timestamp, out: &mut LinkOutput);
    /// The worker wants something sent.
    fn command(&mut self, command: LinkCommand, now: Timestamp, out: &mut LinkOutput);
    /// Time has passed: time out what has waited too long. Called about every 100 ms.
    fn tick(&mut self, now: Timestamp, out: &mut LinkOutput);
    /// The connection is gone: every request still pending ends with [`Answer::Lost`].
    fn closed(&mut self, out: &mut LinkOutput);
}

/// What one or several calls of a [`Link`] produced.
#[derive(Default)]
pub struct LinkOutput {
    /// For the worker, in order.
    pub events: Vec<LinkEvent>,
    /// For the socket, in order; flushed once after the caller has drained everything that was ready.
    pub frames: Vec<Bytes>,
    /// Set when the connection must be closed after `frames` were sent, with the reason for the log.
    pub close: Option<String>,
}

/// Without the frames: one of them may hold our token.
impl Debug for LinkOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let frames = format_args!("{} frames", self.frames.len());
        f.debug_struct("LinkOutput").field("events", &self.events).field("frames", &frames).field("close", &self.close).finish()
    }
}

/// The number of an incoming request on its connection; answers name it.
pub type RequestId = u32;

/// A number the worker gave to a request of its own; the answer brings it back.
pub type Tag = u64;

/// What a peer did, as the worker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The peer claims to be an account. Answered by [`LinkCommand::Accept`], [`LinkCommand::Refuse`] or [`LinkCommand::Redirect`]. Nothing else comes before it.
    Authenticate(Credentials),
    /// We dialled, and the peer has accepted us as one of its accounts.
    Authenticated {
        /// The address the peer gave this connection, where its protocol says one.
        address: Option<Address>,
    },
    /// An incoming conditional transfer.
    Prepare {
        /// To be answered by [`LinkCommand::Answer`].
        request: RequestId,
        /// The transfer.
        transfer: IncomingPrepare,
    },
    /// The peer fulfills a transfer that we sent it.
    Fulfill {
        /// To be answered by [`LinkCommand::Answer`].
        request: RequestId,
        /// Our outgoing transfer.
        id: TransferId,
        /// Not checked yet.
        fulfillment: Fulfillment,
    },
    /// The peer rejects a transfer that we sent it.
    Reject {
        /// To be answered by [`LinkCommand::Answer`].
        request: RequestId,
        /// Our outgoing transfer.
        id: TransferId,
        /// A whole, well-formed ILP error packet.
        reason: Bytes,
    },
    /// An incoming unconditional transfer.
    Transfer {
        /// To be answered by [`LinkCommand::Answer`].
        request: RequestId,
        /// The peer's id.
        id: TransferId,
        /// In the account's base unit.
        amount: Amount,
        /// When the peer stops waiting for an answer.
        expires_at: Option<Timestamp>,
        /// What came with it.
        payload: Payload,
    },
    /// A statement about a ledger account.
    Claim {
        /// To be answered by [`LinkCommand::Answer`].
        request: RequestId,
        /// What it says.
        claim: Claim,
    },
    /// A request without money.
    Message {
        /// To be answered by [`LinkCommand::Answer`].
        request: RequestId,
        /// What it asks.
        payload: Payload,
    },
    /// The end of a request of ours.
    Answered {
        /// As given in the command.
        tag: Tag,
        /// How it ended.
        answer: Answer,
    },
}

/// Who a peer says it is.
#[derive(Clone, Eq)]
pub struct Credentials {
    /// The protocol the peer was heard to speak; must be the account's configured one.
    pub protocol: PeerProtocol,
    /// The account's name as the peer gave it; any bytes.
    pub account: Vec<u8>,
    /// The secret, wiped when dropped.
    pub token: Zeroizing<Vec<u8>>,
    /// The account it wants to talk to; empty for the connector itself.
    pub target: Vec<u8>,
    /// The SHA-256 of the key in the certificate that the connection has shown; filled in by the driver, which knows the transport.
    pub certificate: Option<[u8; 32]>,
}

/// The tokens are compared in constant time.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let Self { protocol, account, token, target, certificate } = self;
        let same = (*protocol, account, target, certificate) == (other.protocol, &other.account, &other.target, &other.certificate);
        bool::from(token.ct_eq(&other.token)) && same
    }
}

impl Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("protocol", &self.protocol)
            .field("account", &String::from_utf8_lossy(&self.account))
            .finish_non_exhaustive()
    }
}

/// The wire protocol of a peer. The same bytes mean different things in different protocols, so it is never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerProtocol {
    /// CLP with named sub-protocols and our setup.
    Clp,
    /// CLP with numbered sub-protocols (the seed's dialect) and our setup.
    ClpSeed,
    /// CLP as the JavaScript node of 2017 speaks it: name and token in the path, no setup.
    Clp2017,
}

impl PeerProtocol {
    /// Whether the peer recognises a repeated prepare, fulfill or reject. One that doesn't is never sent anything twice.
    pub fn dedupes(self) -> bool {
        !matches!(self, Self::Clp2017)
    }

    /// The name used in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clp => "clp",
            Self::ClpSeed => "clp-seed",
            Self::Clp2017 => "clp-2017",
        }
    }
}

/// An incoming conditional transfer, as its sender wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingPrepare {
    /// The sender's id.
    pub id: TransferId,
    /// In the account's base unit.
    pub amount: Amount,
    /// SHA-256 of the fulfillment.
    pub condition: Condition,
    /// From this instant on it can't be fulfilled.
    pub expires_at: Timestamp,
    /// What it carries.
    pub payload: Payload,
}

/// The first entry of a request's protocol data: it alone decides what the request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What `data` is.
    pub protocol: SubProtocol,
    /// The entry's octets, uninterpreted.
    pub data: Bytes,
}

impl Payload {
    /// A payload without any entry.
    pub const EMPTY: Self = Self { protocol: SubProtocol::None, data: Bytes::new() };

    /// A whole ILP packet.
    pub fn ilp(packet: Bytes) -> Self {
        Self { protocol: SubProtocol::Ilp, data: packet }
    }
}

/// The sub-protocols, whatever a dialect calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubProtocol {
    /// No entry at all.
    None,
    /// 1: any ILP or ILQP packet.
    Ilp,
    /// 2: ILP payments only.
    Payment,
    /// 3: quotes only.
    Ilqp,
    /// 4: reconcile.
    Reconcile,
    /// 5: how much may still be sent.
    Liquidity,
    /// `info` of 2017.
    Info,
    /// `balance` of 2017.
    Balance,
    /// `vouch` of 2017, or setup 0.3.
    Vouch,
    /// Announcements of routes.
    Ccp,
    /// Anything else.
    Other,
}

/// What a peer states about a ledger account. It is kept, and has no effect as long as there is no ledger that could prove or use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it states.
    pub kind: ClaimKind,
    /// The ledger account, as the peer writes it: an ILP address (`vouch`), or `coin/network/wallet` (setup 0.3).
    pub subject: String,
    /// What is to prove it; not checked.
    pub proof: Bytes,
}

/// The kinds of [`Claim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimKind {
    /// The ledger account is the peer's.
    Mine,
    /// Transfers to that account reach it.
    ReachMe,
    /// What it stated about that account holds no more.
    RollBack,
}

/// How a request of ours ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The peer has it.
    Ack,
    /// The peer answered with content.
    Response(Payload),
    /// The peer refused it; a whole ILP error packet.
    Error(Bytes),
    /// Nothing came in time, or what came was malformed. Says nothing about what the peer did.
    TimedOut,
    /// The connection closed first. Says nothing about what the peer did.
    Lost,
}

/// What the worker wants of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkCommand {
    /// The credentials were right. `address` is that of this connection.
    Accept {
        /// The peer's address at this connector.
        address: Address,
    },
    /// The credentials were wrong, in whatever way: say so in one form for all of them, then close.
    Refuse,
    /// The credentials were right, but the account connects elsewhere: say so, then close.
    Redirect {
        /// For people: where the peer has to connect, or that it isn't known.
        why: String,
    },
    /// A conditional transfer to the peer.
    Prepare {
        /// Comes back with the answer.
        tag: Tag,
        /// Ours.
        id: TransferId,
        /// In the account's base unit.
        amount: Amount,
        /// SHA-256 of the fulfillment.
        condition: Condition,
        /// As the peer shall see it.
        expires_at: Timestamp,
        /// A whole ILP packet, sent as sub-protocol `ilp`.
        packet: Bytes,
    },
    /// Fulfills a transfer of the peer's.
    Fulfill {
        /// Comes back with the answer.
        tag: Tag,
        /// The peer's.
        id: TransferId,
        /// The preimage.
        fulfillment: Fulfillment,
    },
    /// Rejects a transfer of the peer's.
    Reject {
        /// Comes back with the answer.
        tag: Tag,
        /// The peer's.
        id: TransferId,
        /// A whole ILP error packet.
        reason: Bytes,
    },
    /// Answers a request of the peer's.
    Answer {
        /// Which.
        request: RequestId,
        /// With what; `TimedOut` and `Lost` are ignored.
        answer: Answer,
    },
    /// Close after what was sent before.
    Close {
        /// For the log.
        reason: String,
    },
}
