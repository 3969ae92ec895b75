//! Payers with a connection to every process, and the payee.

use super::ContendError;
use crate::flood::options::Login;
use crate::flood::pair::{Opened, open};
use crate::flood::random::random;
use crate::flood::wire::{Wire, WireError, decode};
use bytes::Bytes;
use futures::future::{Either, select, try_join_all};
use ilp_clp::ws::TlsClientConfig;
use ilp_oer::clp::{Body, Dialect, Entry, Fulfill, Prepare, ProtocolData};
use ilp_oer::{Address, Amount, Fulfillment, Timestamp, TransferId, ilp, sub};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a payer has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) attempts: u64,
    pub(super) accepted: u64,
    /// By the error's code.
    pub(super) refused: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.accepted += other.accepted;
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
    }
}

/// All payers make so many attempts each, and then go on until everybody says that there isn't enough.
pub(super) async fn contend(
    ports: &[u16],
    payee: &Login,
    payers: &[Login],
    amount: u64,
    attempts: u64,
) -> Result<Vec<Tally>, ContendError> {
    let url = |port: &u16| format!("ws://127.0.0.1:{port}/").parse().map_err(|_| ContendError::Books("no port".to_owned()));
    let tls = TlsClientConfig::public_roots().map_err(|error| ContendError::Books(error.to_string()))?;
    let first = ports.first().map(url).transpose()?;
    let Some(first) = first else { return Ok(Vec::new()) };
    let Opened { wire, address, .. } = open(&first, &tls, payee).await?;
    let mut all = Vec::new();
    for login in payers {
        let mut wires = Vec::new();
        for port in ports {
            wires.push(open(&url(port)?, &tls, login).await?.wire);
        }
        all.push(Payer::new(wires, &address, amount, attempts)?);
    }
    let pay = try_join_all(all.into_iter().map(Payer::pay));
    match select(pin!(be_paid(wire)), pin!(pay)).await {
        Either::Left((Err(error), _)) | Either::Right((Err(error), _)) => Err(error.into()),
        Either::Left((Ok(never), _)) => match never {},
        // The payee is needed no more.
        Either::Right((Ok(tallies), _)) => Ok(tallies),
    }
}

const SECRET: [u8; 32] = [7; 32];
/// Attempts under way on one connection.
const WINDOW: usize = 32;
const EXPIRES_AFTER_MS: i64 = 20_000;

enum Never {}

/// Acknowledges and fulfills whatever comes.
async fn be_paid(mut wire: Wire) -> Result<Never, WireError> {
    let (mut frames, mut request) = (Vec::new(), 0_u32);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(Err(error)) = wire.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            let received = match wire.poll_receive(cx, &mut frames) {
                Poll::Ready(received) => received.map_err(WireError::from),
                Poll::Pending => return Poll::Pending,
            };
            received?;
            for frame in frames.drain(..) {
                let Some(packet) = decode(&frame) else { return Poll::Ready(Err(WireError::Unexpected)) };
                if let Body::Prepare(prepare) = packet.body {
                    wire.acknowledge(packet.request_id)?;
                    request = request.wrapping_add(1);
                    let fulfill =
                        Fulfill { transfer_id: prepare.transfer_id, fulfillment: Fulfillment::new(SECRET), data: ProtocolData::EMPTY };
                    wire.send(request, Body::Fulfill(fulfill))?;
                }
            }
        }
    })
    .await
}

/// An account's peer.
struct Payer {
    wires: Vec<Wire>,
    packet: Vec<u8>,
    amount: u64,
    rng: ChaCha12Rng,
    left: u64,
    /// All attempts were made and have had their outcome: from here on there is one at a time, so that nobody else's is in the way.
    at_the_end: bool,
    /// Prepares without an answer, by connection and request.
    asked: HashMap<(usize, u32), TransferId>,
    /// How many attempts are under way on each.
    under_way: Vec<usize>,
    /// Held, and without an outcome; on which connection they were made. The outcome may come on any.
    held: HashMap<TransferId, usize>,
    next_request: u32,
    /// At the end: connections that have said that there isn't enough since the last payment that was accepted.
    short: HashSet<usize>,
    tally: Tally,
}

impl Payer {
    fn new(wires: Vec<Wire>, payee: &Address, amount: u64, attempts: u64) -> Result<Self, ContendError> {
        let payment = ilp::Payment { amount: Amount::new(amount), account: payee.as_addr(), data: &[] };
        let packet = ilp::Packet::Payment(payment).to_vec().map_err(WireError::from)?;
        let under_way = vec![0; wires.len()];
        let (asked, held, short, tally) = Default::default();
        let rng = ChaCha12Rng::from_seed(random()?);
        Ok(Self { wires, packet, amount, rng, left: attempts, at_the_end: false, asked, under_way, held, next_request: 0, short, tally })
    }

    async fn pay(mut self) -> Result<Tally, WireError> {
        let mut frames = Vec::new();
        poll_fn(|cx| self.poll(cx, &mut frames)).await?;
        Ok(self.tally)
    }

    fn poll(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>) -> Poll<Result<(), WireError>> {
        let mut again = true;
        while std::mem::take(&mut again) {
            for at in 0..self.wires.len() {
                let Some(wire) = self.wires.get_mut(at) else { continue };
                if let Poll::Ready(received) = wire.poll_receive(cx, frames) {
                    received?;
                    again = true;
                }
                for frame in std::mem::take(frames) {
                    self.frame(at, &frame)?;
                }
                self.attempt(at)?;
                let flushed = self.wires.get_mut(at).map(|wire| wire.poll_flush(cx));
                if let Some(Poll::Ready(Err(error))) = flushed {
                    return Poll::Ready(Err(error));
                }
            }
            let quiet = self.left == 0 && self.asked.is_empty() && self.held.is_empty();
            if quiet && self.short.len() == self.wires.len() {
                return Poll::Ready(Ok(()));
            }
            if quiet && !self.at_the_end {
                (self.at_the_end, again) = (true, true);
            }
        }
        Poll::Pending
    }

    /// As many as there may be; when all were made, one at a time of all connections, each until it has said that there isn't enough.
    fn attempt(&mut self, at: usize) -> Result<(), WireError> {
        loop {
            let under_way = self.under_way.get(at).copied().unwrap_or(WINDOW);
            if self.left > 0 {
                if under_way >= WINDOW {
                    return Ok(());
                }
                self.left -= 1;
            } else if !self.at_the_end || self.short.contains(&at) || !self.asked.is_empty() || !self.held.is_empty() {
                return Ok(());
            }
            self.prepare(at)?;
        }
    }

    fn prepare(&mut self, at: usize) -> Result<(), WireError> {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let transfer_id = TransferId::new(id);
        self.next_request = self.next_request.wrapping_add(1).max(1);
        let entries = [Entry::named(sub::names::ILP, sub::names::OCTETS, &self.packet)];
        let prepare = Prepare {
            transfer_id,
            amount: Amount::new(self.amount),
            condition: Fulfillment::new(SECRET).condition(),
            expires_at: now().saturating_add_millis(EXPIRES_AFTER_MS),
            data: ProtocolData::entries(Dialect::Named, &entries),
        };
        if let (Some(wire), Some(under_way)) = (self.wires.get_mut(at), self.under_way.get_mut(at)) {
            wire.send(self.next_request, Body::Prepare(prepare))?;
            *under_way += 1;
            self.asked.insert((at, self.next_request), transfer_id);
            self.tally.attempts += 1;
        }
        Ok(())
    }

    fn frame(&mut self, at: usize, frame: &[u8]) -> Result<(), WireError> {
        let Some(packet) = decode(frame) else { return Err(WireError::Unexpected) };
        let request = packet.request_id;
        match packet.body {
            Body::Ack(_) | Body::Response(_) => {
                if let Some(id) = self.asked.remove(&(at, request)) {
                    self.held.insert(id, at);
                }
            }
            Body::Error { reason, .. } => {
                if self.asked.remove(&(at, request)).is_some() {
                    let code = reason.error().code.as_str().to_owned();
                    if code == "T04" && self.at_the_end {
                        self.short.insert(at);
                    }
                    *self.tally.refused.entry(code).or_default() += 1;
                    self.ended(at);
                }
            }
            Body::Fulfill(fulfill) => {
                self.outcome(at, request, fulfill.transfer_id, true)?;
            }
            Body::Reject(reject) => {
                self.outcome(at, request, reject.transfer_id, false)?;
            }
            _ => return Err(WireError::Unexpected),
        }
        Ok(())
    }

    fn outcome(&mut self, at: usize, request: u32, id: TransferId, paid: bool) -> Result<(), WireError> {
        if let Some(wire) = self.wires.get_mut(at) {
            wire.acknowledge(request)?;
        }
        // The answer to the prepare comes on its own connection, and may be behind.
        let asked = self.asked.iter().find(|(_, asked)| **asked == id).map(|(key, _)| *key);
        let made_on = match asked {
            Some(key) => self.asked.remove(&key).map(|_| key.0),
            None => self.held.remove(&id),
        };
        // Whoever is told twice has been told.
        let Some(made_on) = made_on else { return Ok(()) };
        self.ended(made_on);
        if paid {
            self.tally.accepted += 1;
            self.short.clear();
        } else {
            *self.tally.refused.entry("rejected".to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn ended(&mut self, at: usize) {
        if let Some(under_way) = self.under_way.get_mut(at) {
            *under_way = under_way.saturating_sub(1);
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}
