//! Random orders of everything that can happen to two ends of a connection, and random bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use ilp_clp::{
    Confirmation, Exchange, ExchangeConfig, ExchangeEvent, ExchangeOutput, HandlerReply, ProtocolBuffer, Reply, RequestKey, Role, Transfer,
};
use ilp_oer::clp::Dialect;
use ilp_oer::{Address, Amount, ErrorCode, TransferId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use support::{End, at, conditional, error, fulfillment, pair_in};

#[derive(Debug, Clone)]
enum Step {
    /// One of the ends sends a conditional transfer, an unconditional one, or a message.
    Send { end: usize, kind: u8, expires_ms: i64 },
    /// The oldest frame on its way arrives.
    Deliver { from: usize },
    /// A frame that arrived before arrives again.
    Repeat { from: usize, which: usize },
    /// A handler answers.
    Respond { end: usize, which: usize, decision: u8 },
    /// Time passes.
    Wait { ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..2, 0_u8..4, 1_i64..5000).prop_map(|(end, kind, expires_ms)| Step::Send { end, kind, expires_ms }),
        8 => (0_usize..2).prop_map(|from| Step::Deliver { from }),
        1 => (0_usize..2, 0_usize..50).prop_map(|(from, which)| Step::Repeat { from, which }),
        4 => (0_usize..2, 0_usize..8, 0_u8..4).prop_map(|(end, which, decision)| Step::Respond { end, which, decision }),
        2 => (0_i64..1500).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// One end with what its application knows.
struct Side {
    end: End,
    /// Frames on their way to the other side, and those that arrived.
    wire: VecDeque<Bytes>,
    arrived: Vec<Bytes>,
    /// Handed out and not answered.
    requests: Vec<(RequestKey, Option<TransferId>)>,
    handed_out: BTreeSet<TransferId>,
    /// Answered with a fulfillment, before the expiry as far as the exchange has told.
    acknowledged: BTreeSet<TransferId>,
    sent: u64,
    outcomes: BTreeMap<u64, bool>,
}

impl Side {
    fn new(end: End) -> Self {
        Self {
            end,
            wire: VecDeque::new(),
            arrived: Vec::new(),
            requests: Vec::new(),
            handed_out: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            sent: 0,
            outcomes: BTreeMap::new(),
        }
    }

    /// The id of a side's transfer tells its tag.
    fn id(side: usize, tag: u64) -> TransferId {
        let mut id = [u8::try_from(side).unwrap(); 16];
        id[..8].copy_from_slice(&tag.to_be_bytes());
        TransferId::new(id)
    }

    fn drain(&mut self) -> Result<(), TestCaseError> {
        self.wire.extend(self.end.out.frames.drain(..));
        for event in std::mem::take(&mut self.end.out.events) {
            match event {
                ExchangeEvent::Done { tag, outcome } => {
                    let fulfilled = matches!(outcome, Ok(Reply::Fulfilled { .. }));
                    prop_assert_eq!(self.outcomes.insert(tag, fulfilled), None, "one outcome each");
                }
                ExchangeEvent::Request { key, request } => {
                    if let Some(id) = request.transfer_id {
                        prop_assert!(self.handed_out.insert(id), "handed out once");
                    }
                    self.requests.push((key, request.transfer_id));
                }
                ExchangeEvent::Settled(settled) => {
                    if settled.fulfilled && settled.confirmation == Confirmation::Acknowledged {
                        prop_assert!(self.acknowledged.insert(settled.transfer_id), "settled once");
                    }
                }
                ExchangeEvent::Setup(event) => prop_assert!(false, "{:?}", event),
            }
        }
        Ok(())
    }
}

fn run(dialect: Dialect, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (a, b) = pair_in(dialect);
    let mut sides = [Side::new(a), Side::new(b)];
    let mut now = 0;
    let deliver = |sides: &mut [Side; 2], from: usize, frame: Bytes, now: i64| {
        let to = &mut sides[1 - from];
        to.end.take(frame, now);
        to.drain()
    };
    for step in steps {
        match step {
            Step::Send { end, kind, expires_ms } => {
                let side = &mut sides[end];
                let tag = side.sent;
                side.sent += 1;
                let transfer = match kind {
                    0 | 1 => conditional(now + expires_ms),
                    2 => Transfer::Pay { amount: Amount::new(1) },
                    _ => Transfer::None,
                };
                side.end.request(tag, Side::id(end, tag), &ProtocolBuffer::EMPTY, transfer, now);
                side.drain()?;
            }
            Step::Deliver { from } => {
                if let Some(frame) = sides[from].wire.pop_front() {
                    sides[from].arrived.push(frame.clone());
                    deliver(&mut sides, from, frame, now)?;
                }
            }
            Step::Repeat { from, which } => {
                // Only transfers: a message that comes twice is two messages.
                let arrived = &sides[from].arrived;
                let again = arrived.get(which % arrived.len().max(1)).filter(|frame| matches!(frame[0], 1..=6 | 8)).cloned();
                if let Some(frame) = again {
                    deliver(&mut sides, from, frame, now)?;
                }
            }
            Step::Respond { end, which, decision } => {
                let side = &mut sides[end];
                if !side.requests.is_empty() {
                    let (key, _) = side.requests.remove(which % side.requests.len());
                    match decision {
                        0 => side.end.respond(key, Err(error(ErrorCode::F99_APPLICATION_ERROR)), now),
                        1 => side.end.exchange.respond_panicked(key, at(now), &mut side.end.out),
                        _ => side.end.respond(key, Ok(HandlerReply::fulfill(fulfillment())), now),
                    }
                    side.drain()?;
                }
            }
            Step::Wait { ms } => {
                now += ms;
                for side in &mut sides {
                    side.end.tick(now);
                    side.drain()?;
                }
            }
        }
    }
    // Everything arrives, and then time runs out for whatever nobody decided.
    for round in 0..20 {
        for from in [0, 1] {
            while let Some(frame) = sides[from].wire.pop_front() {
                deliver(&mut sides, from, frame, now)?;
            }
        }
        if round >= 10 {
            now += 20_000;
            for side in &mut sides {
                side.end.tick(now);
                side.drain()?;
            }
        }
    }
    for (n, side) in sides.iter().enumerate() {
        prop_assert_eq!(side.outcomes.len(), usize::try_from(side.sent).unwrap(), "every request has ended");
        let other = &sides[1 - n];
        for (tag, fulfilled) in &side.outcomes {
            let id = Side::id(n, *tag);
            if *fulfilled {
                prop_assert!(other.handed_out.contains(&id));
            }
            if other.acknowledged.contains(&id) {
                prop_assert!(*fulfilled, "what the payer acknowledged as fulfilled it has booked as fulfilled");
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_the_order_every_request_ends_once_and_both_sides_agree(
        seed_dialect: bool,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        run(if seed_dialect { Dialect::Seed } else { Dialect::Named }, steps)?;
    }

    #[test]
    fn no_bytes_make_an_exchange_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20), open: bool) {
        let (mut a, _) = pair_in(Dialect::Named);
        let mut fresh = Exchange::new(ExchangeConfig::new(Address::new("test.server").unwrap()), &Role::Server);
        let mut out = ExchangeOutput::default();
        fresh.start(at(0), &mut out);
        for frame in frames {
            let frame = Bytes::from(frame);
            let result = if open { a.exchange.handle_frame(frame, at(1), &mut a.out) } else { fresh.handle_frame(frame, at(1), &mut out) };
            if result.is_err() {
                break;
            }
        }
    }

    /// Damaged packets of every kind, to an exchange that has something under way.
    #[test]
    fn no_damage_makes_an_exchange_panic(which: prop::sample::Index, byte: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let frames = valid_frames();
        let mut frame = which.get(&frames).to_vec();
        let (byte, cut) = (byte.index(frame.len()), cut.index(frame.len() * 4));
        frame[byte] = value;
        frame.truncate(cut.max(1));
        let (mut a, mut b) = pair_in(Dialect::Named);
        a.request(1, support::id(1), &ProtocolBuffer::EMPTY, conditional(1000), 0);
        a.deliver_to(&mut b, 0);
        for end in [&mut a, &mut b] {
            let _ = end.exchange.handle_frame(frame.clone().into(), at(1), &mut end.out);
            end.tick(100_000);
        }
    }
}

/// One frame of each kind.
fn valid_frames() -> Vec<Bytes> {
    let (mut a, mut b) = pair_in(Dialect::Named);
    let mut frames = Vec::new();
    for (tag, transfer) in
        [(1, Transfer::None), (2, Transfer::Pay { amount: Amount::new(1) }), (3, conditional(1000)), (4, conditional(1000))]
    {
        a.request(tag, Side::id(0, tag), &support::data("ilp", b"content"), transfer, 0);
        frames.extend(a.out.frames.iter().cloned());
        a.deliver_to(&mut b, 0);
        let (key, _) = b.take_request();
        let refuse = tag % 2 == 0;
        b.respond(key, if refuse { Err(error(ErrorCode::F02_UNREACHABLE)) } else { Ok(HandlerReply::fulfill(fulfillment())) }, 0);
        frames.append(&mut b.out.frames);
    }
    frames
}
