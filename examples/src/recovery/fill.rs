//! Fills books: a worker, with inputs as peers would cause them, on an embedded store.

use super::Failure;
use bytes::Bytes;
use ilp_core::link::{Answer, IncomingPrepare, LinkCommand, LinkEvent, Payload};
use ilp_core::runtime::{Clock, SystemClock};
use ilp_core::store::{AccountSetup, BalanceStore, Commit, CommitOutcome, EmbeddedStore, Lease, SlotName};
use ilp_core::worker::{ConnectionId, Input, Released, Worker, WorkerConfig};
use ilp_core::{AccountConfig, AccountId, Asset, Limits, Timing};
use ilp_oer::ilp::{Packet, Payment};
use ilp_oer::{Address, Amount, Fulfillment, TransferId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What books are wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) dir: PathBuf,
    pub(super) held: u32,
    pub(super) remembered: u32,
}

/// They are there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Filled {
    batches: u64,
}

/// The slot that is filled.
/// Longer than any of this takes.
pub(super) fn lease() -> Lease {
    Lease { holder: "recovery".into(), address: None, ms: 3_600_000 }
}

pub(super) fn slot() -> SlotName {
    "slot-0".into()
}

/// As a connector with many transfers has it.
pub(super) fn worker_config() -> Result<WorkerConfig, Failure> {
    let limits = Limits {
        in_flight_per_account: u32::MAX,
        in_flight_bytes_per_account: usize::MAX,
        remembered_per_account: u32::MAX,
        ..Limits::default()
    };
    let address = Address::new("test.recovery").map_err(|error| Failure::Fill(error.to_string()))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::Fill(error.to_string()))?;
    Ok(WorkerConfig { address, slot: 0, deployment: vec![0], limits, timing: Timing::default(), rates: Vec::new(), seed, events: false })
}

/// Fills them.
pub(super) async fn fill(order: Order) -> Result<Filled, Failure> {
    let store = EmbeddedStore::open(&order.dir)?;
    let opened = store.open(&slot(), &lease()).await?;
    let clock = SystemClock::new();
    let mut filler =
        Filler { worker: Worker::open(worker_config()?, &opened, clock.now())?, store, clock, epoch: opened.epoch, next: 0, batches: 0 };
    let mut inputs = Vec::new();
    for (name, connection) in [("alice", ALICE), ("bob", BOB)] {
        let id = AccountId::new(1, name).map_err(|error| Failure::Fill(error.to_string()))?;
        let config = AccountConfig { credit_limit: u64::MAX, ..AccountConfig::new(id.clone(), Asset::new("XRP", 6)) };
        let setup = AccountSetup { id: id.clone(), slots: vec![0], key: [0; 16], credit_limit: config.credit_limit };
        let row = filler.store.set_up(&setup).await?;
        inputs.push(Input::AddAccount { config, row, reply: 0 });
        inputs.push(Input::Connected { connection, account: id, relayed: false });
    }
    let mut moved = Vec::new();
    for effect in filler.step(inputs).await? {
        let Released::Move(request) = effect else { continue };
        let outcome = filler.store.make_move(&request).await;
        moved.push(Input::Moved { account: request.account, n: request.n, outcome });
    }
    filler.step(moved).await?;
    filler.pay(order.remembered, true).await?;
    filler.pay(order.held, false).await?;
    // The process stands still with all of it until it is killed.
    let batches = filler.batches;
    std::mem::forget(filler);
    Ok(Filled { batches })
}

struct Filler {
    worker: Worker,
    store: EmbeddedStore,
    clock: SystemClock,
    epoch: u64,
    next: u64,
    batches: u64,
}

impl Filler {
    /// Payments of about the size that `flood` makes; fulfilled and acknowledged, or only held.
    async fn pay(&mut self, count: u32, ended: bool) -> Result<(), Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Fill(error.to_string());
        let destination = Address::new("test.recovery.bob.invoice").map_err(|error| wrong(&error))?;
        let packet = Packet::Payment(Payment { amount: Amount::new(5), account: destination.as_addr(), data: &[7; 110] });
        let packet = Bytes::from(packet.to_vec().map_err(|error| wrong(&error))?);
        let fulfillment = Fulfillment::new([9; 32]);
        let condition = fulfillment.condition();
        let mut left = count;
        while left > 0 {
            let now = left.min(BATCH);
            left -= now;
            let expires_at = self.clock.now().saturating_add_millis(LIVES_MS);
            let prepares = (0..now).map(|request| {
                self.next += 1;
                let id = TransferId::new(u128::from(self.next).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834).to_be_bytes());
                let transfer = IncomingPrepare { id, amount: Amount::new(5), condition, expires_at, payload: Payload::ilp(packet.clone()) };
                Input::Link { connection: ALICE, event: LinkEvent::Prepare { request, transfer } }
            });
            let prepares = prepares.collect();
            let mut answers = Vec::new();
            for (request, effect) in (0..).zip(self.step(prepares).await?) {
                let Released::Command(_, LinkCommand::Prepare { tag, id, .. }) = effect else { continue };
                answers.push(Input::Link { connection: BOB, event: LinkEvent::Answered { tag, answer: Answer::Ack } });
                if ended {
                    answers.push(Input::Link { connection: BOB, event: LinkEvent::Fulfill { request, id, fulfillment } });
                }
            }
            let mut acks = Vec::new();
            for effect in self.step(answers).await? {
                let Released::Command(_, LinkCommand::Fulfill { tag, .. }) = effect else { continue };
                acks.push(Input::Link { connection: ALICE, event: LinkEvent::Answered { tag, answer: Answer::Ack } });
            }
            self.worker.flush();
            self.step(acks).await?;
        }
        self.worker.flush();
        self.step(Vec::new()).await.map(|_| ())
    }

    async fn step(&mut self, mut inputs: Vec<Input>) -> Result<Vec<Released>, Failure> {
        let now = self.clock.now();
        let batch = self.worker.step(now, &mut inputs).map_err(|error| Failure::Fill(error.to_string()))?;
        if let Some(commit) = &batch.commit {
            let commit = Commit {
                slot: slot(),
                epoch: self.epoch,
                seq: commit.seq,
                blob: commit.blob.clone(),
                balances: commit.balances.clone(),
                cut_below: commit.cut_below,
                mail_read: commit.mail_read,
            };
            self.batches += 1;
            let outcome = self.store.commit(commit).await;
            if outcome != CommitOutcome::Durable {
                return Err(Failure::Fill(format!("a batch isn't durable: {outcome:?}")));
            }
        }
        let mut out = Vec::new();
        self.worker.release(batch, now, &mut out);
        Ok(out)
    }
}

const ALICE: ConnectionId = ConnectionId(1);
const BOB: ConnectionId = ConnectionId(2);
/// Payments of a batch.
const BATCH: u32 = 1_000;
/// Nearly as long as the default limit for holds.
const LIVES_MS: i64 = 290_000;
