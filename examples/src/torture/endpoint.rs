//! Peers' connections, with the moments before and after a frame is sent.

use super::points::{Point, Trigger};
use crate::flood::wire::decode;
use async_trait::async_trait;
use bytes::Bytes;
use ilp_clp::ws::{Listener, SocketLimits};
use ilp_core::runtime::{Connections, Endpoint, NewConnection, Traffic, Transport, TransportError};
use ilp_oer::Address;
use ilp_oer::clp::Body;
use ilp_plugins::clp::{ClpLink, ClpTransport};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Mutex;

/// Listens as the connector's own listener does, and puts a [`Watched`] transport around each connection.
#[derive(Debug)]
pub(super) struct WatchedListener {
    connector: Address,
    listener: Mutex<Listener>,
    trigger: Arc<Trigger>,
}

impl WatchedListener {
    /// On this port of 127.0.0.1.
    pub(super) async fn bind(connector: Address, port: u16, trigger: Arc<Trigger>) -> io::Result<Self> {
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None, SocketLimits::default()).await?;
        Ok(Self { connector, listener: Mutex::new(listener), trigger })
    }
}

#[async_trait]
impl Endpoint for WatchedListener {
    async fn run(&self, connections: Connections) {
        let mut listener = self.listener.lock().await;
        loop {
            let socket = listener.accept().await;
            let link = Box::new(ClpLink::incoming(&self.connector, socket.path()).with_limits(connections.limits()));
            let peer = socket.remote_addr().to_string();
            let inner = ClpTransport::new(socket);
            let transport = Box::new(Watched { inner, trigger: self.trigger.clone(), queued: VecDeque::new() });
            if !connections.offer(NewConnection { transport, link, account: None, door: None, peer, alive: None }).await {
                return;
            }
        }
    }
}

/// A connection that may be the last thing its process sees.
#[derive(Debug)]
struct Watched {
    inner: ClpTransport,
    trigger: Arc<Trigger>,
    /// What was queued and, as far as is known, isn't with the system yet.
    queued: VecDeque<&'static str>,
}

impl Transport for Watched {
    fn poll_receive(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>, max: usize) -> Poll<Result<usize, TransportError>> {
        self.inner.poll_receive(cx, frames, max)
    }

    fn send(&mut self, frame: Bytes) {
        if let Some(what) = money(&frame) {
            self.trigger.at(Point::BeforeSend, || what.to_owned());
            self.queued.push_back(what);
        }
        self.inner.send(frame);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let flushed = self.inner.poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            for what in self.queued.drain(..) {
                self.trigger.at(Point::AfterSend, || what.to_owned());
                self.trigger.at(Point::PowerAfterSend, || what.to_owned());
            }
        }
        flushed
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_close(cx)
    }

    fn backlog(&self) -> usize {
        self.inner.backlog()
    }

    fn certificate(&self) -> Option<[u8; 32]> {
        self.inner.certificate()
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }
}

/// What a frame is, if it has to do with money.
fn money(frame: &[u8]) -> Option<&'static str> {
    match decode(frame)?.body {
        Body::Prepare(_) => Some("prepare"),
        Body::Fulfill(_) => Some("fulfill"),
        Body::Reject(_) => Some("reject"),
        Body::Ack(_) => Some("ack"),
        Body::Error { .. } => Some("error"),
        Body::Response(_) | Body::Message(_) | Body::Transfer(_) => None,
    }
}
