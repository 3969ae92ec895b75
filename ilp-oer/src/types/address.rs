//! ILP addresses, borrowed and owned.

use super::text_serde::text_serde;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// A borrowed ILP address or address prefix: 1 to 1023 characters of `A–Z a–z 0–9 - _ ~ .` (`Address` of InterledgerTypes).
///
/// How many segments there are, and where the dots stand, is not looked at: prefixes end in a dot, accounts don't.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr<'a>(&'a [u8]);

impl<'a> Addr<'a> {
    /// The longest address, in characters.
    pub const MAX_LEN: usize = 1023;

    /// An address in text.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, InvalidAddress> {
        Self::from_bytes(text.as_bytes())
    }

    /// An address in bytes.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, InvalidAddress> {
        check(bytes)?;
        Ok(Self(bytes))
    }

    /// For bytes that were checked before and only lost their type since.
    #[inline]
    pub(crate) fn from_checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The text. Where bytes do, [`as_bytes`](Self::as_bytes) is quicker: decoding doesn't make a text of it.
    #[inline]
    pub fn as_str(self) -> &'a str {
        // The characters of addresses are ASCII, so it always is one.
        str::from_utf8(self.0).unwrap_or_default()
    }

    /// The text's bytes.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// An owned copy.
    pub fn to_address(self) -> Address {
        Address(Arc::from(self.as_str()))
    }

    /// Whether `prefix` names this address or something above it, by whole segments: `test.bob.shop` has the prefixes `test`,
    /// `test.bob`, `test.bob.` and itself, but not `test.bo`. A prefix with a dot at its end covers only what is below it.
    #[inline]
    pub fn has_prefix(self, prefix: Addr<'_>) -> bool {
        match self.0.strip_prefix(prefix.0) {
            Some(rest) => rest.is_empty() || rest.starts_with(b".") || prefix.0.ends_with(b"."),
            None => false,
        }
    }

    /// The address cut to at most `len` characters (at least one), at the end of a segment if there is one.
    pub(crate) fn cut(self, len: usize) -> Self {
        let Some((head, tail)) = self.0.split_at_checked(len.max(1)) else {
            return self;
        };
        if tail.is_empty() || tail.starts_with(b".") {
            return Self(head);
        }
        match head.iter().rposition(|byte| *byte == b'.').and_then(|dot| head.get(..dot)) {
            Some(whole) if !whole.is_empty() => Self(whole),
            _ => Self(head),
        }
    }
}

/// An owned [`Addr`]. Cloning is cheap: clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// An address in text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidAddress> {
        Addr::new(text.as_ref()).map(Addr::to_address)
    }

    /// Borrowed.
    #[inline]
    pub fn as_addr(&self) -> Addr<'_> {
        Addr(self.0.as_bytes())
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of something below this: `.` and `segment` are added. `segment` may hold several segments, none of them empty.
    pub fn join(&self, segment: &str) -> Result<Self, InvalidAddress> {
        if segment.split('.').any(str::is_empty) {
            return Err(InvalidAddress::EmptySegment);
        }
        let parent = self.0.strip_suffix('.').unwrap_or(&self.0);
        Self::new(format!("{parent}.{segment}"))
    }
}

impl From<Addr<'_>> for Address {
    fn from(address: Addr<'_>) -> Self {
        address.to_address()
    }
}

impl<'a> From<&'a Address> for Addr<'a> {
    #[inline]
    fn from(address: &'a Address) -> Self {
        address.as_addr()
    }
}

impl PartialEq<Addr<'_>> for Address {
    fn eq(&self, other: &Addr<'_>) -> bool {
        self.as_addr() == *other
    }
}

impl AsRef<str> for Address {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Addr<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Addr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Addr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({})", self.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::new(text)
    }
}

text_serde!(Address, "an ILP address");

impl serde::Serialize for Addr<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Not an ILP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// No characters, or more than 1023.
    #[error("address is not 1 to 1023 characters long")]
    Length,
    /// Another character than `A–Z a–z 0–9 - _ ~ .`
    #[error("address has a character other than A-Z a-z 0-9 - _ ~ .")]
    Character,
    /// Two dots in a row, or one at either end, where [`Address::join`] takes segments.
    #[error("address has an empty segment")]
    EmptySegment,
}

#[inline]
fn check(bytes: &[u8]) -> Result<(), InvalidAddress> {
    if bytes.is_empty() || bytes.len() > Addr::MAX_LEN {
        return Err(InvalidAddress::Length);
    }
    let Some(last) = bytes.last_chunk::<16>() else {
        let bad = bytes.iter().fold(0, |bad, byte| bad | NOT_IN_ALPHABET[usize::from(*byte)]);
        return if bad == 0 { Ok(()) } else { Err(InvalidAddress::Character) };
    };
    // This is much of the work of decoding a payment: 16 characters at a time in vector registers, the last 16 perhaps once more.
    let mut bad = [0; 16];
    for block in bytes.as_chunks().0.iter().chain([last]) {
        bad.iter_mut().zip(block).for_each(|(bad, byte)| *bad |= not_in_alphabet(*byte));
    }
    if u128::from_ne_bytes(bad) == 0 { Ok(()) } else { Err(InvalidAddress::Character) }
}

/// 0 for characters of addresses. Without branches, for the sake of vectors.
#[inline]
const fn not_in_alphabet(byte: u8) -> u8 {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    let other = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~');
    if letter | digit | other { 0 } else { 1 }
}

static NOT_IN_ALPHABET: [u8; 256] = {
    let mut table = [1; 256];
    let (mut index, mut byte) = (0, 0);
    while byte < u8::MAX {
        table[index] = not_in_alphabet(byte);
        (index, byte) = (index + 1, byte + 1);
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_1_to_1023_characters_of_its_alphabet() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte);
            assert_eq!(Addr::from_bytes(&[b'g', byte]).is_ok(), allowed, "{byte}");
        }
        assert_eq!(Addr::new(""), Err(InvalidAddress::Length));
        assert!(Addr::new(&"a".repeat(1023)).is_ok());
        assert_eq!(Addr::new(&"a".repeat(1024)), Err(InvalidAddress::Length));
        assert_eq!(Address::new("é"), Err(InvalidAddress::Character));
    }

    #[test]
    fn every_character_is_looked_at() {
        for len in 1..=50 {
            let good = vec![b'a'; len];
            assert!(Addr::from_bytes(&good).is_ok());
            for at in 0..len {
                for byte in [b' ', b'/', b':', b'@', b'[', b'`', b'{', b'}', 0x7f, 0x80, 0xe1, 0xff, 0] {
                    let mut bytes = good.clone();
                    bytes[at] = byte;
                    assert_eq!(Addr::from_bytes(&bytes), Err(InvalidAddress::Character), "{byte} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn prefixes_are_whole_segments() {
        let address = Addr::new("test.bob.shop").unwrap();
        for (prefix, expected) in [
            ("test", true),
            ("test.", true),
            ("test.bob", true),
            ("test.bob.", true),
            ("test.bob.shop", true),
            ("test.bob.shop.", false),
            ("test.bo", false),
            ("tes", false),
            ("bob", false),
            ("test.bob.shop.x", false),
        ] {
            assert_eq!(address.has_prefix(Addr::new(prefix).unwrap()), expected, "{prefix}");
        }
    }

    #[test]
    fn join_adds_segments() {
        let address = Address::new("test.bob").unwrap();
        assert_eq!(address.join("shop").unwrap().as_str(), "test.bob.shop");
        assert_eq!(address.join("a.b").unwrap().as_str(), "test.bob.a.b");
        assert_eq!(Address::new("test.").unwrap().join("x").unwrap().as_str(), "test.x");
        for segment in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(address.join(segment), Err(InvalidAddress::EmptySegment), "{segment}");
        }
        assert_eq!(address.join("a b"), Err(InvalidAddress::Character));
        assert_eq!(address.join(&"a".repeat(1023)), Err(InvalidAddress::Length));
    }

    #[test]
    fn cutting_keeps_whole_segments_where_it_can() {
        let cut = |text: &'static str, len| Addr::new(text).unwrap().cut(len).as_str();
        assert_eq!(cut("test.bob.shop", 13), "test.bob.shop");
        assert_eq!(cut("test.bob.shop", 99), "test.bob.shop");
        assert_eq!(cut("test.bob.shop", 12), "test.bob");
        assert_eq!(cut("test.bob.shop", 8), "test.bob");
        assert_eq!(cut("test.bob.shop", 6), "test");
        assert_eq!(cut("test.bob.shop", 3), "tes");
        assert_eq!(cut("test.bob.shop", 0), "t");
    }
}
