//! The `packet` command, run as a program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Deserialize)]
struct Vector {
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

#[test]
fn every_vector_goes_both_ways() {
    for (file, format) in [("clp.json", "clp"), ("clp.json", "clp-ext"), ("ilp_v1.json", "ilp"), ("ilp_v1.json", "ilp_v1")] {
        let vectors: Vec<Vector> = vectors(file);
        let hex: Vec<&str> = vectors.iter().map(|vector| &*vector.hex).collect();
        let values: Vec<&str> = vectors.iter().map(|vector| vector.value.get()).collect();
        assert_eq!(packet(&["decode", "--format", format], lines(&hex)), (0, lines(&values)));
        assert_eq!(packet(&["encode", "--format", format], lines(&values)), (0, lines(&hex)));
    }
}

#[test]
fn every_line_is_answered_in_order_whatever_it_holds() {
    for format in ["clp", "ilp_v1"] {
        let damaged: Vec<Damaged> = vectors("invalid.json");
        let damaged: Vec<&Damaged> = damaged.iter().filter(|damaged| damaged.format == format).collect();
        let hex: Vec<&str> = damaged.iter().map(|damaged| &*damaged.hex).collect();
        let (status, output) = packet(&["decode", "--format", format], lines(&hex));
        assert_eq!(status, 1);
        assert_eq!(output.lines().count(), damaged.len());
        for (Damaged { name, hex, accepted, .. }, line) in damaged.into_iter().zip(output.lines()) {
            let value: Value = serde_json::from_str(line).unwrap();
            match value.get("error") {
                Some(error) => {
                    assert!(!error.as_str().unwrap().is_empty());
                    assert!(usize::try_from(value["offset"].as_u64().unwrap()).unwrap() <= hex.len() / 2, "{name}: {line}");
                    assert_eq!(value.as_object().unwrap().len(), 2);
                }
                None => assert!(*accepted || name == "ilp_v1/time/19700101000000.000Z", "{name}: {line}"),
            }
        }
    }
}

#[test]
fn seed_entries_have_numbers_and_no_content_type() {
    let hex = "0700000009080102010080020304\n".to_owned();
    let value = r#"{"type":7,"requestId":9,"protocolData":[{"protocolId":1,"data":""},{"protocolId":128,"data":"0304"}]}"#;
    assert_eq!(packet(&["decode", "--format", "clp-seed"], &hex), (0, format!("{value}\n")));
    assert_eq!(packet(&["encode", "--format", "clp-seed"], value), (0, hex));

    let named = r#"{"type":7,"requestId":9,"protocolData":[{"protocolName":"ilp","contentType":0,"data":""}]}"#;
    assert_eq!(failed_field("clp-seed", named), "protocolData[0].protocolName");
    assert_eq!(failed_field("clp", value), "protocolData[0].protocolId");
}

#[test]
fn the_extension_is_read_and_written_only_where_asked_for() {
    for (expires_at, tail) in [("null", "000100"), ("\"2017-09-14T13:23:52.000Z\"", "011332303137303931343133323335322e3030305a0100")] {
        let id = "00112233445566778899aabbccddeeff";
        let value = format!(r#"{{"type":8,"requestId":1,"transferId":"{id}","amount":"258","expiresAt":{expires_at},"protocolData":[]}}"#);
        let length = 16 + 8 + tail.len() / 2;
        let hex = format!("0800000001{length:02x}{id}0000000000000102{tail}\n");
        assert_eq!(packet(&["encode", "--format", "clp-ext"], &value), (0, hex.clone()));
        assert_eq!(packet(&["decode", "--format", "clp-ext"], &hex), (0, format!("{value}\n")));
        assert_eq!(failed_field("clp", &value), "type");
        assert_eq!(packet(&["decode", "--format", "clp"], &hex), (1, "{\"error\":\"unknown type 8\",\"offset\":0}\n".into()));
    }
}

#[test]
fn a_bad_line_says_where() {
    for (hex, offset) in [
        ("", 0),
        ("0", 0),
        ("01000", 2),
        ("010g", 1),
        ("0x0100", 0),
        ("01 00", 1),
        ("é", 0),
        ("0100000001020100ff", 8),
        ("0000000001020100", 0),
        ("01000000010201", 5),
    ] {
        let (status, output) = packet(&["decode", "--format", "clp"], hex.to_owned() + "\n");
        let failure: Value = serde_json::from_str(&output).unwrap();
        assert_eq!((status, failure["offset"].as_u64()), (1, Some(offset)), "{hex}: {output}");
    }
}

#[test]
fn a_bad_value_names_its_field() {
    let entry = r#"{"protocolName":"ilp","contentType":0,"data":"00"}"#;
    let ack = |entries: &str| format!(r#"{{"type":1,"requestId":1,"protocolData":[{entries}]}}"#);
    for (value, field) in [
        (String::new(), "json"),
        ("{".into(), "json"),
        ("[]".into(), "json"),
        (ack("") + " {}", "json"),
        ("{}".into(), "type"),
        (r#"{"type":9}"#.into(), "type"),
        (r#"{"type":256}"#.into(), "type"),
        (r#"{"type":1}"#.into(), "requestId"),
        (r#"{"type":1,"requestId":4294967296}"#.into(), "requestId"),
        (r#"{"type":1,"requestId":"1"}"#.into(), "requestId"),
        (r#"{"type":1,"requestId":1e999}"#.into(), "requestId"),
        (r#"{"type":1,"requestId":1,"requestId":1,"protocolData":[]}"#.into(), "requestId"),
        (r#"{"type":1,"requestId":1,"protocolData":[],"more":1}"#.into(), "more"),
        (r#"{"type":1,"requestId":1,"protocolData":[],"amount":"1"}"#.into(), "amount"),
        (r#"{"type":4,"requestId":1,"amount":1}"#.into(), "amount"),
        (r#"{"type":4,"requestId":1,"amount":"18446744073709551616"}"#.into(), "amount"),
        (r#"{"type":4,"requestId":1,"transferId":"00"}"#.into(), "transferId"),
        (r#"{"type":4,"requestId":1,"expiresAt":"2017-02-30T00:00:00.000Z"}"#.into(), "expiresAt"),
        (r#"{"type":3,"requestId":1,"rejectionReason":{"code":"F00"}}"#.into(), "rejectionReason.name"),
        (r#"{"type":3,"requestId":1,"rejectionReason":{"forwardedBy":["a","b c"]}}"#.into(), "rejectionReason.forwardedBy[1]"),
        (ack("[]"), "protocolData[0]"),
        (ack(r#"{"protocolName":"ilp","contentType":0}"#), "protocolData[0].data"),
        (ack(&format!(r#"{entry},{entry},{}"#, entry.replace(":0,", ":256,"))), "protocolData[2].contentType"),
        (ack(&entry.replace("ilp", "é")), "protocolData[0].protocolName"),
        (ack(&entry.replace("00", "0")), "protocolData[0].data"),
        (ack(&entry.replace("\"data\"", "\"date\"")), "protocolData[0].date"),
    ] {
        assert_eq!(failed_field("clp", &value), field, "{value}");
    }
    for (value, field) in [
        (format!(r#"{{"type":1,"amount":"1","account":"a","data":"{}"}}"#, "00".repeat(32_768)), "data"),
        (r#"{"type":1,"amount":"1","account":"","data":""}"#.into(), "account"),
        (r#"{"type":3,"liquidityCurve":[["0","0"],["0","1"]]}"#.into(), "liquidityCurve"),
        (r#"{"type":3,"liquidityCurve":[["0",0]]}"#.into(), "liquidityCurve[0][1]"),
        (r#"{"type":4,"destinationAccount":"a","sourceAmount":"1"}"#.into(), "destinationHoldDuration"),
    ] {
        assert_eq!(failed_field("ilp", &value), field);
    }
}

#[test]
fn lines_that_are_not_text_or_have_no_end_are_lines_too() {
    let input = [b"0100000001020100\r\n\xff\xfe\n\n".to_vec(), vec![b'0'; 20 << 20], b"\n0100000001020100".to_vec()].concat();
    for (direction, good) in [("decode", 2), ("encode", 0)] {
        let (status, output) = packet(&[direction, "--format", "clp"], &input);
        assert_eq!(status, 1);
        assert_eq!(output.lines().count(), 5);
        assert_eq!(output.lines().filter(|line| !line.contains("error")).count(), good);
    }
    assert_eq!(packet(&["decode", "--format", "clp"], ""), (0, String::new()));
}

#[test]
fn a_file_is_read_where_one_is_named() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packets.hex");
    std::fs::write(&file, "0100000001020100\n").unwrap();
    let value = "{\"type\":1,\"requestId\":1,\"protocolData\":[]}\n";
    assert_eq!(packet(&["decode", "--format", "clp", file.to_str().unwrap()], "ignored"), (0, value.into()));
    assert_eq!(packet(&["decode", "--format", "clp", "-"], "0100000001020100"), (0, value.into()));
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &[][..],
        &["decode"],
        &["decode", "--format", "btp"],
        &["other", "--format", "clp"],
        &["decode", "--format", "clp", "/does/not/exist"],
        &["decode", "--format", "clp", "a", "b"],
    ] {
        assert_eq!(packet(arguments, "").0, 2, "{arguments:?}");
    }
    for argument in ["--help", "--version"] {
        let (status, output) = packet(&[argument], "");
        assert_eq!(status, 0);
        assert!(output.contains("packet"));
    }
}

#[test]
fn an_answer_comes_before_the_next_line_is_needed() {
    let mut child = command(&["decode", "--format", "clp"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for id in ["00000001", "00000002"] {
        input.write_all(format!("01{id}020100\n").as_bytes()).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains("requestId"));
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = command(&["decode", "--format", "clp"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // It may be gone before it has read all of this.
    let _ = input.write_all("0100000001020100\n".repeat(10_000).as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

fn failed_field(format: &str, value: &str) -> String {
    let (status, output) = packet(&["encode", "--format", format], value.to_owned() + "\n");
    let failure: Value = serde_json::from_str(&output).expect(&output);
    assert_eq!(status, 1);
    assert!(!failure["error"].as_str().unwrap().is_empty());
    failure["field"].as_str().unwrap().to_owned()
}

/// Runs the command on an input, gives its exit status and output.
fn packet(arguments: &[&str], input: impl AsRef<[u8]>) -> (i32, String) {
    let mut child = command(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_ref().to_vec();
    // From a thread of its own: both pipes may be full at once.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packet"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn lines(all: &[&str]) -> String {
    all.iter().flat_map(|line| [*line, "\n"]).collect()
}

fn vectors<T: serde::de::DeserializeOwned>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
