//! The CLP link against another one, without sockets: what the worker says arrives as what the other worker hears.
#![cfg(feature = "clp")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use ilp_core::link::{Answer, Link, LinkCommand, LinkEvent, LinkOutput, Payload, PeerProtocol, SubProtocol};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, ProtocolData};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, Amount, ErrorCode, Fulfillment, Timestamp, TransferId};
use ilp_plugins::clp::ClpLink;

const FORMS: [PeerProtocol; 3] = [PeerProtocol::Clp, PeerProtocol::ClpSeed, PeerProtocol::Clp2017];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_500_000_000_000 + ms).unwrap()
}

fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

fn fulfillment() -> Fulfillment {
    Fulfillment::new([9; 32])
}

fn reason(data: &[u8]) -> Bytes {
    let by = address(&format!("test.{}", "x".repeat(200)));
    let (code, triggered_by) = (ErrorCode::F02_UNREACHABLE, by.as_addr());
    let error = ErrorPacket { code, name: "Unreachable", triggered_by, forwarded_by: AddrList::EMPTY, triggered_at: at(0), data };
    error.to_vec().unwrap().into()
}

/// A link with what came out of it.
struct End {
    link: ClpLink,
    out: LinkOutput,
}

impl End {
    fn new(link: ClpLink) -> Self {
        let mut end = Self { link, out: LinkOutput::default() };
        end.link.start(at(0), &mut end.out);
        end
    }

    fn command(&mut self, command: LinkCommand) {
        self.link.command(command, at(0), &mut self.out);
    }

    fn answer(&mut self, request: u32, answer: Answer) {
        self.command(LinkCommand::Answer { request, answer });
    }

    fn take(&mut self, frame: Bytes) {
        self.link.receive(frame, at(0), &mut self.out);
    }

    fn deliver_to(&mut self, other: &mut Self) {
        for frame in std::mem::take(&mut self.out.frames) {
            other.take(frame);
        }
    }

    fn event(&mut self) -> LinkEvent {
        assert!(!self.out.events.is_empty(), "no event");
        self.out.events.remove(0)
    }
}

fn ends(form: PeerProtocol) -> (End, End) {
    let path = if form == PeerProtocol::Clp2017 { "/api/v1/alice/secret" } else { "/" };
    let server = End::new(ClpLink::incoming(&address("test.node"), path));
    let client = End::new(ClpLink::outgoing(&address("test.client"), form, b"alice", b"secret"));
    (client, server)
}

/// Both ends, accepted.
fn open(form: PeerProtocol) -> (End, End) {
    let (mut client, mut server) = ends(form);
    client.deliver_to(&mut server);
    server.link.tick(at(250), &mut server.out);
    let LinkEvent::Authenticate(credentials) = server.event() else { panic!("no credentials") };
    assert_eq!((credentials.protocol, &credentials.account[..], &credentials.token[..]), (form, &b"alice"[..], &b"secret"[..]));
    server.command(LinkCommand::Accept { address: address("test.node.alice") });
    server.deliver_to(&mut client);
    let expected = (form != PeerProtocol::Clp2017).then(|| address("test.node.alice"));
    assert_eq!(client.event(), LinkEvent::Authenticated { address: expected });
    client.deliver_to(&mut server);
    server.deliver_to(&mut client);
    assert!(client.out.events.is_empty() && server.out.events.is_empty());
    (client, server)
}

fn prepare(tag: u64) -> LinkCommand {
    let (amount, condition) = (Amount::new(5), fulfillment().condition());
    LinkCommand::Prepare {
        tag,
        id: TransferId::new([1; 16]),
        amount,
        condition,
        expires_at: at(1000),
        packet: Bytes::from_static(b"packet"),
    }
}

#[test]
fn a_2017_client_is_not_spoken_to_before_it_has_spoken_or_a_moment_has_passed() {
    let (_, mut server) = ends(PeerProtocol::Clp2017);
    server.link.tick(at(249), &mut server.out);
    assert!(server.out.events.is_empty(), "the worker must not know of it yet");
    server.link.tick(at(250), &mut server.out);
    assert!(matches!(server.event(), LinkEvent::Authenticate(_)));

    let (_, mut server) = ends(PeerProtocol::Clp2017);
    server.take(message(PeerProtocol::Clp2017, Entry::named("info", 0, &[0])));
    assert!(matches!(server.event(), LinkEvent::Authenticate(_)));
    server.command(LinkCommand::Accept { address: address("test.node.alice") });
    assert!(matches!(server.event(), LinkEvent::Message { .. }));
}

#[test]
fn a_payment_passes_in_all_forms() {
    for form in FORMS {
        let (mut client, mut server) = open(form);
        client.command(prepare(77));
        client.deliver_to(&mut server);
        let LinkEvent::Prepare { request, transfer } = server.event() else { panic!("no prepare") };
        assert_eq!((transfer.amount, transfer.expires_at), (Amount::new(5), at(1000)));
        assert_eq!(transfer.payload, Payload::ilp(Bytes::from_static(b"packet")));
        server.answer(request, Answer::Ack);
        server.command(LinkCommand::Fulfill { tag: 88, id: transfer.id, fulfillment: fulfillment() });
        server.deliver_to(&mut client);
        assert_eq!(client.event(), LinkEvent::Answered { tag: 77, answer: Answer::Ack });
        let LinkEvent::Fulfill { request, id, fulfillment: got } = client.event() else { panic!("no fulfill") };
        assert_eq!((id, got), (transfer.id, fulfillment()));
        client.answer(request, Answer::Ack);
        client.deliver_to(&mut server);
        assert_eq!(server.event(), LinkEvent::Answered { tag: 88, answer: Answer::Ack });
    }
}

#[test]
fn rejects_and_errors_pass_whole_and_are_shortened_for_2017() {
    for form in FORMS {
        let (mut client, mut server) = open(form);
        client.command(prepare(1));
        client.deliver_to(&mut server);
        let LinkEvent::Prepare { request, transfer } = server.event() else { panic!("no prepare") };
        server.answer(request, Answer::Error(reason(&[7; 300])));
        server.command(LinkCommand::Reject { tag: 2, id: transfer.id, reason: reason(&[8; 300]) });
        server.deliver_to(&mut client);
        let LinkEvent::Answered { tag: 1, answer: Answer::Error(error) } = client.event() else { panic!("no error") };
        let LinkEvent::Reject { reason: rejected, .. } = client.event() else { panic!("no reject") };
        if form == PeerProtocol::Clp2017 {
            for packet in [&error, &rejected] {
                assert_eq!(ErrorPacket::decode(packet).unwrap().code, ErrorCode::F02_UNREACHABLE);
                assert!(packet.len() <= 2 + 127, "{}", packet.len());
            }
        } else {
            assert_eq!((error, rejected), (reason(&[7; 300]), reason(&[8; 300])));
        }
    }
}

/// A message in a form, with this first entry.
fn message(form: PeerProtocol, entry: Entry<'_>) -> Bytes {
    let dialect = if form == PeerProtocol::ClpSeed { Dialect::Seed } else { Dialect::Named };
    let entries = [entry];
    Packet { request_id: 900, body: Body::Message(ProtocolData::entries(dialect, &entries)) }.to_vec().unwrap().into()
}

#[test]
fn the_first_entry_says_what_a_message_is_and_its_answer_carries_the_same_name() {
    use SubProtocol::{Balance, Ccp, Ilp, Ilqp, Info, Liquidity, Other, Payment, Reconcile, Vouch};
    let numbered = [(1, "ilp", Ilp), (2, "payment", Payment), (3, "ilqp", Ilqp), (4, "reconcile", Reconcile), (5, "liquidity", Liquidity)];
    let named = [("info", Info), ("balance", Balance), ("vouch", Vouch), ("ccp", Ccp), ("unheard-of", Other)];
    let cases = numbered
        .iter()
        .flat_map(|(id, name, protocol)| {
            [(PeerProtocol::Clp, Entry::named(name, 0, b"x"), *protocol), (PeerProtocol::ClpSeed, Entry::numbered(*id, b"x"), *protocol)]
        })
        .chain(named.iter().map(|(name, protocol)| (PeerProtocol::Clp2017, Entry::named(name, 0, b"x"), *protocol)));
    for (form, entry, protocol) in cases {
        let (_, mut server) = open(form);
        server.take(message(form, entry));
        let LinkEvent::Message { request: 900, payload } = server.event() else { panic!("no message") };
        assert_eq!(payload, Payload { protocol, data: Bytes::from_static(b"x") });
        server.answer(900, Answer::Response(Payload { protocol, data: Bytes::from_static(b"y") }));
        let dialect = if form == PeerProtocol::ClpSeed { Dialect::Seed } else { Dialect::Named };
        let Ok(Packet { request_id: 900, body: Body::Response(data) }) = Packet::decode(&server.out.frames[0], dialect, Extensions::NONE)
        else {
            panic!("no response")
        };
        if protocol != Other {
            assert_eq!(data.first(), Some(Entry { data: b"y", ..entry }));
        }
    }
}

#[test]
fn wrong_credentials_end_the_connection_in_one_form() {
    let refusal = |login: &[u8], token: &[u8]| {
        let mut client = End::new(ClpLink::outgoing(&address("test.client"), PeerProtocol::Clp, login, token));
        let mut server = End::new(ClpLink::incoming(&address("test.node"), "/"));
        client.deliver_to(&mut server);
        assert!(matches!(server.event(), LinkEvent::Authenticate(_)));
        server.command(LinkCommand::Refuse);
        assert!(server.out.close.is_some());
        let frames = server.out.frames.clone();
        server.deliver_to(&mut client);
        assert!(client.out.close.is_some());
        frames
    };
    assert_eq!(refusal(b"alice", b"wrong"), refusal(b"nobody", b"secret"));
}

#[test]
fn nothing_passes_before_authentication() {
    let (mut client, mut server) = ends(PeerProtocol::Clp);
    client.out.frames.clear();
    client.command(prepare(1));
    client.deliver_to(&mut server);
    assert!(server.out.events.is_empty());
    server.deliver_to(&mut client);
    let LinkEvent::Answered { tag: 1, answer: Answer::Error(error) } = client.event() else { panic!("no error") };
    assert_eq!(ErrorPacket::decode(&error).unwrap().data, b"not authenticated");
}

#[test]
fn what_waits_is_lost_when_the_connection_closes_and_times_out_when_it_does_not() {
    let (mut client, _server) = open(PeerProtocol::Clp);
    client.command(prepare(1));
    client.link.tick(at(60_000), &mut client.out);
    assert_eq!(client.event(), LinkEvent::Answered { tag: 1, answer: Answer::TimedOut });
    client.command(prepare(2));
    client.link.closed(&mut client.out);
    assert_eq!(client.event(), LinkEvent::Answered { tag: 2, answer: Answer::Lost });
}

#[test]
fn a_link_that_closes_during_setup_tells_of_no_request_that_was_not_the_workers() {
    for form in FORMS {
        let (mut client, _server) = ends(form);
        client.link.closed(&mut client.out);
        assert!(!client.out.events.iter().any(|event| matches!(event, LinkEvent::Answered { .. })), "{:?}", client.out.events);
    }
}

#[test]
fn damage_costs_at_most_the_connection() {
    let (_, mut server) = open(PeerProtocol::Clp);
    for _ in 0..100 {
        server.take(Bytes::from_static(b"damage"));
    }
    assert!(server.out.close.is_some() && server.out.events.is_empty() && server.out.frames.is_empty());
}

#[test]
fn no_debug_output_holds_a_token() {
    let own = address("test.ann");
    for protocol in FORMS {
        let link = ClpLink::outgoing(&own, protocol, b"ann", b"tell-nobody");
        let before = format!("{link:?}");
        let mut ann = End::new(link);
        let sent = format!("{:?} {:?}", ann.link, ann.out);
        let path = if protocol == PeerProtocol::Clp2017 { "/ann/tell-nobody" } else { "/" };
        let mut bob = End::new(ClpLink::incoming(&own, path));
        ann.deliver_to(&mut bob);
        bob.link.tick(at(1_000), &mut bob.out);
        let heard = format!("{:?} {:?}", bob.link, bob.out);
        assert!(
            bob.out.events.iter().any(|event| matches!(event, LinkEvent::Authenticate(it) if **it.token == *b"tell-nobody")),
            "{heard}"
        );
        for text in [before, sent, heard] {
            assert!(!text.contains("tell-nobody") && !text.contains("[116, 101, 108, 108"), "{protocol:?}: {text}");
        }
    }
}
