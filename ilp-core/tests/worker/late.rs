//! Fulfills that the sender doesn't take.

use crate::bench::*;
use ilp_core::link::Answer;

#[test]
fn a_fulfill_refused_in_time_stays_charged_and_is_disputed() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    bench.answered(alice, tag, Answer::Error(error_bytes("R00", "test.alice")));
    assert_eq!((bench.balance("alice"), bench.balance("bob"), bench.own()), (-10, 10, 0));
    assert_eq!(bench.status().counters.disputed, 1);
    assert_eq!(bench.status().in_flight, 0);
    bench.check_books();
    let bench = bench.crash();
    assert_eq!((bench.balance("alice"), bench.own()), (-10, 0));
}

#[test]
fn a_fulfill_that_reached_the_sender_too_late_is_the_connectors_loss() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    bench.disconnect(alice);
    bench.fulfill(bob, id, 1);
    bench.pass(10_000);
    let (alice, out) = bench.connect("alice");
    let (tag, _) = outcome(alice, &out);
    bench.answered(alice, tag, Answer::Error(error_bytes("R00", "test.alice")));
    assert_eq!((bench.balance("alice"), bench.balance("bob"), bench.own()), (0, 10, -10));
    assert_eq!(bench.status().counters.lost, 1);
    bench.check_books();
    let bench = bench.crash();
    assert_eq!((bench.balance("alice"), bench.balance("bob"), bench.own()), (0, 10, -10));
    bench.check_books();
}

#[test]
fn a_reject_that_is_refused_changes_nothing() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, _) = outcome(alice, &bench.reject(bob, id));
    bench.answered(alice, tag, Answer::Error(error_bytes("F00", "test.alice")));
    assert_eq!((bench.balance("alice"), bench.own(), bench.status().in_flight), (0, 0, 0));
}

#[test]
fn an_answer_to_a_transfer_long_gone_is_ignored() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (prepare_tag, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    bench.answered(alice, tag, Answer::Ack);
    bench.pass(20_000);
    assert_eq!(bench.status().remembered, 0);
    // Its place is another's now.
    prepared(bob, &bench.prepare(alice, 2, "test.ann.bob", 10));
    bench.answered(alice, tag, Answer::Error(error_bytes("F00", "test.alice")));
    bench.answered(bob, prepare_tag, Answer::Error(error_bytes("F00", "test.bob")));
    assert_eq!((bench.balance("alice"), bench.status().accounts[0].totals.incoming_prepared), (-20, 10));
}
