//! Protocol data: the entries that say what a packet is for.

use crate::error::{DecodeError, EncodeError, EncodeErrorReason};
use crate::oer::{Reader, check_text, count_len, octets_len, put_count, put_octets};
use crate::sub::names::ILP;
use bytes::BufMut;
use std::fmt;

/// The form of the entries in protocol data. It is configured or agreed on, never guessed from the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// `{protocolName, contentType, data}`, as in the published ASN.1.
    #[default]
    Named,
    /// `{protocolId, data}`.
    Seed,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Which sub-protocol.
    pub protocol: Protocol<'a>,
    /// 0 octets, 1 UTF-8 text, 2 JSON, others without meaning. Always 0 in [`Dialect::Seed`], which has no such field.
    pub content_type: u8,
    /// The sub-protocol's own bytes.
    pub data: &'a [u8],
}

/// The name or number of a sub-protocol; see [`sub::names`](crate::sub::names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol<'a> {
    /// In [`Dialect::Named`]: printable ASCII, may be empty.
    Name(&'a str),
    /// In [`Dialect::Seed`].
    Id(u8),
}

impl<'a> Entry<'a> {
    /// An entry of [`Dialect::Named`].
    #[inline]
    pub const fn named(name: &'a str, content_type: u8, data: &'a [u8]) -> Self {
        Self { protocol: Protocol::Name(name), content_type, data }
    }

    /// An entry of [`Dialect::Seed`].
    #[inline]
    pub const fn numbered(id: u8, data: &'a [u8]) -> Self {
        Self { protocol: Protocol::Id(id), content_type: 0, data }
    }
}

/// A borrowed list of entries: those of a decoded packet, or a slice of them. The first entry decides what a request is.
#[derive(Clone, Copy)]
pub struct ProtocolData<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    /// As on the wire, without the count, all checked.
    Wire {
        dialect: Dialect,
        count: usize,
        bytes: &'a [u8],
    },
    Entries {
        dialect: Dialect,
        entries: &'a [Entry<'a>],
    },
}

impl<'a> ProtocolData<'a> {
    /// No entry; the same bytes in both dialects.
    pub const EMPTY: Self = Self(Repr::Entries { dialect: Dialect::Named, entries: &[] });

    /// Of these entries. Whether they are of that dialect is checked when they are written.
    #[inline]
    pub const fn entries(dialect: Dialect, entries: &'a [Entry<'a>]) -> Self {
        Self(Repr::Entries { dialect, entries })
    }

    /// How many.
    #[inline]
    pub const fn len(self) -> usize {
        match self.0 {
            Repr::Wire { count, .. } => count,
            Repr::Entries { entries, .. } => entries.len(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The first entry.
    #[inline]
    pub fn first(self) -> Option<Entry<'a>> {
        self.iter().next()
    }

    /// All in order.
    #[inline]
    pub fn iter(self) -> Entries<'a> {
        Entries(match self.0 {
            Repr::Wire { dialect, bytes, .. } => Cursor::Wire { dialect, reader: Reader::new(bytes) },
            Repr::Entries { entries, .. } => Cursor::Entries(entries.iter()),
        })
    }

    /// Length in bytes, the count included.
    #[inline]
    pub fn encoded_len(self) -> usize {
        let entries = match self.0 {
            Repr::Wire { bytes, .. } => bytes.len(),
            Repr::Entries { entries, .. } => entries.iter().fold(0, |sum: usize, entry| sum.saturating_add(entry.encoded_len())),
        };
        entries.saturating_add(count_len(self.len()))
    }

    /// Reads what must be the last field.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, dialect: Dialect) -> Result<Self, DecodeError> {
        let count = reader.count()?;
        let bytes = reader.rest();
        for _ in 0..count {
            if dialect == Dialect::Named {
                read_name(reader)?;
            }
            // Content type or protocol number.
            reader.u8()?;
            reader.octets()?;
        }
        Ok(Self(Repr::Wire { dialect, count, bytes }))
    }

    #[inline]
    pub(super) fn check(self) -> Result<(), EncodeError> {
        match self.0 {
            Repr::Wire { .. } => Ok(()),
            Repr::Entries { dialect, entries } => entries.iter().try_for_each(|entry| entry.check(dialect)),
        }
    }

    #[inline]
    pub(super) fn write(self, out: &mut impl BufMut) {
        put_count(self.len(), out);
        match self.0 {
            Repr::Wire { bytes, .. } => out.put_slice(bytes),
            Repr::Entries { entries, .. } => entries.iter().for_each(|entry| entry.write(out)),
        }
    }
}

impl Entry<'_> {
    #[inline]
    fn encoded_len(&self) -> usize {
        let protocol = match self.protocol {
            Protocol::Name(name) => octets_len(name.len()).saturating_add(1),
            Protocol::Id(_) => 1,
        };
        octets_len(self.data.len()).saturating_add(protocol)
    }

    #[inline]
    fn check(&self, dialect: Dialect) -> Result<(), EncodeError> {
        match (dialect, self.protocol) {
            (Dialect::Named, Protocol::Name(name)) => check_text("protocol", name),
            (Dialect::Seed, Protocol::Id(_)) if self.content_type == 0 => Ok(()),
            (Dialect::Seed, Protocol::Id(_)) => Err(EncodeError { field: "content_type", reason: EncodeErrorReason::NoContentType }),
            _ => Err(EncodeError { field: "protocol", reason: EncodeErrorReason::WrongDialect }),
        }
    }

    #[inline]
    fn write(&self, out: &mut impl BufMut) {
        match self.protocol {
            Protocol::Name(name) => {
                put_octets(name.as_bytes(), out);
                out.put_u8(self.content_type);
            }
            Protocol::Id(id) => out.put_u8(id),
        }
        put_octets(self.data, out);
    }
}

impl Default for ProtocolData<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> IntoIterator for ProtocolData<'a> {
    type Item = Entry<'a>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl PartialEq for ProtocolData<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ProtocolData<'_> {}

impl fmt::Debug for ProtocolData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The entries of [`ProtocolData`] in order.
#[derive(Debug, Clone)]
pub struct Entries<'a>(Cursor<'a>);

#[derive(Debug, Clone)]
enum Cursor<'a> {
    Wire { dialect: Dialect, reader: Reader<'a> },
    Entries(std::slice::Iter<'a, Entry<'a>>),
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        match &mut self.0 {
            // Checked when it was read: an error here is the end of the list and nothing else.
            Cursor::Wire { reader, .. } if reader.is_empty() => None,
            Cursor::Wire { dialect: Dialect::Named, reader } => {
                Some(Entry::named(read_name(reader).ok()?, reader.u8().ok()?, reader.octets().ok()?))
            }
            Cursor::Wire { dialect: Dialect::Seed, reader } => Some(Entry::numbered(reader.u8().ok()?, reader.octets().ok()?)),
            Cursor::Entries(entries) => entries.next().copied(),
        }
    }
}

/// The name of a sub-protocol. Nearly always it is `ilp`, and to compare costs less than to check bytes that become text: a fifth of the
/// time it takes to read a prepare, which does it twice.
#[inline]
fn read_name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    if reader.rest().starts_with(b"\x03ilp") {
        reader.take(1 + ILP.len())?;
        return Ok(ILP);
    }
    reader.text()
}
