//! Reading what the server answers. Nothing of it is trusted to have a certain form.

use bytes::Bytes;
use redis::Value;

/// Strings and numbers, both as text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Okay => Some("OK".to_owned()),
        _ => None,
    }
}

pub(crate) fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    text(value)?.parse().ok()
}

/// A number that may not be there.
pub(crate) fn optional<T: std::str::FromStr>(value: &Value) -> Option<Option<T>> {
    if *value == Value::Nil { Some(None) } else { number(value).map(Some) }
}

pub(crate) fn items(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

pub(crate) fn array<const N: usize>(value: Value) -> Option<[Value; N]> {
    items(value)?.try_into().ok()
}

/// Fields and values in turn.
pub(crate) fn pairs(value: Value) -> Option<Vec<(String, String)>> {
    let items = items(value)?;
    if items.len() % 2 != 0 {
        return None;
    }
    items.chunks(2).map(|pair| Some((text(pair.first()?)?, text(pair.get(1)?)?))).collect()
}

/// The entries of a stream: each has a number and one value.
pub(crate) fn entries(value: Value) -> Option<Vec<(u64, Bytes)>> {
    let entry = |value| {
        let [id, fields] = array(value)?;
        let no = text(&id)?.strip_suffix("-0")?.parse().ok()?;
        let [_, Value::BulkString(content)] = array(fields)? else { return None };
        Some((no, content.into()))
    };
    items(value)?.into_iter().map(entry).collect()
}
