//! Codecs for the packets of Interledger (ILP and ILQP of 2017) and of the Common Ledger Protocol (CLP).
//!
//! ```text
//!   bytes ──► clp::Packet ──► clp::ProtocolData ──► ilp::Packet      decode: borrows, allocates nothing
//!   bytes ◄── clp::Packet ◄── clp::ProtocolData ◄── ilp::Packet      encode: checks first, writes once
//! ```
//!
//! There is no runtime, clock or randomness in this crate. Decoded packets borrow from the bytes they came from, whatever lengths
//! and counts those bytes declare. Input must be in canonical form, so that whatever decodes is also written back byte for byte,
//! save for the liberties of 2017's encoders that [`ilp::ErrorPacket`] and [`sub`] name.
//!
//! # A packet there and back
//!
//! ```
//! use ilp_oer::clp::{Body, Dialect, Entry, Extensions, Packet, Prepare, ProtocolData};
//! use ilp_oer::{Addr, Amount, Fulfillment, Timestamp, TransferId, ilp, sub};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let account = Addr::new("test.bob.shop")?;
//! let payment = ilp::Packet::Payment(ilp::Payment { amount: Amount::new(5), account, data: b"" });
//! let payment = payment.to_vec()?;
//!
//! let entries = [Entry::named(sub::names::ILP, 0, &payment)];
//! let prepare = Packet {
//!     request_id: 1,
//!     body: Body::Prepare(Prepare {
//!         transfer_id: TransferId::new([7; 16]),
//!         amount: Amount::new(6),
//!         condition: Fulfillment::new([9; 32]).condition(),
//!         expires_at: "2017-09-14T13:23:52.000Z".parse::<Timestamp>()?,
//!         data: ProtocolData::entries(Dialect::Named, &entries),
//!     }),
//! };
//! let frame = prepare.to_vec()?;
//!
//! let decoded = Packet::decode(&frame, Dialect::Named, Extensions::NONE)?;
//! assert_eq!(decoded, prepare);
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | module | what |
//! |---|---|
//! | [`types`] | amounts, conditions, ids, times, addresses, curves; all re-exported here |
//! | [`ilp`] | payment, quotes, error |
//! | [`clp`] | the eight CLP packets in both dialects |
//! | [`sub`] | the bytes inside CLP's sub-protocols: setup, info, balance, vouch, liquidity |
//! | [`value`] | owned forms with serde, for JSON |
//! | [`oer`] | the reader and the writing helpers that all of them are built from |

pub mod clp;
mod error;
pub mod ilp;
pub mod oer;
pub mod sub;
pub mod types;
pub mod value;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorReason};
pub use types::{
    Addr, Address, Amount, Condition, Curve, CurvePoints, ErrorCode, Fulfillment, InvalidAddress, InvalidAmount, InvalidCurve,
    InvalidErrorCode, InvalidHex, InvalidTimestamp, Timestamp, TransferId,
};
