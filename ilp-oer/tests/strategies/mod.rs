//! Any value of any type, for all the property tests.
#![allow(dead_code, reason = "each test uses some of them")]

use ilp_oer::value::{ClpBody, ClpValue, ErrorValue, IlpValue, NamedEntry, Octets, SeedEntry, Text};
use ilp_oer::{Address, Amount, Condition, Curve, ErrorCode, Fulfillment, Timestamp, TransferId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) fn amount() -> impl Strategy<Value = Amount> + Clone {
    prop_oneof![any::<u64>(), 0..3_u64, Just(u64::MAX)].prop_map(Amount::new)
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.unix_millis()..=Timestamp::MAX.unix_millis()).prop_map(|millis| Timestamp::from_unix_millis(millis).unwrap())
}

pub(crate) fn address() -> impl Strategy<Value = Address> + Clone {
    prop_oneof![8 => "[A-Za-z0-9_~.-]{1,40}", 1 => "[A-Za-z0-9_~.-]{120,135}", 1 => "[A-Za-z0-9_~.-]{1000,1023}"]
        .prop_map(|text| Address::new(text).unwrap())
}

pub(crate) fn error_code() -> impl Strategy<Value = ErrorCode> {
    "[ -~]{3}".prop_map(|text| text.parse().unwrap())
}

pub(crate) fn transfer_id() -> impl Strategy<Value = TransferId> {
    any::<[u8; 16]>().prop_map(TransferId::new)
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    any::<[u8; 32]>().prop_map(Condition::new)
}

pub(crate) fn fulfillment() -> impl Strategy<Value = Fulfillment> {
    any::<[u8; 32]>().prop_map(Fulfillment::new)
}

/// Bytes around the lengths where the form of the length changes.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![8 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 120..135), 1 => vec(any::<u8>(), 250..260)]
}

pub(crate) fn text() -> impl Strategy<Value = Text> + Clone {
    prop_oneof![8 => "[ -~]{0,20}", 1 => "[ -~]{120,135}"].prop_map(|text| Text::new(text).unwrap())
}

pub(crate) fn curve() -> impl Strategy<Value = Curve> {
    let steps = prop_oneof![vec((1..20_u64, 0..20_u64), 0..6), vec((1..u64::MAX / 300, 0..u64::MAX / 300), 0..300)];
    (0..20_u64, 0..20_u64, steps).prop_map(|(x, y, steps)| {
        let points = steps.into_iter().scan((x, y), |(x, y), (run, rise)| {
            (*x, *y) = (*x + run, *y + rise);
            Some((*x, *y))
        });
        Curve::new(points.collect()).unwrap()
    })
}

pub(crate) fn error_value() -> impl Strategy<Value = ErrorValue> {
    let forwarded_by = prop_oneof![9 => vec(address(), 0..4), 1 => vec(Just(Address::new("a").unwrap()), 120..260)];
    (error_code(), text(), address(), forwarded_by, timestamp(), bytes()).prop_map(
        |(code, name, triggered_by, forwarded_by, triggered_at, data)| ErrorValue {
            code,
            name,
            triggered_by,
            forwarded_by,
            triggered_at,
            data: Octets::new(data).unwrap(),
        },
    )
}

pub(crate) fn ilp_value() -> impl Strategy<Value = IlpValue> {
    let payment = (amount(), address(), bytes()).prop_map(|(amount, account, data)| IlpValue::Payment {
        amount,
        account,
        data: Octets::new(data).unwrap(),
    });
    let request = (address(), amount(), any::<u32>());
    let response = (amount(), any::<u32>());
    prop_oneof![
        payment,
        (address(), any::<u32>()).prop_map(|(destination_account, destination_hold_duration)| IlpValue::LiquidityRequest {
            destination_account,
            destination_hold_duration
        }),
        (curve(), address(), any::<u32>(), timestamp()).prop_map(
            |(liquidity_curve, applies_to_prefix, source_hold_duration, expires_at)| IlpValue::LiquidityResponse {
                liquidity_curve,
                applies_to_prefix,
                source_hold_duration,
                expires_at
            }
        ),
        request.clone().prop_map(|(destination_account, source_amount, destination_hold_duration)| {
            IlpValue::BySourceRequest { destination_account, source_amount, destination_hold_duration }
        }),
        response
            .clone()
            .prop_map(|(destination_amount, source_hold_duration)| IlpValue::BySourceResponse { destination_amount, source_hold_duration }),
        request.prop_map(|(destination_account, destination_amount, destination_hold_duration)| {
            IlpValue::ByDestinationRequest { destination_account, destination_amount, destination_hold_duration }
        }),
        response.prop_map(|(source_amount, source_hold_duration)| IlpValue::ByDestinationResponse { source_amount, source_hold_duration }),
        error_value().prop_map(IlpValue::Error),
    ]
}

pub(crate) fn clp_body() -> impl Strategy<Value = ClpBody> {
    prop_oneof![
        Just(ClpBody::Ack),
        Just(ClpBody::Response),
        error_value().prop_map(|reason| ClpBody::Error { reason }),
        (transfer_id(), amount(), condition(), timestamp())
            .prop_map(|(transfer_id, amount, condition, expires_at)| { ClpBody::Prepare { transfer_id, amount, condition, expires_at } }),
        (transfer_id(), fulfillment()).prop_map(|(transfer_id, fulfillment)| ClpBody::Fulfill { transfer_id, fulfillment }),
        (transfer_id(), error_value()).prop_map(|(transfer_id, reason)| ClpBody::Reject { transfer_id, reason }),
        Just(ClpBody::Message),
        (transfer_id(), amount(), option::of(timestamp())).prop_map(|(transfer_id, amount, expires_at)| ClpBody::Transfer {
            transfer_id,
            amount,
            expires_at
        }),
    ]
}

pub(crate) fn named_entry() -> impl Strategy<Value = NamedEntry> + Clone {
    (text(), any::<u8>(), bytes()).prop_map(|(protocol_name, content_type, data)| NamedEntry {
        protocol_name,
        content_type,
        data: Octets::new(data).unwrap(),
    })
}

pub(crate) fn seed_entry() -> impl Strategy<Value = SeedEntry> + Clone {
    (any::<u8>(), bytes()).prop_map(|(protocol_id, data)| SeedEntry { protocol_id, data: Octets::new(data).unwrap() })
}

pub(crate) fn clp_value<E: Clone + std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = E> + Clone + 'static,
) -> impl Strategy<Value = ClpValue<E>> {
    let entries = prop_oneof![9 => vec(entry.clone(), 0..4), 1 => vec(entry, 120..260)];
    (any::<u32>(), clp_body(), entries).prop_map(|(request_id, body, protocol_data)| ClpValue { request_id, body, protocol_data })
}
