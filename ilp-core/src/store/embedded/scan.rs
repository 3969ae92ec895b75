//! Finding batches in a file without its index.
//!
//! Pages that aren't used any more keep what was in them until they are used again. So there may be pieces that were cut, and some that
//! were written and never became durable. Which are the slot's log follows from their labels alone:
//!
//! * A batch of an earlier epoch at or behind one of a later epoch was never durable: the later opener would have found it.
//! * The newest batch says where the log begins.

use super::frame::{Head, MAGIC, Piece};
use crate::store::{Medium, SlotName};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// What was found, slot by slot.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) slots: BTreeMap<SlotName, Batches>,
}

/// The batches of one slot, by number, epoch and stamp.
#[derive(Debug, Default)]
pub(super) struct Batches(BTreeMap<(u64, u64, u64), Batch>);

/// A batch of which some piece was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) first: u64,
    pub(super) stamp: u64,
    pub(super) all_balances: bool,
    /// How many pieces it has.
    of: usize,
    /// Where those are that are whole.
    pub(super) pieces: BTreeMap<u16, (u64, usize)>,
}

/// A slot's log, as far as it was found.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// What can be read, from the first batch that was needed once the last of them was durable.
    pub(super) log: Vec<Batch>,
    /// The newest batch of which anything is known.
    pub(super) seen: u64,
    /// The newest epoch.
    pub(super) epoch: u64,
    /// The first batch that can't be read, if there is one.
    pub(super) damaged: Option<u64>,
}

/// What an index that can be trusted says of a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) first: u64,
    pub(super) last_seq: u64,
}

/// Reads the whole medium.
pub(super) fn scan(medium: &dyn Medium) -> io::Result<Scan> {
    let mut window = Window { medium, len: medium.len()?, from: 0, bytes: Vec::new() };
    let (mut found, mut salts, mut at) = (Vec::new(), HashMap::<u64, usize>::new(), 0);
    while let Some(offset) = window.find_magic(at)? {
        at = offset.saturating_add(1);
        let bytes = window.at(offset, Head::LEN_MAX)?;
        let Some(head) = Head::read(bytes) else { continue };
        let (slot, len) = (SlotName::from(head.label.slot), head.len());
        let bytes = window.at(offset, len)?;
        let Some(head) = Head::read(bytes) else { continue };
        let whole = Piece::read(bytes).is_ok();
        if whole {
            // What is in it isn't looked at: peers chose some of it. One that isn't whole may have been written over by others.
            at = offset.saturating_add(u64::try_from(len).unwrap_or(1));
            let weight = salts.entry(head.label.salt).or_default();
            *weight = weight.saturating_add(len);
        }
        let batch = Batch {
            epoch: head.label.epoch,
            seq: head.label.seq,
            first: head.label.first,
            stamp: head.label.stamp,
            all_balances: head.label.all_balances,
            of: head.pieces(),
            pieces: whole.then_some((head.no, (offset, len))).into_iter().collect(),
        };
        found.push((head.label.salt, slot, batch));
    }
    // Nearly everything in the file has its salt; what was made up by a peer, and lies bare because of the damage, has another.
    let salt = salts.into_iter().max_by_key(|(_, weight)| *weight).map(|(salt, _)| salt);
    let mut scan = Scan::default();
    for (_, slot, batch) in found.into_iter().filter(|(of, ..)| Some(*of) == salt) {
        scan.slots.entry(slot).or_default().add(batch);
    }
    Ok(scan)
}

impl Batches {
    fn add(&mut self, batch: Batch) {
        let entry =
            self.0.entry((batch.seq, batch.epoch, batch.stamp)).or_insert_with(|| Batch { pieces: BTreeMap::new(), ..batch.clone() });
        entry.pieces.extend(batch.pieces);
    }

    /// The log that can be read, up to the first damage.
    pub(super) fn chain(&self, known: Option<Known>) -> Chain {
        let mut best: BTreeMap<u64, &Batch> = BTreeMap::new();
        let mut epoch = 0;
        for batch in self.0.values().filter(|batch| known.is_none_or(|known| batch.seq <= known.last_seq)) {
            // In the order of numbers, then epochs, then stamps. The last whole one of a number is the one, or the last of any sort.
            if batch.epoch < epoch {
                continue;
            }
            if batch.epoch > epoch || batch.whole() || best.get(&batch.seq).is_none_or(|other| !other.whole()) {
                best.insert(batch.seq, batch);
            }
            epoch = batch.epoch;
        }
        let newest = best.last_key_value().map(|(seq, batch)| (*seq, batch.first));
        let Some((seen, first)) = known.map(|known| (known.last_seq, known.first)).or(newest) else { return Chain::default() };
        let readable = |seq: &u64| best.get(seq).copied().filter(|batch| batch.whole());
        let damaged = (first..=seen).find(|seq| readable(seq).is_none());
        let mut chain = Chain { log: Vec::new(), seen, epoch, damaged };
        let last = damaged.unwrap_or_else(|| seen.saturating_add(1)).saturating_sub(1);
        // Less was cut when that one was the last. What was cut since may still be there.
        let begins = if damaged.is_some() { readable(&last).map_or(first, |batch| batch.first) } else { first };
        let log: Option<Vec<_>> = (begins..=last).map(|seq| readable(&seq).cloned()).collect();
        chain.log = log.unwrap_or_default();
        chain
    }
}

impl Batch {
    fn whole(&self) -> bool {
        self.pieces.len() == self.of
    }
}

/// Some of a medium, in memory.
struct Window<'a> {
    medium: &'a dyn Medium,
    len: u64,
    from: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset` on, so many, or fewer at the end.
    fn at(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let start = offset.checked_sub(self.from).and_then(|start| usize::try_from(start).ok());
        let start = match start.filter(|start| start.checked_add(count).is_some_and(|end| end <= self.bytes.len())) {
            Some(start) => start,
            None => {
                self.bytes.resize(left.min(WINDOW_LEN.max(count)), 0);
                self.medium.read(offset, &mut self.bytes)?;
                self.from = offset;
                0
            }
        };
        Ok(self.bytes.get(start..start.saturating_add(count)).unwrap_or_default())
    }

    /// Where the next magic number begins, at `offset` or behind it.
    fn find_magic(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        let overlap = MAGIC.len().saturating_sub(1);
        while offset < self.len {
            let bytes = self.at(offset, SEARCHED_LEN)?;
            let mut at = 0;
            while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == MAGIC_FIRST)) {
                at = at.saturating_add(next);
                if bytes.get(at..).is_some_and(|rest| rest.starts_with(&MAGIC)) {
                    return Ok(Some(offset.saturating_add(u64::try_from(at).unwrap_or(0))));
                }
                at = at.saturating_add(1);
            }
            let step = bytes.len().saturating_sub(overlap).max(1);
            offset = offset.saturating_add(u64::try_from(step).unwrap_or(1));
        }
        Ok(None)
    }
}

const MAGIC_FIRST: u8 = 0x89;
const WINDOW_LEN: usize = 1 << 20;
const SEARCHED_LEN: usize = 64 << 10;
