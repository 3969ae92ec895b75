//! The store's box: it applies at once what comes to it; what comes to it, and when, is chance.

use super::unit::UnitNo;
use super::{Event, Stage, World};
use bytes::Bytes;
use ilp_core::store::{
    AccountRow, AccountSetup, Commit, CommitOutcome, Letter, Move, MoveChange, MoveOutcome, OpenedSlot, SlotNo, SlotPicture, slot_name,
};
use ilp_core::{AccountConfig, AccountId};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<AccountId, AccountRow>,
    pub(crate) slots: BTreeMap<SlotNo, Slot>,
    /// So many of the next answers are lost, late, or told twice.
    pub(crate) troubles: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) epoch: u64,
    pub(crate) last_seq: u64,
    pub(crate) log: Vec<(u64, Bytes)>,
    pub(crate) balances: BTreeMap<AccountId, i128>,
    pub(crate) mail: Vec<Letter>,
    letters: u64,
    pub(crate) lease: Option<(u64, i64)>,
}

impl Store {
    pub(crate) fn set_up(&mut self, config: &AccountConfig, slots: Vec<SlotNo>, key: [u8; 16]) {
        let setup = AccountSetup { id: config.id.clone(), slots, key, credit_limit: config.credit_limit };
        self.rows.insert(config.id.clone(), AccountRow::new(&setup));
    }

    pub(crate) fn change_limit(&mut self, config: &AccountConfig) -> AccountRow {
        let row = self.rows.get_mut(&config.id).unwrap();
        row.set_up(&AccountSetup { id: config.id.clone(), slots: Vec::new(), key: [0; 16], credit_limit: config.credit_limit });
        row.clone()
    }

    /// `None` while somebody else's lease runs.
    pub(crate) fn open(&mut self, slot: SlotNo, holder: u64, now: i64, until: i64) -> Result<OpenedSlot, i64> {
        let slot = self.slots.entry(slot).or_default();
        if let Some((_, ends)) = slot.lease.filter(|(other, ends)| *other != holder && *ends > now) {
            return Err(ends);
        }
        slot.lease = Some((holder, until));
        slot.epoch += 1;
        Ok(slot.opened())
    }

    fn commit(&mut self, slot: SlotNo, commit: &Commit) -> CommitOutcome {
        let slot = self.slots.get_mut(&slot).unwrap();
        if slot.epoch != commit.epoch {
            return CommitOutcome::Fenced { epoch: slot.epoch };
        }
        if commit.seq > slot.last_seq + 1 {
            return CommitOutcome::Gap { last_seq: slot.last_seq };
        }
        if commit.seq == slot.last_seq + 1 {
            slot.last_seq = commit.seq;
            slot.log.push((commit.seq, commit.blob.clone()));
            slot.log.retain(|(seq, _)| commit.cut_below.is_none_or(|cut| *seq >= cut));
            slot.mail.retain(|letter| commit.mail_read.is_none_or(|read| letter.no > read));
            for (id, balance) in &commit.balances {
                match balance {
                    Some(balance) => slot.balances.insert(id.clone(), *balance),
                    None => slot.balances.remove(id),
                };
            }
        }
        CommitOutcome::Durable
    }

    pub(crate) fn mail(&mut self, slot: SlotNo, content: Bytes) {
        let slot = self.slots.get_mut(&slot).unwrap();
        slot.letters += 1;
        slot.mail.push(Letter { no: slot.letters, content });
    }

    pub(crate) fn picture(&self, slot: SlotNo) -> SlotPicture {
        let of = &self.slots[&slot];
        SlotPicture {
            slot: of.opened(),
            balances: of.balances.clone().into_iter().collect(),
            accounts: self.rows.clone().into_iter().collect(),
        }
    }
}

impl Slot {
    pub(crate) fn opened(&self) -> OpenedSlot {
        let log = self.log.iter().map(|(_, blob)| blob.clone()).collect();
        OpenedSlot { epoch: self.epoch, last_seq: self.last_seq, log, mail: self.mail.clone() }
    }
}

impl World {
    fn trouble(&mut self) -> bool {
        let troubled = self.store.troubles > 0 && !self.calm;
        if troubled {
            self.store.troubles -= 1;
        }
        troubled
    }

    /// A commit has come to the store, whether or not whoever sent it lives.
    pub(crate) fn apply(&mut self, no: UnitNo, commit: Commit) {
        let takes = self.rng.range(0, 3);
        let slot = number_of(&commit.slot);
        if self.trouble() && self.rng.percent(50) {
            self.count("commits lost");
            let outcome = CommitOutcome::Unknown { cause: "lost".into() };
            return self.at(self.now + takes, Event::Committed(no, commit, outcome));
        }
        let outcome = self.store.commit(slot, &commit);
        if self.trouble() {
            self.count("answers lost");
            let outcome = CommitOutcome::Unknown { cause: "the answer was lost".into() };
            return self.at(self.now + takes, Event::Committed(no, commit, outcome));
        }
        self.at(self.now + takes, Event::Committed(no, commit, outcome));
    }

    /// A move has come to the store.
    pub(crate) fn decide(&mut self, no: UnitNo, request: Move) {
        let before = self.store.rows[&request.account].clone();
        let row = self.store.rows.get_mut(&request.account).unwrap();
        let outcome = row.apply(request.slot, request.n, &request.change);
        let after = row.clone();
        self.check_move(&before, &after, &request, &outcome);
        if let MoveChange::Draw { .. } = request.change {
            self.count("draws");
        }
        if self.trap_springs(no, Stage::Decided) {
            return;
        }
        let takes = self.rng.range(0, 5);
        if self.trouble() {
            self.count("moves asked twice");
            // The answer is lost, and the same move comes again; or an old one comes late.
            let again = self.rng.range(1, 400);
            self.at(self.now + again, Event::Decide(no, request.clone()));
            if self.rng.percent(50) {
                return;
            }
        }
        self.at(self.now + takes, Event::Moved(no, request, outcome));
    }

    pub(crate) fn told_of_move(&mut self, no: UnitNo, request: Move, outcome: MoveOutcome) {
        if !self.units.contains_key(&no) || self.trap_springs(no, Stage::Told) {
            return;
        }
        // What an old request is told is of no interest to whoever has had the answer.
        if matches!(outcome, MoveOutcome::Stale { .. }) {
            return;
        }
        self.give(no, ilp_core::worker::Input::Moved { account: request.account, n: request.n, outcome });
    }
}

pub(crate) fn number_of(name: &str) -> SlotNo {
    name.strip_prefix("slot-").unwrap().parse().unwrap()
}

pub(crate) fn name_of(slot: SlotNo) -> ilp_core::store::SlotName {
    slot_name(slot)
}
