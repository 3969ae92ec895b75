//! A store that keeps no log.

use async_trait::async_trait;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, Durability, OpenedSlot, SlotName, SlotPicture, StoreError};

/// Calls everything durable and keeps nothing of it: what a disk would keep is not the connector's memory, and the log of the memory
/// store, which grows to many megabytes before it is cut, would hide what is measured.
///
/// A worker that is thrown away finds its books empty, which the honest peers notice.
#[derive(Debug)]
pub(super) struct NoLog;

#[async_trait]
impl BalanceStore for NoLog {
    async fn open(&self, _: &SlotName) -> Result<OpenedSlot, StoreError> {
        Ok(OpenedSlot { epoch: 1, last_seq: 0, log: Vec::new() })
    }

    async fn commit(&self, _: Commit) -> CommitOutcome {
        CommitOutcome::Durable
    }

    async fn read(&self, _: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        Ok(None)
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}
