//! A medium that stops working in the middle of something.

use ilp_core::conformance::{PowerLoss, VolatileMedium};
use ilp_core::store::{Medium, MemoryMedium};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory that loses what isn't synced with the power, and fails from an operation on that was chosen before. Writes, syncs and changes of
/// length are operations; what is only read isn't: how often a database reads is its own business, and differs from build to build.
#[derive(Debug)]
pub(super) struct Frail {
    below: MemoryMedium,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    volatile: Arc<VolatileMedium>,
    /// Operations since somebody looked.
    operations: u64,
    failing: Option<Failing>,
}

/// How and when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    /// So many more operations work, then nothing does, reading neither.
    Dead(u64),
    /// So many more operations work, then there is no room.
    Full(u64),
    /// Everything works but what makes it durable.
    Unsyncable,
}

impl Frail {
    pub(super) fn new() -> Self {
        let below = MemoryMedium::new();
        let volatile = Arc::new(VolatileMedium::new(Arc::new(below.clone())));
        Self { below, state: Mutex::new(State { volatile, operations: 0, failing: None }) }
    }

    /// From now on; `None`: not any more.
    pub(super) fn fail(&self, failing: Option<Failing>) {
        self.lock().failing = failing;
    }

    /// How many operations there were since this was asked last.
    pub(super) fn operations(&self) -> u64 {
        std::mem::take(&mut self.lock().operations)
    }

    /// What wasn't synced becomes as `how` says. Afterwards the power is back, and whoever is to use it must open it anew.
    pub(super) fn lose_power(&self, seed: u64, how: PowerLoss) {
        let mut state = self.lock();
        state.volatile.lose_power(seed, how).unwrap();
        state.volatile = Arc::new(VolatileMedium::new(Arc::new(self.below.clone())));
        state.failing = None;
    }

    /// What is below, if it works at the moment.
    fn alive(&self) -> io::Result<Arc<VolatileMedium>> {
        let state = self.lock();
        match state.failing {
            Some(Failing::Dead(0)) => Err(io::Error::other("the machine is dead")),
            _ => Ok(state.volatile.clone()),
        }
    }

    /// The same for what changes something.
    fn operation(&self, syncs: bool) -> io::Result<Arc<VolatileMedium>> {
        let mut state = self.lock();
        state.operations += 1;
        match &mut state.failing {
            Some(Failing::Dead(0)) => return Err(io::Error::other("the machine is dead")),
            Some(Failing::Full(0)) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Failing::Dead(left) | Failing::Full(left)) => *left -= 1,
            Some(Failing::Unsyncable) if syncs => return Err(io::Error::other("a sync failed")),
            Some(Failing::Unsyncable) | None => {}
        }
        Ok(state.volatile.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium for Frail {
    fn len(&self) -> io::Result<u64> {
        self.alive()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.alive()?.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.operation(false)?.write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operation(false)?.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.operation(true)?.sync()
    }

    fn name(&self) -> String {
        "a simulated disk".into()
    }
}
