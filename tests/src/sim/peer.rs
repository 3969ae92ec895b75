//! Peers: whoever has an account and isn't a connector.

use super::plan::{Decision, PeerPlan, Plan};
use super::rng::Rng;
use bytes::Bytes;
use ilp_clp::{
    Answer, Credentials, IncomingAnswer, IncomingRequest, InterledgerError, Request, Session, SessionConfig, SessionEvent, Setup,
    SetupConfig, SetupEvent,
};
use ilp_oer::clp::{Dialect, Entry, Fulfill, Prepare, ProtocolData, Reject};
use ilp_oer::ilp::{Packet, Payment as IlpPayment};
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp, TransferId};
use std::collections::BTreeMap;

/// Longer than a run.
const WAIT_MS: i64 = 10_000_000;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) plan: PeerPlan,
    pub(super) dedupes: bool,
    address: Address,
    name: String,
    session: Session,
    setup: Setup,
    /// The connector has let it in, or lets it in without a word.
    pub(super) ready: bool,
    sent: BTreeMap<TransferId, Sent>,
    received: BTreeMap<TransferId, Received>,
    /// What its requests were about, by their tags.
    asked: Vec<About>,
    /// Until when it looks at nothing.
    pub(super) silent_until: i64,
    /// It breaks its connection at the next word about money.
    pub(super) nervous: bool,
    /// Such a word was said since somebody looked.
    pub(super) said_money: bool,
    rng: Rng,
}

/// A transfer of its own.
#[derive(Debug, Clone)]
struct Sent {
    amount: u64,
    condition: Condition,
    packet: Vec<u8>,
    expires_at: Timestamp,
    /// It was on a connection.
    said: bool,
    acked: bool,
    ended: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Paid,
    Rejected,
    Refused,
    Late,
}

/// A transfer to it.
#[derive(Debug)]
struct Received {
    condition: Condition,
    fulfillment: Fulfillment,
    expires_at: Timestamp,
    /// Said, and not yet confirmed or refused.
    outcome: Option<Said>,
    said: bool,
    confirmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Fulfilled,
    Rejected,
    Refused,
}

#[derive(Debug, Clone, Copy)]
enum About {
    Sent(TransferId),
    Received(TransferId),
    Nothing,
}

/// What it wants the engine to do later: decide about a transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    /// In true milliseconds …
    pub(super) at: i64,
    /// … or so that it arrives when the connector's clock shows this.
    pub(super) aim: Option<i64>,
    pub(super) transfer: TransferId,
}

impl Peer {
    pub(super) fn new(plan: &Plan, no: usize, rng: Rng) -> Self {
        let of = &plan.peers[no];
        let account = &plan.layout.nodes[of.node].accounts[of.account];
        let (session, setup) = fresh(&account.name, &of.address);
        Self {
            plan: of.clone(),
            dedupes: account.dedupes(),
            address: Address::new(of.address.clone()).unwrap(),
            name: account.name.clone(),
            session,
            setup,
            ready: false,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            asked: Vec::new(),
            silent_until: i64::MIN,
            nervous: false,
            said_money: false,
            rng,
        }
    }

    pub(super) fn clock(&self, now: i64) -> i64 {
        now + self.plan.clock_offset_ms
    }

    fn time(&self, now: i64) -> Timestamp {
        Timestamp::from_unix_millis(self.clock(now)).unwrap()
    }

    /// A connection is there.
    pub(super) fn connected(&mut self, now: i64, out: &mut Vec<Bytes>) {
        (self.session, self.setup) = fresh(&self.name, &self.plan.address);
        if self.dedupes {
            let at = self.time(now);
            self.setup.start(&mut self.session, at, out, &mut Vec::new());
        } else {
            self.ready = true;
            self.speak(now, out);
        }
    }

    /// The connection is gone.
    pub(super) fn closed(&mut self) {
        self.ready = false;
    }

    /// Says what it has to say on a new connection: all that isn't settled, or only what it never said if it doesn't dedupe.
    fn speak(&mut self, now: i64, out: &mut Vec<Bytes>) {
        let at = self.time(now);
        let (dedupes, own) = (self.dedupes, &self.sent);
        let again = |sent: &Sent| sent.ended.is_none() && at < sent.expires_at && (!sent.said || (dedupes && !sent.acked));
        let prepares: Vec<_> = own.iter().filter(|(_, sent)| again(sent)).map(|(id, _)| *id).collect();
        for id in prepares {
            self.prepare(id, now, out);
        }
        let owed = |r: &Received| !r.confirmed && matches!(r.outcome, Some(Said::Fulfilled | Said::Rejected)) && (!r.said || dedupes);
        let answers: Vec<_> = self.received.iter().filter(|(_, received)| owed(received)).map(|(id, _)| *id).collect();
        for id in answers {
            self.say(id, now, out);
        }
    }

    /// Pays.
    pub(super) fn pay(&mut self, plan: &Plan, payment: usize, now: i64, out: &mut Vec<Bytes>) {
        let payment = &plan.payments[payment];
        let destination = Address::new(plan.address_of(payment.to)).unwrap();
        let wanted = Amount::new(payment.wanted);
        let data = vec![7; payment.data_len];
        let packet = Packet::Payment(IlpPayment { amount: wanted, account: destination.as_addr(), data: &data }).to_vec().unwrap();
        let id = TransferId::new(self.rng.bytes());
        let expires_at = self.time(now).saturating_add_millis(payment.expires_ms);
        let condition = payment.condition;
        let sent = Sent { amount: payment.amount, condition, packet, expires_at, said: false, acked: false, ended: None };
        self.sent.insert(id, sent);
        if self.ready {
            self.prepare(id, now, out);
        }
    }

    /// Takes a frame. What it will do later goes to `later`.
    pub(super) fn hear(&mut self, plan: &Plan, frame: Bytes, now: i64, out: &mut Vec<Bytes>, later: &mut Vec<Later>) {
        let mut events = Vec::new();
        self.session.handle_frame(frame, &mut events).unwrap();
        for event in events {
            let (mut setup_events, at) = (Vec::new(), self.time(now));
            // A peer of 2017 knows of no greeting.
            let rest = match self.dedupes {
                true => self.setup.handle(event, &mut self.session, at, out, &mut setup_events),
                false => Some(event),
            };
            if setup_events.iter().any(|event| matches!(event, SetupEvent::Authenticated { .. })) && !self.ready {
                self.ready = true;
                self.speak(now, out);
            }
            match rest {
                Some(SessionEvent::Answered { tag, answer, .. }) => self.answered(tag, &answer),
                Some(SessionEvent::Request { id, request }) => self.asked(plan, id, request, now, out, later),
                None => {}
            }
        }
    }

    fn answered(&mut self, tag: u64, answer: &IncomingAnswer) {
        let taken = match answer {
            IncomingAnswer::Ack(_) | IncomingAnswer::Response(_) => true,
            IncomingAnswer::Error { .. } => false,
            IncomingAnswer::Malformed | IncomingAnswer::TimedOut | IncomingAnswer::Lost => return,
        };
        match self.asked.get(usize::try_from(tag).unwrap()).copied() {
            Some(About::Received(id)) => {
                if let Some(received) = self.received.get_mut(&id) {
                    received.confirmed = true;
                }
            }
            Some(About::Sent(id)) => {
                self.said_money = true;
                let Some(sent) = self.sent.get_mut(&id) else { return };
                sent.acked |= taken;
                if !taken && sent.ended.is_none() && !sent.acked {
                    sent.ended = Some(Ended::Refused);
                }
            }
            Some(About::Nothing) | None => {}
        }
    }

    fn asked(&mut self, plan: &Plan, request: u32, asked: IncomingRequest, now: i64, out: &mut Vec<Bytes>, later: &mut Vec<Later>) {
        let at = self.time(now);
        let (id, fulfillment) = match asked {
            IncomingRequest::Prepare { transfer_id, condition, expires_at, .. } => {
                self.said_money = true;
                self.prepared(plan, request, transfer_id, condition, expires_at, now, out, later);
                return;
            }
            IncomingRequest::Fulfill { transfer_id, fulfillment, .. } => (transfer_id, Some(fulfillment)),
            IncomingRequest::Reject { transfer_id, .. } => (transfer_id, None),
            IncomingRequest::Message { .. } => return self.answer(request, Answer::Ack(ProtocolData::EMPTY), out),
            IncomingRequest::Transfer { .. } => return,
        };
        self.said_money = true;
        let Some(sent) = self.sent.get_mut(&id) else {
            return self.refuse(request, ErrorCode::F00_BAD_REQUEST, now, out);
        };
        let good = fulfillment.is_none_or(|fulfillment| sent.condition.is_fulfilled_by(&fulfillment));
        let ends = match (fulfillment, good) {
            (Some(_), true) if at < sent.expires_at || sent.ended == Some(Ended::Paid) => Ended::Paid,
            (Some(_), true) => Ended::Late,
            (Some(_), false) => return self.refuse(request, ErrorCode::F05_WRONG_CONDITION, now, out),
            (None, _) => Ended::Rejected,
        };
        sent.acked = true;
        let ends = *sent.ended.get_or_insert(ends);
        match ends {
            Ended::Late => self.refuse(request, ErrorCode::R00_TRANSFER_TIMED_OUT, now, out),
            _ => self.answer(request, Answer::Ack(ProtocolData::EMPTY), out),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the prepare's fields")]
    fn prepared(
        &mut self,
        plan: &Plan,
        request: u32,
        id: TransferId,
        condition: Condition,
        expires_at: Timestamp,
        now: i64,
        out: &mut Vec<Bytes>,
        later: &mut Vec<Later>,
    ) {
        let Some(payment) = plan.payment_of(&condition) else {
            return self.refuse(request, ErrorCode::F06_UNEXPECTED_PAYMENT, now, out);
        };
        let known = self.received.contains_key(&id);
        let fulfillment = payment.fulfillment;
        let received = Received { condition, fulfillment, expires_at, outcome: None, said: false, confirmed: false };
        let received = self.received.entry(id).or_insert(received);
        if payment.decision == Decision::Refuse {
            received.outcome.get_or_insert(Said::Refused);
            return self.refuse(request, ErrorCode::F99_APPLICATION_ERROR, now, out);
        }
        if payment.acks || known {
            self.answer(request, Answer::Ack(ProtocolData::EMPTY), out);
        }
        if known {
            // It asks again: it may not have the answer.
            if self.received.get(&id).is_some_and(|received| received.outcome.is_some()) && self.dedupes {
                self.say(id, now, out);
            }
            return;
        }
        let (at, aim) = match payment.decision {
            Decision::Fulfill | Decision::Reject => (now + payment.decision_ms, None),
            Decision::FulfillAtExpiry(after) => (now, Some(expires_at.unix_millis() + after)),
            Decision::Refuse | Decision::Ignore => return,
        };
        later.push(Later { at, aim, transfer: id });
    }

    /// The time has come to decide about a transfer.
    pub(super) fn decide(&mut self, plan: &Plan, id: TransferId, honest: bool, now: i64, out: &mut Vec<Bytes>) {
        let at = self.time(now);
        let Some(received) = self.received.get_mut(&id) else { return };
        let Some(payment) = plan.payment_of(&received.condition) else { return };
        if received.outcome.is_some() {
            return;
        }
        let fulfills = matches!(payment.decision, Decision::Fulfill | Decision::FulfillAtExpiry(_));
        let in_time = at < received.expires_at || !honest;
        received.outcome = Some(if fulfills && in_time { Said::Fulfilled } else { Said::Rejected });
        if self.ready {
            self.say(id, now, out);
        }
    }

    fn prepare(&mut self, id: TransferId, now: i64, out: &mut Vec<Bytes>) {
        let at = self.time(now);
        let Some(sent) = self.sent.get_mut(&id) else { return };
        sent.said = true;
        // What was refused left no trace: asking again is a new attempt.
        sent.ended = sent.ended.filter(|ended| *ended != Ended::Refused);
        let sent = sent.clone();
        let entries = [Entry::named("ilp", 0, &sent.packet)];
        let data = ProtocolData::entries(Dialect::Named, &entries);
        let (amount, condition, expires_at) = (Amount::new(sent.amount), sent.condition, sent.expires_at);
        let tag = self.about(About::Sent(id));
        let prepare = Prepare { transfer_id: id, amount, condition, expires_at, data };
        self.session.send(tag, Request::Prepare(prepare), at, WAIT_MS, out).unwrap();
        self.said_money = true;
    }

    /// Says what it has decided.
    fn say(&mut self, id: TransferId, now: i64, out: &mut Vec<Bytes>) {
        let Some(received) = self.received.get_mut(&id) else { return };
        let Some(outcome) = received.outcome else { return };
        received.said = true;
        let fulfillment = (outcome == Said::Fulfilled).then_some(received.fulfillment);
        self.end(id, fulfillment, About::Received(id), now, out);
    }

    /// Says everything again that it ever said.
    pub(super) fn replay(&mut self, now: i64, out: &mut Vec<Bytes>) {
        if !self.ready {
            return;
        }
        for id in self.sent.iter().filter(|(_, sent)| sent.said).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.prepare(id, now, out);
        }
        let dedupes = self.dedupes;
        let said = |received: &Received| dedupes && received.said && received.outcome != Some(Said::Refused);
        for id in self.received.iter().filter(|(_, received)| said(received)).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.say(id, now, out);
        }
    }

    /// Transfers that it knows of, with what fulfills them.
    pub(super) fn transfers(&self, plan: &Plan) -> Vec<(TransferId, Fulfillment)> {
        let sent = self.sent.iter().filter_map(|(id, sent)| Some((*id, plan.payment_of(&sent.condition)?.fulfillment)));
        sent.chain(self.received.iter().map(|(id, received)| (*id, received.fulfillment))).collect()
    }

    /// Says what isn't so. `others`: transfers that aren't its own, with what would fulfill them.
    pub(super) fn lie(&mut self, others: &[(TransferId, Fulfillment)], now: i64, out: &mut Vec<Bytes>) {
        if !self.ready {
            return;
        }
        let wrong = Fulfillment::new(self.rng.bytes());
        for (id, fulfillment) in others {
            let fulfillment = *self.rng.pick(&[Some(*fulfillment), Some(wrong), None]);
            self.end(*id, fulfillment, About::Nothing, now, out);
        }
        for (id, right) in self.received.iter().map(|(id, received)| (*id, received.fulfillment)).collect::<Vec<_>>() {
            let fulfillment = *self.rng.pick(&[Some(right), Some(wrong), None]);
            self.end(id, fulfillment, About::Nothing, now, out);
        }
        // Its own ids with other amounts, and the ids of others' transfers with its own.
        let own: Vec<_> = self.sent.iter().map(|(id, sent)| (*id, sent.clone())).collect();
        for (id, sent) in own.iter().take(8) {
            let other = others.first().map_or(*id, |(other, _)| *other);
            let id = if self.rng.percent(50) { *id } else { other };
            let changed = Sent { amount: sent.amount.saturating_add(1), ..sent.clone() };
            let known = self.sent.insert(id, changed);
            self.prepare(id, now, out);
            match known {
                Some(known) => drop(self.sent.insert(id, known)),
                None => drop(self.sent.remove(&id)),
            }
        }
    }

    /// Says that a transfer has ended.
    fn end(&mut self, id: TransferId, fulfillment: Option<Fulfillment>, about: About, now: i64, out: &mut Vec<Bytes>) {
        let (at, data) = (self.time(now), ProtocolData::EMPTY);
        let error = self.error(ErrorCode::F99_APPLICATION_ERROR, now);
        let packet = error.packet().unwrap();
        let request = match fulfillment {
            Some(fulfillment) => Request::Fulfill(Fulfill { transfer_id: id, fulfillment, data }),
            None => Request::Reject(Reject { transfer_id: id, reason: packet.into(), data }),
        };
        let tag = self.about(about);
        self.session.send(tag, request, at, WAIT_MS, out).unwrap();
        self.said_money = true;
    }

    fn about(&mut self, about: About) -> u64 {
        self.asked.push(about);
        u64::try_from(self.asked.len() - 1).unwrap()
    }

    fn answer(&mut self, request: u32, answer: Answer<'_>, out: &mut Vec<Bytes>) {
        self.session.answer(request, answer, out).unwrap();
    }

    fn refuse(&mut self, request: u32, code: ErrorCode, now: i64, out: &mut Vec<Bytes>) {
        let error = self.error(code, now);
        let packet = error.packet().unwrap();
        self.answer(request, Answer::Error { reason: packet.into(), data: ProtocolData::EMPTY }, out);
    }

    fn error(&self, code: ErrorCode, now: i64) -> InterledgerError {
        InterledgerError::new(code, "Sample", self.address.as_addr(), self.time(now), b"").unwrap()
    }
}

fn fresh(name: &str, address: &str) -> (Session, Setup) {
    let config = SetupConfig::new(Address::new(address).unwrap());
    let session = Session::new(SessionConfig { dialect: Some(Dialect::Named), ..SessionConfig::default() });
    (session, Setup::client(config, Credentials::new(name, "token", "")))
}
