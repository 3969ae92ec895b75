//! The store itself.

use crate::config::RedisConfig;
use crate::connection::Connection;
use crate::error::RedisError;
use crate::metrics::{RedisMetrics, count};
use crate::pictures::{self, LastRows};
use crate::rows::{self, KnownRows};
use crate::slots::{self, KnownSlots};
use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, Lease, Move, MoveOutcome, OpenedSlot, Renewal,
    SlotName, SlotPicture, StoreError,
};
use std::sync::Arc;

/// A [`BalanceStore`] on a Redis server.
///
/// All calls share one connection, and what is asked at the same time goes together. Clones share one store. When the connection fails it
/// is made anew by whoever asks next; until that succeeds commits, moves and renewals are answered `Unknown`, with the reason. No call takes
/// longer than the time-outs of the [`RedisConfig`] say, times the few round trips that it makes.
///
/// It needs tokio, with I/O and time: the connection's own task runs on the runtime on which [`connect`](Self::connect) was called, and the
/// store is of use for as long as that runs.
#[derive(Debug, Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    slots: KnownSlots,
    rows: KnownRows,
    last_rows: LastRows,
}

impl RedisStore {
    /// Connects, and begins new books if there are none.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the configuration, the server, or the books; above all if the server promises less than is
    /// [required](crate::Required).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most new books without anything in them.
    pub async fn connect(config: RedisConfig) -> Result<Self, RedisError> {
        let connection = Connection::first(config).await?;
        let (slots, rows, last_rows) = Default::default();
        Ok(Self { inner: Arc::new(Inner { connection, slots, rows, last_rows }) })
    }

    /// What was done since it was connected.
    pub fn metrics(&self) -> RedisMetrics {
        self.inner.connection.counters.read()
    }
}

#[async_trait]
impl BalanceStore for RedisStore {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        slots::open(&self.inner.connection, &self.inner.slots, slot, lease).await
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        let renewed = slots::renew(&self.inner.connection, &self.inner.slots, slot, epoch, lease).await;
        renewed.unwrap_or_else(|error| Renewal::Unknown { cause: error.to_string() })
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let committed = slots::commit(&self.inner.connection, &self.inner.slots, &batch).await;
        committed.unwrap_or_else(|error| {
            count(&self.inner.connection.counters.unknown, 1);
            CommitOutcome::Unknown { cause: error.to_string() }
        })
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        let set_up = rows::set_up(&self.inner.connection, &self.inner.rows, account).await;
        set_up.map_err(|error| error.of_slot(account.id.name()))
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        let moved = rows::make_move(&self.inner.connection, &self.inner.rows, request).await;
        moved.unwrap_or_else(|error| MoveOutcome::Unknown { cause: error.to_string() })
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        slots::mail(&self.inner.connection, slot, &letter).await
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        pictures::read(&self.inner.connection, slot).await.map_err(|error| error.of_slot(slot))
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        pictures::directory(&self.inner.connection, &self.inner.last_rows).await.map_err(|error| error.of_slot("(directory)"))
    }

    fn durability(&self) -> Durability {
        self.inner.connection.required().durability()
    }
}
