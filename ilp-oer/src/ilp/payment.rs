//! Type 1.

use crate::error::{DecodeError, EncodeError};
use crate::oer::{Reader, check_max, octets_len, put_octets};
use crate::types::{Addr, Amount};
use bytes::BufMut;

/// A payment (`InterledgerProtocolPaymentMessage`, IL-RFC 3): what a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment<'a> {
    /// What shall arrive at the destination, in its base units.
    pub amount: Amount,
    /// The destination.
    pub account: Addr<'a>,
    /// For the receiver; at most [`DATA_MAX`](Self::DATA_MAX) bytes.
    pub data: &'a [u8],
}

impl<'a> Payment<'a> {
    /// The longest `data`, in bytes.
    pub const DATA_MAX: usize = 32_767;

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet = Self { amount: Amount::new(reader.u64()?), account: reader.address()?, data: reader.octets_max(Self::DATA_MAX)? };
        reader.no_extensions()?;
        Ok(packet)
    }

    #[inline]
    pub(super) fn check(&self) -> Result<(), EncodeError> {
        check_max("data", self.data, Self::DATA_MAX)
    }

    #[inline]
    pub(super) fn contents_len(&self) -> usize {
        let fields = octets_len(self.account.as_bytes().len()).saturating_add(octets_len(self.data.len()));
        fields.saturating_add(8 + 1)
    }

    #[inline]
    pub(super) fn write(&self, out: &mut impl BufMut) {
        out.put_u64(self.amount.get());
        put_octets(self.account.as_bytes(), out);
        put_octets(self.data, out);
        out.put_u8(0);
    }
}
