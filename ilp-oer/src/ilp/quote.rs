//! Types 2 to 7: quotes. All durations are in milliseconds.

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, count_len, octets_len, put_count, put_octets, put_timestamp};
use crate::types::{Addr, Amount, CurvePoints, Timestamp, check_order, split_point};
use bytes::BufMut;

/// Asks for the whole curve to a destination (`QuoteLiquidityRequest`, IL-RFC 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiquidityRequest<'a> {
    /// To where.
    pub destination_account: Addr<'a>,
    /// How long the last transfer shall be held, in milliseconds.
    pub destination_hold_duration: u32,
}

/// Answers a [`LiquidityRequest`] (`QuoteLiquidityResponse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiquidityResponse<'a> {
    /// What arrives for what is sent.
    pub liquidity_curve: CurvePoints<'a>,
    /// The curve is good for all addresses that start so.
    pub applies_to_prefix: Addr<'a>,
    /// How long the first transfer must be held, in milliseconds.
    pub source_hold_duration: u32,
    /// Until when the curve is good.
    pub expires_at: Timestamp,
}

/// Asks what arrives for an amount sent (`QuoteBySourceAmountRequest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BySourceRequest<'a> {
    /// To where.
    pub destination_account: Addr<'a>,
    /// What is sent, in the source's base units.
    pub source_amount: Amount,
    /// How long the last transfer shall be held, in milliseconds.
    pub destination_hold_duration: u32,
}

/// Answers a [`BySourceRequest`] (`QuoteBySourceAmountResponse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BySourceResponse {
    /// What arrives, in the destination's base units.
    pub destination_amount: Amount,
    /// How long the first transfer must be held, in milliseconds.
    pub source_hold_duration: u32,
}

/// Asks what must be sent for an amount to arrive (`QuoteByDestinationAmountRequest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByDestinationRequest<'a> {
    /// To where.
    pub destination_account: Addr<'a>,
    /// What shall arrive, in the destination's base units.
    pub destination_amount: Amount,
    /// How long the last transfer shall be held, in milliseconds.
    pub destination_hold_duration: u32,
}

/// Answers a [`ByDestinationRequest`] (`QuoteByDestinationAmountResponse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByDestinationResponse {
    /// What must be sent, in the source's base units.
    pub source_amount: Amount,
    /// How long the first transfer must be held, in milliseconds.
    pub source_hold_duration: u32,
}

impl<'a> LiquidityRequest<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet = Self { destination_account: reader.address()?, destination_hold_duration: reader.u32()? };
        reader.no_extensions()?;
        Ok(packet)
    }

    pub(super) fn contents_len(&self) -> usize {
        octets_len(self.destination_account.as_bytes().len()) + 4 + 1
    }

    pub(super) fn write(&self, out: &mut impl BufMut) {
        put_octets(self.destination_account.as_bytes(), out);
        out.put_u32(self.destination_hold_duration);
        out.put_u8(0);
    }
}

impl<'a> LiquidityResponse<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let packet = Self {
            liquidity_curve: read_curve(reader)?,
            applies_to_prefix: reader.address()?,
            source_hold_duration: reader.u32()?,
            expires_at: reader.timestamp()?,
        };
        reader.no_extensions()?;
        Ok(packet)
    }

    pub(super) fn contents_len(&self) -> usize {
        let points = self.liquidity_curve.len();
        let curve = count_len(points).saturating_add(points.saturating_mul(16));
        let prefix = octets_len(self.applies_to_prefix.as_bytes().len());
        curve.saturating_add(prefix + 4 + octets_len(Timestamp::WIRE_LEN) + 1)
    }

    pub(super) fn write(&self, out: &mut impl BufMut) {
        put_count(self.liquidity_curve.len(), out);
        for (x, y) in self.liquidity_curve {
            out.put_u64(x);
            out.put_u64(y);
        }
        put_octets(self.applies_to_prefix.as_bytes(), out);
        out.put_u32(self.source_hold_duration);
        put_timestamp(self.expires_at, out);
        out.put_u8(0);
    }
}

/// The two requests, and the two responses, differ in the names of their fields only.
macro_rules! amount_request {
    ($type:ident, $amount:ident) => {
        impl<'a> $type<'a> {
            pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                let packet = Self {
                    destination_account: reader.address()?,
                    $amount: Amount::new(reader.u64()?),
                    destination_hold_duration: reader.u32()?,
                };
                reader.no_extensions()?;
                Ok(packet)
            }

            pub(super) fn contents_len(&self) -> usize {
                octets_len(self.destination_account.as_bytes().len()) + 8 + 4 + 1
            }

            pub(super) fn write(&self, out: &mut impl BufMut) {
                put_octets(self.destination_account.as_bytes(), out);
                out.put_u64(self.$amount.get());
                out.put_u32(self.destination_hold_duration);
                out.put_u8(0);
            }
        }
    };
}

macro_rules! amount_response {
    ($type:ident, $amount:ident) => {
        impl $type {
            pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let packet = Self { $amount: Amount::new(reader.u64()?), source_hold_duration: reader.u32()? };
                reader.no_extensions()?;
                Ok(packet)
            }

            pub(super) fn contents_len(&self) -> usize {
                8 + 4 + 1
            }

            pub(super) fn write(&self, out: &mut impl BufMut) {
                out.put_u64(self.$amount.get());
                out.put_u32(self.source_hold_duration);
                out.put_u8(0);
            }
        }
    };
}

amount_request!(BySourceRequest, source_amount);
amount_request!(ByDestinationRequest, destination_amount);
amount_response!(BySourceResponse, destination_amount);
amount_response!(ByDestinationResponse, source_amount);

/// Every field of these is checked by its type.
macro_rules! always_valid {
    ($($type:ty),*) => {
        $(impl $type {
            pub(super) fn check(&self) -> Result<(), EncodeError> {
                Ok(())
            }
        })*
    };
}

always_valid!(
    LiquidityRequest<'_>,
    LiquidityResponse<'_>,
    BySourceRequest<'_>,
    BySourceResponse,
    ByDestinationRequest<'_>,
    ByDestinationResponse
);

fn read_curve<'a>(reader: &mut Reader<'a>) -> Result<CurvePoints<'a>, DecodeError> {
    let count = reader.count()?;
    let start = reader.offset();
    let (points, _) = reader.take(count.saturating_mul(16))?.as_chunks::<16>();
    check_order(points.iter().map(split_point)).map_err(|error| {
        let offset = start.saturating_add(error.0.saturating_mul(16));
        DecodeError { offset, kind: DecodeErrorKind::Curve(error) }
    })?;
    Ok(CurvePoints::from_checked(points))
}
