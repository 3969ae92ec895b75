//! The store that a configuration asks for.

use crate::config::Store;
use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, EmbeddedStore, Lease, MemoryStore, Move,
    MoveOutcome, OpenedSlot, Renewal, SlotName, SlotPicture, StoreError, StoreMetrics,
};
use ilp_store_redis::RedisStore;
use std::error::Error;
use std::path::Path;

/// The books, wherever they are. Clones share them.
#[derive(Debug, Clone)]
pub(crate) enum OpenedStore {
    /// In memory.
    Memory(MemoryStore),
    /// In a directory.
    Embedded(EmbeddedStore),
    /// On a server.
    Redis(RedisStore),
}

impl OpenedStore {
    /// Opens them, or begins new ones if there are none.
    pub(crate) async fn open(store: &Store) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(match store {
            Store::Memory => Self::Memory(MemoryStore::new()),
            Store::Embedded(directory) => {
                let path = directory.path.clone();
                // Reads the whole file, so not here.
                Self::Embedded(tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await??)
            }
            Store::Redis(redis) => Self::Redis(RedisStore::connect(redis.config()?).await?),
        })
    }

    fn inner(&self) -> &dyn BalanceStore {
        match self {
            Self::Memory(store) => store,
            Self::Embedded(store) => store,
            Self::Redis(store) => store,
        }
    }

    /// What the store has done, if it counts.
    pub(crate) fn metrics(&self) -> Option<StoreMetrics> {
        match self {
            Self::Memory(_) | Self::Redis(_) => None,
            Self::Embedded(store) => Some(store.metrics()),
        }
    }
}

#[async_trait]
impl BalanceStore for OpenedStore {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        self.inner().open(slot, lease).await
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        self.inner().commit(batch).await
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.inner().renew(slot, epoch, lease).await
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.inner().set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.inner().make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.inner().mail(slot, letter).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.inner().directory().await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.inner().read(slot).await
    }

    fn durability(&self) -> Durability {
        self.inner().durability()
    }
}

/// Whether a directory has books, or what remains of some.
pub(crate) fn are_in(directory: &Path) -> bool {
    directory.join("books.redb").exists()
}

/// An error with all its causes, in one line.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
