//! Finds out whether anything was lost: from the peers' journals and the store, and from nothing that a connector ever said of itself.
//!
//! Each payment has a condition of its own, by which payer's and payee's knowledge are put together ([`payments`]); each account's balance
//! in the store must then be what its peer's journal says, to the unit ([`books`]).

mod books;
mod knowledge;
mod ledger;
mod payments;
#[cfg(test)]
mod tests;

pub(super) use books::Books;
pub(super) use ledger::Ledger;

use knowledge::Knowledge;
use payments::Pair;
use std::io;
use std::path::PathBuf;

/// A payer and the payee that it pays.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    pub(super) payer: Peer,
    pub(super) payee: Peer,
}

/// A peer's account, and its journal.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) journal: PathBuf,
}

/// What the checker has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// In the payers' journals.
    pub(super) payments: u64,
    /// Payments that their payers owe, by their own journals.
    pub(super) fulfilled: u64,
    /// Frames in all journals.
    pub(super) frames: u64,
    /// Units that the store's balances are off from what the journals say, in whatever direction, with those that are still held.
    pub(super) units_lost: u64,
    /// Payments with one end paid and the other not that the store doesn't list as disputed, unconfirmed or lost by the connector.
    pub(super) disagreements: u64,
    /// Listed by the store: the payer refused the preimage although it had it in time.
    pub(super) disputed: u64,
    /// Listed by the store: the payer never answered.
    pub(super) unconfirmed: u64,
    /// Listed by the store: the preimage came too late for the payer, and the connector's own account has paid.
    pub(super) borne: u64,
    /// Payments of which neither end knows what became of them. The store may say either.
    pub(super) unknown_to_both: u64,
    /// Payments that were held at a kill, and paid by a later process.
    pub(super) paid_across_kills: u64,
    /// In words.
    pub(super) complaints: Vec<String>,
    /// Of each kill, payments that were held and undecided just then, by their payers' journals.
    pub(super) in_flight: Vec<u64>,
}

/// Reads the journals and compares. `books` are the store's; `kills` the times of the kills, in microseconds since 1970.
pub(super) fn check(peers: &[Peers], books: &Books, kills: &[i64]) -> io::Result<Verdict> {
    let mut verdict = Verdict { in_flight: vec![0; kills.len()], ..Verdict::default() };
    let mut lost: i128 = 0;
    for Peers { payer, payee } in peers {
        let [paying, paid] = [payer, payee].map(|peer| Knowledge::read(&peer.journal));
        let (paying, paid) = (paying?, paid?);
        verdict.frames += paying.frames + paid.frames;
        for (peer, knowledge) in [(payer, &paying), (payee, &paid)] {
            if knowledge.nonsense > 0 {
                verdict.complaints.push(format!("{} was told {} things that make no sense", peer.name, knowledge.nonsense));
            }
        }
        verdict.paid_across_kills += payments::count_in_flight(&paying, kills, &mut verdict.in_flight);
        let pair = Pair::compare(&paying, &paid);
        lost = lost.saturating_add(pair.settle(&payer.name, &payee.name, books, &mut verdict));
    }
    let faults = books.check_themselves(&mut verdict.complaints);
    // What is away is as a rule what an account has too much or too little: it isn't lost twice.
    verdict.units_lost = u64::try_from(lost.saturating_add(faults.held).max(faults.away)).unwrap_or(u64::MAX);
    Ok(verdict)
}

/// Of one kind; their number is in the report.
const COMPLAINTS_MAX: usize = 5;
