//! A peer that keeps to the rules, and keeps books of its own.

use super::super::frames::{at, error_packet, payment, preimage};
use super::node::{Node, Place};
use bytes::Bytes;
use ilp_core::link::{Answer, Link, LinkCommand, LinkEvent, LinkOutput, PeerProtocol};
use ilp_oer::ilp::Packet;
use ilp_oer::{Address, Amount, Fulfillment, TransferId};
use ilp_plugins::clp::ClpLink;
use std::collections::BTreeMap;

pub(super) struct Honest {
    name: &'static str,
    link: ClpLink,
    out: LinkOutput,
    place: Place,
    open: bool,
    payments: BTreeMap<TransferId, Paid>,
    received: BTreeMap<TransferId, Received>,
    /// What a request of ours was about: a payment, or a fulfill.
    tags: BTreeMap<u64, (bool, TransferId)>,
    next_tag: u64,
}

struct Paid {
    to: String,
    amount: u64,
    n: u8,
    expires: i64,
    outcome: Option<bool>,
}

struct Received {
    amount: u64,
    fulfillment: Fulfillment,
    /// Whether the connector has taken our fulfill.
    taken: Option<bool>,
}

impl Honest {
    pub(super) fn connect(name: &'static str, node: &mut Node) -> Self {
        let mut honest = Self {
            name,
            link: dial(name),
            out: LinkOutput::default(),
            place: node.connect("/"),
            open: false,
            payments: BTreeMap::new(),
            received: BTreeMap::new(),
            tags: BTreeMap::new(),
            next_tag: 0,
        };
        honest.link.start(at(node.now), &mut honest.out);
        honest.carry(node);
        honest
    }

    pub(super) fn is_at(&self, place: Place) -> bool {
        self.place == place
    }

    pub(super) fn is_connected(&self, node: &Node) -> bool {
        node.is_open(self.place)
    }

    /// A new connection, on which everything without an end is said again.
    pub(super) fn reconnect(&mut self, node: &mut Node) {
        self.link.closed(&mut self.out);
        self.carry(node);
        (self.link, self.open, self.place) = (dial(self.name), false, node.connect("/"));
        self.link.start(at(node.now), &mut self.out);
        self.carry(node);
    }

    pub(super) fn take(&mut self, node: &mut Node, frame: Bytes) {
        self.link.receive(frame, at(node.now), &mut self.out);
        self.carry(node);
    }

    pub(super) fn tick(&mut self, node: &mut Node) {
        self.link.tick(at(node.now), &mut self.out);
        self.carry(node);
    }

    pub(super) fn pay(&mut self, node: &mut Node, to: &str, amount: u64, n: u8) {
        let number = u32::try_from(self.payments.len()).unwrap();
        let mut id = [self.name.as_bytes()[0]; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let id = TransferId::new(id);
        self.payments.insert(id, Paid { to: to.to_owned(), amount, n, expires: node.now + 20_000, outcome: None });
        if self.open {
            self.say(id, node);
        }
    }

    /// Everything that was paid has ended once; what went to an honest peer has arrived; the connector's books say the same as ours.
    pub(super) fn check_end(&self, node: &Node) {
        for (id, paid) in &self.payments {
            let outcome =
                paid.outcome.unwrap_or_else(|| panic!("{}'s payment {id} of {} to {} has no end", self.name, paid.amount, paid.to));
            assert!(outcome || paid.to.ends_with("mallory"), "{}'s payment {id} of {} to {} failed", self.name, paid.amount, paid.to);
        }
        let spent: i128 = self.payments.values().filter(|paid| paid.outcome == Some(true)).map(|paid| i128::from(paid.amount)).sum();
        let earned: i128 =
            self.received.values().filter(|received| received.taken == Some(true)).map(|received| i128::from(received.amount)).sum();
        assert_eq!(node.balance(self.name), earned - spent, "{} has earned {earned} and spent {spent}", self.name);
    }

    fn carry(&mut self, node: &mut Node) {
        loop {
            for frame in std::mem::take(&mut self.out.frames) {
                node.receive(self.place, frame);
            }
            assert_eq!(self.out.close, None, "the connector's {} isn't pleased with it", self.name);
            let events = std::mem::take(&mut self.out.events);
            if events.is_empty() && self.out.frames.is_empty() {
                return;
            }
            for event in events {
                self.event(event, node);
            }
        }
    }

    fn event(&mut self, event: LinkEvent, node: &mut Node) {
        match event {
            LinkEvent::Authenticated { .. } => {
                self.open = true;
                let undecided: Vec<_> = self.payments.iter().filter(|(_, paid)| paid.outcome.is_none()).map(|(id, _)| *id).collect();
                undecided.into_iter().for_each(|id| self.say(id, node));
                let untold: Vec<_> = self.received.iter().filter(|(_, received)| received.taken.is_none()).map(|(id, _)| *id).collect();
                untold.into_iter().for_each(|id| self.fulfill(id, node));
            }
            LinkEvent::Answered { tag, answer } => self.answered(tag, &answer),
            LinkEvent::Prepare { request, transfer } => {
                let Ok(Packet::Payment(payment)) = Packet::decode(&transfer.payload.data) else { panic!("not a payment") };
                let fulfillment = preimage(payment.data.first().copied().unwrap_or(0));
                if !transfer.condition.is_fulfilled_by(&fulfillment) {
                    self.answer(request, Answer::Error(error_packet(b"no invoice").into()), node);
                    return;
                }
                self.answer(request, Answer::Ack, node);
                let received = Received { amount: transfer.amount.get(), fulfillment, taken: None };
                self.received.entry(transfer.id).or_insert(received);
                self.fulfill(transfer.id, node);
            }
            LinkEvent::Fulfill { request, id, fulfillment } => {
                let paid = self.payments.get(&id).expect("a fulfill of what was never paid");
                assert_eq!(fulfillment, preimage(paid.n), "not the preimage");
                self.decided(id, true);
                self.answer(request, Answer::Ack, node);
            }
            LinkEvent::Reject { request, id, .. } => {
                self.decided(id, false);
                self.answer(request, Answer::Ack, node);
            }
            LinkEvent::Authenticate(_) | LinkEvent::Transfer { .. } | LinkEvent::Claim { .. } | LinkEvent::Message { .. } => {
                panic!("{event:?} from a connector")
            }
        }
    }

    fn answered(&mut self, tag: u64, answer: &Answer) {
        let (is_payment, id) = self.tags.remove(&tag).expect("an answer to nothing");
        match (is_payment, answer) {
            (true, Answer::Error(_)) => self.decided(id, false),
            (true, _) | (false, Answer::TimedOut | Answer::Lost) => {}
            (false, answer) => self.received.get_mut(&id).unwrap().taken = Some(!matches!(answer, Answer::Error(_))),
        }
    }

    fn decided(&mut self, id: TransferId, outcome: bool) {
        let paid = self.payments.get_mut(&id).expect("news of what was never paid");
        assert!(paid.outcome.is_none_or(|before| before == outcome), "{}'s payment {id} had another end before", self.name);
        paid.outcome = Some(outcome);
    }

    fn say(&mut self, id: TransferId, node: &mut Node) {
        let Paid { to, amount, n, expires, .. } = &self.payments[&id];
        let packet = payment(to, *amount, &[*n]).into();
        let (amount, condition, expires_at) = (Amount::new(*amount), preimage(*n).condition(), at(*expires));
        let tag = self.tag(true, id);
        self.command(LinkCommand::Prepare { tag, id, amount, condition, expires_at, packet }, node);
    }

    fn fulfill(&mut self, id: TransferId, node: &mut Node) {
        let fulfillment = self.received[&id].fulfillment;
        let tag = self.tag(false, id);
        self.command(LinkCommand::Fulfill { tag, id, fulfillment }, node);
    }

    fn answer(&mut self, request: u32, answer: Answer, node: &mut Node) {
        self.command(LinkCommand::Answer { request, answer }, node);
    }

    fn tag(&mut self, is_payment: bool, id: TransferId) -> u64 {
        self.next_tag += 1;
        self.tags.insert(self.next_tag, (is_payment, id));
        self.next_tag
    }

    fn command(&mut self, command: LinkCommand, node: &mut Node) {
        self.link.command(command, at(node.now), &mut self.out);
        for frame in std::mem::take(&mut self.out.frames) {
            node.receive(self.place, frame);
        }
    }
}

fn dial(name: &str) -> ClpLink {
    ClpLink::outgoing(&Address::new(format!("test.{name}")).unwrap(), PeerProtocol::Clp, name.as_bytes(), b"secret")
}
