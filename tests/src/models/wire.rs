//! What frames say.

use ilp_oer::clp::{Body, Dialect, Extensions, Packet};
use ilp_oer::{Fulfillment, TransferId};
use std::fmt;

/// What a frame says, as far as the rules ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Ack(u32),
    Error(u32, String),
    Prepare { request: u32, id: TransferId, amount: u64 },
    Fulfill { request: u32, id: TransferId, fulfillment: Fulfillment },
    Reject { request: u32, id: TransferId },
    Other,
}

impl Said {
    pub(super) fn of(frame: &[u8]) -> Self {
        let Ok(Packet { request_id: request, body }) = Packet::decode(frame, Dialect::Named, Extensions::NONE) else { return Self::Other };
        match body {
            Body::Ack(_) => Self::Ack(request),
            Body::Error { reason, .. } => Self::Error(request, reason.error().code.as_str().to_owned()),
            Body::Prepare(p) => Self::Prepare { request, id: p.transfer_id, amount: p.amount.get() },
            Body::Fulfill(f) => Self::Fulfill { request, id: f.transfer_id, fulfillment: f.fulfillment },
            Body::Reject(r) => Self::Reject { request, id: r.transfer_id },
            Body::Response(_) | Body::Message(_) | Body::Transfer(_) => Self::Other,
        }
    }

    /// Nothing is written by whoever takes it, and nothing depends on when.
    pub(super) fn is_quiet(&self) -> bool {
        !matches!(self, Self::Fulfill { .. } | Self::Reject { .. })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &TransferId| id.as_bytes().iter().skip(12).map(|byte| format!("{byte:02x}")).collect::<String>();
        match self {
            Self::Ack(request) => write!(f, "Ack of request {request}"),
            Self::Error(request, code) => write!(f, "Error {code} to request {request}"),
            Self::Prepare { request, id, amount } => write!(f, "Prepare …{} of {amount} (request {request})", short(id)),
            Self::Fulfill { request, id, .. } => write!(f, "Fulfill …{} (request {request})", short(id)),
            Self::Reject { request, id } => write!(f, "Reject …{} (request {request})", short(id)),
            Self::Other => f.write_str("another packet"),
        }
    }
}
