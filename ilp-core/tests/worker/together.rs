//! What workers that serve the same accounts do together.

use crate::bench::error_bytes;
use crate::farm::{Farm, Line, config};
use ilp_core::link::Answer;
use ilp_core::{AccountConfig, AccountError};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Send { from: usize, to: usize, amount: u64, ttl: i64, twice: bool, pick: usize },
    Charge { from: usize, amount: u64, pick: usize },
    Say { n: usize, pick: usize },
    Fulfill { n: usize, pick: usize, right: bool },
    Reject { n: usize, pick: usize },
    Reply { pick: usize, answer: u8 },
    Connect { who: usize, node: usize },
    Disconnect { pick: usize },
    Step { node: usize },
    Durable { node: usize },
    Release { node: usize },
    Deliver { pick: usize, count: usize },
    Decide { pick: usize, again: bool, unknown: Option<bool> },
    Answer { pick: usize },
    Run,
    Tick { ms: i64 },
    Pass { ms: i64 },
    Crash { node: usize },
    Open { node: usize },
    Cut { a: usize, b: usize },
    Join { a: usize, b: usize },
    Settle { who: usize, amount: i128, id: u8 },
    Limit { who: usize, limit: u64 },
    Remove { who: usize },
    Add { who: usize },
}

const ACCOUNTS: usize = 4;

/// `closing`: accounts are closed and opened, too.
fn op(closing: bool) -> impl Strategy<Value = Op> {
    let (who, any) = (0..ACCOUNTS, any::<usize>);
    let op = prop_oneof![
        10 => (who.clone(), who.clone(), 0u64..120, 2_450i64..9_000, prop::bool::weighted(0.2), any())
            .prop_map(|(from, to, amount, ttl, twice, pick)| Op::Send { from, to, amount, ttl, twice, pick }),
        1 => (who.clone(), 0u64..60, any()).prop_map(|(from, amount, pick)| Op::Charge { from, amount, pick }),
        3 => (any(), any()).prop_map(|(n, pick)| Op::Say { n, pick }),
        8 => (any(), any(), prop::bool::weighted(0.9)).prop_map(|(n, pick, right)| Op::Fulfill { n, pick, right }),
        1 => (any(), any()).prop_map(|(n, pick)| Op::Reject { n, pick }),
        6 => (any(), 0u8..12).prop_map(|(pick, answer)| Op::Reply { pick, answer }),
        3 => (who.clone(), any()).prop_map(|(who, node)| Op::Connect { who, node }),
        1 => any().prop_map(|pick| Op::Disconnect { pick }),
        14 => any().prop_map(|node| Op::Step { node }),
        11 => any().prop_map(|node| Op::Durable { node }),
        11 => any().prop_map(|node| Op::Release { node }),
        14 => (any(), 1usize..6).prop_map(|(pick, count)| Op::Deliver { pick, count }),
        8 => (any(), prop::bool::weighted(0.2), prop_oneof![8 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))])
            .prop_map(|(pick, again, unknown)| Op::Decide { pick, again, unknown }),
        8 => any().prop_map(|pick| Op::Answer { pick }),
        2 => Just(Op::Run),
        3 => (1i64..300).prop_map(|ms| Op::Tick { ms }),
        1 => (1i64..4_000).prop_map(|ms| Op::Pass { ms }),
        1 => any().prop_map(|node| Op::Crash { node }),
        2 => any().prop_map(|node| Op::Open { node }),
        1 => (any(), any()).prop_map(|(a, b)| Op::Cut { a, b }),
        2 => (any(), any()).prop_map(|(a, b)| Op::Join { a, b }),
        1 => (who.clone(), -150i128..150, 0u8..8).prop_map(|(who, amount, id)| Op::Settle { who, amount, id }),
        1 => (who.clone(), 0u64..200).prop_map(|(who, limit)| Op::Limit { who, limit }),
        1 => who.clone().prop_map(|who| Op::Remove { who }),
        1 => who.prop_map(|who| Op::Add { who }),
    ];
    op.prop_map(move |op| match op {
        Op::Remove { .. } | Op::Add { .. } if !closing => Op::Run,
        op => op,
    })
}

/// As many as the environment says: a long run finds more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}

fn accounts() -> Vec<AccountConfig> {
    let of = |name, parallelism, credit, initial_balance| AccountConfig { initial_balance, ..config(name, parallelism, credit) };
    vec![of("alice", 2, 100, 200), of("bob", 1, 30, 0), of("carol", 3, 0, 300), of("dave", 8, 500, 100)]
}

fn pick(lines: &[Line], pick: usize) -> Option<Line> {
    lines.get(pick % lines.len().max(1)).copied()
}

fn answer(kind: u8) -> Answer {
    match kind {
        0 => Answer::Error(error_bytes("T00", "test.peer")),
        1 => Answer::TimedOut,
        _ => Answer::Ack,
    }
}

fn act(farm: &mut Farm, op: &Op) {
    let nodes = farm.nodes.len();
    match *op {
        Op::Send { from, to, amount, ttl, twice, pick: at } => {
            let mut lines = farm.lines_of(from);
            if let Some(line) = pick(&lines, at) {
                if !twice {
                    lines = vec![line];
                }
                farm.send(from, to, amount, ttl, &lines);
            }
        }
        Op::Charge { from, amount, pick: at } => {
            if let Some(line) = pick(&farm.lines_of(from), at) {
                farm.charge(from, amount, &[line]);
            }
        }
        Op::Say { n, pick: at } if !farm.transfers.is_empty() => {
            let n = n % farm.transfers.len();
            if let Some(line) = pick(&farm.lines_of(farm.transfers[n].from), at) {
                farm.say(n, line);
            }
        }
        Op::Fulfill { n, pick: at, .. } | Op::Reject { n, pick: at } if !farm.transfers.is_empty() => {
            // One of those that wait for it, if any does.
            let open: Vec<usize> = (0..farm.transfers.len())
                .filter(|n| farm.transfers[*n].sent_as.is_some() && !farm.transfers[*n].confirmed && farm.transfers[*n].outcome.is_none())
                .collect();
            let n = open.get(n % open.len().max(1)).copied().unwrap_or(n % farm.transfers.len());
            if let Some(line) = pick(&farm.lines_of(farm.transfers[n].to), at) {
                match *op {
                    Op::Fulfill { right, .. } => farm.fulfill(n, line, right),
                    _ => farm.reject(n, line),
                }
            }
        }
        Op::Reply { pick: at, answer: kind } if !farm.pending.is_empty() => {
            farm.answer_pending(at % farm.pending.len(), answer(kind));
        }
        Op::Connect { who, node } => {
            farm.connect(who, node % nodes);
        }
        Op::Disconnect { pick: at } => {
            if let Some(line) = pick(&farm.lines, at) {
                farm.disconnect(line);
            }
        }
        Op::Step { node } => farm.step(node % nodes),
        Op::Durable { node } => {
            farm.make_durable(node % nodes);
        }
        Op::Release { node } => {
            farm.release(node % nodes);
        }
        Op::Deliver { pick, count } => (0..count).for_each(|_| {
            farm.deliver(pick);
        }),
        Op::Decide { pick, again, unknown } => {
            farm.decide(pick, again, unknown);
        }
        Op::Answer { pick } => {
            farm.answer(pick);
        }
        Op::Run => farm.run(),
        Op::Tick { ms } => farm.now += ms,
        Op::Pass { ms } => farm.pass(ms),
        Op::Crash { node } => farm.crash(node % nodes),
        Op::Open { node } => farm.open(node % nodes),
        Op::Cut { a, b } => farm.cut(a % nodes, b % nodes),
        Op::Join { a, b } => farm.join(a % nodes, b % nodes),
        Op::Settle { who, amount, id } => farm.settle(who, amount, id),
        Op::Limit { who, limit } => farm.limit(who, limit),
        Op::Remove { who } => {
            farm.remove(who, true);
        }
        Op::Add { who } => farm.add(who),
        _ => {}
    }
    farm.check();
}

/// Everything that can still come comes, and then the time.
fn finish(mut farm: Farm) {
    farm.heal();
    farm.pass(300);
    for node in &farm.nodes {
        assert_eq!(node.worker.parked(), 0, "a payment waits at slot {} for nothing", node.slot);
    }
    farm.probe();
    for round in 0..8 {
        for who in (0..ACCOUNTS).filter(|_| round == 0) {
            farm.connect(who, who % farm.nodes.len());
        }
        farm.run();
        while !farm.pending.is_empty() {
            farm.answer_pending(0, Answer::Ack);
            farm.run();
        }
        farm.pass(5_000);
        farm.tell_again();
    }
    farm.pass(310_000);
    farm.check_over();
}

fn run(nodes: usize, ops: &[Op]) {
    let mut farm = Farm::new(nodes, accounts());
    for who in 0..ACCOUNTS {
        farm.connect(who, who % nodes);
        farm.connect(who, (who + 1) % nodes);
    }
    farm.run();
    for op in ops {
        act(&mut farm, op);
    }
    finish(farm);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_delayed_repeated_lost_or_crashes_nothing_is_made_lost_or_stuck(
        nodes in 2usize..5, ops in prop::collection::vec(op(false), 1..300)
    ) {
        run(nodes, &ops);
    }

    #[test]
    fn accounts_are_closed_and_opened_in_the_middle_of_it_and_nothing_is_made_lost_or_stuck(
        nodes in 2usize..5, ops in prop::collection::vec(op(true), 1..300)
    ) {
        run(nodes, &ops);
    }

    #[test]
    fn with_all_else_idle_a_payment_is_admitted_iff_balance_and_credit_cover_parallelism_times_its_amount(
        nodes in 1usize..5,
        parallelism in prop::sample::select(vec![1u8, 2, 3, 8]),
        credit in 0u64..40,
        earned in prop::collection::vec((1u64..30, any::<bool>()), 0..12),
        settled in -60i128..60,
        near in -2i128..3,
        wait in any::<bool>(),
        at in any::<usize>(),
    ) {
        let mut farm = Farm::new(nodes, vec![config("x", parallelism, credit), config("bank", 4, 1_000_000)]);
        let (x, bank) = (farm.connect(0, at % nodes).unwrap(), farm.connect(1, 0).unwrap());
        farm.run();
        // Earned at whatever slots own the bank's transfers, and some of it spent from x's own.
        for (amount, spend) in earned {
            let (from, to, line, hop) = if spend { (0, 1, x, bank) } else { (1, 0, bank, x) };
            let n = farm.send(from, to, amount, 5_000, &[line]);
            farm.pass(250);
            farm.fulfill(n, hop, true);
            farm.run();
            while !farm.pending.is_empty() {
                farm.answer_pending(0, Answer::Ack);
                farm.run();
            }
        }
        if settled != 0 {
            farm.settle(0, settled, 0);
        }
        // What was settled below the limit binds others when what they have is back.
        farm.pass(if wait || settled < 0 { 11_000 } else { 300 });
        let there = farm.balance(0) + i128::from(credit);
        let amount = u64::try_from((there / i128::from(parallelism) + near).max(1)).unwrap();
        let n = farm.send(0, 1, amount, 5_000, &[x]);
        farm.pass(700);
        let expected = there >= i128::from(parallelism) * i128::from(amount);
        prop_assert_eq!(farm.transfers[n].answers.len(), 1);
        let accepted = farm.transfers[n].answers[0] == Answer::Ack;
        prop_assert_eq!(accepted, expected, "{} × {} of {}: {:?}", parallelism, amount, there, farm.transfers[n].answers);
        farm.check();
    }
}

/// Two workers; alice and bob, each served by one of them, and alice connected to both.
fn pair() -> (Farm, Line, Line, Line) {
    let mut farm = Farm::new(2, vec![config("alice", 2, 1_000), config("bob", 1, 0)]);
    let (a, b) = (farm.connect(0, 0).unwrap(), farm.connect(0, 1).unwrap());
    let bob = farm.connect(1, 0).unwrap();
    farm.run();
    (farm, a, b, bob)
}

/// The node that owns a transfer.
fn owner(farm: &Farm, n: usize) -> usize {
    let id = farm.transfers[n].sent_as.unwrap();
    usize::from(id.as_bytes()[1]) - 1
}

#[test]
fn a_transfer_said_on_two_connections_at_once_is_held_once() {
    let (mut farm, a, b, bob) = pair();
    for _ in 0..20 {
        let n = farm.send(0, 1, 5, 5_000, &[a, b]);
        farm.pass(250);
        assert_eq!(farm.transfers[n].answers, [Answer::Ack, Answer::Ack]);
        farm.fulfill(n, bob, true);
        farm.run();
        assert!(farm.transfers[n].confirmed && farm.transfers[n].outcome == Some(Ok(preimage(&farm, n))));
    }
    assert_eq!((farm.balance(0), farm.balance(1)), (-100, 100));
}

fn preimage(farm: &Farm, n: usize) -> ilp_oer::Fulfillment {
    match &farm.transfers[n].outcome {
        Some(Ok(fulfillment)) => *fulfillment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_workers_own_some_of_the_transfers_of_an_account_of_parallelism_2() {
    let (mut farm, a, _, _) = pair();
    let owners: Vec<usize> = (0..40)
        .map(|_| {
            let n = farm.send(0, 1, 1, 5_000, &[a]);
            farm.pass(250);
            owner(&farm, n)
        })
        .collect();
    let first = owners.iter().filter(|owner| **owner == 0).count();
    assert!((10..=30).contains(&first), "{owners:?}");
}

/// A payment whose owner isn't the node where alice said it, and the owner.
fn relayed(farm: &mut Farm, a: Line) -> (usize, usize) {
    for _ in 0..100 {
        let n = farm.send(0, 1, 7, 9_000, &[a]);
        farm.pass(250);
        let owner = owner(farm, n);
        if owner != a.node {
            return (n, owner);
        }
    }
    panic!("nothing is ever relayed");
}

#[test]
fn who_relays_acknowledges_nothing() {
    let (mut farm, a, _, _) = pair();
    let (n, owner) = relayed(&mut farm, a);
    // Again: it goes to the owner, which is stuck; nobody else answers.
    let before = farm.transfers[n].answers.len();
    farm.say(n, a);
    while farm.deliver(0) {}
    farm.step(a.node);
    while farm.make_durable(a.node) {}
    while farm.release(a.node) {}
    assert_eq!(farm.transfers[n].answers.len(), before);
    // The same for a fulfill.
    let bob = farm.connect(1, a.node).unwrap();
    farm.fulfill(n, bob, true);
    while farm.deliver(0) {}
    farm.step(a.node);
    while farm.make_durable(a.node) {}
    while farm.release(a.node) {}
    assert!(!farm.transfers[n].confirmed);
    farm.run();
    assert!(farm.transfers[n].confirmed && farm.nodes[owner].up);
}

#[test]
fn what_the_owner_sends_on_a_colleagues_connection_has_its_answer() {
    let (mut farm, a, b, _) = pair();
    let (n, owner) = relayed(&mut farm, a);
    // Bob is at node 0 alone; whoever owns it, its prepare is there, and an Error to it ends the hold.
    let place = farm.pending.iter().position(|(_, _, of, prepare)| *of == n && *prepare).unwrap();
    farm.answer_pending(place, Answer::Error(error_bytes("F02", "test.bob")));
    farm.run();
    assert!(matches!(farm.transfers[n].outcome, Some(Err(_))), "owner {owner}, {b:?}");
}

#[test]
fn a_fulfill_for_a_slot_that_nobody_has_open_is_a_letter_and_ends_the_transfer_when_somebody_opens_it() {
    for crash_again in [false, true] {
        let mut farm = Farm::new(2, vec![config("alice", 2, 1_000), config("bob", 1, 0)]);
        let (a, b) = (farm.connect(0, 0).unwrap(), farm.connect(0, 1).unwrap());
        farm.connect(1, 0).unwrap();
        farm.run();
        let (n, owner) = relayed(&mut farm, a);
        assert_eq!(owner, 1);
        farm.crash(owner);
        farm.run();
        let bob = farm.lines_of(1)[0];
        let paid = farm.balance(1);
        farm.fulfill(n, bob, true);
        farm.run();
        assert!(!farm.transfers[n].confirmed, "nobody may acknowledge it but the owner");
        assert_eq!((farm.nodes[owner].mail.len(), farm.balance(1)), (1, paid));
        farm.open(owner);
        if crash_again {
            // It is read, and what follows from it is lost: so it must be there the next time.
            farm.step(owner);
            assert_eq!(farm.balance(1), paid + 7);
            farm.crash(owner);
            assert_eq!((farm.nodes[owner].mail.len(), farm.balance(1)), (1, paid));
            farm.open(owner);
        }
        farm.run();
        assert_eq!((farm.nodes[owner].mail.len(), farm.balance(1)), (0, paid + 7));
        assert!(matches!(farm.transfers[n].outcome, Some(Ok(_))), "alice has another connection: {b:?}");
        // Bob says it again, and is told.
        farm.fulfill(n, bob, true);
        farm.run();
        assert!(farm.transfers[n].confirmed);
        // A letter counts once, and one that can't be read is dropped.
        farm.crash(owner);
        farm.open(owner);
        farm.run();
        assert_eq!(farm.balance(1), paid + 7);
    }
}

#[test]
fn a_reject_can_be_a_letter_and_several_are_read_in_order() {
    let mut farm = Farm::new(2, vec![config("alice", 2, 1_000), config("bob", 1, 0)]);
    let (a, bob) = (farm.connect(0, 0).unwrap(), farm.connect(1, 0).unwrap());
    farm.run();
    let ((first, owner), (second, _)) = (relayed(&mut farm, a), relayed(&mut farm, a));
    farm.crash(owner);
    farm.run();
    let paid = farm.balance(1);
    farm.reject(first, bob);
    farm.fulfill(second, bob, true);
    // What comes later finds it decided.
    farm.fulfill(first, bob, true);
    farm.run();
    assert_eq!(farm.nodes[owner].mail.len(), 3);
    farm.open(owner);
    farm.run();
    assert!(matches!(farm.transfers[first].outcome, Some(Err(_))));
    assert!(matches!(farm.transfers[second].outcome, Some(Ok(_))));
    assert_eq!((farm.nodes[owner].mail.len(), farm.balance(1)), (0, paid + 7));
}

#[test]
fn a_payment_for_an_owner_that_is_not_there_is_not_taken_by_anybody_else() {
    let (mut farm, a, _, _) = pair();
    let (n, owner) = relayed(&mut farm, a);
    farm.crash(owner);
    farm.run();
    let held = farm.balance(0);
    farm.say(n, a);
    farm.run();
    assert_eq!((farm.transfers[n].unanswerable, farm.balance(0)), (1, held));
}

#[test]
fn an_account_is_closed_at_all_workers_and_opened_again() {
    let mut farm = Farm::new(3, vec![config("alice", 3, 0), config("bank", 2, 1_000)]);
    let (alice, bank) = (farm.connect(0, 1).unwrap(), farm.connect(1, 2).unwrap());
    farm.run();
    for _ in 0..9 {
        let n = farm.send(1, 0, 10, 5_000, &[bank]);
        farm.pass(250);
        farm.fulfill(n, alice, true);
        farm.run();
    }
    let n = farm.send(0, 1, 20, 5_000, &[alice]);
    farm.pass(250);
    let reply = farm.remove(0, false).unwrap();
    farm.pass(1_000);
    assert!(!farm.replies.contains_key(&reply), "one is in flight");
    while !farm.pending.is_empty() {
        farm.answer_pending(0, Answer::Ack);
        farm.run();
    }
    farm.fulfill(n, bank, true);
    farm.run();
    while !farm.pending.is_empty() {
        farm.answer_pending(0, Answer::Ack);
        farm.run();
    }
    assert_eq!(farm.replies[&reply], Err(AccountError::Balance { id: farm.id(0), balance: 70 }));
    // It goes on as before.
    let again = farm.send(0, 1, 20, 5_000, &[alice]);
    farm.pass(250);
    assert_eq!(farm.transfers[again].answers, [Answer::Ack]);
    farm.reject(again, bank);
    farm.run();
    while !farm.pending.is_empty() {
        farm.answer_pending(0, Answer::Ack);
        farm.run();
    }
    let reply = farm.remove(0, true).unwrap();
    farm.run();
    assert_eq!(farm.replies[&reply], Ok(()));
    assert!((0..3).all(|node| farm.status(node).accounts.iter().all(|account| account.id != farm.id(0))));
    assert!(farm.rows[&farm.id(0)].closed && farm.lines_of(0).is_empty());
    assert_eq!((0..3).map(|node| farm.status(node).own[0].1).sum::<i128>(), 70);
    farm.add(0);
    farm.run();
    assert_eq!((farm.balance(0), farm.hot(0), farm.rows[&farm.id(0)].closed), (0, 0, false));
    farm.connect(0, 2).unwrap();
    let n = farm.send(1, 0, 10, 5_000, &[bank]);
    farm.pass(250);
    assert_eq!(farm.transfers[n].answers, [Answer::Ack]);
    farm.check();
}

#[test]
fn what_was_said_on_a_connection_that_is_gone_is_said_on_another_one_whichever_worker_has_it() {
    let (mut farm, ..) = pair();
    farm.connect(1, 1).unwrap();
    farm.run();
    for _ in 0..12 {
        let a = farm.lines_of(0)[0];
        let n = farm.send(0, 1, 5, 20_000, &[a]);
        farm.pass(250);
        // The prepare isn't acknowledged where it was said.
        let said =
            |farm: &Farm, prepare| farm.pending.iter().rev().find(|(_, _, of, is)| (*of, *is) == (n, prepare)).map(|(line, ..)| *line);
        let first = said(&farm, true).unwrap();
        assert!(first.who == 1);
        farm.disconnect(first);
        farm.run();
        let second = said(&farm, true).unwrap();
        assert!(second != first && second.who == 1);
        farm.fulfill(n, second, true);
        farm.run();
        assert!(farm.transfers[n].confirmed);
        // Nor is the fulfill to alice.
        let first = said(&farm, false).unwrap();
        farm.disconnect(first);
        farm.run();
        let again = said(&farm, false).unwrap();
        assert!(again != first && again.who == 0);
        while !farm.pending.is_empty() {
            farm.answer_pending(0, Answer::Ack);
            farm.run();
        }
        for who in [0, 1] {
            for node in [0, 1] {
                if !farm.lines_of(who).iter().any(|line| line.node == node) {
                    farm.connect(who, node).unwrap();
                }
            }
        }
        farm.run();
    }
    assert_eq!(farm.balance(1), 60);
}
