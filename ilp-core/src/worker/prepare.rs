//! An incoming transfer: known, refused at once without a trace, or held.

use super::apply::SUM_MAX;
use super::batch::{Effect, Pay};
use super::parked::{Incoming, Verdict};
use super::{ConnectionId, Outcome, Tag, Worker, WorkerError};
use crate::event::{Event, NumberedEvent};
use crate::link::{Answer, IncomingPrepare, Payload, RequestId, SubProtocol};
use crate::receiver::IncomingPayment;
use crate::record::{AccountNo, Leg, OWN, Prepared, Record};
use crate::refusal::Refusal;
use bytes::Bytes;
use ilp_oer::ilp::{Packet, Payment};
use ilp_oer::{Addr, Amount, Timestamp, TransferId};
use sha2::{Digest, Sha256};

/// Where a payment goes on to, and with how much.
struct NextHop {
    to: Leg,
    expires_at: Timestamp,
}

impl Worker {
    /// Decides a transfer: known, in the books, refused, or in want of a draw; and tells whoever asked. `granted`: the store has decided
    /// that there is enough for it.
    pub(super) fn judge(
        &mut self,
        no: AccountNo,
        askers: &[(ConnectionId, RequestId)],
        transfer: Incoming,
        granted: bool,
        now: Timestamp,
    ) -> Result<Verdict, WorkerError> {
        let (id, digest) = match &transfer {
            Incoming::Prepare(prepare) => {
                let conditional = Some((prepare.condition.as_bytes(), prepare.expires_at));
                (prepare.id, digest_of(prepare.amount, conditional, &prepare.payload))
            }
            Incoming::Unconditional { id, amount, payload, .. } => (*id, digest_of(*amount, None, payload)),
        };
        if let Some(index) = self.incoming.get(&(no, id)).copied() {
            self.repeated(askers, index, digest, now);
            return Ok(Verdict::Decided);
        }
        let admitted = match &transfer {
            Incoming::Prepare(prepare) => self.admit(no, prepare, now).map(Some),
            Incoming::Unconditional { amount, payload, .. } => self.admit_unconditional(no, *amount, payload).map(|()| None),
        };
        let hop = match admitted {
            Ok(hop) => hop,
            Err(refusal) => {
                self.refuse_all(askers, no, transfer.amount(), refusal, now);
                return Ok(Verdict::Decided);
            }
        };
        match self.funds(no, transfer.amount(), granted) {
            Ok(None) => {}
            Ok(Some((needed, least))) => return Ok(Verdict::Wants { transfer, needed, least }),
            Err(refusal) => {
                self.refuse_all(askers, no, transfer.amount(), refusal, now);
                return Ok(Verdict::Decided);
            }
        }
        self.ensure_recorded(no)?;
        match (&transfer, hop) {
            (Incoming::Prepare(prepare), Some(hop)) => self.hold(no, prepare, digest, &hop)?,
            (Incoming::Unconditional { id, amount, expires_at, .. }, _) => self.charge(no, *id, *amount, *expires_at, digest, now)?,
            (Incoming::Prepare(_), None) => return Ok(Verdict::Decided),
        }
        self.answer_all(askers, &Answer::Ack);
        if let (Incoming::Prepare(_), Some(key)) =
            (&transfer, self.incoming.get(&(no, id)).and_then(|index| Some(self.transfer_at(*index)?.key)))
        {
            self.send_on(key);
        }
        self.used(no, now);
        Ok(Verdict::Decided)
    }

    fn hold(&mut self, no: AccountNo, transfer: &IncomingPrepare, digest: [u8; 16], hop: &NextHop) -> Result<(), WorkerError> {
        if hop.to.account != OWN {
            self.ensure_recorded(hop.to.account)?;
        }
        let key = self.new_outgoing_id();
        self.counters.accepted = self.counters.accepted.saturating_add(1);
        self.record(&Record::Prepared(Prepared {
            key,
            from: Leg { account: no, amount: transfer.amount.get() },
            incoming_id: transfer.id,
            digest,
            incoming_expires_at: transfer.expires_at.unix_millis(),
            to: hop.to,
            expires_at: hop.expires_at.unix_millis(),
            condition: *transfer.condition.as_bytes(),
            packet: &transfer.payload.data,
        }))
    }

    /// Charges an incoming unconditional transfer.
    fn charge(
        &mut self,
        no: AccountNo,
        id: TransferId,
        amount: Amount,
        expires_at: Option<Timestamp>,
        digest: [u8; 16],
        now: Timestamp,
    ) -> Result<(), WorkerError> {
        // Remembered as long as a prepare could be: until then a repeat is recognised.
        let until = now.saturating_add_millis(self.config.timing.hold_ms_max);
        let until = expires_at.map_or(until, |at| at.min(until)).max(now);
        let from = Leg { account: no, amount: amount.get() };
        self.record(&Record::Charged { from, id, digest, expires_at: until.unix_millis() })
    }

    fn admit_unconditional(&self, no: AccountNo, amount: Amount, payload: &Payload) -> Result<(), Refusal> {
        if matches!(payload.protocol, SubProtocol::Ilp | SubProtocol::Payment | SubProtocol::Ilqp) {
            return Err(Refusal::WrongKind("an unconditional transfer can't carry an ILP packet"));
        }
        self.check_sender(no, amount, payload.data.len())
    }

    /// Whether the sender has enough: `cold + credit limit + hot ≥ parallelism × amount`, and then exactly the amount from hot. `None` if so;
    /// else what a draw must find available, and what it must bring.
    fn funds(&self, no: AccountNo, amount: Amount, granted: bool) -> Result<Option<(i128, i128)>, Refusal> {
        let account = self.account(no).ok_or(Refusal::Internal("the account is gone"))?;
        let (hot, amount) = (account.hot(), i128::from(amount.get()));
        let parallelism = account.id.parallelism();
        let needed = amount.saturating_mul(parallelism.into());
        if account.balance < -(SUM_MAX / 2) {
            return Err(Refusal::InsufficientBalance { account: account.id.clone(), available: 0, needed, parallelism });
        }
        // What is missing from the cold balance comes first, and what a draw under way was asked for with.
        let free = hot.saturating_add(account.debt()).saturating_sub(account.moves.reserved());
        if free >= needed || (granted && free >= amount) {
            return Ok(None);
        }
        if self.alone() && account.moves.under_way.is_none() && !account.moves.slots.is_empty() {
            // Nobody else moves anything: what we were told of the cold balance still holds.
            let available = account.moves.cold.saturating_add(account.credit_limit).saturating_add(hot);
            if available < needed {
                return Err(Refusal::InsufficientBalance { account: account.id.clone(), available, needed, parallelism });
            }
            if hot >= amount {
                return Ok(None);
            }
        }
        Ok(Some((needed.saturating_sub(hot), amount.saturating_sub(hot).max(0))))
    }

    /// A payment from the connector's own account.
    pub(super) fn pay(&mut self, pay: Pay, now: Timestamp) -> Result<(), WorkerError> {
        match self.admit_own(&pay, now) {
            Ok((to, packet)) => {
                self.ensure_recorded(to.account)?;
                let key = self.new_outgoing_id();
                let from = Leg { account: OWN, amount: pay.amount.get() };
                self.counters.accepted = self.counters.accepted.saturating_add(1);
                self.record(&Record::Prepared(Prepared {
                    key,
                    from,
                    incoming_id: key,
                    digest: [0; 16],
                    incoming_expires_at: pay.expires_at.saturating_add_millis(self.config.timing.window_ms).unix_millis(),
                    to,
                    expires_at: pay.expires_at.unix_millis(),
                    condition: *pay.condition.as_bytes(),
                    packet: &packet,
                }))?;
                let tag = self.outgoing.get(&key).map(|index| Tag::of(*index, &key));
                if let Some(active) = tag.and_then(|tag| self.active_mut(tag)) {
                    active.pay = Some(pay.id);
                }
                self.send_on(key);
            }
            Err(refusal) => {
                let result = Err(refusal.to_packet(&self.config.address, now));
                self.effect(Effect::Paid { id: pay.id, result });
            }
        }
        Ok(())
    }

    fn repeated(&mut self, askers: &[(ConnectionId, RequestId)], index: u32, digest: [u8; 16], now: Timestamp) {
        let Some(transfer) = self.transfer_at(index) else { return };
        if transfer.digest != digest {
            let reason = Refusal::IdReused.to_packet(&self.config.address, now);
            self.counters.refused = self.counters.refused.saturating_add(1);
            self.answer_all(askers, &Answer::Error(reason));
            return;
        }
        let tag = Tag::of(index, &transfer.key);
        let decided = matches!(transfer.outcome, Outcome::Fulfilled(_) | Outcome::Rejected(_));
        if let Some(active) = self.active_mut(tag) {
            // Whoever asks again wants the answer again, on this connection too.
            active.answered_on = None;
        }
        self.answer_all(askers, &Answer::Ack);
        if decided {
            for (connection, _) in askers {
                self.effect(Effect::Answered(tag, Some(*connection)));
            }
        }
    }

    fn answer_all(&mut self, askers: &[(ConnectionId, RequestId)], answer: &Answer) {
        for (connection, request) in askers {
            self.effect(Effect::Answer { connection: *connection, request: *request, answer: answer.clone() });
        }
    }

    pub(super) fn refuse(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        no: AccountNo,
        amount: Amount,
        refusal: Refusal,
        now: Timestamp,
    ) {
        self.refuse_all(&[(connection, request)], no, amount, refusal, now);
    }

    /// Refuses one transfer, and tells all that asked for it.
    pub(super) fn refuse_all(
        &mut self,
        askers: &[(ConnectionId, RequestId)],
        no: AccountNo,
        amount: Amount,
        refusal: Refusal,
        now: Timestamp,
    ) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        let reason = refusal.to_packet(&self.config.address, now);
        self.answer_all(askers, &Answer::Error(reason));
        if self.config.events {
            let from = self.account(no).map(|account| account.id.clone());
            let event = Event::Refused { from, incoming_amount: amount, code: refusal.code().0 };
            let slot = self.config.slot;
            self.effect(Effect::Event(Box::new(NumberedEvent { slot, number: None, event })));
        }
    }

    fn admit(&self, no: AccountNo, transfer: &IncomingPrepare, now: Timestamp) -> Result<NextHop, Refusal> {
        let payment = payment_of(&transfer.payload)?;
        let timing = &self.config.timing;
        let left_ms = transfer.expires_at.millis_since(now);
        if left_ms > timing.hold_ms_max {
            return Err(Refusal::TooMuchTime { left_ms, max_ms: timing.hold_ms_max });
        }
        let needed_ms = timing.window_ms.saturating_add(timing.outgoing_ms_min);
        if left_ms < needed_ms {
            return Err(Refusal::TooLittleTime { left_ms, needed_ms });
        }
        self.check_sender(no, transfer.amount, transfer.payload.data.len())?;
        let to = self.next_hop(no, transfer.amount, &payment, transfer.payload.data.len())?;
        Ok(NextHop { to, expires_at: transfer.expires_at.saturating_sub_millis(timing.window_ms) })
    }

    /// The sender's limits.
    fn check_sender(&self, no: AccountNo, amount: Amount, payload: usize) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Stopping);
        }
        let account = self.account(no).ok_or(Refusal::Internal("the account is gone"))?;
        if account.is_closing() || !account.configured {
            return Err(Refusal::Closing(account.id.clone()));
        }
        if amount.get() > account.max_packet {
            return Err(Refusal::TooLarge { amount: amount.get(), max: account.max_packet, account: account.id.clone() });
        }
        let limits = &self.config.limits;
        let overloaded = |(max, what)| Refusal::Overloaded { account: account.id.clone(), max, what };
        if account.remembered >= limits.remembered_per_account {
            return Err(overloaded((limits.remembered_per_account.into(), "transfers that are in flight or remembered")));
        }
        account.incoming.check(limits, account.max_in_flight, payload, amount.get()).map_err(overloaded)?;
        Ok(())
    }

    fn next_hop(&self, from: AccountNo, amount: Amount, payment: &Payment<'_>, payload: usize) -> Result<Leg, Refusal> {
        let to = self.route(payment.account)?;
        if to == OWN {
            if self.receiving >= self.config.limits.receiving {
                let id = self.account(from).map(|account| account.id.clone()).ok_or(Refusal::Internal("the account is gone"))?;
                return Err(Refusal::Overloaded {
                    account: id,
                    max: self.config.limits.receiving.into(),
                    what: "payments waiting for the receiver",
                });
            }
            if amount < payment.amount {
                return Err(Refusal::TooLittleDelivered { amount: amount.get(), wanted: payment.amount.get() });
            }
            return Ok(Leg { account: OWN, amount: amount.get() });
        }
        let outgoing = self.convert(from, to, amount, payment.amount)?;
        self.check_hop(to, outgoing, payload)?;
        Ok(Leg { account: to, amount: outgoing })
    }

    /// What goes on: exactly what shall arrive, if the packet says so; all that it is worth, if the packet leaves it open (amount 0).
    /// Rounded in the connector's favour: down what leaves, up what must have come.
    fn convert(&self, from: AccountNo, to: AccountNo, amount: Amount, wanted: Amount) -> Result<u64, Refusal> {
        let asset = |no| self.account(no).map(|account| account.asset).ok_or(Refusal::Internal("the account is gone"));
        let (a, b) = (asset(from)?, asset(to)?);
        let rate = if a == b { Some((1, 1)) } else { self.rates.get(&(a, b)).copied() };
        let name = |index| self.asset(index).map(ToString::to_string).unwrap_or_default();
        let (numerator, denominator) = rate.ok_or_else(|| Refusal::NoRate { from: name(a), to: name(b) })?;
        let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
        // u64 × u64 always fits.
        let worth = u128::from(amount.get()).saturating_mul(numerator).checked_div(denominator);
        let worth = worth.ok_or_else(|| Refusal::NoRate { from: name(a), to: name(b) })?;
        // What is left open is at least a unit, unless nothing is paid at all.
        let least = if wanted == Amount::ZERO { amount.get().min(1) } else { wanted.get() };
        if worth < u128::from(least) {
            let needed = u128::from(least).saturating_mul(denominator);
            return Err(Refusal::TooSmall {
                amount: amount.get(),
                needed: needed.checked_div(numerator).map_or(u128::MAX, |n| ceil(n, numerator, needed)),
            });
        }
        if wanted == Amount::ZERO {
            return Ok(u64::try_from(worth).unwrap_or(u64::MAX));
        }
        Ok(wanted.get())
    }

    fn check_hop(&self, to: AccountNo, amount: u64, payload: usize) -> Result<(), Refusal> {
        let hop = self.account(to).ok_or(Refusal::Internal("the account is gone"))?;
        if hop.is_closing() || !hop.configured {
            return Err(Refusal::Closing(hop.id.clone()));
        }
        if hop.connections.is_empty() {
            return Err(Refusal::NextHopDown(hop.id.clone()));
        }
        if amount > hop.max_packet {
            return Err(Refusal::TooLarge { amount, max: hop.max_packet, account: hop.id.clone() });
        }
        let limits = &self.config.limits;
        let overloaded = |(max, what)| Refusal::Overloaded { account: hop.id.clone(), max, what };
        if hop.is_congested() {
            let max = u64::try_from(limits.output_backlog).unwrap_or(u64::MAX);
            return Err(overloaded((max, "bytes waiting to be read by its peer")));
        }
        hop.outgoing.check(limits, hop.max_in_flight, payload, amount).map_err(overloaded)?;
        if hop.balance > SUM_MAX / 2 {
            return Err(Refusal::Internal("the next hop's balance can't grow any more"));
        }
        Ok(())
    }

    fn route(&self, destination: Addr<'_>) -> Result<AccountNo, Refusal> {
        let no_route = || Refusal::NoRoute(destination.as_str().chars().take(256).collect());
        self.routes.lookup(destination).ok_or_else(no_route)
    }

    fn admit_own(&self, pay: &Pay, now: Timestamp) -> Result<(Leg, Vec<u8>), Refusal> {
        if self.draining {
            return Err(Refusal::Stopping);
        }
        let timing = &self.config.timing;
        let left_ms = pay.expires_at.millis_since(now);
        if left_ms > timing.hold_ms_max {
            return Err(Refusal::TooMuchTime { left_ms, max_ms: timing.hold_ms_max });
        }
        if left_ms < timing.outgoing_ms_min {
            return Err(Refusal::TooLittleTime { left_ms, needed_ms: timing.outgoing_ms_min });
        }
        let to = self.route(pay.destination.as_addr())?;
        if to == OWN {
            return Err(Refusal::NoRoute(format!("{}: it is the connector's own address", pay.destination)));
        }
        self.check_hop(to, pay.amount.get(), pay.data.len())?;
        let packet = Packet::Payment(Payment { amount: pay.amount, account: pay.destination.as_addr(), data: &pay.data });
        let packet = packet.to_vec().map_err(|error| Refusal::InvalidPacket(error.to_string()))?;
        Ok((Leg { account: to, amount: pay.amount.get() }, packet))
    }

    /// The transfer's next step, once it is durable.
    pub(super) fn send_on(&mut self, key: TransferId) {
        let Some(index) = self.outgoing.get(&key).copied() else { return };
        let tag = Tag::of(index, &key);
        let Some(transfer) = self.transfer(tag) else { return };
        if transfer.to.account != OWN {
            self.effect(Effect::Prepare(tag, None));
            return;
        }
        let (from, amount, expires_at) = (transfer.from.account, transfer.from.amount, transfer.expires_at);
        let Some(active) = self.active(transfer) else { return };
        let Ok(Packet::Payment(payment)) = Packet::decode(&active.packet) else { return };
        let Some(from) = self.account(from).map(|account| account.id.clone()) else { return };
        let payment = IncomingPayment {
            from,
            amount: Amount::new(amount),
            destination: payment.account.to_address(),
            condition: active.condition,
            expires_at,
            data: Bytes::copy_from_slice(payment.data),
        };
        self.effect(Effect::Deliver { tag, payment: Box::new(payment) });
    }
}

fn ceil(quotient: u128, divisor: u128, of: u128) -> u128 {
    if quotient.saturating_mul(divisor) < of { quotient.saturating_add(1) } else { quotient }
}

/// The ILP payment that a conditional transfer must carry.
fn payment_of(payload: &Payload) -> Result<Payment<'_>, Refusal> {
    match payload.protocol {
        SubProtocol::Ilp | SubProtocol::Payment => {}
        SubProtocol::None => return Err(Refusal::WrongKind("a conditional transfer must carry an ILP payment")),
        SubProtocol::Ilqp => return Err(Refusal::WrongKind("a conditional transfer can't carry a quote")),
        _ => return Err(Refusal::Unsupported),
    }
    match Packet::decode(&payload.data) {
        Ok(Packet::Payment(payment)) => Ok(payment),
        Ok(Packet::Error(_)) => Err(Refusal::WrongKind("a conditional transfer can't carry an ILP error")),
        Ok(_) => Err(Refusal::WrongKind("a conditional transfer can't carry a quote")),
        Err(error) => Err(Refusal::InvalidPacket(error.to_string())),
    }
}

/// Tells whether a repeated transfer is the same one. Peers choose the content, so it is a cryptographic hash, cut to 16 bytes.
fn digest_of(amount: Amount, conditional: Option<(&[u8; 32], Timestamp)>, payload: &Payload) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(amount.get().to_be_bytes());
    if let Some((condition, expires_at)) = conditional {
        hash.update(condition);
        hash.update(expires_at.unix_millis().to_be_bytes());
    }
    hash.update([protocol_number(payload.protocol)]);
    hash.update(&payload.data);
    let hash = hash.finalize();
    let mut digest = [0; 16];
    digest.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    digest
}

/// Fixed for ever: digests are in the log.
fn protocol_number(protocol: SubProtocol) -> u8 {
    match protocol {
        SubProtocol::None => 0,
        SubProtocol::Ilp => 1,
        SubProtocol::Payment => 2,
        SubProtocol::Ilqp => 3,
        SubProtocol::Reconcile => 4,
        SubProtocol::Liquidity => 5,
        SubProtocol::Info => 6,
        SubProtocol::Balance => 7,
        SubProtocol::Vouch => 8,
        SubProtocol::Ccp => 9,
        SubProtocol::Other => 10,
    }
}
