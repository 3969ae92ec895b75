//! A medium whose power can fail.

use crate::store::Medium;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A [`Medium`] that keeps what was written since the last sync apart from what lies below it, so that it can be lost.
///
/// What lies below has only what was synced: with a file there, a process that is killed loses the rest, as a machine would that loses its
/// power. [`lose_power`](Self::lose_power) lets some of it through first, as a disk may.
///
/// Afterwards every call fails, as everything on such a machine has stopped; a new medium over the same thing below is what is found when
/// the power is back.
pub struct VolatileMedium {
    below: Arc<dyn Medium>,
    state: Mutex<State>,
}

/// What becomes of what wasn't synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerLoss {
    /// All of it is gone.
    Forgotten,
    /// Of every sector of 512 bytes in every write, and of every change of length, it is a matter of chance whether it happened.
    Torn,
}

#[derive(Default)]
struct State {
    off: bool,
    /// In order.
    unsynced: Vec<Change>,
    /// What blocks look like that were changed.
    blocks: BTreeMap<u64, Box<[u8]>>,
    /// As it was changed; as below if it wasn't.
    len: Option<u64>,
}

enum Change {
    Written(u64, Vec<u8>),
    Len(u64),
}

const SECTOR: usize = 512;
const BLOCK: u64 = 4096;

impl VolatileMedium {
    /// A medium over what was synced earlier.
    pub fn new(below: Arc<dyn Medium>) -> Self {
        Self { below, state: Mutex::default() }
    }

    /// Switches the power off. What wasn't synced becomes as `how` says, by a chance that `seed` decides; the outcome is below, and synced
    /// there.
    ///
    /// # Errors
    ///
    /// What the medium below says.
    pub fn lose_power(&self, seed: u64, how: PowerLoss) -> io::Result<()> {
        let mut state = self.lock();
        state.off = true;
        let unsynced = std::mem::take(&mut state.unsynced);
        state.blocks.clear();
        if how == PowerLoss::Torn {
            let mut chance = Chance(seed);
            // How much comes through differs from time to time, from nearly nothing to nearly all.
            let of_256 = chance.next() & 0xff;
            for change in &unsynced {
                self.tear(change, &mut || chance.next() & 0xff < of_256)?;
            }
        }
        self.below.sync()
    }

    /// How many writes and changes of length aren't synced.
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    fn tear(&self, change: &Change, comes_through: &mut impl FnMut() -> bool) -> io::Result<()> {
        let len = self.below.len()?;
        match change {
            Change::Len(to) if comes_through() => self.below.set_len(*to),
            Change::Len(_) => Ok(()),
            Change::Written(offset, bytes) => {
                let mut at = *offset;
                let to_boundary = SECTOR.saturating_sub(usize::try_from(offset % 512).unwrap_or(0));
                let (first, rest) = bytes.split_at(to_boundary.min(bytes.len()));
                for part in std::iter::once(first).chain(rest.chunks(SECTOR)) {
                    let end = at.saturating_add(count(part.len()));
                    // What lies beyond the end of a file isn't part of it.
                    if comes_through() && end <= len {
                        self.below.write(at, part)?;
                    }
                    at = end;
                }
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.off { Err(io::Error::other("the power is off")) } else { Ok(state) }
    }

    fn len_of(&self, state: &State) -> io::Result<u64> {
        state.len.map_or_else(|| self.below.len(), Ok)
    }

    /// A block as it is below, with zeroes where there is nothing.
    fn block_below(&self, no: u64) -> io::Result<Box<[u8]>> {
        let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
        let from = no.saturating_mul(BLOCK);
        let there = self.below.len()?.saturating_sub(from).min(BLOCK);
        let part = block.get_mut(..usize::try_from(there).unwrap_or(0)).unwrap_or_default();
        if !part.is_empty() {
            self.below.read(from, part)?;
        }
        Ok(block.into())
    }
}

impl Medium for VolatileMedium {
    fn len(&self) -> io::Result<u64> {
        self.len_of(&*self.on()?)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.on()?;
        let end = offset.checked_add(count(out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.len_of(&state)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if state.blocks.is_empty() && state.len.is_none() {
            return self.below.read(offset, out);
        }
        let mut rest = out;
        for (no, from, to) in blocks_of(offset, end) {
            let (part, after) = rest.split_at_mut(to.saturating_sub(from));
            match state.blocks.get(&no) {
                Some(block) => part.copy_from_slice(block.get(from..to).unwrap_or_default()),
                None => part.copy_from_slice(self.block_below(no)?.get(from..to).unwrap_or_default()),
            }
            rest = after;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.on()?;
        let end = offset.checked_add(count(bytes.len())).ok_or(io::ErrorKind::FileTooLarge)?;
        if end > self.len_of(&state)? {
            state.unsynced.push(Change::Len(end));
            state.len = Some(end);
        }
        let mut rest = bytes;
        for (no, from, to) in blocks_of(offset, end) {
            let (part, after) = rest.split_at(to.saturating_sub(from));
            let mut block = match state.blocks.remove(&no) {
                Some(block) => block,
                None => self.block_below(no)?,
            };
            if let Some(place) = block.get_mut(from..to) {
                place.copy_from_slice(part);
            }
            state.blocks.insert(no, block);
            rest = after;
        }
        state.unsynced.push(Change::Written(offset, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.on()?;
        // What is cut off is zero if the length grows again.
        if len < self.len_of(&state)? {
            for no in len / BLOCK..=self.len_of(&state)? / BLOCK {
                let mut block = match state.blocks.remove(&no) {
                    Some(block) => block,
                    None => self.block_below(no)?,
                };
                let kept = usize::try_from(len.saturating_sub(no.saturating_mul(BLOCK)).min(BLOCK)).unwrap_or(0);
                block.iter_mut().skip(kept).for_each(|byte| *byte = 0);
                state.blocks.insert(no, block);
            }
        }
        state.unsynced.push(Change::Len(len));
        state.len = Some(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.on()?;
        for change in &state.unsynced {
            match change {
                Change::Written(offset, bytes) => self.below.write(*offset, bytes)?,
                Change::Len(len) => self.below.set_len(*len)?,
            }
        }
        self.below.sync()?;
        *state = State::default();
        Ok(())
    }

    fn name(&self) -> String {
        self.below.name()
    }
}

/// The blocks that a range touches, each with where in it the range begins and ends.
fn blocks_of(offset: u64, end: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let within = |at: u64, no: u64| usize::try_from(at.saturating_sub(no.saturating_mul(BLOCK)).min(BLOCK)).unwrap_or(0);
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |no| (no, within(offset, no), within(end, no)))
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Splitmix64: chance that can be had again.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl fmt::Debug for VolatileMedium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolatileMedium").field("below", &self.below).field("unsynced", &self.unsynced()).finish()
    }
}
