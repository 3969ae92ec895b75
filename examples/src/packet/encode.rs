//! JSON to hex.

use super::Format;
use ilp_oer::EncodeError;
use ilp_oer::clp::PacketType;
use ilp_oer::value::{ClpValue, EntryValue, IlpValue, NamedEntry, SeedEntry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// A line that is no value of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
    /// The field's path such as `protocolData[2].contentType`; `json` where the line isn't JSON, or isn't an object.
    pub field: String,
}

impl Failure {
    pub(super) fn line_too_long() -> Self {
        Self { error: "line too long".to_owned(), field: WHOLE_LINE.to_owned() }
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Self { error: error.reason.to_string(), field: error.field.to_owned() }
    }
}

/// Appends the packet of the value in `line` to `out`. `bytes` is room to work in.
pub fn line(format: Format, line: &[u8], bytes: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
    bytes.clear();
    match format {
        Format::Clp => plain_clp::<NamedEntry>(line)?.encode(bytes)?,
        Format::ClpSeed => plain_clp::<SeedEntry>(line)?.encode(bytes)?,
        Format::ClpExt => parse::<ClpValue>(line)?.encode(bytes)?,
        Format::Ilp => parse::<IlpValue>(line)?.encode(bytes)?,
    }
    out.resize(bytes.len().saturating_mul(2), 0);
    hex::encode_to_slice(bytes, out).map_err(|error| Failure { error: error.to_string(), field: WHOLE_LINE.to_owned() })
}

/// A CLP packet of types 1 to 7.
fn plain_clp<E: EntryValue + DeserializeOwned>(line: &[u8]) -> Result<ClpValue<E>, Failure> {
    let value: ClpValue<E> = parse(line)?;
    if value.kind() == PacketType::Transfer {
        return Err(Failure { error: "type 8 is an extension, see --format clp-ext".to_owned(), field: "type".to_owned() });
    }
    Ok(value)
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    if line.is_empty() {
        return Err(Failure { error: "empty line".to_owned(), field: WHOLE_LINE.to_owned() });
    }
    let mut json = serde_json::Deserializer::from_slice(line);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        describe(&path, error.inner())
    })?;
    json.end().map_err(|error| describe(".", &error))?;
    Ok(value)
}

/// Names the field that an error is about.
fn describe(path: &str, error: &serde_json::Error) -> Failure {
    let full = error.to_string();
    // All is on one line here, so the position that serde_json adds is worth its column only.
    let text = full.rsplit_once(" at line ").map_or(&*full, |(text, _)| text);
    let parent = if path == "." { "" } else { path };
    let not_json = matches!(error.classify(), Category::Syntax | Category::Eof | Category::Io);
    if not_json && !text.starts_with("number out of range") {
        return Failure { error: format!("{text} at column {}", error.column()), field: WHOLE_LINE.to_owned() };
    }
    let field = match named_field(text) {
        // Depending on where it shows, the path ends in the field or in the object it is about.
        Some(name) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None if parent.is_empty() => WHOLE_LINE.to_owned(),
        None => parent.to_owned(),
    };
    let text = text.split_once("`: ").filter(|_| text.starts_with("field `")).map_or(text, |(_, reason)| reason);
    Failure { error: text.to_owned(), field }
}

/// The name in serde's errors about a field as such, and in those of the packet values that follow their pattern.
fn named_field(text: &str) -> Option<&str> {
    let (kind, rest) = text.split_once("field `")?;
    if !matches!(kind, "" | "missing " | "unknown " | "duplicate ") {
        return None;
    }
    rest.split_once('`').map(|(name, _)| name)
}

const WHOLE_LINE: &str = "json";
