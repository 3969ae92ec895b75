//! The worker: a deterministic state machine that owns the payments of one slot.
//!
//! # Calling order
//!
//! *Inputs* are collected and given to [`Worker::step`], all that are ready at once. It returns a [`Batch`]: a commit, if money moved, and
//! effects. The caller makes the commit durable, and when that and all earlier batches are, gives the batch to [`Worker::release`],
//! which says what to send. Batches must be released in the order in which they were stepped; several may be on their way: a
//! [`Pipeline`] keeps account of them. Both calls may make a further step necessary: see [`Worker::next_step`].
//!
//! A worker whose `step` or `release` failed or panicked, or whose commit was fenced, must be dropped with all its batches; a new one
//! is made from the store with [`Worker::open`].
//!
//! No clock is read, nothing random drawn, nothing awaited: `now` is an argument, and ids come from the seed in [`WorkerConfig`].

mod accounts;
mod answers;
mod apply;
mod batch;
mod claims;
mod connections;
mod events;
mod mail;
mod moves;
mod parked;
mod pipeline;
mod prepare;
mod recover;
mod release;
mod settle;
mod snapshot;
mod status;
mod timers;

pub use accounts::AccountError;
pub use batch::{Batch, BatchCommit, ConnectionId, Delivery, Input, Note, Pay, PayId, Released, ReplyId};
pub use mail::letter_of;
pub use pipeline::{Pipeline, Retry, Untrusted};
pub use recover::OpenError;
pub use settle::{InvalidSettlementId, SettleError, Settlement, SettlementId};
pub use status::{AccountStatus, Counters, Doubts, Tally, Totals, TransferState, TransferStatus, WorkerStatus};

use crate::account::{Asset, Rate};
use crate::collections::{PartedMap, Slots};
use crate::limits::{Limits, Timing};
use crate::link::LinkEvent;
use crate::record::{AccountNo, CorruptRecord};
use crate::routes::Routes;
use crate::store::SlotNo;
use crate::wheel::Wheel;
use accounts::Account;
use ahash::RandomState;
use batch::Effect;
use bytes::Bytes;
use ilp_oer::{Address, Condition, ErrorCode, Fulfillment, Timestamp, TransferId};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, HashMap};

use crate::record::Leg;

/// What a worker is told when it is opened.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The connector's ILP address.
    pub address: Address,
    /// The slot's number: the first two bytes of every outgoing transfer id.
    pub slot: SlotNo,
    /// All slots that the store's accounts are dealt to, now and as long as the worker lives, this one among them. If there is no other, the
    /// store needn't be asked how an account stands. An account is closed when all of them have given back what they had of it.
    pub deployment: Vec<SlotNo>,
    /// How much of anything peers may use.
    pub limits: Limits,
    /// The time rules.
    pub timing: Timing,
    /// Between assets; one in each direction wanted.
    pub rates: Vec<Rate>,
    /// From a cryptographic random source; outgoing ids are made from it. Never the same twice.
    pub seed: [u8; 32],
    /// Whether [`Event`](crate::Event)s are made. They cost an allocation per payment.
    pub events: bool,
}

/// The state machine of one slot. See the [module](self) for the calling order.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    rng: ChaCha12Rng,
    assets: Vec<AssetBook>,
    rates: BTreeMap<(usize, usize), (u64, u64)>,
    accounts: Vec<Option<Account>>,
    /// Names alone: no two accounts of one name differ in their parallelism.
    by_name: HashMap<Box<str>, AccountNo, RandomState>,
    /// Whose each is, and whether a colleague has it.
    connections: HashMap<ConnectionId, (AccountNo, bool), RandomState>,
    routes: Routes<AccountNo>,
    /// Every transfer that is in flight or remembered.
    transfers: Slots<Transfer>,
    /// What only transfers in flight need.
    active: Slots<Active>,
    incoming: PartedMap<(AccountNo, TransferId), u32>,
    outgoing: PartedMap<TransferId, u32>,
    wheel: Wheel,
    /// Timers that are due and haven't had their turn.
    fired: Vec<crate::wheel::Timer>,
    /// Transfers that turned out at release never to have been sent.
    unsent: Vec<Tag>,
    receiving: u32,
    closing: Vec<AccountNo>,
    /// Slots that are open at colleagues.
    colleagues: Vec<SlotNo>,
    /// Connections at colleagues of accounts that this worker hasn't been told of yet.
    strays: Vec<(crate::AccountId, ConnectionId)>,
    /// Accounts that may have something to move.
    restless: Vec<AccountNo>,
    dues: moves::Dues,
    next_serial: u64,
    /// Letters that were there when the slot was opened, and the number of the last one that the next batch has read.
    mail: Vec<crate::store::Letter>,
    mail_read: Option<u64>,
    draining: bool,
    counters: Counters,
    pending: Pending,
    /// Inputs of the step under way that are looked at last.
    later: Vec<Input>,
    snapshot: snapshot::Snapshots,
    events: events::Events,
    /// Whoever wants the books as they are when the step ends.
    statements: Vec<ReplyId>,
    /// Set while the log is read: records may then name what lies before the snapshot.
    replaying: bool,
    /// Added to deadlines of transfers that were recovered: our clock may have jumped.
    recovered_skew_ms: i64,
}

/// An asset and the connector's own account in it.
#[derive(Debug)]
struct AssetBook {
    asset: Asset,
    own: i128,
    /// What accounts that are closed had settled: their units are still here.
    closed_settlements: i128,
    /// What accounts that are closed had drawn here, less what they had given back: their units are here, or not any more.
    closed_moves: i128,
}

/// What the step under way has produced.
#[derive(Debug, Default)]
struct Pending {
    blob: Vec<u8>,
    effects: Vec<Effect>,
    touched: Vec<AccountNo>,
    /// Accounts that are no more.
    closed: Vec<crate::AccountId>,
    records: usize,
    /// Something in `blob` must be durable; else it waits for company.
    dirty: bool,
    seq: u64,
    /// The time of the step under way; 0 between steps.
    now: i64,
}

/// A transfer, as long as it could be repeated. Kept small: there may be millions.
#[derive(Debug)]
struct Transfer {
    key: TransferId,
    from: Leg,
    incoming_id: TransferId,
    digest: [u8; 16],
    incoming_expires_at: Timestamp,
    to: Leg,
    expires_at: Timestamp,
    outcome: Outcome,
    active: Option<u32>,
    /// The batch that says all that was known of it when it was sealed.
    recorded_in: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    Fulfilled([u8; 32]),
    Rejected(ErrorCode),
    /// An unconditional transfer: nothing follows.
    Charged,
}

/// What a transfer needs while it is held, or its answer is owed.
#[derive(Debug)]
struct Active {
    transfer: u32,
    condition: Condition,
    packet: Bytes,
    /// How often the prepare may have reached a socket. Recovered ones count as many.
    sends: u8,
    sent_on: Option<ConnectionId>,
    acked: bool,
    /// Waited for by a call of `pay`.
    pay: Option<PayId>,
    /// Of a rejected transfer: the whole error packet.
    reason: Bytes,
    answer_sends: u8,
    answered_on: Option<ConnectionId>,
    /// The answer was first handed to a live connection before the incoming side's expiry.
    in_time: bool,
    /// Held by an earlier process, which may have sent the prepare …
    recovered: bool,
    /// … and decided by it too: it may have sent the answer.
    answer_recovered: bool,
}

/// What an answer brings back: the transfer's place, a few bits that tell its tenants apart, and whether it was the prepare or the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    index: u32,
    check: u32,
}

const ANSWER_BIT: u32 = 1;

impl Tag {
    fn of(index: u32, key: &TransferId) -> Self {
        Self { index, check: check_of(key) }
    }

    fn prepare(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.check)
    }

    fn answer(self) -> u64 {
        self.prepare() | u64::from(ANSWER_BIT)
    }

    /// The tag, and whether it belongs to the answer.
    fn from_wire(tag: u64) -> (Self, bool) {
        let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
        let low = half(tag);
        (Self { index: half(tag >> 32), check: low & !ANSWER_BIT }, low & ANSWER_BIT != 0)
    }
}

/// Random bits of a key, the lowest cleared.
fn check_of(key: &TransferId) -> u32 {
    let [_, _, a, b, c, d, ..] = *key.as_bytes();
    u32::from_be_bytes([a, b, c, d]) & !ANSWER_BIT
}

/// A step or release that can't go on. The worker must be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A sum left ±2^100.
    #[error("a balance of account or asset {0} left the range that the books can hold")]
    Overflow(String),
    /// A record doesn't fit the state.
    #[error("the books disagree with themselves: {0}")]
    Inconsistent(&'static str),
    /// A record can't be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
}

impl Worker {
    /// Takes everything that has come in since the last step, decides, and returns what must be made durable and what may leave then.
    ///
    /// `inputs` is drained. Order matters within it as it does on a connection, but for one thing: what ends transfers is looked at
    /// before what begins some, so that money and room that come free can be used at once.
    pub fn step(&mut self, now: Timestamp, inputs: &mut Vec<Input>) -> Result<Batch, WorkerError> {
        self.pending.now = now.unix_millis();
        self.read_mail(now)?;
        self.fire_timers(now)?;
        self.look_after_accounts(now)?;
        for tag in std::mem::take(&mut self.unsent) {
            self.end_unsent(tag, now)?;
        }
        let mut later = std::mem::take(&mut self.later);
        for input in inputs.drain(..) {
            match input {
                Input::Link { connection, event } if ends_transfer(&event) && self.connections.contains_key(&connection) => {
                    self.link_event(connection, event, now)?;
                }
                other => later.push(other),
            }
        }
        for input in later.drain(..) {
            self.input(input, now)?;
        }
        self.later = later;
        self.tend_restless(now)?;
        if !self.closing.is_empty() {
            self.finish_closing()?;
        }
        self.state_books();
        self.seal()
    }

    /// When [`step`](Self::step) must be called even if nothing comes in: at once if this is not in the future, never if `None`.
    pub fn next_step(&self) -> Option<Timestamp> {
        if !self.unsent.is_empty() || !self.fired.is_empty() || !self.mail.is_empty() || !self.restless.is_empty() {
            return Some(Timestamp::MIN);
        }
        [self.wheel.next(), self.dues.next()].into_iter().flatten().min()
    }

    /// From now on new payments are refused (T03): what is in flight goes on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// How many transfers are held or have an answer owed.
    pub fn in_flight(&self) -> usize {
        self.active.len()
    }

    /// Makes the next batch carry what has been recorded but needn't be durable for its own sake. For a graceful stop.
    pub fn flush(&mut self) {
        self.pending.dirty |= !self.pending.blob.is_empty();
    }

    /// The connector's address.
    pub fn address(&self) -> &Address {
        &self.config.address
    }

    fn input(&mut self, input: Input, now: Timestamp) -> Result<(), WorkerError> {
        match input {
            Input::Link { connection, event } => self.link_event(connection, event, now),
            Input::Connected { connection, account, relayed } => {
                self.connected(connection, &account, relayed);
                Ok(())
            }
            Input::Congested { connection, congested } => {
                self.congested(connection, congested);
                Ok(())
            }
            Input::Disconnected { connection } => {
                self.disconnected(connection);
                Ok(())
            }
            Input::Received { delivery, result } => self.received(delivery, result, now),
            Input::Pay(pay) => self.pay(pay, now),
            Input::AddAccount { config, row, reply } => self.add_account(config, &row, reply),
            Input::Moved { account, n, outcome } => self.moved(&account, n, &outcome, now),
            Input::Noted { from, account, note } => self.noted(from, &account, note),
            Input::Colleagues { slots } => {
                self.set_colleagues(slots);
                Ok(())
            }
            Input::RemoveAccount { id, write_off, reply } => {
                self.remove_account(&id, write_off, reply);
                Ok(())
            }
            Input::Settle { account, amount, id, reply } => self.settle(&account, amount, &id, reply),
            Input::AcknowledgeEvents { through } => self.acknowledge_events(through),
            Input::State { reply } => {
                self.statements.push(reply);
                Ok(())
            }
        }
    }

    fn transfer(&self, tag: Tag) -> Option<&Transfer> {
        let index = usize::try_from(tag.index).ok()?;
        self.transfers.get(index).filter(|transfer| check_of(&transfer.key) == tag.check)
    }

    fn transfer_at(&self, index: u32) -> Option<&Transfer> {
        self.transfers.get(usize::try_from(index).ok()?)
    }

    fn active(&self, transfer: &Transfer) -> Option<&Active> {
        self.active.get(usize::try_from(transfer.active?).ok()?)
    }

    fn active_mut(&mut self, tag: Tag) -> Option<&mut Active> {
        let active = self.transfer(tag)?.active?;
        self.active.get_mut(usize::try_from(active).ok()?)
    }

    fn account(&self, no: AccountNo) -> Option<&Account> {
        self.accounts.get(usize::try_from(no).ok()?)?.as_ref()
    }

    fn account_mut(&mut self, no: AccountNo) -> Option<&mut Account> {
        self.accounts.get_mut(usize::try_from(no).ok()?)?.as_mut()
    }

    fn number_of(&self, id: &crate::AccountId) -> Option<AccountNo> {
        let no = *self.by_name.get(id.name())?;
        self.account(no).filter(|account| account.id == *id).map(|_| no)
    }

    /// The books as this step leaves them, for those who asked: told when all of it is durable.
    fn state_books(&mut self) {
        if self.statements.is_empty() {
            return;
        }
        self.flush();
        let mut status = self.status();
        status.seq = status.seq.saturating_add(u64::from(self.pending.dirty));
        for reply in std::mem::take(&mut self.statements) {
            self.effect(Effect::Stated { reply, status: Box::new(status.clone()) });
        }
    }

    fn new_outgoing_id(&mut self) -> TransferId {
        loop {
            let mut id = [0; 16];
            self.rng.fill_bytes(&mut id);
            let [high, low] = self.config.slot.to_be_bytes();
            id[0] = high;
            id[1] = low;
            let id = TransferId::new(id);
            if !self.outgoing.contains_key(&id) {
                return id;
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        self.pending.effects.push(effect);
    }
}

/// Such an event depends on nothing that came with it: the transfer was sent, and its connection known, in an earlier step.
fn ends_transfer(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Fulfill { .. } | LinkEvent::Reject { .. } | LinkEvent::Answered { .. })
}

fn matches(condition: &Condition, fulfillment: &Fulfillment) -> bool {
    condition.is_fulfilled_by(fulfillment)
}

fn seeded(seed: [u8; 32]) -> (ChaCha12Rng, [RandomState; 5]) {
    let mut rng = ChaCha12Rng::from_seed(seed);
    let mut state = || RandomState::with_seeds(rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64());
    let states = [state(), state(), state(), state(), state()];
    (rng, states)
}
