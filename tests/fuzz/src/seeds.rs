//! Inputs to begin with: the packets of other implementations in `tests/vectors`, good and damaged, and what they don't have.

use crate::tree::length;
use ilp_oer::clp::Extensions;
use ilp_oer::sub::names::number_of;
use ilp_oer::value::{ClpBody, ClpValue, NamedEntry, Octets, SeedEntry, Text};
use ilp_oer::{Amount, Timestamp, TransferId};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Vector {
    format: String,
    hex: String,
    value: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Capture {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    hex: String,
}

/// CLP packets with named entries; the damaged ones last.
pub fn clp() -> Vec<Vec<u8>> {
    let captures: Vec<Capture> = read("captures.json");
    let captured = captures.into_iter().flat_map(|capture| capture.messages).map(|message| unhex(&message.hex));
    vectors("clp.json", "clp").chain(captured).chain(transfers()).chain(vectors("invalid.json", "clp")).collect()
}

/// The same with numbered entries, as far as they have numbers.
pub fn clp_seed() -> Vec<Vec<u8>> {
    clp().iter().filter_map(|bytes| numbered(bytes)).collect()
}

/// ILP packets; the damaged ones last.
pub fn ilp() -> Vec<Vec<u8>> {
    vectors("ilp_v1.json", "ilp_v1").chain(vectors("invalid.json", "ilp_v1")).collect()
}

/// The values of CLP packets, or of ILP packets, as lines of JSON.
pub fn values(file: &str) -> Vec<Vec<u8>> {
    let vectors: Vec<Vector> = read(file);
    vectors.into_iter().filter_map(|vector| Some(vector.value?.to_string().into_bytes())).collect()
}

/// The first entries' data of all CLP packets.
pub fn sub_data() -> Vec<Vec<u8>> {
    let data = |bytes: &Vec<u8>| {
        let value = ClpValue::<NamedEntry>::decode(bytes, Extensions::ALL).ok()?;
        Some(value.protocol_data.first()?.data.to_vec())
    };
    clp().iter().filter_map(data).collect()
}

/// A packet with its bytes in hex.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    hex::encode(bytes).into_bytes()
}

/// Octets with their length in front.
pub fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes.len())[..], bytes].concat()
}

/// Packet type 8, which no other implementation has.
fn transfers() -> impl Iterator<Item = Vec<u8>> {
    let time = Timestamp::from_unix_millis(1_505_395_432_000).ok();
    [None, time].into_iter().map(|expires_at| {
        let entry = NamedEntry { protocol_name: Text::new("settle").unwrap(), content_type: 0, data: Octets::new(*b"paid").unwrap() };
        let body = ClpBody::Transfer { transfer_id: TransferId::new([8; 16]), amount: Amount::new(200), expires_at };
        ClpValue { request_id: 8, body, protocol_data: vec![entry] }.to_vec().unwrap()
    })
}

fn numbered(bytes: &[u8]) -> Option<Vec<u8>> {
    let named = ClpValue::<NamedEntry>::decode(bytes, Extensions::ALL).ok()?;
    let entry = |entry: NamedEntry| SeedEntry { protocol_id: number_of(&entry.protocol_name).unwrap_or(200), data: entry.data };
    let protocol_data = named.protocol_data.into_iter().map(entry).collect();
    ClpValue { request_id: named.request_id, body: named.body, protocol_data }.to_vec().ok()
}

fn vectors(file: &str, format: &'static str) -> impl Iterator<Item = Vec<u8>> {
    let vectors: Vec<Vector> = read(file);
    vectors.into_iter().filter(move |vector| vector.format == format).map(|vector| unhex(&vector.hex))
}

fn read<T: serde::de::DeserializeOwned>(file: &str) -> T {
    let text = std::fs::read_to_string(tests().join("vectors").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// The folder `tests`.
pub fn tests() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
