//! Snapshots while running: every batch carries a few transfers as they stand, and when all have had their turn the log before the
//! snapshot's beginning isn't needed any more.
//!
//! A snapshot begins with the sums of all accounts. From there on, records change them exactly, whether or not the transfer that they
//! are about is known yet, because every record names its accounts and amounts. Transfers that are decided or forgotten before their turn
//! are covered by what came since the beginning.

use super::accounts::asset_text;
use super::{Outcome, Transfer, Worker};
use crate::record::{AccountNo, AccountState, Prepared, Record, TransferState};

/// A snapshot begins when the log since the last beginning has grown to this, or to twice what a snapshot takes.
const LOG_BYTES_MIN: usize = 16 << 20;
/// A generous guess at a transfer's size in a snapshot.
const TRANSFER_BYTES: usize = 220;

#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Written since the last snapshot began.
    log_bytes: usize,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    begun_in: u64,
    /// The next place in the slab of transfers.
    next: usize,
}

impl Worker {
    /// Adds its share of a snapshot to the batch about to be sealed as `seq`; says what may be cut if that ends it.
    pub(super) fn snapshot_step(&mut self, seq: u64) -> Option<u64> {
        self.snapshot.log_bytes = self.snapshot.log_bytes.saturating_add(self.pending.blob.len());
        let Some(UnderWay { begun_in, next }) = self.snapshot.under_way.take() else {
            let live = self.transfers.len().saturating_mul(TRANSFER_BYTES);
            if self.snapshot.log_bytes > LOG_BYTES_MIN.max(live.saturating_mul(2)) {
                self.begin_snapshot(seq);
            }
            return None;
        };
        // Faster than transfers come in, so that it ends; slow enough not to be felt.
        let quota = self.pending.records.saturating_mul(2).saturating_add(64);
        let end = next.saturating_add(quota);
        let mut blob = std::mem::take(&mut self.pending.blob);
        // Places, not transfers, are counted: a sparse slab must not make one batch long.
        let capacity = self.transfers.capacity();
        for index in next..end.min(capacity) {
            if let Some(transfer) = self.transfers.get(index) {
                Record::Transfer(self.transfer_state(transfer)).encode(&mut blob);
            }
        }
        let ended = end >= capacity;
        if ended {
            Record::SnapshotEnded.encode(&mut blob);
        } else {
            self.snapshot.under_way = Some(UnderWay { begun_in, next: end });
        }
        self.pending.blob = blob;
        ended.then_some(begun_in)
    }

    fn begin_snapshot(&mut self, seq: u64) {
        let mut blob = std::mem::take(&mut self.pending.blob);
        Record::SnapshotBegun.encode(&mut blob);
        for (no, account) in self.accounts.iter().enumerate() {
            let (Some(account), Ok(no)) = (account, AccountNo::try_from(no)) else { continue };
            let asset = self.asset(account.asset).map(asset_text).unwrap_or_default();
            Record::Account(AccountState { no, id: account.id.clone(), asset: &asset, sums: account.sums }).encode(&mut blob);
        }
        for book in &self.assets {
            Record::Own { asset: &asset_text(&book.asset), balance: book.own }.encode(&mut blob);
        }
        self.pending.blob = blob;
        self.snapshot.log_bytes = 0;
        self.snapshot.under_way = Some(UnderWay { begun_in: seq, next: 0 });
    }

    fn transfer_state<'a>(&'a self, transfer: &'a Transfer) -> TransferState<'a> {
        let active = self.active(transfer);
        let (outcome, fulfillment) = match transfer.outcome {
            Outcome::Held => (0, [0; 32]),
            Outcome::Fulfilled(fulfillment) => (1, fulfillment),
            Outcome::Rejected(_) => (2, [0; 32]),
            Outcome::Charged => (3, [0; 32]),
        };
        TransferState {
            prepared: Prepared {
                key: transfer.key,
                from: transfer.from,
                incoming_id: transfer.incoming_id,
                digest: transfer.digest,
                incoming_expires_at: transfer.incoming_expires_at.unix_millis(),
                to: transfer.to,
                expires_at: transfer.expires_at.unix_millis(),
                condition: active.map_or([0; 32], |active| *active.condition.as_bytes()),
                packet: active.map(|active| &*active.packet).unwrap_or_default(),
            },
            outcome,
            fulfillment,
            reason: active.map(|active| &*active.reason).unwrap_or_default(),
            owed: active.is_some() && transfer.outcome != Outcome::Held,
        }
    }
}
