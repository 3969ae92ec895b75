//! Dialling, sending, and what becomes of a connection.

use super::observe::{AccountPlace, NodeNo, Seen, Side, WireNo};
use super::plan::Party;
use super::process::{Process, time};
use super::wire::{End, Wire};
use super::world::{Event, World};
use bytes::Bytes;
use ilp_core::link::{Link, PeerProtocol};
use ilp_core::worker::ConnectionId;
use ilp_oer::Address;
use ilp_plugins::clp::ClpLink;

impl World {
    pub(super) fn plan_dial(&mut self, pair: usize, at: i64) {
        if self.pairs[pair].dial_at.is_none_or(|planned| at < planned) {
            self.pairs[pair].dial_at = Some(at);
            self.after(at, Event::Dial { pair, at });
        }
    }

    pub(super) fn dial(&mut self, pair: usize, at: i64) {
        if self.pairs[pair].dial_at != Some(at) {
            return;
        }
        self.pairs[pair].dial_at = None;
        let (client, server) = (self.pairs[pair].client, self.pairs[pair].server);
        let runs = |node: NodeNo| {
            let number = self.nodes[node].current?;
            self.nodes[node].processes.get(&number).filter(|process| process.runs).map(|process| process.number)
        };
        let dialler = match client {
            Party::Peer(no) => Some(End::Peer(no)),
            Party::Node(node) => runs(node).map(|process| End::Node { node, process, account: self.pairs[pair].client_account }),
        };
        let Some(dialler) = dialler else { return };
        let wire = self.pairs[pair].wire.and_then(|wire| self.wires.get(&wire));
        if wire.is_some_and(|wire| wire.open[1] && wire.ends[1] == dialler) {
            return;
        }
        let Some(process) = runs(server.0) else {
            let at = self.now + self.rng.range(100, 1_000);
            return self.plan_dial(pair, at);
        };
        let number = self.next_wire;
        self.next_wire += 2;
        let ends = [End::Node { node: server.0, process, account: server.1 }, dialler];
        let delay = self.rng.range(0, 20);
        self.wires.insert(number, Wire::new(ends, number, delay));
        self.pairs[pair].wire = Some(number);
        self.open_link(number, 0);
        match dialler {
            End::Peer(no) => self.with_peer(no, |peer, _, now, out, _| peer.connected(now, out)),
            End::Node { .. } => self.open_link(number, 1),
        }
    }

    fn open_link(&mut self, wire: u64, end: usize) {
        let End::Node { node, process, account } = self.wires[&wire].ends[end] else { return };
        let (of, at) = (&self.plan.layout.nodes[node], time(self.nodes[node].clock.at(self.now)));
        let (address, account) = (Address::new(of.address.clone()).unwrap(), &of.accounts[account]);
        let link = match (end, account.protocol) {
            (0, PeerProtocol::Clp2017) => ClpLink::incoming(&address, &format!("/connector/{}/token", account.name)),
            (0, _) => ClpLink::incoming(&address, "/"),
            _ => ClpLink::outgoing(&address, PeerProtocol::Clp, of.address.as_bytes(), b"token"),
        };
        let connection = connection(wire, end);
        self.with_process(node, process, |world, process| {
            process.links.insert(connection, link);
            world.with_link(node, process, connection, |link, output| link.start(at, output));
            Ok(())
        });
        self.wake(node, process, self.now);
    }

    /// Which account's connection it is, and at which connector, and the number it is seen by.
    pub(super) fn known(&self, connection: ConnectionId) -> (WireNo, NodeNo, AccountPlace) {
        let (wire, end) = place(connection);
        match self.wires[&wire].ends[end] {
            End::Node { node, account, .. } => (self.wires[&wire].numbers[end], node, account),
            End::Peer(_) => unreachable!("peers have no links"),
        }
    }

    pub(super) fn wire_of_peer(&self, no: usize) -> Option<(u64, usize)> {
        let pair = self.pairs.iter().find(|pair| pair.client == Party::Peer(no))?;
        let wire = pair.wire?;
        self.wires.get(&wire).is_some_and(|wire| wire.open[1]).then_some((wire, 1))
    }

    pub(super) fn is_open(&self, connection: ConnectionId) -> bool {
        let (wire, end) = place(connection);
        self.wires.get(&wire).is_some_and(|wire| wire.open[end])
    }

    pub(super) fn send(&mut self, connection: ConnectionId, frame: Bytes) {
        let (wire, end) = place(connection);
        self.send_on(wire, end, frame);
    }

    pub(super) fn send_on(&mut self, number: u64, end: usize, frame: Bytes) {
        let Some(wire) = self.wires.get(&number).filter(|wire| wire.open[end]) else { return };
        let (broken, clock, to) = (wire.broken, self.clock_of(wire.ends[end]), 1 - end);
        let slow = if self.now < wire.slow_until { self.rng.range(100, 1_500) } else { self.rng.range(0, 3) };
        self.see_at(number, end, |wire, by| Seen::Sent { wire, by, clock, frame: frame.clone() });
        if broken {
            return;
        }
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let at = (self.now + wire.delay_ms + slow).max(wire.last_arrival[to]);
        wire.last_arrival[to] = at;
        self.after(at, Event::Arrive { wire: number, end: to, frame });
    }

    pub(super) fn arrive(&mut self, number: u64, end: usize, frame: Bytes) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        if (wire.broken && wire.loses) || !wire.open[end] {
            return;
        }
        wire.inbox[end].push_back(frame);
        match wire.ends[end] {
            End::Node { node, process, .. } => {
                // Several that come within a moment are taken in one turn.
                let at = self.now + self.rng.range(0, 3);
                self.wake(node, process, at);
            }
            End::Peer(no) => self.after(self.now, Event::PeerTurn(no)),
        }
    }

    pub(super) fn next_frame(&mut self, connection: ConnectionId) -> Option<Bytes> {
        let (wire, end) = place(connection);
        self.take_frame(wire, end)
    }

    pub(super) fn take_frame(&mut self, number: u64, end: usize) -> Option<Bytes> {
        let wire = self.wires.get_mut(&number)?;
        let frame = wire.inbox[end].pop_front()?;
        let whose = wire.ends[end];
        let clock = self.clock_of(whose);
        let seen = frame.clone();
        self.see_at(number, end, |wire, at| Seen::Arrived { wire, at, clock, frame: seen.clone() });
        Some(frame)
    }

    /// Nothing gets through any more. `loses`: neither does what is on its way. Both ends notice, each after so many milliseconds.
    pub(super) fn sever(&mut self, number: u64, loses: bool, notice_ms: [i64; 2]) {
        let Some(wire) = self.wires.get_mut(&number).filter(|wire| !wire.broken) else { return };
        (wire.broken, wire.loses) = (true, loses);
        let last = wire.last_arrival;
        for (end, after) in notice_ms.into_iter().enumerate() {
            // The end of a connection comes after what was said on it, if that gets through.
            let at = if loses { self.now + after } else { (self.now + after).max(last[end]) };
            self.after(at, Event::Notice { wire: number, end });
        }
    }

    /// An end knows that its connection is over.
    pub(super) fn notice(&mut self, number: u64, end: usize) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        if !std::mem::take(&mut wire.open[end]) {
            return;
        }
        wire.inbox[end].clear();
        let whose = wire.ends[end];
        self.see_at(number, end, |wire, by| Seen::Ended { wire, by });
        if let End::Node { node, process, .. } = whose {
            self.wake(node, process, self.now);
        }
        if let End::Peer(no) = whose
            && self.pair_of(number).is_some_and(|pair| self.pairs[pair].wire == Some(number))
        {
            self.peers[no].closed();
        }
        if end == 1
            && let Some(pair) = self.pair_of(number)
        {
            // Some dial again before all that they said has arrived.
            let pause = if self.rng.percent(30) { self.rng.range(0, 5) } else { self.rng.range(50, 2_000) };
            self.plan_dial(pair, self.now + pause);
        }
    }

    /// The other end of a connection takes this one for dead, after a while.
    pub(super) fn give_up(&mut self, connection: ConnectionId, after_ms: i64) {
        let (wire, end) = place(connection);
        self.after(self.now + after_ms, Event::Notice { wire, end: 1 - end });
    }

    /// The connector ends a connection itself.
    pub(super) fn end_wire(&mut self, connection: ConnectionId) {
        let (wire, end) = place(connection);
        let mut notice_ms = [0; 2];
        notice_ms[1 - end] = self.rng.range(1, 50);
        self.sever(wire, false, notice_ms);
        self.notice(wire, end);
    }

    fn pair_of(&self, number: u64) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.wire == Some(number))
    }

    /// All connections of a process are gone. The others notice within this time.
    pub(super) fn drop_wires(&mut self, process: &Process, notice_ms: i64) {
        for connection in process.links.keys() {
            let (wire, end) = place(*connection);
            let mut after = [0; 2];
            after[1 - end] = self.rng.range(0, notice_ms);
            let loses = self.rng.percent(50);
            self.sever(wire, loses, after);
            if let Some(wire) = self.wires.get_mut(&wire) {
                wire.open[end] = false;
                wire.inbox[end].clear();
            }
        }
    }

    fn clock_of(&self, end: End) -> i64 {
        match end {
            End::Node { node, .. } => self.nodes[node].clock.at(self.now),
            End::Peer(no) => self.peers[no].clock(self.now),
        }
    }

    /// Says something about a wire as it is seen from each connector on it.
    fn see_at(&mut self, number: u64, end: usize, what: impl Fn(WireNo, Side) -> Seen) {
        let Some(wire) = self.wires.get(&number) else { return };
        let (ends, numbers) = (wire.ends, wire.numbers);
        for (seen_from, number) in numbers.into_iter().enumerate() {
            if matches!(ends[seen_from], End::Node { .. }) {
                self.see(what(number, if seen_from == end { Side::Node } else { Side::Holder }));
            }
        }
    }
}

fn connection(wire: u64, end: usize) -> ConnectionId {
    ConnectionId(wire + u64::try_from(end).unwrap())
}

/// Wires have even numbers.
fn place(connection: ConnectionId) -> (u64, usize) {
    (connection.0 & !1, usize::from(connection.0 & 1 == 1))
}

/// What a frame says, in a few words.
pub fn describe(frame: &[u8]) -> String {
    use ilp_oer::clp::{Body, Dialect, Extensions, Packet};
    let short = |id: &ilp_oer::TransferId| hex::encode(id.as_bytes().get(..4).unwrap_or_default());
    let Ok(Packet { request_id, body }) = Packet::decode(frame, Dialect::Named, Extensions::NONE) else {
        return "what can't be read".into();
    };
    let what = match body {
        Body::Ack(_) => "Ack".to_owned(),
        Body::Response(_) => "Response".to_owned(),
        Body::Error { reason, .. } => format!("Error {}", reason.error().code.as_str()),
        Body::Prepare(p) => {
            format!("Prepare {} of {} until {}", short(&p.transfer_id), p.amount.get(), p.expires_at.unix_millis() - super::plan::START)
        }
        Body::Fulfill(f) => format!("Fulfill {}", short(&f.transfer_id)),
        Body::Reject(r) => format!("Reject {} {}", short(&r.transfer_id), r.reason.error().code.as_str()),
        Body::Message(_) => "Message".to_owned(),
        Body::Transfer(_) => "Transfer".to_owned(),
    };
    format!("{what} (request {request_id})")
}
