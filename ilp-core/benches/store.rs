//! What the embedded store takes, on a file in the target directory: batches of two workers, four of each on their way at a time, with a
//! log of about 100 MB that is cut as it grows. A payment is counted as 400 bytes of log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark fails by panicking")]

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures::executor::block_on;
use futures::future::join_all;
use ilp_core::AccountId;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, EmbeddedStore, Lease};
use std::path::{Path, PathBuf};

fn lease() -> Lease {
    Lease { holder: "bench".into(), address: None, ms: 3_600_000 }
}

fn main() {
    divan::main();
}

const SLOTS: [&str; 2] = ["one", "two"];
const ON_THEIR_WAY: u64 = 4;
const KEPT_BYTES: usize = 50 << 20;
const PAYMENT_BYTES: usize = 400;
const ACCOUNTS: usize = 20;

struct Writer {
    store: EmbeddedStore,
    dir: PathBuf,
    epochs: Vec<u64>,
    accounts: Vec<AccountId>,
    blob: Bytes,
    seq: u64,
}

impl Writer {
    fn new(name: &str, len: usize) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()));
        let store = EmbeddedStore::open(&dir).unwrap();
        let epochs = SLOTS.iter().map(|slot| block_on(store.open(&(*slot).into(), &lease())).unwrap().epoch).collect();
        let accounts = (0..ACCOUNTS).map(|no| AccountId::new(1, &format!("account-{no}")).unwrap()).collect();
        let blob = (0..len).map(|at| u8::try_from(at * at % 251).unwrap()).collect();
        Self { store, dir, epochs, accounts, blob, seq: 0 }
    }

    /// As many batches as are on their way at a time.
    fn round(&mut self) {
        let kept = u64::try_from(KEPT_BYTES / self.blob.len()).unwrap();
        let mut batches = Vec::new();
        for _ in 0..ON_THEIR_WAY {
            self.seq += 1;
            for (slot, epoch) in SLOTS.iter().zip(&self.epochs) {
                let balances = self.accounts.iter().map(|id| (id.clone(), Some(self.seq.into()))).collect();
                // Cut now and then, a quarter of what is kept.
                let cut_below = self.seq.is_multiple_of(kept / 4).then(|| self.seq.saturating_sub(kept));
                batches.push(Commit {
                    slot: (*slot).into(),
                    epoch: *epoch,
                    seq: self.seq,
                    blob: self.blob.clone(),
                    balances,
                    cut_below,
                    mail_read: None,
                });
            }
        }
        let outcomes = block_on(join_all(batches.into_iter().map(|batch| self.store.commit(batch))));
        assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
    }

    fn payments(&self) -> usize {
        self.blob.len() * SLOTS.len() * usize::try_from(ON_THEIR_WAY).unwrap() / PAYMENT_BYTES
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[divan::bench(args = [16 << 10, 64 << 10, 256 << 10], max_time = 5)]
fn commit(bencher: Bencher<'_, '_>, len: usize) {
    let mut writer = Writer::new("commit", len);
    // Until the log is as long as it gets.
    for _ in 0..KEPT_BYTES / len {
        writer.round();
    }
    let payments = writer.payments();
    bencher.counter(ItemsCount::new(payments)).bench_local(|| writer.round());
}

/// After a clean stop, with a log of about 100 MB.
#[divan::bench(args = [64 << 10, 256 << 10], sample_count = 10, sample_size = 1)]
fn open(bencher: Bencher<'_, '_>, len: usize) {
    let mut writer = Writer::new("open", len);
    for _ in 0..(KEPT_BYTES / len).div_ceil(usize::try_from(ON_THEIR_WAY).unwrap()) {
        writer.round();
    }
    let other = Writer::new("other", len);
    let store = std::mem::replace(&mut writer.store, other.store.clone());
    drop(store);
    bencher.bench_local(|| {
        let store = EmbeddedStore::open(&writer.dir).unwrap();
        SLOTS.map(|slot| block_on(store.open(&slot.into(), &lease())).unwrap().log.len())
    });
}
