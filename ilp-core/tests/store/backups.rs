//! Backups of running books, and what comes of them.

use crate::support::{Dir, batch, commit, fill, id, open, slot};
use bytes::Bytes;
use futures::executor::block_on;
use futures::future::{join, join_all};
use ilp_core::store::{BalanceStore, BooksError, Commit, CommitOutcome, Damage, EmbeddedStore, restore};
use std::fs;

#[test]
fn a_backup_is_one_instant_of_running_books() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(&dir.join("books")).unwrap();
    let (a, b) = (fill(&store, "a", 3), fill(&store, "b", 0));
    let both = |seq: u64| {
        [("a", a, seq + 3), ("b", b, seq)].map(|(name, epoch, seq)| {
            let blob = Bytes::from(format!("{name} {seq} ").repeat(20_000));
            let balances = vec![(id(name), Some(seq.into()))];
            Commit { blob, balances, cut_below: seq.checked_sub(20), ..batch(name, epoch, seq) }
        })
    };
    let mut seq = 0;
    for round in 0..4 {
        // The backup is asked for in the middle of it.
        let to = dir.join(&format!("backup-{round}"));
        let before: Vec<_> = (seq + 1..=seq + 15).flat_map(both).collect();
        let after: Vec<_> = (seq + 16..=seq + 30).flat_map(both).collect();
        let (outcomes, copied) = block_on(join(
            async {
                (
                    join_all(before.into_iter().map(|batch| store.commit(batch))).await,
                    join_all(after.into_iter().map(|batch| store.commit(batch))).await,
                )
            },
            store.backup(&to),
        ));
        assert!(outcomes.0.iter().chain(&outcomes.1).all(|outcome| *outcome == CommitOutcome::Durable));
        seq += 30;
        let copied = copied.unwrap();
        let restored = dir.join(&format!("restored-{round}"));
        assert_eq!(restore(&to, &restored).unwrap(), copied);
        let backup = EmbeddedStore::open(&restored).unwrap();
        let pictures = ["a", "b"].map(|name| block_on(backup.read(&slot(name))).unwrap().unwrap());
        assert_eq!(copied.slots, [(slot("a"), pictures[0].slot.last_seq), (slot("b"), pictures[1].slot.last_seq)]);
        assert_eq!(copied.batches, pictures.iter().map(|picture| picture.slot.log.len() as u64).sum::<u64>());
        assert_eq!(copied.bytes, pictures.iter().flat_map(|picture| &picture.slot.log).map(|blob| blob.len() as u64).sum::<u64>());
        for (picture, name) in pictures.iter().zip(["a", "b"]) {
            let last = picture.slot.last_seq;
            let balance = picture.balances.iter().find(|(account, _)| account.name() == name).map(|(_, balance)| *balance);
            assert!(balance.is_none_or(|balance| balance == last.into()), "{balance:?} beside {last}");
            assert!(last <= if name == "a" { seq + 3 } else { seq });
        }
        // It goes on where it was.
        let opened = open(&backup, "a");
        commit(&backup, batch("a", opened.epoch, opened.last_seq + 1));
    }
    assert_eq!(open(&store, "a").last_seq, seq + 3);
}

#[test]
fn nothing_is_written_over() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(&dir.join("books")).unwrap();
    fill(&store, "a", 3);
    fs::create_dir(dir.join("full")).unwrap();
    fs::write(dir.join("full/letter"), "to Bob").unwrap();
    for to in ["books", "full"] {
        let error = block_on(store.backup(&dir.join(to))).unwrap_err();
        assert!(matches!(&error, BooksError::Occupied { place } if place.ends_with(to)), "{error:?}");
    }
    fs::create_dir(dir.join("empty")).unwrap();
    block_on(store.backup(&dir.join("empty"))).unwrap();
    let error = block_on(store.backup(&dir.join("empty"))).unwrap_err();
    assert!(matches!(error, BooksError::Occupied { .. }), "{error:?}");
    let error = restore(&dir.join("empty"), &dir.join("books")).unwrap_err();
    assert!(matches!(error, BooksError::Occupied { .. }), "{error:?}");
    let error = restore(&dir.join("books"), &dir.join("other")).unwrap_err();
    assert!(matches!(error, BooksError::InUse { .. }), "books in use are no backup: {error:?}");
    let error = restore(&dir.join("full"), &dir.join("another")).unwrap_err();
    assert!(matches!(error, BooksError::Missing { .. }), "{error:?}");
}

#[test]
fn a_damaged_backup_isnt_restored() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(&dir.join("books")).unwrap();
    let epoch = open(&store, "a").epoch;
    for seq in 1..=20 {
        let blob = Bytes::from(format!("<{seq} of 20>").repeat(10_000));
        commit(&store, Commit { blob, ..batch("a", epoch, seq) });
    }
    block_on(store.backup(&dir.join("backup"))).unwrap();
    let file = dir.join("backup/books.redb");
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    let at = bytes.windows(9).position(|window| window == b"<13 of 20").unwrap();
    bytes[at + 30_000] ^= 4;
    fs::write(&file, &bytes).unwrap();
    let error = restore(&dir.join("backup"), &dir.join("restored")).unwrap_err();
    assert!(matches!(&error, BooksError::Damaged { damage: Damage::Batch { seq: 13, .. }, .. }), "{error:?}");
    // What was begun isn't taken for books, and can be begun again.
    let error = EmbeddedStore::open(&dir.join("restored")).map(drop).unwrap_err();
    assert!(matches!(error, BooksError::Unfinished { .. }), "{error:?}");
    fs::write(&file, &whole).unwrap();
    restore(&dir.join("backup"), &dir.join("restored")).unwrap();
    assert_eq!(open(&EmbeddedStore::open(&dir.join("restored")).unwrap(), "a").last_seq, 20);
    assert_eq!(fs::read(&file).unwrap(), whole, "the backup stays as it is");
}
