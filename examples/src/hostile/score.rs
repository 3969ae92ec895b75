//! What an attack has done, and what was done to it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts that all connections of an attack share.
#[derive(Debug, Clone, Default)]
pub(super) struct Score(Arc<Mutex<Counts>>);

/// The counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Connections made.
    pub(super) opened: u64,
    /// Connections open at the same time, at most.
    pub(super) open_max: u64,
    /// Connections open now.
    open: u64,
    /// Bytes that the system has taken.
    pub(super) bytes_sent: u64,
    /// What was seen, and how often.
    pub(super) seen: BTreeMap<String, u64>,
    /// Connections that the connector closed while it was waited for.
    pub(super) closed: u64,
    /// How long that took, in microseconds, in sum.
    closed_us: u128,
    /// How long that took at most, in milliseconds.
    pub(super) closed_ms_max: u64,
}

impl Score {
    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(super) fn opened(&self) {
        let mut counts = self.lock();
        counts.opened += 1;
        counts.open += 1;
        counts.open_max = counts.open_max.max(counts.open);
    }

    pub(super) fn gone(&self) {
        let mut counts = self.lock();
        counts.open = counts.open.saturating_sub(1);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.lock().bytes_sent += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    pub(super) fn saw(&self, what: &str) {
        let mut counts = self.lock();
        match counts.seen.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(counts.seen.insert(what.to_owned(), 1)),
        }
    }

    pub(super) fn closed(&self, after: Duration) {
        let mut counts = self.lock();
        counts.closed += 1;
        counts.closed_us += after.as_micros();
        counts.closed_ms_max = counts.closed_ms_max.max(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Adds those of another run of the same attack.
    pub(super) fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.open_max = self.open_max.max(other.open_max);
        self.bytes_sent += other.bytes_sent;
        for (what, count) in &other.seen {
            *self.seen.entry(what.clone()).or_default() += count;
        }
        self.closed += other.closed;
        self.closed_us += other.closed_us;
        self.closed_ms_max = self.closed_ms_max.max(other.closed_ms_max);
    }

    /// How long the connector took to close a connection, on average.
    pub(super) fn closed_ms(&self) -> Option<u64> {
        let ms = self.closed_us.checked_div(u128::from(self.closed))? / 1000;
        u64::try_from(ms).ok()
    }
}
