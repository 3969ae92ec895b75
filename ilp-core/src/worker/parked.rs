//! Payments that wait for a draw: nothing of them is in the books.

use super::accounts::Flight;
use super::{ConnectionId, Worker, WorkerError};
use crate::link::{IncomingPrepare, Payload, RequestId};
use crate::record::AccountNo;
use crate::refusal::Refusal;
use ilp_oer::{Amount, Timestamp, TransferId};
use std::collections::VecDeque;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) connection: ConnectionId,
    pub(super) request: RequestId,
    pub(super) transfer: Incoming,
    /// Never the same twice at one worker.
    pub(super) serial: u64,
    /// Colleagues were asked for what they can spare.
    pub(super) recalled: bool,
    /// From when on it is refused.
    deadline: Option<Timestamp>,
}

/// What came in.
#[derive(Debug)]
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
    queue: VecDeque<Parked>,
    /// What they need, as if they were in flight.
    flight: Flight,
    /// None of them has to be refused before then, nor at all if there is none.
    first_deadline: Option<Timestamp>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    fn has(&self, id: TransferId) -> bool {
        self.queue.iter().any(|parked| parked.transfer.id() == id)
    }

    pub(super) fn front(&self) -> Option<&Parked> {
        self.queue.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Parked> {
        self.queue.front_mut()
    }

    /// When to look for what is late.
    pub(super) fn first_deadline(&self) -> Option<Timestamp> {
        self.first_deadline
    }

    /// One that waited for too long.
    fn pop_late(&mut self, now: Timestamp) -> Option<Parked> {
        if self.first_deadline.is_none_or(|at| at > now) {
            return None;
        }
        let late = self.queue.iter().position(|parked| parked.deadline.is_some_and(|at| at <= now));
        if late.is_none() {
            // Exactly, since those that made it earlier may be gone.
            self.first_deadline = self.queue.iter().filter_map(|parked| parked.deadline).min();
        }
        self.remove(late?)
    }

    pub(super) fn push_back(&mut self, parked: Parked) {
        self.enter(&parked);
        self.queue.push_back(parked);
    }

    pub(super) fn push_front(&mut self, parked: Parked) {
        self.enter(&parked);
        self.queue.push_front(parked);
    }

    pub(super) fn pop_front(&mut self) -> Option<Parked> {
        self.remove(0)
    }

    fn enter(&mut self, parked: &Parked) {
        self.flight.enter(parked.transfer.payload().data.len(), parked.amount().get());
        self.first_deadline = self.first_deadline.into_iter().chain(parked.deadline).min();
    }

    fn remove(&mut self, place: usize) -> Option<Parked> {
        let parked = self.queue.remove(place)?;
        let payload = parked.transfer.payload().data.len();
        self.flight.decide(payload, 0, parked.amount().get());
        self.flight.leave(0);
        Some(parked)
    }
}

impl Parked {
    pub(super) fn amount(&self) -> Amount {
        self.transfer.amount()
    }
}

impl Worker {
    /// A request has come in. Behind one that waits, every other of its account waits too, but for repeats.
    pub(super) fn incoming(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        transfer: Incoming,
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        let Some((no, _)) = self.connections.get(&connection).copied() else { return Ok(()) };
        let waits = self.account(no).is_some_and(|account| !account.moves.parked.is_empty());
        if waits && !self.incoming.contains_key(&(no, transfer.id())) {
            self.park(no, connection, request, transfer, now);
            return Ok(());
        }
        if let Verdict::Wants { transfer, .. } = self.judge(no, connection, request, transfer, false, now)? {
            self.park(no, connection, request, transfer, now);
        }
        Ok(())
    }

    fn park(&mut self, no: AccountNo, connection: ConnectionId, request: RequestId, transfer: Incoming, now: Timestamp) {
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let deadline = self.deadline(&transfer);
        // What waits is in flight but for the books.
        let (amount, payload) = (transfer.amount(), transfer.payload().data.len());
        let Some(account) = self.account(no) else { return };
        let flight = account.incoming.with(&account.moves.parked.flight);
        // One that waits already is one payment, however often it is said.
        if let Err((max, what)) = flight.check(&self.config.limits, account.max_in_flight, payload, amount.get())
            && !account.moves.parked.has(transfer.id())
        {
            let account = account.id.clone();
            self.refuse(connection, request, no, amount, Refusal::Overloaded { account, max, what }, now);
            return;
        }
        let Some(account) = self.account_mut(no) else { return };
        account.moves.parked.push_back(Parked { connection, request, transfer, serial, recalled: false, deadline });
        self.counters.parked = self.counters.parked.saturating_add(1);
        self.restless.push(no);
    }

    /// Looks at a parked request again. If it has to wait on, it comes back with what it needs.
    pub(super) fn try_parked(
        &mut self,
        no: AccountNo,
        parked: Parked,
        now: Timestamp,
    ) -> Result<Option<(Parked, i128, i128)>, WorkerError> {
        let Parked { connection, request, transfer, serial, recalled, deadline } = parked;
        Ok(match self.judge(no, connection, request, transfer, false, now)? {
            Verdict::Decided => None,
            Verdict::Wants { transfer, needed, least } => {
                Some((Parked { connection, request, transfer, serial, recalled, deadline }, needed, least))
            }
        })
    }

    /// The store has said that there is enough for it, and given it.
    pub(super) fn admit_parked(&mut self, no: AccountNo, parked: Parked, now: Timestamp) -> Result<(), WorkerError> {
        let Parked { connection, request, transfer, serial, recalled, deadline } = parked;
        if let Verdict::Wants { transfer, .. } = self.judge(no, connection, request, transfer, true, now)?
            && let Some(account) = self.account_mut(no)
        {
            account.moves.parked.push_front(Parked { connection, request, transfer, serial, recalled, deadline });
        }
        Ok(())
    }

    /// Refuses what can't be sent on in time any more.
    pub(super) fn expire_parked(&mut self, no: AccountNo, now: Timestamp) {
        while let Some(parked) = self.account_mut(no).and_then(|account| account.moves.parked.pop_late(now)) {
            let timing = &self.config.timing;
            let left_ms = parked.transfer.expires_at().map_or(0, |at| at.millis_since(now));
            let needed_ms = timing.window_ms.saturating_add(timing.outgoing_ms_min);
            let refusal = Refusal::TooLittleTime { left_ms, needed_ms };
            self.refuse(parked.connection, parked.request, no, parked.amount(), refusal, now);
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
