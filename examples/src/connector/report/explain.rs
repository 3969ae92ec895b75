//! One account in full: what its balance is made of, and its last transfers.

use super::asset;
use crate::connector::admin::protocol::{text, text_or_null};
use crate::show::{Table, units};
use ilp_core::AccountId;
use ilp_core::audit::{AccountAudit, LastTransfer};
use ilp_core::worker::TransferState;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One account in full. Amounts are in base units, as texts of digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The account's name.
    pub name: String,
    /// What its amounts are in, such as `XRP/6`.
    pub asset: String,
    /// Earned.
    #[serde(with = "text")]
    pub outgoing_fulfilled: i128,
    /// Paid by the connector without a condition.
    #[serde(with = "text")]
    pub outgoing_unconditional: i128,
    /// Spent.
    #[serde(with = "text")]
    pub incoming_fulfilled: i128,
    /// Paid to the connector without a condition.
    #[serde(with = "text")]
    pub incoming_unconditional: i128,
    /// Held.
    #[serde(with = "text")]
    pub incoming_prepared: i128,
    /// Settled elsewhere.
    #[serde(with = "text")]
    pub settlements: i128,
    /// What they add up to.
    #[serde(with = "text")]
    pub balance: i128,
    /// What stands beside the log.
    #[serde(with = "text_or_null")]
    pub stored: Option<i128>,
    /// The last transfers that the log has, the newest first.
    pub transfers: Vec<TransferReport>,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReport {
    /// When it was held.
    pub at: Option<String>,
    /// The account's holder sent it; otherwise it was sent to the holder.
    pub incoming: bool,
    /// Its id between the connector and the account's holder.
    pub id: String,
    /// Who is on the other side; null for the connector itself.
    pub other: Option<String>,
    /// In the account's base units.
    #[serde(with = "text")]
    pub amount: i128,
    /// Its expiry towards the account's holder.
    pub expires_at: String,
    /// What has become of it.
    pub state: String,
}

impl Explanation {
    /// Of an account and its last transfers.
    pub fn new(account: &AccountAudit, last: &[LastTransfer]) -> Self {
        let totals = &account.totals;
        Self {
            name: account.id.name().to_owned(),
            asset: account.asset.to_string(),
            outgoing_fulfilled: totals.outgoing_fulfilled,
            outgoing_unconditional: totals.outgoing_unconditional,
            incoming_fulfilled: totals.incoming_fulfilled,
            incoming_unconditional: totals.incoming_unconditional,
            incoming_prepared: totals.incoming_prepared,
            settlements: totals.settlements,
            balance: account.balance,
            stored: account.stored,
            transfers: last.iter().map(|last| TransferReport::new(&account.id, last)).collect(),
        }
    }
}

impl TransferReport {
    fn new(account: &AccountId, last: &LastTransfer) -> Self {
        let transfer = &last.transfer;
        let incoming = transfer.from.as_ref() == Some(account);
        let (id, other, amount, expires_at) = if incoming {
            (transfer.incoming_id, &transfer.to, transfer.incoming_amount, transfer.incoming_expires_at)
        } else {
            (transfer.id, &transfer.from, transfer.outgoing_amount, transfer.expires_at)
        };
        let state = match transfer.state {
            TransferState::Held => "held",
            TransferState::FulfillOwed => "fulfilled, not acknowledged",
            TransferState::RejectOwed => "rejected, not acknowledged",
            TransferState::Fulfilled => "fulfilled",
            TransferState::Rejected => "rejected",
            TransferState::Charged => "charged",
        };
        Self {
            at: last.at.map(|at| at.to_string()),
            incoming,
            id: id.to_string(),
            other: other.as_ref().map(|other| other.name().to_owned()),
            amount: i128::from(amount.get()),
            expires_at: expires_at.to_string(),
            state: state.into(),
        }
    }
}

/// For people.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asset = asset(&self.asset);
        let mut sums = Table::new(["what account", ""]);
        let mut sum = |name: &str, amount: i128, signed| sums.row([name.into(), units(amount, &asset, signed)]);
        let less = i128::saturating_neg;
        sum("outgoing, fulfilled: what it earned", self.outgoing_fulfilled, true);
        sum("outgoing, unconditional", self.outgoing_unconditional, true);
        sum("incoming, fulfilled: what it spent", less(self.incoming_fulfilled), true);
        sum("incoming, unconditional", less(self.incoming_unconditional), true);
        sum("incoming, held for undecided payments", less(self.incoming_prepared), true);
        sum("settled elsewhere", self.settlements, true);
        sum("balance, what they add up to", self.balance, false);
        match self.stored {
            Some(stored) => sum("balance that stands beside the log", stored, false),
            None => sums.row(["balance that stands beside the log".into(), "none".into()]),
        }
        writeln!(f, "account {}, in {}\n", self.name, self.asset)?;
        // The head is the line above.
        for line in sums.to_string().lines().skip(1) {
            writeln!(f, "{line}")?;
        }
        if self.transfers.is_empty() {
            return writeln!(f, "\nthe log has no transfers of it");
        }
        let mut table = Table::new(["last transfers", "", "amount", "other side", "state", "expires at", "id"]);
        for transfer in &self.transfers {
            table.row([
                transfer.at.clone().unwrap_or_else(|| "-".into()),
                if transfer.incoming { "in" } else { "out" }.into(),
                units(transfer.amount, &asset, false),
                transfer.other.clone().unwrap_or_else(|| "the connector itself".into()),
                transfer.state.clone(),
                transfer.expires_at.clone(),
                transfer.id.clone(),
            ]);
        }
        write!(f, "\n{table}")
    }
}
