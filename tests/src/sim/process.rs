//! One process of a connector: a worker, its links and its batches, driven in turns as the runtime drives them.

use super::disk::Disk;
use super::fault::FaultKind;
use super::observe::{AccountPlace, Layout, NodeLayout, NodeNo, Seen};
use super::plan::{Decision, Party, Payment, SKEW_MS_MAX};
use super::rng::Rng;
use super::world::{Event, World};
use ilp_core::link::{Link, LinkCommand, LinkEvent, LinkOutput};
use ilp_core::store::{AccountRow, AccountSetup, Commit, CommitOutcome};
use ilp_core::worker::{ConnectionId, Delivery, Input, Pay, Pipeline, Released, Worker, WorkerConfig};
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Limits, Rate, Refusal, Timing};
use ilp_oer::{Address, Amount, ErrorCode, Timestamp};
use ilp_plugins::clp::ClpLink;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often links are given the time, in milliseconds.
const TICK_MS: i64 = 500;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) worker: Worker,
    pub(super) pipeline: Pipeline,
    pub(super) links: BTreeMap<ConnectionId, ClpLink>,
    pub(super) inputs: Vec<Input>,
    /// What the store has answered and it hasn't looked at.
    pub(super) answers: Vec<(Commit, CommitOutcome)>,
    /// It stands still otherwise.
    pub(super) runs: bool,
    /// From then on it knows that the slot isn't its own any more.
    pub(super) lease_until: i64,
    pub(super) turn_at: Option<i64>,
    tick_at: i64,
}

/// Why a process ended.
#[derive(Debug)]
pub(super) enum End {
    /// A trap was sprung.
    Trap(FaultKind),
    /// It gave itself up, as it has to when another one has the slot.
    Untrusted,
    /// The product's own checks say that the books are wrong, or it panicked.
    Broken(String),
}

/// A connector's clock: off the true one by no more than half the skew, never backwards.
#[derive(Debug, Clone)]
pub(super) struct NodeClock {
    since: i64,
    offset_ms: i64,
    per_mille: i64,
}

impl NodeClock {
    pub(super) fn new(now: i64, rng: &mut Rng) -> Self {
        Self { since: now, offset_ms: rng.range(-SKEW_MS_MAX / 2, SKEW_MS_MAX / 2), per_mille: rng.range(-1, 1) }
    }

    pub(super) fn at(&self, now: i64) -> i64 {
        let offset = self.offset_ms + (now - self.since) * self.per_mille / 1_000;
        now + offset.clamp(-SKEW_MS_MAX / 2, SKEW_MS_MAX / 2)
    }

    /// Faster or slower from now on.
    pub(super) fn drift(&mut self, now: i64, per_mille: i64) {
        *self = Self { since: now, offset_ms: self.at(now) - now, per_mille };
    }
}

impl World {
    /// A new process opens the connector's slot.
    pub(super) fn start_process(&mut self, node: NodeNo) {
        let now = self.now;
        let clock = self.nodes[node].clock.at(now);
        let Some(opened) = self.open_slot(node) else { return };
        let config = config(&self.plan.layout, node, self.rng.bytes());
        let mut worker = match catch_unwind(AssertUnwindSafe(|| Worker::open(config, &opened, time(clock)))) {
            Ok(Ok(worker)) => worker,
            Ok(Err(error)) => return self.broken(node, format!("the slot can't be opened: {error}")),
            Err(_) => return self.broken(node, "a recovery panicked".into()),
        };
        let slot = self.plan.layout.nodes[node].slot;
        let rows = &mut self.nodes[node].disk.rows;
        let mut add = |config: AccountConfig| {
            let setup = AccountSetup { id: config.id.clone(), slots: vec![slot], key: [0; 16], credit_limit: config.credit_limit };
            let row = rows.entry(config.id.clone()).or_insert_with(|| AccountRow::new(&setup));
            row.set_up(&setup);
            Input::AddAccount { config, row: row.clone(), reply: u64::MAX }
        };
        let inputs = accounts(&self.plan.layout.nodes[node]).into_iter().map(&mut add).collect();
        self.next_process += 1;
        let number = self.next_process;
        for event in worker.take_recovered_events() {
            self.tell(node, number, opened.epoch, event);
        }
        let process = Process {
            number,
            epoch: opened.epoch,
            worker,
            pipeline: Pipeline::new(Disk::slot(), opened.epoch),
            links: BTreeMap::new(),
            inputs,
            answers: Vec::new(),
            runs: true,
            lease_until: i64::MAX,
            turn_at: None,
            tick_at: now + TICK_MS,
        };
        self.nodes[node].processes.insert(number, process);
        self.nodes[node].current = Some(number);
        self.wake(node, number, now);
        for pair in 0..self.pairs.len() {
            if self.pairs[pair].client == Party::Node(node) {
                let at = now + self.rng.range(1, 300);
                self.plan_dial(pair, at);
            }
        }
    }

    /// Has a process look at what there is to do, at this time.
    pub(super) fn wake(&mut self, node: NodeNo, number: u64, at: i64) {
        let Some(process) = self.nodes[node].processes.get_mut(&number) else { return };
        if process.runs && process.turn_at.is_none_or(|planned| at < planned) {
            process.turn_at = Some(at);
            self.after(at, Event::Turn { node, process: number, at });
        }
    }

    /// Runs `work` on a process, and buries it if that was its end.
    pub(super) fn with_process(&mut self, node: NodeNo, number: u64, work: impl FnOnce(&mut Self, &mut Process) -> Result<(), End>) {
        let Some(mut process) = self.nodes[node].processes.remove(&number) else { return };
        let end = work(self, &mut process);
        self.nodes[node].processes.insert(number, process);
        if let Err(end) = end {
            match end {
                End::Trap(kind) => self.bury(node, number, kind),
                End::Untrusted => self.retire(node, number, 60),
                End::Broken(what) => {
                    self.broken(node, what);
                    self.bury(node, number, FaultKind::Crash);
                }
            }
        }
    }

    pub(super) fn turn(&mut self, node: NodeNo, number: u64) {
        self.with_process(node, number, |world, process| {
            process.turn_at = None;
            if !process.runs {
                return Ok(());
            }
            let turn = catch_unwind(AssertUnwindSafe(|| world.take_turn(node, process)));
            turn.unwrap_or_else(|_| Err(End::Broken("a turn panicked".into())))
        });
        let Some(process) = self.nodes[node].processes.get(&number) else { return };
        let clock = self.nodes[node].clock.at(self.now);
        let step = process.worker.next_step().map(|at| self.now + (at.unix_millis() - clock).max(1));
        let next = if process.inputs.is_empty() { step.map_or(process.tick_at, |at| at.min(process.tick_at)) } else { self.now };
        self.wake(node, number, next.max(self.now));
    }

    fn take_turn(&mut self, node: NodeNo, process: &mut Process) -> Result<(), End> {
        if process.lease_until <= self.now {
            return Err(End::Untrusted);
        }
        self.read(node, process);
        let at = time(self.nodes[node].clock.at(self.now));
        if process.tick_at <= self.now {
            process.tick_at = self.now + TICK_MS;
            for connection in process.links.keys().copied().collect::<Vec<_>>() {
                self.with_link(node, process, connection, |link, output| link.tick(at, output));
            }
        }
        for _ in 0..TURNS_MAX {
            let due = process.worker.next_step().is_some_and(|next| next <= at);
            if due || !process.inputs.is_empty() {
                let batch = process.worker.step(at, &mut process.inputs).map_err(|error| End::Broken(error.to_string()))?;
                if let Some(commit) = process.pipeline.push(batch) {
                    self.spring(node, FaultKind::CrashBeforeCommit)?;
                    self.give_to_store(node, process.number, commit, 0);
                }
            }
            for (commit, outcome) in std::mem::take(&mut process.answers) {
                let retry = process.pipeline.outcome(commit, outcome).map_err(|why| match self.nodes[node].current {
                    // Nobody has opened the slot, and nothing durable was forgotten while it ran.
                    Some(current) if current == process.number => End::Broken(why.to_string()),
                    _ => End::Untrusted,
                })?;
                if let Some(retry) = retry {
                    let after = i64::try_from(retry.after.as_millis()).unwrap();
                    self.give_to_store(node, process.number, retry.commit, after);
                }
            }
            self.release(node, process, at)?;
            if !due && process.inputs.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self, node: NodeNo, process: &mut Process) {
        let at = time(self.nodes[node].clock.at(self.now));
        for connection in process.links.keys().copied().collect::<Vec<_>>() {
            while let Some(frame) = self.next_frame(connection) {
                self.with_link(node, process, connection, |link, output| link.receive(frame, at, output));
            }
            if !self.is_open(connection) {
                close(process, connection);
            }
        }
    }

    fn release(&mut self, node: NodeNo, process: &mut Process, at: Timestamp) -> Result<(), End> {
        while let Some(batch) = process.pipeline.next_durable() {
            if batch.commit.is_some() {
                self.spring(node, FaultKind::CrashBeforeRelease)?;
            }
            let money = batch.commit.is_some();
            let mut released = Vec::new();
            process.worker.release(batch, at, &mut released);
            let half = released.len() / 2;
            for (place, effect) in released.into_iter().enumerate() {
                if money && place == half && place > 0 {
                    self.spring(node, FaultKind::CrashInRelease)?;
                }
                self.effect(node, process, effect, at);
            }
        }
        Ok(())
    }

    fn effect(&mut self, node: NodeNo, process: &mut Process, effect: Released, at: Timestamp) {
        match effect {
            Released::Command(connection, LinkCommand::Close { .. }) => {
                self.end_wire(connection);
                close(process, connection);
            }
            Released::Command(connection, command) => {
                self.with_link(node, process, connection, |link, output| link.command(command, at, output));
            }
            Released::Deliver(delivery, payment) => self.deliver(node, process.number, delivery, &payment),
            Released::Settled(reply, result) => self.told_of_settlement(reply, result),
            Released::Event(event) => self.tell(node, process.number, process.epoch, *event),
            Released::Move(request) => {
                let row = self.nodes[node].disk.rows.get_mut(&request.account).unwrap();
                let outcome = row.apply(request.slot, request.n, &request.change);
                process.inputs.push(Input::Moved { account: request.account, n: request.n, outcome });
            }
            Released::Note { .. } => unreachable!("there are no colleagues"),
            Released::Paid(..) | Released::Account(..) | Released::Stated(..) => {}
        }
    }

    /// The connector's own receiver.
    fn deliver(&mut self, node: NodeNo, process: u64, delivery: Delivery, payment: &IncomingPayment) {
        let planned = self.plan.payment_of(&payment.condition);
        let (decision, ms) = planned.map_or((Decision::Reject, 0), |planned| (planned.decision, planned.decision_ms));
        let refusal = Refusal::Receiver { code: ErrorCode::F99_APPLICATION_ERROR, message: "not wanted".into() };
        let result = match (decision, planned) {
            (Decision::Fulfill | Decision::FulfillAtExpiry(_), Some(planned)) => Ok(planned.fulfillment),
            _ => Err(refusal),
        };
        self.after(self.now + ms, Event::Received { node, process, delivery, result });
    }

    /// Runs `call` on a link and takes what comes of it: events for the worker, frames for the wire.
    pub(super) fn with_link(
        &mut self,
        node: NodeNo,
        process: &mut Process,
        connection: ConnectionId,
        call: impl FnOnce(&mut ClpLink, &mut LinkOutput),
    ) {
        let Some(link) = process.links.get_mut(&connection) else { return };
        let mut output = LinkOutput::default();
        call(link, &mut output);
        let at = time(self.nodes[node].clock.at(self.now));
        let mut events = std::mem::take(&mut output.events).into_iter();
        loop {
            for frame in output.frames.drain(..) {
                self.send(connection, frame);
            }
            let Some(event) = events.next() else { break };
            match event {
                LinkEvent::Authenticate(_) => {
                    let account = self.connected(connection, process);
                    let of = &self.plan.layout.nodes[node];
                    let address = Address::new(of.address.clone()).unwrap().join(&of.accounts[account].name).unwrap();
                    let Some(link) = process.links.get_mut(&connection) else { return };
                    link.command(LinkCommand::Accept { address }, at, &mut output);
                    let early = std::mem::take(&mut output.events);
                    events = events.chain(early).collect::<Vec<_>>().into_iter();
                }
                LinkEvent::Authenticated { .. } => {
                    self.connected(connection, process);
                }
                event => process.inputs.push(Input::Link { connection, event }),
            }
        }
        if output.close.is_some() {
            self.end_wire(connection);
            close(process, connection);
        }
    }

    /// The connection is its account's from now on.
    fn connected(&mut self, connection: ConnectionId, process: &mut Process) -> AccountPlace {
        let (wire, node, account) = self.known(connection);
        self.see(Seen::Connected { wire, node, epoch: process.epoch, account });
        let account_id = account_id(&self.plan.layout.nodes[node], account);
        process.inputs.push(Input::Connected { connection, account: account_id, relayed: false });
        account
    }

    /// The connector pays from its own account.
    pub(super) fn pay_from(&mut self, node: NodeNo, payment: usize) {
        let Some(number) = self.nodes[node].current else { return };
        let Payment { to, amount, expires_ms, condition, no, .. } = self.plan.payments[payment];
        let destination = Address::new(self.plan.address_of(to)).unwrap();
        let expires_at = time(self.nodes[node].clock.at(self.now) + expires_ms);
        let id = u64::try_from(no).unwrap();
        let pay = Pay { id, destination, amount: Amount::new(amount), condition, expires_at, data: bytes::Bytes::new() };
        if let Some(process) = self.nodes[node].processes.get_mut(&number) {
            process.inputs.push(Input::Pay(pay));
        }
        self.wake(node, number, self.now);
    }
}

/// More in one turn is left to the next.
const TURNS_MAX: usize = 16;

/// The link is told that its connection is gone, and the worker what came of that.
pub(super) fn close(process: &mut Process, connection: ConnectionId) {
    if let Some(mut link) = process.links.remove(&connection) {
        let mut output = LinkOutput::default();
        link.closed(&mut output);
        process.inputs.extend(output.events.into_iter().map(|event| Input::Link { connection, event }));
        process.inputs.push(Input::Disconnected { connection });
    }
}

pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(ms).unwrap()
}

fn config(layout: &Layout, node: NodeNo, seed: [u8; 32]) -> WorkerConfig {
    let of = &layout.nodes[node];
    let rate = |(from, to, numerator, denominator): &(String, String, u64, u64)| Rate {
        from: asset(from),
        to: asset(to),
        numerator: *numerator,
        denominator: *denominator,
    };
    WorkerConfig {
        address: Address::new(of.address.clone()).unwrap(),
        slot: of.slot,
        deployment: vec![of.slot],
        limits: Limits { log_bytes: of.books.log_bytes, ..Limits::default() },
        timing: Timing {
            window_ms: layout.window_ms,
            grace_ms: layout.grace_ms,
            outgoing_ms_min: layout.outgoing_ms_min,
            hold_ms_max: layout.hold_ms_max,
            skew_ms_max: layout.skew_ms_max,
        },
        rates: of.rates.iter().map(rate).collect(),
        seed,
        events: of.books.events,
    }
}

fn accounts(node: &NodeLayout) -> Vec<AccountConfig> {
    let account = |place: AccountPlace| {
        let of = &node.accounts[place];
        AccountConfig {
            credit_limit: of.credit_limit,
            max_packet: of.max_packet,
            initial_balance: of.initial_balance,
            protocol: of.protocol,
            routes: of.routes.iter().map(|route| Address::new(route.clone()).unwrap()).collect(),
            ..AccountConfig::new(account_id(node, place), asset(&of.asset))
        }
    };
    (0..node.accounts.len()).map(account).collect()
}

pub(super) fn account_id(node: &NodeLayout, account: AccountPlace) -> AccountId {
    AccountId::new(1, &node.accounts[account].name).unwrap()
}

fn asset(text: &str) -> Asset {
    let (code, scale) = text.split_once('/').unwrap();
    Asset::new(code, scale.parse().unwrap())
}
