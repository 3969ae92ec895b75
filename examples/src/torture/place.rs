//! Where a run has its files.

use super::run::RunError;
use crate::flood::random::random;
use std::fs;
use std::path::PathBuf;

/// A directory of the run's own, which goes with it unless it is to be kept.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    keep: bool,
}

impl Place {
    /// A new directory: the one to be kept, or one among the system's temporary files.
    pub(super) fn new(keep: Option<PathBuf>) -> Result<Self, RunError> {
        let root = match &keep {
            Some(root) => root.clone(),
            None => std::env::temp_dir().join(format!("torture-{}", hex::encode(random::<8>()?))),
        };
        fs::create_dir(&root).map_err(|source| RunError::Directory { path: root.clone(), source })?;
        // Children have the same working directory, but errors are easier to read so.
        let root = fs::canonicalize(&root).map_err(|source| RunError::Directory { path: root, source })?;
        Ok(Self { root, keep: keep.is_some() })
    }

    /// The journal of an account's peer.
    pub(super) fn journal(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.journal"))
    }

    /// The embedder's ledger.
    pub(super) fn ledger(&self) -> PathBuf {
        self.root.join("events.ledger")
    }

    /// The files of its Redis server.
    pub(super) fn redis(&self) -> Result<PathBuf, RunError> {
        let path = self.root.join("redis");
        fs::create_dir(&path).map_err(|source| RunError::Directory { path: path.clone(), source })?;
        Ok(path)
    }

    /// The connector's store.
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}
