//! The time, as the driver tells it to the state machines.

use ilp_oer::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time that never runs backwards.
#[derive(Debug)]
pub(super) struct Clock {
    last: Timestamp,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { last: wall() }
    }

    pub(super) fn now(&mut self) -> Timestamp {
        self.last = self.last.max(wall());
        self.last
    }
}

/// The wall clock's time, for the expiry of a transfer.
pub fn now() -> Timestamp {
    wall()
}

pub(super) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).ok().and_then(|ms| Timestamp::from_unix_millis(ms).ok()).unwrap_or(Timestamp::MIN)
}
