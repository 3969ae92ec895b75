//! An audit, to be shown.

use super::explain::Explanation;
use super::{asset, units_or_dash};
use crate::connector::admin::protocol::{text, text_or_null};
use crate::show::{self, Table, units};
use ilp_core::audit::{AccountAudit, AssetAudit, Audit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An audit. Amounts are in base units, as texts of digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Nothing is wrong.
    pub right: bool,
    /// Which slot.
    pub slot: String,
    /// How often it was opened.
    pub epoch: u64,
    /// The last batch that was looked at.
    pub seq: u64,
    /// When that began.
    pub at: Option<String>,
    /// Batches read.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Every account.
    pub accounts: Vec<AccountReport>,
    /// Every asset.
    pub assets: Vec<AssetReport>,
    /// What is wrong, each with the rule that it breaks in front: `I1` (nothing comes from nowhere) or `I2` (every balance is what its
    /// records make it).
    pub violations: Vec<String>,
    /// An account in full, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<Explanation>,
}

/// An account's books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Its name.
    pub name: String,
    /// Its parallelism.
    pub parallelism: u8,
    /// What its amounts are in, such as `XRP/6`.
    pub asset: String,
    /// What the connector owes its holder.
    #[serde(with = "text")]
    pub balance: i128,
    /// The part of it that no slot holds.
    #[serde(with = "text")]
    pub cold: i128,
    /// The part that a slot may spend.
    #[serde(with = "text")]
    pub hot: i128,
    /// On its way between the two.
    #[serde(with = "text")]
    pub in_transit: i128,
    /// Taken from it for payments that are undecided.
    #[serde(with = "text")]
    pub held: i128,
    /// How many those are.
    pub held_count: u64,
    /// Since when the oldest of them is held.
    pub oldest_held_since: Option<String>,
    /// How far the balance may go below zero; null if it isn't known, because no connector runs.
    #[serde(with = "text_or_null")]
    pub credit_limit: Option<i128>,
    /// What its holder can still spend; null if the credit limit isn't known.
    #[serde(with = "text_or_null")]
    pub available: Option<i128>,
    /// Fulfills that its holder refused although it had them in time; charged.
    #[serde(with = "text")]
    pub disputed: i128,
    /// Fulfills that its holder never answered; charged.
    #[serde(with = "text")]
    pub unconfirmed: i128,
    /// Fulfills that came too late for its holder; not charged.
    #[serde(with = "text")]
    pub lost: i128,
    /// The balance that stands beside the log.
    #[serde(with = "text_or_null")]
    pub stored: Option<i128>,
}

/// An asset's books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetReport {
    /// Such as `XRP/6`.
    pub asset: String,
    /// Σ balances.
    #[serde(with = "text")]
    pub balances: i128,
    /// Σ holds.
    #[serde(with = "text")]
    pub held: i128,
    /// The connector's own.
    #[serde(with = "text")]
    pub own: i128,
    /// Σ settlements.
    #[serde(with = "text")]
    pub settlements: i128,
    /// Balances + held + own − settlements, which is to be zero.
    #[serde(with = "text")]
    pub difference: i128,
}

impl From<&Audit> for AuditReport {
    fn from(audit: &Audit) -> Self {
        Self {
            right: audit.is_right(),
            slot: audit.slot.clone(),
            epoch: audit.epoch,
            seq: audit.seq,
            at: audit.at.map(|at| at.to_string()),
            batches: audit.log.batches,
            records: audit.log.records,
            bytes: audit.log.bytes,
            accounts: audit.accounts.iter().map(AccountReport::from).collect(),
            assets: audit.assets.iter().map(AssetReport::from).collect(),
            violations: audit.violations.iter().map(|violation| format!("{}: {}", violation.rule, violation.what)).collect(),
            account: None,
        }
    }
}

impl AuditReport {
    /// What the reports of several slots come to together; `None` of none.
    pub(crate) fn merge(reports: Vec<Self>) -> Option<Self> {
        let several = reports.len() > 1;
        let mut reports = reports.into_iter();
        let mut sum = reports.next()?;
        if several {
            sum.violations = sum.violations.iter().map(|what| format!("{}: {what}", sum.slot)).collect();
        }
        for report in reports {
            sum.right &= report.right;
            sum.violations.extend(report.violations.iter().map(|what| format!("{}: {what}", report.slot)));
            sum.slot = format!("{}, {}", sum.slot, report.slot);
            sum.epoch = sum.epoch.max(report.epoch);
            sum.seq = sum.seq.saturating_add(report.seq);
            sum.at = sum.at.max(report.at);
            for (into, count) in [(&mut sum.batches, report.batches), (&mut sum.records, report.records), (&mut sum.bytes, report.bytes)] {
                *into = into.saturating_add(count);
            }
            for account in report.accounts {
                match sum.accounts.iter_mut().find(|other| (&other.name, other.parallelism) == (&account.name, account.parallelism)) {
                    Some(into) => into.add(&account),
                    None => sum.accounts.push(account),
                }
            }
            for asset in report.assets {
                match sum.assets.iter_mut().find(|other| other.asset == asset.asset) {
                    Some(into) => into.add(&asset),
                    None => sum.assets.push(asset),
                }
            }
        }
        sum.accounts.sort_by(|a, b| a.name.cmp(&b.name));
        Some(sum)
    }
}

impl AccountReport {
    fn add(&mut self, other: &Self) {
        for (into, amount) in [
            (&mut self.balance, other.balance),
            (&mut self.hot, other.hot),
            (&mut self.in_transit, other.in_transit),
            (&mut self.held, other.held),
            (&mut self.disputed, other.disputed),
            (&mut self.unconfirmed, other.unconfirmed),
            (&mut self.lost, other.lost),
        ] {
            *into = into.saturating_add(amount);
        }
        self.held_count = self.held_count.saturating_add(other.held_count);
        self.oldest_held_since = self.oldest_held_since.take().into_iter().chain(other.oldest_held_since.clone()).min();
        // The limit is the account's, not a slot's.
        self.credit_limit = self.credit_limit.or(other.credit_limit);
        self.available = self.credit_limit.map(|limit| self.balance.saturating_add(limit).max(0));
        self.stored = match (self.stored, other.stored) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
    }
}

impl AssetReport {
    fn add(&mut self, other: &Self) {
        for (into, amount) in [
            (&mut self.balances, other.balances),
            (&mut self.held, other.held),
            (&mut self.own, other.own),
            (&mut self.settlements, other.settlements),
            (&mut self.difference, other.difference),
        ] {
            *into = into.saturating_add(amount);
        }
    }
}

impl From<&AccountAudit> for AccountReport {
    fn from(account: &AccountAudit) -> Self {
        Self {
            name: account.id.name().to_owned(),
            parallelism: account.id.parallelism(),
            asset: account.asset.to_string(),
            balance: account.balance,
            cold: account.cold,
            hot: account.hot,
            in_transit: account.in_transit,
            held: account.totals.incoming_prepared,
            held_count: account.held,
            oldest_held_since: account.oldest_held_since.map(|since| since.to_string()),
            credit_limit: account.credit_limit,
            available: account.available(),
            disputed: account.doubts.disputed.amount,
            unconfirmed: account.doubts.unconfirmed.amount,
            lost: account.doubts.lost.amount,
            stored: account.stored,
        }
    }
}

impl From<&AssetAudit> for AssetReport {
    fn from(of: &AssetAudit) -> Self {
        Self {
            asset: of.asset.to_string(),
            balances: of.balances,
            held: of.held,
            own: of.own,
            settlements: of.settlements,
            difference: of.difference(),
        }
    }
}

/// For people: tables, the account that was asked for, and the verdict last.
impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_ref().map_or_else(String::new, |at| format!(" of {at}"));
        writeln!(f, "{}: epoch {}, up to batch {}{at}", self.slot, show::count(self.epoch), show::count(self.seq))?;
        let (batches, records) = (show::count(self.batches), show::count(self.records));
        writeln!(f, "log read: {batches} batches, {records} records, {}\n", show::bytes(self.bytes))?;
        let head = ["account", "balance", "cold", "hot", "in transit", "held", "available", "disputed", "unconfirmed", "oldest in flight"];
        let mut table = Table::new(head);
        for account in &self.accounts {
            let asset = asset(&account.asset);
            let plain = |amount| units(amount, &asset, false);
            table.row([
                account.name.clone(),
                plain(account.balance),
                plain(account.cold),
                plain(account.hot),
                plain(account.in_transit),
                plain(account.held),
                units_or_dash(account.available, &asset),
                plain(account.disputed),
                plain(account.unconfirmed),
                account.oldest_held_since.clone().unwrap_or_else(|| "-".into()),
            ]);
        }
        let mut assets = Table::new(["asset", "balances", "held", "own", "settlements", "difference"]);
        for of in &self.assets {
            let asset = asset(&of.asset);
            let plain = |amount| units(amount, &asset, false);
            let [balances, held, own, settled, difference] = [of.balances, of.held, of.own, of.settlements, of.difference].map(plain);
            assets.row([of.asset.clone(), balances, held, own, settled, difference]);
        }
        writeln!(f, "{table}\n{assets}")?;
        if let Some(account) = &self.account {
            writeln!(f, "{account}")?;
        }
        for violation in &self.violations {
            writeln!(f, "  WRONG  {violation}")?;
        }
        if self.right {
            return writeln!(f, "the books are right");
        }
        writeln!(
            f,
            "\nTHE BOOKS ARE NOT RIGHT: keep a copy of them as they are, and of the log of the connector, and find out why before you go on"
        )
    }
}
