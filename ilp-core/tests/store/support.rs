//! Directories that go away, and short ways to say things.

use bytes::Bytes;
use futures::executor::block_on;
use ilp_core::AccountId;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, Lease, OpenedSlot, SlotName};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of its own for a test, removed at the end.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

static COUNT: AtomicU64 = AtomicU64::new(0);

impl Dir {
    pub(crate) fn new() -> Self {
        let no = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{}-{no}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it where nothing is yet.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn lease() -> Lease {
    Lease { holder: "test".into(), address: None, ms: 3_600_000 }
}

pub(crate) fn slot(name: &str) -> SlotName {
    name.into()
}

pub(crate) fn id(name: &str) -> AccountId {
    AccountId::new(1, name).unwrap()
}

pub(crate) fn batch(slot: &str, epoch: u64, seq: u64) -> Commit {
    let blob = Bytes::from(format!("batch {seq} of {slot}"));
    Commit { slot: slot.into(), epoch, seq, blob, balances: Vec::new(), cut_below: None, mail_read: None }
}

pub(crate) fn open(store: &dyn BalanceStore, name: &str) -> OpenedSlot {
    block_on(store.open(&slot(name), &lease())).unwrap()
}

pub(crate) fn commit(store: &dyn BalanceStore, batch: Commit) {
    assert_eq!(block_on(store.commit(batch)), CommitOutcome::Durable);
}

/// Opens a slot and commits batches up to a number.
pub(crate) fn fill(store: &dyn BalanceStore, name: &str, to: u64) -> u64 {
    let opened = open(store, name);
    for seq in opened.last_seq + 1..=to {
        commit(store, batch(name, opened.epoch, seq));
    }
    opened.epoch
}
