//! Where a worker's records are made durable.

#[cfg(feature = "embedded")]
mod embedded;
#[cfg(any(feature = "embedded", feature = "conformance"))]
mod medium;
mod memory;

#[cfg(feature = "embedded")]
pub use embedded::{
    Books, BooksError, Copied, Damage, EmbeddedStore, SalvageReport, Salvaged, SalvagedSlot, StoreMetrics, restore, salvage,
};
#[cfg(any(feature = "embedded", feature = "conformance"))]
pub use medium::{FileMedium, Medium, MemoryMedium};
pub use memory::{Fault, MemoryStore};

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

/// The name of a slot: a unit of ownership in the store.
pub type SlotName = Arc<str>;

/// Keeps the log of each slot, and the balances beside it.
///
/// # Contract
///
/// A slot has an *epoch*, a *sequence number* and a *log* of batches.
///
/// * **[`open`](Self::open) raises the epoch first and reads afterwards**, so that nothing an earlier opener commits can come between.
///   It returns every batch from the last cut on, in order. Opening a slot nobody ever opened creates it.
/// * **[`commit`](Self::commit) is applied iff its epoch equals the slot's and its sequence number is the last one plus one.** Then the
///   blob is appended and the balances overwritten, both or neither. `seq ≤ last` with an equal epoch changes nothing and answers
///   [`Durable`](CommitOutcome::Durable): so every commit can be repeated, and a caller that doesn't know the outcome sends the *same
///   bytes* again. `seq > last + 1` answers [`Gap`](CommitOutcome::Gap), another epoch [`Fenced`](CommitOutcome::Fenced); neither
///   changes anything. A commit is never refused for lack of funds.
/// * **Durable means** that what the class returned by [`durability`](Self::durability) covers can happen the moment after the answer,
///   and the next `open` still returns the batch.
/// * [`Unknown`](CommitOutcome::Unknown) promises nothing: the batch may have been applied, may be applied later, or never.
/// * `cut_below` lets the store forget batches with smaller sequence numbers, once the batch itself is durable.
/// * **Balances** are the last value of each account in any durable batch; an account whose last value is `None` has none.
/// * Calls for one slot may overlap. A store may take them in any order; what comes too early is a `Gap`.
///
/// Blobs are opaque. What a store returns on `open` is trusted to be what was committed: integrity is the store's business.
///
/// # Cancel safety
///
/// Dropping the future of a `commit` leaves its outcome unknown, nothing else.
#[async_trait]
pub trait BalanceStore: Debug + Send + Sync + 'static {
    /// Takes ownership of a slot.
    async fn open(&self, slot: &SlotName) -> Result<OpenedSlot, StoreError>;

    /// Makes one batch durable.
    async fn commit(&self, batch: Commit) -> CommitOutcome;

    /// Looks at a slot and at all balances, as they were at one instant, without taking anything: the epoch stays, and whoever has the
    /// slot open goes on. `None` if nobody ever opened it. What isn't durable may be seen or not.
    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError>;

    /// What a durable batch survives.
    fn durability(&self) -> Durability;
}

/// A slot, as [`BalanceStore::open`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedSlot {
    /// To be given with every commit.
    pub epoch: u64,
    /// The sequence number of the last batch; 0 if there never was one.
    pub last_seq: u64,
    /// The blobs since the last cut, oldest first: the last one is that of `last_seq`, and none is missing between.
    pub log: Vec<Bytes>,
}

/// A slot and the balances beside the logs, as [`BalanceStore::read`] saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPicture {
    /// The slot as its next opener would find it, but for the epoch: that is the last opener's.
    pub slot: OpenedSlot,
    /// The balance of every account, of this slot or another, in the order of their ids.
    pub balances: Vec<(crate::AccountId, i128)>,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Whose.
    pub slot: SlotName,
    /// As [`OpenedSlot`] gave it.
    pub epoch: u64,
    /// The last one plus one.
    pub seq: u64,
    /// The records.
    pub blob: Bytes,
    /// New values of the balances that the batch touched, for those who want to read them without reading the log; `None` for an
    /// account that is closed. No account is in it twice.
    pub balances: Vec<(crate::AccountId, Option<i128>)>,
    /// Batches below this number aren't needed any more.
    pub cut_below: Option<u64>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is safe, now or since an earlier call.
    Durable,
    /// Somebody else has opened the slot.
    Fenced {
        /// The slot's epoch now.
        epoch: u64,
    },
    /// Batches before this one are missing.
    Gap {
        /// The last one there is.
        last_seq: u64,
    },
    /// Nobody can say; send the same bytes again.
    Unknown {
        /// For the log.
        cause: String,
    },
}

/// What a durable batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing but a restart of the worker within its process.
    Memory,
    /// The death of the process and of the machine's power.
    Disk,
    /// The loss of this many machines less one.
    Replicated(u8),
}

/// A store that can't be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store can't open slot {slot}: {message}")]
pub struct StoreError {
    /// Which slot.
    pub slot: String,
    /// What was wrong, and what to do.
    pub message: String,
    /// What lay below, if anything.
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}
