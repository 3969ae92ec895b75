//! Counters, for `status`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a store has done since it was connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RedisMetrics {
    /// Connections that were made, the first among them.
    pub connections: u64,
    /// Scripts that were called.
    pub scripts: u64,
    /// Batches that were found durable, repeated ones too.
    pub commits: u64,
    /// Bytes of blobs in them.
    pub bytes: u64,
    /// Commits whose outcome wasn't known.
    pub unknown: u64,
    /// Times that replicas were waited for; one may do for several commits.
    pub waits: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) scripts: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) waits: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> RedisMetrics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RedisMetrics {
            connections: of(&self.connections),
            scripts: of(&self.scripts),
            commits: of(&self.commits),
            bytes: of(&self.bytes),
            unknown: of(&self.unknown),
            waits: of(&self.waits),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
