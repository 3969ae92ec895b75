//! The codes of ILP errors.

use super::text_serde::text_serde;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The code of an ILP error: three printable ASCII characters, the first its class (IL-RFC 3).
///
/// `F` is final, `T` temporary, `R` a matter of rates or times that the sender may try again with others. Others travel as they
/// are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode([u8; 3]);

/// Declares the known codes and the names that go with them.
macro_rules! codes {
    ($($constant:ident $code:literal $name:literal;)*) => {
        impl ErrorCode {
            $(#[doc = concat!("`", stringify!($code), "` ", $name, ".")]
            pub const $constant: Self = Self(*$code);)*

            /// The name that belongs to a known code, such as `Bad Request`.
            pub const fn name(&self) -> Option<&'static str> {
                match &self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    F00_BAD_REQUEST b"F00" "Bad Request";
    F01_INVALID_PACKET b"F01" "Invalid Packet";
    F02_UNREACHABLE b"F02" "Unreachable";
    F03_INVALID_AMOUNT b"F03" "Invalid Amount";
    F04_INSUFFICIENT_DESTINATION_AMOUNT b"F04" "Insufficient Destination Amount";
    F05_WRONG_CONDITION b"F05" "Wrong Condition";
    F06_UNEXPECTED_PAYMENT b"F06" "Unexpected Payment";
    F07_CANNOT_RECEIVE b"F07" "Cannot Receive";
    F99_APPLICATION_ERROR b"F99" "Application Error";
    T00_INTERNAL_ERROR b"T00" "Internal Error";
    T01_LEDGER_UNREACHABLE b"T01" "Ledger Unreachable";
    T02_LEDGER_BUSY b"T02" "Ledger Busy";
    T03_CONNECTOR_BUSY b"T03" "Connector Busy";
    T04_INSUFFICIENT_LIQUIDITY b"T04" "Insufficient Liquidity";
    T05_RATE_LIMITED b"T05" "Rate Limited";
    T99_APPLICATION_ERROR b"T99" "Application Error";
    R00_TRANSFER_TIMED_OUT b"R00" "Transfer Timed Out";
    R01_INSUFFICIENT_SOURCE_AMOUNT b"R01" "Insufficient Source Amount";
    R02_INSUFFICIENT_TIMEOUT b"R02" "Insufficient Timeout";
    R99_APPLICATION_ERROR b"R99" "Application Error";
    L01_BALANCE_LOWER_THAN_AMOUNT b"L01" "Balance Lower Than Amount";
    L02_EMPTY_MESSAGE b"L02" "Empty Message";
    L03_UNSUPPORTED_PROTOCOL b"L03" "First Protocol Unsupported";
    L53_NOT_VOUCHED_FOR b"L53" "Wallet Not Vouched For";
    P01_UNKNOWN_CALL b"P01" "Unknown Call Id";
}

impl ErrorCode {
    /// A code of three printable ASCII characters.
    #[inline]
    pub const fn new(code: [u8; 3]) -> Result<Self, InvalidErrorCode> {
        let [a, b, c] = code;
        match (a, b, c) {
            (0x20..=0x7e, 0x20..=0x7e, 0x20..=0x7e) => Ok(Self(code)),
            _ => Err(InvalidErrorCode),
        }
    }

    /// The three characters.
    pub fn as_str(&self) -> &str {
        // Printable ASCII since construction, so the default is never taken.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The three characters as bytes.
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; 3] {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({})", self.as_str())
    }
}

impl FromStr for ErrorCode {
    type Err = InvalidErrorCode;

    fn from_str(text: &str) -> Result<Self, InvalidErrorCode> {
        let code = text.as_bytes().try_into().map_err(|_| InvalidErrorCode)?;
        Self::new(code)
    }
}

text_serde!(ErrorCode, "an error code of three characters");

/// Not an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("error code is not three printable ASCII characters")]
pub struct InvalidErrorCode;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_three_printable_characters() {
        assert_eq!("F02".parse(), Ok(ErrorCode::F02_UNREACHABLE));
        assert_eq!(ErrorCode::F02_UNREACHABLE.name(), Some("Unreachable"));
        assert_eq!("X17".parse::<ErrorCode>().unwrap().name(), None);
        for text in ["", "F0", "F000", "F0\n", "F0\x7f", "Fé"] {
            assert_eq!(text.parse::<ErrorCode>(), Err(InvalidErrorCode), "{text:?}");
        }
    }
}
