//! What an application sends and gets back.

use crate::{InterledgerError, ProtocolBuffer};
use ilp_oer::{Amount, Condition, Fulfillment, Timestamp, TransferId};
use thiserror::Error;

/// What a request moves. Combinations that make no sense can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Nothing: a message.
    None,
    /// An amount, at once and without condition. Only to peers that take packet type 8.
    Pay {
        /// In base units of the account.
        amount: Amount,
    },
    /// The same, with a time after which the sender doesn't wait for an answer any more. The money has moved all the same.
    PayBy {
        /// In base units of the account.
        amount: Amount,
        /// When the sender stops waiting.
        expires_at: Timestamp,
    },
    /// An amount that moves if the fulfillment of the condition comes before the expiry.
    Conditional {
        /// In base units of the account.
        amount: Amount,
        /// SHA-256 of the fulfillment.
        condition: Condition,
        /// From then on it can't be fulfilled.
        expires_at: Timestamp,
    },
}

/// What came back from a request that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The peer has it, and says nothing more.
    Acked {
        /// What came with it; usually nothing.
        data: ProtocolBuffer,
    },
    /// The conditional transfer was fulfilled; the fulfillment has been checked.
    Fulfilled {
        /// The preimage of the condition.
        fulfillment: Fulfillment,
        /// What came with it.
        data: ProtocolBuffer,
    },
    /// The peer answered with content.
    Response {
        /// The content.
        data: ProtocolBuffer,
    },
}

impl Reply {
    /// What came with it.
    pub fn data(&self) -> &ProtocolBuffer {
        match self {
            Self::Acked { data } | Self::Fulfilled { data, .. } | Self::Response { data } => data,
        }
    }
}

/// Why a request failed: here, or at the peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// An error occurred here. If the request had left, this says nothing about what the peer did with it.
    #[error(transparent)]
    Local(#[from] LocalFailure),
    /// An error came back.
    #[error("the peer answered {error}")]
    Remote {
        /// The ILP error.
        error: InterledgerError,
        /// In which packet.
        via: Via,
        /// What came with it.
        data: ProtocolBuffer,
    },
}

impl Failure {
    /// What came with it; nothing if the failure is local.
    pub fn data(&self) -> &ProtocolBuffer {
        static NOTHING: ProtocolBuffer = ProtocolBuffer::EMPTY;
        match self {
            Self::Local(_) => &NOTHING,
            Self::Remote { data, .. } => data,
        }
    }
}

/// The packet in which an error came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An Error: the request was refused at once.
    Error,
    /// A Reject: the transfer was taken first.
    Reject,
}

/// What went wrong on this side.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LocalFailure {
    /// It can't be written down. Nothing was sent.
    #[error("cannot send: {0}")]
    SendFailed(String),
    /// The peer has not negotiated unconditional transfers. Nothing was sent.
    #[error("the peer does not take unconditional transfers")]
    NotNegotiated,
    /// The transfer has expired, or expires too far ahead. Nothing was sent.
    #[error("expires in {left_ms} ms; it must be more than 0 and at most {max_ms}")]
    Expiry {
        /// From now to its expiry.
        left_ms: i64,
        /// Longest hold.
        max_ms: i64,
    },
    /// A transfer with this id is under way or was decided a moment ago. Nothing was sent.
    #[error("the transfer id is in use")]
    IdInUse,
    /// Too many requests are under way. Nothing was sent.
    #[error("too many requests are under way")]
    Overloaded,
    /// Nothing was heard in time.
    #[error("nothing was heard in time")]
    TimedOut,
    /// The answer could not be read.
    #[error("the answer could not be read")]
    Malformed,
    /// The peer sent a fulfillment of another condition. It was told so; nothing is owed.
    #[error("the fulfillment was wrong")]
    WrongFulfillment,
    /// The connection was closed.
    #[error("the connection was closed")]
    Closed,
}

/// A request of the peer's, for the application's handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerRequest {
    /// What it is about.
    pub data: ProtocolBuffer,
    /// What it moves.
    pub transfer: Transfer,
    /// The peer's id of the transfer, if it moves anything. The same transfer is never handed out twice.
    pub transfer_id: Option<TransferId>,
}

/// What a handler answers when all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandlerReply {
    /// Needed for a conditional transfer, and only then.
    pub fulfillment: Option<Fulfillment>,
    /// Sent back with it; without entries, a message is just acknowledged.
    pub data: ProtocolBuffer,
}

impl HandlerReply {
    /// Nothing to say.
    pub fn ack() -> Self {
        Self::default()
    }

    /// A real response.
    pub fn response(data: ProtocolBuffer) -> Self {
        Self { fulfillment: None, data }
    }

    /// Fulfills a conditional transfer.
    pub fn fulfill(fulfillment: Fulfillment) -> Self {
        Self { fulfillment: Some(fulfillment), data: ProtocolBuffer::EMPTY }
    }
}

/// What a handler answers when it refuses: an ILP error, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{ilp}")]
pub struct HandlerError {
    /// A whole ILP error.
    pub ilp: InterledgerError,
    /// Sent back with it.
    pub protocol_data: ProtocolBuffer,
}

impl From<InterledgerError> for HandlerError {
    fn from(ilp: InterledgerError) -> Self {
        Self { ilp, protocol_data: ProtocolBuffer::EMPTY }
    }
}

/// How an incoming conditional transfer ended, for the application's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The peer's id.
    pub transfer_id: TransferId,
    /// Whether we fulfilled it; otherwise it was rejected, or expired.
    pub fulfilled: bool,
    /// What the peer says to that.
    pub confirmation: Confirmation,
}

/// What the peer says to a fulfill or reject of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// It has it.
    Acknowledged,
    /// It refuses it.
    Disputed(InterledgerError),
    /// It said nothing before the transfer's expiry or the connection's end.
    Unknown,
}
