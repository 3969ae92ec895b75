//! Being dialled.

use super::accounts::Authenticator;
use super::client::for_form;
use super::driver::{Authenticate, Driver, Starting};
use super::{Form, Peer, RefuseAll, RequestHandler};
use crate::exchange::{Exchange, ExchangeConfig, Role};
use crate::setup::{Credentials, SetupFailure, credentials_from_path};
use crate::ws::{Listener, Socket, SocketLimits, TlsServerConfig};
use futures::FutureExt;
use std::fmt::{self, Debug};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::ToSocketAddrs;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Makes [`Peer`]s of whoever dials and knows a token.
pub struct Server {
    listener: Listener,
    config: ServerConfig,
    starting: JoinSet<Option<Peer>>,
    failures: Arc<AtomicU32>,
}

/// Who may connect, and how.
#[derive(Clone)]
pub struct ServerConfig {
    /// Certificate and key; without it connections are plain.
    pub tls: Option<TlsServerConfig>,
    /// Named and seed are told apart by the peer's first frame; a server for peers of 2017 takes no others.
    pub form: Form,
    /// Who may connect.
    pub authenticator: Arc<dyn Authenticator>,
    /// The sockets' limits.
    pub socket: SocketLimits,
    /// The protocol's settings.
    pub exchange: ExchangeConfig,
    /// Who answers the peers' requests; may be replaced for each.
    pub handler: Arc<dyn RequestHandler>,
    /// Connections that may be authenticating at once; one more waits. Default 1024.
    pub starting_max: usize,
}

impl ServerConfig {
    /// The usual settings, without TLS.
    pub fn new(exchange: ExchangeConfig, authenticator: impl Authenticator) -> Self {
        Self {
            tls: None,
            form: Form::Named,
            authenticator: Arc::new(authenticator),
            socket: SocketLimits::default(),
            exchange,
            handler: Arc::new(RefuseAll),
            starting_max: 1024,
        }
    }

    /// With this handler from the first request on.
    #[must_use]
    pub fn with_handler(mut self, handler: impl RequestHandler) -> Self {
        self.handler = Arc::new(handler);
        self
    }

    /// With this certificate and key.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsServerConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// In this form.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address can't be used.
    pub async fn bind(address: impl ToSocketAddrs, config: ServerConfig) -> io::Result<Self> {
        let listener = Listener::bind(address, config.tls.clone(), config.socket.clone()).await?;
        Ok(Self { listener, config, starting: JoinSet::new(), failures: Arc::default() })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// If the kernel won't say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next peer that has authenticated. May be dropped and called again; nothing is lost. Each connection is driven by a task of
    /// its own, until it ends or the last clone of the peer is dropped.
    pub async fn accept(&mut self) -> Peer {
        loop {
            let room = self.starting.len() < self.config.starting_max.max(1);
            tokio::select! {
                Some(started) = self.starting.join_next() => {
                    if let Ok(Some(peer)) = started {
                        return peer;
                    }
                }
                socket = self.listener.accept(), if room => self.start(socket),
            }
        }
    }

    fn start(&mut self, socket: Socket) {
        let role = match self.config.form {
            Form::Named | Form::Seed => Role::Server,
            Form::Legacy2017 => match credentials_from_path(socket.path()) {
                Some(credentials) => Role::Server2017(credentials),
                None => return,
            },
        };
        let settings = for_form(self.config.exchange.clone(), self.config.form, false);
        let (ready, peer) = oneshot::channel();
        let starting = Starting {
            ready,
            handler: Arc::clone(&self.config.handler),
            own: settings.setup.address.clone(),
            account: Vec::new(),
            authenticate: Some(self.authenticate()),
        };
        tokio::spawn(Driver::new(socket, Exchange::new(settings, &role), starting).run());
        self.starting.spawn(async move { peer.await.unwrap_or(Err(SetupFailure::Closed)).ok() });
    }

    /// Whoever guesses waits longer each time; whoever knows doesn't wait.
    fn authenticate(&self) -> Authenticate {
        let authenticator = Arc::clone(&self.config.authenticator);
        let failures = Arc::clone(&self.failures);
        Box::new(move |credentials: Credentials| {
            async move {
                let address = authenticator.authenticate(&credentials).await;
                if address.is_some() {
                    failures.store(0, Ordering::Relaxed);
                } else {
                    let failed = failures.fetch_add(1, Ordering::Relaxed).min(FAILURES_MAX);
                    sleep(FIRST_DELAY * 2_u32.pow(failed)).await;
                }
                address
            }
            .boxed()
        })
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").field("form", &self.form).field("authenticator", &self.authenticator).finish_non_exhaustive()
    }
}

const FIRST_DELAY: Duration = Duration::from_millis(50);
/// 50 ms doubled this often is 3.2 s.
const FAILURES_MAX: u32 = 6;
