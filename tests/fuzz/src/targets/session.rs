//! A session against a model of what it may do.

use super::frames::{START, answer, at, entry, error_packet, judge, preimage, transfer_id};
use crate::program::{Operation, Program, operation};
use crate::seeds;
use crate::target::Report;
use bytes::Bytes;
use ilp_clp::{Answer, IncomingAnswer, Request, SendError, Session, SessionConfig, SessionEvent, SessionLimits, detect_dialect};
use ilp_fuzz_probe::measure;
use ilp_oer::clp::{Dialect, Extensions, Fulfill, Packet, PacketType, Prepare, ProtocolData, Reject, RejectionReason, Transfer};
use ilp_oer::{Amount, Timestamp};
use std::collections::BTreeMap;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let frames = seeds::clp().into_iter().take(160).map(|frame| [vec![8], operation(0, 0, 0, &frame)].concat());
    let seed_frames = seeds::clp_seed().into_iter().take(40).map(|frame| [vec![9], operation(0, 0, 0, &frame)].concat());
    let talk = |setting: u8| {
        let mut program = vec![setting];
        for kind in 0..5 {
            program.extend(operation(7, 1, 0, b""));
            program.extend(operation(4, kind, 5_000, b"hello"));
            program.extend(operation(4, kind, 100, b"hello again"));
            program.extend(operation(3, kind, u16::from(kind), b"there"));
            program.extend(operation(6, 0, 200, b""));
            program.extend(operation(5, kind, 77, b"an answer"));
        }
        program.extend(operation(8, 0, 100, b""));
        program.extend(operation(6, 1, 60_000, b""));
        program
    };
    frames.chain(seed_frames).chain((0..32).map(talk)).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let program = Program::new(input);
    let setting = program.setting;
    let limits = SessionLimits {
        pending_max: [1, 2, 5, 40][usize::from(setting >> 2 & 3)],
        decode_errors_max: 5,
        frame_bytes_max: 4096,
        entries_max: 4,
    };
    let dialect = [Some(Dialect::Named), Some(Dialect::Seed), None, None][usize::from(setting & 3)];
    let config = SessionConfig { dialect, short_errors: setting & 16 != 0, limits: limits.clone() };

    let (mut model, memory) = measure(|| {
        let mut model = Model::new(config);
        for operation in program {
            if model.step(operation, report).is_none() {
                break;
            }
        }
        model.frames = Vec::new();
        model.events = Vec::new();
        model
    });
    // Room for what waits, twice over and again for the model's own map, and the chunk that frames are written to.
    let bound = 64 * 1024 + 512 * isize::try_from(limits.pending_max).unwrap();
    assert!(memory.kept <= bound, "{} bytes are kept at the end", memory.kept);
    model.close();
    report.feature((model.session.counters().decode_errors.min(6), model.session.counters().unmatched_answers.min(2)));
}

struct Model {
    session: Session,
    limits: SessionLimits,
    now: i64,
    /// What waits: id to tag and deadline.
    waiting: BTreeMap<u32, (u64, Timestamp)>,
    next_tag: u64,
    sent: u64,
    received: u64,
    undecodable: u64,
    events: Vec<SessionEvent>,
    frames: Vec<Bytes>,
}

impl Model {
    fn new(config: SessionConfig) -> Self {
        let limits = config.limits.clone();
        let session = Session::new(config);
        Self {
            session,
            limits,
            now: START,
            waiting: BTreeMap::new(),
            next_tag: 0,
            sent: 0,
            received: 0,
            undecodable: 0,
            events: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn step(&mut self, operation: Operation<'_>, report: &mut Report) -> Option<()> {
        let Operation { code, argument, number, data } = operation;
        match code % 9 {
            3 => {
                let (id, _) = self
                    .waiting
                    .iter()
                    .nth(usize::from(argument) % self.waiting.len().max(1))
                    .map_or((99, &(0, at(0))), |(id, w)| (*id, w));
                let dialect = self.session.dialect().unwrap_or(Dialect::Named);
                self.receive(&answer(id, dialect, number, data), report)?;
            }
            4 => drop(self.send(argument, number, data)),
            5 => self.answer(argument, number, data),
            6 => self.pass(i64::from(number) * if argument & 1 == 0 { 1 } else { 60 }),
            7 => self.session.set_takes_transfers(argument & 1 == 1),
            8 => {
                for _ in 0..number % 512 {
                    let Some(id) = self.send(0, 1_000, data) else { break };
                    if argument & 1 == 0 {
                        self.receive(&answer(id, Dialect::Named, 0, b""), report)?;
                    }
                }
            }
            _ => self.receive(&Bytes::copy_from_slice(data), report)?,
        }
        self.check();
        Some(())
    }

    fn receive(&mut self, frame: &Bytes, report: &mut Report) -> Option<()> {
        report.envelope |= super::is_envelope(frame, 8, 4);
        let known = self.session.dialect().or_else(|| detect_dialect(frame).filter(|_| frame.len() <= self.limits.frame_bytes_max));
        let extensions = Extensions { transfer: self.session.takes_transfers() };
        let dialects = known.map_or(vec![Dialect::Named, Dialect::Seed], |dialect| vec![dialect]);
        let judged =
            if frame.len() > self.limits.frame_bytes_max { None } else { judge(frame, &dialects, extensions, self.limits.entries_max) };
        let result = self.session.handle_frame(frame.clone(), &mut self.events);
        self.received += 1;
        let events = std::mem::take(&mut self.events);
        assert!(events.len() <= 1, "{} events of one frame", events.len());
        match (judged, events.first()) {
            (Some((id, false)), Some(SessionEvent::Request { id: given, .. })) => {
                report.full = true;
                assert_eq!(id, *given);
            }
            (Some((id, true)), event) => {
                report.full = true;
                let answered = event.map(|event| self.ended(event));
                assert!(answered.as_ref().is_none_or(|(of, answer)| *of == id && !is_local(answer)), "{answered:?}");
                assert!(answered.is_some() || !self.waiting.contains_key(&id), "the answer to {id} was not taken");
            }
            (None, event) => {
                self.undecodable += 1;
                let of = Packet::peek_request_id(frame).filter(|(byte, _)| PacketType::from_byte(*byte).is_some_and(PacketType::is_answer));
                let expected = of.map(|(_, id)| id).filter(|id| self.waiting.contains_key(id));
                let ended = event.map(|event| self.ended(event));
                assert_eq!(ended, expected.map(|id| (id, IncomingAnswer::Malformed)), "what can't be read");
            }
            (Some((id, false)), event) => panic!("request {id} became {event:?}"),
        }
        assert_eq!(result.is_err(), self.undecodable > self.limits.decode_errors_max);
        result.ok()
    }

    /// An event must end something that waits.
    fn ended(&mut self, event: &SessionEvent) -> (u32, IncomingAnswer) {
        let SessionEvent::Answered { tag, id, answer } = event else { panic!("a request out of nowhere: {event:?}") };
        let (expected, _) = self.waiting.remove(id).unwrap_or_else(|| panic!("request {id} ended without waiting"));
        assert_eq!(expected, *tag, "the tag of request {id}");
        (*id, answer.clone())
    }

    fn send(&mut self, kind: u8, timeout: u16, data: &[u8]) -> Option<u32> {
        let dialect = self.session.dialect().unwrap_or(Dialect::Named);
        let entries = [entry(dialect, "ilp", 1, data)];
        let data = ProtocolData::entries(dialect, &entries);
        let (transfer_id, amount, expires_at) = (transfer_id(kind), Amount::new(5), at(self.now));
        let packet = error_packet(entries[0].data);
        let request = match kind % 5 {
            0 => Request::Message(data),
            1 => Request::Prepare(Prepare { transfer_id, amount, condition: preimage(1).condition(), expires_at, data }),
            2 => Request::Fulfill(Fulfill { transfer_id, fulfillment: preimage(1), data }),
            3 => Request::Reject(Reject { transfer_id, reason: RejectionReason::from_bytes(&packet).unwrap(), data }),
            _ => Request::Transfer(Transfer { transfer_id, amount, expires_at: None, data }),
        };
        let tag = self.next_tag;
        match self.session.send(tag, request, at(self.now), i64::from(timeout), &mut self.frames) {
            Ok(id) => {
                let deadline = at(self.now).saturating_add_millis(i64::from(timeout));
                assert!(self.waiting.insert(id, (tag, deadline)).is_none(), "id {id} was given twice");
                self.next_tag += 1;
                self.wrote(id, kind % 5 == 3);
                Some(id)
            }
            Err(SendError::Overloaded) => {
                assert_eq!(self.waiting.len(), self.limits.pending_max);
                None
            }
            Err(SendError::NotNegotiated) => {
                assert!(!self.session.takes_transfers());
                None
            }
            Err(SendError::Encode(error)) => panic!("can't be written: {error}"),
        }
    }

    fn answer(&mut self, kind: u8, id: u16, data: &[u8]) {
        let packet = error_packet(data);
        let reason = RejectionReason::from_bytes(&packet).unwrap();
        let (answer, data) = match kind % 3 {
            0 => (Answer::Ack(ProtocolData::EMPTY), false),
            1 => (Answer::Response(ProtocolData::EMPTY), false),
            _ => (Answer::Error { reason, data: ProtocolData::EMPTY }, true),
        };
        self.session.answer(u32::from(id), answer, &mut self.frames).unwrap();
        self.wrote(u32::from(id), data);
    }

    /// The frame just written can be read, and has its id.
    fn wrote(&mut self, id: u32, _has_reason: bool) {
        self.sent += 1;
        let frame = self.frames.last().unwrap();
        let packet = super::frames::read_ours(frame, self.session.dialect().unwrap_or(Dialect::Named), false);
        assert_eq!(packet.request_id, id);
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        let now = at(self.now);
        self.session.handle_timeout(now, &mut self.events);
        for event in std::mem::take(&mut self.events) {
            let SessionEvent::Answered { id, .. } = event else { panic!("{event:?}") };
            assert!(self.waiting.get(&id).is_some_and(|(_, deadline)| *deadline <= now), "request {id} timed out too early");
            assert_eq!(self.ended(&event).1, IncomingAnswer::TimedOut);
        }
        assert!(self.waiting.values().all(|(_, deadline)| *deadline > now), "a request waits beyond its time");
        assert!(self.session.next_timeout().is_none_or(|next| next > now), "would be called again at once, for ever");
    }

    fn check(&self) {
        assert_eq!(self.session.waiting(), self.waiting.len());
        let counters = self.session.counters();
        assert_eq!((counters.frames_in, counters.frames_out, counters.decode_errors), (self.received, self.sent, self.undecodable));
        let first = self.waiting.values().map(|(_, deadline)| *deadline).min();
        assert!(first.is_none_or(|first| self.session.next_timeout().is_some_and(|next| next <= first)), "nobody would be told in time");
    }

    fn close(&mut self) {
        self.session.handle_close(&mut self.events);
        for event in std::mem::take(&mut self.events) {
            assert_eq!(self.ended(&event).1, IncomingAnswer::Lost);
        }
        assert!(self.waiting.is_empty(), "requests without an end: {:?}", self.waiting);
        assert_eq!(self.session.waiting(), 0);
    }
}

fn is_local(answer: &IncomingAnswer) -> bool {
    matches!(answer, IncomingAnswer::Malformed | IncomingAnswer::TimedOut | IncomingAnswer::Lost)
}
