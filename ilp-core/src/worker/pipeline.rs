//! Batches between their step and their release.

use super::Batch;
use crate::store::{Commit, CommitOutcome, SlotName};
use std::collections::VecDeque;
use std::time::Duration;

/// The batches of one worker that are on their way: stepped, being made durable, or waiting for earlier ones.
///
/// It does no I/O: whoever drives the worker sends the commits that [`push`](Self::push) and [`outcome`](Self::outcome) give to the
/// store, in any number at once, tells it what became of each, and releases what [`next_durable`](Self::next_durable) gives.
#[derive(Debug)]
pub struct Pipeline {
    slot: SlotName,
    epoch: u64,
    batches: VecDeque<OnItsWay>,
    /// The last batch that is known to be durable; `None` before the first commit.
    durable_seq: Option<u64>,
    untrusted: bool,
}

#[derive(Debug)]
struct OnItsWay {
    batch: Batch,
    /// `None` if it has no commit.
    seq: Option<u64>,
    durable: bool,
    /// What was known to be durable when its commit was given out last.
    sent_after: u64,
    /// How often it was sent again.
    repeats: u32,
}

/// A commit that must be sent to the store again, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The same as before.
    pub commit: Commit,
    /// How long to wait before.
    pub after: Duration,
}

/// The worker's state isn't what the store has. The worker must be dropped with all its batches; nothing more is released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// Somebody else has opened the slot.
    #[error("another opener holds the slot (epoch {epoch}, ours was {ours})")]
    Fenced {
        /// The slot's epoch now.
        epoch: u64,
        /// Ours.
        ours: u64,
    },
    /// Batches are missing that were durable.
    #[error("the store has forgotten batches after {last_seq} that it had called durable")]
    Forgotten {
        /// The last one that it has.
        last_seq: u64,
    },
}

impl Pipeline {
    /// For a worker that was opened with this epoch.
    pub fn new(slot: SlotName, epoch: u64) -> Self {
        Self { slot, epoch, batches: VecDeque::new(), durable_seq: None, untrusted: false }
    }

    /// Takes a batch in the order of the steps. The commit, if there is one, must be given to the store.
    pub fn push(&mut self, batch: Batch) -> Option<Commit> {
        if batch.is_empty() {
            return None;
        }
        let commit = batch.commit.as_ref().map(|commit| Commit {
            slot: self.slot.clone(),
            epoch: self.epoch,
            seq: commit.seq,
            blob: commit.blob.clone(),
            balances: commit.balances.clone(),
            cut_below: commit.cut_below,
            mail_read: commit.mail_read,
        });
        let seq = commit.as_ref().map(|commit| commit.seq);
        // The first one follows what the worker was opened with.
        let sent_after = seq.map_or(0, |seq| *self.durable_seq.get_or_insert(seq.saturating_sub(1)));
        self.batches.push_back(OnItsWay { batch, seq, durable: seq.is_none(), sent_after, repeats: 0 });
        commit
    }

    /// The store has answered. What isn't known to be durable is sent again.
    pub fn outcome(&mut self, commit: Commit, outcome: CommitOutcome) -> Result<Option<Retry>, Untrusted> {
        let known = self.durable_seq.unwrap_or_default();
        let entry = self.batches.iter_mut().find(|entry| entry.seq == Some(commit.seq));
        let (sent_after, repeats) = entry.map_or((known, 0), |entry| {
            entry.durable |= outcome == CommitOutcome::Durable;
            let repeats = entry.repeats;
            entry.repeats = repeats.saturating_add(1);
            (std::mem::replace(&mut entry.sent_after, known), repeats)
        });
        // A store that is in trouble isn't asked more and more often.
        let after = |first: Duration, most| first.saturating_mul(1_u32.checked_shl(repeats).unwrap_or(u32::MAX)).min(most);
        match outcome {
            CommitOutcome::Durable => {
                self.durable_seq = Some(known.max(commit.seq));
                Ok(None)
            }
            CommitOutcome::Fenced { epoch } => self.distrust(Untrusted::Fenced { epoch, ours: self.epoch }),
            // Answers overtake each other: what became durable while this one was on its way isn't missing.
            CommitOutcome::Gap { last_seq } if last_seq < sent_after => self.distrust(Untrusted::Forgotten { last_seq }),
            CommitOutcome::Gap { .. } => Ok(Some(Retry { commit, after: after(AFTER_GAP, AFTER_GAP_MAX) })),
            CommitOutcome::Unknown { .. } => Ok(Some(Retry { commit, after: after(AFTER_UNKNOWN, AFTER_UNKNOWN_MAX) })),
        }
    }

    /// The next batch to release: it and all before it are durable. None once the worker can't be trusted.
    pub fn next_durable(&mut self) -> Option<Batch> {
        if self.untrusted || !self.batches.front()?.durable {
            return None;
        }
        self.batches.pop_front().map(|entry| entry.batch)
    }

    /// How many batches are on their way.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn distrust(&mut self, why: Untrusted) -> Result<Option<Retry>, Untrusted> {
        self.untrusted = true;
        Err(why)
    }
}

/// An earlier batch is still on its way to the store. For the first time; then twice as long each time, as all of these.
const AFTER_GAP: Duration = Duration::from_millis(1);
const AFTER_GAP_MAX: Duration = Duration::from_millis(50);
const AFTER_UNKNOWN: Duration = Duration::from_millis(5);
const AFTER_UNKNOWN_MAX: Duration = Duration::from_secs(1);
