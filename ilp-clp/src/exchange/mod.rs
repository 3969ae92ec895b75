//! Requests with transfers, and what comes back: the application's view of a connection.

mod config;
mod held;
mod incoming;
mod outgoing;
mod types;

pub use config::{ExchangeConfig, ExchangeLimits, Role};
pub use types::{Confirmation, Failure, HandlerError, HandlerReply, HandlerRequest, LocalFailure, Reply, Settled, Transfer, Via};

use crate::session::{Answer, IncomingRequest, Session, SessionCounters, SessionEvent, TooManyErrors};
use crate::setup::{Setup, SetupEvent};
use crate::{InterledgerError, ProtocolBuffer};
use bytes::Bytes;
use ilp_oer::clp::{Dialect, ProtocolData};
use ilp_oer::{Address, ErrorCode, Timestamp, TransferId};
use incoming::Incoming;
use outgoing::Outgoing;
use std::fmt::{self, Debug};

/// One connection as an application sees it, as a pure state machine over [`Session`] and [`Setup`]: requests go out and their
/// outcomes come back, whatever order the packets of both sides take.
///
/// Order of calls: [`start`](Self::start) once; then inputs ([`handle_frame`](Self::handle_frame),
/// [`handle_timeout`](Self::handle_timeout)) and commands ([`send_request`](Self::send_request), [`respond`](Self::respond),
/// [`accept`](Self::accept), [`refuse`](Self::refuse)) in any order; last [`handle_close`](Self::handle_close). Each pushes to an
/// [`ExchangeOutput`], which the caller drains. After each, [`next_timeout`](Self::next_timeout) may have changed. `now` never runs
/// backwards.
///
/// # What is promised
///
/// - Every [`send_request`](Self::send_request) ends in exactly one [`ExchangeEvent::Done`].
/// - Every [`ExchangeEvent::Request`] wants exactly one [`respond`](Self::respond); without it, a conditional transfer is rejected
///   at its expiry.
/// - A transfer of the peer's is handed out once, however often the peer repeats it; a repetition is answered as the first was.
/// - After its expiry nothing is fulfilled, in either direction.
#[derive(Debug)]
pub struct Exchange {
    session: Session,
    setup: Setup,
    config: ExchangeConfig,
    outgoing: Outgoing,
    incoming: Incoming,
    session_events: Vec<SessionEvent>,
    setup_events: Vec<SetupEvent>,
    closed: bool,
}

/// What one or several calls of an [`Exchange`] produced.
#[derive(Default)]
pub struct ExchangeOutput {
    /// For the application, in order.
    pub events: Vec<ExchangeEvent>,
    /// For the socket, in order.
    pub frames: Vec<Bytes>,
}

/// Without the frames: one of them may hold our token.
impl Debug for ExchangeOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = format_args!("{} frames", self.frames.len());
        f.debug_struct("ExchangeOutput").field("events", &self.events).field("frames", &frames).finish()
    }
}

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExchangeEvent {
    /// Something about the connection itself.
    Setup(SetupEvent),
    /// The peer wants something; answer with [`Exchange::respond`].
    Request {
        /// For the answer.
        key: RequestKey,
        /// What it wants.
        request: HandlerRequest,
    },
    /// The end of a request of ours.
    Done {
        /// As given.
        tag: u64,
        /// How it ended.
        outcome: Result<Reply, Failure>,
    },
    /// The end of a conditional transfer of the peer's.
    Settled(Settled),
}

/// The number of a request of the peer's, ours to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(u64);

/// What the parts of an exchange work with.
struct Context<'a> {
    session: &'a mut Session,
    config: &'a ExchangeConfig,
    now: Timestamp,
    out: &'a mut ExchangeOutput,
}

impl Exchange {
    /// An exchange at the start of a connection.
    pub fn new(config: ExchangeConfig, role: &Role) -> Self {
        let setup_config = config.setup.clone();
        let setup = match role {
            Role::Client(credentials) => Setup::client(setup_config, credentials.clone()),
            Role::Server => Setup::server(setup_config),
            Role::Client2017 => Setup::client_2017(setup_config),
            Role::Server2017(credentials) => Setup::server_2017(setup_config, credentials.clone()),
        };
        Self {
            session: Session::new(config.session.clone()),
            setup,
            config,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            session_events: Vec::new(),
            setup_events: Vec::new(),
            closed: false,
        }
    }

    /// The connection is open. A client authenticates itself here.
    pub fn start(&mut self, now: Timestamp, out: &mut ExchangeOutput) {
        self.setup.start(&mut self.session, now, &mut out.frames, &mut self.setup_events);
        self.hand_over_setup_events(out);
    }

    /// One whole frame came in.
    ///
    /// # Errors
    /// When the peer has sent too much that can't be decoded; the caller closes the connection.
    pub fn handle_frame(&mut self, frame: Bytes, now: Timestamp, out: &mut ExchangeOutput) -> Result<(), TooManyErrors> {
        let mut events = std::mem::take(&mut self.session_events);
        let result = self.session.handle_frame(frame, &mut events);
        self.dispatch(&mut events, now, out);
        self.session_events = events;
        result
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut ExchangeOutput) {
        let mut events = std::mem::take(&mut self.session_events);
        // Transfers first: at their own time they end as what they are, not as a request that nobody answered.
        let (outgoing, incoming, mut context) = self.split(now, out);
        outgoing.handle_timeout(&mut context);
        incoming.handle_timeout(&mut context);
        self.session.handle_timeout(now, &mut events);
        self.dispatch(&mut events, now, out);
        self.setup.handle_timeout(now, &mut self.setup_events);
        self.hand_over_setup_events(out);
        self.session_events = events;
    }

    /// The connection is gone: everything under way ends.
    pub fn handle_close(&mut self, now: Timestamp, out: &mut ExchangeOutput) {
        self.closed = true;
        let mut events = std::mem::take(&mut self.session_events);
        self.session.handle_close(&mut events);
        self.dispatch(&mut events, now, out);
        let (outgoing, incoming, mut context) = self.split(now, out);
        outgoing.handle_close(&mut context);
        incoming.handle_close(&mut context);
        self.session_events = events;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; calling it earlier does no harm.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        [self.session.next_timeout(), self.setup.next_timeout(), self.outgoing.next_timeout(), self.incoming.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Sends a request. `id` identifies the transfer, if there is one: 128 random bits, or those of an earlier attempt on another
    /// connection that the peer shall recognise. The outcome comes as [`ExchangeEvent::Done`] with `tag`.
    pub fn send_request(
        &mut self,
        tag: u64,
        id: TransferId,
        data: &ProtocolBuffer,
        transfer: Transfer,
        now: Timestamp,
        out: &mut ExchangeOutput,
    ) {
        if self.closed || !self.setup.is_open() {
            out.events.push(ExchangeEvent::Done { tag, outcome: Err(LocalFailure::Closed.into()) });
            return;
        }
        let (outgoing, _, mut context) = self.split(now, out);
        outgoing.send_request(tag, id, data, transfer, &mut context);
    }

    /// The handler's answer to [`ExchangeEvent::Request`]. If it comes too late it is ignored.
    pub fn respond(&mut self, key: RequestKey, result: Result<HandlerReply, HandlerError>, now: Timestamp, out: &mut ExchangeOutput) {
        let (_, incoming, mut context) = self.split(now, out);
        incoming.respond(key, result, &mut context);
    }

    /// The handler broke down without an answer: the peer gets T00, and a hold is released.
    pub fn respond_panicked(&mut self, key: RequestKey, now: Timestamp, out: &mut ExchangeOutput) {
        let error = self.error(ErrorCode::T00_INTERNAL_ERROR, now, "the handler failed");
        self.respond(key, Err(error.into()), now, out);
    }

    /// The peer's credentials were right.
    pub fn accept(&mut self, address: &Address, now: Timestamp, out: &mut ExchangeOutput) {
        let mut events = self.setup.accept(address, &mut self.session, &mut out.frames);
        self.dispatch(&mut events, now, out);
    }

    /// The peer's credentials were wrong: it is told so. The caller closes the connection once the frames have been sent.
    pub fn refuse(&mut self, now: Timestamp, out: &mut ExchangeOutput) {
        self.setup.refuse(&mut self.session, now, &mut out.frames);
    }

    /// The peer's dialect; the named one until it is known.
    pub fn dialect(&self) -> Dialect {
        self.session.dialect().unwrap_or(Dialect::Named)
    }

    /// Whether the peer takes unconditional transfers.
    pub fn takes_transfers(&self) -> bool {
        self.session.takes_transfers()
    }

    /// What the session has seen.
    pub fn counters(&self) -> SessionCounters {
        self.session.counters()
    }

    /// An ILP error of ours, as handlers need it.
    pub fn error(&self, code: ErrorCode, now: Timestamp, text: &str) -> InterledgerError {
        InterledgerError::ours(code, &self.config.setup.address, now, text)
    }

    fn split<'a>(&'a mut self, now: Timestamp, out: &'a mut ExchangeOutput) -> (&'a mut Outgoing, &'a mut Incoming, Context<'a>) {
        let context = Context { session: &mut self.session, config: &self.config, now, out };
        (&mut self.outgoing, &mut self.incoming, context)
    }

    fn dispatch(&mut self, events: &mut Vec<SessionEvent>, now: Timestamp, out: &mut ExchangeOutput) {
        for event in events.drain(..) {
            let event = self.setup.handle(event, &mut self.session, now, &mut out.frames, &mut self.setup_events);
            self.hand_over_setup_events(out);
            let (outgoing, incoming, mut context) = self.split(now, out);
            match event {
                None => {}
                Some(SessionEvent::Answered { tag, answer, .. }) => {
                    // Both keep their own tags: even ones are for requests, odd ones for fulfills and rejects.
                    if tag % 2 == 0 { outgoing.answered(tag, answer, &mut context) } else { incoming.answered(tag, answer, &mut context) }
                }
                Some(SessionEvent::Request { id, request }) => match request {
                    IncomingRequest::Fulfill { transfer_id, fulfillment, data } => {
                        outgoing.fulfilled(id, transfer_id, fulfillment, data, &mut context);
                    }
                    IncomingRequest::Reject { transfer_id, reason, data } => {
                        outgoing.rejected(id, transfer_id, reason, data, &mut context);
                    }
                    request => incoming.requested(id, request, &mut context),
                },
            }
        }
    }

    fn hand_over_setup_events(&mut self, out: &mut ExchangeOutput) {
        for event in self.setup_events.drain(..) {
            if let SetupEvent::Claim { request, .. } = &event {
                // An empty ack always fits.
                let _ = self.session.answer(*request, Answer::Ack(ProtocolData::EMPTY), &mut out.frames);
            }
            out.events.push(ExchangeEvent::Setup(event));
        }
    }
}

impl Context<'_> {
    fn ack(&mut self, id: u32) {
        self.answer(id, &Ok(ProtocolBuffer::EMPTY));
    }

    fn refuse(&mut self, id: u32, code: ErrorCode, text: &str) {
        let error = self.error(code, text);
        self.answer(id, &Err(error.into()));
    }

    fn error(&self, code: ErrorCode, text: &str) -> InterledgerError {
        InterledgerError::ours(code, &self.config.setup.address, self.now, text)
    }

    /// Answers a request: with an Ack if there is nothing to say.
    fn answer(&mut self, id: u32, result: &Result<ProtocolBuffer, HandlerError>) {
        let (data, error) = match result {
            Ok(data) => (data, None),
            Err(error) => (&error.protocol_data, error.ilp.reason()),
        };
        let data = self.suitable(data);
        let entries = data.entries();
        let content = ProtocolData::entries(data.dialect(), &entries);
        let answer = match error {
            Some(reason) => Answer::Error { reason, data: content },
            None if data.is_empty() => Answer::Ack(content),
            None => Answer::Response(content),
        };
        // Can't fail: all parts were checked when they were made.
        let _ = self.session.answer(id, answer, &mut self.out.frames);
    }

    /// A handler's data, or none if it is in the wrong dialect: an answer matters more than what goes with it.
    fn suitable<'a>(&self, data: &'a ProtocolBuffer) -> &'a ProtocolBuffer {
        static NOTHING: ProtocolBuffer = ProtocolBuffer::EMPTY;
        if data.suits(self.session.dialect().unwrap_or(Dialect::Named)) { data } else { &NOTHING }
    }

    fn done(&mut self, tag: u64, outcome: Result<Reply, Failure>) {
        self.out.events.push(ExchangeEvent::Done { tag, outcome });
    }
}
