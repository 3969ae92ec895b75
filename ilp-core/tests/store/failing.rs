//! A medium that fails: full, broken for a time, or not able to sync.

use crate::support::{batch, commit, fill, id, lease, open, slot};
use futures::executor::block_on;
use futures::future::join_all;
use ilp_core::store::{BalanceStore, Books, BooksError, Commit, CommitOutcome, EmbeddedStore, Medium, MemoryMedium};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Memory that does what it is told to fail at.
#[derive(Debug, Default)]
struct Faulty {
    below: MemoryMedium,
    /// No longer than this; 0 for no limit.
    room: AtomicU64,
    fails: AtomicU8,
}

const NOTHING: u8 = 0;
const WRITES: u8 = 1;
const SYNCS: u8 = 2;
const READS: u8 = 3;
const EVERYTHING: u8 = 4;
const PANIC: u8 = 5;

impl Faulty {
    fn fail(&self, what: u8) {
        self.fails.store(what, Ordering::SeqCst);
    }

    fn check(&self, what: u8) -> io::Result<()> {
        let fails = self.fails.load(Ordering::SeqCst);
        assert!(fails != PANIC || what == READS, "the medium panics");
        if fails == what || fails == EVERYTHING { Err(io::Error::other("the medium is broken")) } else { Ok(()) }
    }

    fn room_for(&self, len: u64) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        if room > 0 && len > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Medium for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(READS)?;
        self.below.read(offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(WRITES)?;
        self.room_for(offset + bytes.len() as u64)?;
        self.below.write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(WRITES)?;
        // As a file system has it: a hole takes no room.
        self.below.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.check(SYNCS)?;
        self.below.sync()
    }

    fn name(&self) -> String {
        "faulty".to_owned()
    }
}

fn store() -> (EmbeddedStore, Arc<Faulty>) {
    let medium = Arc::new(Faulty::default());
    (EmbeddedStore::open_on(medium.clone()).unwrap(), medium)
}

fn big(epoch: u64, seq: u64) -> Commit {
    Commit { blob: vec![seq as u8; 300_000].into(), balances: vec![(id("ann"), Some(seq.into()))], ..batch("a", epoch, seq) }
}

#[test]
fn a_full_disk_loses_nothing_and_is_over_when_there_is_room() {
    let (store, medium) = store();
    let epoch = open(&store, "a").epoch;
    let mut seq = 0;
    medium.room.store(4 << 20, Ordering::SeqCst);
    let cause = loop {
        match block_on(store.commit(big(epoch, seq + 1))) {
            CommitOutcome::Durable => seq += 1,
            CommitOutcome::Unknown { cause } => break cause,
            other => panic!("{other:?}"),
        }
        assert!(seq < 100);
    };
    assert!(seq > 2, "{seq}");
    assert!(cause.contains("no room to write faulty: make some, what is there is safe"), "{cause}");
    // As long as it lasts it is the same, and what is there can be read.
    for _ in 0..3 {
        assert!(matches!(block_on(store.commit(big(epoch, seq + 1))), CommitOutcome::Unknown { .. }));
        let picture = block_on(store.read(&slot("a"))).unwrap().unwrap();
        assert!(picture.slot.last_seq == seq || picture.slot.last_seq == seq + 1, "{}", picture.slot.last_seq);
        assert_eq!(picture.balances, [(id("ann"), picture.slot.last_seq.into())]);
    }
    medium.room.store(0, Ordering::SeqCst);
    for seq in seq + 1..=seq + 10 {
        commit(&store, big(epoch, seq));
    }
    drop(store);
    let opened = open(&EmbeddedStore::open_on(medium).unwrap(), "a");
    assert_eq!(opened.log, (1..=seq + 10).map(|seq| big(epoch, seq).blob).collect::<Vec<_>>());
}

#[test]
fn new_books_need_room() {
    let medium = Arc::new(Faulty::default());
    medium.room.store(2_000, Ordering::SeqCst);
    let error = EmbeddedStore::open_on(medium.clone()).unwrap_err();
    assert!(matches!(error, BooksError::Full { .. }), "{error:?}");
    assert_eq!(error.to_string(), "no room to open faulty: make some, what is there is safe");
    medium.room.store(0, Ordering::SeqCst);
    fill(&EmbeddedStore::open_on(medium).unwrap(), "a", 1);
}

#[test]
fn whatever_fails_is_unknown_and_then_goes_on() {
    for what in [WRITES, SYNCS, EVERYTHING, PANIC] {
        let (store, medium) = store();
        let (a, b) = (fill(&store, "a", 3), fill(&store, "b", 3));
        medium.fail(what);
        // All that were on their way.
        let batches = [batch("a", a, 4), batch("b", b, 4), batch("a", a, 5)];
        let outcomes = block_on(join_all(batches.clone().map(|batch| store.commit(batch))));
        assert!(outcomes.iter().all(|outcome| !matches!(outcome, CommitOutcome::Durable)), "{what}: {outcomes:?}");
        assert!(block_on(store.open(&slot("a"), &lease())).is_err());
        medium.fail(NOTHING);
        for batch in batches {
            commit(&store, batch);
        }
        assert!(store.metrics().failures > 0 && store.metrics().reopened > 0, "{:?}", store.metrics());
        drop(store);
        let store = EmbeddedStore::open_on(medium).unwrap();
        assert_eq!((open(&store, "a").last_seq, open(&store, "b").last_seq), (5, 4));
    }
}

/// A batch that may or may not be there must not be answered Durable before a sync has succeeded.
#[test]
fn nothing_is_durable_before_a_sync_has_succeeded() {
    let (store, medium) = store();
    let epoch = fill(&store, "a", 3);
    medium.fail(SYNCS);
    for _ in 0..3 {
        assert!(matches!(block_on(store.commit(batch("a", epoch, 4))), CommitOutcome::Unknown { .. }));
        // A repeat of what was durable before says nothing new, but nobody can look.
        assert!(matches!(block_on(store.commit(batch("a", epoch, 3))), CommitOutcome::Unknown { .. }));
    }
    medium.fail(NOTHING);
    commit(&store, batch("a", epoch, 4));
}

#[test]
fn a_medium_that_cant_be_read_is_an_error_and_then_isnt() {
    let (store, medium) = store();
    let epoch = open(&store, "a").epoch;
    for seq in 1..=200 {
        commit(&store, big(epoch, seq));
    }
    medium.fail(READS);
    let error = block_on(store.read(&slot("a"))).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error}");
    medium.fail(NOTHING);
    let _ = block_on(store.commit(big(epoch, 201)));
    commit(&store, big(epoch, 201));
    assert_eq!(block_on(store.read(&slot("a"))).unwrap().unwrap().slot.log.len(), 201);
}

/// In one transaction: what depends on it is unknown if it fails, and what doesn't is answered.
#[test]
fn what_a_failed_transaction_leaves_known() {
    let medium = Arc::new(Faulty::default());
    let mut books = Books::open(medium.clone()).unwrap();
    let old = books.open_slot(&slot("a")).unwrap().epoch;
    let new = books.open_slot(&slot("a")).unwrap().epoch;
    let b = books.open_slot(&slot("b")).unwrap().epoch;
    assert_eq!(books.commit(&[batch("b", b, 1)]), [CommitOutcome::Durable]);
    let group = [
        batch("a", old, 1),
        batch("b", b, 1),
        batch("b", b, 2),
        // Repeats and gaps that count on the batch before.
        batch("b", b, 2),
        batch("b", b, 4),
        batch("a", new, 5),
        batch("nobody", 1, 1),
    ];
    medium.fail(WRITES);
    let outcomes = books.commit(&group);
    let unknown = |outcome: &CommitOutcome| matches!(outcome, CommitOutcome::Unknown { .. });
    assert_eq!(outcomes[..2], [CommitOutcome::Fenced { epoch: new }, CommitOutcome::Durable]);
    assert!(outcomes[2..5].iter().all(unknown), "{outcomes:?}");
    assert_eq!(outcomes[5..], [CommitOutcome::Gap { last_seq: 0 }, CommitOutcome::Gap { last_seq: 0 }]);
    // Nobody can look any more.
    assert!(books.commit(&group).iter().all(unknown));
    medium.fail(NOTHING);
    let outcomes = books.commit(&group);
    assert_eq!(outcomes[1..4], [CommitOutcome::Durable, CommitOutcome::Durable, CommitOutcome::Durable]);
    assert_eq!(outcomes[4], CommitOutcome::Gap { last_seq: 2 });
}
