//! The rules about the events that an embedder is told.

use super::super::observe::{EmbeddersLedger, NodeNo, Told};
use super::log::{Id, Leg, Record};
use super::records::Fits;
use super::{Auditor, Invariant};

impl Auditor {
    /// Counts the record if it has an event.
    pub(super) fn count_event(&mut self, node: NodeNo, seq: u64, record: &Record) {
        if let Some(event) = self.event_of(node, record) {
            self.ledgers[node].events.push((event, seq));
        }
    }

    /// What an embedder is to be told of a record.
    fn event_of(&self, node: NodeNo, record: &Record) -> Option<Told> {
        let name = |place: usize| self.layout.nodes[node].accounts[place].name.clone();
        let of = |no: &u32| self.ledgers[node].numbers.get(no).map(|place| name(*place));
        let leg = |leg: &Leg| of(&leg.account);
        let about =
            |kind, from: &Leg, key: &Id| Told { kind, from: leg(from), to: None, id: hex::encode(key), amounts: [from.amount.into(), 0] };
        let both = |kind, from: &Leg, to: &Leg, key: &Id| Told {
            to: leg(to),
            amounts: [from.amount.into(), to.amount.into()],
            ..about(kind, from, key)
        };
        Some(match record {
            Record::AccountOpened { name, asset, .. } => {
                Told { kind: "opened", from: Some(name.clone()), to: None, id: asset.clone(), amounts: [0, 0] }
            }
            Record::Prepared(prepared) => both("accepted", &prepared.from, &prepared.to, &prepared.key),
            Record::Fulfilled { key, from, to, .. } => both("fulfilled", from, to, key),
            Record::Rejected { key, from, .. } => about("rejected", from, key),
            Record::AnswerRefused { key, from, charged } => about(if *charged { "disputed" } else { "lost" }, from, key),
            Record::Unconfirmed { key, from } => about("unconfirmed", from, key),
            Record::Charged { from, id } => about("charged", from, id),
            Record::Settled { no, id, amount } => Told { kind: "settled", from: of(no), to: None, id: id.clone(), amounts: [*amount, 0] },
            _ => return None,
        })
    }

    /// A batch says how many events lie before it.
    pub(super) fn batch_begun(&mut self, node: NodeNo, events: u64) -> Fits {
        let there = count(self.ledgers[node].events.len());
        match there == events {
            true => Ok(()),
            false => Err((Invariant::EventsTellBooks, format!("it counts {events} events before it, there are {there}"))),
        }
    }

    /// The log says that the embedder has something.
    pub(super) fn events_acked(&mut self, node: NodeNo, through: u64) -> Fits {
        let ledger = &mut self.ledgers[node];
        ledger.events_acked = ledger.events_acked.max(through);
        match through <= ledger.embedder_has {
            true => Ok(()),
            false => {
                let has = ledger.embedder_has;
                Err((Invariant::EventsTellBooks, format!("the embedder is taken to have event {through}, it has said so up to {has}")))
            }
        }
    }

    /// A process tells an event.
    pub(super) fn told(&mut self, node: NodeNo, epoch: u64, number: u64, event: &Told) {
        let ledger = &mut self.ledgers[node];
        let next = ledger.tells_next.entry(epoch).or_default();
        let expected = std::mem::replace(next, number + 1);
        let is = usize::try_from(number).unwrap().checked_sub(1).and_then(|place| ledger.events.get(place)).map(|(event, _)| event);
        let wrong = match is {
            _ if number != expected => format!("event {number} is told where {expected} comes next"),
            None => format!("event {number} is told, and isn't durable"),
            Some(is) if is != event => format!("event {number} is told to be {event:?}, the log says {is:?}"),
            Some(_) => return,
        };
        self.fail(node, Invariant::EventsTellBooks, wrong);
    }

    /// The embedder's ledger is that of the log.
    pub(super) fn compare_embedder(&self, node: NodeNo, embedders: &EmbeddersLedger) -> Fits {
        let ledger = &self.ledgers[node];
        let differs = |what: String| Err((Invariant::EventsTellBooks, what));
        let there = count(ledger.events.len());
        if embedders.last != there {
            return differs(format!("the embedder was told events up to {}, there are {there}", embedders.last));
        }
        for (place, account) in self.layout.nodes[node].accounts.iter().enumerate() {
            let is = (account.asset.clone(), ledger.balances[place], ledger.sums[place].incoming_prepared);
            let theirs = embedders.accounts.get(&account.name);
            if theirs != Some(&is) {
                return differs(format!("the embedder makes {} {theirs:?}, by the log it is {is:?}", account.name));
            }
        }
        for asset in ledger.assets() {
            let (is, theirs) = (ledger.own[asset], embedders.own.get(asset).copied().unwrap_or_default());
            if is != theirs {
                return differs(format!("the embedder makes the connector's own {asset} {theirs}, by the log it is {is}"));
            }
        }
        Ok(())
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}
