//! The connector, its peers, and the wires between them.

use super::connector::{Connector, Out};
use super::monitor::{Monitor, View};
use super::peer::{End, Move, Outcome, Peer};
use super::scenario::{Durable, EXPIRES_MS, GRACE_MS, NAMES, OUTGOING_MS_MIN, SKEW_MS, START, Scenario, WINDOW_MS};
use super::wire::Said;
use super::{Check, Model, Step, Violation, key_of};
use bytes::Bytes;
use ilp_core::worker::ConnectionId;
use std::collections::VecDeque;
use std::sync::Arc;

/// A connector with its peers, in one scenario.
#[derive(Debug)]
pub struct World {
    scenario: Arc<Scenario>,
    connector: Connector,
    peers: Vec<Peer>,
    wires: Vec<Wire>,
    cut: bool,
    timed: bool,
    monitor: Monitor,
}

/// Both directions of a peer's connection.
#[derive(Debug, Default)]
struct Wire {
    connection: Option<ConnectionId>,
    /// To the connector.
    up: VecDeque<Bytes>,
    /// From it.
    down: VecDeque<Bytes>,
}

impl World {
    /// All are connected, and the prepares are on the wires.
    pub fn new(scenario: &Arc<Scenario>) -> Self {
        let peers = (0..scenario.dedupes.len()).map(|peer| Peer::new(peer, scenario)).collect::<Vec<_>>();
        let mut world = Self {
            connector: Connector::new(scenario, scenario.durable == Durable::AtOnce),
            wires: peers.iter().map(|_| Wire::default()).collect(),
            peers,
            cut: false,
            timed: false,
            monitor: Monitor::new(scenario),
            scenario: scenario.clone(),
        };
        for peer in 0..world.peers.len() {
            world.connect(peer, true);
        }
        world
    }

    fn connect(&mut self, place: usize, first: bool) {
        let (peer, now, mut out) = (&mut self.peers[place], self.connector.at(), Out::default());
        let mut said = peer.start(now);
        let mut greet = |heard| [std::mem::take(&mut said), peer.greet(heard, now)].concat();
        self.connector.connect(place, self.scenario.dedupes[place], &mut greet, &mut out);
        self.wires[place] = Wire { connection: Some(self.connector.last()), ..Wire::default() };
        let frames = self.peers[place].speak(first, now);
        self.wires[place].up.extend(frames);
        self.after(out, None);
    }

    /// Brings what the connector said onto the wires, and looks at its books.
    fn after(&mut self, out: Out, expected: Option<super::monitor::Expected>) {
        let now = self.connector.now;
        for (peer, connection, frame) in out.frames {
            self.monitor.sent(peer, self.scenario.dedupes[peer], connection, &Said::of(&frame), now);
            let wire = &mut self.wires[peer];
            if wire.connection == Some(connection) && self.peers[peer].connected {
                wire.down.push_back(frame);
            }
        }
        for (peer, reason) in out.closed {
            self.monitor.fail(Check::ConnectionStays, format!("the connector closed {}'s connection: {reason}", NAMES[peer]));
        }
        self.monitor.look(&self.connector.status(), &out.events, now, expected);
    }

    fn hear(&mut self, place: usize) {
        let Some(frame) = self.wires[place].down.pop_front() else { return };
        let mut frames = Vec::new();
        let result = self.peers[place].hear(frame, &self.scenario, self.connector.at(), &mut frames);
        self.wires[place].up.extend(frames);
        if let Err(violation) = result {
            self.monitor.fail(violation.check, violation.what);
        }
        for (payment, sent) in &self.peers[place].sent {
            if sent.acked && self.monitor.payments[*payment].view == View::Absent {
                let what = format!("payment {payment} was acknowledged but isn't held");
                return self.monitor.fail(Check::HeldOrRefused, what);
            }
        }
    }

    fn take_frame(&mut self, place: usize) {
        let wire = &mut self.wires[place];
        let (Some(frame), Some(connection)) = (wire.up.pop_front(), wire.connection) else { return };
        let up: Vec<bool> = self.connector.status().accounts.iter().map(|account| account.connected).collect();
        let expected = self.monitor.taking(place, connection, &Said::of(&frame), self.connector.now, &up);
        let mut out = Out::default();
        self.connector.receive(connection, frame, &mut out);
        self.after(out, expected);
    }

    fn cut(&mut self, place: usize, unnoticed: bool) {
        let wire = &mut self.wires[place];
        wire.up.clear();
        wire.down.clear();
        self.peers[place].closed();
        let connection = wire.connection;
        let mut out = Out::default();
        if let Some(connection) = connection.filter(|_| !unnoticed) {
            self.wires[place].connection = None;
            self.connector.disconnect(connection, &mut out);
        }
        self.after(out, None);
    }

    fn pass(&mut self, until: i64) {
        while self.connector.now < until {
            let (next, mut out) = (self.connector.next(until), Out::default());
            self.connector.pass(next, &mut out);
            self.after(out, None);
        }
    }

    /// Delivers everything that is on the wires.
    fn settle(&mut self) {
        while self.wires.iter().any(|wire| !wire.up.is_empty() || !wire.down.is_empty()) {
            for place in 0..self.peers.len() {
                self.hear(place);
                self.take_frame(place);
            }
        }
    }

    fn may_cut(&self, place: usize) -> bool {
        !self.cut && self.scenario.cut.is_some_and(|cut| cut.peer == place)
    }

    /// Whether taking the next frame of the connector commutes with whatever else can happen, now and before it is taken: the peer
    /// writes nothing by it, or has nothing else to write; the connection can't be cut; and the time doesn't matter or doesn't change.
    fn may_hear_first(&self, place: usize) -> bool {
        let Some(frame) = self.wires[place].down.front() else { return false };
        let done = self.timed || self.scenario.timer.is_none();
        !self.may_cut(place) && (Said::of(frame).is_quiet() || (done && self.peers[place].moves(self.connector.at()).is_empty()))
    }

    /// §4.8, when all that was said has arrived and everybody is connected.
    fn check_said(&mut self) {
        let now = self.connector.now;
        for place in 0..self.scenario.payments.len() {
            let payment = self.scenario.payments[place];
            let watched = &self.monitor.payments[place];
            let (sender, receiver) = (&self.peers[payment.from], &self.peers[payment.to]);
            let end = sender.sent[&place].end;
            let owed = matches!(watched.view, View::Fulfilled | View::Rejected) && now < START + EXPIRES_MS + GRACE_MS;
            let told = if self.scenario.dedupes[payment.from] { end != End::Open } else { watched.answers > 0 };
            let due = watched.view == View::Held && now <= START + EXPIRES_MS - WINDOW_MS - OUTGOING_MS_MIN;
            let heard = if self.scenario.dedupes[payment.to] { receiver.received.contains_key(&place) } else { watched.prepares > 0 };
            if owed && !told && end == End::Open {
                let what = format!("payment {place} is {:?} and {} was never told", watched.view, NAMES[payment.from]);
                self.monitor.fail(Check::SaidAgain, what);
            } else if due && !heard {
                self.monitor.fail(Check::SaidAgain, format!("payment {place} is held and {} never heard of it", NAMES[payment.to]));
            }
        }
    }

    /// I4 at the end, from everybody's books.
    fn check_agreement(&mut self) {
        let status = self.connector.status();
        let (mut unlisted, mut balances) = (0, vec![0_i128; self.peers.len()]);
        for place in 0..self.scenario.payments.len() {
            let payment = self.scenario.payments[place];
            let (view, amount) = (self.monitor.payments[place].view, i128::from(super::Payment::amount(place)));
            let end = self.peers[payment.from].sent[&place].end;
            let received = self.peers[payment.to].received.get(&place);
            let (outcome, confirmed) = received.map_or((None, None), |received| (received.outcome, received.confirmed));
            let fulfilled = matches!(view, View::Fulfilled | View::Lost);
            balances[payment.from] -= if view == View::Fulfilled { amount } else { 0 };
            balances[payment.to] += if fulfilled { amount } else { 0 };
            unlisted += u64::from(view == View::Fulfilled && end != End::Paid);
            let sender_agrees = end != End::Paid || view == View::Fulfilled;
            let receiver_agrees = match (outcome, confirmed) {
                (Some(Outcome::Fulfilled), Some(taken)) => taken == fulfilled,
                (Some(Outcome::Fulfilled), None) => true,
                (None | Some(_), _) => !fulfilled,
            };
            if !sender_agrees || !receiver_agrees {
                let what = format!(
                    "payment {place} is {view:?} here, {end:?} at {}, and {outcome:?} (taken: {confirmed:?}) at {}",
                    NAMES[payment.from], NAMES[payment.to]
                );
                self.monitor.fail(Check::BooksAgree, what);
            }
        }
        let listed = status.counters.disputed + status.counters.unconfirmed;
        if unlisted > listed {
            let what = format!("{unlisted} payments are charged that their senders haven't paid, but {listed} are listed");
            self.monitor.fail(Check::BooksAgree, what);
        }
        for (account, balance) in status.accounts.iter().zip(balances) {
            if account.balance != balance {
                self.monitor.fail(Check::BooksAgree, format!("{} has {}, by the payments it is {balance}", account.id, account.balance));
            }
        }
        let held: i128 = status.accounts.iter().map(|account| account.totals.incoming_prepared).sum();
        if (status.in_flight, status.remembered, held) != (0, 0, 0) {
            let what = format!("{} in flight, {} remembered, {held} held", status.in_flight, status.remembered);
            self.monitor.fail(Check::NothingLeft, what);
        }
    }

    fn broken(&self) -> Result<(), Violation> {
        self.monitor.broken.clone().map_or(Ok(()), Err)
    }
}

impl Model for World {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        if let Some(place) = (0..self.peers.len()).find(|place| self.may_hear_first(*place)) {
            return vec![Step::Hear(place)];
        }
        let mut steps = Vec::new();
        for (place, wire) in self.wires.iter().enumerate() {
            steps.extend((!wire.up.is_empty()).then_some(Step::Take(place)));
            steps.extend((!wire.down.is_empty()).then_some(Step::Hear(place)));
            steps.extend(self.peers[place].moves(self.connector.at()).into_iter().map(|(place, what)| what.step(place)));
            steps.extend(self.may_cut(place).then_some(Step::Cut(place)));
            steps.extend((!self.peers[place].connected).then_some(Step::Reconnect(place)));
        }
        steps.extend(self.connector.waits_for_store().then_some(Step::Commit));
        steps.extend((!self.timed && self.scenario.timer.is_some()).then_some(Step::Time));
        steps
    }

    fn take(&mut self, step: Step) {
        let make = |world: &mut Self, payment: usize, what| {
            let (place, now) = (world.scenario.payments[payment].to, world.connector.at());
            let frames = world.peers[place].make(payment, what, now);
            world.wires[place].up.extend(frames);
        };
        match step {
            Step::Take(place) => self.take_frame(place),
            Step::Hear(place) => self.hear(place),
            Step::Ack(payment) => make(self, payment, Move::Ack),
            Step::Refuse(payment) => make(self, payment, Move::Refuse),
            Step::Fulfill(payment) => make(self, payment, Move::Fulfill),
            Step::Reject(payment) => make(self, payment, Move::Reject),
            Step::Commit => {
                let mut out = Out::default();
                self.connector.commit(&mut out);
                self.after(out, None);
            }
            Step::Cut(place) => {
                self.cut = true;
                let unnoticed = self.scenario.cut.is_some_and(|cut| cut.unnoticed);
                self.cut(place, unnoticed);
            }
            Step::Reconnect(place) => self.connect(place, false),
            Step::Time => {
                self.timed = true;
                self.pass(START + self.scenario.timer.map_or(0, |timer| timer.ms()));
            }
        }
    }

    fn key(&self) -> u128 {
        key_of(&(&self.connector, &self.peers, &self.wires, self.cut, self.timed, &self.monitor))
    }

    fn describe(&self, step: Step) -> String {
        let said = |frame: Option<&Bytes>| frame.map_or_else(|| "nothing".into(), |frame| Said::of(frame).to_string());
        let receiver = |place: usize| NAMES[self.scenario.payments[place].to];
        match step {
            Step::Take(peer) => format!("the connector takes from {}: {}", NAMES[peer], said(self.wires[peer].up.front())),
            Step::Hear(peer) => format!("{} takes from the connector: {}", NAMES[peer], said(self.wires[peer].down.front())),
            Step::Ack(place) => format!("{} answers the prepare of payment {place}", receiver(place)),
            Step::Refuse(place) => format!("{} refuses payment {place} with an Error", receiver(place)),
            Step::Fulfill(place) => format!("{} fulfills payment {place}", receiver(place)),
            Step::Reject(place) => format!("{} rejects payment {place}", receiver(place)),
            Step::Commit => "the oldest batch becomes durable".into(),
            Step::Cut(peer) => {
                let Wire { up, down, .. } = &self.wires[peer];
                format!("{}'s connection is cut: {} frames to the connector and {} from it are lost", NAMES[peer], up.len(), down.len())
            }
            Step::Reconnect(peer) => format!("{} has a new connection", NAMES[peer]),
            Step::Time => format!("it is {} ms later", self.scenario.timer.map_or(0, |timer| START + timer.ms() - self.connector.now)),
        }
    }

    fn check(&self) -> Result<(), Violation> {
        self.broken()
    }

    fn finish(mut self) -> Result<(), Violation> {
        self.check_said();
        let mut out = Out::default();
        self.connector.commit_all(&mut out);
        self.after(out, None);
        let end = START + EXPIRES_MS + GRACE_MS.max(SKEW_MS) + 100;
        while self.connector.now < end {
            let next = self.connector.next(end);
            self.pass(next);
            self.settle();
        }
        self.check_agreement();
        self.broken()
    }
}
