//! Sums recomputed from the records alone, without the worker: one addition a record.

use super::Violation;
use crate::account::AccountId;
use crate::record::{AccountNo, AccountState, CorruptRecord, Leg, OWN, Record, Sums};
use crate::store::MoveChange;
use crate::worker::Totals;
use ilp_oer::{Timestamp, TransferId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What a log says, added up.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub(super) accounts: BTreeMap<AccountNo, Folded>,
    /// Of transfers that are held: since when, from whom to whom, how much.
    held: HashMap<TransferId, (i64, [Leg; 2])>,
    pub(super) records: u64,
    /// When the last batch began.
    pub(super) last_at: Option<i64>,
    pub(super) violations: Vec<Violation>,
    /// The account whose last transfers are wanted.
    wanted: Option<AccountId>,
    pub(super) last: VecDeque<(i64, TransferId)>,
}

/// An account's books, as its records make them.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) id: AccountId,
    pub(super) asset: String,
    pub(super) sums: Sums,
    /// Number of the last move, and whether it is under way.
    last_move: (u64, bool),
    /// Left the log; kept for what its records say.
    pub(super) closed: bool,
}

impl Fold {
    pub(super) fn new(wanted: Option<AccountId>) -> Self {
        Self { wanted, ..Self::default() }
    }

    pub(super) fn batch(&mut self, seq: u64, blob: &[u8]) -> Result<(), CorruptRecord> {
        for record in Record::decode_all(blob) {
            self.records = self.records.saturating_add(1);
            self.record(seq, &record?);
        }
        Ok(())
    }

    /// Held of an account: since when the oldest is, how many, how much.
    pub(super) fn held_of(&self, no: AccountNo) -> (Option<Timestamp>, u64, i128) {
        let held = self.held.values().filter(|(_, [from, _])| from.account == no);
        held.fold((None, 0, 0), |(oldest, count, amount): (Option<Timestamp>, u64, i128), (at, [leg, _])| {
            let at = Timestamp::from_unix_millis(*at).ok();
            (oldest.into_iter().chain(at).min(), count.saturating_add(1), amount.saturating_add(leg.amount.into()))
        })
    }

    fn record(&mut self, seq: u64, record: &Record<'_>) {
        match record {
            Record::BatchBegun { at, .. } => self.last_at = Some(*at),
            Record::AccountOpened { no, id, asset } | Record::AccountKnown { no, id, asset } => {
                let sums = Sums::default();
                let folded = Folded { id: id.clone(), asset: (*asset).to_owned(), sums, last_move: (0, false), closed: false };
                self.accounts.insert(*no, folded);
            }
            Record::AccountClosed { no, .. } | Record::AccountLeft { no, .. } => {
                if let Some(account) = self.accounts.get_mut(no) {
                    account.closed = true;
                }
            }
            Record::Prepared(prepared) => {
                self.add(prepared.from, |sums| &mut sums.incoming_prepared, 1);
                self.held.insert(prepared.key, (self.last_at.unwrap_or_default(), [prepared.from, prepared.to]));
                self.remember(prepared.key, [prepared.from.account, prepared.to.account]);
            }
            Record::Fulfilled { key, from, to, .. } => {
                self.add(*from, |sums| &mut sums.incoming_prepared, -1);
                self.add(*from, |sums| &mut sums.incoming_fulfilled, 1);
                self.add(*to, |sums| &mut sums.outgoing_fulfilled, 1);
                self.ended(seq, key, *from, Some(*to));
            }
            Record::Rejected { key, from, .. } => {
                self.add(*from, |sums| &mut sums.incoming_prepared, -1);
                self.ended(seq, key, *from, None);
            }
            Record::AnswerRefused { from, charged: false, .. } => self.add(*from, |sums| &mut sums.incoming_fulfilled, -1),
            Record::Charged { from, .. } => self.add(*from, |sums| &mut sums.incoming_unconditional, 1),
            Record::Settled { no, amount, .. } => {
                if let Some(account) = self.accounts.get_mut(no) {
                    account.sums.settlements = account.sums.settlements.saturating_add(*amount);
                }
            }
            Record::MoveBegun { no, n, change } => {
                let given = match change {
                    MoveChange::Give { amount } => *amount,
                    MoveChange::Draw { .. } | MoveChange::Close => 0,
                };
                self.moved(seq, *no, (*n, Some(*change)), given.saturating_neg());
            }
            Record::MoveEnded { no, n, moved } => self.moved(seq, *no, (*n, None), *moved),
            Record::Account(state) => self.account(seq, state),
            Record::Transfer(state) if state.outcome == 0 => {
                let at = self.last_at.unwrap_or_default();
                self.held.entry(state.prepared.key).or_insert((at, [state.prepared.from, state.prepared.to]));
            }
            _ => {}
        }
    }

    /// A snapshot states an account's sums. If the log has all that they are made of, they must be what its records add up to.
    fn account(&mut self, seq: u64, state: &AccountState<'_>) {
        match self.accounts.get_mut(&state.no) {
            Some(account) if account.sums != state.sums => {
                let what = format!(
                    "the snapshot in batch {seq} says {:?} of account {}, its records make it {:?}",
                    totals(&state.sums),
                    state.id,
                    totals(&account.sums)
                );
                self.violations.push(Violation { rule: "I2", what });
            }
            Some(_) => {}
            None => {
                let last_move = (state.last_move, state.moving.is_some());
                let folded = Folded { id: state.id.clone(), asset: state.asset.to_owned(), sums: state.sums, last_move, closed: false };
                self.accounts.insert(state.no, folded);
            }
        }
    }

    /// Moves of an account are numbered without gaps, and one begins when the one before has ended.
    fn moved(&mut self, seq: u64, no: AccountNo, (n, change): (u64, Option<MoveChange>), amount: i128) {
        let Some(account) = self.accounts.get_mut(&no) else { return };
        account.sums.moved = account.sums.moved.saturating_add(amount);
        let (last, under_way) = account.last_move;
        let fits = match change {
            Some(_) => !under_way && (n == last.saturating_add(1) || last == 0),
            None => under_way && n == last,
        };
        let id = account.id.clone();
        account.last_move = (n, change.is_some());
        if !fits {
            let what =
                format!("batch {seq} has move {n} of account {id} after move {last} ({})", if under_way { "under way" } else { "ended" });
            self.violations.push(Violation { rule: "I2", what });
        }
    }

    fn add(&mut self, leg: Leg, which: impl FnOnce(&mut Sums) -> &mut i128, sign: i128) {
        if leg.account == OWN {
            return;
        }
        // Before the snapshot that brings it: its sums have it in them.
        let Some(account) = self.accounts.get_mut(&leg.account) else { return };
        let sum = which(&mut account.sums);
        *sum = sum.saturating_add(i128::from(leg.amount).saturating_mul(sign));
    }

    /// What ends a transfer moves what it began with.
    fn ended(&mut self, seq: u64, key: &TransferId, from: Leg, to: Option<Leg>) {
        let Some((_, [held_from, held_to])) = self.held.remove(key) else { return };
        if held_from != from || to.is_some_and(|to| to != held_to) {
            let what = format!("batch {seq} ends a transfer with {from:?} and {to:?} that began with {held_from:?} and {held_to:?}");
            self.violations.push(Violation { rule: "I2", what });
        }
    }

    fn remember(&mut self, key: TransferId, of: [AccountNo; 2]) {
        let Some(wanted) = &self.wanted else { return };
        if of.iter().any(|no| self.accounts.get(no).is_some_and(|account| account.id == *wanted)) {
            if self.last.len() >= LAST {
                self.last.pop_front();
            }
            self.last.push_back((self.last_at.unwrap_or_default(), key));
        }
    }
}

pub(super) fn totals(sums: &Sums) -> Totals {
    Totals {
        incoming_prepared: sums.incoming_prepared,
        incoming_fulfilled: sums.incoming_fulfilled,
        incoming_unconditional: sums.incoming_unconditional,
        outgoing_fulfilled: sums.outgoing_fulfilled,
        outgoing_unconditional: sums.outgoing_unconditional,
        settlements: sums.settlements,
    }
}

/// So many of an account's last transfers are shown.
const LAST: usize = 20;
