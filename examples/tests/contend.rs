//! `contend` in its small form; the long one is a million attempts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::process::Command;

fn contend(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_contend")).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn processes_pay_of_small_balances_exactly_what_fits() {
    for line in [
        "--processes 2 --attempts 6000 --payers 6 --parallelism 1 --amount 1",
        "--processes 2 --attempts 6000 --payers 6 --parallelism 4 --amount 7",
        "--processes 4 --attempts 6000 --payers 6 --parallelism 4 --amount 5",
        "--processes 4 --attempts 4 --payers 4 --parallelism 2 --amount 3",
    ] {
        let arguments: Vec<_> = line.split(' ').chain(["--json"]).collect();
        let (code, stdout, stderr) = contend(&arguments);
        assert_eq!(code, 0, "{line}: {stdout}{stderr}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [&["--processes", "0"][..], &["--attempts", "x"], &["--payers", "257"], &["nonsense"]] {
        assert_eq!(contend(arguments).0, 2, "{arguments:?}");
    }
}
