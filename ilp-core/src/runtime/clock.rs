//! Wall time that never runs backwards.

use ilp_oer::Timestamp;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Gives the time. Read once a batch.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time. Must never be earlier than what an earlier call returned.
    fn now(&self) -> Timestamp;
}

/// The system's wall time, carried on by the monotonic clock. When the two disagree (the wall clock was set, or drifts), it follows by
/// at most 1 % of the time passed, so that it neither jumps nor runs backwards.
#[derive(Debug)]
pub struct SystemClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    read_at: Instant,
    /// Microseconds since the epoch.
    time: i64,
}

impl SystemClock {
    /// Starts at the system's wall time.
    pub fn new() -> Self {
        Self { state: Mutex::new(State { read_at: Instant::now(), time: wall() }) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read_at = Instant::now();
        state.time = slew(state.time, micros(read_at.saturating_duration_since(state.read_at)), wall());
        state.read_at = read_at;
        Timestamp::from_unix_millis(state.time.div_euclid(1_000)).unwrap_or(Timestamp::MAX)
    }
}

/// The next time, given the last one, what the monotonic clock says has passed, and what the wall clock says now.
fn slew(last: i64, passed: i64, wall: i64) -> i64 {
    let next = last.saturating_add(passed);
    let step = passed.div_euclid(100);
    next.saturating_add(wall.saturating_sub(next).clamp(-step, step))
}

fn wall() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => micros(before.duration()).saturating_neg(),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::slew;

    #[test]
    fn a_wall_clock_set_back_is_followed_slowly_and_never_backwards() {
        let mut time = 1_000_000_000;
        for _ in 0..1_000 {
            let next = slew(time, 10_000, 0);
            assert!(next > time && next - time >= 9_900);
            time = next;
        }
    }

    #[test]
    fn a_right_wall_clock_is_kept() {
        assert_eq!(slew(5_000_000, 1_000, 5_001_000), 5_001_000);
        assert_eq!(slew(5_000_000, 1_000, 5_001_005), 5_001_005);
        assert_eq!(slew(5_000_000, 1_000, 9_001_000), 5_001_010);
    }
}
