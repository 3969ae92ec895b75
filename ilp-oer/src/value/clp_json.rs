//! CLP packets in JSON.

use super::object::{at, fields, object, take};
use super::{ClpBody, ClpValue, EntryValue, ErrorValue, NamedEntry, Octets, SeedEntry, Text};
use crate::clp::PacketType;
use crate::types::{Amount, Condition, Fulfillment, Timestamp, TransferId};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde::ser::{Serialize, SerializeMap, Serializer};

impl<T: EntryValue + Serialize> Serialize for ClpValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.kind().to_byte())?;
        map.serialize_entry("requestId", &self.request_id)?;
        match &self.body {
            ClpBody::Ack | ClpBody::Response | ClpBody::Message => {}
            ClpBody::Error { reason } => map.serialize_entry("rejectionReason", reason)?,
            ClpBody::Prepare { transfer_id, amount, condition, expires_at } => {
                map.serialize_entry("transferId", transfer_id)?;
                map.serialize_entry("amount", amount)?;
                map.serialize_entry("executionCondition", condition)?;
                map.serialize_entry("expiresAt", expires_at)?;
            }
            ClpBody::Fulfill { transfer_id, fulfillment } => {
                map.serialize_entry("transferId", transfer_id)?;
                map.serialize_entry("fulfillment", fulfillment)?;
            }
            ClpBody::Reject { transfer_id, reason } => {
                map.serialize_entry("transferId", transfer_id)?;
                map.serialize_entry("rejectionReason", reason)?;
            }
            ClpBody::Transfer { transfer_id, amount, expires_at } => {
                map.serialize_entry("transferId", transfer_id)?;
                map.serialize_entry("amount", amount)?;
                map.serialize_entry("expiresAt", expires_at)?;
            }
        }
        map.serialize_entry("protocolData", &self.protocol_data)?;
        map.end()
    }
}

fields!(Fields<T: "T: DeserializeOwned">, PacketType, "packet_type", {
    request_id "requestId" u32,
    transfer_id "transferId" TransferId,
    amount "amount" Amount,
    condition "executionCondition" Condition,
    expires_at "expiresAt" Option<Timestamp>,
    fulfillment "fulfillment" Fulfillment,
    reason "rejectionReason" ErrorValue,
    protocol_data "protocolData" Vec<T>,
});

fn packet_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PacketType, D::Error> {
    let byte = u8::deserialize(deserializer)?;
    PacketType::from_byte(byte).ok_or_else(|| D::Error::custom(format_args!("unknown packet type {byte}")))
}

impl<'de, T: EntryValue + DeserializeOwned> Deserialize<'de> for ClpValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut f: Fields<T> = object(deserializer)?;
        let request_id = take(&mut f.request_id, "requestId")?;
        let body = match f.kind {
            PacketType::Ack => ClpBody::Ack,
            PacketType::Response => ClpBody::Response,
            PacketType::Message => ClpBody::Message,
            PacketType::Error => ClpBody::Error { reason: take(&mut f.reason, "rejectionReason")? },
            PacketType::Prepare => ClpBody::Prepare {
                transfer_id: take(&mut f.transfer_id, "transferId")?,
                amount: take(&mut f.amount, "amount")?,
                condition: take(&mut f.condition, "executionCondition")?,
                expires_at: take(&mut f.expires_at, "expiresAt")?.ok_or_else(|| at("expiresAt", "not a time"))?,
            },
            PacketType::Fulfill => ClpBody::Fulfill {
                transfer_id: take(&mut f.transfer_id, "transferId")?,
                fulfillment: take(&mut f.fulfillment, "fulfillment")?,
            },
            PacketType::Reject => {
                ClpBody::Reject { transfer_id: take(&mut f.transfer_id, "transferId")?, reason: take(&mut f.reason, "rejectionReason")? }
            }
            PacketType::Transfer => ClpBody::Transfer {
                transfer_id: take(&mut f.transfer_id, "transferId")?,
                amount: take(&mut f.amount, "amount")?,
                expires_at: take(&mut f.expires_at, "expiresAt")?,
            },
        };
        let protocol_data = take(&mut f.protocol_data, "protocolData")?;
        f.finish()?;
        Ok(Self { request_id, body, protocol_data })
    }
}

/// The JSON form of an entry type, both ways.
macro_rules! entry_json {
    ($entry:ident { $($name:ident $json:literal $type:ty,)* }) => {
        impl Serialize for $entry {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry($json, &self.$name)?;)*
                map.end()
            }
        }

        impl<'de> Deserialize<'de> for $entry {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Fields {
                    $(#[serde(rename = $json)] $name: $type,)*
                }
                let Fields { $($name),* } = object(deserializer)?;
                Ok(Self { $($name),* })
            }
        }
    };
}

entry_json!(NamedEntry {
    protocol_name "protocolName" Text,
    content_type "contentType" u8,
    data "data" Octets,
});

entry_json!(SeedEntry {
    protocol_id "protocolId" u8,
    data "data" Octets,
});
