//! Reading and writing packets, and beside each the same with `rasn`: the same bytes, envelopes and contents.
//!
//! The work isn't quite the same. This crate also checks addresses, text, limits and the order of curves, and reads times as instants;
//! `rasn`, as used here, looks at little more than that characters are ASCII. It copies what it reads, this crate borrows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]

#[path = "../tests/oracle/model.rs"]
mod model;
#[path = "../tests/packets/mod.rs"]
mod packets;
#[allow(dead_code, reason = "the seed dialect isn't measured")]
#[path = "../tests/oracle/types.rs"]
mod types;

use crate::model::{Body, Clp, Ilp};
use divan::{Bencher, black_box};
use ilp_oer::ilp::Packet;
use packets::*;
use rasn::coer;
use rasn::prelude::*;
use rasn::types::FixedOctetString;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

type Named = Clp<types::NamedEntry>;

/// [`types::Prepare`] with the time as the ASN.1 has it. `rasn` reads 2017's form of it, but doesn't write it.
#[derive(AsnType, Encode, Decode)]
struct PrepareWithInstant {
    transfer_id: FixedOctetString<16>,
    amount: u64,
    condition: FixedOctetString<32>,
    expires_at: GeneralizedTime,
    data: SequenceOf<types::NamedEntry>,
}

fn main() {
    // Many calls a sample: one alone is of the size of the clock's steps.
    divan::Divan::from_args().sample_size(1000).sample_count(300).main();
}

/// What was read is there, and dropped within the measurement.
#[inline]
fn consume<T>(read: &T) {
    black_box(read);
}

#[divan::bench_group]
mod decode_prepare_with_payment {
    use super::*;

    #[divan::bench]
    fn ilp_oer(bencher: Bencher<'_, '_>) {
        let bytes = prepare_bytes();
        bencher.bench_local(|| consume(&decode_prepare(black_box(&bytes))));
    }

    /// Times stay text.
    #[divan::bench]
    fn rasn(bencher: Bencher<'_, '_>) {
        let bytes = prepare_bytes();
        bencher.bench_local(|| {
            let Body::Prepare(prepare) = Named::decode(black_box(&bytes)).unwrap().body else { panic!() };
            let Ilp::Payment(payment) = Ilp::decode(&prepare.data[0].data).unwrap() else { panic!() };
            consume(&(prepare, payment));
        });
    }

    /// Times are read as instants, as this crate does.
    #[divan::bench]
    fn rasn_with_instant(bencher: Bencher<'_, '_>) {
        let bytes = prepare_bytes();
        bencher.bench_local(|| {
            let envelope: types::ClpEnvelope = coer::decode(black_box(&bytes)).unwrap();
            let prepare: PrepareWithInstant = coer::decode(&envelope.contents).unwrap();
            let Ilp::Payment(payment) = Ilp::decode(&prepare.data[0].data).unwrap() else { panic!() };
            consume(&(prepare, payment));
        });
    }
}

#[divan::bench_group]
mod decode_fulfill {
    use super::*;

    #[divan::bench]
    fn ilp_oer(bencher: Bencher<'_, '_>) {
        let bytes = fulfill().to_vec().unwrap();
        bencher.bench_local(|| consume(&decode_clp(black_box(&bytes))));
    }

    #[divan::bench]
    fn rasn(bencher: Bencher<'_, '_>) {
        let bytes = fulfill().to_vec().unwrap();
        bencher.bench_local(|| consume(&Named::decode(black_box(&bytes)).unwrap()));
    }
}

#[divan::bench_group]
mod decode_quote {
    use super::*;

    #[divan::bench(args = QUOTES)]
    fn ilp_oer(bencher: Bencher<'_, '_>, quote_type: u8) {
        let bytes = quote(quote_type).to_vec().unwrap();
        bencher.bench_local(|| consume(&Packet::decode(black_box(&bytes)).unwrap()));
    }

    #[divan::bench(args = QUOTES)]
    fn rasn(bencher: Bencher<'_, '_>, quote_type: u8) {
        let bytes = quote(quote_type).to_vec().unwrap();
        bencher.bench_local(|| consume(&Ilp::decode(black_box(&bytes)).unwrap()));
    }
}

/// The payment goes into a buffer of its own first, which is always reused.
#[divan::bench_group]
mod encode_prepare_with_payment {
    use super::*;

    #[divan::bench]
    fn ilp_oer(bencher: Bencher<'_, '_>) {
        let (payment, fields, mut scratch) = (payment(), prepare_fields(), Vec::with_capacity(1000));
        bencher.bench_local(|| {
            let mut out = Vec::new();
            encode_prepare(black_box(&payment), black_box(&fields), &mut scratch, &mut out);
            out
        });
    }

    #[divan::bench]
    fn ilp_oer_reused(bencher: Bencher<'_, '_>) {
        let (payment, fields, mut scratch, mut out) = (payment(), prepare_fields(), Vec::with_capacity(1000), Vec::with_capacity(1000));
        bencher.bench_local(|| {
            encode_prepare(black_box(&payment), black_box(&fields), &mut scratch, &mut out);
            black_box(&mut out);
        });
    }

    #[divan::bench]
    fn rasn(bencher: Bencher<'_, '_>) {
        let mut packet = Named::decode(&prepare_bytes()).unwrap();
        let payment = Ilp::decode(&payment().to_vec().unwrap()).unwrap();
        bencher.bench_local(|| {
            let payment = black_box(&payment).encode().unwrap();
            let Body::Prepare(prepare) = &mut packet.body else { panic!() };
            prepare.data[0].data = OctetString::from(payment);
            black_box(&packet).encode().unwrap()
        });
    }
}

#[divan::bench_group]
mod encode_fulfill {
    use super::*;

    #[divan::bench]
    fn ilp_oer(bencher: Bencher<'_, '_>) {
        let packet = fulfill();
        bencher.bench_local(|| black_box(&packet).to_vec().unwrap());
    }

    #[divan::bench]
    fn ilp_oer_reused(bencher: Bencher<'_, '_>) {
        let (packet, mut out) = (fulfill(), Vec::with_capacity(1000));
        bencher.bench_local(|| {
            out.clear();
            black_box(&packet).encode(&mut out).unwrap();
            black_box(&mut out);
        });
    }

    #[divan::bench]
    fn rasn(bencher: Bencher<'_, '_>) {
        let packet = Named::decode(&fulfill().to_vec().unwrap()).unwrap();
        bencher.bench_local(|| black_box(&packet).encode().unwrap());
    }
}

#[divan::bench_group]
mod encode_quote {
    use super::*;

    #[divan::bench(args = QUOTES)]
    fn ilp_oer(bencher: Bencher<'_, '_>, quote_type: u8) {
        let value = quote(quote_type);
        bencher.bench_local(|| black_box(value.packet()).to_vec().unwrap());
    }

    #[divan::bench(args = QUOTES)]
    fn ilp_oer_reused(bencher: Bencher<'_, '_>, quote_type: u8) {
        let (value, mut out) = (quote(quote_type), Vec::with_capacity(1000));
        bencher.bench_local(|| {
            out.clear();
            black_box(value.packet()).encode(&mut out).unwrap();
            black_box(&mut out);
        });
    }

    #[divan::bench(args = QUOTES)]
    fn rasn(bencher: Bencher<'_, '_>, quote_type: u8) {
        let packet = Ilp::decode(&quote(quote_type).to_vec().unwrap()).unwrap();
        bencher.bench_local(|| black_box(&packet).encode().unwrap());
    }
}
