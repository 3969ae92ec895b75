//! An exchange in each role, with an application behind it, against a peer that does as it likes.

use super::frames::{self, Answers, START, at, judge, preimage, read_ours, transfer_id};
use crate::program::{Operation, Program, operation};
use crate::seeds;
use crate::target::Report;
use bytes::Bytes;
use ilp_clp::{
    Credentials, Exchange, ExchangeConfig, ExchangeEvent, ExchangeLimits, ExchangeOutput, HandlerReply, LocalFailure, ProtocolBuffer,
    RequestKey, Role, SetupEvent, Transfer, detect_dialect,
};
use ilp_oer::clp::{Body, Dialect, Extensions, PacketType, Protocol};
use ilp_oer::sub::{ProtocolList, Setup};
use ilp_oer::{Address, Amount, ErrorCode, TransferId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let begin = |setting: u8| [vec![setting], operation(3, 0, 0, b""), operation(4, 0, 0, b""), operation(3, 1, 0, b"")].concat();
    let frames = seeds::clp().into_iter().take(170).enumerate();
    let one = |(n, frame): (usize, Vec<u8>)| [begin(u8::try_from(n % 8).unwrap()), operation(0, 0, 0, &frame)].concat();
    let talk = |setting: u8| {
        let mut program = begin(setting);
        for n in 0..4 {
            for kind in 0..4 {
                program.extend(operation(5, kind, 100 * u16::from(n), b"to you"));
            }
            program.extend(operation(6, n, 300, b"to me"));
            program.extend(operation(6, n, 300, b"to me"));
            program.extend(operation(7, n, u16::from(n), b"done"));
            program.extend(operation(8, n, u16::from(n), b"because"));
            program.extend(operation(2, n, u16::from(n), b"answer"));
            program.extend(operation(2, 0, 0, b""));
            program.extend(operation(9, n, 900, b""));
        }
        program.extend(operation(9, 1, 60_000, b""));
        program
    };
    frames.map(one).chain((0..16).map(talk)).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let mut program = Program::new(input);
    let mut world = World::new(program.setting);
    world.drain(false);
    for operation in &mut program {
        if world.step(operation, report).is_none() {
            break;
        }
    }
    world.close();
    report.feature((world.is_server, world.config.peer_dedupes, world.accepted, world.outcomes.len().min(4), world.handled.len().min(4)));
}

struct World {
    exchange: Exchange,
    config: ExchangeConfig,
    is_server: bool,
    out: ExchangeOutput,
    now: i64,
    accepted: bool,
    asked: bool,
    /// Requests of the peer's that we may answer.
    answers: Answers,
    /// Our requests that the peer may answer.
    ours: Vec<u32>,
    /// Our conditional transfers, as the peer saw them.
    prepared: Vec<TransferId>,
    next_tag: u64,
    outcomes: BTreeSet<u64>,
    waiting: Vec<RequestKey>,
    keys: BTreeSet<RequestKey>,
    /// What was handed out: how often, and until when it may be fulfilled.
    handled: BTreeMap<TransferId, (usize, i64)>,
    settled: BTreeMap<TransferId, usize>,
    fulfilled: BTreeSet<TransferId>,
}

impl World {
    fn new(setting: u8) -> Self {
        let address = Address::new("test.server").unwrap();
        let credentials = Credentials::new("alice", "secret", "");
        let (role, form_2017) = match setting & 3 {
            0 => (Role::Server, false),
            1 => (Role::Client(credentials), false),
            2 => (Role::Server2017(credentials), true),
            _ => (Role::Client2017, true),
        };
        let mut config = if form_2017 { ExchangeConfig::new_2017(address) } else { ExchangeConfig::new(address) };
        if setting & 8 != 0 && !form_2017 {
            config.session.dialect = Some(if setting & 4 == 0 { Dialect::Named } else { Dialect::Seed });
        }
        config.session.limits.pending_max = 6;
        config.session.limits.decode_errors_max = 6;
        config.limits = ExchangeLimits { handling_max: 4, transfers_max: 8, ..ExchangeLimits::default() };
        let exchange = Exchange::new(config.clone(), &role);
        let mut world = Self {
            exchange,
            config,
            is_server: setting & 1 == 0,
            out: ExchangeOutput::default(),
            now: START,
            accepted: false,
            asked: false,
            answers: Answers::default(),
            ours: Vec::new(),
            prepared: Vec::new(),
            next_tag: 0,
            outcomes: BTreeSet::new(),
            waiting: Vec::new(),
            keys: BTreeSet::new(),
            handled: BTreeMap::new(),
            settled: BTreeMap::new(),
            fulfilled: BTreeSet::new(),
        };
        world.exchange.start(at(world.now), &mut world.out);
        world
    }

    fn step(&mut self, operation: Operation<'_>, report: &mut Report) -> Option<()> {
        let Operation { code, argument, number, data } = operation;
        let dialect = self.exchange.dialect();
        match code % 10 {
            2 => {
                let id = self.ours.get(usize::from(argument) % self.ours.len().max(1)).copied().unwrap_or(1);
                return self.receive(&frames::answer(id, dialect, number, data), report);
            }
            3 => return self.set_up(argument, report),
            4 if self.asked => {
                self.asked = false;
                self.accepted = argument & 15 != 15;
                match self.accepted {
                    true => self.exchange.accept(&Address::new("test.server.alice").unwrap(), at(self.now), &mut self.out),
                    false => self.exchange.refuse(at(self.now), &mut self.out),
                }
            }
            5 => self.send(argument, number, data),
            6 => {
                let expires = self.now + i64::from(number) * 10;
                let frame =
                    frames::prepare(u32::from(argument), dialect, transfer_id(argument & 7), 5, preimage(argument & 7), expires, data);
                return self.receive(&frame, report);
            }
            7 => self.respond(argument, number, data),
            8 => {
                let id = self.prepared.get(usize::from(argument) % self.prepared.len().max(1)).copied().unwrap_or(transfer_id(9));
                let frame = match number % 3 {
                    0 => frames::fulfill(u32::from(number), id, preimage(id.as_bytes()[0])),
                    1 => frames::reject(u32::from(number), id, data),
                    _ => frames::fulfill(u32::from(number), id, preimage(99)),
                };
                return self.receive(&frame, report);
            }
            9 => self.pass(i64::from(number) * if argument & 1 == 0 { 1 } else { 20 }),
            _ => return self.receive(&Bytes::copy_from_slice(data), report),
        }
        self.drain(false);
        Some(())
    }

    /// What a peer in good faith says at the start.
    fn set_up(&mut self, argument: u8, report: &mut Report) -> Option<()> {
        let dialect = self.exchange.dialect();
        let protocols = [(1, "ilp"), (128, "transfer")];
        let setup = match (self.is_server, argument % 2) {
            (true, 0) => Setup::Authenticate { account: b"alice", token: b"secret", target: b"" },
            (false, 0) => Setup::Authenticated { address: ilp_oer::Addr::new("test.server.us").unwrap() },
            _ => Setup::Protocols(ProtocolList::new(&protocols)),
        };
        let kind = if self.is_server { PacketType::Message } else { PacketType::Response };
        let id = if self.is_server { 500 } else { self.ours.last().copied().unwrap_or(1) };
        self.receive(&frames::with_entry(kind, id, dialect, "setup", 0, &setup.to_vec().unwrap()), report)
    }

    fn receive(&mut self, frame: &Bytes, report: &mut Report) -> Option<()> {
        report.envelope |= super::is_envelope(frame, 8, 4);
        let session = &self.config.session;
        let limits = &session.limits;
        let extensions = Extensions { transfer: self.exchange.takes_transfers() };
        // A dialect that isn't known is only seen from outside when it is the seed's; both are judged as the session would.
        let mut dialects = vec![self.exchange.dialect()];
        if session.dialect.is_none() && self.is_server {
            dialects = detect_dialect(frame).map_or(vec![Dialect::Named, Dialect::Seed], |dialect| vec![dialect, self.exchange.dialect()]);
        }
        let judged = (frame.len() <= limits.frame_bytes_max).then(|| judge(frame, &dialects, extensions, limits.entries_max)).flatten();
        let before = self.exchange.counters().decode_errors;
        let result = self.exchange.handle_frame(frame.clone(), at(self.now), &mut self.out);
        let undecodable = self.exchange.counters().decode_errors > before;
        assert!(judged.is_some() || undecodable, "what can't be read was taken");
        if let (Some((id, false)), false) = (judged, undecodable) {
            self.answers.asked(id);
        }
        report.full |= !undecodable;
        self.drain(undecodable);
        result.ok()
    }

    fn send(&mut self, kind: u8, number: u16, data: &[u8]) {
        let dialect = self.exchange.dialect();
        let protocol = if dialect == Dialect::Named { Protocol::Name("ilp") } else { Protocol::Id(1) };
        let Ok(buffer) = ProtocolBuffer::one(protocol, data) else { return };
        let expires_at = at(self.now + i64::from(number) * 10);
        let (n, amount) = (kind >> 2 & 7, Amount::new(5));
        let transfer = match kind % 4 {
            0 => Transfer::None,
            1 => Transfer::Conditional { amount, condition: preimage(n).condition(), expires_at },
            2 => Transfer::Pay { amount },
            _ => Transfer::PayBy { amount, expires_at },
        };
        let tag = self.next_tag;
        self.next_tag += 1;
        self.exchange.send_request(tag, transfer_id(n), &buffer, transfer, at(self.now), &mut self.out);
    }

    fn respond(&mut self, argument: u8, number: u16, data: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let key = self.waiting.swap_remove(usize::from(argument) % self.waiting.len());
        let buffer = ProtocolBuffer::one(Protocol::Name("ilp"), data).unwrap_or_default();
        let result = match number % 5 {
            0 => Ok(HandlerReply { fulfillment: Some(preimage(argument & 7)), data: buffer }),
            1 => Ok(HandlerReply::response(buffer)),
            2 => Err(self.exchange.error(ErrorCode::F99_APPLICATION_ERROR, at(self.now), "no").into()),
            3 => return self.exchange.respond_panicked(key, at(self.now), &mut self.out),
            // The right preimage, whichever it is.
            _ => Ok(HandlerReply::fulfill(preimage(argument >> 3 & 7))),
        };
        self.exchange.respond(key, result, at(self.now), &mut self.out);
    }

    fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        let mut rounds = 0;
        while let Some(next) = self.exchange.next_timeout().filter(|next| next.unix_millis() <= end) {
            self.now = self.now.max(next.unix_millis());
            self.exchange.handle_timeout(at(self.now), &mut self.out);
            assert!(
                self.exchange.next_timeout().is_none_or(|next| next.unix_millis() > self.now),
                "would be called again at once, for ever"
            );
            self.drain(false);
            rounds += 1;
            // Everything here happens again every 2 s at most, for 8 transfers in each direction, until their expiry.
            assert!(rounds <= 100 + ms / 50, "{rounds} time-outs in {ms} ms");
        }
        self.now = end;
    }

    /// Takes what came out. `of_undecodable`: it came of a frame that can't be read, which must not be answered.
    fn drain(&mut self, of_undecodable: bool) {
        let short = self.config.session.short_errors;
        for frame in std::mem::take(&mut self.out.frames) {
            // Until the peer's dialect is known ours is the named one.
            let packet = read_ours(&frame, self.exchange.dialect(), short);
            match packet.body {
                Body::Ack(_) | Body::Response(_) | Body::Error { .. } => {
                    assert!(!of_undecodable, "an answer to what can't be read");
                    self.answers.answered(packet.request_id);
                    continue;
                }
                Body::Prepare(prepare) => self.prepared.push(prepare.transfer_id),
                Body::Fulfill(fulfill) => {
                    let (_, expires) = *self.handled.get(&fulfill.transfer_id).expect("a fulfill of what was never handed out");
                    let again = !self.fulfilled.insert(fulfill.transfer_id);
                    assert!(self.now < expires || again, "fulfilled {} ms after its expiry", self.now - expires);
                    assert!(!again || self.config.peer_dedupes, "fulfilled twice at a peer that doesn't dedupe");
                }
                Body::Reject(reject) => assert!(!self.fulfilled.contains(&reject.transfer_id), "fulfilled first, and rejected afterwards"),
                Body::Message(_) | Body::Transfer(_) => {}
            }
            self.ours.push(packet.request_id);
        }
        for event in std::mem::take(&mut self.out.events) {
            self.event(event);
        }
    }

    fn event(&mut self, event: ExchangeEvent) {
        match event {
            ExchangeEvent::Setup(SetupEvent::Authenticate(_)) => self.asked = true,
            ExchangeEvent::Setup(_) => {}
            ExchangeEvent::Request { key, request } => {
                assert!(self.accepted || !self.is_server, "a request of somebody unknown");
                assert!(self.keys.insert(key), "{key:?} was given out twice");
                self.waiting.push(key);
                assert!(self.waiting.len() <= self.config.limits.handling_max, "more are being handled than may");
                if let Some(id) = request.transfer_id {
                    let expires = match request.transfer {
                        Transfer::Conditional { expires_at, .. } => expires_at.unix_millis(),
                        _ => self.now + self.config.limits.remember_ms,
                    };
                    let (count, until) = self.handled.entry(id).or_insert((0, 0));
                    assert!(*count == 0 || self.now >= *until, "transfer {id} was handed out twice");
                    (*count, *until) = (*count + 1, expires);
                    assert!(expires > self.now, "handed out after its expiry");
                    if *count > 1 {
                        self.fulfilled.remove(&id);
                    }
                }
            }
            ExchangeEvent::Done { tag, outcome } => {
                assert!(tag < self.next_tag && self.outcomes.insert(tag), "request {tag} ended twice");
                if let Ok(ilp_clp::Reply::Fulfilled { fulfillment, .. }) = outcome {
                    assert!(self.prepared.iter().any(|id| fulfillment == preimage(id.as_bytes()[0])), "not the preimage");
                }
            }
            ExchangeEvent::Settled(settled) => {
                let times = self.settled.entry(settled.transfer_id).or_default();
                *times += 1;
                let (handed_out, _) = self.handled[&settled.transfer_id];
                assert!(*times <= handed_out, "transfer {} was settled twice", settled.transfer_id);
            }
        }
    }

    fn close(&mut self) {
        self.exchange.handle_close(at(self.now), &mut self.out);
        self.drain(true);
        assert_eq!(self.outcomes.len(), usize::try_from(self.next_tag).unwrap(), "requests without an end");
        self.exchange.send_request(self.next_tag, transfer_id(1), &ProtocolBuffer::EMPTY, Transfer::None, at(self.now), &mut self.out);
        assert!(self.out.frames.is_empty(), "sent after the end");
        let closed = |event: &ExchangeEvent| {
            matches!(event, ExchangeEvent::Done { outcome: Err(ilp_clp::Failure::Local(LocalFailure::Closed)), .. })
        };
        assert!(self.out.events.iter().all(closed));
        for key in std::mem::take(&mut self.waiting) {
            self.exchange.respond(key, Ok(HandlerReply::ack()), at(self.now), &mut self.out);
        }
        assert!(self.out.frames.is_empty(), "answered after the end");
    }
}
