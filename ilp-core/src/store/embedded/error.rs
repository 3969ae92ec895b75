//! What can be wrong with a directory of books.

use super::trouble::Trouble;
use crate::store::{SlotName, StoreError};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Books that can't be opened, copied or read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BooksError {
    /// Only one store may have a directory open at a time.
    #[error("{place} is open already, in another process or in this one: stop that, or choose another directory")]
    InUse {
        /// Which file.
        place: String,
    },
    /// The operating system doesn't allow it.
    #[error("no permission to {doing} {place}: let the user that runs this own it, or choose another directory")]
    Permission {
        /// What was tried.
        doing: &'static str,
        /// With which file or directory.
        place: String,
        /// The system's own words.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is no room.
    #[error("no room to {doing} {place}: make some, what is there is safe")]
    Full {
        /// What was tried.
        doing: &'static str,
        /// With which file or directory.
        place: String,
        /// The system's own words.
        #[source]
        source: Arc<io::Error>,
    },
    /// Any other failure of the operating system.
    #[error("can't {doing} {place}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or directory.
        place: String,
        /// The system's own words.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file that has nothing to do with this.
    #[error("{place} isn't a file of books ({why}): choose another directory")]
    NotBooks {
        /// Which file.
        place: String,
        /// How that was seen.
        why: String,
    },
    /// What was written isn't what is read.
    #[error("{place} is damaged: {damage}. Restore a backup, or let `salvage` copy what can be read into a new directory")]
    Damaged {
        /// Which file.
        place: String,
        /// Where, as far as that is known.
        damage: Damage,
    },
    /// Written by a newer version of this software.
    #[error("{place} has schema {found}, this version knows schemas up to {known}: use the version that wrote it, or a newer one")]
    Newer {
        /// Which file.
        place: String,
        /// The schema it says it has.
        found: u64,
        /// The newest schema known.
        known: u64,
    },
    /// Nothing is ever written over books.
    #[error("there is something at {place} already: choose a directory that is empty or isn't there")]
    Occupied {
        /// Which directory.
        place: String,
    },
    /// A restore or a salvage was interrupted.
    #[error("{place} was left by copying that didn't come to its end: do it again, or remove that file to begin new books")]
    Unfinished {
        /// Which file.
        place: String,
    },
    /// No books where there should be some.
    #[error("there are no books at {place}")]
    Missing {
        /// Which file.
        place: String,
    },
    /// The store's own thread has ended.
    #[error("the store at {place} has stopped: open it again")]
    Stopped {
        /// Which file.
        place: String,
    },
}

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The records of one batch; those before it are whole.
    Batch {
        /// Of which slot.
        slot: String,
        /// Its sequence number.
        seq: u64,
        /// How that was seen.
        what: String,
    },
    /// What is known of a slot beside its batches.
    Slot {
        /// Which.
        slot: String,
    },
    /// The balance of an account.
    Balance {
        /// Its id, as far as it can be read.
        account: String,
    },
    /// The file's own structure.
    File {
        /// How that was seen.
        what: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { slot, seq, what } => write!(f, "batch {seq} of slot {slot} can't be read ({what})"),
            Self::Slot { slot } => write!(f, "what is known of slot {slot} can't be read"),
            Self::Balance { account } => write!(f, "the balance of account {account} can't be read"),
            Self::File { what } => write!(f, "its structure can't be read ({what})"),
        }
    }
}

impl BooksError {
    pub(super) fn io(place: impl Into<String>, doing: &'static str, source: io::Error) -> Self {
        let (place, source) = (place.into(), Arc::new(source));
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission { doing, place, source },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, place, source },
            io::ErrorKind::ResourceBusy => Self::InUse { place },
            _ => Self::Io { doing, place, source },
        }
    }

    pub(super) fn new(place: &str, doing: &'static str, trouble: Trouble) -> Self {
        let place = place.to_owned();
        match trouble {
            Trouble::Io(source) => Self::io(place, doing, source),
            Trouble::Damaged(damage) => Self::Damaged { place, damage },
            Trouble::NotBooks(why) => Self::NotBooks { place, why },
            Trouble::Newer { found, known } => Self::Newer { place, found, known },
        }
    }

    pub(super) fn of_slot(self, slot: &SlotName) -> StoreError {
        StoreError { slot: slot.to_string(), message: self.to_string(), held_by: None, source: Some(Arc::new(self)) }
    }

    /// The whole chain of causes in one line, for a [`CommitOutcome`](crate::store::CommitOutcome).
    pub(super) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }
}
