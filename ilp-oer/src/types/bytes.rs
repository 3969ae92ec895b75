//! Conditions, fulfillments and transfer ids: byte strings of fixed size, hex as text.

use super::text_serde::text_serde;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The SHA-256 hash of a [`Fulfillment`]: a transfer under it is due to whoever shows the preimage in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition([u8; 32]);

impl Condition {
    /// Whether `fulfillment` is the preimage of this condition. Costs one SHA-256 of 32 bytes.
    pub fn is_fulfilled_by(&self, fulfillment: &Fulfillment) -> bool {
        fulfillment.condition() == *self
    }
}

/// The 32-byte preimage of a [`Condition`]. A secret until the moment it is sent, so `Debug` doesn't show it; `Display` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fulfillment([u8; 32]);

impl Fulfillment {
    /// The condition that this fulfills: its SHA-256 hash.
    pub fn condition(&self) -> Condition {
        Condition(Sha256::digest(self.0).into())
    }
}

/// The id of a transfer on one connection, 128 bits chosen by its sender (CLP, IL-RFC 22 and 23).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId([u8; 16]);

/// What the three have in common.
macro_rules! fixed_bytes {
    ($type:ident, $size:literal, $expecting:literal) => {
        impl $type {
            /// From its bytes.
            #[inline]
            pub const fn new(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[inline]
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl From<[u8; $size]> for $type {
            #[inline]
            fn from(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }
        }

        impl TryFrom<&[u8]> for $type {
            type Error = std::array::TryFromSliceError;

            /// Refuses slices of any other length.
            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex_write(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = InvalidHex;

            /// Reads lower-case hex of exactly the right length.
            fn from_str(text: &str) -> Result<Self, InvalidHex> {
                let mut bytes = [0; $size];
                hex_decode(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        text_serde!($type, $expecting);
    };
}

fixed_bytes!(Condition, 32, "32 bytes as lower-case hex");
fixed_bytes!(Fulfillment, 32, "32 bytes as lower-case hex");
fixed_bytes!(TransferId, 16, "16 bytes as lower-case hex");

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({self})")
    }
}

impl fmt::Debug for Fulfillment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fulfillment(…)")
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({self})")
    }
}

/// Text that is not lower-case hex of the right length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidHex {
    /// Not two characters for each byte.
    #[error("{found} hex characters instead of {expected}")]
    Length {
        /// Characters needed.
        expected: usize,
        /// Length of the text in bytes.
        found: usize,
    },
    /// A half byte is left over.
    #[error("odd number of hex characters")]
    Odd,
    /// Not `0`–`9` or `a`–`f`.
    #[error("not lower-case hex in byte {0}")]
    Digit(
        /// Number of the byte, from 0, that the character would belong to.
        usize,
    ),
}

/// Fills `bytes` from lower-case hex.
pub(crate) fn hex_decode(text: &str, bytes: &mut [u8]) -> Result<(), InvalidHex> {
    let expected = bytes.len().saturating_mul(2);
    if text.len() != expected {
        return Err(InvalidHex::Length { expected, found: text.len() });
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for (index, (byte, [high, low])) in bytes.iter_mut().zip(pairs).enumerate() {
        let digits = nibble(*high).zip(nibble(*low));
        *byte = digits.map(|(high, low)| high << 4 | low).ok_or(InvalidHex::Digit(index))?;
    }
    Ok(())
}

/// Writes lower-case hex, a whole run of bytes at a time.
pub(crate) fn hex_write(bytes: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    let mut text = [0; 64];
    for run in bytes.chunks(32) {
        let (pairs, _) = text.as_chunks_mut::<2>();
        for (byte, pair) in run.iter().zip(pairs) {
            *pair = [digit(byte >> 4), digit(byte & 0x0f)];
        }
        let written = text.get(..run.len().saturating_mul(2)).unwrap_or_default();
        f.write_str(str::from_utf8(written).map_err(|_| fmt::Error)?)?;
    }
    Ok(())
}

#[inline]
fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[inline]
fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_is_the_hash_of_the_fulfillment() {
        let fulfillment = Fulfillment::new([0; 32]);
        let condition = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925".parse::<Condition>().unwrap();
        assert_eq!(fulfillment.condition(), condition);
        assert!(condition.is_fulfilled_by(&fulfillment));
        assert!(!condition.is_fulfilled_by(&Fulfillment::new([1; 32])));
    }

    #[test]
    fn fulfillment_is_not_in_its_debug_form() {
        assert_eq!(format!("{:?}", Fulfillment::new([0xab; 32])), "Fulfillment(…)");
        assert_eq!(Fulfillment::new([0xab; 32]).to_string(), "ab".repeat(32));
    }

    #[test]
    fn hex_must_be_lower_case_and_of_the_right_length() {
        let id = "00112233445566778899aabbccddeeff";
        assert_eq!(id.parse::<TransferId>().unwrap().to_string(), id);
        assert_eq!(id.to_uppercase().parse::<TransferId>(), Err(InvalidHex::Digit(10)));
        assert_eq!("00".parse::<TransferId>(), Err(InvalidHex::Length { expected: 32, found: 2 }));
        assert_eq!(format!("{}é", &id[2..]).parse::<TransferId>(), Err(InvalidHex::Digit(15)));
        assert!(TransferId::try_from(&[0; 15][..]).is_err());
        assert!(TransferId::try_from(&[0; 16][..]).is_ok());
    }
}
