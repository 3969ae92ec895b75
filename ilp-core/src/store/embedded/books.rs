//! The books themselves: every step of the contract, on one thread, without waiting for anybody.
//!
//! ```text
//!  commits of all slots ─► decide each against its slot ─► one transaction ─► sync ─► outcomes
//! ```

use super::backend::Backend;
use super::change::{Change, outcomes};
use super::error::{BooksError, Damage};
use super::frame::SLOT_LEN_MAX;
use super::look::Look;
use super::metrics::{Counters, StoreMetrics, add};
use super::scan::scan;
use super::schema::{LOG, SLOTS, check_schema, discard_unfinished};
use super::trouble::{Trouble, guarded, structure};
use super::wire::{read_slot_row, slot_row};
use crate::store::{Commit, CommitOutcome, Medium, OpenedSlot, SlotName, SlotPicture, StoreError};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::collections::HashMap;
use std::sync::Arc;

/// The books on one medium, for one thread.
///
/// [`EmbeddedStore`](super::EmbeddedStore) is what a connector wants; this is for those who bring their own order of things, as a
/// simulator does. Every method does its work before it returns, and what it says is durable is synced.
///
/// After a failure of the medium, whatever is called next opens the file anew and looks what became of it. The medium is kept, and
/// with it the lock of its file.
#[derive(Debug)]
pub struct Books {
    medium: Arc<dyn Medium>,
    place: String,
    counters: Arc<Counters>,
    /// None after a failure.
    database: Option<Database>,
    /// As they are in the file.
    slots: HashMap<SlotName, Slot>,
    salt: u64,
    /// Of the last batch.
    stamp: u64,
}

/// What is known of a slot beside its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot {
    pub(super) epoch: u64,
    pub(super) last_seq: u64,
    /// The first batch that is kept; one more than `last_seq` if there is none.
    pub(super) first: u64,
    /// Its number in the keys of the log.
    pub(super) no: u32,
    /// Of its last batch: see [`Label`](super::frame::Label).
    pub(super) stamp: u64,
    /// A salvage found too little of it to go on with.
    pub(super) lost: bool,
    /// The first batch that isn't removed yet: those below `first` go little by little. Not stored.
    pub(super) oldest: u64,
}

impl Books {
    /// Opens the books on a medium. They are new if it is empty, or if they were new and their making was interrupted.
    ///
    /// Everything is checked that the database below can check, after an unclean stop and otherwise. That reads the whole file.
    ///
    /// # Errors
    ///
    /// [`BooksError::Damaged`], [`NotBooks`](BooksError::NotBooks), [`Newer`](BooksError::Newer), or what the medium said.
    pub fn open(medium: Arc<dyn Medium>) -> Result<Self, BooksError> {
        discard_unfinished(&*medium).map_err(|trouble| BooksError::new(&medium.name(), "open", trouble))?;
        Self::begin(medium)
    }

    /// Opens books that must be there already.
    pub(super) fn open_existing(medium: Arc<dyn Medium>) -> Result<Self, BooksError> {
        let place = medium.name();
        match medium.is_empty() {
            Ok(false) => Self::begin(medium),
            Ok(true) => Err(BooksError::new(&place, "open", structure("it is empty"))),
            Err(error) => Err(BooksError::io(place, "open", error)),
        }
    }

    fn begin(medium: Arc<dyn Medium>) -> Result<Self, BooksError> {
        let place = medium.name();
        let mut books = Self { medium, place, counters: Arc::default(), database: None, slots: HashMap::new(), salt: 0, stamp: 0 };
        books.open_database()?;
        Ok(books)
    }

    /// As [`BalanceStore::open`](crate::store::BalanceStore::open).
    pub fn open_slot(&mut self, name: &SlotName) -> Result<OpenedSlot, StoreError> {
        self.take(name)?.opened()
    }

    /// As [`BalanceStore::read`](crate::store::BalanceStore::read).
    pub fn read_slot(&mut self, name: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.look(name)?.map(|look| look.picture()).transpose()
    }

    /// Commits batches in the order given, all of them in one transaction, as
    /// [`BalanceStore::commit`](crate::store::BalanceStore::commit) would one by one. An outcome for each.
    pub fn commit(&mut self, batches: &[Commit]) -> Vec<CommitOutcome> {
        if let Err(error) = self.database() {
            return vec![unknown(&error); batches.len()];
        }
        let mut change = Change::new(self.salt, self.stamp);
        let decisions = batches.iter().map(|batch| change.decide(&self.slots, batch)).collect();
        if change.applied.is_empty() {
            return outcomes(decisions, None);
        }
        match self.write("write", |transaction| change.write(transaction)) {
            Ok(()) => {
                add(&self.counters.batches, u64::try_from(change.applied.len()).unwrap_or(u64::MAX));
                let bytes = change.applied.iter().map(|applied| applied.batch.blob.len()).sum::<usize>();
                add(&self.counters.log_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
                self.stamp = change.stamp;
                self.slots.extend(change.slots);
                outcomes(decisions, None)
            }
            Err(error) => outcomes(decisions, Some(unknown(&error))),
        }
    }

    /// What was done since these books were opened.
    pub fn metrics(&self) -> StoreMetrics {
        self.counters.read()
    }

    /// Raises a slot's epoch, and looks at it.
    pub(super) fn take(&mut self, name: &SlotName) -> Result<Look, StoreError> {
        self.database().map_err(|error| error.of_slot(name))?;
        let mut slot = match self.slots.get(name) {
            Some(slot) => *slot,
            None => self.new_slot(name)?,
        };
        if slot.lost {
            return Err(StoreError {
                slot: name.to_string(),
                message: format!("its batches couldn't be salvaged into {}: restore a backup", self.place),
                source: None,
            });
        }
        slot.epoch = slot.epoch.saturating_add(1);
        let raise = |transaction: &WriteTransaction| {
            transaction.open_table(SLOTS)?.insert(&**name, &*slot_row(name, &slot))?;
            Ok(())
        };
        self.write("write", raise).map_err(|error| error.of_slot(name))?;
        self.slots.insert(name.clone(), slot);
        let missing = || StoreError { slot: name.to_string(), message: "it is gone again".to_owned(), source: None };
        self.look(name)?.ok_or_else(missing)
    }

    /// A slot and the balances as they are now, to be read on any thread.
    pub(super) fn look(&mut self, name: &SlotName) -> Result<Option<Look>, StoreError> {
        let transaction = self.begin_read().map_err(|error| error.of_slot(name))?;
        let Some(slot) = self.slots.get(name).copied() else { return Ok(None) };
        Ok(Some(Look { transaction, name: name.clone(), slot, place: self.place.clone() }))
    }

    fn new_slot(&self, name: &SlotName) -> Result<Slot, StoreError> {
        let refused = |message| StoreError { slot: name.to_string(), message, source: None };
        if name.len() > SLOT_LEN_MAX {
            return Err(refused(format!("its name has {} bytes, and may have {SLOT_LEN_MAX}", name.len())));
        }
        let no = self.slots.values().map(|slot| slot.no.saturating_add(1)).max().unwrap_or(0);
        if no == u32::MAX {
            return Err(refused(format!("there are {} slots already", self.slots.len())));
        }
        Ok(Slot { no, first: 1, oldest: 1, ..Slot::default() })
    }

    /// What is there now, whatever is written later.
    pub(super) fn begin_read(&mut self) -> Result<ReadTransaction, BooksError> {
        let database = self.database()?;
        guarded(|| Ok(database.begin_read()?)).map_err(|trouble| {
            self.close();
            BooksError::new(&self.place, "read", trouble)
        })
    }

    pub(super) fn slots(&self) -> &HashMap<SlotName, Slot> {
        &self.slots
    }

    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// One transaction. After an error nobody knows whether it happened: the file is opened again before anything else is done.
    pub(super) fn write(
        &mut self,
        doing: &'static str,
        act: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>,
    ) -> Result<(), BooksError> {
        let database = self.database()?;
        let done = guarded(|| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(redb::Durability::Immediate)?;
            act(&transaction)?;
            Ok(transaction.commit()?)
        });
        match done {
            Ok(()) => {
                add(&self.counters.commits, 1);
                Ok(())
            }
            Err(trouble) => {
                add(&self.counters.failures, 1);
                self.close();
                Err(BooksError::new(&self.place, doing, trouble))
            }
        }
    }

    /// The database, opened again if it had to be closed.
    fn database(&mut self) -> Result<&Database, BooksError> {
        if self.database.is_none() {
            add(&self.counters.reopened, 1);
            self.open_database()?;
        }
        self.database.as_ref().ok_or_else(|| BooksError::Stopped { place: self.place.clone() })
    }

    fn open_database(&mut self) -> Result<(), BooksError> {
        let opened = guarded(|| {
            // Whoever wrote last, this process or one that was killed, may not have come to its sync. Nothing that is read now may be
            // called durable before one has succeeded.
            self.medium.sync().map_err(Trouble::Io)?;
            let backend = Backend { medium: self.medium.clone(), counters: self.counters.clone() };
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            let database = builder.create_with_backend(backend)?;
            let salt = check_schema(&database)?;
            let slots = read_slots(&database)?;
            Ok((database, salt, slots))
        });
        let (database, salt, slots) = opened.map_err(|trouble| BooksError::new(&self.place, "open", self.locate(trouble)))?;
        self.database = Some(database);
        self.salt = salt;
        self.stamp = slots.values().map(|slot| slot.stamp).max().unwrap_or(0);
        self.slots = slots;
        Ok(())
    }

    /// The database below only says that something is wrong; the first batch that can't be read says more.
    fn locate(&self, trouble: Trouble) -> Trouble {
        let Trouble::Damaged(Damage::File { what }) = trouble else { return trouble };
        let found = scan(&*self.medium).map(|scan| scan.slots).unwrap_or_default();
        let damaged = found.iter().find_map(|(slot, batches)| Some((slot.to_string(), batches.chain(None).damaged?)));
        Trouble::Damaged(match damaged {
            Some((slot, seq)) => Damage::Batch { slot, seq, what },
            None => Damage::File { what },
        })
    }

    fn close(&mut self) {
        let database = self.database.take();
        // Closing writes what makes the next opening quick. If it can't, the next opening takes longer.
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.close();
    }
}

fn unknown(error: &BooksError) -> CommitOutcome {
    CommitOutcome::Unknown { cause: error.in_full() }
}

fn read_slots(database: &Database) -> Result<HashMap<SlotName, Slot>, Trouble> {
    let transaction = database.begin_read()?;
    let log = transaction.open_table(LOG)?;
    let mut slots = HashMap::new();
    for entry in transaction.open_table(SLOTS)?.iter()? {
        let (key, value) = entry?;
        let name = key.value();
        let slot = read_slot_row(name.as_bytes(), value.value());
        let mut slot = slot.ok_or_else(|| Trouble::Damaged(Damage::Slot { slot: name.to_owned() }))?;
        if let Some(oldest) = log.range((slot.no, 0, 0)..(slot.no, slot.first, 0))?.next() {
            slot.oldest = oldest?.0.value().1;
        }
        slots.insert(name.into(), slot);
    }
    Ok(slots)
}

/// What the database below may keep in memory. It isn't for speed: batches are written once and read when a slot is opened.
const CACHE_BYTES: usize = 32 << 20;
