//! What peers say about transfers: fulfills, rejects, and answers to our own requests.

use super::batch::Effect;
use super::{ConnectionId, Delivery, Outcome, Tag, Worker, WorkerError, matches};
use crate::link::{Answer, RequestId};
use crate::record::{OWN, Record};
use crate::refusal::Refusal;
use bytes::Bytes;
use ilp_oer::ilp::ErrorPacket;
use ilp_oer::{Fulfillment, Timestamp, TransferId};

impl Worker {
    /// A fulfill or reject is the next hop's only if the transfer went to the account that the connection belongs to.
    fn outgoing_of(&self, connection: ConnectionId, id: &TransferId) -> Option<Tag> {
        let (no, _) = *self.connections.get(&connection)?;
        let index = *self.outgoing.get(id)?;
        self.transfer_at(index).filter(|transfer| transfer.to.account == no && no != OWN).map(|_| Tag::of(index, id))
    }

    /// On a connection that was replaced by a newer one nothing is answered: an Error would end what is said again on the new one.
    pub(super) fn on_fulfill(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        id: TransferId,
        fulfillment: Fulfillment,
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        if !self.connections.contains_key(&connection) {
            return Ok(());
        }
        let result = match self.outgoing_of(connection, &id) {
            Some(tag) => self.fulfill(tag, fulfillment, now)?,
            None => Err(Refusal::UnknownTransfer),
        };
        self.answer(connection, request, result, now);
        Ok(())
    }

    pub(super) fn on_reject(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        id: TransferId,
        reason: Bytes,
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        if !self.connections.contains_key(&connection) {
            return Ok(());
        }
        let tag = self.outgoing_of(connection, &id);
        let result = match tag.and_then(|tag| self.transfer(tag)).map(|transfer| transfer.outcome) {
            Some(Outcome::Held) => {
                if let Some(tag) = tag {
                    let reason = self.forwarded(tag, &reason, now);
                    self.reject(tag, &reason)?;
                }
                Ok(())
            }
            Some(Outcome::Rejected(_)) => Ok(()),
            Some(Outcome::Fulfilled(_)) => Err(Refusal::AlreadyDecided("fulfilled")),
            Some(Outcome::Charged) | None => Err(Refusal::UnknownTransfer),
        };
        self.answer(connection, request, result, now);
        Ok(())
    }

    /// The embedder's receiver has decided.
    pub(super) fn received(&mut self, delivery: Delivery, result: Result<Fulfillment, Refusal>, now: Timestamp) -> Result<(), WorkerError> {
        let Delivery(tag) = delivery;
        let held = self.transfer(tag).is_some_and(|transfer| transfer.outcome == Outcome::Held && transfer.to.account == OWN);
        if !held {
            return Ok(());
        }
        let refused = match result {
            Ok(fulfillment) => self.fulfill(tag, fulfillment, now)?.err(),
            Err(refusal) => Some(refusal),
        };
        match refused {
            Some(refusal) => {
                let reason = refusal.to_packet(&self.config.address, now);
                self.reject(tag, &reason)
            }
            None => Ok(()),
        }
    }

    /// The end of a request of ours: a prepare's, or an answer's to the incoming side.
    pub(super) fn on_answered(&mut self, tag: u64, answer: &Answer, now: Timestamp) -> Result<(), WorkerError> {
        let (tag, is_answer) = Tag::from_wire(tag);
        match is_answer {
            true => self.answer_answered(tag, answer),
            false => self.prepare_answered(tag, answer, now),
        }
    }

    fn prepare_answered(&mut self, tag: Tag, answer: &Answer, now: Timestamp) -> Result<(), WorkerError> {
        let Some(transfer) = self.transfer(tag).filter(|transfer| transfer.outcome == Outcome::Held) else {
            return Ok(());
        };
        let sent_once = self.active(transfer).is_some_and(|active| active.sends == 1 && !active.recovered);
        match answer {
            Answer::Ack | Answer::Response(_) => {
                if let Some(active) = self.active_mut(tag) {
                    active.acked = true;
                }
                Ok(())
            }
            // An Error to a prepare that was sent again may mean the repeat only: the first one may be held.
            Answer::Error(reason) if sent_once => {
                let reason = self.forwarded(tag, reason, now);
                self.reject(tag, &reason)
            }
            // Nobody knows what the next hop did: only its answer or the time ends the hold.
            Answer::Error(_) | Answer::TimedOut | Answer::Lost => Ok(()),
        }
    }

    fn answer_answered(&mut self, tag: Tag, answer: &Answer) -> Result<(), WorkerError> {
        let Some(transfer) = self.transfer(tag) else { return Ok(()) };
        let Some(active) = self.active(transfer) else { return Ok(()) };
        let (key, from, outcome, charged) = (transfer.key, transfer.from, transfer.outcome, active.in_time);
        match (answer, outcome) {
            (Answer::Ack | Answer::Response(_), Outcome::Fulfilled(_) | Outcome::Rejected(_))
            | (Answer::Error(_), Outcome::Rejected(_)) => self.record_lazily(&Record::AnswerAcked { key }),
            (Answer::Error(_), Outcome::Fulfilled(_)) => {
                match charged {
                    true => self.counters.disputed = self.counters.disputed.saturating_add(1),
                    false => self.counters.lost = self.counters.lost.saturating_add(1),
                }
                self.record(&Record::AnswerRefused { key, from, charged })
            }
            _ => Ok(()),
        }
    }

    /// Ends a hold with a fulfillment, if it is right and in time.
    pub(super) fn fulfill(&mut self, tag: Tag, fulfillment: Fulfillment, now: Timestamp) -> Result<Result<(), Refusal>, WorkerError> {
        let Some(transfer) = self.transfer(tag) else { return Ok(Err(Refusal::UnknownTransfer)) };
        let (key, from, to) = (transfer.key, transfer.from, transfer.to);
        match transfer.outcome {
            Outcome::Held => {}
            Outcome::Fulfilled(with) if with == *fulfillment.as_bytes() => return Ok(Ok(())),
            Outcome::Fulfilled(_) => return Ok(Err(Refusal::AlreadyDecided("fulfilled"))),
            Outcome::Rejected(_) => return Ok(Err(Refusal::AlreadyDecided("rejected"))),
            Outcome::Charged => return Ok(Err(Refusal::UnknownTransfer)),
        }
        let grace = if to.account == OWN { 0 } else { self.grace_ms(transfer) };
        if now >= transfer.expires_at.saturating_add_millis(grace) {
            let reason = Refusal::TimedOut.to_packet(&self.config.address, now);
            self.reject(tag, &reason)?;
            return Ok(Err(Refusal::TimedOut));
        }
        if !self.active(transfer).is_some_and(|active| matches(&active.condition, &fulfillment)) {
            return Ok(Err(Refusal::WrongFulfillment));
        }
        let pay = self.active(transfer).and_then(|active| active.pay);
        self.record(&Record::Fulfilled { key, from, to, fulfillment: *fulfillment.as_bytes() })?;
        self.counters.fulfilled = self.counters.fulfilled.saturating_add(1);
        match pay {
            Some(id) => self.effect(Effect::Paid { id, result: Ok(fulfillment) }),
            None if from.account == OWN => {}
            None => self.effect(Effect::Answered(tag, None)),
        }
        Ok(Ok(()))
    }

    /// Ends a hold without the money moving: the sender has it back.
    pub(super) fn reject(&mut self, tag: Tag, reason: &Bytes) -> Result<(), WorkerError> {
        let Some(transfer) = self.transfer(tag).filter(|transfer| transfer.outcome == Outcome::Held) else {
            return Ok(());
        };
        let (key, from) = (transfer.key, transfer.from);
        let pay = self.active(transfer).and_then(|active| active.pay);
        self.record(&Record::Rejected { key, from, reason })?;
        self.counters.rejected = self.counters.rejected.saturating_add(1);
        match pay {
            Some(id) => self.effect(Effect::Paid { id, result: Err(reason.clone()) }),
            None if from.account == OWN => {}
            None => self.effect(Effect::Answered(tag, None)),
        }
        Ok(())
    }

    /// A transfer that was provably never handed to a socket.
    pub(super) fn end_unsent(&mut self, tag: Tag, now: Timestamp) -> Result<(), WorkerError> {
        let Some(transfer) = self.transfer(tag).filter(|transfer| transfer.outcome == Outcome::Held) else {
            return Ok(());
        };
        if self.active(transfer).is_some_and(|active| active.sends > 0 || active.recovered) {
            return Ok(());
        }
        let refusal = match self.account(transfer.to.account) {
            Some(hop) if hop.connections.is_empty() => Refusal::NextHopDown(hop.id.clone()),
            _ => Refusal::TimedOut,
        };
        let reason = refusal.to_packet(&self.config.address, now);
        self.reject(tag, &reason)
    }

    pub(super) fn answer(&mut self, connection: ConnectionId, request: RequestId, result: Result<(), Refusal>, now: Timestamp) {
        let answer = match result {
            Ok(()) => Answer::Ack,
            Err(refusal) => Answer::Error(refusal.to_packet(&self.config.address, now)),
        };
        self.effect(Effect::Answer { connection, request, answer });
    }

    /// A peer's error with our address added, or one of ours if the peer's can't be read. It is kept until the sender of the transfer
    /// has acknowledged it; for one that is owed too much already, it is shortened.
    pub(super) fn forwarded(&self, tag: Tag, reason: &Bytes, now: Timestamp) -> Bytes {
        let mut out = Vec::with_capacity(reason.len().saturating_add(64));
        let sender = self.transfer(tag).and_then(|transfer| self.account(transfer.from.account));
        let bytes = sender.map_or(0, |sender| sender.incoming.bytes);
        let much = bytes.saturating_add(reason.len()) > self.config.limits.in_flight_bytes_per_account;
        let error = ErrorPacket::decode(reason).ok();
        let error = error.map(|error| if much { error.shortened() } else { error });
        match error.and_then(|error| error.encode_forwarded(self.config.address.as_addr(), &mut out).ok()) {
            Some(()) => Bytes::from(out),
            None => Refusal::Internal("the next hop gave a reason that can't be read").to_packet(&self.config.address, now),
        }
    }
}
