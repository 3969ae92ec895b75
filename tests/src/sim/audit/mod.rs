//! stub
#![allow(missing_docs, unused)]
use super::fault::FaultKind;
use super::observe::{AccountPlace, Layout, NodeNo, Observation, Statement};
#[derive(Debug)]
pub struct Auditor;
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub payments: u64,
}
impl Auditor {
    pub fn new(_: &Layout) -> Self {
        Self
    }
    pub fn observe(&mut self, _: &Observation) {}
    pub fn quiet(&mut self, _: i64, _: &[Statement]) {}
    pub fn end(&mut self, _: i64, s: &[Statement]) {
        for s in s {
            if s.status.in_flight + s.status.remembered > 0 {
                println!("left {} {}", s.status.in_flight, s.status.remembered);
            }
            let c = &s.status.counters;
            println!("{:?}", c);
        }
    }
    pub fn broken(&self) -> Option<&Violation> {
        None
    }
    pub fn states(&self, _: NodeNo, _: Option<AccountPlace>) -> [u32; TransferState::COUNT] {
        [0; 8]
    }
    pub fn tally(&self) -> Tally {
        Tally::default()
    }
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
    pub at: i64,
    pub node: Option<NodeNo>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    OwnChecks,
}
impl Invariant {
    pub fn name(self) -> &'static str {
        "own checks"
    }
}
#[derive(Debug, Clone, Copy)]
pub enum TransferState {
    Asked,
    Held,
    Sent,
    Acked,
    Deciding,
    Decided,
    Answered,
    Done,
}
impl TransferState {
    pub const COUNT: usize = 8;
    pub const ALL: [Self; 8] =
        [Self::Asked, Self::Held, Self::Sent, Self::Acked, Self::Deciding, Self::Decided, Self::Answered, Self::Done];
    pub fn name(self) -> &'static str {
        "x"
    }
}
