//! What one peer knows of every payment, from its journal alone.

use crate::flood::wire::decode;
use crate::torture::journal::{Direction, Entries, Entry};
use ilp_oer::clp::{Body, Packet};
use ilp_oer::{Condition, ErrorCode, Fulfillment, TransferId};
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// A peer's knowledge, by the conditions of payments, which are different for all of them.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Payments that it makes.
    pub(super) paying: HashMap<Condition, Paying>,
    /// Payments to it, each transfer by itself: two with one condition are two.
    pub(super) paid: HashMap<Condition, Vec<Paid>>,
    /// Questions without money, after the first on each connection: when each was asked, and when it was answered.
    pub(super) probes: Vec<(i64, i64)>,
    /// Frames in the journal.
    pub(super) frames: u64,
    /// What it can't have been told by an honest connector.
    pub(super) nonsense: u64,
}

/// A payment, as its payer knows it. Times are in microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Paying {
    pub(super) amount: u64,
    pub(super) started_us: i64,
    pub(super) expires_us: i64,
    /// The connector has acknowledged it: from then on it holds the payment.
    pub(super) held_us: Option<i64>,
    /// The first outcome came.
    pub(super) outcome_us: Option<i64>,
    /// The payer had the preimage in time, and has said so: it owes the money.
    pub(super) paid: bool,
    /// The payer has refused the preimage as too late: it owes nothing, as it sees it.
    pub(super) refused: bool,
    /// The payer was told that nothing was paid.
    pub(super) rejected: bool,
    /// For want of time.
    pub(super) timed_out: bool,
}

/// A payment, as its payee knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Paid {
    pub(super) amount: u64,
    pub(super) came_us: i64,
    /// It has given the preimage away.
    pub(super) claimed: bool,
    /// The connector has acknowledged the preimage: the money is earned.
    pub(super) earned: bool,
    /// The connector has refused the preimage, and not for want of knowing the transfer any more: nothing is earned.
    pub(super) refused: bool,
}

impl Knowledge {
    /// Reads a journal.
    pub(super) fn read(journal: &Path) -> io::Result<Self> {
        let mut reader = Reader::default();
        for entry in Entries::open(journal)? {
            reader.entry(&entry?);
        }
        Ok(reader.knowledge)
    }
}

/// Follows the conversations.
#[derive(Debug, Default)]
struct Reader {
    knowledge: Knowledge,
    connection: u32,
    /// It has asked to be let in.
    introduced: bool,
    /// Requests on this connection that aren't answered, by their numbers: the peer's own, and the connector's.
    own: HashMap<u32, Request>,
    connectors: HashMap<u32, Request>,
    /// Conditions by transfer, for what names the transfer alone.
    paying: HashMap<TransferId, Condition>,
    paid: HashMap<TransferId, (Condition, usize)>,
}

/// What an answer will be about.
#[derive(Debug, Clone, Copy)]
enum Request {
    Prepare(TransferId),
    Fulfill(TransferId, Fulfillment),
    Reject(TransferId),
    /// Asked at this time.
    Probe(i64),
    Other,
}

impl Reader {
    fn entry(&mut self, entry: &Entry) {
        self.knowledge.frames += 1;
        if entry.connection != self.connection {
            self.connection = entry.connection;
            self.introduced = false;
            self.own.clear();
            self.connectors.clear();
        }
        let Some(Packet { request_id, body }) = decode(&entry.frame) else {
            self.knowledge.nonsense += 1;
            return;
        };
        match (entry.direction, body) {
            (Direction::Sent, body) => self.sent(request_id, &body, entry.at_us),
            (Direction::Received, body) => self.received(request_id, &body, entry.at_us),
        }
    }

    /// What the peer says.
    fn sent(&mut self, number: u32, body: &Body<'_>, at_us: i64) {
        let request = match body {
            Body::Prepare(prepare) => {
                let expires_us = prepare.expires_at.unix_millis().saturating_mul(1_000);
                self.paying.insert(prepare.transfer_id, prepare.condition);
                let new = || Paying { amount: prepare.amount.get(), started_us: at_us, expires_us, ..Paying::default() };
                self.knowledge.paying.entry(prepare.condition).or_insert_with(new);
                Request::Prepare(prepare.transfer_id)
            }
            Body::Fulfill(fulfill) => {
                if let Some(paid) = self.paid(fulfill.transfer_id) {
                    paid.claimed = true;
                }
                Request::Fulfill(fulfill.transfer_id, fulfill.fulfillment)
            }
            Body::Reject(reject) => Request::Reject(reject.transfer_id),
            Body::Ack(_) | Body::Response(_) => return self.answered(number, true),
            Body::Error { .. } => return self.answered(number, false),
            Body::Message(_) if std::mem::replace(&mut self.introduced, true) => Request::Probe(at_us),
            Body::Message(_) | Body::Transfer(_) => Request::Other,
        };
        self.own.insert(number, request);
    }

    /// What the connector says.
    fn received(&mut self, number: u32, body: &Body<'_>, at_us: i64) {
        let request = match body {
            Body::Prepare(prepare) => {
                let transfers = self.knowledge.paid.entry(prepare.condition).or_default();
                let place = transfers.len();
                let known = self.paid.entry(prepare.transfer_id).or_insert((prepare.condition, place));
                if known.1 == place {
                    transfers.push(Paid { amount: prepare.amount.get(), came_us: at_us, ..Paid::default() });
                }
                Request::Prepare(prepare.transfer_id)
            }
            Body::Fulfill(fulfill) => {
                self.outcome(fulfill.transfer_id, at_us);
                Request::Fulfill(fulfill.transfer_id, fulfill.fulfillment)
            }
            Body::Reject(reject) => {
                self.outcome(reject.transfer_id, at_us);
                let timed_out = reject.reason.error().code == ErrorCode::R00_TRANSFER_TIMED_OUT;
                if let Some(paying) = self.paying(reject.transfer_id) {
                    paying.timed_out |= timed_out;
                }
                Request::Reject(reject.transfer_id)
            }
            Body::Ack(_) | Body::Response(_) => return self.was_answered(number, None, at_us),
            Body::Error { reason, .. } => return self.was_answered(number, Some(reason.error().data), at_us),
            Body::Message(_) | Body::Transfer(_) => Request::Other,
        };
        self.connectors.insert(number, request);
    }

    fn outcome(&mut self, id: TransferId, at_us: i64) {
        match self.paying(id) {
            Some(paying) => {
                paying.outcome_us.get_or_insert(at_us);
            }
            None => self.knowledge.nonsense += 1,
        }
    }

    /// The peer has answered a request of the connector's.
    fn answered(&mut self, number: u32, well: bool) {
        match (self.connectors.remove(&number), well) {
            (Some(Request::Fulfill(id, fulfillment)), true) => {
                let condition = self.paying.get(&id).copied();
                if let Some(paying) = self.paying(id) {
                    paying.paid |= condition.is_some_and(|condition| condition.is_fulfilled_by(&fulfillment));
                }
            }
            (Some(Request::Fulfill(id, _)), false) => {
                if let Some(paying) = self.paying(id) {
                    paying.refused = true;
                }
            }
            (Some(Request::Reject(id)), true) => {
                if let Some(paying) = self.paying(id) {
                    paying.rejected = true;
                }
            }
            _ => {}
        }
    }

    /// The connector has answered a request of the peer's: `error` is the text of an error.
    fn was_answered(&mut self, number: u32, error: Option<&[u8]>, at_us: i64) {
        match (self.own.remove(&number), error) {
            (Some(Request::Prepare(id)), None) => {
                if let Some(paying) = self.paying(id) {
                    paying.held_us.get_or_insert(at_us);
                }
            }
            (Some(Request::Fulfill(id, _)), error) => {
                if let Some(paid) = self.paid(id) {
                    paid.earned |= error.is_none();
                    paid.refused |= error.is_some_and(|text| text != UNKNOWN_TRANSFER);
                }
            }
            (Some(Request::Probe(asked_us)), None) => self.knowledge.probes.push((asked_us, at_us)),
            (None, _) => self.knowledge.nonsense += 1,
            _ => {}
        }
    }

    fn paying(&mut self, id: TransferId) -> Option<&mut Paying> {
        self.knowledge.paying.get_mut(self.paying.get(&id)?)
    }

    fn paid(&mut self, id: TransferId) -> Option<&mut Paid> {
        let (condition, place) = self.paid.get(&id)?;
        self.knowledge.paid.get_mut(condition)?.get_mut(*place)
    }
}

/// What the connector says of a transfer that it has forgotten: it says nothing about whether that was paid.
const UNKNOWN_TRANSFER: &[u8] = b"unknown transfer";
