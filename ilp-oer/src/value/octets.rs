//! Owned bytes and text.

use crate::error::EncodeErrorReason;
use crate::oer::check_text;
use crate::types::{InvalidHex, hex_decode, hex_write};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use thiserror::Error;

/// Owned bytes, at most `MAX`; hex as text.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Octets<const MAX: usize = { usize::MAX }>(Vec<u8>);

impl<const MAX: usize> Octets<MAX> {
    /// Refuses more than `MAX` bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, OctetsTooLong> {
        let bytes = bytes.into();
        if bytes.len() > MAX {
            return Err(OctetsTooLong { length: bytes.len(), max: MAX });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> Deref for Octets<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Octets<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_write(&self.0, f)
    }
}

impl<const MAX: usize> fmt::Debug for Octets<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octets({self})")
    }
}

impl FromStr for Octets {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        if !text.len().is_multiple_of(2) {
            return Err(InvalidHex::Odd);
        }
        let mut bytes = vec![0; text.len() / 2];
        hex_decode(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl<const MAX: usize> Serialize for Octets<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Octets<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = Octets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes as lower-case hex")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Octets, E> {
                text.parse().map_err(E::custom)
            }
        }
        Self::new(deserializer.deserialize_str(Hex)?.0).map_err(D::Error::custom)
    }
}

/// More bytes than the protocol allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{length} bytes, at most {max} allowed")]
pub struct OctetsTooLong {
    /// As given.
    pub length: usize,
    /// The limit.
    pub max: usize,
}

impl From<OctetsTooLong> for EncodeErrorReason {
    fn from(error: OctetsTooLong) -> Self {
        Self::TooLong { length: error.length, max: error.max }
    }
}

/// Owned printable ASCII, possibly empty: names of sub-protocols and of errors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(String);

impl Text {
    /// Refuses everything but printable ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, EncodeErrorReason> {
        let text = text.into();
        check_text("", &text).map_err(|error| error.reason)?;
        Ok(Self(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_lower_case_hex_up_to_their_limit() {
        let from = |json: &str| serde_json::from_str::<Octets<2>>(json);
        assert_eq!(&*from("\"00ff\"").unwrap(), [0, 0xff]);
        assert_eq!(serde_json::to_string(&Octets::<2>::new([0, 0xff]).unwrap()).unwrap(), "\"00ff\"");
        for json in ["\"0\"", "\"0g\"", "\"FF\"", "\"000000\"", "\"é\"", "null", "[0]", "0"] {
            assert!(from(json).is_err(), "{json}");
        }
        let long = vec![0xa5; 100];
        assert_eq!(Octets::<100>::new(long.clone()).unwrap().to_string(), "a5".repeat(100));
        assert_eq!("a5".repeat(100).parse::<Octets>().unwrap().into_vec(), long);
    }

    #[test]
    fn text_is_printable_ascii() {
        assert_eq!(&*Text::new(" ~").unwrap(), " ~");
        for text in ["é", "\n", "\x7f", "\0"] {
            assert_eq!(Text::new(text), Err(EncodeErrorReason::InvalidText));
        }
    }
}
