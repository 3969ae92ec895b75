//! The values that packets are made of, each checked once when it is made.
//!
//! Text forms (`Display`, `FromStr`, serde) are the ones of JSON: amounts as decimal text, bytes as lower-case hex, times as
//! ISO-8601 in UTC with milliseconds.

mod address;
mod amount;
mod bytes;
mod curve;
mod error_code;
mod text_serde;
mod timestamp;

pub use address::{Addr, Address, InvalidAddress};
pub use amount::{Amount, InvalidAmount};
pub use bytes::{Condition, Fulfillment, InvalidHex, TransferId};
pub use curve::{Curve, CurvePoints, InvalidCurve, Points};
pub use error_code::{ErrorCode, InvalidErrorCode};
pub use timestamp::{InvalidTimestamp, Timestamp};

pub(crate) use bytes::{hex_decode, hex_write};
pub(crate) use curve::{check_order, split_point};
