//! The small form of `torture`: kills and power cuts that lose nothing, and broken promises that do.
//!
//! Moments are counted, not timed, so that a busy machine makes the tests slower and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn torture(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

/// The report of a run that ends with this code.
fn report(arguments: &str, code: i32) -> Value {
    let output = torture(&format!("{arguments} --json"));
    let (text, complaints) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(code), "{text}\n{complaints}");
    assert_eq!(text.lines().count(), 1, "one line of JSON, not {text:?}");
    serde_json::from_str(&text).unwrap()
}

fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| unreachable!("{field} is no number in {report}"))
}

fn points(report: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(report["points"].clone()).unwrap()
}

fn nothing_lost(report: &Value) {
    for field in ["units_lost", "disagreements"] {
        assert_eq!(count(report, field), 0, "{field} in {report}");
    }
    assert_eq!(report["complaints"], Value::Array(vec![]));
    // Payments were made between the kills, and some were under way at most of them.
    assert!(count(report, "fulfilled") > 50 && count(report, "payments") >= count(report, "fulfilled"), "{report}");
    assert!(count(report, "kills_with_in_flight") * 2 > count(report, "kills"), "{report}");
    for field in ["disputed", "unconfirmed", "borne", "unknown_to_both", "seed", "reconnects", "frames"] {
        count(report, field);
    }
    let recovery = &report["recovery_ms"];
    assert!(recovery["p50"].as_f64().unwrap() > 0.0 && recovery["max"].as_f64() >= recovery["p50"].as_f64(), "{recovery}");
}

#[test]
fn no_unit_is_lost_by_kills_at_every_point() {
    let report = report("kill --times 14 --seed 7", 0);
    nothing_lost(&report);
    let expected =
        ["after-send", "at-any-time", "before-commit", "before-send", "between-commit-and-release", "during-open", "during-snapshot"];
    assert_eq!(points(&report), expected.map(|point| (point.to_owned(), 2)).into());
    assert_eq!((count(&report, "kills"), count(&report, "seed"), &report["store"]), (14, 7, &"embedded".into()));
}

#[test]
fn no_unit_is_lost_by_kills_of_four_workers() {
    let report = report("kill --times 14 --seed 7 --workers 4", 0);
    nothing_lost(&report);
    assert_eq!((count(&report, "kills"), points(&report).len()), (14, 7));
}

#[test]
fn no_unit_is_lost_by_kills_on_a_redis_server_that_is_killed_too() {
    let report = report("kill --times 14 --seed 7 --workers 2 --store redis", 0);
    nothing_lost(&report);
    assert_eq!((count(&report, "kills"), points(&report).len()), (14, 7));
    assert!(count(&report, "servers_killed") >= 8, "{report}");
}

#[test]
fn no_unit_is_lost_by_power_cuts_of_two_workers() {
    nothing_lost(&report("power --times 10 --seed 7 --workers 2", 0));
}

#[test]
fn no_unit_is_lost_by_power_cuts() {
    let report = report("power --times 10 --seed 7", 0);
    nothing_lost(&report);
    assert_eq!((count(&report, "kills"), points(&report).len()), (10, 5));
    assert!(count(&report["sectors"], "unsynced") > 0, "{report}");
}

#[test]
fn a_ledger_made_from_events_alone_is_the_stores() {
    let report = report("events --times 10 --seed 7", 0);
    nothing_lost(&report);
    let events = &report["events"];
    assert_eq!((count(&report, "kills"), points(&report).len(), count(events, "units_apart")), (10, 10, 0));
    // At least one for the beginning of each payment, and one for its end.
    assert!(count(events, "told") >= 2 * count(&report, "fulfilled"), "{report}");
}

#[test]
fn events_that_are_acknowledged_too_early_are_missed() {
    let report = report("events --times 10 --seed 7 --sabotage early-acknowledge", 1);
    assert!(count(&report["events"], "units_apart") > 0 && count(&report, "units_lost") == 0, "{report}");
}

#[test]
fn effects_that_leave_before_they_are_durable_are_found() {
    let report = report("kill --times 8 --points after-send,at-any-time --seed 7 --sabotage no-hold", 1);
    assert!(count(&report, "units_lost") > 0, "{report}");
}

#[test]
fn a_disk_that_is_never_synced_is_found() {
    let report = report("power --times 4 --seed 7 --sabotage no-fsync", 1);
    assert!(count(&report, "units_lost") > 0, "{report}");
}

#[test]
fn books_in_memory_are_lost() {
    let report = report("kill --times 2 --points after-send --seed 7 --store memory", 1);
    assert!(count(&report, "units_lost") > 0, "{report}");
}

#[test]
fn journals_and_store_can_be_kept() {
    let directory = std::env::temp_dir().join(format!("torture-kept-{}", std::process::id()));
    let arguments = format!("kill --times 1 --pairs 1 --rate 50 --points before-commit --seed 7 --keep {}", directory.display());
    assert_eq!(torture(&arguments).status.code(), Some(0));
    for file in ["sender-1.journal", "receiver-1.journal", "store/books.redb"] {
        assert!(Path::new(&directory).join(file).metadata().unwrap().len() > 0, "{file}");
    }
    assert_eq!(torture(&arguments).status.code(), Some(3), "what is there isn't touched");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for arguments in [
        "",
        "kill",
        "power --times 1 --store memory",
        "kill --times 1 --sabotage no-fsync",
        "kill --times x",
        "kill --times 1 --points events-told",
    ] {
        assert_eq!(torture(arguments).status.code(), Some(2), "{arguments}");
    }
    assert!(String::from_utf8(torture("--help").stdout).unwrap().contains("Exit status"));
}
