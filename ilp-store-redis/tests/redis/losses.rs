//! Servers that come back with less than they had acknowledged.

use crate::support::{DISK, Server, batch, commit, connected, durable, id, lease, move_of, moved, open, setup, slot, unknown, until};
use ilp_core::store::{BalanceStore, CommitOutcome, MoveChange, MoveOutcome};
use ilp_store_redis::{RedisStore, Required};
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Its files are those of an earlier day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_state() {
    let mut server = Server::start(DISK);
    let store = server.store().await;
    let give = |n| move_of("ann", 1, n, MoveChange::Give { amount: 10 });
    let epoch = open(&store, "a").await.epoch;
    store.set_up(&setup("ann", 0)).await.unwrap();
    for seq in 1..=3 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    assert!(matches!(store.make_move(&give(1)).await, MoveOutcome::Done { cold: 10, .. }));
    server.kill();
    let (files, kept) = (server.path().join("appendonlydir"), server.path().join("kept"));
    copy(&files, &kept);
    server.start_again();
    for seq in 4..=6 {
        assert_eq!(commit(&store, &batch("a", epoch, seq)).await, CommitOutcome::Durable);
    }
    assert!(matches!(moved(&store, &give(2)).await, MoveOutcome::Done { cold: 20, .. }));
    server.kill();
    std::fs::remove_dir_all(&files).unwrap();
    copy(&kept, &files);
    server.start_again();

    // The worker is told, and whoever opens the slot for it; nothing is written.
    assert_eq!(commit(&store, &batch("a", epoch, 7)).await, CommitOutcome::Gap { last_seq: 3 });
    let error = store.open(&slot("a"), &lease()).await.unwrap_err();
    for part in ["has lost", "the last batch of a is number 3, and 6 was durable", "restore its files", "accepts the loss"] {
        assert!(error.message.contains(part), "there is no {part:?} in {error}");
    }
    let MoveOutcome::Unknown { cause } = store.make_move(&give(3)).await else { panic!("a move on a row that has lost one") };
    assert!(cause.contains("has lost") && cause.contains("the row of ann"), "{cause}");
    assert!(store.set_up(&setup("ann", 5)).await.is_err());
    assert_eq!(server.text(&["HGET", "slot:{a}", "epoch"]), epoch.to_string());

    // Whoever still has the batches may send them again.
    for seq in 4..=7 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    assert_eq!(open(&store, "a").await.last_seq, 7);
}

/// It has nothing any more, or somebody else's books.
#[tokio::test]
async fn nothing_left() {
    let server = Server::start(&[]);
    let config = server.config().require(Required::Nothing);
    let store = RedisStore::connect(config.clone()).await.unwrap();
    let epoch = open(&store, "a").await.epoch;
    durable(&store, batch("a", epoch, 1)).await;
    server.ask(&["FLUSHALL"]);
    // Even without a new connection.
    assert_eq!(store.commit(batch("a", epoch, 2)).await, CommitOutcome::Fenced { epoch: 0 });
    assert!(store.open(&slot("a"), &lease()).await.unwrap_err().message.contains("has lost"));
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    let lost = async |what: &str| {
        until("it is noticed", || async { unknown(store.commit(batch("a", epoch, 2)).await).contains(what).then_some(()) }).await;
    };
    lost("it has no books any more").await;
    let other = RedisStore::connect(config).await.unwrap();
    open(&other, "a").await;
    lost("it has other books than before").await;
}

/// A failover that lost an epoch: the next opener is given the number again that another one has.
#[tokio::test]
async fn an_epoch_twice() {
    let server = Server::start(DISK);
    let (one, two) = (server.store().await, server.store().await);
    let epoch = open(&one, "a").await.epoch;
    durable(&one, batch("a", epoch, 1)).await;
    server.ask(&["HSET", "slot:{a}", "epoch", &(epoch - 1).to_string()]);
    assert_eq!(open(&two, "a").await.epoch, epoch);
    assert_eq!(one.commit(batch("a", epoch, 2)).await, CommitOutcome::Fenced { epoch });
    assert!(matches!(one.renew(&slot("a"), epoch, &lease()).await, ilp_core::store::Renewal::Fenced { .. }));
    durable(&two, batch("a", epoch, 2)).await;
    // And a slot whose epoch is behind isn't opened.
    let epoch = open(&two, "a").await.epoch;
    server.ask(&["HSET", "slot:{a}", "epoch", "1"]);
    assert_ne!(epoch, 1);
    let error = two.open(&slot("a"), &lease()).await.unwrap_err();
    assert!(error.message.contains("the epoch of a is 1"), "{error}");
}

/// What can't be read is named.
#[tokio::test]
async fn damaged() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    for seq in 1..=5 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    store.set_up(&setup("ann", 0)).await.unwrap();
    server.ask(&["XDEL", "log:{a}", "3"]);
    let error = store.open(&slot("a"), &lease()).await.unwrap_err();
    assert!(error.message.contains("log:{a} has not all batches from 1 to 5"), "{error}");
    assert!(store.read(&slot("a")).await.unwrap_err().message.contains("log:{a}"));
    let cold = format!("coldBalance:{{01{}}}", hex("ann"));
    server.ask(&["SET", &cold, "1e3"]);
    assert!(store.set_up(&setup("ann", 7)).await.unwrap_err().message.contains("account:{"));
    assert!(store.directory().await.unwrap_err().message.contains("damaged"));
    server.ask(&["SET", &cold, "0"]);
    // What a directory has is what is there, also if a connection before it has read some of it.
    store.set_up(&setup("ann", 7)).await.unwrap();
    assert_eq!(store.directory().await.unwrap().accounts[0].0, id("ann"));
    let _ = connected(server.config()).await;
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
