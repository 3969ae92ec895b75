//! A connector and its peers in every order of what can happen, in small scenarios. `interleavings --large` has more.
#![allow(clippy::panic, clippy::print_stderr, reason = "a test fails by panicking, and says what it covered")]

use ilp_tests::models::{Coverage, Exchanges, Subject, World, explore, small};
use std::sync::Arc;

/// Explores the small scenarios with this in their names, and says how much that was.
fn every_order_keeps_every_rule(part: impl Fn(&str) -> bool, interleavings_min: u128) {
    let mut covered = Coverage::default();
    for scenario in small().into_iter().filter(|scenario| part(&scenario.name)) {
        let scenario = Arc::new(scenario);
        let explored = match scenario.subject {
            Subject::Connector => explore(|| World::new(&scenario), |_| true),
            Subject::Exchange | Subject::TwoExchanges => explore(|| Exchanges::new(&scenario), |_| true),
        };
        if let Some(found) = explored.found {
            let steps: Vec<_> = found.schedule.iter().map(ToString::to_string).collect();
            let name = &scenario.name;
            panic!("{}\n  cargo run --bin interleavings -- --scenario {name} --replay {}", found.violation, steps.join(","));
        }
        covered.interleavings += explored.coverage.interleavings;
        covered.states += explored.coverage.states;
    }
    let Coverage { interleavings, states, .. } = covered;
    eprintln!("{interleavings} interleavings through {states} states");
    assert!(interleavings >= interleavings_min, "only {interleavings} interleavings were covered");
}

#[test]
fn two_payments_in_every_order() {
    every_order_keeps_every_rule(|name| name.ends_with("/fulfill-reject") || name.starts_with("each-way/"), 80_000);
}

#[test]
fn a_payment_whose_sender_is_cut_off_while_time_passes_in_every_order() {
    every_order_keeps_every_rule(|name| name.starts_with("one/") && name.contains("alice"), 55_000);
}

#[test]
fn a_payment_whose_receiver_is_cut_off_while_time_passes_in_every_order() {
    every_order_keeps_every_rule(|name| name.starts_with("one/") && name.contains("bob"), 18_000);
}

#[test]
fn two_payments_with_a_cut_in_every_order_at_peers_that_dedupe() {
    every_order_keeps_every_rule(|name| name.starts_with("same-way/clp-clp/fulfill-fulfill/cut"), 2_000_000);
}

#[test]
fn an_applications_exchange_in_every_order() {
    every_order_keeps_every_rule(|name| name.starts_with("exchange"), 300_000);
}

#[test]
fn two_payments_with_a_cut_in_every_order_at_peers_of_2017() {
    every_order_keeps_every_rule(|name| name.starts_with("same-way/2017-2017/fulfill-fulfill/cut"), 1_500_000);
}
