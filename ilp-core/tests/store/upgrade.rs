//! Files of schema 1, as the first form of the store wrote them.

use crate::support::{Dir, commit, id, open, slot};
use futures::executor::block_on;
use ilp_core::store::{BalanceStore, Commit, EmbeddedStore, salvage};
use redb::{Database, ReadableTable, TableDefinition, TableHandle};
use std::path::Path;

const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const SLOTS: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("slots");
const LOG: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("log");
const BALANCES: TableDefinition<'_, &[u8], i128> = TableDefinition::new("balances");

/// Slot `a` was cut below 3 and has batches up to 6, slot `b` has one, and `c` was only opened.
fn schema_1(dir: &Path) {
    let database = Database::create(dir.join("books.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        transaction.open_table(FACTS).unwrap().insert("schema", 1).unwrap();
        let mut slots = transaction.open_table(SLOTS).unwrap();
        for (name, row) in [("a", (7, 6, 3)), ("b", (1, 1, 1)), ("c", (2, 0, 1))] {
            slots.insert(name, row).unwrap();
        }
        let mut log = transaction.open_table(LOG).unwrap();
        for seq in 3..=6 {
            log.insert(("a", seq), blob(seq).as_slice()).unwrap();
        }
        log.insert(("b", 1), blob(1).as_slice()).unwrap();
        let mut balances = transaction.open_table(BALANCES).unwrap();
        for (name, balance) in [("ann", 5), ("bob", -(1 << 90))] {
            balances.insert(id(name).as_bytes(), balance).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn blob(seq: u64) -> Vec<u8> {
    format!("records of {seq} ").repeat(20_000 * usize::try_from(seq).unwrap()).into_bytes()
}

#[test]
fn schema_1_becomes_the_newest() {
    let dir = Dir::new();
    schema_1(dir.path());
    // Once by opening, and then it is.
    for epoch in [8, 9] {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let opened = open(&store, "a");
        assert_eq!((opened.epoch, opened.last_seq), (epoch, 6));
        assert_eq!(opened.log, (3..=6).map(blob).collect::<Vec<_>>());
        let picture = block_on(store.read(&slot("b"))).unwrap().unwrap();
        assert_eq!((picture.slot.epoch, picture.slot.last_seq, picture.slot.log), (1, 1, vec![blob(1).into()]));
        // The first slot has them all.
        assert_eq!(picture.balances, []);
        let picture = block_on(store.read(&slot("a"))).unwrap().unwrap();
        assert_eq!(picture.balances, [(id("ann"), 5), (id("bob"), -(1 << 90))]);
        assert_eq!(block_on(store.read(&slot("c"))).unwrap().unwrap().slot.last_seq, 0);
    }
    let database = Database::open(dir.join("books.redb")).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let mut tables: Vec<_> = transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
    tables.sort();
    assert_eq!(tables, ["balances-3", "facts", "log-2", "slots-2"], "nothing of the old schema is left");
}

/// Schema 2 had one balance of each account, with the slot that it was of.
#[test]
fn schema_2_becomes_the_newest() {
    const BALANCES_2: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("balances-2");
    const BALANCES_3: TableDefinition<'_, (u32, &[u8]), &[u8]> = TableDefinition::new("balances-3");
    let dir = Dir::new();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    for (name, account, balance) in [("a", "ann", 5), ("b", "bob", -7)] {
        let epoch = open(&store, name).epoch;
        let balances = vec![(id(account), Some(balance))];
        commit(&store, Commit { balances, ..crate::support::batch(name, epoch, 1) });
    }
    let before = block_on(store.directory()).unwrap();
    drop(store);
    // The same in the old form.
    let database = Database::open(dir.join("books.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let (new, mut old) = (transaction.open_table(BALANCES_3).unwrap(), transaction.open_table(BALANCES_2).unwrap());
        for entry in new.iter().unwrap() {
            let (key, row) = entry.unwrap();
            old.insert(key.value().1, row.value()).unwrap();
        }
        transaction.open_table(FACTS).unwrap().insert("schema", 2).unwrap();
    }
    transaction.delete_table(BALANCES_3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let store = EmbeddedStore::open(dir.path()).unwrap();
        let after = block_on(store.directory()).unwrap();
        assert_eq!((&after.balances, after.accounts.len()), (&before.balances, 0));
        assert_eq!(open(&store, "b").log.len(), 1);
    }
}

/// What was upgraded is as good as what was written: commits go on, and a salvage finds everything, balances too.
#[test]
fn an_upgraded_file_goes_on() {
    let dir = Dir::new();
    schema_1(dir.path());
    let store = EmbeddedStore::open(dir.path()).unwrap();
    let epoch = open(&store, "a").epoch;
    let balances = vec![(id("ann"), Some(6)), (id("carol"), Some(1))];
    let next = Commit { slot: slot("a"), epoch, seq: 7, blob: "next".into(), balances, cut_below: None, mail_read: None };
    commit(&store, next);
    drop(store);
    let report = salvage(dir.path(), &dir.join("salvaged")).unwrap();
    assert!(report.is_whole(), "{report}");
    let picture = block_on(EmbeddedStore::open(&dir.join("salvaged")).unwrap().read(&slot("a"))).unwrap().unwrap();
    assert_eq!(picture.balances, [(id("ann"), 6), (id("bob"), -(1 << 90)), (id("carol"), 1)]);
    assert_eq!(picture.slot.log.len(), 5);
}

/// An upgrade that can't be done leaves what was there.
#[test]
fn a_schema_1_file_that_is_wrong_is_refused_and_stays() {
    let dir = Dir::new();
    schema_1(dir.path());
    let database = Database::open(dir.join("books.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(BALANCES).unwrap().insert(&b"\x01no such name!"[..], 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let error = EmbeddedStore::open(dir.path()).map(drop).unwrap_err();
        assert!(error.to_string().contains("the balance of account no such name! can't be read"), "{error}");
    }
    let database = Database::open(dir.join("books.redb")).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    assert_eq!(transaction.list_tables().unwrap().count(), 4);
}
