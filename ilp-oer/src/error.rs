//! Why bytes could not be read, or a packet could not be written.

use crate::types::{InvalidAddress, InvalidCurve, InvalidErrorCode, InvalidTimestamp};
use thiserror::Error;

/// Bytes that are not what they should be. Always the fault of whoever wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("at byte {offset}: {kind}")]
pub struct DecodeError {
    /// Where the field starts that can't be read, counted from the start of the slice given to the outermost decode.
    pub offset: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with the bytes at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the field does.
    #[error("{needed} bytes needed, {available} left")]
    Truncated {
        /// Length of the field.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// Bytes after the end of the packet, or after its last field.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A length that takes more bytes than it needs, or of the reserved form `80`.
    #[error("length not in its shortest form")]
    LengthNotMinimal,
    /// A length or count beyond anything that can be in memory.
    #[error("length or count too large")]
    TooLarge,
    /// A count of zero bytes, or of more bytes than it needs.
    #[error("count not in its shortest form")]
    CountNotMinimal,
    /// A packet type, operation or call that doesn't exist here.
    #[error("unknown type {0}")]
    UnknownType(u8),
    /// Another type of packet than the one that must be here.
    #[error("type {found} instead of {expected}")]
    WrongType {
        /// The type byte that belongs here.
        expected: u8,
        /// The type byte that is here.
        found: u8,
    },
    /// An extension byte other than `00`: nothing is defined that could follow.
    #[error("unknown extension")]
    UnknownExtension,
    /// A presence byte other than 0 and 1.
    #[error("presence byte {0} is neither 0 nor 1")]
    InvalidPresence(u8),
    /// Text with other characters than printable ASCII.
    #[error("text is not printable ASCII")]
    InvalidText,
    /// Octets beyond the size that the protocol allows.
    #[error("{length} bytes of data, at most {max} allowed")]
    DataTooLong {
        /// As declared.
        length: usize,
        /// The protocol's limit.
        max: usize,
    },
    /// Not an ILP address.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// Not a time, or not a date that exists.
    #[error(transparent)]
    Timestamp(#[from] InvalidTimestamp),
    /// Not an error code.
    #[error(transparent)]
    ErrorCode(#[from] InvalidErrorCode),
    /// Not a liquidity curve.
    #[error(transparent)]
    Curve(#[from] InvalidCurve),
}

/// A packet that can't be written. Always the fault of the caller; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct EncodeError {
    /// The field's name, as in the Rust struct.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: EncodeErrorReason,
}

/// What is wrong with a field that can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeErrorReason {
    /// Longer than the protocol allows, in bytes.
    #[error("{length} bytes, at most {max} allowed")]
    TooLong {
        /// As given.
        length: usize,
        /// The protocol's limit.
        max: usize,
    },
    /// Text with other characters than printable ASCII.
    #[error("text is not printable ASCII")]
    InvalidText,
    /// An entry of the other dialect, or entries made for another one than the packet is written in.
    #[error("entry of the other dialect")]
    WrongDialect,
    /// A content type other than 0, where the dialect has no field for it.
    #[error("this dialect has no content type")]
    NoContentType,
    /// The output has less room than the packet needs.
    #[error("{needed} bytes needed, {available} left")]
    NoRoom {
        /// Length of the packet.
        needed: usize,
        /// Room that is left.
        available: usize,
    },
}
