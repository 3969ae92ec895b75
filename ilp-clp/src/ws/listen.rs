//! The server's end: accepting connections.

use super::stream::Stream;
use super::{Socket, SocketLimits, TlsServerConfig};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// Accepts WebSocket connections. Handshakes run beside each other, so one that dawdles holds up nobody.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsServerConfig>,
    limits: SocketLimits,
    handshakes: JoinSet<Option<Socket>>,
    /// The running handshakes, oldest first; may hold some that are done.
    oldest: VecDeque<AbortHandle>,
    failed: u64,
}

impl Listener {
    /// Listens on `address`; port 0 takes a free one. Without `tls` connections are plain.
    ///
    /// # Errors
    /// If the address can't be used.
    pub async fn bind(address: impl ToSocketAddrs, tls: Option<TlsServerConfig>, limits: SocketLimits) -> io::Result<Self> {
        Ok(Self { tcp: TcpListener::bind(address).await?, tls, limits, handshakes: JoinSet::new(), oldest: VecDeque::new(), failed: 0 })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// If the kernel won't say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Handshakes that failed or took too long, since the start.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed
    }

    /// The next connection whose handshake is done. May be dropped and called again; nothing is lost.
    pub async fn accept(&mut self) -> Socket {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(socket)) => return socket,
                    Ok(None) | Err(_) => self.failed += 1,
                },
                accepted = self.tcp.accept() => match accepted {
                    Ok((tcp, remote)) => self.shake_hands(tcp, remote),
                    // Out of file descriptors, or a connection that was gone before we took it: neither ends the listener.
                    Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
                },
            }
        }
    }

    fn shake_hands(&mut self, tcp: TcpStream, remote: SocketAddr) {
        while self.oldest.front().is_some_and(AbortHandle::is_finished) {
            self.oldest.pop_front();
        }
        // An honest handshake takes milliseconds: under a flood the oldest is the likeliest to be a slow stranger's.
        if self.oldest.len() >= self.limits.handshakes_max.max(1)
            && let Some(oldest) = self.oldest.pop_front()
        {
            oldest.abort();
        }
        let handshake = handshake(tcp, remote, self.tls.clone(), self.limits.clone());
        self.oldest.push_back(self.handshakes.spawn(handshake));
    }
}

async fn handshake(tcp: TcpStream, remote: SocketAddr, tls: Option<TlsServerConfig>, limits: SocketLimits) -> Option<Socket> {
    tokio::time::timeout(limits.handshake, async {
        tcp.set_nodelay(true).ok()?;
        let stream = match tls {
            Some(config) => {
                let stream = TlsAcceptor::from(config.0).accept(tcp).await.ok()?;
                Stream::Tls(Box::new(TlsStream::Server(stream)))
            }
            None => Stream::Plain(tcp),
        };
        let mut path = String::new();
        #[allow(clippy::result_large_err, reason = "the signature is the library's")]
        let remember_path = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            Ok(response)
        };
        let ws = accept_hdr_async_with_config(stream, remember_path, Some(limits.tungstenite())).await.ok()?;
        Some(Socket::new(ws, path, remote))
    })
    .await
    .ok()
    .flatten()
}

const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
