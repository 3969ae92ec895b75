//! Moves between the cold balance of an account, which the store keeps, and the hot one, which this slot may spend without asking.
//!
//! ```text
//!  MoveBegun (durable) ─► the store decides ─► Input::Moved ─► MoveEnded
//! ```
//!
//! One move of an account is on its way at a time, numbered without gaps; a worker that opens the slot asks again for one that it finds
//! begun, and gets the same answer. A payment for which too little is hot is *parked*: it has no trace in the books yet. When the draw
//! is decided the payment is looked at again from the start, so that it may still be refused for another reason. Others that come in
//! meanwhile are paid from what is hot, but for the part that the draw was asked for with; and if that has left too little for the one
//! that waits, it asks again.

use super::batch::{Effect, Note, ReplyId};
use super::parked::Queue;
use super::{Account, Worker, WorkerError};
use crate::account::AccountId;
use crate::record::{AccountNo, Record};
use crate::refusal::Refusal;
use crate::store::{AccountRow, LastMove, Move, MoveChange, MoveOutcome, MoveResult, SlotNo};
use ilp_oer::{Amount, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// What an account earned where nobody spends it goes back at most so often.
const GIVE_MS: i64 = 100;
/// What lies unused at one of several slots goes back after so long.
const IDLE_MS: i64 = 10_000;
/// They are asked at most so often for one account.
const RECALL_EVERY_MS: i64 = 20;
/// How long colleagues have for giving back what they don't need.
const RECALL_MS: i64 = 200;

/// The part of an account that has to do with moves.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// The slots that serve the account, and what deals its transfers to them. Empty until it is configured.
    pub(super) slots: Box<[SlotNo]>,
    /// Of this slot's last move.
    pub(super) last: u64,
    /// The last move, if the store hasn't answered yet.
    pub(super) under_way: Option<MoveChange>,
    /// The parked payment that it is made for.
    purpose: Option<Purpose>,
    /// The cold balance, as the store said last.
    pub(super) cold: i128,
    /// Payments that wait for a draw.
    pub(super) parked: Queue,
    recall: Option<Recall>,
    recalled_at: Option<Timestamp>,
    gave_at: Option<Timestamp>,
    used_at: Option<Timestamp>,
    /// When the account must be looked at.
    due: Option<Timestamp>,
    /// Colleagues that wait for us to give back what we can.
    recallers: Vec<SlotNo>,
    /// The home is about to close the account: its slot.
    pub(super) draining_for: Option<SlotNo>,
    /// It knows that we have.
    drained_told: bool,
    /// Whoever lowered the limit is told when nothing drawn under the old one is hot.
    lowered: Vec<ReplyId>,
    /// All that is available is to be drawn, without waiting for a payment.
    eager: bool,
    /// At home, while the account is being closed: who has drained it, and whether all of it has been given back since.
    pub(super) closing: Closing,
    /// Settlements that wait for the move under way.
    pub(super) settlements: VecDeque<super::settle::Asked>,
}

/// How far the closing of an account has come.
#[derive(Debug, Default)]
pub(super) struct Closing {
    drained: Vec<SlotNo>,
    /// The give-back under way was begun after all others had drained.
    last: bool,
    gave: bool,
}

/// Which payment a draw is made for.
#[derive(Debug, Clone, Copy)]
struct Purpose {
    serial: u64,
    /// What was hot then, with which the draw was reckoned.
    hot: i128,
    /// Kept for the payment.
    reserved: i128,
}

#[derive(Debug)]
struct Recall {
    waiting: Vec<SlotNo>,
    until: Timestamp,
}

impl Moves {
    /// As a log has it.
    pub(super) fn restored(last: u64, under_way: Option<MoveChange>) -> Self {
        Self { last, under_way, ..Self::default() }
    }

    /// What is hot, but kept for a parked payment until its draw has been decided.
    pub(super) fn reserved(&self) -> i128 {
        self.purpose.map_or(0, |purpose| purpose.reserved)
    }

    /// The account isn't closed after all.
    pub(super) fn draw_again(&mut self) {
        self.eager = self.slots.len() == 1;
        self.closing = Closing::default();
    }
}

/// Accounts that must be looked at, by time.
#[derive(Debug, Default)]
pub(super) struct Dues {
    by_time: std::collections::BTreeSet<(Timestamp, AccountNo)>,
}

impl Dues {
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

impl Worker {
    /// No other worker has any part of an account: the cold balance is what we were told last.
    pub(super) fn alone(&self) -> bool {
        self.colleagues.is_empty() && self.config.deployment == [self.config.slot]
    }

    /// The row of an account that was just configured; `before` is the limit that it had.
    pub(super) fn learn_row(&mut self, no: AccountNo, row: &AccountRow, before: Option<i128>, reply: ReplyId) -> bool {
        let own = self.config.slot;
        let last = row.moves.get(&own).map_or(0, |last| last.n);
        let Some(account) = self.account_mut(no) else { return true };
        account.moves.slots = row.slots.clone().into();
        if account.moves.under_way.is_none() {
            // An account that was closed and opened again goes on counting.
            account.moves.last = account.moves.last.max(last);
        }
        // As it was before the move under way, if that has been decided: its outcome comes separately.
        let decided = row.moves.get(&own).filter(|decided| account.moves.under_way.is_some() && decided.n == account.moves.last);
        account.moves.cold = row.cold.saturating_add(decided.map_or(0, |decided| decided.result.moved));
        account.moves.draining_for = None;
        account.moves.eager = *row.slots == [own];
        let lowered = before.is_some_and(|before| before > account.credit_limit);
        if lowered {
            account.moves.lowered.push(reply);
        }
        self.restless.push(no);
        !lowered
    }

    /// Looks at accounts whose time has come.
    pub(super) fn look_after_accounts(&mut self, now: Timestamp) -> Result<(), WorkerError> {
        while let Some((at, no)) = self.dues.by_time.first().copied().filter(|(at, _)| *at <= now) {
            self.dues.by_time.remove(&(at, no));
            if let Some(account) = self.account_mut(no) {
                account.moves.due = None;
            }
            self.restless.push(no);
        }
        while let Some(no) = self.restless.pop() {
            self.tend(no, now)?;
        }
        Ok(())
    }

    /// Accounts that the step has touched and that may have to move something.
    pub(super) fn look_at_touched(&mut self) {
        let own = self.config.slot;
        let mut restless = std::mem::take(&mut self.restless);
        let wants = |no: &&AccountNo| self.account(**no).is_some_and(|account| account.is_restless(own));
        restless.extend(self.pending.touched.iter().filter(wants));
        restless.sort_unstable();
        restless.dedup();
        self.restless = restless;
    }

    pub(super) fn tend_restless(&mut self, now: Timestamp) -> Result<(), WorkerError> {
        self.look_at_touched();
        while let Some(no) = self.restless.pop() {
            self.tend(no, now)?;
        }
        Ok(())
    }

    /// Whatever an account needs next.
    fn tend(&mut self, no: AccountNo, now: Timestamp) -> Result<(), WorkerError> {
        self.expire_parked(no, now);
        if self.account(no).is_some_and(|account| account.moves.under_way.is_none()) {
            self.settle_deferred(no)?;
            self.act(no, now)?;
        }
        self.arm(no, now);
        Ok(())
    }

    /// Begins the most urgent move of an account that has none under way.
    fn act(&mut self, no: AccountNo, now: Timestamp) -> Result<(), WorkerError> {
        let Some(account) = self.account(no) else { return Ok(()) };
        if account.moves.slots.is_empty() && account.moves.last == 0 {
            // The number of its next move isn't known before it is configured.
            return Ok(());
        }
        let hot = account.hot();
        if hot < 0 || (hot > 0 && account.debt() < 0) {
            // A settlement took more than was here: what is missing is missing from the cold balance. And as long as that lies below
            // its floor, what is hot belongs there.
            return self.begin(no, MoveChange::Give { amount: hot }, None);
        }
        let asking = account.moves.recall.as_ref().is_some_and(|recall| recall.until > now && !recall.waiting.is_empty());
        if !asking {
            self.recall_ended(no);
        }
        if self.pump(no, asking, now)? || asking {
            return Ok(());
        }
        let Some(account) = self.account(no) else { return Ok(()) };
        let hot = account.hot();
        let idle = account.incoming.count == 0 && account.outgoing.count == 0;
        let drains = idle && (account.moves.draining_for.is_some() || account.closing.is_some());
        let wanted = (drains && !account.moves.drained_told) || !account.moves.recallers.is_empty() || !account.moves.lowered.is_empty();
        if (hot > 0 && (wanted || self.gives_by_itself(account, now))) || (drains && !self.account_is_given(no)) {
            let last = self.all_drained(no);
            if let Some(account) = self.account_mut(no) {
                account.moves.closing.last = last;
            }
            return self.begin(no, MoveChange::Give { amount: hot }, None);
        }
        if hot == 0 && wanted {
            self.given_back(no, drains);
        }
        self.draw_eagerly(no)
    }

    fn draw_eagerly(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        let free = account.closing.is_none() && account.moves.draining_for.is_none() && account.configured;
        if free && std::mem::take(&mut account.moves.eager) && account.moves.cold.saturating_add(account.credit_limit) > 0 {
            return self.begin(no, MoveChange::Draw { needed: 0, least: 0, share: 1 }, None);
        }
        Ok(())
    }

    /// The home closes the account when nothing of it is left anywhere else: it gives back last, to be told the whole balance.
    fn account_is_given(&self, no: AccountNo) -> bool {
        let Some(account) = self.account(no).filter(|account| account.closing.is_some()) else { return true };
        account.moves.closing.gave || !self.all_drained(no)
    }

    fn gives_by_itself(&self, account: &Account, now: Timestamp) -> bool {
        self.gives_at(account).is_some_and(|at| at <= now)
    }

    /// When what is hot goes back although nobody asked for it.
    fn gives_at(&self, account: &Account) -> Option<Timestamp> {
        if account.hot() <= 0 || account.moves.slots.is_empty() || !account.moves.parked.is_empty() {
            return None;
        }
        let serves = account.moves.slots.contains(&self.config.slot);
        match (serves, account.moves.slots.len()) {
            (false, _) => Some(account.moves.gave_at.map_or(Timestamp::MIN, |at| at.saturating_add_millis(GIVE_MS))),
            (true, 1) => None,
            // What is only ever earned here, and never spent, goes back as seldom.
            (true, _) => {
                let last = account.moves.used_at.max(account.moves.gave_at);
                Some(last.map_or(Timestamp::MIN, |at| at.saturating_add_millis(IDLE_MS)))
            }
        }
    }

    /// Writes a move down, and asks the store for it once that is durable.
    fn begin(&mut self, no: AccountNo, change: MoveChange, purpose: Option<Purpose>) -> Result<(), WorkerError> {
        self.ensure_recorded(no)?;
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        let n = account.moves.last.checked_add(1).ok_or(WorkerError::Inconsistent("too many moves"))?;
        account.moves.purpose = purpose;
        self.record(&Record::MoveBegun { no, n, change })?;
        self.counters.moves = self.counters.moves.saturating_add(1);
        self.ask_for_move(no);
        Ok(())
    }

    /// Asks for the move that is under way, for the first time or again.
    pub(super) fn ask_for_move(&mut self, no: AccountNo) {
        let slot = self.config.slot;
        let Some(account) = self.account(no) else { return };
        let Some(change) = account.moves.under_way else { return };
        let request = Move { account: account.id.clone(), slot, n: account.moves.last, change };
        self.effect(Effect::Move(Box::new(request)));
    }

    /// The store has decided.
    pub(super) fn moved(&mut self, id: &AccountId, n: u64, outcome: &MoveOutcome, now: Timestamp) -> Result<(), WorkerError> {
        let Some(no) = self.number_of(id) else { return Ok(()) };
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        let Some(change) = account.moves.under_way.filter(|_| account.moves.last == n) else { return Ok(()) };
        let (result, cold) = match outcome {
            MoveOutcome::Done { result, cold } => (*result, *cold),
            MoveOutcome::Unknown { .. } => {
                self.ask_for_move(no);
                return Ok(());
            }
            MoveOutcome::Stale { .. } => return Err(WorkerError::Inconsistent("the store has made later moves than this slot knows")),
            MoveOutcome::Gap { .. } => return Err(WorkerError::Inconsistent("the store has forgotten moves that it had called durable")),
            MoveOutcome::NoAccount => return Err(WorkerError::Inconsistent("the store has forgotten an account")),
        };
        account.moves.cold = cold;
        let drawn = match change {
            MoveChange::Draw { .. } | MoveChange::Close => result.moved,
            MoveChange::Give { .. } => 0,
        };
        self.record(&Record::MoveEnded { no, n, moved: drawn })?;
        self.move_ended(no, change, result, now)?;
        self.restless.push(no);
        Ok(())
    }

    fn move_ended(&mut self, no: AccountNo, change: MoveChange, result: MoveResult, now: Timestamp) -> Result<(), WorkerError> {
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        let purpose = account.moves.purpose.take();
        match change {
            MoveChange::Give { .. } => {
                let owes = account.debt() < 0 && account.moves.recalled_at.is_none_or(|at| now >= at.saturating_add_millis(GIVE_MS));
                if owes {
                    account.moves.recalled_at = Some(now);
                }
                account.moves.gave_at = Some(now);
                account.moves.closing.gave = account.closing.is_some() && account.moves.closing.last;
                // What was given back may be drawn again under the new limit.
                account.moves.eager |= !account.moves.lowered.is_empty() && account.moves.slots.len() == 1;
                if owes {
                    let id = account.id.clone();
                    self.tell_colleagues(&id, Note::Recall);
                }
            }
            MoveChange::Draw { .. } => {
                account.moves.used_at = Some(now);
                if let Some(purpose) = purpose {
                    self.draw_decided(no, purpose, result, now)?;
                }
            }
            MoveChange::Close => self.close_here(no)?,
        }
        Ok(())
    }

    /// The draw for a parked payment: the store's word is final, but that what others can spare is asked for once.
    fn draw_decided(&mut self, no: AccountNo, purpose: Purpose, result: MoveResult, now: Timestamp) -> Result<(), WorkerError> {
        if result.enough {
            return self.draw_granted(no, purpose, result.moved, now);
        }
        let (colleagues, own) = (self.colleagues.clone(), self.config.slot);
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        // It may be gone: refused since it was late.
        let Some(parked) = account.moves.parked.get_mut(purpose.serial) else { return Ok(()) };
        let (amount, recalled) = (parked.amount(), parked.recalled);
        let (hot, needed) = (account.hot(), i128::from(amount.get()).saturating_mul(account.id.parallelism().into()));
        let available = account.moves.cold.saturating_add(account.credit_limit).saturating_add(hot);
        if hot > purpose.hot && available >= needed {
            // So much has been earned here since the draw was reckoned: it is looked at again.
            return Ok(());
        }
        let moves = &mut account.moves;
        if recalled || colleagues.is_empty() {
            self.refuse_hopeless(no, amount, available, colleagues.is_empty(), now);
            return Ok(());
        }
        moves.parked.set_aside(purpose.serial);
        if moves.recall.is_some() {
            // They are just being asked, not for it, but for the same.
            return Ok(());
        }
        if let Some(until) = moves.recalled_at.map(|at| at.saturating_add_millis(RECALL_EVERY_MS)).filter(|at| *at > now) {
            // Colleagues were asked only just now. It waits for its turn, with nobody to wait for.
            moves.recall = Some(Recall { waiting: vec![own], until });
            return Ok(());
        }
        moves.parked.recalled_for(amount);
        moves.recalled_at = Some(now);
        moves.recall = Some(Recall { waiting: colleagues.clone(), until: now.saturating_add_millis(RECALL_MS) });
        let id = account.id.clone();
        for to in colleagues {
            self.effect(Effect::Note { to, account: id.clone(), note: Note::Recall });
        }
        Ok(())
    }

    /// There was enough. Unless what the draw was reckoned with was spent since, and too little is left for the rule: then it is asked again.
    fn draw_granted(&mut self, no: AccountNo, purpose: Purpose, moved: i128, now: Timestamp) -> Result<(), WorkerError> {
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        let Some(parked) = account.moves.parked.take(purpose.serial) else { return Ok(()) };
        let hot = account.hot();
        let needed = i128::from(parked.amount().get()).saturating_mul(account.id.parallelism().into());
        let available = account.moves.cold.saturating_add(account.credit_limit).saturating_add(hot);
        let spent = hot < purpose.hot.saturating_add(moved);
        if let Some((parked, ..)) = self.try_parked(no, parked, !spent || available >= needed, now)?
            && let Some(account) = self.account_mut(no)
        {
            account.moves.parked.put(parked);
        }
        Ok(())
    }

    /// There isn't enough for so much: refuses every payment that needs as much, and for which everybody was asked.
    fn refuse_hopeless(&mut self, no: AccountNo, least: Amount, available: i128, nobody_to_ask: bool, now: Timestamp) {
        let Some(account) = self.account_mut(no) else { return };
        let hopeless = account.moves.parked.take_hopeless(least, nobody_to_ask);
        let (id, parallelism) = (account.id.clone(), account.id.parallelism());
        for parked in hopeless {
            let needed = i128::from(parked.amount().get()).saturating_mul(parallelism.into());
            let refusal = Refusal::InsufficientBalance { account: id.clone(), available, needed, parallelism };
            self.refuse_parked(no, &parked, refusal, now);
        }
    }

    fn recall_ended(&mut self, no: AccountNo) {
        if let Some(account) = self.account_mut(no) {
            account.moves.recall = None;
        }
    }

    /// Decides parked payments, oldest first, up to the first one that needs a draw. `true` if that has begun. `asking`: colleagues are
    /// being asked for what they can spare, and those that wait for that aren't looked at.
    fn pump(&mut self, no: AccountNo, asking: bool, now: Timestamp) -> Result<bool, WorkerError> {
        while let Some(next) = self.account_mut(no).and_then(|account| account.moves.parked.take_next(asking)) {
            let Some((next, needed, least)) = self.try_parked(no, next, false, now)? else { continue };
            let Some(account) = self.account_mut(no) else { return Ok(false) };
            let share = match u32::try_from(account.moves.slots.len()).unwrap_or(u32::MAX) {
                0 | 1 => 1,
                slots => slots.saturating_mul(2),
            };
            let hot = account.hot();
            let reserved = hot.min(next.amount().get().into()).max(0);
            let purpose = Purpose { serial: next.serial, hot, reserved };
            account.moves.parked.put(next);
            self.begin(no, MoveChange::Draw { needed, least, share }, Some(purpose))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// A colleague has said something about an account.
    pub(super) fn noted(&mut self, from: SlotNo, id: &AccountId, note: Note) -> Result<(), WorkerError> {
        let Some(no) = self.number_of(id) else {
            // Nothing of it is here.
            let answer = match note {
                Note::Recall => Some(Note::Recalled),
                Note::Drain => Some(Note::Drained),
                _ => None,
            };
            if let Some(note) = answer {
                self.effect(Effect::Note { to: from, account: id.clone(), note });
            }
            return Ok(());
        };
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        match note {
            // Who is short of it too keeps it.
            Note::Recall if !account.moves.parked.is_empty() => {
                let account = id.clone();
                self.effect(Effect::Note { to: from, account, note: Note::Recalled });
            }
            Note::Recall => account.moves.recallers.push(from),
            Note::Recalled => {
                if let Some(recall) = &mut account.moves.recall {
                    recall.waiting.retain(|slot| *slot != from);
                }
            }
            Note::Drain => {
                account.moves.draining_for = Some(from);
                account.moves.drained_told = false;
            }
            Note::Drained => {
                if account.closing.is_some() && !account.moves.closing.drained.contains(&from) {
                    account.moves.closing.drained.push(from);
                }
            }
            Note::Resume => account.moves.draining_for = None,
            Note::Closed => return self.leave(no),
        }
        self.restless.push(no);
        Ok(())
    }

    /// Nothing is hot any more: tells whoever waits for that.
    fn given_back(&mut self, no: AccountNo, drained: bool) {
        let Some(account) = self.account_mut(no) else { return };
        let id = account.id.clone();
        let recallers = std::mem::take(&mut account.moves.recallers);
        let lowered = std::mem::take(&mut account.moves.lowered);
        let home = account.moves.draining_for.filter(|_| drained && !account.moves.drained_told);
        account.moves.drained_told |= home.is_some();
        for to in recallers {
            self.effect(Effect::Note { to, account: id.clone(), note: Note::Recalled });
        }
        if let Some(to) = home {
            self.effect(Effect::Note { to, account: id.clone(), note: Note::Drained });
        }
        for reply in lowered {
            self.effect(Effect::Account { reply, result: Ok(()) });
        }
    }

    /// The account must be looked at again, at the earliest of what may happen to it.
    fn arm(&mut self, no: AccountNo, now: Timestamp) {
        let Some(account) = self.account(no) else { return };
        let idle = account.moves.under_way.is_none();
        let give = if idle { self.gives_at(account) } else { None };
        let recall = account.moves.recall.as_ref().map(|recall| recall.until);
        let parked = account.moves.parked.first_deadline();
        let at = [give, recall, parked].into_iter().flatten().min().map(|at| at.max(now.saturating_add_millis(1)));
        let before = account.moves.due;
        if at == before {
            return;
        }
        if let Some(before) = before {
            self.dues.by_time.remove(&(before, no));
        }
        if let Some(at) = at {
            self.dues.by_time.insert((at, no));
        }
        if let Some(account) = self.account_mut(no) {
            account.moves.due = at;
        }
    }

    /// What is hot was used: it isn't idle.
    pub(super) fn used(&mut self, no: AccountNo, now: Timestamp) {
        if let Some(account) = self.account_mut(no) {
            account.moves.used_at = Some(now);
        }
    }

    /// All colleagues have drained an account that is being closed.
    pub(super) fn all_drained(&self, no: AccountNo) -> bool {
        let Some(account) = self.account(no) else { return true };
        let own = self.config.slot;
        // Those that nobody has open may hold some of it as well.
        let mut others = self.colleagues.iter().chain(&self.config.deployment).filter(|slot| **slot != own);
        others.all(|slot| account.moves.closing.drained.contains(slot))
    }

    /// An account that is being closed has given everything back after everybody else: what is cold is all there is.
    pub(super) fn whole_balance(&self, no: AccountNo) -> Option<i128> {
        let account = self.account(no)?;
        let still = account.moves.under_way.is_none() && account.incoming.count == 0 && account.outgoing.count == 0;
        (still && self.all_drained(no) && account.moves.closing.gave && account.hot() == 0).then_some(account.moves.cold)
    }

    /// Closes the row of an account, and takes what is left.
    pub(super) fn begin_closing_row(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        self.begin(no, MoveChange::Close, None)
    }

    /// The slots that are open at colleagues now.
    pub(super) fn set_colleagues(&mut self, mut slots: Vec<SlotNo>) {
        slots.retain(|slot| *slot != self.config.slot);
        slots.sort_unstable();
        slots.dedup();
        self.colleagues = slots.clone();
        // Whoever was there once may have some of any account.
        self.config.deployment.extend(&slots);
        self.config.deployment.sort_unstable();
        self.config.deployment.dedup();
        let own = self.config.slot;
        let mut notes = Vec::new();
        for (no, account) in (0..).zip(self.accounts.iter_mut()).filter_map(|(no, account)| Some((no, account.as_mut()?))) {
            // Whoever opens the home next doesn't know that it was about to close the account.
            account.moves.draining_for = account.moves.draining_for.filter(|home| slots.contains(home));
            if let Some(recall) = &mut account.moves.recall {
                recall.waiting.retain(|slot| slots.contains(slot) || *slot == own);
                self.restless.push(no);
            }
            if account.closing.is_some() {
                // Whoever was opened since knows nothing of it.
                account.moves.closing = Closing::default();
                notes.push(account.id.clone());
                self.restless.push(no);
            }
        }
        for account in notes {
            for to in &slots {
                self.effect(Effect::Note { to: *to, account: account.clone(), note: Note::Drain });
            }
        }
    }

    /// What a move of the slot has taken from one side of an account and not brought to the other, given the last one that the store has.
    pub fn in_transit(&self, id: &AccountId, last: Option<LastMove>) -> i128 {
        let Some(account) = self.number_of(id).and_then(|no| self.account(no)) else { return 0 };
        let decided = last.filter(|last| last.n == account.moves.last);
        match (account.moves.under_way, decided) {
            // The store has it, the log hasn't.
            (Some(MoveChange::Draw { .. } | MoveChange::Close), Some(last)) => last.result.moved,
            // The log has it, the store hasn't.
            (Some(MoveChange::Give { amount }), None) => amount,
            _ => 0,
        }
    }

    /// Moves that the store hasn't answered.
    pub fn moves_under_way(&self) -> usize {
        self.accounts.iter().flatten().filter(|account| account.moves.under_way.is_some()).count()
    }

    /// Payments that wait for a draw.
    pub fn parked(&self) -> usize {
        self.accounts.iter().flatten().map(|account| account.moves.parked.len()).sum()
    }

    /// What is hot, by account.
    pub fn hot_balances(&self) -> BTreeMap<AccountId, i128> {
        self.accounts.iter().flatten().map(|account| (account.id.clone(), account.hot())).collect()
    }
}

impl Account {
    /// What this slot knows of the balance: its own part, and the cold one as the store said last. Parts of other slots aren't in it.
    pub(super) fn known_balance(&self) -> i128 {
        self.known_cold().saturating_add(self.hot())
    }

    /// The cold balance, as the store said last, with what is on its way there.
    pub(super) fn known_cold(&self) -> i128 {
        match self.moves.under_way {
            Some(MoveChange::Give { amount }) => self.moves.cold.saturating_add(amount),
            _ => self.moves.cold,
        }
    }

    /// How far the cold balance lies below its floor, as far as is known here; 0 if it doesn't.
    pub(super) fn debt(&self) -> i128 {
        self.known_cold().saturating_add(self.credit_limit).min(0)
    }

    /// What this slot may spend.
    pub(super) fn hot(&self) -> i128 {
        self.balance.saturating_add(self.sums.moved)
    }

    /// Something may have to be moved.
    fn is_restless(&self, own: SlotNo) -> bool {
        let moves = &self.moves;
        moves.under_way.is_none()
            && (self.hot() < 0
                || (self.debt() < 0 && self.hot() > 0)
                || !moves.parked.is_empty()
                || !moves.recallers.is_empty()
                || !moves.lowered.is_empty()
                || (moves.draining_for.is_some() && !moves.drained_told)
                || self.closing.is_some()
                || (moves.due.is_none() && moves.slots.len() != 1)
                || (moves.due.is_none() && moves.slots.first().is_some_and(|home| *home != own)))
    }
}
