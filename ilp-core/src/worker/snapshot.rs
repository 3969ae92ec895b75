//! Snapshots while running: the log is cut behind what is still needed of it, without a pause.
//!
//! Most transfers are forgotten before their records are old, so most of the log needs only to be dropped. A snapshot has a *cut*: the
//! batch below which the log shall go. Every batch from then on carries the sums of some accounts, until all had their turn, then the
//! connector's own; then every batch looks at some transfers, and carries those that were recorded before the cut, as they stand. When all
//! had their turn, the log below the cut isn't needed any more.
//!
//! Reading from the cut, an account's sums are wrong until the snapshot sets them; from there on records change them exactly, whether or
//! not the transfer that they are about is known yet, because every record names its accounts and amounts.
//!
//! What the embedder hasn't acknowledged isn't cut: its events are made from the log.

use super::accounts::asset_text;
use super::{AssetBook, Outcome, Transfer, Worker};
use crate::link::Claim;
use crate::record::{AccountNo, AccountState, Prepared, Record, TransferState};
use std::collections::VecDeque;

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
    /// Batches where the log could be cut, oldest first.
    marks: VecDeque<Mark>,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The batch.
    seq: u64,
    /// Bytes written before it.
    written: usize,
    /// The last event that it, or one before it, has.
    events: u64,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    cut: u64,
    /// Whose turn it is.
    next: Turn,
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The account of this number.
    Account(usize),
    /// This place in the slab of transfers.
    Transfer(usize),
}

impl Worker {
    /// Adds its share of a snapshot to the batch about to be sealed as `seq`; says what may be cut if that ends it.
    pub(super) fn snapshot_step(&mut self, seq: u64) -> Option<u64> {
        let live = self.transfers.len().saturating_mul(PAYMENT_BYTES);
        let events = self.events_needed_from();
        let snapshots = &mut self.snapshot;
        let before = snapshots.written;
        snapshots.written = before.saturating_add(self.pending.blob.len());
        let keep = live.max(self.config.limits.log_bytes);
        if snapshots.marks.back().is_none_or(|mark| before.saturating_sub(mark.written) >= (keep / 8).min(MARK_BYTES)) {
            snapshots.marks.push_back(Mark { seq, written: before, events: self.events.last() });
        }
        let quota = self.pending.records.saturating_mul(8).saturating_add(PLACES_MIN);
        let under_way = match snapshots.under_way.take() {
            Some(under_way) => under_way,
            None => {
                let cut = snapshots.cut(keep, events)?;
                let numbers = AccountNo::try_from(self.accounts.len()).ok()?;
                Record::SnapshotBegun { numbers, events_acked: self.events.acked() }.encode(&mut self.pending.blob);
                UnderWay { cut, next: Turn::Account(0) }
            }
        };
        match under_way.next {
            Turn::Account(next) => {
                let next = self.carry_accounts(next, quota);
                self.snapshot.under_way = Some(UnderWay { next, ..under_way });
                None
            }
            Turn::Transfer(next) => self.carry_transfers(seq, under_way.cut, next, quota),
        }
    }

    /// Carries over the books of some accounts, and after the last the connector's own.
    fn carry_accounts(&mut self, next: usize, quota: usize) -> Turn {
        let mut blob = std::mem::take(&mut self.pending.blob);
        let end = next.saturating_add(quota).min(self.accounts.len());
        for (no, account) in self.accounts.iter().enumerate().take(end).skip(next) {
            let (Some(account), Ok(no)) = (account.as_ref().filter(|account| account.recorded), AccountNo::try_from(no)) else { continue };
            let asset = self.asset(account.asset).map(asset_text).unwrap_or_default();
            let (id, sums, doubts) = (account.id.clone(), account.sums, account.doubts);
            let (last_move, moving) = (account.moves.last, account.moves.under_way);
            Record::Account(AccountState { no, id, asset: &asset, sums, doubts, last_move, moving }).encode(&mut blob);
            for (id, amount) in &account.settlements {
                Record::SettlementKnown { no, id, amount: *amount }.encode(&mut blob);
            }
            for Claim { kind, subject, proof } in &account.claims {
                Record::Claimed { no, kind: *kind, subject, proof }.encode(&mut blob);
            }
        }
        let done = end == self.accounts.len();
        if done {
            for book in &self.assets {
                let AssetBook { own: balance, closed_settlements, closed_moves, .. } = *book;
                Record::Own { asset: &asset_text(&book.asset), balance, closed_settlements, closed_moves }.encode(&mut blob);
            }
        }
        self.pending.blob = blob;
        if done { Turn::Transfer(0) } else { Turn::Account(end) }
    }

    /// Carries over some of what was recorded before the cut.
    fn carry_transfers(&mut self, seq: u64, cut: u64, next: usize, quota: usize) -> Option<u64> {
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
            self.snapshot.under_way = Some(UnderWay { cut, next: Turn::Transfer(end) });
            return None;
        }
        Record::SnapshotEnded.encode(&mut self.pending.blob);
        while self.snapshot.marks.front().is_some_and(|mark| mark.seq < cut) {
            self.snapshot.marks.pop_front();
        }
        Some(cut)
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
    /// Where to cut so that `keep` bytes stay and no event above `events`, if there is a quarter more.
    fn cut(&self, keep: usize, events: u64) -> Option<u64> {
        let oldest = *self.marks.front()?;
        if self.written.saturating_sub(oldest.written) < keep.saturating_add(keep / 4) {
            return None;
        }
        let may_go = |mark: &&Mark| self.written.saturating_sub(mark.written) >= keep && mark.events <= events;
        self.marks.iter().rev().find(may_go).map(|mark| mark.seq).filter(|seq| *seq > oldest.seq)
    }
}
