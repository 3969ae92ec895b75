//! What must be there after the worst that the store's class covers.

use super::cases::suffix_from;
use super::subject::{Case, account, batch, blobs, same};
use crate::store::{Commit, CommitOutcome};
use futures::future::{join_all, poll_immediate};

type Result = std::result::Result<(), String>;

const ROUNDS: u64 = 8;

pub(super) async fn durable_survives_crash(case: &mut Case<'_>) -> Result {
    let ann = account("ann")?;
    let mut last = 0;
    for round in 1..=ROUNDS {
        let opened = case.open("a").await?;
        same("the log after a crash", &opened.log, &blobs("a", 1, last))?;
        for _ in 0..=round {
            last += 1;
            let balances = vec![(ann.clone(), Some(last.into()))];
            case.durable(&Commit { balances, ..batch("a", opened.epoch, last) }).await?;
        }
        case.crash().await?;
        let picture = case.picture("a").await?;
        same("the log after a crash", &picture.slot.log, &blobs("a", 1, last))?;
        same("the balances after a crash", &picture.balances, &vec![(ann.clone(), last.into())])?;
    }
    Ok(())
}

/// No epoch is given twice, crash or not.
pub(super) async fn epoch_survives_crash(case: &mut Case<'_>) -> Result {
    let mut before = case.open("a").await?.epoch;
    for _ in 0..ROUNDS {
        case.crash().await?;
        let epoch = case.open("a").await?.epoch;
        if epoch <= before {
            return Err(format!("epoch {before} was given before a crash, and epoch {epoch} after it"));
        }
        before = epoch;
    }
    Ok(())
}

/// A worker that lives on sends again what it has no answer for, under the epoch that it has.
pub(super) async fn repeat_after_crash(case: &mut Case<'_>) -> Result {
    let epoch = case.open("a").await?.epoch;
    for seq in 1..=ROUNDS {
        let next = batch("a", epoch, seq);
        let _ = poll_immediate(case.store.commit(next.clone())).await;
        case.crash().await?;
        case.durable(&next).await?;
    }
    same("the log", &case.open("a").await?.log, &blobs("a", 1, ROUNDS))
}

/// Whatever part of what was asked for is there, the balances are those of the last batch that is.
pub(super) async fn batch_and_balances_both_or_neither(case: &mut Case<'_>) -> Result {
    let names: Vec<_> = (0..4).map(|no| format!("account-{no}")).collect();
    let accounts: Vec<_> = names.iter().map(|name| account(name)).collect::<std::result::Result<_, _>>()?;
    let with = |epoch, seq: u64| {
        let balances = accounts.iter().map(|id| (id.clone(), Some(seq.into()))).collect();
        Commit { balances, ..batch("a", epoch, seq) }
    };
    let mut acknowledged = 0;
    for _ in 0..ROUNDS {
        let opened = case.open("a").await?;
        let next = opened.last_seq.saturating_add(1);
        case.durable(&with(opened.epoch, next)).await?;
        acknowledged = next.max(acknowledged);
        // These are under way when it happens.
        let under_way = (1..=6u64).map(|more| case.store.commit(with(opened.epoch, next.saturating_add(more))));
        let under_way = poll_immediate(join_all(under_way)).await.unwrap_or_default();
        let done = under_way.iter().take_while(|outcome| **outcome == CommitOutcome::Durable).count();
        acknowledged = acknowledged.saturating_add(u64::try_from(done).unwrap_or(0));
        case.crash().await?;
        let picture = case.picture("a").await?;
        let last = picture.slot.last_seq;
        if last < acknowledged {
            return Err(format!("batch {acknowledged} was durable before a crash, and {last} is the last one after it"));
        }
        same("the log after a crash", &picture.slot.log, &blobs("a", 1, last))?;
        let expected: Vec<_> = accounts.iter().map(|id| (id.clone(), i128::from(last))).collect();
        same(&format!("the balances beside batch {last} after a crash"), &picture.balances, &expected)?;
    }
    Ok(())
}

/// A cut counts once its own batch does.
pub(super) async fn cut_and_crash_keep_the_tail(case: &mut Case<'_>) -> Result {
    let mut needed = 1;
    for _ in 0..ROUNDS {
        let opened = case.open("a").await?;
        let to = opened.last_seq.saturating_add(5);
        case.fill("a", opened.epoch, opened.last_seq.saturating_add(1), to).await?;
        let (cutting, cut) = (to.saturating_add(1), to.saturating_sub(2));
        let outcome = poll_immediate(case.store.commit(Commit { cut_below: Some(cut), ..batch("a", opened.epoch, cutting) })).await;
        case.crash().await?;
        let slot = case.picture("a").await?.slot;
        if slot.last_seq < to || (outcome == Some(CommitOutcome::Durable) && slot.last_seq < cutting) {
            return Err(format!("a batch that was durable is gone: the last one is {}", slot.last_seq));
        }
        if slot.last_seq == cutting {
            needed = cut;
        }
        suffix_from(&slot.log, "a", needed, slot.last_seq)?;
    }
    Ok(())
}
