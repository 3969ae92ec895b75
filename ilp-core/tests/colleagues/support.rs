//! Connectors, each of which could be a process of its own.

use ilp_core::colleagues::slots_for;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, ConnectorBuilder, Notice, SocketColleagues, SocketOptions};
use ilp_core::store::{MemoryStore, SlotNo};
use ilp_core::{AccountConfig, AccountId, Asset, Tokens};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// For whatever must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const LEASE: Duration = Duration::from_secs(2);

pub(crate) struct Process {
    pub(crate) connector: Connector,
    pub(crate) colleagues: Arc<SocketColleagues>,
    pub(crate) notices: Arc<Mutex<Vec<Notice>>>,
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, test).await.expect("the test hangs") });
}

pub(crate) fn xrp() -> Asset {
    Asset::new("XRP", 6)
}

/// An account that is served by these slots, home first, of all that there are. Names are tried until one is.
pub(crate) fn account(begin: &str, served_by: &[SlotNo], all: &[SlotNo], credit_limit: u64) -> AccountConfig {
    let parallelism = u8::try_from(served_by.len()).unwrap();
    let ids = (0..).map(|n| AccountId::new(parallelism, &format!("{begin}{n}")).unwrap());
    let id = ids.into_iter().find(|id| slots_for(id, all) == served_by).unwrap();
    AccountConfig { credit_limit, ..AccountConfig::new(id, xrp()) }
}

pub(crate) fn builder(store: &MemoryStore, accounts: &[AccountConfig]) -> ConnectorBuilder {
    let tokens = Tokens::new();
    let mut builder = Connector::builder("test.ann").store(store.clone()).lease(LEASE);
    for account in accounts {
        tokens.insert(account.id.name().as_bytes(), account.id.clone(), PeerProtocol::Clp, b"token");
        builder = builder.account(account.clone());
    }
    builder.authenticator(Arc::new(tokens))
}

/// Quick to notice.
pub(crate) fn options() -> SocketOptions {
    SocketOptions {
        look: Duration::from_millis(100),
        handshake: Duration::from_millis(1_000),
        ping: Duration::from_millis(50),
        silence: Duration::from_millis(1_500),
        redial: Duration::from_millis(20),
        redial_max: Duration::from_millis(200),
        ..SocketOptions::default()
    }
}

pub(crate) async fn bind(store: &MemoryStore, holder: &str, secret: u8) -> SocketColleagues {
    let colleagues = SocketColleagues::bind("127.0.0.1:0", [secret; 32].into(), Arc::new(store.clone()), holder).await.unwrap();
    colleagues.options(options()).seed([1; 32])
}

impl Process {
    /// A process with these slots.
    pub(crate) async fn start(store: &MemoryStore, holder: &str, slots: &[SlotNo], all: &[SlotNo], accounts: &[AccountConfig]) -> Self {
        let colleagues = bind(store, holder, 7).await;
        let at = colleagues.local_addr().unwrap().to_string();
        Self::with(store, holder, slots, all, accounts, colleagues, &at).await
    }

    /// One that the others reach at an address.
    pub(crate) async fn with(
        store: &MemoryStore,
        holder: &str,
        slots: &[SlotNo],
        all: &[SlotNo],
        accounts: &[AccountConfig],
        colleagues: SocketColleagues,
        at: &str,
    ) -> Self {
        let (colleagues, notices) = (Arc::new(colleagues), Arc::<Mutex<Vec<Notice>>>::default());
        let told = notices.clone();
        let builder = builder(store, accounts).holder(holder).slots(slots.to_vec()).deployment(all.to_vec());
        let builder = builder.colleagues(colleagues.clone(), at).on_notice(move |notice| told.lock().unwrap().push(notice));
        Self { connector: builder.start().await.unwrap(), colleagues, notices }
    }

    /// Slots that can be reached from here.
    pub(crate) fn reaches(&self) -> Vec<SlotNo> {
        use ilp_core::runtime::Colleagues;
        self.colleagues.open().into_iter().map(|(slot, _)| slot).collect()
    }

    pub(crate) async fn reaching(&self, slots: &[SlotNo]) {
        until(|| self.reaches() == slots).await;
    }

    pub(crate) async fn stop(self) {
        let report = self.connector.stop(PATIENCE).await;
        assert!(report.drained, "{report:?}");
    }
}

/// Waits for a condition.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "it never happened");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What both sides of every account say of its books: the connector's workers together, and the store.
pub(crate) async fn balances(connectors: &[&Connector], account: &AccountId) -> i128 {
    let mut balance = 0;
    for connector in connectors {
        let status = connector.status().await.unwrap();
        balance += status.worker.accounts.iter().find(|other| other.id == *account).map_or(0, |account| account.balance);
    }
    balance
}

/// Nothing has come from nowhere, and every slot's log says what its worker says.
pub(crate) async fn books_are_right(connectors: &[&Connector]) {
    let mut sum = 0;
    for connector in connectors {
        sum += connector.status().await.unwrap().worker.conservation(&xrp());
        for audit in connector.audit().await.unwrap() {
            assert!(audit.is_right(), "{:?}", audit.violations);
        }
    }
    assert_eq!(sum, 0);
}
