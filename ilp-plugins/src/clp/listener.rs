//! Peers that dial us.

use super::transport::socket_limits;
use super::{ClpLink, ClpTransport};
use async_trait::async_trait;
use ilp_clp::ws::{Listener, SocketLimits, TlsServerConfig, Url, UrlError};
use ilp_core::runtime::{Connections, Endpoint, NewConnection, Notice};
use ilp_oer::Address;
use std::io;
use std::net::SocketAddr;
use tokio::sync::Mutex;

/// An endpoint that accepts connections of peers.
#[derive(Debug)]
pub struct ClpListener {
    connector: Address,
    listener: Mutex<Listener>,
    local: SocketAddr,
    tls: bool,
}

/// A listener that can't listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The URL isn't one to listen on.
    #[error("can't listen on {url:?}: {source}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// `wss` without a certificate, or `ws` with one.
    #[error("can't listen on {url:?}: {why}")]
    Tls {
        /// As given.
        url: String,
        /// What doesn't go together.
        why: &'static str,
    },
    /// The operating system refuses it.
    #[error("can't listen on {url:?}: {source}")]
    Io {
        /// As given.
        url: String,
        /// Why.
        source: io::Error,
    },
}

impl ClpListener {
    /// Listens on the host and port of a URL, `ws://127.0.0.1:7768` or `wss://…`; port 0 takes a free one. `connector` is the address
    /// of the connector that it is for.
    pub async fn bind(connector: Address, url: &str, tls: Option<TlsServerConfig>) -> Result<Self, BindError> {
        let parsed: Url = url.parse().map_err(|source| BindError::Url { url: url.into(), source })?;
        let why = match (parsed.is_tls(), tls.is_some()) {
            (true, false) => Some("wss needs a certificate and its key"),
            (false, true) => Some("a certificate is of no use with ws: write wss"),
            _ => None,
        };
        if let Some(why) = why {
            return Err(BindError::Tls { url: url.into(), why });
        }
        let io = |source| BindError::Io { url: url.into(), source };
        let secure = tls.is_some();
        let listener = Listener::bind((parsed.host(), parsed.port()), tls, SocketLimits::default()).await.map_err(io)?;
        let local = listener.local_addr().map_err(io)?;
        Ok(Self { connector, listener: Mutex::new(listener), local, tls: secure })
    }

    /// Where it listens, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What peers dial.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "wss" } else { "ws" }, self.local)
    }
}

#[async_trait]
impl Endpoint for ClpListener {
    async fn run(&self, connections: Connections) {
        let mut listener = self.listener.lock().await;
        if !self.tls && !self.local.ip().is_loopback() {
            connections.notice(Notice::Unencrypted { endpoint: self.url() });
        }
        listener.set_limits(socket_limits(connections.limits()));
        loop {
            let socket = listener.accept().await;
            let link = Box::new(ClpLink::incoming(&self.connector, socket.path()).with_limits(connections.limits()));
            let peer = socket.remote_addr().to_string();
            let transport = Box::new(ClpTransport::new(socket));
            if !connections.offer(NewConnection { transport, link, account: None, peer, alive: None }).await {
                return;
            }
        }
    }
}
