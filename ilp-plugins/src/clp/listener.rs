//! Peers that dial us.

use super::transport::socket_limits;
use super::{ClpLink, ClpTransport};
use async_trait::async_trait;
use ilp_clp::ws::{Listener, SocketLimits, TlsServerConfig, Url, UrlError};
use ilp_core::runtime::{Connections, Door, Endpoint, NewConnection, Notice};
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
    door: Option<Door>,
}

/// A listener that can't listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The URL isn't one to listen on.
    #[error("can't listen on {url:?}: {source}")]
    Url {
        /// As given, up to where a path would begin.
        url: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// `wss` without a certificate, or `ws` with one.
    #[error("can't listen on {url:?}: {why}")]
    Tls {
        /// Without its path.
        url: String,
        /// What doesn't go together.
        why: &'static str,
    },
    /// The operating system refuses it.
    #[error("can't listen on {url:?}: {source}")]
    Io {
        /// Without its path.
        url: String,
        /// Why.
        source: io::Error,
    },
}

impl ClpListener {
    /// Listens on the host and port of a URL, `ws://127.0.0.1:7768` or `wss://…`; port 0 takes a free one. `connector` is the address
    /// of the connector that it is for.
    pub async fn bind(connector: Address, url: &str, tls: Option<TlsServerConfig>) -> Result<Self, BindError> {
        let parsed: Url = url.parse().map_err(|source| BindError::Url { url: Url::public_part(url), source })?;
        let shown = parsed.to_string();
        let why = match (parsed.is_tls(), tls.is_some()) {
            (true, false) => Some("wss needs a certificate and its key"),
            (false, true) => Some("a certificate is of no use with ws: write wss"),
            _ => None,
        };
        if let Some(why) = why {
            return Err(BindError::Tls { url: shown, why });
        }
        let io = |source| BindError::Io { url: shown.clone(), source };
        let secure = tls.is_some();
        let listener = Listener::bind((parsed.host(), parsed.port()), tls, SocketLimits::default()).await.map_err(io)?;
        let local = listener.local_addr().map_err(io)?;
        Ok(Self { connector, listener: Mutex::new(listener), local, tls: secure, door: None })
    }

    /// Only accounts of one parallelism connect here; others are told where they do.
    #[must_use]
    pub fn with_door(self, door: Door) -> Self {
        Self { door: Some(door), ..self }
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
            if !connections.offer(NewConnection { transport, link, account: None, door: self.door.clone(), peer, alive: None }).await {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_shows_nothing_of_a_url_but_scheme_host_and_port() {
        for (url, shown) in [
            ("wss://127.0.0.1:1/name/hush", "\"wss://127.0.0.1:1\""),
            ("ws://user:hush@127.0.0.1:1", "\"ws://127.0.0.1:1\""),
            ("http://127.0.0.1/hush", "\"http://127.0.0.1\""),
            ("127.0.0.1:1/hush", "\"127.0.0.1:1\""),
            ("ws://192.0.2.1:1/hush", "\"ws://192.0.2.1:1\""),
        ] {
            let error = ClpListener::bind("test.ann".parse().unwrap(), url, None).await.unwrap_err();
            assert!(error.to_string().contains(shown) && !format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }
}
