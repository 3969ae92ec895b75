//! The paid side: a receiver that loses its connections and keeps its word.

use super::super::clock::Now;
use super::super::invoice::{NONCE_BYTES, Nonce, Preimages};
use super::super::wire::WireError;
use super::ledger::{Ledger, Word};
use super::line::{Asked, Came, Line};
use super::peer::{Shared, Side};
use super::{CLOCKS_DIFFER_MS, FORGET_MS, REMEMBERED_LESS_MS, Rules};
use ilp_core::Timing;
use ilp_oer::clp::{Body, Fulfill, Prepare, ProtocolData, Reject, RejectionReason};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp, TransferId, ilp};
use std::collections::HashMap;

/// A receiver that behaves as a peer that dedupes: a prepare that comes again is answered as before, and a fulfill or reject that isn't
/// acknowledged is sent again on the next connection.
///
/// It fulfills most payments at once; some late, some never, and some it rejects: see [`Reply`].
#[derive(Debug)]
pub(crate) struct Payee {
    pair: usize,
    address: Address,
    preimages: Preimages,
    rules: Rules,
    transfers: HashMap<TransferId, Transfer>,
    /// Answers that are decided, or will be, and not acknowledged.
    open: usize,
    swept_ns: u64,
}

#[derive(Debug)]
struct Transfer {
    nonce: Nonce,
    amount: Amount,
    condition: Condition,
    expires_at: Timestamp,
    packet: Vec<u8>,
    reply: Reply,
    sends: u32,
    open: bool,
}

/// What becomes of a transfer.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Fulfill(Fulfillment),
    /// From this time on.
    FulfillLater(Fulfillment, Timestamp),
    Reject,
    Never,
}

impl Payee {
    /// Receiver of the pair at this place.
    pub(crate) fn new(pair: usize, address: Address, preimages: Preimages, rules: Rules) -> Self {
        Self { pair, address, preimages, rules, transfers: HashMap::new(), open: 0, swept_ns: 0 }
    }

    fn prepared(&mut self, request: u32, prepare: &Prepare<'_>, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        let id = prepare.transfer_id;
        let packet = prepare.data.first().map(|entry| entry.data).unwrap_or_default();
        if let Some(known) = self.transfers.get(&id) {
            ledger.counts.duplicate_prepares += 1;
            let same = (known.amount, known.condition, known.expires_at) == (prepare.amount, prepare.condition, prepare.expires_at);
            if !same || known.packet != packet {
                ledger.wrong("prepares that use an id again with other content");
                return line.refuse(request, ErrorCode::F00_BAD_REQUEST, &self.address, now.wall);
            }
            line.acknowledge(request)?;
            return self.reply(id, line, now, ledger);
        }
        if let Some(nonce) = nonce_of(packet) {
            ledger.seen(&nonce);
        }
        let (nonce, reply) = match self.accept(prepare, packet, now) {
            Ok(accepted) => accepted,
            Err(code) => {
                if code != ErrorCode::R00_TRANSFER_TIMED_OUT && code != REFUSED {
                    ledger.wrong("prepares that nobody asked for");
                }
                return line.refuse(request, code, &self.address, now.wall);
            }
        };
        line.acknowledge(request)?;
        let open = !matches!(reply, Reply::Never);
        self.open += usize::from(open);
        let (amount, condition, expires_at) = (prepare.amount, prepare.condition, prepare.expires_at);
        let transfer = Transfer { nonce, amount, condition, expires_at, packet: packet.to_vec(), reply, sends: 0, open };
        self.transfers.insert(id, transfer);
        self.reply(id, line, now, ledger)
    }

    /// What is to become of a new transfer. An error is an answer without state: the same prepare gets the same one again.
    fn accept(&self, prepare: &Prepare<'_>, packet: &[u8], now: Now) -> Result<(Nonce, Reply), ErrorCode> {
        let Ok(ilp::Packet::Payment(payment)) = ilp::Packet::decode(packet) else { return Err(ErrorCode::F01_INVALID_PACKET) };
        let nonce = *payment.data.last_chunk::<NONCE_BYTES>().ok_or(ErrorCode::F06_UNEXPECTED_PAYMENT)?;
        if self.address != payment.account {
            return Err(ErrorCode::F02_UNREACHABLE);
        }
        if prepare.amount != payment.amount {
            return Err(ErrorCode::F03_INVALID_AMOUNT);
        }
        if prepare.expires_at <= now.wall {
            return Err(ErrorCode::R00_TRANSFER_TIMED_OUT);
        }
        let fulfillment = self.preimages.preimage(&nonce);
        if !prepare.condition.is_fulfilled_by(&fulfillment) {
            return Err(ErrorCode::F05_WRONG_CONDITION);
        }
        // The nonce is random: it decides.
        let [a, b, c, d, ..] = nonce;
        let later = |share: u16| {
            let most = prepare.expires_at.millis_since(now.wall).saturating_add(self.rules.timing.grace_ms).saturating_add(LATE_MS_MAX);
            now.wall.saturating_add_millis(most.saturating_mul(share.into()) / i64::from(u16::MAX))
        };
        match u16::from_be_bytes([a, b]) % 100 {
            0..2 => Err(REFUSED),
            2..5 => Ok((nonce, Reply::Reject)),
            5..8 => Ok((nonce, Reply::Never)),
            8..13 => Ok((nonce, Reply::FulfillLater(fulfillment, later(u16::from_be_bytes([c, d]))))),
            _ => Ok((nonce, Reply::Fulfill(fulfillment))),
        }
    }

    /// Says what became of a transfer, if it is time.
    fn reply(&mut self, id: TransferId, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        let Some(transfer) = self.transfers.get_mut(&id) else { return Ok(()) };
        let body = match transfer.reply {
            Reply::FulfillLater(_, from) if now.wall < from => return Ok(()),
            Reply::Never => return Ok(()),
            Reply::Fulfill(fulfillment) | Reply::FulfillLater(fulfillment, _) => {
                if transfer.sends == 0 {
                    ledger.learned(&transfer.nonce, Word::Sent);
                } else {
                    ledger.counts.resent_fulfills += 1;
                }
                Body::Fulfill(Fulfill { transfer_id: id, fulfillment, data: ProtocolData::EMPTY })
            }
            Reply::Reject => {
                ledger.counts.resent_rejects += u64::from(transfer.sends > 0);
                let code = REJECTED;
                let reason = ErrorPacket {
                    code,
                    name: code.name().unwrap_or_default(),
                    triggered_by: self.address.as_addr(),
                    forwarded_by: AddrList::EMPTY,
                    triggered_at: now.wall,
                    data: b"",
                };
                Body::Reject(Reject { transfer_id: id, reason: RejectionReason::from(reason), data: ProtocolData::EMPTY })
            }
        };
        transfer.sends += 1;
        line.ask(Asked::Answer(id), body)?;
        Ok(())
    }

    /// The connector has answered a fulfill or reject.
    fn answered(&mut self, id: TransferId, answer: Result<(), (ErrorCode, &[u8])>, now: Now, ledger: &mut Ledger) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if !transfer.open {
            // The answer to a repeat.
            return;
        }
        let Timing { window_ms, skew_ms_max, .. } = self.rules.timing;
        let remembered = now.wall < transfer.expires_at.saturating_add_millis(window_ms + skew_ms_max - REMEMBERED_LESS_MS);
        let is_fulfill = !matches!(transfer.reply, Reply::Reject);
        let word = match answer {
            Ok(()) => Word::Paid,
            Err((_, text)) if text == b"unknown transfer" => {
                if remembered {
                    ledger.wrong("transfers that the connector has forgotten too early");
                }
                Word::Sent
            }
            Err((ErrorCode::R00_TRANSFER_TIMED_OUT | ErrorCode::F00_BAD_REQUEST, _)) => Word::Refused,
            Err(_) => {
                ledger.wrong("answers to fulfills and rejects that make no sense");
                Word::Refused
            }
        };
        transfer.open = false;
        self.open = self.open.saturating_sub(1);
        if is_fulfill {
            ledger.learned(&transfer.nonce, word);
        }
    }

    /// Gives up on answers that the connector can't remember any more, and forgets.
    fn sweep(&mut self, now: Now) {
        let (open, insist_ms) = (&mut self.open, self.rules.insist_ms);
        self.transfers.retain(|_, transfer| {
            if transfer.open && now.wall >= transfer.expires_at.saturating_add_millis(insist_ms) {
                transfer.open = false;
                *open = open.saturating_sub(1);
            }
            now.wall < transfer.expires_at.saturating_add_millis(FORGET_MS)
        });
    }

    fn say_all(&mut self, due: impl Fn(&Transfer) -> bool, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        let ids: Vec<_> = self.transfers.iter().filter(|(_, transfer)| transfer.open && due(transfer)).map(|(id, _)| *id).collect();
        ids.into_iter().try_for_each(|id| self.reply(id, line, now, ledger))
    }
}

impl Side for Payee {
    fn connected(&mut self, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        self.say_all(|_| true, line, now, ledger)
    }

    fn came(&mut self, came: Came<'_>, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError> {
        match came {
            Came::Authenticated => Ok(()),
            Came::Books(_, asked_at) => {
                let needed_ms = self.rules.timing.window_ms + self.rules.timing.outgoing_ms_min + CLOCKS_DIFFER_MS;
                ledger.passed_on(self.pair, asked_at.wall, now.wall.saturating_add_millis(needed_ms));
                Ok(())
            }
            Came::Answer(Asked::Answer(id), answer) => {
                self.answered(id, answer, now, ledger);
                Ok(())
            }
            Came::Answer(..) => Ok(()),
            Came::Request(id, Body::Prepare(prepare)) => self.prepared(id, &prepare, line, now, ledger),
            Came::Request(id, _) => {
                ledger.wrong("requests that have no place on their connection");
                line.refuse(id, ErrorCode::F00_BAD_REQUEST, &self.address, now.wall)
            }
        }
    }

    fn tick(&mut self, line: Option<&mut Line>, now: Now, shared: &Shared) -> Result<(), WireError> {
        if now.ns.saturating_sub(self.swept_ns) < SWEEP_EVERY_NS {
            return Ok(());
        }
        self.swept_ns = now.ns;
        self.sweep(now);
        let Some(line) = line else { return Ok(()) };
        let due = |transfer: &Transfer| transfer.sends == 0;
        self.say_all(due, line, now, &mut shared.ledger.borrow_mut())
    }

    fn is_idle(&self) -> bool {
        self.open == 0
    }
}

fn nonce_of(packet: &[u8]) -> Option<Nonce> {
    match ilp::Packet::decode(packet) {
        Ok(ilp::Packet::Payment(payment)) => payment.data.last_chunk::<NONCE_BYTES>().copied(),
        _ => None,
    }
}

/// Refused at once, by an Error.
const REFUSED: ErrorCode = ErrorCode::T99_APPLICATION_ERROR;
const REJECTED: ErrorCode = ErrorCode::F99_APPLICATION_ERROR;
/// Some late fulfills come when the connector's own grace is over too.
const LATE_MS_MAX: i64 = 200;
const SWEEP_EVERY_NS: u64 = 20_000_000;
