//! The paid side of a pair.

use super::clock::{Clock, Now};
use super::invoice::{Invoice, NONCE_BYTES, Preimages};
use super::slots::Slots;
use super::tally::{Fault, Tally};
use super::wire::{Wire, WireError, decode};
use bytes::Bytes;
use ilp_oer::clp::{Body, Fulfill, Prepare, ProtocolData};
use ilp_oer::{Address, EncodeError, ErrorCode, Fulfillment, Timestamp, ilp};
use std::task::{Context, Poll};

/// A peer that is paid: it acknowledges every prepare and fulfills it at once.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Its connection.
    pub(super) wire: Wire,
    address: Address,
    preimages: Preimages,
    fulfills: Slots<Sent>,
    received: i128,
}

/// A fulfill that hasn't been answered.
#[derive(Debug)]
struct Sent {
    amount: u64,
    at: Timestamp,
}

impl Receiver {
    /// A peer at `address`.
    pub(super) fn new(wire: Wire, address: Address, preimages: Preimages) -> Self {
        Self { wire, address, preimages, fulfills: Slots::new(), received: 0 }
    }

    /// Its address, to which payments go.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Adds new invoices to the sender's stock.
    pub(super) fn issue(&mut self, stock: &mut Vec<Invoice>) {
        self.preimages.issue(INVOICES_AT_ONCE, stock);
    }

    /// Whether every fulfill has been answered.
    pub(super) fn is_idle(&self) -> bool {
        self.fulfills.is_empty()
    }

    /// What it has received, by its own ledger.
    pub(super) fn received(&self) -> i128 {
        self.received
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

    /// Gives up on fulfills that should have been answered long ago.
    pub(super) fn sweep(&mut self, now: Now, tally: &mut Tally) {
        self.fulfills.remove_if(|sent| {
            let over = now.wall.millis_since(sent.at) > UNANSWERED_AFTER_MS;
            if over {
                tally.fault(Fault::Unanswered);
            }
            over
        });
    }

    /// Gives up on all of them.
    pub(super) fn abandon(&mut self, tally: &mut Tally) {
        self.fulfills.remove_if(|_| {
            tally.fault(Fault::Unanswered);
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
            Body::Prepare(prepare) => self.prepared(id, &prepare, now),
            Body::Ack(_) | Body::Response(_) => {
                match self.fulfills.remove(id) {
                    Some(sent) => self.received += i128::from(sent.amount),
                    None => tally.fault(Fault::UnmatchedAnswer),
                }
                Ok(())
            }
            Body::Error { .. } => {
                let fault = if self.fulfills.remove(id).is_some() { Fault::FulfillRefused } else { Fault::UnmatchedAnswer };
                tally.fault(fault);
                Ok(())
            }
            Body::Message(_) | Body::Fulfill(_) | Body::Reject(_) | Body::Transfer(_) => {
                tally.fault(Fault::Misplaced);
                self.wire.refuse(id, ErrorCode::F00_BAD_REQUEST, &self.address, now.wall)
            }
        }
    }

    fn prepared(&mut self, id: u32, prepare: &Prepare<'_>, now: Now) -> Result<(), EncodeError> {
        let sent = Sent { amount: prepare.amount.get(), at: now.wall };
        let accepted = self.accept(prepare, now).and_then(|fulfillment| {
            let number = self.fulfills.insert(sent).ok_or(ErrorCode::T03_CONNECTOR_BUSY)?;
            Ok((fulfillment, number))
        });
        match accepted {
            Ok((fulfillment, number)) => {
                self.wire.acknowledge(id)?;
                let fulfill = Fulfill { transfer_id: prepare.transfer_id, fulfillment, data: ProtocolData::EMPTY };
                self.wire.send(number, Body::Fulfill(fulfill))
            }
            Err(code) => self.wire.refuse(id, code, &self.address, now.wall),
        }
    }

    /// The preimage, if this is a payment that was asked for.
    fn accept(&self, prepare: &Prepare<'_>, now: Now) -> Result<Fulfillment, ErrorCode> {
        let entry = prepare.data.first().ok_or(ErrorCode::F00_BAD_REQUEST)?;
        let Ok(ilp::Packet::Payment(payment)) = ilp::Packet::decode(entry.data) else {
            return Err(ErrorCode::F01_INVALID_PACKET);
        };
        let nonce = payment.data.last_chunk::<NONCE_BYTES>().ok_or(ErrorCode::F06_UNEXPECTED_PAYMENT)?;
        if self.address != payment.account {
            return Err(ErrorCode::F02_UNREACHABLE);
        }
        if prepare.amount < payment.amount {
            return Err(ErrorCode::F04_INSUFFICIENT_DESTINATION_AMOUNT);
        }
        if prepare.expires_at <= now.wall {
            return Err(ErrorCode::R00_TRANSFER_TIMED_OUT);
        }
        let fulfillment = self.preimages.preimage(nonce);
        if prepare.condition.is_fulfilled_by(&fulfillment) { Ok(fulfillment) } else { Err(ErrorCode::F05_WRONG_CONDITION) }
    }
}

/// Invoices made when the sender's stock has run out.
const INVOICES_AT_ONCE: usize = 256;
/// Longer than the connector could wait for anything that the answer depends on.
const UNANSWERED_AFTER_MS: i64 = 11_000;
/// Then the other connections have their turn.
const BATCHES_A_TURN: usize = 16;
