//! A worker that stands still past its lease, between what is durable and what is released: somebody else has its slot by then.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice};
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, Lease, MemoryStore, Move, MoveOutcome,
    OpenedSlot, Renewal, SlotName, SlotPicture, StoreError,
};
use ilp_core::{AccountConfig, AccountId, Asset, Tokens};
use ilp_oer::Address;
use ilp_plugins::clp::ClpListener;
use ilp_tests::{RawPeer, Seen, id_of, preimage};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_millis(700);

/// A store of which one commit is answered to a thread that stands still.
#[derive(Debug, Clone, Default)]
struct Stopping {
    store: MemoryStore,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Runs,
    /// The next commit's answer is to stop it.
    Armed,
    Stands,
    Resumed,
}

impl Stopping {
    fn set(&self, state: State) {
        *self.state.0.lock().unwrap() = state;
        self.state.1.notify_all();
    }

    fn is(&self, state: State) -> bool {
        *self.state.0.lock().unwrap() == state
    }
}

#[async_trait]
impl BalanceStore for Stopping {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        self.store.open(slot, lease).await
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.store.renew(slot, epoch, lease).await
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let outcome = self.store.commit(batch).await;
        let mut state = self.state.0.lock().unwrap();
        if *state == State::Armed {
            *state = State::Stands;
            // As a process that is stopped by its system: the whole thread.
            drop(self.state.1.wait_while(state, |state| *state == State::Stands).unwrap());
        }
        outcome
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.store.set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.store.make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.store.mail(slot, letter).await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.store.read(slot).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.store.directory().await
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }
}

struct Process {
    connector: Connector,
    url: String,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Process {
    async fn start(holder: &'static str, store: impl BalanceStore) -> Self {
        let (tokens, notices) = (Arc::new(Tokens::new()), Arc::<Mutex<Vec<Notice>>>::default());
        let heard = notices.clone();
        let mut builder = Connector::builder("test.ann").store(store).holder(holder).lease(LEASE).standby(true);
        builder = builder.on_notice(move |notice| heard.lock().unwrap().push(notice));
        for (name, credit_limit) in [("alice", 1_000), ("bob", 0)] {
            let id = AccountId::new(1, name).unwrap();
            tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, format!("{name}-token").as_bytes());
            builder = builder.account(AccountConfig { credit_limit, ..AccountConfig::new(id, Asset::new("XRP", 6)) });
        }
        let listener = ClpListener::bind(Address::new("test.ann").unwrap(), "ws://127.0.0.1:0", None).await.unwrap();
        let url = listener.url();
        let connector = builder.authenticator(tokens).endpoint(listener).start().await.unwrap();
        Self { connector, url, notices }
    }

    async fn hears(&self, what: impl Fn(&Notice) -> bool) {
        let began = Instant::now();
        while !self.notices.lock().unwrap().iter().any(&what) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.notices.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn login(&self, name: &str) -> RawPeer {
        RawPeer::login(&self.url, name, &format!("{name}-token")).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_stood_still_past_its_lease_releases_nothing_and_its_successor_ends_the_payment() {
    let store = Stopping::default();
    let _resumes = Resumes(store.clone());
    // A process of its own, as far as its threads go.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let first = runtime.spawn(Process::start("first", store.clone())).await.unwrap();
    let second = Process::start("second", store.store.clone()).await;
    second.hears(|notice| matches!(notice, Notice::Standby { .. })).await;
    let (mut alice, mut bob) = (first.login("alice").await, first.login("bob").await);
    store.set(State::Armed);
    let expires_at = first.connector.now().saturating_add_millis(20_000);
    alice.prepare(id_of(1), "test.ann.bob", 10, preimage(1).condition(), expires_at).await;
    let began = Instant::now();
    while !store.is(State::Stands) {
        assert!(began.elapsed() < Duration::from_secs(10), "no commit came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The payment is durable, and nobody was told.
    second.hears(|notice| matches!(notice, Notice::Opened { in_flight: 1, .. })).await;
    store.set(State::Resumed);
    first.hears(|notice| matches!(notice, Notice::Restarted { cause, .. } if cause.contains("lease has ended"))).await;
    first.hears(|notice| matches!(notice, Notice::Standby { .. })).await;
    // It has said nothing on the connections that it had.
    assert_eq!((alice.next_or_end().await, bob.next_or_end().await), (None, None));

    let (mut alice, mut bob) = (second.login("alice").await, second.login("bob").await);
    let Seen::Prepare { request, id, amount: 10, .. } = bob.next().await else { panic!("bob isn't asked") };
    bob.ack(request).await;
    let fulfill = bob.fulfill(id, preimage(1)).await;
    assert_eq!(bob.next().await, Seen::Ack(fulfill));
    let Seen::Fulfill { request, id, fulfillment } = alice.next().await else { panic!("alice isn't told") };
    assert_eq!((id, fulfillment), (id_of(1), preimage(1)));
    alice.ack(request).await;
    for audit in second.connector.audit().await.unwrap() {
        assert_eq!(audit.violations, []);
    }
    let status = second.connector.status().await.unwrap().worker;
    let balances: Vec<_> = status.accounts.iter().map(|account| account.balance).collect();
    assert_eq!(balances, [-10, 10]);
    // Whoever stood still can have the slot again when its successor is gone.
    let _ = second.connector.stop(Duration::from_secs(5)).await;
    first.hears(|notice| matches!(notice, Notice::Opened { epoch: 3, .. })).await;
    runtime.shutdown_background();
}

/// Whatever happens, nobody stands still for ever.
struct Resumes(Stopping);

impl Drop for Resumes {
    fn drop(&mut self) {
        self.0.set(State::Resumed);
    }
}
