//! Rules of setup: who may say what before and after authentication.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use ilp_clp::{
    Answer, Credentials, IncomingAnswer, IncomingRequest, InterledgerError, Protocols, Request, Session, SessionConfig, SessionEvent,
    Setup, SetupConfig, SetupEvent, SetupFailure,
};
use ilp_oer::clp::{Dialect, Entry, Fulfill, Prepare, ProtocolData, RejectionReason};
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp, TransferId, sub};

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_500_000_000_000).unwrap()
}

fn later(ms: i64) -> Timestamp {
    now().saturating_add_millis(ms)
}

fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

/// One end of a connection.
struct End {
    session: Session,
    setup: Setup,
    frames: Vec<Bytes>,
    events: Vec<SetupEvent>,
    /// What was left for the application.
    passed: Vec<SessionEvent>,
}

impl End {
    fn new(dialect: Option<Dialect>, setup: impl FnOnce(SetupConfig) -> Setup) -> Self {
        let session = Session::new(SessionConfig { dialect, ..SessionConfig::default() });
        let setup = setup(SetupConfig::new(address("test.node")));
        let mut end = Self { session, setup, frames: Vec::new(), events: Vec::new(), passed: Vec::new() };
        end.setup.start(&mut end.session, now(), &mut end.frames, &mut end.events);
        end
    }

    fn server() -> Self {
        Self::new(None, Setup::server)
    }

    fn client(dialect: Dialect, account: &str, token: &str) -> Self {
        Self::new(Some(dialect), |config| Setup::client(config, Credentials::new(account, token, "")))
    }

    fn take(&mut self, frame: Bytes) {
        let mut events = Vec::new();
        self.session.handle_frame(frame, &mut events).unwrap();
        self.take_events(events);
    }

    fn take_events(&mut self, events: Vec<SessionEvent>) {
        for event in events {
            self.passed.extend(self.setup.handle(event, &mut self.session, now(), &mut self.frames, &mut self.events));
        }
    }

    fn accept(&mut self) {
        self.passed.extend(self.setup.accept(&address("test.node.alice"), &mut self.session, &mut self.frames));
    }

    fn refuse(&mut self) {
        self.setup.refuse(&mut self.session, now(), &mut self.frames);
    }

    fn send(&mut self, request: Request<'_>) {
        self.session.send(7, request, now(), 1000, &mut self.frames).unwrap();
    }

    /// The error that came back for the last request of this end.
    fn refused_with(&self) -> (ErrorCode, String) {
        match self.passed.last() {
            Some(SessionEvent::Answered { answer: IncomingAnswer::Error { reason, .. }, .. }) => {
                (reason.code(), String::from_utf8(reason.packet().unwrap().data.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn exchange(a: &mut End, b: &mut End) {
    while !a.frames.is_empty() || !b.frames.is_empty() {
        for frame in std::mem::take(&mut a.frames) {
            b.take(frame);
        }
        for frame in std::mem::take(&mut b.frames) {
            a.take(frame);
        }
    }
}

/// A client and a server that have accepted each other.
fn open(dialect: Dialect) -> (End, End) {
    let (mut client, mut server) = (End::client(dialect, "alice", "secret"), End::server());
    exchange(&mut client, &mut server);
    server.accept();
    exchange(&mut client, &mut server);
    assert!(client.setup.is_open() && server.setup.is_open());
    (client, server)
}

#[test]
fn a_client_is_authenticated_and_told_its_address_in_both_dialects() {
    for dialect in [Dialect::Named, Dialect::Seed] {
        let (client, server) = open(dialect);
        assert_eq!(server.session.dialect(), Some(dialect));
        assert_eq!(server.events[0], SetupEvent::Authenticate(Credentials::new("alice", "secret", "")));
        assert_eq!(client.events[0], SetupEvent::Authenticated { address: Some(address("test.node.alice")) });
        assert_eq!((client.passed, server.passed), (vec![], vec![]));
    }
}

#[test]
fn protocols_are_negotiated_to_what_both_list() {
    let (client, server) = open(Dialect::Named);
    for end in [&client, &server] {
        assert!(matches!(end.events.last(), Some(SetupEvent::Negotiated(common)) if *common == Protocols::default()));
        assert!(end.session.takes_transfers());
    }

    let mut client = End::new(Some(Dialect::Named), |mut config| {
        config.protocols = config.protocols.without(sub::names::TRANSFER_ID).with(sub::names::CCP_ID, sub::names::CCP);
        Setup::client(config, Credentials::new("alice", "secret", ""))
    });
    let mut server = End::server();
    exchange(&mut client, &mut server);
    server.accept();
    exchange(&mut client, &mut server);
    for end in [&client, &server] {
        let common = end.setup.negotiated().unwrap();
        assert!(common.contains(sub::names::ILP_ID));
        assert!(!common.contains(sub::names::TRANSFER_ID) && !common.contains(sub::names::CCP_ID));
        assert!(!end.session.takes_transfers());
    }
}

#[test]
fn the_same_number_under_another_name_is_not_in_common() {
    let mut client = End::new(Some(Dialect::Named), |mut config| {
        config.protocols = Protocols::new([(sub::names::TRANSFER_ID, "other".to_owned())]);
        Setup::client(config, Credentials::new("alice", "secret", ""))
    });
    let mut server = End::server();
    exchange(&mut client, &mut server);
    server.accept();
    exchange(&mut client, &mut server);
    assert_eq!(server.setup.negotiated().unwrap().iter().count(), 0);
    assert!(!client.session.takes_transfers());
}

#[test]
fn everything_but_setup_is_refused_before_authentication() {
    let entries = [Entry::named("ilp", 0, b"packet")];
    let data = ProtocolData::entries(Dialect::Named, &entries);
    let transfer_id = TransferId::new([1; 16]);
    let (amount, condition) = (Amount::new(1), Condition::new([2; 32]));
    let requests = [
        Request::Message(data),
        Request::Message(ProtocolData::EMPTY),
        Request::Prepare(Prepare { transfer_id, amount, condition, expires_at: later(1000), data }),
        Request::Fulfill(Fulfill { transfer_id, fulfillment: Fulfillment::new([3; 32]), data }),
    ];
    for request in requests {
        // Before a word of setup, while the decision is being made, and after a refusal.
        for stage in 0..3 {
            let mut server = End::server();
            let mut client = End::client(Dialect::Named, "alice", "secret");
            if stage == 0 {
                client.frames.clear();
            }
            exchange(&mut client, &mut server);
            if stage == 2 {
                server.refuse();
                exchange(&mut client, &mut server);
            }
            client.send(request);
            exchange(&mut client, &mut server);
            assert_eq!(client.refused_with(), (ErrorCode::F00_BAD_REQUEST, "not authenticated".to_owned()), "stage {stage}");
            assert_eq!(server.passed, []);
        }
    }
}

#[test]
fn other_operations_of_setup_are_refused_before_authentication() {
    for content in [&b"\x02\x01\0"[..], b"\x03\x03XRP\x04test\x05rAcct\0", b"\x01\x05secre", b""] {
        let mut server = End::server();
        let mut client = End::client(Dialect::Named, "alice", "secret");
        client.frames.clear();
        client.send(Request::Message(ProtocolData::entries(Dialect::Named, &[Entry::named("setup", 0, content)])));
        exchange(&mut client, &mut server);
        assert_eq!(client.refused_with().1, "not authenticated");
        assert_eq!(server.events, []);
    }
}

#[test]
fn wrong_token_and_unknown_account_get_the_same_bytes() {
    let refusal = |account, token| {
        let (mut client, mut server) = (End::client(Dialect::Named, account, token), End::server());
        for frame in client.frames.drain(..) {
            server.take(frame);
        }
        assert!(matches!(server.events[..], [SetupEvent::Authenticate(_)]));
        server.refuse();
        let frames = std::mem::take(&mut server.frames);
        for frame in &frames {
            client.take(frame.clone());
        }
        assert!(
            matches!(&client.events[..], [SetupEvent::Failed(SetupFailure::Refused(error))] if error.code() == ErrorCode::F00_BAD_REQUEST)
        );
        frames
    };
    assert_eq!(refusal("alice", "wrong"), refusal("nobody at all", "secret"));
}

#[test]
fn a_server_that_repeats_our_token_does_not_get_it_into_our_log() {
    for (says, kept) in [("who is alice?", true), ("wrong token secret of alice", false)] {
        let mut client = End::client(Dialect::Named, "alice", "secret");
        let mut server = Session::new(SessionConfig::default());
        let mut events = Vec::new();
        server.handle_frame(client.frames.remove(0), &mut events).unwrap();
        let [SessionEvent::Request { id, .. }] = events[..] else { panic!("{events:?}") };
        let by = address("test.node");
        let error = InterledgerError::new(ErrorCode::F00_BAD_REQUEST, "Bad Request", by.as_addr(), now(), says.as_bytes()).unwrap();
        let reason = RejectionReason::from_bytes(error.as_bytes()).unwrap();
        let mut frames = Vec::new();
        server.answer(id, Answer::Error { reason, data: ProtocolData::EMPTY }, &mut frames).unwrap();
        client.take(frames.remove(0));
        let [SetupEvent::Failed(failure)] = &client.events[..] else { panic!("{:?}", client.events) };
        let said = format!("{failure} {failure:?}");
        assert_eq!((said.contains(says), said.contains("secret")), (kept, false), "{said}");
        assert!(said.contains("F00"), "{said}");
    }
}

#[test]
fn a_second_authentication_is_refused() {
    let (mut client, mut server) = open(Dialect::Named);
    let again = sub::Setup::Authenticate { token: b"secret", account: b"bob", target: b"" }.to_vec().unwrap();
    client.send(Request::Message(ProtocolData::entries(Dialect::Named, &[Entry::named("setup", 0, &again)])));
    exchange(&mut client, &mut server);
    assert_eq!(client.refused_with(), (ErrorCode::F00_BAD_REQUEST, "already authenticated".to_owned()));
    assert!(server.setup.is_open());
}

#[test]
fn a_vouched_wallet_is_acknowledged_as_a_claim() {
    let (mut client, mut server) = open(Dialect::Named);
    let vouch = sub::Setup::VouchFor { coin: "XRP", network: "test", wallet: "rAcct", proof: b"sig" }.to_vec().unwrap();
    client.send(Request::Message(ProtocolData::entries(Dialect::Named, &[Entry::named("setup", 0, &vouch)])));
    exchange(&mut client, &mut server);
    let Some(SetupEvent::Claim { request, .. }) = server.events.last() else { panic!("no claim: {:?}", server.events) };
    let (request, mut frames) = (*request, Vec::new());
    server.session.answer(request, Answer::Ack(ProtocolData::EMPTY), &mut frames).unwrap();
    server.frames.append(&mut frames);
    exchange(&mut client, &mut server);
    assert!(matches!(client.passed[..], [SessionEvent::Answered { answer: IncomingAnswer::Ack(_), .. }]));
    let (coin, network, wallet) = ("XRP".to_owned(), "test".to_owned(), "rAcct".to_owned());
    assert_eq!(server.events.last(), Some(&SetupEvent::Claim { request, coin, network, wallet, proof: b"sig".to_vec() }));
}

#[test]
fn a_server_gives_up_on_a_peer_that_stays_silent() {
    let mut server = End::server();
    assert_eq!(server.setup.next_timeout(), Some(later(10_000)));
    server.setup.handle_timeout(later(9_999), &mut server.events);
    assert_eq!(server.events, []);
    server.setup.handle_timeout(later(10_000), &mut server.events);
    assert_eq!(server.events, [SetupEvent::Failed(SetupFailure::TimedOut)]);
}

#[test]
fn a_client_gives_up_on_a_server_that_stays_silent_answers_nonsense_or_is_gone() {
    let end = |events: &dyn Fn(&mut End) -> Vec<SessionEvent>| {
        let mut client = End::client(Dialect::Named, "alice", "secret");
        let events = events(&mut client);
        client.take_events(events);
        client.events
    };
    let late = end(&|client| {
        let mut events = Vec::new();
        client.session.handle_timeout(later(10_000), &mut events);
        events
    });
    assert_eq!(late, [SetupEvent::Failed(SetupFailure::TimedOut)]);
    let nonsense = end(&|client| {
        let mut events = Vec::new();
        client.session.handle_frame(Bytes::from_static(b"\x01\0\0\0\x01\x02\x01\0"), &mut events).unwrap();
        events
    });
    assert_eq!(nonsense, [SetupEvent::Failed(SetupFailure::Unexpected)]);
    let gone = end(&|client| {
        let mut events = Vec::new();
        client.session.handle_close(&mut events);
        events
    });
    assert_eq!(gone, [SetupEvent::Failed(SetupFailure::Closed)]);
}

#[test]
fn a_server_that_knows_no_list_of_protocols_is_used_without_extensions() {
    let mut client = End::client(Dialect::Named, "alice", "secret");
    let mut server = Session::new(SessionConfig { dialect: Some(Dialect::Named), ..SessionConfig::default() });
    let accepted = sub::Setup::Authenticated { address: address("test.node.alice").as_addr() }.to_vec().unwrap();
    let mut frames = Vec::new();
    let entries = [Entry::named("setup", 0, &accepted)];
    server.answer(1, Answer::Response(ProtocolData::entries(Dialect::Named, &entries)), &mut frames).unwrap();
    server.answer(2, Answer::Ack(ProtocolData::EMPTY), &mut frames).unwrap();
    for frame in frames {
        client.take(frame);
    }
    assert!(client.setup.is_open() && client.setup.negotiated().is_none() && !client.session.takes_transfers());
}

#[test]
fn a_2017_peer_has_its_credentials_in_the_path_and_its_first_requests_wait() {
    let legacy = |config| Setup::server_2017(config, Credentials::new("name", "token", ""));
    let entries = [Entry::named("info", 0, &[0])];
    let request = Request::Message(ProtocolData::entries(Dialect::Named, &entries));
    let mut peer = End::new(Some(Dialect::Named), Setup::client_2017);
    assert_eq!(peer.events, [SetupEvent::Authenticated { address: None }]);

    let mut server = End::new(Some(Dialect::Named), legacy);
    assert_eq!(server.events, [SetupEvent::Authenticate(Credentials::new("name", "token", ""))]);
    peer.send(request);
    exchange(&mut peer, &mut server);
    assert_eq!((server.passed.len(), peer.passed.len()), (0, 0));
    server.accept();
    assert!(matches!(server.passed[..], [SessionEvent::Request { request: IncomingRequest::Message { .. }, .. }]));

    let mut server = End::new(Some(Dialect::Named), legacy);
    peer.send(request);
    exchange(&mut peer, &mut server);
    server.refuse();
    exchange(&mut peer, &mut server);
    assert_eq!(peer.refused_with().1, "not authenticated");
}
