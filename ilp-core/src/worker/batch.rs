//! What goes into a step and what comes out.

use super::{Pending, SettleError, Settlement, SettlementId, Tag, Worker, WorkerError, WorkerStatus};
use crate::account::{AccountConfig, AccountId};
use crate::event::NumberedEvent;
use crate::link::{Answer, LinkCommand, LinkEvent, RequestId};
use crate::receiver::IncomingPayment;
use crate::record::BatchBegun;
use crate::refusal::Refusal;
use crate::store::{AccountRow, Move, MoveOutcome, SlotNo};
use bytes::Bytes;
use ilp_oer::{Address, Amount, Condition, Fulfillment, Timestamp};

/// A connection, numbered by the driver; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A call of `pay`, numbered by the driver.
pub type PayId = u64;

/// A request of the embedder's to change accounts, numbered by the driver.
pub type ReplyId = u64;

/// What a worker is told.
#[derive(Debug)]
pub enum Input {
    /// A peer did something. `Authenticate` and `Authenticated` are the driver's and are ignored here.
    Link {
        /// Where.
        connection: ConnectionId,
        /// What.
        event: LinkEvent,
    },
    /// A connection has proved to be an account's. If it is one of this worker's own it replaces an earlier one of those, which is
    /// closed; beside it an account may have connections at colleagues.
    Connected {
        /// Which.
        connection: ConnectionId,
        /// Whose.
        account: AccountId,
        /// A colleague has it, and relays what comes and goes there.
        relayed: bool,
    },
    /// More waits for a connection than its peer reads, or not any more: no new payments go there while it does.
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
    /// The embedder's receiver has decided about a payment to the connector's own address.
    Received {
        /// As released.
        delivery: Delivery,
        /// The preimage, or why not.
        result: Result<Fulfillment, Refusal>,
    },
    /// The embedder pays from the connector's own account.
    Pay(Pay),
    /// An account comes into being, or gets another configuration.
    AddAccount {
        /// How it shall be.
        config: AccountConfig,
        /// How it stands in the store, where it must be known: see [`BalanceStore::set_up`](crate::store::BalanceStore::set_up).
        row: AccountRow,
        /// Comes back with the result.
        reply: ReplyId,
    },
    /// An account takes no new payments, and is closed when it has none in flight.
    RemoveAccount {
        /// Which.
        id: AccountId,
        /// What is left of its balance goes to the connector's own account; else a balance keeps it from being closed.
        write_off: bool,
        /// Comes back with the result.
        reply: ReplyId,
    },
    /// The store has decided a move, as released: never with [`Unknown`](MoveOutcome::Unknown), whereupon the same move is sent again.
    Moved {
        /// Of which account.
        account: AccountId,
        /// The move's number.
        n: u64,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// A colleague says something about an account. May come twice, late or never.
    Noted {
        /// Whose slot it is.
        from: SlotNo,
        /// Which account.
        account: AccountId,
        /// What.
        note: Note,
    },
    /// These slots are open at colleagues, from now on; new ones are told what is under way. One that is opened again must be missing
    /// once in between: what its worker was about to do is forgotten.
    Colleagues {
        /// Their numbers.
        slots: Vec<SlotNo>,
    },
    /// Something was settled outside of the connector.
    Settle {
        /// At whose account.
        account: AccountId,
        /// What the connector owes the holder changes by so much, in the account's base unit.
        amount: i128,
        /// An id counts once.
        id: SettlementId,
        /// Comes back with the result.
        reply: ReplyId,
    },
    /// The embedder has all events up to this number.
    AcknowledgeEvents {
        /// The number.
        through: u64,
    },
    /// Asks for the books as they are at the end of the step; told when they are durable.
    State {
        /// Comes back with them.
        reply: ReplyId,
    },
}

/// What workers tell each other about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Somebody is short of it: give back what you don't need, then say so.
    Recall,
    /// What could be given back is.
    Recalled,
    /// The account is to be closed: take no new payments of it, give everything back when none is in flight, then say so.
    Drain,
    /// Nothing of it is in flight here, and nothing is held here.
    Drained,
    /// It isn't closed after all.
    Resume,
    /// It is closed.
    Closed,
}

/// A payment from the connector's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pay {
    /// Comes back with the result.
    pub id: PayId,
    /// Where to.
    pub destination: Address,
    /// What the next hop gets, and what shall arrive, in base units of the next hop's account.
    pub amount: Amount,
    /// SHA-256 of the fulfillment.
    pub condition: Condition,
    /// When the next hop's transfer expires.
    pub expires_at: Timestamp,
    /// For the receiver; at most 32,767 bytes.
    pub data: Bytes,
}

/// Names a delivery to the embedder's receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery(pub(super) Tag);

/// What one step produced. It never changes afterwards: a commit whose outcome is unknown is sent again byte by byte.
#[derive(Debug)]
#[must_use = "its effects must be released once it is durable"]
pub struct Batch {
    /// What must be durable before this batch, and every later one, is released.
    pub commit: Option<BatchCommit>,
    effects: Vec<Effect>,
}

/// The durable part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCommit {
    /// Without gaps.
    pub seq: u64,
    /// The records.
    pub blob: Bytes,
    /// What the slot has of accounts that it touched, its hot balances; `None` for accounts that it closed.
    pub balances: Vec<(AccountId, Option<i128>)>,
    /// Batches below aren't needed once this one is durable.
    pub cut_below: Option<u64>,
    /// Letters up to this number aren't needed then either.
    pub mail_read: Option<u64>,
}

/// What others can see of a batch, held until it is durable. What it names is looked up again at release.
#[derive(Debug)]
pub(super) enum Effect {
    Answer {
        connection: ConnectionId,
        request: RequestId,
        answer: Answer,
    },
    /// On this connection if it is still there, else on the best one.
    Prepare(Tag, Option<ConnectionId>),
    Answered(Tag, Option<ConnectionId>),
    Deliver {
        tag: Tag,
        payment: Box<IncomingPayment>,
    },
    Paid {
        id: PayId,
        result: Result<Fulfillment, Bytes>,
    },
    Account {
        reply: ReplyId,
        result: Result<(), crate::AccountError>,
    },
    Settled {
        reply: ReplyId,
        result: Result<Settlement, SettleError>,
    },
    Stated {
        reply: ReplyId,
        status: Box<WorkerStatus>,
    },
    Close {
        connection: ConnectionId,
        reason: &'static str,
    },
    Event(Box<NumberedEvent>),
    Move(Box<Move>),
    Note {
        to: SlotNo,
        account: AccountId,
        note: Note,
    },
}

/// What the driver does with a released effect.
#[derive(Debug)]
pub enum Released {
    /// Hand it to the connection's link. If the connection is gone, drop it.
    Command(ConnectionId, LinkCommand),
    /// Ask the embedder's receiver; bring the result as [`Input::Received`].
    Deliver(Delivery, Box<IncomingPayment>),
    /// A call of `pay` has ended: fulfilled, or with a whole ILP error packet.
    Paid(PayId, Result<Fulfillment, Bytes>),
    /// An account was added or removed, or not.
    Account(ReplyId, Result<(), crate::AccountError>),
    /// A settlement is in the books, or not.
    Settled(ReplyId, Result<Settlement, SettleError>),
    /// The books, durable.
    Stated(ReplyId, Box<WorkerStatus>),
    /// For the embedder's event stream.
    Event(Box<NumberedEvent>),
    /// Ask the store for it; bring the outcome as [`Input::Moved`].
    Move(Box<Move>),
    /// Tell a colleague; bring it there as [`Input::Noted`].
    Note {
        /// Whose slot it is.
        to: SlotNo,
        /// Which account.
        account: AccountId,
        /// What.
        note: Note,
    },
}

impl Batch {
    /// Whether nothing is in it: no commit, no effect.
    pub fn is_empty(&self) -> bool {
        self.commit.is_none() && self.effects.is_empty()
    }

    pub(super) fn into_effects(self) -> Vec<Effect> {
        self.effects
    }
}

impl Worker {
    /// Closes the step: what was recorded becomes a commit, unless all of it can wait.
    pub(super) fn seal(&mut self) -> Result<Batch, WorkerError> {
        let Pending { dirty, seq, now, .. } = self.pending;
        self.pending.now = 0;
        let commit = if dirty {
            let seq = seq.checked_add(1).ok_or(WorkerError::Inconsistent("the log is full"))?;
            let cut_below = self.snapshot_step(seq);
            self.pending.dirty = false;
            self.pending.seq = seq;
            self.pending.records = 0;
            let mut blob = std::mem::take(&mut self.pending.blob);
            // What waited for company has its time.
            BatchBegun::set_time(&mut blob, now);
            let blob = Bytes::from(blob);
            self.pending.touched.sort_unstable();
            self.pending.touched.dedup();
            let touched = std::mem::take(&mut self.pending.touched);
            let mut closed = std::mem::take(&mut self.pending.closed);
            closed.sort_unstable();
            closed.dedup();
            // An account that was closed and opened again in one batch is there.
            let closed = closed.into_iter().filter(|id| self.number_of(id).is_none()).map(|id| (id, None));
            let there = touched.iter().filter_map(|no| self.account(*no)).map(|a| (a.id.clone(), Some(a.hot())));
            let balances = there.chain(closed).collect();
            self.pending.touched = touched;
            self.pending.touched.clear();
            Some(BatchCommit { seq, blob, balances, cut_below, mail_read: self.mail_read.take() })
        } else {
            None
        };
        Ok(Batch { commit, effects: std::mem::take(&mut self.pending.effects) })
    }
}
