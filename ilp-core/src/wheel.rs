//! One timing wheel for all of a worker's transfers: 10 ms ticks, no cancellation.
//!
//! A transfer has at most one entry in the wheel. When it fires, the worker looks at the transfer and either acts or puts it back for
//! its next deadline, so nothing is ever searched or removed.

use ilp_oer::Timestamp;
use std::fmt::{self, Debug};

/// Milliseconds a tick.
pub(crate) const TICK_MS: i64 = 10;
const SLOTS: i64 = 4_096;

/// Who is woken: a slab index and the tag that tells its tenants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) index: u32,
    pub(crate) check: u32,
}

pub(crate) struct Wheel {
    slots: Vec<Vec<Timer>>,
    /// The tick that was fired last.
    tick: i64,
    len: usize,
}

impl Debug for Wheel {
    /// Only the slots with something in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots.iter().enumerate().filter(|(_, timers)| !timers.is_empty());
        f.debug_map().entry(&"tick", &self.tick).entries(slots).finish()
    }
}

impl Wheel {
    pub(crate) fn new(now: Timestamp) -> Self {
        let slots = usize::try_from(SLOTS).unwrap_or_default();
        Self { slots: (0..slots).map(|_| Vec::new()).collect(), tick: now.unix_millis().div_euclid(TICK_MS), len: 0 }
    }

    /// Fires at the first tick that is not before `due`, or earlier if that is beyond the wheel.
    pub(crate) fn insert(&mut self, timer: Timer, due: Timestamp) {
        let tick =
            due.unix_millis().div_euclid(TICK_MS).saturating_add(1).clamp(self.tick.saturating_add(1), self.tick.saturating_add(SLOTS - 1));
        if let Some(slot) = self.slot(tick) {
            slot.push(timer);
            self.len = self.len.saturating_add(1);
        }
    }

    /// Moves everything due at `now` into `fired`.
    pub(crate) fn advance(&mut self, now: Timestamp, fired: &mut Vec<Timer>) {
        let target = now.unix_millis().div_euclid(TICK_MS);
        // After a long pause every slot is due once; walking further would only repeat them.
        let from = self.tick.saturating_add(1).max(target.saturating_sub(SLOTS - 1));
        for tick in from..=target {
            if let Some(slot) = self.slot(tick) {
                fired.append(slot);
                if slot.capacity() > 64 {
                    *slot = Vec::new();
                }
            }
        }
        self.tick = self.tick.max(target);
        self.len = self.len.saturating_sub(fired.len());
    }

    /// When something may be due next; `None` if the wheel is empty.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        if self.len == 0 {
            return None;
        }
        let busy = |tick: &i64| self.index(*tick).and_then(|i| self.slots.get(i)).is_some_and(|slot| !slot.is_empty());
        let tick = (self.tick.saturating_add(1)..self.tick.saturating_add(SLOTS)).find(busy)?;
        Timestamp::from_unix_millis(tick.saturating_mul(TICK_MS)).ok()
    }

    fn index(&self, tick: i64) -> Option<usize> {
        usize::try_from(tick.rem_euclid(SLOTS)).ok()
    }

    fn slot(&mut self, tick: i64) -> Option<&mut Vec<Timer>> {
        let index = self.index(tick)?;
        self.slots.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_millis(ms).unwrap()
    }

    #[test]
    fn fires_never_early_and_once() {
        let mut wheel = Wheel::new(at(1_000));
        for (i, due) in [1_000, 1_004, 1_010, 1_999, 30_000].into_iter().enumerate() {
            wheel.insert(Timer { index: u32::try_from(i).unwrap(), check: 0 }, at(due));
        }
        let mut seen = Vec::new();
        for now in (1_000..31_000).step_by(7) {
            let mut fired = Vec::new();
            wheel.advance(at(now), &mut fired);
            seen.extend(fired.into_iter().map(|t| (t.index, now)));
        }
        for (i, due) in [1_000, 1_004, 1_010, 1_999, 30_000].into_iter().enumerate() {
            let times: Vec<_> = seen.iter().filter(|(index, _)| *index == u32::try_from(i).unwrap()).collect();
            assert_eq!(times.len(), 1, "{i}");
            assert!(times[0].1 >= due && times[0].1 <= due + 27, "{i} due {due} fired {}", times[0].1);
        }
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn what_lies_beyond_the_wheel_fires_early_so_that_its_owner_can_put_it_back() {
        let mut wheel = Wheel::new(at(0));
        wheel.insert(Timer { index: 1, check: 0 }, at(1_000_000));
        let mut fired = Vec::new();
        wheel.advance(at(40_960), &mut fired);
        assert_eq!(fired.len(), 1);
    }

    #[test]
    fn a_long_pause_loses_nothing() {
        let mut wheel = Wheel::new(at(0));
        for i in 0..100 {
            wheel.insert(Timer { index: i, check: 0 }, at(i64::from(i) * 300));
        }
        let mut fired = Vec::new();
        wheel.advance(at(10_000_000), &mut fired);
        assert_eq!(fired.len(), 100);
    }
}
