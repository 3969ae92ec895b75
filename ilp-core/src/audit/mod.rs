//! Audits of a slot's books: what the log makes them, what stands beside the log, and what a running worker says, compared to the unit.
//!
//! A log is read twice. Once by the worker's own recovery, which is what a restart would make of it; and once by a plain fold that only adds
//! up records. They must agree with each other (I2), with the balances that the store keeps beside the log, with the sums
//! of later snapshots in the log, and with the worker that is running, if one is. Per asset, balances, holds and the connector's own account
//! add up to what was settled (I1).

mod fold;

use crate::account::{AccountId, Asset};
use crate::limits::{Limits, Timing};
use crate::record::{CorruptRecord, Record};
use crate::store::{OpenedSlot, SlotNo, SlotPicture, StoreError};
use crate::worker::{AccountStatus, Doubts, OpenError, Totals, TransferStatus, Worker, WorkerConfig, WorkerStatus};
use fold::Fold;
use ilp_oer::{Address, Timestamp};
use std::collections::BTreeMap;

/// What an audit has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Which slot.
    pub slot: String,
    /// How often it was opened.
    pub epoch: u64,
    /// The last batch that was looked at.
    pub seq: u64,
    /// When that began, by the connector's clock; `None` if there is none.
    pub at: Option<Timestamp>,
    /// What the log has of it.
    pub log: LogSize,
    /// Every account that is open, in the order of their names.
    pub accounts: Vec<AccountAudit>,
    /// Every asset.
    pub assets: Vec<AssetAudit>,
    /// What must not be. Empty if the books are right.
    pub violations: Vec<Violation>,
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// A rule that the books break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` (nothing comes from nowhere) or `I2` (every balance is what its records make it).
    pub rule: &'static str,
    /// Where, and by how much.
    pub what: String,
}

/// An account's books. Amounts are in its base unit; incoming and outgoing are seen from the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountAudit {
    /// Which.
    pub id: AccountId,
    /// What its amounts are in.
    pub asset: Asset,
    /// What the connector owes its holder as far as it came about at this slot. The parts of all slots add up to the balance, and so do the
    /// cold balance, what is hot anywhere, and what is in transit.
    pub balance: i128,
    /// What no slot holds, as the store says; 0 if it doesn't know the account.
    pub cold: i128,
    /// What this slot may spend.
    pub hot: i128,
    /// On its way between the two, by a move of this slot that one side has booked and the other hasn't.
    pub in_transit: i128,
    /// What this slot has drawn, less what it has given back.
    pub moved: i128,
    /// What the balance is made of.
    pub totals: Totals,
    /// How far the balance may go below zero; `None` if nobody who knows was asked: it stands in the configuration, not in the books.
    pub credit_limit: Option<i128>,
    /// What stands beside the log; `None` if nothing does.
    pub stored: Option<i128>,
    /// Transfers that the holder sent and that are held: how many.
    pub held: u64,
    /// Since when the oldest of them is; if the log was cut, it may be older.
    pub oldest_held_since: Option<Timestamp>,
    /// What its holder may see differently.
    pub doubts: Doubts,
}

impl AccountAudit {
    /// What its holder can still spend; `None` if the credit limit isn't known.
    pub fn available(&self) -> Option<i128> {
        Some(self.balance.saturating_add(self.credit_limit?).max(0))
    }
}

/// The books of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetAudit {
    /// Which.
    pub asset: Asset,
    /// Σ of the accounts' balances.
    pub balances: i128,
    /// Σ of what is held of them.
    pub held: i128,
    /// The connector's own account.
    pub own: i128,
    /// Σ of what was settled, at accounts that are closed too.
    pub settlements: i128,
    /// Σ of what closed accounts had drawn at this slot less what they had given back.
    pub closed_moves: i128,
}

impl AssetAudit {
    /// Balances + held + own − settlements − moves of closed accounts: 0, or units came from nowhere or went there (I1).
    pub fn difference(&self) -> i128 {
        let gone = [self.settlements.saturating_neg(), self.closed_moves.saturating_neg()];
        [self.held, self.own].into_iter().chain(gone).fold(self.balances, i128::saturating_add)
    }
}

/// One transfer of an account, as an audit shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastTransfer {
    /// When the batch began that has it.
    pub at: Option<Timestamp>,
    /// The transfer as it stands.
    pub transfer: TransferStatus,
}

/// Books that can't be audited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Nobody ever opened the slot.
    #[error("the store has no slot {0}: is it the right store, and was a connector ever started on it?")]
    NoSlot(String),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log can't be taken up, as it couldn't by a connector.
    #[error("slot {slot}: {source}")]
    Open {
        /// Which.
        slot: String,
        /// Why.
        source: OpenError,
    },
    /// The log was cut while it was about to be read.
    #[error("the log was cut while it was about to be read: try again")]
    Overtaken,
    /// The connector has stopped.
    #[error("the connector has stopped")]
    Stopped,
}

impl Audit {
    /// Of a slot that nobody has open, or whose opener isn't asked.
    pub fn of_slot(slot: &str, picture: SlotPicture) -> Result<Self, AuditError> {
        Self::make(slot, &picture, None).map(|(audit, _, _)| audit)
    }

    /// Of a slot whose worker has said this, by [`Input::State`](crate::worker::Input::State), before the picture was taken.
    pub fn of_running(slot: &str, mut picture: SlotPicture, statement: &WorkerStatus) -> Result<Self, AuditError> {
        // What was committed after the statement isn't in it. Balances beside the log may be newer then, and aren't compared.
        let newer = usize::try_from(picture.slot.last_seq.saturating_sub(statement.seq)).unwrap_or(usize::MAX);
        let left = picture.slot.log.len().checked_sub(newer).ok_or(AuditError::Overtaken)?;
        if picture.slot.last_seq < statement.seq || (left == 0 && statement.seq > 0) {
            return Err(AuditError::Overtaken);
        }
        let stored = newer == 0;
        let of_all = (!stored).then(|| Self::of_slot(slot, picture.clone())).transpose()?;
        picture.slot.log.truncate(left);
        picture.slot.last_seq = statement.seq;
        if !stored {
            picture.balances.clear();
            picture.accounts.clear();
        }
        let (mut audit, _, _) = Self::make(slot, &picture, Some(statement))?;
        if let Some(of_all) = of_all {
            // Each part has been compared with what it can be compared with.
            audit.violations.extend(of_all.violations);
            for account in &mut audit.accounts {
                account.stored = of_all.accounts.iter().find(|other| other.id == account.id).and_then(|other| other.stored);
            }
        }
        Ok(audit)
    }

    /// The last transfers of an account that the log has, the newest first.
    pub fn last_transfers(slot: &str, picture: &SlotPicture, account: &AccountId) -> Result<Vec<LastTransfer>, AuditError> {
        let (worker, fold) = read(slot, &picture.slot, Some(account.clone()))?;
        let found =
            |(at, key): &(i64, _)| Some(LastTransfer { at: Timestamp::from_unix_millis(*at).ok(), transfer: worker.transfer_by_id(key)? });
        Ok(fold.last.iter().rev().filter_map(found).collect())
    }

    /// The transfers of a slot that are held or whose answer is owed, those that expire first first; at most `max` of them. The slot is their
    /// owner.
    pub fn hot_set(slot: &str, picture: &SlotPicture, max: usize) -> Result<Vec<TransferStatus>, AuditError> {
        let (worker, _) = read(slot, &picture.slot, None)?;
        Ok(worker.in_flight_transfers(max))
    }

    /// Whether nothing is wrong.
    pub fn is_right(&self) -> bool {
        self.violations.is_empty()
    }

    fn make(slot: &str, picture: &SlotPicture, statement: Option<&WorkerStatus>) -> Result<(Self, Worker, Fold), AuditError> {
        let (worker, mut fold) = read(slot, &picture.slot, None)?;
        let recovered = worker.status();
        let mut violations = std::mem::take(&mut fold.violations);
        let stored: BTreeMap<&AccountId, i128> = picture.balances.iter().map(|(id, balance)| (id, *balance)).collect();
        let compare_stored = statement.is_none() || !picture.balances.is_empty();
        let mut accounts = Vec::with_capacity(recovered.accounts.len());
        for account in &recovered.accounts {
            let stated = statement.and_then(|statement| statement.accounts.iter().find(|other| other.id == account.id));
            let folded = fold.accounts.iter().find(|(_, folded)| folded.id == account.id && !folded.closed);
            let mut wrong = |what: String| violations.push(Violation { rule: "I2", what: format!("account {}: {what}", account.id) });
            let (oldest, held, held_amount) = folded.map_or((None, 0, 0), |(no, _)| fold.held_of(*no));
            match folded {
                Some((_, folded)) if fold::totals(&folded.sums) != account.totals => {
                    wrong(format!("its records make it {:?}, a restart would make it {:?}", fold::totals(&folded.sums), account.totals));
                }
                Some((_, folded)) if folded.asset != account.asset.to_string() => wrong(format!("its asset is {}", folded.asset)),
                Some((_, folded))
                    if fold::totals(&folded.sums).balance().and_then(|b| b.checked_add(folded.sums.moved)) != Some(account.hot) =>
                {
                    wrong(format!("its records leave {} drawn, a restart would make {} hot", folded.sums.moved, account.hot));
                }
                Some(_) => {}
                None => wrong("a restart would find it, its records don't say where it comes from".into()),
            }
            if account.totals.balance() != Some(account.balance) {
                wrong(format!("its balance is {}, its sums are {:?}", account.balance, account.totals));
            }
            if held_amount != account.totals.incoming_prepared {
                wrong(format!("{held_amount} are held, its sums say {}", account.totals.incoming_prepared));
            }
            let beside = stored.get(&account.id).copied();
            if compare_stored && beside != Some(account.hot) {
                let beside = beside.map_or("nothing".to_owned(), |balance| balance.to_string());
                wrong(format!("{} of it are hot by the log, {beside} beside it", account.hot));
            }
            if account.hot < 0 {
                wrong(format!("{} of it are hot", account.hot));
            }
            if let Some(stated) = stated.filter(|stated| (stated.totals, stated.hot) != (account.totals, account.hot)) {
                wrong(format!("the log makes it {:?}, the running connector says {:?}", account.totals, stated.totals));
            }
            let row = picture.accounts.iter().find(|(id, _)| *id == account.id).map(|(_, row)| row);
            let slot_no = slot.strip_prefix("slot-").and_then(|no| no.parse::<SlotNo>().ok());
            let last = row.zip(slot_no).and_then(|(row, no)| row.moves.get(&no)).copied();
            let in_transit = worker.in_transit(&account.id, last);
            let moved = account.hot.saturating_sub(account.balance);
            if let Some(total) =
                row.zip(slot_no).map(|_| last.map_or(0, |last| last.total)).filter(|total| *total != moved.saturating_add(in_transit))
            {
                wrong(format!("{moved} of it are drawn here by the log and {in_transit} in transit, the account's row says {total}"));
            }
            accounts.push(AccountAudit {
                id: account.id.clone(),
                asset: account.asset.clone(),
                balance: account.balance,
                cold: row.map_or(0, |row| row.cold),
                hot: account.hot,
                in_transit,
                moved: account.hot.saturating_sub(account.balance),
                totals: account.totals,
                credit_limit: stated.map(|stated| stated.credit_limit),
                stored: beside,
                held,
                oldest_held_since: oldest,
                doubts: account.doubts,
            });
        }
        if compare_stored {
            for (id, balance) in stored.iter().filter(|(id, _)| !recovered.accounts.iter().any(|account| account.id == ***id)) {
                let what = format!("account {id}: a balance of {balance} stands beside the log, which doesn't know it");
                violations.push(Violation { rule: "I2", what });
            }
        }
        for (id, row) in picture.accounts.iter().filter(|(_, row)| row.difference() != 0) {
            let what = format!("account {id}: the cold balance and what all slots have drawn add up to {}, not 0", row.difference());
            violations.push(Violation { rule: "I1", what });
        }
        if let Some(statement) = statement {
            violations.extend(differences(statement, &recovered));
        }
        accounts.sort_by(|a, b| a.id.name().cmp(b.id.name()));
        let assets = assets(&accounts, &recovered);
        for asset in assets.iter().filter(|asset| asset.difference() != 0) {
            let what = format!(
                "{}: balances {} + held {} + own {} − settlements {} = {}, not 0",
                asset.asset,
                asset.balances,
                asset.held,
                asset.own,
                asset.settlements,
                asset.difference()
            );
            violations.push(Violation { rule: "I1", what });
        }
        let length = |blob: &bytes::Bytes| u64::try_from(blob.len()).unwrap_or(u64::MAX);
        let audit = Self {
            slot: slot.to_owned(),
            epoch: picture.slot.epoch,
            seq: picture.slot.last_seq,
            at: fold.last_at.and_then(|at| Timestamp::from_unix_millis(at).ok()),
            log: LogSize {
                batches: u64::try_from(picture.slot.log.len()).unwrap_or(u64::MAX),
                records: fold.records,
                bytes: picture.slot.log.iter().map(length).fold(0, u64::saturating_add),
            },
            accounts,
            assets,
            violations,
        };
        Ok((audit, worker, fold))
    }
}

/// What the running worker has that its log hasn't, or the other way round.
fn differences(statement: &WorkerStatus, recovered: &WorkerStatus) -> Vec<Violation> {
    let mut violations = Vec::new();
    // An account with which a slot has had nothing to do is in its configuration only.
    let booked = |account: &&AccountStatus| account.totals != Totals::default() || account.hot != 0;
    for account in statement.accounts.iter().filter(booked).filter(|account| !recovered.accounts.iter().any(|other| other.id == account.id))
    {
        violations.push(Violation { rule: "I2", what: format!("account {}: the running connector has it, its log doesn't", account.id) });
    }
    for (asset, own) in &statement.own {
        let logged = recovered.own.iter().find(|(other, _)| other == asset).map_or(0, |(_, own)| *own);
        if logged != *own {
            let what = format!("the connector's own account in {asset} is {own}, its log makes it {logged}");
            violations.push(Violation { rule: "I2", what });
        }
    }
    violations
}

fn assets(accounts: &[AccountAudit], recovered: &WorkerStatus) -> Vec<AssetAudit> {
    let closed = |asset: &Asset| recovered.closed_settlements.iter().find(|(other, _)| other == asset).map(|(_, settled)| *settled);
    let of = |(asset, own): &(Asset, i128)| {
        let mine = || accounts.iter().filter(|account| account.asset == *asset);
        AssetAudit {
            asset: asset.clone(),
            balances: mine().map(|account| account.balance).fold(0, i128::saturating_add),
            held: mine().map(|account| account.totals.incoming_prepared).fold(0, i128::saturating_add),
            own: *own,
            settlements: mine().map(|account| account.totals.settlements).chain(closed(asset)).fold(0, i128::saturating_add),
            closed_moves: recovered
                .closed_moves
                .iter()
                .filter(|(other, _)| other == asset)
                .map(|(_, moved)| *moved)
                .fold(0, i128::saturating_add),
        }
    };
    recovered.own.iter().map(of).collect()
}

/// The log as a restart would take it, and added up.
fn read(slot: &str, opened: &OpenedSlot, wanted: Option<AccountId>) -> Result<(Worker, Fold), AuditError> {
    let failed = |source| AuditError::Open { slot: slot.to_owned(), source };
    let mut fold = Fold::new(wanted);
    let first = opened.last_seq.saturating_sub(u64::try_from(opened.log.len()).unwrap_or(u64::MAX)).saturating_add(1);
    for (batch, blob) in opened.log.iter().enumerate() {
        let seq = first.saturating_add(u64::try_from(batch).unwrap_or(u64::MAX));
        fold.batch(seq, blob).map_err(|error| failed(OpenError::Log { batch, source: error.into() }))?;
    }
    // Whose address it is doesn't matter: nothing is sent from here.
    let address: Address = "private.audit".parse().map_err(|_| AuditError::NoSlot(slot.to_owned()))?;
    let config = WorkerConfig {
        address,
        slot: 0,
        deployment: vec![0],
        limits: Limits::default(),
        timing: Timing::default(),
        rates: Vec::new(),
        seed: [0; 32],
        events: false,
    };
    let now = fold.last_at.and_then(|at| Timestamp::from_unix_millis(at).ok()).unwrap_or(Timestamp::MIN);
    let worker = Worker::open(config, opened, now).map_err(failed)?;
    Ok((worker, fold))
}

/// What one batch of a log has in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSummary {
    /// When it began, by the connector's clock.
    pub at: Option<Timestamp>,
    /// Events before it.
    pub events_before: u64,
    /// All its records.
    pub records: u64,
    /// Transfers that are held from it on.
    pub prepared: u64,
    /// Transfers that it ends.
    pub decided: u64,
    /// Whether a part of a snapshot rides along.
    pub snapshot: bool,
}

impl BatchSummary {
    /// Of a batch's blob, as a store has it.
    pub fn of(blob: &[u8]) -> Result<Self, CorruptRecord> {
        let mut summary = Self::default();
        for record in Record::decode_all(blob) {
            summary.records = summary.records.saturating_add(1);
            match record? {
                Record::BatchBegun { at, events } => {
                    summary.at = Timestamp::from_unix_millis(at).ok();
                    summary.events_before = events;
                }
                Record::Prepared(_) => summary.prepared = summary.prepared.saturating_add(1),
                Record::Fulfilled { .. } | Record::Rejected { .. } => summary.decided = summary.decided.saturating_add(1),
                Record::SnapshotBegun { .. }
                | Record::SnapshotEnded
                | Record::Account(_)
                | Record::Own { .. }
                | Record::SettlementKnown { .. }
                | Record::Transfer(_) => summary.snapshot = true,
                _ => {}
            }
        }
        Ok(summary)
    }
}
