//! A hold ends in three ways, and in no other.

use crate::bench::*;
use ilp_core::link::{Answer, LinkCommand};
use ilp_core::worker::{ConnectionId, Released};
use ilp_oer::TransferId;
use ilp_oer::ilp::ErrorPacket;

struct Held {
    bench: Bench,
    alice: ConnectionId,
    bob: ConnectionId,
    tag: u64,
    id: TransferId,
}

/// Alice's payment 1 of 10 to bob is held, and with bob.
fn held() -> Held {
    held_by(Bench::new())
}

fn held_by(mut bench: Bench) -> Held {
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (tag, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    Held { bench, alice, bob, tag, id }
}

impl Held {
    fn assert_held(&self) {
        assert_eq!((self.bench.balance("alice"), self.bench.balance("bob"), self.bench.own()), (-10, 0, 0));
        assert_eq!(self.bench.status().accounts[0].totals.incoming_prepared, 10);
    }

    fn assert_refunded(&self) {
        assert_eq!((self.bench.balance("alice"), self.bench.balance("bob"), self.bench.own()), (0, 0, 0));
    }
}

#[test]
fn the_outgoing_prepare_has_what_came_in_a_new_id_with_the_slot_and_an_earlier_expiry() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let out = bench.prepare(alice, 1, "test.ann.bob.hi", 10);
    let sent = to(bob, &out);
    let [LinkCommand::Prepare { id, amount, condition: c, expires_at, packet, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(&id.as_bytes()[..2], &[0, 7], "the slot's number");
    assert_ne!(*id, transfer_id(1));
    assert_eq!((amount.get(), *c), (10, condition(1)));
    assert_eq!(*expires_at, bench.after(8_000));
    assert_eq!(*packet, payment("test.ann.bob.hi", 10));
}

#[test]
fn a_matching_fulfill_ends_the_hold_pays_the_next_hop_and_fulfills_the_sender() {
    let mut h = held();
    let out = h.bench.fulfill(h.bob, h.id, 1);
    assert!(is_ack(h.bob, &out));
    assert_eq!(outcome(h.alice, &out).1, Ok(preimage(1)));
    assert_eq!((h.bench.balance("alice"), h.bench.balance("bob"), h.bench.own()), (-10, 10, 0));
    h.bench.check_books();
}

#[test]
fn a_fulfill_before_the_ack_counts() {
    let mut h = held();
    let out = h.bench.fulfill(h.bob, h.id, 1);
    assert_eq!(outcome(h.alice, &out).1, Ok(preimage(1)));
    assert!(h.bench.answered(h.bob, h.tag, Answer::Ack).is_empty());
    assert!(h.bench.answered(h.bob, h.tag, Answer::Error(error_bytes("T00", "test.bob"))).is_empty());
    assert_eq!(h.bench.balance("bob"), 10);
}

#[test]
fn a_reject_ends_the_hold_and_goes_back_with_our_address_added() {
    let mut h = held();
    let out = h.bench.reject(h.bob, h.id);
    assert!(is_ack(h.bob, &out));
    let (_, result) = outcome(h.alice, &out);
    let reason = result.unwrap_err();
    let error = ErrorPacket::decode(&reason).unwrap();
    assert_eq!((error.code.as_str(), error.triggered_by.as_str(), error.data), ("F99", "test.bob", &b"why"[..]));
    assert_eq!(error.forwarded_by.iter().map(|a| a.as_str().to_owned()).collect::<Vec<_>>(), ["test.ann"]);
    h.assert_refunded();
}

#[test]
fn outgoing_expiry_and_grace_end_the_hold() {
    let mut h = held();
    let out = h.bench.pass(8_000 + 999);
    assert!(out.is_empty(), "{out:?}");
    h.assert_held();
    let out = h.bench.pass(1 + 10);
    assert_eq!(code_of(outcome(h.alice, &out).1), "R00");
    h.assert_refunded();
    // What comes now is too late.
    assert_eq!(error_code(h.bob, &h.bench.fulfill(h.bob, h.id, 1)), "F00");
    h.assert_refunded();
}

#[test]
fn an_error_to_a_prepare_sent_exactly_once_ends_the_hold() {
    let mut h = held();
    let out = h.bench.answered(h.bob, h.tag, Answer::Error(error_bytes("F02", "test.bob")));
    assert_eq!(code_of(outcome(h.alice, &out).1), "F02");
    h.assert_refunded();
}

#[test]
fn an_error_to_a_prepare_sent_again_does_not_end_the_hold() {
    let mut h = held();
    let (bob, out) = h.bench.connect("bob");
    let (tag, id) = prepared(bob, &out);
    assert_eq!(id, h.id, "sent again under its id");
    let out = h.bench.answered(bob, tag, Answer::Error(error_bytes("F00", "test.bob")));
    assert!(to(h.alice, &out).is_empty(), "{out:?}");
    h.assert_held();
    assert_eq!(outcome(h.alice, &h.bench.fulfill(bob, id, 1)).1, Ok(preimage(1)));
}

#[test]
fn neither_a_missing_nor_a_lost_ack_nor_a_closed_socket_ends_the_hold() {
    let mut h = held();
    for answer in [Answer::TimedOut, Answer::Lost] {
        assert!(h.bench.answered(h.bob, h.tag, answer).is_empty());
        h.assert_held();
    }
    assert!(h.bench.disconnect(h.bob).is_empty());
    h.assert_held();
    assert!(h.bench.disconnect(h.alice).is_empty());
    h.assert_held();
    let out = h.bench.pass(5_000);
    assert!(out.is_empty());
    h.assert_held();
    let (bob, _) = h.bench.connect("bob");
    assert!(is_ack(bob, &h.bench.fulfill(bob, h.id, 1)));
    assert_eq!(h.bench.balance("bob"), 10);
}

#[test]
fn a_late_ack_changes_nothing() {
    let mut h = held();
    h.bench.pass(9_100);
    h.assert_refunded();
    assert!(h.bench.answered(h.bob, h.tag, Answer::Ack).is_empty());
    h.assert_refunded();
}

#[test]
fn a_prepare_that_was_never_handed_to_a_socket_ends_the_hold() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    bench.durable = false;
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.disconnect(bob);
    bench.durable = true;
    let mut out = bench.make_durable();
    assert!(to(bob, &out).is_empty());
    out.extend(bench.step(Vec::new()));
    assert_eq!(code_of(outcome(alice, &out).1), "T01");
    assert_eq!(bench.balance("alice"), 0);
}

#[test]
fn a_prepare_with_too_little_time_left_at_release_is_dropped() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    bench.durable = false;
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.now += 7_501;
    bench.durable = true;
    let mut out = bench.make_durable();
    out.extend(bench.step(Vec::new()));
    assert!(to(bob, &out).is_empty(), "{out:?}");
    assert_eq!(code_of(outcome(alice, &out).1), "R00");
    assert_eq!(bench.balance("alice"), 0);
}

#[test]
fn a_wrong_fulfillment_is_refused_and_the_hold_goes_on() {
    let mut h = held();
    assert_eq!(error_code(h.bob, &h.bench.fulfill(h.bob, h.id, 2)), "F05");
    h.assert_held();
    assert!(is_ack(h.bob, &h.bench.fulfill(h.bob, h.id, 1)));
}

#[test]
fn only_the_account_a_transfer_went_to_can_fulfill_or_reject_it() {
    let mut h = held();
    let (carol, _) = h.bench.connect("carol");
    for stranger in [carol, h.alice] {
        assert_eq!(error_code(stranger, &h.bench.fulfill(stranger, h.id, 1)), "F00");
        assert_eq!(error_code(stranger, &h.bench.reject(stranger, h.id)), "F00");
    }
    h.assert_held();
    assert_eq!(error_code(h.bob, &h.bench.fulfill(h.bob, transfer_id(1), 1)), "F00");
}

#[test]
fn what_repeats_the_decision_succeeds_and_what_contradicts_it_does_not() {
    let mut h = held();
    h.bench.fulfill(h.bob, h.id, 1);
    let again = h.bench.fulfill(h.bob, h.id, 1);
    assert!(is_ack(h.bob, &again) && to(h.alice, &again).is_empty(), "{again:?}");
    assert_eq!(error_code(h.bob, &h.bench.reject(h.bob, h.id)), "F00");
    assert_eq!(error_code(h.bob, &h.bench.fulfill(h.bob, h.id, 2)), "F00");
    assert_eq!(h.bench.balance("bob"), 10);

    let mut h = held();
    h.bench.reject(h.bob, h.id);
    let again = h.bench.reject(h.bob, h.id);
    assert!(is_ack(h.bob, &again) && to(h.alice, &again).is_empty(), "{again:?}");
    assert_eq!(error_code(h.bob, &h.bench.fulfill(h.bob, h.id, 1)), "F00");
    h.assert_refunded();
}

#[test]
fn nothing_is_released_before_its_batch_is_durable_and_then_in_order() {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    bench.durable = false;
    assert!(bench.prepare(alice, 1, "test.ann.bob", 10).is_empty());
    assert!(bench.prepare(alice, 2, "test.ann.nobody-here", 10).is_empty());
    let out = bench.make_durable();
    let requests: Vec<u32> = to(alice, &out)
        .iter()
        .filter_map(|command| match command {
            LinkCommand::Answer { request, .. } => Some(*request),
            _ => None,
        })
        .collect();
    assert_eq!(requests, [1, 2]);
    prepared(bob, &out);
}

#[test]
fn a_held_transfer_survives_a_crash_and_leaves_as_it_was_recorded() {
    let h = held();
    let mut bench = h.bench.crash();
    let (bob, out) = bench.connect("bob");
    let sent = to(bob, &out);
    let [LinkCommand::Prepare { tag, id, amount, expires_at, packet, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((*id, amount.get(), packet.clone()), (h.id, 10, payment("test.ann.bob", 10)));
    assert_eq!(*expires_at, bench.after(8_000));
    // It may have been sent before: an Error says nothing.
    bench.answered(bob, *tag, Answer::Error(error_bytes("F00", "test.bob")));
    assert_eq!(bench.status().accounts[0].totals.incoming_prepared, 10);
    let (alice, _) = bench.connect("alice");
    assert_eq!(outcome(alice, &bench.fulfill(bob, h.id, 1)).1, Ok(preimage(1)));
    bench.check_books();
}

#[test]
fn the_route_is_not_computed_again_after_the_record() {
    let Held { bench, id: first, .. } = held();
    let mut bench = bench;
    // Carol takes over an address below bob's; what is held for bob stays bob's.
    bench.accounts[2].routes = vec![ilp_oer::Address::new("test.ann.bob.hi").unwrap()];
    let mut bench = bench.crash();
    let (carol, out) = bench.connect("carol");
    assert!(to(carol, &out).is_empty());
    let (bob, out) = bench.connect("bob");
    assert_eq!(prepared(bob, &out).1, first);
}

#[test]
fn a_payment_of_our_own_ends_like_any_other() {
    use ilp_core::worker::{Input, Pay};
    let mut bench = Bench::new();
    let (bob, _) = bench.connect("bob");
    let pay = |bench: &Bench, n: u8| {
        Input::Pay(Pay {
            id: n.into(),
            destination: ilp_oer::Address::new("test.ann.bob").unwrap(),
            amount: ilp_oer::Amount::new(10),
            condition: condition(n),
            expires_at: bench.after(8_000),
            data: bytes::Bytes::new(),
        })
    };
    let input = pay(&bench, 1);
    let (_, first) = prepared(bob, &bench.input(input));
    let out = bench.fulfill(bob, first, 1);
    assert!(out.iter().any(|effect| matches!(effect, Released::Paid(1, Ok(f)) if *f == preimage(1))), "{out:?}");
    assert_eq!((bench.balance("bob"), bench.own()), (10, -10));
    let input = pay(&bench, 2);
    bench.input(input);
    let out = bench.pass(9_010);
    assert!(out.iter().any(|effect| matches!(effect, Released::Paid(2, Err(_)))), "{out:?}");
    assert_eq!((bench.balance("bob"), bench.own()), (10, -10));
    bench.check_books();
}

#[test]
fn a_payment_to_our_own_address_goes_to_the_receiver() {
    use ilp_core::worker::Input;
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let out = bench.prepare(alice, 1, "test.ann.shop.42", 10);
    let delivery = out.iter().find_map(|effect| match effect {
        Released::Deliver(delivery, payment) => Some((*delivery, payment.clone())),
        _ => None,
    });
    let (delivery, incoming) = delivery.unwrap();
    assert_eq!((incoming.amount.get(), incoming.destination.as_str(), &*incoming.data), (10, "test.ann.shop.42", &b"hello"[..]));
    let out = bench.input(Input::Received { delivery, result: Ok(preimage(1)) });
    assert_eq!(outcome(alice, &out).1, Ok(preimage(1)));
    assert_eq!((bench.balance("alice"), bench.own()), (-10, 10));
    bench.check_books();
    // A receiver that gives a wrong preimage has refused.
    let out = bench.prepare(alice, 2, "test.ann", 10);
    let delivery = out.iter().find_map(|effect| if let Released::Deliver(delivery, _) = effect { Some(*delivery) } else { None });
    let out = bench.input(Input::Received { delivery: delivery.unwrap(), result: Ok(preimage(1)) });
    assert_eq!(code_of(outcome(alice, &out).1), "F05");
    assert_eq!(bench.balance("alice"), -10);
}
