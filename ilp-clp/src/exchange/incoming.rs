//! Requests of the peer's, and the transfers they make.

use super::held::{Content, Delivery, Held, Outcome, State, decide, first_timer};
use super::{Confirmation, Context, ExchangeEvent, HandlerError, HandlerReply, HandlerRequest, RequestKey, Settled, Transfer};
use crate::ProtocolBuffer;
use crate::session::{IncomingAnswer, IncomingRequest, Request};
use ilp_oer::clp::{Fulfill, ProtocolData, Reject};
use ilp_oer::{ErrorCode, Timestamp, TransferId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// What the handler works on.
    handling: BTreeMap<RequestKey, Handling>,
    next_key: u64,
    /// Transfers of either kind, under way and remembered.
    transfers: BTreeMap<TransferId, Held>,
    /// When each transfer expires, or is forgotten.
    timers: BTreeSet<(Timestamp, TransferId)>,
    /// Our fulfills and rejects that wait for an answer, by the session's tag.
    deliveries: BTreeMap<u64, TransferId>,
    next_tag: u64,
}

#[derive(Debug, Clone, Copy)]
enum Handling {
    Message {
        request: u32,
    },
    Transfer(TransferId),
    /// Its transfer has expired; the handler doesn't know yet, and counts until it does.
    Expired,
}

impl Incoming {
    /// A message, prepare or unconditional transfer of the peer's.
    pub(super) fn requested(&mut self, id: u32, request: IncomingRequest, context: &mut Context<'_>) {
        match request {
            IncomingRequest::Message { data } => {
                if self.has_room(id, context) {
                    self.hand_out(Handling::Message { request: id }, data, Transfer::None, None, context);
                }
            }
            IncomingRequest::Prepare { transfer_id, amount, condition, expires_at, data } => {
                self.transferred(id, transfer_id, Transfer::Conditional { amount, condition, expires_at }, data, context);
            }
            IncomingRequest::Transfer { transfer_id, amount, expires_at, data } => {
                let transfer = expires_at.map_or(Transfer::Pay { amount }, |expires_at| Transfer::PayBy { amount, expires_at });
                self.transferred(id, transfer_id, transfer, data, context);
            }
            // Of our own transfers; not for this part.
            IncomingRequest::Fulfill { .. } | IncomingRequest::Reject { .. } => {}
        }
    }

    /// The handler has decided.
    pub(super) fn respond(&mut self, key: RequestKey, result: Result<HandlerReply, HandlerError>, context: &mut Context<'_>) {
        let id = match self.handling.remove(&key) {
            Some(Handling::Message { request }) => {
                context.answer(request, &result.map(|reply| reply.data));
                return;
            }
            Some(Handling::Transfer(id)) => id,
            Some(Handling::Expired) | None => return,
        };
        let Some(held) = self.transfers.get_mut(&id) else { return };
        let State::Handling { request, .. } = held.state else { return };
        if let Transfer::Conditional { condition, expires_at, .. } = held.content.transfer {
            let outcome = decide(result, &condition, expires_at, context);
            held.state = State::Decided { outcome, delivery: Delivery::Due };
            self.deliver(id, context);
        } else {
            let result = result.map(|reply| reply.data);
            context.answer(request, &result);
            held.state = State::Answered(result);
        }
    }

    /// The peer has answered a fulfill or reject of ours, or hasn't in time.
    pub(super) fn answered(&mut self, session_tag: u64, answer: IncomingAnswer, context: &mut Context<'_>) {
        let Some(id) = self.deliveries.remove(&session_tag) else { return };
        let Some(held) = self.transfers.get_mut(&id) else { return };
        let Transfer::Conditional { expires_at, .. } = held.content.transfer else { return };
        let State::Decided { outcome, delivery } = &mut held.state else { return };
        if std::mem::replace(delivery, Delivery::Settled) != Delivery::Sent {
            return;
        }
        let fulfilled = matches!(outcome, Outcome::Fulfilled { .. });
        let confirmation = match answer {
            IncomingAnswer::Ack(_) | IncomingAnswer::Response(_) => Confirmation::Acknowledged,
            IncomingAnswer::Error { reason, .. } => Confirmation::Disputed(reason),
            IncomingAnswer::TimedOut | IncomingAnswer::Malformed if context.config.peer_dedupes && context.now < expires_at => {
                *delivery = Delivery::Due;
                self.deliver(id, context);
                return;
            }
            IncomingAnswer::TimedOut | IncomingAnswer::Malformed | IncomingAnswer::Lost => Confirmation::Unknown,
        };
        context.out.events.push(ExchangeEvent::Settled(Settled { transfer_id: id, fulfilled, confirmation }));
    }

    pub(super) fn handle_timeout(&mut self, context: &mut Context<'_>) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > context.now {
                break;
            }
            self.timers.pop_first();
            self.timer(id, context);
        }
    }

    pub(super) fn handle_close(&mut self, context: &mut Context<'_>) {
        for (transfer_id, held) in std::mem::take(&mut self.transfers) {
            let fulfilled = match (&held.state, held.content.transfer) {
                // Without our fulfill the peer takes its money back at the expiry.
                (State::Handling { .. }, Transfer::Conditional { .. }) => false,
                (State::Decided { outcome, delivery: Delivery::Due }, _) => matches!(outcome, Outcome::Fulfilled { .. }),
                _ => continue,
            };
            let settled = Settled { transfer_id, fulfilled, confirmation: Confirmation::Unknown };
            context.out.events.push(ExchangeEvent::Settled(settled));
        }
        self.timers.clear();
        self.deliveries.clear();
        self.handling.clear();
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn transferred(&mut self, request: u32, id: TransferId, transfer: Transfer, data: ProtocolBuffer, context: &mut Context<'_>) {
        let content = Content::new(transfer, &data);
        if let Some(held) = self.transfers.get(&id) {
            if held.content == content {
                self.repeated(request, id, context);
            } else {
                context.refuse(request, ErrorCode::F00_BAD_REQUEST, "transfer id was used before with other content");
            }
            return;
        }
        let Some(timer) = first_timer(request, transfer, context) else { return };
        if self.transfers.len() >= context.config.limits.transfers_max {
            context.refuse(request, ErrorCode::T03_CONNECTOR_BUSY, "too many transfers");
            return;
        }
        if !self.has_room(request, context) {
            return;
        }
        if matches!(transfer, Transfer::Conditional { .. }) {
            context.ack(request);
        }
        let key = self.hand_out(Handling::Transfer(id), data, transfer, Some(id), context);
        self.transfers.insert(id, Held { content, state: State::Handling { key, request } });
        self.timers.insert((timer, id));
    }

    /// The same transfer again: answered as the first time, never handed out again.
    fn repeated(&mut self, request: u32, id: TransferId, context: &mut Context<'_>) {
        let Some(held) = self.transfers.get_mut(&id) else { return };
        let conditional = matches!(held.content.transfer, Transfer::Conditional { .. });
        match &mut held.state {
            State::Answered(result) => context.answer(request, result),
            State::Handling { request: answered, .. } if !conditional => *answered = request,
            State::Handling { .. } => context.ack(request),
            State::Decided { .. } => {
                context.ack(request);
                // A peer that doesn't dedupe must not get its fulfill twice, even if it asks.
                if context.config.peer_dedupes {
                    self.deliver(id, context);
                }
            }
        }
    }

    fn has_room(&self, request: u32, context: &mut Context<'_>) -> bool {
        let room = self.handling.len() < context.config.limits.handling_max;
        if !room {
            context.refuse(request, ErrorCode::T03_CONNECTOR_BUSY, "too many requests at once");
        }
        room
    }

    fn hand_out(
        &mut self,
        handling: Handling,
        data: ProtocolBuffer,
        transfer: Transfer,
        transfer_id: Option<TransferId>,
        context: &mut Context<'_>,
    ) -> RequestKey {
        let key = RequestKey(self.next_key);
        self.next_key += 1;
        self.handling.insert(key, handling);
        context.out.events.push(ExchangeEvent::Request { key, request: HandlerRequest { data, transfer, transfer_id } });
        key
    }

    /// Sends a decided transfer's fulfill or reject, unless one is on its way.
    fn deliver(&mut self, id: TransferId, context: &mut Context<'_>) {
        let Some(held) = self.transfers.get_mut(&id) else { return };
        let Transfer::Conditional { expires_at, .. } = held.content.transfer else { return };
        let State::Decided { outcome, delivery } = &mut held.state else { return };
        let next = match delivery {
            Delivery::Due => Delivery::Sent,
            Delivery::Settled => Delivery::SentAgain,
            Delivery::Sent | Delivery::SentAgain => return,
        };
        let (retry_ms, grace_ms) = (context.config.limits.retry_ms, context.config.limits.grace_ms);
        let left_ms = expires_at.saturating_add_millis(grace_ms).millis_since(context.now).max(retry_ms);
        let timeout_ms = if context.config.peer_dedupes { retry_ms } else { left_ms };
        let outcome = &*outcome;
        let (Outcome::Fulfilled { data, .. } | Outcome::Rejected(HandlerError { protocol_data: data, .. })) = outcome;
        let data = context.suitable(data);
        let entries = data.entries();
        let data = ProtocolData::entries(data.dialect(), &entries);
        let request = match outcome {
            Outcome::Fulfilled { fulfillment, .. } => Request::Fulfill(Fulfill { transfer_id: id, fulfillment: *fulfillment, data }),
            Outcome::Rejected(error) => match error.ilp.reason() {
                Some(reason) => Request::Reject(Reject { transfer_id: id, reason, data }),
                None => return,
            },
        };
        let tag = self.next_tag * 2 + 1;
        let sent = context.session.send(tag, request, context.now, timeout_ms, &mut context.out.frames);
        if sent.is_ok() {
            *delivery = next;
            self.next_tag += 1;
            self.deliveries.insert(tag, id);
        } else if context.now < expires_at {
            // No room at the moment: the same timer that would forget the transfer tries again.
            self.timers.insert((context.now.saturating_add_millis(retry_ms).min(expires_at), id));
        }
    }

    fn timer(&mut self, id: TransferId, context: &mut Context<'_>) {
        let Some(held) = self.transfers.get_mut(&id) else { return };
        let expires_at = match held.content.transfer {
            Transfer::Conditional { expires_at, .. } => expires_at,
            // Remembered for long enough; one that is still being handled stays until it is.
            _ => {
                if matches!(held.state, State::Handling { .. }) {
                    self.timers.insert((context.now.saturating_add_millis(context.config.limits.remember_ms), id));
                } else {
                    self.transfers.remove(&id);
                }
                return;
            }
        };
        match held.state {
            _ if context.now < expires_at => self.deliver(id, context),
            State::Handling { key, .. } => {
                self.handling.insert(key, Handling::Expired);
                let error = context.error(ErrorCode::R00_TRANSFER_TIMED_OUT, "the transfer has expired");
                held.state = State::Decided { outcome: Outcome::Rejected(error.into()), delivery: Delivery::Due };
                self.timers.insert((context.now.saturating_add_millis(context.config.limits.retry_ms), id));
                self.deliver(id, context);
            }
            // From its expiry on a repetition is refused for being late, so there is nothing left to remember, except for what is
            // still on its way.
            State::Decided { delivery: Delivery::Sent, .. } => {
                self.timers.insert((context.now.saturating_add_millis(context.config.limits.retry_ms), id));
            }
            State::Decided { .. } | State::Answered(_) => {
                self.transfers.remove(&id);
            }
        }
    }
}
