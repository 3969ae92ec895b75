//! What the store's file is written on: watched while the store is opened, and, for power cuts, with a memory of its own that forgets.

use super::points::{Point, Torn, Trigger};
use ilp_core::store::{FileMedium, Medium};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Any medium, with the moments after each write and sync, as long as the store is being opened.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Arc<dyn Medium>,
    trigger: Arc<Trigger>,
}

impl Watched {
    pub(super) fn new(inner: Arc<dyn Medium>, trigger: Arc<Trigger>) -> Self {
        Self { inner, trigger }
    }

    fn stand(&self, what: &'static str) {
        if !self.trigger.is_opened() && self.trigger.variant(Point::DuringOpen, OPEN_MOMENTS) == Some(WRITE_OR_SYNC) {
            self.trigger.at(Point::DuringOpen, || what.to_owned());
        }
    }
}

impl Medium for Watched {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(offset, bytes)?;
        self.stand("after a write");
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)?;
        self.stand("after a change of the file's length");
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        self.stand("after a sync");
        Ok(())
    }

    fn name(&self) -> String {
        self.inner.name()
    }
}

/// A file on a disk whose power can fail: what wasn't synced is in memory alone, and at the cut each of its sectors reaches the file or
/// doesn't, in whatever order.
#[derive(Debug)]
pub(super) struct Volatile {
    file: FileMedium,
    trigger: Arc<Trigger>,
    /// Syncs do nothing: `--sabotage no-fsync`.
    forgetful: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file as its users see it.
    image: Vec<u8>,
    /// What the disk has been told and not promised, in order.
    pending: Vec<Change>,
    syncs: u32,
    writes_since: u32,
    /// The power has failed.
    dead: bool,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Volatile {
    /// The file at a path, which is there.
    pub(super) fn open(path: &Path, trigger: Arc<Trigger>, forgetful: bool) -> io::Result<Self> {
        let file = FileMedium::open(path)?;
        let mut image = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read(0, &mut image)?;
        let state = State { image, pending: Vec::new(), syncs: 0, writes_since: 0, dead: false };
        Ok(Self { file, trigger, forgetful, state: Mutex::new(state) })
    }

    /// The power fails: of what wasn't synced, some sectors have reached the file. Nothing may be called afterwards.
    pub(super) fn cut(&self, seed: u64) -> Torn {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        // None, few, half, most or all of them.
        let share = if self.forgetful { 0 } else { SHARES.get(random_below(&mut random, SHARES.len())).copied().unwrap_or_default() };
        let mut state = self.lock();
        state.dead = true;
        // Best effort, as a disk's: if it fails, less has survived.
        write_torn(&self.file, &state.pending, share, &mut random).unwrap_or(Torn { unsynced: 0, survived: 0 })
    }

    /// The process ends in good order: the system has all the time it needs.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut state = self.lock();
        self.write_out(&mut state)
    }

    fn write_out(&self, state: &mut State) -> io::Result<()> {
        for change in state.pending.drain(..) {
            match change {
                Change::Write { offset, bytes } => self.file.write(u64::try_from(offset).map_err(io::Error::other)?, &bytes)?,
                Change::Length(length) => self.file.set_len(u64::try_from(length).map_err(io::Error::other)?)?,
            }
        }
        // The process dies, not the machine: what the system has stays. A real sync would only take time.
        Ok(())
    }

    /// Without power nothing goes on.
    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.dead {
            loop {
                std::thread::park();
            }
        }
        state
    }

    /// Another change is pending; the trigger may want the cut now.
    fn changed(&self, mut state: MutexGuard<'_, State>) {
        state.writes_since = state.writes_since.saturating_add(1);
        let (syncs, writes) = (state.syncs, state.writes_since);
        drop(state);
        self.trigger.power(Point::PowerWhileWriting, syncs, Some(writes), || format!("after write {writes} since a sync"));
    }
}

impl Medium for Volatile {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.lock().image.len()).unwrap_or(u64::MAX))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let end = from.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(state.image.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if end > state.image.len() {
            state.image.resize(end, 0);
        }
        if let Some(place) = state.image.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        state.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
        self.changed(state);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.image.resize(len, 0);
        state.pending.push(Change::Length(len));
        self.changed(state);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        let (syncs, writes) = (state.syncs, state.writes_since);
        drop(state);
        // A cut that was to come with a later write than there is comes here.
        self.trigger.power(Point::PowerWhileWriting, syncs, None, || format!("at the sync after {writes} writes"));
        self.trigger.power(Point::PowerWhileSyncing, syncs, None, || format!("in the middle of a sync of {writes} writes"));
        state = self.lock();
        if !self.forgetful {
            self.write_out(&mut state)?;
        }
        state.syncs = state.syncs.saturating_add(1);
        state.writes_since = 0;
        drop(state);
        self.trigger.power(Point::PowerAfterSync, syncs, None, || "a sync is done, and nobody knows yet".to_owned());
        Ok(())
    }

    fn name(&self) -> String {
        self.file.name()
    }
}

/// Each sector ends as it was or as one of the versions that it has had since the last sync, and so does the file's length; what lies
/// beyond that is gone. Each version replaces the one before in `share` of 100 cases.
fn write_torn(file: &dyn Medium, pending: &[Change], share: u32, random: &mut ChaCha12Rng) -> io::Result<Torn> {
    let durable_length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let (mut now, mut length) = (durable_length, durable_length);
    // Of each sector that was changed: its newest version, and the one that survives.
    let mut sectors: BTreeMap<usize, ([u8; SECTOR_BYTES], Option<[u8; SECTOR_BYTES]>)> = BTreeMap::new();
    for change in pending {
        match change {
            Change::Length(new) => {
                now = *new;
                sectors.range_mut(new.div_ceil(SECTOR_BYTES)..).for_each(|(_, (newest, _))| newest.fill(0));
            }
            Change::Write { offset, bytes } => {
                now = now.max(offset.saturating_add(bytes.len()));
                for (sector, start, part) in parts(*offset, bytes) {
                    let (newest, survives) = match sectors.entry(sector) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => new.insert((read_sector(file, sector, durable_length)?, None)),
                    };
                    if let Some(place) = newest.get_mut(start..start + part.len()) {
                        place.copy_from_slice(part);
                    }
                    if chance(random, share) {
                        *survives = Some(*newest);
                    }
                }
            }
        }
        if chance(random, share) {
            length = now;
        }
    }
    file.set_len(u64::try_from(length).map_err(io::Error::other)?)?;
    let mut torn = Torn { unsynced: u64::try_from(sectors.len()).unwrap_or(u64::MAX), survived: 0 };
    for (sector, (_, survives)) in &sectors {
        let Some(bytes) = survives else { continue };
        let at = sector * SECTOR_BYTES;
        let kept = bytes.get(..SECTOR_BYTES.min(length.saturating_sub(at))).unwrap_or_default();
        file.write(u64::try_from(at).map_err(io::Error::other)?, kept)?;
        torn.survived += u64::from(!kept.is_empty());
    }
    Ok(torn)
}

/// What a write does to each sector: which, from where in it on, and with what.
fn parts(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, usize, &[u8])> {
    let (mut at, mut rest) = (offset, bytes);
    std::iter::from_fn(move || {
        let (sector, start) = (at / SECTOR_BYTES, at % SECTOR_BYTES);
        let (part, after) = rest.split_at(rest.len().min(SECTOR_BYTES - start));
        at += part.len();
        rest = after;
        (!part.is_empty()).then_some((sector, start, part))
    })
}

/// As the disk has it; zeroes beyond its end.
fn read_sector(file: &dyn Medium, sector: usize, length: usize) -> io::Result<[u8; SECTOR_BYTES]> {
    let (mut bytes, at) = ([0; SECTOR_BYTES], sector * SECTOR_BYTES);
    let there = length.saturating_sub(at).min(SECTOR_BYTES);
    if let Some(place) = bytes.get_mut(..there).filter(|_| there > 0) {
        file.read(u64::try_from(at).map_err(io::Error::other)?, place)?;
    }
    Ok(bytes)
}

fn chance(random: &mut ChaCha12Rng, share: u32) -> bool {
    random.next_u32() % 100 < share
}

fn random_below(random: &mut ChaCha12Rng, limit: usize) -> usize {
    usize::try_from(random.next_u32()).unwrap_or_default().checked_rem(limit).unwrap_or_default()
}

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
const SHARES: [u32; 5] = [0, 20, 50, 80, 100];

/// Moments of opening: before it, some write or sync on its way, the file read, and its end.
pub(super) const OPEN_MOMENTS: u32 = 4;
pub(super) const BEFORE_READING: u32 = 0;
const WRITE_OR_SYNC: u32 = 1;
pub(super) const FILE_READ: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use ilp_core::store::MemoryMedium;

    fn torn(old: &[u8], pending: &[Change], share: u32, seed: u64) -> Vec<u8> {
        let medium = MemoryMedium::of(old.to_vec());
        write_torn(&medium, pending, share, &mut ChaCha12Rng::seed_from_u64(seed)).unwrap();
        medium.bytes()
    }

    fn changes() -> Vec<Change> {
        vec![
            Change::Write { offset: 500, bytes: vec![2; 600] },
            Change::Length(3_000),
            Change::Write { offset: 2_048, bytes: vec![3; 10] },
            Change::Write { offset: 512, bytes: vec![4; 4] },
        ]
    }

    #[test]
    fn all_or_nothing_of_what_was_not_synced_may_survive() {
        let old = vec![1; 1_024];
        assert_eq!(torn(&old, &changes(), 0, 1), old);
        let mut new = vec![0; 3_000];
        new[..500].fill(1);
        new[500..1_100].fill(2);
        new[2_048..2_058].fill(3);
        new[512..516].fill(4);
        assert_eq!(torn(&old, &changes(), 100, 1), new);
    }

    #[test]
    fn sectors_survive_whole_each_by_itself_in_any_version() {
        let old = vec![1; 1_024];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..3_000 {
            let new = torn(&old, &changes(), 50, seed);
            // The second sector: as it was, after the first write, or after both.
            let second = &new[512..1_024];
            assert!(second == [1; 512] || second == [2; 512] || (second[..4] == [4; 4] && second[4..] == [2; 508]), "{second:?}");
            seen.insert((new.len(), new[500], second[0]));
        }
        for known in [(1_024, 1, 1), (1_024, 2, 1), (1_024, 1, 2), (3_000, 1, 4), (3_000, 2, 4), (1_100, 2, 2)] {
            assert!(seen.contains(&known), "{known:?} in {seen:?}");
        }
    }
}
