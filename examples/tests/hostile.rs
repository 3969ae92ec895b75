//! Hostile peers, an attack a test: the small form of the program `hostile`, against a connector in a process of its own.
//!
//! Each test demands what the program does, but for the latency of honest payments: that can't be asserted on a busy machine. No
//! connection may cost more than 4 MiB; nothing may be left; every honest payment must be made, once, with the books right afterwards;
//! an honest peer must be let in meanwhile; and the attackers must get the answers that they should.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use serde_json::Value;
use std::io::{Write, stdout};
use std::process::{Command, Output, Stdio};

fn hostile(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostile"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

fn withstood(attack: &str) -> Value {
    let output = hostile(&format!("{attack} --small --pairs 1 --seconds 2 --rate 200 --json"));
    let (text, complaints) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(text.lines().count(), 1, "one line of JSON, not {text:?}; {complaints}");
    let mut out = stdout().lock();
    writeln!(out, "{text}").unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    for demand in ["memory", "nothing_left", "honest", "answers"] {
        assert_eq!(report["kept"][demand], true, "{demand}: {:#}", report["wrong"]);
    }
    assert!(report["honest"]["p99_ratio"].is_number() && report["bytes_sent"].is_u64(), "{report}");
    report
}

/// How often the attackers saw something.
fn seen(report: &Value, what: &str) -> u64 {
    report["seen"][what].as_u64().unwrap_or(0)
}

#[test]
fn without_an_attack_nothing_is_found() {
    let report = withstood("nothing");
    assert_eq!((&report["connections"]["opened"], &report["seen"]), (&0.into(), &serde_json::json!({})));
}

#[test]
fn wrong_tokens_are_refused_later_and_later_and_honest_peers_are_let_in() {
    let report = withstood("wrong-token");
    // 64 that could try all the time: the delay keeps them from it.
    assert!(report["connections"]["opened"].as_u64().is_some_and(|opened| opened < 500), "{report}");
    assert_eq!(report["honest"]["logins_failed"], 0);
}

#[test]
fn wrong_paths_lead_nowhere() {
    withstood("wrong-path");
}

#[test]
fn text_closes_a_connection_before_and_after_the_login() {
    withstood("text-frames");
}

#[test]
fn frames_of_16_mb_are_not_taken_whole_in_part_or_in_pieces() {
    let report = withstood("frames-16mb");
    // The connection ends at the header: of what was sent, little was taken.
    let (sent, opened) = (report["bytes_sent"].as_u64().unwrap(), report["connections"]["opened"].as_u64().unwrap());
    assert!(sent < opened * 8_000_000, "{sent} bytes on {opened} connections");
}

#[test]
fn half_frames_records_and_requests_run_out_of_time() {
    withstood("half-frames");
}

#[test]
fn garbage_of_all_kinds_closes_its_connection() {
    withstood("garbage");
}

#[test]
fn slow_bytes_run_out_of_time() {
    withstood("slow-bytes");
}

#[test]
fn a_crowd_of_connections_makes_room_for_honest_ones() {
    let report = withstood("connections-10000");
    assert!(report["connections"]["at_once"].as_u64().is_some_and(|count| count > 500), "{report}");
    // Two listeners, each with as many handshakes as it may have, and strangers and good-byes.
    assert!(report["connections"]["held_at_once"].as_u64().is_some_and(|count| count <= 1_000), "{report}");
}

#[test]
fn prepares_that_nobody_answers_are_bounded_and_end_in_time() {
    let report = withstood("million-prepares");
    assert!(seen(&report, "Error T03") > 0 && seen(&report, "Ack") <= 16_384, "{report}");
}

#[test]
fn peers_that_never_read_are_cut_off() {
    withstood("never-reads");
}

#[test]
fn the_newest_login_wins_and_nobody_logs_in_without_the_token() {
    withstood("duplicate-logins");
}

#[test]
fn answers_to_others_requests_and_transfers_change_nothing() {
    let report = withstood("foreign-ids");
    let paid = seen(&report, "paid all the same");
    assert!(paid > 0 && seen(&report, "refused: Fulfill") >= paid && seen(&report, "refused: Reject") >= paid, "{report}");
}

#[test]
fn pings_are_answered_at_a_limited_rate() {
    let report = withstood("pings");
    // Two a thousand and a second's allowance for the account, a handful for each stranger.
    let answered = seen(&report, "Pong");
    let connections = report["connections"]["opened"].as_u64().unwrap();
    assert!(answered < 30_000 + connections * 200, "{answered} on {connections} connections");
}

#[test]
fn compression_is_not_agreed_on() {
    withstood("deflate");
}

#[test]
fn a_megabyte_of_headers_is_not_read() {
    withstood("headers");
}

#[test]
fn ten_thousand_entries_are_too_many() {
    withstood("entries");
}

#[test]
fn messages_are_answered_at_a_limited_rate() {
    withstood("messages");
}

#[test]
fn large_reasons_of_unanswered_rejects_are_bounded() {
    withstood("reasons");
}

#[test]
fn all_attacks_are_listed_and_nonsense_is_wrong_usage() {
    let listed = String::from_utf8(hostile("--list").stdout).unwrap();
    assert!(listed.lines().count() >= 19 && listed.contains("million-prepares"), "{listed}");
    assert_eq!(hostile("nonsense").status.code(), Some(2));
    assert_eq!(hostile("").status.code(), Some(2));
}
