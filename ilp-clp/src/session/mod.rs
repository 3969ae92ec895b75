//! One connection's packets: which answer belongs to which request.

mod dialect;
mod event;
mod pending;

pub use dialect::detect_dialect;
pub use event::{Answer, IncomingAnswer, IncomingRequest, Request, SessionEvent};

use bytes::{Bytes, BytesMut};
use event::{Incoming, own};
use ilp_oer::clp::{Body, Dialect, Extensions, Packet, PacketType, Reject};
use ilp_oer::{EncodeError, Timestamp};
use pending::{Full, Pending};
use thiserror::Error;

/// One connection's packets, as a pure state machine: no clock, no randomness, no sockets.
///
/// Input: [`handle_frame`](Self::handle_frame), [`handle_timeout`](Self::handle_timeout), [`handle_close`](Self::handle_close); they
/// push to the caller's list of events. Commands: [`send`](Self::send), [`answer`](Self::answer); they push to the caller's list of
/// frames, which must reach the peer in that order. After each input or command [`next_timeout`](Self::next_timeout) may have
/// changed. `now` never runs backwards.
///
/// A session knows neither accounts nor money: it doesn't answer by itself, remembers no transfer, and takes requests before
/// anybody has authenticated; [`Setup`](crate::Setup) sees to that.
#[derive(Debug)]
pub struct Session {
    dialect: Option<Dialect>,
    extensions: Extensions,
    short_errors: bool,
    limits: SessionLimits,
    pending: Pending,
    out: BytesMut,
    counters: SessionCounters,
}

/// How a session starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionConfig {
    /// The peer's dialect, where it is known from the start; otherwise taken from its first frame.
    pub dialect: Option<Dialect>,
    /// Whether errors are cut to what a node of 2017 can read: contents below 128 bytes.
    pub short_errors: bool,
    /// What the peer may use.
    pub limits: SessionLimits,
}

/// What one connection may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    /// Our requests that may wait for answers at once. Default 65,536, two thirds of a second of round trip at 100,000 a second; 24
    /// bytes each.
    pub pending_max: usize,
    /// Packets that can't be decoded before the connection ends. Default 16: a peer of another age sends one now and then.
    pub decode_errors_max: u64,
    /// Largest frame, in bytes. Default 128 KiB.
    pub frame_bytes_max: usize,
    /// Entries of protocol data in one packet; one with more is not decoded. Default 32: only the first decides what a request is, and
    /// nobody was seen to send more than three.
    pub entries_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { pending_max: 65_536, decode_errors_max: 16, frame_bytes_max: 128 << 10, entries_max: 32 }
    }
}

/// What a session has seen; numbers since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Frames received, of whatever kind.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Frames that could not be decoded; ignored.
    pub decode_errors: u64,
    /// Answers to nothing that was waiting; ignored.
    pub unmatched_answers: u64,
    /// Requests of ours that nobody answered in time.
    pub timed_out: u64,
}

/// The peer has misbehaved too often: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer sent {errors} packets that can't be decoded")]
pub struct TooManyErrors {
    /// How many.
    pub errors: u64,
}

/// Why a request was not sent. Nothing of it has left.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// Too many requests wait for answers.
    #[error("too many requests wait for an answer")]
    Overloaded,
    /// Packet type 8 has not been negotiated.
    #[error("the peer does not take unconditional transfers")]
    NotNegotiated,
    /// It can't be written down.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Session {
    /// A session at the start of a connection.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            dialect: config.dialect,
            extensions: Extensions::NONE,
            short_errors: config.short_errors,
            pending: Pending::new(config.limits.pending_max),
            limits: config.limits,
            out: BytesMut::new(),
            counters: SessionCounters::default(),
        }
    }

    /// The peer's dialect, once it is known.
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Sets the peer's dialect.
    pub fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = Some(dialect);
    }

    /// Whether packet type 8 is understood and may be sent.
    pub fn takes_transfers(&self) -> bool {
        self.extensions.transfer
    }

    /// Both sides have listed packet type 8, or not.
    pub fn set_takes_transfers(&mut self, negotiated: bool) {
        self.extensions = Extensions { transfer: negotiated };
    }

    /// One whole frame came in. A packet that can't be decoded is ignored and counted: an answer to it could start a loop.
    ///
    /// # Errors
    /// When there were too many of those; the caller closes the connection.
    pub fn handle_frame(&mut self, frame: Bytes, events: &mut Vec<SessionEvent>) -> Result<(), TooManyErrors> {
        self.counters.frames_in += 1;
        let Some((id, incoming)) = self.decode(&frame) else { return self.undecodable(&frame, events) };
        match incoming {
            Incoming::Request(request) => events.push(SessionEvent::Request { id, request }),
            Incoming::Answer(answer) => match self.pending.take(id) {
                Some(tag) => events.push(SessionEvent::Answered { tag, id, answer }),
                None => self.counters.unmatched_answers += 1,
            },
        }
        Ok(())
    }

    /// Sends a request and gives its id. Its end comes as [`SessionEvent::Answered`] with `tag`, after `timeout_ms` at the latest.
    ///
    /// # Errors
    /// See [`SendError`]; then no event follows.
    pub fn send(
        &mut self,
        tag: u64,
        request: Request<'_>,
        now: Timestamp,
        timeout_ms: i64,
        frames: &mut Vec<Bytes>,
    ) -> Result<u32, SendError> {
        if matches!(request, Request::Transfer(_)) && !self.extensions.transfer {
            return Err(SendError::NotNegotiated);
        }
        let id = self.pending.next_id().map_err(|Full| SendError::Overloaded)?;
        self.write(id, request.into(), frames)?;
        self.pending.push(tag, now.saturating_add_millis(timeout_ms));
        Ok(id)
    }

    /// Answers a request of the peer's.
    ///
    /// # Errors
    /// If the answer can't be written down; then nothing is sent.
    pub fn answer(&mut self, id: u32, answer: Answer<'_>, frames: &mut Vec<Bytes>) -> Result<(), EncodeError> {
        self.write(id, answer.into(), frames)
    }

    /// Ends requests that have waited too long.
    pub fn handle_timeout(&mut self, now: Timestamp, events: &mut Vec<SessionEvent>) {
        let counters = &mut self.counters;
        self.pending.time_out(now, |id, tag| {
            counters.timed_out += 1;
            events.push(SessionEvent::Answered { tag, id, answer: IncomingAnswer::TimedOut });
        });
    }

    /// The connection is gone: ends every request that waits.
    pub fn handle_close(&mut self, events: &mut Vec<SessionEvent>) {
        self.pending.end_all(|id, tag| events.push(SessionEvent::Answered { tag, id, answer: IncomingAnswer::Lost }));
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; calling it earlier does no harm.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.pending.earliest()
    }

    /// Requests of ours that wait for answers.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// What it has seen so far.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    fn decode(&mut self, frame: &Bytes) -> Option<(u32, Incoming)> {
        if frame.len() > self.limits.frame_bytes_max {
            return None;
        }
        if self.dialect.is_none() {
            self.dialect = detect_dialect(frame);
        }
        let dialects: &[Dialect] = match self.dialect {
            Some(Dialect::Named) => &[Dialect::Named],
            Some(Dialect::Seed) => &[Dialect::Seed],
            // Somebody who doesn't start with setup; in whichever form, it can be told so.
            None => &[Dialect::Named, Dialect::Seed],
        };
        dialects.iter().find_map(|dialect| {
            let packet = Packet::decode(frame, *dialect, self.extensions).ok()?;
            let few = packet.body.data().len() <= self.limits.entries_max;
            few.then(|| (packet.request_id, own(frame, *dialect, packet.body)))
        })
    }

    fn undecodable(&mut self, frame: &[u8], events: &mut Vec<SessionEvent>) -> Result<(), TooManyErrors> {
        self.counters.decode_errors += 1;
        if let Some((packet_type, id)) = Packet::peek_request_id(frame)
            && PacketType::from_byte(packet_type).is_some_and(PacketType::is_answer)
            && let Some(tag) = self.pending.take(id)
        {
            events.push(SessionEvent::Answered { tag, id, answer: IncomingAnswer::Malformed });
        }
        let errors = self.counters.decode_errors;
        if errors > self.limits.decode_errors_max { Err(TooManyErrors { errors }) } else { Ok(()) }
    }

    fn write(&mut self, request_id: u32, body: Body<'_>, frames: &mut Vec<Bytes>) -> Result<(), EncodeError> {
        let packet = Packet { request_id, body: if self.short_errors { shortened(body) } else { body } };
        let length = packet.encoded_len();
        // A large frame has memory of its own: the rest of a shared piece would hold on to all of it when the frame is long gone.
        let mut own = BytesMut::new();
        let out = if length > CHUNK_BYTES { &mut own } else { &mut self.out };
        if out.capacity() < length {
            out.reserve(length.max(CHUNK_BYTES));
        }
        if let Err(error) = packet.encode(out) {
            out.clear();
            return Err(error);
        }
        frames.push(out.split().freeze());
        self.counters.frames_out += 1;
        Ok(())
    }
}

fn shortened(body: Body<'_>) -> Body<'_> {
    match body {
        Body::Error { reason, data } => Body::Error { reason: reason.error().shortened().into(), data },
        Body::Reject(reject) => Body::Reject(Reject { reason: reject.reason.error().shortened().into(), ..reject }),
        other => other,
    }
}

/// Frames share allocations of this size: about a hundred frames each.
const CHUNK_BYTES: usize = 16 << 10;
