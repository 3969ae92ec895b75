//! The rules about snapshots, cuts, and what is read when a slot is opened.

use super::super::observe::NodeNo;
use super::ledger::Outcome;
use super::log::{Carried, Record};
use super::records::{Fits, short};
use super::{Auditor, Invariant};
use bytes::Bytes;

impl Auditor {
    /// A record of a snapshot: it says what the log before it says.
    pub(super) fn part_of_snapshot(&mut self, node: NodeNo, seq: u64, part: Record) -> Fits {
        let wrong = |what: String| Err((Invariant::SnapshotTells, what));
        let ledger = &mut self.ledgers[node];
        match part {
            Record::SnapshotBegun { numbers, events_acked } => {
                ledger.snapshot = true;
                let (used, acked) = (ledger.numbers.len(), ledger.events_acked);
                if (usize::try_from(numbers).unwrap(), events_acked) != (used, acked) {
                    let what = format!("{numbers} accounts and events up to {events_acked}");
                    return wrong(format!("the snapshot begins with {what}, the log has {used} and {acked}"));
                }
            }
            Record::Account { no, name, asset, sums, doubts, last_move } => {
                let Some(place) = ledger.numbers.get(&no).copied() else { return wrong(format!("there is no account number {no}")) };
                let of = &self.layout.nodes[node].accounts[place];
                let is = (&of.name, &of.asset, ledger.sums[place], ledger.doubts[place], ledger.moves[place]);
                if (&name, &asset, sums, doubts, last_move) != is {
                    let told = format!("{name} ({asset}) with {sums:?}, {doubts:?} and move {last_move:?}");
                    return wrong(format!("account {no} is told to be {told}, it is {is:?}"));
                }
                ledger.account_in[place] = seq;
            }
            Record::SettlementKnown { no, id, amount } => {
                let place = ledger.numbers.get(&no).copied().unwrap_or_default();
                match ledger.settlements.get_mut(&(place, id.clone())) {
                    Some((is, known_in)) if *is == amount => *known_in = seq,
                    is => return wrong(format!("settlement {id} of account {no} is told to be {amount}, it is {is:?}")),
                }
            }
            Record::Own { asset, balance, closed_settlements, closed_moves } => {
                let is = ledger.own.get(&asset).copied().unwrap_or_default();
                if (balance, closed_settlements, closed_moves) != (is, 0, 0) {
                    let told = format!("{balance} and {closed_settlements} of closed accounts");
                    return wrong(format!("the connector's own {asset} is told to be {told}, it is {is}"));
                }
                ledger.own_in.insert(asset, seq);
            }
            Record::Transfer(carried) => return self.transfer_carried(node, seq, &carried),
            _ => {}
        }
        Ok(())
    }

    fn transfer_carried(&mut self, node: NodeNo, seq: u64, carried: &Carried) -> Fits {
        let name = short(&carried.prepared.key);
        let wrong = |what: String| Err((Invariant::SnapshotTells, format!("transfer {name} {what}")));
        let Some(transfer) = self.ledgers[node].transfers.get_mut(&carried.prepared.key) else {
            return wrong("was never held".into());
        };
        let (is, told) = (&transfer.prepared, &carried.prepared);
        let fixed = |of: &super::log::Prepared| (of.from, of.incoming_id, of.digest, of.incoming_expires_at, of.to, of.expires_at);
        if fixed(is) != fixed(told) {
            return wrong("isn't told as it was held".into());
        }
        let owed = transfer.outcome.is_some() && !transfer.is_over();
        let (outcome, fulfillment) = match transfer.outcome {
            None => (0, [0; 32]),
            Some(Outcome::Fulfilled(fulfillment)) => (1, fulfillment),
            Some(Outcome::Rejected) => (2, [0; 32]),
        };
        if (carried.outcome, carried.fulfillment, carried.owed) != (outcome, fulfillment, owed) {
            let told = (carried.outcome, carried.owed);
            return wrong(format!("is told with outcome {told:?} (owed), it has {:?}", (outcome, owed)));
        }
        // What can still be sent.
        if outcome == 0 && (is.condition, &is.packet) != (told.condition, &told.packet) {
            return wrong("isn't told with what it carries".into());
        }
        if owed && transfer.reason != carried.reason {
            return wrong("isn't told with the reason of its rejection".into());
        }
        transfer.recorded_in = seq;
        Ok(())
    }

    /// The log below a batch isn't needed any more: everything is told since that a restart needs.
    pub(super) fn cut(&mut self, node: NodeNo, seq: u64, cut: u64) -> Fits {
        let (latest, events) = (self.latest(), self.layout.nodes[node].books.events);
        let ledger = &mut self.ledgers[node];
        let lost = |what: String| Err((Invariant::CutKeeps, format!("the log is cut below batch {cut}, {what}")));
        if cut > seq {
            return lost("and that isn't there".into());
        }
        for (no, place) in &ledger.numbers {
            if ledger.account_in[*place] < cut {
                return lost(format!("and since then nothing says what account {no} has"));
            }
        }
        if let Some((asset, told)) = ledger.own_in.iter().find(|(_, told)| **told < cut) {
            return lost(format!("and what the connector has in {asset} was said last in batch {told}"));
        }
        if let Some(((_, id), _)) = ledger.settlements.iter().find(|(_, (_, told))| *told < cut) {
            return lost(format!("and since then nothing says that settlement {id} is known"));
        }
        // What could come again must be known again.
        let needed = |transfer: &super::ledger::Transfer| {
            !transfer.is_over() || (transfer.from.is_some() && latest < transfer.prepared.incoming_expires_at)
        };
        if let Some(transfer) = ledger.transfers.values().find(|transfer| transfer.recorded_in < cut && needed(transfer)) {
            return lost(format!("and transfer {} was told last in batch {}", short(&transfer.prepared.key), transfer.recorded_in));
        }
        let acked = usize::try_from(ledger.events_acked).unwrap();
        if let Some((_, told)) = ledger.events.get(acked).filter(|(_, told)| events && *told < cut) {
            return lost(format!("and the embedder lacks event {}, of batch {told}", acked + 1));
        }
        while ledger.kept.front().is_some_and(|(seq, _)| *seq < cut) {
            ledger.kept.pop_front();
        }
        Ok(())
    }

    /// A slot was opened: all that no cut has let go is read, and nothing else.
    pub(super) fn reads(&self, node: NodeNo, log: &[Bytes]) -> Fits {
        let kept = &self.ledgers[node].kept;
        let Some(more) = log.len().checked_sub(kept.len()) else {
            let what = format!("{} batches are read, {} are needed", log.len(), kept.len());
            return Err((Invariant::CutKeeps, what));
        };
        match log.iter().skip(more).zip(kept).find(|(read, (_, written))| *read != written) {
            None => Ok(()),
            Some((_, (seq, _))) => Err((Invariant::DurableFirst, format!("batch {seq} is read otherwise than it was written"))),
        }
    }
}
