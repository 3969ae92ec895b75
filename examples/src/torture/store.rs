//! The store, with the moments around its calls; and one that lies.

use super::StoreKind;
use super::medium::{FILE_READ, OPEN_MOMENTS};
use super::points::{Point, Trigger};
use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::audit::BatchSummary;
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, EmbeddedStore, Lease, Move, MoveOutcome,
    OpenedSlot, Renewal, SlotName, SlotPicture, StoreError,
};
use ilp_store_redis::{RedisConfig, RedisStore};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Any store, watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) inner: Arc<dyn BalanceStore>,
    pub(super) trigger: Arc<Trigger>,
}

#[async_trait]
impl BalanceStore for Watched {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        if self.trigger.variant(Point::DuringOpen, OPEN_MOMENTS) == Some(FILE_READ) {
            self.trigger.at_last(Point::DuringOpen, || "the file is read, the slot is not".to_owned());
        }
        let opened = self.inner.open(slot, lease).await?;
        // Also for want of as many writes as there should have been before it.
        self.trigger.at_last(Point::DuringOpen, || format!("the epoch is {}, nothing follows from that yet", opened.epoch));
        self.trigger.set_opened();
        Ok(opened)
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let seq = batch.seq;
        let moment = self.trigger.variant(Point::DuringSnapshot, SNAPSHOT_MOMENTS);
        let snapshot = moment.and_then(|_| part_of_snapshot(&batch));
        let meant = |after: bool| match moment {
            Some(BEFORE_PART) => !after && snapshot.is_some(),
            Some(AFTER_PART) => after && snapshot.is_some(),
            Some(BEFORE_CUT) => !after && snapshot == Some(CUT),
            Some(_) => after && snapshot == Some(CUT),
            None => false,
        };
        let (before, after) = (meant(false), meant(true));
        self.trigger.at(Point::BeforeCommit, || format!("batch {seq}"));
        if before {
            self.trigger.at(Point::DuringSnapshot, || format!("batch {seq} with {} is to be committed", snapshot.unwrap_or_default()));
        }
        let outcome = self.inner.commit(batch).await;
        if outcome == CommitOutcome::Durable {
            self.trigger.at(Point::BetweenCommitAndRelease, || format!("batch {seq}"));
            if after {
                self.trigger.at(Point::DuringSnapshot, || format!("batch {seq} with {} is durable", snapshot.unwrap_or_default()));
            }
        }
        outcome
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.inner.renew(slot, epoch, lease).await
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.inner.set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.inner.make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.inner.mail(slot, letter).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.inner.directory().await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.inner.read(slot).await
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }
}

/// What is in a store whose connector is gone, slot by slot.
pub(super) async fn pictures(kind: StoreKind, directory: &Path, redis: Option<&str>) -> Result<Vec<(SlotName, SlotPicture)>, String> {
    let store: Option<Arc<dyn BalanceStore>> = match (kind, redis) {
        (StoreKind::Embedded, _) => Some(Arc::new(EmbeddedStore::open(directory).map_err(|error| error.to_string())?)),
        (StoreKind::Redis, Some(url)) => {
            let config = RedisConfig::new(url).map_err(|error| error.to_string())?;
            Some(Arc::new(RedisStore::connect(config).await.map_err(|error| error.to_string())?))
        }
        // What was in memory went with its process.
        _ => None,
    };
    let mut pictures = Vec::new();
    if let Some(store) = store {
        for slot in store.directory().await.map_err(|error| error.to_string())?.slots {
            let picture = store.read(&slot.name).await.map_err(|error| error.to_string())?;
            pictures.extend(picture.map(|picture| (slot.name, picture)));
        }
    }
    Ok(pictures)
}

/// What of a snapshot a batch carries, if anything.
fn part_of_snapshot(batch: &Commit) -> Option<&'static str> {
    match batch.cut_below {
        Some(_) => Some(CUT),
        None => BatchSummary::of(&batch.blob).is_ok_and(|batch| batch.snapshot).then_some(PART),
    }
}

/// A store that calls every batch durable at once, and commits it when it comes to it: `--sabotage no-hold`.
#[derive(Debug)]
pub(super) struct Hasty {
    inner: Arc<dyn BalanceStore>,
    batches: Mutex<Option<mpsc::Sender<Commit>>>,
    behind: Mutex<Option<JoinHandle<()>>>,
}

impl Hasty {
    /// Commits behind everybody's back, on the runtime that this is called on.
    pub(super) fn new(inner: Arc<dyn BalanceStore>) -> Self {
        let (batches, mut waiting) = mpsc::channel::<Commit>(HASTY_BATCHES);
        let store = inner.clone();
        let behind = tokio::spawn(async move {
            while let Some(batch) = waiting.recv().await {
                tokio::time::sleep(HASTY_LAG).await;
                let _ = store.commit(batch).await;
                while let Ok(batch) = waiting.try_recv() {
                    let _ = store.commit(batch).await;
                }
            }
        });
        Self { inner, batches: Mutex::new(Some(batches)), behind: Mutex::new(Some(behind)) }
    }

    /// For a stop in good order: what was promised is kept.
    pub(super) async fn finish(&self) {
        drop(self.batches.lock().unwrap_or_else(PoisonError::into_inner).take());
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(behind) = behind {
            let _ = behind.await;
        }
    }
}

#[async_trait]
impl BalanceStore for Hasty {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        self.inner.open(slot, lease).await
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match batches {
            Some(batches) if batches.send(batch).await.is_ok() => CommitOutcome::Durable,
            _ => CommitOutcome::Unknown { cause: "the store is closed".to_owned() },
        }
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.inner.renew(slot, epoch, lease).await
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.inner.set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.inner.make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.inner.mail(slot, letter).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.inner.directory().await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.inner.read(slot).await
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }
}

const SNAPSHOT_MOMENTS: u32 = 4;
const BEFORE_PART: u32 = 0;
const AFTER_PART: u32 = 1;
const BEFORE_CUT: u32 = 2;
const PART: &str = "a part of a snapshot";
const CUT: &str = "the end of a snapshot";
const HASTY_BATCHES: usize = 1_024;
/// How far a hasty store's commits are behind: as long as a slow disk takes.
const HASTY_LAG: Duration = Duration::from_millis(10);
