//! A connector's store: the memory store, behind a disk that is slow, loses answers, and forgets what it hasn't synced.

use super::fault::FaultKind;
use super::rng::Rng;
use futures::FutureExt;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, MemoryStore, OpenedSlot};
use std::collections::{BTreeMap, VecDeque};

const SLOT: &str = "slot";

/// Whatever it says happens at once: when that is, is the engine's.
#[derive(Debug)]
pub(super) struct Disk {
    memory: MemoryStore,
    /// All batches below and with this one survive the power.
    synced: u64,
    /// The last one that there is.
    applied: u64,
    /// The balances that each batch touched.
    balances: BTreeMap<u64, Vec<(String, i128)>>,
    /// What is to go wrong with the next commits.
    pub(super) unknown: VecDeque<FaultKind>,
    /// Until when it is slow.
    pub(super) slow_until: i64,
}

/// What came of a commit.
pub(super) struct Applied {
    pub(super) outcome: CommitOutcome,
    /// The log has grown by it.
    pub(super) grown: bool,
}

impl Disk {
    pub(super) fn new() -> Self {
        let (memory, balances, unknown) = (MemoryStore::new(), BTreeMap::new(), VecDeque::new());
        Self { memory, synced: 0, applied: 0, balances, unknown, slow_until: i64::MIN }
    }

    pub(super) fn slot() -> ilp_core::store::SlotName {
        SLOT.into()
    }

    /// How long the next thing takes, in milliseconds.
    pub(super) fn takes(&self, now: i64, rng: &mut Rng) -> i64 {
        if now < self.slow_until { rng.range(50, 600) } else { rng.range(0, 4) }
    }

    pub(super) fn open(&mut self) -> OpenedSlot {
        // What is read is what there is from now on: an opener reads only what is safe.
        self.synced = self.applied;
        self.memory.open(&Self::slot()).now_or_never().unwrap().unwrap()
    }

    pub(super) fn commit(&mut self, commit: &Commit) -> Applied {
        let before = self.memory.log_len(SLOT);
        let outcome = self.memory.commit(commit.clone()).now_or_never().unwrap();
        let grown = self.memory.log_len(SLOT) > before;
        if grown {
            self.applied = self.applied.max(commit.seq);
            self.balances.insert(commit.seq, named(commit));
        }
        Applied { outcome, grown }
    }

    /// Everything that there is survives the power from now on. The last batch.
    pub(super) fn sync(&mut self) -> u64 {
        self.synced = self.applied;
        self.synced
    }

    pub(super) fn is_synced(&self, seq: u64) -> bool {
        seq <= self.synced
    }

    /// The power is gone. Of what isn't synced, `written` batches are there all the same. The last one that is left.
    pub(super) fn lose_power(&mut self, written: u64) -> u64 {
        let left = self.applied.min(self.synced.saturating_add(written));
        let lost = self.applied - left;
        self.memory.forget(SLOT, usize::try_from(lost).unwrap());
        self.balances.retain(|seq, _| *seq <= left);
        (self.applied, self.synced) = (left, left);
        left
    }

    /// How many batches would go with the power.
    pub(super) fn unsynced(&self) -> u64 {
        self.applied - self.synced
    }

    /// The balances beside the log.
    pub(super) fn stored(&self) -> Vec<(String, i128)> {
        let stored: BTreeMap<String, i128> = self.balances.values().flatten().cloned().collect();
        stored.into_iter().collect()
    }
}

pub(super) fn named(commit: &Commit) -> Vec<(String, i128)> {
    commit.balances.iter().filter_map(|(id, balance)| Some((id.name().to_owned(), (*balance)?))).collect()
}
