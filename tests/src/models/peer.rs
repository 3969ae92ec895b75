//! A scripted peer with books of its own.

use super::scenario::{Answers, EXPIRES_MS, NAMES, Payment, START, Scenario};
use super::{Check, Step, Violation};
use bytes::Bytes;
use ilp_clp::{
    Answer, Credentials, IncomingAnswer, IncomingRequest, InterledgerError, Request, Session, SessionConfig, SessionEvent, Setup,
    SetupConfig, SetupEvent,
};
use ilp_oer::clp::{Dialect, Entry, Fulfill, Prepare, ProtocolData, Reject};
use ilp_oer::ilp::{Packet, Payment as IlpPayment};
use ilp_oer::{Address, Amount, ErrorCode, Fulfillment, Timestamp, TransferId};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Peer {
    me: usize,
    dedupes: bool,
    refuses_repeats: bool,
    pub(super) connected: bool,
    session: Session,
    setup: Setup,
    /// What it sends, by the payment's place.
    pub(super) sent: BTreeMap<usize, Sent>,
    /// What it received, by the payment's place, which the amount tells.
    pub(super) received: BTreeMap<usize, Received>,
}

/// A transfer of the peer's own.
#[derive(Debug)]
pub(super) struct Sent {
    id: TransferId,
    to: usize,
    pub(super) acked: bool,
    pub(super) end: End,
}

/// What a sender knows of its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing: if that stays so, its money is its own again at the expiry.
    Open,
    /// Fulfilled in time: it has paid.
    Paid,
    /// Rejected after an Ack: its money is its own again.
    Rejected,
    /// Answered by an Error at once.
    Refused,
    /// Fulfilled after its expiry: it has refused to pay.
    Late,
}

/// A transfer to the peer.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: TransferId,
    expires_at: Timestamp,
    answers: Answers,
    /// Requests of this connection that wait for an Ack.
    unacked: Vec<u32>,
    /// How often it came in.
    heard: u8,
    acked: bool,
    pub(super) outcome: Option<Outcome>,
    /// Whether the connector took the outcome; `None` if it hasn't said.
    pub(super) confirmed: Option<bool>,
}

/// What a receiver decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fulfilled,
    Rejected,
    Refused,
}

/// What a receiver can do about a transfer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Ack,
    Refuse,
    Fulfill,
    Reject,
}

impl Move {
    /// The step that makes it, about the payment at this place.
    pub(super) fn step(self, place: usize) -> Step {
        match self {
            Self::Ack => Step::Ack(place),
            Self::Refuse => Step::Refuse(place),
            Self::Fulfill => Step::Fulfill(place),
            Self::Reject => Step::Reject(place),
        }
    }
}

pub(super) fn preimage(place: usize) -> Fulfillment {
    Fulfillment::new([u8::try_from(place + 1).unwrap(); 32])
}

/// The payment with this amount.
pub(super) fn place_of(amount: u64) -> usize {
    (0..).find(|place| Payment::amount(*place) >= amount).unwrap_or_default()
}

impl Peer {
    pub(super) fn new(me: usize, scenario: &Scenario) -> Self {
        let own = scenario.payments.iter().enumerate().filter(|(_, payment)| payment.from == me);
        let sent = own
            .map(|(place, payment)| (place, Sent { id: TransferId::new([payment.id; 16]), to: payment.to, acked: false, end: End::Open }));
        let (session, setup) = fresh(me);
        Self {
            me,
            dedupes: scenario.dedupes[me],
            refuses_repeats: scenario.refuses_repeats,
            connected: false,
            session,
            setup,
            sent: sent.collect(),
            received: BTreeMap::new(),
        }
    }

    /// A new connection is there.
    pub(super) fn start(&mut self, now: Timestamp) -> Vec<Bytes> {
        (self.session, self.setup) = fresh(self.me);
        self.connected = true;
        let mut frames = Vec::new();
        if self.dedupes {
            self.setup.start(&mut self.session, now, &mut frames, &mut Vec::new());
        }
        frames
    }

    /// Greets: a peer of 2017 has nothing to say.
    pub(super) fn greet(&mut self, heard: Vec<Bytes>, now: Timestamp) -> Vec<Bytes> {
        let (mut frames, mut events, mut setup_events) = (Vec::new(), Vec::new(), Vec::new());
        for frame in heard {
            self.session.handle_frame(frame, &mut events).unwrap();
        }
        for event in events {
            assert!(self.setup.handle(event, &mut self.session, now, &mut frames, &mut setup_events).is_none());
        }
        assert!(!setup_events.iter().any(|event| matches!(event, SetupEvent::Failed(_))), "{setup_events:?}");
        frames
    }

    /// Says what it has to say on a new connection: all that isn't settled if the other side dedupes as it does itself; otherwise only
    /// what it never said.
    pub(super) fn speak(&mut self, first: bool, now: Timestamp) -> Vec<Bytes> {
        let mut frames = Vec::new();
        if first || (self.dedupes && now < expires()) {
            let open =
                self.sent.iter().filter(|(_, sent)| sent.end == End::Open && !sent.acked).map(|(place, _)| *place).collect::<Vec<_>>();
            for place in open {
                self.prepare(place, now, &mut frames);
            }
        }
        let again = |(place, received): (&usize, &Received)| match received.outcome {
            Some(outcome @ (Outcome::Fulfilled | Outcome::Rejected)) if received.confirmed.is_none() => Some((*place, outcome)),
            _ => None,
        };
        let again = if self.dedupes { self.received.iter().filter_map(again).collect::<Vec<_>>() } else { Vec::new() };
        for (place, outcome) in again {
            self.decide(place, outcome, now, &mut frames);
        }
        frames
    }

    /// The connection is gone.
    pub(super) fn closed(&mut self) {
        self.connected = false;
        for received in self.received.values_mut() {
            received.unacked.clear();
        }
    }

    pub(super) fn moves(&self, now: Timestamp) -> Vec<(usize, Move)> {
        let mut moves = Vec::new();
        for (place, received) in self.received.iter().filter(|_| self.connected) {
            if !received.unacked.is_empty() {
                moves.push((*place, if received.outcome == Some(Outcome::Refused) { Move::Refuse } else { Move::Ack }));
            }
            if received.outcome.is_some() || now >= received.expires_at {
                continue;
            }
            match received.answers {
                Answers::Fulfill => moves.push((*place, Move::Fulfill)),
                Answers::Reject => moves.push((*place, Move::Reject)),
                Answers::Any => moves.extend([(*place, Move::Fulfill), (*place, Move::Reject)]),
            }
            if received.answers == Answers::Any && !received.acked && !received.unacked.is_empty() {
                moves.push((*place, Move::Refuse));
            }
        }
        moves
    }

    pub(super) fn make(&mut self, place: usize, what: Move, now: Timestamp) -> Vec<Bytes> {
        let mut frames = Vec::new();
        match what {
            Move::Fulfill => self.decide(place, Outcome::Fulfilled, now, &mut frames),
            Move::Reject => self.decide(place, Outcome::Rejected, now, &mut frames),
            Move::Ack | Move::Refuse => {
                let Some(received) = self.received.get_mut(&place) else { return frames };
                let repeat = received.heard > 1 && self.refuses_repeats;
                received.acked |= what == Move::Ack;
                if what == Move::Refuse {
                    received.outcome = Some(Outcome::Refused);
                }
                for request in std::mem::take(&mut received.unacked) {
                    match what == Move::Refuse || repeat {
                        true => self.refuse(request, ErrorCode::F99_APPLICATION_ERROR, now, &mut frames),
                        false => self.session.answer(request, Answer::Ack(ProtocolData::EMPTY), &mut frames).unwrap(),
                    }
                }
            }
        }
        frames
    }

    /// Takes a frame; what it answers at once is pushed to `frames`.
    pub(super) fn hear(&mut self, frame: Bytes, scenario: &Scenario, now: Timestamp, frames: &mut Vec<Bytes>) -> Result<(), Violation> {
        let mut events = Vec::new();
        self.session.handle_frame(frame, &mut events).unwrap();
        for event in events {
            match event {
                SessionEvent::Answered { tag, answer, .. } => self.answered(tag, &answer),
                SessionEvent::Request { id, request } => self.asked(id, request, scenario, now, frames)?,
            }
        }
        Ok(())
    }

    fn answered(&mut self, tag: u64, answer: &IncomingAnswer) {
        let place = usize::try_from(tag / 2).unwrap();
        let taken = match answer {
            IncomingAnswer::Ack(_) | IncomingAnswer::Response(_) => true,
            IncomingAnswer::Error { .. } => false,
            IncomingAnswer::Malformed | IncomingAnswer::TimedOut | IncomingAnswer::Lost => return,
        };
        if tag % 2 == 1 {
            let received = self.received.get_mut(&place).unwrap();
            received.confirmed = received.confirmed.or(Some(taken));
        } else {
            let sent = self.sent.get_mut(&place).unwrap();
            sent.acked |= taken;
            if !taken && sent.end == End::Open {
                sent.end = End::Refused;
            }
        }
    }

    fn asked(
        &mut self,
        request: u32,
        asked: IncomingRequest,
        scenario: &Scenario,
        now: Timestamp,
        frames: &mut Vec<Bytes>,
    ) -> Result<(), Violation> {
        let name = NAMES[self.me];
        let (id, ended) = match asked {
            IncomingRequest::Prepare { transfer_id, amount, expires_at, .. } => {
                let place = place_of(amount.get());
                let answers = scenario.payments[place].answers;
                let fresh = Received {
                    id: transfer_id,
                    expires_at,
                    answers,
                    unacked: Vec::new(),
                    heard: 0,
                    acked: false,
                    outcome: None,
                    confirmed: None,
                };
                let received = self.received.entry(place).or_insert(fresh);
                if received.id != transfer_id {
                    return Err(Violation::new(Check::OneOutcome, format!("{name} got payment {place} under two ids")));
                }
                received.unacked.push(request);
                received.heard += 1;
                return Ok(());
            }
            IncomingRequest::Fulfill { transfer_id, fulfillment, .. } => (transfer_id, Some(fulfillment)),
            IncomingRequest::Reject { transfer_id, .. } => (transfer_id, None),
            IncomingRequest::Message { .. } | IncomingRequest::Transfer { .. } => return Ok(()),
        };
        let Some((place, sent)) = self.sent.iter_mut().find(|(_, sent)| sent.id == id) else {
            return Err(Violation::new(Check::OneOutcome, format!("{name} got an answer to a transfer that it never sent")));
        };
        let end = match ended {
            Some(fulfillment) if fulfillment != preimage(*place) => {
                return Err(Violation::new(Check::OneOutcome, format!("{name} got a fulfillment of another payment for payment {place}")));
            }
            Some(_) => End::Paid,
            None => End::Rejected,
        };
        let late = end == End::Paid && now >= expires();
        match sent.end {
            End::Open if late => sent.end = End::Late,
            End::Open => sent.end = end,
            before if before == end => {}
            End::Late if late => {}
            before => {
                let what = format!("payment {place} of {name} was {before:?}, now it is {end:?}");
                return Err(Violation::new(Check::OneOutcome, what));
            }
        }
        match sent.end {
            End::Late => self.refuse(request, ErrorCode::R00_TRANSFER_TIMED_OUT, now, frames),
            _ => self.session.answer(request, Answer::Ack(ProtocolData::EMPTY), frames).unwrap(),
        }
        Ok(())
    }

    fn prepare(&mut self, place: usize, now: Timestamp, frames: &mut Vec<Bytes>) {
        let sent = &self.sent[&place];
        let destination = Address::new(format!("test.ann.{}", NAMES[sent.to])).unwrap();
        let amount = Amount::new(Payment::amount(place));
        let packet = Packet::Payment(IlpPayment { amount, account: destination.as_addr(), data: b"" }).to_vec().unwrap();
        let entries = [Entry::named("ilp", 0, &packet)];
        let data = ProtocolData::entries(Dialect::Named, &entries);
        let condition = preimage(place).condition();
        let prepare = Prepare { transfer_id: sent.id, amount, condition, expires_at: expires(), data };
        let tag = u64::try_from(place * 2).unwrap();
        self.session.send(tag, Request::Prepare(prepare), now, WAIT_MS, frames).unwrap();
    }

    fn decide(&mut self, place: usize, outcome: Outcome, now: Timestamp, frames: &mut Vec<Bytes>) {
        let Some(received) = self.received.get_mut(&place) else { return };
        received.outcome = Some(outcome);
        let (transfer_id, data) = (received.id, ProtocolData::EMPTY);
        let error = self.error(ErrorCode::F99_APPLICATION_ERROR, now);
        let packet = error.packet().unwrap();
        let request = match outcome {
            Outcome::Fulfilled => Request::Fulfill(Fulfill { transfer_id, fulfillment: preimage(place), data }),
            Outcome::Rejected | Outcome::Refused => Request::Reject(Reject { transfer_id, reason: packet.into(), data }),
        };
        let tag = u64::try_from(place * 2 + 1).unwrap();
        self.session.send(tag, request, now, WAIT_MS, frames).unwrap();
    }

    fn refuse(&mut self, request: u32, code: ErrorCode, now: Timestamp, frames: &mut Vec<Bytes>) {
        let error = self.error(code, now);
        let packet = error.packet().unwrap();
        let answer = Answer::Error { reason: packet.into(), data: ProtocolData::EMPTY };
        self.session.answer(request, answer, frames).unwrap();
    }

    fn error(&self, code: ErrorCode, now: Timestamp) -> InterledgerError {
        let by = Address::new(format!("test.{}", NAMES[self.me])).unwrap();
        InterledgerError::new(code, "Sample", by.as_addr(), now, b"").unwrap()
    }
}

/// Longer than any model lasts.
const WAIT_MS: i64 = 1_000_000;

pub(super) fn expires() -> Timestamp {
    Timestamp::from_unix_millis(START + EXPIRES_MS).unwrap()
}

fn fresh(me: usize) -> (Session, Setup) {
    let config = SetupConfig::new(Address::new(format!("test.{}", NAMES[me])).unwrap());
    let session = Session::new(SessionConfig { dialect: Some(Dialect::Named), ..SessionConfig::default() });
    (session, Setup::client(config, Credentials::new(NAMES[me], "token", "")))
}
