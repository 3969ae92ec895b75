//! The store that a configuration asks for.

use crate::config::Store;
use async_trait::async_trait;
use ilp_core::store::{
    BalanceStore, BooksError, Commit, CommitOutcome, Durability, EmbeddedStore, MemoryStore, OpenedSlot, SlotName, SlotPicture, StoreError,
    StoreMetrics,
};
use std::error::Error;
use std::path::Path;

/// The books, wherever they are. Clones share them.
#[derive(Debug, Clone)]
pub(crate) enum OpenedStore {
    /// In memory.
    Memory(MemoryStore),
    /// In a directory.
    Embedded(EmbeddedStore),
}

impl OpenedStore {
    /// Opens them, or begins new ones if there are none. Blocks for a time that grows with them.
    pub(crate) fn open(store: &Store) -> Result<Self, BooksError> {
        match store {
            Store::Memory => Ok(Self::Memory(MemoryStore::new())),
            Store::Embedded(directory) => EmbeddedStore::open(&directory.path).map(Self::Embedded),
        }
    }

    fn inner(&self) -> &dyn BalanceStore {
        match self {
            Self::Memory(store) => store,
            Self::Embedded(store) => store,
        }
    }

    /// What the store has done, if it counts.
    pub(crate) fn metrics(&self) -> Option<StoreMetrics> {
        match self {
            Self::Memory(_) => None,
            Self::Embedded(store) => Some(store.metrics()),
        }
    }
}

#[async_trait]
impl BalanceStore for OpenedStore {
    async fn open(&self, slot: &SlotName) -> Result<OpenedSlot, StoreError> {
        self.inner().open(slot).await
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        self.inner().commit(batch).await
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
