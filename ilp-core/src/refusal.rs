//! Why a payment is refused, and the one table that turns a refusal into its code.

use crate::account::AccountId;
use bytes::Bytes;
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, ErrorCode, Timestamp};
use std::borrow::Cow;

/// Why the connector refused a request. Decided at once, such a refusal is an Error that leaves no state; decided later (`NextHopDown`,
/// `TimedOut`) it is the reason of a reject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The ILP packet can't be read.
    #[error("the ILP packet can't be decoded: {0}")]
    InvalidPacket(String),
    /// A sub-protocol's request can't be read.
    #[error("the request can't be decoded: {0}")]
    Malformed(String),
    /// A packet that doesn't go with this kind of transfer.
    #[error("{0}")]
    WrongKind(&'static str),
    /// A sub-protocol nobody here speaks.
    #[error("protocol unsupported")]
    Unsupported,
    /// A request without an entry.
    #[error("the message is empty")]
    Empty,
    /// The id was used for something else.
    #[error("transfer id was used before with other content")]
    IdReused,
    /// No transfer of ours has this id on this account.
    #[error("unknown transfer")]
    UnknownTransfer,
    /// SHA-256(fulfillment) isn't the condition.
    #[error("the fulfillment does not match the condition")]
    WrongFulfillment,
    /// The transfer was decided otherwise before.
    #[error("the transfer was already {0}")]
    AlreadyDecided(&'static str),
    /// Larger than the account allows.
    #[error("amount {amount} is above the largest packet {max} of account {account}")]
    TooLarge {
        /// Asked for.
        amount: u64,
        /// Allowed.
        max: u64,
        /// Whose limit.
        account: AccountId,
    },
    /// Nobody announced a route.
    #[error("no route to {0}")]
    NoRoute(String),
    /// The account exists no more, or is being closed.
    #[error("account {0} is being closed")]
    Closing(AccountId),
    /// Assets without a rate.
    #[error("no rate from {from} to {to}")]
    NoRate {
        /// Incoming asset.
        from: String,
        /// Outgoing asset.
        to: String,
    },
    /// What came in doesn't pay for what shall arrive.
    #[error("amount {amount} is too small for the route: {needed} needed")]
    TooSmall {
        /// Given.
        amount: u64,
        /// Needed, in the incoming asset.
        needed: u128,
    },
    /// Less than the packet says shall arrive.
    #[error("amount {amount} is less than the {wanted} that shall arrive")]
    TooLittleDelivered {
        /// Given.
        amount: u64,
        /// Asked for by the packet.
        wanted: u64,
    },
    /// It would expire before anybody could be paid.
    #[error("{left_ms} ms are left, {needed_ms} ms needed")]
    TooLittleTime {
        /// Until expiry.
        left_ms: i64,
        /// Window and minimum of the outgoing side.
        needed_ms: i64,
    },
    /// It would hold funds for too long.
    #[error("expires in {left_ms} ms, the maximum is {max_ms} ms")]
    TooMuchTime {
        /// Until expiry.
        left_ms: i64,
        /// Allowed.
        max_ms: i64,
    },
    /// The worker that decides about the account's transfers isn't there just now.
    #[error("the worker that has this transfer is being started: try again")]
    OwnerAway,
    /// Balance and credit don't cover parallelism × amount.
    #[error("account {account} has {available} available, {needed} needed (amount × parallelism {parallelism})")]
    InsufficientBalance {
        /// Whose.
        account: AccountId,
        /// Balance and credit.
        available: i128,
        /// Parallelism × amount.
        needed: i128,
        /// Of the account.
        parallelism: u8,
    },
    /// The next hop isn't connected.
    #[error("account {0} is not connected")]
    NextHopDown(AccountId),
    /// A limit on numbers is reached.
    #[error("account {account} has {max} {what}, the maximum")]
    Overloaded {
        /// Whose.
        account: AccountId,
        /// The limit.
        max: u64,
        /// Of what.
        what: &'static str,
    },
    /// The connector is about to stop.
    #[error("the connector is stopping")]
    Stopping,
    /// The outgoing side wasn't fulfilled in time.
    #[error("the transfer timed out")]
    TimedOut,
    /// The embedder's receiver said no, in its own words.
    #[error("{message}")]
    Receiver {
        /// Its code.
        code: ErrorCode,
        /// Its words.
        message: Cow<'static, str>,
    },
    /// Something here went wrong.
    #[error("{0}")]
    Internal(&'static str),
}

impl Refusal {
    /// The code on the wire and the code's name.
    pub fn code(&self) -> (ErrorCode, &'static str) {
        match self {
            Self::InvalidPacket(_) => (ErrorCode::F01_INVALID_PACKET, "Invalid Packet"),
            Self::Malformed(_)
            | Self::WrongKind(_)
            | Self::IdReused
            | Self::UnknownTransfer
            | Self::AlreadyDecided(_)
            | Self::TooMuchTime { .. } => (ErrorCode::F00_BAD_REQUEST, "Bad Request"),
            Self::Unsupported => (ErrorCode::L03_UNSUPPORTED_PROTOCOL, "Protocol Unsupported"),
            Self::Empty => (ErrorCode::L02_EMPTY_MESSAGE, "Empty Message"),
            Self::WrongFulfillment => (ErrorCode::F05_WRONG_CONDITION, "Wrong Condition"),
            Self::TooLarge { .. } => (ErrorCode::F03_INVALID_AMOUNT, "Invalid Amount"),
            Self::NoRoute(_) | Self::Closing(_) | Self::NoRate { .. } => (ErrorCode::F02_UNREACHABLE, "Unreachable"),
            Self::TooSmall { .. } => (ErrorCode::R01_INSUFFICIENT_SOURCE_AMOUNT, "Insufficient Source Amount"),
            Self::TooLittleDelivered { .. } => (ErrorCode::F04_INSUFFICIENT_DESTINATION_AMOUNT, "Insufficient Destination Amount"),
            Self::TooLittleTime { .. } => (ErrorCode::R02_INSUFFICIENT_TIMEOUT, "Insufficient Timeout"),
            Self::InsufficientBalance { .. } => (ErrorCode::T04_INSUFFICIENT_LIQUIDITY, "Insufficient Liquidity"),
            Self::NextHopDown(_) => (ErrorCode::T01_LEDGER_UNREACHABLE, "Ledger Unreachable"),
            Self::Overloaded { .. } | Self::Stopping | Self::OwnerAway => (ErrorCode::T03_CONNECTOR_BUSY, "Connector Busy"),
            Self::TimedOut => (ErrorCode::R00_TRANSFER_TIMED_OUT, "Transfer Timed Out"),
            Self::Receiver { code, .. } => (*code, "Refused by receiver"),
            Self::Internal(_) => (ErrorCode::T00_INTERNAL_ERROR, "Internal Error"),
        }
    }

    /// The refusal as a whole ILP error packet (IL-RFC 3, type 8); its data says which limit, whose, and how much was left.
    pub fn to_packet(&self, by: &Address, now: Timestamp) -> Bytes {
        error_packet(self.code(), by, now, &self.to_string())
    }
}

/// An ILP error packet of a code and its name, with a text as data.
pub(crate) fn error_packet((code, name): (ErrorCode, &str), by: &Address, at: Timestamp, text: &str) -> Bytes {
    let error = ErrorPacket {
        code,
        name,
        triggered_by: by.as_addr(),
        forwarded_by: AddrList::EMPTY,
        triggered_at: at,
        data: text.as_bytes().get(..text.len().min(1_024)).unwrap_or_default(),
    };
    error.to_vec().map(Bytes::from).unwrap_or_default()
}
