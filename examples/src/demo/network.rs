//! The demo's three connectors, and the TLS connections between them.

use super::asset;
use super::invoices::{Till, TillReceiver};
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice, StartError, Status, Stopped};
use ilp_core::{AccountConfig, AccountId, InvalidAccountId, Tokens};
use ilp_oer::{Address, Amount, InvalidAddress};
use ilp_plugins::clp::{BindError, ClpDialler, ClpListener, TlsClientConfig, TlsError, TlsServerConfig, Url, UrlError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How far alice may go below zero, and how much bob trusts the connector with, in base units.
pub(super) const CREDIT: u64 = i64::MAX.unsigned_abs();
const CONNECT_MAX: Duration = Duration::from_secs(10);
const SETTLE_MAX: Duration = Duration::from_secs(20);

/// Three connectors.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) connector: Connector,
    pub(super) alice: Connector,
    pub(super) bob: Connector,
    pub(super) till: Arc<Till>,
    /// Where the connector listens.
    pub(super) url: String,
}

/// What all three say of themselves.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) connector: Status,
    pub(super) alice: Status,
    pub(super) bob: Status,
}

/// The demo can't be started, or broke down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Signals can't be listened to.
    #[error("signals can't be listened to: {0}")]
    Signals(std::io::Error),
    /// There are no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Randomness(getrandom::Error),
    /// No certificate can be made.
    #[error("no certificate can be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate isn't taken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no place to listen.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The place to listen can't be dialled.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A connector didn't start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An account's name.
    #[error(transparent)]
    Account(#[from] InvalidAccountId),
    /// An address.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// A connector stopped in the middle.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A peer didn't connect.
    #[error("{peer} did not connect within {} s; last heard: {heard}", CONNECT_MAX.as_secs())]
    NotConnected {
        /// Which.
        peer: &'static str,
        /// Its last notice.
        heard: String,
    },
}

impl Network {
    /// Starts all three; returns when both peers are connected and authenticated.
    pub(super) async fn start(price: Amount) -> Result<Self, DemoError> {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (pem, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
        let tls = TlsServerConfig::from_pem(pem.as_bytes(), key.as_bytes())?;
        let trust = TlsClientConfig::trusting_certificate_pem(pem.as_bytes())?;

        let tokens = Tokens::new();
        let peers = [Peer::new("alice", CREDIT)?, Peer::new("bob", 0)?];
        let mut builder = Connector::builder("test.demo");
        for peer in &peers {
            tokens.insert(peer.name.as_bytes(), peer.id.clone(), PeerProtocol::Clp, peer.token.as_bytes());
            let mut account = AccountConfig::new(peer.id.clone(), asset());
            account.credit_limit = peer.credit;
            account.max_packet = CREDIT;
            builder = builder.account(account);
        }
        let listener = ClpListener::bind(Address::new("test.demo")?, "wss://127.0.0.1:0", Some(tls)).await?;
        let url = listener.url();
        let connector = builder.authenticator(Arc::new(tokens)).endpoint(listener).start().await?;

        let till = Arc::new(Till::new(random()?, price));
        let [alice, bob] = peers;
        let alice = alice.start(&url, &trust, None).await?;
        let bob = bob.start(&url, &trust, Some(TillReceiver(till.clone()))).await?;
        Ok(Self { connector, alice, bob, till, url })
    }

    /// What everybody's books say.
    pub(super) async fn books(&self) -> Result<Books, DemoError> {
        Ok(Books { connector: self.connector.status().await?, alice: self.alice.status().await?, bob: self.bob.status().await? })
    }

    /// Waits until nothing is open any more: a payment ends for alice before the last answers about it have gone round.
    pub(super) async fn settle(&self) -> Result<(), DemoError> {
        let settled = async {
            loop {
                let books = self.books().await?;
                if [books.connector, books.alice, books.bob].iter().all(|status| status.worker.in_flight == 0) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // If it takes too long, the report says what is open.
        tokio::time::timeout(SETTLE_MAX, settled).await.unwrap_or(Ok(()))
    }

    /// Stops all three.
    pub(super) async fn stop(self) {
        for connector in [self.alice, self.bob, self.connector] {
            let _ = connector.stop(Duration::from_secs(1)).await;
        }
    }
}

/// A peer before it is started.
struct Peer {
    name: &'static str,
    id: AccountId,
    token: String,
    /// What the connector gives it.
    credit: u64,
}

impl Peer {
    fn new(name: &'static str, credit: u64) -> Result<Self, DemoError> {
        Ok(Self { name, id: AccountId::new(1, name)?, token: hex::encode(random()?), credit })
    }

    /// Starts it with one account, the connector's, which all addresses lead to; returns when it is connected.
    async fn start(self, url: &str, trust: &TlsClientConfig, receiver: Option<TillReceiver>) -> Result<Connector, DemoError> {
        let demo = AccountId::new(1, "demo")?;
        let mut account = AccountConfig::new(demo.clone(), asset());
        account.credit_limit = CREDIT;
        account.max_packet = CREDIT;
        account.routes.push(Address::new("test")?);
        let (notices, mut heard) = mpsc::unbounded_channel();
        let address = Address::new(format!("test.demo.{}", self.name))?;
        let (url, token) = (url.parse::<Url>()?, self.token.as_bytes());
        let mut builder = Connector::builder(address.as_str())
            .account(account)
            .endpoint(ClpDialler::new(address, demo, PeerProtocol::Clp, url, self.name, token, trust.clone()))
            .on_notice(move |notice| drop(notices.send(notice)));
        if let Some(receiver) = receiver {
            builder = builder.receiver(receiver);
        }
        let connector = builder.start().await?;
        let mut last = "nothing".to_owned();
        let connected = async {
            while let Some(notice) = heard.recv().await {
                if matches!(notice, Notice::Connected { .. }) {
                    return true;
                }
                last = notice.to_string();
            }
            false
        };
        if tokio::time::timeout(CONNECT_MAX, connected).await.unwrap_or(false) {
            Ok(connector)
        } else {
            Err(DemoError::NotConnected { peer: self.name, heard: last })
        }
    }
}

fn random() -> Result<[u8; 32], DemoError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(DemoError::Randomness)?;
    Ok(bytes)
}
