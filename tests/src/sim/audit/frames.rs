//! The rules about what is said on the wires.

use super::super::observe::{AccountPlace, NodeNo, Side, WireNo};
use super::ledger::{Asked, Outcome};
use super::log::Id;
use super::records::short;
use super::{Auditor, Invariant};
use bytes::Bytes;
use ilp_core::link::PeerProtocol;
use ilp_oer::clp::{Body, Dialect, Extensions, Packet, Prepare};
use std::collections::{BTreeMap, BTreeSet};

/// A connection, seen from the connector that has the account.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) node: NodeNo,
    pub(super) account: AccountPlace,
    pub(super) epoch: u64,
    pub(super) over: bool,
    /// What the connector has asked, by request.
    asked: BTreeMap<u32, Request>,
    /// What it was asked.
    heard: BTreeMap<u32, Request>,
    /// Of these, prepares that were durably held when they came.
    repeats: BTreeSet<u32>,
}

/// What a request is about.
#[derive(Debug, Clone)]
enum Request {
    Prepare(Id, Asked),
    Fulfill(Id, [u8; 32]),
    Reject(Id),
    Other,
}

/// What a frame says.
enum Said {
    Request(u32, Request),
    Ack(u32),
    Error(u32, String),
    Nothing,
}

impl Auditor {
    pub(super) fn connected(&mut self, number: WireNo, node: NodeNo, epoch: u64, account: AccountPlace) {
        let wire = Wire { node, account, epoch, over: false, asked: BTreeMap::new(), heard: BTreeMap::new(), repeats: BTreeSet::new() };
        self.wires.entry(number).or_insert(wire);
        if self.ledgers[node].epoch == epoch {
            // Its clock shows this at most.
            let clock = self.latest();
            self.ledgers[node].connected.insert(account, (number, epoch, clock));
        }
        for (clock, frame) in self.early.remove(&number).unwrap_or_default() {
            self.node_heard(number, clock, &frame);
        }
    }

    pub(super) fn ended(&mut self, number: WireNo, by: Side) {
        let Some(wire) = self.wires.get_mut(&number).filter(|_| by == Side::Node) else { return };
        wire.over = true;
        let connected = &mut self.ledgers[wire.node].connected;
        if connected.get(&wire.account).is_some_and(|(current, ..)| *current == number) {
            connected.remove(&wire.account);
        }
    }

    /// The connector says something.
    pub(super) fn node_sent(&mut self, number: WireNo, clock: i64, frame: &Bytes) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let (node, account) = (wire.node, wire.account);
        if wire.over {
            return;
        }
        match said(frame, clock) {
            Said::Request(request, about) => {
                wire.asked.insert(request, about.clone());
                match about {
                    Request::Prepare(key, asked) => self.sends_on(node, account, number, key, &asked, clock),
                    Request::Fulfill(id, fulfillment) => self.tells(node, account, number, id, Outcome::Fulfilled(fulfillment), clock),
                    Request::Reject(id) => self.tells(node, account, number, id, Outcome::Rejected, clock),
                    Request::Other => {}
                }
            }
            Said::Ack(request) => match wire.heard.get(&request).cloned() {
                Some(Request::Prepare(id, asked)) => self.acknowledges(node, account, id, &asked),
                Some(Request::Fulfill(key, fulfillment)) => self.takes(node, account, key, Some(fulfillment)),
                Some(Request::Reject(key)) => self.takes(node, account, key, None),
                Some(Request::Other) | None => {}
            },
            Said::Error(request, code) => match wire.heard.get(&request).cloned() {
                Some(Request::Prepare(id, asked)) => {
                    let repeat = wire.repeats.contains(&request);
                    self.refuses(node, account, id, &asked, clock, repeat);
                    self.refuses_rightly(node, account, id, &asked, &code);
                }
                Some(Request::Fulfill(key, fulfillment)) => self.refuses_fulfill(node, account, key, fulfillment, clock),
                _ => {}
            },
            Said::Nothing => {}
        }
    }

    fn sends_on(&mut self, node: NodeNo, account: AccountPlace, wire: WireNo, key: Id, asked: &Asked, clock: i64) {
        let (dedupes, least) = (self.dedupes(node, account), self.layout.outgoing_ms_min);
        let name = short(&key);
        let Some(transfer) = self.ledgers[node].transfers.get_mut(&key) else {
            return self.fail(node, Invariant::DurableFirst, format!("prepare {name} is sent and isn't durable"));
        };
        let own = &transfer.prepared;
        let same = transfer.to == Some(account)
            && (own.to.amount, own.expires_at, own.condition, &own.packet)
                == (asked.amount, asked.expires_at, asked.condition, &asked.packet);
        let (left, ended) = (own.expires_at - clock, transfer.outcome.is_some());
        transfer.sent.push(wire);
        let times = transfer.sent.len();
        if !same {
            self.fail(node, Invariant::AsRecorded, format!("prepare {name} isn't what its record says"));
        }
        if times > 1 && !dedupes {
            self.fail(node, Invariant::NothingTwice, format!("prepare {name} is sent for the time no. {times}"));
        }
        if left < least {
            self.fail(node, Invariant::Claimable, format!("prepare {name} is sent with {left} ms left"));
        }
        if ended {
            self.fail(node, Invariant::OneOutcome, format!("prepare {name} is sent after its end"));
        }
    }

    fn tells(&mut self, node: NodeNo, account: AccountPlace, wire: WireNo, id: Id, outcome: Outcome, clock: i64) {
        let dedupes = self.dedupes(node, account);
        let name = short(&id);
        let Some(key) = self.ledgers[node].by_incoming.get(&(account, id)).copied() else {
            return self.fail(node, Invariant::DurableFirst, format!("{outcome:?} is said of {name}, which was never held"));
        };
        let Some(transfer) = self.ledgers[node].transfers.get_mut(&key) else { return };
        transfer.answers.push((wire, clock));
        let (durable, times) = (transfer.outcome, transfer.answers.len());
        match durable {
            None => self.fail(node, Invariant::DurableFirst, format!("{outcome:?} is said of {name}, and isn't durable")),
            Some(durable) if durable != outcome => {
                self.fail(node, Invariant::OneOutcome, format!("{outcome:?} is said of {name}, durable is {durable:?}"));
            }
            Some(_) if times > 1 && !dedupes => {
                self.fail(node, Invariant::NothingTwice, format!("{outcome:?} is said of {name} for the time no. {times}"));
            }
            Some(_) => {}
        }
    }

    fn acknowledges(&mut self, node: NodeNo, account: AccountPlace, id: Id, asked: &Asked) {
        let held = self.ledgers[node].held_as(account, &id);
        if !held.is_some_and(|transfer| transfer.has(asked)) {
            let invariant = if held.is_some() { Invariant::OneHold } else { Invariant::DurableFirst };
            self.fail(node, invariant, format!("prepare {} is acknowledged, and not held as it was asked", short(&id)));
        }
    }

    fn takes(&mut self, node: NodeNo, account: AccountPlace, key: Id, fulfillment: Option<[u8; 32]>) {
        let transfer = self.ledgers[node].transfers.get(&key).filter(|transfer| transfer.to == Some(account));
        let Some(transfer) = transfer else {
            let what = format!("an answer to {} is acknowledged to somebody who it didn't go to", short(&key));
            return self.fail(node, Invariant::FulfillmentFits, what);
        };
        let outcome = transfer.outcome;
        let said = fulfillment.map_or(Outcome::Rejected, Outcome::Fulfilled);
        if outcome.is_none() {
            self.fail(node, Invariant::DurableFirst, format!("{said:?} of {} is acknowledged, and isn't durable", short(&key)));
        } else if fulfillment.is_some() && outcome != Some(said) {
            self.fail(node, Invariant::OneOutcome, format!("{said:?} of {} is acknowledged, durable is {outcome:?}", short(&key)));
        }
    }

    fn refuses(&mut self, node: NodeNo, account: AccountPlace, id: Id, asked: &Asked, clock: i64, repeat: bool) {
        let ledger = &mut self.ledgers[node];
        ledger.refused += 1;
        let mut times = 0;
        for known in ledger.asked.get_mut(&(account, id)).into_iter().flatten() {
            if (known.amount, known.condition, &known.packet) == (asked.amount, asked.condition, &asked.packet) {
                known.open = false;
                times += known.times;
            }
        }
        let held =
            ledger.held_as(account, &id).is_some_and(|transfer| transfer.has(asked) && clock < transfer.prepared.incoming_expires_at);
        // What was refused once and asked again may be held the second time, before the first answer leaves.
        if held && (repeat || times == 1) {
            self.fail(node, Invariant::ErrorAfterAck, format!("prepare {} is refused, and durably held", short(&id)));
        }
    }

    /// Whoever gives an id for the first time isn't told that it was used.
    fn refuses_rightly(&mut self, node: NodeNo, account: AccountPlace, id: Id, asked: &Asked, code: &str) {
        let times: u32 = self.ledgers[node].asked.get(&(account, id)).into_iter().flatten().map(|asked| asked.times).sum();
        // A hold that is too long has the same code.
        let too_long = asked.expires_at - asked.earliest_clock > self.layout.hold_ms_max;
        if code == "F00" && times == 1 && !too_long {
            let what = format!("prepare {} is refused as one that was used, and the account never used it", short(&id));
            self.fail(node, Invariant::OneHold, what);
        }
    }

    /// A fulfill that fits must be taken while there is time.
    fn refuses_fulfill(&mut self, node: NodeNo, account: AccountPlace, key: Id, fulfillment: [u8; 32], clock: i64) {
        let grace = self.layout.grace_ms;
        let Some(transfer) = self.ledgers[node].transfers.get(&key).filter(|transfer| transfer.to == Some(account)) else { return };
        let fits = transfer.fulfills.iter().any(|(said, _)| *said == fulfillment)
            && self.fits(&transfer.prepared.condition, &fulfillment)
            && clock < transfer.prepared.expires_at + grace;
        if fits && transfer.outcome != Some(Outcome::Rejected) {
            self.fail(
                node,
                Invariant::HoldEnds,
                format!("the fulfillment of {} is refused, though it fits and there is time", short(&key)),
            );
        }
    }

    fn fits(&self, condition: &[u8; 32], fulfillment: &[u8; 32]) -> bool {
        use sha2::{Digest, Sha256};
        Sha256::digest(fulfillment).as_slice() == condition
    }

    /// The connector hears something.
    pub(super) fn node_heard(&mut self, number: WireNo, clock: i64, frame: &Bytes) {
        let Some(wire) = self.wires.get_mut(&number) else {
            self.early.entry(number).or_default().push((clock, frame.clone()));
            return;
        };
        let (node, account) = (wire.node, wire.account);
        if wire.over {
            return;
        }
        let has_slot = wire.epoch == self.ledgers[node].epoch;
        match said(frame, clock) {
            Said::Request(request, about) => {
                let held = |id: &Id, asked: &Asked| self.ledgers[node].held_as(account, id).is_some_and(|transfer| transfer.has(asked));
                if matches!(&about, Request::Prepare(id, asked) if held(id, asked)) {
                    wire.repeats.insert(request);
                }
                wire.heard.insert(request, about.clone());
                match about {
                    Request::Prepare(id, asked) => {
                        let known = self.ledgers[node].asked.entry((account, id)).or_default();
                        let same = |known: &&mut Asked| {
                            (known.amount, known.expires_at, known.condition, &known.packet)
                                == (asked.amount, asked.expires_at, asked.condition, &asked.packet)
                        };
                        match known.iter_mut().find(same) {
                            Some(known) => {
                                known.earliest_clock = known.earliest_clock.min(clock);
                                known.times += 1;
                            }
                            None => known.push(Asked { open: has_slot, ..asked }),
                        }
                    }
                    Request::Fulfill(key, fulfillment) => {
                        if let Some(transfer) = self.ledgers[node].transfers.get_mut(&key).filter(|t| t.to == Some(account)) {
                            transfer.fulfills.push((fulfillment, clock));
                        }
                    }
                    Request::Reject(key) => {
                        if let Some(transfer) = self.ledgers[node].transfers.get_mut(&key).filter(|t| t.to == Some(account)) {
                            transfer.rejects += 1;
                        }
                    }
                    Request::Other => {}
                }
            }
            Said::Ack(request) => self.answered(number, request, true),
            Said::Error(request, _) => self.answered(number, request, false),
            Said::Nothing => {}
        }
    }

    /// A request of the connector's was answered.
    fn answered(&mut self, number: WireNo, request: u32, taken: bool) {
        let Some(wire) = self.wires.get(&number) else { return };
        let (node, account) = (wire.node, wire.account);
        let ledger = &mut self.ledgers[node];
        match wire.asked.get(&request) {
            Some(Request::Prepare(key, _)) => {
                if let Some(transfer) = ledger.transfers.get_mut(key) {
                    transfer.acked |= taken;
                    transfer.errors += u32::from(!taken);
                }
            }
            Some(Request::Fulfill(id, _) | Request::Reject(id)) => {
                let key = ledger.by_incoming.get(&(account, *id)).copied();
                if let Some(transfer) = key.and_then(|key| ledger.transfers.get_mut(&key)) {
                    transfer.answer_acks += u32::from(taken);
                    transfer.answer_errors += u32::from(!taken);
                }
            }
            Some(Request::Other) | None => {}
        }
    }

    /// The holder of the account says something: what it thinks of a fulfill that it was told of.
    pub(super) fn holder_sent(&mut self, _: WireNo, _: &Bytes) {}

    /// The holder of the account hears something.
    pub(super) fn holder_heard(&mut self, number: WireNo, clock: i64, frame: &Bytes) {
        let Some(wire) = self.wires.get(&number) else { return };
        let (node, account) = (wire.node, wire.account);
        let ledger = &mut self.ledgers[node];
        match said(frame, clock) {
            Said::Request(_, about @ (Request::Fulfill(..) | Request::Reject(_))) => {
                let (Request::Fulfill(id, _) | Request::Reject(id)) = &about else { return };
                let key = ledger.by_incoming.get(&(account, *id)).copied();
                if let Some(transfer) = key.and_then(|key| ledger.transfers.get_mut(&key)) {
                    let in_time = clock < transfer.prepared.incoming_expires_at;
                    match about {
                        Request::Fulfill(..) => transfer.sender_paid |= in_time,
                        _ => transfer.sender_rejected = true,
                    }
                }
            }
            ref said @ (Said::Ack(request) | Said::Error(request, _)) => {
                let taken = matches!(said, Said::Ack(_));
                let (key, fulfilled) = match wire.heard.get(&request) {
                    Some(Request::Fulfill(key, _)) => (key, true),
                    Some(Request::Reject(key)) => (key, false),
                    _ => return,
                };
                if let Some(transfer) = ledger.transfers.get_mut(key).filter(|transfer| transfer.to == Some(account) && taken) {
                    transfer.hop_taken.get_or_insert((fulfilled, taken));
                }
            }
            Said::Request(..) | Said::Nothing => {}
        }
    }

    /// Whether the same can be said to the account's peer twice. Asked of the network's plan, not of the product.
    pub(super) fn dedupes(&self, node: NodeNo, account: AccountPlace) -> bool {
        self.layout.nodes[node].accounts[account].protocol != PeerProtocol::Clp2017
    }
}

fn said(frame: &[u8], clock: i64) -> Said {
    let Ok(Packet { request_id: request, body }) = Packet::decode(frame, Dialect::Named, Extensions::NONE) else { return Said::Nothing };
    match body {
        Body::Ack(_) | Body::Response(_) => Said::Ack(request),
        Body::Error { reason, .. } => Said::Error(request, reason.error().code.as_str().to_owned()),
        Body::Prepare(prepare) => Said::Request(request, Request::Prepare(*prepare.transfer_id.as_bytes(), asked(&prepare, clock))),
        Body::Fulfill(fulfill) => {
            Said::Request(request, Request::Fulfill(*fulfill.transfer_id.as_bytes(), *fulfill.fulfillment.as_bytes()))
        }
        Body::Reject(reject) => Said::Request(request, Request::Reject(*reject.transfer_id.as_bytes())),
        Body::Message(_) | Body::Transfer(_) => Said::Request(request, Request::Other),
    }
}

fn asked(prepare: &Prepare<'_>, clock: i64) -> Asked {
    let packet = prepare.data.iter().next().map(|entry| entry.data.to_vec()).unwrap_or_default();
    Asked {
        amount: prepare.amount.get(),
        expires_at: prepare.expires_at.unix_millis(),
        condition: *prepare.condition.as_bytes(),
        packet,
        earliest_clock: clock,
        times: 1,
        open: true,
    }
}
