//! The books themselves: every step of the contract, on one thread, without waiting for anybody.
//!
//! ```text
//!  commits of all slots ─► decide each against its slot ─► one transaction ─► sync ─► outcomes
//! ```

use super::accounts::{
    ALL_ROWS_EVERY, Answer, Ask, LETTER_LEN_MAX, Rows, accounts_slot, decode_rows, encode_rows, is_reserved, mailbox_of, shown,
};
use super::backend::Backend;
use super::change::{Change, Decision, outcomes};
use super::error::{BooksError, Damage};
use super::frame::SLOT_LEN_MAX;
use super::look::Look;
use super::metrics::{Counters, StoreMetrics, add};
use super::scan::scan;
use super::schema::{BALANCES, LOG, SLOTS, check_schema, discard_unfinished};
use super::trouble::{Trouble, damaged_balance, guarded, structure};
use super::wire::{read_balance_row, read_slot_row, slot_row};
use crate::AccountId;
use crate::store::{
    AccountRow, AccountSetup, Commit, CommitOutcome, Directory, Medium, Move, MoveOutcome, OpenedSlot, SlotEntry, SlotName, SlotPicture,
    StoreError,
};
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The books on one medium, for one thread.
///
/// [`EmbeddedStore`](super::EmbeddedStore) is what a connector wants; this is for those who bring their own order of things, as a
/// simulator does. Every method does its work before it returns, and what it says is durable is synced. It knows no leases: whoever wants
/// them asks [`Leases`](crate::store::Leases) before it opens a slot.
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
    /// The rows of accounts, as the file has them.
    rows: BTreeMap<AccountId, AccountRow>,
    /// Batches of their log since one had all.
    row_batches: u64,
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
        let mut books = Self {
            medium,
            place,
            counters: Arc::default(),
            database: None,
            slots: HashMap::new(),
            rows: BTreeMap::new(),
            row_batches: 0,
            salt: 0,
            stamp: 0,
        };
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
        self.transact(batches, &[]).0
    }

    /// As [`BalanceStore::set_up`](crate::store::BalanceStore::set_up).
    pub fn set_up(&mut self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        match self.transact(&[], &[Ask::SetUp(account.clone())]).1.pop() {
            Some(Answer::SetUp(result)) => result,
            _ => Err(StoreError { slot: account.id.name().to_owned(), message: "no answer".into(), held_by: None, source: None }),
        }
    }

    /// As [`BalanceStore::make_move`](crate::store::BalanceStore::make_move).
    pub fn make_move(&mut self, request: &Move) -> MoveOutcome {
        match self.transact(&[], &[Ask::Move(request.clone())]).1.pop() {
            Some(Answer::Move(outcome)) => outcome,
            _ => MoveOutcome::Unknown { cause: "no answer".into() },
        }
    }

    /// As [`BalanceStore::mail`](crate::store::BalanceStore::mail).
    pub fn mail(&mut self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        match self.transact(&[], &[Ask::Mail(slot.clone(), letter)]).1.pop() {
            Some(Answer::Mail(result)) => result,
            _ => Err(StoreError::no_mailbox(slot)),
        }
    }

    /// As [`BalanceStore::directory`](crate::store::BalanceStore::directory), without leases: this knows no time.
    pub fn directory(&mut self) -> Result<Directory, StoreError> {
        let transaction = self.begin_read().map_err(|error| error.of_slot(&accounts_slot()))?;
        let balances = guarded(|| read_balances(&transaction, &self.slots));
        let failed = |trouble| BooksError::new(&self.place, "read", trouble).of_slot(&accounts_slot());
        let entry = |(name, slot): (&SlotName, &Slot)| SlotEntry {
            name: name.clone(),
            epoch: slot.epoch,
            last_seq: slot.last_seq,
            lease: None,
            letters: self.slots.get(&mailbox_of(name)).map_or(0, |mail| mail.last_seq.saturating_add(1).saturating_sub(mail.first)),
        };
        let mut slots: Vec<_> = self.slots.iter().filter(|(name, _)| !is_reserved(name)).map(entry).collect();
        slots.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Directory { slots, accounts: self.rows(), balances: balances.map_err(failed)? })
    }

    /// Batches, and what else was asked, in one transaction. An outcome for each.
    pub(super) fn transact(&mut self, batches: &[Commit], asks: &[Ask]) -> (Vec<CommitOutcome>, Vec<Answer>) {
        if let Err(error) = self.database() {
            let cause = error.in_full();
            return (vec![unknown(&error); batches.len()], asks.iter().map(|ask| ask.unknown(&cause)).collect());
        }
        let mut change = Change::new(self.salt, self.stamp);
        let mut decisions = Vec::with_capacity(batches.len());
        for batch in batches {
            decisions.push(match is_reserved(&batch.slot) {
                true => Decision { outcome: CommitOutcome::Gap { last_seq: 0 }, settled: true },
                false => change.decide(&self.slots, batch),
            });
        }
        let mut rows = Rows::new(&self.rows);
        let mut own = Vec::new();
        let answers: Vec<_> = asks.iter().map(|ask| self.ask(ask, &mut rows, &mut change, &mut own)).collect();
        let rows = rows.changed;
        let all_rows = self.row_batches >= ALL_ROWS_EVERY;
        if !rows.is_empty() {
            let log = change.provide(&self.slots, &accounts_slot());
            let seq = log.last_seq.saturating_add(1);
            let blob = match all_rows {
                true => encode_rows(self.rows.iter().filter(|(id, _)| !rows.contains_key(*id)).chain(&rows)),
                false => encode_rows(rows.iter()),
            };
            own.push(own_batch(accounts_slot(), &log, seq, blob, all_rows.then_some(seq)));
        }
        for batch in &own {
            let _ = change.decide(&self.slots, batch);
        }
        if change.applied.is_empty() {
            return (outcomes(decisions, None), answers.into_iter().map(|(answer, _)| answer).collect());
        }
        let written = self.write("write", |transaction| change.write(transaction));
        let (failed, cause) = match &written {
            Ok(()) => (None, String::new()),
            Err(error) => (Some(unknown(error)), error.in_full()),
        };
        let answers = answers.into_iter().zip(asks);
        let answers = answers.map(|((answer, settled), ask)| if settled || written.is_ok() { answer } else { ask.unknown(&cause) });
        let answers = answers.collect();
        if written.is_ok() {
            let of_slots = || change.applied.iter().filter(|applied| !is_reserved(&applied.batch.slot));
            add(&self.counters.batches, u64::try_from(of_slots().count()).unwrap_or(u64::MAX));
            let bytes = of_slots().map(|applied| applied.batch.blob.len()).sum::<usize>();
            add(&self.counters.log_bytes, u64::try_from(bytes).unwrap_or(u64::MAX));
            self.row_batches = if all_rows { 0 } else { self.row_batches.saturating_add(u64::from(!rows.is_empty())) };
            self.rows.extend(rows);
            self.stamp = change.stamp;
            self.slots.extend(change.slots);
        }
        (outcomes(decisions, failed), answers)
    }

    /// What an account or a mailbox comes to, and whether the answer is right whatever becomes of the transaction.
    fn ask(&self, ask: &Ask, rows: &mut Rows<'_>, change: &mut Change<'_>, own: &mut Vec<Commit>) -> (Answer, bool) {
        let lost = self.slots.get(&accounts_slot()).is_some_and(|slot| slot.lost);
        match ask {
            Ask::SetUp(setup) if lost => (Answer::SetUp(Err(self.rows_lost(setup.id.name()))), true),
            Ask::SetUp(setup) => {
                let (row, settled) = rows.set_up(setup);
                (Answer::SetUp(Ok(row)), settled)
            }
            Ask::Move(request) => {
                let (outcome, settled) = rows.make_move(request);
                (Answer::Move(outcome), settled)
            }
            Ask::Mail(slot, _) if is_reserved(slot) || !self.slots.contains_key(slot) => {
                (Answer::Mail(Err(StoreError::no_mailbox(slot))), true)
            }
            Ask::Mail(slot, letter) if letter.len() > LETTER_LEN_MAX => {
                let message = format!("a letter has {} bytes, and may have {LETTER_LEN_MAX}", letter.len());
                (Answer::Mail(Err(StoreError { slot: slot.to_string(), message, held_by: None, source: None })), true)
            }
            Ask::Mail(slot, letter) => {
                let name = mailbox_of(slot);
                let mailbox = change.provide(&self.slots, &name);
                let before = own.iter().filter(|batch: &&Commit| batch.slot == name).count();
                let seq = mailbox.last_seq.saturating_add(1).saturating_add(u64::try_from(before).unwrap_or(0));
                own.push(own_batch(name, &mailbox, seq, letter.clone(), None));
                (Answer::Mail(Ok(())), false)
            }
        }
    }

    fn rows_lost(&self, of: &str) -> StoreError {
        let message = format!("the rows of accounts couldn't be salvaged into {}: restore a backup", self.place);
        StoreError { slot: of.to_owned(), message, held_by: None, source: None }
    }

    fn rows(&self) -> Vec<(AccountId, AccountRow)> {
        self.rows.iter().map(|(id, row)| (id.clone(), row.clone())).collect()
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
                held_by: None,
                source: None,
            });
        }
        if self.slots.get(&accounts_slot()).is_some_and(|slot| slot.lost) {
            return Err(self.rows_lost(name));
        }
        slot.epoch = slot.epoch.saturating_add(1);
        let raise = |transaction: &WriteTransaction| {
            transaction.open_table(SLOTS)?.insert(&**name, &*slot_row(name, &slot))?;
            Ok(())
        };
        self.write("write", raise).map_err(|error| error.of_slot(name))?;
        self.slots.insert(name.clone(), slot);
        let missing = || StoreError { slot: name.to_string(), message: "it is gone again".to_owned(), held_by: None, source: None };
        self.look(name)?.ok_or_else(missing)
    }

    /// A slot and the balances as they are now, to be read on any thread.
    pub(super) fn look(&mut self, name: &SlotName) -> Result<Option<Look>, StoreError> {
        let transaction = self.begin_read().map_err(|error| error.of_slot(name))?;
        let Some(slot) = self.slots.get(name).copied().filter(|_| !is_reserved(name)) else { return Ok(None) };
        let mailbox = mailbox_of(name);
        let mail = match self.slots.get(&mailbox).copied().filter(|mailbox| mailbox.first <= mailbox.last_seq) {
            Some(slot) => {
                let transaction = self.begin_read().map_err(|error| error.of_slot(name))?;
                Some(Box::new(Look { transaction, name: mailbox, slot, place: self.place.clone(), mail: None, rows: Vec::new() }))
            }
            None => None,
        };
        Ok(Some(Look { transaction, name: name.clone(), slot, place: self.place.clone(), mail, rows: self.rows() }))
    }

    fn new_slot(&self, name: &SlotName) -> Result<Slot, StoreError> {
        let refused = |message| StoreError { slot: name.to_string(), message, held_by: None, source: None };
        if is_reserved(name) {
            return Err(refused("its name is reserved".to_owned()));
        }
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

    /// The last opener's; 0 of a slot that nobody ever opened.
    pub(super) fn epoch(&self, slot: &SlotName) -> u64 {
        self.slots.get(slot).map_or(0, |slot| slot.epoch)
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
            let (rows, row_batches) = read_rows(&database, &slots)?;
            Ok((database, salt, slots, rows, row_batches))
        });
        let (database, salt, slots, rows, row_batches) =
            opened.map_err(|trouble| BooksError::new(&self.place, "open", self.locate(trouble)))?;
        self.database = Some(database);
        self.salt = salt;
        self.stamp = slots.values().map(|slot| slot.stamp).max().unwrap_or(0);
        self.slots = slots;
        (self.rows, self.row_batches) = (rows, row_batches);
        Ok(())
    }

    /// The database below only says that something is wrong; the first batch that can't be read says more.
    fn locate(&self, trouble: Trouble) -> Trouble {
        let Trouble::Damaged(Damage::File { what }) = trouble else { return trouble };
        let found = scan(&*self.medium).map(|scan| scan.slots).unwrap_or_default();
        let damaged = found.iter().find_map(|(slot, batches)| Some((slot.to_string(), batches.chain(None).damaged?)));
        Trouble::Damaged(match damaged {
            Some((slot, seq)) => Damage::Batch { slot: shown(&slot.into()).to_string(), seq, what },
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
        // Nobody opens these, but whoever writes to them now must be told apart from whoever did before.
        slot.epoch = slot.epoch.saturating_add(u64::from(is_reserved(name)));
        slots.insert(name.into(), slot);
    }
    Ok(slots)
}

/// The rows of accounts, and how many batches they are spread over.
fn read_rows(database: &Database, slots: &HashMap<SlotName, Slot>) -> Result<(BTreeMap<AccountId, AccountRow>, u64), Trouble> {
    let name = accounts_slot();
    let Some(slot) = slots.get(&name).copied().filter(|slot| !slot.lost) else { return Ok(Default::default()) };
    let transaction = database.begin_read()?;
    let look = Look { transaction, name, slot, place: String::new(), mail: None, rows: Vec::new() };
    let mut rows = BTreeMap::new();
    for (seq, batch) in (slot.first..).zip(look.log()?.log) {
        let bad = || Trouble::Damaged(Damage::Batch { slot: shown(&look.name).to_string(), seq, what: "its rows can't be read".into() });
        rows.extend(decode_rows(&batch).ok_or_else(bad)?);
    }
    Ok((rows, slot.last_seq.saturating_add(1).saturating_sub(slot.first)))
}

fn read_balances(transaction: &ReadTransaction, slots: &HashMap<SlotName, Slot>) -> Result<Vec<(AccountId, SlotName, i128)>, Trouble> {
    let names: HashMap<u32, &SlotName> = slots.iter().map(|(name, slot)| (slot.no, name)).collect();
    let mut balances = Vec::new();
    for entry in transaction.open_table(BALANCES)?.iter()? {
        let (key, row) = entry?;
        let (slot, key) = key.value();
        let (id, balance) = read_balance_row(key, row.value()).ok_or_else(|| damaged_balance(key))?;
        balances.extend(names.get(&slot).map(|name| (id, (*name).clone(), balance.value)));
    }
    balances.sort_unstable();
    Ok(balances)
}

fn own_batch(slot: SlotName, of: &Slot, seq: u64, blob: Bytes, cut_below: Option<u64>) -> Commit {
    Commit { slot, epoch: of.epoch, seq, blob, balances: Vec::new(), cut_below, mail_read: None }
}

/// What the database below may keep in memory. It isn't for speed: batches are written once and read when a slot is opened.
const CACHE_BYTES: usize = 32 << 20;
