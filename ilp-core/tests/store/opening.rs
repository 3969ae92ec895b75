//! Who may open what, and what is said to those who may not.

use crate::support::{Dir, batch, commit, fill, lease, open, slot};
use futures::executor::block_on;
use futures::future::{join_all, poll_immediate};
use ilp_core::store::{BalanceStore, BooksError, CommitOutcome, Damage, Durability, EmbeddedStore};
use std::fs;
use std::path::Path;

fn refused(dir: &Path) -> BooksError {
    EmbeddedStore::open(dir).map(drop).unwrap_err()
}

#[test]
fn a_directory_that_isnt_there_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let path = dir.join("a/b/books");
    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(store.durability(), Durability::Disk);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = fs::read_dir(&path).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1, "one file in it");
    assert_eq!((files[0].file_name().to_str(), mode(&files[0].path())), (Some("books.redb"), 0o600));
}

#[test]
fn one_store_a_directory() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let epoch = fill(&store, "a", 3);
    let clone = store.clone();
    drop(store);
    let error = refused(dir.path());
    assert!(matches!(error, BooksError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("books.redb is open already"), "{error}");
    commit(&clone, batch("a", epoch, 4));
    drop(clone);
    assert_eq!(open(&EmbeddedStore::open(dir.path()).unwrap(), "a").last_seq, 4);
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = Dir::new();
    fs::write(dir.join("file"), "text").unwrap();
    let error = refused(&dir.join("file"));
    assert!(matches!(&error, BooksError::Io { place, .. } if place.ends_with("file")), "{error}");
    fs::create_dir_all(dir.join("books/books.redb")).unwrap();
    let error = refused(&dir.join("books"));
    assert!(matches!(&error, BooksError::Io { place, .. } if place.ends_with("books.redb")), "{error}");
}

#[test]
fn files_of_others_are_refused_and_stay_as_they_are() {
    let dir = Dir::new();
    let file = dir.join("books.redb");
    for bytes in [b"a letter to Bob, and long enough".repeat(1_000), b"x".to_vec(), vec![7; 4096], vec![0xff; 1 << 20]] {
        fs::write(&file, &bytes).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, BooksError::NotBooks { .. }), "{error:?}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    // A database of the same kind with something else in it.
    fs::remove_file(&file).unwrap();
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("recipes")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused(dir.path());
    assert!(matches!(&error, BooksError::NotBooks { why, .. } if why.contains("recipes")), "{error:?}");
}

/// New books are never made where there were some.
#[test]
fn an_emptied_file_isnt_taken_for_new_books() {
    let dir = Dir::new();
    drop(EmbeddedStore::open(dir.path()).unwrap());
    let file = dir.join("books.redb");
    let len = fs::metadata(&file).unwrap().len();
    for bytes in [Vec::new(), vec![0; 1], vec![0; 4096], vec![0; usize::try_from(len).unwrap()]] {
        fs::write(&file, bytes).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, BooksError::Damaged { damage: Damage::File { .. }, .. } | BooksError::NotBooks { .. }), "{error:?}");
    }
}

#[test]
fn making_that_was_interrupted_is_begun_anew() {
    let dir = Dir::new();
    fs::write(dir.join("books.new"), "half a file").unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    fill(&store, "a", 2);
    assert!(!dir.join("books.new").exists());
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = Dir::new();
    drop(EmbeddedStore::open(dir.path()).unwrap());
    let database = redb::Database::open(dir.join("books.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("facts")).unwrap().insert("schema", 4).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused(dir.path());
    assert!(matches!(error, BooksError::Newer { found: 4, known: 3, .. }), "{error:?}");
    assert!(error.to_string().contains("use the version that wrote it"), "{error}");
}

/// A directory where even the superuser can't make anything.
#[test]
#[cfg(target_os = "linux")]
fn no_permission_to_make_a_directory() {
    let error = refused(Path::new("/sys/ilp-books"));
    assert!(matches!(&error, BooksError::Permission { place, .. } if place == "/sys/ilp-books"), "{error:?}");
    assert!(error.to_string().starts_with("no permission to make the directory /sys/ilp-books"), "{error}");
}

#[test]
fn a_slot_with_an_endless_name_is_refused() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let error = block_on(store.open(&slot(&"n".repeat(1_025)), &lease())).unwrap_err();
    assert!(error.message.contains("1025"), "{error}");
    fill(&store, &"n".repeat(1_024), 3);
}

/// Batches of all slots that have queued share a transaction.
#[test]
fn what_has_queued_is_committed_together() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let names: Vec<_> = (0..10).map(|no| format!("slot-{no}")).collect();
    let epochs: Vec<_> = names.iter().map(|name| open(&store, name).epoch).collect();
    let before = store.metrics();
    let batches = (1..=20).flat_map(|seq| names.iter().zip(&epochs).map(move |(name, epoch)| batch(name, *epoch, seq)));
    let outcomes = block_on(join_all(batches.map(|batch| store.commit(batch))));
    assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable));
    let after = store.metrics();
    assert_eq!(after.batches - before.batches, 200);
    assert!(after.commits - before.commits < 20, "{after:?}");
    // One for each, and some more while the file grows.
    assert!(after.syncs - before.syncs < 20, "{after:?}");
}

/// Whoever drops the future doesn't know the outcome; dropping the store waits for it.
#[test]
fn what_was_asked_is_done_before_the_store_is_gone() {
    let dir = Dir::new();
    for round in 0..5 {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let opened = open(&store, "a");
        assert_eq!(opened.last_seq, round * 50);
        for seq in 1..=50 {
            let _ = block_on(poll_immediate(store.commit(batch("a", opened.epoch, opened.last_seq + seq))));
        }
        drop(store);
    }
}
