use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..60).prop_map(Bytes::from)
}

fn account() -> impl Strategy<Value = AccountId> {
    (1_u8.., "[A-Za-z0-9_~-]{1,63}").prop_map(|(parallelism, name)| AccountId::new(parallelism, &name).unwrap())
}

fn id() -> impl Strategy<Value = TransferId> {
    any::<[u8; 16]>().prop_map(TransferId::new)
}

fn condition() -> impl Strategy<Value = Condition> {
    any::<[u8; 32]>().prop_map(Condition::new)
}

fn fulfillment() -> impl Strategy<Value = Fulfillment> {
    any::<[u8; 32]>().prop_map(Fulfillment::new)
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<u64>().prop_map(Amount::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.unix_millis()..=Timestamp::MAX.unix_millis()).prop_map(|ms| Timestamp::from_unix_millis(ms).unwrap())
}

fn payload() -> impl Strategy<Value = Payload> {
    (select(&PROTOCOLS[..]), bytes()).prop_map(|(protocol, data)| Payload { protocol, data })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Ack),
        payload().prop_map(Answer::Response),
        bytes().prop_map(Answer::Error),
        Just(Answer::TimedOut),
        Just(Answer::Lost),
    ]
}

fn event() -> impl Strategy<Value = LinkEvent> {
    let transfer = (id(), amount(), condition(), time(), payload())
        .prop_map(|(id, amount, condition, expires_at, payload)| IncomingPrepare { id, amount, condition, expires_at, payload });
    let claim = (select(&CLAIMS[..]), ".{0,20}", bytes()).prop_map(|(kind, subject, proof)| Claim { kind, subject, proof });
    let request = any::<u32>;
    prop_oneof![
        (request(), transfer).prop_map(|(request, transfer)| LinkEvent::Prepare { request, transfer }),
        (request(), id(), fulfillment()).prop_map(|(request, id, fulfillment)| LinkEvent::Fulfill { request, id, fulfillment }),
        (request(), id(), bytes()).prop_map(|(request, id, reason)| LinkEvent::Reject { request, id, reason }),
        (request(), id(), amount(), proptest::option::of(time()), payload())
            .prop_map(|(request, id, amount, expires_at, payload)| LinkEvent::Transfer { request, id, amount, expires_at, payload }),
        (request(), claim).prop_map(|(request, claim)| LinkEvent::Claim { request, claim }),
        (request(), payload()).prop_map(|(request, payload)| LinkEvent::Message { request, payload }),
        (any::<u64>(), answer()).prop_map(|(tag, answer)| LinkEvent::Answered { tag, answer }),
    ]
}

fn command() -> impl Strategy<Value = LinkCommand> {
    let tag = any::<u64>;
    prop_oneof![
        (tag(), id(), amount(), condition(), time(), bytes()).prop_map(|(tag, id, amount, condition, expires_at, packet)| {
            LinkCommand::Prepare { tag, id, amount, condition, expires_at, packet }
        }),
        (tag(), id(), fulfillment()).prop_map(|(tag, id, fulfillment)| LinkCommand::Fulfill { tag, id, fulfillment }),
        (tag(), id(), bytes()).prop_map(|(tag, id, reason)| LinkCommand::Reject { tag, id, reason }),
        (any::<u32>(), answer()).prop_map(|(request, answer)| LinkCommand::Answer { request, answer }),
        ".{0,20}".prop_map(|reason| LinkCommand::Close { reason }),
    ]
}

fn relay() -> impl Strategy<Value = Relay> {
    let connection = || any::<u64>().prop_map(ConnectionId);
    prop_oneof![
        Just(Relay::Hello),
        (connection(), account()).prop_map(|(connection, account)| Relay::Connected { connection, account }),
        (connection(), any::<bool>()).prop_map(|(connection, congested)| Relay::Congested { connection, congested }),
        connection().prop_map(|connection| Relay::Disconnected { connection }),
        (connection(), event()).prop_map(|(connection, event)| Relay::Event { connection, event }),
        (connection(), command()).prop_map(|(connection, command)| Relay::Command { connection, command }),
        (account(), select(&NOTES[..])).prop_map(|(account, note)| Relay::Noted { account, note }),
    ]
}

/// The body of a message.
fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Ping => Body::ping().bytes,
        Message::Open(station) => Body::open(*station).bytes,
        Message::Closed(station) => Body::closed(*station).bytes,
        Message::Relays { from, to, relays } => match Body::batch(*from, *to, relays) {
            (mut bodies, 0) if bodies.len() == 1 => bodies.remove(0).bytes,
            // Never sent, but it can be read.
            (bodies, 0) if bodies.is_empty() => Body::of(RELAYS, &[*from, *to]).bytes,
            (bodies, lost) => panic!("{} bodies, {lost} lost", bodies.len()),
        },
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(from: Station, to: Station, relays in vec(relay(), 0..8)) {
        let message = Message::Relays { from, to, relays };
        prop_assert_eq!(Message::decode(&encode(&message)), Ok(message));
        for message in [Message::Open(from), Message::Closed(to), Message::Ping] {
            prop_assert_eq!(Message::decode(&encode(&message)), Ok(message));
        }
    }

    #[test]
    fn a_truncated_body_is_an_error_or_a_shorter_batch(relays in vec(relay(), 1..4)) {
        let body = encode(&Message::Relays { from: (1, 2), to: (3, 4), relays });
        for len in 0..body.len() {
            if let Ok(message) = Message::decode(&body[..len]) {
                prop_assert_eq!(encode(&message), &body[..len]);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_another_message(relays in vec(relay(), 1..3)) {
        let mut body = encode(&Message::Relays { from: (1, 2), to: (3, 4), relays });
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = Message::decode(&body) {
                prop_assert_eq!(encode(&message), &body[..]);
            }
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn any_octets_are_an_error_or_a_message(body in vec(any::<u8>(), 0..200), kind in 0_u8..4) {
        let mut body = body;
        body.insert(0, kind);
        if let Ok(message) = Message::decode(&body) {
            prop_assert_eq!(encode(&message), body);
        }
    }

    #[test]
    fn a_long_batch_is_parted_and_keeps_its_order(relays in vec(relay(), 0..40)) {
        let relays: Vec<_> = relays.iter().cycle().take(relays.len() * 60).cloned().collect();
        let (bodies, lost) = Body::batch((1, 2), (3, 4), &relays);
        prop_assert_eq!(lost, 0);
        let mut read = Vec::new();
        for body in &bodies {
            prop_assert!(body.bytes.len() < BODY_WANTED + 300);
            let Ok(Message::Relays { from: (1, 2), to: (3, 4), relays }) = Message::decode(&body.bytes) else { panic!("no relays") };
            prop_assert_eq!(relays.len(), body.relays);
            read.extend(relays);
        }
        prop_assert_eq!(read, relays);
    }
}

#[test]
fn what_is_too_long_or_never_travels_is_left_out() {
    let connection = ConnectionId(1);
    let closes = |len: usize| Relay::Command { connection, command: LinkCommand::Close { reason: "x".repeat(len) } };
    let relays = [closes(BODY_MAX), closes(3), Relay::Command { connection, command: LinkCommand::Refuse }, closes(BODY_MAX - 100)];
    let (bodies, lost) = Body::batch((0, 1), (1, 1), &relays);
    assert_eq!((bodies.len(), lost), (1, 2));
    let Ok(Message::Relays { relays: read, .. }) = Message::decode(&bodies[0].bytes) else { panic!("no relays") };
    assert_eq!(read, [relays[1].clone(), relays[3].clone()]);
    assert_eq!(Body::batch((0, 1), (1, 1), &[]).0.len(), 0);
}

#[test]
fn more_relays_than_a_batch_has_are_an_error() {
    let mut body = Body::of(RELAYS, &[(0, 1), (1, 1)]).bytes;
    body.resize(body.len() + RELAYS_MAX, HELLO);
    assert!(Message::decode(&body).is_ok());
    body.push(HELLO);
    assert_eq!(Message::decode(&body), Err(Malformed("end of message")));
}

#[test]
fn a_declared_length_alone_is_an_error() {
    let mut body = Body::of(RELAYS, &[(0, 1), (1, 1)]).bytes;
    body.extend([COMMAND, 0, 0, 0, 0, 0, 0, 0, 9, CLOSE, 0xff, 0xff, 0xff, 0xff, b'x']);
    assert_eq!(Message::decode(&body), Err(Malformed("octets of that length")));
}
