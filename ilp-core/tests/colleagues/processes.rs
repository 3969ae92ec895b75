//! Processes with a slot each, joined by sockets only.

use crate::peer::{Peer, code};
use crate::support::{LEASE, Process, account, balances, books_are_right, run, until};
use ilp_core::AccountConfig;
use ilp_core::colleagues::Relay;
use ilp_core::link::{Answer, LinkCommand};
use ilp_core::runtime::{Colleagues, Notice};
use ilp_core::store::{BalanceStore, MemoryStore, SlotNo};
use ilp_core::worker::ConnectionId;
use std::time::Duration;

const BOTH: [SlotNo; 2] = [0, 1];

/// Two processes that have found each other.
async fn two(store: &MemoryStore, accounts: &[AccountConfig]) -> [Process; 2] {
    let ann = Process::start(store, "ann", &[0], &BOTH, accounts).await;
    let bea = Process::start(store, "bea", &[1], &BOTH, accounts).await;
    ann.reaching(&[1]).await;
    bea.reaching(&[0]).await;
    [ann, bea]
}

/// From a connection of alice to bob, once the workers know of his.
async fn pay(alice: &mut Peer, on: usize, bob: &mut Peer, to: &str, n: &mut u8, process: &Process) {
    *n += 1;
    alice.hold(on, *n, to, 10, process.connector.now()).await;
    end_payment(alice, bob, *n).await;
}

async fn end_payment(alice: &mut Peer, bob: &mut Peer, n: u8) {
    let prepared = bob.prepared().await;
    let request = bob.fulfill(prepared.on, prepared.id, n);
    assert_eq!(bob.answer(prepared.on, request).await, Answer::Ack);
    alice.fulfilled(n).await;
}

#[test]
fn an_account_of_two_slots_in_two_processes_pays_on_either_connection() {
    run(async {
        let store = MemoryStore::new();
        let accounts = [account("alice", &[0, 1], &BOTH, 1_000_000), account("bob", &[0], &BOTH, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let [ann, bea] = two(&store, &accounts).await;
        let mut alice = Peer::connect(&ann.connector, a).await;
        alice.also(&bea.connector).await;
        let mut bob = Peer::connect(&ann.connector, b).await;
        let now = ann.connector.now();
        let mut last = 0;
        // Until a worker of each process has owned one.
        let mut owned = [false; 2];
        let mut n = 0;
        while owned != [true; 2] {
            pay(&mut alice, usize::from(n % 2), &mut bob, b, &mut n, &ann).await;
            last += 1;
            owned = [fulfilled(&ann).await > 0, fulfilled(&bea).await > 0];
        }
        let first = n + 1;
        for n in first..first + 40 {
            assert_eq!(alice.prepare(usize::from(n % 2), n, b, 10, now).await, Answer::Ack);
            end_payment(&mut alice, &mut bob, n).await;
            last += 1;
        }
        // The same again, on the other connection: its owner knows it.
        for n in first..first + 40 {
            assert_eq!(alice.prepare(usize::from((n + 1) % 2), n, b, 10, now).await, Answer::Ack);
        }
        assert!(bob.unheard(|said| matches!(said, LinkCommand::Prepare { .. })));
        let by = [fulfilled(&ann).await, fulfilled(&bea).await];
        assert_eq!(by[0] + by[1], last);
        assert!(by.iter().all(|by| *by > 8), "{by:?}");
        let connectors = [&ann.connector, &bea.connector];
        assert_eq!(balances(&connectors, &accounts[0].id).await, -10 * i128::from(last));
        assert_eq!(balances(&connectors, &accounts[1].id).await, 10 * i128::from(last));
        books_are_right(&connectors).await;
        assert_eq!((ann.colleagues.dropped(), bea.colleagues.dropped()), (0, 0));
        ann.stop().await;
        bea.stop().await;
    });
}

async fn fulfilled(process: &Process) -> u64 {
    process.connector.status().await.unwrap().worker.counters.fulfilled
}

#[test]
fn a_payment_goes_to_a_next_hop_that_is_connected_at_the_other_process() {
    run(async {
        let store = MemoryStore::new();
        // Both are at home at ann's; bob's peer dials bea all the same.
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[0], &BOTH, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let [ann, bea] = two(&store, &accounts).await;
        let (mut alice, mut bob) = (Peer::connect(&ann.connector, a).await, Peer::connect(&bea.connector, b).await);
        let mut n = 0;
        for _ in 0..20 {
            pay(&mut alice, 0, &mut bob, b, &mut n, &ann).await;
        }
        assert_eq!((fulfilled(&ann).await, fulfilled(&bea).await), (20, 0));
        // And a connection that is gone over there isn't used any more.
        bob.leave(0);
        until(|| bob.is_cut(0)).await;
        let mut gone = false;
        while !gone {
            n += 1;
            gone = matches!(alice.prepare(0, n, b, 10, ann.connector.now()).await, Answer::Error(_));
        }
        drop(bea.connector);
        books_are_right(&[&ann.connector]).await;
    });
}

#[test]
fn three_processes_have_one_link_each_pair_and_serve_an_account_of_three_slots() {
    run(async {
        let store = MemoryStore::new();
        let all = [0, 1, 2];
        let accounts = [account("alice", &[2, 0, 1], &all, 1_000_000), account("bob", &[1], &all, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let ann = Process::start(&store, "ann", &[0], &all, &accounts).await;
        let bea = Process::start(&store, "bea", &[1], &all, &accounts).await;
        let cid = Process::start(&store, "cid", &[2], &all, &accounts).await;
        ann.reaching(&[1, 2]).await;
        bea.reaching(&[0, 2]).await;
        cid.reaching(&[0, 1]).await;
        for (process, others) in [(&ann, ["bea", "cid"]), (&bea, ["ann", "cid"]), (&cid, ["ann", "bea"])] {
            assert_eq!(process.colleagues.linked().iter().map(|holder| &**holder).collect::<Vec<_>>(), others);
        }
        let mut alice = Peer::connect(&ann.connector, a).await;
        alice.also(&bea.connector).await;
        alice.also(&cid.connector).await;
        let mut bob = Peer::connect(&cid.connector, b).await;
        let mut n = 0;
        for turn in 0..45 {
            pay(&mut alice, turn % 3, &mut bob, b, &mut n, &ann).await;
        }
        for process in [&ann, &bea, &cid] {
            assert!(fulfilled(process).await > 3);
        }
        books_are_right(&[&ann.connector, &bea.connector, &cid.connector]).await;
        ann.stop().await;
        bea.stop().await;
        cid.stop().await;
    });
}

#[test]
fn a_process_that_goes_away_is_noticed_and_who_takes_its_slot_gets_its_mail_and_nothing_else() {
    run(async {
        let store = MemoryStore::new();
        let accounts = [account("alice", &[1], &BOTH, 1_000_000), account("bob", &[0], &BOTH, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let [ann, bea] = two(&store, &accounts).await;
        let (mut alice, mut bob) = (Peer::connect(&ann.connector, a).await, Peer::connect(&ann.connector, b).await);
        let mut n = 0;
        pay(&mut alice, 0, &mut bob, b, &mut n, &ann).await;
        // Held by bea's worker when bea dies.
        n += 1;
        let held = n;
        assert_eq!(alice.prepare(0, held, b, 10, ann.connector.now()).await, Answer::Ack);
        let prepared = bob.prepared().await;
        let old = ann.colleagues.open()[0];
        drop(bea.connector);
        ann.reaching(&[]).await;
        assert!(ann.colleagues.linked().is_empty());
        assert!(
            ann.notices
                .lock()
                .unwrap()
                .iter()
                .any(|notice| matches!(notice, Notice::ColleagueDisconnected { holder, .. } if holder == "bea"))
        );

        // Its payments are refused, and what bob says of them is kept for whoever has the slot next.
        loop {
            n += 1;
            let request = alice.ask(0, n, b, 10, ann.connector.now());
            // One that was passed on at the last moment is never answered.
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(300), alice.answer(0, request)).await {
                assert_eq!(code(&answer), "T03");
                break;
            }
        }
        bob.fulfill(prepared.on, prepared.id, held);
        loop {
            let slots = store.directory().await.unwrap().slots;
            if slots.iter().any(|slot| &*slot.name == "slot-1" && slot.letters == 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }

        store.pass(LEASE);
        let bet = Process::start(&store, "bet", &[1], &BOTH, &accounts).await;
        ann.reaching(&[1]).await;
        alice.fulfilled(held).await;
        // The worker is another one, and so is its number: what is meant for the old one stays here.
        assert_ne!(ann.colleagues.open()[0], old);
        let disconnected = Relay::Disconnected { connection: ConnectionId(1) };
        let dropped = ann.colleagues.dropped();
        assert!(!ann.colleagues.send((0, 1), old, vec![disconnected]));
        assert_eq!(ann.colleagues.dropped(), dropped + 1);
        pay(&mut alice, 0, &mut bob, b, &mut n, &ann).await;
        let connectors = [&ann.connector, &bet.connector];
        assert_eq!(balances(&connectors, &accounts[0].id).await, -30);
        books_are_right(&connectors).await;
        bet.stop().await;
        ann.stop().await;
    });
}

#[test]
fn stop_drains_what_colleagues_still_have_to_say() {
    run(async {
        let store = MemoryStore::new();
        let accounts = [account("alice", &[0], &BOTH, 1_000_000), account("bob", &[1], &BOTH, 0)];
        let [a, b] = accounts.each_ref().map(|account| account.id.name());
        let [ann, bea] = two(&store, &accounts).await;
        let (mut alice, mut bob) = (Peer::connect(&ann.connector, a).await, Peer::connect(&bea.connector, b).await);
        let mut n = 0;
        pay(&mut alice, 0, &mut bob, b, &mut n, &ann).await;
        n += 1;
        let now = ann.connector.now();
        assert_eq!(alice.prepare(0, n, b, 10, now).await, Answer::Ack);
        let prepared = bob.prepared().await;
        let held = n;
        let stop = tokio::spawn(ann.connector.stop(crate::support::PATIENCE));
        loop {
            n += 1;
            match alice.prepare(0, n, b, 10, now).await {
                Answer::Ack => end_payment(&mut alice, &mut bob, n).await,
                _ => break,
            }
        }
        // The owner stops, and the answer comes by way of the other process.
        bob.fulfill(prepared.on, prepared.id, held);
        alice.fulfilled(held).await;
        let report = stop.await.unwrap();
        assert!(report.drained, "{report:?}");
        bea.reaching(&[]).await;
        bea.stop().await;
    });
}
