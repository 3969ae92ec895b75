//! The answer to the sender is state until it is acknowledged; and a peer that doesn't dedupe is never sent anything twice.

use crate::bench::*;
use ilp_core::link::Answer;
use ilp_core::worker::ConnectionId;

fn fulfilled(mut bench: Bench) -> (Bench, ConnectionId, u64) {
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    (bench, alice, tag)
}

#[test]
fn an_answer_is_sent_again_on_every_new_connection_until_it_is_acknowledged() {
    let (mut bench, alice, _) = fulfilled(Bench::new());
    bench.disconnect(alice);
    let mut last = (alice, 0);
    for _ in 0..3 {
        let (again, out) = bench.connect("alice");
        let (tag, result) = outcome(again, &out);
        assert_eq!(result, Ok(preimage(1)));
        last = (again, tag);
    }
    bench.answered(last.0, last.1, Answer::Ack);
    let (again, out) = bench.connect("alice");
    assert!(to(again, &out).is_empty(), "{out:?}");
    assert_eq!(bench.status().in_flight, 0);
}

#[test]
fn a_lost_ack_leaves_the_answer_owed() {
    let (mut bench, alice, tag) = fulfilled(Bench::new());
    for answer in [Answer::TimedOut, Answer::Lost] {
        bench.answered(alice, tag, answer);
    }
    let (again, out) = bench.connect("alice");
    assert_eq!(outcome(again, &out).1, Ok(preimage(1)));
}

#[test]
fn a_reject_is_owed_like_a_fulfill() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    bench.disconnect(alice);
    bench.reject(bob, id);
    let (again, out) = bench.connect("alice");
    let (tag, result) = outcome(again, &out);
    assert_eq!(code_of(result), "F99");
    bench.answered(again, tag, Answer::Ack);
    let (third, out) = bench.connect("alice");
    assert!(to(third, &out).is_empty());
}

#[test]
fn an_answer_is_owed_until_the_senders_expiry_and_grace_and_is_then_unconfirmed() {
    let (mut bench, alice, _) = fulfilled(Bench::new());
    bench.disconnect(alice);
    bench.pass(10_900);
    assert_eq!(bench.status().counters.unconfirmed, 0);
    bench.pass(120);
    assert_eq!(bench.status().counters.unconfirmed, 1);
    let (again, out) = bench.connect("alice");
    assert!(to(again, &out).is_empty(), "{out:?}");
    assert_eq!(bench.balance("alice"), -10, "it stays charged");
    bench.check_books();
}

#[test]
fn an_owed_answer_survives_a_crash() {
    let (bench, _, _) = fulfilled(Bench::new());
    let mut bench = bench.crash();
    let (alice, out) = bench.connect("alice");
    let (tag, result) = outcome(alice, &out);
    assert_eq!(result, Ok(preimage(1)));
    bench.answered(alice, tag, Answer::Ack);
    // The acknowledgement waits for company; here it has some.
    bench.prepare(alice, 2, "test.ann.bob", 0);
    let (bob, _) = bench.connect("bob");
    bench.prepare(alice, 3, "test.ann.bob", 1);
    let _ = bob;
    let mut bench = bench.crash();
    let (alice, out) = bench.connect("alice");
    assert!(to(alice, &out).is_empty(), "{out:?}");
}

#[test]
fn an_acknowledgement_alone_makes_no_commit() {
    let (mut bench, alice, tag) = fulfilled(Bench::new());
    let before = bench.log.len();
    bench.answered(alice, tag, Answer::Ack);
    assert_eq!(bench.log.len(), before);
    bench.worker.flush();
    bench.step(Vec::new());
    assert_eq!(bench.log.len(), before + 1);
}

#[test]
fn an_unacknowledged_prepare_is_sent_again_on_a_new_connection_and_an_acknowledged_one_is_not() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, second) = prepared(bob, &bench.prepare(alice, 2, "test.ann.bob", 10));
    bench.answered(bob, tag, Answer::Ack);
    let (bob, out) = bench.connect("bob");
    let (_, again) = prepared(bob, &out);
    assert_eq!(again, first);
    assert_ne!(again, second);
}

#[test]
fn a_new_connection_replaces_the_old_one_which_is_closed() {
    use ilp_core::link::LinkCommand;
    let mut bench = Bench::new();
    let (old, _) = bench.connect("alice");
    let (new, out) = bench.connect("alice");
    assert!(matches!(to(old, &out).as_slice(), [LinkCommand::Close { .. }]), "{out:?}");
    // The old one has no say any more.
    assert!(bench.prepare(old, 1, "test.ann.bob", 1).is_empty());
    bench.disconnect(old);
    assert!(bench.status().accounts[0].connected);
    bench.disconnect(new);
    assert!(!bench.status().accounts[0].connected);
}

#[test]
fn a_2017_next_hop_is_never_sent_a_prepare_twice_and_its_hold_waits_for_the_time() {
    let mut bench = Bench::with(vec![account("alice", 100), of_2017("bob", 0)], |_| {});
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    bench.disconnect(bob);
    let (bob, out) = bench.connect("bob");
    assert!(to(bob, &out).is_empty(), "{out:?}");
    let mut bench = bench.crash();
    let (bob, out) = bench.connect("bob");
    assert!(to(bob, &out).is_empty(), "{out:?}");
    assert_eq!(bench.status().accounts[0].totals.incoming_prepared, 10);
    // It may still fulfill.
    assert!(is_ack(bob, &bench.fulfill(bob, id, 1)));
    assert_eq!(bench.balance("bob"), 10);
}

#[test]
fn a_2017_sender_is_never_sent_an_answer_twice() {
    for crash in [false, true] {
        let mut bench = Bench::with(vec![of_2017("alice", 100), account("bob", 0)], |_| {});
        let (alice, _) = bench.connect("alice");
        let (bob, _) = bench.connect("bob");
        let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
        let (_, second) = prepared(bob, &bench.prepare(alice, 2, "test.ann.bob", 10));
        let _ = outcome(alice, &bench.fulfill(bob, first, 1));
        let _ = outcome(alice, &bench.reject(bob, second));
        if crash {
            bench = bench.crash();
        }
        let (alice, out) = bench.connect("alice");
        assert!(to(alice, &out).is_empty(), "{out:?}");
        // Not even if it asks.
        let event = bench.prepare_event(1, "test.ann.bob", 10, 10_000);
        let out = bench.event(alice, event);
        assert!(is_ack(alice, &out));
        assert_eq!(to(alice, &out).len(), 1, "{out:?}");
    }
}

#[test]
fn a_2017_sender_that_was_away_gets_its_answer_once() {
    let mut bench = Bench::with(vec![of_2017("alice", 100), account("bob", 0)], |_| {});
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    bench.disconnect(alice);
    bench.fulfill(bob, id, 1);
    let (alice, out) = bench.connect("alice");
    assert_eq!(outcome(alice, &out).1, Ok(preimage(1)));
    let (alice, out) = bench.connect("alice");
    assert!(to(alice, &out).is_empty());
}

#[test]
fn a_2017_sender_gets_an_answer_that_was_decided_after_a_crash_once() {
    for fulfilled in [true, false] {
        let mut bench = Bench::with(vec![of_2017("alice", 100), account("bob", 0)], |_| {});
        let (alice, _) = bench.connect("alice");
        let (bob, _) = bench.connect("bob");
        let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
        let mut bench = bench.crash();
        // Only the prepare may have been sent before: nobody can have sent what wasn't known.
        let (alice, out) = bench.connect("alice");
        assert!(to(alice, &out).is_empty(), "{out:?}");
        let (bob, _) = bench.connect("bob");
        let out = if fulfilled { bench.fulfill(bob, id, 1) } else { bench.reject(bob, id) };
        assert_eq!(outcome(alice, &out).1.is_ok(), fulfilled);
        let (alice, out) = bench.connect("alice");
        assert!(to(alice, &out).is_empty(), "{out:?}");
        let (alice, out) = bench.crash().connect("alice");
        assert!(to(alice, &out).is_empty(), "{out:?}");
    }
}
