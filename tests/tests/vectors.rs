//! The codecs against the packets of other implementations; see `vectors/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ilp_oer::clp::{self, Body, Dialect, Extensions};
use ilp_oer::sub::{Balance, Info, Vouch};
use ilp_oer::value::{ClpValue, IlpValue};
use ilp_oer::{DecodeError, ilp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    value: Box<RawValue>,
}

#[derive(Deserialize)]
struct Damaged {
    name: String,
    format: String,
    hex: String,
    accepted: bool,
}

#[derive(Deserialize)]
struct Capture {
    name: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    hex: String,
}

/// What is valid although, or because, the reference says so. All others that it accepts are refused here, each with a reason in
/// `docs/decisions/0001-strict-decoding.md`; all that it refuses are refused.
fn is_valid(name: &str) -> bool {
    name.ends_with("/intact")
        || [
            "clp/ack/type-2",
            "clp/ack/type-7",
            "clp/prepare-time/99991231235959.999Z",
            "clp/rejectionReason/error-no-extension-byte",
            "clp/rejectionReason/long-data-300",
            "ilp_v1/error/contents-cut-52",
            "ilp_v1/time/00000101000000.000Z",
            "ilp_v1/time/19700101000000.000Z",
        ]
        .contains(&name)
}

#[test]
fn every_clp_packet_decodes_to_its_value_and_encodes_to_its_bytes() {
    let vectors: Vec<Vector> = read("clp.json");
    assert_eq!(vectors.len(), 171);
    for Vector { name, hex, value } in vectors {
        let bytes = hex::decode(hex).unwrap();
        let packet = clp::Packet::decode(&bytes, Dialect::Named, Extensions::NONE).expect(&name);
        assert_eq!(packet.encoded_len(), bytes.len(), "{name}");
        assert_eq!(packet.to_vec().unwrap(), bytes, "{name}");

        let owned = ClpValue::try_from(packet).expect(&name);
        assert_eq!(serde_json::to_string(&owned).unwrap(), value.get(), "{name}");
        let parsed: ClpValue = serde_json::from_str(value.get()).expect(&name);
        assert_eq!(parsed, owned, "{name}");
        assert_eq!(parsed.to_vec().unwrap(), bytes, "{name}");
        parsed.with_packet(|parsed| assert_eq!(parsed, packet, "{name}"));
    }
}

#[test]
fn every_ilp_packet_decodes_to_its_value_and_encodes_to_its_bytes() {
    let vectors: Vec<Vector> = read("ilp_v1.json");
    assert_eq!(vectors.len(), 111);
    for Vector { name, hex, value } in vectors {
        let bytes = hex::decode(hex).unwrap();
        let packet = ilp::Packet::decode(&bytes).expect(&name);
        assert_eq!(packet.encoded_len(), bytes.len(), "{name}");
        assert_eq!(packet.to_vec().unwrap(), bytes, "{name}");

        let owned = IlpValue::try_from(packet).expect(&name);
        assert_eq!(serde_json::to_string(&owned).unwrap(), value.get(), "{name}");
        let parsed: IlpValue = serde_json::from_str(value.get()).expect(&name);
        assert_eq!(parsed.packet(), packet, "{name}");
        assert_eq!(parsed.to_vec().unwrap(), bytes, "{name}");
    }
}

#[test]
fn of_the_damaged_packets_exactly_the_valid_ones_decode() {
    let mut seen = 0;
    for Damaged { name, format, hex, .. } in damaged() {
        let bytes = hex::decode(hex).unwrap();
        if let Some(result) = decode(&format, &bytes) {
            seen += 1;
            assert_eq!(result.is_ok(), is_valid(&name), "{name}: {result:?}");
            if let Err(error) = result {
                assert!(error.offset <= bytes.len(), "{name}: {error}");
            }
        }
    }
    assert_eq!(seen, 475 + 326);
}

#[test]
fn the_decision_names_every_packet_that_only_the_reference_accepts() {
    let decision = std::fs::read_to_string(root().join("docs/decisions/0001-strict-decoding.md")).unwrap();
    for Damaged { name, format, accepted, .. } in damaged() {
        if accepted && matches!(&*format, "clp" | "ilp_v1") && !is_valid(&name) {
            assert!(decision.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn captured_conversations_decode() {
    let captures: Vec<Capture> = read("captures.json");
    let mut payments = 0;
    for Capture { name, messages } in captures {
        for Message { hex } in messages {
            let bytes = hex::decode(hex).unwrap();
            let packet = clp::Packet::decode(&bytes, Dialect::Named, Extensions::NONE).expect(&name);
            assert_eq!(packet.to_vec().unwrap(), bytes);
            let Some(entry) = packet.body.data().first() else { continue };
            match entry.protocol {
                clp::Protocol::Name("ilp") => {
                    let payment = ilp::Packet::decode(entry.data).unwrap();
                    assert!(matches!((packet.body, payment), (Body::Prepare(_), ilp::Packet::Payment(_))));
                    payments += 1;
                }
                clp::Protocol::Name("info") => assert_eq!(Info::decode(entry.data).unwrap().to_vec().unwrap(), entry.data),
                clp::Protocol::Name("vouch") => assert_eq!(Vouch::decode(entry.data).unwrap().to_vec().unwrap(), entry.data),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(payments, 2);
}

#[test]
fn sub_protocols_of_2017_read_and_write_the_same_bytes() {
    let vectors: Vec<Vector> = read("clp.json");
    let mut seen = 0;
    for Vector { name, hex, .. } in vectors {
        let Some((_, sub)) = name.split_once("/sub-") else { continue };
        let bytes = hex::decode(hex).unwrap();
        let packet = clp::Packet::decode(&bytes, Dialect::Named, Extensions::NONE).expect(&name);
        let data = packet.body.data().first().expect(&name).data;
        let again = match sub.split('-').next() {
            Some("info") => Info::decode(data).expect(&name).to_vec(),
            Some("balance") => Balance::decode(data).expect(&name).to_vec(),
            Some("vouch") => Vouch::decode(data).expect(&name).to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(again.unwrap(), data, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 10);
}

fn decode(format: &str, bytes: &[u8]) -> Option<Result<(), DecodeError>> {
    match format {
        "clp" => Some(clp::Packet::decode(bytes, Dialect::Named, Extensions::NONE).map(drop)),
        "ilp_v1" => Some(ilp::Packet::decode(bytes).map(drop)),
        _ => None,
    }
}

fn damaged() -> Vec<Damaged> {
    read("invalid.json")
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = std::fs::read_to_string(root().join("tests/vectors").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
