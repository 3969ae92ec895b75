//! Two workers in one process.

use crate::peer::{Peer, code};
use crate::support::{PATIENCE, account, balances, books_are_right, builder, run, until};
use ilp_core::link::{Answer, LinkCommand};
use ilp_core::runtime::Connector;
use ilp_core::store::MemoryStore;
use ilp_core::{AccountConfig, Event, NumberedEvent};
use ilp_oer::Timestamp;
use tokio::sync::mpsc;

const BOTH: [u16; 2] = [0, 1];

async fn two(store: &MemoryStore, accounts: &[AccountConfig]) -> Connector {
    builder(store, accounts).workers(2).start().await.unwrap()
}

/// From alice to bob, from begin to end.
async fn pay(alice: &mut Peer, on: usize, bob: &mut Peer, to: &str, n: u8, connector: &Connector) {
    pay_at(connector.now(), alice, on, bob, to, n).await;
}

async fn pay_at(now: Timestamp, alice: &mut Peer, on: usize, bob: &mut Peer, to: &str, n: u8) {
    alice.hold(on, n, to, 10, now).await;
    let prepared = bob.prepared().await;
    let request = bob.fulfill(prepared.on, prepared.id, n);
    assert_eq!(bob.answer(prepared.on, request).await, Answer::Ack);
    alice.fulfilled(n).await;
}

#[test]
fn accounts_at_home_in_different_workers_pay_each_other() {
    run(async {
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 1_000_000)];
        let connector = two(&MemoryStore::new(), &accounts).await;
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (mut alice, mut bob) = (Peer::connect(&connector, a).await, Peer::connect(&connector, b).await);
        for n in 1..=20 {
            pay(&mut alice, 0, &mut bob, b, n, &connector).await;
            pay(&mut bob, 0, &mut alice, a, 100 + n, &connector).await;
        }
        for n in 21..=40 {
            pay(&mut alice, 0, &mut bob, b, n, &connector).await;
        }
        assert_eq!(balances(&[&connector], &accounts[0].id).await, -200);
        assert_eq!(balances(&[&connector], &accounts[1].id).await, 200);
        let status = connector.status().await.unwrap();
        assert_eq!(status.workers.iter().map(|(slot, worker)| (*slot, worker.counters.fulfilled)).collect::<Vec<_>>(), [(0, 40), (1, 20)]);
        books_are_right(&[&connector]).await;
        assert!(connector.stop(PATIENCE).await.drained);
    });
}

#[test]
fn an_account_of_two_slots_is_served_by_both_on_any_connection() {
    run(async {
        let accounts = [account("alice", &[1, 0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let connector = two(&MemoryStore::new(), &accounts).await;
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (mut alice, mut bob) = (Peer::connect(&connector, a).await, Peer::connect(&connector, b).await);
        alice.also(&connector).await;
        let now = connector.now();
        for n in 1..=40 {
            pay_at(now, &mut alice, usize::from(n % 2), &mut bob, b, n).await;
        }
        // The same again, on the other connection: known to its owner, and not passed on.
        for n in 1..=40 {
            assert_eq!(alice.prepare(usize::from((n + 1) % 2), n, b, 10, now).await, Answer::Ack);
        }
        assert!(bob.unheard(|said| matches!(said, LinkCommand::Prepare { .. })));
        let status = connector.status().await.unwrap();
        assert!(status.workers.iter().all(|(_, worker)| worker.counters.fulfilled > 5), "{:?}", status.workers);
        assert_eq!(status.worker.counters.fulfilled, 40);
        assert_eq!(balances(&[&connector], &accounts[0].id).await, -400);
        books_are_right(&[&connector]).await;
        assert!(connector.stop(PATIENCE).await.drained);
    });
}

#[test]
fn connections_go_to_the_worker_that_serves_the_account_and_a_newer_one_replaces_the_older() {
    run(async {
        let accounts = [account("alice", &[1], &BOTH, 1_000_000), account("bob", &[0], &BOTH, 0)];
        let connector = two(&MemoryStore::new(), &accounts).await;
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let mut bob = Peer::connect(&connector, b).await;
        let mut alice = Peer::connect(&connector, a).await;
        for on in 1..4 {
            // Endpoints deal them to the workers in turn.
            alice.also(&connector).await;
            alice.hear(|at, said| (at == on - 1 && matches!(said, LinkCommand::Close { .. })).then_some(())).await;
            pay(&mut alice, on, &mut bob, b, u8::try_from(on).unwrap(), &connector).await;
        }
        alice.leave(3);
        bob.leave(0);
        loop {
            if connector.status().await.unwrap().connections.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // The next hop is gone, at both workers.
        alice.also(&connector).await;
        let now = connector.now();
        let refused = loop {
            match alice.prepare(4, 9, b, 10, now).await {
                // His worker knew it before ours.
                Answer::Ack => tokio::task::yield_now().await,
                refused => break refused,
            }
        };
        assert_eq!(code(&refused), "T01");
        books_are_right(&[&connector]).await;
        assert!(connector.stop(PATIENCE).await.drained);
    });
}

#[test]
fn stop_waits_for_what_is_in_flight_and_then_returns() {
    run(async {
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let store = MemoryStore::new();
        let (events, mut told) = mpsc::channel::<NumberedEvent>(1_024);
        let connector = builder(&store, &accounts).workers(2).events(events).start().await.unwrap();
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (mut alice, mut bob) = (Peer::connect(&connector, a).await, Peer::connect(&connector, b).await);
        let now = connector.now();
        alice.hold(0, 1, b, 10, now).await;
        let prepared = bob.prepared().await;
        let stop = tokio::spawn(connector.stop(PATIENCE));
        // It is stopping once it takes no new payments.
        for n in 2.. {
            let answer = alice.prepare(0, n, b, 10, now).await;
            if answer == Answer::Ack {
                let late = bob.prepared().await;
                bob.fulfill(late.on, late.id, n);
                alice.fulfilled(n).await;
            } else {
                break;
            }
        }
        assert!(!stop.is_finished());
        bob.fulfill(prepared.on, prepared.id, 1);
        alice.fulfilled(1).await;
        let report = stop.await.unwrap();
        assert!(report.drained && report.in_flight.is_empty(), "{report:?}");
        assert_eq!(report.worker.unwrap().in_flight, 0);
        let mut fulfilled = 0;
        while let Ok(event) = told.try_recv() {
            fulfilled += u32::from(matches!(event.event, Event::Fulfilled { .. }));
        }
        assert!(fulfilled >= 1);
    });
}

#[test]
fn stop_without_patience_reports_what_is_left_and_the_next_start_takes_it_up() {
    run(async {
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let store = MemoryStore::new();
        let connector = builder(&store, &accounts).workers(2).holder("one").start().await.unwrap();
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (mut alice, mut bob) = (Peer::connect(&connector, a).await, Peer::connect(&connector, b).await);
        let now = connector.now();
        alice.hold(0, 1, b, 10, now).await;
        let prepared = bob.prepared().await;
        let report = connector.stop(std::time::Duration::ZERO).await;
        assert!(!report.drained);
        assert_eq!(report.in_flight.len(), 1);

        let connector = builder(&store, &accounts).workers(2).holder("one").start().await.unwrap();
        let (mut alice, mut bob) = (Peer::connect(&connector, a).await, Peer::connect(&connector, b).await);
        let request = bob.fulfill(0, prepared.id, 1);
        assert_eq!(bob.answer(0, request).await, Answer::Ack);
        alice.fulfilled(1).await;
        assert_eq!(balances(&[&connector], &accounts[0].id).await, -10);
        books_are_right(&[&connector]).await;
        assert!(connector.stop(PATIENCE).await.drained);
    });
}

#[test]
fn a_worker_that_is_fenced_comes_back_and_its_colleague_meets_it_anew() {
    run(async {
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let store = MemoryStore::new();
        let connector = two(&store, &accounts).await;
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let (mut alice, mut bob) = (Peer::connect(&connector, a).await, Peer::connect(&connector, b).await);
        pay(&mut alice, 0, &mut bob, b, 1, &connector).await;
        // Alice's worker is thrown away, with her connection.
        store.inject(ilp_core::store::Fault::Fenced);
        alice.ask(0, 2, b, 10, connector.now());
        until(|| alice.is_cut(0)).await;
        let mut alice = Peer::connect(&connector, a).await;
        // Until her worker is back its payments are refused, for a while.
        pay(&mut alice, 0, &mut bob, b, 3, &connector).await;
        books_are_right(&[&connector]).await;
        assert!(connector.stop(PATIENCE).await.drained);
    });
}
