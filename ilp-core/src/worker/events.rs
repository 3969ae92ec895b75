//! The embedder's events: what a record says, under a number that follows from the log.
//!
//! An event needs no place of its own in the log. Records that change the books have events; they are counted, each batch begins with how many
//! lie before it, and after a restart the same records give the same events under the same numbers. What isn't acknowledged keeps the
//! log from being cut.

use super::accounts::asset_of;
use super::batch::Effect;
use super::{Worker, WorkerError};
use crate::account::AccountId;
use crate::event::{Event, NumberedEvent};
use crate::record::{AccountNo, Record};
use bytes::Bytes;
use ilp_oer::Amount;
use std::collections::{HashMap, VecDeque};

/// Where the embedder's stream of events stands.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// How many there were in the life of the slot: the number of the last one.
    last: u64,
    /// The embedder has those up to here.
    acked: u64,
    /// While the log is read: those that it hasn't.
    recovered: VecDeque<(u64, Event)>,
    /// While the log is read: whose numbers are whose, also of accounts that come up only later, or are closed later.
    names: HashMap<AccountNo, AccountId>,
}

impl Events {
    /// The number of the last event.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The number of the last event that the embedder has.
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }
}

impl Worker {
    /// Events that were told, or are about to be, and that the embedder hasn't acknowledged; 0 if it takes none.
    pub fn events_unacknowledged(&self) -> u64 {
        if self.config.events { self.events.last.saturating_sub(self.events.acked) } else { 0 }
    }

    /// What the log had of them when the worker was opened, in order. Empty when called again.
    pub fn take_recovered_events(&mut self) -> Vec<NumberedEvent> {
        let slot = self.config.slot;
        self.events.recovered.drain(..).map(|(number, event)| NumberedEvent { slot, number: Some(number), event }).collect()
    }

    /// The embedder has all events up to this one. Recorded with the next batch.
    pub(super) fn acknowledge_events(&mut self, through: u64) -> Result<(), WorkerError> {
        // What doesn't exist can't be acknowledged in advance: it would never be told again.
        let through = through.min(self.events.last);
        if through <= self.events.acked {
            return Ok(());
        }
        self.record_lazily(&Record::EventsAcked { through })
    }

    /// Below this number of events the log needn't be kept for them.
    pub(super) fn events_needed_from(&self) -> u64 {
        if self.config.events { self.events.acked } else { u64::MAX }
    }

    /// Counts a record that was just applied, if it has an event, and tells it.
    pub(super) fn count_event(&mut self, record: &Record<'_>, before: Option<Event>) {
        if !has_event(record) {
            return;
        }
        self.events.last = self.events.last.saturating_add(1);
        let (slot, number, replaying) = (self.config.slot, self.events.last, self.replaying);
        let Some(event) = before else { return };
        match replaying {
            true if number > self.events.acked => self.events.recovered.push_back((number, event)),
            true => {}
            false => self.effect(Effect::Event(Box::new(NumberedEvent { slot, number: Some(number), event }))),
        }
    }

    /// The event of a record that is about to be applied; `None` if it has none or nobody listens.
    pub(super) fn event_of(&self, record: &Record<'_>) -> Option<Event> {
        if !self.config.events || !has_event(record) {
            return None;
        }
        let name = |no: AccountNo| self.account(no).map(|account| account.id.clone()).or_else(|| self.events.names.get(&no).cloned());
        Some(match record {
            Record::AccountOpened { id, asset, .. } => Event::AccountOpened { account: id.clone(), asset: asset_of(asset) },
            Record::AccountClosed { id, written_off, .. } => Event::AccountClosed { account: id.clone(), written_off: *written_off },
            Record::Prepared(prepared) => Event::Accepted {
                from: name(prepared.from.account),
                to: name(prepared.to.account),
                id: prepared.key,
                incoming_amount: Amount::new(prepared.from.amount),
                outgoing_amount: Amount::new(prepared.to.amount),
            },
            Record::Fulfilled { key, from, to, .. } => Event::Fulfilled {
                from: name(from.account),
                to: name(to.account),
                id: *key,
                incoming_amount: Amount::new(from.amount),
                outgoing_amount: Amount::new(to.amount),
            },
            Record::Rejected { key, from, reason } => Event::Rejected {
                from: name(from.account),
                id: *key,
                incoming_amount: Amount::new(from.amount),
                code: super::apply::code_of(reason),
            },
            Record::AnswerRefused { key, from, charged: true } => {
                Event::Disputed { from: name(from.account), id: *key, incoming_amount: Amount::new(from.amount) }
            }
            Record::AnswerRefused { key, from, charged: false } => {
                Event::Lost { from: name(from.account), id: *key, incoming_amount: Amount::new(from.amount) }
            }
            Record::Unconfirmed { key, from } => {
                Event::Unconfirmed { from: name(from.account), id: *key, incoming_amount: Amount::new(from.amount) }
            }
            Record::Charged { from, id, .. } => Event::Charged { from: name(from.account)?, id: *id, amount: Amount::new(from.amount) },
            Record::Settled { no, id, amount } => Event::Settlement { account: name(*no)?, id: (*id).to_owned(), amount: *amount },
            _ => return None,
        })
    }

    pub(super) fn apply_events_acked(&mut self, through: u64) {
        self.events.acked = self.events.acked.max(through);
        while self.events.recovered.front().is_some_and(|(number, _)| *number <= through) {
            self.events.recovered.pop_front();
        }
    }

    /// A batch says how many events lie before it; the first one after a cut is the only one that tells us anything.
    pub(super) fn apply_events_before(&mut self, events: u64) -> Result<(), WorkerError> {
        if self.events.last == 0 {
            self.events.last = events;
        }
        match self.events.last == events {
            true => Ok(()),
            false => Err(WorkerError::Inconsistent("a batch counts other events before it than there are")),
        }
    }

    /// Before a log is read: the names of all accounts that it speaks of.
    pub(super) fn learn_names(&mut self, log: &[Bytes]) -> Result<(), (usize, WorkerError)> {
        if !self.config.events {
            return Ok(());
        }
        for (batch, blob) in log.iter().enumerate() {
            for record in Record::decode_all(blob) {
                match record.map_err(|error| (batch, error.into()))? {
                    Record::AccountOpened { no, id, .. }
                    | Record::AccountKnown { no, id, .. }
                    | Record::AccountClosed { no, id, .. }
                    | Record::AccountLeft { no, id } => drop(self.events.names.insert(no, id)),
                    Record::Account(state) => drop(self.events.names.insert(state.no, state.id)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn forget_names(&mut self) {
        self.events.names = HashMap::new();
    }
}

fn has_event(record: &Record<'_>) -> bool {
    matches!(
        record,
        Record::AccountOpened { .. }
            | Record::AccountClosed { .. }
            | Record::Prepared(_)
            | Record::Fulfilled { .. }
            | Record::Rejected { .. }
            | Record::AnswerRefused { .. }
            | Record::Unconfirmed { .. }
            | Record::Charged { .. }
            | Record::Settled { .. }
    )
}
