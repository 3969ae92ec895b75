//! Connections: frames arrive in order, after a while, or not at all.

use super::observe::{AccountPlace, NodeNo, WireNo};
use bytes::Bytes;
use std::collections::VecDeque;

/// One end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A process of a connector, for one of its accounts.
    Node { node: NodeNo, process: u64, account: AccountPlace },
    /// A peer.
    Peer(usize),
}

/// A connection; end 1 has dialled.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) ends: [End; 2],
    /// What the auditor calls it: seen from the connector at this end.
    pub(super) numbers: [WireNo; 2],
    /// Whether the end takes it for open.
    pub(super) open: [bool; 2],
    /// Nothing gets through any more.
    pub(super) broken: bool,
    /// Neither does what was on its way when it broke.
    pub(super) loses: bool,
    /// What has arrived at the end and wasn't read yet.
    pub(super) inbox: [VecDeque<Bytes>; 2],
    /// When the last frame to this end arrives: none overtakes another.
    pub(super) last_arrival: [i64; 2],
    /// How long a frame takes.
    pub(super) delay_ms: i64,
    /// Until when it takes much longer.
    pub(super) slow_until: i64,
}

impl Wire {
    pub(super) fn new(ends: [End; 2], first_number: WireNo, delay_ms: i64) -> Self {
        Self {
            ends,
            numbers: [first_number, first_number + 1],
            open: [true; 2],
            broken: false,
            loses: false,
            inbox: [VecDeque::new(), VecDeque::new()],
            last_arrival: [i64::MIN; 2],
            delay_ms,
            slow_until: i64::MIN,
        }
    }
}
