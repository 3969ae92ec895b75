//! The paying side: a sender that loses its connections and keeps its payments.

use super::super::clock::Now;
use super::super::invoice::{Invoice, NONCE_BYTES, Nonce, Preimages};
use super::super::options::{Load, Until};
use super::super::wire::WireError;
use super::ledger::{End, Ledger};
use super::line::{Asked, Came, Line};
use super::peer::{Phase, Shared, Side};
use super::{CLOCKS_DIFFER_MS, FORGET_MS, Rules};
use ilp_oer::clp::{Body, Dialect, Entry, Fulfill, Prepare, ProtocolData};
use ilp_oer::{Address, Amount, EncodeError, ErrorCode, Timestamp, TransferId, ilp, sub};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// A sender that behaves as a peer that dedupes: what isn't acknowledged is sent again on the next connection, with the same id and
/// content, while time is left; an outcome is acknowledged as often as it comes.
#[derive(Debug)]
pub(crate) struct Payer {
    pair: usize,
    address: Address,
    receiver: Address,
    wishes: Wishes,
    random: ChaCha12Rng,
    invoices: Preimages,
    stock: Vec<Invoice>,
    payments: HashMap<TransferId, Payment>,
    in_flight: u32,
    next_due_ns: u64,
    swept_ns: u64,
}

/// What payments a sender makes.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// How many, and how fast.
    pub(crate) load: Load,
    /// What each delivers is drawn from these, in base units.
    pub(crate) amounts: RangeInclusive<u64>,
    /// Data of a transport protocol that each carries, in bytes.
    pub(crate) padding: usize,
    /// How long they live.
    pub(crate) rules: Rules,
}

#[derive(Debug)]
struct Payment {
    invoice: Invoice,
    amount: Amount,
    expires_at: Timestamp,
    sends: u32,
    acknowledged: bool,
    /// An Error to a prepare that was sent more than once: it may mean the repeat only, so it ends nothing by itself.
    refused: Option<ErrorCode>,
    end: Option<End>,
}

impl Payer {
    /// Sender of the pair at this place.
    pub(crate) fn new(pair: usize, addresses: [Address; 2], wishes: Wishes, random: ChaCha12Rng, invoices: Preimages) -> Self {
        let [address, receiver] = addresses;
        let (stock, payments) = (Vec::new(), HashMap::new());
        Self { pair, address, receiver, wishes, random, invoices, stock, payments, in_flight: 0, next_due_ns: 0, swept_ns: 0 }
    }

    fn start_payments(&mut self, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        let load = self.wishes.load;
        let pairs = u64::from(load.window.div_ceil(load.window_per_pair.max(1)));
        let every_ns = NS_PER_SECOND.saturating_mul(pairs) / u64::from(load.rate.unwrap_or(RATE_DEFAULT).max(1));
        // What could not be sent for want of a connection isn't made up for.
        self.next_due_ns = self.next_due_ns.max(now.ns.saturating_sub(BEHIND_NS_MAX));
        while self.next_due_ns <= now.ns && self.in_flight < load.window_per_pair {
            if matches!(load.until, Until::Count(count) if ledger.counts.started >= count) {
                break;
            }
            self.next_due_ns = self.next_due_ns.saturating_add(every_ns.max(1));
            self.start(line, now, ledger)?;
        }
        Ok(())
    }

    fn start(&mut self, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        if self.stock.is_empty() {
            self.invoices.issue(INVOICES_AT_ONCE, &mut self.stock);
        }
        let Some(invoice) = self.stock.pop() else { return Ok(()) };
        let mut id = [0; 16];
        self.random.fill_bytes(&mut id);
        let id = TransferId::new(id);
        let (least, most) = self.wishes.rules.lifetime_ms;
        let lifetime = i64::from(self.random.next_u32()).rem_euclid(most - least);
        let expires_at = now.wall.saturating_add_millis(least + lifetime);
        let (least, most) = self.wishes.amounts.clone().into_inner();
        let amount = Amount::new(least + self.random.next_u64() % (most - least).saturating_add(1));
        ledger.started(self.pair, invoice.nonce, expires_at);
        let payment = Payment { invoice, amount, expires_at, sends: 0, acknowledged: false, refused: None, end: None };
        self.payments.insert(id, payment);
        self.in_flight += 1;
        self.send(id, line)
    }

    fn send(&mut self, id: TransferId, line: &mut Line) -> Result<(), WireError> {
        let Some(payment) = self.payments.get_mut(&id) else { return Ok(()) };
        payment.sends += 1;
        let Invoice { nonce, condition } = payment.invoice;
        let amount = payment.amount;
        let packet = packet(&self.receiver, amount, &nonce, self.wishes.padding)?;
        let entries = [Entry::named(sub::names::ILP, sub::names::OCTETS, &packet)];
        let data = ProtocolData::entries(Dialect::Named, &entries);
        let prepare = Prepare { transfer_id: id, amount, condition, expires_at: payment.expires_at, data };
        line.ask(Asked::Prepare(id), Body::Prepare(prepare))?;
        Ok(())
    }

    /// The prepare was answered.
    fn answered(&mut self, id: TransferId, answer: Result<(), ErrorCode>, now: Now, ledger: &mut Ledger) {
        let Some(payment) = self.payments.get_mut(&id) else { return };
        match answer {
            Ok(()) => {
                payment.acknowledged = true;
                ledger.held(&payment.invoice.nonce, now.wall);
            }
            Err(_) if matches!(payment.end, Some(End::Fulfilled | End::Rejected(_))) => {
                ledger.wrong("errors to prepares after their outcome")
            }
            Err(_) if payment.acknowledged => ledger.wrong("errors to prepares after their acknowledgement"),
            Err(code) if payment.sends > 1 => payment.refused = Some(code),
            Err(code) => self.end(id, End::Rejected(code), now, ledger),
        }
    }

    fn fulfilled(&mut self, fulfill: &Fulfill<'_>, now: Now, ledger: &mut Ledger) -> Result<(), ErrorCode> {
        let Some(payment) = self.payments.get(&fulfill.transfer_id) else {
            ledger.wrong("outcomes of payments that never were");
            return Err(ErrorCode::F00_BAD_REQUEST);
        };
        if !payment.invoice.condition.is_fulfilled_by(&fulfill.fulfillment) {
            ledger.wrong("fulfillments that are not their condition's preimage");
            return Err(ErrorCode::F05_WRONG_CONDITION);
        }
        match payment.end {
            Some(End::Fulfilled) => {
                ledger.counts.duplicate_fulfills += 1;
                Ok(())
            }
            Some(End::Rejected(_)) => {
                ledger.wrong("fulfills after rejects");
                Err(ErrorCode::F00_BAD_REQUEST)
            }
            None if now.wall < payment.expires_at.saturating_add_millis(self.wishes.rules.sender_grace_ms) => {
                if payment.refused.is_some() {
                    // This connector remembers what it holds: it would have known the repeat.
                    ledger.wrong("fulfills after errors to repeated prepares");
                }
                self.end(fulfill.transfer_id, End::Fulfilled, now, ledger);
                Ok(())
            }
            None | Some(End::TimedOut) => {
                ledger.counts.late_fulfills += 1;
                Err(ErrorCode::R00_TRANSFER_TIMED_OUT)
            }
        }
    }

    fn rejected(&mut self, id: TransferId, code: ErrorCode, now: Now, ledger: &mut Ledger) -> Result<(), ErrorCode> {
        let Some(payment) = self.payments.get(&id) else {
            ledger.wrong("outcomes of payments that never were");
            return Err(ErrorCode::F00_BAD_REQUEST);
        };
        match payment.end {
            None => self.end(id, End::Rejected(code), now, ledger),
            Some(End::Rejected(_)) => ledger.counts.duplicate_rejects += 1,
            Some(End::TimedOut) => {}
            Some(End::Fulfilled) => {
                ledger.wrong("rejects after fulfills");
                return Err(ErrorCode::F00_BAD_REQUEST);
            }
        }
        Ok(())
    }

    fn end(&mut self, id: TransferId, end: End, now: Now, ledger: &mut Ledger) {
        let Some(payment) = self.payments.get_mut(&id) else { return };
        payment.end = Some(end);
        self.in_flight = self.in_flight.saturating_sub(1);
        ledger.ended(&payment.invoice.nonce, end, now.ns);
    }

    /// The connector answers in order. So when it answers a question of time `asked_at`, it has said before what became of all that had to
    /// be decided by then: and if that was lost with an earlier connection, it has said it again on this one.
    fn check_nothing_is_overdue(&self, asked_at: Now, now: Now, ledger: &mut Ledger) {
        if self.wishes.rules.restarts {
            return;
        }
        let decided_ms = self.wishes.rules.timing.grace_ms - self.wishes.rules.timing.window_ms + CLOCKS_DIFFER_MS;
        for payment in self.payments.values().filter(|payment| payment.end.is_none() && payment.acknowledged) {
            let decided = payment.expires_at.saturating_add_millis(decided_ms) < asked_at.wall;
            let owed = now.wall < payment.expires_at.saturating_add_millis(self.wishes.rules.sender_grace_ms - CLOCKS_DIFFER_MS);
            if decided && owed {
                ledger.wrong("outcomes that were due and didn't come");
            }
        }
    }

    fn sweep(&mut self, now: Now, ledger: &mut Ledger) {
        let (in_flight, grace_ms) = (&mut self.in_flight, self.wishes.rules.sender_grace_ms);
        self.payments.retain(|_, payment| {
            if payment.end.is_none() && now.wall >= payment.expires_at.saturating_add_millis(grace_ms) {
                // The error to a repeat is the only word that ever came.
                let end = payment.refused.map_or(End::TimedOut, End::Rejected);
                payment.end = Some(end);
                *in_flight = in_flight.saturating_sub(1);
                ledger.ended(&payment.invoice.nonce, end, now.ns);
            }
            now.wall < payment.expires_at.saturating_add_millis(FORGET_MS)
        });
    }
}

impl Side for Payer {
    fn connected(&mut self, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        let again = |payment: &Payment| {
            payment.end.is_none() && !payment.acknowledged && payment.refused.is_none() && now.wall < payment.expires_at
        };
        let ids: Vec<_> = self.payments.iter().filter(|(_, payment)| again(payment)).map(|(id, _)| *id).collect();
        for id in ids {
            ledger.counts.resent_prepares += 1;
            self.send(id, line)?;
        }
        Ok(())
    }

    fn came(&mut self, came: Came<'_>, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        match came {
            Came::Authenticated => Ok(()),
            Came::Books(_, asked_at) => {
                self.check_nothing_is_overdue(asked_at, now, ledger);
                Ok(())
            }
            Came::Answer(Asked::Prepare(id), answer) => {
                self.answered(id, answer.map_err(|(code, _)| code), now, ledger);
                Ok(())
            }
            Came::Answer(..) => Ok(()),
            Came::Request(id, Body::Fulfill(fulfill)) => match self.fulfilled(&fulfill, now, ledger) {
                Ok(()) => line.acknowledge(id),
                Err(code) => line.refuse(id, code, &self.address, now.wall),
            },
            Came::Request(id, Body::Reject(reject)) => match self.rejected(reject.transfer_id, reject.reason.error().code, now, ledger) {
                Ok(()) => line.acknowledge(id),
                Err(code) => line.refuse(id, code, &self.address, now.wall),
            },
            Came::Request(id, _) => {
                ledger.wrong("requests that have no place on their connection");
                line.refuse(id, ErrorCode::F00_BAD_REQUEST, &self.address, now.wall)
            }
        }
    }

    fn tick(&mut self, line: Option<&mut Line>, now: Now, shared: &Shared) -> Result<(), WireError> {
        let mut ledger = shared.ledger.borrow_mut();
        if now.ns.saturating_sub(self.swept_ns) >= SWEEP_EVERY_NS {
            self.swept_ns = now.ns;
            self.sweep(now, &mut ledger);
        }
        match line {
            Some(line) if shared.phase.get() == Phase::Paying => self.start_payments(line, now, &mut ledger),
            _ => Ok(()),
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight == 0
    }
}

fn packet(receiver: &Address, amount: Amount, nonce: &Nonce, padding: usize) -> Result<Vec<u8>, EncodeError> {
    let mut data = vec![0; padding + NONCE_BYTES];
    if let Some(place) = data.last_chunk_mut() {
        *place = *nonce;
    }
    ilp::Packet::Payment(ilp::Payment { amount, account: receiver.as_addr(), data: &data }).to_vec()
}

/// Payments that could not be started in time: no more than these.
const BEHIND_NS_MAX: u64 = 20_000_000;
const SWEEP_EVERY_NS: u64 = 50_000_000;
const NS_PER_SECOND: u64 = 1_000_000_000;
const RATE_DEFAULT: u32 = 1_000;
const INVOICES_AT_ONCE: usize = 256;
