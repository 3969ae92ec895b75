//! The packets about transfers: 4, 5, 6 and 8.

use super::{Dialect, ProtocolData, RejectionReason};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::oer::{Reader, octets_len, put_timestamp};
use crate::types::{Amount, Condition, Fulfillment, Timestamp, TransferId};
use bytes::BufMut;

/// A conditional transfer: due to whoever shows the preimage of `condition` before `expires_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// Chosen by the sender.
    pub transfer_id: TransferId,
    /// In the account's base units.
    pub amount: Amount,
    /// SHA-256 of the fulfillment.
    pub condition: Condition,
    /// From this instant on it can't be fulfilled.
    pub expires_at: Timestamp,
    /// What it is for.
    pub data: ProtocolData<'a>,
}

/// A [`Prepare`] is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fulfill<'a> {
    /// That of the prepare.
    pub transfer_id: TransferId,
    /// The preimage; whether it is the right one isn't known here.
    pub fulfillment: Fulfillment,
    /// What rides along.
    pub data: ProtocolData<'a>,
}

/// A [`Prepare`] has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject<'a> {
    /// That of the prepare.
    pub transfer_id: TransferId,
    /// Why.
    pub reason: RejectionReason<'a>,
    /// What rides along.
    pub data: ProtocolData<'a>,
}

/// An unconditional transfer. An extension: sent only where both sides have agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// Chosen by the sender.
    pub transfer_id: TransferId,
    /// In the account's base units.
    pub amount: Amount,
    /// When the sender stops waiting for an answer, if ever.
    pub expires_at: Option<Timestamp>,
    /// What it is for.
    pub data: ProtocolData<'a>,
}

impl<'a> Prepare<'a> {
    pub(super) const FIELDS_LEN: usize = 16 + 8 + 32 + octets_len(Timestamp::WIRE_LEN);

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, dialect: Dialect) -> Result<Self, DecodeError> {
        Ok(Self {
            transfer_id: TransferId::new(reader.array()?),
            amount: Amount::new(reader.u64()?),
            condition: Condition::new(reader.array()?),
            expires_at: reader.timestamp()?,
            data: ProtocolData::read(reader, dialect)?,
        })
    }

    #[inline]
    pub(super) fn write_fields(&self, out: &mut impl BufMut) {
        out.put_slice(self.transfer_id.as_bytes());
        out.put_u64(self.amount.get());
        out.put_slice(self.condition.as_bytes());
        put_timestamp(self.expires_at, out);
    }
}

impl<'a> Fulfill<'a> {
    pub(super) const FIELDS_LEN: usize = 16 + 32;

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, dialect: Dialect) -> Result<Self, DecodeError> {
        Ok(Self {
            transfer_id: TransferId::new(reader.array()?),
            fulfillment: Fulfillment::new(reader.array()?),
            data: ProtocolData::read(reader, dialect)?,
        })
    }

    #[inline]
    pub(super) fn write_fields(&self, out: &mut impl BufMut) {
        out.put_slice(self.transfer_id.as_bytes());
        out.put_slice(self.fulfillment.as_bytes());
    }
}

impl<'a> Reject<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, dialect: Dialect) -> Result<Self, DecodeError> {
        Ok(Self {
            transfer_id: TransferId::new(reader.array()?),
            reason: RejectionReason::read(reader)?,
            data: ProtocolData::read(reader, dialect)?,
        })
    }

    pub(super) fn fields_len(&self) -> usize {
        self.reason.encoded_len().saturating_add(16)
    }

    pub(super) fn write_fields(&self, out: &mut impl BufMut) {
        out.put_slice(self.transfer_id.as_bytes());
        self.reason.write(out);
    }
}

impl<'a> Transfer<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, dialect: Dialect) -> Result<Self, DecodeError> {
        Ok(Self {
            transfer_id: TransferId::new(reader.array()?),
            amount: Amount::new(reader.u64()?),
            expires_at: read_presence(reader)?.then(|| reader.timestamp()).transpose()?,
            data: ProtocolData::read(reader, dialect)?,
        })
    }

    pub(super) fn fields_len(&self) -> usize {
        16 + 8 + 1 + if self.expires_at.is_some() { octets_len(Timestamp::WIRE_LEN) } else { 0 }
    }

    pub(super) fn write_fields(&self, out: &mut impl BufMut) {
        out.put_slice(self.transfer_id.as_bytes());
        out.put_u64(self.amount.get());
        out.put_u8(u8::from(self.expires_at.is_some()));
        if let Some(time) = self.expires_at {
            put_timestamp(time, out);
        }
    }
}

fn read_presence(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let start = reader.clone();
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(start.error(DecodeErrorKind::InvalidPresence(other))),
    }
}
