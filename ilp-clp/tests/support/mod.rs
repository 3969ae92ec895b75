//! Two ends of a connection without a socket or a clock.
#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use ilp_clp::{
    Answer, Credentials, Exchange, ExchangeConfig, ExchangeEvent, ExchangeOutput, Failure, HandlerError, HandlerReply, HandlerRequest,
    IncomingAnswer, InterledgerError, ProtocolBuffer, Reply, Request, RequestKey, Role, Session, SessionConfig, SessionEvent, Settled,
    SetupEvent, Transfer,
};
use ilp_oer::clp::{Dialect, Entry, Prepare, Protocol, ProtocolData, RejectionReason};
use ilp_oer::{Addr, Address, Amount, ErrorCode, Fulfillment, Timestamp, TransferId};

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_500_000_000_000 + ms).unwrap()
}

pub(crate) fn id(n: u8) -> TransferId {
    TransferId::new([n; 16])
}

pub(crate) fn fulfillment() -> Fulfillment {
    Fulfillment::new([0xf1; 32])
}

/// A transfer of 5 that [`fulfillment`] fulfills until `ms`.
pub(crate) fn conditional(ms: i64) -> Transfer {
    Transfer::Conditional { amount: Amount::new(5), condition: fulfillment().condition(), expires_at: at(ms) }
}

pub(crate) fn data(name: &str, content: &[u8]) -> ProtocolBuffer {
    ProtocolBuffer::one(Protocol::Name(name), content).unwrap()
}

pub(crate) fn error(code: ErrorCode) -> HandlerError {
    InterledgerError::new(code, "name", Addr::new("test.handler").unwrap(), at(0), b"").unwrap().into()
}

/// One end of a connection.
pub(crate) struct End {
    pub(crate) exchange: Exchange,
    pub(crate) out: ExchangeOutput,
}

impl End {
    pub(crate) fn new(config: ExchangeConfig, role: &Role) -> Self {
        let mut end = Self { exchange: Exchange::new(config, role), out: ExchangeOutput::default() };
        end.exchange.start(at(0), &mut end.out);
        end
    }

    pub(crate) fn request(&mut self, tag: u64, id: TransferId, data: &ProtocolBuffer, transfer: Transfer, now: i64) {
        self.exchange.send_request(tag, id, data, transfer, at(now), &mut self.out);
    }

    pub(crate) fn respond(&mut self, key: RequestKey, result: Result<HandlerReply, HandlerError>, now: i64) {
        self.exchange.respond(key, result, at(now), &mut self.out);
    }

    pub(crate) fn take(&mut self, frame: Bytes, now: i64) {
        self.exchange.handle_frame(frame, at(now), &mut self.out).unwrap();
    }

    pub(crate) fn tick(&mut self, now: i64) {
        self.exchange.handle_timeout(at(now), &mut self.out);
    }

    pub(crate) fn close(&mut self, now: i64) {
        self.exchange.handle_close(at(now), &mut self.out);
    }

    pub(crate) fn deliver_to(&mut self, other: &mut Self, now: i64) {
        for frame in std::mem::take(&mut self.out.frames) {
            other.take(frame, now);
        }
    }

    /// The types of the frames that wait to be sent.
    pub(crate) fn frame_types(&self) -> Vec<u8> {
        self.out.frames.iter().map(|frame| frame[0]).collect()
    }

    pub(crate) fn take_outcome(&mut self, wanted: u64) -> Result<Reply, Failure> {
        let is_it = |event: &ExchangeEvent| matches!(event, ExchangeEvent::Done { tag, .. } if *tag == wanted);
        match self.take_first(is_it) {
            Some(ExchangeEvent::Done { outcome, .. }) => outcome,
            _ => panic!("no outcome of {wanted} in {:?}", self.out.events),
        }
    }

    pub(crate) fn take_request(&mut self) -> (RequestKey, HandlerRequest) {
        match self.take_first(|event| matches!(event, ExchangeEvent::Request { .. })) {
            Some(ExchangeEvent::Request { key, request }) => (key, request),
            _ => panic!("no request in {:?}", self.out.events),
        }
    }

    pub(crate) fn take_settled(&mut self) -> Settled {
        match self.take_first(|event| matches!(event, ExchangeEvent::Settled(_))) {
            Some(ExchangeEvent::Settled(settled)) => settled,
            _ => panic!("nothing settled in {:?}", self.out.events),
        }
    }

    pub(crate) fn expect_no_outcome(&self) {
        assert!(!self.out.events.iter().any(|event| matches!(event, ExchangeEvent::Done { .. })), "{:?}", self.out.events);
    }

    pub(crate) fn expect_no_request(&self) {
        assert!(!self.out.events.iter().any(|event| matches!(event, ExchangeEvent::Request { .. })), "{:?}", self.out.events);
    }

    pub(crate) fn expect_no_settled(&self) {
        assert!(!self.out.events.iter().any(|event| matches!(event, ExchangeEvent::Settled(_))), "{:?}", self.out.events);
    }

    fn take_first(&mut self, wanted: impl Fn(&ExchangeEvent) -> bool) -> Option<ExchangeEvent> {
        let index = self.out.events.iter().position(wanted)?;
        Some(self.out.events.remove(index))
    }
}

/// A client and a server that have authenticated and negotiated everything.
pub(crate) fn pair() -> (End, End) {
    pair_in(Dialect::Named)
}

pub(crate) fn pair_in(dialect: Dialect) -> (End, End) {
    let mut config = ExchangeConfig::new(Address::new("test.client").unwrap());
    config.session.dialect = Some(dialect);
    let mut client = End::new(config, &Role::Client(Credentials::new("alice", "secret", "")));
    let mut server = End::new(ExchangeConfig::new(Address::new("test.server").unwrap()), &Role::Server);
    client.deliver_to(&mut server, 0);
    assert!(matches!(server.out.events[..], [ExchangeEvent::Setup(SetupEvent::Authenticate(_))]));
    server.exchange.accept(&Address::new("test.server.alice").unwrap(), at(0), &mut server.out);
    for _ in 0..3 {
        server.deliver_to(&mut client, 0);
        client.deliver_to(&mut server, 0);
    }
    assert!(client.exchange.takes_transfers() && server.exchange.takes_transfers());
    client.out.events.clear();
    server.out.events.clear();
    (client, server)
}

/// A server and a client in the form of 2017.
pub(crate) fn pair_2017() -> (End, End) {
    let config = ExchangeConfig::new_2017(Address::new("test.node").unwrap());
    let mut client = End::new(config.clone(), &Role::Client2017);
    let mut server = End::new(config, &Role::Server2017(Credentials::new("name", "token", "")));
    server.exchange.accept(&Address::new("test.server.name").unwrap(), at(0), &mut server.out);
    client.out.events.clear();
    server.out.events.clear();
    (server, client)
}

/// The other end of a connection, played by hand: packets without any rules.
pub(crate) struct Wire {
    session: Session,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let mut session = Session::new(SessionConfig { dialect: Some(Dialect::Named), ..SessionConfig::default() });
        session.set_takes_transfers(true);
        Self { session }
    }

    /// A request of any kind.
    pub(crate) fn request(&mut self, request: Request<'_>) -> Bytes {
        let mut frames = Vec::new();
        self.session.send(0, request, at(0), 1_000_000, &mut frames).unwrap();
        frames.remove(0)
    }

    pub(crate) fn prepare(&mut self, transfer_id: TransferId, amount: u64, expires: i64, content: &[u8]) -> Bytes {
        let entries = [Entry::named("ilp", 0, content)];
        self.request(Request::Prepare(Prepare {
            transfer_id,
            amount: Amount::new(amount),
            condition: fulfillment().condition(),
            expires_at: at(expires),
            data: ProtocolData::entries(Dialect::Named, &entries),
        }))
    }

    pub(crate) fn ack(&mut self, request: u32) -> Bytes {
        self.answer(request, Answer::Ack(ProtocolData::EMPTY))
    }

    pub(crate) fn error(&mut self, request: u32, code: ErrorCode) -> Bytes {
        let error = error(code).ilp;
        let reason = RejectionReason::from_bytes(error.as_bytes()).unwrap();
        self.answer(request, Answer::Error { reason, data: ProtocolData::EMPTY })
    }

    /// An answer that can't be read.
    pub(crate) fn malformed(&mut self, request: u32) -> Bytes {
        let mut frame = vec![2];
        frame.extend(request.to_be_bytes());
        frame.extend(b"\x03\x01\x01\x09");
        frame.into()
    }

    /// The ids of the requests among an end's frames, which are taken.
    pub(crate) fn requests(&mut self, end: &mut End) -> Vec<u32> {
        self.events(end)
            .iter()
            .filter_map(|event| match event {
                SessionEvent::Request { id, .. } => Some(*id),
                SessionEvent::Answered { .. } => None,
            })
            .collect()
    }

    /// The answers among an end's frames, which are taken.
    pub(crate) fn answers(&mut self, end: &mut End) -> Vec<IncomingAnswer> {
        self.events(end)
            .into_iter()
            .filter_map(|event| match event {
                SessionEvent::Answered { answer, .. } => Some(answer),
                SessionEvent::Request { .. } => None,
            })
            .collect()
    }

    /// The codes of the answers among an end's frames, all of which must be errors.
    pub(crate) fn error_codes(&mut self, end: &mut End) -> Vec<ErrorCode> {
        let code = |answer| match answer {
            IncomingAnswer::Error { reason, .. } => reason.code(),
            other => panic!("{other:?}"),
        };
        self.answers(end).into_iter().map(code).collect()
    }

    fn answer(&mut self, request: u32, answer: Answer<'_>) -> Bytes {
        let mut frames = Vec::new();
        self.session.answer(request, answer, &mut frames).unwrap();
        frames.remove(0)
    }

    fn events(&mut self, end: &mut End) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        for frame in end.out.frames.drain(..) {
            self.session.handle_frame(frame, &mut events).unwrap();
        }
        events
    }
}
