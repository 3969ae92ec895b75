//! What cases are made of.

use super::Subject;
use crate::AccountId;
use crate::store::{BalanceStore, Commit, CommitOutcome, Lease, OpenedSlot, SlotName, SlotPicture};
use bytes::Bytes;
use std::sync::Arc;

/// A case under way.
pub(super) struct Case<'a> {
    pub(super) subject: &'a mut dyn Subject,
    pub(super) store: Arc<dyn BalanceStore>,
}

/// An answer that isn't known is asked for again so often.
const ATTEMPTS: usize = 100;

impl Case<'_> {
    pub(super) async fn open(&self, slot: &str) -> Result<OpenedSlot, String> {
        let slot: SlotName = slot.into();
        self.store.open(&slot, &lease()).await.map_err(|error| format!("opening failed: {error}"))
    }

    pub(super) async fn read(&self, slot: &str) -> Result<Option<SlotPicture>, String> {
        let slot: SlotName = slot.into();
        self.store.read(&slot).await.map_err(|error| format!("reading failed: {error}"))
    }

    /// The picture of a slot that was opened.
    pub(super) async fn picture(&self, slot: &str) -> Result<SlotPicture, String> {
        self.read(slot).await?.ok_or_else(|| format!("slot {slot} was opened, but reading it gave nothing"))
    }

    /// Commits until the outcome is known.
    pub(super) async fn commit(&self, batch: &Commit) -> Result<CommitOutcome, String> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match self.store.commit(batch.clone()).await {
                CommitOutcome::Unknown { cause } => last = cause,
                outcome => return Ok(outcome),
            }
        }
        Err(format!("the outcome of batch {} of {} stays unknown: {last}", batch.seq, batch.slot))
    }

    pub(super) async fn durable(&self, batch: &Commit) -> Result<(), String> {
        match self.commit(batch).await? {
            CommitOutcome::Durable => Ok(()),
            other => Err(format!("batch {} of {} should be durable, but is answered {other:?}", batch.seq, batch.slot)),
        }
    }

    /// Commits batches `from` to `to`.
    pub(super) async fn fill(&self, slot: &str, epoch: u64, from: u64, to: u64) -> Result<(), String> {
        for seq in from..=to {
            self.durable(&batch(slot, epoch, seq)).await?;
        }
        Ok(())
    }

    /// Time passes, for leases.
    pub(super) async fn pass(&mut self, time: std::time::Duration) {
        self.subject.pass(&self.store, time).await;
    }

    pub(super) async fn crash(&mut self) -> Result<(), String> {
        // The subject must have the only handle, or what the store holds isn't let go.
        let store = std::mem::replace(&mut self.store, Arc::new(crate::store::MemoryStore::new()));
        self.store = self.subject.crash(store).await.map_err(|error| format!("after a crash it can't be opened: {error}"))?;
        Ok(())
    }
}

/// For cases that have nothing to do with leases: every opening is by the same holder.
fn lease() -> Lease {
    Lease { holder: "case".into(), address: None, ms: 3_600_000 }
}

/// A batch whose bytes say which it is.
pub(super) fn batch(slot: &str, epoch: u64, seq: u64) -> Commit {
    Commit { slot: slot.into(), epoch, seq, blob: blob(slot, seq), balances: Vec::new(), cut_below: None, mail_read: None }
}

pub(super) fn blob(slot: &str, seq: u64) -> Bytes {
    Bytes::from(format!("batch {seq} of {slot}"))
}

pub(super) fn account(name: &str) -> Result<AccountId, String> {
    AccountId::new(1, name).map_err(|error| error.to_string())
}

/// What a log with the batches `from` to `to` is.
pub(super) fn blobs(slot: &str, from: u64, to: u64) -> Vec<Bytes> {
    (from..=to).map(|seq| blob(slot, seq)).collect()
}

/// Fails with both values if they aren't the same.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should_be: &T) -> Result<(), String> {
    if is == should_be { Ok(()) } else { Err(format!("{what} is {}, and should be {}", short(is), short(should_be))) }
}

fn short(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{} … ({} characters)", text.get(..at).unwrap_or_default(), text.len()),
        None => text,
    }
}

const SHOWN_MAX: usize = 300;
