//! What can go wrong below, before it is known which file it was.

use super::error::Damage;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Damaged(Damage),
    NotBooks(String),
    Newer { found: u64, known: u64 },
}

/// Does something with the database below. It doesn't promise not to panic over a file that was changed behind its back; that must end
/// neither the process nor the thread that all commits go through.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result,
        Err(panic) => Err(structure(panic_text(&*panic))),
    }
}

pub(super) fn structure(what: impl Into<String>) -> Trouble {
    Trouble::Damaged(Damage::File { what: what.into() })
}

pub(super) fn damaged_balance(id: &[u8]) -> Trouble {
    Trouble::Damaged(Damage::Balance { account: String::from_utf8_lossy(id.get(1..).unwrap_or_default()).into_owned() })
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::NotBooks(error.to_string()),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => structure("it ends too early"),
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::Corrupted(what) => structure(what),
            redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. } | redb::Error::TableIsMultimap(_) => {
                Self::NotBooks(error.to_string())
            }
            redb::Error::UpgradeRequired(_) => Self::NotBooks(error.to_string()),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<redb::StorageError> for Trouble {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TableError> for Trouble {
    fn from(error: redb::TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::DatabaseError> for Trouble {
    fn from(error: redb::DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for Trouble {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for Trouble {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::SetDurabilityError> for Trouble {
    fn from(error: redb::SetDurabilityError) -> Self {
        redb::Error::from(error).into()
    }
}
