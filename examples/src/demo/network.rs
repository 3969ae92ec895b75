//! The demo's three connectors, and the TLS connections between them.

use super::asset;
use super::books::DemoBooks;
use super::invoices::{Till, TillReceiver};
use crate::connector::store::OpenedStore;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice, StartError, Status, Stopped};
use ilp_core::store::BooksError;
use ilp_core::{AccountConfig, AccountId, InvalidAccountId, Tokens};
use ilp_oer::{Address, Amount, InvalidAddress};
use ilp_plugins::clp::{BindError, ClpDialler, ClpListener, TlsClientConfig, TlsError, TlsServerConfig, Url, UrlError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How far alice may go below zero, and how much bob trusts the connector with, in base units.
pub(super) const CREDIT: u64 = i64::MAX.unsigned_abs();
const CONNECT_MAX: Duration = Duration::from_secs(10);
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// What was in flight when a demo was killed ends with its expiry and what is added to it, all in all well below this.
const RESOLVE_MAX: Duration = Duration::from_secs(60);

/// Three connectors.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) connector: Connector,
    pub(super) alice: Connector,
    pub(super) bob: Connector,
    pub(super) till: Arc<Till>,
    /// Where the connector listens.
    pub(super) url: String,
    /// Payments that were in flight, by alice's books, when the last demo ended.
    pub(super) resumed: usize,
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
    Signals(io::Error),
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
    /// The books can't be opened.
    #[error("{}: the demo's books are there unless --store names another directory, or memory", crate::connector::store::in_full(.0))]
    Books(#[from] BooksError),
    /// The books can't be audited.
    #[error(transparent)]
    Audit(#[from] ilp_core::audit::AuditError),
    /// Another demo has them.
    #[error("another demo has its books in {} open: wait for its end, or choose another directory with --store", directory.display())]
    InUse {
        /// Where.
        directory: PathBuf,
    },
    /// The secret of bob's till can't be read or kept.
    #[error("the secret of bob's till, {}, can't be used: {source}", path.display())]
    Secret {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing says where the books are to be.
    #[error("neither XDG_STATE_HOME nor HOME says where the books can be: write --store DIR, or --store memory")]
    NoPlace,
    /// Alice owes too much by now.
    #[error(
        "after the earlier demos alice has credit for {left} base units only: take a smaller --amount, or another directory with --store"
    )]
    Credit {
        /// What she can still pay.
        left: i128,
    },
    /// Payments of the last demo don't end.
    #[error("{in_flight} payments that were in flight when the last demo ended are still undecided after {} s", RESOLVE_MAX.as_secs())]
    Undecided {
        /// How many.
        in_flight: usize,
    },
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
    /// Starts all three on their books; returns when both peers are connected and authenticated.
    pub(super) async fn start(books: DemoBooks, price: Amount) -> Result<Self, DemoError> {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (pem, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
        let tls = TlsServerConfig::from_pem(pem.as_bytes(), key.as_bytes())?;
        let trust = TlsClientConfig::trusting_certificate_pem(pem.as_bytes())?;

        let tokens = Tokens::new();
        let peers = [Peer::new("alice", CREDIT)?, Peer::new("bob", 0)?];
        let mut builder = Connector::builder("test.demo").store(books.connector.clone());
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

        let till = Arc::new(Till::new(books.secret, u64::from_be_bytes(random()?), price));
        let [alice, bob] = peers;
        // Bob first: what alice says again of the last demo's payments can go on to him at once, and needn't wait for its expiry.
        let (bob, _) = bob.start(&books.bob, &url, &trust, Some(TillReceiver(till.clone()))).await?;
        let (alice, resumed) = alice.start(&books.alice, &url, &trust, None).await?;
        Ok(Self { connector, alice, bob, till, url, resumed })
    }

    /// What everybody's books say.
    pub(super) async fn books(&self) -> Result<Books, DemoError> {
        Ok(Books { connector: self.connector.status().await?, alice: self.alice.status().await?, bob: self.bob.status().await? })
    }

    /// Waits until nothing is open any more: a payment ends for alice before the last answers about it have gone round.
    pub(super) async fn settle(&self) -> Result<(), DemoError> {
        // If it takes too long, the report says what is open.
        self.nothing_in_flight(SETTLE_MAX).await.map(drop)
    }

    /// Waits until the payments that were in flight when the last demo ended are decided.
    pub(super) async fn resolve(&self) -> Result<(), DemoError> {
        match self.nothing_in_flight(RESOLVE_MAX).await? {
            0 => Ok(()),
            in_flight => Err(DemoError::Undecided { in_flight }),
        }
    }

    /// How many are in flight when none is, or at the end of the time.
    async fn nothing_in_flight(&self, at_most: Duration) -> Result<usize, DemoError> {
        let began = Instant::now();
        loop {
            let books = self.books().await?;
            let in_flight = [books.connector, books.alice, books.bob].iter().map(|status| status.worker.in_flight).sum();
            if in_flight == 0 || began.elapsed() >= at_most {
                return Ok(in_flight);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
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
        Ok(Self { name, id: AccountId::new(1, name)?, token: hex::encode(random::<32>()?), credit })
    }

    /// Starts it with one account, the connector's, which all addresses lead to; returns when it is connected, with how many payments
    /// were in flight in its books.
    async fn start(
        self,
        books: &OpenedStore,
        url: &str,
        trust: &TlsClientConfig,
        receiver: Option<TillReceiver>,
    ) -> Result<(Connector, usize), DemoError> {
        let demo = AccountId::new(1, "demo")?;
        let mut account = AccountConfig::new(demo.clone(), asset());
        account.credit_limit = CREDIT;
        account.max_packet = CREDIT;
        account.routes.push(Address::new("test")?);
        let (notices, mut heard) = mpsc::unbounded_channel();
        let address = Address::new(format!("test.demo.{}", self.name))?;
        let (url, token) = (url.parse::<Url>()?, self.token.as_bytes());
        let mut builder = Connector::builder(address.as_str())
            .store(books.clone())
            .account(account)
            .endpoint(ClpDialler::new(address, demo, PeerProtocol::Clp, url, self.name, token, trust.clone()))
            .on_notice(move |notice| drop(notices.send(notice)));
        if let Some(receiver) = receiver {
            builder = builder.receiver(receiver);
        }
        let connector = builder.start().await?;
        let mut last = "nothing".to_owned();
        let mut resumed = 0;
        let connected = async {
            while let Some(notice) = heard.recv().await {
                match notice {
                    Notice::Connected { .. } => return true,
                    Notice::Opened { in_flight, .. } => resumed = in_flight,
                    other => last = other.to_string(),
                }
            }
            false
        };
        if tokio::time::timeout(CONNECT_MAX, connected).await.unwrap_or(false) {
            Ok((connector, resumed))
        } else {
            Err(DemoError::NotConnected { peer: self.name, heard: last })
        }
    }
}

pub(super) fn random<const LEN: usize>() -> Result<[u8; LEN], DemoError> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(DemoError::Randomness)?;
    Ok(bytes)
}
