//! What is known of one transfer of the peer's.

use super::{Context, HandlerError, HandlerReply, RequestKey, Transfer};
use crate::ProtocolBuffer;
use ilp_oer::{Condition, ErrorCode, Fulfillment, Timestamp};
use sha2::{Digest, Sha256};

#[derive(Debug)]
pub(super) struct Held {
    pub(super) content: Content,
    pub(super) state: State,
}

/// What makes a repetition a repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) transfer: Transfer,
    digest: [u8; 32],
}

#[derive(Debug)]
pub(super) enum State {
    /// The handler has it. For an unconditional transfer, the request that will be answered: the latest with this id.
    Handling { key: RequestKey, request: u32 },
    /// An unconditional transfer's answer.
    Answered(Result<ProtocolBuffer, HandlerError>),
    /// A conditional transfer's outcome.
    Decided { outcome: Outcome, delivery: Delivery },
}

/// How far the news of an outcome has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Not sent yet, or to be sent again.
    Due,
    /// Waits for the peer's answer.
    Sent,
    /// Has come to its end, which was reported.
    Settled,
    /// The same, but the peer asked again.
    SentAgain,
}

#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Fulfilled { fulfillment: Fulfillment, data: ProtocolBuffer },
    Rejected(HandlerError),
}

impl Content {
    pub(super) fn new(transfer: Transfer, data: &ProtocolBuffer) -> Self {
        Self { transfer, digest: Sha256::digest(data.as_bytes()).into() }
    }
}

/// A conditional transfer's outcome: a fulfillment that can't be claimed any more, or is none, becomes a rejection.
pub(super) fn decide(
    result: Result<HandlerReply, HandlerError>,
    condition: &Condition,
    expires_at: Timestamp,
    context: &Context<'_>,
) -> Outcome {
    match result {
        Err(error) => Outcome::Rejected(HandlerError { protocol_data: error.protocol_data.detached(), ..error }),
        Ok(_) if context.now >= expires_at => {
            Outcome::Rejected(context.error(ErrorCode::R00_TRANSFER_TIMED_OUT, "the transfer has expired").into())
        }
        Ok(HandlerReply { fulfillment: Some(fulfillment), data }) if condition.is_fulfilled_by(&fulfillment) => {
            Outcome::Fulfilled { fulfillment, data: data.detached() }
        }
        Ok(_) => Outcome::Rejected(context.error(ErrorCode::T00_INTERNAL_ERROR, "the handler has no fulfillment").into()),
    }
}

/// When a new transfer's timer goes off first; `None` if the transfer was refused for its expiry.
pub(super) fn first_timer(request: u32, transfer: Transfer, context: &mut Context<'_>) -> Option<Timestamp> {
    let limits = &context.config.limits;
    let (remember_ms, hold_ms_max) = (limits.remember_ms, limits.hold_ms_max);
    let expires_at = match transfer {
        Transfer::None | Transfer::Pay { .. } => return Some(context.now.saturating_add_millis(remember_ms)),
        Transfer::PayBy { expires_at, .. } | Transfer::Conditional { expires_at, .. } => expires_at,
    };
    let left_ms = expires_at.millis_since(context.now);
    if left_ms <= 0 {
        context.refuse(request, ErrorCode::R02_INSUFFICIENT_TIMEOUT, "the transfer has expired");
        return None;
    }
    if left_ms > hold_ms_max {
        context.refuse(request, ErrorCode::F00_BAD_REQUEST, "the transfer expires too far ahead");
        return None;
    }
    match transfer {
        Transfer::Conditional { .. } => Some(expires_at),
        _ => Some(expires_at.max(context.now.saturating_add_millis(remember_ms))),
    }
}
