//! Any packet.

use super::{
    ByDestinationRequest, ByDestinationResponse, BySourceRequest, BySourceResponse, ErrorPacket, LiquidityRequest, LiquidityResponse,
    Payment,
};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, octets_len, put_length, room, to_vec};
use bytes::BufMut;

/// Any ILP or ILQP packet, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// 1: a payment.
    Payment(Payment<'a>),
    /// 2: asks for a whole curve.
    LiquidityRequest(LiquidityRequest<'a>),
    /// 3: answers 2.
    LiquidityResponse(LiquidityResponse<'a>),
    /// 4: asks what arrives.
    BySourceRequest(BySourceRequest<'a>),
    /// 5: answers 4.
    BySourceResponse(BySourceResponse),
    /// 6: asks what must be sent.
    ByDestinationRequest(ByDestinationRequest<'a>),
    /// 7: answers 6.
    ByDestinationResponse(ByDestinationResponse),
    /// 8: an error.
    Error(ErrorPacket<'a>),
}

/// The type byte of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketType {
    /// A payment.
    Payment,
    /// Asks for a whole curve.
    LiquidityRequest,
    /// Answers with one.
    LiquidityResponse,
    /// Asks what arrives.
    BySourceRequest,
    /// Answers that.
    BySourceResponse,
    /// Asks what must be sent.
    ByDestinationRequest,
    /// Answers that.
    ByDestinationResponse,
    /// An error.
    Error,
}

/// Does the same with whichever packet it is, and something else with an error.
macro_rules! each {
    ($packet:expr, $inner:ident => $result:expr, $error:ident => $error_result:expr) => {
        match $packet {
            Packet::Payment($inner) => $result,
            Packet::LiquidityRequest($inner) => $result,
            Packet::LiquidityResponse($inner) => $result,
            Packet::BySourceRequest($inner) => $result,
            Packet::BySourceResponse($inner) => $result,
            Packet::ByDestinationRequest($inner) => $result,
            Packet::ByDestinationResponse($inner) => $result,
            Packet::Error($error) => $error_result,
        }
    };
}

impl<'a> Packet<'a> {
    /// Reads one packet that takes up all of `bytes`.
    // Always inlined: the packet is built where it is used instead of being moved there, a quarter of the time.
    #[inline(always)]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let start = reader.clone();
        let byte = reader.u8()?;
        let kind = PacketType::from_byte(byte).ok_or_else(|| start.error(DecodeErrorKind::UnknownType(byte)))?;
        let contents = reader.envelope()?;
        Ok(match kind {
            PacketType::Payment => Self::Payment(contents.whole(Payment::read)?),
            PacketType::LiquidityRequest => Self::LiquidityRequest(contents.whole(LiquidityRequest::read)?),
            PacketType::LiquidityResponse => Self::LiquidityResponse(contents.whole(LiquidityResponse::read)?),
            PacketType::BySourceRequest => Self::BySourceRequest(contents.whole(BySourceRequest::read)?),
            PacketType::BySourceResponse => Self::BySourceResponse(contents.whole(BySourceResponse::read)?),
            PacketType::ByDestinationRequest => Self::ByDestinationRequest(contents.whole(ByDestinationRequest::read)?),
            PacketType::ByDestinationResponse => Self::ByDestinationResponse(contents.whole(ByDestinationResponse::read)?),
            PacketType::Error => Self::Error(contents.whole(ErrorPacket::read)?),
        })
    }

    /// The type byte at the front of `bytes`, if it is one of a known packet. Looks at nothing else.
    #[inline]
    pub fn packet_type(bytes: &[u8]) -> Option<PacketType> {
        bytes.first().and_then(|byte| PacketType::from_byte(*byte))
    }

    /// Which packet it is.
    #[inline]
    pub const fn kind(&self) -> PacketType {
        match self {
            Self::Payment(_) => PacketType::Payment,
            Self::LiquidityRequest(_) => PacketType::LiquidityRequest,
            Self::LiquidityResponse(_) => PacketType::LiquidityResponse,
            Self::BySourceRequest(_) => PacketType::BySourceRequest,
            Self::BySourceResponse(_) => PacketType::BySourceResponse,
            Self::ByDestinationRequest(_) => PacketType::ByDestinationRequest,
            Self::ByDestinationResponse(_) => PacketType::ByDestinationResponse,
            Self::Error(_) => PacketType::Error,
        }
    }

    /// Length of the whole packet in bytes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        octets_len(self.contents_len()).saturating_add(1)
    }

    /// Writes the whole packet, or nothing.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        each!(self, packet => packet.check(), error => error.check())?;
        room(self.encoded_len(), out)?;
        out.put_u8(self.kind().to_byte());
        put_length(self.contents_len(), out);
        each!(self, packet => packet.write(out), error => error.write(None, out));
        Ok(())
    }

    /// The whole packet as a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }

    #[inline]
    fn contents_len(&self) -> usize {
        each!(self, packet => packet.contents_len(), error => error.contents_len(None))
    }
}

impl PacketType {
    /// The type of that byte.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Payment,
            2 => Self::LiquidityRequest,
            3 => Self::LiquidityResponse,
            4 => Self::BySourceRequest,
            5 => Self::BySourceResponse,
            6 => Self::ByDestinationRequest,
            7 => Self::ByDestinationResponse,
            8 => Self::Error,
            _ => return None,
        })
    }

    /// The byte on the wire.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Payment => 1,
            Self::LiquidityRequest => 2,
            Self::LiquidityResponse => 3,
            Self::BySourceRequest => 4,
            Self::BySourceResponse => 5,
            Self::ByDestinationRequest => 6,
            Self::ByDestinationResponse => 7,
            Self::Error => 8,
        }
    }
}
