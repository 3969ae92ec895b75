//! A worker with its links, driven as the runtime drives them, without sockets.

use super::scenario::{GRACE_MS, NAMES, OUTGOING_MS_MIN, SKEW_MS, START, Scenario, WINDOW_MS};
use bytes::Bytes;
use ilp_core::link::{Link, LinkCommand, LinkEvent, LinkOutput, PeerProtocol};
use ilp_core::store::{AccountRow, AccountSetup, OpenedSlot};
use ilp_core::worker::{Batch, ConnectionId, Input, Released, Worker, WorkerConfig, WorkerStatus};
use ilp_core::{AccountConfig, AccountId, Asset, Event, Limits, Timing};
use ilp_oer::{Address, Timestamp};
use ilp_plugins::clp::ClpLink;
use std::collections::{BTreeMap, VecDeque};

/// How often links are given the time while it passes: rarely, because nothing here depends on it to the millisecond.
const TICK_MS: i64 = 10_000;

#[derive(Debug)]
pub(super) struct Connector {
    worker: Worker,
    rows: BTreeMap<AccountId, AccountRow>,
    links: BTreeMap<ConnectionId, (usize, ClpLink)>,
    held: VecDeque<Batch>,
    at_once: bool,
    pub(super) now: i64,
    connections: u64,
}

/// What a call brought.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Peer, connection, frame; in order.
    pub(super) frames: Vec<(usize, ConnectionId, Bytes)>,
    pub(super) events: Vec<Event>,
    /// Links that ended, and why.
    pub(super) closed: Vec<(usize, String)>,
}

impl Connector {
    pub(super) fn new(scenario: &Scenario, at_once: bool) -> Self {
        let config = WorkerConfig {
            address: Address::new("test.ann").unwrap(),
            slot: 7,
            deployment: vec![7],
            limits: Limits::default(),
            timing: Timing {
                window_ms: WINDOW_MS,
                grace_ms: GRACE_MS,
                outgoing_ms_min: OUTGOING_MS_MIN,
                hold_ms_max: 300_000,
                skew_ms_max: SKEW_MS,
            },
            rates: Vec::new(),
            seed: [1; 32],
            events: true,
        };
        let empty = OpenedSlot { epoch: 1, ..OpenedSlot::default() };
        let worker = Worker::open(config, &empty, time(START)).unwrap();
        let rows = BTreeMap::new();
        let mut connector = Self { worker, rows, links: BTreeMap::new(), held: VecDeque::new(), at_once: true, now: START, connections: 0 };
        for (name, dedupes) in NAMES.iter().zip(&scenario.dedupes) {
            let protocol = if *dedupes { PeerProtocol::Clp } else { PeerProtocol::Clp2017 };
            let id = AccountId::new(1, name).unwrap();
            let config = AccountConfig { credit_limit: 1_000_000, protocol, ..AccountConfig::new(id, Asset::new("XRP", 6)) };
            let setup = AccountSetup { id: config.id.clone(), slots: vec![7], key: [0; 16], credit_limit: config.credit_limit };
            let row = AccountRow::new(&setup);
            connector.rows.insert(setup.id, row.clone());
            connector.drive(vec![Input::AddAccount { config, row, reply: 1 }], &mut Out::default());
        }
        connector.at_once = at_once;
        connector
    }

    /// The newest connection.
    pub(super) fn last(&self) -> ConnectionId {
        ConnectionId(self.connections)
    }

    pub(super) fn at(&self) -> Timestamp {
        time(self.now)
    }

    pub(super) fn status(&self) -> WorkerStatus {
        self.worker.status()
    }

    /// A peer dials, or is dialled if it is of 2017. `greet` is its side of the greeting: given the link's frames, it gives its own.
    pub(super) fn connect(&mut self, peer: usize, dedupes: bool, greet: &mut dyn FnMut(Vec<Bytes>) -> Vec<Bytes>, out: &mut Out) {
        let address = self.worker.address().clone();
        let mut link = match dedupes {
            true => ClpLink::incoming(&address, "/"),
            false => ClpLink::outgoing(&address, PeerProtocol::Clp2017, b"", b""),
        };
        let (mut output, now) = (LinkOutput::default(), self.at());
        link.start(now, &mut output);
        let mut known = false;
        loop {
            for event in std::mem::take(&mut output.events) {
                known = true;
                if matches!(event, LinkEvent::Authenticate(_)) {
                    let address = address.join(NAMES[peer]).unwrap();
                    link.command(LinkCommand::Accept { address }, now, &mut output);
                }
            }
            let heard = greet(std::mem::take(&mut output.frames));
            if heard.is_empty() {
                break;
            }
            for frame in heard {
                link.receive(frame, now, &mut output);
            }
        }
        assert!(known && output.close.is_none(), "{} isn't let in", NAMES[peer]);
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.links.insert(connection, (peer, link));
        let account = AccountId::new(1, NAMES[peer]).unwrap();
        self.drive(vec![Input::Connected { connection, account, relayed: false }], out);
    }

    /// A frame of a peer's.
    pub(super) fn receive(&mut self, connection: ConnectionId, frame: Bytes, out: &mut Out) {
        let (now, mut inputs) = (self.at(), Vec::new());
        self.with_link(connection, &mut inputs, out, |link, output| link.receive(frame, now, output));
        self.drive(inputs, out);
    }

    /// The connection is gone.
    pub(super) fn disconnect(&mut self, connection: ConnectionId, out: &mut Out) {
        let mut inputs = Vec::new();
        self.close(connection, &mut inputs);
        self.drive(inputs, out);
    }

    pub(super) fn waits_for_store(&self) -> bool {
        !self.held.is_empty()
    }

    /// The oldest batch becomes durable.
    pub(super) fn commit(&mut self, out: &mut Out) {
        let mut inputs = Vec::new();
        if let Some(batch) = self.held.pop_front() {
            self.release(batch, &mut inputs, out);
        }
        self.drive(inputs, out);
    }

    /// Every batch, now and from here on.
    pub(super) fn commit_all(&mut self, out: &mut Out) {
        self.at_once = true;
        self.drive(Vec::new(), out);
    }

    /// When something may have to be done, at `until` at the latest.
    pub(super) fn next(&self, until: i64) -> i64 {
        let tick = (self.now - START).div_euclid(TICK_MS).saturating_add(1) * TICK_MS + START;
        self.worker.next_step().map_or(until, |at| at.unix_millis().max(self.now)).min(tick).min(until)
    }

    /// It is now later.
    pub(super) fn pass(&mut self, now: i64, out: &mut Out) {
        self.now = now;
        let (at, mut inputs) = (self.at(), Vec::new());
        let connections: Vec<_> = self.links.keys().copied().collect();
        for connection in connections {
            self.with_link(connection, &mut inputs, out, |link, output| link.tick(at, output));
        }
        self.drive(inputs, out);
    }

    /// Steps and releases until nothing more comes of it.
    fn drive(&mut self, mut inputs: Vec<Input>, out: &mut Out) {
        loop {
            let batch = self.worker.step(self.at(), &mut inputs).unwrap();
            let idle = batch.is_empty();
            if !idle {
                self.held.push_back(batch);
            }
            while self.held.front().is_some_and(|batch| self.at_once || batch.commit.is_none()) {
                let Some(batch) = self.held.pop_front() else { break };
                self.release(batch, &mut inputs, out);
            }
            if idle && inputs.is_empty() {
                return;
            }
        }
    }

    fn release(&mut self, batch: Batch, inputs: &mut Vec<Input>, out: &mut Out) {
        let (now, mut released) = (self.at(), Vec::new());
        self.worker.release(batch, now, &mut released);
        for effect in released {
            match effect {
                Released::Command(connection, LinkCommand::Close { reason }) => {
                    if !reason.starts_with("replaced") {
                        out.closed.extend(self.links.get(&connection).map(|(peer, _)| (*peer, reason)));
                    }
                    self.close(connection, inputs);
                }
                Released::Command(connection, command) => {
                    self.with_link(connection, inputs, out, |link, output| link.command(command, now, output));
                }
                Released::Event(event) => out.events.push(event.event),
                Released::Move(request) => {
                    let row = self.rows.get_mut(&request.account).unwrap();
                    let outcome = row.apply(request.slot, request.n, &request.change);
                    inputs.push(Input::Moved { account: request.account, n: request.n, outcome });
                }
                Released::Note { .. } => unreachable!("there are no colleagues"),
                Released::Deliver(..) | Released::Paid(..) | Released::Account(..) | Released::Settled(..) | Released::Stated(..) => {}
            }
        }
    }

    fn close(&mut self, connection: ConnectionId, inputs: &mut Vec<Input>) {
        if let Some((_, mut link)) = self.links.remove(&connection) {
            let mut output = LinkOutput::default();
            link.closed(&mut output);
            inputs.extend(output.events.into_iter().map(|event| Input::Link { connection, event }));
            inputs.push(Input::Disconnected { connection });
        }
    }

    fn with_link(
        &mut self,
        connection: ConnectionId,
        inputs: &mut Vec<Input>,
        out: &mut Out,
        call: impl FnOnce(&mut ClpLink, &mut LinkOutput),
    ) {
        let Some((peer, link)) = self.links.get_mut(&connection) else { return };
        let mut output = LinkOutput::default();
        call(link, &mut output);
        inputs.extend(output.events.into_iter().map(|event| Input::Link { connection, event }));
        out.frames.extend(output.frames.into_iter().map(|frame| (*peer, connection, frame)));
        if let Some(reason) = output.close {
            out.closed.push((*peer, reason));
            self.close(connection, inputs);
        }
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(ms).unwrap()
}
