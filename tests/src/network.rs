//! A connector with two accounts, on a free port.

use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, ConnectorBuilder, Notice};
use ilp_core::store::MemoryStore;
use ilp_core::{AccountConfig, AccountId, Asset, Tokens};
use ilp_oer::{Fulfillment, TransferId};
use ilp_plugins::clp::ClpListener;
use std::sync::{Arc, Mutex};

/// `test.ann` with accounts alice (credit 1,000) and bob, tokens `<name>-token`, listening on a plain WebSocket.
#[derive(Debug)]
pub struct Network {
    /// The connector.
    pub connector: Connector,
    /// Its books.
    pub store: MemoryStore,
    /// Who may log in; tests add to it.
    pub tokens: Arc<Tokens>,
    /// What peers dial.
    pub url: String,
    /// What its operator was told.
    pub notices: Arc<Mutex<Vec<Notice>>>,
}

impl Network {
    /// Starts it.
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// Starts it with a change.
    pub async fn with(change: impl FnOnce(ConnectorBuilder) -> ConnectorBuilder) -> Self {
        Self::at("test.ann", change).await
    }

    /// Starts it under another address.
    pub async fn at(address: &str, change: impl FnOnce(ConnectorBuilder) -> ConnectorBuilder) -> Self {
        let store = MemoryStore::new();
        let tokens = Arc::new(Tokens::new());
        let notices = Arc::<Mutex<Vec<Notice>>>::default();
        let heard = notices.clone();
        let mut builder = Connector::builder(address).store(store.clone()).on_notice(move |notice| heard.lock().unwrap().push(notice));
        for (name, credit_limit) in [("alice", 1_000), ("bob", 0)] {
            let id = AccountId::new(1, name).unwrap();
            tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, format!("{name}-token").as_bytes());
            builder = builder.account(AccountConfig { credit_limit, ..AccountConfig::new(id, Asset::new("XRP", 6)) });
        }
        let address = ilp_oer::Address::new(address).unwrap();
        let listener = ClpListener::bind(address, "ws://127.0.0.1:0", None).await.unwrap();
        let url = listener.url();
        let connector = change(builder.authenticator(tokens.clone()).endpoint(listener)).start().await.unwrap();
        Self { connector, store, tokens, url, notices }
    }

    /// A peer that has logged in.
    pub async fn login(&self, name: &str) -> RawPeerOf {
        RawPeerOf::login(&self.url, name, &format!("{name}-token")).await
    }

    /// An account's balance.
    pub async fn balance(&self, name: &str) -> i128 {
        let status = self.connector.status().await.unwrap();
        status.worker.accounts.iter().find(|account| account.id.name() == name).unwrap().balance
    }
}

type RawPeerOf = crate::RawPeer;

/// A fulfillment for a number.
pub fn preimage(n: u8) -> Fulfillment {
    Fulfillment::new([n; 32])
}

/// A transfer id for a number.
pub fn id_of(n: u8) -> TransferId {
    TransferId::new([n; 16])
}
