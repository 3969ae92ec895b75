//! Records change the state; nothing else does. The same code runs in a step and when a log is read.

use super::accounts::{Account, Flight};
use super::moves::Moves;
use super::{Active, Doubts, Outcome, Tally, Transfer, Worker, WorkerError};
use crate::link::{Claim, PeerProtocol};
use crate::record::{AccountNo, AccountState, Leg, OWN, Prepared, Record, TransferState};
use crate::store::MoveChange;
use crate::wheel::Timer;
use bytes::Bytes;
use ilp_oer::ilp::ErrorPacket;
use ilp_oer::{Condition, ErrorCode, Timestamp, TransferId};

/// Sums stay within this, either way: beyond what any number of u64 amounts a connector sees in its life can add up to.
pub(super) const SUM_MAX: i128 = 1 << 100;

impl Worker {
    /// Writes a record into the batch under way, applies it, and tells its event.
    pub(super) fn record(&mut self, record: &Record<'_>) -> Result<(), WorkerError> {
        self.pending.dirty = true;
        let event = self.event_of(record);
        self.record_lazily(record)?;
        self.count_event(record, event);
        Ok(())
    }

    /// The same, but the record may wait for a later batch: if it is lost, all that happens is that something is said once more. Only for
    /// records that have no event.
    pub(super) fn record_lazily(&mut self, record: &Record<'_>) -> Result<(), WorkerError> {
        if self.pending.blob.is_empty() {
            Record::BatchBegun { at: self.pending.now, events: self.events.last() }.encode(&mut self.pending.blob);
        }
        record.encode(&mut self.pending.blob);
        self.pending.records = self.pending.records.saturating_add(1);
        self.apply(record)
    }

    pub(super) fn apply(&mut self, record: &Record<'_>) -> Result<(), WorkerError> {
        match record {
            Record::AccountOpened { no, id, asset } | Record::AccountKnown { no, id, asset } => {
                self.open_account(&AccountState::new(*no, id.clone(), asset), true)
            }
            Record::AccountClosed { no, .. } | Record::AccountLeft { no, .. } => self.close_account(*no),
            Record::MoveBegun { no, n, change } => self.apply_move(*no, *n, Some(*change)),
            Record::MoveEnded { no, n, moved } => {
                self.apply_move(*no, *n, None)?;
                self.change_moved(*no, *moved)
            }
            Record::BatchBegun { events, .. } => self.apply_events_before(*events),
            Record::Prepared(prepared) => {
                self.change(prepared.from, |sums, x| add(&mut sums.incoming_prepared, x))?;
                self.insert_transfer(prepared, Outcome::Held)
            }
            Record::Fulfilled { key, from, to, fulfillment } => {
                self.change(*from, |sums, x| {
                    add(&mut sums.incoming_prepared, -x)?;
                    add(&mut sums.incoming_fulfilled, x)
                })?;
                self.change(*to, |sums, y| add(&mut sums.outgoing_fulfilled, y))?;
                // Paid from or to the connector itself, one side only has another account.
                self.change_own(*from, 1)?;
                self.change_own(*to, -1)?;
                self.decide(key, Outcome::Fulfilled(*fulfillment), &[]);
                Ok(())
            }
            Record::Rejected { key, from, reason } => {
                self.change(*from, |sums, x| add(&mut sums.incoming_prepared, -x))?;
                self.decide(key, Outcome::Rejected(code_of(reason)), reason);
                Ok(())
            }
            Record::AnswerAcked { key } => {
                self.settle_answer(key);
                Ok(())
            }
            Record::AnswerRefused { key, from, charged } => {
                if !charged {
                    self.change(*from, |sums, x| add(&mut sums.incoming_fulfilled, -x))?;
                    self.change_own(*from, -1)?;
                }
                self.doubt(*from, |doubts| if *charged { &mut doubts.disputed } else { &mut doubts.lost });
                self.settle_answer(key);
                Ok(())
            }
            Record::Unconfirmed { key, from } => {
                self.doubt(*from, |doubts| &mut doubts.unconfirmed);
                self.settle_answer(key);
                Ok(())
            }
            Record::Settled { no, id, amount } => self.apply_settlement(*no, id, *amount),
            Record::SettlementKnown { no, id, amount } => {
                if let Some(account) = self.account_mut(*no) {
                    account.settlements.insert((*id).into(), *amount);
                }
                Ok(())
            }
            Record::EventsAcked { through } => {
                self.apply_events_acked(*through);
                Ok(())
            }
            Record::Charged { from, id, digest, expires_at } => {
                self.change(*from, |sums, x| add(&mut sums.incoming_unconditional, x))?;
                self.change_own(*from, 1)?;
                self.insert_transfer(
                    &Prepared {
                        key: *id,
                        from: *from,
                        incoming_id: *id,
                        digest: *digest,
                        incoming_expires_at: *expires_at,
                        to: Leg { account: OWN, amount: from.amount },
                        expires_at: *expires_at,
                        condition: [0; 32],
                        packet: &[],
                    },
                    Outcome::Charged,
                )
            }
            Record::Account(state) => self.open_account(state, true),
            Record::Own { asset, balance, closed_settlements, closed_moves } => {
                let index = self.asset_index(asset);
                if let Some(book) = self.assets.get_mut(index) {
                    book.own = *balance;
                    book.closed_settlements = *closed_settlements;
                    book.closed_moves = *closed_moves;
                }
                Ok(())
            }
            Record::Transfer(state) => self.restore_transfer(state),
            Record::Claimed { no, kind, subject, proof } => {
                let claim = Claim { kind: *kind, subject: (*subject).to_owned(), proof: Bytes::copy_from_slice(proof) };
                self.apply_claim(*no, claim);
                Ok(())
            }
            Record::SnapshotBegun { numbers, events_acked } => {
                self.use_numbers(*numbers)?;
                self.apply_events_acked(*events_acked);
                Ok(())
            }
            Record::SnapshotEnded => Ok(()),
        }
    }

    pub(super) fn open_account(&mut self, state: &AccountState<'_>, recorded: bool) -> Result<(), WorkerError> {
        let index = usize::try_from(state.no).map_err(|_| WorkerError::Inconsistent("account number"))?;
        let asset = self.asset_index(state.asset);
        self.use_numbers(state.no.saturating_add(1))?;
        let address = self.config.address.join(state.id.name()).map_err(|_| WorkerError::Inconsistent("account address"))?;
        let existing = self.account_mut(state.no);
        let balance = balance_of(&state.sums).ok_or_else(|| WorkerError::Overflow(state.id.to_string()))?;
        match existing {
            Some(account) => {
                account.sums = state.sums;
                account.doubts = state.doubts;
                account.balance = balance;
                account.moves.last = state.last_move.max(account.moves.last);
                account.moves.under_way = state.moving;
                account.recorded = true;
            }
            None => {
                self.by_name.insert(state.id.name().into(), state.no);
                if let Some(place) = self.accounts.get_mut(index) {
                    *place = Some(Account {
                        id: state.id.clone(),
                        address,
                        asset,
                        credit_limit: 0,
                        max_packet: 0,
                        max_in_flight: 0,
                        protocol: PeerProtocol::Clp,
                        sums: state.sums,
                        doubts: state.doubts,
                        settlements: Default::default(),
                        balance,
                        incoming: Flight::default(),
                        outgoing: Flight::default(),
                        remembered: 0,
                        connections: Vec::new(),
                        recorded,
                        moves: Moves::restored(state.last_move, state.moving),
                        configured: false,
                        closing: None,
                        claims: Vec::new(),
                    });
                }
            }
        }
        if recorded {
            self.pending.touched.push(state.no);
        }
        Ok(())
    }

    pub(super) fn close_account(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        let index = usize::try_from(no).map_err(|_| WorkerError::Inconsistent("account number"))?;
        if let Some(account) = self.accounts.get_mut(index).and_then(Option::take) {
            self.by_name.remove(account.id.name());
            if account.recorded {
                self.pending.closed.push(account.id.clone());
            }
            if let Some(book) = self.assets.get_mut(account.asset) {
                let overflow = || WorkerError::Overflow(book.asset.to_string());
                let own = checked(book.own, account.hot()).ok_or_else(overflow)?;
                let settled = checked(book.closed_settlements, account.sums.settlements).ok_or_else(overflow)?;
                let moves = checked(book.closed_moves, account.sums.moved).ok_or_else(overflow)?;
                (book.own, book.closed_settlements, book.closed_moves) = (own, settled, moves);
            }
        }
        Ok(())
    }

    /// A move has begun, with what it does, or ended.
    fn apply_move(&mut self, no: AccountNo, n: u64, change: Option<MoveChange>) -> Result<(), WorkerError> {
        let replaying = self.replaying;
        let Some(account) = self.account_mut(no) else {
            // As in `change`.
            return if replaying { Ok(()) } else { Err(WorkerError::Inconsistent("a record names an account that isn't there")) };
        };
        account.moves.last = n;
        account.moves.under_way = change;
        match change {
            // From here on it isn't hot; whether it is cold yet, the store knows.
            Some(MoveChange::Give { amount }) => self.change_moved(no, amount.saturating_neg()),
            _ => Ok(()),
        }
    }

    fn change_moved(&mut self, no: AccountNo, amount: i128) -> Result<(), WorkerError> {
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        add(&mut account.sums.moved, amount).ok_or_else(|| WorkerError::Overflow(account.id.to_string()))?;
        self.pending.touched.push(no);
        Ok(())
    }

    /// Account numbers below this one are used up: closed accounts keep theirs.
    fn use_numbers(&mut self, below: AccountNo) -> Result<(), WorkerError> {
        let below = usize::try_from(below).map_err(|_| WorkerError::Inconsistent("account number"))?;
        if self.accounts.len() < below {
            self.accounts.resize_with(below, || None);
        }
        Ok(())
    }

    fn apply_settlement(&mut self, no: AccountNo, id: &str, amount: i128) -> Result<(), WorkerError> {
        let replaying = self.replaying;
        let Some(account) = self.account_mut(no) else {
            // As in `change`.
            return if replaying { Ok(()) } else { Err(WorkerError::Inconsistent("a record names an account that isn't there")) };
        };
        account.settlements.insert(id.into(), amount);
        let changed = add(&mut account.sums.settlements, amount);
        let balance = balance_of(&account.sums).filter(|_| changed.is_some());
        account.balance = balance.ok_or_else(|| WorkerError::Overflow(account.id.to_string()))?;
        self.pending.touched.push(no);
        Ok(())
    }

    fn doubt(&mut self, leg: Leg, which: impl FnOnce(&mut Doubts) -> &mut Tally) {
        if let Some(account) = self.account_mut(leg.account) {
            which(&mut account.doubts).add(leg.amount);
        }
    }

    /// Changes the sums of the account at a leg by its amount; the balance follows.
    fn change(&mut self, leg: Leg, change: impl FnOnce(&mut crate::record::Sums, i128) -> Changed) -> Result<(), WorkerError> {
        if leg.account == OWN {
            return Ok(());
        }
        let replaying = self.replaying;
        let Some(account) = self.account_mut(leg.account) else {
            return if replaying { Ok(()) } else { Err(WorkerError::Inconsistent("a record names an account that isn't there")) };
        };
        let changed = change(&mut account.sums, leg.amount.into());
        let balance = balance_of(&account.sums).filter(|_| changed.is_some());
        account.balance = balance.ok_or_else(|| WorkerError::Overflow(account.id.to_string()))?;
        self.pending.touched.push(leg.account);
        Ok(())
    }

    /// Moves a leg's amount to (1) or from (−1) the connector's own account in the leg's asset.
    fn change_own(&mut self, leg: Leg, sign: i128) -> Result<(), WorkerError> {
        let Some(asset) = self.account(leg.account).map(|account| account.asset) else {
            return Ok(());
        };
        let Some(book) = self.assets.get_mut(asset) else {
            return Ok(());
        };
        let amount = i128::from(leg.amount).checked_mul(sign);
        book.own = amount.and_then(|amount| checked(book.own, amount)).ok_or_else(|| WorkerError::Overflow(book.asset.to_string()))?;
        Ok(())
    }

    fn insert_transfer(&mut self, prepared: &Prepared<'_>, outcome: Outcome) -> Result<(), WorkerError> {
        let time = |ms| Timestamp::from_unix_millis(ms).map_err(|_| WorkerError::Inconsistent("a time out of range"));
        let (incoming_expires_at, expires_at) = (time(prepared.incoming_expires_at)?, time(prepared.expires_at)?);
        let full = |_| WorkerError::Inconsistent("too many transfers");
        let index = u32::try_from(self.transfers.vacant_key()).map_err(full)?;
        let active = match outcome {
            Outcome::Charged => None,
            _ => Some(
                u32::try_from(self.active.insert(Active {
                    transfer: index,
                    condition: Condition::new(prepared.condition),
                    packet: Bytes::copy_from_slice(prepared.packet),
                    sends: 0,
                    sent_on: None,
                    acked: false,
                    pay: None,
                    reason: Bytes::new(),
                    answer_sends: 0,
                    answered_on: None,
                    in_time: false,
                    recovered: self.replaying,
                    answer_recovered: false,
                }))
                .map_err(full)?,
            ),
        };
        self.transfers.insert(Transfer {
            key: prepared.key,
            from: prepared.from,
            incoming_id: prepared.incoming_id,
            digest: prepared.digest,
            incoming_expires_at,
            to: prepared.to,
            expires_at,
            outcome,
            active,
            // What was recovered is in a log that will be cut whole.
            recorded_in: if self.replaying { 0 } else { self.pending.seq.saturating_add(1) },
        });
        if prepared.from.account != OWN {
            self.incoming.insert((prepared.from.account, prepared.incoming_id), index);
        }
        let (mut due, check) = (incoming_expires_at, super::check_of(&prepared.key));
        if outcome != Outcome::Charged {
            self.outgoing.insert(prepared.key, index);
            due = expires_at.saturating_add_millis(self.config.timing.grace_ms);
        }
        self.wheel.insert(Timer { index, check }, due);
        let (from, to, payload) = (prepared.from, prepared.to, prepared.packet.len());
        if let Some(account) = self.account_mut(from.account) {
            account.remembered = account.remembered.saturating_add(1);
            if active.is_some() {
                account.incoming.enter(payload, from.amount);
            }
        }
        if active.is_some() {
            if to.account == OWN {
                self.receiving = self.receiving.saturating_add(1);
            } else if let Some(account) = self.account_mut(to.account) {
                account.outgoing.enter(payload, to.amount);
            }
        }
        Ok(())
    }

    fn decide(&mut self, key: &TransferId, outcome: Outcome, reason: &[u8]) {
        let Some(index) = self.outgoing.get(key).copied() else { return };
        let place = usize::try_from(index).ok();
        let Some(transfer) = place.and_then(|index| self.transfers.get_mut(index)) else { return };
        transfer.outcome = outcome;
        let (from, to, active) = (transfer.from, transfer.to, transfer.active);
        let answer_recovered = self.replaying;
        let mut packet = 0;
        if let Some(active) = active.and_then(|a| usize::try_from(a).ok()).and_then(|a| self.active.get_mut(a)) {
            active.reason = Bytes::copy_from_slice(reason);
            active.answer_recovered = answer_recovered;
            packet = std::mem::take(&mut active.packet).len();
        }
        if let Some(account) = self.account_mut(from.account) {
            account.incoming.decide(packet, reason.len(), from.amount);
        }
        if to.account == OWN {
            self.receiving = self.receiving.saturating_sub(1);
        } else if let Some(account) = self.account_mut(to.account) {
            account.outgoing.decide(packet, 0, to.amount);
            account.outgoing.leave(0);
        }
        self.tend_closing(to.account);
        if from.account == OWN {
            self.settle_answer(key);
        }
    }

    /// Nothing is owed any more: the transfer is only remembered from here on.
    fn settle_answer(&mut self, key: &TransferId) {
        let index = self.outgoing.get(key).and_then(|index| usize::try_from(*index).ok());
        let Some(transfer) = index.and_then(|index| self.transfers.get_mut(index)) else { return };
        let Some(active) = transfer.active.take().and_then(|active| usize::try_from(active).ok()) else { return };
        let from = transfer.from.account;
        let reason = self.active.try_remove(active).map_or(0, |active| active.reason.len());
        if let Some(account) = self.account_mut(from) {
            account.incoming.leave(reason);
        }
        self.tend_closing(from);
    }

    /// What is waited for when an account is closed has happened, perhaps.
    fn tend_closing(&mut self, no: AccountNo) {
        if self.account(no).is_some_and(Account::is_closing) {
            self.restless.push(no);
        }
    }

    fn restore_transfer(&mut self, state: &TransferState<'_>) -> Result<(), WorkerError> {
        if !self.replaying || self.outgoing.contains_key(&state.prepared.key) {
            // A snapshot of what is here changes nothing.
            return Ok(());
        }
        if state.outcome == 3 {
            return match self.incoming.contains_key(&(state.prepared.from.account, state.prepared.incoming_id)) {
                true => Ok(()),
                false => self.insert_transfer(&state.prepared, Outcome::Charged),
            };
        }
        self.insert_transfer(&state.prepared, Outcome::Held)?;
        match state.outcome {
            1 => self.decide(&state.prepared.key, Outcome::Fulfilled(state.fulfillment), &[]),
            2 => self.decide(&state.prepared.key, Outcome::Rejected(code_of(state.reason)), state.reason),
            _ => return Ok(()),
        }
        if !state.owed {
            self.settle_answer(&state.prepared.key);
        }
        Ok(())
    }
}

type Changed = Option<()>;

fn add(sum: &mut i128, amount: i128) -> Changed {
    *sum = checked(*sum, amount)?;
    Some(())
}

/// The sum, if it is within the range of the books.
fn checked(a: i128, b: i128) -> Option<i128> {
    a.checked_add(b).filter(|sum| (-SUM_MAX..=SUM_MAX).contains(sum))
}

/// The balance, in the connector's words: what the holder earned and was given, less what it spent and has on its way.
pub(super) fn balance_of(sums: &crate::record::Sums) -> Option<i128> {
    [sums.outgoing_unconditional, sums.settlements].into_iter().try_fold(sums.outgoing_fulfilled, checked).and_then(|plus| {
        [sums.incoming_fulfilled, sums.incoming_unconditional, sums.incoming_prepared]
            .into_iter()
            .try_fold(plus, |sum, minus| checked(sum, minus.checked_neg()?))
    })
}

pub(super) fn code_of(reason: &[u8]) -> ErrorCode {
    ErrorPacket::decode(reason).map_or(ErrorCode::T00_INTERNAL_ERROR, |error| error.code)
}
