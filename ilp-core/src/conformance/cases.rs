//! The contract, sentence by sentence, while nothing fails.

use super::subject::{Case, account, batch, blob, blobs, same};
use crate::store::{Commit, CommitOutcome};
use bytes::Bytes;
use futures::future::{join, join_all, poll_immediate};

type Result = std::result::Result<(), String>;

/// Nobody ever opened it: nothing is read, and opening makes an empty slot.
pub(super) async fn opens_fresh(case: &mut Case<'_>) -> Result {
    same("a slot that nobody opened", &case.read("a").await?, &None)?;
    let opened = case.open("a").await?;
    same("the last sequence number of a new slot", &opened.last_seq, &0)?;
    same("the log of a new slot", &opened.log, &Vec::new())?;
    let picture = case.picture("a").await?;
    same("the picture of a new slot", &picture.slot, &opened)?;
    same("the balances of a new store", &picture.balances, &Vec::new())
}

/// A commit needs the epoch of an opening.
pub(super) async fn unopened_slot_takes_nothing(case: &mut Case<'_>) -> Result {
    for epoch in [0, 1] {
        if case.commit(&batch("a", epoch, 1)).await? == CommitOutcome::Durable {
            return Err("a slot that nobody opened took a batch".to_owned());
        }
    }
    same("the log of a slot that took nothing", &case.open("a").await?.log, &Vec::new())
}

pub(super) async fn every_opening_raises_the_epoch(case: &mut Case<'_>) -> Result {
    let mut before = 0;
    for _ in 0..5 {
        let epoch = case.open("a").await?.epoch;
        if epoch <= before {
            return Err(format!("the epoch was {before}, and is {epoch} after another opening"));
        }
        before = epoch;
    }
    Ok(())
}

/// What an earlier opener commits while the slot is being opened is in the log, or is fenced.
pub(super) async fn epoch_raised_before_reading(case: &mut Case<'_>) -> Result {
    let mut opened = case.open("a").await?;
    for _ in 0..50 {
        let next = batch("a", opened.epoch, opened.last_seq.saturating_add(1));
        // Both orders of asking.
        let (again, outcome) = if opened.last_seq % 2 == 0 {
            join(case.open("a"), case.commit(&next)).await
        } else {
            let (outcome, again) = join(case.commit(&next), case.open("a")).await;
            (again, outcome)
        };
        let again = again?;
        match outcome? {
            CommitOutcome::Durable if again.log.last() != Some(&next.blob) => {
                return Err(format!("batch {} is durable, but an opening at the same time hasn't got it", next.seq));
            }
            CommitOutcome::Durable | CommitOutcome::Fenced { .. } => {}
            other => return Err(format!("a commit during an opening is answered {other:?}")),
        }
        opened = again;
    }
    Ok(())
}

pub(super) async fn batches_in_order(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    case.fill("a", epoch, 1, 30).await?;
    let opened = case.open("a").await?;
    same("the last sequence number", &opened.last_seq, &30)?;
    same("the log", &opened.log, &blobs("a", 1, 30))
}

pub(super) async fn repeat_changes_nothing(case: &mut Case<'_>) -> Result {
    let (epoch, ann) = (case.open("a").await?.epoch, account("ann")?);
    let with = |seq, balance| Commit { balances: vec![(ann.clone(), Some(balance))], ..batch("a", epoch, seq) };
    for (seq, balance) in [(1, 10), (2, 20), (3, 30)] {
        case.durable(&with(seq, balance)).await?;
        case.durable(&with(seq, balance)).await?;
    }
    for (seq, balance) in [(1, 10), (2, 20), (3, 30)] {
        case.durable(&with(seq, balance)).await?;
        same("the balance after a repeated batch", &case.picture("a").await?.balances, &vec![(ann.clone(), 30)])?;
    }
    same("the log after repeated batches", &case.open("a").await?.log, &blobs("a", 1, 3))
}

/// What is durable stays as it is.
pub(super) async fn repeat_with_other_bytes_changes_nothing(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    case.fill("a", epoch, 1, 3).await?;
    let ann = account("ann")?;
    for seq in 1..=3 {
        let balances = vec![(ann.clone(), Some(1))];
        let other = Commit { blob: Bytes::from_static(b"something else"), balances, cut_below: Some(3), ..batch("a", epoch, seq) };
        case.durable(&other).await?;
    }
    let picture = case.picture("a").await?;
    same("the log", &picture.slot.log, &blobs("a", 1, 3))?;
    same("the balances", &picture.balances, &Vec::new())
}

pub(super) async fn gap_refused(case: &mut Case<'_>) -> Result {
    let (epoch, ann) = (case.open("a").await?.epoch, account("ann")?);
    let early = |seq| Commit { balances: vec![(ann.clone(), Some(1))], cut_below: Some(seq), ..batch("a", epoch, seq) };
    same("a first batch with number 2", &case.commit(&early(2)).await?, &CommitOutcome::Gap { last_seq: 0 })?;
    case.fill("a", epoch, 1, 4).await?;
    for seq in [6, 7, 1_000, u64::MAX] {
        same(&format!("batch {seq} after 4"), &case.commit(&early(seq)).await?, &CommitOutcome::Gap { last_seq: 4 })?;
    }
    let picture = case.picture("a").await?;
    same("the balances after refused batches", &picture.balances, &Vec::new())?;
    same("the log after refused batches", &picture.slot.log, &blobs("a", 1, 4))?;
    case.durable(&batch("a", epoch, 5)).await
}

pub(super) async fn old_epoch_refused(case: &mut Case<'_>) -> Result {
    let (old, ann) = (case.open("a").await?.epoch, account("ann")?);
    case.fill("a", old, 1, 3).await?;
    let new = case.open("a").await?.epoch;
    // The next one, one that is there already, and one too far.
    for seq in [4, 2, 9] {
        let late = Commit { balances: vec![(ann.clone(), Some(1))], cut_below: Some(seq), ..batch("a", old, seq) };
        same("a batch of an earlier opener", &case.commit(&late).await?, &CommitOutcome::Fenced { epoch: new })?;
    }
    let picture = case.picture("a").await?;
    same("the balances after fenced batches", &picture.balances, &Vec::new())?;
    same("the log after fenced batches", &picture.slot.log, &blobs("a", 1, 3))?;
    case.durable(&batch("a", new, 4)).await
}

/// An epoch that nobody was given yet isn't right either.
pub(super) async fn unknown_epoch_refused(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    let early = batch("a", epoch.saturating_add(1), 1);
    same("a batch of an epoch to come", &case.commit(&early).await?, &CommitOutcome::Fenced { epoch })?;
    same("the log after it", &case.open("a").await?.log, &Vec::new())
}

/// A store may keep more than it must, but nothing between, and nothing is missing from the cut on.
pub(super) async fn cut_keeps_what_is_needed(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    case.fill("a", epoch, 1, 9).await?;
    case.durable(&Commit { cut_below: Some(6), ..batch("a", epoch, 10) }).await?;
    suffix_from(&case.picture("a").await?.slot.log, "a", 6, 10)?;
    case.fill("a", epoch, 11, 12).await?;
    // A cut never goes back.
    case.durable(&Commit { cut_below: Some(2), ..batch("a", epoch, 13) }).await?;
    case.durable(&Commit { cut_below: Some(14), ..batch("a", epoch, 14) }).await?;
    let opened = case.open("a").await?;
    same("the last sequence number", &opened.last_seq, &14)?;
    suffix_from(&opened.log, "a", 14, 14)?;
    case.durable(&batch("a", opened.epoch, 15)).await
}

/// The log ends with the batches `from` to `to`, and what is before them is what was before them.
pub(super) fn suffix_from(log: &[Bytes], slot: &str, from: u64, to: u64) -> Result {
    let all = blobs(slot, 1, to);
    let needed = blobs(slot, from, to).len();
    if log.len() < needed {
        return Err(format!("after a cut below {from} the log has {} batches, and should have {needed} or more", log.len()));
    }
    match all.len().checked_sub(log.len()).and_then(|cut| all.get(cut..)) {
        Some(suffix) => same("the log after a cut", &log, &suffix),
        None => Err(format!("the log has {} batches, and there never were more than {to}", log.len())),
    }
}

pub(super) async fn balances_are_the_last_values(case: &mut Case<'_>) -> Result {
    let (epoch, ann, bob) = (case.open("a").await?.epoch, account("ann")?, account("bob")?);
    let bound = 1i128 << 100;
    for (seq, value) in (1..).zip([1, -1, bound, -bound, 0, i128::from(u64::MAX)]) {
        let balances = vec![(bob.clone(), Some(value)), (ann.clone(), Some(5))];
        case.durable(&Commit { balances, ..batch("a", epoch, seq) }).await?;
        let expected = vec![(ann.clone(), 5), (bob.clone(), value)];
        same("the balances, in the order of ids", &case.picture("a").await?.balances, &expected)?;
    }
    case.durable(&batch("a", epoch, 7)).await?;
    let expected = vec![(ann, 5), (bob, i128::from(u64::MAX))];
    same("the balances after a batch that touched none", &case.picture("a").await?.balances, &expected)
}

pub(super) async fn closed_accounts_have_no_balance(case: &mut Case<'_>) -> Result {
    let (epoch, ann, bob) = (case.open("a").await?.epoch, account("ann")?, account("bob")?);
    let with = |seq, value| Commit { balances: vec![(ann.clone(), value)], ..batch("a", epoch, seq) };
    case.durable(&Commit { balances: vec![(ann.clone(), Some(7)), (bob.clone(), Some(8))], ..batch("a", epoch, 1) }).await?;
    case.durable(&with(2, None)).await?;
    same("the balances after an account was closed", &case.picture("a").await?.balances, &vec![(bob.clone(), 8)])?;
    // Closing one that isn't there, and opening it again.
    case.durable(&with(3, None)).await?;
    case.durable(&with(4, Some(-9))).await?;
    same("the balances", &case.picture("a").await?.balances, &vec![(ann.clone(), -9), (bob, 8)])
}

pub(super) async fn read_takes_nothing(case: &mut Case<'_>) -> Result {
    let opened = case.open("a").await?;
    for seq in 1..=5 {
        let picture = case.picture("a").await?;
        same("the epoch that is read", &picture.slot.epoch, &opened.epoch)?;
        same("the last sequence number that is read", &picture.slot.last_seq, &(seq - 1))?;
        same("the log that is read", &picture.slot.log, &blobs("a", 1, seq - 1))?;
        case.durable(&batch("a", opened.epoch, seq)).await?;
    }
    Ok(())
}

pub(super) async fn slots_are_independent(case: &mut Case<'_>) -> Result {
    let (a, ann, bob) = (case.open("a").await?.epoch, account("ann")?, account("bob")?);
    // Names that begin alike must not be taken for each other.
    let names = ["a", "a\u{0}", "ab", "b", "aa/1"];
    case.durable(&Commit { balances: vec![(ann.clone(), Some(1))], ..batch("a", a, 1) }).await?;
    for name in names.iter().skip(1) {
        let epoch = case.open(name).await?.epoch;
        case.fill(name, epoch, 1, 2).await?;
        let cut = Commit { cut_below: Some(3), balances: vec![(bob.clone(), Some(2))], ..batch(name, epoch, 3) };
        case.durable(&cut).await?;
    }
    case.durable(&batch("a", a, 2)).await?;
    same("the log of a slot beside others", &case.picture("a").await?.slot.log, &blobs("a", 1, 2))?;
    for name in names {
        let balances = if name == "a" { vec![(ann.clone(), 1)] } else { vec![(bob.clone(), 2)] };
        same("the balances of a slot", &case.picture(name).await?.balances, &balances)?;
        let log = case.open(name).await?.log;
        let last = if name == "a" { 2 } else { 3 };
        suffix_from(&log, name, last, last)?;
    }
    Ok(())
}

/// All at once: each is durable or came too early.
pub(super) async fn overlapping_calls_in_any_order(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    let (ann, to) = (account("ann")?, 40);
    let with = |seq: u64| Commit { balances: vec![(ann.clone(), Some(seq.into()))], ..batch("a", epoch, seq) };
    let all: Vec<_> = (1..=to).map(with).collect();
    let mut rounds = 0..=to;
    loop {
        // Not in the order of their numbers.
        let outcomes = join_all(all.iter().rev().chain(&all).map(|batch| case.commit(batch))).await;
        let mut missing = false;
        for outcome in outcomes {
            match outcome? {
                CommitOutcome::Durable => {}
                CommitOutcome::Gap { .. } => missing = true,
                other => return Err(format!("one of several commits at once is answered {other:?}")),
            }
        }
        if !missing {
            break;
        }
        if rounds.next().is_none() {
            return Err(format!("{to} batches, asked for over and over, aren't all durable after as many rounds"));
        }
    }
    let picture = case.picture("a").await?;
    same("the log", &picture.slot.log, &blobs("a", 1, to))?;
    same("the balance", &picture.balances, &vec![(ann, to.into())])
}

pub(super) async fn large_and_empty_blobs(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    let lens = [0usize, 1, 4_000, 4_096, 65_535, 65_536, 1_000_000, 9 << 20, 0];
    let mut expected = Vec::new();
    for (seq, len) in (1u64..).zip(lens) {
        let bytes: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        expected.push(Bytes::from(bytes));
        case.durable(&Commit { blob: expected.last().cloned().unwrap_or_default(), ..batch("a", epoch, seq) }).await?;
    }
    same("the log", &case.open("a").await?.log, &expected)
}

pub(super) async fn many_slots(case: &mut Case<'_>) -> Result {
    let names: Vec<_> = (0..200).map(|no| format!("slot-{no}")).collect();
    let opened = join_all(names.iter().map(|name| case.open(name))).await;
    let opened: Vec<_> = opened.into_iter().collect::<std::result::Result<_, _>>()?;
    for seq in 1..=3 {
        let batches: Vec<_> = names.iter().zip(&opened).map(|(name, opened)| batch(name, opened.epoch, seq)).collect();
        for done in join_all(batches.iter().map(|batch| case.durable(batch))).await {
            done?;
        }
    }
    for name in &names {
        same("the log of one of many slots", &case.picture(name).await?.slot.log, &blobs(name, 1, 3))?;
    }
    Ok(())
}

/// Whoever gives up waiting doesn't know the outcome; the same bytes are asked for again.
pub(super) async fn abandoned_commit_can_be_repeated(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    for seq in 1..=20 {
        let next = batch("a", epoch, seq);
        let _ = poll_immediate(case.store.commit(next.clone())).await;
        case.durable(&next).await?;
    }
    let opened = case.open("a").await?;
    same("the log", &opened.log, &blobs("a", 1, 20))?;
    same("the last blob", &opened.log.last(), &Some(&blob("a", 20)))
}
