//! What a store has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreMetrics {
    /// Transactions that were made durable, each with all batches that had queued. Openings of slots are among them.
    pub commits: u64,
    /// Batches that were made durable; repeated ones count once.
    pub batches: u64,
    /// Bytes of their records.
    pub log_bytes: u64,
    /// Transactions whose outcome was left unknown.
    pub failures: u64,
    /// How often the file was opened again after a failure.
    pub reopened: u64,
    /// How often the medium was asked to make everything durable.
    pub syncs: u64,
    /// How long that took, all together.
    pub sync_time: Duration,
    /// What was written to the medium, in bytes.
    pub bytes_written: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) reopened: AtomicU64,
    syncs: AtomicU64,
    sync_ns: AtomicU64,
    bytes_written: AtomicU64,
}

impl Counters {
    pub(super) fn synced(&self, took: Duration) {
        add(&self.syncs, 1);
        add(&self.sync_ns, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn written(&self, bytes: usize) {
        add(&self.bytes_written, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(super) fn read(&self) -> StoreMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreMetrics {
            commits: get(&self.commits),
            batches: get(&self.batches),
            log_bytes: get(&self.log_bytes),
            failures: get(&self.failures),
            reopened: get(&self.reopened),
            syncs: get(&self.syncs),
            sync_time: Duration::from_nanos(get(&self.sync_ns)),
            bytes_written: get(&self.bytes_written),
        }
    }
}

/// Counters are for people: nothing is decided by them, so they needn't be in step with each other.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
