//! ILP packets in JSON.

use super::object::{at, fields, object, take};
use super::{ErrorValue, IlpValue, Octets, Text};
use crate::ilp::{ErrorPacket, PacketType};
use crate::types::{Address, Amount, Curve, ErrorCode, Timestamp};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeMap, Serializer};

impl Serialize for IlpValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.packet().kind().to_byte())?;
        match self {
            Self::Payment { amount, account, data } => {
                map.serialize_entry("amount", amount)?;
                map.serialize_entry("account", account)?;
                map.serialize_entry("data", data)?;
            }
            Self::LiquidityRequest { destination_account, destination_hold_duration } => {
                map.serialize_entry("destinationAccount", destination_account)?;
                map.serialize_entry("destinationHoldDuration", destination_hold_duration)?;
            }
            Self::LiquidityResponse { liquidity_curve, applies_to_prefix, source_hold_duration, expires_at } => {
                map.serialize_entry("liquidityCurve", liquidity_curve)?;
                map.serialize_entry("appliesToPrefix", applies_to_prefix)?;
                map.serialize_entry("sourceHoldDuration", source_hold_duration)?;
                map.serialize_entry("expiresAt", expires_at)?;
            }
            Self::BySourceRequest { destination_account, source_amount, destination_hold_duration } => {
                map.serialize_entry("destinationAccount", destination_account)?;
                map.serialize_entry("sourceAmount", source_amount)?;
                map.serialize_entry("destinationHoldDuration", destination_hold_duration)?;
            }
            Self::BySourceResponse { destination_amount, source_hold_duration } => {
                map.serialize_entry("destinationAmount", destination_amount)?;
                map.serialize_entry("sourceHoldDuration", source_hold_duration)?;
            }
            Self::ByDestinationRequest { destination_account, destination_amount, destination_hold_duration } => {
                map.serialize_entry("destinationAccount", destination_account)?;
                map.serialize_entry("destinationAmount", destination_amount)?;
                map.serialize_entry("destinationHoldDuration", destination_hold_duration)?;
            }
            Self::ByDestinationResponse { source_amount, source_hold_duration } => {
                map.serialize_entry("sourceAmount", source_amount)?;
                map.serialize_entry("sourceHoldDuration", source_hold_duration)?;
            }
            Self::Error(error) => error.serialize_into(&mut map)?,
        }
        map.end()
    }
}

impl ErrorValue {
    fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("code", &self.code)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("triggeredBy", &self.triggered_by)?;
        map.serialize_entry("forwardedBy", &self.forwarded_by)?;
        map.serialize_entry("triggeredAt", &self.triggered_at)?;
        map.serialize_entry("data", &self.data)
    }
}

impl Serialize for ErrorValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(6))?;
        self.serialize_into(&mut map)?;
        map.end()
    }
}

fields!(Fields, PacketType, "packet_type", {
    amount "amount" Amount,
    account "account" Address,
    destination_account "destinationAccount" Address,
    source_amount "sourceAmount" Amount,
    destination_amount "destinationAmount" Amount,
    destination_hold_duration "destinationHoldDuration" u32,
    liquidity_curve "liquidityCurve" Curve,
    applies_to_prefix "appliesToPrefix" Address,
    source_hold_duration "sourceHoldDuration" u32,
    expires_at "expiresAt" Timestamp,
    code "code" ErrorCode,
    name "name" Text,
    triggered_by "triggeredBy" Address,
    forwarded_by "forwardedBy" Vec<Address>,
    triggered_at "triggeredAt" Timestamp,
    data "data" Octets,
});

fn packet_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PacketType, D::Error> {
    let byte = u8::deserialize(deserializer)?;
    PacketType::from_byte(byte).ok_or_else(|| D::Error::custom(format_args!("unknown packet type {byte}")))
}

impl<'de> Deserialize<'de> for IlpValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut f: Fields = object(deserializer)?;
        let value = match f.kind {
            PacketType::Payment => Self::Payment {
                amount: take(&mut f.amount, "amount")?,
                account: take(&mut f.account, "account")?,
                data: limited(take(&mut f.data, "data")?)?,
            },
            PacketType::LiquidityRequest => Self::LiquidityRequest {
                destination_account: take(&mut f.destination_account, "destinationAccount")?,
                destination_hold_duration: take(&mut f.destination_hold_duration, "destinationHoldDuration")?,
            },
            PacketType::LiquidityResponse => Self::LiquidityResponse {
                liquidity_curve: take(&mut f.liquidity_curve, "liquidityCurve")?,
                applies_to_prefix: take(&mut f.applies_to_prefix, "appliesToPrefix")?,
                source_hold_duration: take(&mut f.source_hold_duration, "sourceHoldDuration")?,
                expires_at: take(&mut f.expires_at, "expiresAt")?,
            },
            PacketType::BySourceRequest => Self::BySourceRequest {
                destination_account: take(&mut f.destination_account, "destinationAccount")?,
                source_amount: take(&mut f.source_amount, "sourceAmount")?,
                destination_hold_duration: take(&mut f.destination_hold_duration, "destinationHoldDuration")?,
            },
            PacketType::BySourceResponse => Self::BySourceResponse {
                destination_amount: take(&mut f.destination_amount, "destinationAmount")?,
                source_hold_duration: take(&mut f.source_hold_duration, "sourceHoldDuration")?,
            },
            PacketType::ByDestinationRequest => Self::ByDestinationRequest {
                destination_account: take(&mut f.destination_account, "destinationAccount")?,
                destination_amount: take(&mut f.destination_amount, "destinationAmount")?,
                destination_hold_duration: take(&mut f.destination_hold_duration, "destinationHoldDuration")?,
            },
            PacketType::ByDestinationResponse => Self::ByDestinationResponse {
                source_amount: take(&mut f.source_amount, "sourceAmount")?,
                source_hold_duration: take(&mut f.source_hold_duration, "sourceHoldDuration")?,
            },
            PacketType::Error => Self::Error(ErrorValue {
                code: take(&mut f.code, "code")?,
                name: take(&mut f.name, "name")?,
                triggered_by: take(&mut f.triggered_by, "triggeredBy")?,
                forwarded_by: take(&mut f.forwarded_by, "forwardedBy")?,
                triggered_at: take(&mut f.triggered_at, "triggeredAt")?,
                data: limited(take(&mut f.data, "data")?)?,
            }),
        };
        f.finish()?;
        Ok(value)
    }
}

impl<'de> Deserialize<'de> for ErrorValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Fields {
            code: ErrorCode,
            name: Text,
            triggered_by: Address,
            forwarded_by: Vec<Address>,
            triggered_at: Timestamp,
            data: Octets<{ ErrorPacket::DATA_MAX }>,
        }
        let Fields { code, name, triggered_by, forwarded_by, triggered_at, data } = object(deserializer)?;
        Ok(Self { code, name, triggered_by, forwarded_by, triggered_at, data })
    }
}

/// Brings the limit of the type back in, which the field alone doesn't know.
fn limited<const MAX: usize, E: Error>(data: Octets) -> Result<Octets<MAX>, E> {
    Octets::new(data.into_vec()).map_err(|error| at("data", error))
}
