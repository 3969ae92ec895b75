//! An application's [`Exchange`] and whoever it talks to: a scripted peer, or another exchange. No connector, no reconnect.

use super::peer::{Move, Outcome, Peer, expires, preimage};
use super::scenario::{EXPIRES_MS, GRACE_MS, NAMES, START, Scenario, Subject};
use super::wire::Said;
use super::{Check, Model, Payment, Step, Violation, key_of};
use bytes::Bytes;
use ilp_clp::{
    Credentials, Exchange, ExchangeConfig, ExchangeEvent, ExchangeOutput, Failure, HandlerError, HandlerReply, InterledgerError,
    LocalFailure, ProtocolBuffer, Reply, RequestKey, Role, Settled, SetupEvent, Transfer, Via,
};
use ilp_oer::{Address, Amount, ErrorCode, Timestamp, TransferId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// An exchange that pays, and the end that is paid.
#[derive(Debug)]
pub struct Exchanges {
    scenario: Arc<Scenario>,
    payer: Exchange,
    payee: Payee,
    up: VecDeque<Bytes>,
    down: VecDeque<Bytes>,
    now: i64,
    cut: bool,
    timed: bool,
    /// The end of each request of the payer's.
    done: BTreeMap<usize, Result<Reply, Failure>>,
    /// What the payee's exchange said about each of its transfers.
    settled: BTreeMap<usize, Settled>,
    answers: BTreeMap<TransferId, u8>,
    broken: Option<Violation>,
}

#[derive(Debug)]
enum Payee {
    Scripted(Box<Peer>),
    /// With the requests that its application has still to answer.
    Exchange(Box<Exchange>, BTreeMap<usize, RequestKey>),
}

impl Exchanges {
    /// Both have greeted each other, and the prepares are on the wire.
    pub fn new(scenario: &Arc<Scenario>) -> Self {
        let dedupes = scenario.dedupes[1];
        let credentials = Credentials::new(NAMES[1], "token", "");
        let (ours, theirs) = match dedupes {
            true => (Role::Server, Role::Client(credentials)),
            false => (Role::Client2017, Role::Server2017(credentials)),
        };
        let payee = match scenario.subject {
            Subject::TwoExchanges => Payee::Exchange(Box::new(Exchange::new(config(1, dedupes), &theirs)), BTreeMap::new()),
            Subject::Connector | Subject::Exchange => Payee::Scripted(Box::new(Peer::new(1, scenario))),
        };
        let mut ends = Self {
            scenario: scenario.clone(),
            payer: Exchange::new(config(0, dedupes), &ours),
            payee,
            up: VecDeque::new(),
            down: VecDeque::new(),
            now: START,
            cut: false,
            timed: false,
            done: BTreeMap::new(),
            settled: BTreeMap::new(),
            answers: BTreeMap::new(),
            broken: None,
        };
        ends.greet();
        ends.pay();
        ends
    }

    fn greet(&mut self) {
        let (at, mut out) = (self.at(), ExchangeOutput::default());
        self.payer.start(at, &mut out);
        self.payer_said(out);
        let mut out = ExchangeOutput::default();
        match &mut self.payee {
            Payee::Scripted(peer) => out.frames = peer.start(at),
            Payee::Exchange(exchange, _) => exchange.start(at, &mut out),
        }
        self.payee_said(out);
        while !self.up.is_empty() || !self.down.is_empty() {
            self.take_frame();
            match (&mut self.payee, self.down.front()) {
                (Payee::Scripted(peer), Some(_)) => {
                    let heard = self.down.drain(..).collect();
                    self.up.extend(peer.greet(heard, Timestamp::from_unix_millis(START).unwrap()));
                }
                _ => self.hear(),
            }
        }
    }

    fn pay(&mut self) {
        let (at, mut out) = (self.at(), ExchangeOutput::default());
        for (place, payment) in self.scenario.payments.iter().enumerate() {
            let amount = Amount::new(Payment::amount(place));
            let transfer = Transfer::Conditional { amount, condition: preimage(place).condition(), expires_at: expires() };
            let (tag, id) = (u64::try_from(place).unwrap(), TransferId::new([payment.id; 16]));
            self.payer.send_request(tag, id, &ProtocolBuffer::EMPTY, transfer, at, &mut out);
        }
        self.payer_said(out);
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.now).unwrap()
    }

    fn fail(&mut self, check: Check, what: impl Into<String>) {
        self.broken.get_or_insert_with(|| Violation::new(check, what));
    }

    /// The payer takes a frame.
    fn take_frame(&mut self) {
        let (at, mut out) = (self.at(), ExchangeOutput::default());
        let Some(frame) = self.up.pop_front() else { return };
        let fulfilled = match Said::of(&frame) {
            Said::Fulfill { id, .. } => self.scenario.payments.iter().position(|payment| TransferId::new([payment.id; 16]) == id),
            _ => None,
        };
        let due = fulfilled.filter(|place| self.now < START + EXPIRES_MS + GRACE_MS && !self.done.contains_key(place));
        self.payer.handle_frame(frame, at, &mut out).unwrap();
        self.payer_said(out);
        if let Some(place) = due
            && !matches!(self.done.get(&place), Some(Ok(Reply::Fulfilled { .. })))
        {
            self.fail(Check::AnswerIsTaken, format!("payment {place} was fulfilled in time, but {:?}", self.done.get(&place)));
        }
    }

    /// The payee takes a frame.
    fn hear(&mut self) {
        let (at, mut out) = (self.at(), ExchangeOutput::default());
        let Some(frame) = self.down.pop_front() else { return };
        let result = match &mut self.payee {
            Payee::Scripted(peer) => peer.hear(frame, &self.scenario, at, &mut out.frames),
            Payee::Exchange(exchange, _) => {
                exchange.handle_frame(frame, at, &mut out).unwrap();
                Ok(())
            }
        };
        self.payee_said(out);
        if let Err(Violation { check, what }) = result {
            self.fail(check, what);
        }
    }

    fn make(&mut self, place: usize, what: Move) {
        let (at, mut out) = (self.at(), ExchangeOutput::default());
        match &mut self.payee {
            Payee::Scripted(peer) => out.frames = peer.make(place, what, at),
            Payee::Exchange(exchange, handling) => {
                let Some(key) = handling.remove(&place) else { return };
                let by = Address::new("test.bob").unwrap();
                let error = InterledgerError::new(ErrorCode::F99_APPLICATION_ERROR, "Sample", by.as_addr(), at, b"").unwrap();
                let reply = if what == Move::Fulfill { Ok(HandlerReply::fulfill(preimage(place))) } else { Err(HandlerError::from(error)) };
                exchange.respond(key, reply, at, &mut out);
            }
        }
        self.payee_said(out);
    }

    fn payer_said(&mut self, out: ExchangeOutput) {
        if !self.cut {
            self.down.extend(out.frames);
        }
        for event in out.events {
            match event {
                ExchangeEvent::Done { tag, outcome } => {
                    let place = usize::try_from(tag).unwrap();
                    if self.done.insert(place, outcome).is_some() {
                        self.fail(Check::OneOutcome, format!("payment {place} ended twice"));
                    }
                }
                ExchangeEvent::Setup(SetupEvent::Authenticate(_)) => {
                    let (at, mut out) = (self.at(), ExchangeOutput::default());
                    self.payer.accept(&Address::new("test.alice.bob").unwrap(), at, &mut out);
                    self.payer_said(out);
                }
                _ => {}
            }
        }
    }

    fn payee_said(&mut self, out: ExchangeOutput) {
        for frame in &out.frames {
            if let Said::Fulfill { id, .. } | Said::Reject { id, .. } = Said::of(frame) {
                let times = self.answers.entry(id).or_default();
                *times += 1;
                if *times > 1 && !self.scenario.dedupes[0] {
                    self.fail(Check::NothingTwice, "a peer of 2017 is told twice".to_owned());
                }
            }
        }
        if !self.cut {
            self.up.extend(out.frames);
        }
        for event in out.events {
            match (event, &mut self.payee) {
                (ExchangeEvent::Request { key, request }, Payee::Exchange(_, handling)) => {
                    let Transfer::Conditional { amount, .. } = request.transfer else { continue };
                    let place = super::peer::place_of(amount.get());
                    if handling.insert(place, key).is_some() {
                        self.fail(Check::OneOutcome, format!("payment {place} was handed out twice"));
                    }
                }
                (ExchangeEvent::Settled(settled), _) => {
                    let place = self.scenario.payments.iter().position(|p| TransferId::new([p.id; 16]) == settled.transfer_id).unwrap();
                    if self.settled.insert(place, settled).is_some() {
                        self.fail(Check::OneOutcome, format!("payment {place} was settled twice"));
                    }
                }
                (ExchangeEvent::Setup(SetupEvent::Authenticate(_)), Payee::Exchange(exchange, _)) => {
                    let mut out = ExchangeOutput::default();
                    exchange.accept(&Address::new("test.bob.alice").unwrap(), Timestamp::from_unix_millis(START).unwrap(), &mut out);
                    self.payee_said(out);
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, until: i64) {
        while self.now < until {
            let timeouts = [
                self.payer.next_timeout(),
                match &self.payee {
                    Payee::Exchange(exchange, _) => exchange.next_timeout(),
                    Payee::Scripted(_) => None,
                },
            ];
            let next = timeouts.into_iter().flatten().map(|at| at.unix_millis()).min();
            self.now = next.unwrap_or(until).clamp(self.now + 1, until);
            let (at, mut out) = (self.at(), ExchangeOutput::default());
            self.payer.handle_timeout(at, &mut out);
            self.payer_said(out);
            if let Payee::Exchange(exchange, _) = &mut self.payee {
                let mut out = ExchangeOutput::default();
                exchange.handle_timeout(at, &mut out);
                self.payee_said(out);
            }
        }
    }

    fn close(&mut self) {
        self.cut = true;
        self.up.clear();
        self.down.clear();
        let (at, mut out) = (self.at(), ExchangeOutput::default());
        self.payer.handle_close(at, &mut out);
        self.payer_said(out);
        let mut out = ExchangeOutput::default();
        match &mut self.payee {
            Payee::Scripted(peer) => peer.closed(),
            Payee::Exchange(exchange, handling) => {
                handling.clear();
                exchange.handle_close(at, &mut out);
            }
        }
        self.payee_said(out);
    }

    /// What the payee says of a payment: how it answered, and whether the payer took that.
    fn payees_word(&self, place: usize) -> (Option<Outcome>, Option<bool>) {
        match &self.payee {
            Payee::Scripted(peer) => peer.received.get(&place).map_or((None, None), |received| (received.outcome, received.confirmed)),
            Payee::Exchange(..) => {
                use ilp_clp::Confirmation::{Acknowledged, Disputed, Unknown};
                let Some(settled) = self.settled.get(&place) else { return (None, None) };
                let confirmed = match settled.confirmation {
                    Acknowledged => Some(true),
                    Disputed(_) => Some(false),
                    Unknown => None,
                };
                (Some(if settled.fulfilled { Outcome::Fulfilled } else { Outcome::Rejected }), confirmed)
            }
        }
    }

    fn check_agreement(&mut self) {
        for place in 0..self.scenario.payments.len() {
            let (outcome, confirmed) = self.payees_word(place);
            let Some(done) = self.done.get(&place) else {
                return self.fail(Check::NothingLeft, format!("the request of payment {place} never ended"));
            };
            let agree = match done {
                Ok(Reply::Fulfilled { .. }) => outcome == Some(Outcome::Fulfilled) && confirmed != Some(false),
                Ok(_) => false,
                Err(Failure::Remote { via: Via::Reject, .. }) => outcome == Some(Outcome::Rejected),
                Err(Failure::Remote { via: Via::Error, .. }) => matches!(outcome, None | Some(Outcome::Refused)),
                Err(Failure::Local(LocalFailure::Closed)) => self.cut && (outcome, confirmed) != (Some(Outcome::Fulfilled), Some(true)),
                Err(Failure::Local(LocalFailure::TimedOut)) => {
                    self.now >= START + EXPIRES_MS && (outcome, confirmed) != (Some(Outcome::Fulfilled), Some(true))
                }
                Err(Failure::Local(_)) => false,
            };
            if !agree {
                let what = format!("payment {place} is {outcome:?} (taken: {confirmed:?}) at its payee, and {done:?} at its payer");
                self.fail(Check::ExchangeAgrees, what);
            }
        }
    }
}

impl Model for Exchanges {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend((!self.up.is_empty()).then_some(Step::Take(1)));
        steps.extend((!self.down.is_empty()).then_some(Step::Hear(1)));
        match &self.payee {
            Payee::Scripted(peer) => steps.extend(peer.moves(self.at()).into_iter().map(|(place, what)| what.step(place))),
            Payee::Exchange(_, handling) => {
                steps.extend(handling.keys().flat_map(|place| [Step::Fulfill(*place), Step::Reject(*place)]));
            }
        }
        steps.extend((!self.cut && self.scenario.cut.is_some()).then_some(Step::Cut(1)));
        steps.extend((!self.timed && self.scenario.timer.is_some()).then_some(Step::Time));
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Take(_) => self.take_frame(),
            Step::Hear(_) => self.hear(),
            Step::Ack(place) => self.make(place, Move::Ack),
            Step::Refuse(place) => self.make(place, Move::Refuse),
            Step::Fulfill(place) => self.make(place, Move::Fulfill),
            Step::Reject(place) => self.make(place, Move::Reject),
            Step::Cut(_) => self.close(),
            Step::Time => {
                self.timed = true;
                self.pass(START + self.scenario.timer.map_or(0, |timer| timer.ms()));
            }
            Step::Commit | Step::Reconnect(_) => {}
        }
    }

    fn key(&self) -> u128 {
        let Self { scenario: _, payer, payee, up, down, now, cut, timed, done, settled, answers, broken } = self;
        key_of(&((payer, payee, up, down, now, cut), (timed, done, settled, answers, broken)))
    }

    fn describe(&self, step: Step) -> String {
        let said = |frame: Option<&Bytes>| frame.map_or_else(|| "nothing".into(), |frame| Said::of(frame).to_string());
        match step {
            Step::Take(_) => format!("the payer takes: {}", said(self.up.front())),
            Step::Hear(_) => format!("the payee takes: {}", said(self.down.front())),
            Step::Cut(_) => "the connection is cut".into(),
            Step::Time => "time passes".into(),
            other => format!("the payee: {other}"),
        }
    }

    fn check(&self) -> Result<(), Violation> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn finish(mut self) -> Result<(), Violation> {
        self.pass(START + EXPIRES_MS + GRACE_MS + 100);
        while !self.up.is_empty() || !self.down.is_empty() {
            self.take_frame();
            self.hear();
        }
        self.check_agreement();
        self.check()
    }
}

fn config(place: usize, dedupes: bool) -> ExchangeConfig {
    let address = Address::new(format!("test.{}", NAMES[place])).unwrap();
    if dedupes { ExchangeConfig::new(address) } else { ExchangeConfig::new_2017(address) }
}
