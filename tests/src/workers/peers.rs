//! The peers: what each has asked for, was asked for, and knows of it.

use super::unit::TIMING;
use super::{ADDRESS, Event, World};
use bytes::Bytes;
use ilp_core::link::{Answer, IncomingPrepare, LinkCommand, LinkEvent, Payload};
use ilp_core::worker::ConnectionId;
use ilp_oer::ilp::{ErrorPacket, Packet, Payment as IlpPayment};
use ilp_oer::{Address, Amount, Condition, Fulfillment, Timestamp, TransferId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) next_request: u32,
    /// Requests that wait for an answer.
    asked: BTreeMap<(ConnectionId, u32), Asked>,
    /// The connector's requests that it hasn't answered, by connection.
    pub(crate) unanswered: BTreeMap<ConnectionId, BTreeSet<u64>>,
    /// What it was asked to fulfill.
    pub(crate) received: BTreeMap<TransferId, Received>,
}

#[derive(Debug, Clone)]
enum Asked {
    Prepare(usize),
    Outcome(TransferId),
}

#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) payment: usize,
    pub(crate) amount: u64,
    pub(crate) expires_at: i64,
    pub(crate) decision: Option<bool>,
    /// The connector has taken the outcome, or refused it.
    pub(crate) taken: Option<bool>,
}

#[derive(Debug)]
pub(crate) struct Payment {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) amount: u64,
    pub(crate) id: TransferId,
    pub(crate) fulfillment: Fulfillment,
    condition: Condition,
    pub(crate) expires_at: i64,
    packet: Bytes,
    pub(crate) asks: u32,
    pub(crate) acked: bool,
    pub(crate) refused: BTreeMap<String, u32>,
    pub(crate) outcome: Option<bool>,
}

impl World {
    pub(crate) fn plan_payment(&mut self, no: usize) {
        let from = self.rng.index(self.peers.len());
        let to = (from + 1 + self.rng.index(self.peers.len() - 1)) % self.peers.len();
        let amount = u64::try_from(self.rng.range(1, 120)).unwrap();
        let payment = self.new_payment(from, to, amount);
        assert_eq!(no, self.payments.len());
        self.payments.push(payment);
    }

    pub(crate) fn new_payment(&mut self, from: usize, to: usize, amount: u64) -> Payment {
        let fulfillment = Fulfillment::new(self.rng.bytes());
        let destination = Address::new(format!("{ADDRESS}.p{to}")).unwrap();
        let packet = Packet::Payment(IlpPayment { amount: Amount::new(amount), account: destination.as_addr(), data: &[] });
        Payment {
            from,
            to,
            amount,
            id: TransferId::new(self.rng.bytes()),
            condition: fulfillment.condition(),
            fulfillment,
            expires_at: 0,
            packet: packet.to_vec().unwrap().into(),
            asks: 0,
            acked: false,
            refused: BTreeMap::new(),
            outcome: None,
        }
    }

    /// A payment begins, or is asked for again.
    pub(crate) fn pay(&mut self, no: usize) {
        let Some(connection) = self.any_connection(self.payments[no].from) else {
            if self.payments[no].asks == 0 {
                let at = self.now + 300;
                self.at(at, Event::Pay(no));
            }
            return;
        };
        if self.payments[no].asks == 0 {
            self.payments[no].expires_at = self.now + self.rng.range(4_000, 15_000);
            self.count("payments");
        }
        self.ask(no, connection);
        if self.rng.percent(30)
            && let Some(other) = self.any_connection(self.payments[no].from)
        {
            // At once, on another connection or the same.
            self.count("asked twice");
            self.ask(no, other);
        }
        if self.rng.percent(20) {
            let at = self.now + self.rng.range(1, 5_000);
            self.count("asked again");
            self.at(at, Event::Pay(no));
        }
    }

    pub(crate) fn any_connection(&mut self, peer: usize) -> Option<ConnectionId> {
        let connections = &self.peers[peer].connections;
        (!connections.is_empty()).then(|| connections[self.rng.index(connections.len())])
    }

    pub(crate) fn ask(&mut self, no: usize, connection: ConnectionId) {
        let payment = &mut self.payments[no];
        payment.asks += 1;
        let transfer = IncomingPrepare {
            id: payment.id,
            amount: Amount::new(payment.amount),
            condition: payment.condition,
            expires_at: Timestamp::from_unix_millis(payment.expires_at).unwrap(),
            payload: Payload::ilp(payment.packet.clone()),
        };
        let peer = payment.from;
        let request = self.request(peer, connection, Asked::Prepare(no));
        self.send(connection, LinkEvent::Prepare { request, transfer });
    }

    fn request(&mut self, peer: usize, connection: ConnectionId, asked: Asked) -> u32 {
        let peer = &mut self.peers[peer];
        peer.next_request += 1;
        peer.asked.insert((connection, peer.next_request), asked);
        peer.next_request
    }

    fn send(&mut self, connection: ConnectionId, event: LinkEvent) {
        let ms = self.rng.range(0, 5);
        self.in_order((connection.0, u64::MAX), ms, Event::ToUnit { connection, event });
    }

    pub(crate) fn dial(&mut self, peer: usize) {
        // Dealt to one of the slots that serve the account, or to any if none of them is there.
        let serving = self.store.rows[&self.configs[peer].id].slots.clone();
        let most = serving.len().min(3);
        if self.peers[peer].connections.len() >= most {
            return;
        }
        let mut units: Vec<_> = serving.iter().filter_map(|slot| self.current(*slot)).collect();
        if units.is_empty() || self.rng.percent(10) {
            units = self.slots.iter().filter_map(|slot| self.current(*slot)).collect();
        }
        // One at a worker: a second takes the place of the first, now and then.
        let taken: Vec<_> = self.peers[peer].connections.iter().filter_map(|id| Some(self.wires.get(id)?.unit)).collect();
        let again = self.rng.percent(10);
        units.retain(|no| self.units[no].paused_until <= self.now && (again || !taken.contains(no)));
        if units.is_empty() {
            let at = self.now + 200;
            return self.at(at, Event::Dial(peer));
        }
        let unit = *self.rng.pick(&units);
        let connection = self.let_in(peer, unit);
        self.count("connections");
        self.peers[peer].connections.push(connection);
        // What it doesn't know the end of it says again.
        let outcomes: Vec<_> = self.peers[peer]
            .received
            .iter()
            .filter(|(_, received)| received.decision.is_some() && received.taken.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in outcomes {
            self.say_outcome(peer, id, connection);
        }
        let now = self.now;
        let open: Vec<_> = (0..self.payments.len())
            .filter(|no| {
                let payment = &self.payments[*no];
                payment.from == peer && payment.asks > 0 && payment.outcome.is_none() && payment.expires_at > now
            })
            .collect();
        for no in open {
            if self.rng.percent(60) {
                self.ask(no, connection);
            }
        }
    }

    /// A connection breaks; each side hears of it in its own time.
    pub(crate) fn cut(&mut self, connection: ConnectionId) {
        self.gone(connection);
        let ms = self.rng.range(0, 50);
        self.at(self.now + ms, Event::Lost { connection });
    }

    pub(crate) fn lost(&mut self, connection: ConnectionId) {
        let Some(wire) = self.wires.remove(&connection) else { return };
        let peer = &mut self.peers[wire.peer];
        peer.connections.retain(|other| *other != connection);
        peer.asked.retain(|(of, _), _| *of != connection);
        peer.unanswered.remove(&connection);
        let at = self.now + self.rng.range(10, 400);
        self.at(at, Event::Dial(wire.peer));
    }

    pub(crate) fn take_unanswered(&mut self, connection: ConnectionId) -> BTreeSet<u64> {
        let peer = self.wires.get(&connection).map(|wire| wire.peer);
        peer.and_then(|peer| self.peers[peer].unanswered.remove(&connection)).unwrap_or_default()
    }

    fn answer(&mut self, peer: usize, connection: ConnectionId, tag: u64) {
        self.peers[peer].unanswered.entry(connection).or_default().remove(&tag);
        self.send(connection, LinkEvent::Answered { tag, answer: Answer::Ack });
    }

    /// What the connector says to a peer.
    pub(crate) fn hears_connector(&mut self, connection: ConnectionId, command: LinkCommand) {
        let Some(peer) = self.wires.get(&connection).map(|wire| wire.peer) else { return };
        match command {
            LinkCommand::Prepare { tag, id, amount, condition, expires_at, .. } => {
                self.peers[peer].unanswered.entry(connection).or_default().insert(tag);
                self.prepared(peer, id, amount.get(), condition, expires_at.unix_millis());
                self.answer(peer, connection, tag);
                let Some(received) = self.peers[peer].received.get(&id) else { return };
                if received.decision.is_some() && received.taken.is_none() {
                    self.say_outcome(peer, id, connection);
                }
            }
            LinkCommand::Fulfill { tag, id, fulfillment } => {
                self.peers[peer].unanswered.entry(connection).or_default().insert(tag);
                self.ended(peer, id, Some(fulfillment));
                self.answer(peer, connection, tag);
            }
            LinkCommand::Reject { tag, id, .. } => {
                self.peers[peer].unanswered.entry(connection).or_default().insert(tag);
                self.ended(peer, id, None);
                self.answer(peer, connection, tag);
            }
            LinkCommand::Answer { request, answer } => {
                let Some(asked) = self.peers[peer].asked.remove(&(connection, request)) else {
                    return self.broken("one-outcome", format!("p{peer} is answered what it didn't ask"));
                };
                self.answered(peer, asked, answer);
            }
            _ => {}
        }
    }

    fn prepared(&mut self, peer: usize, id: TransferId, amount: u64, condition: Condition, expires_at: i64) {
        if self.peers[peer].received.contains_key(&id) {
            self.count("prepares said again");
            return;
        }
        let Some(no) = self.payments.iter().position(|payment| payment.condition == condition) else {
            return self.broken("as-recorded", format!("p{peer} is asked for what nobody pays"));
        };
        let payment = &self.payments[no];
        if (payment.to, payment.amount, payment.expires_at - TIMING.window_ms) != (peer, amount, expires_at) {
            return self.broken("as-recorded", format!("p{peer} gets payment {no} with {amount} until {expires_at}, it is {payment:?}"));
        }
        if let Some((other, _)) = self.peers[peer].received.iter().find(|(_, other)| other.payment == no) {
            return self.broken("one-hold", format!("payment {no} is held twice: as {other:?} and {id:?}"));
        }
        self.count("prepares");
        self.peers[peer].received.insert(id, Received { payment: no, amount, expires_at, decision: None, taken: None });
        let ms = self.rng.range(0, 300);
        if self.rng.percent(90) || self.calm {
            self.at(self.now + ms, Event::Decided { peer, id });
        }
    }

    pub(crate) fn decided(&mut self, peer: usize, id: TransferId) {
        let fulfills = self.calm || self.rng.percent(75);
        let Some(received) = self.peers[peer].received.get_mut(&id) else { return };
        if self.now >= received.expires_at || received.decision.is_some() {
            return;
        }
        received.decision = Some(fulfills);
        if let Some(connection) = self.any_connection(peer) {
            self.say_outcome(peer, id, connection);
        }
    }

    /// What it doesn't know the end of it says again, as long as there is time.
    pub(crate) fn say_again(&mut self, peer: usize) {
        let Some(connection) = self.any_connection(peer) else { return };
        let now = self.now;
        let open = |received: &Received| received.decision.is_some() && received.taken.is_none() && received.expires_at > now;
        let outcomes: Vec<_> = self.peers[peer].received.iter().filter(|(_, received)| open(received)).map(|(id, _)| *id).collect();
        for id in outcomes {
            self.say_outcome(peer, id, connection);
        }
    }

    fn say_outcome(&mut self, peer: usize, id: TransferId, connection: ConnectionId) {
        let received = &self.peers[peer].received[&id];
        let (fulfills, fulfillment) = (received.decision == Some(true), self.payments[received.payment].fulfillment);
        let request = self.request(peer, connection, Asked::Outcome(id));
        let event = match fulfills {
            true => LinkEvent::Fulfill { request, id, fulfillment },
            false => LinkEvent::Reject { request, id, reason: reason(self.now) },
        };
        self.send(connection, event);
    }

    fn answered(&mut self, peer: usize, asked: Asked, answer: Answer) {
        match asked {
            Asked::Prepare(no) => match answer {
                Answer::Ack => self.payments[no].acked = true,
                Answer::Error(reason) => {
                    let code = ErrorPacket::decode(&reason).unwrap().code.as_str().to_owned();
                    *self.payments[no].refused.entry(code).or_default() += 1;
                    self.count("refused");
                }
                other => self.broken("one-outcome", format!("a prepare is answered {other:?}")),
            },
            Asked::Outcome(id) => {
                let (taken, now) = (answer == Answer::Ack, self.now);
                let Some(received) = self.peers[peer].received.get_mut(&id) else { return };
                if !taken && now >= received.expires_at {
                    // It may have been taken before, and forgotten since.
                    return;
                }
                match received.taken {
                    // A repeat may be refused as decided; what was taken stays so.
                    Some(before) if before != taken && received.decision == Some(true) && !before => {
                        let what = format!("p{peer} was refused the fulfill of {id:?}, and then it was taken");
                        self.broken("one-outcome", what);
                    }
                    Some(true) => {}
                    _ => received.taken = Some(taken),
                }
            }
        }
    }

    /// The sender hears the end of its payment.
    fn ended(&mut self, peer: usize, id: TransferId, fulfillment: Option<Fulfillment>) {
        let Some(no) = self.payments.iter().position(|payment| payment.id == id && payment.from == peer) else {
            return self.broken("one-outcome", format!("p{peer} hears the end of a payment that it never made"));
        };
        let payment = &mut self.payments[no];
        if fulfillment.is_some_and(|with| with != payment.fulfillment) {
            return self.broken("one-outcome", format!("payment {no} is fulfilled with something else"));
        }
        let outcome = fulfillment.is_some();
        match payment.outcome.replace(outcome) {
            Some(before) if before != outcome => self.broken("one-outcome", format!("payment {no} ended twice: {before}, then {outcome}")),
            _ => {}
        }
    }
}

fn reason(now: i64) -> Bytes {
    let by = Address::new("test.far").unwrap();
    ErrorPacket {
        code: "F99".parse().unwrap(),
        name: "Application Error",
        triggered_by: by.as_addr(),
        forwarded_by: ilp_oer::ilp::AddrList::EMPTY,
        triggered_at: Timestamp::from_unix_millis(now).unwrap(),
        data: b"no",
    }
    .to_vec()
    .unwrap()
    .into()
}
