//! A ledger made of events alone is the connector's.

use crate::bench::*;
use ilp_core::link::Answer;
use ilp_core::worker::{Input, Released};
use ilp_core::{AccountConfig, AccountId, Asset, Event, Limits, NumberedEvent};
use std::collections::BTreeMap;

fn bench() -> Bench {
    let accounts = vec![account("alice", 1_000), AccountConfig { initial_balance: 40, ..account("bob", 0) }, account("carol", 0)];
    Bench::with(accounts, |config| config.events = true)
}

/// An embedder's ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    last: u64,
    balances: BTreeMap<AccountId, i128>,
    held: BTreeMap<AccountId, i128>,
    own: i128,
}

impl Ledger {
    /// Passes over what it has; misses nothing.
    pub(crate) fn take(&mut self, events: &[NumberedEvent]) {
        for NumberedEvent { number, event, .. } in events {
            let Some(number) = number else { continue };
            if *number > self.last {
                assert_eq!(*number, self.last + 1, "an event is missing before {event:?}");
                self.last = *number;
                self.book(event);
            }
        }
    }

    fn book(&mut self, event: &Event) {
        match event {
            Event::AccountOpened { account, asset } => {
                assert_eq!(*asset, Asset::new("XRP", 6));
                assert_eq!(self.balances.insert(account.clone(), 0), None);
            }
            Event::AccountClosed { account, written_off } => {
                assert_eq!(self.balances.remove(account), Some(*written_off));
                self.own += written_off;
            }
            Event::Accepted { from: Some(from), incoming_amount, .. } => self.hold(from, incoming_amount.get().into()),
            Event::Fulfilled { from, to, incoming_amount, outgoing_amount, .. } => {
                if let Some(from) = from {
                    *self.held.entry(from.clone()).or_default() -= i128::from(incoming_amount.get());
                    self.own += i128::from(incoming_amount.get());
                }
                if let Some(to) = to {
                    *self.balances.get_mut(to).unwrap() += i128::from(outgoing_amount.get());
                    self.own -= i128::from(outgoing_amount.get());
                }
            }
            Event::Rejected { from: Some(from), incoming_amount, .. } => self.hold(from, -i128::from(incoming_amount.get())),
            Event::Lost { from: Some(from), incoming_amount, .. } => {
                *self.balances.get_mut(from).unwrap() += i128::from(incoming_amount.get());
                self.own -= i128::from(incoming_amount.get());
            }
            Event::Charged { from, amount, .. } => {
                *self.balances.get_mut(from).unwrap() -= i128::from(amount.get());
                self.own += i128::from(amount.get());
            }
            Event::Settlement { account, amount, .. } => *self.balances.get_mut(account).unwrap() += amount,
            _ => {}
        }
    }

    fn hold(&mut self, from: &AccountId, amount: i128) {
        *self.balances.get_mut(from).unwrap() -= amount;
        *self.held.entry(from.clone()).or_default() += amount;
    }

    pub(crate) fn is(&self, bench: &Bench) {
        let status = bench.status();
        let books: BTreeMap<_, _> = status.accounts.iter().map(|account| (account.id.clone(), account.balance)).collect();
        assert_eq!((&self.balances, self.own), (&books, bench.own()));
        for account in &status.accounts {
            assert_eq!(self.held.get(&account.id).copied().unwrap_or_default(), account.totals.incoming_prepared);
        }
    }
}

/// Something of everything. Alice's number 1 is fulfilled and disputed, 2 rejected, 3 still held, 4 lost, 5 unconfirmed.
fn live(bench: &mut Bench) {
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    for n in 1..=5 {
        let event = bench.prepare_event(n, "test.ann.bob", 10 + u64::from(n), if n == 3 { 200_000 } else { 10_000 });
        let (_, id) = prepared(bob, &bench.event(alice, event));
        match n {
            1 => {
                let (tag, _) = outcome(alice, &bench.fulfill(bob, id, n));
                bench.answered(alice, tag, Answer::Error(error_bytes("R00", "test.alice")));
            }
            2 => drop(bench.reject(bob, id)),
            3 => {}
            4 => {
                bench.disconnect(alice);
                bench.fulfill(bob, id, n);
                bench.pass(10_000);
                let (alice, out) = bench.connect("alice");
                let (tag, _) = to(alice, &out)
                    .iter()
                    .find_map(|command| match command {
                        ilp_core::link::LinkCommand::Fulfill { tag, .. } => Some((*tag, ())),
                        _ => None,
                    })
                    .unwrap();
                bench.answered(alice, tag, Answer::Error(error_bytes("R00", "test.alice")));
                return;
            }
            _ => unreachable!(),
        }
    }
}

#[test]
fn a_ledger_of_events_alone_is_the_connectors() {
    let mut bench = bench();
    live(&mut bench);
    bench.input(Input::Settle { account: id("carol"), amount: -3, id: "s".parse().unwrap(), reply: 1 });
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, unanswered) = prepared(bob, &bench.prepare(alice, 5, "test.ann.bob", 15));
    bench.fulfill(bob, unanswered, 5);
    bench.pass(20_000);
    let out = bench.input(Input::RemoveAccount { id: id("carol"), write_off: true, reply: 2 });
    assert!(out.iter().any(|effect| matches!(effect, Released::Account(2, Ok(())))), "{out:?}");
    let mut ledger = Ledger::default();
    ledger.take(&bench.told);
    ledger.is(&bench);
    let kinds = |what: fn(&Event) -> bool| bench.told.iter().filter(|told| what(&told.event)).count();
    assert_eq!(kinds(|event| matches!(event, Event::Disputed { .. })), 1);
    assert_eq!(kinds(|event| matches!(event, Event::Lost { .. })), 1);
    assert_eq!(kinds(|event| matches!(event, Event::Unconfirmed { .. })), 1);
    assert_eq!(kinds(|event| matches!(event, Event::Rejected { .. })), 1);
    assert_eq!(kinds(|event| matches!(event, Event::Settlement { .. })), 2);
}

#[test]
fn what_is_not_acknowledged_is_told_again_under_the_same_numbers() {
    let mut bench = bench();
    live(&mut bench);
    let before = bench.told.clone();
    let last = before.iter().filter_map(|told| told.number).max().unwrap();
    // Nothing acknowledged: everything again, word for word.
    let mut bench = bench.crash();
    let numbered: Vec<_> = before.iter().filter(|told| told.number.is_some()).cloned().collect();
    assert_eq!(bench.told, numbered);
    bench.input(Input::AcknowledgeEvents { through: last - 2 });
    // In advance it can't be done.
    assert_eq!(bench.worker.events_unacknowledged(), 2);
    bench.worker.flush();
    bench.step(Vec::new());
    let mut bench = bench.crash();
    assert_eq!(bench.told, numbered[numbered.len() - 2..]);
    bench.input(Input::AcknowledgeEvents { through: u64::MAX });
    assert_eq!(bench.worker.events_unacknowledged(), 0);
    bench.input(Input::Settle { account: id("bob"), amount: 1, id: "more".parse().unwrap(), reply: 1 });
    let told: Vec<_> = bench.told.iter().filter_map(|told| told.number).collect();
    assert_eq!(told.last(), Some(&(last + 1)));
    let bench = bench.crash();
    assert_eq!(bench.told.len(), 1);
}

#[test]
fn the_log_is_not_cut_behind_what_is_not_acknowledged() {
    let accounts = vec![account("alice", u64::MAX), account("bob", 0), account("gone", 0)];
    let change = |config: &mut ilp_core::worker::WorkerConfig| {
        config.events = true;
        config.limits = Limits { log_bytes: 10_000, ..Limits::default() };
    };
    let mut bench = Bench::with(accounts, change);
    bench.input(Input::RemoveAccount { id: id("gone"), write_off: false, reply: 2 });
    bench.accounts.pop();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let mut acknowledged = 0;
    let mut longest = 0;
    for round in 0..3_000u32 {
        let event = bench.prepare_event(1, "test.ann.bob", 3, 4_000);
        let ilp_core::link::LinkEvent::Prepare { request, mut transfer } = event else { unreachable!() };
        let mut name = [0; 16];
        name[..4].copy_from_slice(&round.to_be_bytes());
        transfer.id = ilp_oer::TransferId::new(name);
        let (_, id) = prepared(bob, &bench.event(alice, ilp_core::link::LinkEvent::Prepare { request, transfer }));
        let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
        bench.answered(alice, tag, Answer::Ack);
        bench.pass(50);
        // The embedder is behind for a while, then catches up.
        if round == 1_500 || round == 2_900 {
            acknowledged = bench.told.iter().filter_map(|told| told.number).max().unwrap();
            bench.input(Input::AcknowledgeEvents { through: acknowledged });
        }
        longest = longest.max(bench.log.len());
        if round == 1_499 {
            assert_eq!(bench.log.first().map(|(seq, _)| *seq), Some(1), "it was cut");
        }
    }
    assert!(bench.log[0].0 > 1, "it was never cut");
    let told = bench.told.clone();
    let bench = bench.crash();
    let again: Vec<_> = told.into_iter().filter(|told| told.number.is_some_and(|number| number > acknowledged)).collect();
    assert!(!again.is_empty());
    assert_eq!(bench.told, again);
}

#[test]
fn without_a_listener_events_are_counted_and_hold_up_nothing() {
    let mut bench = bench();
    bench.config.events = false;
    let last = bench.told.iter().filter_map(|told| told.number).max().unwrap();
    let mut bench = bench.crash();
    live(&mut bench);
    assert!(bench.told.is_empty());
    assert_eq!(bench.worker.events_unacknowledged(), 0);
    bench.config.events = true;
    // What nobody heard then is still in the log, so it is told now.
    let bench = bench.crash();
    let numbers: Vec<_> = bench.told.iter().filter_map(|told| told.number).collect();
    assert_eq!(numbers, (1..=u64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    assert!(*numbers.last().unwrap() > last);
}
