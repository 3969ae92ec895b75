//! The store that keeps everything in memory: for tests, demonstrations, and as the reference of the contract.

use super::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, Lease, Leases, Letter, Move, MoveOutcome,
    OpenedSlot, Renewal, SlotEntry, SlotName, SlotPicture, StoreError,
};
use crate::account::AccountId;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

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

#[derive(Debug)]
struct State {
    slots: HashMap<SlotName, Slot>,
    accounts: BTreeMap<AccountId, AccountRow>,
    leases: Leases,
    began: Instant,
    /// Added to the time that has passed since.
    skipped: Duration,
    moves: u64,
    held: bool,
    waiting: Vec<Waker>,
    faults: VecDeque<Fault>,
    commits: u64,
    journal: Option<Vec<(u64, Bytes)>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            accounts: BTreeMap::new(),
            leases: Leases::default(),
            began: Instant::now(),
            skipped: Duration::ZERO,
            moves: 0,
            held: false,
            waiting: Vec::new(),
            faults: VecDeque::new(),
            commits: 0,
            journal: None,
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    epoch: u64,
    last_seq: u64,
    log: VecDeque<(u64, Bytes)>,
    balances: BTreeMap<AccountId, i128>,
    mail: VecDeque<Letter>,
    letters: u64,
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

    /// How many moves were asked for, repeated ones too.
    pub fn moves(&self) -> u64 {
        self.lock().moves
    }

    /// What a slot has of accounts, as it stands beside its log.
    pub fn balances(&self, slot: &str) -> BTreeMap<AccountId, i128> {
        self.lock().slots.get(slot).map(|slot| slot.balances.clone()).unwrap_or_default()
    }

    /// Time passes, for leases only.
    pub fn pass(&self, time: Duration) {
        let mut state = self.lock();
        state.skipped = state.skipped.saturating_add(time);
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
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        let mut state = self.lock();
        let now = state.now();
        state.leases.take(slot, lease, now).map_err(|held_by| StoreError::held(slot, held_by))?;
        let slot = state.slots.entry(slot.clone()).or_default();
        slot.epoch = slot.epoch.saturating_add(1);
        Ok(slot.opened())
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        let mut state = self.lock();
        match state.slots.get(slot).map_or(0, |slot| slot.epoch) {
            now if now == epoch => {
                let now = state.now();
                state.leases.renew(slot, lease, now);
                Renewal::Kept
            }
            epoch => Renewal::Fenced { epoch },
        }
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        let mut state = self.lock();
        let row = state.accounts.entry(account.id.clone()).or_insert_with(|| AccountRow::new(account));
        row.set_up(account);
        Ok(row.clone())
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        let mut state = self.lock();
        state.moves = state.moves.saturating_add(1);
        match state.accounts.get_mut(&request.account) {
            Some(row) => row.apply(request.slot, request.n, &request.change),
            None => MoveOutcome::NoAccount,
        }
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        let mut state = self.lock();
        let Some(mailbox) = state.slots.get_mut(slot) else { return Err(StoreError::no_mailbox(slot)) };
        mailbox.letters = mailbox.letters.saturating_add(1);
        mailbox.mail.push_back(Letter { no: mailbox.letters, content: letter });
        Ok(())
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        let state = self.lock();
        Ok(state.slots.get(slot).map(|slot| SlotPicture {
            slot: slot.opened(),
            balances: slot.balances.iter().map(|(id, balance)| (id.clone(), *balance)).collect(),
            accounts: state.rows(),
        }))
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        let state = self.lock();
        let now = state.now();
        let entry = |(name, slot): (&SlotName, &Slot)| SlotEntry {
            name: name.clone(),
            epoch: slot.epoch,
            last_seq: slot.last_seq,
            lease: state.leases.of(name, now),
            letters: u64::try_from(slot.mail.len()).unwrap_or(u64::MAX),
        };
        let mut slots: Vec<_> = state.slots.iter().map(entry).collect();
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let of_slot = |(name, slot): (&SlotName, &Slot)| -> Vec<_> {
            slot.balances.iter().map(|(id, balance)| (id.clone(), name.clone(), *balance)).collect()
        };
        let mut balances: Vec<_> = state.slots.iter().flat_map(of_slot).collect();
        balances.sort();
        Ok(Directory { slots, accounts: state.rows(), balances })
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
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().saturating_add(self.skipped).as_millis()).unwrap_or(u64::MAX)
    }

    fn rows(&self) -> Vec<(AccountId, AccountRow)> {
        self.accounts.iter().map(|(id, row)| (id.clone(), row.clone())).collect()
    }

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
                    Some(balance) => slot.balances.insert(id.clone(), *balance),
                    None => slot.balances.remove(id),
                };
            }
            slot.mail.retain(|letter| batch.mail_read.is_none_or(|read| letter.no > read));
        }
        match fault {
            Some(Fault::UnknownApplied) => unknown(),
            _ => CommitOutcome::Durable,
        }
    }
}

impl Slot {
    fn opened(&self) -> OpenedSlot {
        let log = self.log.iter().map(|(_, blob)| blob.clone()).collect();
        OpenedSlot { epoch: self.epoch, last_seq: self.last_seq, log, mail: self.mail.iter().cloned().collect() }
    }
}

fn unknown() -> CommitOutcome {
    CommitOutcome::Unknown { cause: "told to say so".into() }
}
