//! Moves between what is cold and what is hot, one test or more for each rule, at one worker; its colleagues are notes, and hands that
//! change the store's row.

use crate::bench::*;
use bytes::{BufMut, Bytes};
use ilp_core::audit::Audit;
use ilp_core::link::{Answer, LinkCommand, LinkEvent, Payload};
use ilp_core::store::{AccountRow, AccountSetup, Letter, Move, MoveChange, MoveOutcome, MoveResult};
use ilp_core::worker::{ConnectionId, Input, Note, Released, letter_of};
use ilp_core::{AccountConfig, AccountError, AccountId, Asset, Limits, SettleError, Settlement};
use ilp_oer::Amount;
use ilp_oer::ilp::ErrorPacket;

/// The colleague.
const OTHER: u16 = 8;

fn wide(name: &str, parallelism: u8, credit: u64) -> AccountConfig {
    AccountConfig { credit_limit: credit, ..AccountConfig::new(AccountId::new(parallelism, name).unwrap(), Asset::new("XRP", 6)) }
}

/// A worker with a colleague, whose accounts are served by these slots and have so much at the store.
fn shared(accounts: Vec<(AccountConfig, Vec<u16>, i128)>, change: impl FnOnce(&mut ilp_core::worker::WorkerConfig)) -> Bench {
    let mut config = Bench::config(change);
    config.deployment = vec![7, OTHER];
    let mut bench = Bench::bare(config, accounts.iter().map(|(account, ..)| account.clone()).collect());
    for (account, slots, cold) in accounts {
        bench.served.insert(account.id.clone(), slots);
        let _ = bench.add_input(account.clone(), 0);
        // As if a slot that is of no interest here had given it.
        if cold != 0 {
            bench.rows.get_mut(&account.id).unwrap().apply(999, 1, &MoveChange::Give { amount: cold });
        }
    }
    bench.configure();
    bench.input(Input::Colleagues { slots: vec![OTHER] });
    bench
}

/// The colleague is gone.
fn alone(bench: &mut Bench) {
    bench.input(Input::Colleagues { slots: Vec::new() });
}

/// Alice has parallelism 2, served here and at the colleague, and so much at the store; bob is served here.
fn two(cold: i128, credit: u64) -> (Bench, ConnectionId, ConnectionId) {
    let mut bench = shared(vec![(wide("alice", 2, credit), vec![7, OTHER], cold), (account("bob", 0), vec![7], 0)], |_| {});
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    (bench, alice, bob)
}

/// Alice is served here alone, by a worker that must ask the store all the same.
fn one(credit: u64) -> (Bench, ConnectionId, ConnectionId) {
    let mut bench = shared(vec![(account("alice", credit), vec![7], 0), (account("bob", 0), vec![7], 0)], |_| {});
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    (bench, alice, bob)
}

fn alice() -> AccountId {
    AccountId::new(2, "alice").unwrap()
}

fn notes(out: &[Released]) -> Vec<(u16, String, Note)> {
    let note = |effect: &Released| match effect {
        Released::Note { to, account, note } => Some((*to, account.name().to_owned(), *note)),
        _ => None,
    };
    out.iter().filter_map(note).collect()
}

fn noted(bench: &mut Bench, account: &AccountId, note: Note) -> Vec<Released> {
    bench.input(Input::Noted { from: OTHER, account: account.clone(), note })
}

/// What the store decides, and what follows.
fn decided(bench: &mut Bench) -> Vec<Released> {
    let inputs = bench.decide();
    assert!(!inputs.is_empty(), "nothing was asked");
    bench.step(inputs)
}

fn last(bench: &Bench) -> (u64, MoveChange) {
    bench.asked.last().map(|m| (m.n, m.change)).unwrap()
}

/// The requests that were acknowledged at a connection, in order.
fn acked(connection: ConnectionId, out: &[Released]) -> Vec<u32> {
    let ack = |command: LinkCommand| match command {
        LinkCommand::Answer { request, answer: Answer::Ack } => Some(request),
        _ => None,
    };
    to(connection, out).into_iter().filter_map(ack).collect()
}

/// Another connection of alice's, at the colleague.
fn relayed(bench: &mut Bench) -> ConnectionId {
    let connection = ConnectionId(1000);
    bench.input(Input::Connected { connection, account: alice(), relayed: true });
    connection
}

/// The same in another request.
fn said_as(event: &LinkEvent, request: u32) -> LinkEvent {
    let LinkEvent::Prepare { transfer, .. } = event.clone() else { panic!("not a prepare but {event:?}") };
    LinkEvent::Prepare { request, transfer }
}

/// How many requests were refused at a connection.
fn refused(connection: ConnectionId, out: &[Released]) -> usize {
    to(connection, out).iter().filter(|command| matches!(command, LinkCommand::Answer { answer: Answer::Error(_), .. })).count()
}

/// The code and text of the one error to a connection.
fn why(connection: ConnectionId, out: &[Released]) -> (String, String) {
    let sent = to(connection, out);
    let [LinkCommand::Answer { answer: Answer::Error(reason), .. }] = sent.as_slice() else { panic!("not one error but {sent:?}") };
    let error = ErrorPacket::decode(reason).unwrap();
    (error.code.as_str().to_owned(), String::from_utf8_lossy(error.data).into_owned())
}

fn settle_input(account: AccountId, amount: i128, id: &str) -> Input {
    Input::Settle { account, amount, id: id.parse().unwrap(), reply: 77 }
}

fn settled(out: &[Released]) -> Vec<Result<Settlement, SettleError>> {
    let result = |effect: &Released| match effect {
        Released::Settled(77, result) => Some(result.clone()),
        _ => None,
    };
    out.iter().filter_map(result).collect()
}

fn replied(reply: u64, out: &[Released]) -> Option<Result<(), AccountError>> {
    out.iter().find_map(|effect| match effect {
        Released::Account(r, result) if *r == reply => Some(result.clone()),
        _ => None,
    })
}

/// Nothing was made or lost: what is cold, hot and on the way is what was put in and what the parts add up to.
fn whole(bench: &Bench, name: &str, elsewhere: i128) {
    let row = bench.rows.iter().find(|(id, _)| id.name() == name).unwrap().1;
    let last = row.moves.get(&7).copied();
    let in_transit = bench.asked.iter().rev().find(|m| m.account.name() == name).map_or(0, |m| match m.change {
        _ if bench.worker.moves_under_way() == 0 => 0,
        MoveChange::Give { amount } => last.filter(|last| last.n == m.n).map_or(amount, |_| 0),
        MoveChange::Draw { .. } | MoveChange::Close => last.filter(|last| last.n == m.n).map_or(0, |last| last.result.moved),
    });
    assert_eq!(row.cold + bench.hot(name) + in_transit, bench.balance(name) + elsewhere, "{name}");
}

#[test]
fn a_payment_is_parked_until_what_it_needs_is_drawn() {
    let (mut bench, alice, bob) = two(100, 0);
    bench.decides = false;
    assert!(bench.prepare(alice, 1, "test.ann.bob", 10).is_empty());
    assert_eq!((bench.worker.parked(), bench.worker.in_flight(), bench.balance("alice")), (1, 0, 0), "nothing of it is in the books");
    // Twice the amount must be available; so much that it can be paid is drawn at least, and else a quarter of what there is.
    assert_eq!(last(&bench), (1, MoveChange::Draw { needed: 20, least: 10, share: 4 }));
    let out = decided(&mut bench);
    assert_eq!(acked(alice, &out), [1]);
    prepared(bob, &out);
    assert_eq!((bench.worker.parked(), bench.hot("alice"), bench.cold("alice"), bench.balance("alice")), (0, 15, 75, -10));
    whole(&bench, "alice", 100);
    // What is hot is spent without asking anybody.
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 7)), [2]);
    assert_eq!((bench.asked.len(), bench.hot("alice")), (1, 8));
    bench.check_sums();
}

#[test]
fn a_move_is_asked_for_when_it_is_durable_and_not_before() {
    let (mut bench, alice, _) = two(100, 0);
    bench.durable = false;
    bench.prepare(alice, 1, "test.ann.bob", 10);
    assert!(bench.asked.is_empty());
    bench.make_durable();
    assert_eq!(bench.asked.len(), 1);
}

#[test]
fn several_parked_payments_are_decided_in_the_order_in_which_they_came() {
    let (mut bench, alice, _) = two(40, 0);
    bench.decides = false;
    for (n, amount) in [(1, 5), (2, 6), (3, 1)] {
        assert!(bench.prepare(alice, n, "test.ann.bob", amount).is_empty());
    }
    assert_eq!((bench.asked.len(), bench.worker.parked()), (1, 3), "one move at a time");
    // 10 come, 5 of them are paid: the second one asks for what it lacks.
    assert_eq!(acked(alice, &decided(&mut bench)), [1]);
    assert_eq!(last(&bench), (2, MoveChange::Draw { needed: 7, least: 1, share: 4 }));
    // The third one needs nothing more.
    assert_eq!(acked(alice, &decided(&mut bench)), [2, 3]);
    assert_eq!((bench.worker.parked(), bench.hot("alice"), bench.cold("alice")), (0, 5, 23));
    whole(&bench, "alice", 40);
}

#[test]
fn a_payment_that_fits_does_not_wait_behind_one_that_needs_a_draw() {
    let accounts = vec![(wide("alice", 2, 0), vec![7, OTHER], 100), (account("bob", 0), vec![7], 0), (account("carol", 50), vec![7], 0)];
    let mut bench = shared(accounts, |_| {});
    let ((alice, _), (_, _), (carol, _)) = (bench.connect("alice"), bench.connect("bob"), bench.connect("carol"));
    assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 1)), [1]);
    assert_eq!(bench.hot("alice"), 24);
    bench.decides = false;
    bench.prepare(alice, 2, "test.ann.bob", 20);
    // 20 of what is hot are kept for it, which leaves 4: enough for twice 2.
    assert_eq!(acked(alice, &bench.prepare(alice, 3, "test.ann.bob", 2)), [3]);
    assert!(bench.prepare(alice, 4, "test.ann.bob", 2).is_empty(), "twice 2 aren't free any more");
    assert_eq!(acked(carol, &bench.prepare(carol, 5, "test.ann.bob", 50)), [5]);
    let out = decided(&mut bench);
    assert_eq!(acked(alice, &out), [2, 4]);
    assert_eq!(bench.balance("alice"), -25);
    whole(&bench, "alice", 100);
}

#[test]
fn a_draw_whose_ground_was_spent_meanwhile_is_asked_for_again_and_decided_by_what_there_is() {
    for (cold, admitted) in [(20, false), (25, true)] {
        let (mut bench, alice, _) = two(164, 0);
        alone(&mut bench);
        assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 1)), [1]);
        assert_eq!((bench.hot("alice"), bench.cold("alice")), (40, 123));
        // The colleague has drawn some.
        bench.rows.get_mut(&self::alice()).unwrap().apply(OTHER, 1, &MoveChange::Give { amount: cold - 123 });
        bench.decides = false;
        // Twice 30 are needed, and 40 of it are hot.
        bench.prepare(alice, 2, "test.ann.bob", 30);
        assert_eq!(last(&bench).1, MoveChange::Draw { needed: 20, least: 0, share: 4 });
        // 30 are kept for it, and twice 5 are free.
        assert_eq!(acked(alice, &bench.prepare(alice, 3, "test.ann.bob", 5)), [3]);
        let mut out = decided(&mut bench);
        if !admitted {
            assert!(to(alice, &out).is_empty(), "55 are left, and 60 were needed");
            out = decided(&mut bench);
            assert_eq!(why(alice, &out).0, "T04");
        } else {
            assert_eq!(acked(alice, &out), [2]);
        }
        assert_eq!(bench.worker.parked(), 0);
        whole(&bench, "alice", 41 + cold);
        bench.check_sums();
    }
}

#[test]
fn what_was_earned_while_a_draw_was_under_way_counts_before_a_refusal() {
    let (mut bench, alice, _) = two(60, 0);
    alone(&mut bench);
    bench.decides = false;
    bench.prepare(alice, 1, "test.ann.bob", 100);
    bench.input(settle_input(self::alice(), 150, "in"));
    assert_eq!(bench.hot("alice"), 150);
    let out = decided(&mut bench);
    assert_eq!(acked(alice, &out), [], "60 and 150 are there, and 200 needed: it is asked for again");
    assert_eq!(acked(alice, &decided(&mut bench)), [1]);
    assert_eq!(bench.balance("alice"), 50);
    whole(&bench, "alice", 60);
}

#[test]
fn a_store_whose_limit_is_lower_than_what_this_worker_knows_is_believed() {
    let (mut bench, alice, _) = two(60, 1_000);
    alone(&mut bench);
    // Another process has lowered it.
    bench.rows.get_mut(&self::alice()).unwrap().credit_limit = 0;
    let out = bench.prepare(alice, 1, "test.ann.bob", 100);
    assert_eq!((why(alice, &out).0.as_str(), bench.asked.len()), ("T04", 1));
}

#[test]
fn a_worker_that_ever_had_a_colleague_does_not_trust_what_it_was_told_of_the_cold_balance() {
    let mut bench = shared(vec![(wide("alice", 2, 0), vec![7, OTHER], 100), (account("bob", 0), vec![7], 0)], |_| {});
    let ((alice, _), _) = (bench.connect("alice"), bench.connect("bob"));
    // As if only this slot had been known at the start.
    bench.input(Input::Colleagues { slots: vec![OTHER, 31] });
    alone(&mut bench);
    assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 1)), [1]);
    // The colleague has drawn the rest.
    let rest = bench.cold("alice");
    bench.rows.get_mut(&self::alice()).unwrap().apply(OTHER, 1, &MoveChange::Draw { needed: 0, least: 0, share: 1 });
    let hot = u64::try_from(bench.hot("alice")).unwrap();
    assert!(rest > 0);
    let out = bench.prepare(alice, 2, "test.ann.bob", hot);
    assert_eq!(why(alice, &out).0, "T04");
}

#[test]
fn what_colleagues_are_asked_for_does_not_hold_up_what_needs_less() {
    let (mut bench, alice, _) = two(40, 0);
    let out = bench.prepare(alice, 1, "test.ann.bob", 100);
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Recall)]);
    // It is drawn and paid while the other one waits.
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 10)), [2]);
    assert_eq!(bench.worker.parked(), 1);
    let out = noted(&mut bench, &self::alice(), Note::Recalled);
    assert_eq!(why(alice, &out).0, "T04");
    whole(&bench, "alice", 40);
}

#[test]
fn what_needs_as_much_as_one_that_is_refused_after_a_recall_shares_its_answer() {
    let (mut bench, alice, _) = two(40, 0);
    bench.decides = false;
    for n in 1..=50 {
        bench.prepare(alice, n, "test.ann.bob", 100 + u64::from(n));
    }
    bench.prepare(alice, 51, "test.ann.bob", 10);
    let out = decided(&mut bench);
    assert_eq!(notes(&out).len(), 1);
    // The small one isn't held up.
    assert_eq!(acked(alice, &decided(&mut bench)), [51]);
    noted(&mut bench, &self::alice(), Note::Recalled);
    let out = decided(&mut bench);
    assert_eq!((refused(alice, &out), bench.worker.parked()), (50, 0), "one recall and one draw for all of them");
    assert_eq!(bench.asked.len(), 3);
}

#[test]
fn the_same_payment_again_while_it_waits_is_one_and_everybody_who_asked_is_answered() {
    let (mut bench, alice, bob) = two(100, 0);
    let other = relayed(&mut bench);
    bench.decides = false;
    let first = bench.prepare_event(1, "test.ann.bob", 10, 10_000);
    bench.event(alice, first.clone());
    bench.event(alice, said_as(&first, 2));
    bench.event(other, said_as(&first, 3));
    // The same id with something else in it is refused, whatever becomes of the first.
    let out = bench.event(other, said_as(&bench.prepare_event(1, "test.ann.bob", 11, 10_000), 4));
    assert_eq!(why(other, &out).0, "F00");
    assert_eq!(bench.worker.parked(), 1);
    let out = decided(&mut bench);
    assert_eq!((acked(alice, &out), acked(other, &out)), (vec![1, 2], vec![3]));
    prepared(bob, &out);
    assert_eq!(bench.balance("alice"), -10);
}

#[test]
fn the_same_payment_again_while_it_waits_is_refused_to_everybody_who_asked() {
    let (mut bench, alice, _) = two(10, 0);
    let other = relayed(&mut bench);
    let first = bench.prepare_event(1, "test.ann.bob", 20, 10_000);
    bench.event(alice, first.clone());
    bench.event(other, said_as(&first, 2));
    let out = noted(&mut bench, &self::alice(), Note::Recalled);
    assert_eq!((why(alice, &out).0, why(other, &out).0), ("T04".into(), "T04".into()));
}

#[test]
fn repeats_of_what_waits_take_no_memory_and_none_from_the_limits() {
    let (mut bench, alice, _) = two(100, 0);
    bench.decides = false;
    let first = bench.prepare_event(1, "test.ann.bob", 10, 10_000);
    for request in 1..=20_000 {
        assert!(bench.event(alice, said_as(&first, request)).is_empty());
    }
    let out = decided(&mut bench);
    // Eight of them, the last one among them.
    assert_eq!(acked(alice, &out), [1, 2, 3, 4, 5, 6, 7, 20_000]);
}

#[test]
fn a_draw_that_is_refused_when_nobody_can_give_is_a_t04_that_says_what_there_is() {
    let (mut bench, alice, _) = two(25, 10);
    alone(&mut bench);
    let out = bench.prepare(alice, 1, "test.ann.bob", 18);
    let (code, text) = why(alice, &out);
    assert_eq!(
        (code.as_str(), text.as_str()),
        ("T04", "account alice (parallelism 2) has 35 available, 36 needed (amount × parallelism 2)")
    );
    assert_eq!((bench.cold("alice"), bench.hot("alice"), bench.worker.parked()), (25, 0, 0));
    // Exactly at the limit it is accepted.
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 17)), [2]);
}

#[test]
fn before_a_refusal_what_others_can_spare_is_asked_for_once() {
    let (mut bench, alice, _) = two(10, 0);
    let out = bench.prepare(alice, 1, "test.ann.bob", 20);
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Recall)]);
    assert!(to(alice, &out).is_empty());
    let out = noted(&mut bench, &self::alice(), Note::Recalled);
    let (code, text) = why(alice, &out);
    assert_eq!((code.as_str(), text.contains("has 10 available, 40 needed")), ("T04", true), "{text}");
    assert_eq!((notes(&out), bench.asked.len()), (vec![], 2));
    // Again so soon nobody is bothered: it waits.
    let out = bench.prepare(alice, 2, "test.ann.bob", 20);
    assert_eq!((to(alice, &out), notes(&out)), (vec![], vec![]));
    assert_eq!(notes(&bench.pass(19)), []);
    assert_eq!(notes(&bench.pass(1)).len(), 1);
    let out = noted(&mut bench, &self::alice(), Note::Recalled);
    assert_eq!(why(alice, &out).0, "T04");
}

#[test]
fn what_a_colleague_gives_back_on_a_recall_pays() {
    let (mut bench, alice, bob) = two(10, 0);
    bench.prepare(alice, 1, "test.ann.bob", 20);
    bench.rows.get_mut(&self::alice()).unwrap().apply(OTHER, 1, &MoveChange::Give { amount: 30 });
    let out = noted(&mut bench, &self::alice(), Note::Recalled);
    assert_eq!(acked(alice, &out), [1]);
    prepared(bob, &out);
    whole(&bench, "alice", 40);
}

#[test]
fn a_recall_ends_after_200_ms_whoever_has_not_answered() {
    let (mut bench, alice, _) = two(10, 0);
    bench.prepare(alice, 1, "test.ann.bob", 20);
    assert!(bench.pass(199).is_empty());
    assert_eq!(bench.asked.len(), 1);
    assert_eq!(why(alice, &bench.pass(1)).0, "T04");
    assert_eq!(bench.asked.len(), 2);
}

#[test]
fn a_recall_does_not_wait_for_a_slot_that_nobody_has_open_any_more() {
    let (mut bench, alice, _) = two(10, 0);
    bench.prepare(alice, 1, "test.ann.bob", 20);
    assert_eq!(why(alice, &bench.input(Input::Colleagues { slots: Vec::new() })).0, "T04");
}

#[test]
fn whoever_has_something_gives_it_back_on_a_recall_and_then_says_so() {
    let (mut bench, alice, _) = two(100, 0);
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.decides = false;
    assert!(noted(&mut bench, &self::alice(), Note::Recall).is_empty());
    assert_eq!(last(&bench), (2, MoveChange::Give { amount: 15 }));
    assert_eq!(bench.hot("alice"), 0, "from the intent on it isn't hot");
    whole(&bench, "alice", 100);
    let out = decided(&mut bench);
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Recalled)]);
    assert_eq!(bench.cold("alice"), 90);
}

#[test]
fn whoever_has_nothing_says_so_at_once_on_a_recall() {
    let (mut bench, _, _) = two(100, 0);
    assert_eq!(notes(&noted(&mut bench, &alice(), Note::Recall)), [(OTHER, "alice".into(), Note::Recalled)]);
    assert_eq!(notes(&noted(&mut bench, &id("nobody"), Note::Recall)), [(OTHER, "nobody".into(), Note::Recalled)]);
    assert!(bench.asked.is_empty());
}

#[test]
fn whoever_is_short_keeps_what_it_has_on_a_recall() {
    let (mut bench, alice, _) = two(100, 0);
    bench.prepare(alice, 1, "test.ann.bob", 10);
    let out = bench.prepare(alice, 2, "test.ann.bob", 80);
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Recall)]);
    let asked = bench.asked.len();
    assert_eq!(notes(&noted(&mut bench, &self::alice(), Note::Recall)), [(OTHER, "alice".into(), Note::Recalled)]);
    assert_eq!((bench.asked.len(), bench.hot("alice")), (asked, 15));
}

/// Bob is served by the colleague; alice pays him here.
fn earning(bench: &mut Bench, alice: ConnectionId, bob: ConnectionId, n: u8) {
    let (_, id) = prepared(bob, &bench.prepare(alice, n, "test.ann.bob", 10));
    assert!(is_ack(bob, &bench.fulfill(bob, id, n)));
}

#[test]
fn what_is_earned_outside_of_the_accounts_slots_goes_back_at_most_every_100_ms() {
    let mut bench = shared(vec![(account("alice", 100), vec![7], 0), (account("bob", 0), vec![OTHER], 0)], |_| {});
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    earning(&mut bench, alice, bob, 1);
    assert_eq!((bench.hot("bob"), bench.cold("bob"), last(&bench)), (0, 10, (1, MoveChange::Give { amount: 10 })));
    bench.now += 10;
    for n in 2..5 {
        earning(&mut bench, alice, bob, n);
    }
    assert_eq!((bench.hot("bob"), bench.cold("bob")), (30, 10));
    bench.pass(89);
    assert_eq!(bench.hot("bob"), 30);
    bench.pass(1);
    assert_eq!((bench.hot("bob"), bench.cold("bob"), last(&bench)), (0, 40, (2, MoveChange::Give { amount: 30 })));
    whole(&bench, "bob", 0);
}

#[test]
fn what_is_earned_at_one_of_several_slots_is_not_moved_for_every_payment() {
    let mut bench = shared(vec![(account("alice", 100), vec![7], 0), (wide("bob", 2, 0), vec![OTHER, 7], 0)], |_| {});
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    for n in 1..9 {
        earning(&mut bench, alice, bob, n);
        bench.pass(10);
    }
    let moves = bench.asked.iter().filter(|m| m.account.name() == "bob").count();
    assert!(moves <= 1, "{moves} moves for 8 payments in 80 ms");
    whole(&bench, "bob", 0);
}

#[test]
fn what_lies_idle_at_one_of_several_slots_goes_back_after_10_s() {
    let (mut bench, alice, _) = two(100, 0);
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.pass(5_000);
    // It is in use.
    bench.prepare(alice, 2, "test.ann.bob", 1);
    bench.pass(9_999);
    assert_eq!((bench.asked.len(), bench.hot("alice")), (1, 25), "both were rejected since");
    bench.pass(1);
    assert_eq!((last(&bench), bench.hot("alice")), ((2, MoveChange::Give { amount: 25 }), 0));
    // Where one slot serves, there is nobody else who could want it.
    let (mut bench, alice, _) = one(100);
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.pass(100_000);
    assert_eq!((bench.asked.len(), bench.hot("alice")), (1, 100));
}

#[test]
fn where_one_slot_serves_all_that_is_available_is_drawn_at_once() {
    let (bench, _, _) = one(100);
    assert_eq!((bench.hot("alice"), bench.cold("alice"), last(&bench).1), (100, -100, MoveChange::Draw { needed: 0, least: 0, share: 1 }));
}

#[test]
fn a_settlement_that_takes_more_than_is_hot_takes_the_rest_from_what_is_cold() {
    let (mut bench, alice, _) = two(100, 0);
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.decides = false;
    let out = bench.input(settle_input(self::alice(), -40, "out"));
    assert_eq!(settled(&out).len(), 1);
    assert_eq!((bench.hot("alice"), last(&bench)), (0, (2, MoveChange::Give { amount: -25 })));
    whole(&bench, "alice", 100);
    decided(&mut bench);
    assert_eq!((bench.hot("alice"), bench.cold("alice"), bench.balance("alice")), (0, 50, -50));
    whole(&bench, "alice", 100);
}

#[test]
fn what_was_settled_below_the_limit_is_not_spent_by_what_is_earned_later() {
    for deployment in [vec![7], vec![7, OTHER]] {
        let mut bench = Bench::with(vec![account("alice", 1_000), account("bob", 50)], |config| config.deployment = deployment);
        let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
        bench.input(settle_input(id("bob"), -500, "out"));
        assert_eq!((bench.balance("bob"), bench.hot("bob")), (-500, 0));
        let (_, sent) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 460));
        bench.fulfill(bob, sent, 1);
        // −40 and a credit of 50: 10 are left.
        let (code, text) = why(bob, &bench.prepare(bob, 2, "test.ann.alice", 11));
        assert_eq!((code.as_str(), text.contains("has 10 available, 11 needed")), ("T04", true), "{text}");
        assert_eq!(acked(bob, &bench.prepare(bob, 3, "test.ann.alice", 10)), [3]);
        bench.check_books();
    }
}

#[test]
fn a_settlement_for_which_too_little_is_hot_waits_for_the_move_under_way() {
    let (mut bench, alice, _) = two(100, 0);
    bench.decides = false;
    bench.prepare(alice, 1, "test.ann.bob", 10);
    let mut out = Vec::new();
    for (amount, name) in [(-40, "a"), (5, "b"), (-40, "a")] {
        out.extend(bench.input(settle_input(self::alice(), amount, name)));
    }
    assert!(settled(&out).is_empty(), "a draw is on its way");
    // The draw brings 25, 10 of which are paid; the first settlement takes more, the second one comes after it.
    let out = decided(&mut bench);
    assert_eq!(acked(alice, &out), [1]);
    assert_eq!(settled(&out), [Ok(Settlement { balance: -50, repeated: false })]);
    assert_eq!((bench.hot("alice"), last(&bench)), (0, (2, MoveChange::Give { amount: -25 })));
    let out = decided(&mut bench);
    assert_eq!(settled(&out), [Ok(Settlement { balance: -45, repeated: false }), Ok(Settlement { balance: -45, repeated: true })]);
    assert_eq!((bench.hot("alice"), bench.cold("alice")), (5, 50));
    whole(&bench, "alice", 100);
}

#[test]
fn a_limit_is_lowered_when_everything_has_been_given_back_and_what_is_left_is_drawn_again() {
    let (mut bench, alice, _) = one(100);
    alone(&mut bench);
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.decides = false;
    let out = bench.add(account("alice", 40), 9);
    assert_eq!(replied(9, &out), None);
    assert_eq!((last(&bench), bench.hot("alice")), ((2, MoveChange::Give { amount: 90 }), 0));
    let out = decided(&mut bench);
    assert_eq!(replied(9, &out), Some(Ok(())));
    assert_eq!((bench.cold("alice"), last(&bench)), (-10, (3, MoveChange::Draw { needed: 0, least: 0, share: 1 })));
    decided(&mut bench);
    assert_eq!((bench.cold("alice"), bench.hot("alice")), (-40, 30));
    bench.decides = true;
    assert_eq!(why(alice, &bench.prepare(alice, 2, "test.ann.bob", 31)).0, "T04");
    assert_eq!(acked(alice, &bench.prepare(alice, 3, "test.ann.bob", 30)), [3]);
    bench.check_books();
}

#[test]
fn a_limit_that_was_lowered_below_what_is_spent_refuses_at_once() {
    let (mut bench, alice, _) = one(100);
    alone(&mut bench);
    bench.prepare(alice, 1, "test.ann.bob", 60);
    assert_eq!(replied(9, &bench.add(account("alice", 40), 9)), Some(Ok(())));
    assert_eq!((bench.cold("alice"), bench.hot("alice")), (-60, 0));
    assert_eq!(why(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)).0, "T04");
}

#[test]
fn a_limit_that_was_lowered_while_the_connector_was_down_holds_for_what_had_been_drawn() {
    let (mut bench, _, _) = one(100);
    bench.accounts[0].credit_limit = 40;
    let mut bench = bench.crash();
    let ((alice, _), (_, _)) = (bench.connect("alice"), bench.connect("bob"));
    assert_eq!(why(alice, &bench.prepare(alice, 1, "test.ann.bob", 41)).0, "T04");
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 40)), [2]);
    assert_eq!(why(alice, &bench.prepare(alice, 3, "test.ann.bob", 1)).0, "T04");
    bench.check_books();
}

#[test]
fn a_limit_that_is_raised_is_drawn_when_it_is_needed() {
    let (mut bench, alice, _) = two(10, 0);
    bench.input(Input::Colleagues { slots: Vec::new() });
    assert_eq!(why(alice, &bench.prepare(alice, 1, "test.ann.bob", 20)).0, "T04");
    let asked = bench.asked.len();
    assert_eq!(replied(9, &bench.add(wide("alice", 2, 30), 9)), Some(Ok(())));
    assert_eq!((bench.asked.len(), bench.hot("alice")), (asked, 0));
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 20)), [2]);
    assert_eq!((bench.cold("alice"), bench.hot("alice")), (-10, 0));
}

fn remove(bench: &mut Bench, account: &AccountId, write_off: bool) -> Vec<Released> {
    bench.input(Input::RemoveAccount { id: account.clone(), write_off, reply: 50 })
}

#[test]
fn an_account_is_closed_when_everybody_has_drained_and_its_whole_balance_is_known() {
    let (mut bench, alice, bob) = two(100, 0);
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let out = remove(&mut bench, &self::alice(), true);
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Drain)]);
    assert_eq!(error_code(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)), "F02");
    // The colleague is ready, this worker isn't: one is in flight.
    bench.rows.get_mut(&self::alice()).unwrap().apply(OTHER, 1, &MoveChange::Give { amount: 7 });
    assert_eq!(replied(50, &noted(&mut bench, &self::alice(), Note::Drained)), None);
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    bench.decides = false;
    let out = bench.answered(alice, tag, Answer::Ack);
    assert_eq!(replied(50, &out), None);
    assert_eq!(last(&bench), (2, MoveChange::Give { amount: 15 }));
    assert!(decided(&mut bench).is_empty());
    assert_eq!(last(&bench), (3, MoveChange::Close));
    let out = decided(&mut bench);
    assert_eq!(replied(50, &out), Some(Ok(())));
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Closed)]);
    assert!(matches!(to(alice, &out).as_slice(), [LinkCommand::Close { .. }]));
    // 100 and 7 from elsewhere, less 10 that bob has.
    let row = &bench.rows[&self::alice()];
    assert_eq!((row.cold, row.closed, bench.own()), (0, true, 97));
    assert!(!bench.balances.contains_key(&self::alice()));
    bench.check_sums();
}

#[test]
fn an_account_that_is_closed_counts_on_when_it_is_opened_again() {
    let (mut bench, _, _) = one(100);
    remove(&mut bench, &id("alice"), false);
    let out = noted(&mut bench, &id("alice"), Note::Drained);
    assert_eq!(replied(50, &out), Some(Ok(())));
    let before = last(&bench).0;
    // Before it has moved anything again, the log has nothing of its numbers.
    let mut bench = bench.crash();
    assert_eq!((last(&bench), bench.hot("alice")), ((before + 1, MoveChange::Draw { needed: 0, least: 0, share: 1 }), 100));
    assert!(!bench.rows[&id("alice")].closed);
    let ((alice, _), (_, _)) = (bench.connect("alice"), bench.connect("bob"));
    assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 100)), [1]);
    assert_eq!(Audit::of_slot("slot-7", bench.picture()).unwrap().violations, []);
}

#[test]
fn a_balance_keeps_an_account_from_being_closed_and_it_goes_on() {
    let (mut bench, alice, _) = one(100);
    bench.input(settle_input(id("alice"), 30, "in"));
    remove(&mut bench, &id("alice"), false);
    let out = noted(&mut bench, &id("alice"), Note::Drained);
    assert_eq!(replied(50, &out), Some(Err(AccountError::Balance { id: id("alice"), balance: 30 })));
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Resume)]);
    // All of it is hot again.
    assert_eq!((bench.hot("alice"), bench.cold("alice")), (130, -100));
    assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 130)), [1]);
    bench.check_books();
}

#[test]
fn a_colleague_that_comes_up_while_an_account_is_closed_is_waited_for_too() {
    let (mut bench, _, _) = two(0, 0);
    bench.decides = false;
    remove(&mut bench, &alice(), false);
    noted(&mut bench, &alice(), Note::Drained);
    // The last give-back is on its way.
    assert_eq!(last(&bench), (1, MoveChange::Give { amount: 0 }));
    let out = bench.input(Input::Colleagues { slots: vec![OTHER, 9] });
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Drain), (9, "alice".into(), Note::Drain)]);
    bench.decides = true;
    bench.rows.get_mut(&alice()).unwrap().apply(9, 1, &MoveChange::Give { amount: 3 });
    noted(&mut bench, &alice(), Note::Drained);
    let out = bench.input(Input::Noted { from: 9, account: alice(), note: Note::Drained });
    assert_eq!(replied(50, &out), Some(Err(AccountError::Balance { id: alice(), balance: 3 })));
}

/// Alice's home is the colleague; here she has 20 on their way to bob, and 20 to spend.
fn visitor() -> (Bench, ConnectionId, ConnectionId, ilp_oer::TransferId) {
    let mut bench = shared(vec![(wide("alice", 2, 0), vec![OTHER, 7], 160), (account("bob", 0), vec![7], 0)], |_| {});
    let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 20));
    (bench, alice, bob, id)
}

#[test]
fn an_account_whose_home_closes_it_is_drained_given_back_and_left() {
    let (mut bench, alice, bob, id) = visitor();
    assert!(noted(&mut bench, &self::alice(), Note::Drain).is_empty());
    assert_eq!(error_code(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)), "F02");
    assert_eq!(error_code(bob, &bench.prepare(bob, 3, "test.ann.alice", 0)), "F02");
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    let out = bench.answered(alice, tag, Answer::Ack);
    assert_eq!(notes(&out), [(OTHER, "alice".into(), Note::Drained)]);
    assert_eq!((bench.cold("alice"), bench.hot("alice"), bench.balance("alice")), (140, 0, -20));
    // Said again, it is answered again.
    assert_eq!(notes(&noted(&mut bench, &self::alice(), Note::Drain)), [(OTHER, "alice".into(), Note::Drained)]);
    let out = noted(&mut bench, &self::alice(), Note::Closed);
    assert!(matches!(to(alice, &out).as_slice(), [LinkCommand::Close { .. }]));
    assert!(bench.status().accounts.iter().all(|account| account.id != self::alice()));
    bench.check_sums();
    let audit = Audit::of_slot("slot-7", bench.picture()).unwrap();
    assert_eq!(audit.violations, []);
    // What had been drawn was spent: it is at bob's now.
    assert_eq!((audit.assets[0].own, audit.assets[0].closed_moves), (0, 20));
    bench.accounts.remove(0);
    let bench = bench.crash();
    assert!(bench.status().accounts.iter().all(|account| account.id != self::alice()));
    bench.check_sums();
}

#[test]
fn an_account_that_its_home_does_not_close_after_all_goes_on() {
    let (mut bench, alice, _, _) = visitor();
    noted(&mut bench, &self::alice(), Note::Drain);
    noted(&mut bench, &self::alice(), Note::Resume);
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)), [2]);
}

#[test]
fn a_drain_ends_with_the_home_that_asked_for_it() {
    let (mut bench, alice, _, _) = visitor();
    noted(&mut bench, &self::alice(), Note::Drain);
    // Whoever opens that slot next knows nothing of it.
    bench.input(Input::Colleagues { slots: vec![9] });
    bench.input(Input::Colleagues { slots: vec![OTHER, 9] });
    assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 1)), [2]);
}

#[test]
fn a_settlement_at_an_account_that_is_drained_is_refused() {
    let (mut bench, _, _, _) = visitor();
    noted(&mut bench, &alice(), Note::Drain);
    assert_eq!(settled(&bench.input(settle_input(alice(), 5, "x"))), [Err(SettleError::Closing(alice()))]);
}

#[test]
fn a_settlement_is_answered_although_the_account_is_about_to_be_closed() {
    let (mut bench, _, _) = two(0, 0);
    bench.decides = false;
    remove(&mut bench, &alice(), true);
    noted(&mut bench, &alice(), Note::Drained);
    decided(&mut bench);
    assert_eq!(last(&bench).1, MoveChange::Close);
    assert_eq!(settled(&bench.input(settle_input(alice(), -5, "x"))), [Err(SettleError::Closing(alice()))]);
}

#[test]
fn a_settlement_at_a_slot_that_has_nothing_of_the_account_is_in_its_books() {
    let mut bench = shared(vec![(account("bob", 0), vec![OTHER], 10)], |_| {});
    assert_eq!(settled(&bench.input(settle_input(id("bob"), -25, "x"))).len(), 1);
    assert_eq!((bench.cold("bob"), bench.hot("bob"), bench.balance("bob")), (-15, 0, -25));
    let bench = bench.crash();
    assert_eq!((bench.cold("bob"), bench.hot("bob"), bench.balance("bob")), (-15, 0, -25));
    assert_eq!(Audit::of_slot("slot-7", bench.picture()).unwrap().violations, []);
}

/// Where a crash can come between a move's intent and its end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Stepped,
    Durable,
    Decided,
    EndedNotDurable,
    Ended,
}

#[test]
fn a_crash_at_any_stage_of_a_move_asks_for_the_same_move_again_and_loses_nothing() {
    use Stage::*;
    let changes: [(&str, MoveChange); 3] = [
        ("draw", MoveChange::Draw { needed: 20, least: 10, share: 4 }),
        ("give", MoveChange::Give { amount: 15 }),
        ("settle", MoveChange::Give { amount: -25 }),
    ];
    for (what, change) in changes {
        for stage in [Stepped, Durable, Decided, EndedNotDurable, Ended] {
            let (mut bench, alice, _) = two(100, 0);
            let mut n = 1;
            if what != "draw" {
                bench.prepare(alice, 1, "test.ann.bob", 10);
                n = 2;
            }
            let asked = bench.asked.len();
            (bench.durable, bench.decides) = (stage != Stepped, false);
            match what {
                "draw" => drop(bench.prepare(alice, 1, "test.ann.bob", 10)),
                "give" => drop(noted(&mut bench, &self::alice(), Note::Recall)),
                _ => drop(bench.input(settle_input(self::alice(), -40, "out"))),
            }
            let expected = Move { account: self::alice(), slot: 7, n, change };
            let mut answers = Vec::new();
            if stage != Stepped {
                assert_eq!(bench.asked[asked..], *std::slice::from_ref(&expected), "{what} {stage:?}");
            }
            if !matches!(stage, Stepped | Durable) {
                answers = bench.decide();
            }
            let result = bench.rows[&self::alice()].moves.get(&7).copied();
            if matches!(stage, EndedNotDurable | Ended) {
                bench.durable = stage == Ended;
                bench.step(std::mem::take(&mut answers));
            }
            let before = bench.asked.len();
            // A commit that is lost takes with it what it said.
            let balance = match (what, stage) {
                ("draw", Ended) | ("give", _) | ("settle", Stepped) => -10,
                ("draw", _) => 0,
                _ => -50,
            };
            let mut bench = bench.crash_bare();
            bench.decides = false;
            bench.step(Vec::new());
            match stage {
                // Nothing of it was durable, so nothing of it was asked.
                Stepped | Ended => assert_eq!(bench.asked.len(), before, "{what} {stage:?}"),
                _ => assert_eq!(bench.asked[before..], [expected], "{what} {stage:?}"),
            }
            whole(&bench, "alice", 100);
            bench.check_hot();
            // The same answer, before the account is configured.
            if bench.worker.moves_under_way() > 0 {
                let late = bench.decide();
                if !matches!(stage, Stepped | Durable) {
                    assert_eq!(bench.rows[&self::alice()].moves.get(&7).copied(), result, "{what} {stage:?}");
                }
                bench.step(late);
            }
            // What the earlier worker was told comes late: nobody takes it.
            bench.step(answers);
            assert_eq!(bench.worker.moves_under_way(), 0);
            whole(&bench, "alice", 100);
            bench.decides = true;
            bench.configure();
            whole(&bench, "alice", 100);
            assert_eq!(bench.balance("alice"), balance, "{what} {stage:?}");
            bench.check_sums();
            assert_eq!(Audit::of_slot("slot-7", bench.picture()).unwrap().violations, [], "{what} {stage:?}");
        }
    }
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let (mut bench, alice, _) = two(100, 0);
    bench.decides = false;
    bench.prepare(alice, 1, "test.ann.bob", 10);
    let again = bench.moves.clone();
    let answer = |bench: &mut Bench| {
        bench.moves.extend(again.clone());
        bench.decide()
    };
    decided(&mut bench);
    let mut inputs = answer(&mut bench);
    assert!(bench.step(inputs).is_empty());
    inputs = [answer(&mut bench), answer(&mut bench)].into_iter().flatten().collect();
    assert!(bench.step(inputs).is_empty());
    assert_eq!((bench.hot("alice"), bench.cold("alice")), (15, 75));
    // Nor does it end the next move.
    inputs = answer(&mut bench);
    noted(&mut bench, &self::alice(), Note::Recall);
    assert!(bench.step(inputs).is_empty());
    assert_eq!((bench.worker.moves_under_way(), bench.hot("alice")), (1, 0));
    decided(&mut bench);
    assert_eq!((bench.worker.moves_under_way(), bench.hot("alice"), bench.cold("alice")), (0, 0, 90));
}

#[test]
fn a_close_that_a_crash_interrupts_is_finished_by_whoever_opens_the_slot() {
    for decided_before in [false, true] {
        let (mut bench, _, _) = two(30, 0);
        bench.decides = false;
        remove(&mut bench, &alice(), true);
        noted(&mut bench, &alice(), Note::Drained);
        decided(&mut bench);
        assert_eq!(last(&bench).1, MoveChange::Close);
        if decided_before {
            drop(bench.decide());
        }
        let mut bench = bench.crash_bare();
        // Still in the configuration: it can't be added before it is closed.
        bench.decides = false;
        let out = bench.add(wide("alice", 2, 0), 3);
        assert_eq!(replied(3, &out), Some(Err(AccountError::Closing(alice()))));
        decided(&mut bench);
        assert_eq!((bench.own(), bench.cold("alice")), (30, 0));
        assert!(bench.status().accounts.iter().all(|account| account.id != alice()));
        bench.check_sums();
        bench.decides = true;
        assert_eq!(replied(4, &bench.add(wide("alice", 2, 0), 4)), Some(Ok(())));
    }
}

/// What waits counts as if it were in flight, with what is.
#[test]
fn as_many_payments_wait_as_may_be_in_flight_and_no_more() {
    let packet = payment("test.ann.bob", 1).len();
    let three = 3 * (Limits::TRANSFER_BYTES + packet) + 10;
    for (limits, what) in [
        (Limits { in_flight_per_account: 3, ..Limits::default() }, "3 transfers in flight".to_owned()),
        (Limits { in_flight_bytes_per_account: three, ..Limits::default() }, format!("{three} bytes of transfers in flight")),
        (Limits { in_flight_value_per_account: 3, ..Limits::default() }, "3 units of value in flight".to_owned()),
    ] {
        let accounts = vec![(wide("alice", 2, 0), vec![7, OTHER], 100), (account("bob", 0), vec![7], 0)];
        let mut bench = shared(accounts, |config| config.limits = limits);
        let ((alice, _), (_, _)) = (bench.connect("alice"), bench.connect("bob"));
        assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 1)), [1]);
        noted(&mut bench, &self::alice(), Note::Recall);
        bench.decides = false;
        assert!(bench.prepare(alice, 2, "test.ann.bob", 1).is_empty());
        assert!(bench.prepare(alice, 3, "test.ann.bob", 1).is_empty());
        let (code, text) = why(alice, &bench.prepare(alice, 4, "test.ann.bob", 1));
        assert_eq!((code.as_str(), text), ("T03", format!("account alice (parallelism 2) has {what}, the maximum")));
        // What is held already is no news.
        assert_eq!(acked(alice, &bench.prepare(alice, 1, "test.ann.bob", 1)), [1]);
        assert_eq!(acked(alice, &decided(&mut bench)), [2, 3]);
    }
}

#[test]
fn a_payment_that_waits_for_too_long_is_refused_with_r02() {
    let (mut bench, alice, _) = two(100, 0);
    bench.decides = false;
    let event = bench.prepare_event(1, "test.ann.bob", 10, 3_000);
    bench.event(alice, event);
    let event = bench.prepare_event(2, "test.ann.bob", 10, 9_000);
    bench.event(alice, event);
    let id = transfer_id(3);
    let event = LinkEvent::Transfer { request: 3, id, amount: Amount::new(1), expires_at: Some(bench.after(700)), payload: Payload::EMPTY };
    bench.event(alice, event);
    assert!(bench.pass(500).is_empty());
    assert_eq!(why(alice, &bench.pass(1)).0, "R02");
    assert_eq!(why(alice, &bench.pass(199)).0, "R02");
    // What was drawn for the first one is there for the second one.
    assert_eq!(acked(alice, &decided(&mut bench)), [2]);
    assert_eq!(bench.asked.len(), 1);
    whole(&bench, "alice", 100);
}

#[test]
fn a_parked_payment_is_looked_at_from_the_start_when_the_draw_is_decided() {
    let (mut bench, alice, bob) = two(100, 0);
    bench.decides = false;
    bench.prepare(alice, 1, "test.ann.bob", 10);
    bench.disconnect(bob);
    let out = decided(&mut bench);
    assert_eq!(why(alice, &out).0, "T01");
    assert_eq!(bench.hot("alice"), 25);
}

#[test]
fn an_unconditional_transfer_waits_for_a_draw_like_any_other() {
    let (mut bench, alice, _) = two(100, 0);
    let id = transfer_id(3);
    let event = LinkEvent::Transfer { request: 3, id, amount: Amount::new(10), expires_at: None, payload: Payload::EMPTY };
    assert_eq!(acked(alice, &bench.event(alice, event.clone())), [3]);
    assert_eq!(acked(alice, &bench.event(alice, event)), [3]);
    assert_eq!((bench.hot("alice"), bench.balance("alice"), bench.own()), (15, -10, 10));
}

fn put_text(blob: &mut Vec<u8>, text: &[u8]) {
    blob.put_u32(u32::try_from(text.len()).unwrap());
    blob.put_slice(text);
}

/// A batch of the former version: alice owes 300, bob has 120, the connector 0. In a snapshot, or as it came about.
fn former(snapshot: bool) -> Vec<u8> {
    let mut blob = vec![16];
    blob.put_i64(START);
    blob.put_u64(if snapshot { 4 } else { 0 });
    if snapshot {
        blob.put_u8(10);
        blob.put_u32(2);
        blob.put_u64(0);
    }
    for (no, name, settled) in [(0, "alice", -300), (1, "bob", 120)] {
        blob.put_u8(if snapshot { 11 } else { 1 });
        blob.put_u32(no);
        put_text(&mut blob, id(name).as_bytes());
        put_text(&mut blob, b"XRP/6");
        if snapshot {
            (0..5).for_each(|_| blob.put_i128(0));
            blob.put_i128(settled);
            (0..3).for_each(|_| {
                blob.put_u64(0);
                blob.put_i128(0);
            });
        }
        blob.put_u8(if snapshot { 18 } else { 17 });
        blob.put_u32(no);
        put_text(&mut blob, b"old");
        blob.put_i128(settled);
    }
    if snapshot {
        blob.put_u8(12);
        put_text(&mut blob, b"XRP/6");
        blob.put_i128(0);
        blob.put_i128(0);
        blob.put_u8(14);
    }
    blob
}

#[test]
fn a_log_of_the_former_version_is_taken_up_with_every_balance_as_it_was() {
    for snapshot in [false, true] {
        let config = Bench::config(|_| {});
        let mut bench = Bench::bare(config, vec![account("alice", 500), account("bob", 0)]);
        bench.log = vec![(4, former(snapshot).into())];
        bench.balances = [(id("alice"), -300), (id("bob"), 120)].into();
        let mut bench = bench.crash_bare();
        assert_eq!((bench.balance("alice"), bench.balance("bob")), (-300, 120));
        assert!(bench.step(Vec::new()).is_empty() && bench.asked.is_empty());
        bench.configure();
        // What she owes lies at the store, and what is left of her credit is drawn.
        let changes: Vec<_> = bench.asked.iter().map(|m| (m.account.name(), m.n, m.change)).collect();
        let all = MoveChange::Draw { needed: 0, least: 0, share: 1 };
        assert_eq!(changes, [("alice", 1, MoveChange::Give { amount: -300 }), ("alice", 2, all)]);
        assert_eq!((bench.cold("alice"), bench.hot("alice"), bench.balance("alice")), (-500, 200, -300));
        assert_eq!((bench.cold("bob"), bench.hot("bob"), bench.balance("bob")), (0, 120, 120));
        let ((alice, _), (_, _)) = (bench.connect("alice"), bench.connect("bob"));
        assert_eq!(why(alice, &bench.prepare(alice, 1, "test.ann.bob", 201)).0, "T04");
        assert_eq!(acked(alice, &bench.prepare(alice, 2, "test.ann.bob", 200)), [2]);
        assert_eq!(Audit::of_slot("slot-7", bench.picture()).unwrap().violations, []);
        let bench = bench.crash();
        assert_eq!((bench.balance("alice"), bench.balance("bob")), (-500, 120));
    }
}

#[test]
fn a_snapshot_keeps_moves_also_one_that_is_under_way() {
    for what in ["draw", "give", "idle"] {
        let limits = Limits { log_bytes: 8_192, ..Limits::default() };
        let accounts =
            vec![(wide("alice", 2, 0), vec![7, OTHER], 100), (account("bob", 0), vec![7], 0), (account("carol", 1_000_000), vec![7], 0)];
        let mut bench = shared(accounts, |config| config.limits = limits);
        let ((alice, _), (bob, _), (carol, _)) = (bench.connect("alice"), bench.connect("bob"), bench.connect("carol"));
        let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
        bench.fulfill(bob, id, 1);
        bench.decides = false;
        match what {
            "draw" => drop(bench.prepare(alice, 2, "test.ann.bob", 18)),
            "give" => drop(noted(&mut bench, &self::alice(), Note::Recall)),
            _ => {}
        }
        let first = bench.log[0].0;
        let begun = bench.log.last().unwrap().0;
        for n in 0..250_u8 {
            let (_, id) = prepared(bob, &bench.prepare(carol, n, "test.ann.bob", 3));
            let (tag, _) = outcome(carol, &bench.fulfill(bob, id, n));
            bench.answered(carol, tag, Answer::Ack);
            bench.pass(1_000);
        }
        assert!(first < begun && bench.log[0].0 > begun, "the log was cut at {}", bench.log[0].0);
        let before = (bench.hot("alice"), bench.balance("alice"));
        bench.worker.flush();
        bench.step(Vec::new());
        let (asked, under_way) = (bench.asked.len(), bench.moves.clone());
        let mut bench = bench.crash_bare();
        bench.decides = false;
        bench.step(Vec::new());
        assert_eq!(bench.asked[asked..], under_way.iter().cloned().collect::<Vec<_>>(), "{what}");
        assert_eq!((bench.hot("alice"), bench.balance("alice")), before);
        bench.decides = true;
        bench.step(Vec::new());
        bench.configure();
        whole(&bench, "alice", 100);
        assert_eq!(Audit::of_slot("slot-7", bench.picture()).unwrap().violations, []);
        // And it counts on from where it was.
        let next = bench.rows[&self::alice()].moves[&7].n + 1;
        assert!(next >= 3);
        let (alice, _) = bench.connect("alice");
        bench.connect("bob");
        assert_eq!(acked(alice, &bench.prepare(alice, 9, "test.ann.bob", 30)), [9]);
        assert_eq!(last(&bench).0, next, "{what}");
    }
}

#[test]
fn the_store_answers_the_last_move_again_and_makes_none_that_is_older_or_comes_too_early() {
    let setup = AccountSetup { id: alice(), slots: vec![7, OTHER], key: [0; 16], credit_limit: 10 };
    let mut row = AccountRow::new(&setup);
    let draw = |needed, least, share| MoveChange::Draw { needed, least, share };
    let done = |moved, enough, cold| MoveOutcome::Done { result: MoveResult { moved, enough }, cold };
    assert_eq!(row.apply(7, 2, &draw(1, 1, 1)), MoveOutcome::Gap { last: 0 });
    assert_eq!(row.apply(7, 1, &MoveChange::Give { amount: 30 }), done(-30, true, 30));
    assert_eq!(row.apply(7, 1, &MoveChange::Give { amount: 30 }), done(-30, true, 30));
    assert_eq!(row.apply(7, 2, &draw(41, 1, 4)), done(0, false, 30));
    assert_eq!(row.apply(7, 2, &draw(1, 1, 4)), done(0, false, 30), "the same for ever");
    assert_eq!(row.apply(7, 1, &MoveChange::Give { amount: 30 }), MoveOutcome::Stale { last: 2 });
    assert_eq!(row.apply(7, 4, &draw(1, 1, 1)), MoveOutcome::Gap { last: 2 });
    assert_eq!(row.apply(7, 3, &draw(40, 1, 4)), done(10, true, 20));
    // Another slot has numbers of its own; and the answer to the last one has the cold balance as it is.
    assert_eq!(row.apply(OTHER, 1, &draw(30, 29, 4)), done(29, true, -9));
    assert_eq!(row.apply(7, 3, &draw(40, 1, 4)), done(10, true, -9));
    // Below the limit nothing is drawn; whether there is enough for a payment is another question.
    assert_eq!(row.apply(7, 4, &MoveChange::Give { amount: -6 }), done(6, true, -15));
    assert_eq!(row.apply(7, 5, &draw(-4, 0, 1)), done(0, false, -15));
    assert_eq!(row.apply(7, 6, &draw(-5, 0, 1)), done(0, true, -15));
    assert_eq!(row.apply(7, 7, &MoveChange::Close), done(-15, true, 0));
    assert!(row.closed);
    assert!(row.set_up(&setup));
    assert!(!row.closed);
    assert!(!row.set_up(&setup));
    assert_eq!(row.apply(7, 8, &draw(0, 0, 1)), done(10, true, -10));
}

#[test]
fn a_worker_whose_moves_the_store_has_forgotten_or_others_have_made_stops() {
    for outcome in [MoveOutcome::Gap { last: 0 }, MoveOutcome::Stale { last: 9 }, MoveOutcome::NoAccount] {
        let (mut bench, conn, _) = two(100, 0);
        bench.decides = false;
        bench.prepare(conn, 1, "test.ann.bob", 10);
        let moved = |n| vec![Input::Moved { account: alice(), n, outcome: outcome.clone() }];
        // What is said about another move doesn't matter.
        assert!(bench.worker.step(bench.at(), &mut moved(2)).is_ok());
        assert!(bench.worker.step(bench.at(), &mut moved(1)).is_err());
    }
}

#[test]
fn a_move_whose_outcome_is_unknown_is_asked_for_again_as_it_was() {
    let (mut bench, conn, _) = two(100, 0);
    bench.decides = false;
    bench.prepare(conn, 1, "test.ann.bob", 10);
    let asked = bench.moves.clone();
    bench.moves.clear();
    bench.input(Input::Moved { account: alice(), n: 1, outcome: MoveOutcome::Unknown { cause: "x".into() } });
    assert_eq!(bench.moves, asked);
    assert_eq!(acked(conn, &decided(&mut bench)), [1]);
}

#[test]
fn a_letter_counts_only_from_the_account_that_the_transfer_went_to() {
    for (from, counts) in [("carol", false), ("bob", true)] {
        let mut bench = Bench::new();
        let ((alice, _), (bob, _)) = (bench.connect("alice"), bench.connect("bob"));
        let (_, sent) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
        let fulfill = LinkEvent::Fulfill { request: 1, id: sent, fulfillment: preimage(1) };
        let content = letter_of(&id(from), &fulfill).unwrap();
        bench.mail = vec![Letter { no: 3, content: Bytes::from_static(b"nonsense") }, Letter { no: 4, content }];
        let mut bench = bench.crash();
        assert_eq!(bench.balance("bob"), if counts { 10 } else { 0 });
        // They are dropped with the next batch, whatever they said.
        bench.input(settle_input(id("alice"), 1, "x"));
        assert!(bench.mail.is_empty());
        bench.check_books();
    }
}
