//! `info`, `balance` and `vouch` of 2017.

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, length_2017_len, put_length_2017, room, to_vec};
use crate::types::Addr;
use bytes::BufMut;

/// Which address the asker has on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Info<'a> {
    /// `00`.
    Request,
    /// `02`, length, the address without a dot at its end.
    Answer(Addr<'a>),
}

/// What the answerer owes the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// `00`.
    Request,
    /// `02 08` and the amount in the account's base units.
    Answer(u64),
}

/// A claim about a ledger account: the kind's byte, length, the ledger's prefix and the account in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vouch<'a> {
    /// What is claimed.
    pub kind: VouchKind,
    /// Which account.
    pub address: Addr<'a>,
}

/// What a [`Vouch`] claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VouchKind {
    /// 1: what this account does on its ledger is done in the sender's name.
    For,
    /// 2: the sender can be paid there.
    ReachMeAt,
    /// 3: takes a vouch back.
    RollBack,
}

impl<'a> Info<'a> {
    /// Reads all of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let info = match reader.u8()? {
            CALL => Self::Request,
            ANSWER => Self::Answer(read_address(&mut reader)?),
            other => return Err(Reader::new(bytes).error(DecodeErrorKind::UnknownType(other))),
        };
        reader.finish()?;
        Ok(info)
    }

    /// Length in bytes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Request => 1,
            Self::Answer(address) => 1 + address_len(*address),
        }
    }

    /// Writes it, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        room(self.encoded_len(), out)?;
        match self {
            Self::Request => out.put_u8(CALL),
            Self::Answer(address) => {
                out.put_u8(ANSWER);
                put_address(*address, out);
            }
        }
        Ok(())
    }

    /// As a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }
}

impl Balance {
    /// Reads all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let balance = match reader.u8()? {
            CALL => Self::Request,
            ANSWER => {
                let start = reader.clone();
                match reader.u8()? {
                    8 => Self::Answer(reader.u64()?),
                    found => return Err(start.error(DecodeErrorKind::WrongType { expected: 8, found })),
                }
            }
            other => return Err(Reader::new(bytes).error(DecodeErrorKind::UnknownType(other))),
        };
        reader.finish()?;
        Ok(balance)
    }

    /// Length in bytes.
    pub const fn encoded_len(&self) -> usize {
        match self {
            Self::Request => 1,
            Self::Answer(_) => 10,
        }
    }

    /// Writes it, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        room(self.encoded_len(), out)?;
        match self {
            Self::Request => out.put_u8(CALL),
            Self::Answer(amount) => {
                out.put_slice(&[ANSWER, 8]);
                out.put_u64(*amount);
            }
        }
        Ok(())
    }

    /// As a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }
}

impl<'a> Vouch<'a> {
    /// Reads all of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = match reader.u8()? {
            1 => VouchKind::For,
            2 => VouchKind::ReachMeAt,
            3 => VouchKind::RollBack,
            other => return Err(Reader::new(bytes).error(DecodeErrorKind::UnknownType(other))),
        };
        let address = read_address(&mut reader)?;
        reader.finish()?;
        Ok(Self { kind, address })
    }

    /// Length in bytes.
    pub fn encoded_len(&self) -> usize {
        1 + address_len(self.address)
    }

    /// Writes it, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        room(self.encoded_len(), out)?;
        out.put_u8(match self.kind {
            VouchKind::For => 1,
            VouchKind::ReachMeAt => 2,
            VouchKind::RollBack => 3,
        });
        put_address(self.address, out);
        Ok(())
    }

    /// As a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }
}

const CALL: u8 = 0;
const ANSWER: u8 = 2;

fn read_address<'a>(reader: &mut Reader<'a>) -> Result<Addr<'a>, DecodeError> {
    let start = reader.clone();
    let len = reader.length_2017()?;
    let octets = reader.take(len)?;
    Addr::from_bytes(octets).map_err(|error| start.error(error))
}

fn address_len(address: Addr<'_>) -> usize {
    let len = address.as_bytes().len();
    length_2017_len(len).saturating_add(len)
}

fn put_address(address: Addr<'_>, out: &mut impl BufMut) {
    put_length_2017(address.as_bytes().len(), out);
    out.put_slice(address.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_a_call_or_an_address() {
        assert_eq!(Info::decode(&[0]), Ok(Info::Request));
        let long = "a".repeat(153);
        for (text, head) in [("a.b", &[2, 3][..]), (&long, &[2, 0x82, 0, 0x99])] {
            let info = Info::Answer(Addr::new(text).unwrap());
            let bytes = [head, text.as_bytes()].concat();
            assert_eq!(info.to_vec().unwrap(), bytes);
            assert_eq!(Info::decode(&bytes), Ok(info));
        }
        let canonical = [&[2, 0x81, 0x99][..], long.as_bytes()].concat();
        assert_eq!(Info::decode(&canonical), Ok(Info::Answer(Addr::new(&long).unwrap())));
        for bytes in [&[][..], &[1], &[0, 0], &[2], &[2, 0], &[2, 1, b' '], &[2, 1, b'a', 0], &[2, 0x82, 0, 1, b'a']] {
            assert!(Info::decode(bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn balance_is_a_call_or_eight_bytes() {
        assert_eq!(Balance::decode(&[0]), Ok(Balance::Request));
        let answer = Balance::Answer(258).to_vec().unwrap();
        assert_eq!(answer, [2, 8, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Balance::decode(&answer), Ok(Balance::Answer(258)));
        for bytes in [&[][..], &[1], &[0, 0], &[2, 8, 1], &[2, 1, 1], &[2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(Balance::decode(bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn vouch_has_three_kinds() {
        for (byte, kind) in [(1, VouchKind::For), (2, VouchKind::ReachMeAt), (3, VouchKind::RollBack)] {
            let vouch = Vouch { kind, address: Addr::new("g.a").unwrap() };
            let bytes = [byte, 3, b'g', b'.', b'a'];
            assert_eq!(vouch.to_vec().unwrap(), bytes);
            assert_eq!(Vouch::decode(&bytes), Ok(vouch));
        }
        for bytes in [&[][..], &[0, 1, b'a'], &[4, 1, b'a'], &[1], &[1, 0], &[1, 1, b'a', 0]] {
            assert!(Vouch::decode(bytes).is_err(), "{bytes:x?}");
        }
    }
}
