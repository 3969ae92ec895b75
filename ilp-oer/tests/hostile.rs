//! Bytes from strangers: nothing panics, nothing but whole packets in their one form decodes, and errors point into the bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod strategies;

use ilp_oer::clp::{self, Dialect, Extensions};
use ilp_oer::sub::{Balance, Info, Liquidity, Setup, Vouch};
use ilp_oer::value::{NamedEntry, SeedEntry};
use ilp_oer::{Curve, DecodeError, Timestamp, ilp};
use proptest::collection::vec;
use proptest::prelude::*;
use strategies::*;

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        decode_all(&bytes);
    }

    #[test]
    fn any_contents_in_a_good_envelope_are_read_without_a_panic(kind in 0..10_u8, contents in vec(any::<u8>(), 0..120)) {
        let len = u8::try_from(contents.len()).unwrap();
        decode_all(&[&[kind, len][..], &contents].concat());
        decode_all(&[&[kind, 0, 0, 0, 1, len][..], &contents].concat());
    }

    #[test]
    fn no_packet_decodes_cut_short_or_with_more_behind(
        ilp in ilp_value(), named in clp_value::<NamedEntry>(), seed in clp_value::<SeedEntry>(), tail in vec(any::<u8>(), 1..4),
    ) {
        cut_and_extended(&ilp.to_vec().unwrap(), &tail, |bytes| ilp::Packet::decode(bytes).map(drop));
        cut_and_extended(&named.to_vec().unwrap(), &tail, |bytes| clp(bytes, Dialect::Named));
        cut_and_extended(&seed.to_vec().unwrap(), &tail, |bytes| clp(bytes, Dialect::Seed));
    }

    /// Whatever decodes after a change is another packet in its own one form.
    #[test]
    fn a_changed_byte_makes_another_packet_or_none(
        ilp in ilp_value(), named in clp_value::<NamedEntry>(), at in any::<prop::sample::Index>(), change in 1..=255_u8,
    ) {
        let original = ilp.to_vec().unwrap();
        let mut bytes = original.clone();
        bytes[at.index(original.len())] ^= change;
        if let Ok(packet) = ilp::Packet::decode(&bytes) {
            // Only an error's last byte may be missing.
            let again = packet.to_vec().unwrap();
            prop_assert!(again == bytes || matches!(packet, ilp::Packet::Error(_)));
            prop_assert_ne!(packet, ilp.packet());
        }

        let mut bytes = named.to_vec().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(packet) = clp::Packet::decode(&bytes, Dialect::Named, Extensions::ALL) {
            prop_assert_eq!(&packet.to_vec().unwrap(), &bytes);
            named.with_packet(|original| assert_ne!(packet, original));
        }
    }

    #[test]
    fn a_declared_length_or_count_costs_nothing(size in 1..=8_u8, high in 1..=255_u8) {
        // Contents of 2^8 to 2^64 bytes, and as many entries, addresses or points, none of which is there.
        let mut number = vec![0xff; usize::from(size)];
        number[0] = high;
        let count = [&[size][..], &number].concat();
        let envelope = |head: &[u8], contents: &[u8]| {
            [head, &[u8::try_from(contents.len()).unwrap()], contents].concat()
        };
        let length = [&[7, 0, 0, 0, 1, 0x80 | size][..], &number].concat();
        prop_assert!(clp(&length, Dialect::Named).is_err());
        prop_assert!(clp(&envelope(&[7, 0, 0, 0, 1], &count), Dialect::Named).is_err());
        prop_assert!(clp(&envelope(&[7, 0, 0, 0, 1], &count), Dialect::Seed).is_err());
        prop_assert!(ilp::Packet::decode(&envelope(&[3], &count)).is_err());
        prop_assert!(ilp::Packet::decode(&envelope(&[8], &[b"F00\x00\x01a", &count[..]].concat())).is_err());
        prop_assert!(Setup::decode_request(&[&[2][..], &count].concat()).is_err());
    }

    #[test]
    fn any_text_as_a_time_is_a_time_in_its_one_form_or_none(text in "[0-9]{14}\\.[0-9]{3}Z") {
        if let Ok(time) = Timestamp::parse_wire(text.as_bytes()) {
            prop_assert_eq!(&time.write_wire()[..], text.as_bytes());
        }
    }

    #[test]
    fn any_points_are_a_curve_or_none(points in vec((0..9_u64, 0..9_u64), 0..5)) {
        let ordered = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        prop_assert_eq!(Curve::new(points).is_ok(), ordered);
    }
}

fn clp(bytes: &[u8], dialect: Dialect) -> Result<(), DecodeError> {
    clp::Packet::decode(bytes, dialect, Extensions::ALL).map(drop)
}

/// Reads the bytes as everything there is, and all that they hold.
fn decode_all(bytes: &[u8]) {
    let mut errors = vec![
        Info::decode(bytes).map(drop),
        Balance::decode(bytes).map(drop),
        Vouch::decode(bytes).map(drop),
        Liquidity::decode(bytes).map(drop),
        Setup::decode_request(bytes).map(drop),
        Setup::decode_answer(bytes).map(drop),
        ilp::ErrorPacket::decode(bytes).map(drop),
    ];
    let _ = (ilp::Packet::packet_type(bytes), clp::Packet::peek_request_id(bytes));
    match ilp::Packet::decode(bytes) {
        // Reads the lists inside to their ends.
        Ok(packet) => drop(format!("{packet:?}")),
        Err(error) => errors.push(Err(error)),
    }
    for dialect in [Dialect::Named, Dialect::Seed] {
        match clp::Packet::decode(bytes, dialect, Extensions::ALL) {
            Ok(packet) => assert_eq!(packet.body.data().iter().count(), packet.body.data().len()),
            Err(error) => errors.push(Err(error)),
        }
    }
    for error in errors.into_iter().filter_map(Result::err) {
        assert!(error.offset <= bytes.len(), "{error}");
    }
}

fn cut_and_extended(bytes: &[u8], tail: &[u8], decode: impl Fn(&[u8]) -> Result<(), DecodeError>) {
    assert_eq!(decode(bytes), Ok(()));
    for len in 0..bytes.len() {
        let error = decode(&bytes[..len]).unwrap_err();
        assert!(error.offset <= len, "{error}");
    }
    let error = decode(&[bytes, tail].concat()).unwrap_err();
    assert_eq!(error.offset, bytes.len());
}
