//! The store that a configuration asks for.

use crate::config::Store;
use ilp_core::store::{BalanceStore, BooksError, EmbeddedStore, MemoryStore, StoreMetrics};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

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

    /// As a connector takes them.
    pub(crate) fn store(&self) -> Arc<dyn BalanceStore> {
        match self {
            Self::Memory(store) => Arc::new(store.clone()),
            Self::Embedded(store) => Arc::new(store.clone()),
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
