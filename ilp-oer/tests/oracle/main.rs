//! Another codec as judge: `rasn`, with the ASN.1 types of 2017. Nothing of this crate's reading and writing is used on its side.
//!
//! Here a few thousand values of each type; `cargo run --release --package ilp-oer --example oracle` takes as many as you like.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod damage;
mod differences;
mod model;
#[path = "../strategies/mod.rs"]
mod strategies;
mod types;
mod values;

use proptest::test_runner::{Config, TestRunner};

fn run(cases: u32, checks: impl IntoIterator<Item = check::Check>) {
    for check in checks {
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
        (check.run)(&mut runner).unwrap_or_else(|error| panic!("{}: {error}", check.name));
    }
}

fn run_types(prefix: &str) {
    let checks: Vec<_> = check::values_of_each_type().into_iter().filter(|check| check.name.starts_with(prefix)).collect();
    assert_eq!(checks.len(), 8);
    run(2_000, checks);
}

#[test]
fn both_codecs_agree_on_every_ilp_packet() {
    run_types("ilp");
}

#[test]
fn both_codecs_agree_on_every_clp_packet_with_names() {
    run_types("clp named");
}

#[test]
fn both_codecs_agree_on_every_clp_packet_with_numbers() {
    run_types("clp seed");
}

#[test]
fn damaged_packets_are_taken_by_both_codecs_or_neither() {
    run(10_000, damage::damaged_encodings());
}
