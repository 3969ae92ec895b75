//! How much the server is asked to do.

use crate::support::{DISK, Server, batch, durable, id, open};
use bytes::Bytes;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome};

/// What the server has done since this was asked last, those inside of scripts too.
fn commands(server: &Server) -> Vec<(String, u64)> {
    let stats = server.text(&["INFO", "COMMANDSTATS"]);
    let of_line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split_once(',')?.0.parse().unwrap()))
    };
    let mut all: Vec<(String, u64)> = stats.lines().filter_map(of_line).collect();
    all.retain(|(name, _)| !name.starts_with("config") && name != "info" && !name.starts_with("client") && name != "select");
    all.sort();
    server.ask(&["CONFIG", "RESETSTAT"]);
    all
}

/// However many payments are in a batch, and however much it cuts.
#[tokio::test]
async fn a_commit_is_a_few_commands() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    let accounts: Vec<_> = (0..1_000).map(|no| id(&format!("account-{no}"))).collect();
    // Of 500 payments, each between two accounts, with some 450 bytes of log.
    let with = |seq: u64| {
        let balances = accounts.iter().map(|id| (id.clone(), Some(i128::from(seq)))).collect();
        let blob = Bytes::from(vec![7; 500 * 450]);
        Commit { blob, balances, cut_below: Some(seq.saturating_sub(3)), mail_read: Some(seq), ..batch("a", epoch, seq) }
    };
    for seq in 1..=20 {
        durable(&store, with(seq)).await;
    }
    commands(&server);
    durable(&store, with(21)).await;
    let all = commands(&server);
    println!("a batch of 500 payments: {all:?}");
    let sum: u64 = all.iter().map(|(_, calls)| calls).sum();
    assert!(sum <= 10, "{all:?}");
    durable(&store, batch("a", epoch, 22)).await;
    let all = commands(&server);
    println!("an empty batch: {all:?}");
    assert!(all.iter().map(|(_, calls)| calls).sum::<u64>() <= 6, "{all:?}");
    let log = store.read(&"a".into()).await.unwrap().unwrap().slot.log;
    assert!(log.len() < 10, "{} batches are kept", log.len());
}

/// More accounts than Lua can pass on at once.
#[tokio::test]
async fn a_very_large_batch() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    let accounts: Vec<_> = (0..10_001).map(|no| id(&format!("account-{no}"))).collect();
    let with = |seq: u64, value| Commit { balances: accounts.iter().map(|id| (id.clone(), value)).collect(), ..batch("a", epoch, seq) };
    durable(&store, with(1, Some(-5))).await;
    let balances = store.read(&"a".into()).await.unwrap().unwrap().balances;
    assert_eq!(balances.len(), accounts.len());
    assert!(balances.iter().all(|(_, balance)| *balance == -5));
    durable(&store, with(2, None)).await;
    assert_eq!(store.read(&"a".into()).await.unwrap().unwrap().balances, []);
}

/// A cut of very much is made in parts, by the commits that follow.
#[tokio::test]
async fn a_large_cut_is_made_in_parts() {
    let server = Server::start(DISK);
    let store = server.store().await;
    let epoch = open(&store, "a").await.epoch;
    for from in (1..=4_000).step_by(25) {
        let all = (from..from + 25).map(|seq| store.commit(batch("a", epoch, seq)));
        let outcomes = futures::future::join_all(all).await;
        // What is sent in order arrives in order.
        assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
    }
    durable(&store, Commit { cut_below: Some(4_000), ..batch("a", epoch, 4_001) }).await;
    let len = || match server.ask(&["XLEN", "log:{a}"]) {
        redis::Value::Int(len) => len,
        other => panic!("{other:?}"),
    };
    assert!(len() > 2_000, "{}", len());
    for seq in 4_002..4_010 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    assert!(len() < 200, "{}", len());
    assert_eq!(open(&store, "a").await.last_seq, 4_009);
}

/// Who asks while replicas are waited for shares the next wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_are_shared() {
    let server = Server::start(DISK);
    let _replica = Server::replica_of(&server, DISK);
    let store = crate::support::connected(server.config().require(ilp_store_redis::Required::Replicas(1))).await;
    let slots: Vec<_> = (0..50).map(|no| format!("slot-{no}")).collect();
    let opened = futures::future::join_all(slots.iter().map(|slot| open(&store, slot))).await;
    let before = store.metrics().waits;
    let commits = slots.iter().zip(&opened).map(|(slot, opened)| durable(&store, batch(slot, opened.epoch, 1)));
    futures::future::join_all(commits).await;
    let waits = store.metrics().waits - before;
    println!("50 commits at once: {waits} waits");
    assert!(waits <= 25, "{waits}");
}
