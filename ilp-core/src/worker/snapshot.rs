//! Snapshots while running: the log is cut behind what is still needed of it, without a pause.
//!
//! Most transfers are forgotten before their records are old, so most of the log needs only to be dropped. A snapshot has a *cut*: the
//! batch below which the log shall go. It begins with the sums of all accounts; then every batch looks at some transfers, and carries
//! those that were recorded before the cut, as they stand. When all had their turn, the log below the cut isn't needed any more.
//!
//! Reading from the cut, sums are wrong until the snapshot's beginning sets them; from there on records change them exactly, whether or
//! not the transfer that they are about is known yet, because every record names its accounts and amounts.

use super::accounts::asset_text;
use super::{Outcome, Transfer, Worker};
use crate::link::Claim;
use crate::record::{AccountNo, AccountState, Prepared, Record, TransferState};
use std::collections::VecDeque;

/// What is kept of the log at least, and how much it grows between two snapshots at least.
const LOG_BYTES_MIN: usize = 8 << 20;
/// About what the log has for a payment. As much of it as all remembered payments take is kept: so few have to be carried over.
const PAYMENT_BYTES: usize = 400;
/// Cuts lie at batches at least so far apart.
const MARK_BYTES: usize = 1 << 20;
/// Places looked at in a batch, and for each of its records: so many that a snapshot ends soon, so few that it isn't felt.
const PLACES_MIN: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Bytes written since the worker was opened.
    written: usize,
    /// Batches where the log could be cut, oldest first, each with what had been written before it.
    marks: VecDeque<(u64, usize)>,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    cut: u64,
    /// The next place in the slab of transfers.
    next: usize,
}

impl Worker {
    /// Adds its share of a snapshot to the batch about to be sealed as `seq`; says what may be cut if that ends it.
    pub(super) fn snapshot_step(&mut self, seq: u64) -> Option<u64> {
        let live = self.transfers.len().saturating_mul(PAYMENT_BYTES);
        let snapshots = &mut self.snapshot;
        let before = snapshots.written;
        snapshots.written = before.saturating_add(self.pending.blob.len());
        if snapshots.marks.back().is_none_or(|(_, at)| before.saturating_sub(*at) >= MARK_BYTES) {
            snapshots.marks.push_back((seq, before));
        }
        match snapshots.under_way.take() {
            Some(under_way) => self.carry(seq, under_way),
            None => {
                let cut = snapshots.cut(live.max(LOG_BYTES_MIN))?;
                self.begin_snapshot();
                self.snapshot.under_way = Some(UnderWay { cut, next: 0 });
                None
            }
        }
    }

    /// Carries over some of what was recorded before the cut.
    fn carry(&mut self, seq: u64, UnderWay { cut, next }: UnderWay) -> Option<u64> {
        let quota = self.pending.records.saturating_mul(8).saturating_add(PLACES_MIN);
        // Places, not transfers, are counted: a sparse slab must not make one batch long.
        let (end, capacity) = (next.saturating_add(quota), self.transfers.end());
        let mut blob = std::mem::take(&mut self.pending.blob);
        for index in next..end.min(capacity) {
            if let Some(transfer) = self.transfers.get(index).filter(|transfer| transfer.recorded_in < cut) {
                Record::Transfer(self.transfer_state(transfer)).encode(&mut blob);
                if let Some(transfer) = self.transfers.get_mut(index) {
                    transfer.recorded_in = seq;
                }
            }
        }
        self.pending.blob = blob;
        if end < capacity {
            self.snapshot.under_way = Some(UnderWay { cut, next: end });
            return None;
        }
        Record::SnapshotEnded.encode(&mut self.pending.blob);
        while self.snapshot.marks.front().is_some_and(|(mark, _)| *mark < cut) {
            self.snapshot.marks.pop_front();
        }
        Some(cut)
    }

    fn begin_snapshot(&mut self) {
        let mut blob = std::mem::take(&mut self.pending.blob);
        Record::SnapshotBegun.encode(&mut blob);
        for (no, account) in self.accounts.iter().enumerate() {
            let (Some(account), Ok(no)) = (account, AccountNo::try_from(no)) else { continue };
            let asset = self.asset(account.asset).map(asset_text).unwrap_or_default();
            Record::Account(AccountState { no, id: account.id.clone(), asset: &asset, sums: account.sums }).encode(&mut blob);
            for Claim { kind, subject, proof } in &account.claims {
                Record::Claimed { no, kind: *kind, subject, proof }.encode(&mut blob);
            }
        }
        // Numbers are never used twice: without this, that of the newest account would be forgotten if it is closed.
        if let (Some(None), Ok(no)) = (self.accounts.last(), AccountNo::try_from(self.accounts.len().saturating_sub(1))) {
            Record::AccountClosed { no }.encode(&mut blob);
        }
        for book in &self.assets {
            Record::Own { asset: &asset_text(&book.asset), balance: book.own }.encode(&mut blob);
        }
        self.pending.blob = blob;
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

impl Snapshots {
    /// Where to cut so that `keep` bytes stay, if there is a quarter more.
    fn cut(&self, keep: usize) -> Option<u64> {
        let (oldest, from) = *self.marks.front()?;
        if self.written.saturating_sub(from) < keep.saturating_add(keep / 4) {
            return None;
        }
        let kept = |(_, at): &&(u64, usize)| self.written.saturating_sub(*at) >= keep;
        self.marks.iter().rev().find(kept).map(|(seq, _)| *seq).filter(|seq| *seq > oldest)
    }
}
