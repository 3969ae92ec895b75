//! The books themselves: every step of the contract, on one thread, without waiting for anybody.
//!
//! ```text
//!  commits of all slots ─► decide each against its slot ─► one transaction ─► sync ─► outcomes
//! ```

use super::backend::Backend;
use super::error::{BooksError, Damage};
use super::frame::{Frame, NewFrame};
use super::metrics::{Counters, StoreMetrics, add};
use super::schema::{BALANCES, LOG, SLOTS, check_schema, discard_unfinished};
use super::trouble::{Trouble, guarded, structure};
use super::wire::{balance_row, read_balance_row, read_slot_row, slot_row};
use crate::AccountId;
use crate::store::{Commit, CommitOutcome, Medium, OpenedSlot, SlotName, SlotPicture, StoreError};
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::collections::{BTreeMap, HashMap};
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
}

/// What is known of a slot beside its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot {
    pub(super) epoch: u64,
    pub(super) last_seq: u64,
    /// The first batch that is kept; one more than `last_seq` if there is none.
    pub(super) first: u64,
    /// A salvage found too little of it to go on with.
    pub(super) lost: bool,
}

/// A slot and the balances at one instant; what is committed later doesn't change it. Reading it doesn't hold up anybody.
pub(super) struct Look {
    transaction: ReadTransaction,
    name: SlotName,
    slot: Slot,
    place: String,
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
        let mut books = Self { medium, place, counters: Arc::default(), database: None, slots: HashMap::new() };
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
        let mut change = Change::default();
        let decisions = match self.database() {
            Ok(_) => batches.iter().map(|batch| change.decide(&self.slots, batch)).collect(),
            Err(error) => return vec![unknown(&error); batches.len()],
        };
        if change.applied.is_empty() {
            return outcomes(decisions, None);
        }
        match self.write("write", |transaction| change.write(transaction)) {
            Ok(()) => {
                add(&self.counters.batches, u64::try_from(change.applied.len()).unwrap_or(u64::MAX));
                let bytes = change.applied.iter().map(|applied| applied.batch.blob.len()).sum::<usize>();
                add(&self.counters.log_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
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
        let mut slot = self.slots.get(name).copied().unwrap_or(Slot { first: 1, ..Slot::default() });
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
        let database = self.database().map_err(|error| error.of_slot(name))?;
        let transaction = match guarded(|| Ok(database.begin_read()?)) {
            Ok(transaction) => transaction,
            Err(trouble) => {
                self.close();
                return Err(BooksError::new(&self.place, "read", trouble).of_slot(name));
            }
        };
        let Some(slot) = self.slots.get(name).copied() else { return Ok(None) };
        Ok(Some(Look { transaction, name: name.clone(), slot, place: self.place.clone() }))
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// One transaction. After an error nobody knows whether it happened: the file is opened again before anything else is done.
    fn write(&mut self, doing: &'static str, act: impl FnOnce(&WriteTransaction) -> Result<(), Trouble>) -> Result<(), BooksError> {
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
            check_schema(&database)?;
            let slots = read_slots(&database)?;
            Ok((database, slots))
        });
        let (database, slots) = opened.map_err(|trouble| BooksError::new(&self.place, "open", trouble))?;
        self.database = Some(database);
        self.slots = slots;
        Ok(())
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

impl Look {
    /// As [`BalanceStore::open`](crate::store::BalanceStore::open) gives it.
    pub(super) fn opened(&self) -> Result<OpenedSlot, StoreError> {
        guarded(|| self.log()).map_err(|trouble| self.error(trouble))
    }

    /// As [`BalanceStore::read`](crate::store::BalanceStore::read) gives it.
    pub(super) fn picture(&self) -> Result<SlotPicture, StoreError> {
        let both = || Ok(SlotPicture { slot: self.log()?, balances: self.balances()? });
        guarded(both).map_err(|trouble| self.error(trouble))
    }

    fn log(&self) -> Result<OpenedSlot, Trouble> {
        let Slot { epoch, last_seq, first, .. } = self.slot;
        let mut log = Vec::new();
        let mut expected = first;
        let bad = |seq, what: String| Trouble::Damaged(Damage::Batch { slot: self.name.to_string(), seq, what });
        for entry in self.transaction.open_table(LOG)?.range((&*self.name, first)..=(&*self.name, last_seq))? {
            let (key, value) = entry?;
            let (_, seq) = key.value();
            if seq != expected {
                return Err(bad(expected, format!("the next one there is {seq}")));
            }
            let frame = Frame::read(value.value()).map_err(|why| bad(seq, why.to_string()))?;
            if frame.head.slot != &*self.name || frame.head.seq != seq || frame.head.len != value.value().len() {
                return Err(bad(seq, format!("in its place is batch {} of slot {}", frame.head.seq, frame.head.slot)));
            }
            log.push(Bytes::copy_from_slice(frame.blob));
            expected = expected.saturating_add(1);
        }
        match expected == last_seq.saturating_add(1) {
            true => Ok(OpenedSlot { epoch, last_seq, log }),
            false => Err(bad(expected, format!("there should be batches up to {last_seq}"))),
        }
    }

    fn balances(&self) -> Result<Vec<(AccountId, i128)>, Trouble> {
        let mut balances = Vec::new();
        for entry in self.transaction.open_table(BALANCES)?.iter()? {
            let (key, value) = entry?;
            let account = || String::from_utf8_lossy(key.value().get(1..).unwrap_or_default()).into_owned();
            let row = read_balance_row(key.value(), value.value());
            balances.push(row.ok_or_else(|| Trouble::Damaged(Damage::Balance { account: account() }))?);
        }
        Ok(balances)
    }

    fn error(&self, trouble: Trouble) -> StoreError {
        BooksError::new(&self.place, "read", trouble).of_slot(&self.name)
    }
}

/// One transaction in the making.
#[derive(Debug, Default)]
struct Change<'a> {
    applied: Vec<Applied<'a>>,
    /// Slots as they will be.
    slots: HashMap<SlotName, Slot>,
}

#[derive(Debug)]
struct Applied<'a> {
    batch: &'a Commit,
    /// What isn't needed any more once it is durable: from, below.
    cut: (u64, u64),
}

/// What to answer.
#[derive(Debug)]
struct Decision {
    outcome: CommitOutcome,
    /// It is right whatever becomes of the transaction.
    settled: bool,
}

impl<'a> Change<'a> {
    fn decide(&mut self, durable: &HashMap<SlotName, Slot>, batch: &'a Commit) -> Decision {
        let changed = self.slots.get(&batch.slot);
        let settled = changed.is_none();
        let Some(slot) = changed.or_else(|| durable.get(&batch.slot)) else {
            return Decision { outcome: CommitOutcome::Gap { last_seq: 0 }, settled };
        };
        if batch.epoch != slot.epoch {
            return Decision { outcome: CommitOutcome::Fenced { epoch: slot.epoch }, settled: true };
        }
        if batch.seq <= slot.last_seq {
            return Decision { outcome: CommitOutcome::Durable, settled };
        }
        if batch.seq != slot.last_seq.saturating_add(1) {
            return Decision { outcome: CommitOutcome::Gap { last_seq: slot.last_seq }, settled };
        }
        // The batch itself is always kept, whatever it says.
        let first = batch.cut_below.unwrap_or(slot.first).clamp(slot.first, batch.seq);
        let cut = (slot.first, first);
        let slot = Slot { last_seq: batch.seq, first, ..*slot };
        self.slots.insert(batch.slot.clone(), slot);
        self.applied.push(Applied { batch, cut });
        Decision { outcome: CommitOutcome::Durable, settled: false }
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), Trouble> {
        let mut log = transaction.open_table(LOG)?;
        for Applied { batch, cut: (from, below) } in &self.applied {
            let Commit { slot, epoch, seq, blob, balances, .. } = batch;
            let frame = NewFrame { slot, epoch: *epoch, seq: *seq, first: *below, balances, blob };
            let mut place = log.insert_reserve((&**slot, *seq), frame.len())?;
            frame.write(place.as_mut()).map_err(|_| structure(format!("batch {seq} of slot {slot} is too large")))?;
            drop(place);
            for seq in *from..*below {
                log.remove((&**slot, seq))?;
            }
        }
        let mut slots = transaction.open_table(SLOTS)?;
        for (name, slot) in &self.slots {
            slots.insert(&**name, &*slot_row(name, slot))?;
        }
        let mut balances = transaction.open_table(BALANCES)?;
        for (id, balance) in self.balances() {
            match balance {
                Some(balance) => balances.insert(id.as_bytes(), &balance_row(id, balance)[..])?,
                None => balances.remove(id.as_bytes())?,
            };
        }
        Ok(())
    }

    /// The last value of each account.
    fn balances(&self) -> BTreeMap<&AccountId, Option<i128>> {
        self.applied.iter().flat_map(|applied| &applied.batch.balances).map(|(id, balance)| (id, *balance)).collect()
    }
}

fn outcomes(decisions: Vec<Decision>, failed: Option<CommitOutcome>) -> Vec<CommitOutcome> {
    let outcome = |Decision { outcome, settled }| if settled { outcome } else { failed.clone().unwrap_or(outcome) };
    decisions.into_iter().map(outcome).collect()
}

fn unknown(error: &BooksError) -> CommitOutcome {
    CommitOutcome::Unknown { cause: error.in_full() }
}

fn read_slots(database: &Database) -> Result<HashMap<SlotName, Slot>, Trouble> {
    let mut slots = HashMap::new();
    for entry in database.begin_read()?.open_table(SLOTS)?.iter()? {
        let (key, value) = entry?;
        let name = key.value();
        let slot = read_slot_row(name.as_bytes(), value.value());
        slots.insert(name.into(), slot.ok_or_else(|| Trouble::Damaged(Damage::Slot { slot: name.to_owned() }))?);
    }
    Ok(slots)
}

/// What the database below may keep in memory. It isn't for speed: batches are written once and read when a slot is opened.
const CACHE_BYTES: usize = 32 << 20;

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("name", &self.name).field("slot", &self.slot).finish_non_exhaustive()
    }
}
