//! Settlements: each counts once, whatever is repeated, cut or crashed.

use crate::bench::*;
use ilp_core::audit::Audit;
use ilp_core::worker::{Input, Released};
use ilp_core::{AccountConfig, InvalidSettlementId, SettleError, Settlement, SettlementId};

fn settle(bench: &mut Bench, name: &str, amount: i128, id: &str) -> Result<Settlement, SettleError> {
    let (account, settlement) = (crate::bench::id(name), id.parse().unwrap());
    let out = bench.input(Input::Settle { account, amount, id: settlement, reply: 77 });
    let result = out.into_iter().find_map(|effect| match effect {
        Released::Settled(77, result) => Some(result),
        _ => None,
    });
    result.unwrap()
}

#[test]
fn a_settlement_counts_once_across_repeats_and_crashes() {
    let mut bench = Bench::new();
    assert_eq!(settle(&mut bench, "alice", 500, "wire-1"), Ok(Settlement { balance: 500, repeated: false }));
    assert_eq!(settle(&mut bench, "alice", 500, "wire-1"), Ok(Settlement { balance: 500, repeated: true }));
    assert_eq!(settle(&mut bench, "bob", -20, "wire-1"), Ok(Settlement { balance: -20, repeated: false }));
    let mut bench = bench.crash();
    assert_eq!(settle(&mut bench, "alice", 500, "wire-1"), Ok(Settlement { balance: 500, repeated: true }));
    assert_eq!(settle(&mut bench, "alice", 1, "wire-2"), Ok(Settlement { balance: 501, repeated: false }));
    assert_eq!((bench.balance("alice"), bench.balance("bob"), bench.own()), (501, -20, 0));
    assert!(Audit::of_slot("slot", bench.picture()).unwrap().is_right());
}

#[test]
fn it_is_told_when_it_is_durable_and_not_before() {
    let mut bench = Bench::new();
    bench.durable = false;
    let account = id("alice");
    let input = || Input::Settle { account: account.clone(), amount: 9, id: "x".parse().unwrap(), reply: 1 };
    assert!(bench.input(input()).is_empty());
    // A repeat has nothing to record; it waits for the first one all the same.
    assert!(bench.input(input()).is_empty());
    let out = bench.make_durable();
    let told: Vec<_> = out.iter().filter(|effect| matches!(effect, Released::Settled(..))).collect();
    assert_eq!(told.len(), 2);
}

#[test]
fn what_cannot_be_settled_says_why() {
    let mut bench = Bench::new();
    let alice = id("alice");
    settle(&mut bench, "alice", 5, "x").unwrap();
    let other = SettleError::OtherAmount { account: alice.clone(), id: "x".parse().unwrap(), recorded: 5, asked: 6 };
    assert_eq!(settle(&mut bench, "alice", 6, "x"), Err(other));
    assert_eq!(settle(&mut bench, "nobody", 6, "x"), Err(SettleError::Unknown(id("nobody"))));
    assert_eq!(settle(&mut bench, "alice", 0, "y"), Err(SettleError::Zero));
    assert_eq!(settle(&mut bench, "alice", i128::MAX, "y"), Err(SettleError::OutOfRange(alice.clone())));
    assert_eq!(settle(&mut bench, "alice", i128::MIN, "y"), Err(SettleError::OutOfRange(alice.clone())));
    bench.config.limits.settlements_per_account = 1;
    let mut bench = bench.crash();
    assert_eq!(settle(&mut bench, "alice", 1, "y"), Err(SettleError::TooMany { account: alice, max: 1 }));
    assert_eq!(bench.balance("alice"), 5);
    let text = |text: &str| text.parse::<SettlementId>();
    assert_eq!(text(""), Err(InvalidSettlementId::Length(0)));
    assert_eq!(text(&"x".repeat(65)), Err(InvalidSettlementId::Length(65)));
    assert_eq!(text("a b"), Err(InvalidSettlementId::Character(' ')));
    assert_eq!(text("initial"), Err(InvalidSettlementId::Reserved));
}

#[test]
fn an_initial_balance_counts_when_the_account_is_opened_and_never_again() {
    let initial = |balance| AccountConfig { initial_balance: balance, ..account("alice", 0) };
    let mut bench = Bench::with(vec![initial(300), account("bob", 0)], |_| {});
    assert_eq!(bench.balance("alice"), 300);
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, sent) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 100));
    bench.fulfill(bob, sent, 1);
    let mut bench = bench.crash();
    assert_eq!(bench.balance("alice"), 200);
    bench.add(initial(1_000), 5);
    assert_eq!(bench.balance("alice"), 200);
    bench.check_books();
}

#[test]
fn the_credit_limit_does_not_hold_for_what_has_happened() {
    let mut bench = Bench::new();
    assert_eq!(settle(&mut bench, "bob", -5_000, "paid-out").unwrap().balance, -5_000);
    let (bob, _) = bench.connect("bob");
    let (_alice, _) = bench.connect("alice");
    assert_eq!(error_code(bob, &bench.prepare(bob, 1, "test.ann.alice", 1)), "T04");
}

#[test]
fn a_closed_accounts_settlements_stay_in_the_books() {
    let mut bench = Bench::new();
    settle(&mut bench, "alice", 50, "in").unwrap();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, sent) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 20));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, sent, 1));
    bench.answered(alice, tag, ilp_core::link::Answer::Ack);
    let out = bench.input(Input::RemoveAccount { id: id("alice"), write_off: true, reply: 9 });
    assert!(out.iter().any(|effect| matches!(effect, Released::Account(9, Ok(())))), "{out:?}");
    assert_eq!((bench.own(), bench.balance("bob")), (30, 20));
    bench.check_books();
    assert!(!bench.balances.contains_key(&id("alice")));
    let audit = Audit::of_slot("slot", bench.picture()).unwrap();
    assert!(audit.is_right(), "{:?}", audit.violations);
    assert_eq!(audit.assets[0].settlements, 50);
    bench.accounts.retain(|account| account.id.name() != "alice");
    bench.crash().check_books();
}
