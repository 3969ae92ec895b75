//! One WebSocket connection, frame by frame.

use super::SocketLimits;
use super::alive::{Alive, Verdict};
use super::stream::Stream;
use bytes::Bytes;
use futures::{Sink, Stream as _};
use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use thiserror::Error;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use zeroize::Zeroizing;

/// A WebSocket connection whose handshake is done.
///
/// Drive it from one task: [`poll_receive`](Self::poll_receive) until it is pending, [`send`](Self::send) what there is to say, then
/// [`poll_flush`](Self::poll_flush) once; at the end [`poll_close`](Self::poll_close). After an error only dropping is left.
pub struct Socket {
    ws: WebSocketStream<Stream>,
    /// May hold a token.
    path: Zeroizing<String>,
    remote: SocketAddr,
    frame_bytes_max: usize,
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    unflushed: bool,
    /// Found while frames before it were still to be handed out.
    failure: Option<SocketError>,
    closing: bool,
    /// Frames read after our good-bye.
    drained: usize,
    counters: SocketCounters,
    alive: Alive,
}

/// What has gone through a socket; payload only, without WebSocket and TLS framing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// Binary frames received.
    pub frames_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Pings, pongs and the like received.
    pub controls_in: u64,
    /// Binary frames accepted by [`Socket::send`].
    pub frames_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The peer closed it, in whatever way.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer sent text; packets are binary.
    #[error("the peer sent a text frame")]
    Text,
    /// The peer sent a frame larger than the limit.
    #[error("the peer sent a frame that is too large")]
    TooLarge,
    /// The peer gave no sign of life when asked for one, whatever else it said.
    #[error("the peer has given no sign of life: it doesn't answer pings")]
    Silent,
    /// The peer takes nothing of what waits for it.
    #[error("the peer doesn't read: {waiting} bytes wait for it")]
    Stalled {
        /// Bytes queued.
        waiting: usize,
    },
    /// The peer broke the WebSocket protocol.
    #[error("the peer broke the WebSocket protocol: {0}")]
    Protocol(String),
    /// TCP or TLS failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

impl Socket {
    pub(super) fn new(ws: WebSocketStream<Stream>, path: Zeroizing<String>, remote: SocketAddr, limits: &SocketLimits) -> Self {
        Self {
            ws,
            path,
            remote,
            frame_bytes_max: limits.frame_bytes_max,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            unflushed: false,
            failure: None,
            closing: false,
            drained: 0,
            counters: SocketCounters::default(),
            alive: Alive::new(limits),
        }
    }

    /// Takes up to `max` frames that are ready, of a quarter of a megabyte or little more, and pushes them to `frames`; `Ready(Ok(n))`
    /// with n at least 1, or pending if there are none. Pings are answered on the way, and the peer is asked for signs of life.
    ///
    /// # Errors
    /// When the connection has ended; every frame received before was handed out by then.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>, max: usize) -> Poll<Result<usize, SocketError>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let (mut received, before) = (0, self.counters.bytes_in);
        // Counts pings too, so that a flood of them can't hold the task.
        for _ in 0..max.max(1) {
            let failure = match Pin::new(&mut self.ws).poll_next(cx) {
                Poll::Ready(Some(Ok(Message::Binary(frame)))) => {
                    self.counters.frames_in += 1;
                    self.counters.bytes_in += u64::try_from(frame.len()).unwrap_or(u64::MAX);
                    received += 1;
                    frames.push(frame);
                    if self.counters.bytes_in - before >= BYTES_AT_ONCE {
                        break;
                    }
                    continue;
                }
                Poll::Ready(Some(Ok(control @ (Message::Ping(_) | Message::Pong(_) | Message::Frame(_))))) => {
                    if let Message::Pong(content) = &control {
                        self.alive.pong(content);
                    }
                    self.counters.controls_in += 1;
                    // The answer to a ping may be waiting for room.
                    self.unflushed = true;
                    continue;
                }
                Poll::Ready(Some(Ok(Message::Text(_)))) => SocketError::Text,
                Poll::Ready(Some(Ok(Message::Close(_))) | None) => SocketError::Closed,
                Poll::Ready(Some(Err(error))) => error.into(),
                Poll::Pending if received > 0 => return Poll::Ready(Ok(received)),
                Poll::Pending => match self.poll_answers(cx).and_then(|()| self.poll_alive(cx, true)) {
                    Ok(()) => return Poll::Pending,
                    Err(gone) => gone,
                },
            };
            self.say_why(cx, &failure);
            if received == 0 {
                return Poll::Ready(Err(failure));
            }
            self.failure = Some(failure);
            return Poll::Ready(Ok(received));
        }
        if received == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(received))
    }

    /// Queues a frame; nothing leaves before [`poll_flush`](Self::poll_flush). The queue has no limit of its own: the owner watches
    /// [`queued_bytes`](Self::queued_bytes) and stops reading from a peer that doesn't read.
    pub fn send(&mut self, frame: Bytes) {
        self.counters.frames_out += 1;
        self.counters.bytes_out += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.outgoing_bytes += frame.len();
        self.outgoing.push_back(frame);
    }

    /// Hands everything queued to the kernel; pending as long as it takes no more. Cheap if there is nothing to do.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        let flushed = self.poll_write_out(cx);
        if flushed.is_pending() {
            // Its alarm may be what wakes us.
            self.poll_alive(cx, false)?;
        }
        flushed
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        while !self.outgoing.is_empty() {
            ready!(Pin::new(&mut self.ws).poll_ready(cx))?;
            let Some(frame) = self.outgoing.pop_front() else { break };
            self.outgoing_bytes -= frame.len();
            self.unflushed = true;
            Pin::new(&mut self.ws).start_send(Message::Binary(frame))?;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.ws).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// What the WebSocket layer says by itself, such as a pong, leaves without the owner, who knows nothing of it. Otherwise it would
    /// wait for the owner's next frame, and a quiet peer would look like one that takes nothing.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<(), SocketError> {
        if self.unflushed
            && self.outgoing.is_empty()
            && let Poll::Ready(flushed) = Pin::new(&mut self.ws).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Whether the peer still reads and gives signs of life; asks for one if it is time to.
    fn poll_alive(&mut self, cx: &mut Context<'_>, all_read: bool) -> Result<(), SocketError> {
        let waiting = self.unflushed || !self.outgoing.is_empty();
        match self.alive.poll(cx, all_read, waiting, self.ws.get_ref().written()) {
            Verdict::Alive => Ok(()),
            Verdict::Silent => Err(SocketError::Silent),
            Verdict::Stalled => Err(SocketError::Stalled { waiting: self.outgoing_bytes }),
            Verdict::Ask => {
                let mut ws = Pin::new(&mut self.ws);
                if let Poll::Ready(ready) = ws.as_mut().poll_ready(cx) {
                    ready?;
                    ws.as_mut().start_send(Message::Ping(Bytes::copy_from_slice(&self.alive.question())))?;
                    self.unflushed = match ws.poll_flush(cx) {
                        Poll::Ready(flushed) => flushed.map(|()| false)?,
                        Poll::Pending => true,
                    };
                }
                Ok(())
            }
        }
    }

    /// Tells a peer that broke the rules which of them, if that can be said at once (RFC 6455, section 7.4.1).
    fn say_why(&mut self, cx: &mut Context<'_>, failure: &SocketError) {
        let (code, reason) = match failure {
            SocketError::Text => (CloseCode::Unsupported, "packets are binary frames".into()),
            SocketError::TooLarge => (CloseCode::Size, format!("a frame is {} bytes at most", self.frame_bytes_max).into()),
            SocketError::Protocol(_) => (CloseCode::Protocol, "".into()),
            SocketError::Closed | SocketError::Silent | SocketError::Stalled { .. } | SocketError::Io(_) => return,
        };
        let mut ws = Pin::new(&mut self.ws);
        // If it can't be said, the end of the connection has to say it.
        if let Poll::Ready(Ok(())) = ws.as_mut().poll_ready(cx)
            && ws.as_mut().start_send(Message::Close(Some(CloseFrame { code, reason }))).is_ok()
        {
            let _ = ws.poll_flush(cx);
        }
    }

    /// Sends what is queued, says goodbye, and reads on until the peer has closed too: a socket closed with unread input would make
    /// the kernel throw away our last frames. A peer may take its time, so bound this with a timer; dropping the socket ends it. A peer
    /// that goes on sending is heard for a few thousand frames, as many as may have been on their way.
    ///
    /// # Errors
    /// When the connection had already ended.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        if !self.closing {
            ready!(self.poll_flush(cx))?;
            ready!(Pin::new(&mut self.ws).poll_close(cx))?;
            self.closing = true;
        }
        for _ in 0..DRAINED_AT_ONCE {
            match ready!(Pin::new(&mut self.ws).poll_next(cx)) {
                Some(Ok(_)) if self.drained < DRAINED_MAX => self.drained += 1,
                Some(_) | None => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Bytes queued and not yet taken by the WebSocket layer.
    pub fn queued_bytes(&self) -> usize {
        self.outgoing_bytes
    }

    /// What has gone through so far.
    pub fn counters(&self) -> SocketCounters {
        self.counters
    }

    /// The SHA-256 of the key in the certificate that the other end has shown ([`Certificate::key_sha256`](super::Certificate::key_sha256)), a
    /// key that it holds; `None` without TLS, and for a client that has
    /// shown none.
    pub fn certificate(&self) -> Option<[u8; 32]> {
        self.ws.get_ref().certificate()
    }

    /// Path and query of the request that opened the connection. It may hold a secret: don't log it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The other end's address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }
}

impl Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("remote", &self.remote).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl From<WsError> for SocketError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => Self::Closed,
            WsError::Io(error) => Self::Io(error),
            WsError::Capacity(_) => Self::TooLarge,
            WsError::Protocol(error) => {
                use tokio_tungstenite::tungstenite::error::ProtocolError;
                match error {
                    // A peer that just goes away.
                    ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing => Self::Closed,
                    other => Self::Protocol(other.to_string()),
                }
            }
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// What the largest frames could add up to otherwise, all held until their owner has looked at them.
const BYTES_AT_ONCE: u64 = 256 << 10;
const DRAINED_AT_ONCE: usize = 64;
const DRAINED_MAX: usize = 4_096;
