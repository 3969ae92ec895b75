//! Rules of an exchange: how requests and transfers end, whatever order the packets take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use ilp_clp::{
    Confirmation, ExchangeEvent, ExchangeLimits, Failure, HandlerReply, IncomingAnswer, LocalFailure, ProtocolBuffer, Reply, Request,
    Settled, Transfer, Via,
};
use ilp_oer::clp::{Dialect, Entry, Fulfill, ProtocolData, Reject, RejectionReason};
use ilp_oer::{Amount, ErrorCode, TransferId};
use support::{End, Wire, at, conditional, data, error, fulfillment, id, pair, pair_2017};

fn wrong_fulfillment() -> ilp_oer::Fulfillment {
    ilp_oer::Fulfillment::new([0xee; 32])
}

#[test]
fn a_message_is_acknowledged_answered_or_refused() {
    let (mut a, mut b) = pair();
    for (n, reply) in [Ok(HandlerReply::ack()), Ok(HandlerReply::response(data("ilp", b"answer"))), Err(error(ErrorCode::F02_UNREACHABLE))]
        .into_iter()
        .enumerate()
    {
        let tag = u64::try_from(n).unwrap();
        a.request(tag, id(0), &data("ilp", b"question"), Transfer::None, 0);
        a.deliver_to(&mut b, 0);
        let (key, request) = b.take_request();
        assert_eq!((request.data.first_data().as_ref(), request.transfer, request.transfer_id), (&b"question"[..], Transfer::None, None));
        b.respond(key, reply.clone(), 0);
        b.deliver_to(&mut a, 0);
        let outcome = a.take_outcome(tag);
        match (n, outcome) {
            (0, Ok(Reply::Acked { data })) => assert!(data.is_empty()),
            (1, Ok(Reply::Response { data })) => assert_eq!(data.first_data().as_ref(), b"answer"),
            (2, Err(Failure::Remote { error, via: Via::Error, .. })) => assert_eq!(error.code(), ErrorCode::F02_UNREACHABLE),
            (n, outcome) => panic!("{n}: {outcome:?}"),
        }
    }
}

#[test]
fn a_conditional_transfer_is_acknowledged_at_once_and_then_fulfilled() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &data("ilp", b"payment"), conditional(1000), 0);
    a.deliver_to(&mut b, 0);
    assert_eq!(b.frame_types(), [1], "an Ack before the handler has decided");
    let (key, request) = b.take_request();
    assert_eq!((request.transfer, request.transfer_id), (conditional(1000), Some(id(1))));
    b.deliver_to(&mut a, 0);
    a.expect_no_outcome();
    b.respond(key, Ok(HandlerReply { fulfillment: Some(fulfillment()), data: data("ilp", b"thanks") }), 500);
    assert_eq!(b.frame_types(), [5]);
    b.deliver_to(&mut a, 500);
    let Ok(Reply::Fulfilled { fulfillment: got, data }) = a.take_outcome(1) else { panic!("not fulfilled") };
    assert_eq!((got, data.first_data().as_ref()), (fulfillment(), &b"thanks"[..]));
    assert_eq!(a.frame_types(), [1]);
    a.deliver_to(&mut b, 500);
    assert_eq!(b.take_settled(), Settled { transfer_id: id(1), fulfilled: true, confirmation: Confirmation::Acknowledged });
}

#[test]
fn a_handler_that_refuses_a_conditional_transfer_rejects_it() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.deliver_to(&mut b, 0);
    let key = b.take_request().0;
    b.deliver_to(&mut a, 0);
    b.respond(key, Err(error(ErrorCode::F06_UNEXPECTED_PAYMENT)), 1);
    assert_eq!(b.frame_types(), [6]);
    b.deliver_to(&mut a, 1);
    assert!(
        matches!(a.take_outcome(1), Err(Failure::Remote { error, via: Via::Reject, .. }) if error.code() == ErrorCode::F06_UNEXPECTED_PAYMENT)
    );
    a.deliver_to(&mut b, 1);
    assert!(!b.take_settled().fulfilled);
}

#[test]
fn a_fulfill_before_the_ack_counts_and_the_late_ack_is_ignored() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.deliver_to(&mut b, 0);
    let late_ack = b.out.frames.remove(0);
    let key = b.take_request().0;
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 1);
    b.deliver_to(&mut a, 1);
    assert!(matches!(a.take_outcome(1), Ok(Reply::Fulfilled { .. })));
    a.take(late_ack.clone(), 2);
    a.take(late_ack, 3);
    a.expect_no_outcome();
    assert_eq!(a.exchange.counters().unmatched_answers, 1);
}

#[test]
fn an_error_to_a_prepare_ends_the_transfer() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    let prepare = wire.requests(&mut a)[0];
    a.take(wire.error(prepare, ErrorCode::T04_INSUFFICIENT_LIQUIDITY), 1);
    assert!(matches!(a.take_outcome(1), Err(Failure::Remote { via: Via::Error, .. })));
    a.take(wire.request(Request::Fulfill(Fulfill { transfer_id: id(1), fulfillment: fulfillment(), data: ProtocolData::EMPTY })), 2);
    assert!(matches!(wire.answers(&mut a)[..], [IncomingAnswer::Error { .. }]), "too late for a fulfill");
}

#[test]
fn a_wrong_fulfillment_is_answered_f05_and_fails_the_request_for_good() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    wire.requests(&mut a);
    let fulfill = |fulfillment| Request::Fulfill(Fulfill { transfer_id: id(1), fulfillment, data: ProtocolData::EMPTY });
    a.take(wire.request(fulfill(wrong_fulfillment())), 1);
    assert_eq!(wire.error_codes(&mut a), [ErrorCode::F05_WRONG_CONDITION]);
    assert_eq!(a.take_outcome(1), Err(LocalFailure::WrongFulfillment.into()));
    a.take(wire.request(fulfill(fulfillment())), 2);
    assert_eq!(wire.error_codes(&mut a), [ErrorCode::R00_TRANSFER_TIMED_OUT]);
    a.expect_no_outcome();
}

#[test]
fn fulfills_and_rejects_of_unknown_transfers_are_errors() {
    let (mut a, mut wire) = a_against_wire();
    let error = error(ErrorCode::F00_BAD_REQUEST).ilp;
    let reason = RejectionReason::from_bytes(error.as_bytes()).unwrap();
    a.take(wire.request(Request::Fulfill(Fulfill { transfer_id: id(9), fulfillment: fulfillment(), data: ProtocolData::EMPTY })), 0);
    a.take(wire.request(Request::Reject(Reject { transfer_id: id(9), reason, data: ProtocolData::EMPTY })), 0);
    assert_eq!(wire.error_codes(&mut a), [ErrorCode::F00_BAD_REQUEST; 2]);
}

#[test]
fn a_repetition_of_what_decided_a_transfer_is_acknowledged_and_a_contradiction_is_not() {
    let error = error(ErrorCode::F06_UNEXPECTED_PAYMENT).ilp;
    let reason = RejectionReason::from_bytes(error.as_bytes()).unwrap();
    let fulfill = |fulfillment| Request::Fulfill(Fulfill { transfer_id: id(1), fulfillment, data: ProtocolData::EMPTY });
    let reject = Request::Reject(Reject { transfer_id: id(1), reason, data: ProtocolData::EMPTY });
    for (decision, contradictions) in [
        (
            fulfill(fulfillment()),
            vec![(reject, ErrorCode::F00_BAD_REQUEST), (fulfill(wrong_fulfillment()), ErrorCode::F05_WRONG_CONDITION)],
        ),
        (reject, vec![(fulfill(fulfillment()), ErrorCode::F00_BAD_REQUEST)]),
    ] {
        let (mut a, mut wire) = a_against_wire();
        a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
        wire.requests(&mut a);
        a.take(wire.request(decision), 1);
        let first = a.take_outcome(1);
        a.take(wire.request(decision), 2);
        assert!(matches!(wire.answers(&mut a)[..], [IncomingAnswer::Ack(_), IncomingAnswer::Ack(_)]), "{first:?}");
        for (contradiction, code) in contradictions {
            a.take(wire.request(contradiction), 3);
            assert_eq!(wire.error_codes(&mut a), [code]);
        }
        a.expect_no_outcome();
    }
}

#[test]
fn a_conditional_transfer_times_out_a_grace_after_its_expiry() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    let prepare = wire.requests(&mut a)[0];
    a.take(wire.ack(prepare), 1);
    a.tick(1999);
    a.expect_no_outcome();
    a.tick(2000);
    assert_eq!(a.take_outcome(1), Err(LocalFailure::TimedOut.into()));
    a.take(wire.request(Request::Fulfill(Fulfill { transfer_id: id(1), fulfillment: fulfillment(), data: ProtocolData::EMPTY })), 2000);
    assert_eq!(wire.error_codes(&mut a), [ErrorCode::R00_TRANSFER_TIMED_OUT]);
}

#[test]
fn a_fulfill_after_the_deadline_is_refused_even_if_no_timer_went_off_yet() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    wire.requests(&mut a);
    a.take(wire.request(Request::Fulfill(Fulfill { transfer_id: id(1), fulfillment: fulfillment(), data: ProtocolData::EMPTY })), 2000);
    assert_eq!(wire.error_codes(&mut a), [ErrorCode::R00_TRANSFER_TIMED_OUT]);
    assert_eq!(a.take_outcome(1), Err(LocalFailure::TimedOut.into()));
}

#[test]
fn a_missing_ack_does_not_end_a_transfer() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    wire.requests(&mut a);
    a.tick(900);
    a.take(wire.request(Request::Fulfill(Fulfill { transfer_id: id(1), fulfillment: fulfillment(), data: ProtocolData::EMPTY })), 950);
    assert!(matches!(a.take_outcome(1), Ok(Reply::Fulfilled { .. })));
}

#[test]
fn a_malformed_answer_fails_a_message_and_leaves_a_conditional_transfer_waiting() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(0), &ProtocolBuffer::EMPTY, Transfer::None, 0);
    a.request(2, id(2), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.request(3, id(3), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    for request in wire.requests(&mut a) {
        a.take(wire.malformed(request), 1);
    }
    assert_eq!(a.take_outcome(1), Err(LocalFailure::Malformed.into()));
    a.take(wire.request(Request::Fulfill(Fulfill { transfer_id: id(2), fulfillment: fulfillment(), data: ProtocolData::EMPTY })), 2);
    assert!(matches!(a.take_outcome(2), Ok(Reply::Fulfilled { .. })));
    a.tick(2000);
    assert_eq!(a.take_outcome(3), Err(LocalFailure::Malformed.into()));
}

#[test]
fn a_message_times_out_and_an_answer_after_that_is_ignored() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(0), &ProtocolBuffer::EMPTY, Transfer::None, 0);
    let request = wire.requests(&mut a)[0];
    a.tick(ExchangeLimits::default().answer_ms_max);
    assert_eq!(a.take_outcome(1), Err(LocalFailure::TimedOut.into()));
    a.take(wire.ack(request), ExchangeLimits::default().answer_ms_max);
    a.expect_no_outcome();
}

#[test]
fn closing_ends_every_request_once() {
    let (mut a, mut wire) = a_against_wire();
    a.request(1, id(0), &ProtocolBuffer::EMPTY, Transfer::None, 0);
    a.request(2, id(2), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    wire.requests(&mut a);
    a.close(5);
    assert_eq!((a.take_outcome(1), a.take_outcome(2)), (Err(LocalFailure::Closed.into()), Err(LocalFailure::Closed.into())));
    a.request(3, id(3), &ProtocolBuffer::EMPTY, Transfer::None, 6);
    assert_eq!(a.take_outcome(3), Err(LocalFailure::Closed.into()));
    assert_eq!(a.exchange.next_timeout(), None);
}

#[test]
fn what_cannot_be_sent_fails_here_and_sends_nothing() {
    let (mut a, _) = a_against_wire();
    let seed = ProtocolBuffer::new(Dialect::Seed, &[Entry::numbered(1, b"x")]).unwrap();
    a.request(1, id(1), &seed, Transfer::None, 0);
    assert!(matches!(a.take_outcome(1), Err(Failure::Local(LocalFailure::SendFailed(_)))));
    for (tag, expires) in [(2, 0), (3, -1), (4, 300_001)] {
        a.request(tag, id(2), &ProtocolBuffer::EMPTY, conditional(expires), 0);
        assert!(matches!(a.take_outcome(tag), Err(Failure::Local(LocalFailure::Expiry { .. }))), "{expires}");
    }
    assert_eq!(a.out.frames.len(), 0);
    a.request(5, id(5), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.request(6, id(5), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    assert_eq!(a.take_outcome(6), Err(LocalFailure::IdInUse.into()));
    assert_eq!(a.out.frames.len(), 1);
}

#[test]
fn unconditional_transfers_need_packet_type_8() {
    let pay = Transfer::Pay { amount: Amount::new(3) };
    let (mut a, mut b) = pair_2017();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, pay, 0);
    assert_eq!(a.take_outcome(1), Err(LocalFailure::NotNegotiated.into()));
    assert_eq!(a.out.frames.len(), 0);
    a.deliver_to(&mut b, 0);

    let (mut a, mut b) = pair();
    let pay_by = Transfer::PayBy { amount: Amount::new(3), expires_at: at(100) };
    for (tag, transfer) in [(1, pay), (2, pay_by)] {
        a.request(tag, TransferId::new([u8::try_from(tag).unwrap(); 16]), &data("ilp", b"x"), transfer, 0);
        assert_eq!(a.frame_types(), [8]);
        a.deliver_to(&mut b, 0);
        assert!(b.frame_types().is_empty(), "no Ack before the handler has decided");
        let (key, request) = b.take_request();
        assert_eq!(request.transfer, transfer);
        b.respond(key, Ok(HandlerReply::response(data("ilp", b"got it"))), 1);
        b.deliver_to(&mut a, 1);
        assert!(matches!(a.take_outcome(tag), Ok(Reply::Response { data }) if data.first_data().as_ref() == b"got it"));
    }
}

#[test]
fn an_unconditional_transfer_that_expires_stops_waiting_for_an_answer() {
    let (mut a, _b) = pair();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, Transfer::PayBy { amount: Amount::new(3), expires_at: at(100) }, 0);
    a.tick(99);
    a.expect_no_outcome();
    a.tick(100);
    assert_eq!(a.take_outcome(1), Err(LocalFailure::TimedOut.into()));
}

#[test]
fn the_same_prepare_again_is_answered_as_before_and_handed_out_once() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &data("ilp", b"payment"), conditional(1000), 0);
    let prepare = a.out.frames[0].clone();
    a.deliver_to(&mut b, 0);
    b.take(prepare.clone(), 1);
    assert_eq!(b.frame_types(), [1, 1], "acknowledged twice");
    let key = b.take_request().0;
    b.expect_no_request();
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 2);
    b.deliver_to(&mut a, 2);
    a.deliver_to(&mut b, 2);
    assert!(b.take_settled().fulfilled);
    b.take(prepare, 3);
    assert_eq!(b.frame_types(), [1, 5], "acknowledged and fulfilled again");
    b.expect_no_request();
    b.deliver_to(&mut a, 3);
    a.deliver_to(&mut b, 3);
    b.expect_no_settled();
}

#[test]
fn a_transfer_id_with_other_content_is_an_error_and_changes_nothing() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 1000, b"payment"), 0);
    let key = b.take_request().0;
    for (amount, expires, content) in [(6, 1000, &b"payment"[..]), (5, 1001, b"payment"), (5, 1000, b"another")] {
        b.take(wire.prepare(id(1), amount, expires, content), 1);
    }
    assert!(matches!(wire.answers(&mut b)[0], IncomingAnswer::Ack(_)));
    b.take(wire.prepare(id(1), 6, 1000, b"payment"), 1);
    assert_eq!(wire.error_codes(&mut b), [ErrorCode::F00_BAD_REQUEST]);
    b.expect_no_request();
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 2);
    assert_eq!(b.frame_types(), [5]);
}

#[test]
fn the_same_unconditional_transfer_again_gets_the_same_answer() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &data("ilp", b"x"), Transfer::Pay { amount: Amount::new(3) }, 0);
    let frame = a.out.frames[0].clone();
    a.deliver_to(&mut b, 0);
    let key = b.take_request().0;
    b.take(frame.clone(), 1);
    b.expect_no_request();
    b.respond(key, Ok(HandlerReply::response(data("ilp", b"once"))), 2);
    let first = b.out.frames.clone();
    assert_eq!(first.len(), 1);
    b.take(frame, 3);
    assert_eq!(b.out.frames[1], first[0]);
    b.expect_no_request();
}

#[test]
fn expired_and_too_long_prepares_are_refused_without_a_trace() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 0, b""), 0);
    assert_eq!(wire.error_codes(&mut b), [ErrorCode::R02_INSUFFICIENT_TIMEOUT]);
    b.take(wire.prepare(id(1), 5, 300_001, b""), 0);
    assert_eq!(wire.error_codes(&mut b), [ErrorCode::F00_BAD_REQUEST]);
    b.take(wire.prepare(id(1), 5, 1000, b""), 0);
    assert!(matches!(wire.answers(&mut b)[..], [IncomingAnswer::Ack(_)]));
}

#[test]
fn a_transfer_nobody_decided_is_rejected_at_its_expiry_and_a_later_decision_is_ignored() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 1000, b""), 0);
    let key = b.take_request().0;
    wire.answers(&mut b);
    b.tick(999);
    assert_eq!(b.out.frames.len(), 0);
    b.tick(1000);
    assert_eq!(b.frame_types(), [6]);
    let reject = wire.requests(&mut b)[0];
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 1001);
    assert_eq!(b.out.frames.len(), 0);
    b.take(wire.ack(reject), 1002);
    assert!(!b.take_settled().fulfilled);
}

#[test]
fn a_decision_at_the_expiry_is_too_late() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 1000, b""), 0);
    let key = b.take_request().0;
    wire.answers(&mut b);
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 1000);
    assert_eq!(b.frame_types(), [6]);
}

#[test]
fn a_handler_without_the_right_fulfillment_rejects_with_an_internal_error() {
    for reply in [HandlerReply::ack(), HandlerReply::fulfill(wrong_fulfillment())] {
        let (mut a, mut b) = pair();
        a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
        a.deliver_to(&mut b, 0);
        let key = b.take_request().0;
        b.respond(key, Ok(reply), 1);
        b.deliver_to(&mut a, 1);
        assert!(
            matches!(a.take_outcome(1), Err(Failure::Remote { error, via: Via::Reject, .. }) if error.code() == ErrorCode::T00_INTERNAL_ERROR)
        );
    }
}

#[test]
fn a_broken_handler_releases_the_hold_with_an_internal_error() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.deliver_to(&mut b, 0);
    let key = b.take_request().0;
    b.exchange.respond_panicked(key, at(1), &mut b.out);
    b.deliver_to(&mut a, 1);
    assert!(
        matches!(a.take_outcome(1), Err(Failure::Remote { error, via: Via::Reject, .. }) if error.code() == ErrorCode::T00_INTERNAL_ERROR)
    );
}

#[test]
fn a_fulfill_is_repeated_until_it_is_acknowledged() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 60_000, b""), 0);
    let key = b.take_request().0;
    wire.answers(&mut b);
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 0);
    let first = wire.requests(&mut b)[0];
    b.tick(2000);
    let second = wire.requests(&mut b)[0];
    assert_ne!(first, second, "a new request each time");
    b.expect_no_settled();
    b.take(wire.ack(second), 2001);
    assert_eq!(b.take_settled().confirmation, Confirmation::Acknowledged);
    b.tick(10_000);
    assert_eq!(b.out.frames.len(), 0);
}

#[test]
fn a_fulfill_is_not_repeated_after_the_expiry() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 3000, b""), 0);
    let key = b.take_request().0;
    wire.answers(&mut b);
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 0);
    b.tick(2000);
    assert_eq!(wire.requests(&mut b).len(), 2);
    b.tick(4000);
    assert_eq!(b.out.frames.len(), 0);
    assert_eq!(b.take_settled(), Settled { transfer_id: id(1), fulfilled: true, confirmation: Confirmation::Unknown });
}

#[test]
fn a_disputed_fulfill_is_reported() {
    let (mut b, mut wire) = a_against_wire();
    b.take(wire.prepare(id(1), 5, 3000, b""), 0);
    let key = b.take_request().0;
    wire.answers(&mut b);
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 0);
    let fulfill = wire.requests(&mut b)[0];
    b.take(wire.error(fulfill, ErrorCode::R00_TRANSFER_TIMED_OUT), 1);
    assert!(matches!(b.take_settled(), Settled { fulfilled: true, confirmation: Confirmation::Disputed(_), .. }));
}

#[test]
fn a_peer_that_does_not_dedupe_gets_nothing_twice() {
    let (mut b, mut a) = pair_2017();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(60_000), 0);
    let prepare = a.out.frames[0].clone();
    a.deliver_to(&mut b, 0);
    let key = b.take_request().0;
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 0);
    assert_eq!(b.frame_types(), [1, 5]);
    b.out.frames.clear();
    for ms in [2000, 10_000, 30_000] {
        b.tick(ms);
    }
    b.take(prepare.clone(), 30_001);
    assert_eq!(b.frame_types(), [1], "an Ack, but no second fulfill");
    b.take(wire_ack(1), 30_002);
    assert!(b.take_settled().fulfilled);
    b.out.frames.clear();
    b.take(prepare, 30_003);
    assert_eq!(b.frame_types(), [1], "nor one after the first was acknowledged");
}

#[test]
fn handlers_are_bounded() {
    let (mut b, mut wire) = a_against_wire();
    for n in 0..ExchangeLimits::default().handling_max {
        b.take(wire.request(Request::Message(ProtocolData::EMPTY)), 0);
        assert_eq!(b.out.events.len(), n + 1);
    }
    b.take(wire.request(Request::Message(ProtocolData::EMPTY)), 0);
    b.take(wire.prepare(id(1), 5, 1000, b""), 0);
    assert_eq!(wire.error_codes(&mut b), [ErrorCode::T03_CONNECTOR_BUSY; 2]);
    let key = b.take_request().0;
    b.respond(key, Ok(HandlerReply::ack()), 0);
    b.take(wire.prepare(id(1), 5, 1000, b""), 0);
    assert!(matches!(b.out.events.last(), Some(ExchangeEvent::Request { .. })));
}

#[test]
fn a_handlers_data_in_the_other_dialect_is_left_out_rather_than_the_answer() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.deliver_to(&mut b, 0);
    let key = b.take_request().0;
    let seed = ProtocolBuffer::new(Dialect::Seed, &[Entry::numbered(1, b"x")]).unwrap();
    b.respond(key, Ok(HandlerReply { fulfillment: Some(fulfillment()), data: seed }), 1);
    b.deliver_to(&mut a, 1);
    assert!(matches!(a.take_outcome(1), Ok(Reply::Fulfilled { data, .. }) if data.is_empty()));
}

#[test]
fn finished_transfers_are_forgotten() {
    let (mut a, mut b) = pair();
    a.request(1, id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
    a.deliver_to(&mut b, 0);
    let key = b.take_request().0;
    b.respond(key, Ok(HandlerReply::fulfill(fulfillment())), 1);
    b.deliver_to(&mut a, 1);
    a.deliver_to(&mut b, 1);
    for end in [&mut a, &mut b] {
        for ms in [1000, 4000, 10_000] {
            end.tick(ms);
        }
        assert_eq!(end.exchange.next_timeout(), None);
    }
}

/// An authenticated exchange whose other end is played by hand.
fn a_against_wire() -> (End, Wire) {
    let (a, _) = pair();
    (a, Wire::new())
}

fn wire_ack(request: u32) -> bytes::Bytes {
    Wire::new().ack(request)
}
