//! Which links there are: one for each other process.

use super::link::Link;
use crate::store::SlotNo;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where numbers of workers begin: no epoch is as high.
const NUMBERS: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Table {
    own: Arc<str>,
    links: Mutex<BTreeMap<Arc<str>, Arc<Link>>>,
    next: AtomicU64,
}

impl Table {
    pub(super) fn new(own: Arc<str>) -> Self {
        Self { own, links: Mutex::default(), next: AtomicU64::new(NUMBERS) }
    }

    /// For a worker that was met anew.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Both sides keep the same one of two links that were made at once: the one that the process with the lesser name has dialled. Of two
    /// that the same one has dialled the newer counts: it wouldn't have dialled if it still had the older. `false` if it isn't this one.
    pub(super) fn enter(&self, link: &Arc<Link>) -> bool {
        let mut links = self.lock();
        let wins = link.dialled == (*self.own < *link.holder);
        if let Some(old) = links.get(&link.holder) {
            if old.dialled != link.dialled && !wins {
                return false;
            }
            old.end();
        }
        links.insert(link.holder.clone(), link.clone());
        true
    }

    /// `false` if it wasn't there, or another one has its place.
    pub(super) fn leave(&self, link: &Arc<Link>) -> bool {
        let mut links = self.lock();
        let there = links.get(&link.holder).is_some_and(|other| Arc::ptr_eq(other, link));
        there && links.remove(&link.holder).is_some()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn has(&self, holder: &str) -> bool {
        self.lock().contains_key(holder)
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.lock().values().cloned().collect()
    }

    /// The slots that can be reached, each with its worker's number. Of two processes that both say they have a slot the one with the higher
    /// epoch does.
    pub(super) fn open(&self) -> Vec<(SlotNo, u64)> {
        let mut open = BTreeMap::new();
        for (slot, epoch, number) in self.links().iter().flat_map(|link| link.slots()) {
            if open.get(&slot).is_none_or(|(highest, _)| *highest < epoch) {
                open.insert(slot, (epoch, number));
            }
        }
        open.into_iter().map(|(slot, (_, number))| (slot, number)).collect()
    }

    /// The link to a worker, and its epoch.
    pub(super) fn way_to(&self, slot: SlotNo, number: u64) -> Option<(Arc<Link>, u64)> {
        self.lock().values().find_map(|link| Some((link.clone(), link.epoch_of(slot, number)?)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Link>>> {
        // Nothing panics while it is held, so what is inside is whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_the_same_one_of_two_links() {
        for ann_first_at_ann in [true, false] {
            for ann_first_at_bob in [true, false] {
                let kept = |own: &str, other: &str, own_first: bool| {
                    let table = Table::new(own.into());
                    let links = [own_first, !own_first].map(|dialled| Arc::new(Link::new(other.into(), String::new(), dialled)));
                    assert!(table.enter(&links[0]));
                    table.enter(&links[1]);
                    table.links()[0].dialled
                };
                assert!(kept("ann", "bob", ann_first_at_ann));
                assert!(!kept("bob", "ann", !ann_first_at_bob));
            }
        }
    }

    #[test]
    fn the_newer_of_two_from_one_side_counts_and_the_older_takes_nothing_with_it() {
        let table = Table::new("ann".into());
        let [old, new] = [(), ()].map(|()| Arc::new(Link::new("bob".into(), String::new(), false)));
        assert!(table.enter(&old) && table.enter(&new));
        table.leave(&old);
        assert!(table.has("bob") && Arc::ptr_eq(&table.links()[0], &new));
        table.leave(&new);
        assert!(!table.has("bob"));
    }
}
