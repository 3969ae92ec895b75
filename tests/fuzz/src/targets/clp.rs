//! CLP packets.

use super::{check_decoder, is_envelope};
use crate::seeds;
use crate::target::Report;
use ilp_clp::detect_dialect;
use ilp_fuzz_probe::measure;
use ilp_oer::clp::{Body, Dialect, Extensions, Packet};
use ilp_oer::value::{ClpValue, EntryValue, NamedEntry, SeedEntry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let choose = |choice: u8, packets: Vec<Vec<u8>>| packets.into_iter().map(move |packet| [vec![choice], packet].concat());
    choose(2, seeds::clp()).chain(choose(3, seeds::clp_seed())).chain(choose(0, seeds::clp().split_off(160))).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let extensions = if choice & 2 == 0 { Extensions::NONE } else { Extensions::ALL };
    detect_dialect(bytes);
    match choice & 1 {
        0 => decode::<NamedEntry>(bytes, extensions, report),
        _ => decode::<SeedEntry>(bytes, extensions, report),
    }
}

fn decode<E>(bytes: &[u8], extensions: Extensions, report: &mut Report)
where
    E: EntryValue + Serialize + DeserializeOwned + Debug + PartialEq,
{
    report.envelope = is_envelope(bytes, 8, 4);
    let (result, memory) = measure(|| Packet::decode(bytes, E::DIALECT, extensions));
    check_decoder(&result, memory, bytes);
    let packet = match result {
        Ok(packet) => packet,
        Err(error) => return report.feature((bytes.first(), std::mem::discriminant(&error.kind))),
    };
    assert!(report.envelope, "decoded without its envelope");
    report.full = true;
    report.feature((E::DIALECT, bytes[0], packet.body.data().len().min(5)));
    assert!(extensions.transfer || !matches!(packet.body, Body::Transfer(_)), "type 8 was not agreed on");
    assert_eq!(Packet::peek_request_id(bytes), Some((bytes[0], packet.request_id)));
    check_written(&packet, bytes);
    check_entries(&packet, E::DIALECT);
    check_value::<E>(&packet, bytes, extensions);
}

fn check_written(packet: &Packet<'_>, bytes: &[u8]) {
    assert_eq!(packet.encoded_len(), bytes.len(), "its length");
    assert_eq!(packet.to_vec().unwrap(), bytes, "what was read is written back");
    let mut short = vec![0xee; bytes.len() - 1];
    packet.encode(&mut &mut short[..]).unwrap_err();
    assert!(short.iter().all(|byte| *byte == 0xee), "written by halves");
}

fn check_entries(packet: &Packet<'_>, dialect: Dialect) {
    let data = packet.body.data();
    let entries: Vec<_> = data.iter().collect();
    assert_eq!(entries.len(), data.len(), "as many entries as counted");
    assert_eq!(entries.first().copied(), data.first());
    assert_eq!(data.is_empty(), entries.is_empty());
    assert_eq!(ilp_oer::clp::ProtocolData::entries(dialect, &entries), data);
}

fn check_value<E>(packet: &Packet<'_>, bytes: &[u8], extensions: Extensions)
where
    E: EntryValue + Serialize + DeserializeOwned + Debug + PartialEq,
{
    let (value, memory) = measure(|| ClpValue::<E>::decode(bytes, extensions));
    assert!(memory.peak <= 64 * bytes.len() + 1024, "{} bytes took {memory:?}", bytes.len());
    let value = value.unwrap();
    // A reason without the last byte of its encoders gets it; everything else is as it was.
    let again = value.to_vec().unwrap();
    let reason = match packet.body {
        Body::Error { reason, .. } => Some(reason),
        Body::Reject(reject) => Some(reject.reason),
        _ => None,
    };
    let bare = reason.is_some_and(|reason| reason.as_bytes().unwrap().len() < reason.error().encoded_len());
    assert!(bare || again == bytes, "the owned form is written back");
    value.with_packet(|owned| assert_eq!(owned, *packet));
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<ClpValue<E>>(&json).unwrap(), value, "{json}");
}
