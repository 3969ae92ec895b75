//! Reading what is there, while commits go on.

use super::books::Slot;
use super::error::{BooksError, Damage};
use super::frame::{Body, Label, Piece};
use super::schema::{BALANCES, LOG, LogKey};
use super::trouble::{Trouble, damaged_balance, guarded};
use super::wire::read_balance_row;
use crate::AccountId;
use crate::store::{AccountRow, Letter, OpenedSlot, SlotName, SlotPicture, StoreError};
use bytes::Bytes;
use redb::ReadTransaction;

/// A slot and the balances at one instant; what is committed later doesn't change it. Reading it doesn't hold up anybody.
pub(super) struct Look {
    pub(super) transaction: ReadTransaction,
    pub(super) name: SlotName,
    pub(super) slot: Slot,
    pub(super) place: String,
    /// Its mailbox, if it ever had a letter.
    pub(super) mail: Option<Box<Look>>,
    /// The rows of all accounts at that instant.
    pub(super) rows: Vec<(AccountId, AccountRow)>,
}

impl Look {
    /// As [`BalanceStore::open`](crate::store::BalanceStore::open) gives it.
    pub(super) fn opened(&self) -> Result<OpenedSlot, StoreError> {
        guarded(|| self.log()).map_err(|trouble| self.error(trouble))
    }

    /// As [`BalanceStore::read`](crate::store::BalanceStore::read) gives it.
    pub(super) fn picture(&self) -> Result<SlotPicture, StoreError> {
        let all = || Ok(SlotPicture { slot: self.log()?, balances: self.balances()?, accounts: self.rows.clone() });
        guarded(all).map_err(|trouble| self.error(trouble))
    }

    pub(super) fn log(&self) -> Result<OpenedSlot, Trouble> {
        let Slot { epoch, last_seq, first, no, .. } = self.slot;
        let mut log = Vec::new();
        let mut pieces = self.transaction.open_table(LOG)?.range((no, first, 0)..=(no, last_seq, u16::MAX))?;
        for seq in first..=last_seq {
            log.push(self.batch(seq, &mut pieces)?);
        }
        let mail = self.mail.as_ref().map_or(Ok(Vec::new()), |mailbox| mailbox.letters())?;
        Ok(OpenedSlot { epoch, last_seq, log, mail })
    }

    /// What is in it, if it is a mailbox.
    fn letters(&self) -> Result<Vec<Letter>, Trouble> {
        let found = self.log()?;
        let first = self.slot.first;
        Ok((first..).zip(found.log).map(|(no, content)| Letter { no, content }).collect())
    }

    /// The blob of the next batch, which is to be this one.
    fn batch(&self, seq: u64, pieces: &mut redb::Range<'_, LogKey, &[u8]>) -> Result<Bytes, Trouble> {
        let bad = |what: String| Trouble::Damaged(Damage::Batch { slot: self.name.to_string(), seq, what });
        let mut body = Body::default();
        loop {
            let no = body.pieces;
            let Some(entry) = pieces.next() else { return Err(bad(format!("piece {no} isn't there"))) };
            let (key, value) = entry?;
            let piece = Piece::read(value.value()).map_err(|why| bad(format!("piece {no}: {why}")))?;
            let Label { slot, seq: found, .. } = piece.head.label;
            if key.value() != (self.slot.no, seq, no) || (slot, found) != (&*self.name, seq) {
                return Err(bad(format!("in place of piece {no} is piece {} of batch {found} of slot {slot}", piece.head.no)));
            }
            if !body.add(&piece) {
                return Err(bad("its pieces don't fit together".to_owned()));
            }
            if let Some((_, blob)) = body.whole() {
                return Ok(blob);
            }
        }
    }

    fn balances(&self) -> Result<Vec<(AccountId, i128)>, Trouble> {
        let mut balances = Vec::new();
        let all: &[u8] = &[];
        for entry in self.transaction.open_table(BALANCES)?.range((self.slot.no, all)..(self.slot.no.saturating_add(1), all))? {
            let (key, value) = entry?;
            let (_, key) = key.value();
            let (id, balance) = read_balance_row(key, value.value()).ok_or_else(|| damaged_balance(key))?;
            balances.push((id, balance.value));
        }
        Ok(balances)
    }

    fn error(&self, trouble: Trouble) -> StoreError {
        BooksError::new(&self.place, "read", trouble).of_slot(&self.name)
    }
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("name", &self.name).field("slot", &self.slot).finish_non_exhaustive()
    }
}
