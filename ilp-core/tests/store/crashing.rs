//! Power that fails at any instant: books on one thread, driven by a seed, on a medium that dies after so many writes.

use crate::support::{id, slot};
use ilp_core::conformance::{PowerLoss, VolatileMedium};
use ilp_core::store::{Books, Commit, CommitOutcome, Medium, MemoryMedium};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A medium that loses its power in the middle of the write or sync that is one too many.
#[derive(Debug)]
struct Mortal {
    below: VolatileMedium,
    left: AtomicU64,
    seed: u64,
}

impl Mortal {
    fn live(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            // The one in the middle of which it happens is among what may be torn.
            let _ = self.below.lose_power(self.seed, if self.seed.is_multiple_of(4) { PowerLoss::Forgotten } else { PowerLoss::Torn });
        }
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        Ok(())
    }
}

impl Medium for Mortal {
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.below.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.below.write(offset, bytes);
        self.live()?;
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.live()?;
        self.below.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.live()?;
        self.below.sync()
    }

    fn name(&self) -> String {
        "mortal".to_owned()
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What must be true of a slot.
#[derive(Debug, Default)]
struct Expected {
    epoch: u64,
    /// The last batch that was answered durable.
    acknowledged: u64,
    /// The last one that was asked for.
    asked: u64,
    /// What was asked for, by number: the blob and the first batch that is needed. Several if epochs have passed in between.
    batches: BTreeMap<u64, Vec<(Vec<u8>, u64)>>,
    first: u64,
}

const SLOTS: [&str; 3] = ["a", "b", "c"];

fn blob(chance: &mut Chance, name: &str, epoch: u64, seq: u64) -> Vec<u8> {
    let len = match chance.below(10) {
        0 => 0,
        1 => chance.below(200_000),
        2..5 => chance.below(9_000),
        _ => chance.below(300),
    };
    format!("{name} {epoch} {seq};").bytes().cycle().take(usize::try_from(len).unwrap()).collect()
}

/// Lives once: opens, commits in groups, cuts, until the power fails.
fn live(chance: &mut Chance, below: &Arc<dyn Medium>, slots: &mut BTreeMap<&'static str, Expected>) -> Option<()> {
    let medium =
        Mortal { below: VolatileMedium::new(below.clone()), left: AtomicU64::new(1 + chance.below(300)), seed: chance.below(1 << 40) };
    let mut books = Books::open(Arc::new(medium)).ok()?;
    for name in SLOTS {
        let expected = slots.entry(name).or_default();
        let opened = books.open_slot(&slot(name)).ok()?;
        assert!(opened.epoch > expected.epoch, "epoch {} of {name} was given twice", opened.epoch);
        assert!(opened.last_seq >= expected.acknowledged, "{name} ends at {}, and {} was durable", opened.last_seq, expected.acknowledged);
        assert!(opened.last_seq <= expected.asked);
        let from = opened.last_seq + 1 - u64::try_from(opened.log.len()).unwrap();
        for (seq, blob) in (from..).zip(&opened.log) {
            assert!(expected.batches[&seq].iter().any(|(asked, _)| asked == blob), "batch {seq} of {name} was never asked for");
        }
        // The cut is that of the last batch, or an earlier one's.
        let first = expected.batches.get(&opened.last_seq).and_then(|asked| asked.last()).map_or(1, |(_, first)| *first);
        assert!(from <= first.max(1), "{name} begins at {from}, and {first} is needed");
        let picture = books.read_slot(&slot(name)).ok()??;
        let balance = picture.balances.iter().find(|(account, _)| account.name() == name).map_or(0, |(_, balance)| *balance);
        assert_eq!(balance, opened.last_seq.into(), "the balance beside the log of {name}");
        *expected = Expected {
            epoch: opened.epoch,
            acknowledged: opened.last_seq,
            asked: opened.last_seq,
            first: first.max(1),
            batches: std::mem::take(&mut expected.batches),
        };
        expected.batches.retain(|seq, _| *seq <= opened.last_seq);
    }
    loop {
        let mut group = Vec::new();
        for _ in 0..=chance.below(6) {
            let name = SLOTS[usize::try_from(chance.below(3)).unwrap()];
            let expected = slots.get_mut(name).unwrap();
            expected.asked += 1;
            let (epoch, seq) = (expected.epoch, expected.asked);
            let cut_below = (chance.below(8) == 0).then(|| seq.saturating_sub(chance.below(12)));
            expected.first = expected.first.max(cut_below.unwrap_or(0));
            let blob = blob(chance, name, epoch, seq);
            expected.batches.entry(seq).or_default().push((blob.clone(), expected.first));
            group.push(Commit {
                slot: slot(name),
                epoch,
                seq,
                blob: blob.into(),
                balances: vec![(id(name), Some(seq.into()))],
                cut_below,
                mail_read: None,
            });
        }
        for (batch, outcome) in group.iter().zip(books.commit(&group)) {
            match outcome {
                CommitOutcome::Durable => slots.get_mut(&*batch.slot).unwrap().acknowledged = batch.seq,
                CommitOutcome::Unknown { .. } => return None,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn power_that_fails_at_any_instant_loses_nothing_that_was_durable() {
    let seeds = std::env::var("ILP_STORE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(12);
    for seed in 0..seeds {
        let below: Arc<dyn Medium> = Arc::new(MemoryMedium::new());
        let (mut chance, mut slots) = (Chance(seed), BTreeMap::new());
        for life in 0..12 {
            let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(&mut chance, &below, &mut slots)));
            assert!(lived.is_ok(), "seed {seed}, life {life}: ILP_STORE_SEEDS={} shows it again", seed + 1);
        }
        // It has come to something.
        let books = Books::open(below);
        assert!(books.is_ok(), "seed {seed}: {books:?}");
    }
}
