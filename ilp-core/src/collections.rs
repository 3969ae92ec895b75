//! A slab and a map that grow without moving everything they hold: with a million transfers, that would stop all payments for a tenth of
//! a second.

use ahash::RandomState;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::Hash;

/// Places in one chunk of a slab.
const CHUNK: usize = 8_192;
/// Parts of a map; each grows by itself.
const PARTS: usize = 256;

/// Values at places that stay the same until they are removed; free places are used again, the last freed first.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<usize>,
    used: usize,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), used: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.used.saturating_sub(self.free.len())
    }

    /// No place is this or higher.
    pub(crate) fn end(&self) -> usize {
        self.used
    }

    /// Where the next value will be.
    pub(crate) fn vacant_key(&self) -> usize {
        self.free.last().copied().unwrap_or(self.used)
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        if let Some(key) = self.free.pop() {
            if let Some(place) = self.place(key) {
                *place = Some(value);
            }
            return key;
        }
        let key = self.used;
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(Some(value)),
            None => {
                // The first chunk grows as it is needed: most slabs stay small.
                let mut chunk = Vec::with_capacity(if self.chunks.is_empty() { 16 } else { CHUNK });
                chunk.push(Some(value));
                self.chunks.push(chunk);
            }
        }
        self.used = self.used.saturating_add(1);
        key
    }

    pub(crate) fn get(&self, key: usize) -> Option<&T> {
        self.chunks.get(key / CHUNK)?.get(key % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.place(key)?.as_mut()
    }

    pub(crate) fn try_remove(&mut self, key: usize) -> Option<T> {
        let value = self.place(key)?.take()?;
        self.free.push(key);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let places = self.chunks.iter().flatten().enumerate();
        places.filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }

    fn place(&mut self, key: usize) -> Option<&mut Option<T>> {
        self.chunks.get_mut(key / CHUNK)?.get_mut(key % CHUNK)
    }
}

/// A hash map in parts.
pub(crate) struct PartedMap<K, V> {
    parts: Vec<HashMap<K, V, RandomState>>,
    hasher: RandomState,
}

impl<K: Debug, V: Debug> Debug for PartedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts.iter().flatten()).finish()
    }
}

impl<K: Hash + Eq, V> PartedMap<K, V> {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self { parts: (0..PARTS).map(|_| HashMap::with_hasher(hasher.clone())).collect(), hasher }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.parts.get(self.part(key))?.get(key)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let part = self.part(&key);
        if let Some(part) = self.parts.get_mut(part) {
            part.insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        let part = self.part(key);
        if let Some(part) = self.parts.get_mut(part) {
            part.remove(key);
        }
    }

    /// Bits of the hash that the parts' own tables don't look at first. Keyed, so that nobody can fill one part alone.
    fn part(&self, key: &K) -> usize {
        let [.., part, _, _, _] = self.hasher.hash_one(key).to_be_bytes();
        usize::from(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_and_a_parted_map_do_what_a_plain_map_does(ops in prop::collection::vec((any::<bool>(), 0usize..40), 1..400)) {
            let mut slots = Slots::new();
            let mut map = PartedMap::new(RandomState::with_seeds(1, 2, 3, 4));
            let mut model: HashMap<usize, usize> = HashMap::new();
            for (n, (insert, pick)) in ops.into_iter().enumerate() {
                if insert {
                    let key = slots.vacant_key();
                    prop_assert_eq!(slots.insert(n), key);
                    map.insert(key, n);
                    prop_assert_eq!(model.insert(key, n), None);
                } else {
                    prop_assert_eq!(slots.try_remove(pick), model.remove(&pick));
                    map.remove(&pick);
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            let mut all: Vec<_> = slots.iter().map(|(key, n)| (key, *n)).collect();
            let mut expected: Vec<_> = model.into_iter().collect();
            expected.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(&all, &expected);
            for (key, n) in expected {
                prop_assert_eq!((slots.get(key), map.get(&key)), (Some(&n), Some(&n)));
                prop_assert!(key < slots.end());
            }
        }
    }

    #[test]
    fn places_stay_across_chunks() {
        let mut slots = Slots::new();
        let keys: Vec<usize> = (0..3 * CHUNK + 5).map(|n| slots.insert(n)).collect();
        assert!(keys.iter().enumerate().all(|(n, key)| slots.get(*key) == Some(&n)));
        assert_eq!(slots.try_remove(CHUNK), Some(CHUNK));
        assert_eq!((slots.vacant_key(), slots.insert(7)), (CHUNK, CHUNK));
        assert_eq!(slots.get(4 * CHUNK), None);
    }
}
