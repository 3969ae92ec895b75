//! What is checked before a transfer is held, and that a refusal leaves no trace.

use crate::bench::*;
use bytes::Bytes;
use ilp_core::link::{Answer, IncomingPrepare, LinkCommand, LinkEvent, Payload, SubProtocol};
use ilp_core::worker::Released;
use ilp_core::{AccountConfig, AccountId, Asset, Limits, Rate};
use ilp_oer::Amount;

/// Alice's prepare is refused with a code, and nothing of it stays.
fn refused(bench: &mut Bench, alice: ilp_core::worker::ConnectionId, event: LinkEvent) -> String {
    let (before, log) = (bench.status(), bench.log.len());
    let out = bench.event(alice, event);
    let mut after = bench.status();
    after.counters.refused = before.counters.refused;
    assert_eq!(after, before, "a refusal changed the books");
    assert_eq!(bench.log.len(), log, "a refusal was recorded");
    error_code(alice, &out)
}

fn connected() -> (Bench, ilp_core::worker::ConnectionId, ilp_core::worker::ConnectionId) {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    (bench, alice, bob)
}

fn with_payload(bench: &Bench, protocol: SubProtocol, data: &'static [u8]) -> LinkEvent {
    let LinkEvent::Prepare { request, mut transfer } = bench.prepare_event(1, "test.ann.bob", 10, 10_000) else { unreachable!() };
    transfer.payload = Payload { protocol, data: Bytes::from_static(data) };
    LinkEvent::Prepare { request, transfer }
}

#[test]
fn a_conditional_transfer_must_carry_an_ilp_payment() {
    let (mut bench, alice, _) = connected();
    // A liquidity request: type 2, its contents g.a and a hold of 3,000 ms.
    let quote: &[u8] = &[2, 9, 3, b'g', b'.', b'a', 0, 0, 11, 184, 0];
    for (protocol, data, code) in [
        (SubProtocol::Ilp, quote, "F00"),
        (SubProtocol::Ilqp, quote, "F00"),
        (SubProtocol::None, b"", "F00"),
        (SubProtocol::Ilp, b"\x01\x05abc", "F01"),
        (SubProtocol::Info, b"\x00", "L03"),
        (SubProtocol::Other, b"", "L03"),
    ] {
        let event = with_payload(&bench, protocol, data);
        assert_eq!(refused(&mut bench, alice, event), code, "{protocol:?} {data:?}");
    }
}

#[test]
fn an_unconditional_transfer_or_message_must_not_carry_an_ilp_payment() {
    let (mut bench, alice, _) = connected();
    let payload = Payload::ilp(payment("test.ann.bob", 5));
    let event = LinkEvent::Transfer { request: 1, id: transfer_id(1), amount: Amount::new(5), expires_at: None, payload: payload.clone() };
    assert_eq!(refused(&mut bench, alice, event), "F00");
    assert_eq!(refused(&mut bench, alice, LinkEvent::Message { request: 2, payload }), "F00");
}

#[test]
fn the_refusals_have_their_codes() {
    let (mut bench, alice, _) = connected();
    for (to, amount, expires_in, code) in [
        ("test.nobody", 10, 10_000, "F02"),
        ("test.ann.carol", 10, 10_000, "T01"), // not connected
        ("test.ann.bob", 10, 2_499, "R02"),
        ("test.ann.bob", 10, -1, "R02"),
        ("test.ann.bob", 10, 300_001, "F00"),
        ("test.ann.bob", 1_001, 10_000, "T04"),
        ("test.ann.bob", 1_000_001, 10_000, "F03"),
    ] {
        let event = bench.prepare_event(1, to, amount, expires_in);
        assert_eq!(refused(&mut bench, alice, event), code, "{to} {amount} {expires_in}");
    }
}

#[test]
fn what_is_just_within_the_limits_is_held() {
    let (mut bench, alice, bob) = connected();
    let event = bench.prepare_event(1, "test.ann.bob", 10, 2_500);
    assert!(is_ack(alice, &bench.event(alice, event)));
    let event = bench.prepare_event(2, "test.ann.bob", 10, 300_000);
    let out = bench.event(alice, event);
    assert!(is_ack(alice, &out));
    prepared(bob, &out);
}

#[test]
fn an_account_at_zero_with_credit_can_pay_and_stops_at_its_limit() {
    let (mut bench, alice, bob) = connected();
    assert!(is_ack(alice, &bench.prepare(alice, 1, "test.ann.bob", 600)));
    assert!(is_ack(alice, &bench.prepare(alice, 2, "test.ann.bob", 400)));
    let event = bench.prepare_event(3, "test.ann.bob", 1, 10_000);
    assert_eq!(refused(&mut bench, alice, event), "T04");
    assert_eq!(bench.balance("alice"), -1_000);
    // Bob has neither balance nor credit.
    let event = bench.prepare_event(4, "test.ann.alice", 1, 10_000);
    assert_eq!(refused(&mut bench, bob, event), "T04");
}

#[test]
fn two_payments_in_one_step_cannot_both_spend_the_same_balance() {
    let (mut bench, alice, _) = connected();
    let inputs =
        [1, 2].map(|n| ilp_core::worker::Input::Link { connection: alice, event: bench.prepare_event(n, "test.ann.bob", 800, 10_000) });
    let out = bench.step(inputs.into());
    let answers = to(alice, &out);
    assert!(matches!(
        answers.as_slice(),
        [LinkCommand::Answer { answer: Answer::Ack, .. }, LinkCommand::Answer { answer: Answer::Error(_), .. }]
    ));
    assert_eq!(bench.balance("alice"), -800);
}

#[test]
fn a_payment_is_admitted_iff_parallelism_times_its_amount_is_there_and_takes_the_amount() {
    let many = AccountConfig { credit_limit: 100, ..AccountConfig::new(AccountId::new(4, "many").unwrap(), Asset::new("XRP", 6)) };
    let mut bench = Bench::with(vec![many, account("bob", 0)], |_| {});
    let (many, _) = bench.connect("many");
    bench.connect("bob");
    assert!(is_ack(many, &bench.prepare(many, 1, "test.ann.bob", 25)));
    assert_eq!(bench.balance("many"), -25);
    // 75 are left: 4 × 19 is too much, 4 × 18 is not.
    assert_eq!(error_code(many, &bench.prepare(many, 2, "test.ann.bob", 19)), "T04");
    assert!(is_ack(many, &bench.prepare(many, 3, "test.ann.bob", 18)));
}

#[test]
fn the_limit_on_transfers_in_flight_refuses_and_recovers() {
    let limits = Limits { in_flight_per_account: 2, ..Limits::default() };
    let mut bench = Bench::with(vec![account("alice", 1_000), account("bob", 0)], |config| config.limits = limits);
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 1));
    bench.prepare(alice, 2, "test.ann.bob", 1);
    let event = bench.prepare_event(3, "test.ann.bob", 1, 10_000);
    assert_eq!(refused(&mut bench, alice, event), "T03");
    let (tag, _) = outcome(alice, &bench.fulfill(bob, first, 1));
    bench.answered(alice, tag, Answer::Ack);
    assert!(is_ack(alice, &bench.prepare(alice, 3, "test.ann.bob", 1)));
}

#[test]
fn the_cap_on_remembered_transfers_pushes_back_until_they_are_forgotten() {
    let limits = Limits { remembered_per_account: 2, ..Limits::default() };
    let mut bench = Bench::with(vec![account("alice", 1_000), account("bob", 0)], |config| config.limits = limits);
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    for n in [1, 2] {
        let (_, id) = prepared(bob, &bench.prepare(alice, n, "test.ann.bob", 1));
        let (tag, _) = outcome(alice, &bench.fulfill(bob, id, n));
        bench.answered(alice, tag, Answer::Ack);
    }
    let event = bench.prepare_event(3, "test.ann.bob", 1, 10_000);
    assert_eq!(refused(&mut bench, alice, event), "T03");
    bench.pass(11_020);
    assert!(is_ack(alice, &bench.prepare(alice, 4, "test.ann.bob", 1)));
    assert_eq!(bench.status().remembered, 1);
}

#[test]
fn a_repeated_prepare_gets_the_same_answer_and_is_charged_once() {
    let (mut bench, alice, bob) = connected();
    let event = bench.prepare_event(1, "test.ann.bob", 10, 10_000);
    prepared(bob, &bench.event(alice, event.clone()));
    let out = bench.event(alice, event);
    assert!(is_ack(alice, &out));
    assert!(to(bob, &out).is_empty(), "sent on twice");
    assert_eq!(bench.balance("alice"), -10);
}

#[test]
fn a_duplicate_on_a_new_connection_meets_the_first_and_gets_its_outcome() {
    let (mut bench, alice, bob) = connected();
    let event = bench.prepare_event(1, "test.ann.bob", 10, 10_000);
    let (_, id) = prepared(bob, &bench.event(alice, event.clone()));
    let (again, _) = bench.connect("alice");
    let out = bench.event(again, event.clone());
    assert!(is_ack(again, &out));
    assert!(to(bob, &out).is_empty());
    let (tag, result) = outcome(again, &bench.fulfill(bob, id, 1));
    assert_eq!(result, Ok(preimage(1)));
    bench.answered(again, tag, Answer::Ack);
    // Even after it was acknowledged: who asks again is told again.
    let (third, _) = bench.connect("alice");
    let out = bench.event(third, event);
    assert!(is_ack(third, &out));
    assert_eq!(outcome(third, &out).1, Ok(preimage(1)));
    assert_eq!((bench.balance("alice"), bench.balance("bob")), (-10, 10));
}

#[test]
fn the_same_id_with_other_content_is_an_error() {
    let (mut bench, alice, _) = connected();
    bench.prepare(alice, 1, "test.ann.bob", 10);
    let LinkEvent::Prepare { request, transfer } = bench.prepare_event(1, "test.ann.bob", 10, 10_000) else { unreachable!() };
    let changed: [fn(&mut IncomingPrepare); 4] = [
        |t| t.amount = Amount::new(11),
        |t| t.condition = condition(9),
        |t| t.expires_at = t.expires_at.saturating_add_millis(1),
        |t| t.payload = Payload::ilp(payment("test.ann.carol", 10)),
    ];
    for change in changed {
        let mut other = transfer.clone();
        change(&mut other);
        assert_eq!(refused(&mut bench, alice, LinkEvent::Prepare { request, transfer: other }), "F00");
    }
}

#[test]
fn the_same_id_of_another_account_is_another_transfer() {
    let mut bench = Bench::with(vec![account("alice", 100), account("bob", 0), account("carol", 100)], |_| {});
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (carol, _) = bench.connect("carol");
    prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    prepared(bob, &bench.prepare(carol, 1, "test.ann.bob", 20));
    assert_eq!((bench.balance("alice"), bench.balance("carol")), (-10, -20));
}

#[test]
fn a_refused_transfer_may_be_sent_again_under_its_id() {
    let (mut bench, alice, _) = connected();
    let event = bench.prepare_event(1, "test.ann.carol", 10, 10_000);
    assert_eq!(refused(&mut bench, alice, event.clone()), "T01");
    let (carol, _) = bench.connect("carol");
    prepared(carol, &bench.event(alice, event));
}

#[test]
fn the_refusal_says_which_limit_whose_and_how_much_was_left() {
    let (mut bench, alice, _) = connected();
    let out = bench.prepare(alice, 1, "test.ann.bob", 1_500);
    let sent = to(alice, &out);
    let [LinkCommand::Answer { answer: Answer::Error(reason), .. }] = sent.as_slice() else { panic!("{sent:?}") };
    let error = ilp_oer::ilp::ErrorPacket::decode(reason).unwrap();
    assert_eq!(error.triggered_by.as_str(), "test.ann");
    let text = std::str::from_utf8(error.data).unwrap();
    assert!(text.contains("alice") && text.contains("1000") && text.contains("1500"), "{text}");
}

#[test]
fn two_assets_are_converted_in_the_connectors_favour_and_each_conserves_its_sum() {
    let (xrp, eur) = (Asset::new("XRP", 6), Asset::new("EUR", 2));
    let dave = AccountConfig::new(id("dave"), eur.clone());
    let rate = Rate { from: xrp, to: eur, numerator: 3, denominator: 7 };
    let mut bench = Bench::with(vec![account("alice", 1_000), dave], |config| config.rates = vec![rate]);
    let (alice, _) = bench.connect("alice");
    let (dave, _) = bench.connect("dave");
    // 100 × 3/7 = 42.86: whatever arrives, 42.
    let LinkEvent::Prepare { request, mut transfer } = bench.prepare_event(1, "test.ann.dave", 100, 10_000) else { unreachable!() };
    transfer.payload = Payload::ilp(payment("test.ann.dave", 0));
    let out = bench.event(alice, LinkEvent::Prepare { request, transfer: transfer.clone() });
    let sent = to(dave, &out);
    let [LinkCommand::Prepare { id: first, amount, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(amount.get(), 42);
    bench.fulfill(dave, *first, 1);
    assert_eq!((bench.balance("alice"), bench.balance("dave")), (-100, 42));
    let own = |bench: &Bench| bench.status().own.iter().map(|(asset, own)| (asset.to_string(), *own)).collect::<Vec<_>>();
    assert_eq!(own(&bench), [("XRP/6".to_owned(), 100), ("EUR/2".to_owned(), -42)]);
    bench.check_books();
    // Exactly 42 shall arrive: 98 pay for it, 97 don't.
    for (n, amount, ok) in [(2, 97, false), (3, 98, true)] {
        transfer.id = transfer_id(n);
        transfer.amount = Amount::new(amount);
        transfer.payload = Payload::ilp(payment("test.ann.dave", 42));
        let out = bench.event(alice, LinkEvent::Prepare { request, transfer: transfer.clone() });
        match ok {
            true => assert!(is_ack(alice, &out)),
            false => assert_eq!(error_code(alice, &out), "R01"),
        }
    }
    // 2 × 3/7 is less than a unit: nothing is sent on for it. Where nothing is paid, nothing goes on.
    for (n, amount, ok) in [(4, 2, false), (5, 3, true), (6, 0, true)] {
        transfer.id = transfer_id(n);
        transfer.amount = Amount::new(amount);
        transfer.payload = Payload::ilp(payment("test.ann.dave", 0));
        let out = bench.event(alice, LinkEvent::Prepare { request, transfer: transfer.clone() });
        match ok {
            true => assert!(is_ack(alice, &out)),
            false => assert_eq!(error_code(alice, &out), "R01"),
        }
    }
    // No rate the other way.
    let (mut back, _) = (bench.prepare_event(9, "test.ann.alice", 1, 10_000), ());
    if let LinkEvent::Prepare { transfer, .. } = &mut back {
        transfer.amount = Amount::new(1);
    }
    assert_eq!(error_code(dave, &bench.event(dave, back)), "F02");
}

#[test]
fn the_difference_to_what_shall_arrive_stays_with_the_connector() {
    let (mut bench, alice, bob) = connected();
    let LinkEvent::Prepare { request, mut transfer } = bench.prepare_event(1, "test.ann.bob", 100, 10_000) else { unreachable!() };
    transfer.payload = Payload::ilp(payment("test.ann.bob", 90));
    let (_, id) = prepared(bob, &bench.event(alice, LinkEvent::Prepare { request, transfer }));
    bench.fulfill(bob, id, 1);
    assert_eq!((bench.balance("alice"), bench.balance("bob"), bench.own()), (-100, 90, 10));
    bench.check_books();
}

#[test]
fn an_unconditional_transfer_is_charged_once() {
    let (mut bench, alice, _) = connected();
    let event = LinkEvent::Transfer { request: 1, id: transfer_id(1), amount: Amount::new(5), expires_at: None, payload: Payload::EMPTY };
    assert!(is_ack(alice, &bench.event(alice, event.clone())));
    assert!(is_ack(alice, &bench.event(alice, event)));
    assert_eq!((bench.balance("alice"), bench.own()), (-5, 5));
    bench.check_books();
    let bench = bench.crash();
    assert_eq!((bench.balance("alice"), bench.own()), (-5, 5));
}

#[test]
fn a_removed_account_drains_and_is_closed_at_zero_or_by_write_off() {
    use ilp_core::AccountError;
    use ilp_core::worker::Input;
    let (mut bench, alice, bob) = connected();
    let (_, transfer) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let out = bench.input(Input::RemoveAccount { id: id("bob"), write_off: false, reply: 50 });
    assert!(out.is_empty(), "still in flight: {out:?}");
    assert_eq!(error_code(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)), "F02");
    let out = bench.fulfill(bob, transfer, 1);
    let refused = |effect: &Released| matches!(effect, Released::Account(50, Err(AccountError::Balance { balance: 10, .. })));
    assert!(out.iter().any(refused), "{out:?}");
    // It goes on as before, until somebody says what shall become of the 10.
    assert!(is_ack(alice, &bench.prepare(alice, 3, "test.ann.bob", 0)));
    bench.pass(12_000);
    let out = bench.input(Input::RemoveAccount { id: id("bob"), write_off: true, reply: 51 });
    assert!(out.iter().any(|effect| matches!(effect, Released::Account(51, Ok(())))), "{out:?}");
    assert!(to(bob, &out).iter().any(|command| matches!(command, LinkCommand::Close { .. })));
    assert_eq!((bench.balance("alice"), bench.own()), (-10, 10));
    bench.check_books();
}
