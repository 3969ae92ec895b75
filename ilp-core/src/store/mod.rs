//! Where a worker's records are made durable.

mod accounts;
#[cfg(feature = "embedded")]
mod embedded;
mod leases;
#[cfg(any(feature = "embedded", feature = "conformance"))]
mod medium;
mod memory;

pub use accounts::{AccountRow, AccountSetup, LastMove, Move, MoveChange, MoveOutcome, MoveResult, SlotNo};
#[cfg(feature = "embedded")]
pub use embedded::{
    Books, BooksError, Copied, Damage, EmbeddedStore, SalvageReport, Salvaged, SalvagedSlot, StoreMetrics, restore, salvage,
};
pub use leases::Leases;
#[cfg(any(feature = "embedded", feature = "conformance"))]
pub use medium::{FileMedium, Medium, MemoryMedium};
pub use memory::{Fault, MemoryStore};

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

/// The name of a slot: a unit of ownership in the store.
pub type SlotName = Arc<str>;

/// The name of the slot of this number.
pub fn slot_name(no: SlotNo) -> SlotName {
    format!("slot-{no}").into()
}

/// Keeps the log of each slot and the balances beside it, and the accounts that slots share.
///
/// # Contract of a slot
///
/// A slot has an *epoch*, a *sequence number*, a *log* of batches, a *lease* and a *mailbox*.
///
/// * **[`open`](Self::open) raises the epoch first and reads afterwards**, so that nothing an earlier opener commits can come between.
///   It returns every batch from the last cut on, in order, and every letter that isn't read. Opening a slot nobody ever opened creates it.
///   It is refused ([`StoreError::held_by`]) while another holder's lease runs, and then changes nothing; the same holder may open it at
///   any time. Leases are measured by the store's own clock. They keep healthy workers apart; what keeps the books right is the epoch.
/// * [`renew`](Self::renew) lets the lease run anew, iff the epoch is equal. One of 0 milliseconds has ended.
/// * **[`commit`](Self::commit) is applied iff its epoch equals the slot's and its sequence number is the last one plus one.** Then the
///   blob is appended, the balances overwritten and letters up to `mail_read` dropped, all or nothing. `seq ≤ last` with an equal epoch
///   changes nothing and answers [`Durable`](CommitOutcome::Durable): so every commit can be repeated, and a caller that doesn't know
///   the outcome sends the *same bytes* again. `seq > last + 1` answers [`Gap`](CommitOutcome::Gap), another epoch
///   [`Fenced`](CommitOutcome::Fenced); neither changes anything. A commit is never refused for lack of funds, nor because a lease
///   has ended.
/// * **Durable means** that what the class returned by [`durability`](Self::durability) covers can happen the moment after the answer,
///   and the next `open` still returns the batch.
/// * [`Unknown`](CommitOutcome::Unknown) promises nothing: the batch may have been applied, may be applied later, or never.
/// * `cut_below` lets the store forget batches with smaller sequence numbers, once the batch itself is durable.
/// * **Balances** are what the slot has of each account: the last value in any durable batch; an account whose last value is `None` has
///   none. Two slots have each their own value for one account.
/// * [`mail`](Self::mail) appends a letter to the mailbox of a slot, whoever has it open, and numbers it. Letters may be written twice if a
///   caller repeats a call whose outcome it doesn't know. A slot nobody ever opened has no mailbox.
/// * Calls for one slot may overlap. A store may take them in any order; what comes too early is a `Gap`.
///
/// # Contract of an account
///
/// An account's row is changed by [`set_up`](Self::set_up) and [`make_move`](Self::make_move) only, as [`AccountRow`] says, one call
/// after the other, and is durable before the call is answered. Both can be repeated: a setup changes nothing the second time, and a
/// move with the number of the slot's last one gets the same answer.
///
/// Blobs and letters are opaque. What a store returns on `open` is trusted to be what was committed: integrity is the store's business.
///
/// # Cancel safety
///
/// Dropping the future of a `commit`, `make_move` or `mail` leaves its outcome unknown, nothing else.
#[async_trait]
pub trait BalanceStore: Debug + Send + Sync + 'static {
    /// Takes ownership of a slot.
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError>;

    /// Keeps it.
    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal;

    /// Makes one batch durable.
    async fn commit(&self, batch: Commit) -> CommitOutcome;

    /// Makes an account known, or changes its limit; says how it stands.
    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError>;

    /// Moves units between the cold balance of an account and a slot.
    async fn make_move(&self, request: &Move) -> MoveOutcome;

    /// Leaves a letter for whoever opens a slot.
    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError>;

    /// Looks at a slot and at all balances, as they were at one instant, without taking anything: the epoch stays, and whoever has the
    /// slot open goes on. `None` if nobody ever opened it. What isn't durable may be seen or not.
    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError>;

    /// All slots and accounts, as they were at one instant; without any log.
    async fn directory(&self) -> Result<Directory, StoreError>;

    /// What a durable batch survives.
    fn durability(&self) -> Durability;
}

/// For how long a slot is somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose; never the same for two processes, nor for two runs of one.
    pub holder: Arc<str>,
    /// Where colleagues in other processes reach the holder, if they do.
    pub address: Option<Arc<str>>,
    /// Milliseconds from now.
    pub ms: u32,
}

/// What became of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It runs anew since some instant after the call.
    Kept,
    /// Somebody else has opened the slot.
    Fenced {
        /// The slot's epoch now.
        epoch: u64,
    },
    /// Nobody can say.
    Unknown {
        /// For the log.
        cause: String,
    },
}

/// A slot, as [`BalanceStore::open`] found it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenedSlot {
    /// To be given with every commit.
    pub epoch: u64,
    /// The sequence number of the last batch; 0 if there never was one.
    pub last_seq: u64,
    /// The blobs since the last cut, oldest first: the last one is that of `last_seq`, and none is missing between.
    pub log: Vec<Bytes>,
    /// What is in the mailbox, oldest first.
    pub mail: Vec<Letter>,
}

/// What somebody left for a slot's next opener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Rises from letter to letter of one slot.
    pub no: u64,
    /// As it was given.
    pub content: Bytes,
}

/// A slot and the balances beside the logs, as [`BalanceStore::read`] saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPicture {
    /// The slot as its next opener would find it, but for the epoch: that is the last opener's.
    pub slot: OpenedSlot,
    /// What this slot has of every account, in the order of their ids.
    pub balances: Vec<(crate::AccountId, i128)>,
    /// Every account's row, in the order of their ids.
    pub accounts: Vec<(crate::AccountId, AccountRow)>,
}

/// All slots and accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// Every slot that was ever opened, in the order of their names.
    pub slots: Vec<SlotEntry>,
    /// Every account's row, in the order of their ids.
    pub accounts: Vec<(crate::AccountId, AccountRow)>,
    /// What slots have of accounts, in the order of account ids and then slot names.
    pub balances: Vec<(crate::AccountId, SlotName, i128)>,
}

/// A slot from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotEntry {
    /// Its name.
    pub name: SlotName,
    /// The last opener's.
    pub epoch: u64,
    /// The number of its last batch.
    pub last_seq: u64,
    /// Its lease, with the milliseconds that are left of it; `None` if it has ended.
    pub lease: Option<Lease>,
    /// How many letters wait in its mailbox.
    pub letters: u64,
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
    /// New values of the slot's balances that the batch touched, for those who want to read them without reading the log; `None` for an
    /// account that is closed. No account is in it twice.
    pub balances: Vec<(crate::AccountId, Option<i128>)>,
    /// Batches below this number aren't needed any more.
    pub cut_below: Option<u64>,
    /// Letters up to this number aren't needed any more.
    pub mail_read: Option<u64>,
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
    /// Somebody else's lease on it runs: whose, and how many milliseconds of it are left.
    pub held_by: Option<(Arc<str>, u32)>,
    /// What lay below, if anything.
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Somebody else has the slot.
    pub fn held(slot: &str, held_by: (Arc<str>, u32)) -> Self {
        let (holder, ms) = &held_by;
        let message = format!("{holder} has it for another {ms} ms, unless that is extended: stop it, or wait");
        Self { slot: slot.to_owned(), message, held_by: Some(held_by), source: None }
    }

    /// Nobody ever opened the slot.
    pub fn no_mailbox(slot: &str) -> Self {
        Self { slot: slot.to_owned(), message: "it has no mailbox, since nobody ever opened it".into(), held_by: None, source: None }
    }
}
