//! The time of a run.

use ilp_oer::Timestamp;
use std::time::{Duration, Instant, SystemTime};

/// Both times that a run needs, by one look at the system's clock: how long it has lasted, and the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: i64,
}

/// An instant of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Nanoseconds since the start of the run.
    pub(crate) ns: u64,
    /// The time of day, as peers tell it each other.
    pub(crate) wall: Timestamp,
}

impl Clock {
    /// A run starts.
    pub(crate) fn start() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
    }

    /// When the run started.
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let wall = Timestamp::from_unix_millis(self.start_ms.saturating_add(ms)).unwrap_or(Timestamp::MAX);
        Now { ns: nanoseconds(elapsed), wall }
    }
}

/// A duration as whole nanoseconds; more than 584 years as 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
