//! Dialling a server.

use super::driver::{Driver, Starting};
use super::{Form, Peer, RefuseAll, RequestHandler};
use crate::exchange::{Exchange, ExchangeConfig, Role};
use crate::setup::{Credentials, SetupFailure};
use crate::ws::{DialError, SocketLimits, TlsClientConfig, Url, dial};
use ilp_oer::Address;
use ilp_oer::clp::Dialect;
use std::fmt::{self, Debug};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::oneshot;

/// Makes [`Peer`]s by dialling.
#[derive(Debug, Clone, Copy)]
pub struct Client;

/// Whom to dial, and how.
#[derive(Clone)]
pub struct ClientConfig {
    /// The server. For the form of 2017 without name and token: they are added.
    pub url: Url,
    /// Who we are.
    pub credentials: Credentials,
    /// Named by default.
    pub form: Form,
    /// Which certificates are trusted; for `wss://` only.
    pub tls: TlsClientConfig,
    /// The socket's limits.
    pub socket: SocketLimits,
    /// The protocol's settings.
    pub exchange: ExchangeConfig,
    /// Who answers the server's requests; may be replaced later.
    pub handler: Arc<dyn RequestHandler>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server can't be reached, or doesn't speak WebSocket.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server doesn't want us.
    #[error(transparent)]
    Setup(#[from] SetupFailure),
}

impl ClientConfig {
    /// The usual settings. `own` is where our errors say they come from.
    pub fn new(url: Url, credentials: Credentials, tls: TlsClientConfig, own: Address) -> Self {
        Self {
            url,
            credentials,
            form: Form::Named,
            tls,
            socket: SocketLimits::default(),
            exchange: ExchangeConfig::new(own),
            handler: Arc::new(RefuseAll),
        }
    }

    /// With this handler from the first request on.
    #[must_use]
    pub fn with_handler(mut self, handler: impl RequestHandler) -> Self {
        self.handler = Arc::new(handler);
        self
    }

    /// In this form.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }
}

impl Client {
    /// Dials and authenticates. The connection is driven by a task of its own on the current runtime, until it ends or the last
    /// clone of the peer is dropped. Dropping this future before it is done closes the connection.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(config: ClientConfig) -> Result<Peer, ConnectError> {
        let ClientConfig { mut url, credentials, form, tls, socket, exchange: settings, handler } = config;
        let account = credentials.account.clone();
        if form == Form::Legacy2017 {
            let segments = [&credentials.account, &*credentials.token].map(|part| String::from_utf8_lossy(part).into_owned());
            url = url.join(&segments.each_ref().map(String::as_str));
        }
        let own = settings.setup.address.clone();
        let settings = for_form(settings, form, true);
        let role = match form {
            Form::Named | Form::Seed => Role::Client(credentials),
            Form::Legacy2017 => Role::Client2017,
        };
        let socket = dial(&url, &tls, &socket).await?;
        let (ready, peer) = oneshot::channel();
        let starting = Starting { ready, handler, own, account, authenticate: None };
        tokio::spawn(Driver::new(socket, Exchange::new(settings, &role), starting).run());
        Ok(peer.await.unwrap_or(Err(SetupFailure::Closed))?)
    }
}

/// Adapts the protocol's settings to a form.
pub(super) fn for_form(mut settings: ExchangeConfig, form: Form, dialling: bool) -> ExchangeConfig {
    match form {
        Form::Named | Form::Seed if !dialling => settings.session.dialect = None,
        Form::Named => settings.session.dialect = Some(Dialect::Named),
        Form::Seed => settings.session.dialect = Some(Dialect::Seed),
        Form::Legacy2017 => {
            let legacy = ExchangeConfig::new_2017(settings.setup.address.clone());
            settings.session.dialect = legacy.session.dialect;
            settings.session.short_errors = legacy.session.short_errors;
            settings.peer_dedupes = legacy.peer_dedupes;
        }
    }
    settings
}

impl Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("url", &self.url.to_string())
            .field("credentials", &self.credentials)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
