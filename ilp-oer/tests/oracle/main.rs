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

const CASES: u32 = 2_000;

fn check_all(prefix: &str) {
    let checks = check::values_of_each_type().into_iter().filter(|check| check.name.starts_with(prefix));
    assert_eq!(checks.map(|check| check_one(&check)).count(), 8);
}

fn check_one(check: &check::Check) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(CASES) });
    (check.run)(&mut runner).unwrap_or_else(|error| panic!("{}: {error}", check.name));
}

#[test]
fn both_codecs_agree_on_every_ilp_packet() {
    check_all("ilp");
}

#[test]
fn both_codecs_agree_on_every_clp_packet_with_names() {
    check_all("clp named");
}

#[test]
fn both_codecs_agree_on_every_clp_packet_with_numbers() {
    check_all("clp seed");
}
