//! The memory store, behind a disk that is slow, loses answers, and forgets what it hasn't synced.

use super::named;
use futures::FutureExt;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, Lease, MemoryStore, OpenedSlot};
use std::collections::BTreeMap;

pub(super) const SLOT: &str = "slot";

#[derive(Debug)]
pub(in super::super) struct MemoryDisk {
    memory: MemoryStore,
    /// All batches below and with this one survive the power.
    synced: u64,
    /// The last one that there is.
    applied: u64,
    /// The balances that each batch touched.
    balances: BTreeMap<u64, Vec<(String, i128)>>,
    /// Where batches allow the log to be cut. What isn't synced doesn't count: it can be forgotten.
    cuts: BTreeMap<u64, u64>,
}

/// What came of a commit.
pub(in super::super) struct Applied {
    pub(in super::super) outcome: CommitOutcome,
    /// The log has grown by it.
    pub(in super::super) grown: bool,
}

impl MemoryDisk {
    pub(super) fn new() -> Self {
        Self { memory: MemoryStore::new(), synced: 0, applied: 0, balances: BTreeMap::new(), cuts: BTreeMap::new() }
    }

    pub(in super::super) fn open(&mut self) -> OpenedSlot {
        // What is read is what there is from now on: an opener reads only what is safe.
        self.synced = self.applied;
        let mut slot =
            self.memory.open(&SLOT.into(), &Lease { holder: "process".into(), address: None, ms: 1 }).now_or_never().unwrap().unwrap();
        let cut = self.cuts.values().max().copied().unwrap_or(1);
        let first = slot.last_seq + 1 - u64::try_from(slot.log.len()).unwrap();
        slot.log.drain(..usize::try_from(cut.saturating_sub(first)).unwrap());
        slot
    }

    pub(in super::super) fn commit(&mut self, commit: &Commit) -> Applied {
        let before = self.memory.log_len(SLOT);
        let whole = Commit { cut_below: None, ..commit.clone() };
        let outcome = self.memory.commit(whole).now_or_never().unwrap();
        let grown = self.memory.log_len(SLOT) > before;
        if grown {
            self.applied = self.applied.max(commit.seq);
            self.balances.insert(commit.seq, named(commit));
            self.cuts.extend(commit.cut_below.map(|cut| (commit.seq, cut)));
        }
        Applied { outcome, grown }
    }

    /// Everything that there is survives the power from now on. The last batch.
    pub(in super::super) fn sync(&mut self) -> u64 {
        self.synced = self.applied;
        self.synced
    }

    pub(in super::super) fn is_synced(&self, seq: u64) -> bool {
        seq <= self.synced
    }

    /// The power is gone. Of what isn't synced, `written` batches are there all the same. The last one that is left.
    pub(in super::super) fn lose_power(&mut self, written: u64) -> u64 {
        let left = self.applied.min(self.synced.saturating_add(written));
        let lost = self.applied - left;
        self.memory.forget(SLOT, usize::try_from(lost).unwrap());
        self.balances.retain(|seq, _| *seq <= left);
        self.cuts.retain(|seq, _| *seq <= left);
        (self.applied, self.synced) = (left, left);
        left
    }

    /// How many batches would go with the power.
    pub(in super::super) fn unsynced(&self) -> u64 {
        self.applied - self.synced
    }

    pub(super) fn stored(&self) -> Vec<(String, i128)> {
        let stored: BTreeMap<String, i128> = self.balances.values().flatten().cloned().collect();
        stored.into_iter().collect()
    }
}
