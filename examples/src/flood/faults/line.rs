//! One connection of a peer: requests and their answers, and whether it is still alive.

use super::super::clock::Now;
use super::super::options::Login;
use super::super::wire::{Wire, WireError, decode};
use super::ledger::Ledger;
use bytes::Bytes;
use ilp_oer::clp::{Body, Dialect, Entry, Packet, ProtocolData};
use ilp_oer::sub::{self, Liquidity, LiquidityAnswer, Setup};
use ilp_oer::{Address, ErrorCode, Timestamp, TransferId};
use std::collections::BTreeMap;

/// A connection, from its handshake to its end.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) wire: Wire,
    last_id: u32,
    /// Requests that haven't been answered, in the order in which they were sent.
    asked: BTreeMap<u32, Asked>,
    /// The request that shows whether the other end is there, and when it was sent. Authentication is the first one.
    probe: Option<(u32, Now)>,
    probed_ns: u64,
    /// Answers come in the order of their requests.
    in_order: bool,
    pub(crate) authenticated: bool,
}

/// A request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Authenticate,
    Probe,
    Prepare(TransferId),
    Answer(TransferId),
}

/// Something for the peer.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    Authenticated,
    /// The connector's books of the account, asked for at this time. If answers come in order, everything that was asked for before has
    /// been answered.
    Books(LiquidityAnswer, Now),
    /// Of a prepare, fulfill or reject: an error's code and text, or an acknowledgement.
    Answer(Asked, Result<(), (ErrorCode, &'a [u8])>),
    /// A request, with its id.
    Request(u32, Body<'a>),
}

impl Line {
    /// Asks to be let in. Answers are held against the order of their requests, if that is the order in which they come.
    pub(crate) fn open(wire: Wire, login: &Login, in_order: bool, now: Now) -> Result<Self, WireError> {
        let mut line = Self { wire, last_id: 0, asked: BTreeMap::new(), probe: None, probed_ns: 0, in_order, authenticated: false };
        let request = Setup::Authenticate { token: login.token.as_bytes(), account: login.name.as_bytes(), target: b"" };
        let id = line.message(Asked::Authenticate, sub::names::SETUP, &request.to_vec()?)?;
        line.probe = Some((id, now));
        Ok(line)
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, asked: Asked, body: Body<'_>) -> Result<u32, WireError> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.wire.send(self.last_id, body)?;
        self.asked.insert(self.last_id, asked);
        Ok(self.last_id)
    }

    /// Asks for a sign of life now and then. `false` if there was none for too long.
    pub(crate) fn keep_alive(&mut self, now: Now) -> Result<bool, WireError> {
        match self.probe {
            Some((_, since)) => Ok(now.ns.saturating_sub(since.ns) < SILENCE_NS_MAX),
            None if now.ns.saturating_sub(self.probed_ns) < PROBE_EVERY_NS => Ok(true),
            None => {
                let id = self.message(Asked::Probe, sub::names::LIQUIDITY, &Liquidity::Request.to_vec()?)?;
                self.probe = Some((id, now));
                self.probed_ns = now.ns;
                Ok(true)
            }
        }
    }

    /// Reads a frame. What must not come is counted in the ledger and ignored.
    pub(crate) fn read<'a>(&mut self, frame: &'a Bytes, ledger: &mut Ledger) -> Option<Came<'a>> {
        let Some(packet) = decode(frame) else {
            ledger.wrong("packets that can't be read");
            return None;
        };
        let Packet { request_id: id, body } = packet;
        if !matches!(body, Body::Ack(_) | Body::Response(_) | Body::Error { .. }) {
            return Some(Came::Request(id, body));
        }
        let Some(asked) = self.asked.remove(&id) else {
            ledger.wrong("answers without a request");
            return None;
        };
        let since = self.probe.take_if(|(probe, _)| *probe == id).map(|(_, since)| since);
        if self.in_order && since.is_some() {
            self.check_order(id, ledger);
        }
        match (asked, body, since) {
            (Asked::Authenticate, Body::Response(_), _) => {
                self.authenticated = true;
                Some(Came::Authenticated)
            }
            (Asked::Probe, Body::Response(data), Some(since)) => match data.first().map(|entry| Liquidity::decode(entry.data)) {
                Some(Ok(Liquidity::Answer(books))) => Some(Came::Books(books, since)),
                _ => unexpected(ledger),
            },
            (Asked::Prepare(_) | Asked::Answer(_), Body::Ack(_) | Body::Response(_), _) => Some(Came::Answer(asked, Ok(()))),
            (Asked::Prepare(_) | Asked::Answer(_), Body::Error { reason, .. }, _) => {
                let error = reason.error();
                Some(Came::Answer(asked, Err((error.code, error.data))))
            }
            _ => unexpected(ledger),
        }
    }

    /// One worker answers in the order in which it was asked: what was asked before a probe is answered before it.
    fn check_order(&mut self, probe: u32, ledger: &mut Ledger) {
        let later = self.asked.split_off(&probe);
        for _ in std::mem::replace(&mut self.asked, later) {
            ledger.wrong("requests without an answer");
        }
    }

    fn message(&mut self, asked: Asked, protocol: &str, data: &[u8]) -> Result<u32, WireError> {
        let entries = [Entry::named(protocol, sub::names::OCTETS, data)];
        self.ask(asked, Body::Message(ProtocolData::entries(Dialect::Named, &entries)))
    }

    /// Refuses a request.
    pub(crate) fn refuse(&mut self, id: u32, code: ErrorCode, by: &Address, at: Timestamp) -> Result<(), WireError> {
        Ok(self.wire.refuse(id, code, by, at)?)
    }

    /// Acknowledges a request.
    pub(crate) fn acknowledge(&mut self, id: u32) -> Result<(), WireError> {
        Ok(self.wire.acknowledge(id)?)
    }
}

fn unexpected(ledger: &mut Ledger) -> Option<Came<'static>> {
    ledger.wrong("answers that make no sense");
    None
}

const PROBE_EVERY_NS: u64 = 300_000_000;
/// Shorter than the longest delays, so that some connections are given up on whose bytes arrive after all.
const SILENCE_NS_MAX: u64 = 1_500_000_000;
