//! What is refused, why, and where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_oer::DecodeErrorKind::{self, *};
use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, Prepare, ProtocolData, RejectionReason};
use ilp_oer::ilp::{self, AddrList, ErrorPacket, Payment};
use ilp_oer::value::{ClpValue, IlpValue, NamedEntry, SeedEntry};
use ilp_oer::{Addr, Amount, Condition, EncodeErrorReason, ErrorCode, InvalidAddress, InvalidCurve, Timestamp, TransferId, oer};

/// A packet of that type with these contents.
fn ilp(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    oer::put_octets(contents, &mut packet);
    packet
}

fn ilp_error(bytes: &[u8]) -> (usize, DecodeErrorKind) {
    let error = ilp::Packet::decode(bytes).unwrap_err();
    (error.offset, error.kind)
}

fn clp(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind, 0, 0, 0, 1];
    oer::put_octets(contents, &mut packet);
    packet
}

fn clp_error(bytes: &[u8], dialect: Dialect) -> (usize, DecodeErrorKind) {
    let error = Packet::decode(bytes, dialect, Extensions::ALL).unwrap_err();
    (error.offset, error.kind)
}

#[test]
fn envelopes() {
    assert_eq!(ilp_error(&[]), (0, Truncated { needed: 1, available: 0 }));
    assert_eq!(ilp_error(&[1]), (1, Truncated { needed: 1, available: 0 }));
    assert_eq!(ilp_error(&[0, 0]), (0, UnknownType(0)));
    assert_eq!(ilp_error(&[9, 0]), (0, UnknownType(9)));
    assert_eq!(ilp_error(&[5, 0x80]), (1, LengthNotMinimal));
    assert_eq!(ilp_error(&[5, 14, 0]), (1, Truncated { needed: 14, available: 1 }));
    assert_eq!(ilp_error(&[5, 1, 0, 0]), (3, Trailing(1)));
    assert_eq!(ilp_error(&ilp(5, &[0; 14])), (15, Trailing(1)));
    assert_eq!(clp_error(&[9, 0, 0, 0, 0, 0], Dialect::Named), (0, UnknownType(9)));
    assert_eq!(clp_error(&[1, 0, 0, 0], Dialect::Named), (1, Truncated { needed: 4, available: 3 }));
    assert_eq!(clp_error(&[1, 0, 0, 0, 0, 2, 1, 0, 7], Dialect::Named), (8, Trailing(1)));
}

#[test]
fn fields_of_ilp() {
    let payment = |account: &[u8], data: usize, extension: &[u8]| {
        let mut contents = vec![0; 8];
        oer::put_octets(account, &mut contents);
        oer::put_octets(&vec![0; data], &mut contents);
        ilp(1, &[&contents, extension].concat())
    };
    assert!(ilp::Packet::decode(&payment(&[b'a'; 1023], 32_767, &[0])).is_ok());
    assert_eq!(ilp_error(&payment(b"a", 32_768, &[0])), (14, DataTooLong { length: 32_768, max: 32_767 }));
    assert_eq!(ilp_error(&payment(b"", 0, &[0])), (10, Address(InvalidAddress::Length)));
    assert_eq!(ilp_error(&payment(&[b'a'; 1024], 0, &[0])), (12, Address(InvalidAddress::Length)));
    assert_eq!(ilp_error(&payment(b"a b", 0, &[0])), (10, Address(InvalidAddress::Character)));
    assert_eq!(ilp_error(&payment(b"a", 0, &[])), (13, Truncated { needed: 1, available: 0 }));
    assert_eq!(ilp_error(&payment(b"a", 0, &[1])), (13, UnknownExtension));

    let mut curve = vec![1, 2];
    curve.extend_from_slice(&[0; 32]);
    assert_eq!(ilp_error(&ilp(3, &curve)), (20, Curve(InvalidCurve(1))));
}

#[test]
fn fields_of_errors() {
    let error = |code: &[u8; 3], name: &[u8], time: &[u8], data: usize, extension: &[u8]| {
        let mut contents = code.to_vec();
        oer::put_octets(name, &mut contents);
        contents.extend_from_slice(b"\x01a\x01\x00");
        oer::put_octets(time, &mut contents);
        oer::put_octets(&vec![0; data], &mut contents);
        ilp(8, &[&contents, extension].concat())
    };
    let time = b"20170914132352.000Z";
    assert!(ilp::Packet::decode(&error(b"F00", b"", time, 8192, &[0])).is_ok());
    assert!(ilp::Packet::decode(&error(b"F00", b"", time, 0, &[])).is_ok());
    assert!(matches!(ilp_error(&error(b"F0\n", b"", time, 0, &[0])), (2, ErrorCode(_))));
    assert_eq!(ilp_error(&error(b"F00", b"\xc3\xa9", time, 0, &[0])), (5, InvalidText));
    assert!(matches!(ilp_error(&error(b"F00", b"", b"20170230132352.000Z", 0, &[0])), (10, Timestamp(_))));
    assert_eq!(ilp_error(&error(b"F00", b"", time, 8193, &[0])), (32, DataTooLong { length: 8193, max: 8192 }));
    assert_eq!(ilp_error(&error(b"F00", b"", time, 0, &[1])), (31, UnknownExtension));
    assert_eq!(ilp_error(&error(b"F00", b"", time, 0, &[0, 0])), (32, Trailing(1)));

    let payment = ilp(1, &[0; 4]);
    assert_eq!(clp_error(&clp(3, &payment), Dialect::Named), (6, WrongType { expected: 8, found: 1 }));
    assert!(RejectionReason::from_bytes(&payment).is_err());
}

#[test]
fn protocol_data() {
    assert_eq!(clp_error(&clp(7, &[0]), Dialect::Named), (6, CountNotMinimal));
    assert_eq!(clp_error(&clp(7, &[2, 0, 0]), Dialect::Named), (6, CountNotMinimal));
    assert_eq!(clp_error(&clp(7, &[1, 1]), Dialect::Named), (8, Truncated { needed: 1, available: 0 }));
    assert_eq!(clp_error(&clp(7, &[1, 1, 1, 0x1f, 0, 0]), Dialect::Named), (8, InvalidText));
    assert_eq!(clp_error(&clp(7, &[1, 0, 0]), Dialect::Seed), (8, Trailing(1)));
    // The same bytes mean different things in the dialects, or nothing in one of them.
    let both = clp(7, &[1, 1, 0, 1, 0]);
    let first = |dialect| Packet::decode(&both, dialect, Extensions::NONE).unwrap().body.data().first();
    assert_eq!(first(Dialect::Named), Some(Entry::named("", 1, b"")));
    assert_eq!(first(Dialect::Seed), Some(Entry::numbered(0, b"\0")));
    assert_eq!(clp_error(&clp(7, &[1, 1, 0, 0, 0]), Dialect::Seed), (10, Trailing(1)));
}

#[test]
fn the_extension_has_a_presence_byte_of_0_or_1() {
    let transfer = |tail: &[u8]| clp(8, &[&[0; 24][..], tail].concat());
    assert!(Packet::decode(&transfer(&[0, 1, 0]), Dialect::Named, Extensions::ALL).is_ok());
    assert_eq!(clp_error(&transfer(&[2, 1, 0]), Dialect::Named), (30, InvalidPresence(2)));
    assert_eq!(clp_error(&transfer(&[0x80, 1, 0]), Dialect::Named), (30, InvalidPresence(0x80)));
    let plain = Packet::decode(&transfer(&[0, 1, 0]), Dialect::Named, Extensions::NONE).unwrap_err();
    assert_eq!((plain.offset, plain.kind), (0, UnknownType(8)));
}

#[test]
fn what_cannot_be_written_leaves_the_output_alone() {
    let account = Addr::new("test.bob").unwrap();
    let data = vec![0; 32_768];
    let payment = ilp::Packet::Payment(Payment { amount: Amount::ZERO, account, data: &data });
    let error = ErrorPacket {
        code: ErrorCode::F00_BAD_REQUEST,
        name: "caf\u{e9}",
        triggered_by: account,
        forwarded_by: AddrList::EMPTY,
        triggered_at: Timestamp::MIN,
        data: b"",
    };
    let mut out = Vec::new();
    let failed = payment.encode(&mut out).unwrap_err();
    assert_eq!((failed.field, failed.reason), ("data", EncodeErrorReason::TooLong { length: 32_768, max: 32_767 }));
    assert_eq!(ilp::Packet::Error(error).encode(&mut out).unwrap_err().field, "name");

    let named = [Entry::named("ilp", 0, b"")];
    let accented = [Entry::named("ilp", 0, b""), Entry::named("\u{e9}", 0, b"")];
    let numbered = [Entry::numbered(1, b"")];
    let typed = [Entry { content_type: 1, ..Entry::numbered(1, b"") }];
    for (dialect, entries, field) in [
        (Dialect::Named, &numbered[..], "protocol"),
        (Dialect::Named, &accented, "protocol"),
        (Dialect::Seed, &named, "protocol"),
        (Dialect::Seed, &typed, "content_type"),
    ] {
        let packet = Packet { request_id: 1, body: Body::Message(ProtocolData::entries(dialect, entries)) };
        assert_eq!(packet.encode(&mut out).unwrap_err().field, field);
    }
    let reason = RejectionReason::from(error);
    let packet = Packet { request_id: 1, body: Body::Error { reason, data: ProtocolData::EMPTY } };
    assert_eq!(packet.encode(&mut out).unwrap_err().field, "name");
    assert!(out.is_empty());
}

#[test]
fn an_output_without_room_stays_as_it_was() {
    let prepare = Prepare {
        transfer_id: TransferId::new([1; 16]),
        amount: Amount::MAX,
        condition: Condition::new([2; 32]),
        expires_at: Timestamp::MAX,
        data: ProtocolData::EMPTY,
    };
    let packet = Packet { request_id: 1, body: Body::Prepare(prepare) };
    for room in 0..packet.encoded_len() {
        let mut out = vec![0xee; room];
        let reason = packet.encode(&mut &mut out[..]).unwrap_err().reason;
        assert_eq!(reason, EncodeErrorReason::NoRoom { needed: packet.encoded_len(), available: room });
        assert!(out.iter().all(|byte| *byte == 0xee));
    }
    let mut out = vec![0; packet.encoded_len()];
    assert_eq!(packet.encode(&mut &mut out[..]), Ok(()));
}

#[test]
fn a_reason_is_passed_on_as_it_came() {
    // Without the byte 00 at its end.
    let mut reason = vec![8, 29];
    reason.extend_from_slice(b"F00\x00\x01a\x01\x00\x1320170914132352.000Z\x00");
    let frame = clp(3, &[&reason[..], &[1, 0]].concat());
    let decoded = Packet::decode(&frame, Dialect::Named, Extensions::NONE).unwrap();
    assert_eq!(decoded.to_vec().unwrap(), frame);
    let Body::Error { reason: kept, .. } = decoded.body else { panic!() };
    assert_eq!(kept.as_bytes(), Some(&reason[..]));
    assert_eq!(RejectionReason::from_bytes(&reason).unwrap(), kept);
    // Made anew from the same error, it has the byte, and is equal all the same.
    let made = RejectionReason::from(kept.error());
    assert_eq!((made.as_bytes(), made.encoded_len()), (None, reason.len() + 1));
    assert_eq!(made, kept);
}

#[test]
fn values_have_all_fields_of_their_type_once_and_no_others() {
    let good = r#"{"type":1,"requestId":1,"protocolData":[]}"#;
    assert!(serde_json::from_str::<ClpValue<NamedEntry>>(good).is_ok());
    assert!(serde_json::from_str::<ClpValue<SeedEntry>>(good).is_ok());
    for bad in [
        r#"{"type":1,"requestId":1}"#,
        r#"{"type":1,"protocolData":[]}"#,
        r#"{"requestId":1,"protocolData":[]}"#,
        r#"{"type":0,"requestId":1,"protocolData":[]}"#,
        r#"{"type":"1","requestId":1,"protocolData":[]}"#,
        r#"{"type":1,"requestId":1,"protocolData":null}"#,
        r#"{"type":1,"requestId":1,"protocolData":[],"amount":null}"#,
        r#"{"type":1,"requestId":1,"protocolData":[],"extra":0}"#,
        r#"{"type":1,"type":1,"requestId":1,"protocolData":[]}"#,
        r#"[1,1,[]]"#,
    ] {
        assert!(serde_json::from_str::<ClpValue<NamedEntry>>(bad).is_err(), "{bad}");
        assert!(serde_json::from_str::<IlpValue>(bad).is_err(), "{bad}");
    }
    let transfer = r#"{"type":8,"requestId":1,"transferId":"00112233445566778899aabbccddeeff","amount":"1","protocolData":[]"#;
    let from = |tail: &str| serde_json::from_str::<ClpValue>(&format!("{transfer}{tail}}}"));
    assert!(from(r#","expiresAt":null"#).is_ok());
    assert!(from("").is_err());
}
