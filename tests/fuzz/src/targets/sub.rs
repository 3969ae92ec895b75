//! The data of sub-protocols.

use super::check_decoder;
use crate::seeds;
use crate::target::Report;
use ilp_clp::{InterledgerError, ProtocolBuffer};
use ilp_fuzz_probe::measure;
use ilp_oer::clp::Dialect;
use ilp_oer::sub::{Balance, Info, Liquidity, LiquidityAnswer, Setup, Vouch};
use ilp_oer::{DecodeError, EncodeError};
use std::fmt::Debug;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let liquidity = LiquidityAnswer { available: 5, balance: -7, credit_limit: 12, held: 0, min_packet: 0, max_packet: 1_000_000 };
    let long = [&[2, 0x82, 0, 200][..], &[b'a'; 200]].concat();
    let made = [
        (0, b"\x01\x06secret\x05alice\x00".to_vec()),
        (0, b"\x02\x01\x02\x01\x03ilp\x80\x08transfer".to_vec()),
        (0, b"\x03\x03XRP\x04test\x05rAcct\x01\xff".to_vec()),
        (1, b"\x01\x0btest.me.bob".to_vec()),
        (1, b"\x02\x01\x01\x05\x09liquidity".to_vec()),
        (2, b"\x00".to_vec()),
        (2, b"\x02\x0etest.ann.alice".to_vec()),
        (2, long),
        (3, b"\x00".to_vec()),
        (3, b"\x02\x08\0\0\0\0\0\0\0\x05".to_vec()),
        (4, b"\x01\x0etest.ann.alice".to_vec()),
        (4, b"\x02\x0etest.ann.alice".to_vec()),
        (4, b"\x03\x0etest.ann.alice".to_vec()),
        (5, b"\x01".to_vec()),
        (5, Liquidity::Answer(liquidity).to_vec().unwrap()),
        (6, b"\x01\x02\x03ilp\x00\x05hello\x04info\x00\x01\x00".to_vec()),
        (7, b"\x01\x02\x01\x05hello\x05\x01\x01".to_vec()),
    ];
    let errors = seeds::ilp().into_iter().filter(|packet| packet.first() == Some(&8)).map(|packet| (8, packet));
    let data = seeds::sub_data().into_iter().filter(|data| data.len() < 300).flat_map(|data| [(2, data.clone()), (4, data)]);
    made.into_iter().chain(errors).chain(data).map(|(choice, data)| [vec![choice], data].concat()).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 9 {
        0 => check(bytes, Setup::decode_request, |setup| setup.to_vec(), false, report),
        1 => check(bytes, Setup::decode_answer, |setup| setup.to_vec(), false, report),
        2 => check(bytes, Info::decode, |info| info.to_vec(), true, report),
        3 => check(bytes, Balance::decode, |balance| balance.to_vec(), false, report),
        4 => check(bytes, Vouch::decode, |vouch| vouch.to_vec(), true, report),
        5 => check(bytes, Liquidity::decode, |liquidity| liquidity.to_vec(), false, report),
        6 => entries(bytes, Dialect::Named, report),
        7 => entries(bytes, Dialect::Seed, report),
        _ => error(bytes, report),
    }
    report.feature((choice % 9, report.full));
}

/// `two_forms`: lengths from 128 to 255 may be in two or in three bytes, and are written in three.
fn check<'a, T: PartialEq + Debug>(
    bytes: &'a [u8],
    decode: impl Fn(&'a [u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Result<Vec<u8>, EncodeError>,
    two_forms: bool,
    report: &mut Report,
) {
    let (result, memory) = measure(|| decode(bytes));
    check_decoder(&result, memory, bytes);
    report.envelope = bytes.first().is_some_and(|operation| *operation < 4);
    match result {
        Ok(value) => {
            report.full = true;
            let again = encode(&value).unwrap();
            let short_form = two_forms && bytes.get(1) == Some(&0x81);
            let right = if short_form { again[2..4] == [0, bytes[2]] && again[4..] == bytes[3..] } else { again == bytes };
            assert!(right, "{value:?} is written back as {again:02x?}");
        }
        Err(error) => report.feature(std::mem::discriminant(&error.kind)),
    }
}

fn entries(bytes: &[u8], dialect: Dialect, report: &mut Report) {
    report.envelope = bytes.first().is_some_and(|size| *size < 9);
    let wire = bytes::Bytes::copy_from_slice(bytes);
    let (result, memory) = measure(|| ProtocolBuffer::from_wire(dialect, wire));
    // A shared buffer may become one with a counter.
    assert!(memory.peak <= 64, "{memory:?}");
    match result {
        Ok(buffer) => {
            report.full = true;
            let (entries, memory) = measure(|| buffer.entries());
            assert!(memory.peak <= 64 * bytes.len() + 1024, "{} bytes took {memory:?}", bytes.len());
            assert_eq!(buffer.first(), entries.first().copied());
            assert_eq!(buffer.is_empty(), entries.is_empty());
            assert_eq!(ProtocolBuffer::new(dialect, &entries).unwrap().as_bytes(), bytes);
            assert_eq!(buffer.first_data(), entries.first().map_or(&[][..], |entry| entry.data));
            assert_eq!(buffer.detached().as_bytes(), bytes);
        }
        Err(error) => assert!(error.offset <= bytes.len(), "{error}"),
    }
}

fn error(bytes: &[u8], report: &mut Report) {
    report.envelope = super::is_envelope(bytes, 8, 0);
    match InterledgerError::from_bytes(bytes::Bytes::copy_from_slice(bytes)) {
        Ok(error) => {
            report.full = true;
            assert_eq!(error.as_bytes(), bytes);
            assert_eq!(error.code(), error.packet().unwrap().code);
            assert!(error.to_string().starts_with(error.code().as_str()), "{error}");
        }
        Err(error) => assert!(error.offset <= bytes.len(), "{error}"),
    }
}
