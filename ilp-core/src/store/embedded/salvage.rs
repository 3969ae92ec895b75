//! What can be had of damaged books.

use super::accounts::shown;
use super::books::{Books, Slot};
use super::error::BooksError;
use super::frame::{Body, Label, NewBatch, Piece, decode_balances};
use super::scan::{Batch, Chain, Known, Scan, scan};
use super::schema::{BALANCES, LOG, SLOTS};
use super::target::Target;
use super::trouble::{Trouble, structure};
use super::wire::{Balance, balance_row, slot_row};
use super::{file_in, source};
use crate::AccountId;
use crate::store::{Medium, SlotName};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a salvage came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Why the file's index couldn't be used; then a slot that never had a batch is unknown. `None` if it could.
    pub index: Option<String>,
    /// Every slot of which anything was found; in brackets the log of accounts' rows, and mailboxes.
    pub slots: Vec<SalvagedSlot>,
    /// How many balances slots have in the new books: the last one of each account in any batch of the slot that was salvaged.
    pub accounts: u64,
    /// Bytes of records.
    pub bytes: u64,
}

/// What became of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedSlot {
    /// Its name.
    pub slot: SlotName,
    /// How much of it there is.
    pub outcome: Salvaged,
}

/// How much of a slot was salvaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salvaged {
    /// All of it that is known.
    Whole {
        /// Its last batch.
        last_seq: u64,
    },
    /// Everything before the first damage.
    CutShort {
        /// The last batch that was salvaged.
        last_seq: u64,
        /// The last one of which anything was found: what is between is lost. It may be one that never became durable.
        seen: u64,
    },
    /// Nothing that could be gone on with: what is needed of the log is damaged at its beginning. The new books refuse to open the slot.
    Lost {
        /// The first batch that can't be read.
        damaged: u64,
        /// The last one of which anything was found.
        seen: u64,
    },
}

impl SalvageReport {
    /// Whether nothing was lost.
    pub fn is_whole(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.outcome, Salvaged::Whole { .. }))
    }
}

/// Copies what can be read of damaged books into a directory that is empty or isn't there. The damaged file is only read.
///
/// Of each slot, everything before the first damage is there: later batches may depend on what is missing. Batches are found by what is
/// around each of them, whether or not the file's index can be read, and so are balances: every account has the last value that a
/// salvaged batch of its slot gave it. It blocks until it is done.
///
/// Going on with books of which something is lost is for somebody to decide who reads the report. What was acknowledged to peers in the
/// lost batches isn't known to the new books; a backup is as old, and consistent.
///
/// # Errors
///
/// [`Occupied`](BooksError::Occupied) if there is anything in `to`, [`Missing`](BooksError::Missing) if there is no file in `from`,
/// [`InUse`](BooksError::InUse) if it is open, [`NotBooks`](BooksError::NotBooks) if nothing of ours is found in it, or what the system
/// said.
pub fn salvage(from: &Path, to: &Path) -> Result<SalvageReport, BooksError> {
    let damaged = Arc::new(Damaged { file: source(from)?, path: file_in(from) });
    let target = Target::new(to)?;
    let (index, known) = match index_of(&damaged, &target) {
        Ok(slots) => (None, Some(slots)),
        Err(error @ (BooksError::Newer { .. } | BooksError::Full { .. } | BooksError::InUse { .. } | BooksError::Permission { .. })) => {
            return Err(error);
        }
        Err(error) => (Some(error.to_string()), None),
    };
    let scan = scan(&*damaged).map_err(|error| BooksError::io(damaged.name(), "read", error))?;
    if known.is_none() && scan.slots.is_empty() {
        let why = "there isn't a single batch in it".to_owned();
        return Err(BooksError::NotBooks { place: damaged.name(), why });
    }
    let mut books = target.books()?;
    let mut salvage = Salvage { from: &*damaged, balances: BTreeMap::new(), bytes: 0 };
    let slots = salvage.slots(&scan, known.as_ref(), &mut books)?;
    let accounts = salvage.write_balances(&mut books)?;
    let bytes = salvage.bytes;
    drop(books);
    target.finish()?;
    Ok(SalvageReport { index, slots, accounts, bytes })
}

/// The slots as a copy of the file has them, if the database below can make sense of it. It writes when it opens, so it gets a copy.
fn index_of(damaged: &Damaged, target: &Target) -> Result<HashMap<SlotName, Slot>, BooksError> {
    let medium = target.medium()?;
    let file = damaged.file.try_clone().map_err(|error| BooksError::io(damaged.name(), "read", error))?;
    super::copy::copy_file(file, &damaged.path, &medium)?;
    Ok(Books::open_existing(medium)?.slots().clone())
}

struct Salvage<'a> {
    from: &'a dyn Medium,
    /// The last value of each account at each slot, with its stamp.
    balances: BTreeMap<(u32, AccountId), (u64, Option<i128>)>,
    bytes: u64,
}

impl Salvage<'_> {
    fn slots(&mut self, scan: &Scan, known: Option<&HashMap<SlotName, Slot>>, books: &mut Books) -> Result<Vec<SalvagedSlot>, BooksError> {
        let mut names: Vec<&SlotName> = scan.slots.keys().chain(known.into_iter().flat_map(HashMap::keys)).collect();
        names.sort_unstable();
        names.dedup();
        let mut report = Vec::new();
        for (no, name) in (0u32..).zip(names) {
            let row = known.and_then(|known| known.get(name));
            if known.is_some() && row.is_none() {
                // An index that can be trusted doesn't know it: its pieces are of something that never became durable.
                continue;
            }
            let known = row.map(|row| Known { first: row.first, last_seq: row.last_seq });
            let mut chain = scan.slots.get(name).map(|batches| batches.chain(known)).unwrap_or_default();
            chain.epoch = row.map_or(chain.epoch, |row| row.epoch.max(chain.epoch));
            chain.seen = row.map_or(chain.seen, |row| row.last_seq);
            if let Some(row) = row.filter(|row| row.first <= row.last_seq && chain.log.is_empty() && chain.damaged.is_none()) {
                chain.damaged = Some(row.first);
            }
            if let Some(row) = row.filter(|row| row.lost) {
                // An earlier salvage found too little of it.
                chain.damaged = Some(row.first);
                chain.log.clear();
            }
            report.push(SalvagedSlot { slot: shown(name), outcome: self.slot(no, name, &chain, books)? });
        }
        Ok(report)
    }

    fn slot(&mut self, no: u32, name: &SlotName, chain: &Chain, books: &mut Books) -> Result<Salvaged, BooksError> {
        let last = chain.log.last();
        let (last_seq, first) = last.map_or((chain.seen, chain.seen.saturating_add(1)), |last| (last.seq, last.first));
        let stamp = last.map_or(0, |last| last.stamp);
        let lost = chain.damaged.is_some() && chain.log.is_empty();
        let slot = Slot { epoch: chain.epoch, last_seq, first, no, stamp, lost, ..Slot::default() };
        let mut rest = chain.log.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let enough = rest.iter().take_while(|batch| {
                let fits = bytes < TRANSACTION_BYTES;
                bytes = batch.pieces.values().fold(bytes, |bytes, (_, len)| bytes.saturating_add(*len));
                fits
            });
            let (now, later) = rest.split_at(enough.count().max(1).min(rest.len()));
            self.copy(no, name, now, books)?;
            rest = later;
        }
        let row = |transaction: &redb::WriteTransaction| {
            transaction.open_table(SLOTS)?.insert(&**name, &*slot_row(name, &slot))?;
            Ok(())
        };
        books.write("write", row)?;
        Ok(match chain.damaged {
            None => Salvaged::Whole { last_seq },
            Some(damaged) if lost => Salvaged::Lost { damaged, seen: chain.seen },
            Some(_) => Salvaged::CutShort { last_seq, seen: chain.seen },
        })
    }

    fn copy(&mut self, no: u32, name: &SlotName, batches: &[Batch], books: &mut Books) -> Result<(), BooksError> {
        let salt = books.salt();
        books.write("write", |transaction| {
            let mut log = transaction.open_table(LOG)?;
            for batch in batches {
                let (balances, blob) = self.read(batch)?;
                self.bytes = self.bytes.saturating_add(u64::try_from(blob.len()).unwrap_or(0));
                self.take_balances(no, batch, &balances)?;
                let Batch { epoch, seq, first, stamp, all_balances, .. } = *batch;
                let label = Label { salt, slot: name, epoch, seq, first, stamp, all_balances };
                let new = NewBatch { label, balances: &balances, blob: &blob };
                let too_large = |_| structure(format!("batch {seq} of slot {name} is too large"));
                for (piece, len) in new.pieces().map_err(too_large)? {
                    let mut place = log.insert_reserve((no, seq, piece), len)?;
                    new.write_piece(piece, place.as_mut()).map_err(too_large)?;
                }
            }
            Ok(())
        })
    }

    fn read(&self, batch: &Batch) -> Result<(Bytes, Bytes), Trouble> {
        let mut body = Body::default();
        for (offset, len) in batch.pieces.values() {
            let mut bytes = vec![0; *len];
            self.from.read(*offset, &mut bytes).map_err(Trouble::Io)?;
            let changed = || structure(format!("batch {} was whole a moment ago", batch.seq));
            if !Piece::read(&bytes).is_ok_and(|piece| body.add(&piece)) {
                return Err(changed());
            }
        }
        body.whole().ok_or_else(|| structure(format!("batch {} has pieces that don't fit together", batch.seq)))
    }

    /// The balances of a batch are later than those with smaller stamps. If it has all of its slot, those it doesn't name are closed.
    fn take_balances(&mut self, no: u32, batch: &Batch, balances: &[u8]) -> Result<(), Trouble> {
        let unreadable = || structure(format!("the balances of batch {} can't be read", batch.seq));
        if batch.all_balances {
            self.balances.retain(|(slot, _), (stamp, _)| *slot != no || *stamp > batch.stamp);
        }
        for (id, balance) in decode_balances(balances).ok_or_else(unreadable)? {
            let key = (no, id);
            if self.balances.get(&key).is_none_or(|(stamp, _)| *stamp < batch.stamp) {
                self.balances.insert(key, (batch.stamp, balance));
            }
        }
        Ok(())
    }

    fn write_balances(&self, books: &mut Books) -> Result<u64, BooksError> {
        let mut accounts = 0u64;
        books.write("write", |transaction| {
            let mut table = transaction.open_table(BALANCES)?;
            for ((slot, id), (_, value)) in &self.balances {
                if let Some(value) = *value {
                    table.insert((*slot, id.as_bytes()), &*balance_row(id, Balance { value, slot: *slot }))?;
                    accounts = accounts.saturating_add(1);
                }
            }
            Ok(())
        })?;
        Ok(accounts)
    }
}

/// The damaged file. Nothing is written to it.
#[derive(Debug)]
struct Damaged {
    file: File,
    path: PathBuf,
}

impl Medium for Damaged {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        crate::store::medium::read_at(&self.file, offset, out)
    }

    fn write(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl fmt::Display for SalvageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.index {
            writeln!(f, "the index couldn't be used: {why}")?;
        }
        for slot in &self.slots {
            writeln!(f, "{slot}")?;
        }
        write!(f, "{} bytes of records, {} balances", self.bytes, self.accounts)
    }
}

impl fmt::Display for SalvagedSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = &self.slot;
        match self.outcome {
            Salvaged::Whole { last_seq } => write!(f, "slot {slot}: whole, up to batch {last_seq}"),
            Salvaged::CutShort { last_seq, seen } => {
                write!(f, "slot {slot}: up to batch {last_seq}; from {} to {seen} lost", last_seq.saturating_add(1))
            }
            Salvaged::Lost { damaged, seen } => {
                write!(f, "slot {slot}: lost, since batch {damaged} of {seen} is damaged, and its log begins there or later")
            }
        }
    }
}

const TRANSACTION_BYTES: usize = 16 << 20;
