//! Protocol data and ILP errors that own their bytes.

use bytes::Bytes;
use ilp_oer::clp::{Body, Dialect, Entry, Packet, Protocol, ProtocolData, RejectionReason};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::oer::Reader;
use ilp_oer::{Addr, Address, DecodeError, EncodeError, ErrorCode, Timestamp};
use std::fmt::{self, Debug, Display};

/// Protocol data as it is on the wire, checked: a list of entries, of which the first says what a request is.
///
/// Cheap to clone. What came from a peer shares the memory of everything that was read with it; keep a [detached](Self::detached)
/// copy if it is kept for long.
#[derive(Clone, PartialEq, Eq)]
pub struct ProtocolBuffer {
    dialect: Dialect,
    wire: Bytes,
}

impl ProtocolBuffer {
    /// No entries: the same bytes in both dialects.
    pub const EMPTY: Self = Self { dialect: Dialect::Named, wire: Bytes::from_static(NO_ENTRIES) };

    /// Writes `entries` down.
    ///
    /// # Errors
    /// If an entry can't be written in this dialect, or is too long.
    pub fn new(dialect: Dialect, entries: &[Entry<'_>]) -> Result<Self, EncodeError> {
        let data = ProtocolData::entries(dialect, entries);
        let packet = Packet { request_id: 0, body: Body::Message(data) }.to_vec()?;
        Ok(Self { dialect, wire: tail(&packet.into(), data.encoded_len()) })
    }

    /// One entry of octets; a name makes it the named dialect, a number the seed's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn one(protocol: Protocol<'_>, data: &[u8]) -> Result<Self, EncodeError> {
        let dialect = match protocol {
            Protocol::Name(_) => Dialect::Named,
            Protocol::Id(_) => Dialect::Seed,
        };
        Self::new(dialect, &[Entry { protocol, content_type: 0, data }])
    }

    /// Checks bytes that somebody else wrote.
    ///
    /// # Errors
    /// If they aren't exactly one list of entries in this dialect.
    pub fn from_wire(dialect: Dialect, wire: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&wire);
        for _ in 0..reader.count()? {
            read_entry(&mut reader, dialect)?;
        }
        reader.finish()?;
        Ok(Self { dialect, wire })
    }

    /// A part of a frame that was decoded just now: its end, because protocol data is the last field of every packet.
    pub(crate) fn checked(dialect: Dialect, frame: &Bytes, data: ProtocolData<'_>) -> Self {
        if data.is_empty() { Self::EMPTY } else { Self { dialect, wire: tail(frame, data.encoded_len()) } }
    }

    /// The form of its entries; without meaning when there are none.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it can be sent in this dialect.
    pub fn suits(&self, dialect: Dialect) -> bool {
        self.is_empty() || self.dialect == dialect
    }

    /// The bytes on the wire.
    pub fn as_bytes(&self) -> &Bytes {
        &self.wire
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.wire.as_ref() == NO_ENTRIES
    }

    /// The entries.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut reader = Reader::new(&self.wire);
        let count = reader.count().unwrap_or(0);
        (0..count).map_while(|_| read_entry(&mut reader, self.dialect).ok()).collect()
    }

    /// The entry that says what a request is.
    pub fn first(&self) -> Option<Entry<'_>> {
        let mut reader = Reader::new(&self.wire);
        if reader.count().ok()? == 0 { None } else { read_entry(&mut reader, self.dialect).ok() }
    }

    /// The octets of the first entry, sharing this buffer's memory; empty if there is no entry.
    pub fn first_data(&self) -> Bytes {
        self.first().map_or_else(Bytes::new, |entry| self.wire.slice_ref(entry.data))
    }

    /// A copy that shares no memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        if self.is_empty() { Self::EMPTY } else { Self { dialect: self.dialect, wire: Bytes::copy_from_slice(&self.wire) } }
    }
}

impl Default for ProtocolBuffer {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Debug for ProtocolBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

/// A whole ILP error packet (IL-RFC 3 of 2017, type 8): what a CLP Error or Reject gives as its reason.
#[derive(Clone, PartialEq, Eq)]
pub struct InterledgerError(Bytes);

impl InterledgerError {
    /// An error that starts here. `data` is for people to read and is cut at 1024 bytes.
    ///
    /// # Errors
    /// If `name` holds what can't be written.
    pub fn new(code: ErrorCode, name: &str, by: Addr<'_>, at: Timestamp, data: &[u8]) -> Result<Self, EncodeError> {
        let data = data.get(..data.len().min(DATA_BYTES_MAX)).unwrap_or_default();
        let packet = ErrorPacket { code, name, triggered_by: by, forwarded_by: AddrList::EMPTY, triggered_at: at, data };
        Ok(Self(packet.to_vec()?.into()))
    }

    /// An error of ours, with its code's own name.
    pub(crate) fn ours(code: ErrorCode, by: &Address, at: Timestamp, text: &str) -> Self {
        // Can't fail: the name is the code's own, and the text is cut.
        Self::new(code, code.name().unwrap_or("Error"), by.as_addr(), at, text.as_bytes()).unwrap_or_else(|_| Self(Bytes::new()))
    }

    /// Checks bytes that somebody else wrote.
    ///
    /// # Errors
    /// If they aren't exactly one error packet.
    pub fn from_bytes(packet: Bytes) -> Result<Self, DecodeError> {
        ErrorPacket::decode(&packet)?;
        Ok(Self(packet))
    }

    /// A part of a frame that was decoded just now.
    pub(crate) fn checked(frame: &Bytes, reason: RejectionReason<'_>) -> Self {
        Self(reason.as_bytes().map_or_else(Bytes::new, |bytes| frame.slice_ref(bytes)))
    }

    /// Its fields; `None` never happens for a value made by this type's constructors.
    pub fn packet(&self) -> Option<ErrorPacket<'_>> {
        ErrorPacket::decode(&self.0).ok()
    }

    /// As it goes into an Error or a Reject.
    pub(crate) fn reason(&self) -> Option<RejectionReason<'_>> {
        RejectionReason::from_bytes(&self.0).ok()
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.packet().map_or(ErrorCode::F00_BAD_REQUEST, |packet| packet.code)
    }

    /// The packet.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Debug for InterledgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.packet(), f)
    }
}

impl Display for InterledgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(packet) = self.packet() else { return f.write_str("error") };
        write!(f, "{} {}", packet.code, packet.name)?;
        if !packet.data.is_empty() {
            write!(f, ": {}", String::from_utf8_lossy(packet.data))?;
        }
        Ok(())
    }
}

fn tail(bytes: &Bytes, len: usize) -> Bytes {
    bytes.slice(bytes.len().saturating_sub(len)..)
}

fn read_entry<'a>(reader: &mut Reader<'a>, dialect: Dialect) -> Result<Entry<'a>, DecodeError> {
    Ok(match dialect {
        Dialect::Named => Entry::named(reader.text()?, reader.u8()?, reader.octets()?),
        Dialect::Seed => Entry::numbered(reader.u8()?, reader.octets()?),
    })
}

const NO_ENTRIES: &[u8] = &[1, 0];
const DATA_BYTES_MAX: usize = 1024;
