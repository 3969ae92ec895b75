//! The time rules, at their edges.

use crate::bench::*;
use ilp_core::Timing;
use ilp_core::link::Answer;

#[test]
fn a_fulfill_counts_until_outgoing_expiry_and_grace() {
    for (ms, taken) in [(8_000, true), (8_999, true), (9_000, false)] {
        let mut bench = Bench::new();
        let (alice, _) = bench.connect("alice");
        let (bob, _) = bench.connect("bob");
        let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
        // The clock jumps between two steps: the fulfill is in the same step as the timer.
        bench.now += ms;
        let out = bench.fulfill(bob, id, 1);
        assert_eq!(is_ack(bob, &out), taken, "after {ms} ms");
        assert_eq!(bench.balance("bob"), if taken { 10 } else { 0 });
        assert_eq!(outcome(alice, &out).1.is_ok(), taken);
        bench.check_books();
    }
}

#[test]
fn an_accepted_fulfill_leaves_the_sender_time() {
    // I3: at the last instant at which B's fulfill is taken, A's transfer has window − grace to go.
    let Timing { window_ms, grace_ms, .. } = TIMING;
    assert!(Timing { window_ms: grace_ms, ..TIMING }.check().is_err());
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let expires_at = bench.after(10_000);
    bench.now += 8_999;
    let out = bench.fulfill(bob, id, 1);
    assert!(outcome(alice, &out).1.is_ok());
    assert!(expires_at.millis_since(bench.at()) > window_ms - grace_ms);
}

#[test]
fn after_a_crash_the_clocks_skew_is_added_to_the_grace() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let mut bench = bench.crash();
    let (bob, _) = bench.connect("bob");
    bench.pass(9_900);
    assert!(is_ack(bob, &bench.fulfill(bob, id, 1)), "within grace and skew");
}

#[test]
fn a_finished_transfer_is_remembered_until_its_expiry_and_skew() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let event = bench.prepare_event(1, "test.ann.bob", 10, 10_000);
    let (_, id) = prepared(bob, &bench.event(alice, event.clone()));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    bench.answered(alice, tag, Answer::Ack);
    bench.pass(10_990);
    assert_eq!(bench.status().remembered, 1);
    assert!(is_ack(alice, &bench.event(alice, event.clone())));
    bench.pass(30);
    assert_eq!(bench.status().remembered, 0);
    // Replayed now, it has expired.
    assert_eq!(error_code(alice, &bench.event(alice, event)), "R02");
    assert_eq!(bench.balance("alice"), -10);
}

#[test]
fn a_hold_longer_than_the_wheel_ends_on_time() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    bench.connect("bob");
    let event = bench.prepare_event(1, "test.ann.bob", 10, 300_000);
    bench.event(alice, event);
    assert!(bench.pass(298_999).is_empty());
    assert_eq!(code_of(outcome(alice, &bench.pass(20)).1), "R00");
}

#[test]
fn an_id_that_was_used_again_is_remembered_although_the_first_one_is_forgotten_after_a_restart() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    bench.answered(alice, tag, Answer::Ack);
    // Expired and forgotten: the id is free, and is used for another payment.
    bench.pass(12_000);
    assert_eq!(bench.status().remembered, 0);
    let event = bench.prepare_event(1, "test.ann.bob", 20, 10_000);
    let again = bench.prepare_event(1, "test.ann.bob", 20, 10_000);
    prepared(bob, &bench.event(alice, event));
    // The log has both, so a restart remembers both, and then forgets the first one.
    let mut bench = bench.crash();
    bench.pass(100);
    assert_eq!(bench.status().remembered, 1);
    let (alice, _) = bench.connect("alice");
    assert!(is_ack(alice, &bench.event(alice, again)));
    assert_eq!((bench.balance("alice"), bench.status().in_flight), (-30, 1), "held once");
    bench.check_books();
}
