//! A directory that gets books from somewhere else. They have another name until they are whole.

use super::books::Books;
use super::error::BooksError;
use super::{file_in, make_dir, sync_dir};
use crate::store::FileMedium;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the file is while it is being written.
pub(super) fn partial_in(dir: &Path) -> PathBuf {
    dir.join("books.partial")
}

/// A directory that nothing is in.
#[derive(Debug)]
pub(super) struct Target {
    dir: PathBuf,
}

impl Target {
    /// Makes the directory, or takes one that is empty or has only what an earlier attempt left.
    pub(super) fn new(dir: &Path) -> Result<Self, BooksError> {
        make_dir(dir)?;
        let wrong = |error| BooksError::io(dir.display().to_string(), "list", error);
        for entry in fs::read_dir(dir).map_err(wrong)? {
            if entry.map_err(wrong)?.path() != partial_in(dir) {
                return Err(BooksError::Occupied { place: dir.display().to_string() });
            }
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// New books in it.
    pub(super) fn books(&self) -> Result<Books, BooksError> {
        Books::open(self.medium()?)
    }

    /// An empty file in it.
    pub(super) fn medium(&self) -> Result<Arc<FileMedium>, BooksError> {
        use crate::store::Medium;
        let path = partial_in(&self.dir);
        let medium = FileMedium::create(&path).and_then(|medium| medium.set_len(0).map(|()| medium));
        medium.map(Arc::new).map_err(|error| BooksError::io(path.display().to_string(), "make", error))
    }

    /// What was written, and is closed by now, becomes the directory's books.
    pub(super) fn finish(self) -> Result<(), BooksError> {
        let (partial, path) = (partial_in(&self.dir), file_in(&self.dir));
        let synced = fs::File::open(&partial).and_then(|file| file.sync_all());
        synced.and_then(|()| fs::rename(&partial, &path)).map_err(|error| BooksError::io(path.display().to_string(), "make", error))?;
        sync_dir(&self.dir)
    }
}
