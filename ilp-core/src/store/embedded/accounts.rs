//! What isn't a slot's own log: the rows of accounts, and the mailboxes of slots. Both are kept as logs of slots with reserved names, so
//! that checking, copying and salvaging them needs nothing of its own. A batch of the accounts' log has the rows that a transaction has
//! changed, or now and then all of them; then what is before is cut. A batch of a mailbox is a letter.

use super::wire::Cursor;
use crate::AccountId;
use crate::store::{AccountRow, AccountSetup, LastMove, Move, MoveOutcome, MoveResult, SlotName, StoreError};
use bytes::Bytes;
use std::collections::BTreeMap;

/// In front of reserved names. A slot of a connector can't have it.
const RESERVED: char = '\u{1}';
const ACCOUNTS: &str = "\u{1}accounts";
const MAILBOX: &str = "\u{1}mailbox of ";

/// After so many batches with some rows comes one with all.
pub(super) const ALL_ROWS_EVERY: u64 = 4_096;
/// The longest letter, in bytes.
pub(super) const LETTER_LEN_MAX: usize = 1 << 20;

pub(super) fn accounts_slot() -> SlotName {
    ACCOUNTS.into()
}

pub(super) fn mailbox_of(slot: &str) -> SlotName {
    format!("{MAILBOX}{slot}").into()
}

pub(super) fn is_reserved(slot: &str) -> bool {
    slot.starts_with(RESERVED)
}

/// A slot's name for people.
pub(super) fn shown(slot: &SlotName) -> SlotName {
    match slot.strip_prefix(RESERVED) {
        Some(name) => format!("({name})").into(),
        None => slot.clone(),
    }
}

/// What is asked of the accounts and mailboxes.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    SetUp(AccountSetup),
    Move(Move),
    Mail(SlotName, Bytes),
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    SetUp(Result<AccountRow, StoreError>),
    Move(MoveOutcome),
    Mail(Result<(), StoreError>),
}

impl Ask {
    /// The answer if nobody knows what became of it.
    pub(super) fn unknown(&self, cause: &str) -> Answer {
        let error = |slot: &str| StoreError { slot: slot.to_owned(), message: cause.to_owned(), held_by: None, source: None };
        match self {
            Self::SetUp(setup) => Answer::SetUp(Err(error(setup.id.name()))),
            Self::Move(_) => Answer::Move(MoveOutcome::Unknown { cause: cause.to_owned() }),
            Self::Mail(slot, _) => Answer::Mail(Err(error(slot))),
        }
    }
}

/// Rows as they will be, over rows as they are.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    durable: &'a BTreeMap<AccountId, AccountRow>,
    pub(super) changed: BTreeMap<AccountId, AccountRow>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(durable: &'a BTreeMap<AccountId, AccountRow>) -> Self {
        Self { durable, changed: BTreeMap::new() }
    }

    /// The row as it is by now, and whether that is durable.
    fn get(&self, id: &AccountId) -> Option<(AccountRow, bool)> {
        let changed = self.changed.get(id).map(|row| (row.clone(), false));
        changed.or_else(|| self.durable.get(id).map(|row| (row.clone(), true)))
    }

    /// The row, and whether the answer is right whatever becomes of the transaction.
    pub(super) fn set_up(&mut self, setup: &AccountSetup) -> (AccountRow, bool) {
        let (mut row, mut settled) = self.get(&setup.id).unwrap_or_else(|| (AccountRow::new(setup), false));
        let changes = row.set_up(setup);
        settled &= !changes;
        if changes || self.get(&setup.id).is_none() {
            self.changed.insert(setup.id.clone(), row.clone());
        }
        (row, settled)
    }

    pub(super) fn make_move(&mut self, request: &Move) -> (MoveOutcome, bool) {
        let Some((mut row, settled)) = self.get(&request.account) else { return (MoveOutcome::NoAccount, true) };
        let before = row.clone();
        let outcome = row.apply(request.slot, request.n, &request.change);
        if row == before {
            return (outcome, settled);
        }
        self.changed.insert(request.account.clone(), row);
        (outcome, false)
    }
}

/// Rows as a batch has them.
pub(super) fn encode_rows<'r>(rows: impl Iterator<Item = (&'r AccountId, &'r AccountRow)>) -> Bytes {
    let mut out = Vec::new();
    for (id, row) in rows {
        // An id has 2 to 64 bytes, and an account at most 255 slots.
        out.push(u8::try_from(id.as_bytes().len()).unwrap_or(u8::MAX));
        out.extend_from_slice(id.as_bytes());
        out.push(u8::try_from(row.slots.len()).unwrap_or(u8::MAX));
        for slot in row.slots.iter().take(usize::from(u8::MAX)) {
            out.extend_from_slice(&slot.to_le_bytes());
        }
        out.extend_from_slice(&row.key);
        out.extend_from_slice(&row.credit_limit.to_le_bytes());
        out.extend_from_slice(&row.cold.to_le_bytes());
        out.push(u8::from(row.closed));
        out.extend_from_slice(&u32::try_from(row.moves.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (slot, last) in &row.moves {
            out.extend_from_slice(&slot.to_le_bytes());
            out.extend_from_slice(&last.n.to_le_bytes());
            out.extend_from_slice(&last.result.moved.to_le_bytes());
            out.push(u8::from(last.result.enough));
            out.extend_from_slice(&last.total.to_le_bytes());
        }
    }
    out.into()
}

/// The rows that a batch has; `None` if it can't be read.
pub(super) fn decode_rows(batch: &[u8]) -> Option<Vec<(AccountId, AccountRow)>> {
    let mut cursor = Cursor::new(batch);
    let mut rows = Vec::new();
    while !cursor.is_empty() {
        let len = usize::from(cursor.u8()?);
        let id = AccountId::from_bytes(cursor.take(len)?)?;
        let count = cursor.u8()?;
        let slots = (0..count).map(|_| cursor.u16()).collect::<Option<Vec<_>>>()?;
        let key = cursor.array()?;
        let (credit_limit, cold, closed) = (cursor.u64()?, cursor.i128()?, cursor.u8()? != 0);
        let mut moves = BTreeMap::new();
        for _ in 0..cursor.u32()? {
            let (slot, n, moved, enough) = (cursor.u16()?, cursor.u64()?, cursor.i128()?, cursor.u8()? != 0);
            moves.insert(slot, LastMove { n, result: MoveResult { moved, enough }, total: cursor.i128()? });
        }
        rows.push((id, AccountRow { slots, key, credit_limit, cold, closed, moves }));
    }
    Some(rows)
}
