//! Whole packets in `rasn`'s types: envelope and contents, written and read by `rasn` alone.

use crate::types::{
    AmountRequest, AmountResponse, AsnError, ClpEnvelope, Error, Error2017, ExpiringTransfer, Fulfill, IlpEnvelope, LiquidityRequest,
    LiquidityResponse, Payment, Prepare, Reject, Transfer,
};
use rasn::types::{OctetString, SequenceOf};
use rasn::{Decode, Encode, coer};

/// Any ILP or ILQP packet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ilp {
    Payment(Payment),
    LiquidityRequest(LiquidityRequest),
    LiquidityResponse(LiquidityResponse),
    BySourceRequest(AmountRequest),
    BySourceResponse(AmountResponse),
    ByDestinationRequest(AmountRequest),
    ByDestinationResponse(AmountResponse),
    Error(Error2017),
    /// Without the byte that the ASN.1 doesn't have.
    AsnError(AsnError),
}

/// Any CLP packet, with entries of one dialect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clp<E: Encode + Decode> {
    pub(crate) request_id: u32,
    pub(crate) body: Body<E>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body<E: Encode + Decode> {
    Ack(SequenceOf<E>),
    Response(SequenceOf<E>),
    Error(Error<E>),
    Prepare(Prepare<E>),
    Fulfill(Fulfill<E>),
    Reject(Reject<E>),
    Message(SequenceOf<E>),
    Transfer(Transfer<E>),
    ExpiringTransfer(ExpiringTransfer<E>),
}

impl Ilp {
    pub(crate) fn envelope(&self) -> Result<IlpEnvelope, String> {
        let (kind, contents) = match self {
            Self::Payment(packet) => (1, encode(packet)?),
            Self::LiquidityRequest(packet) => (2, encode(packet)?),
            Self::LiquidityResponse(packet) => (3, encode(packet)?),
            Self::BySourceRequest(packet) => (4, encode(packet)?),
            Self::BySourceResponse(packet) => (5, encode(packet)?),
            Self::ByDestinationRequest(packet) => (6, encode(packet)?),
            Self::ByDestinationResponse(packet) => (7, encode(packet)?),
            Self::Error(packet) => (8, encode(packet)?),
            Self::AsnError(packet) => (8, encode(packet)?),
        };
        Ok(IlpEnvelope { kind, contents: OctetString::from(contents) })
    }

    pub(crate) fn from_envelope(envelope: &IlpEnvelope) -> Result<Self, String> {
        let contents = &envelope.contents;
        Ok(match envelope.kind {
            1 => Self::Payment(decode(contents)?),
            2 => Self::LiquidityRequest(decode(contents)?),
            3 => Self::LiquidityResponse(decode(contents)?),
            4 => Self::BySourceRequest(decode(contents)?),
            5 => Self::BySourceResponse(decode(contents)?),
            6 => Self::ByDestinationRequest(decode(contents)?),
            7 => Self::ByDestinationResponse(decode(contents)?),
            8 => match decode(contents) {
                Ok(packet) => Self::Error(packet),
                Err(_) => Self::AsnError(decode(contents)?),
            },
            kind => return Err(format!("type {kind}")),
        })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        encode(&self.envelope()?)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::from_envelope(&decode(bytes)?)
    }
}

impl<E: Encode + Decode> Clp<E> {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let (kind, contents) = match &self.body {
            Body::Ack(data) => (1, encode(data)?),
            Body::Response(data) => (2, encode(data)?),
            Body::Error(body) => (3, encode(body)?),
            Body::Prepare(body) => (4, encode(body)?),
            Body::Fulfill(body) => (5, encode(body)?),
            Body::Reject(body) => (6, encode(body)?),
            Body::Message(data) => (7, encode(data)?),
            Body::Transfer(body) => (8, encode(body)?),
            Body::ExpiringTransfer(body) => (8, encode(body)?),
        };
        encode(&ClpEnvelope { kind, request_id: self.request_id, contents: OctetString::from(contents) })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let envelope: ClpEnvelope = decode(bytes)?;
        let contents = &envelope.contents;
        let body = match envelope.kind {
            1 => Body::Ack(decode(contents)?),
            2 => Body::Response(decode(contents)?),
            3 => Body::Error(decode(contents)?),
            4 => Body::Prepare(decode(contents)?),
            5 => Body::Fulfill(decode(contents)?),
            6 => Body::Reject(decode(contents)?),
            7 => Body::Message(decode(contents)?),
            // The presence byte, after an id of 16 bytes and an amount of 8.
            8 if contents.get(24) == Some(&0) => Body::Transfer(decode(contents)?),
            8 if contents.get(24) == Some(&1) => Body::ExpiringTransfer(decode(contents)?),
            kind => return Err(format!("type {kind}")),
        };
        Ok(Self { request_id: envelope.request_id, body })
    }
}

fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, String> {
    coer::encode(value).map_err(|error| error.to_string())
}

/// All of the bytes: `rasn` by itself leaves alone what comes after a value.
fn decode<T: Decode>(bytes: &[u8]) -> Result<T, String> {
    match coer::decode_with_remainder(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes left", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}
