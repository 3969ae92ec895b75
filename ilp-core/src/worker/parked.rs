//! Payments that wait for a draw: nothing of them is in the books.

use super::accounts::Flight;
use super::{ConnectionId, Worker, WorkerError};
use crate::link::{IncomingPrepare, Payload, RequestId};
use crate::record::AccountNo;
use crate::refusal::Refusal;
use ilp_oer::{Amount, Timestamp, TransferId};
use std::collections::{HashMap, VecDeque};

/// Requests that wait for the answer to one parked transfer.
const ASKERS_MAX: usize = 8;

/// A transfer that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) transfer: Incoming,
    /// Never the same twice at one worker.
    pub(super) serial: u64,
    /// Colleagues were asked for what they can spare.
    pub(super) recalled: bool,
    /// From when on it is refused.
    deadline: Option<Timestamp>,
    /// Requests that wait for the answer: the one that it came with, and repeats.
    askers: Vec<(ConnectionId, RequestId)>,
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    Prepare(IncomingPrepare),
    Unconditional { id: TransferId, amount: Amount, expires_at: Option<Timestamp>, payload: Payload },
}

/// What becomes of a request.
pub(super) enum Verdict {
    /// It is in the books, or refused.
    Decided,
    /// So much must be available, and so much drawn, before it can be.
    Wants { transfer: Incoming, needed: i128, least: i128 },
}

impl Incoming {
    pub(super) fn amount(&self) -> Amount {
        match self {
            Self::Prepare(transfer) => transfer.amount,
            Self::Unconditional { amount, .. } => *amount,
        }
    }

    fn id(&self) -> TransferId {
        match self {
            Self::Prepare(transfer) => transfer.id,
            Self::Unconditional { id, .. } => *id,
        }
    }

    pub(super) fn payload(&self) -> &Payload {
        match self {
            Self::Prepare(transfer) => &transfer.payload,
            Self::Unconditional { payload, .. } => payload,
        }
    }

    /// When its sender stops waiting.
    fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Prepare(transfer) => Some(transfer.expires_at),
            Self::Unconditional { expires_at, .. } => *expires_at,
        }
    }
}

/// Those of one account, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Parked>,
    /// For which the store had too little, until colleagues have been asked for what they can spare. Others don't wait for that.
    aside: VecDeque<Parked>,
    /// Each by its serial.
    ids: HashMap<TransferId, u64>,
    /// What they need, as if they were in flight.
    flight: Flight,
    /// None of them has to be refused before then, nor at all if there is none.
    first_deadline: Option<Timestamp>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// When to look for what is late.
    pub(super) fn first_deadline(&self) -> Option<Timestamp> {
        self.first_deadline
    }

    pub(super) fn get_mut(&mut self, serial: u64) -> Option<&mut Parked> {
        let Self { waiting, aside, .. } = self;
        let in_one = |queue: &VecDeque<Parked>| queue.binary_search_by_key(&serial, |parked| parked.serial).ok();
        match in_one(aside) {
            Some(place) => aside.get_mut(place),
            None => in_one(waiting).and_then(|place| waiting.get_mut(place)),
        }
    }

    pub(super) fn take(&mut self, serial: u64) -> Option<Parked> {
        let in_one = |queue: &mut VecDeque<Parked>| {
            queue.binary_search_by_key(&serial, |parked| parked.serial).ok().and_then(|place| queue.remove(place))
        };
        let taken = in_one(&mut self.aside).or_else(|| in_one(&mut self.waiting));
        self.left(taken)
    }

    /// The one whose turn it is: while colleagues are being asked, those aside have none.
    pub(super) fn take_next(&mut self, asking: bool) -> Option<Parked> {
        let aside = if asking { None } else { self.aside.pop_front() };
        let next = aside.or_else(|| self.waiting.pop_front());
        self.left(next)
    }

    /// Sets one aside until colleagues have been asked.
    pub(super) fn set_aside(&mut self, serial: u64) {
        if let Ok(place) = self.waiting.binary_search_by_key(&serial, |parked| parked.serial)
            && let Some(parked) = self.waiting.remove(place)
        {
            insert(&mut self.aside, parked);
        }
    }

    /// Colleagues have been asked, on behalf of all that need at least so much.
    pub(super) fn recalled_for(&mut self, least: Amount) {
        let (mut same, mut aside): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(|parked| parked.amount() < least);
        self.waiting.append(&mut same);
        aside.append(&mut self.aside);
        aside.make_contiguous().sort_unstable_by_key(|parked| parked.serial);
        aside.iter_mut().filter(|parked| parked.amount() >= least).for_each(|parked| parked.recalled = true);
        self.aside = aside;
    }

    /// Takes those that need at least so much, and for which colleagues were asked, or for which there was nobody to be asked.
    pub(super) fn take_hopeless(&mut self, least: Amount, nobody_to_ask: bool) -> Vec<Parked> {
        let hopeless = |parked: &Parked| parked.amount() >= least && (parked.recalled || nobody_to_ask);
        let mut serials: Vec<_> =
            self.aside.iter().chain(&self.waiting).filter(|parked| hopeless(parked)).map(|parked| parked.serial).collect();
        serials.sort_unstable();
        serials.into_iter().filter_map(|serial| self.take(serial)).collect()
    }

    /// One that waited for too long.
    fn take_late(&mut self, now: Timestamp) -> Option<Parked> {
        if self.first_deadline.is_none_or(|at| at > now) {
            return None;
        }
        let all = || self.aside.iter().chain(&self.waiting);
        let late = all().find(|parked| parked.deadline.is_some_and(|at| at <= now)).map(|parked| parked.serial);
        if late.is_none() {
            // Exactly, since those that made it earlier may be gone.
            self.first_deadline = all().filter_map(|parked| parked.deadline).min();
        }
        self.take(late?)
    }

    /// One that is new, or goes back to where it was.
    pub(super) fn put(&mut self, parked: Parked) {
        self.flight.enter(parked.transfer.payload().data.len(), parked.amount().get());
        self.first_deadline = self.first_deadline.into_iter().chain(parked.deadline).min();
        self.ids.insert(parked.transfer.id(), parked.serial);
        insert(if parked.recalled { &mut self.aside } else { &mut self.waiting }, parked);
    }

    /// A connection is gone, and its requests with it. What it sent is still decided.
    pub(super) fn disconnected(&mut self, connection: ConnectionId) {
        for parked in self.aside.iter_mut().chain(&mut self.waiting) {
            parked.askers.retain(|(asker, _)| *asker != connection);
        }
    }

    fn left(&mut self, parked: Option<Parked>) -> Option<Parked> {
        let parked = parked?;
        let payload = parked.transfer.payload().data.len();
        self.ids.remove(&parked.transfer.id());
        self.flight.decide(payload, 0, parked.amount().get());
        self.flight.leave(0);
        Some(parked)
    }
}

/// By its serial: the newest is last, the one whose turn it was is first.
fn insert(queue: &mut VecDeque<Parked>, parked: Parked) {
    let place = queue.partition_point(|other| other.serial < parked.serial);
    queue.insert(place, parked);
}

impl Parked {
    pub(super) fn amount(&self) -> Amount {
        self.transfer.amount()
    }

    /// Somebody has said it again, and waits for the answer too. `false` if it is another transfer.
    fn asked_again(&mut self, connection: ConnectionId, request: RequestId, transfer: &Incoming) -> bool {
        if self.transfer != *transfer {
            return false;
        }
        if self.askers.len() < ASKERS_MAX {
            self.askers.push((connection, request));
        } else if let Some(last) = self.askers.iter_mut().rev().find(|(asker, _)| *asker == connection) {
            // Whoever says the same so often on one connection is answered once more, and not every time.
            last.1 = request;
        }
        true
    }
}

impl Worker {
    /// A request has come in. What others of its account wait for is not for it; and if it is one of those that wait, it waits too.
    pub(super) fn incoming(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        transfer: Incoming,
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        let Some((no, _)) = self.connections.get(&connection).copied() else { return Ok(()) };
        let id = transfer.id();
        let Some(parked) = self.account_mut(no).map(|account| &mut account.moves.parked) else { return Ok(()) };
        if let Some(serial) = parked.ids.get(&id).copied() {
            let same = parked.get_mut(serial).is_some_and(|parked| parked.asked_again(connection, request, &transfer));
            if !same {
                self.refuse(connection, request, no, transfer.amount(), Refusal::IdReused, now);
            }
            return Ok(());
        }
        if !parked.is_empty() && !self.incoming.contains_key(&(no, id)) {
            // What waits is in flight but for the books.
            let (amount, payload) = (transfer.amount(), transfer.payload().data.len());
            let Some(account) = self.account(no) else { return Ok(()) };
            let flight = account.incoming.with(&account.moves.parked.flight);
            if let Err((max, what)) = flight.check(&self.config.limits, account.max_in_flight, payload, amount.get()) {
                let account = account.id.clone();
                self.refuse(connection, request, no, amount, Refusal::Overloaded { account, max, what }, now);
                return Ok(());
            }
        }
        if let Verdict::Wants { transfer, .. } = self.judge(no, &[(connection, request)], transfer, false, now)? {
            self.next_serial = self.next_serial.wrapping_add(1);
            let (serial, deadline) = (self.next_serial, self.deadline(&transfer));
            let Some(account) = self.account_mut(no) else { return Ok(()) };
            account.moves.parked.put(Parked { transfer, serial, recalled: false, deadline, askers: vec![(connection, request)] });
            self.counters.parked = self.counters.parked.saturating_add(1);
            self.restless.push(no);
        }
        Ok(())
    }

    /// Looks at a parked request again. If it has to wait on, it comes back with what it needs. `granted`: the store has decided that there
    /// is enough for it.
    pub(super) fn try_parked(
        &mut self,
        no: AccountNo,
        parked: Parked,
        granted: bool,
        now: Timestamp,
    ) -> Result<Option<(Parked, i128, i128)>, WorkerError> {
        let Parked { transfer, serial, recalled, deadline, askers } = parked;
        Ok(match self.judge(no, &askers, transfer, granted, now)? {
            Verdict::Decided => None,
            Verdict::Wants { transfer, needed, least } => Some((Parked { transfer, serial, recalled, deadline, askers }, needed, least)),
        })
    }

    pub(super) fn refuse_parked(&mut self, no: AccountNo, parked: &Parked, refusal: Refusal, now: Timestamp) {
        self.refuse_all(&parked.askers, no, parked.amount(), refusal, now);
    }

    /// Refuses what can't be sent on in time any more.
    pub(super) fn expire_parked(&mut self, no: AccountNo, now: Timestamp) {
        while let Some(parked) = self.account_mut(no).and_then(|account| account.moves.parked.take_late(now)) {
            let timing = &self.config.timing;
            let left_ms = parked.transfer.expires_at().map_or(0, |at| at.millis_since(now));
            let needed_ms = timing.window_ms.saturating_add(timing.outgoing_ms_min);
            self.refuse_parked(no, &parked, Refusal::TooLittleTime { left_ms, needed_ms }, now);
        }
    }

    /// From when on a parked request is refused.
    fn deadline(&self, transfer: &Incoming) -> Option<Timestamp> {
        let timing = &self.config.timing;
        match transfer {
            Incoming::Prepare(transfer) => {
                let needed = timing.window_ms.saturating_add(timing.outgoing_ms_min).saturating_sub(1);
                Some(transfer.expires_at.saturating_sub_millis(needed))
            }
            Incoming::Unconditional { expires_at, .. } => *expires_at,
        }
    }
}
