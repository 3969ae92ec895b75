//! The suite that every store passes.

use crate::support::{DISK, Server, connected};
use async_trait::async_trait;
use ilp_core::conformance::{self, Subject, SubjectError};
use ilp_core::store::BalanceStore;
use ilp_store_redis::{RedisConfig, RedisStore, Required};
use std::sync::Arc;
use std::time::Duration;

/// A server that is killed and started again; every case has a prefix of its own.
struct OnDisk {
    server: Server,
    stores: u32,
}

impl OnDisk {
    fn config(&self) -> RedisConfig {
        self.server.config().prefix(&format!("case-{}:", self.stores))
    }
}

#[async_trait]
impl Subject for OnDisk {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.server.ask(&["FLUSHALL"]);
        self.stores += 1;
        Ok(Arc::new(RedisStore::connect(self.config()).await?))
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.server.restart();
        drop(store);
        Ok(Arc::new(RedisStore::connect(self.config()).await?))
    }

    async fn pass(&mut self, _: &Arc<dyn BalanceStore>, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_disk() {
    let report = conformance::run(&mut OnDisk { server: Server::start(DISK), stores: 0 }).await;
    assert!(report.passed(), "{report}");
    assert_eq!(report.cases.len(), conformance::case_names().count());
}

/// A server of which nothing is asked, and whose store is closed and opened at the worst.
struct InMemory {
    server: Server,
    stores: u32,
}

#[async_trait]
impl Subject for InMemory {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.stores += 1;
        self.open().await
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.server.ask(&["SCRIPT", "FLUSH"]);
        drop(store);
        self.open().await
    }

    async fn pass(&mut self, _: &Arc<dyn BalanceStore>, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl InMemory {
    async fn open(&self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        let config = self.server.config().prefix(&format!("case-{}:", self.stores)).require(Required::Nothing);
        Ok(Arc::new(RedisStore::connect(config).await?))
    }
}

#[tokio::test]
async fn in_memory() {
    let report = conformance::run(&mut InMemory { server: Server::start(&[]), stores: 0 }).await;
    assert!(report.passed(), "{report}");
}

/// A master that is killed, so that its replica takes its place.
struct Replicated {
    master: Server,
    replica: Server,
    stores: u32,
}

impl Replicated {
    fn start() -> Self {
        let master = Server::start(APPEND);
        let replica = Server::replica_of(&master, APPEND);
        Self { master, replica, stores: 0 }
    }

    async fn open(&self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        let config = self.master.config().prefix(&format!("case-{}:", self.stores)).require(Required::Replicas(1));
        Ok(Arc::new(connected(config).await))
    }
}

#[async_trait]
impl Subject for Replicated {
    async fn fresh(&mut self) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.stores += 1;
        self.open().await
    }

    async fn crash(&mut self, store: Arc<dyn BalanceStore>) -> Result<Arc<dyn BalanceStore>, SubjectError> {
        self.master.kill();
        self.replica.ask(&["REPLICAOF", "NO", "ONE"]);
        drop(store);
        let replica = Server::replica_of(&self.replica, APPEND);
        self.master = std::mem::replace(&mut self.replica, replica);
        self.open().await
    }

    async fn pass(&mut self, _: &Arc<dyn BalanceStore>, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

const APPEND: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_replica() {
    let report = conformance::run(&mut Replicated::start()).await;
    assert!(report.passed(), "{report}");
}
