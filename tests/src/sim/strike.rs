//! Faults: what each does when its time has come, and how the network recovers.

use super::fault::FaultKind;
use super::observe::{NodeNo, Seen};
use super::plan::{Fault, Party};
use super::process::{End, NodeClock};
use super::wire;
use super::world::{Event, World};
use bytes::Bytes;
use ilp_core::worker::{ConnectionId, Input};
use ilp_oer::{Fulfillment, TransferId};

/// A process that has lost its slot learns of it after this time at the latest.
const LEASE_MS: i64 = 2_000;

impl World {
    pub(super) fn strike(&mut self, place: usize) {
        if self.calm {
            return;
        }
        let Fault { kind, node, account, extent, .. } = self.plan.faults[place];
        let at_once = Seen::Fault { kind, node, account: None };
        let of_account = Seen::Fault { kind, node, account: Some(account) };
        let current = self.nodes[node].current.filter(|number| self.nodes[node].processes.get(number).is_some_and(|process| process.runs));
        match kind {
            FaultKind::Crash => {
                if let Some(number) = current {
                    self.see(at_once);
                    self.bury(node, number, kind);
                }
            }
            // These wait for their moment.
            FaultKind::CrashBeforeCommit
            | FaultKind::CrashBeforeRelease
            | FaultKind::CrashInRelease
            | FaultKind::PowerCut
            | FaultKind::TornWrite => self.nodes[node].traps.push(kind),
            FaultKind::UnknownApplied | FaultKind::UnknownLost => {
                for _ in 0..=extent % 3 {
                    self.nodes[node].disk.unknown.push_back(kind);
                }
            }
            FaultKind::SlowStore => {
                self.see(at_once);
                self.nodes[node].disk.slow_until = self.now + 500 + extent % 4_000;
            }
            FaultKind::DiskFull => {
                self.see(at_once);
                self.nodes[node].disk.full_until = self.now + 50 + extent % 800;
            }
            FaultKind::Pause => {
                if let Some(number) = current {
                    self.see(at_once);
                    self.pause(node, number, extent);
                }
            }
            FaultKind::Drift => {
                self.see(at_once);
                let now = self.now;
                self.nodes[node].clock.drift(now, extent % 201 - 100);
            }
            FaultKind::Cut | FaultKind::HalfOpen | FaultKind::SlowLink => {
                if let Some(wire) = self.wire_of_account(node, account) {
                    self.see(of_account);
                    self.disturb(kind, wire, extent);
                }
            }
            FaultKind::WorstMoment | FaultKind::Replay | FaultKind::Lie | FaultKind::Silence => {
                if let Some(no) = self.plan.peers.iter().position(|peer| (peer.node, peer.account) == (node, account)) {
                    self.misbehave(kind, no, extent);
                }
            }
        }
    }

    fn disturb(&mut self, kind: FaultKind, wire: u64, extent: i64) {
        match kind {
            FaultKind::Cut => {
                let notice = [self.rng.range(0, 60), self.rng.range(0, 60)];
                self.sever(wire, extent % 2 == 0, notice);
            }
            FaultKind::HalfOpen => {
                let mut notice = [self.rng.range(0, 60), self.rng.range(0, 60)];
                notice[usize::from(extent % 2 == 0)] = 2_000 + extent % 8_000;
                self.sever(wire, true, notice);
            }
            _ => {
                let until = self.now + 500 + extent % 4_000;
                if let Some(wire) = self.wires.get_mut(&wire) {
                    wire.slow_until = until;
                }
            }
        }
    }

    fn misbehave(&mut self, kind: FaultKind, no: usize, extent: i64) {
        let of = &self.plan.peers[no];
        let seen = Seen::Fault { kind, node: of.node, account: Some(of.account) };
        if kind == FaultKind::WorstMoment {
            self.peers[no].nervous = true;
            return;
        }
        self.see(seen);
        match kind {
            FaultKind::Silence => self.peers[no].silent_until = self.now + 300 + extent % 6_000,
            FaultKind::Replay => self.with_peer(no, |peer, _, now, out, _| peer.replay(now, out)),
            _ => {
                let others = self.others(no);
                self.with_peer(no, |peer, _, now, out, _| peer.lie(&others, now, out));
            }
        }
    }

    /// Some transfers of others at the same connector, with what fulfills them.
    fn others(&mut self, no: usize) -> Vec<(TransferId, Fulfillment)> {
        let node = self.plan.peers[no].node;
        let mut others: Vec<_> =
            self.peers.iter().filter(|peer| peer.plan.node == node).flat_map(|peer| peer.transfers(&self.plan)).collect();
        others.sort_by_key(|(id, _)| *id);
        let skip = self.rng.index(others.len().max(1));
        others.into_iter().skip(skip).take(6).collect()
    }

    /// A nervous peer has just heard or said something about money: it breaks its connection, before or after its answer is sent.
    pub(super) fn snap(&mut self, no: usize, wire: u64, end: usize, out: Vec<Bytes>) {
        let of = &self.plan.peers[no];
        self.see(Seen::Fault { kind: FaultKind::WorstMoment, node: of.node, account: Some(of.account) });
        if self.rng.percent(60) {
            for frame in out {
                self.send_on(wire, end, frame);
            }
        }
        let loses = self.rng.percent(30);
        let mut notice = [0; 2];
        notice[1 - end] = self.rng.range(0, 60);
        self.sever(wire, loses, notice);
        self.notice(wire, end);
    }

    /// A trap is sprung if one is set for this moment.
    pub(super) fn spring(&mut self, node: NodeNo, kind: FaultKind) -> Result<(), End> {
        let Some(set) = self.nodes[node].traps.iter().position(|trap| *trap == kind) else { return Ok(()) };
        self.nodes[node].traps.remove(set);
        self.see(Seen::Fault { kind, node, account: None });
        Err(End::Trap(kind))
    }

    /// The kind of a power cut that waits for its moment, if a process runs that can lose something by it.
    pub(super) fn power_trap(&mut self, node: NodeNo) -> Option<FaultKind> {
        let cut = |trap: &FaultKind| matches!(trap, FaultKind::PowerCut | FaultKind::TornWrite);
        let set = self.nodes[node].traps.iter().position(cut)?;
        let kind = self.nodes[node].traps.remove(set);
        self.see(Seen::Fault { kind, node, account: None });
        Some(kind)
    }

    /// The store has just taken something that it hasn't synced: the moment for the power to go. Whether it went.
    pub(super) fn pull_the_plug(&mut self, node: NodeNo) -> bool {
        let Some(number) = self.nodes[node].current else { return false };
        let Some(kind) = self.power_trap(node) else { return false };
        self.bury(node, number, kind);
        true
    }

    /// A process is dead; another one starts in a while if it was the one with the slot.
    pub(super) fn bury(&mut self, node: NodeNo, number: u64, kind: FaultKind) {
        let notice_ms = if matches!(kind, FaultKind::PowerCut | FaultKind::TornWrite) { 5_000 } else { 60 };
        match self.nodes[node].disk.is_embedded() {
            true => self.die_with_store(node, kind, notice_ms),
            false => {
                self.retire(node, number, notice_ms);
                self.forget_unsynced(node, number, kind);
            }
        }
    }

    /// A worker is gone, its store isn't. Its connections are given up by the others within this time.
    pub(super) fn retire(&mut self, node: NodeNo, number: u64, notice_ms: i64) {
        let Some(process) = self.nodes[node].processes.remove(&number) else { return };
        self.see(Seen::Died { node, epoch: process.epoch });
        self.nodes[node].embedder.hang_up(number);
        self.drop_wires(&process, notice_ms);
        // What it gave to the store may get there.
        if self.rng.percent(50) {
            self.silenced.insert(number);
        }
        if self.nodes[node].current == Some(number) {
            self.nodes[node].current = None;
            let after = if self.calm { 50 } else { self.rng.range(50, 2_500) };
            self.after(self.now + after, Event::Restart(node));
        }
    }

    pub(super) fn restart(&mut self, node: NodeNo) {
        if self.nodes[node].current.is_none() {
            let now = self.now;
            self.nodes[node].clock = NodeClock::new(now, &mut self.rng);
            self.start_process(node);
        }
    }

    /// It stands still until another process has opened the slot; or goes on, and another one opens the slot all the same.
    fn pause(&mut self, node: NodeNo, number: u64, extent: i64) {
        let stands = extent % 3 > 0;
        let usurped = if stands { self.now + LEASE_MS } else { self.now };
        let resumed = usurped + 1 + extent % 1_500;
        let Some(process) = self.nodes[node].processes.get_mut(&number) else { return };
        if stands {
            process.runs = false;
            process.turn_at = None;
            for connection in process.links.keys().copied().collect::<Vec<_>>() {
                // Nothing is heard of it: whoever is connected gives it up.
                let after = self.rng.range(500, LEASE_MS);
                self.give_up(connection, after);
            }
            self.after(resumed, Event::Resume { node, process: number });
        } else {
            process.lease_until = self.now + LEASE_MS;
            self.wake(node, number, self.now + LEASE_MS);
        }
        self.after(usurped, Event::Usurp(node));
    }

    /// Another process opens the slot.
    pub(super) fn usurp(&mut self, node: NodeNo) {
        if !self.calm && self.nodes[node].current.take().is_some() {
            self.start_process(node);
        }
    }

    pub(super) fn resume(&mut self, node: NodeNo, number: u64) {
        let current = self.nodes[node].current;
        if let Some(process) = self.nodes[node].processes.get_mut(&number) {
            process.runs = true;
            if current != Some(number) {
                process.lease_until = self.now;
            }
            self.wake(node, number, self.now);
        }
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        for node in 0..self.nodes.len() {
            self.nodes[node].traps.clear();
            self.nodes[node].disk.unknown.clear();
            self.nodes[node].disk.slow_until = i64::MIN;
            self.nodes[node].disk.full_until = i64::MIN;
            let others: Vec<u64> =
                self.nodes[node].processes.keys().copied().filter(|number| Some(*number) != self.nodes[node].current).collect();
            for number in others {
                self.retire(node, number, 60);
            }
            if let Some(number) = self.nodes[node].current {
                self.resume(node, number);
            } else {
                self.restart(node);
            }
        }
        for no in 0..self.peers.len() {
            self.peers[no].nervous = false;
            self.peers[no].silent_until = i64::MIN;
            self.after(self.now, Event::PeerTurn(no));
        }
        for number in self.wires.keys().copied().collect::<Vec<_>>() {
            let Some(wire) = self.wires.get_mut(&number) else { continue };
            wire.slow_until = i64::MIN;
            if wire.broken || wire.open != [true; 2] {
                self.notice(number, 0);
                self.notice(number, 1);
            }
        }
    }

    /// What can wait for company doesn't wait any longer.
    pub(super) fn flush(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(number) = self.nodes[node].current else { continue };
            if let Some(process) = self.nodes[node].processes.get_mut(&number) {
                process.worker.flush();
                // A step is taken when there is something to look at.
                process.inputs.push(Input::Disconnected { connection: ConnectionId(u64::MAX) });
            }
            self.wake(node, number, self.now);
        }
    }

    fn wire_of_account(&self, node: NodeNo, account: usize) -> Option<u64> {
        let of = |pair: &&super::world::Pair| {
            pair.server == (node, account) || (pair.client == Party::Node(node) && pair.client_account == account)
        };
        let wire = self.pairs.iter().find(of)?.wire?;
        self.wires.get(&wire).is_some_and(|wire: &wire::Wire| !wire.broken).then_some(wire)
    }
}
