//! The sums, under whatever happens.

use crate::bench::*;
use crate::events::Ledger;
use ilp_core::audit::Audit;
use ilp_core::link::Answer;
use ilp_core::link::LinkCommand;
use ilp_core::worker::{ConnectionId, Input, Released};
use ilp_oer::TransferId;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Prepare { from: usize, to: usize, n: u8, amount: u64, expires_in: i64 },
    Fulfill { pick: usize, right: bool },
    Reject { pick: usize },
    AnswerPrepare { pick: usize, answer: u8 },
    AnswerOutcome { pick: usize, answer: u8 },
    Reconnect { who: usize },
    Disconnect { who: usize },
    Pass { ms: i64 },
    Settle { who: usize, amount: i64, n: u8 },
    Acknowledge { behind: u64 },
    Hold,
    Durable,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0usize..3;
    prop_oneof![
        8 => (who.clone(), who.clone(), 0u8..24, 0u64..700, 2_400i64..12_000)
            .prop_map(|(from, to, n, amount, expires_in)| Op::Prepare { from, to, n, amount, expires_in }),
        5 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(pick, right)| Op::Fulfill { pick, right }),
        2 => any::<usize>().prop_map(|pick| Op::Reject { pick }),
        2 => (any::<usize>(), 0u8..4).prop_map(|(pick, answer)| Op::AnswerPrepare { pick, answer }),
        4 => (any::<usize>(), 0u8..4).prop_map(|(pick, answer)| Op::AnswerOutcome { pick, answer }),
        2 => who.clone().prop_map(|who| Op::Reconnect { who }),
        1 => who.prop_map(|who| Op::Disconnect { who }),
        3 => (1i64..6_000).prop_map(|ms| Op::Pass { ms }),
        1 => (0usize..3, -500i64..500, 0u8..6).prop_map(|(who, amount, n)| Op::Settle { who, amount, n }),
        1 => (0u64..9).prop_map(|behind| Op::Acknowledge { behind }),
        1 => Just(Op::Hold),
        1 => Just(Op::Durable),
        1 => Just(Op::Crash),
    ]
}

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// What the peers have seen, and so may answer.
#[derive(Default)]
struct Seen {
    connections: [Option<ConnectionId>; 3],
    prepares: Vec<(usize, u64, TransferId, u8)>,
    outcomes: Vec<(usize, u64)>,
}

impl Seen {
    fn note(&mut self, out: &[Released]) {
        for effect in out {
            let Released::Command(connection, command) = effect else { continue };
            let Some(who) = self.connections.iter().position(|c| c == &Some(*connection)) else { continue };
            match command {
                LinkCommand::Prepare { tag, id, condition: c, .. } => {
                    let n = (0..24).find(|n| condition(*n) == *c).unwrap();
                    self.prepares.push((who, *tag, *id, n));
                }
                LinkCommand::Fulfill { tag, .. } | LinkCommand::Reject { tag, .. } => self.outcomes.push((who, *tag)),
                _ => {}
            }
        }
    }
}

fn answer(kind: u8) -> Answer {
    match kind {
        0 => Answer::Ack,
        1 => Answer::Error(error_bytes("T00", "test.peer")),
        2 => Answer::TimedOut,
        _ => Answer::Lost,
    }
}

fn run(ops: Vec<Op>) {
    let accounts = vec![account("alice", 1_000), account("bob", 300), of_2017("carol", 500)];
    let mut bench = Bench::with(accounts, |config| config.events = true);
    let mut seen = Seen::default();
    let mut ledger = Ledger::default();
    for op in ops {
        let out = match op {
            Op::Prepare { from, to, n, amount, expires_in } => {
                let Some(connection) = seen.connections[from] else { continue };
                let event = bench.prepare_event(n, &format!("test.ann.{}", NAMES[to]), amount, expires_in);
                bench.event(connection, event)
            }
            Op::Fulfill { pick, right } => {
                let Some((who, _, id, n)) = seen.prepares.get(pick % seen.prepares.len().max(1)).copied() else { continue };
                let Some(connection) = seen.connections[who] else { continue };
                bench.fulfill(connection, id, if right { n } else { n.wrapping_add(1) })
            }
            Op::Reject { pick } => {
                let Some((who, _, id, _)) = seen.prepares.get(pick % seen.prepares.len().max(1)).copied() else { continue };
                let Some(connection) = seen.connections[who] else { continue };
                bench.reject(connection, id)
            }
            Op::AnswerPrepare { pick, answer: kind } => {
                let Some((who, tag, _, _)) = seen.prepares.get(pick % seen.prepares.len().max(1)).copied() else { continue };
                let Some(connection) = seen.connections[who] else { continue };
                bench.answered(connection, tag, answer(kind))
            }
            Op::AnswerOutcome { pick, answer: kind } => {
                let Some((who, tag)) = seen.outcomes.get(pick % seen.outcomes.len().max(1)).copied() else { continue };
                let Some(connection) = seen.connections[who] else { continue };
                bench.answered(connection, tag, answer(kind))
            }
            Op::Reconnect { who } => {
                let (connection, out) = bench.connect(NAMES[who]);
                seen.connections[who] = Some(connection);
                out
            }
            Op::Disconnect { who } => match seen.connections[who].take() {
                Some(connection) => bench.disconnect(connection),
                None => continue,
            },
            Op::Pass { ms } => bench.pass(ms),
            Op::Settle { who, amount, n } => {
                let (account, id) = (id(NAMES[who]), format!("s{n}").parse().unwrap());
                bench.input(Input::Settle { account, amount: amount.into(), id, reply: 1 })
            }
            Op::Acknowledge { behind } => {
                let told = bench.told.iter().filter_map(|told| told.number).max().unwrap_or_default();
                bench.input(Input::AcknowledgeEvents { through: told.saturating_sub(behind) })
            }
            Op::Hold => {
                bench.durable = false;
                continue;
            }
            Op::Durable => {
                bench.durable = true;
                let mut out = bench.make_durable();
                out.extend(bench.step(Vec::new()));
                out
            }
            Op::Crash => {
                ledger.take(&bench.told);
                bench = bench.crash();
                seen.connections = [None; 3];
                continue;
            }
        };
        seen.note(&out);
        bench.check_sums();
        ledger.take(&bench.told);
    }
    // Once nothing happens any more, nothing stays held.
    bench.durable = true;
    bench.make_durable();
    bench.pass(40_000);
    bench.check_sums();
    let status = bench.status();
    assert_eq!((status.in_flight, status.remembered), (0, 0));
    assert!(status.accounts.iter().all(|account| account.totals.incoming_prepared == 0 && account.in_flight == 0));
    // And the log says the same.
    let books = |bench: &Bench| bench.status().accounts.iter().map(|a| (a.id.clone(), a.balance, a.totals)).collect::<Vec<_>>();
    bench.worker.flush();
    bench.step(Vec::new());
    let (before, own) = (books(&bench), bench.own());
    let bench = bench.crash();
    assert_eq!((books(&bench), bench.own()), (before, own));
    // So does an embedder that has nothing but the events, and an audit finds nothing.
    ledger.take(&bench.told);
    ledger.is(&bench);
    assert_eq!(Audit::of_slot("slot", bench.picture()).unwrap().violations, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_conserved_and_every_balance_follows_its_formula(ops in prop::collection::vec(op(), 1..120)) {
        let mut all = vec![Op::Reconnect { who: 0 }, Op::Reconnect { who: 1 }, Op::Reconnect { who: 2 }];
        all.extend(ops);
        run(all);
    }
}

#[test]
fn a_snapshot_lets_the_log_be_cut_and_says_the_same() {
    let mut bench = Bench::with(vec![account("alice", u64::MAX), account("bob", 0)], |_| {});
    // Opened, closed, and its records cut: its number must not be given to anybody else.
    bench.add(account("gone", 0), 1);
    bench.input(Input::RemoveAccount { id: id("gone"), write_off: false, reply: 2 });
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    // Held for so long that its record lies below every cut: it has to be carried over, more than once.
    let event = bench.prepare_event(9, "test.ann.bob", 5, 250_000);
    let (_, long_held) = prepared(bob, &bench.event(alice, event));
    // Told as long ago, and not to count again.
    let settle = || Input::Settle { account: id("bob"), amount: -7, id: "paid".parse().unwrap(), reply: 3 };
    bench.input(settle());
    // Fulfilled as long ago, with something left for the connector, and never acknowledged.
    let event = bench.prepare_event(8, "test.ann.bob", 100, 250_000);
    let ilp_core::link::LinkEvent::Prepare { request, mut transfer } = event else { unreachable!() };
    transfer.payload = ilp_core::link::Payload::ilp(payment("test.ann.bob", 90));
    let (_, owed) = prepared(bob, &bench.event(alice, ilp_core::link::LinkEvent::Prepare { request, transfer }));
    let _ = outcome(alice, &bench.fulfill(bob, owed, 8));
    let mut cut = false;
    for round in 0u32..220 {
        let mut inputs = Vec::new();
        for k in 0u32..1_000 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&(round * 1_000 + k).to_be_bytes());
            let event = bench.prepare_event(1, "test.ann.bob", 3, 4_000);
            let ilp_core::link::LinkEvent::Prepare { request, mut transfer } = event else { unreachable!() };
            transfer.id = TransferId::new(id);
            inputs.push(Input::Link { connection: alice, event: ilp_core::link::LinkEvent::Prepare { request, transfer } });
        }
        let first = bench.log.first().map(|(seq, _)| *seq);
        let out = bench.step(inputs);
        // Most are fulfilled and acknowledged, some rejected, a few left to the time.
        let mut inputs = Vec::new();
        for (n, command) in to(bob, &out).into_iter().enumerate() {
            let LinkCommand::Prepare { id, .. } = command else { continue };
            let event = match n % 10 {
                0 => continue,
                1 => ilp_core::link::LinkEvent::Reject { request: 1, id, reason: error_bytes("F99", "test.bob") },
                _ => ilp_core::link::LinkEvent::Fulfill { request: 1, id, fulfillment: preimage(1) },
            };
            inputs.push(Input::Link { connection: bob, event });
        }
        let out = bench.step(inputs);
        let mut inputs = Vec::new();
        for command in to(alice, &out) {
            let (LinkCommand::Fulfill { tag, .. } | LinkCommand::Reject { tag, .. }) = command else { continue };
            let event = ilp_core::link::LinkEvent::Answered { tag, answer: Answer::Ack };
            inputs.push(Input::Link { connection: alice, event });
        }
        bench.step(inputs);
        bench.pass(100);
        cut |= bench.log.first().map(|(seq, _)| *seq) > first;
    }
    assert!(cut, "the log was never cut");
    bench.worker.flush();
    bench.step(Vec::new());
    bench.check_books();
    let before = bench.status();
    let mut after = bench.crash();
    let books = |status: &ilp_core::worker::WorkerStatus| {
        let accounts: Vec<_> = status.accounts.iter().map(|a| (a.id.clone(), a.balance, a.totals, a.in_flight)).collect();
        (accounts, status.own.clone(), status.in_flight)
    };
    assert_eq!(books(&after.status()), books(&before));
    after.check_books();
    after.add(account("new", 0), 3);
    // Behind the batch's own beginning.
    let opened = after.log.last().map(|(_, blob)| blob.slice(17..22));
    assert_eq!(opened.as_deref(), Some([1, 0, 0, 0, 3].as_slice()), "accounts have numbers 0 to 2 so far");
    // What was forgotten before the crash may be remembered again for a moment; what was remembered must be.
    assert!(after.status().remembered >= before.remembered);
    assert_eq!(after.own(), 10);
    let out = after.input(settle());
    assert!(out.iter().any(|effect| matches!(effect, Released::Settled(3, Ok(settled)) if settled.repeated)), "{out:?}");
    let audit = Audit::of_slot("slot", after.picture()).unwrap();
    assert!(audit.is_right(), "{:?}", audit.violations);
    let (bob, _) = after.connect("bob");
    assert!(is_ack(bob, &after.fulfill(bob, long_held, 9)));
    let (alice, out) = after.connect("alice");
    let fulfills = |command: &LinkCommand, n| matches!(command, LinkCommand::Fulfill { fulfillment, .. } if *fulfillment == preimage(n));
    assert!(to(alice, &out).iter().any(|command| fulfills(command, 8)), "the old answer is still owed");
    after.check_books();
}
