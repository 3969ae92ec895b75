//! What a worker can be asked: the books and the counters.

use super::{Outcome, Transfer, Worker};
use crate::account::{AccountId, Asset};
use crate::link::Claim;
use crate::record::Leg;
use crate::store::SlotNo;
use ilp_oer::{Address, Amount, Timestamp, TransferId};

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
    /// Moves between cold and hot balances that were begun.
    pub moves: u64,
    /// Payments that waited for one.
    pub parked: u64,
}

/// A number of transfers, and what they add up to at an account, in its base unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their amounts at the account.
    pub amount: i128,
}

impl Tally {
    pub(crate) fn add(&mut self, amount: u64) {
        self.count = self.count.saturating_add(1);
        self.amount = self.amount.saturating_add(amount.into());
    }
}

/// Transfers of an account about which its holder and the connector may be of different minds, since the account was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts {
    /// The holder refused a fulfill that it had in time: it stays charged.
    pub disputed: Tally,
    /// The holder never answered a fulfill: it stays charged.
    pub unconfirmed: Tally,
    /// A fulfill came too late for the holder: it has its money back, and the connector's own account took the loss.
    pub lost: Tally,
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
    /// What accounts that are closed had settled, in each asset.
    pub closed_settlements: Vec<(Asset, i128)>,
    /// What accounts that are closed had drawn at this slot less what they had given back, in each asset.
    pub closed_moves: Vec<(Asset, i128)>,
    /// Since the worker was opened.
    pub counters: Counters,
    /// Transfers held or with an answer owed.
    pub in_flight: usize,
    /// Transfers in flight or remembered.
    pub remembered: usize,
    /// The number of the last batch that the books have in them.
    pub seq: u64,
    /// Events that the embedder hasn't acknowledged; 0 if it takes none.
    pub events_unacknowledged: u64,
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
    /// What the connector owes the holder, as far as it came about at this worker's slot: the parts of all slots add up to the balance.
    pub balance: i128,
    /// What the slot may spend of the balance without asking anybody: its part, and what it has drawn.
    pub hot: i128,
    /// The part of the balance that no slot has, as the store said last.
    pub cold: i128,
    /// How far below zero the balance may go.
    pub credit_limit: i128,
    /// The slots that serve the account; the first is its home.
    pub slots: Vec<SlotNo>,
    /// A connection is there and authenticated.
    pub connected: bool,
    /// Transfers it sent that are held or whose answer it is owed.
    pub in_flight: u32,
    /// What its peer states about ledger accounts; of no effect.
    pub claims: Vec<Claim>,
    /// What the balance is made of.
    pub totals: Totals,
    /// What its holder may see differently.
    pub doubts: Doubts,
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
    /// Of nobody: a connector that has no slot just now.
    pub(crate) fn empty(address: Address) -> Self {
        Self {
            address,
            accounts: Vec::new(),
            own: Vec::new(),
            closed_settlements: Vec::new(),
            closed_moves: Vec::new(),
            counters: Counters::default(),
            in_flight: 0,
            remembered: 0,
            seq: 0,
            events_unacknowledged: 0,
        }
    }

    /// What several workers of one connector come to together; `None` of none. An account's `balance` and `hot` are added up, and so are its
    /// totals; its `cold` is the highest that a worker was told, which may be old. `seq` is the sum, which only tells that something has
    /// happened.
    pub fn sum<'a>(workers: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut workers = workers.into_iter();
        let mut sum = workers.next()?.clone();
        for worker in workers {
            for account in &worker.accounts {
                match sum.accounts.iter_mut().find(|other| other.id == account.id) {
                    Some(into) => into.add(account),
                    None => sum.accounts.push(account.clone()),
                }
            }
            for (into, from) in [
                (&mut sum.own, &worker.own),
                (&mut sum.closed_settlements, &worker.closed_settlements),
                (&mut sum.closed_moves, &worker.closed_moves),
            ] {
                for (asset, amount) in from {
                    match into.iter_mut().find(|(other, _)| other == asset) {
                        Some((_, total)) => *total = total.saturating_add(*amount),
                        None => into.push((asset.clone(), *amount)),
                    }
                }
            }
            sum.counters.add(&worker.counters);
            sum.in_flight = sum.in_flight.saturating_add(worker.in_flight);
            sum.remembered = sum.remembered.saturating_add(worker.remembered);
            sum.seq = sum.seq.saturating_add(worker.seq);
            sum.events_unacknowledged = sum.events_unacknowledged.saturating_add(worker.events_unacknowledged);
        }
        Some(sum)
    }

    /// What conservation (I1) says is zero: balances + held + own, summed over the accounts of an asset.
    pub fn conservation(&self, asset: &Asset) -> i128 {
        let accounts = self.accounts.iter().filter(|account| account.asset == *asset);
        let held_and_owed = accounts.map(|a| a.balance.saturating_add(a.totals.incoming_prepared).saturating_sub(a.totals.settlements));
        let own = self.own.iter().filter(|(of, _)| of == asset).map(|(_, own)| *own);
        let closed = self.closed_settlements.iter().filter(|(of, _)| of == asset).map(|(_, settled)| settled.saturating_neg());
        let moves = self.closed_moves.iter().filter(|(of, _)| of == asset).map(|(_, moved)| moved.saturating_neg());
        held_and_owed.chain(own).chain(closed).chain(moves).fold(0, i128::saturating_add)
    }
}

impl AccountStatus {
    fn add(&mut self, other: &Self) {
        let add = |into: &mut i128, amount: i128| *into = into.saturating_add(amount);
        add(&mut self.balance, other.balance);
        add(&mut self.hot, other.hot);
        self.cold = self.cold.max(other.cold);
        self.connected |= other.connected;
        self.in_flight = self.in_flight.saturating_add(other.in_flight);
        self.claims.extend(other.claims.iter().cloned());
        let (into, from) = (&mut self.totals, &other.totals);
        add(&mut into.incoming_prepared, from.incoming_prepared);
        add(&mut into.incoming_fulfilled, from.incoming_fulfilled);
        add(&mut into.incoming_unconditional, from.incoming_unconditional);
        add(&mut into.outgoing_fulfilled, from.outgoing_fulfilled);
        add(&mut into.outgoing_unconditional, from.outgoing_unconditional);
        add(&mut into.settlements, from.settlements);
        for (into, from) in [
            (&mut self.doubts.disputed, &other.doubts.disputed),
            (&mut self.doubts.unconfirmed, &other.doubts.unconfirmed),
            (&mut self.doubts.lost, &other.doubts.lost),
        ] {
            into.count = into.count.saturating_add(from.count);
            add(&mut into.amount, from.amount);
        }
    }
}

impl Counters {
    fn add(&mut self, other: &Self) {
        let Self { accepted, refused, fulfilled, rejected, disputed, unconfirmed, lost, moves, parked } = self;
        for (into, from) in [
            (accepted, other.accepted),
            (refused, other.refused),
            (fulfilled, other.fulfilled),
            (rejected, other.rejected),
            (disputed, other.disputed),
            (unconfirmed, other.unconfirmed),
            (lost, other.lost),
            (moves, other.moves),
            (parked, other.parked),
        ] {
            *into = into.saturating_add(from);
        }
    }
}

/// A transfer at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferStatus {
    /// Ours, on the outgoing side.
    pub id: TransferId,
    /// The sender's; for a payment of our own the same as `id`.
    pub incoming_id: TransferId,
    /// The sender; `None` for a payment of our own.
    pub from: Option<AccountId>,
    /// The next hop; `None` for a payment to our own address.
    pub to: Option<AccountId>,
    /// In the sender's base unit.
    pub incoming_amount: Amount,
    /// In the next hop's base unit.
    pub outgoing_amount: Amount,
    /// Of the incoming transfer.
    pub incoming_expires_at: Timestamp,
    /// Of the outgoing transfer.
    pub expires_at: Timestamp,
    /// What has become of it.
    pub state: TransferState,
}

/// What has become of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// Neither fulfilled nor rejected.
    Held,
    /// Fulfilled, and the sender hasn't acknowledged it.
    FulfillOwed,
    /// Rejected, and the sender hasn't acknowledged it.
    RejectOwed,
    /// Fulfilled; only remembered.
    Fulfilled,
    /// Rejected; only remembered.
    Rejected,
    /// Unconditional; only remembered.
    Charged,
}

impl Worker {
    /// Transfers that are held or have an answer owed, those that expire first first; at most `max` of them.
    pub fn in_flight_transfers(&self, max: usize) -> Vec<TransferStatus> {
        let mut transfers: Vec<&Transfer> = self.transfers.iter().map(|(_, transfer)| transfer).filter(|t| t.active.is_some()).collect();
        transfers.sort_unstable_by_key(|transfer| (transfer.incoming_expires_at, transfer.key));
        transfers.into_iter().take(max).map(|transfer| self.transfer_status(transfer)).collect()
    }

    /// What is known of a transfer by our id, as long as it is remembered.
    pub(crate) fn transfer_by_id(&self, id: &TransferId) -> Option<TransferStatus> {
        self.transfer_at(*self.outgoing.get(id)?).map(|transfer| self.transfer_status(transfer))
    }

    fn transfer_status(&self, transfer: &Transfer) -> TransferStatus {
        let name = |leg: Leg| self.account(leg.account).map(|account| account.id.clone());
        TransferStatus {
            id: transfer.key,
            incoming_id: transfer.incoming_id,
            from: name(transfer.from),
            to: name(transfer.to),
            incoming_amount: Amount::new(transfer.from.amount),
            outgoing_amount: Amount::new(transfer.to.amount),
            incoming_expires_at: transfer.incoming_expires_at,
            expires_at: transfer.expires_at,
            state: match (transfer.outcome, transfer.active.is_some()) {
                (Outcome::Held, _) => TransferState::Held,
                (Outcome::Fulfilled(_), true) => TransferState::FulfillOwed,
                (Outcome::Fulfilled(_), false) => TransferState::Fulfilled,
                (Outcome::Rejected(_), true) => TransferState::RejectOwed,
                (Outcome::Rejected(_), false) => TransferState::Rejected,
                (Outcome::Charged, _) => TransferState::Charged,
            },
        }
    }

    /// The books as they stand, including what isn't durable yet.
    pub fn status(&self) -> WorkerStatus {
        let accounts = self.accounts.iter().flatten().filter_map(|account| {
            let sums = &account.sums;
            Some(AccountStatus {
                id: account.id.clone(),
                address: account.address.clone(),
                asset: self.asset(account.asset)?.clone(),
                balance: account.balance,
                hot: account.hot(),
                cold: account.moves.cold,
                credit_limit: account.credit_limit,
                slots: account.moves.slots.to_vec(),
                connected: !account.connections.is_empty(),
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
                doubts: account.doubts,
            })
        });
        WorkerStatus {
            address: self.config.address.clone(),
            accounts: accounts.collect(),
            own: self.assets.iter().map(|book| (book.asset.clone(), book.own)).collect(),
            closed_settlements: self.assets.iter().map(|book| (book.asset.clone(), book.closed_settlements)).collect(),
            closed_moves: self.assets.iter().map(|book| (book.asset.clone(), book.closed_moves)).collect(),
            counters: self.counters,
            in_flight: self.active.len(),
            remembered: self.transfers.len(),
            seq: self.pending.seq,
            events_unacknowledged: self.events_unacknowledged(),
        }
    }
}
