//! What one account may use, and that it costs nobody else anything.

use crate::bench::*;
use ilp_core::link::{Answer, LinkCommand, LinkEvent};
use ilp_core::worker::Input;
use ilp_core::{AccountConfig, Limits};
use ilp_oer::ilp::{AddrList, ErrorPacket};

fn limited(limits: Limits) -> Bench {
    Bench::with(vec![account("alice", 1_000), account("carol", 1_000), account("bob", 0)], |config| config.limits = limits)
}

/// The code of an error and its text.
fn why(sent: &[LinkCommand]) -> (String, String) {
    match sent {
        [LinkCommand::Answer { answer: Answer::Error(reason), .. }] => {
            let error = ErrorPacket::decode(reason).unwrap();
            (error.code.as_str().to_owned(), String::from_utf8_lossy(error.data).into_owned())
        }
        other => panic!("not one error but {other:?}"),
    }
}

#[test]
fn a_next_hop_that_answers_nothing_fills_up_whoever_sends_to_it() {
    let mut bench = limited(Limits { in_flight_per_account: 2, ..Limits::default() });
    let ((alice, _), (carol, _), (bob, _)) = (bench.connect("alice"), bench.connect("carol"), bench.connect("bob"));
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 1));
    assert!(is_ack(carol, &bench.prepare(carol, 2, "test.ann.bob", 1)));
    let out = bench.prepare(carol, 3, "test.ann.bob", 1);
    assert_eq!(why(&to(carol, &out)), ("T03".into(), "account bob has 2 transfers in flight, the maximum".into()));
    bench.reject(bob, first);
    assert!(is_ack(carol, &bench.prepare(carol, 4, "test.ann.bob", 1)));
    bench.check_books();
}

#[test]
fn memory_for_transfers_in_flight_is_limited_by_account() {
    let packet = payment("test.ann.bob", 1).len();
    let each = Limits::TRANSFER_BYTES + packet;
    let mut bench = limited(Limits { in_flight_bytes_per_account: 2 * each, ..Limits::default() });
    let ((alice, _), (_, _), (bob, _)) = (bench.connect("alice"), bench.connect("carol"), bench.connect("bob"));
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 1));
    assert!(is_ack(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)));
    let (code, text) = why(&to(alice, &bench.prepare(alice, 3, "test.ann.bob", 1)));
    assert_eq!((code.as_str(), text), ("T03", format!("account alice has {} bytes of transfers in flight, the maximum", 2 * each)));
    // An answer that is owed counts until it is acknowledged.
    let (tag, _) = outcome(alice, &bench.fulfill(bob, first, 1));
    assert_eq!(why(&to(alice, &bench.prepare(alice, 4, "test.ann.bob", 1))).0, "T03");
    bench.answered(alice, tag, Answer::Ack);
    assert!(is_ack(alice, &bench.prepare(alice, 5, "test.ann.bob", 1)));
}

#[test]
fn what_is_counted_is_the_same_after_a_crash_and_nothing_when_all_is_over() {
    let packet = payment("test.ann.bob", 1).len();
    let limits = Limits { in_flight_bytes_per_account: 3 * (Limits::TRANSFER_BYTES + packet), ..Limits::default() };
    let mut bench = limited(limits);
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 1));
    let (_, second) = prepared(bob, &bench.prepare(alice, 2, "test.ann.bob", 1));
    bench.fulfill(bob, first, 1);
    let mut bench = bench.crash();
    let ((alice, out), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    let (tag, _) = outcome(alice, &out);
    assert!(is_ack(alice, &bench.prepare(alice, 3, "test.ann.bob", 1)));
    let (_, text) = why(&to(alice, &bench.prepare(alice, 4, "test.ann.bob", 1)));
    assert!(text.contains("bytes of transfers in flight"), "{text}");
    bench.answered(alice, tag, Answer::Ack);
    let (tag, _) = outcome(alice, &bench.reject(bob, second));
    bench.answered(alice, tag, Answer::Ack);
    // The last one times out.
    let out = bench.pass(20_000);
    let (tag, _) = outcome(alice, &out);
    bench.answered(alice, tag, Answer::Ack);
    for n in 10..13 {
        assert!(is_ack(alice, &bench.prepare(alice, n, "test.ann.bob", 1)), "{n}");
    }
}

#[test]
fn value_in_flight_is_limited_both_ways() {
    let narrow = |name: &str, credit, max_in_flight| AccountConfig { max_in_flight, ..account(name, credit) };
    let accounts = vec![narrow("alice", 1_000, 100), account("carol", 1_000), narrow("bob", 0, 150)];
    let mut bench = Bench::with(accounts, |_| {});
    let ((alice, _), (carol, _), (bob, _)) = (bench.connect("alice"), bench.connect("carol"), bench.connect("bob"));
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 100));
    let (code, text) = why(&to(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)));
    assert_eq!((code.as_str(), text.as_str()), ("T03", "account alice has 100 units of value in flight, the maximum"));
    assert!(is_ack(carol, &bench.prepare(carol, 3, "test.ann.bob", 50)));
    let (_, text) = why(&to(carol, &bench.prepare(carol, 4, "test.ann.bob", 1)));
    assert_eq!(text, "account bob has 150 units of value in flight, the maximum");
    // Decided is decided, acknowledged or not.
    bench.fulfill(bob, first, 1);
    assert!(is_ack(alice, &bench.prepare(alice, 5, "test.ann.bob", 100)));
}

#[test]
fn a_peer_that_reads_too_slowly_gets_no_new_payments_until_it_has_read() {
    let mut bench = limited(Limits { output_backlog: 4_096, ..Limits::default() });
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    bench.input(Input::Congested { connection: bob, congested: true });
    let (code, text) = why(&to(alice, &bench.prepare(alice, 1, "test.ann.bob", 1)));
    assert_eq!((code.as_str(), text.as_str()), ("T03", "account bob has 4096 bytes waiting to be read by its peer, the maximum"));
    bench.input(Input::Congested { connection: bob, congested: false });
    assert!(is_ack(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)));
    // What held for one connection doesn't for the next.
    bench.input(Input::Congested { connection: bob, congested: true });
    bench.connect("bob");
    assert!(is_ack(alice, &bench.prepare(alice, 3, "test.ann.bob", 1)));
}

#[test]
fn what_ends_transfers_comes_before_what_begins_some() {
    let mut bench = limited(Limits { in_flight_per_account: 1, ..Limits::default() });
    let ((alice, _), (carol, _), (bob, _)) = (bench.connect("alice"), bench.connect("carol"), bench.connect("bob"));
    let (_, first) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 1));
    let prepare = Input::Link { connection: carol, event: bench.prepare_event(2, "test.ann.bob", 1, 10_000) };
    let fulfill = LinkEvent::Fulfill { request: 900, id: first, fulfillment: preimage(1) };
    let out = bench.step(vec![prepare, Input::Link { connection: bob, event: fulfill }]);
    assert!(is_ack(carol, &out), "{out:?}");
    assert!(is_ack(bob, &out), "{out:?}");
}

#[test]
fn a_connection_that_was_replaced_is_not_answered() {
    let mut bench = limited(Limits::default());
    let ((alice, _), (old, _)) = (bench.connect("alice"), bench.connect("bob"));
    let (_, id) = prepared(old, &bench.prepare(alice, 1, "test.ann.bob", 1));
    let (new, _) = bench.connect("bob");
    // An Error here would make the peer believe that its fulfill was refused.
    assert!(to(old, &bench.fulfill(old, id, 1)).is_empty());
    assert!(to(old, &bench.reject(old, id)).is_empty());
    assert!(is_ack(new, &bench.fulfill(new, id, 1)));
    assert_eq!(bench.balance("bob"), 1);
}

#[test]
fn long_reasons_are_shortened_for_a_sender_that_is_owed_too_much() {
    let limits = Limits { in_flight_bytes_per_account: 11_000, ..Limits::default() };
    let mut bench = limited(limits);
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    let ids: Vec<_> = (1..=3).map(|n| prepared(bob, &bench.prepare(alice, n, "test.ann.bob", 1)).1).collect();
    let by = ilp_oer::Address::new("test.bob").unwrap();
    let long = ErrorPacket {
        code: "F99".parse().unwrap(),
        name: "Long",
        triggered_by: by.as_addr(),
        forwarded_by: AddrList::EMPTY,
        triggered_at: bench.at(),
        data: &[7; 8_000],
    };
    let reason: bytes::Bytes = long.to_vec().unwrap().into();
    let lengths: Vec<usize> = ids
        .iter()
        .map(|id| {
            let out = bench.event(bob, LinkEvent::Reject { request: 901, id: *id, reason: reason.clone() });
            let reason = outcome(alice, &out).1.unwrap_err();
            let error = ErrorPacket::decode(&reason).unwrap();
            assert_eq!((error.code.as_str(), error.forwarded_by.iter().count()), ("F99", 1));
            error.data.len()
        })
        .collect();
    assert_eq!(lengths, [8_000, 0, 0]);
}

#[test]
fn thousands_that_expire_at_once_take_turns_and_all_end() {
    let mut bench = limited(Limits::default());
    let ((alice, _), (_, _)) = (bench.connect("alice"), bench.connect("bob"));
    let prepares = (0..600_u16).map(|n| {
        let LinkEvent::Prepare { request, mut transfer } = bench.prepare_event(1, "test.ann.bob", 1, 10_000) else { unreachable!() };
        let [high, low] = n.to_be_bytes();
        transfer.id = ilp_oer::TransferId::new([high, low, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        Input::Link { connection: alice, event: LinkEvent::Prepare { request, transfer } }
    });
    let prepares: Vec<_> = prepares.collect();
    bench.step(prepares);
    bench.now += 9_100;
    let ended =
        |out: &[ilp_core::worker::Released]| to(alice, out).iter().filter(|sent| matches!(sent, LinkCommand::Reject { .. })).count();
    let mut turns = Vec::new();
    while bench.worker.next_step().is_some_and(|at| at <= bench.at()) {
        let batch = bench.worker.step(bench.at(), &mut Vec::new()).unwrap();
        let mut out = Vec::new();
        bench.worker.release(batch, bench.at(), &mut out);
        turns.push(ended(&out));
    }
    assert_eq!(turns.iter().sum::<usize>(), 600, "{turns:?}");
    assert!(turns.iter().all(|turn| *turn <= 256), "{turns:?}");
    bench.check_books();
    assert_eq!(bench.balance("alice"), 0);
}
