//! The paying side of a pair.

use super::clock::{Clock, Now};
use super::invoice::{Invoice, NONCE_BYTES};
use super::slots::Slots;
use super::tally::{Fault, LATE, NONE, Tally};
use super::wire::{Wire, WireError, decode};
use bytes::Bytes;
use ilp_oer::clp::{Body, Dialect, Entry, Fulfill, Prepare, ProtocolData};
use ilp_oer::{Address, Amount, Condition, EncodeError, ErrorCode, Timestamp, TransferId, ilp, sub};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::task::{Context, Poll};

/// A peer that pays.
#[derive(Debug)]
pub(super) struct Sender {
    /// Its connection.
    pub(super) wire: Wire,
    address: Address,
    amount: Amount,
    /// The ILP packet of every payment. Its nonce is the last but the byte that ends the packet.
    packet: Vec<u8>,
    random: ChaCha12Rng,
    payments: Slots<Payment>,
    in_flight: u32,
    paid: i128,
}

/// A payment under way. Its number is the request id of its prepare, and the front of its transfer id.
#[derive(Debug)]
struct Payment {
    /// The random part of its transfer id.
    id: [u8; ID_RANDOM_BYTES],
    condition: Condition,
    expires_at: Timestamp,
    started_ns: u64,
    acknowledged: bool,
    ended: bool,
}

impl Sender {
    /// A peer at `address` whose payments deliver `amount` to `receiver`.
    ///
    /// # Errors
    /// If the receiver's address is so long that no packet can hold it; not expected.
    pub(super) fn new(wire: Wire, address: Address, receiver: &Address, amount: Amount, seed: [u8; 32]) -> Result<Self, EncodeError> {
        let padding = PACKET_BYTES.saturating_sub(receiver.as_str().len() + NONCE_BYTES + PACKET_FIELDS_BYTES);
        let data = vec![0; padding + NONCE_BYTES];
        let packet = ilp::Packet::Payment(ilp::Payment { amount, account: receiver.as_addr(), data: &data }).to_vec()?;
        let random = ChaCha12Rng::from_seed(seed);
        Ok(Self { wire, address, amount, packet, random, payments: Slots::new(), in_flight: 0, paid: 0 })
    }

    /// Payments that have had no outcome yet.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether every payment has had its outcome, and every prepare its answer.
    pub(super) fn is_idle(&self) -> bool {
        self.payments.is_empty()
    }

    /// What it has paid, by its own ledger.
    pub(super) fn paid(&self) -> i128 {
        self.paid
    }

    /// Queues a payment. `started_ns` is when it was due. `false` if too many are under way.
    ///
    /// # Errors
    /// If the packet can't be written.
    pub(super) fn start(&mut self, invoice: &Invoice, started_ns: u64, now: Now) -> Result<bool, EncodeError> {
        let mut id = [0; ID_RANDOM_BYTES];
        self.random.fill_bytes(&mut id);
        let expires_at = now.wall.saturating_add_millis(EXPIRES_AFTER_MS);
        let condition = invoice.condition;
        let payment = Payment { id, condition, expires_at, started_ns, acknowledged: false, ended: false };
        let Some(number) = self.payments.insert(payment) else { return Ok(false) };
        self.in_flight += 1;
        let nonce = self.packet.len().saturating_sub(NONCE_BYTES + 1);
        if let Some(place) = self.packet.get_mut(nonce..).and_then(<[u8]>::first_chunk_mut) {
            *place = invoice.nonce;
        }
        let entries = [Entry::named(sub::names::ILP, sub::names::OCTETS, &self.packet)];
        let data = ProtocolData::entries(Dialect::Named, &entries);
        let transfer_id = transfer_id(number, id);
        let prepare = Prepare { transfer_id, amount: self.amount, condition, expires_at, data };
        self.wire.send(number, Body::Prepare(prepare))?;
        Ok(true)
    }

    /// Handles frames that have come in. `true` if there may be more.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) fn serve(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        frames: &mut Vec<Bytes>,
        tally: &mut Tally,
    ) -> Result<bool, WireError> {
        for _ in 0..BATCHES_A_TURN {
            match self.wire.poll_receive(cx, frames) {
                Poll::Ready(received) => received?,
                Poll::Pending => return Ok(false),
            };
            let now = clock.now();
            for frame in frames.drain(..) {
                self.frame(&frame, now, tally)?;
            }
        }
        Ok(true)
    }

    /// Gives up on payments that have expired long ago.
    pub(super) fn sweep(&mut self, now: Now, tally: &mut Tally) {
        let in_flight = &mut self.in_flight;
        self.payments.remove_if(|payment| {
            let over = now.wall.millis_since(payment.expires_at) > NONE_AFTER_MS;
            if over {
                give_up(payment, now, in_flight, tally);
            }
            over
        });
    }

    /// Gives up on all payments under way.
    pub(super) fn abandon(&mut self, now: Now, tally: &mut Tally) {
        let in_flight = &mut self.in_flight;
        self.payments.remove_if(|payment| {
            give_up(payment, now, in_flight, tally);
            true
        });
    }

    fn frame(&mut self, frame: &[u8], now: Now, tally: &mut Tally) -> Result<(), EncodeError> {
        let Some(packet) = decode(frame) else {
            tally.fault(Fault::Unreadable);
            return Ok(());
        };
        let id = packet.request_id;
        match packet.body {
            Body::Ack(_) | Body::Response(_) => {
                self.acknowledged(id, tally);
                Ok(())
            }
            Body::Fulfill(fulfill) => match self.fulfilled(&fulfill, now, tally) {
                Ok(()) => self.wire.acknowledge(id),
                Err(code) => self.wire.refuse(id, code, &self.address, now.wall),
            },
            Body::Error { reason, .. } => {
                self.refused(id, reason.error().code, now, tally);
                Ok(())
            }
            Body::Reject(reject) => match self.rejected(reject.transfer_id, reject.reason.error().code, now, tally) {
                Ok(()) => self.wire.acknowledge(id),
                Err(code) => self.wire.refuse(id, code, &self.address, now.wall),
            },
            Body::Message(_) | Body::Prepare(_) | Body::Transfer(_) => {
                tally.fault(Fault::Misplaced);
                self.wire.refuse(id, ErrorCode::F00_BAD_REQUEST, &self.address, now.wall)
            }
        }
    }

    fn acknowledged(&mut self, number: u32, tally: &mut Tally) {
        match self.payments.get_mut(number) {
            Some(payment) if payment.acknowledged => tally.fault(Fault::UnmatchedAnswer),
            Some(payment) => {
                payment.acknowledged = true;
                if payment.ended {
                    self.payments.remove(number);
                }
            }
            None => tally.fault(Fault::UnmatchedAnswer),
        }
    }

    fn fulfilled(&mut self, fulfill: &Fulfill<'_>, now: Now, tally: &mut Tally) -> Result<(), ErrorCode> {
        let Some((number, payment)) = find(&mut self.payments, fulfill.transfer_id) else {
            tally.fault(Fault::SecondOutcome);
            return Err(ErrorCode::F00_BAD_REQUEST);
        };
        if !payment.condition.is_fulfilled_by(&fulfill.fulfillment) {
            tally.fault(Fault::WrongFulfillment);
            return Err(ErrorCode::F05_WRONG_CONDITION);
        }
        if now.wall < payment.expires_at {
            tally.fulfilled(payment.started_ns, now.ns);
        } else {
            // Paid all the same: the connector can't know when its fulfill reached us.
            tally.failed(LATE, now.ns);
        }
        self.paid += i128::from(self.amount.get());
        self.ended(number);
        Ok(())
    }

    fn rejected(&mut self, id: TransferId, code: ErrorCode, now: Now, tally: &mut Tally) -> Result<(), ErrorCode> {
        let Some((number, _)) = find(&mut self.payments, id) else {
            tally.fault(Fault::SecondOutcome);
            return Err(ErrorCode::F00_BAD_REQUEST);
        };
        tally.rejected(code, now.ns);
        self.ended(number);
        Ok(())
    }

    /// The prepare was answered by an Error: its answer and its outcome in one.
    fn refused(&mut self, number: u32, code: ErrorCode, now: Now, tally: &mut Tally) {
        match self.payments.get_mut(number) {
            Some(payment) if payment.acknowledged => tally.fault(Fault::UnmatchedAnswer),
            Some(payment) if payment.ended => {
                tally.fault(Fault::SecondOutcome);
                self.payments.remove(number);
            }
            Some(_) => {
                self.payments.remove(number);
                self.in_flight = self.in_flight.saturating_sub(1);
                tally.rejected(code, now.ns);
            }
            None => tally.fault(Fault::UnmatchedAnswer),
        }
    }

    fn ended(&mut self, number: u32) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(payment) = self.payments.get_mut(number) {
            payment.ended = true;
            if payment.acknowledged {
                self.payments.remove(number);
            }
        }
    }
}

/// The payment of that id, if it still waits for its outcome.
fn find(payments: &mut Slots<Payment>, id: TransferId) -> Option<(u32, &mut Payment)> {
    let (number, random) = id.as_bytes().split_first_chunk()?;
    let number = u32::from_be_bytes(*number);
    let payment = payments.get_mut(number)?;
    if payment.id == *random && !payment.ended { Some((number, payment)) } else { None }
}

fn give_up(payment: &Payment, now: Now, in_flight: &mut u32, tally: &mut Tally) {
    if !payment.ended {
        *in_flight = in_flight.saturating_sub(1);
        tally.failed(NONE, now.ns);
    }
    if !payment.acknowledged {
        tally.fault(Fault::Unanswered);
    }
}

fn transfer_id(number: u32, random: [u8; ID_RANDOM_BYTES]) -> TransferId {
    let mut id = [0; 16];
    let (front, back) = id.split_at_mut(4);
    front.copy_from_slice(&number.to_be_bytes());
    back.copy_from_slice(&random);
    TransferId::new(id)
}

const ID_RANDOM_BYTES: usize = 12;
/// Size of an ILP packet, unless the receiver's address is very long: that of a payment with the data of a transport protocol.
const PACKET_BYTES: usize = 150;
/// Type, length, amount, the lengths of address and data, and the byte at the end.
const PACKET_FIELDS_BYTES: usize = 14;
/// Enough for a connector's own share of the time, and so short that finished transfers are soon forgotten.
const EXPIRES_AFTER_MS: i64 = 6_000;
/// After its expiry nothing can become of a payment any more; this is for what is still on its way.
const NONE_AFTER_MS: i64 = 5_000;
/// Then the other connections have their turn.
const BATCHES_A_TURN: usize = 16;
