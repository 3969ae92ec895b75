//! Hex to JSON.

use super::Format;
use ilp_oer::clp::Extensions;
use ilp_oer::value::{ClpValue, IlpValue, NamedEntry, SeedEntry};
use ilp_oer::{DecodeError, ilp};
use serde::Serialize;

/// A line that is no packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
    /// Where, in bytes of the packet.
    pub offset: usize,
}

impl Failure {
    pub(super) fn line_too_long() -> Self {
        Self { error: "line too long".to_owned(), offset: 0 }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self { error: error.kind.to_string(), offset: error.offset }
    }
}

/// Appends the value of the packet in `line` to `out`. `bytes` is room to work in.
pub fn line(format: Format, line: &[u8], bytes: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
    unhex(line, bytes)?;
    match format {
        Format::Clp => write(&ClpValue::<NamedEntry>::decode(bytes, Extensions::NONE)?, out),
        Format::ClpSeed => write(&ClpValue::<SeedEntry>::decode(bytes, Extensions::NONE)?, out),
        Format::ClpExt => write(&ClpValue::<NamedEntry>::decode(bytes, Extensions::ALL)?, out),
        Format::Ilp => {
            let value = IlpValue::try_from(ilp::Packet::decode(bytes)?);
            write(&value.map_err(|error| Failure { error: error.to_string(), offset: 0 })?, out)
        }
    }
}

fn unhex(line: &[u8], bytes: &mut Vec<u8>) -> Result<(), Failure> {
    if line.is_empty() {
        return Err(Failure { error: "empty line".to_owned(), offset: 0 });
    }
    bytes.clear();
    bytes.resize(line.len() / 2, 0);
    // A bad character is worth more to know than that their number is odd.
    let (pairs, half) = line.split_at(bytes.len().saturating_mul(2));
    match hex::decode_to_slice(pairs, bytes) {
        Ok(()) if half.is_empty() => Ok(()),
        Ok(()) => Err(Failure { error: "odd number of hex characters".to_owned(), offset: bytes.len() }),
        Err(hex::FromHexError::InvalidHexCharacter { index, .. }) => Err(Failure { error: "not hex".to_owned(), offset: index / 2 }),
        Err(error) => Err(Failure { error: error.to_string(), offset: 0 }),
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Failure> {
    serde_json::to_writer(out, value).map_err(|error| Failure { error: error.to_string(), offset: 0 })
}
