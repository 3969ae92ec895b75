//! The CLP link with a caller that keeps to what a worker and its driver do.

use super::frames::{self, Answers, START, at, error_packet, judge, preimage, read_ours, transfer_id};
use crate::program::{Operation, Program, operation};
use crate::seeds;
use crate::target::Report;
use bytes::Bytes;
use ilp_clp::detect_dialect;
use ilp_core::Limits;
use ilp_core::link::{Answer, Link, LinkCommand, LinkEvent, LinkOutput, Payload, PeerProtocol, SubProtocol};
use ilp_oer::clp::{Body, Dialect, Extensions, PacketType};
use ilp_oer::sub::{ProtocolList, Setup};
use ilp_oer::{Address, Amount};
use ilp_plugins::clp::ClpLink;
use std::collections::BTreeSet;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let begin = |setting: u8| [vec![setting], operation(3, 0, 0, b""), operation(4, 0, 0, b""), operation(3, 1, 0, b"")].concat();
    let frames = seeds::clp().into_iter().take(170).enumerate();
    let one = |(n, frame): (usize, Vec<u8>)| [begin(u8::try_from(n % 5).unwrap()), operation(0, 0, 0, &frame)].concat();
    let numbered = |frame: Vec<u8>| [begin(10), operation(0, 0, 0, &frame)].concat();
    let talk = |setting: u8| {
        let mut program = begin(setting);
        for n in 0..8 {
            program.extend(operation(5, n, 0, b"a packet"));
            program.extend(operation(6, n, u16::from(n), b"a reason"));
            program.extend(operation(2, n, u16::from(n), b"an answer"));
            program.extend(operation(7, n, u16::from(n), b"a response"));
            program.extend(operation(8, n, 500, b""));
        }
        program.extend(operation(8, 1, 60_000, b""));
        program
    };
    frames.map(one).chain(seeds::clp_seed().into_iter().take(40).map(numbered)).chain((0..15).map(talk)).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let program = Program::new(input);
    let mut world = World::new(program.setting);
    world.drain(false);
    for operation in program {
        world.step(operation, report);
        if world.closing {
            break;
        }
    }
    report.feature((world.form, world.open, world.closing, world.requests.len().min(3)));
    world.close();
}

struct World {
    link: ClpLink,
    form: PeerProtocol,
    incoming: bool,
    out: LinkOutput,
    now: i64,
    /// The dialect of an incoming connection, as its frames so far have shown it.
    dialect: Option<Dialect>,
    asked: bool,
    open: bool,
    closing: bool,
    answers: Answers,
    /// Our requests, as the peer saw them.
    ours: Vec<u32>,
    /// The peer's requests that the worker has yet to answer.
    requests: Vec<u32>,
    tags: BTreeSet<u64>,
    next_tag: u64,
}

impl World {
    fn new(setting: u8) -> Self {
        let form = [PeerProtocol::Clp, PeerProtocol::ClpSeed, PeerProtocol::Clp2017][usize::from(setting % 5) % 3];
        let incoming = setting % 5 < 3;
        let address = Address::new("test.ann").unwrap();
        let path = if form == PeerProtocol::Clp2017 { "/api/v1/alice/secret" } else { "/" };
        let link = if incoming { ClpLink::incoming(&address, path) } else { ClpLink::outgoing(&address, form, b"alice", b"secret") };
        let limits = Limits { entries_per_packet: ENTRIES_MAX, undecodable_packets: 6, unanswered_requests: 8, ..Limits::default() };
        let mut link = link.with_limits(&limits);
        let mut out = LinkOutput::default();
        link.start(at(START), &mut out);
        let dialect = match (form, incoming) {
            (PeerProtocol::ClpSeed, false) => Some(Dialect::Seed),
            (PeerProtocol::Clp | PeerProtocol::ClpSeed, true) => None,
            _ => Some(Dialect::Named),
        };
        Self {
            link,
            form,
            incoming,
            out,
            now: START,
            dialect,
            asked: false,
            open: false,
            closing: false,
            answers: Answers::default(),
            ours: Vec::new(),
            requests: Vec::new(),
            tags: BTreeSet::new(),
            next_tag: 0,
        }
    }

    fn step(&mut self, operation: Operation<'_>, report: &mut Report) {
        let Operation { code, argument, number, data } = operation;
        let dialect = self.dialect.unwrap_or(if self.form == PeerProtocol::ClpSeed { Dialect::Seed } else { Dialect::Named });
        match code % 9 {
            2 => {
                let id = self.ours.get(usize::from(argument) % self.ours.len().max(1)).copied().unwrap_or(1);
                self.receive(&frames::answer(id, dialect, number, data), report);
            }
            3 => {
                let protocols = [(1, "ilp"), (128, "transfer")];
                let setup = match (self.incoming, argument % 2) {
                    (true, 0) => Setup::Authenticate { account: b"alice", token: b"secret", target: b"" },
                    (false, 0) => Setup::Authenticated { address: ilp_oer::Addr::new("test.peer.us").unwrap() },
                    _ => Setup::Protocols(ProtocolList::new(&protocols)),
                };
                let (kind, id) =
                    if self.incoming { (PacketType::Message, 500) } else { (PacketType::Response, self.ours.last().copied().unwrap_or(1)) };
                self.receive(&frames::with_entry(kind, id, dialect, "setup", 0, &setup.to_vec().unwrap()), report);
            }
            4 if self.asked => {
                self.asked = false;
                self.open = argument & 15 != 15;
                self.command(match self.open {
                    true => LinkCommand::Accept { address: Address::new("test.ann.alice").unwrap() },
                    false => LinkCommand::Refuse,
                });
            }
            5 if self.open => {
                let (amount, condition, packet) = (Amount::new(u64::from(number)), preimage(1).condition(), Bytes::copy_from_slice(data));
                let tag = self.tag();
                self.command(LinkCommand::Prepare {
                    tag,
                    id: transfer_id(argument),
                    amount,
                    condition,
                    expires_at: at(self.now + 5_000),
                    packet,
                });
            }
            6 if self.open => {
                let tag = self.tag();
                let id = transfer_id(argument);
                self.command(match number % 3 {
                    0 => LinkCommand::Fulfill { tag, id, fulfillment: preimage(argument) },
                    1 => LinkCommand::Reject { tag, id, reason: error_packet(data).into() },
                    _ => LinkCommand::Reject { tag, id, reason: Bytes::copy_from_slice(data) },
                });
            }
            7 if !self.requests.is_empty() => {
                let request = self.requests.swap_remove(usize::from(argument) % self.requests.len());
                let protocols = [
                    SubProtocol::Info,
                    SubProtocol::Ilp,
                    SubProtocol::Liquidity,
                    SubProtocol::Balance,
                    SubProtocol::Other,
                    SubProtocol::None,
                ];
                let protocol = protocols[usize::from(argument) % protocols.len()];
                let answer = match number % 4 {
                    0 => Answer::Ack,
                    1 => Answer::Response(Payload { protocol, data: Bytes::copy_from_slice(data) }),
                    2 => Answer::Error(error_packet(data).into()),
                    _ => Answer::Lost,
                };
                self.command(LinkCommand::Answer { request, answer });
            }
            8 => {
                self.now += i64::from(number) * if argument & 1 == 0 { 1 } else { 20 };
                self.link.tick(at(self.now), &mut self.out);
                self.drain(false);
            }
            _ => self.receive(&Bytes::copy_from_slice(data), report),
        }
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.tags.insert(self.next_tag);
        self.next_tag
    }

    fn command(&mut self, command: LinkCommand) {
        self.link.command(command, at(self.now), &mut self.out);
        self.drain(false);
    }

    fn receive(&mut self, frame: &Bytes, report: &mut Report) {
        report.envelope |= super::is_envelope(frame, 8, 4);
        let small = frame.len() <= Limits::default().frame_bytes;
        if small && self.dialect.is_none() {
            self.dialect = detect_dialect(frame);
        }
        let dialects = self.dialect.map_or(vec![Dialect::Named, Dialect::Seed], |dialect| vec![dialect]);
        // Type 8 may have been agreed on or not: an answer to one proves nothing, so both are allowed.
        let judged = if small { judge(frame, &dialects, Extensions::ALL, ENTRIES_MAX) } else { None };
        if let Some((id, false)) = judged {
            self.answers.asked(id);
        }
        let before = self.out.events.len();
        self.link.receive(frame.clone(), at(self.now), &mut self.out);
        report.full |= judged.is_some();
        assert!(self.out.events.len() - before <= 2, "many events of one frame");
        self.drain(judged.is_none());
    }

    fn drain(&mut self, of_undecodable: bool) {
        let frames = std::mem::take(&mut self.out.frames);
        assert!(frames.len() <= 70, "{} frames at once", frames.len());
        for frame in frames {
            let packet = read_ours(&frame, self.dialect.unwrap_or(Dialect::Named), self.form == PeerProtocol::Clp2017);
            match packet.body {
                Body::Ack(_) | Body::Response(_) | Body::Error { .. } => {
                    assert!(!of_undecodable, "an answer to what can't be read");
                    self.answers.answered(packet.request_id);
                }
                _ => self.ours.push(packet.request_id),
            }
        }
        for event in std::mem::take(&mut self.out.events) {
            self.event(event);
        }
        self.closing |= self.out.close.is_some();
    }

    fn event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Authenticate(credentials) => {
                assert!(self.incoming && !self.asked && !self.open, "asked twice who it is");
                assert_eq!((credentials.protocol == PeerProtocol::Clp2017), (self.form == PeerProtocol::Clp2017));
                self.asked = true;
            }
            LinkEvent::Authenticated { .. } => {
                assert!(!self.incoming && !self.open, "accepted twice");
                self.open = true;
            }
            LinkEvent::Answered { tag, .. } => assert!(self.tags.remove(&tag), "request {tag} ended without being sent, or twice"),
            LinkEvent::Prepare { request, .. }
            | LinkEvent::Fulfill { request, .. }
            | LinkEvent::Reject { request, .. }
            | LinkEvent::Transfer { request, .. }
            | LinkEvent::Claim { request, .. }
            | LinkEvent::Message { request, .. } => {
                assert!(self.open, "a request of somebody unknown");
                self.requests.push(request);
            }
        }
    }

    fn close(&mut self) {
        self.link.closed(&mut self.out);
        assert!(self.out.frames.is_empty(), "sent after the end");
        for event in std::mem::take(&mut self.out.events) {
            assert!(matches!(event, LinkEvent::Answered { answer: Answer::Lost, .. }), "{event:?} after the end");
            self.event(event);
        }
        assert!(self.tags.is_empty(), "requests without an end: {:?}", self.tags);
    }
}

const ENTRIES_MAX: usize = 4;
