//! The server's end: accepting connections.

use super::stream::Stream;
use super::{Socket, SocketLimits, TlsServerConfig};
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use zeroize::Zeroizing;

/// Accepts WebSocket connections. Handshakes run beside each other, so one that dawdles holds up nobody.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsServerConfig>,
    limits: SocketLimits,
    handshakes: JoinSet<Option<Socket>>,
    /// The running handshakes, oldest first, and since when; may hold some that are done.
    oldest: VecDeque<(AbortHandle, Instant)>,
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

    /// Other limits for connections from now on.
    pub fn set_limits(&mut self, limits: SocketLimits) {
        self.limits = limits;
    }

    /// The next connection whose handshake is done. May be dropped and called again; nothing is lost.
    pub async fn accept(&mut self) -> Socket {
        loop {
            let room_at = self.room_at();
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(socket)) => return socket,
                    Ok(None) | Err(_) => self.failed += 1,
                },
                // Until there is room, newcomers wait in the kernel's queue.
                () = async { if let Some(at) = room_at { sleep_until(at).await } else { pending().await } } => self.end_oldest(),
                accepted = self.tcp.accept(), if room_at.is_none() => match accepted {
                    Ok((tcp, remote)) => self.shake_hands(tcp, remote),
                    // Out of file descriptors, or a connection that was gone before we took it: neither ends the listener. Whoever
                    // dawdles over a handshake has to make room.
                    Err(_) => {
                        self.end_oldest();
                        sleep(ACCEPT_AGAIN).await;
                    }
                },
            }
        }
    }

    /// When the oldest handshake may be ended to make room for another; `None` if there is room.
    fn room_at(&mut self) -> Option<Instant> {
        self.oldest.retain(|(handshake, _)| !handshake.is_finished());
        let full = self.oldest.len() >= self.limits.handshakes_max.max(1);
        self.oldest.front().filter(|_| full).map(|(_, since)| *since + self.limits.handshake_min)
    }

    /// An honest handshake takes milliseconds: under a flood the oldest is the likeliest to be a slow stranger's.
    fn end_oldest(&mut self) {
        if let Some((oldest, _)) = self.oldest.pop_front() {
            oldest.abort();
        }
    }

    fn shake_hands(&mut self, tcp: TcpStream, remote: SocketAddr) {
        let handshake = handshake(tcp, remote, self.tls.clone(), self.limits.clone());
        self.oldest.push_back((self.handshakes.spawn(handshake), Instant::now()));
    }
}

async fn handshake(tcp: TcpStream, remote: SocketAddr, tls: Option<TlsServerConfig>, limits: SocketLimits) -> Option<Socket> {
    tokio::time::timeout(limits.handshake, async {
        tcp.set_nodelay(true).ok()?;
        let stream = match tls {
            Some(config) => {
                let stream = TlsAcceptor::from(config.current()).accept(tcp).await.ok()?;
                Stream::tls(stream)
            }
            None => Stream::plain(tcp),
        };
        let mut path = Zeroizing::new(String::new());
        #[allow(clippy::result_large_err, reason = "the signature is the library's")]
        let remember_path = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            request.uri().path_and_query().map_or("/", |path| path.as_str()).clone_into(&mut path);
            Ok(response)
        };
        let ws = accept_hdr_async_with_config(stream, remember_path, Some(limits.tungstenite())).await.ok()?;
        Some(Socket::new(ws, path, remote, &limits))
    })
    .await
    .ok()
    .flatten()
}

const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
