//! Changes to inputs: mostly to one field, with the lengths around it put right.

use crate::rng::Rng;
use crate::tree::{Body, Kind, Node, length, uint};

/// What changes are made of.
#[derive(Debug)]
pub struct Mutator<'a> {
    /// Randomness.
    pub rng: &'a mut Rng,
    /// Words worth trying in a text format.
    pub words: &'a [&'a str],
}

impl Mutator<'_> {
    /// Another input made from a seed; `other` gives parts.
    pub fn mutate(&mut self, seed: &Node, other: &Node) -> Vec<u8> {
        let mut tree = seed.clone();
        let mut changes = 1;
        while changes < CHANGES_MAX && self.rng.chance(45) {
            changes += 1;
        }
        for _ in 0..changes {
            let nodes = tree.nodes();
            if nodes > NODES_MAX {
                break;
            }
            let mut n = self.rng.below(nodes);
            if let Some(node) = tree.nth_mut(&mut n) {
                self.change(node, other);
            }
        }
        let mut bytes = tree.to_bytes();
        if self.rng.chance(5) {
            self.scratch(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, node: &mut Node, other: &Node) {
        if self.rng.chance(20) {
            let mut parts = Vec::new();
            other.of_kind(node.kind, &mut parts);
            if !parts.is_empty() {
                *node = (*self.rng.pick(&parts)).clone();
                return;
            }
        }
        let (kind, rng) = (node.kind, &mut *self.rng);
        match &mut node.body {
            Body::Leaf(bytes) => self.leaf(kind, bytes),
            Body::Group(_) if kind.has_head() && rng.chance(12) => node.lie = Some(wrong_head(&node.to_bytes(), kind, rng)),
            Body::Group(_) if node.lie.is_some() && rng.chance(50) => node.lie = None,
            Body::Group(children) if kind.is_list() => self.list(children, other),
            Body::Group(children) => {
                // A group's fields belong where they are: one of them is changed instead, and seldom moved.
                let at = rng.below(children.len());
                match rng.below(20) {
                    0 if !children.is_empty() => drop(children.remove(at)),
                    1 if !children.is_empty() => children.insert(at, children[at].clone()),
                    2 => children.push(Node::leaf(Kind::Raw, rng.bytes(1 + at))),
                    _ => {
                        if let Some(child) = children.get_mut(at) {
                            self.change(child, other);
                        }
                    }
                }
            }
        }
    }

    fn list(&mut self, children: &mut Vec<Node>, other: &Node) {
        let rng = &mut *self.rng;
        let (at, len) = (rng.below(children.len()), children.len());
        match rng.below(12) {
            0 | 1 if len > 0 => drop(children.remove(at)),
            2 | 3 if len > 0 => children.insert(at, children[at].clone()),
            4 if len > 1 => children.swap(at, rng.below(len)),
            5 if len > 1 => children.truncate(at),
            6 if len > 0 => {
                // So many in all: what is special about a number of things is special about all of them together.
                let total = *rng.pick(&[2_usize, 3, 8, 31, 32, 33, 64, 127, 128, 200, 255, 256, 300]);
                let room = COPIED_BYTES_MAX / children[at].to_bytes().len().max(1);
                let copies = vec![children[at].clone(); total.saturating_sub(len).min(room)];
                children.splice(at..at, copies);
            }
            7..=9 => {
                let mut lists = Vec::new();
                other.of_kind(Kind::List, &mut lists);
                other.of_kind(Kind::Counted, &mut lists);
                let theirs: Vec<&Node> = lists.iter().filter_map(|list| as_group(list)).flatten().collect();
                if !theirs.is_empty() {
                    let from = rng.below(theirs.len());
                    let run = theirs[from..].iter().take(1 + rng.below(4)).map(|node| (*node).clone());
                    children.splice(at..at, run.collect::<Vec<_>>());
                }
            }
            _ => {
                if let Some(child) = children.get_mut(at) {
                    self.change(child, other);
                }
            }
        }
    }

    fn leaf(&mut self, kind: Kind, bytes: &mut Vec<u8>) {
        let rng = &mut *self.rng;
        match kind {
            Kind::Type => *bytes = vec![if rng.chance(90) { u8::try_from(rng.below(10)).unwrap_or(0) } else { rng.u8() }],
            Kind::Uint => integer(bytes, rng),
            Kind::Fixed => match rng.below(4) {
                0 => bytes.fill(*rng.pick(&[0, 1, 0x7f, 0x80, 0xff])),
                1 => *bytes = rng.bytes(bytes.len()),
                2 => integer(bytes, rng),
                _ => flip(bytes, rng),
            },
            Kind::Time => *bytes = time(bytes, rng),
            Kind::Text | Kind::Address => self.text(kind, bytes),
            Kind::Octets | Kind::Raw => match rng.below(6) {
                0 => {
                    let len = *rng_len(rng);
                    *bytes = rng.bytes(len);
                }
                1 => bytes.resize(*rng_len(rng), 0x41),
                2 => bytes.clear(),
                3 => *bytes = length(bytes.len()).into_iter().chain(bytes.iter().copied()).collect(),
                _ => self.scratch(bytes),
            },
            Kind::Token => self.token(bytes),
            Kind::Fields | Kind::List | Kind::Counted | Kind::Prefixed | Kind::Prefixed2017 => {}
        }
    }

    fn text(&mut self, kind: Kind, bytes: &mut Vec<u8>) {
        let rng = &mut *self.rng;
        match rng.below(8) {
            0 => bytes.resize(*rng_len(rng), b'a'),
            1 => bytes.clear(),
            2 => flip(bytes, rng),
            3 if kind == Kind::Address => {
                bytes.extend_from_slice(rng.pick(&[".", "..", ".x", "~", "-", "_", " ", "\u{e9}", "\0"]).as_bytes())
            }
            4 if kind == Kind::Address => {
                *bytes = rng
                    .pick(&["test.", "test", "test.ann", "test.bob", "test.ann.bob.shop", "g", ".", "a.b.c.d.e.f.g"])
                    .as_bytes()
                    .to_vec();
            }
            3 | 4 if !self.words.is_empty() => *bytes = rng.pick(self.words).as_bytes().to_vec(),
            5 => bytes.truncate(rng.below(bytes.len() + 1)),
            6 => bytes.extend_from_within(..),
            _ => self.scratch(bytes),
        }
    }

    fn token(&mut self, bytes: &mut Vec<u8>) {
        let rng = &mut *self.rng;
        let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
        if rng.chance(40) {
            // Another character of the same sort: numbers stay numbers, hex stays hex.
            let at = rng.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = match *byte {
                    b'0'..=b'9' => b"0123456789"[rng.below(10)],
                    b'a'..=b'f' => b"abcdef"[rng.below(6)],
                    b'g'..=b'z' | b'A'..=b'Z' => byte.to_ascii_lowercase() ^ (if rng.chance(50) { 0x20 } else { 0 }),
                    other => other,
                };
            }
            return;
        }
        match rng.below(10) {
            0..=3 if is_number => *bytes = rng.pick(NUMBERS).as_bytes().to_vec(),
            0..=4 if !self.words.is_empty() => *bytes = rng.pick(self.words).as_bytes().to_vec(),
            5 => bytes.truncate(rng.below(bytes.len())),
            6 => bytes.extend_from_within(..),
            7 => *bytes = rng.pick(SIGNS).as_bytes().to_vec(),
            8 => bytes.resize(*rng_len(rng), b'a'),
            _ => flip(bytes, rng),
        }
    }

    /// Changes bytes without a thought.
    fn scratch(&mut self, bytes: &mut Vec<u8>) {
        let rng = &mut *self.rng;
        let at = rng.below(bytes.len() + 1);
        match rng.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.u8()),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => flip(bytes, rng),
        }
    }
}

fn as_group(node: &Node) -> Option<&Vec<Node>> {
    match &node.body {
        Body::Group(children) => Some(children),
        Body::Leaf(_) => None,
    }
}

fn integer(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let size = bytes.len();
    let old = bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let new = match rng.below(10) {
        0 => 0,
        1 => u128::MAX,
        2 => u128::MAX >> 1,
        3 => old.wrapping_add(1),
        4 => old.wrapping_sub(1),
        5 => u128::from(rng.u8()),
        6 => 1_u128 << (rng.below(size * 8) % 128),
        7 => u128::from(rng.u64()) >> rng.below(64),
        8 => u128::from(*rng.pick(&[1_u64, 100, 127, 128, 200, 255, 256, 1_000, 10_000, 65_535, 1_000_000, 4_294_967_295])),
        _ => return flip(bytes, rng),
    };
    let full = new.to_be_bytes();
    *bytes = match full.len().checked_sub(size) {
        Some(skip) => full[skip..].to_vec(),
        None => [vec![0; size - full.len()], full.to_vec()].concat(),
    };
}

fn flip(bytes: &mut [u8], rng: &mut Rng) {
    let at = rng.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte = if rng.chance(50) { *byte ^ (1 << rng.below(8)) } else { rng.u8() };
    }
}

fn time(old: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut time = old.to_vec();
    if rng.chance(30) {
        return rng.pick(TIMES).as_bytes().to_vec();
    }
    // Two digits of it, which may make another date or none.
    if let Some(pair) = time.len().checked_sub(1).map(|len| rng.below(len)).and_then(|at| time.get_mut(at..at + 2)) {
        let bound = if rng.chance(80) { 32 } else { 100 };
        let number = rng.below(bound);
        pair.copy_from_slice(format!("{number:02}").as_bytes());
    }
    time
}

/// A length or count that isn't the right one, or isn't written in the right way.
fn wrong_head(right: &[u8], kind: Kind, rng: &mut Rng) -> Vec<u8> {
    let value = usize::from(right.get(usize::from(kind == Kind::Counted)).copied().unwrap_or(0));
    let value = match rng.below(6) {
        0 => value.wrapping_add(1),
        1 => value.saturating_sub(1),
        2 => *rng.pick(&[0, 127, 128, 200, 255, 256, 65_535, 65_536]),
        3 => usize::MAX >> rng.below(64),
        _ => value,
    };
    let digits = uint(value);
    let zeros = vec![0; rng.below(3)];
    let long = |extra: &[u8]| [&[0x80 | u8::try_from(extra.len() + digits.len()).unwrap_or(0)][..], extra, &digits].concat();
    match kind {
        // Right again if the upper digits are lost.
        Kind::Prefixed | Kind::Prefixed2017 if rng.chance(10) => {
            let size = *rng.pick(&[4_usize, 8]);
            let low = value.to_be_bytes()[size_of::<usize>() - size..].to_vec();
            [vec![if size == 4 { 0x85 } else { 0x89 }, 1], low].concat()
        }
        Kind::Counted => [length(zeros.len() + digits.len()), zeros, digits].concat(),
        _ if rng.chance(50) => long(&zeros),
        _ if rng.chance(10) => vec![0x80],
        _ => length(value),
    }
}

fn rng_len(rng: &mut Rng) -> &'static usize {
    let at = if rng.chance(90) { rng.below(12) } else { rng.below(LENGTHS.len()) };
    &LENGTHS[at]
}

const CHANGES_MAX: usize = 6;
/// A tree that has grown beyond this is left as it is.
const NODES_MAX: usize = 20_000;
/// Copies of copies of copies would fill the memory.
const COPIED_BYTES_MAX: usize = 64 << 10;
const LENGTHS: &[usize] = &[
    0, 1, 2, 7, 16, 31, 32, 63, 64, 126, 127, 128, 129, 200, 255, 256, 257, 1022, 1023, 1024, 1025, 8191, 8192, 8193, 32_766, 32_767,
    32_768, 65_535,
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "00",
    "01",
    "7",
    "8",
    "9",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e3",
    "1.0",
    "1e999",
    "0x10",
    "nan",
    "-0",
];
const SIGNS: &[&str] = &[
    "{", "}", "[", "]", "\"", "'", "\\", "\\u0000", "\\ud800", ":", ",", "=", "#", "\n", "\r", "\0", " ", "\t", ".", "/", "@", "%", "?",
    "é", "\u{feff}",
];
const TIMES: &[&str] = &[
    "00000101000000.000Z",
    "99991231235959.999Z",
    "19700101000000.000Z",
    "20160229235959.999Z",
    "20170229000000.000Z",
    "19000229000000.000Z",
    "20000229000000.000Z",
    "20170914240000.000Z",
    "20170914136052.000Z",
    "20170914132360.000Z",
    "20170000000000.000Z",
    "20171301000000.000Z",
    "20170914132352.000",
    "2017-09-14T13:23:52.000Z",
    "20170914132352.0000Z",
    "20170914132352Z",
    "+0170914132352.000Z",
    "",
];
