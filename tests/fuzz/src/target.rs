//! What a target is.

use crate::shape::Shape;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A part of the project, and what must hold for every input to it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line, and that of its folder in `tests/corpora`.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The format of its inputs.
    pub shapes: &'static [Shape],
    /// Words that mean something in its inputs.
    pub words: &'static [&'static str],
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Tries one input. Panics if something doesn't hold that must.
    pub run: fn(&[u8], &mut Report),
}

/// How far an input came, and what is remarkable about it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// The outermost layer was good: a known type and the right length, or text in the right syntax.
    pub envelope: bool,
    /// All of it could be read.
    pub full: bool,
    /// Hashes of what [`feature`](Self::feature) was told.
    pub features: Vec<u64>,
}

impl Report {
    /// Notes what happened: inputs that make something new happen are kept. The coverage counters say more, where they are; this is
    /// for states that no edge of the code tells apart.
    pub fn feature(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.features.push(hasher.finish());
    }

    /// As before the first input.
    pub fn clear(&mut self) {
        (self.envelope, self.full) = (false, false);
        self.features.clear();
    }
}
