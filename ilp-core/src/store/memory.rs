//! The store that keeps everything in memory: for tests, demonstrations, and as the reference of the contract.

use super::{BalanceStore, Commit, CommitOutcome, Durability, OpenedSlot, SlotName, SlotPicture, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A [`BalanceStore`] that survives a worker but not the process.
///
/// Tests can tell it to [hold](Self::hold) commits, to answer one in some other way ([`inject`](Self::inject)), and to
/// [forget](Self::forget). Clones share one store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

/// How the memory store shall fail, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Apply the batch, but answer that nobody knows.
    UnknownApplied,
    /// Don't apply the batch, and answer that nobody knows.
    UnknownLost,
    /// As if somebody else had opened the slot.
    Fenced,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<SlotName, Slot>,
    balances: BTreeMap<crate::AccountId, i128>,
    held: bool,
    waiting: Vec<Waker>,
    faults: VecDeque<Fault>,
    commits: u64,
    journal: Option<Vec<(u64, Bytes)>>,
}

#[derive(Debug, Default)]
struct Slot {
    epoch: u64,
    last_seq: u64,
    log: VecDeque<(u64, Bytes)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Until [`let_go`](Self::let_go), commits wait and are neither applied nor answered.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Commits go on.
    pub fn let_go(&self) {
        let mut state = self.lock();
        state.held = false;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// The next commit that isn't answered by an earlier fault fails like this.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    /// Forgets the last `batches` batches of a slot, as a failover that lost acknowledged writes does.
    pub fn forget(&self, slot: &str, batches: usize) {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(slot) {
            slot.log.truncate(slot.log.len().saturating_sub(batches));
            slot.last_seq = slot.log.back().map_or(0, |(seq, _)| *seq);
        }
    }

    /// How many commits were asked for, repeated ones too.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// How many batches of a slot are kept.
    pub fn log_len(&self, slot: &str) -> usize {
        self.lock().slots.get(slot).map_or(0, |slot| slot.log.len())
    }

    /// The balances beside the log.
    pub fn balances(&self) -> BTreeMap<crate::AccountId, i128> {
        self.lock().balances.clone()
    }

    /// From now on, keeps every commit it is asked for, for [`journal`](Self::journal).
    pub fn keep_journal(&self) {
        self.lock().journal = Some(Vec::new());
    }

    /// The sequence numbers and bytes of all commits asked for since [`keep_journal`](Self::keep_journal), in order.
    pub fn journal(&self) -> Vec<(u64, Bytes)> {
        self.lock().journal.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, so what is inside is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BalanceStore for MemoryStore {
    async fn open(&self, slot: &SlotName) -> Result<OpenedSlot, StoreError> {
        let mut state = self.lock();
        let slot = state.slots.entry(slot.clone()).or_default();
        slot.epoch = slot.epoch.saturating_add(1);
        Ok(slot.opened())
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        let state = self.lock();
        let balances = || state.balances.iter().map(|(id, balance)| (id.clone(), *balance)).collect();
        Ok(state.slots.get(slot).map(|slot| SlotPicture { slot: slot.opened(), balances: balances() }))
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let mut asked = false;
        poll_fn(|cx| {
            let mut state = self.lock();
            if !asked {
                asked = true;
                state.commits = state.commits.saturating_add(1);
                if let Some(journal) = &mut state.journal {
                    journal.push((batch.seq, batch.blob.clone()));
                }
            }
            if state.held {
                state.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(state.commit(&batch))
        })
        .await
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}

impl State {
    fn commit(&mut self, batch: &Commit) -> CommitOutcome {
        let fault = self.faults.pop_front();
        match fault {
            Some(Fault::UnknownLost) => return unknown(),
            Some(Fault::Fenced) => {
                let slot = self.slots.entry(batch.slot.clone()).or_default();
                slot.epoch = slot.epoch.saturating_add(1);
            }
            Some(Fault::UnknownApplied) | None => {}
        }
        let Some(slot) = self.slots.get_mut(&batch.slot) else {
            return CommitOutcome::Gap { last_seq: 0 };
        };
        if slot.epoch != batch.epoch {
            return CommitOutcome::Fenced { epoch: slot.epoch };
        }
        if batch.seq > slot.last_seq.saturating_add(1) {
            return CommitOutcome::Gap { last_seq: slot.last_seq };
        }
        if batch.seq > slot.last_seq {
            slot.last_seq = batch.seq;
            slot.log.push_back((batch.seq, batch.blob.clone()));
            if let Some(cut) = batch.cut_below {
                while slot.log.front().is_some_and(|(seq, _)| *seq < cut) {
                    slot.log.pop_front();
                }
            }
            for (id, balance) in &batch.balances {
                match balance {
                    Some(balance) => self.balances.insert(id.clone(), *balance),
                    None => self.balances.remove(id),
                };
            }
        }
        match fault {
            Some(Fault::UnknownApplied) => unknown(),
            _ => CommitOutcome::Durable,
        }
    }
}

impl Slot {
    fn opened(&self) -> OpenedSlot {
        OpenedSlot { epoch: self.epoch, last_seq: self.last_seq, log: self.log.iter().map(|(_, blob)| blob.clone()).collect() }
    }
}

fn unknown() -> CommitOutcome {
    CommitOutcome::Unknown { cause: "told to say so".into() }
}
