//! What a worker can be asked: the books and the counters.

use super::Worker;
use crate::account::{AccountId, Asset};
use crate::link::Claim;
use ilp_oer::Address;

/// Counted since the worker was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transfers held.
    pub accepted: u64,
    /// Requests refused at once.
    pub refused: u64,
    /// Held transfers that were fulfilled.
    pub fulfilled: u64,
    /// Held transfers that were rejected or timed out.
    pub rejected: u64,
    /// Fulfills that a sender refused although it had them in time: it stays charged.
    pub disputed: u64,
    /// Fulfills that a sender never answered: it stays charged.
    pub unconfirmed: u64,
    /// Fulfills that came too late for the sender: the connector's own account took the loss.
    pub lost: u64,
}

/// The books and counters of a worker at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// The connector's address.
    pub address: Address,
    /// In the order in which they were added.
    pub accounts: Vec<AccountStatus>,
    /// The connector's own account in each asset.
    pub own: Vec<(Asset, i128)>,
    /// Since the worker was opened.
    pub counters: Counters,
    /// Transfers held or with an answer owed.
    pub in_flight: usize,
    /// Transfers in flight or remembered.
    pub remembered: usize,
}

/// An account at one instant. Amounts are in its base unit; incoming and outgoing are seen from the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountStatus {
    /// Name and parallelism.
    pub id: AccountId,
    /// What its peer is known as.
    pub address: Address,
    /// What its amounts are in.
    pub asset: Asset,
    /// What the connector owes the holder.
    pub balance: i128,
    /// How far below zero that may go.
    pub credit_limit: i128,
    /// A connection is there and authenticated.
    pub connected: bool,
    /// Transfers it sent that are held or whose answer it is owed.
    pub in_flight: u32,
    /// What its peer states about ledger accounts; of no effect.
    pub claims: Vec<Claim>,
    /// What the balance is made of.
    pub totals: Totals,
}

/// The sums that make a balance: `outgoing_fulfilled + outgoing_unconditional − incoming_fulfilled − incoming_unconditional −
/// incoming_prepared + settlements`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Held now: taken from the balance, neither spent nor given back yet.
    pub incoming_prepared: i128,
    /// Spent.
    pub incoming_fulfilled: i128,
    /// Paid to the connector without a condition.
    pub incoming_unconditional: i128,
    /// Earned.
    pub outgoing_fulfilled: i128,
    /// Paid by the connector without a condition.
    pub outgoing_unconditional: i128,
    /// Settled elsewhere.
    pub settlements: i128,
}

impl Totals {
    /// The balance they make; `None` beyond i128.
    pub fn balance(&self) -> Option<i128> {
        self.outgoing_fulfilled
            .checked_add(self.outgoing_unconditional)?
            .checked_sub(self.incoming_fulfilled)?
            .checked_sub(self.incoming_unconditional)?
            .checked_sub(self.incoming_prepared)?
            .checked_add(self.settlements)
    }
}

impl WorkerStatus {
    /// What conservation (I1) says is zero: balances + held + own, summed over the accounts of an asset.
    pub fn conservation(&self, asset: &Asset) -> i128 {
        let accounts = self.accounts.iter().filter(|account| account.asset == *asset);
        let held_and_owed = accounts.map(|a| a.balance.saturating_add(a.totals.incoming_prepared).saturating_sub(a.totals.settlements));
        let own = self.own.iter().filter(|(of, _)| of == asset).map(|(_, own)| *own);
        held_and_owed.chain(own).fold(0, i128::saturating_add)
    }
}

impl Worker {
    /// The books as they stand, including what isn't durable yet.
    pub fn status(&self) -> WorkerStatus {
        let accounts = self.accounts.iter().flatten().filter_map(|account| {
            let sums = &account.sums;
            Some(AccountStatus {
                id: account.id.clone(),
                address: account.address.clone(),
                asset: self.asset(account.asset)?.clone(),
                balance: account.balance,
                credit_limit: account.credit_limit,
                connected: account.connection.is_some(),
                in_flight: account.incoming.count,
                claims: account.claims.clone(),
                totals: Totals {
                    incoming_prepared: sums.incoming_prepared,
                    incoming_fulfilled: sums.incoming_fulfilled,
                    incoming_unconditional: sums.incoming_unconditional,
                    outgoing_fulfilled: sums.outgoing_fulfilled,
                    outgoing_unconditional: sums.outgoing_unconditional,
                    settlements: sums.settlements,
                },
            })
        });
        WorkerStatus {
            address: self.config.address.clone(),
            accounts: accounts.collect(),
            own: self.assets.iter().map(|book| (book.asset.clone(), book.own)).collect(),
            counters: self.counters,
            in_flight: self.active.len(),
            remembered: self.transfers.len(),
        }
    }
}
