//! Where balances and transfers are, to be shown.

use super::asset;
use crate::connector::admin::protocol::text;
use crate::show::{Table, units};
use ilp_core::audit::{AccountAudit, Audit, AuditError};
use ilp_core::store::{SlotName, SlotPicture};
use ilp_core::worker::TransferState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// So many transfers of a slot are listed.
const TRANSFERS_MAX: usize = 10_000;

/// Where each balance lies. Amounts are in base units, as texts of digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancesReport {
    /// Every account.
    pub accounts: Vec<PlacesReport>,
}

/// Where an account's balance lies: cold + hot + in transit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacesReport {
    /// Its name.
    pub name: String,
    /// Its parallelism.
    pub parallelism: u8,
    /// What its amounts are in, such as `XRP/6`.
    pub asset: String,
    /// What the connector owes its holder.
    #[serde(with = "text")]
    pub balance: i128,
    /// What no slot holds.
    #[serde(with = "text")]
    pub cold: i128,
    /// On its way between cold and hot.
    #[serde(with = "text")]
    pub in_transit: i128,
    /// What each slot may spend.
    pub hot: Vec<HotReport>,
    /// The slots that serve it, the first is its home.
    pub slots: Vec<String>,
}

/// What a slot may spend of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotReport {
    /// Which.
    pub slot: String,
    /// How much.
    #[serde(with = "text")]
    pub amount: i128,
}

/// The transfers that are in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotSetReport {
    /// Those that expire first of each slot first.
    pub transfers: Vec<OwnedReport>,
}

/// A transfer and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedReport {
    /// The slot that owns it.
    pub owner: String,
    /// Ours, on the outgoing side.
    pub id: String,
    /// The sender's.
    pub incoming_id: String,
    /// The sender; null for a payment of the connector's own.
    pub from: Option<String>,
    /// The next hop; null for a payment to the connector itself.
    pub to: Option<String>,
    /// In the sender's base units.
    pub amount: String,
    /// Of the incoming transfer.
    pub expires_at: String,
    /// `held`, or the answer that the sender hasn't acknowledged: `fulfill owed`, `reject owed`.
    pub state: String,
}

/// An account of which several slots have parts.
pub(crate) fn together<'a>(parts: impl Iterator<Item = &'a AccountAudit>) -> Option<AccountAudit> {
    parts.fold(None, |sum: Option<AccountAudit>, part| {
        let Some(mut sum) = sum else { return Some(part.clone()) };
        let add = |into: &mut i128, amount: i128| *into = into.saturating_add(amount);
        for (into, amount) in [
            (&mut sum.balance, part.balance),
            (&mut sum.hot, part.hot),
            (&mut sum.in_transit, part.in_transit),
            (&mut sum.moved, part.moved),
            (&mut sum.totals.incoming_prepared, part.totals.incoming_prepared),
            (&mut sum.totals.incoming_fulfilled, part.totals.incoming_fulfilled),
            (&mut sum.totals.incoming_unconditional, part.totals.incoming_unconditional),
            (&mut sum.totals.outgoing_fulfilled, part.totals.outgoing_fulfilled),
            (&mut sum.totals.outgoing_unconditional, part.totals.outgoing_unconditional),
            (&mut sum.totals.settlements, part.totals.settlements),
            (&mut sum.doubts.disputed.amount, part.doubts.disputed.amount),
            (&mut sum.doubts.unconfirmed.amount, part.doubts.unconfirmed.amount),
            (&mut sum.doubts.lost.amount, part.doubts.lost.amount),
        ] {
            add(into, amount);
        }
        for (into, count) in [
            (&mut sum.held, part.held),
            (&mut sum.doubts.disputed.count, part.doubts.disputed.count),
            (&mut sum.doubts.unconfirmed.count, part.doubts.unconfirmed.count),
            (&mut sum.doubts.lost.count, part.doubts.lost.count),
        ] {
            *into = into.saturating_add(count);
        }
        sum.stored = match (sum.stored, part.stored) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        sum.credit_limit = sum.credit_limit.or(part.credit_limit);
        sum.oldest_held_since = sum.oldest_held_since.into_iter().chain(part.oldest_held_since).min();
        Some(sum)
    })
}

impl BalancesReport {
    /// From pictures of all slots. Takes as long as their logs are long.
    pub fn of(pictures: Vec<(SlotName, SlotPicture)>) -> Result<Self, AuditError> {
        // The newest picture has the newest rows.
        let rows = pictures.last().map(|(_, picture)| picture.accounts.clone()).unwrap_or_default();
        let mut parts: BTreeMap<_, (Vec<AccountAudit>, Vec<HotReport>)> = BTreeMap::new();
        for (slot, picture) in pictures {
            for account in Audit::of_slot(&slot, picture)?.accounts {
                let (of_account, hot) = parts.entry(account.id.clone()).or_default();
                if account.hot != 0 {
                    hot.push(HotReport { slot: slot.to_string(), amount: account.hot });
                }
                of_account.push(account);
            }
        }
        let accounts = parts.into_iter().filter_map(|(id, (parts, hot))| {
            let sum = together(parts.iter())?;
            let row = rows.iter().find(|(other, _)| *other == id).map(|(_, row)| row);
            Some(PlacesReport {
                name: id.name().to_owned(),
                parallelism: id.parallelism(),
                asset: sum.asset.to_string(),
                balance: sum.balance,
                cold: row.map_or(0, |row| row.cold),
                in_transit: sum.in_transit,
                hot,
                slots: row.map(|row| row.slots.iter().map(|slot| format!("slot-{slot}")).collect()).unwrap_or_default(),
            })
        });
        Ok(Self { accounts: accounts.collect() })
    }
}

impl HotSetReport {
    /// From pictures of all slots. Takes as long as their logs are long.
    pub fn of(pictures: &[(SlotName, SlotPicture)]) -> Result<Self, AuditError> {
        let mut transfers = Vec::new();
        for (slot, picture) in pictures {
            for transfer in Audit::hot_set(slot, picture, TRANSFERS_MAX)? {
                transfers.push(OwnedReport {
                    owner: slot.to_string(),
                    id: hex::encode(transfer.id.as_bytes()),
                    incoming_id: hex::encode(transfer.incoming_id.as_bytes()),
                    from: transfer.from.map(|id| id.name().to_owned()),
                    to: transfer.to.map(|id| id.name().to_owned()),
                    amount: transfer.incoming_amount.get().to_string(),
                    expires_at: transfer.incoming_expires_at.to_string(),
                    state: match transfer.state {
                        TransferState::FulfillOwed => "fulfill owed",
                        TransferState::RejectOwed => "reject owed",
                        _ => "held",
                    }
                    .to_owned(),
                });
            }
        }
        Ok(Self { transfers })
    }
}

impl fmt::Display for BalancesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["account", "balance", "cold", "in transit", "hot", "", "served by"]);
        for account in &self.accounts {
            let of = asset(&account.asset);
            let plain = |amount| units(amount, &of, false);
            let name = match account.parallelism {
                1 => account.name.clone(),
                p => format!("{} (parallelism {p})", account.name),
            };
            let first = account.hot.first();
            let hot = |hot: Option<&HotReport>| {
                hot.map_or_else(|| (plain(0), String::new()), |hot| (plain(hot.amount), format!("at {}", hot.slot)))
            };
            let (amount, place) = hot(first);
            table.row([
                name,
                plain(account.balance),
                plain(account.cold),
                plain(account.in_transit),
                amount,
                place,
                account.slots.join(", "),
            ]);
            for more in account.hot.iter().skip(1) {
                let (amount, place) = hot(Some(more));
                table.row([String::new(), String::new(), String::new(), String::new(), amount, place, String::new()]);
            }
        }
        write!(f, "{table}")
    }
}

impl fmt::Display for HotSetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transfers.is_empty() {
            return writeln!(f, "nothing is in flight");
        }
        let mut table = Table::new(["owner", "id", "from", "to", "amount", "expires", "state"]);
        for transfer in &self.transfers {
            let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
            let OwnedReport { owner, id, from, to, amount, expires_at, state, .. } = transfer;
            table.row([owner.clone(), id.clone(), name(from), name(to), amount.clone(), expires_at.clone(), state.clone()]);
        }
        write!(f, "{table}")
    }
}
