//! A worker between two honest peers and a hostile one, all over CLP links.
//!
//! Whatever mallory does, the books stay right at every step, and what alice and bob pay each other arrives.

mod honest;
mod node;

use super::frames::{self, payment, preimage, transfer_id};
use crate::program::{Operation, Program, operation};
use crate::seeds;
use crate::target::Report;
use bytes::Bytes;
use honest::Honest;
use ilp_core::link::PeerProtocol;
use ilp_oer::TransferId;
use ilp_oer::clp::{Body, Dialect, PacketType};
use ilp_oer::sub::{ProtocolList, Setup};
use node::{Node, Place};

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let frames = seeds::clp().into_iter().take(170).enumerate();
    let one =
        |(n, frame): (usize, Vec<u8>)| [vec![u8::try_from(n % 3).unwrap()], operation(0, 0, 0, &frame), operation(8, 0, 5, b"")].concat();
    let talk = |setting: u8| {
        let mut program = vec![setting];
        for n in 0..6 {
            program.extend(operation(14, n, 0, b""));
            program.extend(operation(8, n, 10, b""));
            program.extend(operation(4, n, 10 * u16::from(n), b"from mallory"));
            program.extend(operation(9, n, 7, b""));
            program.extend(operation(5, n, u16::from(n), b"answer"));
            program.extend(operation(6, n, u16::from(n), b""));
            program.extend(operation(10, n, 3, b""));
            program.extend(operation(7, n, u16::from(n), b"why"));
            program.extend(operation(11, n, 700, b""));
            program.extend(operation(12, n, 0, b""));
            program.extend(operation(15, n, 0, b""));
        }
        program
    };
    frames.map(one).chain((0..12).map(talk)).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let program = Program::new(input);
    let mut world = World::new(program.setting);
    for operation in program {
        world.step(operation, report);
        world.node.check_books();
    }
    world.end();
    let counters = world.node.worker.status().counters;
    report.feature((
        counters.accepted.min(4),
        counters.refused.min(2),
        counters.rejected.min(3),
        counters.lost.min(2),
        counters.disputed.min(2),
    ));
}

struct World {
    node: Node,
    alice: Honest,
    bob: Honest,
    form: PeerProtocol,
    /// Mallory's connection, if she has one, and the transfers and requests she has been sent on any.
    mallory: Option<Place>,
    prepared: Vec<(TransferId, u8)>,
    asked: Vec<u32>,
    next_payment: u8,
}

impl World {
    fn new(setting: u8) -> Self {
        let form = [PeerProtocol::Clp, PeerProtocol::ClpSeed, PeerProtocol::Clp2017][usize::from(setting) % 3];
        let mut node = Node::new(form);
        let (alice, bob) = (Honest::connect("alice", &mut node), Honest::connect("bob", &mut node));
        let mut world = Self { node, alice, bob, form, mallory: None, prepared: Vec::new(), asked: Vec::new(), next_payment: 0 };
        world.mallory_connects(0);
        world.settle();
        world
    }

    fn dialect(&self) -> Dialect {
        if self.form == PeerProtocol::ClpSeed { Dialect::Seed } else { Dialect::Named }
    }

    fn step(&mut self, operation: Operation<'_>, report: &mut Report) {
        let Operation { code, argument, number, data } = operation;
        let dialect = self.dialect();
        match code % 16 {
            4 => {
                let to =
                    ["test.ann.bob", "test.ann.alice", "test.ann.mallory", "test.ann", "test.ann.self", "test.nobody", "test.ann.bobby"];
                let packet = payment(
                    to[usize::from(argument >> 3) % to.len()],
                    u64::from(number),
                    &[&[argument][..], &data[..data.len().min(100)]].concat(),
                );
                let expires = self.node.now + [12_000, 2_600, 2_400, 299_000, 301_000, 3_000][usize::from(argument) % 6];
                let frame = frames::prepare(
                    u32::from(argument),
                    dialect,
                    transfer_id(argument & 7),
                    u64::from(number) + 1,
                    preimage(argument),
                    expires,
                    &packet,
                );
                self.mallory_says(&frame, report);
            }
            5 => {
                let id = self.asked.get(usize::from(argument) % self.asked.len().max(1)).copied().unwrap_or(1);
                self.mallory_says(&frames::answer(id, dialect, number, data), report);
            }
            6 | 7 => {
                let (id, n) = self.prepared.get(usize::from(argument) % self.prepared.len().max(1)).copied().unwrap_or((transfer_id(3), 3));
                let frame = match (code % 16, number % 4) {
                    (6, 0..=2) => frames::fulfill(700, id, preimage(n)),
                    (6, _) => frames::fulfill(700, id, preimage(n.wrapping_add(1))),
                    _ => frames::reject(701, id, data),
                };
                self.mallory_says(&frame, report);
            }
            8 => self.pay(true, "test.ann.bob", number),
            9 => self.pay(argument & 1 == 0, "test.ann.mallory", number),
            10 => self.pay(false, "test.ann.alice", number),
            11 => self.pass(i64::from(number) * i64::from(1 + argument % 8)),
            12 => self.mallory_connects(argument),
            13 => {
                if let Some(place) = self.mallory.take() {
                    self.node.disconnect(place);
                }
            }
            14 => self.node.lag = usize::from(argument % 4),
            15 if argument & 1 == 1 => self.node.crash(),
            15 => self.alice.reconnect(&mut self.node),
            _ => self.mallory_says(&Bytes::copy_from_slice(data), report),
        }
        self.settle();
    }

    fn pay(&mut self, by_alice: bool, to: &str, amount: u16) {
        let payer = if by_alice { &mut self.alice } else { &mut self.bob };
        self.next_payment = self.next_payment.wrapping_add(1);
        payer.pay(&mut self.node, to, u64::from(amount % 1000) + 1, self.next_payment);
    }

    fn mallory_connects(&mut self, argument: u8) {
        if let Some(place) = self.mallory.take().filter(|_| argument & 1 == 0) {
            self.node.disconnect(place);
        }
        let path = if self.form == PeerProtocol::Clp2017 { "/api/v1/mallory/secret" } else { "/" };
        let place = self.node.connect(path);
        self.mallory = Some(place);
        if self.form != PeerProtocol::Clp2017 && argument & 2 == 0 {
            let protocols = [(1, "ilp"), (128, "transfer")];
            let hello = Setup::Authenticate { account: b"mallory", token: b"secret", target: b"" };
            for (id, setup) in [(0, hello), (1, Setup::Protocols(ProtocolList::new(&protocols)))] {
                let frame = frames::with_entry(PacketType::Message, id, self.dialect(), "setup", 0, &setup.to_vec().unwrap());
                self.node.receive(place, frame);
            }
        }
    }

    fn mallory_says(&mut self, frame: &Bytes, report: &mut Report) {
        let Some(place) = self.mallory else { return };
        report.envelope |= super::is_envelope(frame, 8, 4);
        report.full |= frames::judge(frame, &[self.dialect()], ilp_oer::clp::Extensions::ALL, 32).is_some();
        self.node.receive(place, frame.clone());
    }

    /// Carries frames to and fro until nobody has anything to say.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "they talk for ever");
            self.node.step();
            let said = self.node.take_frames();
            if said.is_empty() {
                break;
            }
            for (place, frame) in said {
                if self.alice.is_at(place) {
                    self.alice.take(&mut self.node, frame);
                } else if self.bob.is_at(place) {
                    self.bob.take(&mut self.node, frame);
                } else if self.mallory == Some(place) {
                    self.note(&frame);
                }
            }
        }
        for honest in [&mut self.alice, &mut self.bob] {
            if !honest.is_connected(&self.node) {
                honest.reconnect(&mut self.node);
            }
        }
    }

    /// Mallory looks at what she is sent.
    fn note(&mut self, frame: &Bytes) {
        let packet = frames::read_ours(frame, self.dialect(), self.form == PeerProtocol::Clp2017);
        match packet.body {
            Body::Ack(_) | Body::Response(_) | Body::Error { .. } => return,
            Body::Prepare(prepare) => {
                let entry = prepare.data.first().expect("a prepare without its packet");
                let ilp_oer::ilp::Packet::Payment(payment) = ilp_oer::ilp::Packet::decode(entry.data).unwrap() else {
                    panic!("no payment")
                };
                self.prepared.push((prepare.transfer_id, payment.data.first().copied().unwrap_or(0)));
            }
            _ => {}
        }
        self.asked.push(packet.request_id);
    }

    /// Time passes for everybody. What is held up by the store isn't held up any longer, or honest payments would fail.
    fn pass(&mut self, ms: i64) {
        let lag = std::mem::take(&mut self.node.lag);
        self.settle();
        let end = self.node.now + ms;
        let mut rounds = 0;
        while self.node.now < end {
            let next = self.node.worker.next_step().map_or(end, |next| next.unix_millis());
            self.node.now = next.max(self.node.now).min(self.node.now + 10_000).min(end);
            self.node.tick();
            self.alice.tick(&mut self.node);
            self.bob.tick(&mut self.node);
            self.settle();
            rounds += 1;
            assert!(rounds < 100_000, "called again and again");
        }
        self.node.lag = lag;
    }

    /// Time passes until everything has its end: then all is decided, forgotten, and as everybody's own books say.
    fn end(&mut self) {
        self.pass(310_000);
        self.node.check_books();
        self.alice.check_end(&self.node);
        self.bob.check_end(&self.node);
        let status = self.node.worker.status();
        assert_eq!((status.in_flight, status.remembered), (0, 0), "what is over is still remembered");
        assert!(status.accounts.iter().all(|account| account.totals.incoming_prepared == 0 && account.in_flight == 0));
    }
}
