//! Servers that stop, end, are full, or don't listen, and come back.

use crate::support::{DISK, PATIENCE, Server, batch, commit, connected, durable, id, lease, open, slot, unknown, until};
use bytes::Bytes;
use futures::future::join_all;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome};
use ilp_store_redis::RedisStore;
use std::time::{Duration, Instant};

/// Soon enough to be answered often while a server stands still.
const SOON: Duration = Duration::from_millis(400);

fn numbered(epoch: u64, seq: u64) -> Commit {
    Commit { balances: vec![(id("ann"), Some(seq.into()))], ..batch("a", epoch, seq) }
}

/// All of it is there, once.
async fn has_all(server: &Server, to: u64) {
    let store = connected(server.config()).await;
    let picture = store.read(&slot("a")).await.unwrap().unwrap();
    let expected: Vec<_> = (1..=to).map(|seq| batch("a", 0, seq).blob).collect();
    assert_eq!(picture.slot.log, expected);
    assert_eq!(picture.balances, [(id("ann"), i128::from(to))]);
}

/// Commits batches, several at once, as a worker does: each until it is known, again after an unknown outcome or a gap.
async fn pipelined(store: &RedisStore, epoch: u64, from: u64, to: u64) {
    let one = |seq| async move {
        until("a batch is durable", || async {
            match store.commit(numbered(epoch, seq)).await {
                CommitOutcome::Durable => Some(()),
                CommitOutcome::Unknown { .. } | CommitOutcome::Gap { .. } => None,
                other => panic!("{other:?}"),
            }
        })
        .await;
    };
    join_all((from..=to).map(one)).await;
}

/// A server that is stopped for two seconds: every call is answered in time, and nothing is done twice when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused() {
    let server = Server::start(DISK);
    let store = connected(server.config().connect_timeout(SOON).response_timeout(SOON)).await;
    let epoch = until("the slot is open", || async { store.open(&slot("a"), &lease()).await.ok() }).await.epoch;
    assert_eq!(commit(&store, &numbered(epoch, 1)).await, CommitOutcome::Durable);
    server.pause();
    let began = Instant::now();
    let mut causes = Vec::new();
    while began.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        // The second of them can't be there before the first.
        let both = join_all([2, 3].map(|seq| store.commit(numbered(epoch, seq)))).await;
        causes.extend(both.into_iter().map(unknown));
        assert!(store.open(&slot("b"), &lease()).await.is_err());
        assert!(asked.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(causes.iter().all(|cause| cause.contains("hasn't answered")), "{causes:?}");
    server.go_on();
    pipelined(&store, epoch, 2, 20).await;
    has_all(&server, 20).await;
    assert!(store.metrics().connections >= 2);
}

/// Killed in the middle of what it does, and started again, over and over: with what it had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again() {
    let mut server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    let mut last = 0;
    for _ in 0..5 {
        let going_on = tokio::spawn({
            let store = store.clone();
            async move { pipelined(&store, epoch, last + 1, last + 60).await }
        });
        until("some are there", || async { (server.text(&["HGET", "slot:{a}", "seq"]) != last.to_string()).then_some(()) }).await;
        server.kill();
        let cause = until("nobody is there", || async {
            match store.commit(numbered(epoch, last + 60)).await {
                CommitOutcome::Unknown { cause } => Some(cause),
                _ => None,
            }
        })
        .await;
        assert!(cause.contains("no connection") && cause.contains("the server runs"), "{cause}");
        server.start_again();
        going_on.await.unwrap();
        last += 60;
    }
    has_all(&server, last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_cut() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    for round in 0..10 {
        let (from, to) = (round * 20 + 1, round * 20 + 20);
        let cut = async {
            tokio::task::yield_now().await;
            server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        };
        futures::future::join(pipelined(&store, epoch, from, to), cut).await;
    }
    has_all(&server, 200).await;
    // Whoever finds it broken makes one for all.
    let before = store.metrics().connections;
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    pipelined(&store, epoch, 201, 240).await;
    assert_eq!(store.metrics().connections, before + 1);
}

#[tokio::test]
async fn scripts_forgotten() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    for seq in 1..=5 {
        server.ask(&["SCRIPT", "FLUSH"]);
        durable(&store, numbered(epoch, seq)).await;
    }
    server.ask(&["SCRIPT", "FLUSH"]);
    let all = join_all((6..=20).map(|seq| store.commit(numbered(epoch, seq)))).await;
    assert!(all.iter().all(|outcome| matches!(outcome, CommitOutcome::Durable | CommitOutcome::Gap { .. })), "{all:?}");
    pipelined(&store, epoch, 6, 20).await;
    has_all(&server, 20).await;
    assert_eq!(store.metrics().connections, 1);
}

/// Full: it says so, does nothing by halves, and goes on when there is room.
#[tokio::test]
async fn full() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", &(used + 3_000_000).to_string()]);
    let big = |seq| Commit { blob: Bytes::from(vec![7; 500_000]), ..numbered(epoch, seq) };
    let mut last = 0;
    let cause = loop {
        match store.commit(big(last + 1)).await {
            CommitOutcome::Durable => last += 1,
            other => break unknown(other),
        }
    };
    assert!(last > 0);
    assert!(cause.contains("OOM") && cause.contains("CONFIG SET maxmemory"), "{cause}");
    server.ask(&["CONFIG", "SET", "maxmemory", "1000000"]);
    assert!(store.open(&slot("b"), &lease()).await.unwrap_err().message.contains("OOM"));
    // It can still be read.
    let picture = store.read(&slot("a")).await.unwrap().unwrap();
    assert_eq!((picture.slot.last_seq, picture.balances), (last, vec![(id("ann"), i128::from(last))]));
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    durable(&store, big(last + 1)).await;
    assert_eq!(store.metrics().connections, 1);
}

/// The server itself doesn't want to write.
#[tokio::test]
async fn not_writing() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let cause = unknown(store.commit(numbered(epoch, 1)).await);
    assert!(cause.contains("NOREPLICAS") && cause.contains("min-replicas-to-write"), "{cause}");
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    durable(&store, numbered(epoch, 1)).await;
    // A snapshot of its own can't be written.
    std::fs::create_dir(server.path().join("dump.rdb")).unwrap();
    server.ask(&["CONFIG", "SET", "save", "3600 1"]);
    server.ask(&["BGSAVE"]);
    until("it has failed", || async { (server.info("rdb_last_bgsave_status") == "err").then_some(()) }).await;
    let cause = unknown(store.commit(numbered(epoch, 2)).await);
    assert!(cause.contains("MISCONF") && cause.contains("see its log"), "{cause}");
    server.ask(&["CONFIG", "SET", "save", ""]);
    // Somebody keeps it busy.
    server.ask(&["CONFIG", "SET", "busy-reply-threshold", "20"]);
    let endless = redis::Client::open(server.url()).unwrap();
    let endless =
        std::thread::spawn(move || redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut endless.get_connection().unwrap()));
    let cause = until("it is busy", || async {
        // Whatever was done before that can be done again.
        match store.commit(numbered(epoch, 1)).await {
            CommitOutcome::Unknown { cause } => Some(cause),
            _ => None,
        }
    })
    .await;
    assert!(cause.contains("BUSY") && cause.contains("SCRIPT KILL"), "{cause}");
    server.ask(&["SCRIPT", "KILL"]);
    assert!(endless.join().unwrap().is_err());
    // It has become a replica of somebody.
    assert_eq!(commit(&store, &numbered(epoch, 1)).await, CommitOutcome::Durable);
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let cause = unknown(store.commit(numbered(epoch, 2)).await);
    assert!(cause.contains("replica"), "{cause}");
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(commit(&store, &numbered(epoch, 2)).await, CommitOutcome::Durable);
    has_all(&server, 2).await;
}
