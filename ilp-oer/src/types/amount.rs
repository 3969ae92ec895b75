//! Amounts of money.

use super::text_serde::text_serde;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// An amount in base units of the ledger or account it belongs to, 0 to 2^64 − 1 (`UInt64` in IL-RFC 3).
///
/// There is no arithmetic on purpose: whoever computes says what happens on overflow. As text it is decimal, since JSON numbers
/// lose digits above 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount on the wire.
    pub const MAX: Self = Self(u64::MAX);

    /// An amount of so many base units.
    #[inline]
    pub const fn new(units: u64) -> Self {
        Self(units)
    }

    /// The base units.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Amount {
    #[inline]
    fn from(units: u64) -> Self {
        Self(units)
    }
}

impl From<Amount> for u64 {
    #[inline]
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads decimal digits: no sign, no blanks, no zeros in front.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let padded = text.len() > 1 && text.starts_with('0');
        if padded || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidAmount);
        }
        text.parse().map(Self).map_err(|_| InvalidAmount)
    }
}

text_serde!(Amount, "an amount as decimal text");

/// Text that is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a decimal number from 0 to 18446744073709551615")]
pub struct InvalidAmount;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_text_is_plain_decimal() {
        for (text, units) in [("0", 0), ("7", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(text.parse(), Ok(Amount::new(units)));
            assert_eq!(Amount::new(units).to_string(), text);
        }
        for text in ["", "+1", "-1", "01", "00", " 1", "1 ", "1.0", "1e3", "0x1", "18446744073709551616", "١"] {
            assert_eq!(text.parse::<Amount>(), Err(InvalidAmount), "{text:?}");
        }
    }

    #[test]
    fn amount_in_json_is_text_not_a_number() {
        assert_eq!(serde_json::to_string(&Amount::MAX).unwrap(), "\"18446744073709551615\"");
        assert_eq!(serde_json::from_str::<Amount>("\"5\"").unwrap(), Amount::new(5));
        assert!(serde_json::from_str::<Amount>("5").is_err());
    }
}
