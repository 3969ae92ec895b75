//! The small form of `recovery`: books are taken up after a kill, all of them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use serde_json::Value;
use std::process::{Command, Output};

fn recovery(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recovery")).args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn books_are_taken_up_after_a_kill() {
    let output = recovery("--held 700 --remembered 2500 --times 2 --json");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["held"], &report["remembered"], &report["books_right"]), (&700.into(), &2500.into(), &true.into()));
    // A payment has some 350 bytes of records.
    assert!(report["log_bytes_read"].as_u64().is_some_and(|bytes| bytes > 2500 * 250), "{report}");
    assert!(report["total_ms"].is_number() && report["batches"].as_u64() > Some(5), "{report}");
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in ["--held x", "--times 0", "--nonsense", "--fill --json"] {
        let output = recovery(arguments);
        assert!(output.status.code() == Some(2) && !output.stderr.is_empty(), "{arguments}");
    }
    assert_eq!(recovery("--help").status.code(), Some(0));
    let output = recovery("--held 1 --store-dir /nonexistent/folder");
    assert!(output.status.code() == Some(3) && String::from_utf8_lossy(&output.stderr).contains("/nonexistent"));
}
