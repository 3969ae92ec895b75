//! Rules of a session: which answer belongs to which request, and what is ignored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use ilp_clp::{
    Answer, IncomingAnswer, IncomingRequest, InterledgerError, Request, SendError, Session, SessionConfig, SessionEvent, SessionLimits,
};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, Prepare, Protocol, ProtocolData, RejectionReason, Transfer};
use ilp_oer::{Addr, Amount, Condition, ErrorCode, Timestamp, TransferId};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_500_000_000_000 + ms).unwrap()
}

fn session(limits: SessionLimits) -> Session {
    Session::new(SessionConfig { dialect: Some(Dialect::Named), limits, ..SessionConfig::default() })
}

fn named() -> Session {
    session(SessionLimits::default())
}

fn take(session: &mut Session, frame: &Bytes) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    session.handle_frame(frame.clone(), &mut events).unwrap();
    events
}

fn send(session: &mut Session, tag: u64, now: i64, timeout_ms: i64) -> (u32, Bytes) {
    let mut frames = Vec::new();
    let id = session.send(tag, Request::Message(ProtocolData::EMPTY), at(now), timeout_ms, &mut frames).unwrap();
    assert_eq!(frames.len(), 1);
    (id, frames.remove(0))
}

fn answer(session: &mut Session, id: u32, answer: Answer<'_>) -> Bytes {
    let mut frames = Vec::new();
    session.answer(id, answer, &mut frames).unwrap();
    frames.remove(0)
}

fn ack(session: &mut Session, id: u32) -> Bytes {
    answer(session, id, Answer::Ack(ProtocolData::EMPTY))
}

fn answers(events: &[SessionEvent]) -> Vec<(u64, &IncomingAnswer)> {
    let only = |event| match event {
        &SessionEvent::Answered { tag, ref answer, .. } => (tag, answer),
        SessionEvent::Request { .. } => panic!("a request"),
    };
    events.iter().map(only).collect()
}

fn some_prepare(data: ProtocolData<'_>) -> Request<'_> {
    Request::Prepare(Prepare {
        transfer_id: TransferId::new([7; 16]),
        amount: Amount::new(5),
        condition: Condition::new([8; 32]),
        expires_at: at(1000),
        data,
    })
}

#[test]
fn an_answer_ends_the_request_with_its_id() {
    let (mut a, mut b) = (named(), named());
    let (first, frame1) = send(&mut a, 10, 0, 100);
    let (second, frame2) = send(&mut a, 20, 0, 100);
    assert_eq!((first, second), (1, 2));
    for frame in [frame1, frame2] {
        assert!(matches!(take(&mut b, &frame)[..], [SessionEvent::Request { request: IncomingRequest::Message { .. }, .. }]));
    }
    assert_eq!(answers(&take(&mut a, &ack(&mut b, second)))[0].0, 20);
    assert_eq!(answers(&take(&mut a, &ack(&mut b, first)))[0].0, 10);
    assert_eq!(a.waiting(), 0);
}

#[test]
fn an_unknown_repeated_or_late_answer_is_ignored_and_counted() {
    let (mut a, mut b) = (named(), named());
    let (id, _) = send(&mut a, 10, 0, 100);
    assert_eq!(take(&mut a, &ack(&mut b, 99)), []);
    assert_eq!(take(&mut a, &ack(&mut b, id)).len(), 1);
    assert_eq!(take(&mut a, &ack(&mut b, id)), []);

    let (late, _) = send(&mut a, 11, 0, 100);
    let mut events = Vec::new();
    a.handle_timeout(at(100), &mut events);
    assert_eq!(answers(&events), [(11, &IncomingAnswer::TimedOut)]);
    assert_eq!(take(&mut a, &ack(&mut b, late)), []);
    assert_eq!((a.counters().unmatched_answers, a.counters().timed_out), (3, 1));
}

#[test]
fn requests_time_out_each_at_its_own_time() {
    let mut a = named();
    send(&mut a, 1, 0, 300);
    send(&mut a, 2, 0, 100);
    assert_eq!(a.next_timeout(), Some(at(100)));
    let mut events = Vec::new();
    a.handle_timeout(at(99), &mut events);
    assert_eq!(events, []);
    a.handle_timeout(at(100), &mut events);
    assert_eq!(answers(&events), [(2, &IncomingAnswer::TimedOut)]);
    assert_eq!(a.next_timeout(), Some(at(300)));
    a.handle_timeout(at(300), &mut events);
    assert_eq!((events.len(), a.next_timeout()), (2, None));
}

#[test]
fn closing_ends_what_waits_as_lost() {
    let mut a = named();
    send(&mut a, 1, 0, 300);
    send(&mut a, 2, 0, 100);
    let mut events = Vec::new();
    a.handle_close(&mut events);
    assert_eq!(answers(&events), [(1, &IncomingAnswer::Lost), (2, &IncomingAnswer::Lost)]);
    assert_eq!((a.waiting(), a.next_timeout()), (0, None));
}

#[test]
fn no_more_requests_wait_than_the_limit_allows() {
    let mut a = session(SessionLimits { pending_max: 2, ..SessionLimits::default() });
    send(&mut a, 1, 0, 100);
    send(&mut a, 2, 0, 100);
    let mut frames = Vec::new();
    let refused = a.send(3, Request::Message(ProtocolData::EMPTY), at(0), 100, &mut frames);
    assert_eq!((refused, frames.len()), (Err(SendError::Overloaded), 0));
}

#[test]
fn a_response_without_entries_is_an_ack() {
    let (mut a, mut b) = (named(), named());
    let (id, _) = send(&mut a, 1, 0, 100);
    let frame = answer(&mut b, id, Answer::Response(ProtocolData::EMPTY));
    assert_eq!(frame[0], 2);
    assert!(matches!(answers(&take(&mut a, &frame))[..], [(1, IncomingAnswer::Ack(data))] if data.is_empty()));
}

#[test]
fn undecodable_frames_are_ignored_and_counted_and_too_many_end_the_connection() {
    let mut a = session(SessionLimits { decode_errors_max: 3, ..SessionLimits::default() });
    let mut events = Vec::new();
    for frame in [&b""[..], b"\x09\0\0\0\x01\x02\x01\0", b"\x07\0\0\0\x01\x02\x01"] {
        assert_eq!(a.handle_frame(Bytes::from_static(frame), &mut events), Ok(()));
    }
    assert_eq!((events.len(), a.counters().decode_errors), (0, 3));
    assert!(a.handle_frame(Bytes::from_static(b"x"), &mut events).is_err());
}

#[test]
fn a_malformed_answer_ends_its_request() {
    let mut a = named();
    let (id, _) = send(&mut a, 5, 0, 100);
    let mut frame = vec![2];
    frame.extend(id.to_be_bytes());
    frame.extend(b"\x03\x01\x01\x09");
    assert_eq!(answers(&take(&mut a, &frame.into())), [(5, &IncomingAnswer::Malformed)]);
    assert_eq!(a.counters().decode_errors, 1);
}

#[test]
fn a_frame_above_the_limit_is_not_read() {
    let mut a = session(SessionLimits { frame_bytes_max: 7, ..SessionLimits::default() });
    assert_eq!(take(&mut a, &Bytes::from_static(b"\x07\0\0\0\x01\x02\x01\0")), []);
    assert_eq!(a.counters().decode_errors, 1);
}

#[test]
fn packet_type_8_passes_only_when_negotiated() {
    let (mut a, mut b) = (named(), named());
    let transfer = Transfer { transfer_id: TransferId::new([1; 16]), amount: Amount::new(9), expires_at: None, data: ProtocolData::EMPTY };
    let mut frames = Vec::new();
    assert_eq!(a.send(1, Request::Transfer(transfer), at(0), 100, &mut frames), Err(SendError::NotNegotiated));
    let unasked = Packet { request_id: 1, body: Body::Transfer(transfer) }.to_vec().unwrap();
    assert_eq!(take(&mut b, &unasked.clone().into()), []);
    assert_eq!(b.counters().decode_errors, 1);

    a.set_takes_transfers(true);
    b.set_takes_transfers(true);
    a.send(1, Request::Transfer(transfer), at(0), 100, &mut frames).unwrap();
    assert_eq!(frames[0], unasked);
    assert!(matches!(take(&mut b, &frames[0])[..], [SessionEvent::Request { request: IncomingRequest::Transfer { .. }, .. }]));
}

#[test]
fn both_dialects_carry_the_same_request() {
    let named_entries = [Entry::named("ilp", 0, b"packet")];
    let seed_entries = [Entry::numbered(1, b"packet")];
    for (dialect, entries) in [(Dialect::Named, named_entries), (Dialect::Seed, seed_entries)] {
        let mut a = Session::new(SessionConfig { dialect: Some(dialect), ..SessionConfig::default() });
        let mut b = Session::new(SessionConfig { dialect: Some(dialect), ..SessionConfig::default() });
        let mut frames = Vec::new();
        a.send(1, some_prepare(ProtocolData::entries(dialect, &entries)), at(0), 100, &mut frames).unwrap();
        let [SessionEvent::Request { id: 1, request: IncomingRequest::Prepare { data, amount, .. } }] = &take(&mut b, &frames[0])[..]
        else {
            panic!("no prepare")
        };
        assert_eq!((data.first(), data.entries().len(), *amount), (Some(entries[0]), 1, Amount::new(5)));
        assert_eq!(data.first_data(), &b"packet"[..]);
    }
}

#[test]
fn an_event_borrows_the_frame_instead_of_copying_it() {
    let (mut a, mut b) = (named(), named());
    let mut frames = Vec::new();
    let entries = [Entry::named("ilp", 0, b"packet"), Entry::named("extra", 1, b"text")];
    a.send(1, some_prepare(ProtocolData::entries(Dialect::Named, &entries)), at(0), 100, &mut frames).unwrap();
    let [SessionEvent::Request { request: IncomingRequest::Prepare { data, .. }, .. }] = &take(&mut b, &frames[0])[..] else {
        panic!("no prepare")
    };
    let frame = frames[0].as_ptr_range();
    assert!(frame.contains(&data.first_data().as_ptr()) && frame.contains(&data.as_bytes().as_ptr()));
    assert_eq!(data.entries(), entries);
}

#[test]
fn a_server_learns_the_dialect_from_the_first_setup() {
    for (dialect, frame) in [
        (Dialect::Named, &b"\x07\0\0\0\x01\x0e\x01\x01\x05setup\0\x04\x01\0\0\0"[..]),
        (Dialect::Seed, b"\x07\0\0\0\x01\x08\x01\x01\0\x04\x01\0\0\0"),
    ] {
        let mut server = Session::new(SessionConfig::default());
        let events = take(&mut server, &Bytes::from_static(frame));
        assert_eq!(server.dialect(), Some(dialect));
        let [SessionEvent::Request { request: IncomingRequest::Message { data }, .. }] = &events[..] else { panic!("no message") };
        assert_eq!(data.first_data(), &b"\x01\0\0\0"[..]);
    }
}

#[test]
fn a_peer_that_does_not_start_with_setup_is_heard_in_either_dialect() {
    let entries = [Entry::numbered(1, b"packet")];
    for data in [ProtocolData::entries(Dialect::Seed, &entries), ProtocolData::entries(Dialect::Named, &[Entry::named("ilp", 0, b"x")])] {
        let mut server = Session::new(SessionConfig::default());
        let frame = Packet { request_id: 3, body: Body::Message(data) }.to_vec().unwrap();
        assert!(matches!(take(&mut server, &frame.into())[..], [SessionEvent::Request { id: 3, .. }]));
        assert_eq!(server.dialect(), None);
    }
}

#[test]
fn errors_to_a_2017_peer_have_contents_below_128_bytes() {
    let by = format!("test.{}", "x".repeat(500));
    let error = InterledgerError::new(ErrorCode::F02_UNREACHABLE, "Unreachable", Addr::new(&by).unwrap(), at(0), &[b'd'; 300]).unwrap();
    let reason = RejectionReason::from_bytes(error.as_bytes()).unwrap();
    let sent = |short_errors| {
        let mut session = Session::new(SessionConfig { dialect: Some(Dialect::Named), short_errors, ..SessionConfig::default() });
        let frame = answer(&mut session, 1, Answer::Error { reason, data: ProtocolData::EMPTY });
        let Ok(Packet { body: Body::Error { reason, .. }, .. }) = Packet::decode(&frame, Dialect::Named, Extensions::NONE) else {
            panic!("no error")
        };
        (reason.error().code, reason.encoded_len())
    };
    let (code, length) = sent(true);
    assert_eq!(code, ErrorCode::F02_UNREACHABLE);
    assert!(length < 2 + 128);
    assert!(sent(false).1 > 800);
}

/// Both conversations of a 2017 node, replayed: every frame decodes, and every answer finds its request.
#[test]
fn conversations_of_a_2017_node_are_understood() {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/captures.json")).unwrap();
    let captures: serde_json::Value = serde_json::from_slice(&file).unwrap();
    for capture in captures.as_array().unwrap() {
        for peer in ["peer1", "peer2"] {
            // The node's end of its connection with this peer: our requests are sent where it sent its own.
            let mut node = named();
            let mut requests = 0;
            for message in capture["messages"].as_array().unwrap() {
                let frame = hex::decode(message["hex"].as_str().unwrap()).unwrap();
                if message["from"] == peer {
                    for event in take(&mut node, &frame.into()) {
                        requests += u32::from(matches!(event, SessionEvent::Request { .. }));
                    }
                } else if message["to"] == peer && frame[0] > 3 {
                    let packet = Packet::decode(&frame, Dialect::Named, Extensions::NONE).unwrap();
                    let request = match packet.body {
                        Body::Message(data) => Request::Message(data),
                        Body::Prepare(prepare) => Request::Prepare(prepare),
                        Body::Fulfill(fulfill) => Request::Fulfill(fulfill),
                        other => panic!("{other:?}"),
                    };
                    let mut frames = Vec::new();
                    node.send(1, request, at(0), 1000, &mut frames).unwrap();
                    assert_eq!(frames[0], frame, "written as the node wrote it");
                }
            }
            assert_eq!((node.counters().decode_errors, node.counters().unmatched_answers, node.waiting()), (0, 0, 0));
            assert!(requests > 0 || peer == "peer2");
        }
    }
}

#[test]
fn a_packet_with_more_entries_than_the_limit_is_not_decoded() {
    let entry = Entry { protocol: Protocol::Name("x"), content_type: 0, data: b"" };
    let mut out = Vec::new();
    for (count, expected) in [(3, 1), (4, 0)] {
        let mut a = session(SessionLimits { entries_max: 3, ..SessionLimits::default() });
        let entries = vec![entry; count];
        let packet = Packet { request_id: 1, body: Body::Message(ProtocolData::entries(Dialect::Named, &entries)) };
        a.handle_frame(packet.to_vec().unwrap().into(), &mut out).unwrap();
        assert_eq!((out.len(), a.counters().decode_errors), (expected, 1 - u64::try_from(expected).unwrap()));
        out.clear();
    }
}
