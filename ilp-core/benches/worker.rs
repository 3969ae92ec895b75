//! What one payment costs the worker alone: a prepare, its ack, a fulfill, its ack; records written, no store, no sockets.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use ilp_core::link::{Answer, IncomingPrepare, LinkCommand, LinkEvent, Payload};
use ilp_core::store::{AccountRow, AccountSetup, OpenedSlot};
use ilp_core::worker::{ConnectionId, Input, Released, Worker, WorkerConfig};
use ilp_core::{AccountConfig, AccountId, Asset, Limits, Timing};
use ilp_oer::ilp::{Packet, Payment};
use ilp_oer::{Address, Amount, Fulfillment, Timestamp, TransferId};
use std::collections::HashMap;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const ALICE: ConnectionId = ConnectionId(1);
const BOB: ConnectionId = ConnectionId(2);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(ms).unwrap()
}

fn worker() -> Worker {
    let config = WorkerConfig {
        address: Address::new("test.ann").unwrap(),
        slot: 0,
        deployment: vec![0],
        limits: Limits::default(),
        timing: Timing::default(),
        rates: Vec::new(),
        seed: [7; 32],
        events: false,
    };
    let mut worker = Worker::open(config, &OpenedSlot { epoch: 1, ..OpenedSlot::default() }, at(0)).unwrap();
    let (mut inputs, mut rows) = (Vec::new(), HashMap::new());
    for (name, connection) in [("alice", ALICE), ("bob", BOB)] {
        let id = AccountId::new(1, name).unwrap();
        let config = AccountConfig { credit_limit: u64::MAX, ..AccountConfig::new(id.clone(), Asset::new("XRP", 6)) };
        let setup = AccountSetup { id: id.clone(), slots: vec![0], key: [0; 16], credit_limit: config.credit_limit };
        rows.insert(id.clone(), AccountRow::new(&setup));
        inputs.push(Input::AddAccount { config, row: AccountRow::new(&setup), reply: 0 });
        inputs.push(Input::Connected { connection, account: id, relayed: false });
    }
    // All that is available is drawn at once: payments ask nobody.
    for effect in step(&mut worker, 0, &mut inputs) {
        let Released::Move(request) = effect else { continue };
        let outcome = rows.get_mut(&request.account).unwrap().apply(request.slot, request.n, &request.change);
        inputs.push(Input::Moved { account: request.account, n: request.n, outcome });
    }
    step(&mut worker, 0, &mut inputs);
    worker
}

fn step(worker: &mut Worker, ms: i64, inputs: &mut Vec<Input>) -> Vec<Released> {
    let batch = worker.step(at(ms), inputs).unwrap();
    let mut out = Vec::new();
    worker.release(batch, at(ms), &mut out);
    out
}

/// `batch` payments, all four steps of each, as many together as a batch has.
#[divan::bench(args = [1, 64, 512])]
fn payment(bencher: Bencher<'_, '_>, batch: u32) {
    let mut worker = worker();
    let (mut now, mut n) = (0i64, 0u64);
    let destination = Address::new("test.ann.bob.invoice-4711").unwrap();
    let packet = Packet::Payment(Payment { amount: Amount::new(5), account: destination.as_addr(), data: &[7; 110] });
    let packet = Bytes::from(packet.to_vec().unwrap());
    let fulfillment = Fulfillment::new([9; 32]);
    let condition = fulfillment.condition();
    let mut inputs = Vec::new();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        now += 5;
        for request in 0..batch {
            n += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            let transfer = IncomingPrepare {
                id: TransferId::new(id),
                amount: Amount::new(5),
                condition,
                expires_at: at(now + 6_000),
                payload: Payload::ilp(packet.clone()),
            };
            inputs.push(Input::Link { connection: ALICE, event: LinkEvent::Prepare { request, transfer } });
        }
        let out = step(&mut worker, now, &mut inputs);
        for (request, effect) in (0..).zip(out) {
            if let Released::Command(_, LinkCommand::Prepare { tag, id, .. }) = effect {
                inputs.push(Input::Link { connection: BOB, event: LinkEvent::Answered { tag, answer: Answer::Ack } });
                inputs.push(Input::Link { connection: BOB, event: LinkEvent::Fulfill { request, id, fulfillment } });
            }
        }
        let out = step(&mut worker, now, &mut inputs);
        for effect in out {
            if let Released::Command(_, LinkCommand::Fulfill { tag, .. }) = effect {
                inputs.push(Input::Link { connection: ALICE, event: LinkEvent::Answered { tag, answer: Answer::Ack } });
            }
        }
        step(&mut worker, now, &mut inputs)
    });
    assert_eq!(worker.status().counters.fulfilled, n);
}
