//! Lines of the `packet` command.

use crate::seeds;
use crate::target::Report;
use ilp_examples::packet::{Direction, Format, decode, encode, run as convert};
use ilp_fuzz_probe::measure;
use serde_json::Value;

pub(super) const WORDS: &[&str] = &[
    "type",
    "requestId",
    "protocolData",
    "protocolName",
    "protocolId",
    "contentType",
    "data",
    "transferId",
    "amount",
    "executionCondition",
    "expiresAt",
    "fulfillment",
    "rejectionReason",
    "code",
    "name",
    "triggeredBy",
    "forwardedBy",
    "triggeredAt",
    "account",
    "destinationAccount",
    "sourceAmount",
    "destinationAmount",
    "destinationHoldDuration",
    "sourceHoldDuration",
    "liquidityCurve",
    "appliesToPrefix",
    "null",
    "true",
    "false",
    "test.bob",
    "00",
    "ff",
    "F00",
    "2017-09-14T13:23:52.000Z",
    "00112233445566778899aabbccddeeff",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let choose =
        |choice: u8, lines: Vec<Vec<u8>>| lines.into_iter().filter(|line| line.len() < 4096).map(move |line| [vec![choice], line].concat());
    let hex = |packets: Vec<Vec<u8>>| packets.iter().map(|packet| seeds::hex(packet)).collect::<Vec<_>>();
    let seed_values = |packets: Vec<Vec<u8>>| {
        let value = |packet: &Vec<u8>| {
            let mut line = Vec::new();
            decode::line(Format::ClpSeed, &seeds::hex(packet), &mut Vec::new(), &mut line).ok().map(|()| line)
        };
        packets.iter().filter_map(value).collect::<Vec<_>>()
    };
    choose(4, seeds::values("clp.json"))
        .chain(choose(7, seeds::values("ilp_v1.json")))
        .chain(choose(5, seed_values(seeds::clp_seed())))
        .chain(choose(6, seeds::values("clp.json").split_off(150)))
        .chain(choose(0, hex(seeds::clp()).into_iter().step_by(7).collect()))
        .chain(choose(3, hex(seeds::ilp()).into_iter().step_by(7).collect()))
        .collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let Some((choice, lines)) = input.split_first() else { return };
    let format = [Format::Clp, Format::ClpSeed, Format::ClpExt, Format::Ilp][usize::from(choice & 3)];
    let direction = if choice & 4 == 0 { Direction::Decode } else { Direction::Encode };

    let mut output = Vec::new();
    let (result, memory) = measure(|| convert(direction, format, lines, &mut output));
    result.unwrap();
    assert!(memory.peak <= 256 * lines.len() + (256 << 10), "{} bytes took {memory:?}", lines.len());
    let shown: Vec<&[u8]> = output.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(shown.len(), lines.split_inclusive(|byte| *byte == b'\n').count(), "a line for a line");

    for (line, shown) in lines.split_inclusive(|byte| *byte == b'\n').zip(shown) {
        let (line, shown) = (line.trim_ascii(), shown.trim_ascii());
        let failure = serde_json::from_slice::<Value>(shown).ok().filter(|value| value.get("error").is_some());
        report.envelope |= match direction {
            Direction::Decode => hex::decode(line).is_ok_and(|bytes| !bytes.is_empty()),
            Direction::Encode => serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object()),
        };
        match (direction, failure) {
            (Direction::Decode, Some(failure)) => {
                let offset = failure.get("offset").and_then(Value::as_u64).unwrap();
                assert!(usize::try_from(offset).unwrap() <= line.len() / 2 + 1, "offset {offset} in {} characters", line.len());
            }
            (Direction::Encode, Some(failure)) => assert!(failure.get("field").is_some_and(Value::is_string), "{failure}"),
            (Direction::Decode, None) => {
                report.full = true;
                check_both_ways(format, line, shown, false);
            }
            (Direction::Encode, None) => {
                report.full = true;
                check_both_ways(format, shown, line, true);
            }
        }
    }
    report.feature((choice & 7, report.full));
}

/// A packet in hex and its value belong together, whichever came first.
fn check_both_ways(format: Format, hex: &[u8], json: &[u8], from_json: bool) {
    let (mut bytes, mut value, mut again) = (Vec::new(), Vec::new(), Vec::new());
    decode::line(format, hex, &mut bytes, &mut value).unwrap();
    let [theirs, ours] = [json, &value].map(|json| serde_json::from_slice::<Value>(json).unwrap());
    assert_eq!(theirs, ours, "the value of {}", String::from_utf8_lossy(hex));
    encode::line(format, &value, &mut bytes, &mut again).unwrap();
    // Hex digits may have come in capitals, and the last byte of an error may have been missing.
    let lower = hex.to_ascii_lowercase();
    assert!(
        again == lower || (!from_json && again.len() > lower.len()),
        "{} became {}",
        String::from_utf8_lossy(hex),
        String::from_utf8_lossy(&again)
    );
    assert!(again.len() <= lower.len() + 8);
}
