//! The network while it runs: what happens next, and who is told.

use super::audit::{Auditor, Invariant, TransferState, Violation};
use super::disk::Disk;
use super::embedder::Embedder;
use super::fault::FaultKind;
use super::observe::{NodeNo, Observation, Seen, Statement};
use super::peer::{Later, Peer};
use super::plan::{Party, Plan, START};
use super::process::{NodeClock, Process};
use super::rng::Rng;
use super::wire::Wire;
use ilp_core::Refusal;
use ilp_core::store::{Commit, CommitOutcome};
use ilp_core::worker::{Delivery, Input};
use ilp_oer::{Fulfillment, TransferId};
use std::collections::{BTreeMap, BTreeSet};

/// How many strikes of each fault met a transfer in each state.
pub type Coverage = [[u32; FaultKind::ALL.len()]; TransferState::COUNT];

/// Is shown everything that the auditor is told.
pub type Watcher = Box<dyn FnMut(&Observation)>;

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: i64,
    queue: BTreeMap<(i64, u64), Event>,
    next_event: u64,
    pub(super) next_process: u64,
    pub(super) next_wire: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) peers: Vec<Peer>,
    pub(super) pairs: Vec<Pair>,
    /// How often each settlement was told after it was told to be durable; `None` until then.
    pub(super) settled: Vec<Option<u32>>,
    pub(super) wires: BTreeMap<u64, Wire>,
    pub(super) rng: Rng,
    pub(super) auditor: Auditor,
    pub(super) calm: bool,
    /// Frames, commits and decisions on their way.
    pub(super) on_their_way: usize,
    /// Processes whose commits don't reach the store any more.
    pub(super) silenced: BTreeSet<u64>,
    quiet_at: i64,
    pub(super) quiet_points: u32,
    pub(super) struck: BTreeMap<FaultKind, u32>,
    pub(super) coverage: Coverage,
    pub(super) observations: u64,
    watcher: Option<Watcher>,
    broken: Option<Violation>,
}

pub(super) struct Node {
    pub(super) disk: Disk,
    pub(super) embedder: Embedder,
    pub(super) clock: NodeClock,
    pub(super) processes: BTreeMap<u64, Process>,
    /// The one that has the slot, if one runs.
    pub(super) current: Option<u64>,
    pub(super) traps: Vec<FaultKind>,
}

/// Two that shall be connected.
pub(super) struct Pair {
    pub(super) server: (NodeNo, usize),
    pub(super) client: Party,
    pub(super) client_account: usize,
    pub(super) wire: Option<u64>,
    pub(super) dial_at: Option<i64>,
}

#[derive(Debug)]
pub(super) enum Event {
    Turn { node: NodeNo, process: u64, at: i64 },
    PeerTurn(usize),
    Arrive { wire: u64, end: usize, frame: bytes::Bytes },
    Notice { wire: u64, end: usize },
    Dial { pair: usize, at: i64 },
    Pay(usize),
    Decide { peer: usize, transfer: TransferId },
    Received { node: NodeNo, process: u64, delivery: Delivery, result: Result<Fulfillment, Refusal> },
    Apply { node: NodeNo, process: u64, commit: Commit },
    CommitGroup(NodeNo),
    Synced { node: NodeNo, process: u64, commit: Commit },
    Reply { node: NodeNo, process: u64, commit: Commit, outcome: CommitOutcome },
    Strike(usize),
    Restart(NodeNo),
    Usurp(NodeNo),
    Resume { node: NodeNo, process: u64 },
    Settle(usize),
    Embed { node: NodeNo, process: u64 },
    Acknowledge { node: NodeNo, process: u64 },
    Calm,
    Flush,
    End,
}

impl Event {
    /// Whether it is something on its way, so that the network isn't quiet.
    fn is_on_its_way(&self) -> bool {
        matches!(
            self,
            Self::Arrive { .. }
                | Self::Apply { .. }
                | Self::CommitGroup(_)
                | Self::Synced { .. }
                | Self::Reply { .. }
                | Self::PeerTurn(_)
                | Self::Embed { .. }
        )
    }
}

impl World {
    pub(super) fn new(plan: Plan, watcher: Option<Watcher>) -> Self {
        let mut rng = plan.rng.clone();
        let node = |no: usize| Node {
            disk: Disk::new(plan.layout.nodes[no].books.embedded),
            embedder: Embedder::default(),
            clock: NodeClock::new(START, &mut rng),
            processes: BTreeMap::new(),
            current: None,
            traps: Vec::new(),
        };
        let nodes = (0..plan.layout.nodes.len()).map(node).collect();
        let peers = (0..plan.peers.len()).map(|no| Peer::new(&plan, no, rng.fork())).collect();
        let links = plan.links.iter().map(|[(client, client_account), server]| Pair {
            server: *server,
            client: Party::Node(*client),
            client_account: *client_account,
            wire: None,
            dial_at: None,
        });
        let clients = plan.peers.iter().enumerate().map(|(no, peer)| Pair {
            server: (peer.node, peer.account),
            client: Party::Peer(no),
            client_account: 0,
            wire: None,
            dial_at: None,
        });
        let pairs = links.chain(clients).collect();
        let (auditor, settled) = (Auditor::new(&plan), vec![None; plan.settlements.len()]);
        let mut world = Self {
            plan,
            now: START,
            queue: BTreeMap::new(),
            next_event: 0,
            next_process: 0,
            next_wire: 0,
            nodes,
            peers,
            pairs,
            settled,
            wires: BTreeMap::new(),
            rng,
            auditor,
            calm: false,
            on_their_way: 0,
            silenced: BTreeSet::new(),
            quiet_at: START,
            quiet_points: 0,
            struck: BTreeMap::new(),
            coverage: [[0; FaultKind::ALL.len()]; TransferState::COUNT],
            observations: 0,
            watcher,
            broken: None,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.start_process(node);
        }
        for pair in 0..self.pairs.len() {
            let at = self.now + self.rng.range(1, 100);
            self.plan_dial(pair, at);
        }
        for place in 0..self.plan.payments.len() {
            self.after(START + self.plan.payments[place].after_ms, Event::Pay(place));
        }
        for place in 0..self.plan.faults.len() {
            self.after(START + self.plan.faults[place].after_ms, Event::Strike(place));
        }
        for place in 0..self.plan.settlements.len() {
            self.after(START + self.plan.settlements[place].after_ms, Event::Settle(place));
        }
        self.after(START + self.plan.busy_ms(), Event::Calm);
        self.after(START + self.plan.end_ms() - FLUSH_MS, Event::Flush);
        self.after(START + self.plan.end_ms(), Event::End);
    }

    /// Something will happen at this time, or now if that is past.
    pub(super) fn after(&mut self, at: i64, event: Event) {
        self.on_their_way += usize::from(event.is_on_its_way());
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    /// Goes on until the end, or until a rule is broken.
    pub(super) fn run(&mut self) -> Option<Violation> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.on_their_way -= usize::from(event.is_on_its_way());
            if matches!(event, Event::End) {
                let statements = self.statements();
                self.auditor.end(at, &statements);
                break;
            }
            self.happens(event);
            if self.now >= self.quiet_at + QUIET_EVERY_MS && self.on_their_way == 0 && self.is_quiet() {
                self.quiet_at = self.now;
                self.quiet_points += 1;
                let statements = self.statements();
                self.auditor.quiet(self.now, &statements);
            }
            if self.violation().is_some() {
                break;
            }
        }
        self.violation().cloned()
    }

    fn violation(&self) -> Option<&Violation> {
        self.broken.as_ref().or_else(|| self.auditor.broken())
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Turn { node, process, at } => {
                if self.nodes[node].processes.get(&process).is_some_and(|process| process.turn_at == Some(at)) {
                    self.turn(node, process);
                }
            }
            Event::PeerTurn(peer) => self.peer_turn(peer),
            Event::Arrive { wire, end, frame } => self.arrive(wire, end, frame),
            Event::Notice { wire, end } => self.notice(wire, end),
            Event::Dial { pair, at } => self.dial(pair, at),
            Event::Pay(payment) => match self.plan.payments[payment].from {
                Party::Peer(peer) => self.with_peer(peer, |peer, plan, now, out, _| peer.pay(plan, payment, now, out)),
                Party::Node(node) => self.pay_from(node, payment),
            },
            Event::Decide { peer, transfer } => self.decide(peer, transfer),
            Event::Received { node, process, delivery, result } => {
                if let Some(process) = self.nodes[node].processes.get_mut(&process) {
                    process.inputs.push(Input::Received { delivery, result });
                }
                self.wake(node, process, self.now);
            }
            Event::Apply { node, process, commit } => self.apply(node, process, commit),
            Event::CommitGroup(node) => self.commit_group(node),
            Event::Synced { node, process, commit } => self.synced(node, process, commit),
            Event::Reply { node, process, commit, outcome } => self.reply(node, process, commit, outcome),
            Event::Strike(place) => self.strike(place),
            Event::Restart(node) => self.restart(node),
            Event::Usurp(node) => self.usurp(node),
            Event::Resume { node, process } => self.resume(node, process),
            Event::Settle(place) => self.settle(place),
            Event::Embed { node, process } => self.embed(node, process),
            Event::Acknowledge { node, process } => self.acknowledge(node, process),
            Event::Calm => self.calm_down(),
            Event::Flush => self.flush(),
            Event::End => {}
        }
    }

    /// Tells the auditor.
    pub(super) fn see(&mut self, what: Seen) {
        let observation = Observation { at: self.now, what };
        self.observations += 1;
        if let Some(watcher) = &mut self.watcher {
            watcher(&observation);
        }
        if let Seen::Fault { kind, node, account } = observation.what {
            *self.struck.entry(kind).or_default() += 1;
            let fault = FaultKind::ALL.iter().position(|other| *other == kind).unwrap();
            for (state, count) in self.auditor.states(node, account).into_iter().enumerate() {
                self.coverage[state][fault] += u32::from(count > 0);
            }
        }
        self.auditor.observe(&observation);
    }

    /// The product itself says that something is wrong.
    pub(super) fn broken(&mut self, node: NodeNo, what: String) {
        let violation = Violation { invariant: Invariant::OwnChecks, what, at: self.now, node: Some(node) };
        self.broken.get_or_insert(violation);
    }

    // Peers.

    pub(super) fn with_peer(&mut self, no: usize, work: impl FnOnce(&mut Peer, &Plan, i64, &mut Vec<bytes::Bytes>, &mut Vec<Later>)) {
        let (mut out, mut later) = (Vec::new(), Vec::new());
        work(&mut self.peers[no], &self.plan, self.now, &mut out, &mut later);
        for Later { at, aim, transfer } in later {
            let at = aim.map_or(at, |clock| self.aimed(no, clock));
            self.after(at, Event::Decide { peer: no, transfer });
        }
        let said_money = std::mem::take(&mut self.peers[no].said_money);
        let Some((wire, end)) = self.wire_of_peer(no) else { return };
        if said_money && std::mem::take(&mut self.peers[no].nervous) {
            self.snap(no, wire, end, out);
            return;
        }
        for frame in out {
            self.send_on(wire, end, frame);
        }
    }

    /// When a peer must say something so that it arrives when its connector's clock shows this.
    fn aimed(&self, no: usize, clock: i64) -> i64 {
        let off = self.nodes[self.peers[no].plan.node].clock.at(self.now) - self.now;
        let way = self.wire_of_peer(no).and_then(|(wire, _)| self.wires.get(&wire)).map_or(0, |wire| wire.delay_ms);
        clock - off - way
    }

    fn peer_turn(&mut self, no: usize) {
        let silent_until = self.peers[no].silent_until;
        if silent_until > self.now {
            self.after(silent_until, Event::PeerTurn(no));
            return;
        }
        while let Some((wire, end)) = self.wire_of_peer(no) {
            let Some(frame) = self.take_frame(wire, end) else { return };
            self.with_peer(no, |peer, plan, now, out, later| peer.hear(plan, frame, now, out, later));
        }
    }

    fn decide(&mut self, no: usize, transfer: TransferId) {
        let silent_until = self.peers[no].silent_until;
        if silent_until > self.now {
            self.after(silent_until, Event::Decide { peer: no, transfer });
            return;
        }
        let of = &self.peers[no].plan;
        let honest = self.plan.layout.nodes[of.node].accounts[of.account].honest;
        self.with_peer(no, |peer, plan, now, out, _| peer.decide(plan, transfer, honest, now, out));
    }

    // Quiet.

    fn is_quiet(&self) -> bool {
        let idle = |node: &Node| {
            let clock = node.clock.at(self.now);
            node.processes.len() == 1
                && node.current.and_then(|number| node.processes.get(&number)).is_some_and(|process| {
                    process.runs
                        && process.pipeline.is_empty()
                        && process.inputs.is_empty()
                        && process.answers.is_empty()
                        && process.links.keys().all(|connection| self.is_open(*connection))
                        && process.worker.next_step().is_none_or(|at| at.unix_millis() > clock)
                })
        };
        self.nodes.iter().all(idle) && self.wires.values().all(|wire| wire.inbox.iter().all(std::collections::VecDeque::is_empty))
    }

    fn statements(&mut self) -> Vec<Statement> {
        let mut statements = Vec::new();
        for no in 0..self.nodes.len() {
            let node = &mut self.nodes[no];
            let Some(process) = node.current.and_then(|number| node.processes.get(&number)) else { continue };
            let status = process.worker.status();
            let embedder = self.plan.layout.nodes[no].books.events.then(|| node.embedder.ledger().clone());
            match node.disk.look() {
                Ok(picture) => statements.push(Statement { status, stored: picture.balances, log: picture.log, embedder }),
                Err(error) => self.broken(no, format!("the books can't be read: {error}")),
            }
        }
        statements
    }
}

/// So long before the end, everything that was recorded is made durable, as for a graceful stop.
const FLUSH_MS: i64 = 1_000;
/// Not more often than this.
const QUIET_EVERY_MS: i64 = 500;
