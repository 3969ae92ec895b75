//! One connector's books, from its log alone, and every transfer with what was seen of it on the wires.

use super::super::observe::Told;
use super::super::observe::{AccountPlace, NodeLayout, WireNo};
use super::log::{Doubts, Id, Leg, OWN, Prepared, Sums};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A connector as the auditor knows it.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) epoch: u64,
    pub(super) last_seq: u64,
    /// Account numbers of the log.
    pub(super) numbers: BTreeMap<u32, AccountPlace>,
    pub(super) balances: Vec<i128>,
    /// The number of each account's last move, and whether it is under way.
    pub(super) moves: Vec<(u64, bool)>,
    /// What each balance is made of.
    pub(super) sums: Vec<Sums>,
    pub(super) doubts: Vec<Doubts>,
    /// By account and id: the amount, and the last batch that says so.
    pub(super) settlements: BTreeMap<(AccountPlace, String), (i128, u64)>,
    /// Settlements that the embedder was told to be new.
    pub(super) new_settlements: BTreeSet<(AccountPlace, String)>,
    /// The connector's own account, by asset.
    pub(super) own: BTreeMap<String, i128>,
    /// The last batch from which on an account's sums, or the own account of an asset, follow from the log.
    pub(super) account_in: Vec<u64>,
    pub(super) own_in: BTreeMap<String, u64>,
    /// A snapshot is under way.
    pub(super) snapshot: bool,
    /// Durable batches that no cut has let go, with their numbers.
    pub(super) kept: VecDeque<(u64, Bytes)>,
    /// The events of the log, from number 1 on, each with the batch that has it.
    pub(super) events: Vec<(Told, u64)>,
    /// Up to which number the log says that the embedder has them, and the embedder itself.
    pub(super) events_acked: u64,
    pub(super) embedder_has: u64,
    /// The number that each process has to tell next.
    pub(super) tells_next: BTreeMap<u64, u64>,
    pub(super) transfers: BTreeMap<Id, Transfer>,
    /// The newest transfer of each id that an account gave.
    pub(super) by_incoming: BTreeMap<(AccountPlace, Id), Id>,
    /// Prepares that have come in, newest content first asked last.
    pub(super) asked: BTreeMap<(AccountPlace, Id), Vec<Asked>>,
    /// The connection of each account in the process that has the slot: the wire, its epoch, and since when by the connector's clock.
    pub(super) connected: BTreeMap<AccountPlace, (WireNo, u64, i64)>,
    /// What each account's peer said of transfers that the log doesn't have, or not as its own.
    pub(super) disputed: u64,
    pub(super) unconfirmed: u64,
    pub(super) losses: u64,
    pub(super) refused: u64,
}

/// A prepare as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) amount: u64,
    pub(super) expires_at: i64,
    pub(super) condition: [u8; 32],
    pub(super) packet: Vec<u8>,
    /// The earliest that the connector's clock showed when it came; a restart may set it back.
    pub(super) earliest_clock: i64,
    /// How often it came.
    pub(super) times: u32,
    /// Nothing has come of it yet.
    pub(super) open: bool,
}

/// A transfer that is, or was, held.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) prepared: Prepared,
    pub(super) from: Option<AccountPlace>,
    pub(super) to: Option<AccountPlace>,
    /// Of the process that recorded it.
    pub(super) epoch: u64,
    /// The last batch that says all that a restart needs of it.
    pub(super) recorded_in: u64,
    pub(super) outcome: Option<Outcome>,
    /// What it was rejected with.
    pub(super) reason: Vec<u8>,
    /// The wires that the prepare was sent on.
    pub(super) sent: Vec<WireNo>,
    /// The next hop has acknowledged the prepare.
    pub(super) acked: bool,
    /// The next hop has answered the prepare by an Error, this many times.
    pub(super) errors: u32,
    /// Fulfillments that came from the next hop, with the connector's clock.
    pub(super) fulfills: Vec<([u8; 32], i64)>,
    pub(super) rejects: u32,
    /// The wires that the answer was sent on, and the connector's clock.
    pub(super) answers: Vec<(WireNo, i64)>,
    /// What the sender said about the answer.
    pub(super) answer_acks: u32,
    pub(super) answer_errors: u32,
    pub(super) settled: Option<Settled>,
    /// What the holders know, at their own clocks: the sender was fulfilled in time, and the next hop's answer was taken or refused.
    pub(super) sender_paid: bool,
    pub(super) sender_rejected: bool,
    pub(super) hop_taken: Option<(bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fulfilled([u8; 32]),
    Rejected,
}

/// How the answer to the sender ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Acked,
    /// By an Error; the sender stays charged.
    Disputed,
    /// By an Error; the connector bears it.
    Lost,
    Unconfirmed,
}

impl Ledger {
    pub(super) fn new(layout: &NodeLayout) -> Self {
        let accounts = layout.accounts.len();
        Self {
            epoch: 0,
            last_seq: 0,
            numbers: BTreeMap::new(),
            balances: vec![0; accounts],
            sums: vec![Sums::default(); accounts],
            moves: vec![(0, false); accounts],
            doubts: vec![Doubts::default(); accounts],
            settlements: BTreeMap::new(),
            new_settlements: BTreeSet::new(),
            own: BTreeMap::new(),
            account_in: vec![0; accounts],
            own_in: BTreeMap::new(),
            snapshot: false,
            kept: VecDeque::new(),
            events: Vec::new(),
            events_acked: 0,
            embedder_has: 0,
            tells_next: BTreeMap::new(),
            transfers: BTreeMap::new(),
            by_incoming: BTreeMap::new(),
            asked: BTreeMap::new(),
            connected: BTreeMap::new(),
            disputed: 0,
            unconfirmed: 0,
            losses: 0,
            refused: 0,
        }
    }

    /// The account of a leg; `None` for the connector itself. Outside: an unknown number.
    pub(super) fn place(&self, leg: Leg) -> Result<Option<AccountPlace>, String> {
        match leg.account {
            OWN => Ok(None),
            no => self.numbers.get(&no).map(|place| Some(*place)).ok_or_else(|| format!("account number {no} was never given out")),
        }
    }

    /// What the slot may spend.
    pub(super) fn hot(&self, place: AccountPlace) -> i128 {
        self.balances[place] + self.sums[place].moved
    }

    pub(super) fn add(&mut self, account: Option<AccountPlace>, units: i128) {
        if let Some(balance) = account.and_then(|place| self.balances.get_mut(place)) {
            *balance += units;
        }
    }

    pub(super) fn sum(&mut self, account: Option<AccountPlace>, change: impl FnOnce(&mut Sums)) {
        if let Some(sums) = account.and_then(|place| self.sums.get_mut(place)) {
            change(sums);
        }
    }

    /// Counts a doubt about an amount.
    pub(super) fn doubt(&mut self, account: Option<AccountPlace>, units: i128, which: impl FnOnce(&mut Doubts) -> &mut (u64, i128)) {
        if let Some(doubts) = account.and_then(|place| self.doubts.get_mut(place)) {
            let tally = which(doubts);
            *tally = (tally.0 + 1, tally.1 + units);
        }
    }

    /// The transfer that a prepare with this content was held as; of an earlier one with the same id nothing is known any more.
    pub(super) fn held_as(&self, account: AccountPlace, id: &Id) -> Option<&Transfer> {
        self.transfers.get(self.by_incoming.get(&(account, *id))?)
    }

    /// Balances by asset: what everybody has, what is held, and what the connector has itself, less what was settled elsewhere.
    pub(super) fn sums(&self, layout: &NodeLayout) -> BTreeMap<String, i128> {
        let mut sums = self.own.clone();
        for (place, account) in layout.accounts.iter().enumerate() {
            let of = &self.sums[place];
            *sums.entry(account.asset.clone()).or_default() += self.balances[place] + of.incoming_prepared - of.settlements;
        }
        sums
    }

    /// Assets that the connector itself has something of.
    pub(super) fn assets(&self) -> BTreeSet<&str> {
        self.own.keys().map(String::as_str).collect()
    }
}

impl Transfer {
    pub(super) fn new(prepared: Prepared, from: Option<AccountPlace>, to: Option<AccountPlace>, epoch: u64) -> Self {
        Self {
            prepared,
            from,
            to,
            epoch,
            recorded_in: 0,
            outcome: None,
            reason: Vec::new(),
            sent: Vec::new(),
            acked: false,
            errors: 0,
            fulfills: Vec::new(),
            rejects: 0,
            answers: Vec::new(),
            answer_acks: 0,
            answer_errors: 0,
            settled: None,
            sender_paid: false,
            sender_rejected: false,
            hop_taken: None,
        }
    }

    /// Nothing more is to be said about it to anybody.
    pub(super) fn is_over(&self) -> bool {
        self.outcome.is_some() && (self.from.is_none() || self.settled.is_some())
    }

    pub(super) fn has(&self, asked: &Asked) -> bool {
        let own = &self.prepared;
        (own.from.amount, own.incoming_expires_at, own.condition, &own.packet)
            == (asked.amount, asked.expires_at, asked.condition, &asked.packet)
    }
}
