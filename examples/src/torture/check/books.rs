//! The store's books, as somebody finds them who opens the store when the connector is gone.

use ilp_core::audit::{Audit, AuditError};
use ilp_core::store::{SlotName, SlotPicture};
use std::collections::BTreeMap;

/// What the store says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Books {
    pub(super) accounts: BTreeMap<String, Account>,
    /// The connector's own account.
    pub(super) own: i128,
    /// What is wrong between the log and itself, or what stands beside it.
    pub(super) violations: Vec<String>,
}

/// An account, in base units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) balance: i128,
    pub(super) held: i128,
    pub(super) doubts: Doubts,
}

/// Payments about which its holder and the connector may be of different minds, as the store lists them: how many, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    pub(super) disputed: (u64, i128),
    pub(super) unconfirmed: (u64, i128),
    /// The connector's own account has paid.
    pub(super) borne: (u64, i128),
}

impl Books {
    /// From a store that was opened for it. What stands beside the log is compared with it by the audit.
    pub(in super::super) fn of(slots: Vec<(SlotName, SlotPicture)>) -> Result<Self, AuditError> {
        let mut books = Self::default();
        let rows = slots.first().map(|(_, picture)| picture.accounts.clone()).unwrap_or_default();
        // Cold, hot and in transit, which must be the balances.
        let mut places: BTreeMap<_, i128> = rows.iter().map(|(id, row)| (id.name().to_owned(), row.cold)).collect();
        for (slot, picture) in slots {
            let audit = Audit::of_slot(&slot, picture)?;
            for logged in &audit.accounts {
                let name = logged.id.name().to_owned();
                let place = places.entry(name.clone()).or_default();
                *place = place.saturating_add(logged.hot).saturating_add(logged.in_transit);
                let account = books.accounts.entry(name).or_default();
                account.balance = account.balance.saturating_add(logged.balance);
                account.held = account.held.saturating_add(logged.totals.incoming_prepared);
                let Doubts { disputed, unconfirmed, borne } = &mut account.doubts;
                let of = logged.doubts;
                for (into, tally) in [(disputed, of.disputed), (unconfirmed, of.unconfirmed), (borne, of.lost)] {
                    *into = (into.0.saturating_add(tally.count), into.1.saturating_add(tally.amount));
                }
            }
            books.own = audit.assets.iter().fold(books.own, |sum, asset| sum.saturating_add(asset.own));
            let violations = audit.violations.iter();
            books.violations.extend(violations.map(|violation| format!("{slot}: {}: {}", violation.rule, violation.what)));
        }
        for (name, account) in &books.accounts {
            let place = places.get(name).copied().unwrap_or_default();
            if place != account.balance {
                books.violations.push(format!("account {name}: cold, hot and in transit are {place}, the balance is {}", account.balance));
            }
        }
        Ok(books)
    }

    pub(super) fn account(&self, name: &str) -> Account {
        self.accounts.get(name).copied().unwrap_or_default()
    }

    /// What is wrong with the books whatever the peers say: units held when nothing is under way, and units that don't add up.
    pub(super) fn check_themselves(&self, complaints: &mut Vec<String>) -> Faults {
        let mut faults = Faults::default();
        complaints.extend(self.violations.iter().cloned());
        for (name, account) in self.accounts.iter().filter(|(_, account)| account.held != 0) {
            complaints.push(format!("account {name}: {} is still held", account.held));
            faults.held = faults.held.saturating_add(account.held.saturating_abs());
        }
        let balances = self.accounts.values().fold(0_i128, |sum, account| sum.saturating_add(account.balance).saturating_add(account.held));
        let borne = self.accounts.values().fold(0_i128, |sum, account| sum.saturating_add(account.doubts.borne.1));
        let own = self.own;
        let away = balances.saturating_add(own);
        if away != 0 {
            complaints.push(format!("the balances add up to {balances}, the connector's own account has {own}: {away} too much"));
        }
        let off = own.saturating_add(borne);
        if off != 0 {
            complaints.push(format!("the connector's own account has {own}; by its list it has borne {borne}"));
        }
        faults.away = away.saturating_abs().max(off.saturating_abs());
        faults
    }
}

/// Units that are wrong in the books by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Taken from somebody, and given to nobody.
    pub(super) held: i128,
    /// From nowhere, or gone there.
    pub(super) away: i128,
}
