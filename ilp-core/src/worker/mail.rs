//! Letters: what a next hop said of a transfer while nobody had its owner's slot open. A colleague that got it leaves it in the slot's
//! mailbox; it never acknowledges it, so a peer that can will say it again.

use super::{Outcome, Tag, Worker, WorkerError};
use crate::account::AccountId;
use crate::link::LinkEvent;
use bytes::{BufMut, Bytes};
use ilp_oer::{Fulfillment, Timestamp, TransferId};

const FULFILL: u8 = 1;
const REJECT: u8 = 2;

/// What an event of an account's connection is as a letter to the slot in its transfer's id; `None` if it is nothing that a letter can say.
pub fn letter_of(account: &AccountId, event: &LinkEvent) -> Option<Bytes> {
    let (kind, id, content): (u8, &TransferId, &[u8]) = match event {
        LinkEvent::Fulfill { id, fulfillment, .. } => (FULFILL, id, fulfillment.as_bytes()),
        LinkEvent::Reject { id, reason, .. } => (REJECT, id, reason),
        _ => return None,
    };
    let name = account.as_bytes();
    let mut letter = Vec::with_capacity(name.len().saturating_add(content.len()).saturating_add(18));
    letter.put_u8(kind);
    // A name has at most 64 bytes.
    letter.put_u8(u8::try_from(name.len()).ok()?);
    letter.put_slice(name);
    letter.put_slice(id.as_bytes());
    letter.put_slice(content);
    Some(letter.into())
}

/// A letter, read.
fn read(letter: &Bytes) -> Option<(u8, AccountId, TransferId, Bytes)> {
    let (kind, rest) = letter.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len))?;
    let (id, content) = rest.split_first_chunk::<16>()?;
    Some((*kind, AccountId::from_bytes(name)?, TransferId::new(*id), letter.slice_ref(content)))
}

impl Worker {
    /// Reads what was in the mailbox when the slot was opened. It is dropped with the batch that has what follows from it.
    pub(super) fn read_mail(&mut self, now: Timestamp) -> Result<(), WorkerError> {
        for letter in std::mem::take(&mut self.mail) {
            self.mail_read = Some(letter.no);
            // What can't be read is nobody's loss: the sender says it again, or the time ends the hold.
            let Some((kind, from, id, content)) = read(&letter.content) else { continue };
            let Some(no) = self.number_of(&from) else { continue };
            let held = |index: &u32| self.transfer_at(*index).is_some_and(|t| t.to.account == no && t.outcome == Outcome::Held);
            let Some(index) = self.outgoing.get(&id).copied().filter(held) else { continue };
            let tag = Tag::of(index, &id);
            match (kind, <[u8; 32]>::try_from(&*content)) {
                (FULFILL, Ok(fulfillment)) => drop(self.fulfill(tag, Fulfillment::new(fulfillment), now)?),
                (REJECT, _) => {
                    let reason = self.forwarded(tag, &content, now);
                    self.reject(tag, &reason)?;
                }
                _ => {}
            }
        }
        self.pending.dirty |= self.mail_read.is_some() && !self.pending.blob.is_empty();
        Ok(())
    }
}
