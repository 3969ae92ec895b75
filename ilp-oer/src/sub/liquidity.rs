//! `liquidity`.

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::oer::{Reader, room, to_vec};
use bytes::BufMut;

/// What the asker may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liquidity {
    /// `01`.
    Request,
    /// `02` and the numbers.
    Answer(LiquidityAnswer),
}

/// The state of an account, in its base units, from the side of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiquidityAnswer {
    /// What the asker may still send.
    pub available: i128,
    /// Its balance; negative if it owes.
    pub balance: i128,
    /// How far the balance may go below zero.
    pub credit_limit: i128,
    /// Held for transfers that aren't decided.
    pub held: i128,
    /// The smallest amount that is taken in one packet.
    pub min_packet: u64,
    /// The largest.
    pub max_packet: u64,
}

impl Liquidity {
    /// Reads all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let liquidity = match reader.u8()? {
            1 => Self::Request,
            2 => Self::Answer(LiquidityAnswer {
                available: reader.i128()?,
                balance: reader.i128()?,
                credit_limit: reader.i128()?,
                held: reader.i128()?,
                min_packet: reader.u64()?,
                max_packet: reader.u64()?,
            }),
            other => return Err(Reader::new(bytes).error(DecodeErrorKind::UnknownType(other))),
        };
        reader.finish()?;
        Ok(liquidity)
    }

    /// Length in bytes.
    pub const fn encoded_len(&self) -> usize {
        match self {
            Self::Request => 1,
            Self::Answer(_) => 1 + 4 * 16 + 2 * 8,
        }
    }

    /// Writes it, or nothing.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        room(self.encoded_len(), out)?;
        match self {
            Self::Request => out.put_u8(1),
            Self::Answer(answer) => {
                out.put_u8(2);
                out.put_i128(answer.available);
                out.put_i128(answer.balance);
                out.put_i128(answer.credit_limit);
                out.put_i128(answer.held);
                out.put_u64(answer.min_packet);
                out.put_u64(answer.max_packet);
            }
        }
        Ok(())
    }

    /// As a vector of just its size.
    pub fn to_vec(&self) -> Result<Vec<u8>, EncodeError> {
        to_vec(self.encoded_len(), |out| self.encode(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liquidity_is_a_call_or_six_numbers() {
        assert_eq!(Liquidity::decode(&[1]), Ok(Liquidity::Request));
        let answer = Liquidity::Answer(LiquidityAnswer {
            available: i128::MAX,
            balance: -1,
            credit_limit: i128::MIN,
            held: 0,
            min_packet: 1,
            max_packet: u64::MAX,
        });
        let bytes = answer.to_vec().unwrap();
        assert_eq!(bytes.len(), 81);
        assert_eq!(Liquidity::decode(&bytes), Ok(answer));
        for len in 0..81 {
            assert!(Liquidity::decode(&bytes[..len]).is_err());
        }
        assert!(Liquidity::decode(&[1, 0]).is_err());
        assert!(Liquidity::decode(&[0]).is_err());
    }
}
