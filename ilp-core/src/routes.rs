//! Static routes: the longest prefix of whole segments wins.

use ahash::RandomState;
use ilp_oer::{Addr, Address};
use std::collections::HashMap;

/// Prefix → next hop. A lookup hashes at most as many prefixes as the longest route has segments, however long the address.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    table: HashMap<Box<[u8]>, T, RandomState>,
    len_max: usize,
}

impl<T: Copy + PartialEq> Routes<T> {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self { table: HashMap::with_hasher(hasher), len_max: 0 }
    }

    /// The hop that `prefix` led to before, if it is another one.
    pub(crate) fn insert(&mut self, prefix: &Address, hop: T) -> Option<T> {
        self.len_max = self.len_max.max(prefix.as_str().len());
        self.table.insert(prefix.as_str().as_bytes().into(), hop).filter(|before| *before != hop)
    }

    pub(crate) fn remove_hop(&mut self, hop: T) {
        self.table.retain(|_, to| *to != hop);
        self.len_max = self.table.keys().map(|prefix| prefix.len()).max().unwrap_or(0);
    }

    pub(crate) fn get_exact(&self, prefix: &str) -> Option<T> {
        self.table.get(prefix.as_bytes()).copied()
    }

    pub(crate) fn lookup(&self, destination: Addr<'_>) -> Option<T> {
        let mut rest = destination.as_bytes();
        loop {
            if rest.len() <= self.len_max
                && let Some(hop) = self.table.get(rest)
            {
                return Some(*hop);
            }
            rest = rest.get(..rest.iter().rposition(|byte| *byte == b'.')?)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes<u8> {
        let mut routes = Routes::new(RandomState::with_seeds(1, 2, 3, 4));
        for (prefix, hop) in [("example.alice", 1), ("example", 2), ("example.alice.shop", 3)] {
            routes.insert(&Address::new(prefix).unwrap(), hop);
        }
        routes
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary() {
        let routes = routes();
        let to = |address: &str| routes.lookup(Addr::new(address).unwrap());
        assert_eq!(to("example.alice"), Some(1));
        assert_eq!(to("example.alice.a.b"), Some(1));
        assert_eq!(to("example.alicebob"), Some(2));
        assert_eq!(to("example.alice.shop"), Some(3));
        assert_eq!(to("example.alice.shopping"), Some(1));
        assert_eq!(to("examples.alice"), None);
        assert_eq!(to("test"), None);
    }

    #[test]
    fn a_removed_hop_leaves_the_others() {
        let mut routes = routes();
        routes.remove_hop(1);
        assert_eq!(routes.lookup(Addr::new("example.alice.x").unwrap()), Some(2));
        assert_eq!(routes.lookup(Addr::new("example.alice.shop.x").unwrap()), Some(3));
    }
}
