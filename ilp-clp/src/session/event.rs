//! What comes in, and what can be sent.

use crate::{InterledgerError, ProtocolBuffer};
use bytes::Bytes;
use ilp_oer::clp::{Body, Dialect, Fulfill, Prepare, ProtocolData, Reject, RejectionReason, Transfer};
use ilp_oer::{Amount, Condition, Fulfillment, Timestamp, TransferId};

/// What a peer did, or did not do in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// A request of the peer's, to be answered under this id. Ids are the peer's: they may be 0, repeat, and come in any order.
    Request {
        /// For [`Session::answer`](super::Session::answer).
        id: u32,
        /// What it wants.
        request: IncomingRequest,
    },
    /// The end of a request of ours; there is exactly one for each.
    Answered {
        /// As given to [`Session::send`](super::Session::send).
        tag: u64,
        /// As returned by [`Session::send`](super::Session::send).
        id: u32,
        /// How it ended.
        answer: IncomingAnswer,
    },
}

/// A request of the peer's. Buffers are parts of the frame that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncomingRequest {
    /// Type 7: no money.
    Message {
        /// Its protocol data.
        data: ProtocolBuffer,
    },
    /// Type 4: a conditional transfer to us.
    Prepare {
        /// The peer's id.
        transfer_id: TransferId,
        /// In base units of the account.
        amount: Amount,
        /// SHA-256 of the fulfillment.
        condition: Condition,
        /// From then on it can't be fulfilled.
        expires_at: Timestamp,
        /// Its protocol data.
        data: ProtocolBuffer,
    },
    /// Type 5: a transfer of ours is fulfilled. Not checked yet.
    Fulfill {
        /// Ours.
        transfer_id: TransferId,
        /// The preimage of the condition, says the peer.
        fulfillment: Fulfillment,
        /// Its protocol data.
        data: ProtocolBuffer,
    },
    /// Type 6: a transfer of ours is rejected.
    Reject {
        /// Ours.
        transfer_id: TransferId,
        /// Why.
        reason: InterledgerError,
        /// Its protocol data.
        data: ProtocolBuffer,
    },
    /// Type 8: an unconditional transfer to us. Only when negotiated.
    Transfer {
        /// The peer's id.
        transfer_id: TransferId,
        /// In base units of the account.
        amount: Amount,
        /// When the peer stops waiting for the answer.
        expires_at: Option<Timestamp>,
        /// Its protocol data.
        data: ProtocolBuffer,
    },
}

/// How a request of ours ended. Only the first three came from the peer in good order; the others say nothing about what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncomingAnswer {
    /// The peer has it. A Response without entries means the same and is given as this.
    Ack(ProtocolBuffer),
    /// An answer with content.
    Response(ProtocolBuffer),
    /// The peer refused it.
    Error {
        /// Why.
        reason: InterledgerError,
        /// Its protocol data.
        data: ProtocolBuffer,
    },
    /// The peer answered what can't be read.
    Malformed,
    /// Nothing came in time.
    TimedOut,
    /// The connection ended first.
    Lost,
}

/// A request of ours.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Type 7.
    Message(ProtocolData<'a>),
    /// Type 4.
    Prepare(Prepare<'a>),
    /// Type 5.
    Fulfill(Fulfill<'a>),
    /// Type 6.
    Reject(Reject<'a>),
    /// Type 8; only when negotiated.
    Transfer(Transfer<'a>),
}

impl<'a> From<Request<'a>> for Body<'a> {
    fn from(request: Request<'a>) -> Self {
        match request {
            Request::Message(data) => Self::Message(data),
            Request::Prepare(prepare) => Self::Prepare(prepare),
            Request::Fulfill(fulfill) => Self::Fulfill(fulfill),
            Request::Reject(reject) => Self::Reject(reject),
            Request::Transfer(transfer) => Self::Transfer(transfer),
        }
    }
}

/// Our answer to a request.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Type 1.
    Ack(ProtocolData<'a>),
    /// Type 2.
    Response(ProtocolData<'a>),
    /// Type 3.
    Error {
        /// A whole ILP error packet.
        reason: RejectionReason<'a>,
        /// What goes with it.
        data: ProtocolData<'a>,
    },
}

impl<'a> From<Answer<'a>> for Body<'a> {
    fn from(answer: Answer<'a>) -> Self {
        match answer {
            Answer::Ack(data) => Self::Ack(data),
            Answer::Response(data) => Self::Response(data),
            Answer::Error { reason, data } => Self::Error { reason, data },
        }
    }
}

/// A decoded packet, sorted into requests and answers.
pub(super) enum Incoming {
    Request(IncomingRequest),
    Answer(IncomingAnswer),
}

/// Takes over what `body` borrows from `frame`, without copying.
pub(super) fn own(frame: &Bytes, dialect: Dialect, body: Body<'_>) -> Incoming {
    let buffer = |data| ProtocolBuffer::checked(dialect, frame, data);
    match body {
        Body::Ack(data) => Incoming::Answer(IncomingAnswer::Ack(buffer(data))),
        Body::Response(data) => {
            let data = buffer(data);
            Incoming::Answer(if data.is_empty() { IncomingAnswer::Ack(data) } else { IncomingAnswer::Response(data) })
        }
        Body::Error { reason, data } => {
            Incoming::Answer(IncomingAnswer::Error { reason: InterledgerError::checked(frame, reason), data: buffer(data) })
        }
        Body::Message(data) => Incoming::Request(IncomingRequest::Message { data: buffer(data) }),
        Body::Prepare(prepare) => Incoming::Request(IncomingRequest::Prepare {
            transfer_id: prepare.transfer_id,
            amount: prepare.amount,
            condition: prepare.condition,
            expires_at: prepare.expires_at,
            data: buffer(prepare.data),
        }),
        Body::Fulfill(fulfill) => Incoming::Request(IncomingRequest::Fulfill {
            transfer_id: fulfill.transfer_id,
            fulfillment: fulfill.fulfillment,
            data: buffer(fulfill.data),
        }),
        Body::Reject(reject) => Incoming::Request(IncomingRequest::Reject {
            transfer_id: reject.transfer_id,
            reason: InterledgerError::checked(frame, reject.reason),
            data: buffer(reject.data),
        }),
        Body::Transfer(transfer) => Incoming::Request(IncomingRequest::Transfer {
            transfer_id: transfer.transfer_id,
            amount: transfer.amount,
            expires_at: transfer.expires_at,
            data: buffer(transfer.data),
        }),
    }
}
