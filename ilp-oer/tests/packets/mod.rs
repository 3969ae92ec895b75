//! The packets that are measured, and how an application reads and writes them.
#![allow(dead_code, reason = "each user takes some of them")]

use ilp_oer::clp::{self, Body, Dialect, Entry, Extensions, Fulfill, Prepare, ProtocolData};
use ilp_oer::ilp::{self, Payment};
use ilp_oer::value::IlpValue;
use ilp_oer::{Addr, Amount, Curve, Fulfillment, Timestamp, TransferId, sub};

/// The types of quote packets.
pub(crate) const QUOTES: [u8; 6] = [2, 3, 4, 5, 6, 7];

const ACCOUNT: &str = "test.alice.shop.invoice-4711";

fn time() -> Timestamp {
    "2017-09-14T13:23:52.789Z".parse().unwrap()
}

/// A payment as it travels in a prepare.
pub(crate) fn payment() -> ilp::Packet<'static> {
    ilp::Packet::Payment(Payment { amount: Amount::new(1_234_567), account: Addr::new(ACCOUNT).unwrap(), data: &[7; 16] })
}

/// A prepare of about 150 bytes that carries the payment, the way an application writes one that it starts: `scratch` and `out` are
/// overwritten.
pub(crate) fn encode_prepare(payment: &ilp::Packet<'_>, fields: &Prepare<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    scratch.clear();
    payment.encode(scratch).unwrap();
    let entries = [Entry::named(sub::names::ILP, 0, scratch)];
    let packet = with_data(fields, ProtocolData::entries(Dialect::Named, &entries));
    out.clear();
    out.reserve(packet.encoded_len());
    packet.encode(out).unwrap();
}

fn with_data<'a>(fields: &Prepare<'_>, data: ProtocolData<'a>) -> clp::Packet<'a> {
    let Prepare { transfer_id, amount, condition, expires_at, .. } = *fields;
    clp::Packet { request_id: 1_000_000, body: Body::Prepare(Prepare { transfer_id, amount, condition, expires_at, data }) }
}

/// All of a prepare but its entry.
pub(crate) fn prepare_fields() -> Prepare<'static> {
    Prepare {
        transfer_id: TransferId::new([0xa5; 16]),
        amount: Amount::new(1_300_000),
        condition: Fulfillment::new([9; 32]).condition(),
        expires_at: time(),
        data: ProtocolData::EMPTY,
    }
}

pub(crate) fn prepare_bytes() -> Vec<u8> {
    let mut out = Vec::new();
    encode_prepare(&payment(), &prepare_fields(), &mut Vec::new(), &mut out);
    out
}

/// The prepare, and the payment in its first entry.
#[inline]
pub(crate) fn decode_prepare(bytes: &[u8]) -> Option<(Prepare<'_>, Payment<'_>)> {
    let Body::Prepare(prepare) = clp::Packet::decode(bytes, Dialect::Named, Extensions::NONE).ok()?.body else { return None };
    let ilp::Packet::Payment(payment) = ilp::Packet::decode(prepare.data.first()?.data).ok()? else { return None };
    Some((prepare, payment))
}

pub(crate) fn decode_clp(bytes: &[u8]) -> clp::Packet<'_> {
    clp::Packet::decode(bytes, Dialect::Named, Extensions::NONE).unwrap()
}

pub(crate) fn fulfill() -> clp::Packet<'static> {
    let (transfer_id, fulfillment) = (TransferId::new([0xa5; 16]), Fulfillment::new([9; 32]));
    clp::Packet { request_id: 77, body: Body::Fulfill(Fulfill { transfer_id, fulfillment, data: ProtocolData::EMPTY }) }
}

/// The quote packet of that type; a curve has four points.
pub(crate) fn quote(quote_type: u8) -> IlpValue {
    let (account, amount, hold) = (ACCOUNT.parse().unwrap(), Amount::new(1_234_567), 10_000);
    match quote_type {
        2 => IlpValue::LiquidityRequest { destination_account: account, destination_hold_duration: hold },
        3 => IlpValue::LiquidityResponse {
            liquidity_curve: Curve::new(vec![(0, 0), (1_000, 990), (1_000_000, 995_000), (u64::MAX, u64::MAX)]).unwrap(),
            applies_to_prefix: "test.alice.".parse().unwrap(),
            source_hold_duration: hold,
            expires_at: time(),
        },
        4 => IlpValue::BySourceRequest { destination_account: account, source_amount: amount, destination_hold_duration: hold },
        5 => IlpValue::BySourceResponse { destination_amount: amount, source_hold_duration: hold },
        6 => IlpValue::ByDestinationRequest { destination_account: account, destination_amount: amount, destination_hold_duration: hold },
        _ => IlpValue::ByDestinationResponse { source_amount: amount, source_hold_duration: hold },
    }
}
