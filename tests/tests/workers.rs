//! Several workers of one connector, over sockets: accounts spread over them, connections handed over, transfers with one owner each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::Connector;
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, Lease, MemoryStore, Move, MoveOutcome,
    OpenedSlot, Renewal, SlotName, SlotPicture, StoreError,
};
use ilp_core::worker::WorkerStatus;
use ilp_core::{AccountConfig, AccountId, Asset, Tokens};
use ilp_oer::{Address, Fulfillment, TransferId};
use ilp_plugins::clp::ClpListener;
use ilp_tests::{RawPeer, Seen};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

struct Farm {
    connector: Connector,
    store: Counting,
    url: String,
}

/// Counts what it is asked for.
#[derive(Debug, Clone, Default)]
struct Counting {
    store: MemoryStore,
    calls: Arc<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    commits: AtomicU64,
    moves: AtomicU64,
    others: AtomicU64,
}

impl Counting {
    fn other(&self) -> &MemoryStore {
        self.calls.others.fetch_add(1, Relaxed);
        &self.store
    }
}

#[async_trait]
impl BalanceStore for Counting {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        self.other().open(slot, lease).await
    }

    /// By the clock, whatever is paid.
    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.store.renew(slot, epoch, lease).await
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        self.calls.commits.fetch_add(1, Relaxed);
        self.store.commit(batch).await
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.other().set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.calls.moves.fetch_add(1, Relaxed);
        self.store.make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.other().mail(slot, letter).await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.other().read(slot).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.other().directory().await
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }
}

const ADDRESS: &str = "test.ann";

impl Farm {
    /// Workers, and accounts of a name, a parallelism, a credit limit and an initial balance each.
    async fn start(workers: u16, accounts: &[(&str, u8, u64, i64)]) -> Self {
        let (store, tokens) = (Counting::default(), Arc::new(Tokens::new()));
        let mut builder = Connector::builder(ADDRESS).store(store.clone()).workers(workers);
        for (name, parallelism, credit_limit, initial_balance) in accounts {
            let id = AccountId::new(*parallelism, name).unwrap();
            tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, format!("{name}-token").as_bytes());
            let config = AccountConfig::new(id, Asset::new("XRP", 6));
            builder = builder.account(AccountConfig { credit_limit: *credit_limit, initial_balance: *initial_balance, ..config });
        }
        let listener = ClpListener::bind(Address::new(ADDRESS).unwrap(), "ws://127.0.0.1:0", None).await.unwrap();
        let url = listener.url();
        let connector = builder.authenticator(tokens).endpoint(listener).start().await.unwrap();
        Self { connector, store, url }
    }

    async fn login(&self, name: &str) -> RawPeer {
        let peer = RawPeer::login(&self.url, name, &format!("{name}-token")).await;
        // Colleagues are told of the connection; a payment that reaches one of them before finds nobody there (T01).
        let here = |status: &WorkerStatus| status.accounts.iter().any(|account| account.id.name() == name && account.connected);
        let began = Instant::now();
        while !self.connector.status().await.unwrap().workers.iter().all(|(_, status)| here(status)) {
            assert!(began.elapsed() < Duration::from_secs(20), "a worker isn't told that {name} is connected");
            tokio::task::yield_now().await;
        }
        peer
    }

    async fn status(&self) -> WorkerStatus {
        self.connector.status().await.unwrap().worker
    }

    async fn balance(&self, name: &str) -> i128 {
        self.status().await.accounts.iter().find(|account| account.id.name() == name).unwrap().balance
    }

    /// Nothing is wrong with the books, and rows and slots together are what the workers say.
    async fn audit(&self) {
        for audit in self.connector.audit().await.unwrap() {
            assert_eq!(audit.violations, [], "{}", audit.slot);
        }
        let directory = self.store.directory().await.unwrap();
        assert!(directory.balances.iter().all(|(.., hot)| *hot >= 0), "{directory:?}");
        // What an account has earned may be on its way back just now: then a moment later it has arrived.
        self.rest().await;
    }

    /// Nothing is in flight, parked or in transit.
    async fn rest(&self) {
        let began = Instant::now();
        loop {
            let status = self.connector.status().await.unwrap();
            let directory = self.store.directory().await.unwrap();
            let whole = status.worker.accounts.iter().all(|account| {
                let row = directory.accounts.iter().find(|(id, _)| *id == account.id);
                let hot: i128 = directory.balances.iter().filter(|(id, ..)| *id == account.id).map(|(.., hot)| hot).sum();
                row.is_some_and(|(_, row)| row.cold + hot == account.balance)
            });
            if status.worker.in_flight == 0 && whole {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it doesn't come to rest: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn id_of(n: u32) -> TransferId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    // Spread as a good id is.
    id[4..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    TransferId::new(id)
}

fn preimage(n: u32) -> Fulfillment {
    let mut preimage = [3; 32];
    preimage[..4].copy_from_slice(&n.to_be_bytes());
    Fulfillment::new(preimage)
}

/// `from` pays `to` through the connector: both know the end when this returns.
async fn pay(farm: &Farm, n: u32, from: &mut RawPeer, to: (&str, &mut RawPeer), amount: u64) {
    let expires_at = farm.connector.now().saturating_add_millis(20_000);
    let request = from.prepare(id_of(n), &format!("{ADDRESS}.{}", to.0), amount, preimage(n).condition(), expires_at).await;
    assert_eq!(from.next().await, Seen::Ack(request));
    let Seen::Prepare { request, id, amount: arrives, .. } = to.1.next().await else { panic!("no prepare") };
    assert_eq!(arrives, amount);
    to.1.ack(request).await;
    let fulfill = to.1.fulfill(id, preimage(n)).await;
    assert_eq!(to.1.next().await, Seen::Ack(fulfill));
    match from.next().await {
        Seen::Fulfill { request, id, fulfillment } => {
            assert_eq!((id, fulfillment), (id_of(n), preimage(n)));
            from.ack(request).await;
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_of_different_workers_pay_each_other() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let accounts: Vec<_> = names.iter().map(|name| (*name, 1, 1_000, 0)).collect();
    let farm = Farm::start(4, &accounts).await;
    let homes: BTreeSet<_> = farm.status().await.accounts.iter().map(|account| account.slots[0]).collect();
    assert!(homes.len() > 1, "all are at home in {homes:?}");
    let mut peers = Vec::new();
    for name in names {
        peers.push(farm.login(name).await);
    }
    let mut n = 0;
    for from in 0..names.len() {
        for (to, name) in names.iter().enumerate() {
            if from != to {
                n += 1;
                let [sender, receiver] = peers.get_disjoint_mut([from, to]).unwrap();
                pay(&farm, n, sender, (name, receiver), 1 + u64::try_from(from).unwrap()).await;
            }
        }
    }
    farm.rest().await;
    for (place, name) in (0..).zip(names) {
        // Each gave 5 times what it gives, and got what each of the others gives once.
        assert_eq!(farm.balance(name).await, 21 - (place + 1) - 5 * (place + 1));
    }
    farm.audit().await;
    let report = farm.connector.stop(Duration::from_secs(10)).await;
    assert!(report.drained, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_transfer_over_two_connections_is_one() {
    let farm = Farm::start(4, &[("alice", 2, 1_000_000, 0), ("bob", 1, 0, 0)]).await;
    let mut bob = farm.login("bob").await;
    let (mut one, mut other) = (farm.login("alice").await, farm.login("alice").await);
    let mut spent = 0;
    for n in 1..60 {
        let expires_at = farm.connector.now().saturating_add_millis(20_000);
        let condition = preimage(n).condition();
        let destination = format!("{ADDRESS}.bob");
        let first = one.prepare(id_of(n), &destination, 10, condition, expires_at).await;
        let second = other.prepare(id_of(n), &destination, 10, condition, expires_at).await;
        assert_eq!(one.next().await, Seen::Ack(first));
        assert_eq!(other.next().await, Seen::Ack(second));
        let Seen::Prepare { request, id, .. } = bob.next().await else { panic!("no prepare") };
        bob.ack(request).await;
        spent += 10;
        assert_eq!(farm.balance("alice").await, -spent);
        // Dialled anew, to whichever worker it comes: the same again.
        if n % 4 == 0 {
            // Connections are dealt in turn: it takes the place of the older one.
            let older = if n % 8 == 0 { &mut other } else { &mut one };
            *older = farm.login("alice").await;
            let third = older.prepare(id_of(n), &destination, 10, condition, expires_at).await;
            assert_eq!(older.next().await, Seen::Ack(third));
        }
        let fulfill = bob.fulfill(id, preimage(n)).await;
        assert_eq!(bob.next().await, Seen::Ack(fulfill));
        // On one connection or the other, and on no more than that unless it is asked for again.
        let answered = tokio::select! {
            seen = one.next() => { let Seen::Fulfill { request, fulfillment, .. } = seen else { panic!("{seen:?}") }; one.ack(request).await; fulfillment }
            seen = other.next() => { let Seen::Fulfill { request, fulfillment, .. } = seen else { panic!("{seen:?}") }; other.ack(request).await; fulfillment }
        };
        assert_eq!(answered, preimage(n));
        let again = other.prepare(id_of(n), &destination, 10, condition, expires_at).await;
        assert_eq!(other.next().await, Seen::Ack(again));
        let Seen::Fulfill { request, fulfillment, .. } = other.next().await else { panic!("asked again, it isn't told") };
        assert_eq!(fulfillment, preimage(n));
        other.ack(request).await;
        assert_eq!(farm.balance("alice").await, -spent);
    }
    assert_eq!(bob.ready().await, []);
    farm.rest().await;
    farm.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_earned_at_one_worker_is_spent_at_another() {
    // Accounts whose homes differ: what bob gets of alice is in alice's slot.
    let names: Vec<String> = (0..8).map(|n| format!("n{n}")).collect();
    let accounts: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 0, 0)).chain([("rich", 1, 1_000_000, 0)]).collect();
    let farm = Farm::start(4, &accounts).await;
    let status = farm.status().await;
    let home = |name: &str| status.accounts.iter().find(|account| account.id.name() == name).unwrap().slots[0];
    let poor = names.iter().find(|name| home(name) != home("rich")).expect("all are at home in one slot");
    let (mut rich, mut peer) = (farm.login("rich").await, farm.login(poor).await);
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        pay(&farm, 2 * n, &mut rich, (poor, &mut peer), 100).await;
        let began = Instant::now();
        // All of it, at once: it has to come back from the other slot. A refusal would be an Error.
        loop {
            let expires_at = farm.connector.now().saturating_add_millis(20_000);
            let id = id_of(1_000_000 + n * 1_000 + u32::try_from(began.elapsed().as_millis()).unwrap());
            let request = peer.prepare(id, &format!("{ADDRESS}.rich"), 100, preimage(n).condition(), expires_at).await;
            match peer.next().await {
                Seen::Ack(of) => {
                    assert_eq!(of, request);
                    break;
                }
                Seen::Error(_, code) => assert_eq!(code, "T04"),
                other => panic!("{other:?}"),
            }
        }
        slowest = slowest.max(began.elapsed());
        let Seen::Prepare { request, id, .. } = rich.next().await else { panic!("no prepare") };
        rich.ack(request).await;
        rich.fulfill(id, preimage(n)).await;
        assert!(matches!(rich.next().await, Seen::Ack(_)));
        let Seen::Fulfill { request, .. } = peer.next().await else { panic!("no fulfill") };
        peer.ack(request).await;
    }
    eprintln!("spent elsewhere after {slowest:?} at most");
    farm.rest().await;
    farm.audit().await;
}

/// Accounts of parallelism 8 with little: exactly what is there is taken in parts, wherever it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_balances_of_high_parallelism_are_admitted_exactly() {
    // 8 × 50 = 400: with 400 a payment of 50 fits, with 399 it doesn't.
    let farm = Farm::start(4, &[("alice", 8, 0, 400), ("bob", 1, 0, 0)]).await;
    let mut bob = farm.login("bob").await;
    let mut alice = vec![farm.login("alice").await, farm.login("alice").await, farm.login("alice").await, farm.login("alice").await];
    let destination = format!("{ADDRESS}.bob");
    let (mut left, mut refused) = (400_i128, 0);
    for n in 0..120_u32 {
        let amount = [50, 7, 31, 12, 3, 1][usize::try_from(n % 6).unwrap()];
        let from = &mut alice[usize::try_from(n % 4).unwrap()];
        let expires_at = farm.connector.now().saturating_add_millis(20_000);
        let request = from.prepare(id_of(n), &destination, amount, preimage(n).condition(), expires_at).await;
        let fits = left >= 8 * i128::from(amount);
        match from.next().await {
            Seen::Ack(of) => {
                assert!(fits && of == request, "{amount} of {left} was taken");
                left -= i128::from(amount);
                let Seen::Prepare { request, id, .. } = bob.next().await else { panic!("no prepare") };
                bob.ack(request).await;
                let fulfill = bob.fulfill(id, preimage(n)).await;
                assert_eq!(bob.next().await, Seen::Ack(fulfill));
                // On whichever connection its owner has it nearest.
                loop {
                    let mut told = None;
                    for peer in &mut alice {
                        for seen in peer.ready().await {
                            if let Seen::Fulfill { request, .. } = seen {
                                peer.ack(request).await;
                                told = Some(request);
                            }
                        }
                    }
                    if told.is_some() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            Seen::Error(of, code) => {
                assert!(!fits && of == request && code == "T04", "{amount} of {left} was refused: {code}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 20, "{left} left, {refused} refused");
    farm.rest().await;
    assert_eq!(farm.balance("alice").await, left);
    farm.audit().await;
}

/// Everybody pays everybody, many payments at a time. Gives the calls that it took: commits, moves and others.
async fn mixed_load(farm: &Farm, names: &[&'static str], each: u32) -> (u64, u64, u64) {
    const AT_ONCE: u32 = 32;
    let mut peers = Vec::new();
    for name in names {
        peers.push(farm.login(name).await);
    }
    let calls = &farm.store.calls;
    let before = (calls.commits.load(Relaxed), calls.moves.load(Relaxed), calls.others.load(Relaxed));
    let all = each * u32::try_from(names.len()).unwrap();
    let (ended, over) = (Arc::new(AtomicU32::new(0)), tokio::sync::watch::Sender::new(false));
    let mut tasks = Vec::new();
    for (me, mut peer) in (0_u32..).zip(peers) {
        let others: Vec<String> =
            names.iter().filter(|name| names[usize::try_from(me).unwrap()] != **name).map(|name| format!("{ADDRESS}.{name}")).collect();
        let (ended, over, now) = (ended.clone(), over.clone(), farm.connector.now());
        let mut is_over = over.subscribe();
        tasks.push(tokio::spawn(async move {
            let (mut begun, mut done) = (0, 0);
            loop {
                while begun < each && begun - done < AT_ONCE {
                    let n = me * each + begun;
                    let (to, amount) =
                        (&others[usize::try_from(begun).unwrap() % others.len()], 1 + u64::from(n.wrapping_mul(2_654_435_769) >> 27));
                    peer.prepare(id_of(n), to, amount, preimage(0).condition(), now.saturating_add_millis(120_000)).await;
                    begun += 1;
                }
                let seen = tokio::select! {
                    seen = peer.next() => seen,
                    _ = is_over.wait_for(|over| *over) => return,
                };
                match seen {
                    Seen::Ack(_) => {}
                    Seen::Prepare { request, id, .. } => {
                        peer.ack(request).await;
                        peer.fulfill(id, preimage(0)).await;
                    }
                    Seen::Fulfill { request, .. } => {
                        peer.ack(request).await;
                        done += 1;
                        if ended.fetch_add(1, Relaxed) + 1 == all {
                            over.send_replace(true);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    (calls.commits.load(Relaxed) - before.0, calls.moves.load(Relaxed) - before.1, calls.others.load(Relaxed) - before.2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_worker_the_store_is_asked_for_nothing_but_commits() {
    let farm = Farm::start(1, &[("a", 1, 0, 100_000), ("b", 1, 0, 100_000), ("c", 1, 0, 100_000)]).await;
    let (commits, moves, others) = mixed_load(&farm, &["a", "b", "c"], 1_000).await;
    eprintln!("3000 payments: {commits} commits, {moves} moves, {others} other calls");
    assert_eq!((moves, others), (0, 0));
    farm.rest().await;
    farm.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_load_at_parallelism_4_moves_less_than_once_in_a_hundred_payments() {
    let names = ["a", "b", "c", "d"];
    let farm = Farm::start(4, &names.map(|name| (name, 4, 0, 100_000))).await;
    let (commits, moves, others) = mixed_load(&farm, &names, 2_500).await;
    eprintln!("10000 payments: {commits} commits, {moves} moves, {others} other calls");
    assert!(moves < 100 && others == 0, "{moves} moves, {others} others");
    farm.rest().await;
    farm.audit().await;
}
