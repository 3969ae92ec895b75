//! From this crate's values to `rasn`'s and back. The way back judges what ASN.1 restricts and `rasn` doesn't look at, and does so on
//! its own: a constructor of this crate that refuses what was found good is a disagreement, and panics.

use crate::model::{Body, Clp, Ilp};
use crate::types::{
    self, AmountRequest, AmountResponse, AsnError, Error2017, ExpiringTransfer, LiquidityRequest, LiquidityResponse, Payment, Point,
};
use ilp_oer::value::{ClpBody, ClpValue, EntryValue, ErrorValue, IlpValue, NamedEntry, Octets, SeedEntry, Text};
use ilp_oer::{Address, Amount, Condition, Curve, Fulfillment, Timestamp, TransferId};
use rasn::ber::de::Decoder;
use rasn::types::{FixedOctetString, Ia5String, OctetString, UtcTime, VisibleString};
use rasn::{Decode, Encode};
use std::fmt::Debug;

/// Why a value of `rasn`'s isn't one of the protocol.
pub(crate) type Invalid = &'static str;

impl Ilp {
    pub(crate) fn from_value(value: &IlpValue) -> Self {
        match value {
            IlpValue::Payment { amount, account, data } => Self::Payment(Payment {
                amount: amount.get(),
                account: from_address(account),
                data: OctetString::from_slice(data),
                extensions: 0,
            }),
            IlpValue::LiquidityRequest { destination_account, destination_hold_duration } => Self::LiquidityRequest(LiquidityRequest {
                destination_account: from_address(destination_account),
                destination_hold_duration: *destination_hold_duration,
                extensions: 0,
            }),
            IlpValue::LiquidityResponse { liquidity_curve, applies_to_prefix, source_hold_duration, expires_at } => {
                Self::LiquidityResponse(LiquidityResponse {
                    liquidity_curve: liquidity_curve.iter().map(|(x, y)| Point { x, y }).collect(),
                    applies_to_prefix: from_address(applies_to_prefix),
                    source_hold_duration: *source_hold_duration,
                    expires_at: from_time(*expires_at),
                    extensions: 0,
                })
            }
            IlpValue::BySourceRequest { destination_account, source_amount, destination_hold_duration } => {
                Self::BySourceRequest(from_request(destination_account, *source_amount, *destination_hold_duration))
            }
            IlpValue::BySourceResponse { destination_amount, source_hold_duration } => {
                Self::BySourceResponse(from_response(*destination_amount, *source_hold_duration))
            }
            IlpValue::ByDestinationRequest { destination_account, destination_amount, destination_hold_duration } => {
                Self::ByDestinationRequest(from_request(destination_account, *destination_amount, *destination_hold_duration))
            }
            IlpValue::ByDestinationResponse { source_amount, source_hold_duration } => {
                Self::ByDestinationResponse(from_response(*source_amount, *source_hold_duration))
            }
            IlpValue::Error(error) => Self::Error(from_error(error)),
        }
    }

    pub(crate) fn to_value(&self) -> Result<IlpValue, Invalid> {
        Ok(match self {
            Self::Payment(packet) => {
                no_extensions(packet.extensions)?;
                let data = octets(&packet.data)?;
                IlpValue::Payment { amount: Amount::new(packet.amount), account: address(&packet.account)?, data }
            }
            Self::LiquidityRequest(packet) => {
                no_extensions(packet.extensions)?;
                IlpValue::LiquidityRequest {
                    destination_account: address(&packet.destination_account)?,
                    destination_hold_duration: packet.destination_hold_duration,
                }
            }
            Self::LiquidityResponse(packet) => {
                no_extensions(packet.extensions)?;
                IlpValue::LiquidityResponse {
                    liquidity_curve: curve(&packet.liquidity_curve)?,
                    applies_to_prefix: address(&packet.applies_to_prefix)?,
                    source_hold_duration: packet.source_hold_duration,
                    expires_at: time(&packet.expires_at)?,
                }
            }
            Self::BySourceRequest(packet) => {
                let (destination_account, source_amount, destination_hold_duration) = request(packet)?;
                IlpValue::BySourceRequest { destination_account, source_amount, destination_hold_duration }
            }
            Self::BySourceResponse(packet) => {
                let (destination_amount, source_hold_duration) = response(packet)?;
                IlpValue::BySourceResponse { destination_amount, source_hold_duration }
            }
            Self::ByDestinationRequest(packet) => {
                let (destination_account, destination_amount, destination_hold_duration) = request(packet)?;
                IlpValue::ByDestinationRequest { destination_account, destination_amount, destination_hold_duration }
            }
            Self::ByDestinationResponse(packet) => {
                let (source_amount, source_hold_duration) = response(packet)?;
                IlpValue::ByDestinationResponse { source_amount, source_hold_duration }
            }
            Self::Error(packet) => {
                no_extensions(packet.extensions)?;
                let Error2017 { code, name, triggered_by, forwarded_by, triggered_at, data, .. } = packet.clone();
                IlpValue::Error(error(&AsnError { code, name, triggered_by, forwarded_by, triggered_at, data })?)
            }
            Self::AsnError(packet) => IlpValue::Error(error(packet)?),
        })
    }
}

/// An entry of `rasn`'s, and what it is here.
pub(crate) trait Entry: Encode + Decode + Clone + Debug + PartialEq {
    type Value: EntryValue;
    fn from_value(value: &Self::Value) -> Self;
    fn to_value(&self) -> Result<Self::Value, Invalid>;
}

impl Entry for types::NamedEntry {
    type Value = NamedEntry;

    fn from_value(value: &NamedEntry) -> Self {
        let data = OctetString::from_slice(&value.data);
        Self { protocol_name: ia5(&value.protocol_name), content_type: value.content_type, data }
    }

    fn to_value(&self) -> Result<NamedEntry, Invalid> {
        let data = octets(&self.data)?;
        Ok(NamedEntry { protocol_name: text(&self.protocol_name)?, content_type: self.content_type, data })
    }
}

impl Entry for types::SeedEntry {
    type Value = SeedEntry;

    fn from_value(value: &SeedEntry) -> Self {
        Self { protocol_id: value.protocol_id, data: OctetString::from_slice(&value.data) }
    }

    fn to_value(&self) -> Result<SeedEntry, Invalid> {
        Ok(SeedEntry { protocol_id: self.protocol_id, data: octets(&self.data)? })
    }
}

impl<E: Entry> Clp<E> {
    pub(crate) fn from_value(value: &ClpValue<E::Value>) -> Self {
        let data = value.protocol_data.iter().map(E::from_value).collect();
        let id = |id: &TransferId| FixedOctetString::new(*id.as_bytes());
        let body = match &value.body {
            ClpBody::Ack => Body::Ack(data),
            ClpBody::Response => Body::Response(data),
            ClpBody::Error { reason } => Body::Error(types::Error { reason: from_reason(reason), data }),
            ClpBody::Prepare { transfer_id, amount, condition, expires_at } => Body::Prepare(types::Prepare {
                transfer_id: id(transfer_id),
                amount: amount.get(),
                condition: FixedOctetString::new(*condition.as_bytes()),
                expires_at: from_time(*expires_at),
                data,
            }),
            ClpBody::Fulfill { transfer_id, fulfillment } => {
                let fulfillment = FixedOctetString::new(*fulfillment.as_bytes());
                Body::Fulfill(types::Fulfill { transfer_id: id(transfer_id), fulfillment, data })
            }
            ClpBody::Reject { transfer_id, reason } => {
                Body::Reject(types::Reject { transfer_id: id(transfer_id), reason: from_reason(reason), data })
            }
            ClpBody::Message => Body::Message(data),
            ClpBody::Transfer { transfer_id, amount, expires_at } => {
                let (transfer_id, amount) = (id(transfer_id), amount.get());
                match expires_at {
                    None => Body::Transfer(types::Transfer { transfer_id, amount, presence: 0, data }),
                    Some(time) => {
                        let expires_at = from_time(*time);
                        Body::ExpiringTransfer(ExpiringTransfer { transfer_id, amount, presence: 1, expires_at, data })
                    }
                }
            }
        };
        Self { request_id: value.request_id, body }
    }

    pub(crate) fn to_value(&self) -> Result<ClpValue<E::Value>, Invalid> {
        let id = |id: &FixedOctetString<16>| TransferId::new(**id);
        let (body, data) = match &self.body {
            Body::Ack(data) => (ClpBody::Ack, data),
            Body::Response(data) => (ClpBody::Response, data),
            Body::Error(body) => (ClpBody::Error { reason: reason(&body.reason)? }, &body.data),
            Body::Prepare(body) => {
                let (amount, condition) = (Amount::new(body.amount), Condition::new(*body.condition));
                let transfer_id = id(&body.transfer_id);
                (ClpBody::Prepare { transfer_id, amount, condition, expires_at: time(&body.expires_at)? }, &body.data)
            }
            Body::Fulfill(body) => {
                let fulfillment = Fulfillment::new(*body.fulfillment);
                (ClpBody::Fulfill { transfer_id: id(&body.transfer_id), fulfillment }, &body.data)
            }
            Body::Reject(body) => (ClpBody::Reject { transfer_id: id(&body.transfer_id), reason: reason(&body.reason)? }, &body.data),
            Body::Message(data) => (ClpBody::Message, data),
            Body::Transfer(body) => {
                let amount = Amount::new(body.amount);
                (ClpBody::Transfer { transfer_id: id(&body.transfer_id), amount, expires_at: None }, &body.data)
            }
            Body::ExpiringTransfer(body) => {
                let (amount, expires_at) = (Amount::new(body.amount), Some(time(&body.expires_at)?));
                (ClpBody::Transfer { transfer_id: id(&body.transfer_id), amount, expires_at }, &body.data)
            }
        };
        let protocol_data = data.iter().map(E::to_value).collect::<Result<_, _>>()?;
        Ok(ClpValue { request_id: self.request_id, body, protocol_data })
    }
}

fn from_request(account: &Address, amount: Amount, destination_hold_duration: u32) -> AmountRequest {
    AmountRequest { destination_account: from_address(account), amount: amount.get(), destination_hold_duration, extensions: 0 }
}

fn request(packet: &AmountRequest) -> Result<(Address, Amount, u32), Invalid> {
    no_extensions(packet.extensions)?;
    Ok((address(&packet.destination_account)?, Amount::new(packet.amount), packet.destination_hold_duration))
}

fn from_response(amount: Amount, source_hold_duration: u32) -> AmountResponse {
    AmountResponse { amount: amount.get(), source_hold_duration, extensions: 0 }
}

fn response(packet: &AmountResponse) -> Result<(Amount, u32), Invalid> {
    no_extensions(packet.extensions)?;
    Ok((Amount::new(packet.amount), packet.source_hold_duration))
}

fn from_error(error: &ErrorValue) -> Error2017 {
    Error2017 {
        code: types::Code(ia5(error.code.as_str())),
        name: ia5(&error.name),
        triggered_by: from_address(&error.triggered_by),
        forwarded_by: error.forwarded_by.iter().map(from_address).collect(),
        triggered_at: from_time(error.triggered_at),
        data: OctetString::from_slice(&error.data),
        extensions: 0,
    }
}

fn error(packet: &AsnError) -> Result<ErrorValue, Invalid> {
    Ok(ErrorValue {
        code: text(&packet.code.0)?.parse().expect("a code of three printable characters"),
        name: text(&packet.name)?,
        triggered_by: address(&packet.triggered_by)?,
        forwarded_by: packet.forwarded_by.iter().map(address).collect::<Result<_, _>>()?,
        triggered_at: time(&packet.triggered_at)?,
        data: octets(&packet.data)?,
    })
}

fn from_reason(error: &ErrorValue) -> types::IlpEnvelope {
    Ilp::Error(from_error(error)).envelope().expect("a valid error")
}

/// The reason is an open type within, whose encoding must be the one it has.
fn reason(envelope: &types::IlpEnvelope) -> Result<ErrorValue, Invalid> {
    let packet = Ilp::from_envelope(envelope).map_err(|_| "reason")?;
    if packet.envelope().as_ref() != Ok(envelope) {
        return Err("another form of the reason");
    }
    match packet.to_value()? {
        IlpValue::Error(error) => Ok(error),
        _ => Err("the reason is no error"),
    }
}

fn from_address(address: &Address) -> types::Address {
    types::Address(ia5(address.as_str()))
}

fn address(address: &types::Address) -> Result<Address, Invalid> {
    let bytes = address.0.as_iso646_bytes();
    let good = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_~.".contains(byte));
    if !good || !(1..=1023).contains(&bytes.len()) {
        return Err("address");
    }
    Ok(Address::new(str::from_utf8(bytes).unwrap()).expect("an address of 1 to 1023 good characters"))
}

/// By the calendar of `rasn`, not this crate's.
fn from_time(time: Timestamp) -> VisibleString {
    let time = UtcTime::from_timestamp_millis(time.unix_millis()).unwrap();
    VisibleString::from_iso646_bytes(time.format("%Y%m%d%H%M%S%.3fZ").to_string().as_bytes()).unwrap()
}

fn time(time: &VisibleString) -> Result<Timestamp, Invalid> {
    let text = time.to_string();
    let form = text.len() == 19 && text.ends_with('Z') && text.as_bytes().get(14) == Some(&b'.');
    // It knows leap seconds; the protocol doesn't.
    if !form || text.get(12..14) == Some("60") {
        return Err("form of a time");
    }
    let time = Decoder::parse_any_generalized_time_string(text).map_err(|_| "time")?;
    Ok(Timestamp::from_unix_millis(time.timestamp_millis()).expect("a time of the years 0 to 9999"))
}

fn curve(points: &[Point]) -> Result<Curve, Invalid> {
    if points.windows(2).any(|pair| pair[1].x <= pair[0].x || pair[1].y < pair[0].y) {
        return Err("order of a curve");
    }
    Ok(Curve::new(points.iter().map(|point| (point.x, point.y)).collect()).expect("points in order"))
}

fn ia5(text: &str) -> Ia5String {
    Ia5String::from_iso646_bytes(text.as_bytes()).unwrap()
}

fn text(text: &Ia5String) -> Result<Text, Invalid> {
    let text = str::from_utf8(text.as_iso646_bytes()).unwrap();
    if text.chars().any(|character| character.is_ascii_control()) {
        return Err("control characters");
    }
    Ok(Text::new(text).expect("printable ASCII"))
}

fn octets<const MAX: usize>(octets: &OctetString) -> Result<Octets<MAX>, Invalid> {
    Octets::new(&octets[..]).map_err(|_| "too many octets")
}

fn no_extensions(extensions: types::Extensions) -> Result<(), Invalid> {
    if extensions == 0 { Ok(()) } else { Err("extensions") }
}
