//! Backups: a picture of the books, taken while they are written, and put in their place when they are gone.

use super::accounts::is_reserved;
use super::books::{Books, Slot};
use super::error::{BooksError, Damage};
use super::frame::Piece;
use super::schema::{BALANCES, LOG, SLOTS, set_salt};
use super::target::Target;
use super::trouble::{Trouble, damaged_balance, guarded};
use super::wire::{read_balance_row, slot_row};
use super::{file_in, source};
use crate::store::{FileMedium, Medium, SlotName};
use redb::{ReadTransaction, ReadableTable};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The slots, each with the number of its last batch.
    pub slots: Vec<(SlotName, u64)>,
    /// How many balances slots have beside their logs.
    pub accounts: u64,
    /// How many batches there are.
    pub batches: u64,
    /// How many bytes of records.
    pub bytes: u64,
}

/// All books at one instant. What is committed later doesn't change it.
pub(super) struct Picture {
    pub(super) transaction: ReadTransaction,
    pub(super) slots: HashMap<SlotName, Slot>,
    pub(super) salt: u64,
    pub(super) place: String,
}

impl Picture {
    /// Copies all of it into a directory that is empty or isn't there.
    pub(super) fn copy_to(&self, dir: &Path) -> Result<Copied, BooksError> {
        let target = Target::new(dir)?;
        let mut books = target.books()?;
        let copied = self.copy_into(&mut books)?;
        drop(books);
        target.finish()?;
        Ok(copied)
    }

    /// Looks at every piece and every row.
    pub(super) fn verify(&self) -> Result<Copied, BooksError> {
        let mut copied = Copied::default();
        for (name, slot) in self.in_order() {
            let mut from = slot.first;
            while from <= slot.last_seq {
                from = self.walk(name, slot, from, &mut copied, |_, _| Ok(())).map_err(|trouble| self.error("read", trouble))?;
            }
            if !is_reserved(name) {
                copied.slots.push((name.clone(), slot.last_seq));
            }
        }
        self.walk_balances(&mut copied, |_, _| Ok(())).map_err(|trouble| self.error("read", trouble))?;
        Ok(copied)
    }

    fn copy_into(&self, books: &mut Books) -> Result<Copied, BooksError> {
        let mut copied = Copied::default();
        for (name, slot) in self.in_order() {
            let mut from = slot.first;
            // A transaction has at most so much that it is no burden to the memory.
            while from <= slot.last_seq {
                let mut next = from;
                books.write("write", |transaction| {
                    let mut log = transaction.open_table(LOG)?;
                    next = self.walk(name, slot, from, &mut copied, |key, value| {
                        log.insert(key, value)?;
                        Ok(())
                    })?;
                    Ok(())
                })?;
                from = next;
            }
            if !is_reserved(name) {
                copied.slots.push((name.clone(), slot.last_seq));
            }
        }
        books.write("write", |transaction| {
            set_salt(transaction, self.salt)?;
            let mut slots = transaction.open_table(SLOTS)?;
            for (name, slot) in &self.slots {
                slots.insert(&**name, &*slot_row(name, slot))?;
            }
            let mut balances = transaction.open_table(BALANCES)?;
            self.walk_balances(&mut copied, |key, row| {
                balances.insert(key, row)?;
                Ok(())
            })
        })?;
        Ok(copied)
    }

    /// Checks the pieces of a slot from a batch on, and does something with each, until it was enough for one transaction. Gives the batch
    /// to go on with.
    fn walk(
        &self,
        name: &SlotName,
        slot: &Slot,
        from: u64,
        copied: &mut Copied,
        mut with: impl FnMut((u32, u64, u16), &[u8]) -> Result<(), Trouble>,
    ) -> Result<u64, Trouble> {
        let bad = |seq, what: String| Trouble::Damaged(Damage::Batch { slot: name.to_string(), seq, what });
        let (mut expected, mut bytes) = ((from, 0u16), 0usize);
        for entry in self.transaction.open_table(LOG)?.range((slot.no, from, 0)..=(slot.no, slot.last_seq, u16::MAX))? {
            let (key, value) = entry?;
            let (seq, no) = expected;
            let piece = Piece::read(value.value()).map_err(|why| bad(seq, format!("piece {no}: {why}")))?;
            let label = piece.head.label;
            if key.value() != (slot.no, seq, no) || (label.slot, label.seq, piece.head.no) != (&**name, seq, no) {
                return Err(bad(seq, format!("piece {no} isn't there")));
            }
            with(key.value(), value.value())?;
            bytes = bytes.saturating_add(value.value().len());
            expected = (seq, no.saturating_add(1));
            if usize::from(expected.1) == piece.head.pieces() {
                expected = (seq.saturating_add(1), 0);
                copied.batches = copied.batches.saturating_add(1);
                let blob = piece.head.body_len.saturating_sub(piece.head.balances_len);
                copied.bytes = copied.bytes.saturating_add(u64::try_from(blob).unwrap_or(0));
                if bytes >= TRANSACTION_BYTES {
                    return Ok(expected.0);
                }
            }
        }
        match expected == (slot.last_seq.saturating_add(1), 0) {
            true => Ok(expected.0),
            false => Err(bad(expected.0, format!("piece {} isn't there", expected.1))),
        }
    }

    fn walk_balances(&self, copied: &mut Copied, mut with: impl FnMut((u32, &[u8]), &[u8]) -> Result<(), Trouble>) -> Result<(), Trouble> {
        for entry in self.transaction.open_table(BALANCES)?.iter()? {
            let (key, row) = entry?;
            let (slot, id) = key.value();
            read_balance_row(id, row.value()).ok_or_else(|| damaged_balance(id))?;
            with((slot, id), row.value())?;
            copied.accounts = copied.accounts.saturating_add(1);
        }
        Ok(())
    }

    fn in_order(&self) -> Vec<(&SlotName, &Slot)> {
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_unstable_by_key(|(name, _)| *name);
        slots
    }

    fn error(&self, doing: &'static str, trouble: Trouble) -> BooksError {
        BooksError::new(&self.place, doing, trouble)
    }
}

/// Puts a backup into a directory that is empty or isn't there, after looking at every record in it. The backup stays as it is.
///
/// The books go on where they were when the backup was made: what was committed since is gone, and peers and connectors that saw it may
/// have to be reconciled.
///
/// It blocks until it is done.
///
/// # Errors
///
/// [`Occupied`](BooksError::Occupied) if there is anything in `to`, [`Missing`](BooksError::Missing) if there are no books in `from`,
/// [`InUse`](BooksError::InUse) if they are open, [`Damaged`](BooksError::Damaged) if the backup is; then nothing is installed.
pub fn restore(from: &Path, to: &Path) -> Result<Copied, BooksError> {
    let file = source(from)?;
    let target = Target::new(to)?;
    let medium = target.medium()?;
    copy_file(file, &file_in(from), &medium)?;
    let mut books = Books::open_existing(medium)?;
    let copied = books.picture()?.verify()?;
    drop(books);
    target.finish()?;
    Ok(copied)
}

pub(super) fn copy_file(mut file: File, path: &Path, to: &Arc<FileMedium>) -> Result<(), BooksError> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let count = file.read(&mut buffer).map_err(|error| BooksError::io(path.display().to_string(), "read", error))?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        to.write(at, part).map_err(|error| BooksError::io(to.name(), "write", error))?;
        at = at.saturating_add(u64::try_from(count).unwrap_or(0));
    }
    to.sync().map_err(|error| BooksError::io(to.name(), "write", error))
}

impl Books {
    /// All of it, as it is now, to be read on any thread.
    pub(super) fn picture(&mut self) -> Result<Picture, BooksError> {
        let transaction = self.begin_read()?;
        Ok(Picture { transaction, slots: self.slots().clone(), salt: self.salt(), place: self.place().to_owned() })
    }

    /// As [`EmbeddedStore::backup`](super::EmbeddedStore::backup).
    pub fn backup(&mut self, to: &Path) -> Result<Copied, BooksError> {
        let picture = self.picture()?;
        copy(&picture, to)
    }
}

/// As [`Picture::copy_to`], whatever the database below does.
pub(super) fn copy(picture: &Picture, to: &Path) -> Result<Copied, BooksError> {
    let mut result = None;
    let ended = guarded(|| {
        result = Some(picture.copy_to(to));
        Ok(())
    });
    ended.map_err(|trouble| picture.error("read", trouble))?;
    result.unwrap_or_else(|| Err(BooksError::Stopped { place: picture.place.clone() }))
}

const TRANSACTION_BYTES: usize = 16 << 20;
const COPY_BYTES: usize = 1 << 20;
