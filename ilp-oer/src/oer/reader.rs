//! Reading.

use crate::error::{DecodeError, DecodeErrorKind};
use crate::types::{Addr, Timestamp};

/// Reads fields from the front of a slice and knows how far it has come.
///
/// Every method moves on past the field it returns. After an error the position is unspecified: give up the whole packet. What is
/// returned borrows from the slice; a declared length costs nothing until the bytes are really there.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Offset of the end of `rest` in the outermost slice. The offset of its start follows from it, so there is one thing less to
    /// keep up with while reading.
    end: usize,
}

impl<'a> Reader<'a> {
    /// From the start of a slice, which becomes offset 0 of every error.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len() }
    }

    /// The offset of the next field.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// What hasn't been read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error at the next field.
    #[cold]
    pub fn error(&self, kind: impl Into<DecodeErrorKind>) -> DecodeError {
        DecodeError { offset: self.offset(), kind: kind.into() }
    }

    /// So many bytes as they are.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.truncated(len));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// `N` bytes as they are.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Sixteen bytes, signed.
    #[inline]
    pub fn i128(&mut self) -> Result<i128, DecodeError> {
        self.array().map(i128::from_be_bytes)
    }

    /// A length in its shortest form. Whether that many bytes are there is not looked at.
    #[inline]
    pub fn length(&mut self) -> Result<usize, DecodeError> {
        match self.rest {
            [short @ 0..=0x7f, rest @ ..] => {
                self.rest = rest;
                Ok(usize::from(*short))
            }
            _ => self.long_length(128),
        }
    }

    /// A length in its shortest form, or in the two-byte form that 2017's sub-protocols use for everything from 128 up.
    pub(crate) fn length_2017(&mut self) -> Result<usize, DecodeError> {
        if let [0x82, 0, low @ 0x80..=0xff, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(usize::from(*low));
        }
        self.length()
    }

    /// Octets with their length in front.
    #[inline]
    pub fn octets(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.offset();
        let len = self.length()?;
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError { offset: start, ..self.truncated(len) }),
        }
    }

    /// Octets with their length in front, at most `max`.
    #[inline]
    pub fn octets_max(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let start = self.offset();
        let octets = self.octets()?;
        if octets.len() > max {
            let kind = DecodeErrorKind::DataTooLong { length: octets.len(), max };
            return Err(DecodeError { offset: start, kind });
        }
        Ok(octets)
    }

    /// Printable ASCII text with its length in front; may be empty.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let start = self.offset();
        let octets = self.octets()?;
        match str::from_utf8(octets) {
            Ok(text) if is_text(text) => Ok(text),
            _ => Err(DecodeError { offset: start, kind: DecodeErrorKind::InvalidText }),
        }
    }

    /// An ILP address with its length in front.
    #[inline]
    pub fn address(&mut self) -> Result<Addr<'a>, DecodeError> {
        let start = self.offset();
        let octets = self.octets()?;
        Addr::from_bytes(octets).map_err(|error| DecodeError { offset: start, kind: error.into() })
    }

    /// A time with its length in front.
    #[inline]
    pub fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        let start = self.offset();
        let octets = self.octets()?;
        Timestamp::parse_wire(octets).map_err(|error| DecodeError { offset: start, kind: error.into() })
    }

    /// The number of elements that follow, in its shortest form. Whether they are there is not looked at.
    #[inline]
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        if let [1, count, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(usize::from(*count));
        }
        self.long_count()
    }

    /// A reader for octets with their length in front, in which offsets go on.
    #[inline]
    pub fn nested(&mut self) -> Result<Self, DecodeError> {
        let rest = self.octets()?;
        Ok(Self { rest, end: self.offset() })
    }

    /// The contents of an envelope that must end where the slice does.
    #[inline]
    pub(crate) fn envelope(&mut self) -> Result<Self, DecodeError> {
        let contents = self.nested()?;
        self.finish()?;
        Ok(contents)
    }

    /// The byte `00` of an extensible sequence without extensions.
    #[inline]
    pub(crate) fn no_extensions(&mut self) -> Result<(), DecodeError> {
        match self.rest {
            [0, rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            [] => Err(self.truncated(1)),
            _ => Err(self.error(DecodeErrorKind::UnknownExtension)),
        }
    }

    /// Refuses whatever is left.
    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.error(DecodeErrorKind::Trailing(left))),
        }
    }

    /// Reads a value that must be all there is.
    #[inline]
    pub(crate) fn whole<T>(mut self, read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let value = read(&mut self)?;
        self.finish()?;
        Ok(value)
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        self.error(DecodeErrorKind::Truncated { needed, available: self.rest.len() })
    }

    /// Lengths of more than one byte, which must be at least `min`.
    fn long_length(&mut self, min: usize) -> Result<usize, DecodeError> {
        let mut ahead = self.clone();
        let size = usize::from(ahead.u8()? & 0x7f);
        let length = ahead.uint(size, DecodeErrorKind::LengthNotMinimal);
        match length {
            Ok(length) if length < min => Err(self.error(DecodeErrorKind::LengthNotMinimal)),
            Ok(length) => {
                *self = ahead;
                Ok(length)
            }
            Err(kind) => Err(self.error(kind)),
        }
    }

    /// Counts of any form.
    fn long_count(&mut self) -> Result<usize, DecodeError> {
        let mut ahead = self.clone();
        let size = ahead.length()?;
        match ahead.uint(size, DecodeErrorKind::CountNotMinimal) {
            Ok(count) => {
                *self = ahead;
                Ok(count)
            }
            Err(kind) => Err(self.error(kind)),
        }
    }

    /// An unsigned integer of `size` bytes without zeros in front, save for the number 0 in one byte.
    fn uint(&mut self, size: usize, not_minimal: DecodeErrorKind) -> Result<usize, DecodeErrorKind> {
        let available = self.rest.len();
        let Some((bytes, rest)) = self.rest.split_at_checked(size) else {
            return Err(DecodeErrorKind::Truncated { needed: size, available });
        };
        match bytes {
            [] => return Err(not_minimal),
            [0, _, ..] => return Err(not_minimal),
            _ if size > size_of::<u64>() => return Err(DecodeErrorKind::TooLarge),
            _ => self.rest = rest,
        }
        let number = bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| DecodeErrorKind::TooLarge)
    }
}

/// Whether all characters are printable ASCII, `20` to `7e`.
#[inline]
pub(crate) fn is_text(text: &str) -> bool {
    text.bytes().fold(true, |good, byte| good & (byte.wrapping_sub(0x20) < 0x5f))
}
