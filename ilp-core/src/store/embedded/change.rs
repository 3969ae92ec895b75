//! One transaction: what each batch comes to, and what is written.

use super::accounts::mailbox_of;
use super::books::Slot;
use super::frame::{BODY_LEN_MAX, Label, NewBatch, encode_balances};
use super::schema::{BALANCES, BalanceKey, LOG, LogKey, SLOTS};
use super::trouble::{Trouble, damaged_balance, structure};
use super::wire::{Balance, balance_row, read_balance_row, slot_row};
use crate::AccountId;
use crate::store::{Commit, CommitOutcome, SlotName};
use redb::{ReadableTable, Table, WriteTransaction};
use std::collections::{BTreeMap, HashMap};

/// One transaction in the making.
#[derive(Debug)]
pub(super) struct Change<'a> {
    salt: u64,
    /// Of the last batch before.
    pub(super) stamp: u64,
    pub(super) applied: Vec<Applied<'a>>,
    /// Slots' numbers, each with a range of batches that go.
    removed: Vec<(u32, u64, u64)>,
    /// Slots as they will be.
    pub(super) slots: HashMap<SlotName, Slot>,
}

#[derive(Debug)]
pub(super) struct Applied<'a> {
    pub(super) batch: &'a Commit,
    /// The slot once this is durable.
    slot: Slot,
    /// It needs less than before.
    cuts: bool,
}

/// What to answer.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) outcome: CommitOutcome,
    /// It is right whatever becomes of the transaction.
    pub(super) settled: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(salt: u64, stamp: u64) -> Self {
        Self { salt, stamp, applied: Vec::new(), removed: Vec::new(), slots: HashMap::new() }
    }

    /// What a batch comes to after those before it; if it is to be applied, it will be.
    pub(super) fn decide(&mut self, durable: &HashMap<SlotName, Slot>, batch: &'a Commit) -> Decision {
        let changed = self.slots.get(&batch.slot);
        let settled = changed.is_none();
        let Some(slot) = changed.or_else(|| durable.get(&batch.slot)) else {
            return Decision { outcome: CommitOutcome::Gap { last_seq: 0 }, settled };
        };
        if batch.epoch != slot.epoch {
            return Decision { outcome: CommitOutcome::Fenced { epoch: slot.epoch }, settled: true };
        }
        if batch.seq <= slot.last_seq {
            return Decision { outcome: CommitOutcome::Durable, settled };
        }
        if batch.seq != slot.last_seq.saturating_add(1) {
            return Decision { outcome: CommitOutcome::Gap { last_seq: slot.last_seq }, settled };
        }
        if batch.blob.len() > BODY_LEN_MAX / 2 {
            let cause =
                format!("batch {} of slot {} has {} bytes, and may have {}", batch.seq, batch.slot, batch.blob.len(), BODY_LEN_MAX / 2);
            return Decision { outcome: CommitOutcome::Unknown { cause }, settled: true };
        }
        // The batch itself is always kept, whatever it says.
        let first = batch.cut_below.unwrap_or(slot.first).clamp(slot.first, batch.seq);
        // One that is cut by a later batch all at once would make everybody wait.
        let oldest = first.min(slot.oldest.saturating_add(REMOVED_PER_BATCH));
        self.stamp = self.stamp.saturating_add(1);
        let cuts = first > slot.first;
        self.removed.push((slot.no, slot.oldest, oldest));
        let slot = Slot { last_seq: batch.seq, first, oldest, stamp: self.stamp, ..*slot };
        self.applied.push(Applied { batch, slot, cuts });
        self.slots.insert(batch.slot.clone(), slot);
        if let Some(read) = batch.mail_read {
            self.read_mail(durable, &batch.slot, read);
        }
        Decision { outcome: CommitOutcome::Durable, settled: false }
    }

    /// Letters up to this one go.
    fn read_mail(&mut self, durable: &HashMap<SlotName, Slot>, slot: &str, read: u64) {
        let mailbox = mailbox_of(slot);
        let Some(slot) = self.slots.get(&mailbox).or_else(|| durable.get(&mailbox)).copied() else { return };
        let first = read.saturating_add(1).clamp(slot.first, slot.last_seq.saturating_add(1));
        self.removed.push((slot.no, slot.oldest, first));
        self.slots.insert(mailbox, Slot { first, oldest: first, ..slot });
    }

    /// A slot that nobody asks for by its name: with its first batch it comes into being.
    pub(super) fn provide(&mut self, durable: &HashMap<SlotName, Slot>, name: &SlotName) -> Slot {
        if let Some(slot) = self.slots.get(name).or_else(|| durable.get(name)) {
            return *slot;
        }
        let no = durable.values().chain(self.slots.values()).map(|slot| slot.no.saturating_add(1)).max().unwrap_or(0);
        let slot = Slot { no, epoch: 1, first: 1, oldest: 1, ..Slot::default() };
        self.slots.insert(name.clone(), slot);
        slot
    }

    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), Trouble> {
        let mut balances = Balances { table: transaction.open_table(BALANCES)?, changed: HashMap::new() };
        let mut log = transaction.open_table(LOG)?;
        for applied in &self.applied {
            let batch: &Commit = applied.batch;
            balances.change(&batch.balances, applied.slot.no);
            self.write_batch(applied, &balances, &mut log)?;
        }
        for (no, from, below) in self.removed.iter().filter(|(_, from, below)| from < below) {
            log.retain_in((*no, *from, 0)..(*no, *below, 0), |_, _| false)?;
        }
        let mut slots = transaction.open_table(SLOTS)?;
        for (name, slot) in &self.slots {
            slots.insert(&**name, &*slot_row(name, slot))?;
        }
        balances.write()
    }

    fn write_batch(&self, applied: &Applied<'_>, balances: &Balances<'_, '_>, log: &mut Table<'_, LogKey, &[u8]>) -> Result<(), Trouble> {
        let Applied { batch, slot, cuts } = applied;
        let Commit { slot: name, epoch, seq, blob, .. } = batch;
        let encoded = match cuts {
            true => balances.all_of(slot.no, &batch.balances)?,
            false => encode_balances(batch.balances.iter().map(|(id, balance)| (id, *balance))),
        };
        let (epoch, seq) = (*epoch, *seq);
        let label = Label { salt: self.salt, slot: name, epoch, seq, first: slot.first, stamp: slot.stamp, all_balances: *cuts };
        let new = NewBatch { label, balances: &encoded, blob };
        let too_large = |_| structure(format!("batch {seq} of slot {name} is too large"));
        for (no, len) in new.pieces().map_err(too_large)? {
            let mut place = log.insert_reserve((slot.no, seq, no), len)?;
            new.write_piece(no, place.as_mut()).map_err(too_large)?;
        }
        Ok(())
    }
}

/// The balances of all accounts: as they were before, and what has changed.
struct Balances<'t, 'c> {
    table: Table<'t, BalanceKey, &'static [u8]>,
    /// By slot and account.
    changed: HashMap<(u32, &'c AccountId), Option<i128>>,
}

impl<'c> Balances<'_, 'c> {
    fn change(&mut self, balances: &'c [(AccountId, Option<i128>)], slot: u32) {
        self.changed.extend(balances.iter().map(|(id, balance)| ((slot, id), *balance)));
    }

    /// Those of this slot, and those that it closes now.
    fn all_of(&self, slot: u32, now: &[(AccountId, Option<i128>)]) -> Result<Vec<u8>, Trouble> {
        let mut all = BTreeMap::new();
        let least: &[u8] = &[];
        for entry in self.table.range((slot, least)..(slot.saturating_add(1), least))? {
            let (key, row) = entry?;
            let (_, key) = key.value();
            let (id, balance) = read_balance_row(key, row.value()).ok_or_else(|| damaged_balance(key))?;
            if !self.changed.contains_key(&(slot, &id)) {
                all.insert(id, Some(balance.value));
            }
        }
        let changed = self.changed.iter().filter(|((of, _), balance)| *of == slot && balance.is_some());
        all.extend(changed.map(|((_, id), balance)| ((*id).clone(), *balance)));
        all.extend(now.iter().cloned());
        Ok(encode_balances(all.iter().map(|(id, balance)| (id, *balance))))
    }

    fn write(mut self) -> Result<(), Trouble> {
        let mut changed: Vec<_> = self.changed.into_iter().collect();
        // Neighbours in the table are written one after the other.
        changed.sort_unstable_by_key(|(key, _)| *key);
        for ((slot, id), balance) in changed {
            match balance {
                Some(value) => self.table.insert((slot, id.as_bytes()), &*balance_row(id, Balance { value, slot }))?,
                None => self.table.remove((slot, id.as_bytes()))?,
            };
        }
        Ok(())
    }
}

/// What to answer, given what became of the transaction.
pub(super) fn outcomes(decisions: Vec<Decision>, failed: Option<CommitOutcome>) -> Vec<CommitOutcome> {
    let outcome = |Decision { outcome, settled }| if settled { outcome } else { failed.clone().unwrap_or(outcome) };
    decisions.into_iter().map(outcome).collect()
}

/// How many batches that aren't needed go with each that comes.
const REMOVED_PER_BATCH: u64 = 16;
