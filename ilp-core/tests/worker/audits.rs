//! An audit finds nothing in books that are right, and whatever is wrong with others.

use crate::bench::*;
use bytes::Bytes;
use ilp_core::audit::{Audit, AuditError, BatchSummary};
use ilp_core::link::Answer;
use ilp_core::worker::{Input, Released, TransferState, WorkerStatus};

/// Alice has paid 10, has 7 on their way, and disputes 3.
fn lived() -> Bench {
    let mut bench = Bench::new();
    let (alice, _) = bench.connect("alice");
    let (bob, _) = bench.connect("bob");
    let (_, id) = prepared(bob, &bench.prepare(alice, 1, "test.ann.bob", 10));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 1));
    bench.answered(alice, tag, Answer::Ack);
    bench.now += 5;
    let (_, id) = prepared(bob, &bench.prepare(alice, 2, "test.ann.bob", 3));
    let (tag, _) = outcome(alice, &bench.fulfill(bob, id, 2));
    bench.answered(alice, tag, Answer::Error(error_bytes("R00", "test.alice")));
    bench.now += 5;
    bench.prepare(alice, 3, "test.ann.bob", 7);
    bench
}

fn stated(bench: &mut Bench) -> WorkerStatus {
    let out = bench.input(Input::State { reply: 5 });
    let statement = out.into_iter().find_map(|effect| match effect {
        Released::Stated(5, status) => Some(*status),
        _ => None,
    });
    statement.unwrap()
}

fn rules(audit: &Audit) -> Vec<&'static str> {
    audit.violations.iter().map(|violation| violation.rule).collect()
}

#[test]
fn right_books_are_right_at_rest_and_while_they_run() {
    let mut bench = lived();
    let at_rest = Audit::of_slot("slot", bench.picture()).unwrap();
    assert_eq!(at_rest.violations, []);
    let alice = at_rest.accounts.iter().find(|account| account.id.name() == "alice").unwrap();
    assert_eq!((alice.balance, alice.cold, alice.hot, alice.stored), (-20, -1_000, 980, Some(980)));
    assert_eq!((alice.totals.incoming_prepared, alice.held, alice.available()), (7, 1, None));
    assert_eq!((alice.doubts.disputed.count, alice.doubts.disputed.amount), (1, 3));
    assert_eq!(alice.oldest_held_since.map(|at| at.unix_millis()), Some(START + 10));
    assert_eq!(at_rest.at.map(|at| at.unix_millis()), Some(START + 10));
    let statement = stated(&mut bench);
    let running = Audit::of_running("slot", bench.picture(), &statement).unwrap();
    assert_eq!(running.violations, []);
    assert_eq!(running.accounts.iter().find(|account| account.id.name() == "alice").unwrap().available(), Some(980));
    // What comes after the statement doesn't disturb.
    let (alice, _) = bench.connect("alice");
    bench.prepare(alice, 4, "test.ann.carol", 1);
    let (bob, _) = bench.connect("bob");
    bench.prepare(bob, 5, "test.ann.alice", 1);
    let later = Audit::of_running("slot", bench.picture(), &statement).unwrap();
    assert_eq!((later.violations, later.seq), (vec![], statement.seq));
}

#[test]
fn the_last_transfers_of_an_account_are_shown_as_they_stand() {
    let bench = lived();
    let last = Audit::last_transfers("slot", &bench.picture(), &id("alice")).unwrap();
    let shown: Vec<_> = last.iter().map(|last| (last.transfer.incoming_amount.get(), last.transfer.state)).collect();
    // The first one's Ack is recorded with the next batch that there is.
    assert_eq!(shown, [(7, TransferState::Held), (3, TransferState::Fulfilled), (10, TransferState::Fulfilled)]);
    assert_eq!(last[1].at.map(|at| at.unix_millis()), Some(START + 5));
    assert!(Audit::last_transfers("slot", &bench.picture(), &id("carol")).unwrap().is_empty());
}

#[test]
fn a_balance_beside_the_log_that_is_off_by_one_is_found() {
    let bench = lived();
    let mut picture = bench.picture();
    picture.balances[0].1 += 1;
    assert_eq!(rules(&Audit::of_slot("slot", picture).unwrap()), ["I2"]);
    let mut picture = bench.picture();
    picture.balances.remove(0);
    assert_eq!(rules(&Audit::of_slot("slot", picture).unwrap()), ["I2"]);
    let mut picture = bench.picture();
    picture.balances.push((id("ghost"), 0));
    assert_eq!(rules(&Audit::of_slot("slot", picture).unwrap()), ["I2"]);
}

#[test]
fn a_record_that_was_tampered_with_is_found() {
    let bench = lived();
    let picture = bench.picture();
    let (mut found, mut unseen) = (0, 0);
    // Every byte of every amount in the log, one at a time: 7, 3 and 10 are nothing else's.
    for batch in 0..picture.slot.log.len() {
        for place in 8..picture.slot.log[batch].len() {
            let amount: [u8; 8] = picture.slot.log[batch][place - 7..=place].try_into().unwrap();
            if ![7, 3, 10].contains(&u64::from_be_bytes(amount)) {
                continue;
            }
            let mut picture = picture.clone();
            let mut blob = picture.slot.log[batch].to_vec();
            blob[place] ^= 0x20;
            picture.slot.log[batch] = Bytes::from(blob);
            match Audit::of_slot("slot", picture) {
                Ok(audit) if audit.is_right() => unseen += 1,
                Ok(_) | Err(AuditError::Open { .. }) => found += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    // No balance depends on the amounts in the three packets, on what the held one is worth to bob, and on how much is disputed.
    assert!(found >= 8 && unseen == 5, "{found} {unseen}");
}

#[test]
fn a_worker_whose_memory_is_not_its_log_is_found() {
    let mut bench = lived();
    let mut statement = stated(&mut bench);
    statement.accounts[0].totals.incoming_fulfilled += 1;
    assert_eq!(rules(&Audit::of_running("slot", bench.picture(), &statement).unwrap()), ["I2"]);
    let mut statement = stated(&mut bench);
    statement.own[0].1 -= 1;
    assert_eq!(rules(&Audit::of_running("slot", bench.picture(), &statement).unwrap()), ["I2"]);
}

#[test]
fn a_log_that_lost_its_end_is_not_taken_for_the_workers() {
    let mut bench = lived();
    let statement = stated(&mut bench);
    let mut picture = bench.picture();
    picture.slot.log.pop();
    picture.slot.last_seq -= 1;
    assert!(matches!(Audit::of_running("slot", picture, &statement), Err(AuditError::Overtaken)));
}

#[test]
fn a_batch_says_what_is_in_it() {
    let bench = lived();
    let summaries: Vec<_> = bench.log.iter().map(|(_, blob)| BatchSummary::of(blob).unwrap()).collect();
    assert_eq!(summaries.iter().map(|summary| summary.prepared).sum::<u64>(), 3);
    assert_eq!(summaries.iter().map(|summary| summary.decided).sum::<u64>(), 2);
    assert!(summaries.iter().all(|summary| !summary.snapshot && summary.at.is_some()));
    // Three accounts, three transfers held, two fulfilled, one disputed; the last batch has one of them.
    assert_eq!(summaries.last().unwrap().events_before, 8);
    assert!(BatchSummary::of(&[99]).is_err());
}
