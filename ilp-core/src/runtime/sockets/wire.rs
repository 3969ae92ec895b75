//! What two processes say to each other once they know who they are: the bodies of frames.
//!
//! A body is one byte of kind and fixed-size fields, big-endian; texts and packets follow a u32 length. The relays of a batch come one after
//! the other, up to the end. There is one form for every value, so whatever can be read is written the same way again.

use crate::account::AccountId;
use crate::colleagues::Relay;
use crate::link::{Answer, Claim, ClaimKind, IncomingPrepare, LinkCommand, LinkEvent, Payload, SubProtocol};
use crate::store::SlotNo;
use crate::worker::{ConnectionId, Note};
use bytes::{BufMut, Bytes};
use ilp_oer::{Amount, Condition, Fulfillment, Timestamp, TransferId};

/// Both sides must have the same. Raised with every change of what is in this file.
pub(super) const VERSION: u8 = 1;
/// The longest body. A relay whose payload is longer doesn't travel; with the default [`Limits`](crate::Limits) there is none.
pub(super) const BODY_MAX: usize = 1 << 20;
/// A batch is parted into bodies of about this size, so that pings and the other batches get their turn.
const BODY_WANTED: usize = 64 << 10;
/// And of so many relays: each is larger in memory than the few bytes that it may have had here.
const RELAYS_MAX: usize = 1_024;

/// A worker: its slot and the slot's epoch.
pub(super) type Station = (SlotNo, u64);

/// A body, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// I am still there.
    Ping,
    /// A worker of mine can be reached.
    Open(Station),
    /// It can't any more.
    Closed(Station),
    /// From a worker of mine, for one of yours.
    Relays { from: Station, to: Station, relays: Vec<Relay> },
}

/// A body, written.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// How many relays are in it.
    pub(super) relays: usize,
}

/// What isn't a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no {0}")]
pub(super) struct Malformed(&'static str);

impl Body {
    pub(super) fn ping() -> Self {
        Self { bytes: vec![PING], relays: 0 }
    }

    pub(super) fn open(station: Station) -> Self {
        Self::of(OPEN, &[station])
    }

    pub(super) fn closed(station: Station) -> Self {
        Self::of(CLOSED, &[station])
    }

    /// A batch, in as many bodies as it takes; and how many of its relays can't travel.
    pub(super) fn batch<'a>(from: Station, to: Station, relays: impl IntoIterator<Item = &'a Relay>) -> (Vec<Self>, usize) {
        let (mut bodies, mut lost) = (Vec::new(), 0_usize);
        let mut body = Self::of(RELAYS, &[from, to]);
        let empty = body.bytes.len();
        for relay in relays {
            let before = body.bytes.len();
            if put_relay(&mut body.bytes, relay).is_none() || body.bytes.len() > BODY_MAX {
                body.bytes.truncate(before);
                lost = lost.saturating_add(1);
                continue;
            }
            body.relays = body.relays.saturating_add(1);
            if body.bytes.len() >= BODY_WANTED || body.relays >= RELAYS_MAX {
                bodies.push(std::mem::replace(&mut body, Self::of(RELAYS, &[from, to])));
            }
        }
        if body.bytes.len() > empty {
            bodies.push(body);
        }
        (bodies, lost)
    }

    fn of(kind: u8, stations: &[Station]) -> Self {
        let mut bytes = vec![kind];
        for (slot, epoch) in stations {
            bytes.put_u16(*slot);
            bytes.put_u64(*epoch);
        }
        Self { bytes, relays: 0 }
    }
}

impl Message {
    /// Reads a body. Nothing of it stays in use: a payment is held for longer than the rest of its frame is worth.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(body);
        let message = match reader.u8()? {
            PING => Self::Ping,
            OPEN => Self::Open(reader.station()?),
            CLOSED => Self::Closed(reader.station()?),
            RELAYS => {
                let (from, to, mut relays) = (reader.station()?, reader.station()?, Vec::new());
                while !reader.0.is_empty() && relays.len() < RELAYS_MAX {
                    relays.push(reader.relay()?);
                }
                Self::Relays { from, to, relays }
            }
            _ => return Err(Malformed("kind of message")),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(Malformed("end of message")) }
    }
}

const PING: u8 = 0;
const OPEN: u8 = 1;
const CLOSED: u8 = 2;
const RELAYS: u8 = 3;

// Writing. `None` for what never travels.

fn put_relay(out: &mut Vec<u8>, relay: &Relay) -> Option<()> {
    let mut put = |kind: u8, connection: &ConnectionId| {
        out.put_u8(kind);
        out.put_u64(connection.0);
    };
    match relay {
        Relay::Hello => out.put_u8(HELLO),
        Relay::Connected { connection, account } => {
            put(CONNECTED, connection);
            put_account(out, account)?;
        }
        Relay::Congested { connection, congested } => {
            put(CONGESTED, connection);
            out.put_u8(u8::from(*congested));
        }
        Relay::Disconnected { connection } => put(DISCONNECTED, connection),
        Relay::Event { connection, event } => {
            put(EVENT, connection);
            put_event(out, event)?;
        }
        Relay::Command { connection, command } => {
            put(COMMAND, connection);
            put_command(out, command)?;
        }
        Relay::Noted { account, note } => {
            out.put_u8(NOTED);
            put_account(out, account)?;
            out.put_u8(code(&NOTES, *note)?);
        }
    }
    Some(())
}

const HELLO: u8 = 0;
const CONNECTED: u8 = 1;
const CONGESTED: u8 = 2;
const DISCONNECTED: u8 = 3;
const EVENT: u8 = 4;
const COMMAND: u8 = 5;
const NOTED: u8 = 6;

fn put_event(out: &mut Vec<u8>, event: &LinkEvent) -> Option<()> {
    let mut put = |kind: u8, request: &u32| {
        out.put_u8(kind);
        out.put_u32(*request);
    };
    match event {
        // Who a peer is, each worker decides for its own connections.
        LinkEvent::Authenticate(_) | LinkEvent::Authenticated { .. } => return None,
        LinkEvent::Prepare { request, transfer } => {
            let IncomingPrepare { id, amount, condition, expires_at, payload } = transfer;
            put(PREPARE, request);
            out.put_slice(id.as_bytes());
            out.put_u64(amount.get());
            out.put_slice(condition.as_bytes());
            out.put_i64(expires_at.unix_millis());
            put_payload(out, payload)?;
        }
        LinkEvent::Fulfill { request, id, fulfillment } => {
            put(FULFILL, request);
            out.put_slice(id.as_bytes());
            out.put_slice(fulfillment.as_bytes());
        }
        LinkEvent::Reject { request, id, reason } => {
            put(REJECT, request);
            out.put_slice(id.as_bytes());
            put_octets(out, reason)?;
        }
        LinkEvent::Transfer { request, id, amount, expires_at, payload } => {
            put(TRANSFER, request);
            out.put_slice(id.as_bytes());
            out.put_u64(amount.get());
            out.put_u8(u8::from(expires_at.is_some()));
            if let Some(expires_at) = expires_at {
                out.put_i64(expires_at.unix_millis());
            }
            put_payload(out, payload)?;
        }
        LinkEvent::Claim { request, claim: Claim { kind, subject, proof } } => {
            put(CLAIM, request);
            out.put_u8(code(&CLAIMS, *kind)?);
            put_octets(out, subject.as_bytes())?;
            put_octets(out, proof)?;
        }
        LinkEvent::Message { request, payload } => {
            put(MESSAGE, request);
            put_payload(out, payload)?;
        }
        LinkEvent::Answered { tag, answer } => {
            out.put_u8(ANSWERED);
            out.put_u64(*tag);
            put_answer(out, answer)?;
        }
    }
    Some(())
}

fn put_command(out: &mut Vec<u8>, command: &LinkCommand) -> Option<()> {
    let mut put = |kind: u8, tag: &u64, id: &TransferId| {
        out.put_u8(kind);
        out.put_u64(*tag);
        out.put_slice(id.as_bytes());
    };
    match command {
        LinkCommand::Accept { .. } | LinkCommand::Refuse | LinkCommand::Redirect { .. } => return None,
        LinkCommand::Prepare { tag, id, amount, condition, expires_at, packet } => {
            put(PREPARE, tag, id);
            out.put_u64(amount.get());
            out.put_slice(condition.as_bytes());
            out.put_i64(expires_at.unix_millis());
            put_octets(out, packet)?;
        }
        LinkCommand::Fulfill { tag, id, fulfillment } => {
            put(FULFILL, tag, id);
            out.put_slice(fulfillment.as_bytes());
        }
        LinkCommand::Reject { tag, id, reason } => {
            put(REJECT, tag, id);
            put_octets(out, reason)?;
        }
        LinkCommand::Answer { request, answer } => {
            out.put_u8(ANSWER);
            out.put_u32(*request);
            put_answer(out, answer)?;
        }
        LinkCommand::Close { reason } => {
            out.put_u8(CLOSE);
            put_octets(out, reason.as_bytes())?;
        }
    }
    Some(())
}

const PREPARE: u8 = 0;
const FULFILL: u8 = 1;
const REJECT: u8 = 2;
const TRANSFER: u8 = 3;
const CLAIM: u8 = 4;
const MESSAGE: u8 = 5;
const ANSWERED: u8 = 6;
const ANSWER: u8 = 7;
const CLOSE: u8 = 8;

fn put_answer(out: &mut Vec<u8>, answer: &Answer) -> Option<()> {
    match answer {
        Answer::Ack => out.put_u8(ACK),
        Answer::Response(payload) => {
            out.put_u8(RESPONSE);
            put_payload(out, payload)?;
        }
        Answer::Error(reason) => {
            out.put_u8(ERROR);
            put_octets(out, reason)?;
        }
        Answer::TimedOut => out.put_u8(TIMED_OUT),
        Answer::Lost => out.put_u8(LOST),
    }
    Some(())
}

const ACK: u8 = 0;
const RESPONSE: u8 = 1;
const ERROR: u8 = 2;
const TIMED_OUT: u8 = 3;
const LOST: u8 = 4;

fn put_payload(out: &mut Vec<u8>, payload: &Payload) -> Option<()> {
    out.put_u8(code(&PROTOCOLS, payload.protocol)?);
    put_octets(out, &payload.data)
}

fn put_account(out: &mut Vec<u8>, account: &AccountId) -> Option<()> {
    put_octets(out, account.as_bytes())
}

fn put_octets(out: &mut Vec<u8>, octets: &[u8]) -> Option<()> {
    out.put_u32(u32::try_from(octets.len()).ok()?);
    out.put_slice(octets);
    Some(())
}

// What has a number by its place.

const NOTES: [Note; 6] = [Note::Recall, Note::Recalled, Note::Drain, Note::Drained, Note::Resume, Note::Closed];
const CLAIMS: [ClaimKind; 3] = [ClaimKind::Mine, ClaimKind::ReachMe, ClaimKind::RollBack];
const PROTOCOLS: [SubProtocol; 11] = [
    SubProtocol::None,
    SubProtocol::Ilp,
    SubProtocol::Payment,
    SubProtocol::Ilqp,
    SubProtocol::Reconcile,
    SubProtocol::Liquidity,
    SubProtocol::Info,
    SubProtocol::Balance,
    SubProtocol::Vouch,
    SubProtocol::Ccp,
    SubProtocol::Other,
];

fn code<T: PartialEq>(all: &[T], one: T) -> Option<u8> {
    u8::try_from(all.iter().position(|other| *other == one)?).ok()
}

/// What is left of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn relay(&mut self) -> Result<Relay, Malformed> {
        Ok(match self.u8()? {
            HELLO => Relay::Hello,
            CONNECTED => Relay::Connected { connection: self.connection()?, account: self.account()? },
            CONGESTED => Relay::Congested { connection: self.connection()?, congested: self.bool()? },
            DISCONNECTED => Relay::Disconnected { connection: self.connection()? },
            EVENT => Relay::Event { connection: self.connection()?, event: self.event()? },
            COMMAND => Relay::Command { connection: self.connection()?, command: self.command()? },
            NOTED => Relay::Noted { account: self.account()?, note: self.one_of(&NOTES, "kind of note")? },
            _ => return Err(Malformed("kind of relay")),
        })
    }

    fn event(&mut self) -> Result<LinkEvent, Malformed> {
        Ok(match self.u8()? {
            PREPARE => LinkEvent::Prepare {
                request: self.u32()?,
                transfer: IncomingPrepare {
                    id: self.id()?,
                    amount: self.amount()?,
                    condition: self.condition()?,
                    expires_at: self.time()?,
                    payload: self.payload()?,
                },
            },
            FULFILL => LinkEvent::Fulfill { request: self.u32()?, id: self.id()?, fulfillment: self.fulfillment()? },
            REJECT => LinkEvent::Reject { request: self.u32()?, id: self.id()?, reason: self.bytes()? },
            TRANSFER => LinkEvent::Transfer {
                request: self.u32()?,
                id: self.id()?,
                amount: self.amount()?,
                expires_at: if self.bool()? { Some(self.time()?) } else { None },
                payload: self.payload()?,
            },
            CLAIM => LinkEvent::Claim {
                request: self.u32()?,
                claim: Claim { kind: self.one_of(&CLAIMS, "kind of claim")?, subject: self.text()?.to_owned(), proof: self.bytes()? },
            },
            MESSAGE => LinkEvent::Message { request: self.u32()?, payload: self.payload()? },
            ANSWERED => LinkEvent::Answered { tag: self.u64()?, answer: self.answer()? },
            _ => return Err(Malformed("kind of event")),
        })
    }

    fn command(&mut self) -> Result<LinkCommand, Malformed> {
        Ok(match self.u8()? {
            PREPARE => LinkCommand::Prepare {
                tag: self.u64()?,
                id: self.id()?,
                amount: self.amount()?,
                condition: self.condition()?,
                expires_at: self.time()?,
                packet: self.bytes()?,
            },
            FULFILL => LinkCommand::Fulfill { tag: self.u64()?, id: self.id()?, fulfillment: self.fulfillment()? },
            REJECT => LinkCommand::Reject { tag: self.u64()?, id: self.id()?, reason: self.bytes()? },
            ANSWER => LinkCommand::Answer { request: self.u32()?, answer: self.answer()? },
            CLOSE => LinkCommand::Close { reason: self.text()?.to_owned() },
            _ => return Err(Malformed("kind of command")),
        })
    }

    fn answer(&mut self) -> Result<Answer, Malformed> {
        Ok(match self.u8()? {
            ACK => Answer::Ack,
            RESPONSE => Answer::Response(self.payload()?),
            ERROR => Answer::Error(self.bytes()?),
            TIMED_OUT => Answer::TimedOut,
            LOST => Answer::Lost,
            _ => return Err(Malformed("kind of answer")),
        })
    }

    fn payload(&mut self) -> Result<Payload, Malformed> {
        Ok(Payload { protocol: self.one_of(&PROTOCOLS, "sub-protocol")?, data: self.bytes()? })
    }

    fn account(&mut self) -> Result<AccountId, Malformed> {
        let octets = self.octets()?;
        AccountId::from_bytes(octets).filter(|id| id.as_bytes() == octets).ok_or(Malformed("account"))
    }

    fn station(&mut self) -> Result<Station, Malformed> {
        Ok((SlotNo::from_be_bytes(self.array()?), self.u64()?))
    }

    fn connection(&mut self) -> Result<ConnectionId, Malformed> {
        self.u64().map(ConnectionId)
    }

    fn id(&mut self) -> Result<TransferId, Malformed> {
        self.array().map(TransferId::new)
    }

    fn condition(&mut self) -> Result<Condition, Malformed> {
        self.array().map(Condition::new)
    }

    fn fulfillment(&mut self) -> Result<Fulfillment, Malformed> {
        self.array().map(Fulfillment::new)
    }

    fn amount(&mut self) -> Result<Amount, Malformed> {
        self.u64().map(Amount::new)
    }

    fn time(&mut self) -> Result<Timestamp, Malformed> {
        Timestamp::from_unix_millis(i64::from_be_bytes(self.array()?)).map_err(|_| Malformed("time"))
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.octets()?).map_err(|_| Malformed("text"))
    }

    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        self.octets().map(Bytes::copy_from_slice)
    }

    fn octets(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.u32()?).map_err(|_| Malformed("length"))?;
        let (octets, rest) = self.0.split_at_checked(len).ok_or(Malformed("octets of that length"))?;
        self.0 = rest;
        Ok(octets)
    }

    fn one_of<T: Copy>(&mut self, all: &[T], what: &'static str) -> Result<T, Malformed> {
        all.get(usize::from(self.u8()?)).copied().ok_or(Malformed(what))
    }

    fn bool(&mut self) -> Result<bool, Malformed> {
        self.one_of(&[false, true], "yes or no")
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed("field where there must be one"))?;
        self.0 = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests;
