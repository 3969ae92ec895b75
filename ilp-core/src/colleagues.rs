//! Workers that serve the same accounts: who owns a transfer, and what they tell each other.
//!
//! Every connection is at one worker, every transfer has one owner, and where the two differ the worker with the connection only passes
//! on: what the peer says to the owner, and what the owner wants said to the peer. A [`Switch`] does that for one worker. It stands
//! between links and [`Worker`](crate::worker::Worker), and to the worker a connection at a colleague looks like one of its own.
//!
//! ```text
//!           ┌────────────► Worker ───────────┐
//!  links ─► Switch ─► Relay ═══════► Switch ─► Worker      of another slot
//!           └─◄──────────◄═══ Relay ◄──┘
//! ```
//!
//! * The owner of an incoming transfer is one of its account's slots, chosen by a keyed hash of the transfer's id: so a repeat meets the
//!   worker that knows the first one, on whatever connection it comes. Fulfills and rejects go to the slot in the outgoing id.
//! * Nothing is passed on twice, and whoever passes on never answers: what is lost is said again by whoever isn't answered.
//! * What is said about a transfer whose owner nobody has open goes to the mailbox of the slot.

use crate::account::AccountId;
use crate::link::{LinkCommand, LinkEvent, RequestId, SubProtocol};
use crate::store::{AccountRow, SlotNo};
use crate::worker::{ConnectionId, Input, Note};
use ahash::RandomState;
use ilp_oer::TransferId;
use sha2::{Digest, Sha256};
use slab::Slab;
use std::collections::{BTreeSet, HashMap};

/// What one worker tells another. Connections are the sender's, or for a command the receiver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relay {
    /// I have been opened: tell me of your connections, as I will of mine.
    Hello,
    /// A connection is an account's.
    Connected {
        /// Which.
        connection: ConnectionId,
        /// Whose.
        account: AccountId,
    },
    /// More waits for a connection than its peer reads, or not any more.
    Congested {
        /// Which.
        connection: ConnectionId,
        /// Whether it does.
        congested: bool,
    },
    /// A connection is gone.
    Disconnected {
        /// Which.
        connection: ConnectionId,
    },
    /// A peer did something about a transfer that is yours.
    Event {
        /// Where.
        connection: ConnectionId,
        /// What.
        event: LinkEvent,
    },
    /// Say this on one of your connections.
    Command {
        /// On which.
        connection: ConnectionId,
        /// What.
        command: LinkCommand,
    },
    /// Something about an account.
    Noted {
        /// Which.
        account: AccountId,
        /// What.
        note: Note,
    },
}

/// Where something from a link goes.
#[derive(Debug)]
pub enum Routed {
    /// To this worker.
    Here(Input),
    /// To a colleague.
    Colleague(SlotNo, Relay),
    /// To the mailbox of a slot that nobody has open, as a [letter](crate::worker::letter_of).
    Mail {
        /// Which.
        slot: SlotNo,
        /// Whose connection it was said on.
        account: AccountId,
        /// What.
        event: LinkEvent,
    },
    /// Back: the worker that would have to decide about it isn't there. Whoever asked may try again.
    Unanswerable(RequestId),
    /// Nowhere.
    Nobody,
}

/// Where something for a link goes.
#[derive(Debug)]
pub enum Sent {
    /// To a connection of this worker.
    Here(ConnectionId, LinkCommand),
    /// To a colleague.
    Colleague(SlotNo, Relay),
    /// Nowhere: the connection is gone.
    Nobody,
}

/// What came from a colleague.
#[derive(Debug)]
pub enum Arrived {
    /// For the worker.
    Input(Input),
    /// For a connection of this worker.
    Command(ConnectionId, LinkCommand),
    /// For the colleague, which has just been opened.
    Reply(Vec<Relay>),
    /// For nobody.
    Nothing,
}

/// Passes on, for one worker, what is a colleague's. See the [module](self).
#[derive(Debug)]
pub struct Switch {
    slot: SlotNo,
    accounts: HashMap<AccountId, Dealing>,
    /// Connections of this worker that are an account's.
    local: HashMap<ConnectionId, AccountId, RandomState>,
    /// Connections of colleagues, under the numbers that this worker knows them by.
    distant: Slab<(SlotNo, ConnectionId, u32)>,
    numbers: HashMap<(SlotNo, ConnectionId), usize>,
    next_distant: u32,
    /// Of requests that colleagues had sent on our connections: whose, and its tag there.
    asked: Slab<(SlotNo, u64, u32)>,
    next_asked: u32,
    /// Slots that there are, and those of them that a colleague has open.
    known: BTreeSet<SlotNo>,
    open: BTreeSet<SlotNo>,
}

#[derive(Debug)]
struct Dealing {
    slots: Box<[SlotNo]>,
    key: [u8; 16],
}

impl Switch {
    /// For the worker of a slot.
    pub fn new(slot: SlotNo) -> Self {
        Self {
            slot,
            accounts: HashMap::new(),
            // Nobody outside chooses these numbers.
            local: HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4)),
            distant: Slab::new(),
            numbers: HashMap::new(),
            next_distant: 0,
            asked: Slab::new(),
            next_asked: 0,
            known: BTreeSet::new(),
            open: BTreeSet::new(),
        }
    }

    /// How an account's transfers are dealt.
    pub fn set_account(&mut self, id: &AccountId, row: &AccountRow) {
        self.accounts.insert(id.clone(), Dealing { slots: row.slots.clone().into(), key: row.key });
    }

    /// Slots that there are: what is said about transfers of others is said about nobody's.
    pub fn set_known(&mut self, slots: impl IntoIterator<Item = SlotNo>) {
        self.known = slots.into_iter().collect();
    }

    /// Slots that colleagues have open now. Connections of those that aren't any more are gone: the inputs say so.
    pub fn set_open(&mut self, slots: impl IntoIterator<Item = SlotNo>) -> Vec<Input> {
        self.open = slots.into_iter().filter(|slot| *slot != self.slot).collect();
        self.known.extend(self.open.iter().copied());
        let gone: Vec<_> = self.distant.iter().filter(|(_, (slot, ..))| !self.open.contains(slot)).map(|(place, _)| place).collect();
        gone.into_iter().map(|place| self.forget(place)).collect()
    }

    /// A colleague was opened anew: what it had before is gone.
    pub fn reopened(&mut self, slot: SlotNo) -> Vec<Input> {
        let gone: Vec<_> = self.distant.iter().filter(|(_, (of, ..))| *of == slot).map(|(place, _)| place).collect();
        gone.into_iter().map(|place| self.forget(place)).collect()
    }

    /// Slots that colleagues have open.
    pub fn open(&self) -> impl Iterator<Item = SlotNo> + '_ {
        self.open.iter().copied()
    }

    /// A connection of this worker is an account's: for all colleagues.
    pub fn connected(&mut self, connection: ConnectionId, account: &AccountId) -> Relay {
        self.local.insert(connection, account.clone());
        Relay::Connected { connection, account: account.clone() }
    }

    /// It is gone: for all colleagues, if they ever heard of it.
    pub fn disconnected(&mut self, connection: ConnectionId) -> Option<Relay> {
        self.local.remove(&connection).map(|_| Relay::Disconnected { connection })
    }

    /// Where an event of one of this worker's connections goes.
    pub fn event(&mut self, connection: ConnectionId, event: LinkEvent) -> Routed {
        if self.known.len() <= 1 && self.open.is_empty() {
            return Routed::Here(Input::Link { connection, event });
        }
        let (owner, event) = match event {
            LinkEvent::Answered { tag, answer } => match self.take_asked(tag) {
                Some((slot, tag)) => (slot, LinkEvent::Answered { tag, answer }),
                None if tag & RELAYED != 0 => return Routed::Nobody,
                None => (self.slot, LinkEvent::Answered { tag, answer }),
            },
            event => (self.owner(connection, &event), event),
        };
        if owner == self.slot {
            return Routed::Here(Input::Link { connection, event });
        }
        if self.open.contains(&owner) {
            return Routed::Colleague(owner, Relay::Event { connection, event });
        }
        match &event {
            LinkEvent::Prepare { request, .. }
            | LinkEvent::Transfer { request, .. }
            | LinkEvent::Claim { request, .. }
            | LinkEvent::Message { request, .. } => Routed::Unanswerable(*request),
            LinkEvent::Fulfill { .. } | LinkEvent::Reject { .. } => match self.local.get(&connection) {
                Some(account) => Routed::Mail { slot: owner, account: account.clone(), event },
                None => Routed::Nobody,
            },
            _ => Routed::Nobody,
        }
    }

    /// Whose slot decides about an event.
    fn owner(&self, connection: ConnectionId, event: &LinkEvent) -> SlotNo {
        let dealing = self.local.get(&connection).and_then(|account| self.accounts.get(account));
        let home = || dealing.and_then(|dealing| dealing.slots.first().copied()).unwrap_or(self.slot);
        match event {
            LinkEvent::Prepare { transfer, .. } => dealing.and_then(|dealing| dealing.owner(&transfer.id)).unwrap_or(self.slot),
            LinkEvent::Transfer { id, .. } => dealing.and_then(|dealing| dealing.owner(id)).unwrap_or(self.slot),
            LinkEvent::Fulfill { id, .. } | LinkEvent::Reject { id, .. } => {
                let [high, low, ..] = *id.as_bytes();
                // Of a slot that never was there is no transfer: this worker will say so.
                let slot = SlotNo::from_be_bytes([high, low]);
                if self.known.contains(&slot) { slot } else { self.slot }
            }
            // What a peer states is kept at home, in whichever form it comes.
            LinkEvent::Message { payload, .. } if payload.protocol == SubProtocol::Vouch => home(),
            LinkEvent::Claim { .. } => home(),
            _ => self.slot,
        }
    }

    /// Where a command of this worker goes.
    pub fn command(&mut self, connection: ConnectionId, command: LinkCommand) -> Sent {
        if connection.0 & DISTANT == 0 {
            return Sent::Here(connection, command);
        }
        match self.place(connection).and_then(|place| self.distant.get(place)) {
            Some((slot, connection, _)) => Sent::Colleague(*slot, Relay::Command { connection: *connection, command }),
            None => Sent::Nobody,
        }
    }

    /// A colleague has said something.
    pub fn arrived(&mut self, from: SlotNo, relay: Relay) -> Arrived {
        match relay {
            Relay::Hello => {
                let connected = |(connection, account): (&ConnectionId, &AccountId)| Relay::Connected {
                    connection: *connection,
                    account: account.clone(),
                };
                Arrived::Reply(self.local.iter().map(connected).collect())
            }
            Relay::Connected { connection, account } => {
                if self.numbers.contains_key(&(from, connection)) {
                    return Arrived::Nothing;
                }
                let connection = self.number(from, connection);
                Arrived::Input(Input::Connected { connection, account, relayed: true })
            }
            Relay::Congested { connection, congested } => match self.known_as(from, connection) {
                Some(connection) => Arrived::Input(Input::Congested { connection, congested }),
                None => Arrived::Nothing,
            },
            Relay::Disconnected { connection } => match self.numbers.get(&(from, connection)).copied() {
                Some(place) => Arrived::Input(self.forget(place)),
                None => Arrived::Nothing,
            },
            Relay::Event { connection, event } => match self.known_as(from, connection) {
                Some(connection) => Arrived::Input(Input::Link { connection, event }),
                None => Arrived::Nothing,
            },
            Relay::Command { connection, command } if self.local.contains_key(&connection) => {
                Arrived::Command(connection, self.ask(from, command))
            }
            // What can't be said to the peer any more has no answer.
            Relay::Command { .. } => Arrived::Nothing,
            Relay::Noted { account, note } => Arrived::Input(Input::Noted { from, account, note }),
        }
    }

    /// Puts a tag of ours in the place of the colleague's.
    fn ask(&mut self, from: SlotNo, command: LinkCommand) -> LinkCommand {
        let mut number = |tag: u64| {
            self.next_asked = self.next_asked.wrapping_add(1);
            let place = self.asked.insert((from, tag, self.next_asked));
            RELAYED | u64::try_from(place).unwrap_or(u64::MAX).wrapping_shl(32) | u64::from(self.next_asked)
        };
        match command {
            LinkCommand::Prepare { tag, id, amount, condition, expires_at, packet } => {
                LinkCommand::Prepare { tag: number(tag), id, amount, condition, expires_at, packet }
            }
            LinkCommand::Fulfill { tag, id, fulfillment } => LinkCommand::Fulfill { tag: number(tag), id, fulfillment },
            LinkCommand::Reject { tag, id, reason } => LinkCommand::Reject { tag: number(tag), id, reason },
            other => other,
        }
    }

    /// Whose request an answer is to.
    fn take_asked(&mut self, tag: u64) -> Option<(SlotNo, u64)> {
        if tag & RELAYED == 0 {
            return None;
        }
        let place = usize::try_from((tag & !RELAYED).wrapping_shr(32)).ok()?;
        let check = tag & u64::from(u32::MAX);
        self.asked.get(place).filter(|(_, _, number)| u64::from(*number) == check)?;
        let (slot, tag, _) = self.asked.try_remove(place)?;
        Some((slot, tag))
    }

    fn number(&mut self, slot: SlotNo, connection: ConnectionId) -> ConnectionId {
        self.next_distant = self.next_distant.wrapping_add(1) & SERIAL;
        let place = self.distant.insert((slot, connection, self.next_distant));
        self.numbers.insert((slot, connection), place);
        self.id(place)
    }

    /// The connection's number here, never used twice.
    fn id(&self, place: usize) -> ConnectionId {
        let serial = self.distant.get(place).map_or(0, |(_, _, serial)| u64::from(*serial));
        ConnectionId(DISTANT | serial.wrapping_shl(32) | u64::try_from(place).unwrap_or_default())
    }

    fn known_as(&self, slot: SlotNo, connection: ConnectionId) -> Option<ConnectionId> {
        self.numbers.get(&(slot, connection)).map(|place| self.id(*place))
    }

    fn place(&self, connection: ConnectionId) -> Option<usize> {
        let place = usize::try_from(connection.0 & u64::from(u32::MAX)).ok()?;
        (self.distant.contains(place) && self.id(place) == connection).then_some(place)
    }

    fn forget(&mut self, place: usize) -> Input {
        let connection = self.id(place);
        if let Some((slot, of, _)) = self.distant.try_remove(place) {
            self.numbers.remove(&(slot, of));
        }
        Input::Disconnected { connection }
    }
}

impl Dealing {
    fn owner(&self, id: &TransferId) -> Option<SlotNo> {
        match &*self.slots {
            [one] => Some(*one),
            slots => {
                let hash = hash_of(&[&self.key, id.as_bytes()]);
                let place = hash.checked_rem(u64::try_from(slots.len()).ok()?)?;
                slots.get(usize::try_from(place).ok()?).copied()
            }
        }
    }
}

/// The slots that serve an account, of those that there are: as many as its parallelism, in rendezvous order, so that another set of slots
/// moves as few accounts as can be.
pub fn slots_for(account: &AccountId, slots: &[SlotNo]) -> Vec<SlotNo> {
    let mut ranked: Vec<_> = slots.iter().map(|slot| (hash_of(&[account.as_bytes(), &slot.to_be_bytes()]), *slot)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.truncate(account.parallelism().into());
    ranked.into_iter().map(|(_, slot)| slot).collect()
}

/// Fixed for ever: a transfer's owner follows from it.
fn hash_of(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash = hash.finalize();
    hash.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Set in the numbers of connections that are a colleague's.
const DISTANT: u64 = 1 << 63;
const SERIAL: u32 = u32::MAX >> 1;
/// Set in tags of requests that are a colleague's.
const RELAYED: u64 = 1 << 63;
