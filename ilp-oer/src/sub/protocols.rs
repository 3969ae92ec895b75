//! The list of protocols in `setup` 02.

use crate::error::DecodeError;
use crate::oer::{Reader, count_len, octets_len, put_count, put_octets};
use bytes::BufMut;
use std::fmt;

/// A borrowed list of (number, name) of sub-protocols.
#[derive(Clone, Copy)]
pub struct ProtocolList<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    /// As on the wire, without the count, all checked.
    Wire {
        count: usize,
        bytes: &'a [u8],
    },
    Slice(&'a [(u8, &'a str)]),
}

impl<'a> ProtocolList<'a> {
    /// Of these; names are printable ASCII.
    pub const fn new(protocols: &'a [(u8, &'a str)]) -> Self {
        Self(Repr::Slice(protocols))
    }

    /// How many.
    pub const fn len(self) -> usize {
        match self.0 {
            Repr::Wire { count, .. } => count,
            Repr::Slice(protocols) => protocols.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All in order.
    pub fn iter(self) -> ProtocolNumbers<'a> {
        ProtocolNumbers(match self.0 {
            Repr::Wire { bytes, .. } => Cursor::Wire(Reader::new(bytes)),
            Repr::Slice(protocols) => Cursor::Slice(protocols.iter()),
        })
    }

    /// Whether that number stands there under that name.
    pub fn contains(self, number: u8, name: &str) -> bool {
        self.iter().any(|protocol| protocol == (number, name))
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.count()?;
        let bytes = reader.rest();
        for _ in 0..count {
            reader.u8()?;
            reader.text()?;
        }
        let len = bytes.len() - reader.rest().len();
        Ok(Self(Repr::Wire { count, bytes: bytes.get(..len).unwrap_or_default() }))
    }

    pub(super) fn encoded_len(self) -> usize {
        self.iter().fold(count_len(self.len()), |sum, (_, name)| sum.saturating_add(1 + octets_len(name.len())))
    }

    pub(super) fn write(self, out: &mut impl BufMut) {
        put_count(self.len(), out);
        for (number, name) in self {
            out.put_u8(number);
            put_octets(name.as_bytes(), out);
        }
    }
}

impl<'a> IntoIterator for ProtocolList<'a> {
    type Item = (u8, &'a str);
    type IntoIter = ProtocolNumbers<'a>;

    fn into_iter(self) -> ProtocolNumbers<'a> {
        self.iter()
    }
}

impl PartialEq for ProtocolList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ProtocolList<'_> {}

impl fmt::Debug for ProtocolList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The numbers and names of a [`ProtocolList`] in order.
#[derive(Debug, Clone)]
pub struct ProtocolNumbers<'a>(Cursor<'a>);

#[derive(Debug, Clone)]
enum Cursor<'a> {
    Wire(Reader<'a>),
    Slice(std::slice::Iter<'a, (u8, &'a str)>),
}

impl<'a> Iterator for ProtocolNumbers<'a> {
    type Item = (u8, &'a str);

    fn next(&mut self) -> Option<(u8, &'a str)> {
        match &mut self.0 {
            // Checked when it was read: an error here is the end of the list and nothing else.
            Cursor::Wire(reader) => Some((reader.u8().ok()?, str::from_utf8(reader.octets().ok()?).ok()?)),
            Cursor::Slice(protocols) => protocols.next().copied(),
        }
    }
}
