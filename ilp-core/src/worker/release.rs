//! What leaves once its batch is durable. Everything is looked up again: what a transfer needs may have changed since its step.

use super::batch::{Batch, Effect, Released};
use super::{Active, ConnectionId, Delivery, Outcome, Tag, Worker};
use crate::link::LinkCommand;
use crate::refusal::error_packet;
use bytes::Bytes;
use ilp_oer::{Amount, Fulfillment, Timestamp, TransferId};

impl Worker {
    /// Turns the effects of a durable batch into what the driver must do, in order.
    ///
    /// Batches must be given in the order in which they were stepped, each after all earlier ones are durable. Afterwards
    /// [`next_step`](Self::next_step) may be due at once: a transfer that can't be sent any more is refused by the next step.
    pub fn release(&mut self, batch: Batch, now: Timestamp, out: &mut Vec<Released>) {
        for effect in batch.into_effects() {
            let released = match effect {
                Effect::Answer { connection, request, answer } => {
                    Some(Released::Command(connection, LinkCommand::Answer { request, answer }))
                }
                Effect::Prepare(tag, on) => self.release_prepare(tag, on, now),
                Effect::Answered(tag, on) => self.release_answer(tag, on, now),
                Effect::Deliver { tag, payment } => Some(Released::Deliver(Delivery(tag), payment)),
                Effect::Paid { id, result } => Some(Released::Paid(id, result)),
                Effect::Account { reply, result } => Some(Released::Account(reply, result)),
                Effect::Settled { reply, result } => Some(Released::Settled(reply, result)),
                Effect::Stated { reply, status } => Some(Released::Stated(reply, status)),
                Effect::Close { connection, reason } => Some(Released::Command(connection, LinkCommand::Close { reason: reason.into() })),
                Effect::Event(event) => Some(Released::Event(event)),
                Effect::Move(request) => Some(Released::Move(request)),
                Effect::Note { to, account, note } => Some(Released::Note { to, account, note }),
            };
            out.extend(released);
        }
    }

    fn release_prepare(&mut self, tag: Tag, on: Option<ConnectionId>, now: Timestamp) -> Option<Released> {
        let transfer = self.transfer(tag).filter(|transfer| transfer.outcome == Outcome::Held)?;
        let (id, to, expires_at) = (transfer.key, transfer.to, transfer.expires_at);
        let active = self.active(transfer)?;
        let hop = self.account(to.account)?;
        let in_time = expires_at.millis_since(now) >= self.config.timing.outgoing_ms_min;
        let on = on.filter(|on| hop.has_connection(*on)).or(hop.best_connection());
        let Some(connection) = on.filter(|_| in_time) else {
            // Never handed to a socket: the next step ends the hold, unless an earlier process may have sent it.
            if active.sends == 0 && !active.recovered {
                self.unsent.push(tag);
            }
            return None;
        };
        let sent_before = active.sends > 0 || active.recovered;
        if active.acked || active.sent_on == Some(connection) || (sent_before && !hop.protocol.dedupes()) {
            return None;
        }
        let command = LinkCommand::Prepare {
            tag: tag.prepare(),
            id,
            amount: Amount::new(to.amount),
            condition: active.condition,
            expires_at,
            packet: active.packet.clone(),
        };
        let active = self.active_mut(tag)?;
        active.sends = active.sends.saturating_add(1);
        active.sent_on = Some(connection);
        Some(Released::Command(connection, command))
    }

    fn release_answer(&mut self, tag: Tag, on: Option<ConnectionId>, now: Timestamp) -> Option<Released> {
        let transfer = self.transfer(tag)?;
        let (id, outcome, expires_at) = (transfer.incoming_id, transfer.outcome, transfer.incoming_expires_at);
        let sender = self.account(transfer.from.account)?;
        let connection = on.filter(|on| sender.has_connection(*on)).or(sender.best_connection())?;
        let dedupes = sender.protocol.dedupes();
        let Some(active) = self.active(transfer) else {
            // Acknowledged before, and asked for again.
            return dedupes.then(|| Released::Command(connection, self.outcome_command(tag, id, outcome, Bytes::new(), now)));
        };
        let sent_before = active.answer_sends > 0 || active.answer_recovered;
        if active.answered_on == Some(connection) || (sent_before && !dedupes) {
            return None;
        }
        let command = self.outcome_command(tag, id, outcome, active.reason.clone(), now);
        let active = self.active_mut(tag)?;
        note_answered(active, connection, now < expires_at);
        Some(Released::Command(connection, command))
    }

    fn outcome_command(&self, tag: Tag, id: TransferId, outcome: Outcome, reason: Bytes, now: Timestamp) -> LinkCommand {
        let tag = tag.answer();
        match outcome {
            Outcome::Fulfilled(fulfillment) => LinkCommand::Fulfill { tag, id, fulfillment: Fulfillment::new(fulfillment) },
            Outcome::Rejected(code) if reason.is_empty() => {
                let reason = error_packet((code, "Rejected"), &self.config.address, now, "");
                LinkCommand::Reject { tag, id, reason }
            }
            Outcome::Rejected(_) | Outcome::Held | Outcome::Charged => LinkCommand::Reject { tag, id, reason },
        }
    }
}

fn note_answered(active: &mut Active, connection: ConnectionId, in_time: bool) {
    if active.answer_sends == 0 {
        active.in_time = in_time;
    }
    active.answer_sends = active.answer_sends.saturating_add(1);
    active.answered_on = Some(connection);
}
