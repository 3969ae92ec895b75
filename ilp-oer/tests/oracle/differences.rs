//! Where `rasn` 0.30 does otherwise than 2017's wire asks or this crate does. Each difference by name, with what both do, so that a
//! new version of `rasn` that changes one shows here and not in the comparison of values.

use crate::model::{Clp, Ilp};
use crate::types::{self, Address, AsnError, Code, Error2017, Payment, SeedEntry};
use ilp_oer::clp::{Dialect, Extensions};
use ilp_oer::ilp;
use ilp_oer::oer::put_octets;
use ilp_oer::{DecodeErrorKind, Timestamp, clp};
use rasn::prelude::*;
use rasn::{coer, oer};

fn ia5(text: &str) -> Ia5String {
    Ia5String::from_iso646_bytes(text.as_bytes()).unwrap()
}

fn payment(data: &[u8]) -> Payment {
    Payment { amount: 5, account: Address(ia5("a.b")), data: OctetString::from_slice(data), extensions: 0 }
}

fn ilp_error(bytes: &[u8]) -> DecodeErrorKind {
    ilp::Packet::decode(bytes).unwrap_err().kind
}

fn message(contents: &[u8]) -> Vec<u8> {
    [&[7, 0, 0, 0, 1, u8::try_from(contents.len()).unwrap()], contents].concat()
}

fn message_error(bytes: &[u8]) -> DecodeErrorKind {
    clp::Packet::decode(bytes, Dialect::Seed, Extensions::NONE).unwrap_err().kind
}

/// The ASN.1 has no extensions there, and the encoders of 2017 write them. We write the byte and read both.
#[test]
fn an_ilp_error_has_a_byte_more_than_the_asn1() {
    let (code, name, triggered_by) = (Code(ia5("F00")), ia5("x"), Address(ia5("a")));
    let triggered_at = VisibleString::from_iso646_bytes(b"20170914132352.789Z").unwrap();
    let (forwarded_by, data) = (Vec::new(), OctetString::from_static(b"d"));
    let asn = AsnError { code, name, triggered_by, forwarded_by, triggered_at, data };
    let AsnError { code, name, triggered_by, forwarded_by, triggered_at, data } = asn.clone();
    let real = Error2017 { code, name, triggered_by, forwarded_by, triggered_at, data, extensions: 0 };

    let (short, long) = (Ilp::AsnError(asn).encode().unwrap(), Ilp::Error(real).encode().unwrap());
    assert_eq!(long[2..], [&short[2..], &[0]].concat());
    let packet = ilp::Packet::decode(&short).unwrap();
    assert_eq!(packet, ilp::Packet::decode(&long).unwrap());
    assert_eq!(packet.to_vec().unwrap(), long);
}

/// Canonical `GeneralizedTime` has no zeros at the end of the fraction, and no dot without digits. 2017's times always have three digits.
#[test]
fn rasn_writes_a_generalized_time_without_the_zeros_at_its_end() {
    for (wire, canonical) in [
        ("20170828093200.000Z", "20170828093200Z"),
        ("20170828093200.100Z", "20170828093200.1Z"),
        ("20170828093200.120Z", "20170828093200.12Z"),
        ("20170828093200.123Z", "20170828093200.123Z"),
    ] {
        let time = rasn::ber::de::Decoder::parse_any_generalized_time_string(wire.to_owned()).unwrap();
        let written = [&[u8::try_from(canonical.len()).unwrap()], canonical.as_bytes()].concat();
        assert_eq!(oer::encode(&time).unwrap(), written);
        assert_eq!(coer::encode(&time).unwrap(), written);
        assert_eq!(Timestamp::parse_wire(canonical.as_bytes()).is_ok(), wire == canonical);
        assert_eq!(Timestamp::parse_wire(wire.as_bytes()).unwrap().write_wire(), wire.as_bytes());

        // It reads 2017's form, also where its own rules call for the other one.
        let wire_bytes = [&[19], wire.as_bytes()].concat();
        assert_eq!(oer::decode::<GeneralizedTime>(&wire_bytes).unwrap(), time);
        assert_eq!(coer::decode::<GeneralizedTime>(&wire_bytes).unwrap(), time);
    }
}

/// A leap second is a time to `rasn`'s calendar, and none to 2017's.
#[test]
fn rasn_reads_leap_seconds() {
    let leap = "20161231235960.500Z";
    let parse = |text: &str| rasn::ber::de::Decoder::parse_any_generalized_time_string(text.to_owned());
    assert!(parse(leap).is_ok());
    assert!(Timestamp::parse_wire(leap.as_bytes()).is_err());
    assert!(parse("20161231235961.500Z").is_err());
}

#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
#[non_exhaustive]
struct Extensible {}

#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
struct WithExtensions {
    amount: u8,
    extensions: Extensible,
}

/// `SEQUENCE {...}` without additions is its preamble, one byte `00`. `rasn` writes two, and reads none.
#[test]
fn rasn_writes_an_empty_extensible_sequence_as_two_bytes_and_reads_it_as_none() {
    let value = WithExtensions { amount: 5, extensions: Extensible {} };
    assert_eq!(coer::encode(&value).unwrap(), [5, 0, 0]);
    let (read, rest) = coer::decode_with_remainder::<WithExtensions>(&[5, 0]).unwrap();
    assert_eq!((read, rest), (value, &[0][..]));

    let bytes = Ilp::Payment(payment(b"")).encode().unwrap();
    assert_eq!(bytes.last(), Some(&0));
    let twice = [&[1, bytes[1] + 1], &bytes[2..], &[0]].concat();
    assert_eq!(ilp_error(&twice), DecodeErrorKind::Trailing(1));
    let none = [&[1, bytes[1] - 1], &bytes[2..bytes.len() - 1]].concat();
    assert_eq!(ilp_error(&none), DecodeErrorKind::Truncated { needed: 1, available: 0 });
}

/// Inside an envelope and behind it.
#[test]
fn rasn_leaves_alone_what_comes_after_a_value() {
    let value = payment(b"d");
    let contents = [coer::encode(&value).unwrap(), vec![9]].concat();
    assert_eq!(oer::decode::<Payment>(&contents).unwrap(), value);
    assert_eq!(coer::decode::<Payment>(&contents).unwrap(), value);

    let envelope = types::IlpEnvelope { kind: 1, contents: OctetString::from_slice(&contents) };
    let inside = coer::encode(&envelope).unwrap();
    assert_eq!(ilp_error(&inside), DecodeErrorKind::Trailing(1));
    let behind = [Ilp::Payment(value).encode().unwrap(), vec![9]].concat();
    assert!(coer::decode::<types::IlpEnvelope>(&behind).is_ok());
    assert_eq!(ilp_error(&behind), DecodeErrorKind::Trailing(1));
}

/// As its rules allow; canonical OER refuses them, and so do we.
#[test]
fn lengths_and_counts_that_are_not_minimal_are_read_by_oer_and_refused_by_coer() {
    let one_entry = [4, 1, b'd'];
    for (contents, expected) in [
        ([&[1, 1][..], &[4, 0x81, 1, b'd']].concat(), DecodeErrorKind::LengthNotMinimal),
        ([&[1, 1][..], &[4, 0x82, 0, 1, b'd']].concat(), DecodeErrorKind::LengthNotMinimal),
        ([&[0x81, 1, 1][..], &one_entry].concat(), DecodeErrorKind::LengthNotMinimal),
        ([&[2, 0, 1][..], &one_entry].concat(), DecodeErrorKind::CountNotMinimal),
    ] {
        assert_eq!(oer::decode::<SequenceOf<SeedEntry>>(&contents).unwrap().len(), 1, "{contents:02x?}");
        assert!(coer::decode::<SequenceOf<SeedEntry>>(&contents).is_err(), "{contents:02x?}");
        assert_eq!(message_error(&message(&contents)), expected, "{contents:02x?}");
    }
}

/// The space for them is taken first. Here it is more than there can be, which is a panic; a bit less ends the process.
#[test]
fn rasn_allocates_what_a_declared_count_says() {
    let contents = [8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(std::panic::catch_unwind(|| coer::decode::<SequenceOf<SeedEntry>>(&contents)).is_err());
    assert!(matches!(message_error(&message(&contents)), DecodeErrorKind::Truncated { .. }));
}

/// It looks at the size when it writes and not when it reads; at the alphabet never.
#[test]
fn rasn_reads_values_outside_their_size_and_alphabet() {
    let payment = |account: &str, data: usize| Payment { account: Address(ia5(account)), ..payment(&vec![0; data]) };
    for (account, data) in [("", 0), ("a b", 0), (&*"a".repeat(1024), 0), ("a", 32_768)] {
        let value = payment(account, data);
        let bytes = packet_by_hand(account.as_bytes(), data);
        assert_eq!(Ilp::Payment(value.clone()).encode().is_ok(), account == "a b");
        assert_eq!(Ilp::decode(&bytes).unwrap(), Ilp::Payment(value.clone()));
        assert!(Ilp::Payment(value).to_value().is_err());
        let kind = ilp_error(&bytes);
        assert!(matches!(kind, DecodeErrorKind::Address(_) | DecodeErrorKind::DataTooLong { .. }), "{kind:?}");
    }
    // Sound ones are written so.
    assert_eq!(Ilp::Payment(payment("a", 3)).encode().unwrap(), packet_by_hand(b"a", 3));
}

fn packet_by_hand(account: &[u8], data: usize) -> Vec<u8> {
    let mut contents = vec![0, 0, 0, 0, 0, 0, 0, 5];
    put_octets(account, &mut contents);
    put_octets(&vec![0; data], &mut contents);
    contents.push(0);
    let mut packet = vec![1];
    put_octets(&contents, &mut packet);
    packet
}

/// `IA5String` has them, and a name or a protocol's name with one isn't text to us.
#[test]
fn rasn_takes_control_characters_in_text() {
    for character in ['\0', '\n', '\x1f', '\x7f'] {
        let entry = types::NamedEntry { protocol_name: ia5(&character.to_string()), content_type: 0, data: OctetString::from_static(b"") };
        let packet = Clp { request_id: 1, body: crate::model::Body::Message(vec![entry]) };
        let bytes = packet.encode().unwrap();
        assert_eq!(Clp::decode(&bytes).unwrap(), packet);
        let refused = clp::Packet::decode(&bytes, Dialect::Named, Extensions::NONE).unwrap_err();
        assert_eq!(refused.kind, DecodeErrorKind::InvalidText);
    }
}
