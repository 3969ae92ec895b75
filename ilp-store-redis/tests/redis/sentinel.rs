//! Failover.

use crate::support::{DISK, Server, batch, commit, connected, durable, lease, open, slot, until};
use ilp_core::store::{BalanceStore, CommitOutcome};
use ilp_store_redis::{RedisConfig, RedisStore, Required};

struct Deployment {
    master: Server,
    replica: Server,
    sentinel: Server,
}

impl Deployment {
    async fn start() -> Self {
        let master = Server::start(DISK);
        let replica = Server::replica_of(&master, DISK);
        until("the replica follows", || async { master.info("slave0").contains("state=online").then_some(()) }).await;
        let sentinel = Server::sentinel_of(&master);
        until("the Sentinel knows the replica", || async {
            let known = format!("{:?}", sentinel.ask(&["SENTINEL", "REPLICAS", "main"]));
            known.contains("master-link-status").then_some(())
        })
        .await;
        Self { master, replica, sentinel }
    }

    fn config(&self, required: Required) -> RedisConfig {
        // One of them isn't there.
        RedisConfig::new(&format!("sentinel://127.0.0.1:1,127.0.0.1:{}/main", self.sentinel.port())).unwrap().require(required)
    }
}

/// The master dies; the store follows to the one that has taken its place, and goes on when that has a replica again. Nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_the_master() {
    let mut deployment = Deployment::start().await;
    let config = deployment.config(Required::Replicas(1));
    let store = RedisStore::connect(config.clone()).await.unwrap();
    let epoch = open(&store, "a").await.epoch;
    for seq in 1..=20 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    deployment.master.kill();
    let there = format!("127.0.0.1:{} has 0 replicas", deployment.replica.port());
    until("the store follows", || async {
        match store.commit(batch("a", epoch, 21)).await {
            CommitOutcome::Unknown { cause } => cause.contains(&there).then_some(()),
            other => panic!("{other:?}, and there is no replica"),
        }
    })
    .await;
    deployment.master.start_again();
    deployment.master.ask(&["REPLICAOF", "127.0.0.1", &deployment.replica.port().to_string()]);
    assert_eq!(commit(&store, &batch("a", epoch, 21)).await, CommitOutcome::Durable);
    let expected: Vec<_> = (1..=21).map(|seq| batch("a", epoch, seq).blob).collect();
    assert_eq!(open(&connected(config).await, "a").await.log, expected);
}

/// The replica that takes the master's place hasn't got everything, and nothing was promised. The worker learns of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags() {
    let mut deployment = Deployment::start().await;
    let store = RedisStore::connect(deployment.config(Required::Nothing)).await.unwrap();
    let epoch = open(&store, "a").await.epoch;
    for seq in 1..=3 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    until("the replica has it", || async {
        let seq: Option<String> = redis::from_redis_value(deployment.replica.ask(&["HGET", "slot:{a}", "seq"])).unwrap();
        (seq.as_deref() == Some("3")).then_some(())
    })
    .await;
    deployment.replica.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    for seq in 4..=6 {
        durable(&store, batch("a", epoch, seq)).await;
    }
    deployment.master.kill();
    assert_eq!(commit(&store, &batch("a", epoch, 7)).await, CommitOutcome::Gap { last_seq: 3 });
    let error = store.open(&slot("a"), &lease()).await.unwrap_err();
    assert!(error.message.contains("the last batch of a is number 3, and 6 was durable"), "{error}");
    assert_eq!(deployment.replica.text(&["HGET", "slot:{a}", "epoch"]), epoch.to_string());
}

#[tokio::test]
async fn what_isnt_there() {
    let deployment = Deployment::start().await;
    let other = RedisConfig::new(&format!("sentinel://127.0.0.1:{}/other", deployment.sentinel.port())).unwrap();
    let error = RedisStore::connect(other.require(Required::Nothing)).await.unwrap_err().to_string();
    assert!(error.contains("no Sentinel names a master other") && error.contains("knows none"), "{error}");
    // One server that is named isn't followed from, and so has no use of Sentinels.
    let error = RedisStore::connect(deployment.config(Required::Disk)).await.unwrap_err().to_string();
    assert!(error.contains("`disk` is required, but Sentinels"), "{error}");
}
