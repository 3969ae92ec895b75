//! A store that says when it is in trouble: once when it begins, once a minute while it lasts, and once when it is over.

use super::Log;
use super::store::OpenedStore;
use crate::show;
use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, Lease, Move, MoveOutcome, OpenedSlot, Renewal,
    SlotName, SlotPicture, StoreError,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often trouble that lasts is said again.
const AGAIN_EVERY: Duration = Duration::from_secs(60);

/// Passes everything on, and watches what becomes of commits. Clones share what they see.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    store: OpenedStore,
    log: Log,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Batches that were handed over and aren't durable.
    undecided: BTreeSet<u64>,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    said: Instant,
    tries: u64,
    /// Batches that were tried in vain.
    batches: BTreeSet<u64>,
}

impl Watched {
    pub(super) fn new(store: OpenedStore, log: Log) -> Self {
        Self { store, log, seen: Arc::default() }
    }

    /// Batches that the store was asked to keep and hasn't called durable.
    pub(super) fn undecided(&self) -> usize {
        self.seen().undecided.len()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// What to say about a commit's outcome, if anything.
    fn outcome(&mut self, seq: u64, outcome: &CommitOutcome, now: Instant) -> Option<String> {
        match outcome {
            CommitOutcome::Unknown { cause } => match &mut self.trouble {
                None => {
                    self.trouble = Some(Trouble { since: now, said: now, tries: 1, batches: BTreeSet::from([seq]) });
                    Some(format!(
                        "THE STORE IS IN TROUBLE: batch {seq} can't be made durable: {cause}. Nothing is lost: what isn't durable is held \
                         back and tried again until it is, and payments wait or are refused meanwhile"
                    ))
                }
                Some(trouble) => {
                    trouble.batches.insert(seq);
                    trouble.tries = trouble.tries.saturating_add(1);
                    let due = now.saturating_duration_since(trouble.said) >= AGAIN_EVERY;
                    due.then(|| {
                        trouble.said = now;
                        let time = show::duration(now.saturating_duration_since(trouble.since));
                        format!("the store is still in trouble after {time} and {} tries: {cause}", show::count(trouble.tries))
                    })
                }
            },
            CommitOutcome::Durable => {
                self.undecided.remove(&seq);
                let trouble = self.trouble.as_mut()?;
                trouble.batches.remove(&seq);
                if !trouble.batches.is_empty() {
                    return None;
                }
                let trouble = self.trouble.take()?;
                let time = show::duration(now.saturating_duration_since(trouble.since));
                Some(format!(
                    "the store is out of trouble after {time} and {} tries: everything is durable again",
                    show::count(trouble.tries)
                ))
            }
            // The worker is thrown away, and the slot opened again.
            CommitOutcome::Fenced { .. } | CommitOutcome::Gap { .. } => None,
        }
    }
}

#[async_trait]
impl BalanceStore for Watched {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        // Whatever an earlier worker still wanted, this opener finds what is there.
        *self.seen() = Seen::default();
        self.store.open(slot, lease).await
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let seq = batch.seq;
        self.seen().undecided.insert(seq);
        let outcome = self.store.commit(batch).await;
        let say = self.seen().outcome(seq, &outcome, Instant::now());
        if let Some(text) = say {
            self.log.line(text);
        }
        outcome
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.store.renew(slot, epoch, lease).await
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.store.set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.store.make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.store.mail(slot, letter).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.store.directory().await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.store.read(slot).await
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> CommitOutcome {
        CommitOutcome::Unknown { cause: "no room".into() }
    }

    #[test]
    fn trouble_is_said_once_then_once_a_minute_then_its_end() {
        let (mut seen, began) = (Seen::default(), Instant::now());
        seen.undecided.extend([7, 8]);
        let after = |seconds| began + Duration::from_secs(seconds);
        assert!(seen.outcome(7, &full(), began).unwrap().contains("batch 7 can't be made durable: no room"));
        for _ in 0..1_000 {
            assert_eq!(seen.outcome(7, &full(), after(59)), None);
        }
        assert_eq!(seen.outcome(8, &full(), after(61)).unwrap(), "the store is still in trouble after 1 min 01 s and 1,002 tries: no room");
        assert_eq!(seen.outcome(7, &CommitOutcome::Durable, after(62)), None);
        let end = "the store is out of trouble after 1 min 03 s and 1,002 tries: everything is durable again";
        assert_eq!(seen.outcome(8, &CommitOutcome::Durable, after(63)).unwrap(), end);
        assert_eq!(seen.outcome(9, &CommitOutcome::Durable, after(63)), None);
        assert!(seen.undecided.is_empty());
        assert!(seen.outcome(9, &full(), after(64)).unwrap().starts_with("THE STORE IS IN TROUBLE"));
    }
}
