//! CLP packets.

use super::{ErrorValue, Octets, Text};
use crate::clp::{
    Body, Dialect, Entry, Extensions, Fulfill, Packet, PacketType, Prepare, Protocol, ProtocolData, Reject, RejectionReason, Transfer,
};
use crate::error::{EncodeError, EncodeErrorReason};
use crate::types::{Amount, Condition, Fulfillment, Timestamp, TransferId};
use bytes::BufMut;

/// An owned [`Packet`] with entries of the form `E`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClpValue<E = NamedEntry> {
    /// See [`Packet::request_id`].
    pub request_id: u32,
    /// What it says.
    pub body: ClpBody,
    /// The entries.
    pub protocol_data: Vec<E>,
}

/// An owned [`Body`] without its protocol data; the fields are described there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is documented where the borrowed packet has it")]
pub enum ClpBody {
    /// 1.
    Ack,
    /// 2.
    Response,
    /// 3.
    Error { reason: ErrorValue },
    /// 4.
    Prepare { transfer_id: TransferId, amount: Amount, condition: Condition, expires_at: Timestamp },
    /// 5.
    Fulfill { transfer_id: TransferId, fulfillment: Fulfillment },
    /// 6.
    Reject { transfer_id: TransferId, reason: ErrorValue },
    /// 7.
    Message,
    /// 8.
    Transfer { transfer_id: TransferId, amount: Amount, expires_at: Option<Timestamp> },
}

/// The form of an entry: [`NamedEntry`] or [`SeedEntry`].
pub trait EntryValue: Sized + sealed::Sealed {
    /// The dialect whose form it is.
    const DIALECT: Dialect;

    /// Borrowed.
    fn entry(&self) -> Entry<'_>;

    /// Owned; fails for entries that couldn't be encoded in this dialect either.
    fn from_entry(entry: Entry<'_>) -> Result<Self, EncodeError>;
}

/// An entry of [`Dialect::Named`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntry {
    /// The sub-protocol's name.
    pub protocol_name: Text,
    /// See [`Entry::content_type`].
    pub content_type: u8,
    /// Its bytes.
    pub data: Octets,
}

/// An entry of [`Dialect::Seed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedEntry {
    /// The sub-protocol's number.
    pub protocol_id: u8,
    /// Its bytes.
    pub data: Octets,
}

impl<E: EntryValue> ClpValue<E> {
    /// Reads a packet in the dialect of `E`; for [`Packet::decode`] and `try_from` in one. Fails as the former does.
    pub fn decode(bytes: &[u8], extensions: Extensions) -> Result<Self, crate::DecodeError> {
        let packet = Packet::decode(bytes, E::DIALECT, extensions)?;
        // What was decoded in a dialect can be encoded in it, which is all that the conversion asks for.
        Self::try_from(packet).map_err(|_| crate::oer::Reader::new(bytes).error(crate::DecodeErrorKind::InvalidText))
    }

    /// Which packet it is.
    pub fn kind(&self) -> PacketType {
        self.body.with_data(ProtocolData::EMPTY).kind()
    }

    /// Gives the borrowed packet to `use_it`.
    pub fn with_packet<R>(&self, use_it: impl FnOnce(Packet<'_>) -> R) -> R {
        let entries: Vec<Entry<'_>> = self.protocol_data.iter().map(E::entry).collect();
        let data = ProtocolData::entries(E::DIALECT, &entries);
        use_it(Packet { request_id: self.request_id, body: self.body.with_data(data) })
    }

    /// Writes the whole packet, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.with_packet(|packet| packet.encode(out))
    }

    /// The whole packet as a vector.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        self.with_packet(|packet| packet.to_vec())
    }
}

/// Fails only for packets that couldn't be encoded either, or have entries of the other dialect.
impl<E: EntryValue> TryFrom<Packet<'_>> for ClpValue<E> {
    type Error = EncodeError;

    fn try_from(packet: Packet<'_>) -> Result<Self, EncodeError> {
        let protocol_data = packet.body.data().iter().map(E::from_entry).collect::<Result<_, _>>()?;
        Ok(Self { request_id: packet.request_id, body: packet.body.try_into()?, protocol_data })
    }
}

/// Leaves the protocol data behind.
impl TryFrom<Body<'_>> for ClpBody {
    type Error = EncodeError;

    fn try_from(body: Body<'_>) -> Result<Self, EncodeError> {
        Ok(match body {
            Body::Ack(_) => Self::Ack,
            Body::Response(_) => Self::Response,
            Body::Message(_) => Self::Message,
            Body::Error { reason, .. } => Self::Error { reason: reason.error().try_into()? },
            Body::Prepare(Prepare { transfer_id, amount, condition, expires_at, .. }) => {
                Self::Prepare { transfer_id, amount, condition, expires_at }
            }
            Body::Fulfill(Fulfill { transfer_id, fulfillment, .. }) => Self::Fulfill { transfer_id, fulfillment },
            Body::Reject(Reject { transfer_id, reason, .. }) => Self::Reject { transfer_id, reason: reason.error().try_into()? },
            Body::Transfer(Transfer { transfer_id, amount, expires_at, .. }) => Self::Transfer { transfer_id, amount, expires_at },
        })
    }
}

impl ClpBody {
    /// Borrowed, with protocol data.
    pub fn with_data<'a>(&'a self, data: ProtocolData<'a>) -> Body<'a> {
        match *self {
            Self::Ack => Body::Ack(data),
            Self::Response => Body::Response(data),
            Self::Message => Body::Message(data),
            Self::Error { ref reason } => Body::Error { reason: RejectionReason::from(reason.packet()), data },
            Self::Prepare { transfer_id, amount, condition, expires_at } => {
                Body::Prepare(Prepare { transfer_id, amount, condition, expires_at, data })
            }
            Self::Fulfill { transfer_id, fulfillment } => Body::Fulfill(Fulfill { transfer_id, fulfillment, data }),
            Self::Reject { transfer_id, ref reason } => {
                Body::Reject(Reject { transfer_id, reason: RejectionReason::from(reason.packet()), data })
            }
            Self::Transfer { transfer_id, amount, expires_at } => Body::Transfer(Transfer { transfer_id, amount, expires_at, data }),
        }
    }
}

impl EntryValue for NamedEntry {
    const DIALECT: Dialect = Dialect::Named;

    fn entry(&self) -> Entry<'_> {
        Entry::named(&self.protocol_name, self.content_type, &self.data)
    }

    fn from_entry(entry: Entry<'_>) -> Result<Self, EncodeError> {
        let fail = |reason| EncodeError { field: "protocol", reason };
        let Protocol::Name(name) = entry.protocol else {
            return Err(fail(EncodeErrorReason::WrongDialect));
        };
        Ok(Self { protocol_name: Text::new(name).map_err(fail)?, content_type: entry.content_type, data: octets(entry)? })
    }
}

impl EntryValue for SeedEntry {
    const DIALECT: Dialect = Dialect::Seed;

    fn entry(&self) -> Entry<'_> {
        Entry::numbered(self.protocol_id, &self.data)
    }

    fn from_entry(entry: Entry<'_>) -> Result<Self, EncodeError> {
        let Protocol::Id(protocol_id) = entry.protocol else {
            return Err(EncodeError { field: "protocol", reason: EncodeErrorReason::WrongDialect });
        };
        if entry.content_type != 0 {
            return Err(EncodeError { field: "content_type", reason: EncodeErrorReason::NoContentType });
        }
        Ok(Self { protocol_id, data: octets(entry)? })
    }
}

fn octets(entry: Entry<'_>) -> Result<Octets, EncodeError> {
    Octets::new(entry.data).map_err(|error| EncodeError { field: "data", reason: error.into() })
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NamedEntry {}
    impl Sealed for super::SeedEntry {}
}
