//! Stores that are wrong, each in its own way: the suite must say which.

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use ilp_core::AccountId;
use ilp_core::conformance::{self, Subject, SubjectError};
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, LastMove, Lease, Leases, Letter, Move,
    MoveChange, MoveOutcome, MoveResult, OpenedSlot, Renewal, SlotEntry, SlotName, SlotPicture, StoreError,
};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Instant;

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
    /// One balance for all slots.
    BalancesShared,
    /// A setup of an account that is there takes its slots too.
    SetUpTakesAll,
    /// Enough is what the draw needs, less one.
    DrawsOneTooMany,
    /// The credit limit doesn't count.
    NoCredit,
    /// The last move is made again if it is asked for again.
    MoveMadeAgain,
    MoveGapAccepted,
    /// A move is told before it is on the disk.
    MoveNotSynced,
    /// Rows are read, and written later.
    RowsReadEarly,
    /// Letters are gone when they were delivered.
    LettersGoOnOpening,
    /// Letters go with a batch whether or not it is taken.
    LettersGoAnyway,
    /// Numbers of letters begin again when all are read.
    LettersNumberedAnew,
    LeaseIgnored,
    /// Leases last for ever.
    LeaseEndless,
    /// Whoever renews has it, under whatever epoch.
    RenewsForAll,
}

/// A store with a disk: what is in `disk` survives a crash.
#[derive(Debug)]
struct Broken {
    bug: Bug,
    disk: Arc<Mutex<State>>,
    /// What the process knows.
    live: Mutex<State>,
    leases: Mutex<Leases>,
    began: Instant,
}

#[derive(Debug, Clone, Default)]
struct State {
    slots: HashMap<SlotName, Slot>,
    balances: BTreeMap<(AccountId, SlotName), i128>,
    rows: BTreeMap<AccountId, AccountRow>,
    mail: BTreeMap<SlotName, Vec<Letter>>,
    letters: BTreeMap<SlotName, u64>,
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
        Self { bug, disk, live: Mutex::new(live), leases: Mutex::default(), began: Instant::now() }
    }

    fn save(&self, live: &State) {
        *self.disk.lock().unwrap() = live.clone();
    }

    fn now(&self) -> u64 {
        if self.bug == Bug::LeaseEndless { 0 } else { u64::try_from(self.began.elapsed().as_millis()).unwrap() }
    }

    fn of_slot(&self, live: &State, name: &SlotName) -> Vec<(AccountId, i128)> {
        let shared = self.bug == Bug::BalancesShared;
        let mine = |((id, slot), balance): (&(AccountId, SlotName), &i128)| (shared || slot == name).then(|| (id.clone(), *balance));
        live.balances.iter().filter_map(mine).collect()
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
                let name = batch.slot.clone();
                live.balances.extend(batch.balances.iter().filter_map(|(id, balance)| Some(((id.clone(), name.clone()), (*balance)?))));
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
    async fn open(&self, asked: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        let name = self.key(asked);
        if self.bug != Bug::LeaseIgnored {
            self.leases.lock().unwrap().take(asked, lease, self.now()).map_err(|held_by| StoreError::held(asked, held_by))?;
        }
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
        let log = read.log.into_iter().map(|(_, blob)| blob).collect();
        let epoch = slot.epoch;
        let mail = live.mail.entry(asked.clone()).or_default();
        let letters = mail.clone();
        if self.bug == Bug::LettersGoOnOpening {
            mail.clear();
        }
        let opened = OpenedSlot { epoch, last_seq: read.last_seq, log, mail: letters };
        self.save(&live);
        Ok(opened)
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let (outcome, applied) = self.decide(&mut self.live.lock().unwrap(), &batch);
        if (applied || self.bug == Bug::LettersGoAnyway) && batch.mail_read.is_some() {
            let mut live = self.live.lock().unwrap();
            let mail = live.mail.entry(batch.slot.clone()).or_default();
            mail.retain(|letter| Some(letter.no) > batch.mail_read);
            if mail.is_empty() && self.bug == Bug::LettersNumberedAnew {
                live.letters.clear();
            }
        }
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
                Some(balance) => drop(live.balances.insert((id.clone(), batch.slot.clone()), *balance)),
                None if self.bug == Bug::ClosedAccountsStay => {}
                None => drop(live.balances.remove(&(id.clone(), batch.slot.clone()))),
            }
        }
        if self.bug != Bug::NoSync {
            self.save(&live);
        }
        outcome
    }

    async fn renew(&self, name: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        let now = self.live.lock().unwrap().slots.get(&self.key(name)).map_or(0, |slot| slot.epoch);
        if now == epoch || self.bug == Bug::RenewsForAll {
            self.leases.lock().unwrap().renew(name, lease, self.now());
            return Renewal::Kept;
        }
        Renewal::Fenced { epoch: now }
    }

    async fn set_up(&self, setup: &AccountSetup) -> Result<AccountRow, StoreError> {
        let mut live = self.live.lock().unwrap();
        let row = live.rows.entry(setup.id.clone()).or_insert_with(|| AccountRow::new(setup));
        row.set_up(setup);
        if self.bug == Bug::SetUpTakesAll {
            (row.slots, row.key) = (setup.slots.clone(), setup.key);
        }
        let row = row.clone();
        self.save(&live);
        Ok(row)
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        let Some(mut row) = self.live.lock().unwrap().rows.get(&request.account).cloned() else { return MoveOutcome::NoAccount };
        if self.bug == Bug::RowsReadEarly {
            pause().await;
        }
        let mut change = request.change;
        if let MoveChange::Draw { needed, least, share } = request.change {
            change = match self.bug {
                Bug::DrawsOneTooMany => MoveChange::Draw { needed: needed - 1, least: least - 1, share },
                Bug::NoCredit => MoveChange::Draw { needed: needed + i128::from(row.credit_limit), least, share },
                _ => change,
            };
        }
        let last = row.moves.get(&request.slot).map_or(0, |last| last.n);
        if (request.n == last && self.bug == Bug::MoveMadeAgain) || (request.n > last + 1 && self.bug == Bug::MoveGapAccepted) {
            let total = row.moves.get(&request.slot).map_or(0, |last| last.total);
            let result = MoveResult { moved: 0, enough: true };
            row.moves.insert(request.slot, LastMove { n: request.n.saturating_sub(1), result, total });
        }
        let mut live = self.live.lock().unwrap();
        if self.bug != Bug::RowsReadEarly {
            row = AccountRow { moves: row.moves, ..live.rows[&request.account].clone() };
        }
        let outcome = row.apply(request.slot, request.n, &change);
        live.rows.insert(request.account.clone(), row);
        if self.bug != Bug::MoveNotSynced {
            self.save(&live);
        }
        outcome
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        let mut live = self.live.lock().unwrap();
        if !live.slots.contains_key(&self.key(slot)) {
            return Err(StoreError::no_mailbox(slot));
        }
        let no = live.letters.entry(slot.clone()).or_default();
        *no += 1;
        let letter = Letter { no: *no, content: letter };
        live.mail.entry(slot.clone()).or_default().push(letter);
        self.save(&live);
        Ok(())
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        let live = self.live.lock().unwrap();
        let lease = |name: &SlotName| self.leases.lock().unwrap().of(name, self.now());
        let entry = |(name, slot): (&SlotName, &Slot)| SlotEntry {
            name: name.clone(),
            epoch: slot.epoch,
            last_seq: slot.last_seq,
            lease: lease(name),
            letters: 0,
        };
        let slots = live.slots.iter().map(entry).collect();
        let balances = live.balances.iter().map(|((id, slot), balance)| (id.clone(), slot.clone(), *balance)).collect();
        Ok(Directory { slots, accounts: live.rows.clone().into_iter().collect(), balances })
    }

    async fn read(&self, name: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        let key = self.key(name);
        if !self.live.lock().unwrap().slots.contains_key(&key) {
            return Ok(None);
        }
        let slot = if self.bug == Bug::ReadOpens {
            self.open(name, &crate::support::lease()).await?
        } else {
            let live = self.live.lock().unwrap();
            let slot = live.slots.get(&key).cloned().unwrap_or_default();
            let log = slot.log.into_iter().map(|(_, blob)| blob).collect();
            OpenedSlot { epoch: slot.epoch, last_seq: slot.last_seq, log, mail: Vec::new() }
        };
        let live = self.live.lock().unwrap();
        let accounts = live.rows.clone().into_iter().collect();
        Ok(Some(SlotPicture { slot, balances: self.of_slot(&live, name), accounts }))
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
        (Bug::BalancesShared, "balances_are_each_slots_own"),
        (Bug::SetUpTakesAll, "setups_can_be_repeated"),
        (Bug::DrawsOneTooMany, "draws_take_what_is_there_and_no_more"),
        (Bug::NoCredit, "draws_take_what_is_there_and_no_more"),
        (Bug::MoveMadeAgain, "moves_can_be_repeated"),
        (Bug::MoveGapAccepted, "moves_can_be_repeated"),
        (Bug::MoveNotSynced, "moves_survive_crash"),
        (Bug::RowsReadEarly, "slots_draw_together_what_there_is"),
        (Bug::LettersGoOnOpening, "letters_wait_until_they_are_read"),
        (Bug::LettersGoAnyway, "letters_wait_until_they_are_read"),
        (Bug::LettersNumberedAnew, "letters_wait_until_they_are_read"),
        (Bug::LeaseIgnored, "a_lease_keeps_others_out"),
        (Bug::LeaseEndless, "a_lease_ends_unless_it_is_renewed"),
        (Bug::RenewsForAll, "a_lease_ends_unless_it_is_renewed"),
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
