//! Who is at the other end, and what it speaks: the `setup` sub-protocol, and the form of 2017 that has none.

mod credentials;
mod protocols;
mod types;

pub use credentials::{Credentials, credentials_from_path};
pub use protocols::Protocols;
pub use types::{SetupConfig, SetupEvent, SetupFailure};

use crate::session::{Answer, IncomingAnswer, IncomingRequest, Request, Session, SessionEvent};
use crate::{InterledgerError, ProtocolBuffer};
use bytes::Bytes;
use ilp_oer::clp::{Dialect, Entry, Protocol, ProtocolData};
use ilp_oer::{Address, ErrorCode, Timestamp, sub};
use zeroize::Zeroizing;

/// The start of a connection, as a pure state machine above a [`Session`].
///
/// Order of calls: [`start`](Self::start) once; then every event of the session goes through [`handle`](Self::handle), which gives
/// back those that are the application's; [`accept`](Self::accept) or [`refuse`](Self::refuse) answers
/// [`SetupEvent::Authenticate`]; [`handle_timeout`](Self::handle_timeout) when [`next_timeout`](Self::next_timeout) has come.
///
/// Before a peer is authenticated everything but setup 0.1 is refused with Error F00 `not authenticated`. A wrong token, an unknown
/// account and a request out of turn get the same bytes.
#[derive(Debug)]
pub struct Setup {
    config: SetupConfig,
    state: State,
    negotiated: Option<Protocols>,
    /// The request of ours that was last sent, until it is answered.
    asked: Option<u32>,
    deadline: Option<Timestamp>,
    /// Requests that came before the peer of a 2017 connection was accepted.
    early: Vec<SessionEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Client: about to send 0.1; or, without credentials, of 2017, where there is nothing to send.
    Dialled(Option<Credentials>),
    /// Client: 0.1 is on its way, with these.
    Asking(Credentials),
    /// Server of 2017: about to ask whether the path's credentials are right.
    Path(Credentials),
    /// Server: nothing heard yet.
    Silent,
    /// Server: `Authenticate` was given out. The request to answer, which a 2017 connection doesn't have.
    Deciding(Option<u32>),
    /// Both: the application's turn.
    Open,
    /// Both: over.
    Refused,
}

impl Setup {
    /// The server's end.
    pub fn server(config: SetupConfig) -> Self {
        Self::new(config, State::Silent)
    }

    /// The client's end.
    pub fn client(config: SetupConfig, credentials: Credentials) -> Self {
        Self::new(config, State::Dialled(Some(credentials)))
    }

    /// The server's end of a 2017 connection, with the credentials of its path, see [`credentials_from_path`]. Requests that come
    /// before [`accept`](Self::accept) wait for it.
    pub fn server_2017(config: SetupConfig, credentials: Credentials) -> Self {
        Self::new(config, State::Path(credentials))
    }

    /// The client's end of a 2017 connection: whoever could connect is in.
    pub fn client_2017(config: SetupConfig) -> Self {
        Self::new(config, State::Dialled(None))
    }

    fn new(config: SetupConfig, state: State) -> Self {
        Self { config, state, negotiated: None, asked: None, deadline: None, early: Vec::new() }
    }

    /// The connection is open. A client authenticates itself here, in the session's dialect (named, if none is set); a server of 2017
    /// gives out the path's credentials.
    pub fn start(&mut self, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>, events: &mut Vec<SetupEvent>) {
        match std::mem::replace(&mut self.state, State::Refused) {
            State::Dialled(None) => {
                self.state = State::Open;
                events.push(SetupEvent::Authenticated { address: None });
            }
            State::Dialled(Some(credentials)) => {
                let Credentials { account, token, target } = &credentials;
                if self.ask(&sub::Setup::Authenticate { token, account, target }, session, now, frames) {
                    self.state = State::Asking(credentials);
                } else {
                    events.push(SetupEvent::Failed(SetupFailure::Credentials));
                }
            }
            State::Path(credentials) => {
                self.state = State::Deciding(None);
                events.push(SetupEvent::Authenticate(credentials));
            }
            state => {
                self.deadline = (state == State::Silent).then(|| now.saturating_add_millis(self.config.timeout_ms));
                self.state = state;
            }
        }
    }

    /// Takes what is setup's out of the session's events; what is given back is the application's.
    pub fn handle(
        &mut self,
        event: SessionEvent,
        session: &mut Session,
        now: Timestamp,
        frames: &mut Vec<Bytes>,
        events: &mut Vec<SetupEvent>,
    ) -> Option<SessionEvent> {
        match event {
            SessionEvent::Answered { id, answer, .. } if self.asked == Some(id) => {
                self.asked = None;
                self.answered(answer, session, now, frames, events);
                None
            }
            SessionEvent::Request { id, request: IncomingRequest::Message { data } } if self.is_setup(&data) => {
                self.asked_by_peer(id, &data.first_data(), session, now, frames, events);
                None
            }
            SessionEvent::Request { id, .. } => match self.state {
                State::Open => Some(event),
                State::Deciding(None) if self.early.len() < EARLY_MAX => {
                    self.early.push(event);
                    None
                }
                _ => {
                    self.not_authenticated(id, session, now, frames);
                    None
                }
            },
            SessionEvent::Answered { .. } => Some(event),
        }
    }

    /// The credentials were right. Gives back the requests that had to wait, in order.
    pub fn accept(&mut self, address: &Address, session: &mut Session, frames: &mut Vec<Bytes>) -> Vec<SessionEvent> {
        if let State::Deciding(request) = self.state {
            self.state = State::Open;
            self.deadline = None;
            if let Some(id) = request {
                respond(&sub::Setup::Authenticated { address: address.as_addr() }, id, session, frames);
            }
        }
        std::mem::take(&mut self.early)
    }

    /// The credentials were wrong, in whatever way. The caller closes the connection once the frames have been sent.
    pub fn refuse(&mut self, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>) {
        self.turn_away(ErrorCode::F00_BAD_REQUEST, NOT_AUTHENTICATED, session, now, frames);
    }

    /// The credentials were right, but the peer has to connect elsewhere, as `why` says (Error T01). The caller closes the connection once the
    /// frames have been sent.
    pub fn redirect(&mut self, why: &str, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>) {
        self.turn_away(ErrorCode::T01_LEDGER_UNREACHABLE, why, session, now, frames);
    }

    fn turn_away(&mut self, code: ErrorCode, why: &str, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>) {
        let early = std::mem::take(&mut self.early);
        if let State::Deciding(request) = std::mem::replace(&mut self.state, State::Refused) {
            let early = early.iter().filter_map(|event| match event {
                SessionEvent::Request { id, .. } => Some(*id),
                SessionEvent::Answered { .. } => None,
            });
            for id in request.into_iter().chain(early) {
                self.error(id, code, why, session, now, frames);
            }
        }
    }

    /// Gives up on a peer that takes too long.
    pub fn handle_timeout(&mut self, now: Timestamp, events: &mut Vec<SetupEvent>) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.state = State::Refused;
            events.push(SetupEvent::Failed(SetupFailure::TimedOut));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Whether the application's requests pass.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// What both sides have listed; `None` until they have.
    pub fn negotiated(&self) -> Option<&Protocols> {
        self.negotiated.as_ref()
    }

    /// Whether that request is setup's own. Its end goes through [`handle`](Self::handle) like that of any other, unless there is nobody
    /// left whom it concerns.
    pub fn is_waiting_for(&self, request: u32) -> bool {
        self.asked == Some(request)
    }

    /// Our own address and protocols.
    pub fn config(&self) -> &SetupConfig {
        &self.config
    }

    fn is_setup(&self, data: &ProtocolBuffer) -> bool {
        data.first().is_some_and(|entry| match entry.protocol {
            Protocol::Name(name) => name == sub::names::SETUP,
            Protocol::Id(id) => id == sub::names::SETUP_ID,
        })
    }

    fn ask(&mut self, request: &sub::Setup<'_>, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>) -> bool {
        let Ok(data) = request.to_vec().map(Zeroizing::new) else { return false };
        let dialect = session.dialect().unwrap_or(Dialect::Named);
        session.set_dialect(dialect);
        let entries = [setup_entry(dialect, &data)];
        let request = Request::Message(ProtocolData::entries(dialect, &entries));
        self.asked = session.send(SETUP_TAG, request, now, self.config.timeout_ms, frames).ok();
        self.asked.is_some()
    }

    /// The server has answered 0.1, or 0.2.
    fn answered(
        &mut self,
        answer: IncomingAnswer,
        session: &mut Session,
        now: Timestamp,
        frames: &mut Vec<Bytes>,
        events: &mut Vec<SetupEvent>,
    ) {
        let content = match &answer {
            IncomingAnswer::Response(data) if self.is_setup(data) => data.first_data(),
            _ => Bytes::new(),
        };
        let content = sub::Setup::decode_answer(&content);
        if self.state == State::Open {
            // A peer that knows no 0.2 is none the worse: it has just no extensions.
            if let Ok(sub::Setup::Protocols(theirs)) = content {
                self.negotiate(theirs.iter(), session, events);
            }
            return;
        }
        match (content, answer) {
            (Ok(sub::Setup::Authenticated { address }), _) => {
                self.state = State::Open;
                events.push(SetupEvent::Authenticated { address: Some(address.to_address()) });
                let protocols = self.config.protocols.clone();
                let list: Vec<_> = protocols.iter().collect();
                self.ask(&sub::Setup::Protocols(sub::ProtocolList::new(&list)), session, now, frames);
            }
            (_, answer) => {
                let ours = std::mem::replace(&mut self.state, State::Refused);
                events.push(SetupEvent::Failed(match answer {
                    IncomingAnswer::Error { reason, .. } if repeats_token(&ours, reason.as_bytes()) => {
                        let text = "what the server says is left out: our token is in it";
                        SetupFailure::Refused(InterledgerError::ours(reason.code(), &self.config.address, now, text))
                    }
                    IncomingAnswer::Error { reason, .. } => SetupFailure::Refused(reason),
                    IncomingAnswer::TimedOut => SetupFailure::TimedOut,
                    IncomingAnswer::Lost => SetupFailure::Closed,
                    _ => SetupFailure::Unexpected,
                }));
            }
        }
    }

    /// A setup request of the peer's.
    fn asked_by_peer(
        &mut self,
        id: u32,
        content: &[u8],
        session: &mut Session,
        now: Timestamp,
        frames: &mut Vec<Bytes>,
        events: &mut Vec<SetupEvent>,
    ) {
        match (&self.state, sub::Setup::decode_request(content)) {
            (State::Silent, Ok(sub::Setup::Authenticate { token, account, target })) => {
                self.state = State::Deciding(Some(id));
                // How long a decision takes isn't the peer's fault.
                self.deadline = None;
                events.push(SetupEvent::Authenticate(Credentials::new(account, token, target)));
            }
            (State::Open, Ok(sub::Setup::Protocols(theirs))) => {
                let list: Vec<_> = self.config.protocols.iter().collect();
                respond(&sub::Setup::Protocols(sub::ProtocolList::new(&list)), id, session, frames);
                self.negotiate(theirs.iter(), session, events);
            }
            (State::Open, Ok(sub::Setup::VouchFor { coin, network, wallet, proof })) => {
                events.push(SetupEvent::Claim {
                    request: id,
                    coin: coin.to_owned(),
                    network: network.to_owned(),
                    wallet: wallet.to_owned(),
                    proof: proof.to_vec(),
                });
            }
            (State::Open, Ok(_)) => self.error(id, ErrorCode::F00_BAD_REQUEST, "already authenticated", session, now, frames),
            (State::Open, Err(_)) => self.error(id, ErrorCode::F01_INVALID_PACKET, "cannot read setup", session, now, frames),
            _ => self.not_authenticated(id, session, now, frames),
        }
    }

    fn negotiate<'a>(&mut self, theirs: impl Iterator<Item = (u8, &'a str)>, session: &mut Session, events: &mut Vec<SetupEvent>) {
        let common = self.config.protocols.common(theirs);
        session.set_takes_transfers(common.contains(sub::names::TRANSFER_ID));
        events.push(SetupEvent::Negotiated(common.clone()));
        self.negotiated = Some(common);
    }

    fn not_authenticated(&self, id: u32, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>) {
        self.error(id, ErrorCode::F00_BAD_REQUEST, NOT_AUTHENTICATED, session, now, frames);
    }

    fn error(&self, id: u32, code: ErrorCode, text: &str, session: &mut Session, now: Timestamp, frames: &mut Vec<Bytes>) {
        let error = InterledgerError::ours(code, &self.config.address, now, text);
        if let Some(reason) = error.reason() {
            let _ = session.answer(id, Answer::Error { reason, data: ProtocolData::EMPTY }, frames);
        }
    }
}

const NOT_AUTHENTICATED: &str = "not authenticated";

/// Whether the server's words, which will be logged, hold the token that we have told it.
fn repeats_token(state: &State, words: &[u8]) -> bool {
    let State::Asking(Credentials { token, .. }) = state else { return false };
    !token.is_empty() && words.windows(token.len()).any(|part| part == token.as_slice())
}

fn respond(content: &sub::Setup<'_>, id: u32, session: &mut Session, frames: &mut Vec<Bytes>) {
    let dialect = session.dialect().unwrap_or(Dialect::Named);
    if let Ok(data) = content.to_vec() {
        let _ = session.answer(id, Answer::Response(ProtocolData::entries(dialect, &[setup_entry(dialect, &data)])), frames);
    }
}

fn setup_entry(dialect: Dialect, data: &[u8]) -> Entry<'_> {
    match dialect {
        Dialect::Named => Entry::named(sub::names::SETUP, 0, data),
        Dialect::Seed => Entry::numbered(sub::names::SETUP_ID, data),
    }
}

/// Setup recognises its answers by their ids; its tag is only not to be mistaken for an application's.
const SETUP_TAG: u64 = u64::MAX;
/// Requests of a 2017 peer that may wait for its acceptance; each takes a frame's memory.
const EARLY_MAX: usize = 64;
