//! Requests of ours that wait for their answers.

use ilp_oer::Timestamp;
use std::collections::VecDeque;

/// The waiting requests, found by their ids, which are given out here: sequential, from 1.
///
/// A ring, not a hash map: the request with id `first + n` is at index n. An answered request leaves a gap, and gaps at the front
/// are popped. So that one request which is never answered doesn't make the ring grow, such a one is moved to `stragglers` when
/// the ring has become twice as long as there may be requests waiting.
#[derive(Debug)]
pub(super) struct Pending {
    first: u32,
    ring: VecDeque<Slot>,
    /// Oldest first, so sorted by their distance from the first.
    stragglers: VecDeque<(u32, Slot)>,
    stragglers_done: usize,
    waiting: usize,
    waiting_max: usize,
    /// Not later than the first deadline; may be earlier, because answered requests don't raise it.
    earliest: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u64,
    deadline: Timestamp,
    waiting: bool,
}

/// As many requests wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Pending {
    pub(super) fn new(waiting_max: usize) -> Self {
        Self {
            first: 1,
            ring: VecDeque::new(),
            stragglers: VecDeque::new(),
            stragglers_done: 0,
            waiting: 0,
            waiting_max: waiting_max.max(1),
            earliest: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// The id the next request gets. Ids wrap around; one that is still in use is skipped.
    pub(super) fn next_id(&mut self) -> Result<u32, Full> {
        if self.waiting >= self.waiting_max {
            return Err(Full);
        }
        while self.ring.len() >= self.waiting_max.saturating_mul(2) {
            self.move_front();
        }
        loop {
            let id = self.first.wrapping_add(u32::try_from(self.ring.len()).unwrap_or(u32::MAX));
            if self.straggler(id).is_none_or(|(_, slot)| !slot.waiting) {
                return Ok(id);
            }
            self.ring.push_back(Slot { tag: 0, deadline: Timestamp::MAX, waiting: false });
            self.pop_gaps();
        }
    }

    /// Takes the id that [`next_id`](Self::next_id) has just given.
    pub(super) fn push(&mut self, tag: u64, deadline: Timestamp) {
        self.ring.push_back(Slot { tag, deadline, waiting: true });
        self.waiting += 1;
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// The request with this id is answered: gives its tag, unless it isn't waiting.
    pub(super) fn take(&mut self, id: u32) -> Option<u64> {
        let offset = usize::try_from(id.wrapping_sub(self.first)).ok()?;
        let tag = if let Some(slot) = self.ring.get_mut(offset) {
            if !slot.waiting {
                return None;
            }
            slot.waiting = false;
            let tag = slot.tag;
            self.pop_gaps();
            tag
        } else {
            let (_, slot) = self.straggler(id)?;
            if !slot.waiting {
                return None;
            }
            slot.waiting = false;
            let tag = slot.tag;
            self.stragglers_done += 1;
            self.compact_stragglers();
            tag
        };
        self.waiting -= 1;
        if self.waiting == 0 {
            self.earliest = None;
        }
        Some(tag)
    }

    /// When [`time_out`](Self::time_out) is worth calling; may be too early, never too late.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.earliest
    }

    /// Ends every request whose deadline is `now` or earlier, oldest first.
    pub(super) fn time_out(&mut self, now: Timestamp, mut ended: impl FnMut(u32, u64)) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let mut earliest: Option<Timestamp> = None;
        let first = self.first;
        let ring = self.ring.iter_mut().zip(0_u32..).map(|(slot, n)| (first.wrapping_add(n), slot));
        for (id, slot) in self.stragglers.iter_mut().map(|(id, slot)| (*id, slot)).chain(ring) {
            if !slot.waiting {
                continue;
            }
            if slot.deadline <= now {
                slot.waiting = false;
                self.waiting -= 1;
                ended(id, slot.tag);
            } else {
                earliest = Some(earliest.map_or(slot.deadline, |earliest| earliest.min(slot.deadline)));
            }
        }
        self.earliest = earliest;
        self.stragglers.retain(|(_, slot)| slot.waiting);
        self.stragglers_done = 0;
        self.pop_gaps();
    }

    /// Ends every request, oldest first.
    pub(super) fn end_all(&mut self, ended: impl FnMut(u32, u64)) {
        self.earliest = self.earliest.map(|_| Timestamp::MIN);
        self.time_out(Timestamp::MAX, ended);
    }

    fn pop_gaps(&mut self) {
        while self.ring.front().is_some_and(|slot| !slot.waiting) {
            self.ring.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    fn move_front(&mut self) {
        if let Some(slot) = self.ring.pop_front() {
            self.stragglers.push_back((self.first, slot));
            self.first = self.first.wrapping_add(1);
        }
        self.pop_gaps();
    }

    fn straggler(&mut self, id: u32) -> Option<&mut (u32, Slot)> {
        let (oldest, _) = *self.stragglers.front()?;
        let distance = |id: u32| id.wrapping_sub(oldest);
        let index = self.stragglers.binary_search_by_key(&distance(id), |(id, _)| distance(*id)).ok()?;
        self.stragglers.get_mut(index)
    }

    /// Removing each on its own would move all the others each time.
    fn compact_stragglers(&mut self) {
        if self.stragglers_done * 2 > self.stragglers.len() {
            self.stragglers.retain(|(_, slot)| slot.waiting);
            self.stragglers_done = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_millis(ms).unwrap()
    }

    fn add(pending: &mut Pending, tag: u64, deadline: i64) -> Result<u32, Full> {
        let id = pending.next_id()?;
        pending.push(tag, at(deadline));
        Ok(id)
    }

    fn timed_out(pending: &mut Pending, now: i64) -> Vec<(u32, u64)> {
        let mut ended = Vec::new();
        pending.time_out(at(now), |id, tag| ended.push((id, tag)));
        ended
    }

    #[test]
    fn ids_are_sequential_from_1() {
        let mut pending = Pending::new(10);
        assert_eq!((add(&mut pending, 7, 10), add(&mut pending, 8, 10), add(&mut pending, 9, 10)), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(pending.take(2), Some(8));
        assert_eq!(add(&mut pending, 9, 10), Ok(4));
    }

    #[test]
    fn an_id_is_answered_once() {
        let mut pending = Pending::new(10);
        add(&mut pending, 7, 10).unwrap();
        add(&mut pending, 8, 10).unwrap();
        assert_eq!((pending.take(2), pending.take(2)), (Some(8), None));
        assert_eq!((pending.take(1), pending.take(1)), (Some(7), None));
        assert_eq!((pending.take(0), pending.take(3), pending.take(u32::MAX)), (None, None, None));
        assert_eq!((pending.len(), pending.ring.len(), pending.earliest()), (0, 0, None));
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut pending = Pending::new(2);
        add(&mut pending, 7, 10).unwrap();
        add(&mut pending, 8, 10).unwrap();
        assert_eq!(add(&mut pending, 9, 10), Err(Full));
        assert_eq!(pending.take(1), Some(7));
        assert_eq!(add(&mut pending, 9, 10), Ok(3));
    }

    #[test]
    fn one_request_that_is_never_answered_does_not_make_the_ring_grow() {
        let mut pending = Pending::new(4);
        add(&mut pending, 7, 100).unwrap();
        for tag in 0..1000 {
            let id = add(&mut pending, tag, 200).unwrap();
            assert_eq!(pending.take(id), Some(tag));
            assert!(pending.ring.len() <= 8 && pending.stragglers.len() <= 4);
        }
        assert_eq!(pending.stragglers.len(), 1);
        assert_eq!(timed_out(&mut pending, 99), []);
        assert_eq!(timed_out(&mut pending, 100), [(1, 7)]);
        assert_eq!((pending.take(1), pending.len()), (None, 0));
    }

    #[test]
    fn an_id_in_use_is_skipped_after_ids_have_wrapped_around() {
        let mut pending = Pending::new(2);
        pending.first = u32::MAX;
        assert_eq!(add(&mut pending, 7, 100), Ok(u32::MAX));
        for id in 0..4 {
            assert_eq!(add(&mut pending, 8, 200), Ok(id));
            assert_eq!(pending.take(id), Some(8));
        }
        assert_eq!(pending.stragglers.len(), 1);
        // As if 2^32 requests later.
        pending.first = u32::MAX - 1;
        assert_eq!(add(&mut pending, 9, 200), Ok(u32::MAX - 1));
        assert_eq!(pending.take(u32::MAX - 1), Some(9));
        assert_eq!(add(&mut pending, 9, 200), Ok(0));
        assert_eq!(pending.take(u32::MAX), Some(7));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(limit in 1_usize..6, steps in prop::collection::vec((0_u8..4, 0_u32..40, 0_i64..30), 0..200)) {
            let mut pending = Pending::new(limit);
            let mut model: BTreeMap<u32, (u64, i64)> = BTreeMap::new();
            let (mut next, mut now) = (1_u32, 0_i64);
            for (tag, (kind, id, ms)) in (0_u64..).zip(steps) {
                match kind {
                    0 | 1 => {
                        let added = add(&mut pending, tag, now + ms);
                        if model.len() < limit {
                            prop_assert_eq!(added, Ok(next));
                            model.insert(next, (tag, now + ms));
                            next += 1;
                        } else {
                            prop_assert_eq!(added, Err(Full));
                        }
                    }
                    2 => {
                        let id = next.saturating_sub(id);
                        prop_assert_eq!(pending.take(id), model.remove(&id).map(|(tag, _)| tag));
                    }
                    _ => {
                        now += ms;
                        let expected: Vec<_> = model.iter().filter(|(_, (_, end))| *end <= now).map(|(id, (tag, _))| (*id, *tag)).collect();
                        model.retain(|_, (_, end)| *end > now);
                        prop_assert_eq!(timed_out(&mut pending, now), expected);
                    }
                }
                prop_assert_eq!(pending.len(), model.len());
                if let Some(first) = model.values().map(|(_, end)| *end).min() {
                    prop_assert!(pending.earliest().unwrap() <= at(first));
                }
                prop_assert!(pending.ring.len() <= 2 * limit && pending.stragglers.len() <= 2 * limit + 1);
            }
        }
    }
}
