//! The books themselves: every step of the contract, on one thread, without waiting for anybody.
//!
//! ```text
//!  commits of all slots ─► decide each against its slot ─► one transaction ─► sync ─► outcomes
//! ```

use super::backend::Backend;
use super::error::{BooksError, Damage};
use super::frame::{BODY_LEN_MAX, NewBatch, Piece, SLOT_LEN_MAX, encode_balances};
use super::metrics::{Counters, StoreMetrics, add};
use super::schema::{BALANCES, LOG, LogKey, SLOTS, check_schema, discard_unfinished};
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
    /// Its number in the keys of the log.
    pub(super) no: u32,
    /// A salvage found too little of it to go on with.
    pub(super) lost: bool,
    /// The first batch that isn't removed yet: those below `first` go little by little. Not stored.
    pub(super) oldest: u64,
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
        let Slot { epoch, last_seq, first, no, .. } = self.slot;
        let mut log = Vec::new();
        let mut pieces = self.transaction.open_table(LOG)?.range((no, first, 0)..=(no, last_seq, u16::MAX))?;
        for seq in first..=last_seq {
            log.push(self.batch(seq, &mut pieces)?);
        }
        Ok(OpenedSlot { epoch, last_seq, log })
    }

    /// The blob of the next batch, which is to be this one.
    fn batch(&self, seq: u64, pieces: &mut redb::Range<'_, LogKey, &[u8]>) -> Result<Bytes, Trouble> {
        let bad = |what: String| Trouble::Damaged(Damage::Batch { slot: self.name.to_string(), seq, what });
        let (mut body, mut lens, mut no) = (Vec::new(), (0, 0), 0u16);
        loop {
            let Some(entry) = pieces.next() else { return Err(bad(format!("piece {no} isn't there"))) };
            let (key, value) = entry?;
            let piece = Piece::read(value.value()).map_err(|why| bad(format!("piece {no}: {why}")))?;
            let head = piece.head;
            if key.value() != (self.slot.no, seq, no) || (head.slot, head.seq, head.no) != (&*self.name, seq, no) {
                return Err(bad(format!("in place of piece {no} is piece {} of batch {} of slot {}", head.no, head.seq, head.slot)));
            }
            if no == 0 {
                lens = (head.body_len, head.balances_len);
                body.reserve_exact(head.body_len.min(RESERVED_MAX));
            }
            body.extend_from_slice(piece.part);
            no = no.saturating_add(1);
            if usize::from(no) >= head.pieces() {
                let whole = body.len() == lens.0 && (head.body_len, head.balances_len) == lens;
                return whole.then(|| Bytes::from(body).slice(lens.1..)).ok_or_else(|| bad("its pieces don't fit together".to_owned()));
            }
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
    /// Slots' numbers, each with a range of batches that go.
    removed: Vec<(u32, u64, u64)>,
    /// Slots as they will be.
    slots: HashMap<SlotName, Slot>,
}

#[derive(Debug)]
struct Applied<'a> {
    batch: &'a Commit,
    /// The slot's number, and what it still needs once this is durable.
    no: u32,
    first: u64,
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
        if batch.blob.len() > BODY_LEN_MAX / 2 {
            let cause =
                format!("batch {} of slot {} has {} bytes, and may have {}", batch.seq, batch.slot, batch.blob.len(), BODY_LEN_MAX / 2);
            return Decision { outcome: CommitOutcome::Unknown { cause }, settled: true };
        }
        // The batch itself is always kept, whatever it says.
        let first = batch.cut_below.unwrap_or(slot.first).clamp(slot.first, batch.seq);
        // One that is cut by a later batch all at once would make everybody wait.
        let oldest = first.min(slot.oldest.saturating_add(REMOVED_PER_BATCH));
        self.applied.push(Applied { batch, no: slot.no, first });
        self.removed.push((slot.no, slot.oldest, oldest));
        self.slots.insert(batch.slot.clone(), Slot { last_seq: batch.seq, first, oldest, ..*slot });
        Decision { outcome: CommitOutcome::Durable, settled: false }
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), Trouble> {
        let mut log = transaction.open_table(LOG)?;
        for Applied { batch, no, first } in &self.applied {
            let Commit { slot, epoch, seq, blob, balances, .. } = batch;
            let too_large = |_| structure(format!("batch {seq} of slot {slot} is too large"));
            let batch = NewBatch { slot, epoch: *epoch, seq: *seq, first: *first, balances: encode_balances(balances), blob };
            for (piece, len) in batch.pieces().map_err(too_large)? {
                let mut place = log.insert_reserve((*no, *seq, piece), len)?;
                batch.write_piece(piece, place.as_mut()).map_err(too_large)?;
            }
        }
        for (no, from, below) in self.removed.iter().filter(|(_, from, below)| from < below) {
            log.retain_in((*no, *from, 0)..(*no, *below, 0), |_, _| false)?;
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

/// What is reserved for a batch before all of it was seen.
const RESERVED_MAX: usize = 16 << 20;

/// How many batches that aren't needed go with each that comes.
const REMOVED_PER_BATCH: u64 = 3;

/// What the database below may keep in memory. It isn't for speed: batches are written once and read when a slot is opened.
const CACHE_BYTES: usize = 32 << 20;

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("name", &self.name).field("slot", &self.slot).finish_non_exhaustive()
    }
}
