//! One connection to the connector, packet by packet.

use bytes::{Bytes, BytesMut};
use ilp_clp::ws::{Socket, SocketCounters, SocketError};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, ProtocolData, RejectionReason};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, EncodeError, ErrorCode, Timestamp};
use std::fmt::Debug;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A connection that packets are written to and frames are read from.
///
/// Request ids are the caller's. What is sent leaves with the next [`poll_flush`](Self::poll_flush); with a [`FrameLog`], not before that
/// has it.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    /// Where packets are written; each frame is a part of it, so that none needs memory of its own.
    out: BytesMut,
    log: Option<Box<dyn FrameLog>>,
    /// Noted in the log, which hasn't been synced since.
    held: Vec<Bytes>,
}

/// Keeps every frame of a connection.
pub(crate) trait FrameLog: Debug {
    /// A frame is about to be sent.
    fn sent(&mut self, frame: &[u8]);
    /// A frame has come.
    fn received(&mut self, frame: &[u8]);
    /// All that was noted is safe when this returns.
    fn sync(&mut self) -> io::Result<()>;
}

/// Why a connection is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// It ended.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A packet can't be written.
    #[error("cannot write a packet: {0}")]
    Encode(#[from] EncodeError),
    /// The connector refused a request.
    #[error("refused: {0}")]
    Refused(String),
    /// The connector's answer is not one to the request.
    #[error("the connector's answer makes no sense")]
    Unexpected,
    /// The connector took too long.
    #[error("the connector did not answer in time")]
    TimedOut,
    /// Nothing may be sent any more.
    #[error("cannot write the journal: {0}")]
    Log(#[source] io::Error),
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, out: BytesMut::new(), log: None, held: Vec::new() }
    }

    /// The same, with a log of all frames.
    pub(crate) fn with_log(self, log: Box<dyn FrameLog>) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Queues a packet.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn send(&mut self, request_id: u32, body: Body<'_>) -> Result<(), EncodeError> {
        let packet = Packet { request_id, body };
        if self.out.capacity() < PACKET_BYTES {
            self.out.reserve(packet.encoded_len().max(CHUNK_BYTES));
        }
        packet.encode(&mut self.out)?;
        let frame = self.out.split().freeze();
        match &mut self.log {
            Some(log) => {
                log.sent(&frame);
                self.held.push(frame);
            }
            None => self.socket.send(frame),
        }
        Ok(())
    }

    /// Queues an Ack.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) fn acknowledge(&mut self, request_id: u32) -> Result<(), EncodeError> {
        self.send(request_id, Body::Ack(ProtocolData::EMPTY))
    }

    /// Queues an Error.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) fn refuse(&mut self, request_id: u32, code: ErrorCode, by: &Address, at: Timestamp) -> Result<(), EncodeError> {
        let error = ErrorPacket {
            code,
            name: code.name().unwrap_or_default(),
            triggered_by: by.as_addr(),
            forwarded_by: AddrList::EMPTY,
            triggered_at: at,
            data: b"",
        };
        self.send(request_id, Body::Error { reason: RejectionReason::from(error), data: ProtocolData::EMPTY })
    }

    /// Takes frames that have come in, a batch at a time; see [`Socket::poll_receive`].
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>) -> Poll<Result<usize, SocketError>> {
        let before = frames.len();
        let received = self.socket.poll_receive(cx, frames, FRAMES_AT_ONCE);
        if let Some(log) = &mut self.log {
            frames.iter().skip(before).for_each(|frame| log.received(frame));
        }
        received
    }

    /// Hands what is queued to the system.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        if let Some(log) = self.log.as_mut().filter(|_| !self.held.is_empty()) {
            log.sync().map_err(WireError::Log)?;
            self.held.drain(..).for_each(|frame| self.socket.send(frame));
        }
        self.socket.poll_flush(cx).map_err(WireError::from)
    }

    /// Sends a message with one entry and waits for the first entry of its answer. Nothing else may be under way; what the connector
    /// asks meanwhile is not answered.
    pub(crate) async fn call(&mut self, protocol: &str, data: &[u8]) -> Result<Bytes, WireError> {
        let entries = [Entry::named(protocol, 0, data)];
        self.send(CALL_ID, Body::Message(ProtocolData::entries(Dialect::Named, &entries)))?;
        let mut frames = Vec::new();
        let answer = poll_fn(|cx| {
            // Pending or not: reading goes on, and whichever of the two can go on first wakes us.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            loop {
                ready!(self.poll_receive(cx, &mut frames))?;
                if let Some(answer) = frames.drain(..).find_map(|frame| answer_to_call(&frame)) {
                    return Poll::Ready(answer);
                }
            }
        });
        tokio::time::timeout(CALL_TIME_MAX, answer).await.map_err(|_| WireError::TimedOut)?
    }

    /// Says goodbye, but doesn't wait long for the other side's.
    pub(crate) async fn close(mut self) {
        let _ = tokio::time::timeout(GOODBYE_TIME_MAX, poll_fn(|cx| self.socket.poll_close(cx))).await;
    }

    pub(crate) fn counters(&self) -> SocketCounters {
        self.socket.counters()
    }
}

/// Reads a packet of the form that flood speaks.
pub(crate) fn decode(frame: &[u8]) -> Option<Packet<'_>> {
    Packet::decode(frame, Dialect::Named, Extensions::NONE).ok()
}

fn answer_to_call(frame: &Bytes) -> Option<Result<Bytes, WireError>> {
    let packet = decode(frame).filter(|packet| packet.request_id == CALL_ID)?;
    match packet.body {
        Body::Response(data) => Some(data.first().map(|entry| frame.slice_ref(entry.data)).ok_or(WireError::Unexpected)),
        Body::Ack(_) => Some(Err(WireError::Unexpected)),
        Body::Error { reason, .. } => {
            let error = reason.error();
            let text = format!("{} {} {}", error.code, error.name, String::from_utf8_lossy(error.data));
            Some(Err(WireError::Refused(text.trim_end().to_owned())))
        }
        _ => None,
    }
}

/// Frames handled before more are read: few enough that they stay in the processor's cache.
const FRAMES_AT_ONCE: usize = 256;
/// More than any packet of a run takes.
const PACKET_BYTES: usize = 512;
/// Frames share allocations of this size.
const CHUNK_BYTES: usize = 32 << 10;
/// No payment has this number: the tenants of a place are counted from one.
const CALL_ID: u32 = 0;
const CALL_TIME_MAX: Duration = Duration::from_secs(10);
const GOODBYE_TIME_MAX: Duration = Duration::from_millis(500);
