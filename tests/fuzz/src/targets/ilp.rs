//! ILP packets.

use super::{check_decoder, is_envelope};
use crate::seeds;
use crate::target::Report;
use ilp_fuzz_probe::measure;
use ilp_oer::ilp::{ErrorPacket, LiquidityResponse, Packet};
use ilp_oer::value::IlpValue;
use ilp_oer::{Addr, Curve, CurvePoints};

pub(super) fn seeds() -> Vec<Vec<u8>> {
    seeds::ilp()
}

pub(super) fn run(bytes: &[u8], report: &mut Report) {
    report.envelope = is_envelope(bytes, 8, 0);
    let (result, memory) = measure(|| Packet::decode(bytes));
    check_decoder(&result, memory, bytes);
    let packet = match result {
        Ok(packet) => packet,
        Err(error) => return report.feature((bytes.first(), std::mem::discriminant(&error.kind))),
    };
    assert!(report.envelope, "decoded without its envelope");
    report.full = true;
    report.feature(bytes[0]);
    assert_eq!(Packet::packet_type(bytes), Some(packet.kind()));

    let again = packet.to_vec().unwrap();
    assert_eq!(again.len(), packet.encoded_len(), "its length");
    let bare = matches!(packet, Packet::Error(_)) && again.len() > bytes.len();
    assert!(bare || again == bytes, "what was read is written back");
    if bare {
        assert_eq!(Packet::decode(&again).unwrap(), packet, "the last byte of an error may be missing, and nothing else");
        assert_eq!(again.last(), Some(&0));
    }

    let (value, memory) = measure(|| IlpValue::try_from(packet).unwrap());
    assert!(memory.peak <= 64 * bytes.len() + 1024, "{} bytes took {memory:?}", bytes.len());
    assert_eq!(value.packet(), packet);
    assert_eq!(value.to_vec().unwrap(), again, "the owned form is written back");
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<IlpValue>(&json).unwrap(), value, "{json}");

    match packet {
        Packet::Error(error) => check_error(&error),
        Packet::LiquidityResponse(LiquidityResponse { liquidity_curve, .. }) => check_curve(liquidity_curve),
        _ => {}
    }
}

fn check_error(error: &ErrorPacket<'_>) {
    let short = error.shortened();
    let bytes = short.to_vec().unwrap();
    assert!(bytes.len() <= 2 + ErrorPacket::SHORT_CONTENTS_MAX || short == *error, "not short: {}", bytes.len());
    assert!(bytes.len() <= 2 + ErrorPacket::SHORT_CONTENTS_MAX, "a peer of 2017 can't read {} bytes", bytes.len());
    assert_eq!(ErrorPacket::decode(&bytes).unwrap(), short);
    assert_eq!(short.shortened(), short, "short enough already");
    assert_eq!(short.code, error.code);

    let me = Addr::new("test.me").unwrap();
    let mut forwarded = Vec::new();
    error.encode_forwarded(me, &mut forwarded).unwrap();
    assert_eq!(forwarded.len(), error.forwarded_len(me));
    let decoded = ErrorPacket::decode(&forwarded).unwrap();
    assert_eq!(decoded.forwarded_by.len(), error.forwarded_by.len() + 1);
    assert!(decoded.forwarded_by.iter().eq(error.forwarded_by.iter().chain([me])));
}

/// Quotes against the definition: linear between points, rounded down; by output the least input that gives it.
fn check_curve(curve: CurvePoints<'_>) {
    let points: Vec<_> = curve.iter().collect();
    assert_eq!(points.len(), curve.len());
    assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "not a curve: {points:?}");
    assert_eq!(Curve::new(points.clone()).unwrap().as_points(), curve);
    for (index, (x, y)) in points.iter().enumerate().take(8) {
        for source in
            [x.saturating_sub(1), *x, x.saturating_add(1), x.saturating_add(points.get(index + 1).map_or(0, |next| (next.0 - x) / 2))]
        {
            let expected = by_definition(&points, source);
            assert_eq!(curve.quote_by_source(source), expected, "{source} in {points:?}");
        }
        for wanted in [y.saturating_sub(1), *y, y.saturating_add(1)] {
            let Some(source) = curve.quote_by_destination(wanted) else { continue };
            assert!(by_definition(&points, source).unwrap() >= wanted, "{source} isn't enough for {wanted} in {points:?}");
            let less = source.checked_sub(1).and_then(|less| by_definition(&points, less));
            assert!(less.is_none_or(|less| less < wanted), "less than {source} is enough for {wanted} in {points:?}");
        }
    }
}

fn by_definition(points: &[(u64, u64)], source: u64) -> Option<u64> {
    if let Some((_, y)) = points.iter().find(|(x, _)| *x == source) {
        return Some(*y);
    }
    let pair = points.windows(2).find(|pair| pair[0].0 < source && source < pair[1].0)?;
    let [(x0, y0), (x1, y1)] = [pair[0], pair[1]].map(|(x, y)| (u128::from(x), u128::from(y)));
    u64::try_from(y0 + (y1 - y0) * (u128::from(source) - x0) / (x1 - x0)).ok()
}
