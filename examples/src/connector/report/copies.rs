//! What came of copying books.

use crate::show;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// A copy of books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Where it is.
    pub directory: String,
    /// The slots, each with the number of its last batch.
    pub slots: Vec<(String, u64)>,
    /// How many accounts have a balance in it.
    pub accounts: u64,
    /// How many batches there are.
    pub batches: u64,
    /// How many bytes of records.
    pub bytes: u64,
}

impl Copied {
    /// Of what the store says.
    pub fn new(directory: &Path, copied: &ilp_core::store::Copied) -> Self {
        Self {
            directory: directory.display().to_string(),
            slots: copied.slots.iter().map(|(name, last)| (name.to_string(), *last)).collect(),
            accounts: copied.accounts,
            batches: copied.batches,
            bytes: copied.bytes,
        }
    }
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<String> = self.slots.iter().map(|(name, last)| format!("{name} up to batch {}", show::count(*last))).collect();
        let slots = if slots.is_empty() { "no slots".into() } else { slots.join(", ") };
        let (batches, bytes, accounts) = (show::count(self.batches), show::bytes(self.bytes), show::count(self.accounts));
        write!(f, "{}: {slots}; batches: {batches} with {bytes}; balances of accounts: {accounts}", self.directory)
    }
}
