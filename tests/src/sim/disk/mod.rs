//! A connector's store, and what can be wrong with it.

mod embedded;
mod frail;
mod memory;

use super::fault::FaultKind;
use super::rng::Rng;
use embedded::EmbeddedDisk;
use ilp_core::AccountId;
use ilp_core::store::{AccountRow, Commit, OpenedSlot};
use std::collections::{BTreeMap, VecDeque};

pub(super) use embedded::Power;
pub(super) use memory::MemoryDisk;

/// Whatever it says happens at once: when that is, is the engine's.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) books: Books,
    /// What is to go wrong with the next commits.
    pub(super) unknown: VecDeque<FaultKind>,
    /// Until when it is slow.
    pub(super) slow_until: i64,
    /// Until when nothing can be written.
    pub(super) full_until: i64,
    pub(super) rows: BTreeMap<AccountId, AccountRow>,
}

/// What keeps the books.
#[derive(Debug)]
pub(super) enum Books {
    /// A store apart, that takes batches one by one and makes them durable later.
    Memory(MemoryDisk),
    /// A part of the process: batches are durable, or not, when it answers.
    Embedded(Box<EmbeddedDisk>),
}

impl Disk {
    pub(super) fn new(embedded: bool) -> Self {
        let books = match embedded {
            true => Books::Embedded(Box::default()),
            false => Books::Memory(MemoryDisk::new()),
        };
        Self { books, unknown: VecDeque::new(), slow_until: i64::MIN, full_until: i64::MIN, rows: BTreeMap::new() }
    }

    pub(super) fn slot() -> ilp_core::store::SlotName {
        memory::SLOT.into()
    }

    /// How long the next thing takes, in milliseconds.
    pub(super) fn takes(&self, now: i64, rng: &mut Rng) -> i64 {
        if now < self.slow_until { rng.range(50, 600) } else { rng.range(0, 4) }
    }

    pub(super) fn embedded(&mut self) -> Option<&mut EmbeddedDisk> {
        match &mut self.books {
            Books::Embedded(disk) => Some(disk),
            Books::Memory(_) => None,
        }
    }

    pub(super) fn is_embedded(&self) -> bool {
        matches!(self.books, Books::Embedded(_))
    }

    pub(super) fn is_full(&self, now: i64) -> bool {
        now < self.full_until
    }

    /// What is there, without taking it.
    pub(super) fn look(&mut self) -> Result<Picture, String> {
        match &mut self.books {
            Books::Memory(disk) => Ok(Picture { balances: disk.stored(), log: None }),
            Books::Embedded(disk) => disk.look(),
        }
    }
}

/// What can be seen of a store from outside.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The balances beside the log.
    pub(super) balances: Vec<(String, i128)>,
    pub(super) log: Option<Vec<bytes::Bytes>>,
}

/// What an opener finds.
#[derive(Debug)]
pub(super) struct Found {
    /// Batches that are there though nobody was told so.
    pub(super) survived: Vec<Commit>,
    pub(super) slot: OpenedSlot,
}

pub(super) fn named(commit: &Commit) -> Vec<(String, i128)> {
    commit.balances.iter().filter_map(|(id, balance)| Some((id.name().to_owned(), (*balance)?))).collect()
}
