//! What peers said of transfers whose owners can't be reached.

use crate::account::AccountId;
use crate::colleagues::Relay;
use crate::limits::Limits;
use crate::store::SlotNo;
use ilp_oer::TransferId;
use std::collections::HashMap;

/// Keeps count of letters, so that a peer can't fill a mailbox: of one account as many are written as it may have transfers in flight, and
/// one of each transfer. Keeps fulfills as well: the owner may be there all the while, and only the way to it gone, and then it must hear
/// of them before the hold has expired. That it hears of one twice is no harm.
#[derive(Debug, Default)]
pub(super) struct Letters {
    of: HashMap<AccountId, OfAccount>,
}

#[derive(Debug, Default)]
struct OfAccount {
    letters: HashMap<TransferId, Written>,
    bytes: usize,
}

#[derive(Debug)]
struct Written {
    slot: SlotNo,
    bytes: usize,
    fulfill: Option<Relay>,
}

impl Letters {
    /// Whether a letter is to be written. It counts until the slot is open again, or the letter was [lost](Self::lost).
    pub(super) fn write(
        &mut self,
        account: &AccountId,
        (slot, id): (SlotNo, TransferId),
        bytes: usize,
        fulfill: Option<Relay>,
        limits: &Limits,
    ) -> bool {
        let of = self.of.entry(account.clone()).or_default();
        let count = u32::try_from(of.letters.len()).unwrap_or(u32::MAX);
        let bytes = bytes.saturating_add(Limits::TRANSFER_BYTES);
        let all = of.bytes.saturating_add(bytes);
        if of.letters.contains_key(&id) || count >= limits.in_flight_per_account || all > limits.in_flight_bytes_per_account {
            return false;
        }
        of.bytes = all;
        of.letters.insert(id, Written { slot, bytes, fulfill });
        true
    }

    /// It couldn't be left: if the peer says it again, so do we.
    pub(super) fn lost(&mut self, account: &AccountId, id: TransferId) {
        if let Some(of) = self.of.get_mut(account)
            && let Some(written) = of.letters.remove(&id)
        {
            of.bytes = of.bytes.saturating_sub(written.bytes);
        }
    }

    /// Somebody has the slot open: what its worker is to hear.
    pub(super) fn reached(&mut self, slot: SlotNo) -> Vec<Relay> {
        let mut relays = Vec::new();
        for of in self.of.values_mut() {
            let bytes = &mut of.bytes;
            of.letters.retain(|_, written| {
                if written.slot == slot {
                    *bytes = bytes.saturating_sub(written.bytes);
                    relays.extend(written.fulfill.take());
                }
                written.slot != slot
            });
        }
        self.of.retain(|_, of| !of.letters.is_empty());
        relays
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkEvent;
    use crate::worker::ConnectionId;
    use ilp_oer::Fulfillment;

    fn id(slot: u8, n: u32) -> TransferId {
        let mut id = [0; 16];
        id[1] = slot;
        id[2..6].copy_from_slice(&n.to_be_bytes());
        TransferId::new(id)
    }

    fn fulfill(n: u32) -> Relay {
        let event = LinkEvent::Fulfill { request: n, id: id(1, n), fulfillment: Fulfillment::new([0; 32]) };
        Relay::Event { connection: ConnectionId(1), event }
    }

    fn account(name: &str) -> AccountId {
        AccountId::new(1, name).unwrap()
    }

    #[test]
    fn an_account_has_as_many_letters_as_transfers_in_flight_and_one_of_each() {
        let limits = Limits { in_flight_per_account: 3, ..Limits::default() };
        let (mut letters, bob) = (Letters::default(), account("bob"));
        for n in 0..10_000 {
            assert_eq!(letters.write(&bob, (1, id(1, n / 2)), 50, Some(fulfill(n)), &limits), n % 2 == 0 && n < 6, "{n}");
        }
        // Naming another slot that isn't open is no way around it.
        assert!(!letters.write(&bob, (2, id(2, 0)), 50, None, &limits));
        assert!(letters.write(&account("carol"), (2, id(2, 0)), 50, None, &limits));
        letters.lost(&bob, id(1, 1));
        assert!(letters.write(&bob, (1, id(1, 77)), 50, None, &limits));
        assert_eq!(letters.reached(1).len(), 2);
        assert_eq!(letters.reached(1), []);
        assert!(letters.write(&bob, (1, id(1, 0)), 50, None, &limits), "its successor may be gone again");
    }

    #[test]
    fn long_ones_count_for_more() {
        let limits = Limits { in_flight_bytes_per_account: 100_000, ..Limits::default() };
        let (mut letters, bob) = (Letters::default(), account("bob"));
        let written = (0..100).filter(|n| letters.write(&bob, (1, id(1, *n)), 30_000, None, &limits)).count();
        assert_eq!(written, 3);
        assert_eq!(letters.reached(1), []);
        assert!(letters.of.is_empty());
    }
}
