//! Slots that are dealt, waited for and adopted, at real connectors on one store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, ConnectorBuilder, Notice};
use ilp_core::store::{BalanceStore, MemoryStore};
use ilp_core::{AccountConfig, AccountError, AccountId, Asset, SettleError, Tokens};
use ilp_oer::Address;
use ilp_plugins::clp::ClpListener;
use ilp_tests::RawPeer;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_millis(2_500);

type Notices = Arc<Mutex<Vec<Notice>>>;

fn builder(store: &MemoryStore, holder: &str) -> (ConnectorBuilder, Notices) {
    let notices = Notices::default();
    let heard = notices.clone();
    let builder = Connector::builder("test.ann").store(store.clone()).holder(holder).lease(LEASE);
    (builder.on_notice(move |notice| heard.lock().unwrap().push(notice)), notices)
}

async fn hears(notices: &Notices, what: impl Fn(&Notice) -> bool) {
    let began = Instant::now();
    while !notices.lock().unwrap().iter().any(&what) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", notices.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

trait SlotsOpen {
    /// The slots whose workers answer.
    async fn slots_open(&self) -> Vec<u16>;
}

impl SlotsOpen for Connector {
    async fn slots_open(&self) -> Vec<u16> {
        self.status().await.unwrap().workers.iter().map(|(slot, _)| *slot).collect()
    }
}

fn alice(parallelism: u8) -> AccountConfig {
    AccountConfig::new(AccountId::new(parallelism, "alice").unwrap(), Asset::new("XRP", 6))
}

/// Two slots have books, and the connector that made them is gone without a word.
async fn leave_behind(store: &MemoryStore) {
    let (builder, _) = builder(store, "gone");
    let connector = builder.workers(2).start().await.unwrap();
    let began = Instant::now();
    while store.directory().await.unwrap().slots.iter().filter(|slot| slot.last_seq > 0).count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(10), "only one slot has books");
        let id = AccountId::new(1, &format!("a{}", began.elapsed().as_nanos())).unwrap();
        connector.add_account(AccountConfig { initial_balance: 1, ..AccountConfig::new(id, Asset::new("XRP", 6)) }).await.unwrap();
    }
    drop(connector);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_nobodys_is_adopted_when_its_lease_has_ended() {
    let store = MemoryStore::new();
    leave_behind(&store).await;
    let others: Vec<_> =
        store.directory().await.unwrap().slots.iter().filter(|slot| slot.last_seq > 0).map(|slot| slot.name.to_string()).collect();
    // Another holder, and the leases run: it starts with its own slot, and has the others later.
    let (builder, notices) = builder(&store, "successor");
    let connector = builder.slots(vec![7]).start().await.unwrap();
    assert_eq!(connector.status().await.unwrap().workers.len(), 1);
    for slot in &others {
        hears(&notices, |notice| matches!(notice, Notice::Adopted { slot: adopted } if adopted == slot)).await;
    }
    let began = Instant::now();
    while connector.status().await.unwrap().workers.len() < 1 + others.len() {
        assert!(began.elapsed() < Duration::from_secs(10), "an adopted slot has no worker");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for audit in connector.audit().await.unwrap() {
        assert_eq!(audit.violations, [], "{}", audit.slot);
    }
    assert!(connector.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_lease_is_renewed_is_left_to_whoever_has_it() {
    let store = MemoryStore::new();
    let (first, _) = builder(&store, "first");
    let first = first.slots(vec![3]).account(AccountConfig { initial_balance: 5, ..alice(1) }).start().await.unwrap();
    let (second, notices) = builder(&store, "second");
    let second = second.slots(vec![7]).start().await.unwrap();
    tokio::time::sleep(LEASE * 2).await;
    assert!(!notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::Adopted { .. })));
    assert_eq!(second.status().await.unwrap().workers.len(), 1);
    // Who asks for an account of it is told where it is.
    let asked = second.settle(&alice(1).id, 5, &"one".parse().unwrap()).await;
    assert!(matches!(&asked, Err(SettleError::Elsewhere { slot, .. }) if slot == "slot-3"), "{asked:?}");
    assert!(second.stop(Duration::from_secs(5)).await.drained);
    assert!(first.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_process_that_died_are_taken_over_and_those_of_one_that_is_started_again_are_not() {
    let store = MemoryStore::new();
    let process = |holder: &str, own: u16| {
        let (builder, notices) = builder(&store, holder);
        // Longer than a start takes, on a busy machine too.
        (builder.slots(vec![own]).deployment(vec![0, 1]).standby(true).inherits_after(LEASE * 4), notices)
    };
    let (first, first_hears) = process("first", 0);
    let (second, second_hears) = process("second", 1);
    let first = first.account(alice(1)).start().await.unwrap();
    let second = second.account(alice(1)).start().await.unwrap();
    assert!(second.stop(Duration::from_secs(5)).await.drained);
    let (again, again_hears) = process("second, again", 1);
    let again = again.account(alice(1)).start().await.unwrap();
    assert_eq!(again.slots_open().await, [1], "{:?} {:?}", again_hears.lock().unwrap(), second_hears.lock().unwrap());
    assert!(!first_hears.lock().unwrap().iter().any(|notice| matches!(notice, Notice::TakenOver { .. })));
    let began = Instant::now();
    drop(again);
    hears(&first_hears, |notice| matches!(notice, Notice::TakenOver { slot } if slot == "slot-1")).await;
    assert!(began.elapsed() < LEASE * 4, "its lease had ended: nothing else was to be waited for");
    assert_eq!(first.slots_open().await, [0, 1]);
    assert!(first.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_was_given_up_is_waited_for_however_long_it_was_held_before() {
    let store = MemoryStore::new();
    let process = |holder: &str, own: u16| {
        let (builder, notices) = builder(&store, holder);
        (builder.slots(vec![own]).deployment(vec![0, 1]).inherits_after(Duration::from_secs(3_600)), notices)
    };
    let (first, first_hears) = process("first", 0);
    let (second, _) = process("second", 1);
    let first = first.account(alice(1)).start().await.unwrap();
    let second = second.account(alice(1)).start().await.unwrap();
    // So that the first one has seen the lease of the second.
    tokio::time::sleep(LEASE).await;
    assert!(second.stop(Duration::from_secs(5)).await.drained);
    tokio::time::sleep(LEASE * 2).await;
    assert!(!first_hears.lock().unwrap().iter().any(|notice| matches!(notice, Notice::TakenOver { .. })));
    assert!(first.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_with_another_parallelism_is_refused_and_leaves_no_trace() {
    let store = MemoryStore::new();
    let (first, _) = builder(&store, "first");
    let first = first.workers(4).account(AccountConfig { initial_balance: 5, ..alice(1) }).start().await.unwrap();
    assert!(matches!(first.add_account(alice(3)).await, Err(AccountError::OtherParallelism { .. })));
    assert!(first.stop(Duration::from_secs(5)).await.drained);
    let before = store.directory().await.unwrap().accounts;
    for holder in ["second", "third"] {
        let (wrong, _) = builder(&store, holder);
        assert!(wrong.workers(4).account(alice(2)).start().await.is_err());
    }
    assert_eq!(store.directory().await.unwrap().accounts, before);
    let (again, _) = builder(&store, "again");
    let again = again.workers(4).account(alice(1)).start().await.unwrap();
    assert_eq!(again.status().await.unwrap().worker.accounts[0].balance, 5);
    assert!(again.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_nobody_ever_had_is_taken_over_after_a_while() {
    let (builder, notices) = builder(&MemoryStore::new(), "only");
    let began = Instant::now();
    let connector = builder.slots(vec![0]).deployment(vec![0, 1]).inherits_after(LEASE).account(alice(2)).start().await.unwrap();
    hears(&notices, |notice| matches!(notice, Notice::TakenOver { slot } if slot == "slot-1")).await;
    assert!(began.elapsed() >= LEASE);
    assert_eq!(connector.slots_open().await, [0, 1]);
    assert!(connector.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_slot_says_so_once_and_stops_in_good_order() {
    let store = MemoryStore::new();
    let (first, _) = builder(&store, "first");
    let first = first.account(alice(1)).start().await.unwrap();
    let (second, notices) = builder(&store, "second");
    let second = second.standby(true).start().await.unwrap();
    tokio::time::sleep(LEASE).await;
    let said = notices.lock().unwrap().iter().filter(|notice| matches!(notice, Notice::Standby { .. })).count();
    assert_eq!(said, 1);
    let removed = second.remove_account(&alice(1).id, false).await;
    assert!(matches!(&removed, Err(AccountError::Elsewhere { slot, .. }) if slot == "slot-0"), "{removed:?}");
    assert!(second.stop(Duration::from_secs(5)).await.drained);
    assert!(first.stop(Duration::from_secs(5)).await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_takes_the_place_of_the_one_that_is_gone_and_not_of_another() {
    let store = MemoryStore::new();
    let (builder, _) = builder(&store, "only");
    let tokens = Arc::new(Tokens::new());
    tokens.insert(b"alice", alice(2).id, PeerProtocol::Clp, b"secret");
    let listener = ClpListener::bind(Address::new("test.ann").unwrap(), "ws://127.0.0.1:0", None).await.unwrap();
    let url = listener.url();
    let connector = builder.workers(2).account(alice(2)).authenticator(tokens).endpoint(listener).start().await.unwrap();
    let connected = async |count: usize| {
        let began = Instant::now();
        while connector.status().await.unwrap().connections.iter().filter(|connection| connection.account.is_some()).count() != count {
            assert!(began.elapsed() < Duration::from_secs(10), "there aren't {count} connections");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut stays = RawPeer::login(&url, "alice", "secret").await;
    for _ in 0..7 {
        let other = RawPeer::login(&url, "alice", "secret").await;
        connected(2).await;
        drop(other);
        connected(1).await;
    }
    // It was never closed.
    assert_eq!(stays.ready().await, []);
    assert!(connector.stop(Duration::from_secs(5)).await.drained);
}
