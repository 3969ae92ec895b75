//! Reading allocates nothing; writing allocates the packet itself, and nothing where there is room already.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod packets;

use ilp_oer::{clp, ilp};
use packets::*;

/// How often `work` allocates.
fn allocations<R>(work: impl FnOnce() -> R) -> u64 {
    allocation_counter::measure(|| drop(work())).count_total
}

#[test]
fn reading_allocates_nothing() {
    assert!(allocations(prepare_bytes) > 0, "the counter counts");
    let (prepare, fulfill) = (prepare_bytes(), fulfill().to_vec().unwrap());
    assert_eq!(allocations(|| assert!(decode_prepare(&prepare).is_some())), 0);
    assert_eq!(allocations(|| assert_eq!(decode_clp(&fulfill).body.kind(), clp::PacketType::Fulfill)), 0);
    for quote_type in QUOTES {
        let bytes = quote(quote_type).to_vec().unwrap();
        assert_eq!(allocations(|| assert_eq!(ilp::Packet::decode(&bytes).unwrap().kind().to_byte(), quote_type)), 0, "{quote_type}");
    }
}

#[test]
fn reading_what_is_refused_allocates_nothing() {
    let prepare = prepare_bytes();
    let refused = |bytes: &[u8]| clp::Packet::decode(bytes, clp::Dialect::Named, clp::Extensions::NONE).is_err();
    for len in 0..prepare.len() {
        assert_eq!(allocations(|| assert!(refused(&prepare[..len]))), 0);
    }
}

#[test]
fn writing_allocates_the_packet_and_nothing_into_a_buffer_with_room() {
    let (payment, fields, fulfill) = (payment(), prepare_fields(), fulfill());
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    encode_prepare(&payment, &fields, &mut scratch, &mut out);
    assert_eq!(allocations(|| encode_prepare(&payment, &fields, &mut scratch, &mut out)), 0);
    assert_eq!(allocations(|| encode_prepare(&payment, &fields, &mut scratch, &mut Vec::new())), 1);

    assert_eq!(allocations(|| fulfill.to_vec()), 1);
    assert_eq!(allocations(|| rewrite(&mut out, |out| fulfill.encode(out).unwrap())), 0);
    out.reserve(1000);
    for quote_type in QUOTES {
        let value = quote(quote_type);
        assert_eq!(allocations(|| value.to_vec()), 1, "{quote_type}");
        assert_eq!(allocations(|| rewrite(&mut out, |out| value.encode(out).unwrap())), 0, "{quote_type}");
    }
}

fn rewrite(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.clear();
    write(out);
}
