//! ILP packets.

use super::{Octets, Text};
use crate::error::{EncodeError, EncodeErrorReason};
use crate::ilp::{
    AddrList, ByDestinationRequest, ByDestinationResponse, BySourceRequest, BySourceResponse, ErrorPacket, LiquidityRequest,
    LiquidityResponse, Packet, Payment,
};
use crate::types::{Address, Amount, Curve, ErrorCode, Timestamp};
use bytes::BufMut;

/// An owned [`Packet`]; the fields are described there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is documented where the borrowed packet has it")]
pub enum IlpValue {
    /// 1.
    Payment { amount: Amount, account: Address, data: Octets<{ Payment::DATA_MAX }> },
    /// 2.
    LiquidityRequest { destination_account: Address, destination_hold_duration: u32 },
    /// 3.
    LiquidityResponse { liquidity_curve: Curve, applies_to_prefix: Address, source_hold_duration: u32, expires_at: Timestamp },
    /// 4.
    BySourceRequest { destination_account: Address, source_amount: Amount, destination_hold_duration: u32 },
    /// 5.
    BySourceResponse { destination_amount: Amount, source_hold_duration: u32 },
    /// 6.
    ByDestinationRequest { destination_account: Address, destination_amount: Amount, destination_hold_duration: u32 },
    /// 7.
    ByDestinationResponse { source_amount: Amount, source_hold_duration: u32 },
    /// 8.
    Error(ErrorValue),
}

/// An owned [`ErrorPacket`]; the fields are described there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is documented where the borrowed packet has it")]
pub struct ErrorValue {
    pub code: ErrorCode,
    pub name: Text,
    pub triggered_by: Address,
    pub forwarded_by: Vec<Address>,
    pub triggered_at: Timestamp,
    pub data: Octets<{ ErrorPacket::DATA_MAX }>,
}

impl IlpValue {
    /// Borrowed.
    pub fn packet(&self) -> Packet<'_> {
        match self {
            Self::Payment { amount, account, data } => Packet::Payment(Payment { amount: *amount, account: account.as_addr(), data }),
            Self::LiquidityRequest { destination_account, destination_hold_duration } => Packet::LiquidityRequest(LiquidityRequest {
                destination_account: destination_account.as_addr(),
                destination_hold_duration: *destination_hold_duration,
            }),
            Self::LiquidityResponse { liquidity_curve, applies_to_prefix, source_hold_duration, expires_at } => {
                Packet::LiquidityResponse(LiquidityResponse {
                    liquidity_curve: liquidity_curve.as_points(),
                    applies_to_prefix: applies_to_prefix.as_addr(),
                    source_hold_duration: *source_hold_duration,
                    expires_at: *expires_at,
                })
            }
            Self::BySourceRequest { destination_account, source_amount, destination_hold_duration } => {
                Packet::BySourceRequest(BySourceRequest {
                    destination_account: destination_account.as_addr(),
                    source_amount: *source_amount,
                    destination_hold_duration: *destination_hold_duration,
                })
            }
            Self::BySourceResponse { destination_amount, source_hold_duration } => Packet::BySourceResponse(BySourceResponse {
                destination_amount: *destination_amount,
                source_hold_duration: *source_hold_duration,
            }),
            Self::ByDestinationRequest { destination_account, destination_amount, destination_hold_duration } => {
                Packet::ByDestinationRequest(ByDestinationRequest {
                    destination_account: destination_account.as_addr(),
                    destination_amount: *destination_amount,
                    destination_hold_duration: *destination_hold_duration,
                })
            }
            Self::ByDestinationResponse { source_amount, source_hold_duration } => Packet::ByDestinationResponse(ByDestinationResponse {
                source_amount: *source_amount,
                source_hold_duration: *source_hold_duration,
            }),
            Self::Error(error) => Packet::Error(error.packet()),
        }
    }

    /// Writes the whole packet, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.packet().encode(out)
    }

    /// The whole packet as a vector.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        self.packet().to_vec()
    }
}

impl ErrorValue {
    /// Borrowed.
    pub fn packet(&self) -> ErrorPacket<'_> {
        ErrorPacket {
            code: self.code,
            name: &self.name,
            triggered_by: self.triggered_by.as_addr(),
            forwarded_by: AddrList::new(&self.forwarded_by),
            triggered_at: self.triggered_at,
            data: &self.data,
        }
    }
}

/// Fails only for packets that couldn't be encoded either.
impl TryFrom<Packet<'_>> for IlpValue {
    type Error = EncodeError;

    fn try_from(packet: Packet<'_>) -> Result<Self, EncodeError> {
        Ok(match packet {
            Packet::Payment(Payment { amount, account, data }) => {
                Self::Payment { amount, account: account.to_address(), data: octets(data)? }
            }
            Packet::LiquidityRequest(LiquidityRequest { destination_account, destination_hold_duration }) => {
                Self::LiquidityRequest { destination_account: destination_account.to_address(), destination_hold_duration }
            }
            Packet::LiquidityResponse(packet) => Self::LiquidityResponse {
                liquidity_curve: packet.liquidity_curve.to_curve(),
                applies_to_prefix: packet.applies_to_prefix.to_address(),
                source_hold_duration: packet.source_hold_duration,
                expires_at: packet.expires_at,
            },
            Packet::BySourceRequest(packet) => Self::BySourceRequest {
                destination_account: packet.destination_account.to_address(),
                source_amount: packet.source_amount,
                destination_hold_duration: packet.destination_hold_duration,
            },
            Packet::BySourceResponse(BySourceResponse { destination_amount, source_hold_duration }) => {
                Self::BySourceResponse { destination_amount, source_hold_duration }
            }
            Packet::ByDestinationRequest(packet) => Self::ByDestinationRequest {
                destination_account: packet.destination_account.to_address(),
                destination_amount: packet.destination_amount,
                destination_hold_duration: packet.destination_hold_duration,
            },
            Packet::ByDestinationResponse(ByDestinationResponse { source_amount, source_hold_duration }) => {
                Self::ByDestinationResponse { source_amount, source_hold_duration }
            }
            Packet::Error(error) => Self::Error(error.try_into()?),
        })
    }
}

/// Fails only for packets that couldn't be encoded either.
impl TryFrom<ErrorPacket<'_>> for ErrorValue {
    type Error = EncodeError;

    fn try_from(error: ErrorPacket<'_>) -> Result<Self, EncodeError> {
        Ok(Self {
            code: error.code,
            name: Text::new(error.name).map_err(|reason| EncodeError { field: "name", reason })?,
            triggered_by: error.triggered_by.to_address(),
            forwarded_by: error.forwarded_by.iter().map(|address| address.to_address()).collect(),
            triggered_at: error.triggered_at,
            data: octets(error.data)?,
        })
    }
}

fn octets<const MAX: usize>(data: &[u8]) -> Result<Octets<MAX>, EncodeError> {
    Octets::new(data).map_err(|error| EncodeError { field: "data", reason: EncodeErrorReason::from(error) })
}
