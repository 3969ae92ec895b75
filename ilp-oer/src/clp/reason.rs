//! Why a request or a transfer failed.

use crate::error::{DecodeError, EncodeError};
use crate::ilp::ErrorPacket;
use crate::oer::Reader;
use bytes::BufMut;

/// The reason in an Error or a Reject: a whole ILP error packet, type byte and length included.
///
/// One that came in is kept as it came, so that it can be passed on byte for byte; equality is that of the errors.
#[derive(Debug, Clone, Copy)]
pub struct RejectionReason<'a> {
    error: ErrorPacket<'a>,
    bytes: Option<&'a [u8]>,
}

impl<'a> RejectionReason<'a> {
    /// Of a packet's bytes, which are checked and later written as they are.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self { error: ErrorPacket::decode(bytes)?, bytes: Some(bytes) })
    }

    /// The error.
    #[inline]
    pub const fn error(&self) -> ErrorPacket<'a> {
        self.error
    }

    /// The packet's bytes, if it was made from bytes.
    #[inline]
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        self.bytes
    }

    /// Length in bytes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        match self.bytes {
            Some(bytes) => bytes.len(),
            None => self.error.encoded_len(),
        }
    }

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let before = reader.rest();
        let error = ErrorPacket::read_packet(reader)?;
        let len = before.len() - reader.rest().len();
        Ok(Self { error, bytes: before.get(..len) })
    }

    #[inline]
    pub(super) fn check(&self) -> Result<(), EncodeError> {
        match self.bytes {
            Some(_) => Ok(()),
            None => self.error.check(),
        }
    }

    #[inline]
    pub(super) fn write(&self, out: &mut impl BufMut) {
        match self.bytes {
            Some(bytes) => out.put_slice(bytes),
            None => self.error.write_packet(None, out),
        }
    }
}

impl<'a> From<ErrorPacket<'a>> for RejectionReason<'a> {
    fn from(error: ErrorPacket<'a>) -> Self {
        Self { error, bytes: None }
    }
}

impl PartialEq for RejectionReason<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.error == other.error
    }
}

impl Eq for RejectionReason<'_> {}
