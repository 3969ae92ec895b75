//! Requests of ours, and the transfers they make.

use super::{Context, Failure, LocalFailure, Reply, Transfer, Via};
use crate::session::{IncomingAnswer, Request, SendError};
use crate::{InterledgerError, ProtocolBuffer};
use ilp_oer::clp::{self, ProtocolData};
use ilp_oer::{Amount, Condition, ErrorCode, Fulfillment, Timestamp, TransferId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// By the session's tag.
    requests: BTreeMap<u64, Sent>,
    next_tag: u64,
    /// Conditional transfers, under way and remembered.
    transfers: BTreeMap<TransferId, State>,
    /// When each transfer ends, or is forgotten.
    timers: BTreeSet<(Timestamp, TransferId)>,
}

/// What a request of ours was.
#[derive(Debug, Clone, Copy)]
enum Sent {
    /// Its answer is the outcome.
    Plain { tag: u64 },
    /// Its outcome is the transfer's.
    Prepare(TransferId),
}

#[derive(Debug)]
enum State {
    Waiting {
        tag: u64,
        condition: Condition,
        /// The last instant for a fulfill.
        deadline: Timestamp,
        /// The answer to the prepare could not be read. That decides nothing, but is said if nothing better comes.
        malformed: bool,
    },
    Fulfilled(Fulfillment),
    Rejected,
    /// Ended here: too late, or wrongly fulfilled.
    Failed,
}

impl Outgoing {
    pub(super) fn send_request(&mut self, tag: u64, id: TransferId, data: &ProtocolBuffer, transfer: Transfer, context: &mut Context<'_>) {
        let entries = data.entries();
        let content = ProtocolData::entries(data.dialect(), &entries);
        let result = match context.session.dialect() {
            Some(dialect) if !data.suits(dialect) => Err(LocalFailure::SendFailed("the protocol data is in the other dialect".to_owned())),
            _ => match transfer {
                Transfer::None => self.send_plain(tag, Request::Message(content), None, context),
                Transfer::Pay { amount } => self.send_transfer(tag, id, amount, None, content, context),
                Transfer::PayBy { amount, expires_at } => self.send_transfer(tag, id, amount, Some(expires_at), content, context),
                Transfer::Conditional { amount, condition, expires_at } => {
                    let prepare = clp::Prepare { transfer_id: id, amount, condition, expires_at, data: content };
                    self.send_prepare(tag, prepare, context)
                }
            },
        };
        if let Err(failure) = result {
            context.done(tag, Err(failure.into()));
        }
    }

    /// A request of ours was answered.
    pub(super) fn answered(&mut self, session_tag: u64, answer: IncomingAnswer, context: &mut Context<'_>) {
        match self.requests.remove(&session_tag) {
            Some(Sent::Plain { tag }) => context.done(tag, outcome(answer)),
            Some(Sent::Prepare(id)) => self.prepare_answered(id, answer, context),
            None => {}
        }
    }

    /// The peer fulfills a transfer.
    pub(super) fn fulfilled(
        &mut self,
        request: u32,
        id: TransferId,
        fulfillment: Fulfillment,
        data: ProtocolBuffer,
        context: &mut Context<'_>,
    ) {
        match self.transfers.get(&id) {
            Some(State::Waiting { deadline, .. }) if context.now >= *deadline => {
                self.end(id, State::Failed, Err(LocalFailure::TimedOut.into()), context);
                context.refuse(request, ErrorCode::R00_TRANSFER_TIMED_OUT, "the transfer has expired");
            }
            Some(State::Waiting { condition, .. }) if condition.is_fulfilled_by(&fulfillment) => {
                context.ack(request);
                self.end(id, State::Fulfilled(fulfillment), Ok(Reply::Fulfilled { fulfillment, data }), context);
            }
            Some(State::Waiting { .. }) => {
                context.refuse(request, ErrorCode::F05_WRONG_CONDITION, "the fulfillment does not match the condition");
                self.end(id, State::Failed, Err(LocalFailure::WrongFulfillment.into()), context);
            }
            Some(State::Fulfilled(decided)) if *decided == fulfillment => context.ack(request),
            Some(State::Fulfilled(_)) => {
                context.refuse(request, ErrorCode::F05_WRONG_CONDITION, "the transfer was already fulfilled otherwise");
            }
            Some(State::Rejected) => context.refuse(request, ErrorCode::F00_BAD_REQUEST, "the transfer was already rejected"),
            Some(State::Failed) => context.refuse(request, ErrorCode::R00_TRANSFER_TIMED_OUT, "the transfer has already failed"),
            None => context.refuse(request, ErrorCode::F00_BAD_REQUEST, "unknown transfer"),
        }
    }

    /// The peer rejects a transfer.
    pub(super) fn rejected(
        &mut self,
        request: u32,
        id: TransferId,
        error: InterledgerError,
        data: ProtocolBuffer,
        context: &mut Context<'_>,
    ) {
        match self.transfers.get(&id) {
            Some(State::Waiting { .. }) => {
                context.ack(request);
                self.end(id, State::Rejected, Err(Failure::Remote { error, via: Via::Reject, data }), context);
            }
            Some(State::Rejected | State::Failed) => context.ack(request),
            Some(State::Fulfilled(_)) => {
                context.refuse(request, ErrorCode::F00_BAD_REQUEST, "the transfer was already fulfilled");
            }
            None => context.refuse(request, ErrorCode::F00_BAD_REQUEST, "unknown transfer"),
        }
    }

    pub(super) fn handle_timeout(&mut self, context: &mut Context<'_>) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > context.now {
                break;
            }
            self.timers.pop_first();
            match self.transfers.get(&id) {
                Some(State::Waiting { malformed, .. }) => {
                    let failure = if *malformed { LocalFailure::Malformed } else { LocalFailure::TimedOut };
                    self.end(id, State::Failed, Err(failure.into()), context);
                }
                _ => {
                    self.transfers.remove(&id);
                }
            }
        }
    }

    pub(super) fn handle_close(&mut self, context: &mut Context<'_>) {
        for state in std::mem::take(&mut self.transfers).into_values() {
            if let State::Waiting { tag, .. } = state {
                context.done(tag, Err(LocalFailure::Closed.into()));
            }
        }
        self.timers.clear();
        self.requests.clear();
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn send_transfer(
        &mut self,
        tag: u64,
        transfer_id: TransferId,
        amount: Amount,
        expires_at: Option<Timestamp>,
        data: ProtocolData<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), LocalFailure> {
        let request = Request::Transfer(clp::Transfer { transfer_id, amount, expires_at, data });
        self.send_plain(tag, request, expires_at, context)
    }

    fn send_plain(
        &mut self,
        tag: u64,
        request: Request<'_>,
        expires_at: Option<Timestamp>,
        context: &mut Context<'_>,
    ) -> Result<(), LocalFailure> {
        let limits = &context.config.limits;
        let timeout_ms = match expires_at {
            None => limits.answer_ms_max,
            Some(at) => match at.millis_since(context.now) {
                left_ms @ 1.. => left_ms.min(limits.answer_ms_max),
                left_ms => return Err(LocalFailure::Expiry { left_ms, max_ms: limits.hold_ms_max }),
            },
        };
        self.send(Sent::Plain { tag }, request, timeout_ms, context)
    }

    fn send_prepare(&mut self, tag: u64, prepare: clp::Prepare<'_>, context: &mut Context<'_>) -> Result<(), LocalFailure> {
        let limits = &context.config.limits;
        let left_ms = prepare.expires_at.millis_since(context.now);
        if left_ms <= 0 || left_ms > limits.hold_ms_max {
            return Err(LocalFailure::Expiry { left_ms, max_ms: limits.hold_ms_max });
        }
        let id = prepare.transfer_id;
        if self.transfers.contains_key(&id) {
            return Err(LocalFailure::IdInUse);
        }
        if self.transfers.len() >= limits.transfers_max {
            return Err(LocalFailure::Overloaded);
        }
        let deadline = prepare.expires_at.saturating_add_millis(limits.grace_ms);
        self.send(Sent::Prepare(id), Request::Prepare(prepare), deadline.millis_since(context.now), context)?;
        self.transfers.insert(id, State::Waiting { tag, condition: prepare.condition, deadline, malformed: false });
        self.timers.insert((deadline, id));
        Ok(())
    }

    fn send(&mut self, sent: Sent, request: Request<'_>, timeout_ms: i64, context: &mut Context<'_>) -> Result<(), LocalFailure> {
        context.session.send(self.next_tag, request, context.now, timeout_ms, &mut context.out.frames)?;
        self.requests.insert(self.next_tag, sent);
        self.next_tag += 2;
        Ok(())
    }

    /// The answer to a prepare, which may come before or after the fulfill. Only an Error ends the transfer: the others say nothing
    /// about its outcome.
    fn prepare_answered(&mut self, id: TransferId, answer: IncomingAnswer, context: &mut Context<'_>) {
        let Some(State::Waiting { malformed, .. }) = self.transfers.get_mut(&id) else { return };
        match answer {
            IncomingAnswer::Error { reason, data } => {
                let failure = Failure::Remote { error: reason, via: Via::Error, data };
                self.end(id, State::Rejected, Err(failure), context);
            }
            IncomingAnswer::Malformed => *malformed = true,
            IncomingAnswer::Ack(_) | IncomingAnswer::Response(_) | IncomingAnswer::TimedOut | IncomingAnswer::Lost => {}
        }
    }

    /// Ends a waiting transfer, and remembers how, so that a repetition of what ended it gets the same answer.
    fn end(&mut self, id: TransferId, state: State, outcome: Result<Reply, Failure>, context: &mut Context<'_>) {
        if let Some(State::Waiting { tag, deadline, .. }) = self.transfers.insert(id, state) {
            self.timers.remove(&(deadline, id));
            // At least as long as the peer may repeat itself.
            let forget_at = deadline.max(context.now).saturating_add_millis(context.config.limits.retry_ms);
            self.timers.insert((forget_at, id));
            context.done(tag, outcome);
        }
    }
}

fn outcome(answer: IncomingAnswer) -> Result<Reply, Failure> {
    match answer {
        IncomingAnswer::Ack(data) => Ok(Reply::Acked { data }),
        IncomingAnswer::Response(data) => Ok(Reply::Response { data }),
        IncomingAnswer::Error { reason, data } => Err(Failure::Remote { error: reason, via: Via::Error, data }),
        IncomingAnswer::Malformed => Err(LocalFailure::Malformed.into()),
        IncomingAnswer::TimedOut => Err(LocalFailure::TimedOut.into()),
        IncomingAnswer::Lost => Err(LocalFailure::Closed.into()),
    }
}

impl From<SendError> for LocalFailure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Overloaded => Self::Overloaded,
            SendError::NotNegotiated => Self::NotNegotiated,
            SendError::Encode(error) => Self::SendFailed(error.to_string()),
        }
    }
}
