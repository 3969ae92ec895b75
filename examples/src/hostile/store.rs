//! A store that keeps no log.

use async_trait::async_trait;
use bytes::Bytes;
use ilp_core::store::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, Lease, MemoryStore, Move, MoveOutcome,
    OpenedSlot, Renewal, SlotName, SlotPicture, StoreError,
};

/// Calls everything durable and keeps nothing of it: what a disk would keep is not the connector's memory, and the log of the memory
/// store, which grows to many megabytes before it is cut, would hide what is measured.
///
/// A worker that is thrown away finds its books empty, which the honest peers notice.
#[derive(Debug, Default)]
pub(super) struct NoLog {
    /// Everything but batches.
    rest: MemoryStore,
}

#[async_trait]
impl BalanceStore for NoLog {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        self.rest.open(slot, lease).await
    }

    async fn commit(&self, _: Commit) -> CommitOutcome {
        CommitOutcome::Durable
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        self.rest.renew(slot, epoch, lease).await
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        self.rest.set_up(account).await
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        self.rest.make_move(request).await
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.rest.mail(slot, letter).await
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.rest.directory().await
    }

    async fn read(&self, _: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        Ok(None)
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}
