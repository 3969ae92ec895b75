//! `setup`.

use super::ProtocolList;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, check_text, octets_len, put_octets, room, to_vec};
use crate::types::Addr;
use bytes::BufMut;
use std::fmt;

/// One operation of `setup`, or the answer to one. Its byte doesn't say which of the two, so there is a `decode` for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setup<'a> {
    /// 01, request: who the sender is. Not shown by `Debug`: the token.
    Authenticate {
        /// The secret.
        token: &'a [u8],
        /// The sender's account.
        account: &'a [u8],
        /// The account that the sender wants to talk to; empty for the connector itself.
        target: &'a [u8],
    },
    /// 01, answer.
    Authenticated {
        /// The address of this connection.
        address: Addr<'a>,
    },
    /// 02, request and answer: what the sender can do.
    Protocols(ProtocolList<'a>),
    /// 03, request: a ledger account is the sender's.
    VouchFor {
        /// The currency; printable ASCII.
        coin: &'a str,
        /// Which of its networks; printable ASCII.
        network: &'a str,
        /// The account there; printable ASCII.
        wallet: &'a str,
        /// Whatever the ledger takes for a proof.
        proof: &'a [u8],
    },
}

impl<'a> Setup<'a> {
    /// Reads a request that takes up all of `bytes`.
    pub fn decode_request(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let setup = match reader.u8()? {
            AUTHENTICATE => Self::Authenticate { token: reader.octets()?, account: reader.octets()?, target: reader.octets()? },
            PROTOCOLS => Self::Protocols(ProtocolList::read(&mut reader)?),
            VOUCH_FOR => Self::VouchFor { coin: reader.text()?, network: reader.text()?, wallet: reader.text()?, proof: reader.octets()? },
            other => return Err(Reader::new(bytes).error(DecodeErrorKind::UnknownType(other))),
        };
        reader.finish()?;
        Ok(setup)
    }

    /// Reads an answer that takes up all of `bytes`.
    pub fn decode_answer(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let setup = match reader.u8()? {
            AUTHENTICATE => Self::Authenticated { address: reader.address()? },
            PROTOCOLS => Self::Protocols(ProtocolList::read(&mut reader)?),
            other => return Err(Reader::new(bytes).error(DecodeErrorKind::UnknownType(other))),
        };
        reader.finish()?;
        Ok(setup)
    }

    /// Length in bytes.
    pub fn encoded_len(&self) -> usize {
        let lens = match self {
            Self::Authenticate { token, account, target } => [token.len(), account.len(), target.len()].map(octets_len),
            Self::Authenticated { address } => [octets_len(address.as_bytes().len()), 0, 0],
            Self::Protocols(list) => [list.encoded_len(), 0, 0],
            Self::VouchFor { coin, network, wallet, proof } => {
                [octets_len(coin.len()).saturating_add(octets_len(network.len())), octets_len(wallet.len()), octets_len(proof.len())]
            }
        };
        lens.into_iter().fold(1, usize::saturating_add)
    }

    /// Writes it, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        self.check()?;
        room(self.encoded_len(), out)?;
        match self {
            Self::Authenticate { token, account, target } => {
                out.put_u8(AUTHENTICATE);
                put_octets(token, out);
                put_octets(account, out);
                put_octets(target, out);
            }
            Self::Authenticated { address } => {
                out.put_u8(AUTHENTICATE);
                put_octets(address.as_bytes(), out);
            }
            Self::Protocols(list) => {
                out.put_u8(PROTOCOLS);
                list.write(out);
            }
            Self::VouchFor { coin, network, wallet, proof } => {
                out.put_u8(VOUCH_FOR);
                put_octets(coin.as_bytes(), out);
                put_octets(network.as_bytes(), out);
                put_octets(wallet.as_bytes(), out);
                put_octets(proof, out);
            }
        }
        Ok(())
    }

    /// As a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }

    fn check(&self) -> Result<(), EncodeError> {
        match self {
            Self::Authenticate { .. } | Self::Authenticated { .. } => Ok(()),
            Self::Protocols(list) => list.iter().try_for_each(|(_, name)| check_text("name", name)),
            Self::VouchFor { coin, network, wallet, .. } => {
                check_text("coin", coin)?;
                check_text("network", network)?;
                check_text("wallet", wallet)
            }
        }
    }
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticate { account, target, .. } => {
                let (account, target) = (String::from_utf8_lossy(account), String::from_utf8_lossy(target));
                f.debug_struct("Authenticate").field("account", &account).field("target", &target).finish_non_exhaustive()
            }
            Self::Authenticated { address } => f.debug_struct("Authenticated").field("address", address).finish(),
            Self::Protocols(list) => f.debug_tuple("Protocols").field(list).finish(),
            Self::VouchFor { coin, network, wallet, .. } => {
                f.debug_struct("VouchFor").field("coin", coin).field("network", network).field("wallet", wallet).finish_non_exhaustive()
            }
        }
    }
}

const AUTHENTICATE: u8 = 1;
const PROTOCOLS: u8 = 2;
const VOUCH_FOR: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authenticate_is_three_octet_strings() {
        let setup = Setup::Authenticate { token: b"secret", account: b"bob", target: b"" };
        let bytes = setup.to_vec().unwrap();
        assert_eq!(bytes, b"\x01\x06secret\x03bob\x00");
        assert_eq!(Setup::decode_request(&bytes), Ok(setup));
        assert_eq!(format!("{setup:?}"), r#"Authenticate { account: "bob", target: "", .. }"#);
        assert!(Setup::decode_request(&bytes[..bytes.len() - 1]).is_err());
        assert!(Setup::decode_answer(&bytes).is_err());
    }

    #[test]
    fn authenticated_is_an_address() {
        let setup = Setup::Authenticated { address: Addr::new("test.me.bob").unwrap() };
        let bytes = setup.to_vec().unwrap();
        assert_eq!(bytes, b"\x01\x0btest.me.bob");
        assert_eq!(Setup::decode_answer(&bytes), Ok(setup));
        assert!(Setup::decode_answer(b"\x01\x00").is_err());
    }

    #[test]
    fn protocols_are_numbers_and_names() {
        let protocols = [(1, "ilp"), (128, "transfer")];
        let setup = Setup::Protocols(ProtocolList::new(&protocols));
        let bytes = setup.to_vec().unwrap();
        assert_eq!(bytes, b"\x02\x01\x02\x01\x03ilp\x80\x08transfer");
        assert_eq!(Setup::decode_request(&bytes), Ok(setup));
        let Ok(Setup::Protocols(list)) = Setup::decode_answer(&bytes) else { panic!() };
        assert!(list.contains(128, "transfer") && !list.contains(128, "ilp"));
        assert_eq!(list.len(), 2);

        let empty = Setup::Protocols(ProtocolList::new(&[])).to_vec().unwrap();
        assert_eq!(empty, [2, 1, 0]);
        let wrong = [(1, "é")];
        assert_eq!(Setup::Protocols(ProtocolList::new(&wrong)).to_vec().unwrap_err().field, "name");
    }

    #[test]
    fn vouch_for_is_three_texts_and_a_proof() {
        let setup = Setup::VouchFor { coin: "XRP", network: "test", wallet: "rAcct", proof: &[0xff] };
        let bytes = setup.to_vec().unwrap();
        assert_eq!(bytes, b"\x03\x03XRP\x04test\x05rAcct\x01\xff");
        assert_eq!(Setup::decode_request(&bytes), Ok(setup));
        assert!(Setup::decode_answer(&bytes).is_err());
        let wrong = Setup::VouchFor { coin: "XRP", network: "", wallet: "\n", proof: &[] };
        assert_eq!(wrong.to_vec().unwrap_err().field, "wallet");
    }

    #[test]
    fn unknown_operations_and_bytes_left_over_are_refused() {
        for bytes in [&[][..], &[0], &[4], &[2, 1, 0, 0], &[2, 0], &[2, 1, 1], b"\x01\x00\x00"] {
            assert!(Setup::decode_request(bytes).is_err(), "{bytes:x?}");
            assert!(Setup::decode_answer(bytes).is_err(), "{bytes:x?}");
        }
    }
}
