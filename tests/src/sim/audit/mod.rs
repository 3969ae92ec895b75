//! The auditor: knows the rules of DESIGN and judges by what can be seen from outside; it shares no logic with the product.
//!
//! What is seen of a process that dies may have come to nothing, what is sent may be lost: where a rule can't be decided for that reason, only
//! what is certain is demanded.

mod ending;
mod events;
mod frames;
mod invariant;
mod ledger;
mod log;
mod records;
mod settlements;
mod snapshots;

pub use invariant::{Invariant, TransferState, Violation};

use super::observe::{AccountPlace, Layout, NodeNo, Observation, Seen, Side, Statement, WireNo};
use super::plan::{Plan, SKEW_MS_MAX, Settlement};
use frames::Wire;
use ledger::{Ledger, Outcome, Transfer};
use log::Record;
use std::collections::{BTreeMap, VecDeque};

/// Judges a run.
#[derive(Debug)]
pub struct Auditor {
    layout: Layout,
    /// What embedders settle.
    settlements: Vec<Settlement>,
    ledgers: Vec<Ledger>,
    /// Batches that the stores have and that aren't durable yet.
    unsynced: Vec<VecDeque<Batch>>,
    wires: BTreeMap<WireNo, Wire>,
    /// What came in before it was known whose connection it is.
    early: BTreeMap<WireNo, Vec<(i64, bytes::Bytes)>>,
    now: i64,
    broken: Option<Violation>,
}

#[derive(Debug)]
struct Batch {
    epoch: u64,
    seq: u64,
    blob: bytes::Bytes,
    records: Vec<Record>,
    balances: Vec<(String, i128)>,
    cut_below: Option<u64>,
}

/// What was seen of the payments, over all connectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Prepares that were held.
    pub held: u64,
    /// Of these, fulfilled.
    pub fulfilled: u64,
    /// Of these, rejected or timed out.
    pub rejected: u64,
    /// Prepares that were answered by an Error.
    pub refused: u64,
    /// Fulfills that the sender refused although it had them in time.
    pub disputed: u64,
    /// Fulfills that the sender never acknowledged.
    pub unconfirmed: u64,
    /// Fulfills that came too late for the sender, which the connector bears.
    pub losses: u64,
}

impl Auditor {
    /// Before anything happens.
    pub fn new(plan: &Plan) -> Self {
        let layout = &plan.layout;
        Self {
            layout: layout.clone(),
            settlements: plan.settlements.clone(),
            ledgers: layout.nodes.iter().map(Ledger::new).collect(),
            unsynced: layout.nodes.iter().map(|_| VecDeque::new()).collect(),
            wires: BTreeMap::new(),
            early: BTreeMap::new(),
            now: 0,
            broken: None,
        }
    }

    /// To be told of everything, in order. The first broken rule is kept.
    pub fn observe(&mut self, observation: &Observation) {
        self.now = observation.at;
        match &observation.what {
            Seen::Opened { node, epoch, last_seq, log } => self.opened(*node, *epoch, *last_seq, log),
            Seen::Died { node, epoch } => self.died(*node, *epoch),
            Seen::Connected { wire, node, epoch, account } => self.connected(*wire, *node, *epoch, *account),
            Seen::Ended { wire, by } => self.ended(*wire, *by),
            Seen::Sent { wire, by: Side::Node, clock, frame } => self.node_sent(*wire, *clock, frame),
            Seen::Sent { wire, by: Side::Holder, frame, .. } => self.holder_sent(*wire, frame),
            Seen::Arrived { wire, at: Side::Node, clock, frame } => self.node_heard(*wire, *clock, frame),
            Seen::Arrived { wire, at: Side::Holder, clock, frame } => self.holder_heard(*wire, *clock, frame),
            Seen::Applied { node, epoch, seq, blob, balances, cut_below } => match log::records(blob) {
                Some(records) => {
                    let (blob, balances) = (blob.clone(), balances.clone());
                    self.applied(*node, Batch { epoch: *epoch, seq: *seq, blob, records, balances, cut_below: *cut_below });
                }
                None => self.fail(*node, Invariant::BalanceFormula, format!("batch {seq} can't be read")),
            },
            Seen::Synced { node, seq } => self.synced(*node, *seq),
            Seen::Forgotten { node, last_seq } => self.forgotten(*node, *last_seq),
            Seen::Told { node, epoch, number, event } => self.told(*node, *epoch, *number, event),
            Seen::Acknowledged { node, through } => {
                let has = &mut self.ledgers[*node].embedder_has;
                *has = (*through).max(*has);
            }
            Seen::Settled { node, account, id, amount, result } => self.told_settled(*node, *account, id, *amount, result),
            Seen::Fault { .. } => {}
        }
    }

    /// The first rule that was broken.
    pub fn broken(&self) -> Option<&Violation> {
        self.broken.as_ref()
    }

    /// How many transfers of a connector are in each state, only those from or to an account if one is given.
    pub fn states(&self, node: NodeNo, account: Option<AccountPlace>) -> [u32; TransferState::COUNT] {
        let mut states = [0; TransferState::COUNT];
        let ledger = &self.ledgers[node];
        let about = |place: Option<AccountPlace>| account.is_none() || account == place;
        for ((place, _), asked) in &ledger.asked {
            let open = asked.iter().filter(|asked| asked.open && about(Some(*place))).count();
            states[place_of(TransferState::Asked)] += u32::try_from(open).unwrap();
        }
        for transfer in ledger.transfers.values().filter(|transfer| about(transfer.from) || about(transfer.to)) {
            states[place_of(state_of(transfer))] += 1;
        }
        states
    }

    /// What was seen of the payments.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for ledger in &self.ledgers {
            for transfer in ledger.transfers.values() {
                tally.held += 1;
                tally.fulfilled += u64::from(matches!(transfer.outcome, Some(Outcome::Fulfilled(_))));
                tally.rejected += u64::from(transfer.outcome == Some(Outcome::Rejected));
            }
            tally.refused += ledger.refused;
            tally.disputed += ledger.disputed;
            tally.unconfirmed += ledger.unconfirmed;
            tally.losses += ledger.losses;
        }
        tally
    }

    fn fail(&mut self, node: NodeNo, invariant: Invariant, what: impl Into<String>) {
        let violation = Violation { invariant, what: what.into(), at: self.now, node: Some(node) };
        self.broken.get_or_insert(violation);
    }

    /// The latest that a connector's clock can show now.
    fn latest(&self) -> i64 {
        self.now + SKEW_MS_MAX / 2
    }

    // Who has the slot, and what the store has.

    fn opened(&mut self, node: NodeNo, epoch: u64, last_seq: u64, log: &[bytes::Bytes]) {
        let (before, has) = (self.ledgers[node].epoch, self.ledgers[node].last_seq);
        if epoch <= before {
            self.fail(node, Invariant::Fenced, format!("the slot was opened with epoch {epoch} after {before}"));
        }
        if last_seq != has || !self.unsynced[node].is_empty() {
            self.fail(node, Invariant::DurableFirst, format!("the slot was opened at batch {last_seq}, durable are those up to {has}"));
        }
        if let Err((invariant, what)) = self.reads(node, log) {
            self.fail(node, invariant, what);
        }
        let ledger = &mut self.ledgers[node];
        ledger.epoch = epoch;
        ledger.connected.clear();
        ledger.snapshot = false;
        // What the embedder may not have is told again.
        ledger.tells_next.insert(epoch, ledger.events_acked + 1);
    }

    fn died(&mut self, node: NodeNo, epoch: u64) {
        for wire in self.wires.values_mut().filter(|wire| wire.node == node && wire.epoch == epoch) {
            wire.over = true;
        }
        let ledger = &mut self.ledgers[node];
        ledger.connected.retain(|_, (_, of, _)| *of != epoch);
        if ledger.epoch == epoch {
            // What it had heard and not made durable has come to nothing.
            ledger.asked.values_mut().flatten().for_each(|asked| asked.open = false);
        }
    }

    fn applied(&mut self, node: NodeNo, batch: Batch) {
        let ledger = &self.ledgers[node];
        let last = self.unsynced[node].back().map_or(ledger.last_seq, |batch| batch.seq);
        let (epoch, seq, now) = (batch.epoch, batch.seq, ledger.epoch);
        if epoch != now {
            self.fail(node, Invariant::Fenced, format!("batch {seq} of epoch {epoch} was applied, the slot's is {now}"));
        }
        if seq != last + 1 {
            self.fail(node, Invariant::Fenced, format!("batch {seq} was applied after batch {last}"));
        }
        self.unsynced[node].push_back(batch);
    }

    fn synced(&mut self, node: NodeNo, seq: u64) {
        while self.unsynced[node].front().is_some_and(|batch| batch.seq <= seq) {
            let Some(batch) = self.unsynced[node].pop_front() else { break };
            self.ledgers[node].last_seq = batch.seq;
            self.durable(node, batch);
        }
    }

    fn forgotten(&mut self, node: NodeNo, last_seq: u64) {
        if last_seq < self.ledgers[node].last_seq {
            self.fail(node, Invariant::DurableFirst, format!("batches after {last_seq} are gone, though they were durable"));
        }
        self.unsynced[node].retain(|batch| batch.seq <= last_seq);
    }
}

fn place_of(state: TransferState) -> usize {
    TransferState::ALL.iter().position(|other| *other == state).unwrap()
}

fn state_of(transfer: &Transfer) -> TransferState {
    let answered = !transfer.fulfills.is_empty() || transfer.rejects > 0 || transfer.errors > 0;
    match transfer.outcome {
        None if answered => TransferState::Deciding,
        None if transfer.acked => TransferState::Acked,
        None if !transfer.sent.is_empty() => TransferState::Sent,
        None => TransferState::Held,
        Some(_) if transfer.from.is_none() || transfer.settled.is_some() || transfer.answer_acks > 0 => TransferState::Done,
        Some(_) if transfer.answers.is_empty() => TransferState::Decided,
        Some(_) => TransferState::Answered,
    }
}

impl Auditor {
    /// Nothing is on its way anywhere: compares the books of each connector with what it states.
    pub fn quiet(&mut self, at: i64, statements: &[Statement]) {
        self.now = at;
        self.compare(statements);
        self.look_for_silence();
    }

    /// The end: nothing has gone wrong for long enough that everything must have ended.
    pub fn end(&mut self, at: i64, statements: &[Statement]) {
        self.now = at;
        self.compare(statements);
        self.look_for_leftovers(statements);
        self.look_for_disagreements();
    }
}
