//! Any packet.

use super::{Dialect, Fulfill, Prepare, ProtocolData, Reject, RejectionReason, Transfer};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, length_len, put_length, room, to_vec};
use bytes::BufMut;

/// Any CLP packet, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The number of a request on its connection, given by its sender; an answer repeats it.
    pub request_id: u32,
    /// The rest.
    pub body: Body<'a>,
}

/// What a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// 1: the request has come in.
    Ack(ProtocolData<'a>),
    /// 2: the answer to a request.
    Response(ProtocolData<'a>),
    /// 3: the request has failed.
    Error {
        /// Why.
        reason: RejectionReason<'a>,
        /// What rides along.
        data: ProtocolData<'a>,
    },
    /// 4: a conditional transfer.
    Prepare(Prepare<'a>),
    /// 5: its success.
    Fulfill(Fulfill<'a>),
    /// 6: its failure.
    Reject(Reject<'a>),
    /// 7: a request without money.
    Message(ProtocolData<'a>),
    /// 8: an unconditional transfer; an extension.
    Transfer(Transfer<'a>),
}

/// The type byte of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketType {
    /// 1.
    Ack,
    /// 2.
    Response,
    /// 3.
    Error,
    /// 4.
    Prepare,
    /// 5.
    Fulfill,
    /// 6.
    Reject,
    /// 7.
    Message,
    /// 8.
    Transfer,
}

/// What both sides of a connection have agreed on beyond the seven packets of CLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extensions {
    /// Packet type 8.
    pub transfer: bool,
}

impl Extensions {
    /// Plain CLP.
    pub const NONE: Self = Self { transfer: false };
    /// Everything this crate knows.
    pub const ALL: Self = Self { transfer: true };
}

impl<'a> Packet<'a> {
    /// Reads one packet that takes up all of `bytes`.
    // Always inlined: the packet is built where it is used instead of being moved there, a quarter of the time.
    #[inline(always)]
    pub fn decode(bytes: &'a [u8], dialect: Dialect, extensions: Extensions) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let start = reader.clone();
        let byte = reader.u8()?;
        let kind = match PacketType::from_byte(byte) {
            Some(PacketType::Transfer) if !extensions.transfer => None,
            kind => kind,
        };
        let kind = kind.ok_or_else(|| start.error(DecodeErrorKind::UnknownType(byte)))?;
        let request_id = reader.u32()?;
        let contents = &mut reader.envelope()?;
        let body = match kind {
            PacketType::Ack => Body::Ack(ProtocolData::read(contents, dialect)?),
            PacketType::Response => Body::Response(ProtocolData::read(contents, dialect)?),
            PacketType::Error => Body::Error { reason: RejectionReason::read(contents)?, data: ProtocolData::read(contents, dialect)? },
            PacketType::Prepare => Body::Prepare(Prepare::read(contents, dialect)?),
            PacketType::Fulfill => Body::Fulfill(Fulfill::read(contents, dialect)?),
            PacketType::Reject => Body::Reject(Reject::read(contents, dialect)?),
            PacketType::Message => Body::Message(ProtocolData::read(contents, dialect)?),
            PacketType::Transfer => Body::Transfer(Transfer::read(contents, dialect)?),
        };
        contents.finish()?;
        Ok(Self { request_id, body })
    }

    /// Type byte and request id at the front of `bytes`, for what can't be decoded as a whole. The type may be unknown.
    #[inline]
    pub fn peek_request_id(bytes: &[u8]) -> Option<(u8, u32)> {
        let (first, rest) = bytes.split_first()?;
        let id = rest.first_chunk()?;
        Some((*first, u32::from_be_bytes(*id)))
    }

    /// Length of the whole packet in bytes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let contents = self.body.contents_len();
        contents.saturating_add(length_len(contents) + 5)
    }

    /// Writes the whole packet, or nothing.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.body.check()?;
        let contents = self.body.contents_len();
        room(contents.saturating_add(length_len(contents) + 5), out)?;
        out.put_u8(self.body.kind().to_byte());
        out.put_u32(self.request_id);
        put_length(contents, out);
        self.body.write(out);
        Ok(())
    }

    /// The whole packet as a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }
}

impl<'a> Body<'a> {
    /// Which packet it is.
    #[inline]
    pub const fn kind(&self) -> PacketType {
        match self {
            Self::Ack(_) => PacketType::Ack,
            Self::Response(_) => PacketType::Response,
            Self::Error { .. } => PacketType::Error,
            Self::Prepare(_) => PacketType::Prepare,
            Self::Fulfill(_) => PacketType::Fulfill,
            Self::Reject(_) => PacketType::Reject,
            Self::Message(_) => PacketType::Message,
            Self::Transfer(_) => PacketType::Transfer,
        }
    }

    /// The protocol data, which every packet has.
    #[inline]
    pub const fn data(&self) -> ProtocolData<'a> {
        match self {
            Self::Ack(data) | Self::Response(data) | Self::Message(data) | Self::Error { data, .. } => *data,
            Self::Prepare(prepare) => prepare.data,
            Self::Fulfill(fulfill) => fulfill.data,
            Self::Reject(reject) => reject.data,
            Self::Transfer(transfer) => transfer.data,
        }
    }

    #[inline]
    fn check(&self) -> Result<(), EncodeError> {
        match self {
            Self::Error { reason, .. } | Self::Reject(Reject { reason, .. }) => reason.check()?,
            _ => {}
        }
        self.data().check()
    }

    #[inline]
    fn contents_len(&self) -> usize {
        let fields = match self {
            Self::Ack(_) | Self::Response(_) | Self::Message(_) => 0,
            Self::Error { reason, .. } => reason.encoded_len(),
            Self::Prepare(_) => Prepare::FIELDS_LEN,
            Self::Fulfill(_) => Fulfill::FIELDS_LEN,
            Self::Reject(reject) => reject.fields_len(),
            Self::Transfer(transfer) => transfer.fields_len(),
        };
        self.data().encoded_len().saturating_add(fields)
    }

    #[inline]
    fn write(&self, out: &mut impl BufMut) {
        match self {
            Self::Ack(_) | Self::Response(_) | Self::Message(_) => {}
            Self::Error { reason, .. } => reason.write(out),
            Self::Prepare(prepare) => prepare.write_fields(out),
            Self::Fulfill(fulfill) => fulfill.write_fields(out),
            Self::Reject(reject) => reject.write_fields(out),
            Self::Transfer(transfer) => transfer.write_fields(out),
        }
        self.data().write(out);
    }
}

impl PacketType {
    /// The type of that byte, the extension included.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Ack,
            2 => Self::Response,
            3 => Self::Error,
            4 => Self::Prepare,
            5 => Self::Fulfill,
            6 => Self::Reject,
            7 => Self::Message,
            8 => Self::Transfer,
            _ => return None,
        })
    }

    /// The byte on the wire.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Ack => 1,
            Self::Response => 2,
            Self::Error => 3,
            Self::Prepare => 4,
            Self::Fulfill => 5,
            Self::Reject => 6,
            Self::Message => 7,
            Self::Transfer => 8,
        }
    }

    /// Whether packets of this type answer a request.
    #[inline]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Ack | Self::Response | Self::Error)
    }
}
