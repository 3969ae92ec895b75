//! Type 8.

use super::{AddrList, PacketType};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, check_max, check_text, octets_len, put_length, put_octets, put_timestamp, room, to_vec};
use crate::types::{Addr, ErrorCode, Timestamp};
use bytes::BufMut;

/// Why a payment or a quote failed (`InterledgerProtocolError`, IL-RFC 3).
///
/// The ASN.1 ends with `data`, but 2017's encoders write one byte `00` after it. So does this one; both are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorPacket<'a> {
    /// What programs go by.
    pub code: ErrorCode,
    /// The name that belongs to the code; printable ASCII.
    pub name: &'a str,
    /// Who made the error.
    pub triggered_by: Addr<'a>,
    /// The connectors that passed it on, the first one first.
    pub forwarded_by: AddrList<'a>,
    /// When it was made.
    pub triggered_at: Timestamp,
    /// More about it; at most [`DATA_MAX`](Self::DATA_MAX) bytes.
    pub data: &'a [u8],
}

impl<'a> ErrorPacket<'a> {
    /// The longest `data`, in bytes.
    pub const DATA_MAX: usize = 8192;
    /// The longest contents that peers of 2017 can read, in bytes.
    pub const SHORT_CONTENTS_MAX: usize = 127;

    /// Reads one error packet that takes up all of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let packet = Self::read_packet(&mut reader)?;
        reader.finish()?;
        Ok(packet)
    }

    /// Length of the whole packet in bytes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        self.len_with(None)
    }

    /// Writes the whole packet, or nothing.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.encode_with(None, out)
    }

    /// The whole packet as a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }

    /// Length in bytes of what [`encode_forwarded`](Self::encode_forwarded) writes.
    pub fn forwarded_len(&self, by: Addr<'_>) -> usize {
        self.len_with(Some(by))
    }

    /// Writes the same error with `by` added at the end of `forwarded_by`, as a connector does that passes it on.
    pub fn encode_forwarded(&self, by: Addr<'_>, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.encode_with(Some(by), out)
    }

    /// This error in a form that peers of 2017 can read: contents of at most [`SHORT_CONTENTS_MAX`](Self::SHORT_CONTENTS_MAX)
    /// bytes. One that is short already stays as it is. Otherwise the data go, the name is cut, `triggered_by` is cut to its
    /// first segments, and of `forwarded_by` the first ones stay that have room.
    #[must_use]
    pub fn shortened(&self) -> Self {
        if self.contents_len(None) <= Self::SHORT_CONTENTS_MAX {
            return *self;
        }
        let name = self.name.get(..SHORT_NAME_MAX).unwrap_or(self.name);
        let triggered_by = self.triggered_by.cut(SHORT_ADDRESS_MAX);
        let mut short = Self { name, triggered_by, forwarded_by: AddrList::EMPTY, data: &[], ..*self };
        let room = Self::SHORT_CONTENTS_MAX.saturating_sub(short.contents_len(None));
        short.forwarded_by = self.forwarded_by.fitting(room);
        short
    }

    /// Reads one error packet, type byte included, from the front.
    #[inline]
    pub(crate) fn read_packet(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.clone();
        let (expected, found) = (PacketType::Error.to_byte(), reader.u8()?);
        if found != expected {
            return Err(start.error(DecodeErrorKind::WrongType { expected, found }));
        }
        let mut contents = reader.nested()?;
        let packet = Self::read(&mut contents)?;
        contents.finish()?;
        Ok(packet)
    }

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.clone();
        let packet = Self {
            code: ErrorCode::new(reader.array()?).map_err(|error| start.error(error))?,
            name: reader.text()?,
            triggered_by: reader.address()?,
            forwarded_by: AddrList::read(reader)?,
            triggered_at: reader.timestamp()?,
            data: reader.octets_max(Self::DATA_MAX)?,
        };
        if !reader.is_empty() {
            reader.no_extensions()?;
        }
        Ok(packet)
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        check_text("name", self.name)?;
        check_max("data", self.data, Self::DATA_MAX)
    }

    #[inline]
    pub(super) fn contents_len(&self, by: Option<Addr<'_>>) -> usize {
        let texts = octets_len(self.name.len()).saturating_add(octets_len(self.triggered_by.as_bytes().len()));
        let lists = self.forwarded_by.encoded_len(by).saturating_add(octets_len(self.data.len()));
        texts.saturating_add(lists).saturating_add(3 + octets_len(Timestamp::WIRE_LEN) + 1)
    }

    /// Writes the whole packet without looking whether it may be written.
    #[inline]
    pub(crate) fn write_packet(&self, by: Option<Addr<'_>>, out: &mut impl BufMut) {
        out.put_u8(PacketType::Error.to_byte());
        put_length(self.contents_len(by), out);
        self.write(by, out);
    }

    #[inline]
    pub(super) fn write(&self, by: Option<Addr<'_>>, out: &mut impl BufMut) {
        out.put_slice(self.code.as_bytes());
        put_octets(self.name.as_bytes(), out);
        put_octets(self.triggered_by.as_bytes(), out);
        self.forwarded_by.write(by, out);
        put_timestamp(self.triggered_at, out);
        put_octets(self.data, out);
        out.put_u8(0);
    }

    #[inline]
    fn len_with(&self, by: Option<Addr<'_>>) -> usize {
        octets_len(self.contents_len(by)).saturating_add(1)
    }

    #[inline]
    fn encode_with(&self, by: Option<Addr<'_>>, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.check()?;
        room(self.len_with(by), out)?;
        self.write_packet(by, out);
        Ok(())
    }
}

/// Holds all the known names.
const SHORT_NAME_MAX: usize = 32;
/// With the longest name and no other address, contents of 29 + 32 + 64 bytes.
const SHORT_ADDRESS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Address;

    fn error<'a>(name: &'a str, by: &'a Address, forwarded_by: &'a [Address], data: &'a [u8]) -> ErrorPacket<'a> {
        ErrorPacket {
            code: ErrorCode::F02_UNREACHABLE,
            name,
            triggered_by: by.as_addr(),
            forwarded_by: AddrList::new(forwarded_by),
            triggered_at: Timestamp::MIN,
            data,
        }
    }

    #[test]
    fn forwarding_adds_one_address_and_changes_nothing_else() {
        let (by, me) = (Address::new("test.a").unwrap(), Address::new("test.me").unwrap());
        let before = vec![by.clone(); 255];
        for count in [0, 1, 255] {
            let original = error("Unreachable", &by, &before[..count], b"x");
            let mut out = Vec::new();
            original.encode_forwarded(me.as_addr(), &mut out).unwrap();
            assert_eq!(out.len(), original.forwarded_len(me.as_addr()));
            let forwarded = ErrorPacket::decode(&out).unwrap();
            assert_eq!(forwarded.forwarded_by.iter().last(), Some(me.as_addr()));
            assert_eq!(forwarded.forwarded_by.len(), count + 1);
            assert_eq!(ErrorPacket { forwarded_by: original.forwarded_by, ..forwarded }, original);
        }
    }

    #[test]
    fn a_shortened_error_has_contents_below_128_bytes() {
        let long = Address::new(format!("test.{}", "bob.".repeat(200))).unwrap();
        let other = Address::new("x".repeat(1023)).unwrap();
        let name = "n".repeat(300);
        let forwarded = [Address::new("test.a").unwrap(), long.clone(), other.clone()];
        for by in [&long, &other] {
            for name in [&name, "Unreachable", ""] {
                let original = error(name, by, &forwarded, &[1; 8192]);
                let short = original.shortened();
                assert!(short.contents_len(None) <= 127);
                let bytes = short.to_vec().unwrap();
                assert_eq!(ErrorPacket::decode(&bytes).unwrap(), short);
                let bytes = original.to_vec().unwrap();
                assert_eq!(ErrorPacket::decode(&bytes).unwrap().shortened(), short);
                assert_eq!(short.shortened(), short);
            }
        }
    }

    #[test]
    fn a_short_error_is_not_shortened() {
        let by = Address::new("test.a").unwrap();
        let forwarded = [by.clone()];
        let fits = [7; 127 - 29 - 11 - 6 - 7];
        let original = error("Unreachable", &by, &forwarded, &fits);
        assert_eq!(original.contents_len(None), 127);
        assert_eq!(original.shortened(), original);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_output_alone() {
        let by = Address::new("test.a").unwrap();
        let mut out = Vec::new();
        assert_eq!(error("naïve", &by, &[], b"").encode(&mut out).unwrap_err().field, "name");
        assert_eq!(error("", &by, &[], &[0; 8193]).encode(&mut out).unwrap_err().field, "data");
        assert!(out.is_empty());

        let packet = error("", &by, &[], b"");
        let mut short = vec![0xee; packet.encoded_len() - 1];
        assert_eq!(packet.encode(&mut &mut short[..]).unwrap_err().field, "out");
        assert!(short.iter().all(|byte| *byte == 0xee));
    }
}
