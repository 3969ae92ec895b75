//! Nothing leaves before it is durable: over real sockets, with a store that is told to be slow, unsure, or forgetful.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_core::runtime::Notice;
use ilp_core::store::Fault;
use ilp_tests::{Network, Seen, id_of, preimage};
use std::time::Duration;

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

#[tokio::test]
async fn while_commits_are_held_nothing_that_depends_on_them_is_seen_on_any_socket() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let hold = async |commits_before: u64| {
        until("the commit is asked for", async || network.store.commits() > commits_before).await;
        // The batch is stepped and its commit held: for 50 ms nothing may come out.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    let (commits, expires_at) = (network.store.commits(), network.connector.now().saturating_add_millis(10_000));
    network.store.hold();
    let request = alice.prepare(id_of(1), "test.ann.bob", 10, preimage(1).condition(), expires_at).await;
    hold(commits).await;
    assert_eq!(alice.ready().await, []);
    assert_eq!(bob.ready().await, []);
    network.store.let_go();
    assert_eq!(alice.next().await, Seen::Ack(request));
    let Seen::Prepare { request, id, .. } = bob.next().await else { panic!() };
    bob.ack(request).await;

    let commits = network.store.commits();
    network.store.hold();
    let fulfill = bob.fulfill(id, preimage(1)).await;
    hold(commits).await;
    assert_eq!(alice.ready().await, []);
    assert_eq!(bob.ready().await, []);
    network.store.let_go();
    assert_eq!(bob.next().await, Seen::Ack(fulfill));
    let Seen::Fulfill { id, fulfillment, .. } = alice.next().await else { panic!() };
    assert_eq!((id, fulfillment), (id_of(1), preimage(1)));
    assert_eq!((network.balance("alice").await, network.balance("bob").await), (-10, 10));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_stop_while_the_store_takes_nothing_says_that_not_all_is_durable() {
    let network = Network::start().await;
    network.store.hold();
    let (connector, bob) = (network.connector, ilp_core::AccountId::new(1, "bob").unwrap());
    let id = "wire".parse().unwrap();
    // Asked for, and given up: it waits for the store.
    let settled = tokio::time::timeout(Duration::from_millis(20), connector.settle(&bob, 5, &id)).await;
    assert!(settled.is_err());
    let report = connector.stop(Duration::from_millis(50)).await;
    assert_eq!((report.drained, report.worker.map(|worker| worker.in_flight)), (false, Some(0)));
}

#[tokio::test]
async fn a_refusal_waits_for_the_batches_before_it() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let _bob = network.login("bob").await;
    let (commits, expires_at) = (network.store.commits(), network.connector.now().saturating_add_millis(10_000));
    network.store.hold();
    let first = alice.prepare(id_of(1), "test.ann.bob", 1_000, preimage(1).condition(), expires_at).await;
    until("the commit is asked for", async || network.store.commits() > commits).await;
    // That there is nothing left says that the first one is held: it may not be said before that is durable.
    let second = alice.prepare(id_of(2), "test.ann.bob", 1, preimage(2).condition(), expires_at).await;
    until("the second is refused", async || network.connector.status().await.unwrap().worker.counters.refused == 1).await;
    assert_eq!(alice.ready().await, []);
    network.store.let_go();
    assert_eq!(alice.next().await, Seen::Ack(first));
    assert_eq!(alice.next().await, Seen::Error(second, "T04".into()));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_unknown_outcome_is_answered_with_the_same_bytes_and_nothing_happens_twice() {
    for fault in [Fault::UnknownApplied, Fault::UnknownLost] {
        let network = Network::start().await;
        let mut alice = network.login("alice").await;
        let mut bob = network.login("bob").await;
        let expires_at = network.connector.now().saturating_add_millis(10_000);
        network.store.keep_journal();
        for _ in 0..3 {
            network.store.inject(fault);
        }
        let request = alice.prepare(id_of(1), "test.ann.bob", 10, preimage(1).condition(), expires_at).await;
        assert_eq!(alice.next().await, Seen::Ack(request));
        let Seen::Prepare { request, id, .. } = bob.next().await else { panic!() };
        bob.ack(request).await;
        let journal = network.store.journal();
        assert_eq!(journal.len(), 4, "three unknown, one sure: {journal:?}");
        assert!(journal.iter().all(|commit| *commit == journal[0]), "the bytes changed");
        let fulfill = bob.fulfill(id, preimage(1)).await;
        assert_eq!(bob.next().await, Seen::Ack(fulfill));
        let Seen::Fulfill { request, .. } = alice.next().await else { panic!() };
        alice.ack(request).await;
        assert_eq!((network.balance("alice").await, network.balance("bob").await), (-10, 10));
        assert_eq!((alice.ready().await, bob.ready().await), (vec![], vec![]));
        let unknown = |notice: &Notice| matches!(notice, Notice::CommitUnknown { .. });
        assert_eq!(network.notices.lock().unwrap().iter().filter(|notice| unknown(notice)).count(), 3);
        let _ = network.connector.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn when_the_store_has_forgotten_the_worker_throws_its_state_away_and_says_so() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    alice.prepare(id_of(1), "test.ann.bob", 10, preimage(1).condition(), expires_at).await;
    let Seen::Prepare { .. } = bob.next().await else { panic!() };
    network.store.forget("slot-0", 1);
    alice.prepare(id_of(2), "test.ann.bob", 10, preimage(2).condition(), expires_at).await;
    // Its connections are closed: nobody hears of the second one.
    assert_eq!(alice.next().await, Seen::Ack(2));
    assert_eq!(alice.next_or_end().await, None);
    assert_eq!(bob.next_or_end().await, None);
    let restarted = |notice: &Notice| matches!(notice, Notice::Restarted { cause, .. } if cause.contains("forgotten"));
    assert!(network.notices.lock().unwrap().iter().any(restarted));
    // It goes on from what the store has.
    let mut alice = network.login("alice").await;
    assert_eq!(network.balance("alice").await, 0);
    let mut bob = network.login("bob").await;
    let request = alice.prepare(id_of(3), "test.ann.bob", 10, preimage(3).condition(), expires_at).await;
    assert_eq!(alice.next().await, Seen::Ack(request));
    let Seen::Prepare { .. } = bob.next().await else { panic!() };
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_fenced_worker_releases_nothing_and_what_was_durable_goes_on() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    let first = alice.prepare(id_of(1), "test.ann.bob", 10, preimage(1).condition(), expires_at).await;
    assert_eq!(alice.next().await, Seen::Ack(first));
    let Seen::Prepare { id, .. } = bob.next().await else { panic!() };
    network.store.inject(Fault::Fenced);
    alice.prepare(id_of(2), "test.ann.bob", 10, preimage(2).condition(), expires_at).await;
    assert_eq!(alice.next_or_end().await, None);
    assert_eq!(bob.next_or_end().await, None);
    let mut bob = network.login("bob").await;
    let Seen::Prepare { id: again, .. } = bob.next().await else { panic!() };
    assert_eq!(again, id, "what was held is sent again under its id");
    let fulfill = bob.fulfill(id, preimage(1)).await;
    assert_eq!(bob.next().await, Seen::Ack(fulfill));
    let mut alice = network.login("alice").await;
    let Seen::Fulfill { id, .. } = alice.next().await else { panic!() };
    assert_eq!(id, id_of(1));
    assert_eq!((network.balance("alice").await, network.balance("bob").await), (-10, 10));
    let _ = network.connector.stop(Duration::ZERO).await;
}
