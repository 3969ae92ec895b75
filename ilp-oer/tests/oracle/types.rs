//! The ASN.1 types of ILP, ILQP and CLP for `rasn`, written by hand from the modules of 2017 and from nothing of this crate.
//!
//! Open types are an octet string: a length, and in it the encoding of the type that the byte before it says. Two things are modelled
//! by what they are on the wire, because `rasn` writes them otherwise (see `differences.rs`): times are text, and an extensible
//! sequence without additions is a byte `00`.

use rasn::prelude::*;
use rasn::types::FixedOctetString;

/// `InterledgerPacket`, and the open type of a packet's contents.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct IlpEnvelope {
    pub(crate) kind: u8,
    pub(crate) contents: OctetString,
}

/// `CommonLedgerProtocolPacket`.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct ClpEnvelope {
    pub(crate) kind: u8,
    pub(crate) request_id: u32,
    pub(crate) contents: OctetString,
}

/// `Address ::= IA5String (FROM ("A".."Z" | …)) (SIZE (1..1023))`. `rasn` looks at neither restriction in OER.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
#[rasn(delegate, size("1..=1023"))]
pub(crate) struct Address(pub(crate) Ia5String);

/// `IA5String (SIZE (3))`: of fixed size, so without a length.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
#[rasn(delegate, size("3"))]
pub(crate) struct Code(pub(crate) Ia5String);

pub(crate) type Time = VisibleString;
pub(crate) type Extensions = u8;

/// `InterledgerProtocolPaymentMessage`, 1.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Payment {
    pub(crate) amount: u64,
    pub(crate) account: Address,
    #[rasn(size("0..=32767"))]
    pub(crate) data: OctetString,
    pub(crate) extensions: Extensions,
}

/// `QuoteLiquidityRequest`, 2.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct LiquidityRequest {
    pub(crate) destination_account: Address,
    pub(crate) destination_hold_duration: u32,
    pub(crate) extensions: Extensions,
}

/// `QuoteLiquidityResponse`, 3.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct LiquidityResponse {
    pub(crate) liquidity_curve: SequenceOf<Point>,
    pub(crate) applies_to_prefix: Address,
    pub(crate) source_hold_duration: u32,
    pub(crate) expires_at: Time,
    pub(crate) extensions: Extensions,
}

/// An element of `LiquidityCurve`.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: u64,
    pub(crate) y: u64,
}

/// `QuoteBySourceAmountRequest` and `QuoteByDestinationAmountRequest`, 4 and 6.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct AmountRequest {
    pub(crate) destination_account: Address,
    pub(crate) amount: u64,
    pub(crate) destination_hold_duration: u32,
    pub(crate) extensions: Extensions,
}

/// `QuoteBySourceAmountResponse` and `QuoteByDestinationAmountResponse`, 5 and 7.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct AmountResponse {
    pub(crate) amount: u64,
    pub(crate) source_hold_duration: u32,
    pub(crate) extensions: Extensions,
}

/// `InterledgerProtocolError`, 8, as the ASN.1 has it.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct AsnError {
    pub(crate) code: Code,
    pub(crate) name: Ia5String,
    pub(crate) triggered_by: Address,
    pub(crate) forwarded_by: SequenceOf<Address>,
    pub(crate) triggered_at: Time,
    #[rasn(size("0..=8192"))]
    pub(crate) data: OctetString,
}

/// The same as the encoders of 2017 write it.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Error2017 {
    pub(crate) code: Code,
    pub(crate) name: Ia5String,
    pub(crate) triggered_by: Address,
    pub(crate) forwarded_by: SequenceOf<Address>,
    pub(crate) triggered_at: Time,
    #[rasn(size("0..=8192"))]
    pub(crate) data: OctetString,
    pub(crate) extensions: Extensions,
}

/// An entry of `ProtocolData`.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct NamedEntry {
    pub(crate) protocol_name: Ia5String,
    pub(crate) content_type: u8,
    pub(crate) data: OctetString,
}

/// An entry in the seed dialect.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct SeedEntry {
    pub(crate) protocol_id: u8,
    pub(crate) data: OctetString,
}

/// `Error`, 3. The reason is an `InterledgerPacket`.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Error<E: Encode + Decode> {
    pub(crate) reason: IlpEnvelope,
    pub(crate) data: SequenceOf<E>,
}

/// `Prepare`, 4.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Prepare<E: Encode + Decode> {
    pub(crate) transfer_id: FixedOctetString<16>,
    pub(crate) amount: u64,
    pub(crate) condition: FixedOctetString<32>,
    pub(crate) expires_at: Time,
    pub(crate) data: SequenceOf<E>,
}

/// `Fulfill`, 5.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Fulfill<E: Encode + Decode> {
    pub(crate) transfer_id: FixedOctetString<16>,
    pub(crate) fulfillment: FixedOctetString<32>,
    pub(crate) data: SequenceOf<E>,
}

/// `Reject`, 6.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Reject<E: Encode + Decode> {
    pub(crate) transfer_id: FixedOctetString<16>,
    pub(crate) reason: IlpEnvelope,
    pub(crate) data: SequenceOf<E>,
}

/// `Transfer`, 8, an extension: with presence 0.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct Transfer<E: Encode + Decode> {
    pub(crate) transfer_id: FixedOctetString<16>,
    pub(crate) amount: u64,
    pub(crate) presence: u8,
    pub(crate) data: SequenceOf<E>,
}

/// With presence 1.
#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
pub(crate) struct ExpiringTransfer<E: Encode + Decode> {
    pub(crate) transfer_id: FixedOctetString<16>,
    pub(crate) amount: u64,
    pub(crate) presence: u8,
    pub(crate) expires_at: Time,
    pub(crate) data: SequenceOf<E>,
}
