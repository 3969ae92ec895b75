//! Accounts as a store has them: which slots serve one, what of its balance no slot holds, and the last move of each slot.
//!
//! The rules are here and nowhere else: a store only keeps the rows, one change after the other.

use crate::account::AccountId;
use std::collections::BTreeMap;

/// A slot's number: the first two bytes of every outgoing transfer id of its worker. Slot 3 is called `slot-3`.
pub type SlotNo = u16;

/// What a store keeps of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The slots that serve it, in an order that never changes. The first is its *home*.
    pub slots: Vec<SlotNo>,
    /// Deals its transfers to them; nobody outside can guess it.
    pub key: [u8; 16],
    /// How far below zero the cold balance may be drawn, in base units.
    pub credit_limit: u64,
    /// The part of its balance that no slot holds, in base units. Lies at or above minus the credit limit, but for a while after that was
    /// lowered, or after a settlement.
    pub cold: i128,
    /// Closed: nothing of it is left, and only the numbers of its moves are remembered.
    pub closed: bool,
    /// The last move of every slot that ever made one.
    pub moves: BTreeMap<SlotNo, LastMove>,
}

/// The last move of a slot, so that it can be answered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMove {
    /// Its number: 1 for the slot's first move of this account, then without gaps, whoever opens the slot.
    pub n: u64,
    /// What came of it.
    pub result: MoveResult,
    /// What the slot has drawn by all its moves, less what it has given back.
    pub total: i128,
}

/// What came of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveResult {
    /// What the slot has more: drawn if positive, given back if negative.
    pub moved: i128,
    /// Of a draw: there was enough. If not, `moved` is 0.
    pub enough: bool,
}

/// Makes an account known to a store, or changes its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSetup {
    /// Which.
    pub id: AccountId,
    /// For a new row.
    pub slots: Vec<SlotNo>,
    /// For a new row.
    pub key: [u8; 16],
    /// From now on.
    pub credit_limit: u64,
}

/// A move between the cold balance of an account and what a slot has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Of which account.
    pub account: AccountId,
    /// By which slot.
    pub slot: SlotNo,
    /// The slot's last one for this account plus one.
    pub n: u64,
    /// What.
    pub change: MoveChange,
}

/// What a move does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveChange {
    /// From cold to hot. Available is what lies above minus the credit limit.
    Draw {
        /// So much must be available, or nothing is drawn. May be negative: what is hot already covers what is missing.
        needed: i128,
        /// So much is drawn at least, if there is enough. Not below 0, and if it isn't 0, not more than `needed`.
        least: i128,
        /// Of what is available, one part in so many is drawn if that is more. Not 0; 1 draws everything.
        share: u32,
    },
    /// From hot to cold. A negative amount is what a settlement took below zero.
    Give {
        /// How much.
        amount: i128,
    },
    /// From cold to hot, all of it whatever its sign, and the account is closed. The caller has seen to it that no other slot has any.
    Close,
}

/// What a store says to a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveOutcome {
    /// It is done and durable, now or since an earlier call.
    Done {
        /// What came of it: the same for ever.
        result: MoveResult,
        /// The cold balance, as it is now.
        cold: i128,
    },
    /// A later move of the slot was made since. Nothing changes.
    Stale {
        /// Its number.
        last: u64,
    },
    /// Moves before this one are missing. Nothing changes.
    Gap {
        /// The last one there is.
        last: u64,
    },
    /// The store doesn't know the account. Nothing changes.
    NoAccount,
    /// Nobody can say; send the same move again.
    Unknown {
        /// For the log.
        cause: String,
    },
}

impl AccountRow {
    /// A new one.
    pub fn new(setup: &AccountSetup) -> Self {
        Self {
            slots: setup.slots.clone(),
            key: setup.key,
            credit_limit: setup.credit_limit,
            cold: 0,
            closed: false,
            moves: BTreeMap::new(),
        }
    }

    /// The account is configured (again). `true` if that changes the row.
    pub fn set_up(&mut self, setup: &AccountSetup) -> bool {
        let before = (self.credit_limit, self.closed);
        self.credit_limit = setup.credit_limit;
        self.closed = false;
        before != (self.credit_limit, self.closed)
    }

    /// Decides a move. If the outcome is `Done` the row may have changed, and must be durable before the outcome is told.
    pub fn apply(&mut self, slot: SlotNo, n: u64, change: &MoveChange) -> MoveOutcome {
        let last = self.moves.get(&slot).copied();
        let last_n = last.map_or(0, |last| last.n);
        if let Some(LastMove { result, .. }) = last.filter(|last| last.n == n) {
            return MoveOutcome::Done { result, cold: self.cold };
        }
        if n <= last_n {
            return MoveOutcome::Stale { last: last_n };
        }
        if n > last_n.saturating_add(1) {
            return MoveOutcome::Gap { last: last_n };
        }
        let result = self.decide(change);
        let total = last.map_or(0, |last| last.total).checked_add(result.moved);
        let Some((cold, total)) = self.cold.checked_sub(result.moved).zip(total) else {
            return MoveOutcome::Unknown { cause: "the cold balance would leave the range of the books".into() };
        };
        self.cold = cold;
        self.closed |= matches!(change, MoveChange::Close);
        self.moves.insert(slot, LastMove { n, result, total });
        MoveOutcome::Done { result, cold }
    }

    fn decide(&self, change: &MoveChange) -> MoveResult {
        match change {
            MoveChange::Draw { needed, least, share } => {
                let available = self.available();
                // Nothing more leaves an account whose close was decided: what is hot elsewhere is on its way back.
                let enough = !self.closed && available >= *needed && (*least <= 0 || available >= *least);
                let part = available.max(0).checked_div(i128::from(*share).max(1)).unwrap_or(0);
                MoveResult { moved: if enough { part.max(*least).max(0) } else { 0 }, enough }
            }
            MoveChange::Give { amount } => MoveResult { moved: amount.saturating_neg(), enough: true },
            MoveChange::Close => MoveResult { moved: self.cold, enough: true },
        }
    }

    /// What all slots have drawn less what they have given back, and the cold balance: always 0.
    pub fn difference(&self) -> i128 {
        self.moves.values().map(|last| last.total).fold(self.cold, i128::saturating_add)
    }

    /// What may be drawn, if it isn't negative.
    pub fn available(&self) -> i128 {
        self.cold.saturating_add(self.credit_limit.into())
    }
}
