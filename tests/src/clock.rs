//! A clock that tests put forward instead of waiting.

use ilp_core::runtime::{Clock, SystemClock};
use ilp_oer::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The system's time and as much more as a test says. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct JumpingClock {
    system: Arc<SystemClock>,
    ahead_ms: Arc<AtomicI64>,
}

impl JumpingClock {
    /// Jumps ahead. The connector sees it at its next turn, a tick of 100 ms later at the latest.
    pub fn jump_ms(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Starts at a time of the test's choice.
    pub fn starting_at(at: Timestamp) -> Self {
        let clock = Self::default();
        clock.jump_ms(at.millis_since(clock.system.now()));
        clock
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        self.system.now().saturating_add_millis(self.ahead_ms.load(Ordering::SeqCst))
    }
}
