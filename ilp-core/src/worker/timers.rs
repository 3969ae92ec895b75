//! Deadlines: of a hold, of an owed answer, and of remembering.

use super::{Outcome, Tag, Transfer, Worker, WorkerError};
use crate::record::{OWN, Record};
use crate::refusal::Refusal;
use crate::wheel::Timer;
use ilp_oer::Timestamp;

/// So many at most in one step: thousands of transfers with one expiry must not hold up everybody else. What is still accepted is decided by
/// the time, not by whether a timer has had its turn.
const TIMERS_PER_STEP: usize = 256;

impl Worker {
    pub(super) fn fire_timers(&mut self, now: Timestamp) -> Result<(), WorkerError> {
        if self.fired.is_empty() {
            self.wheel.advance(now, &mut self.fired);
        }
        for _ in 0..TIMERS_PER_STEP {
            let Some(timer) = self.fired.pop() else { break };
            self.fire(Tag { index: timer.index, check: timer.check }, now)?;
        }
        Ok(())
    }

    fn fire(&mut self, tag: Tag, now: Timestamp) -> Result<(), WorkerError> {
        let Some(transfer) = self.transfer(tag) else { return Ok(()) };
        let due = self.due(transfer);
        if now < due {
            self.wheel.insert(Timer { index: tag.index, check: tag.check }, due);
            return Ok(());
        }
        let (key, from) = (transfer.key, transfer.from);
        match (transfer.outcome, transfer.active.is_some()) {
            (Outcome::Held, _) => {
                let reason = Refusal::TimedOut.to_packet(&self.config.address, now);
                self.reject(tag, &reason)?;
            }
            (Outcome::Fulfilled(_), true) => {
                self.counters.unconfirmed = self.counters.unconfirmed.saturating_add(1);
                self.record(&Record::Unconfirmed { key, from })?;
            }
            (_, true) => self.record_lazily(&Record::AnswerAcked { key })?,
            (_, false) => {
                self.forget(tag);
                return Ok(());
            }
        }
        if let Some(transfer) = self.transfer(tag) {
            let due = self.due(transfer);
            self.wheel.insert(Timer { index: tag.index, check: tag.check }, due);
        }
        Ok(())
    }

    /// When something must be done about a transfer, as it stands.
    fn due(&self, transfer: &Transfer) -> Timestamp {
        let timing = &self.config.timing;
        match (transfer.outcome, transfer.active) {
            (Outcome::Held, _) => transfer.expires_at.saturating_add_millis(self.grace_ms(transfer)),
            (_, Some(_)) => transfer.incoming_expires_at.saturating_add_millis(timing.grace_ms),
            (_, None) => transfer.incoming_expires_at.saturating_add_millis(timing.skew_ms_max),
        }
    }

    /// How long after its expiry a held transfer's outcome is waited for.
    pub(super) fn grace_ms(&self, transfer: &Transfer) -> i64 {
        let recovered = self.active(transfer).is_some_and(|active| active.recovered);
        let skew = if recovered { self.recovered_skew_ms } else { 0 };
        self.config.timing.grace_ms.saturating_add(skew)
    }

    fn forget(&mut self, tag: Tag) {
        let Some(transfer) = usize::try_from(tag.index).ok().and_then(|index| self.transfers.try_remove(index)) else {
            return;
        };
        if transfer.outcome != Outcome::Charged {
            self.outgoing.remove(&transfer.key);
        }
        // A peer may have used the id again since, for another transfer; a log that was read has both.
        let incoming = (transfer.from.account, transfer.incoming_id);
        if transfer.from.account != OWN && self.incoming.get(&incoming) == Some(&tag.index) {
            self.incoming.remove(&incoming);
        }
        if let Some(account) = self.account_mut(transfer.from.account) {
            account.remembered = account.remembered.saturating_sub(1);
        }
    }
}
