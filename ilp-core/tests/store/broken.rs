//! Stores that are wrong, each in its own way: the suite must say which.

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use ilp_core::AccountId;
use ilp_core::conformance::{self, Subject, SubjectError};
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, Durability, OpenedSlot, SlotName, SlotPicture, StoreError};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// What is called durable isn't synced: a crash loses the last batch.
    NoSync,
    /// Any later number is taken.
    GapAccepted,
    OldEpochAccepted,
    /// Only later epochs are fenced off, not those nobody has yet.
    EpochToComeAccepted,
    /// A batch that is there already is applied again.
    RepeatApplied,
    /// The balances of a batch that is there already are set again.
    RepeatSetsBalances,
    /// A crash between blob and balances leaves the blob alone.
    HalfApplied,
    /// A cut drops one batch too many.
    CutDropsTail,
    /// The cut is made before the batch is there.
    CutBeforeBatch,
    /// The log is read first, and then the epoch raised.
    ReadsBeforeRaising,
    /// Reading is done by opening.
    ReadOpens,
    /// The epoch isn't kept.
    EpochForgotten,
    ClosedAccountsStay,
    /// The log is one for all slots.
    SlotsMixed,
    LargeBlobsTruncated,
    OpensUnasked,
}

/// A store with a disk: what is in `disk` survives a crash.
#[derive(Debug)]
struct Broken {
    bug: Bug,
    disk: Arc<Mutex<State>>,
    /// What the process knows.
    live: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    slots: HashMap<SlotName, Slot>,
    balances: BTreeMap<AccountId, i128>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    epoch: u64,
    last_seq: u64,
    log: Vec<(u64, Bytes)>,
}

impl Broken {
    fn start(bug: Bug, disk: Arc<Mutex<State>>) -> Self {
        let mut live = disk.lock().unwrap().clone();
        if bug == Bug::EpochForgotten {
            live.slots.values_mut().for_each(|slot| slot.epoch = 0);
        }
        Self { bug, disk, live: Mutex::new(live) }
    }

    fn save(&self, live: &State) {
        *self.disk.lock().unwrap() = live.clone();
    }

    fn key(&self, name: &SlotName) -> SlotName {
        if self.bug == Bug::SlotsMixed { name.chars().take(1).collect::<String>().into() } else { name.clone() }
    }

    /// What the outcome is, and whether the blob was applied: then the balances are to be.
    fn decide(&self, live: &mut State, batch: &Commit) -> (CommitOutcome, bool) {
        let bug = self.bug;
        let name = self.key(&batch.slot);
        if bug == Bug::OpensUnasked {
            live.slots.entry(name.clone()).or_insert(Slot { epoch: 1, ..Slot::default() });
        }
        let Some(slot) = live.slots.get_mut(&name) else { return (CommitOutcome::Gap { last_seq: 0 }, false) };
        let fenced = match bug {
            Bug::OldEpochAccepted => batch.epoch > slot.epoch,
            Bug::EpochToComeAccepted => batch.epoch < slot.epoch,
            _ => batch.epoch != slot.epoch,
        };
        if fenced {
            return (CommitOutcome::Fenced { epoch: slot.epoch }, false);
        }
        if batch.seq > slot.last_seq.saturating_add(1) && bug != Bug::GapAccepted {
            return (CommitOutcome::Gap { last_seq: slot.last_seq }, false);
        }
        if batch.seq <= slot.last_seq && bug != Bug::RepeatApplied {
            if bug == Bug::RepeatSetsBalances {
                live.balances.extend(batch.balances.iter().filter_map(|(id, balance)| Some((id.clone(), (*balance)?))));
            }
            return (CommitOutcome::Durable, false);
        }
        let cut = |slot: &mut Slot| {
            let cut = batch.cut_below.unwrap_or(0).saturating_add(u64::from(batch.cut_below.is_some() && bug == Bug::CutDropsTail));
            slot.log.retain(|(seq, _)| *seq >= cut);
        };
        if bug == Bug::CutBeforeBatch {
            cut(slot);
            self.disk.lock().unwrap().slots.insert(name.clone(), slot.clone());
        }
        let len = if bug == Bug::LargeBlobsTruncated { batch.blob.len().min(1 << 20) } else { batch.blob.len() };
        slot.log.push((batch.seq, batch.blob.slice(..len)));
        slot.last_seq = batch.seq.max(slot.last_seq);
        cut(slot);
        if bug == Bug::HalfApplied {
            self.disk.lock().unwrap().slots.insert(name, slot.clone());
        }
        (CommitOutcome::Durable, true)
    }
}

async fn pause() {
    let mut paused = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl BalanceStore for Broken {
    async fn open(&self, name: &SlotName) -> Result<OpenedSlot, StoreError> {
        let name = self.key(name);
        let mut read = self.live.lock().unwrap().slots.get(&name).cloned().unwrap_or_default();
        if self.bug == Bug::ReadsBeforeRaising {
            pause().await;
        }
        let mut live = self.live.lock().unwrap();
        let slot = live.slots.entry(name).or_default();
        slot.epoch += 1;
        if self.bug != Bug::ReadsBeforeRaising {
            read = slot.clone();
        }
        let opened = OpenedSlot { epoch: slot.epoch, last_seq: read.last_seq, log: read.log.into_iter().map(|(_, blob)| blob).collect() };
        self.save(&live);
        Ok(opened)
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let (outcome, applied) = self.decide(&mut self.live.lock().unwrap(), &batch);
        if !applied {
            return outcome;
        }
        // Between the blob and the balances, or the cut and the batch.
        if matches!(self.bug, Bug::HalfApplied | Bug::CutBeforeBatch) {
            pause().await;
        }
        let mut live = self.live.lock().unwrap();
        for (id, balance) in &batch.balances {
            match balance {
                Some(balance) => drop(live.balances.insert(id.clone(), *balance)),
                None if self.bug == Bug::ClosedAccountsStay => {}
                None => drop(live.balances.remove(id)),
            }
        }
        if self.bug != Bug::NoSync {
            self.save(&live);
        }
        outcome
    }

    async fn read(&self, name: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        let key = self.key(name);
        if !self.live.lock().unwrap().slots.contains_key(&key) {
            return Ok(None);
        }
        let slot = if self.bug == Bug::ReadOpens {
            self.open(name).await?
        } else {
            let live = self.live.lock().unwrap();
            let slot = live.slots.get(&key).cloned().unwrap_or_default();
            OpenedSlot { epoch: slot.epoch, last_seq: slot.last_seq, log: slot.log.into_iter().map(|(_, blob)| blob).collect() }
        };
        let balances = self.live.lock().unwrap().balances.iter().map(|(id, balance)| (id.clone(), *balance)).collect();
        Ok(Some(SlotPicture { slot, balances }))
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }
}

struct Breaking {
    bug: Bug,
    disk: Arc<Mutex<State>>,
}

#[async_trait]
impl Subject for Breaking {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.disk = Arc::default();
        Ok(Arc::new(Broken::start(self.bug, self.disk.clone())))
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        drop(store);
        Ok(Arc::new(Broken::start(self.bug, self.disk.clone())))
    }
}

fn failed(bug: Bug) -> Vec<&'static str> {
    let report = block_on(conformance::run(&mut Breaking { bug, disk: Arc::default() }));
    report.failed().map(|case| case.name).collect()
}

#[test]
fn without_a_bug_it_passes() {
    assert_eq!(failed(Bug::None), Vec::<&str>::new());
}

#[test]
fn every_bug_fails_the_case_that_is_named_for_it() {
    let expected = [
        (Bug::NoSync, "durable_survives_crash"),
        (Bug::GapAccepted, "gap_refused"),
        (Bug::OldEpochAccepted, "old_epoch_refused"),
        (Bug::EpochToComeAccepted, "unknown_epoch_refused"),
        (Bug::RepeatApplied, "repeat_changes_nothing"),
        (Bug::RepeatApplied, "repeat_with_other_bytes_changes_nothing"),
        (Bug::RepeatSetsBalances, "repeat_with_other_bytes_changes_nothing"),
        (Bug::HalfApplied, "batch_and_balances_both_or_neither"),
        (Bug::CutDropsTail, "cut_keeps_what_is_needed"),
        (Bug::CutBeforeBatch, "cut_and_crash_keep_the_tail"),
        (Bug::ReadsBeforeRaising, "epoch_raised_before_reading"),
        (Bug::ReadOpens, "read_takes_nothing"),
        (Bug::EpochForgotten, "epoch_survives_crash"),
        (Bug::ClosedAccountsStay, "closed_accounts_have_no_balance"),
        (Bug::SlotsMixed, "slots_are_independent"),
        (Bug::LargeBlobsTruncated, "large_and_empty_blobs"),
        (Bug::OpensUnasked, "unopened_slot_takes_nothing"),
    ];
    for (bug, case) in expected {
        let failed = failed(bug);
        assert!(failed.contains(&case), "{bug:?} should fail {case}, and fails {failed:?}");
    }
}

/// A bug that only one case can see fails no other.
#[test]
fn small_bugs_fail_little() {
    assert_eq!(failed(Bug::LargeBlobsTruncated), ["large_and_empty_blobs"]);
    assert_eq!(failed(Bug::ReadsBeforeRaising), ["epoch_raised_before_reading"]);
    assert_eq!(failed(Bug::HalfApplied), ["batch_and_balances_both_or_neither"]);
    assert_eq!(failed(Bug::OpensUnasked), ["unopened_slot_takes_nothing"]);
    assert_eq!(failed(Bug::EpochToComeAccepted), ["unknown_epoch_refused"]);
}
