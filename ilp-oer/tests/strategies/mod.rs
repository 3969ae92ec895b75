//! Any value of any type, for all the property tests: mostly small ones, and often those at which the bytes take another form.
#![allow(dead_code, reason = "each test uses some of them")]

use ilp_oer::clp::PacketType as ClpType;
use ilp_oer::ilp::PacketType as IlpType;
use ilp_oer::value::{ClpBody, ClpValue, EntryValue, ErrorValue, IlpValue, NamedEntry, Octets, SeedEntry, Text};
use ilp_oer::{Address, Amount, Condition, Curve, ErrorCode, Fulfillment, Timestamp, TransferId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt::Debug;

/// All types of ILP packets.
pub(crate) const ILP_TYPES: [IlpType; 8] = [
    IlpType::Payment,
    IlpType::LiquidityRequest,
    IlpType::LiquidityResponse,
    IlpType::BySourceRequest,
    IlpType::BySourceResponse,
    IlpType::ByDestinationRequest,
    IlpType::ByDestinationResponse,
    IlpType::Error,
];

/// All types of CLP packets.
pub(crate) const CLP_TYPES: [ClpType; 8] = [
    ClpType::Ack,
    ClpType::Response,
    ClpType::Error,
    ClpType::Prepare,
    ClpType::Fulfill,
    ClpType::Reject,
    ClpType::Message,
    ClpType::Transfer,
];

pub(crate) fn amount() -> impl Strategy<Value = Amount> + Clone {
    let near_a_power_of_two = (0..64_u32, 0..3_u64).prop_map(|(shift, step)| (1_u64 << shift).wrapping_add(step).wrapping_sub(1));
    prop_oneof![any::<u64>(), near_a_power_of_two, Just(0), Just(u64::MAX)].prop_map(Amount::new)
}

fn duration() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![any::<u32>(), select(vec![0, 1, 255, 256, u32::MAX])]
}

/// The years 0000 to 9999, with their first and last instants and the days around the ends of February.
pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    let any_time = Timestamp::MIN.unix_millis()..=Timestamp::MAX.unix_millis();
    let days = (0..10_000_u32, select(vec!["0101", "0228", "0301", "1231"]), select(vec!["000000.000", "235959.999"]));
    let days = days.prop_map(|(year, day, time)| Timestamp::parse_wire(format!("{year:04}{day}{time}Z").as_bytes()).unwrap());
    let leap_days = (0..2500_u32).prop_map(|n| {
        let year = n * 4;
        let wire = format!("{year:04}0229120000.500Z");
        Timestamp::parse_wire(wire.as_bytes()).unwrap_or(Timestamp::MIN)
    });
    let ends = select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::from_unix_millis(0).unwrap()]);
    prop_oneof![4 => any_time.prop_map(|millis| Timestamp::from_unix_millis(millis).unwrap()), 2 => days, 1 => leap_days, 1 => ends]
}

/// Small lengths, and those around which the form of a length changes, up to `max`.
fn length(max: usize) -> impl Strategy<Value = usize> + Clone {
    let up_to = |lengths: &[usize]| select(lengths.iter().copied().chain([0]).filter(|length| *length <= max).collect::<Vec<_>>());
    prop_oneof![
        12 => 0..=max.min(40),
        6 => up_to(&[1, 126, 127, 128, 129, 254, 255, 256, 257]),
        1 => up_to(&[1022, 1023, 8191, 8192, 32_766, 32_767, 32_768]),
    ]
}

/// As many numbers as wanted from one: drawn one by one they would take most of a test's time.
fn numbers(seed: u64) -> impl Iterator<Item = u8> {
    std::iter::successors(Some(seed | 1), |state| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    })
    .map(|state| state.to_be_bytes()[3])
}

/// Characters of an alphabet of at most 256.
fn characters(alphabet: &'static [u8], len: usize, seed: u64) -> String {
    numbers(seed).take(len).map(|number| char::from(alphabet[usize::from(number) % alphabet.len()])).collect()
}

pub(crate) fn address() -> impl Strategy<Value = Address> + Clone {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~.....";
    (length(1023), any::<u64>()).prop_map(|(len, seed)| Address::new(characters(ALPHABET, len.max(1), seed)).unwrap())
}

/// Printable ASCII, from none on.
pub(crate) fn text() -> impl Strategy<Value = Text> + Clone {
    const ALPHABET: &[u8] = br##" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~"##;
    (length(300), any::<u64>()).prop_map(|(len, seed)| Text::new(characters(ALPHABET, len, seed)).unwrap())
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

/// At most 300 bytes.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> + Clone {
    bytes_up_to(300)
}

fn bytes_up_to(max: usize) -> impl Strategy<Value = Vec<u8>> + Clone {
    (length(max), any::<u64>()).prop_map(|(len, seed)| numbers(seed).take(len).collect())
}

fn octets<const MAX: usize>() -> impl Strategy<Value = Octets<MAX>> + Clone {
    bytes_up_to(MAX).prop_map(|bytes| Octets::new(bytes).unwrap())
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

/// Numbers of entries around which the form of a count, or of the length of the whole, changes.
fn many() -> impl Strategy<Value = usize> + Clone {
    select(vec![126, 127, 128, 129, 254, 255, 256, 257, 300])
}

pub(crate) fn error_value() -> impl Strategy<Value = ErrorValue> {
    let short = "[a-z]{1,3}".prop_map(|text| Address::new(text).unwrap());
    let forwarded_by = prop_oneof![19 => vec(address(), 0..4), 1 => many().prop_flat_map(move |count| vec(short.clone(), count))];
    (error_code(), text(), address(), forwarded_by, timestamp(), octets()).prop_map(
        |(code, name, triggered_by, forwarded_by, triggered_at, data)| ErrorValue {
            code,
            name,
            triggered_by,
            forwarded_by,
            triggered_at,
            data,
        },
    )
}

pub(crate) fn ilp_value() -> impl Strategy<Value = IlpValue> {
    proptest::strategy::Union::new(ILP_TYPES.map(ilp_value_of))
}

/// Any packet of that type.
pub(crate) fn ilp_value_of(kind: IlpType) -> BoxedStrategy<IlpValue> {
    match kind {
        IlpType::Payment => {
            (amount(), address(), octets()).prop_map(|(amount, account, data)| IlpValue::Payment { amount, account, data }).boxed()
        }
        IlpType::LiquidityRequest => (address(), duration())
            .prop_map(|(destination_account, destination_hold_duration)| IlpValue::LiquidityRequest {
                destination_account,
                destination_hold_duration,
            })
            .boxed(),
        IlpType::LiquidityResponse => (curve(), address(), duration(), timestamp())
            .prop_map(|(liquidity_curve, applies_to_prefix, source_hold_duration, expires_at)| IlpValue::LiquidityResponse {
                liquidity_curve,
                applies_to_prefix,
                source_hold_duration,
                expires_at,
            })
            .boxed(),
        IlpType::BySourceRequest => (address(), amount(), duration())
            .prop_map(|(destination_account, source_amount, destination_hold_duration)| IlpValue::BySourceRequest {
                destination_account,
                source_amount,
                destination_hold_duration,
            })
            .boxed(),
        IlpType::BySourceResponse => (amount(), duration())
            .prop_map(|(destination_amount, source_hold_duration)| IlpValue::BySourceResponse { destination_amount, source_hold_duration })
            .boxed(),
        IlpType::ByDestinationRequest => (address(), amount(), duration())
            .prop_map(|(destination_account, destination_amount, destination_hold_duration)| IlpValue::ByDestinationRequest {
                destination_account,
                destination_amount,
                destination_hold_duration,
            })
            .boxed(),
        IlpType::ByDestinationResponse => (amount(), duration())
            .prop_map(|(source_amount, source_hold_duration)| IlpValue::ByDestinationResponse { source_amount, source_hold_duration })
            .boxed(),
        IlpType::Error => error_value().prop_map(IlpValue::Error).boxed(),
    }
}

/// The two forms of entries.
pub(crate) trait AnyEntry: EntryValue + Clone + Debug + PartialEq + 'static {
    /// Any entry with at most so many bytes.
    fn any_entry(max: usize) -> BoxedStrategy<Self>;
}

impl AnyEntry for NamedEntry {
    fn any_entry(max: usize) -> BoxedStrategy<Self> {
        let content_type = prop_oneof![0..=2_u8, any::<u8>()];
        (text(), content_type, bytes_up_to(max))
            .prop_map(|(protocol_name, content_type, data)| Self { protocol_name, content_type, data: Octets::new(data).unwrap() })
            .boxed()
    }
}

impl AnyEntry for SeedEntry {
    fn any_entry(max: usize) -> BoxedStrategy<Self> {
        (any::<u8>(), bytes_up_to(max)).prop_map(|(protocol_id, data)| Self { protocol_id, data: Octets::new(data).unwrap() }).boxed()
    }
}

pub(crate) fn clp_value<E: AnyEntry>() -> impl Strategy<Value = ClpValue<E>> {
    proptest::strategy::Union::new(CLP_TYPES.map(clp_value_of))
}

/// Any packet of that type.
pub(crate) fn clp_value_of<E: AnyEntry>(kind: ClpType) -> BoxedStrategy<ClpValue<E>> {
    let entries = prop_oneof![19 => vec(E::any_entry(32_768), 0..4), 1 => many().prop_flat_map(|count| vec(E::any_entry(5), count))];
    (any::<u32>(), clp_body(kind), entries)
        .prop_map(|(request_id, body, protocol_data)| ClpValue { request_id, body, protocol_data })
        .boxed()
}

fn clp_body(kind: ClpType) -> BoxedStrategy<ClpBody> {
    match kind {
        ClpType::Ack => Just(ClpBody::Ack).boxed(),
        ClpType::Response => Just(ClpBody::Response).boxed(),
        ClpType::Message => Just(ClpBody::Message).boxed(),
        ClpType::Error => error_value().prop_map(|reason| ClpBody::Error { reason }).boxed(),
        ClpType::Prepare => (transfer_id(), amount(), condition(), timestamp())
            .prop_map(|(transfer_id, amount, condition, expires_at)| ClpBody::Prepare { transfer_id, amount, condition, expires_at })
            .boxed(),
        ClpType::Fulfill => {
            (transfer_id(), fulfillment()).prop_map(|(transfer_id, fulfillment)| ClpBody::Fulfill { transfer_id, fulfillment }).boxed()
        }
        ClpType::Reject => (transfer_id(), error_value()).prop_map(|(transfer_id, reason)| ClpBody::Reject { transfer_id, reason }).boxed(),
        ClpType::Transfer => (transfer_id(), amount(), option::of(timestamp()))
            .prop_map(|(transfer_id, amount, expires_at)| ClpBody::Transfer { transfer_id, amount, expires_at })
            .boxed(),
    }
}
