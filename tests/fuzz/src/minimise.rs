//! Making an input smaller while it still breaks the same.

use crate::shape::{Shape, parse};
use crate::tree::{Body, Node};
use std::time::{Duration, Instant};

/// The smallest input found within `time` for which `breaks` still says yes; `input` itself must be one.
pub fn minimise(shapes: &[Shape], input: &[u8], time: Duration, mut breaks: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let end = Instant::now() + time;
    let mut best = input.to_vec();
    loop {
        let before = best.clone();
        drop_fields(shapes, &mut best, end, &mut breaks);
        drop_bytes(&mut best, end, &mut breaks);
        if best == before || Instant::now() >= end {
            return best;
        }
    }
}

/// Leaves out fields and whole groups, with the lengths around them put right; empties what can't be left out.
fn drop_fields(shapes: &[Shape], best: &mut Vec<u8>, end: Instant, breaks: &mut impl FnMut(&[u8]) -> bool) {
    let mut tree = parse(shapes, best);
    let mut n = tree.nodes();
    while n > 1 && Instant::now() < end {
        n = (n - 1).min(tree.nodes() - 1);
        let changes: [fn(&mut Node, usize); 2] = [remove, empty];
        for change in changes {
            let mut smaller = tree.clone();
            change(&mut smaller, n);
            let bytes = smaller.to_bytes();
            if bytes.len() < best.len() && breaks(&bytes) {
                (tree, *best) = (smaller, bytes);
                break;
            }
        }
    }
}

fn remove(tree: &mut Node, n: usize) {
    /// Removes node number `n` of those below `node`; counts `n` down as it goes.
    fn below(node: &mut Node, n: &mut usize) {
        let Body::Group(children) = &mut node.body else { return };
        for at in 0..children.len() {
            *n -= 1;
            if *n == 0 {
                children.remove(at);
                return;
            }
            below(&mut children[at], n);
            if *n == 0 {
                return;
            }
        }
    }
    let mut n = n;
    below(tree, &mut n);
}

fn empty(tree: &mut Node, n: usize) {
    let mut n = n;
    if let Some(node) = tree.nth_mut(&mut n) {
        match &mut node.body {
            Body::Leaf(bytes) => bytes.clear(),
            Body::Group(children) => children.clear(),
        }
    }
}

/// Leaves out runs of bytes, long ones first.
fn drop_bytes(best: &mut Vec<u8>, end: Instant, breaks: &mut impl FnMut(&[u8]) -> bool) {
    let mut run = best.len() / 2;
    while run > 0 {
        let mut at = 0;
        while at < best.len() && Instant::now() < end {
            let mut smaller = best.clone();
            smaller.drain(at..(at + run).min(best.len()));
            if breaks(&smaller) {
                *best = smaller;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
}
