//! Lists of addresses.

use crate::error::DecodeError;
use crate::oer::{Reader, count_len, octets_len, put_count, put_octets};
use crate::types::{Addr, Address};
use bytes::BufMut;
use std::fmt;

/// A borrowed list of addresses: those of a decoded packet, or a slice of owned ones.
#[derive(Clone, Copy)]
pub struct AddrList<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    /// As on the wire, without the count, all checked.
    Wire {
        count: usize,
        bytes: &'a [u8],
    },
    Owned(&'a [Address]),
}

impl<'a> AddrList<'a> {
    /// No address.
    pub const EMPTY: Self = Self(Repr::Owned(&[]));

    /// Of owned addresses.
    #[inline]
    pub const fn new(addresses: &'a [Address]) -> Self {
        Self(Repr::Owned(addresses))
    }

    /// How many.
    #[inline]
    pub const fn len(self) -> usize {
        match self.0 {
            Repr::Wire { count, .. } => count,
            Repr::Owned(addresses) => addresses.len(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All in order.
    pub fn iter(self) -> Addrs<'a> {
        Addrs(match self.0 {
            Repr::Wire { bytes, .. } => Cursor::Wire(Reader::new(bytes)),
            Repr::Owned(addresses) => Cursor::Owned(addresses.iter()),
        })
    }

    /// The first ones, as many as fit into `room` bytes with their lengths.
    pub(super) fn fitting(self, room: usize) -> Self {
        let mut left = room;
        let mut count = 0;
        for address in self.iter() {
            match left.checked_sub(octets_len(address.as_bytes().len())) {
                Some(rest) => left = rest,
                None => break,
            }
            count += 1;
        }
        match self.0 {
            Repr::Wire { bytes, .. } => Self(Repr::Wire { count, bytes: bytes.get(..room - left).unwrap_or_default() }),
            Repr::Owned(addresses) => Self(Repr::Owned(addresses.get(..count).unwrap_or_default())),
        }
    }

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.count()?;
        let bytes = reader.rest();
        for _ in 0..count {
            reader.address()?;
        }
        let len = bytes.len() - reader.rest().len();
        Ok(Self(Repr::Wire { count, bytes: bytes.get(..len).unwrap_or_default() }))
    }

    /// Length of the elements without the count.
    pub(super) fn elements_len(self) -> usize {
        match self.0 {
            Repr::Wire { bytes, .. } => bytes.len(),
            Repr::Owned(addresses) => addresses.iter().map(|address| octets_len(address.as_str().len())).sum(),
        }
    }

    /// Length with the count, and with one address more if there is one.
    #[inline]
    pub(super) fn encoded_len(self, appended: Option<Addr<'_>>) -> usize {
        let more = appended.map_or(0, |address| octets_len(address.as_bytes().len()));
        let count = self.len().saturating_add(usize::from(appended.is_some()));
        self.elements_len().saturating_add(count_len(count)).saturating_add(more)
    }

    #[inline]
    pub(super) fn write(self, appended: Option<Addr<'_>>, out: &mut impl BufMut) {
        put_count(self.len().saturating_add(usize::from(appended.is_some())), out);
        match self.0 {
            Repr::Wire { bytes, .. } => out.put_slice(bytes),
            Repr::Owned(addresses) => {
                for address in addresses {
                    put_octets(address.as_str().as_bytes(), out);
                }
            }
        }
        if let Some(address) = appended {
            put_octets(address.as_bytes(), out);
        }
    }
}

impl Default for AddrList<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> From<&'a [Address]> for AddrList<'a> {
    fn from(addresses: &'a [Address]) -> Self {
        Self::new(addresses)
    }
}

impl<'a> IntoIterator for AddrList<'a> {
    type Item = Addr<'a>;
    type IntoIter = Addrs<'a>;

    fn into_iter(self) -> Addrs<'a> {
        self.iter()
    }
}

impl PartialEq for AddrList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for AddrList<'_> {}

impl fmt::Debug for AddrList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The addresses of an [`AddrList`] in order.
#[derive(Debug, Clone)]
pub struct Addrs<'a>(Cursor<'a>);

#[derive(Debug, Clone)]
enum Cursor<'a> {
    Wire(Reader<'a>),
    Owned(std::slice::Iter<'a, Address>),
}

impl<'a> Iterator for Addrs<'a> {
    type Item = Addr<'a>;

    #[inline]
    fn next(&mut self) -> Option<Addr<'a>> {
        match &mut self.0 {
            // Checked when it was read: an error here is the end of the list and nothing else.
            Cursor::Wire(reader) => reader.octets().ok().map(Addr::from_checked),
            Cursor::Owned(addresses) => addresses.next().map(Address::as_addr),
        }
    }
}
