//! CLP on one connection, as the worker sees it.

use super::payload::{entry, payload};
use bytes::Bytes;
use ilp_clp::{
    Answer as ClpAnswer, Credentials as ClpCredentials, IncomingAnswer, IncomingRequest, Request, Session, SessionConfig, SessionEvent,
    SessionLimits, Setup, SetupConfig, SetupEvent, credentials_from_path,
};
use ilp_core::Limits;
use ilp_core::link::{
    Answer, Claim, ClaimKind, Credentials, IncomingPrepare, Link, LinkCommand, LinkEvent, LinkOutput, PeerProtocol, RequestId, SubProtocol,
};
use ilp_oer::clp::{Dialect, Fulfill, Prepare, ProtocolData, Reject, RejectionReason};
use ilp_oer::{Address, Timestamp};

/// How long a request of ours waits for its answer, in milliseconds. What it waits for is only the peer's word that it has it: money
/// has deadlines of its own.
const ANSWER_MS_MAX: i64 = 30_000;

/// How long a 2017 peer that came to us is left in peace, in milliseconds, unless it speaks first.
const QUIET_MS: i64 = 250;

/// A [`Link`] over a CLP [`Session`], for all three forms: named, seed, and 2017.
#[derive(Debug)]
pub struct ClpLink {
    session: Session,
    setup: Setup,
    form_2017: bool,
    incoming: bool,
    /// A 2017 peer that came to us isn't spoken to before this time, unless it speaks first: its client loses what comes in the
    /// first instant.
    quiet_until: Option<Timestamp>,
    events: Vec<SessionEvent>,
    setup_events: Vec<SetupEvent>,
}

impl ClpLink {
    /// The link of a connection that came to us with this request path. Two segments or more are the 2017 form: name and token are the
    /// last two. Otherwise the peer authenticates by setup, in either dialect.
    pub fn incoming(connector: &Address, path: &str) -> Self {
        let config = SetupConfig::new(connector.clone());
        match credentials_from_path(path) {
            Some(credentials) => {
                let setup = Setup::server_2017(config, credentials);
                Self { incoming: true, ..Self::with_dialect(setup, true, Some(Dialect::Named)) }
            }
            None => Self { incoming: true, ..Self::with_dialect(Setup::server(config), false, None) },
        }
    }

    /// The link of a connection that we dialled. In the 2017 form login and token belong to the request's path, and are ignored here.
    pub fn outgoing(connector: &Address, protocol: PeerProtocol, login: &[u8], token: &[u8]) -> Self {
        let config = SetupConfig::new(connector.clone());
        let setup = match protocol {
            PeerProtocol::Clp2017 => Setup::client_2017(config),
            PeerProtocol::Clp | PeerProtocol::ClpSeed => Setup::client(config, ClpCredentials::new(login, token, "")),
        };
        Self::new(setup, protocol)
    }

    fn new(setup: Setup, protocol: PeerProtocol) -> Self {
        let dialect = match protocol {
            PeerProtocol::Clp | PeerProtocol::Clp2017 => Dialect::Named,
            PeerProtocol::ClpSeed => Dialect::Seed,
        };
        Self::with_dialect(setup, protocol == PeerProtocol::Clp2017, Some(dialect))
    }

    fn with_dialect(setup: Setup, form_2017: bool, dialect: Option<Dialect>) -> Self {
        // A node of 2017 can't read errors of 128 bytes or more.
        let config = SessionConfig { dialect, short_errors: form_2017, limits: session_limits(&Limits::default()) };
        let session = Session::new(config);
        Self { session, setup, form_2017, incoming: false, quiet_until: None, events: Vec::new(), setup_events: Vec::new() }
    }

    /// The same with other limits; before [`start`](Link::start).
    #[must_use]
    pub fn with_limits(self, limits: &Limits) -> Self {
        let config = SessionConfig { dialect: self.session.dialect(), short_errors: self.form_2017, limits: session_limits(limits) };
        Self { session: Session::new(config), ..self }
    }

    fn dialect(&self) -> Dialect {
        self.session.dialect().unwrap_or(Dialect::Named)
    }

    /// Passes on what the session has found.
    fn drain(&mut self, now: Timestamp, out: &mut LinkOutput) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let rest = self.setup.handle(event, &mut self.session, now, &mut out.frames, &mut self.setup_events);
            out.events.extend(rest.map(translate));
        }
        self.events = events;
        self.drain_setup(out);
    }

    fn drain_setup(&mut self, out: &mut LinkOutput) {
        for event in self.setup_events.drain(..) {
            match event {
                SetupEvent::Authenticate(ClpCredentials { account, token, target }) => {
                    let protocol = match (self.form_2017, self.session.dialect()) {
                        (true, _) => PeerProtocol::Clp2017,
                        (false, Some(Dialect::Seed)) => PeerProtocol::ClpSeed,
                        (false, _) => PeerProtocol::Clp,
                    };
                    out.events.push(LinkEvent::Authenticate(Credentials { protocol, account, token, target, certificate: None }));
                }
                SetupEvent::Authenticated { address } => out.events.push(LinkEvent::Authenticated { address }),
                SetupEvent::Claim { request, coin, network, wallet, proof } => {
                    let claim = Claim { kind: ClaimKind::Mine, subject: format!("{coin}/{network}/{wallet}"), proof: proof.into() };
                    out.events.push(LinkEvent::Claim { request, claim });
                }
                SetupEvent::Negotiated(_) => {}
                SetupEvent::Failed(failure) => out.close = Some(failure.to_string()),
            }
        }
    }

    /// The 2017 peer has spoken, or had its time: now it may be authenticated, and after that spoken to.
    fn end_quiet(&mut self, now: Timestamp, out: &mut LinkOutput) {
        if self.quiet_until.take().is_some() {
            self.setup.start(&mut self.session, now, &mut out.frames, &mut self.setup_events);
            self.drain_setup(out);
        }
    }

    /// Sends a request; one that can't be sent has ended, and the connection with it: what waits for it goes to the next one.
    fn request(&mut self, tag: u64, request: Request<'_>, now: Timestamp, out: &mut LinkOutput) {
        if let Err(error) = self.session.send(tag, request, now, ANSWER_MS_MAX, &mut out.frames) {
            out.close = Some(format!("a request can't be sent: {error}"));
            out.events.push(LinkEvent::Answered { tag, answer: Answer::Lost });
        }
    }

    fn answer(&mut self, request: RequestId, answer: &Answer, out: &mut LinkOutput) {
        let dialect = self.dialect();
        let frames = &mut out.frames;
        let data = ProtocolData::EMPTY;
        let sent = match answer {
            Answer::Ack => self.session.answer(request, ClpAnswer::Ack(data), frames),
            Answer::Response(payload) => {
                let entry = entry(dialect, payload.protocol, &payload.data);
                let entries = entry.as_slice();
                self.session.answer(request, ClpAnswer::Response(ProtocolData::entries(dialect, entries)), frames)
            }
            Answer::Error(reason) => match RejectionReason::from_bytes(reason) {
                Ok(reason) => self.session.answer(request, ClpAnswer::Error { reason, data }, frames),
                Err(error) => {
                    out.close = Some(format!("an error for the peer can't be written: {error}"));
                    return;
                }
            },
            Answer::TimedOut | Answer::Lost => return,
        };
        if let Err(error) = sent {
            out.close = Some(format!("an answer for the peer can't be written: {error}"));
        }
    }
}

impl Link for ClpLink {
    fn start(&mut self, now: Timestamp, out: &mut LinkOutput) {
        if self.form_2017 && self.incoming {
            self.quiet_until = Some(now.saturating_add_millis(QUIET_MS));
            return;
        }
        self.setup.start(&mut self.session, now, &mut out.frames, &mut self.setup_events);
        self.drain_setup(out);
    }

    fn receive(&mut self, frame: Bytes, now: Timestamp, out: &mut LinkOutput) {
        self.end_quiet(now, out);
        let result = self.session.handle_frame(frame, &mut self.events);
        self.drain(now, out);
        if let Err(error) = result {
            out.close = Some(error.to_string());
        }
    }

    fn command(&mut self, command: LinkCommand, now: Timestamp, out: &mut LinkOutput) {
        match command {
            LinkCommand::Prepare { tag, id, amount, condition, expires_at, packet } => {
                let dialect = self.dialect();
                let entry = entry(dialect, SubProtocol::Ilp, &packet);
                let data = ProtocolData::entries(dialect, entry.as_slice());
                let prepare = Prepare { transfer_id: id, amount, condition, expires_at, data };
                self.request(tag, Request::Prepare(prepare), now, out);
            }
            LinkCommand::Fulfill { tag, id, fulfillment } => {
                let fulfill = Fulfill { transfer_id: id, fulfillment, data: ProtocolData::EMPTY };
                self.request(tag, Request::Fulfill(fulfill), now, out);
            }
            LinkCommand::Reject { tag, id, reason } => match RejectionReason::from_bytes(&reason) {
                Ok(reason) => {
                    let reject = Reject { transfer_id: id, reason, data: ProtocolData::EMPTY };
                    self.request(tag, Request::Reject(reject), now, out);
                }
                Err(_) => out.events.push(LinkEvent::Answered { tag, answer: Answer::Lost }),
            },
            LinkCommand::Answer { request, answer } => self.answer(request, &answer, out),
            LinkCommand::Accept { address } => {
                let early = self.setup.accept(&address, &mut self.session, &mut out.frames);
                out.events.extend(early.into_iter().map(translate));
            }
            LinkCommand::Refuse => {
                self.setup.refuse(&mut self.session, now, &mut out.frames);
                out.close = Some("wrong credentials".into());
            }
            LinkCommand::Redirect { why } => {
                self.setup.redirect(&why, &mut self.session, now, &mut out.frames);
                out.close = Some(why);
            }
            LinkCommand::Close { reason } => out.close = Some(reason),
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut LinkOutput) {
        if self.quiet_until.is_some_and(|until| until <= now) {
            self.end_quiet(now, out);
        }
        self.session.handle_timeout(now, &mut self.events);
        self.setup.handle_timeout(now, &mut self.setup_events);
        self.drain(now, out);
    }

    fn closed(&mut self, out: &mut LinkOutput) {
        self.session.handle_close(&mut self.events);
        let is_workers = |event: &SessionEvent| matches!(event, SessionEvent::Answered { id, .. } if !self.setup.is_waiting_for(*id));
        out.events.extend(self.events.drain(..).filter(is_workers).map(translate));
    }
}

/// What of the connector's limits a session keeps to.
fn session_limits(limits: &Limits) -> SessionLimits {
    SessionLimits {
        pending_max: limits.unanswered_requests,
        decode_errors_max: limits.undecodable_packets,
        frame_bytes_max: limits.frame_bytes,
        entries_max: limits.entries_per_packet,
    }
}

fn translate(event: SessionEvent) -> LinkEvent {
    match event {
        SessionEvent::Request { id: request, request: incoming } => match incoming {
            IncomingRequest::Prepare { transfer_id, amount, condition, expires_at, data } => LinkEvent::Prepare {
                request,
                transfer: IncomingPrepare { id: transfer_id, amount, condition, expires_at, payload: payload(&data) },
            },
            IncomingRequest::Fulfill { transfer_id, fulfillment, .. } => LinkEvent::Fulfill { request, id: transfer_id, fulfillment },
            IncomingRequest::Reject { transfer_id, reason, .. } => {
                LinkEvent::Reject { request, id: transfer_id, reason: reason.as_bytes().clone() }
            }
            IncomingRequest::Transfer { transfer_id, amount, expires_at, data } => {
                LinkEvent::Transfer { request, id: transfer_id, amount, expires_at, payload: payload(&data) }
            }
            IncomingRequest::Message { data } => LinkEvent::Message { request, payload: payload(&data) },
        },
        SessionEvent::Answered { tag, answer, .. } => {
            let answer = match answer {
                IncomingAnswer::Ack(_) => Answer::Ack,
                IncomingAnswer::Response(data) => Answer::Response(payload(&data)),
                IncomingAnswer::Error { reason, .. } => Answer::Error(reason.as_bytes().clone()),
                // What can't be read says as little as silence.
                IncomingAnswer::Malformed | IncomingAnswer::TimedOut => Answer::TimedOut,
                IncomingAnswer::Lost => Answer::Lost,
            };
            LinkEvent::Answered { tag, answer }
        }
    }
}
