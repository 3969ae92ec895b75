//! Connections: which account is where, and what is said again on a new one.

use super::accounts::{Account, Connected};
use super::batch::Effect;
use super::parked::Incoming;
use super::{ConnectionId, Outcome, Tag, Worker, WorkerError};
use crate::account::AccountId;
use crate::link::{Answer, LinkEvent, Payload, RequestId, SubProtocol};
use crate::record::AccountNo;
use crate::refusal::Refusal;
use bytes::Bytes;
use ilp_oer::sub::{Balance, Info, Liquidity, LiquidityAnswer};
use ilp_oer::{DecodeError, Timestamp};

impl Worker {
    pub(super) fn connected(&mut self, connection: ConnectionId, id: &AccountId, relayed: bool) {
        let no = self.number_of(id);
        let Some((no, account)) = no.and_then(|no| Some((no, self.account_mut(no)?))) else {
            if relayed {
                self.strays.push((id.clone(), connection));
            } else {
                self.effect(Effect::Close { connection, reason: "the account is gone" });
            }
            return;
        };
        let new = Connected { id: connection, relayed, congested: false };
        let local = account.connections.first().copied().filter(|first| !first.relayed);
        match (relayed, local) {
            (true, local) => account.connections.insert(usize::from(local.is_some()), new),
            (false, None) => account.connections.insert(0, new),
            (false, Some(old)) => {
                account.connections.splice(..1, [new]);
                account.moves.parked.disconnected(old.id);
                self.connections.remove(&old.id);
                self.effect(Effect::Close { connection: old.id, reason: "replaced by a newer connection of the account" });
            }
        }
        self.connections.insert(connection, (no, relayed));
        self.say_again(no, connection);
    }

    pub(super) fn congested(&mut self, connection: ConnectionId, congested: bool) {
        if let Some((no, _)) = self.connections.get(&connection).copied()
            && let Some(account) = self.account_mut(no)
            && let Some(connection) = account.connections.iter_mut().find(|other| other.id == connection)
        {
            connection.congested = congested;
        }
    }

    /// Answers that the account is owed, and transfers it hasn't acknowledged. Whether each may be sent (again) is decided at release.
    fn say_again(&mut self, no: AccountNo, connection: ConnectionId) {
        let mut effects = Vec::new();
        for (_, active) in self.active.iter() {
            let Some(transfer) = self.transfer_at(active.transfer) else { continue };
            let tag = Tag::of(active.transfer, &transfer.key);
            match transfer.outcome {
                Outcome::Held if transfer.to.account == no && !active.acked => effects.push(Effect::Prepare(tag, Some(connection))),
                Outcome::Fulfilled(_) | Outcome::Rejected(_) if transfer.from.account == no => {
                    effects.push(Effect::Answered(tag, Some(connection)));
                }
                _ => {}
            }
        }
        self.pending.effects.append(&mut effects);
    }

    /// The same, for what went to a connection that is gone while another one of the account isn't.
    fn say_elsewhere(&mut self, no: AccountNo, gone: ConnectionId) {
        let mut effects = Vec::new();
        for (_, active) in self.active.iter() {
            let Some(transfer) = self.transfer_at(active.transfer) else { continue };
            let tag = Tag::of(active.transfer, &transfer.key);
            match transfer.outcome {
                Outcome::Held if transfer.to.account == no && !active.acked && active.sent_on == Some(gone) => {
                    effects.push(Effect::Prepare(tag, None));
                }
                Outcome::Fulfilled(_) | Outcome::Rejected(_) if transfer.from.account == no && active.answered_on == Some(gone) => {
                    effects.push(Effect::Answered(tag, None));
                }
                _ => {}
            }
        }
        self.pending.effects.append(&mut effects);
    }

    /// Colleagues may have heard of an account, and let its peer in, before this worker has.
    pub(super) fn take_strays(&mut self, id: &AccountId) {
        let (taken, left) = std::mem::take(&mut self.strays).into_iter().partition(|(of, _)| of == id);
        self.strays = left;
        let taken: Vec<_> = taken;
        for (_, connection) in taken {
            self.connected(connection, id, true);
        }
    }

    pub(super) fn disconnected(&mut self, connection: ConnectionId) {
        self.strays.retain(|(_, stray)| *stray != connection);
        if let Some((no, _)) = self.connections.remove(&connection)
            && let Some(account) = self.account_mut(no)
        {
            account.connections.retain(|other| other.id != connection);
            account.moves.parked.disconnected(connection);
            if !account.connections.is_empty() {
                self.say_elsewhere(no, connection);
            }
        }
    }

    pub(super) fn link_event(&mut self, connection: ConnectionId, event: LinkEvent, now: Timestamp) -> Result<(), WorkerError> {
        match event {
            LinkEvent::Prepare { request, transfer } => self.incoming(connection, request, Incoming::Prepare(transfer), now),
            LinkEvent::Fulfill { request, id, fulfillment } => self.on_fulfill(connection, request, id, fulfillment, now),
            LinkEvent::Reject { request, id, reason } => self.on_reject(connection, request, id, reason, now),
            LinkEvent::Transfer { request, id, amount, expires_at, payload } => {
                self.incoming(connection, request, Incoming::Unconditional { id, amount, expires_at, payload }, now)
            }
            LinkEvent::Claim { request, claim } => self.on_claim(connection, request, claim, now),
            LinkEvent::Message { request, payload } if payload.protocol == SubProtocol::Vouch => {
                self.on_vouch(connection, request, &payload.data, now)
            }
            LinkEvent::Message { request, payload } => {
                self.on_message(connection, request, &payload, now);
                Ok(())
            }
            LinkEvent::Answered { tag, answer } => self.on_answered(tag, &answer, now),
            LinkEvent::Authenticate(_) | LinkEvent::Authenticated { .. } => Ok(()),
        }
    }

    /// Requests without money.
    fn on_message(&mut self, connection: ConnectionId, request: RequestId, payload: &Payload, now: Timestamp) {
        let Some(account) = self.connections.get(&connection).and_then(|(no, _)| self.account(*no)) else { return };
        let answer = match self.message_response(account, payload) {
            Ok(data) => Answer::Response(Payload { protocol: payload.protocol, data: Bytes::from(data) }),
            Err(refusal) => Answer::Error(refusal.to_packet(&self.config.address, now)),
        };
        self.effect(Effect::Answer { connection, request, answer });
    }

    /// What a message is answered with.
    fn message_response(&self, account: &Account, payload: &Payload) -> Result<Vec<u8>, Refusal> {
        let malformed = |error: DecodeError| Refusal::Malformed(error.to_string());
        let answer = match payload.protocol {
            SubProtocol::None => return Err(Refusal::Empty),
            SubProtocol::Info => match Info::decode(&payload.data).map_err(malformed)? {
                Info::Request => Info::Answer(account.address.as_addr()).to_vec(),
                Info::Answer(_) => return Err(Refusal::WrongKind("an answer is no request")),
            },
            SubProtocol::Balance => match Balance::decode(&payload.data).map_err(malformed)? {
                // The field is unsigned: who owes us is told 0.
                Balance::Request => Balance::Answer(u64::try_from(account.known_balance().max(0)).unwrap_or(u64::MAX)).to_vec(),
                Balance::Answer(_) => return Err(Refusal::WrongKind("an answer is no request")),
            },
            // Reconcile's other operations don't exist yet.
            SubProtocol::Reconcile if payload.data.first() != Some(&1) => return Err(Refusal::Unsupported),
            SubProtocol::Liquidity | SubProtocol::Reconcile => match Liquidity::decode(&payload.data).map_err(malformed)? {
                Liquidity::Request => Liquidity::Answer(LiquidityAnswer {
                    available: account.known_balance().saturating_add(account.credit_limit),
                    balance: account.known_balance(),
                    credit_limit: account.credit_limit,
                    held: account.sums.incoming_prepared,
                    min_packet: 0,
                    max_packet: account.max_packet,
                })
                .to_vec(),
                Liquidity::Answer(_) => return Err(Refusal::WrongKind("an answer is no request")),
            },
            SubProtocol::Ilp | SubProtocol::Payment | SubProtocol::Ilqp => return Err(message_refusal(&payload.data)),
            SubProtocol::Vouch | SubProtocol::Ccp | SubProtocol::Other => return Err(Refusal::Unsupported),
        };
        answer.map_err(|_| Refusal::Internal("the answer can't be encoded"))
    }
}

/// Why an ILP packet can't come in a message.
fn message_refusal(packet: &[u8]) -> Refusal {
    use ilp_oer::ilp::Packet;
    match Packet::decode(packet) {
        Ok(Packet::Payment(_)) => Refusal::WrongKind("an ILP payment must come with a conditional transfer"),
        Ok(Packet::Error(_)) => Refusal::WrongKind("an ILP error is no request"),
        Ok(_) => Refusal::WrongKind("this connector gives no quotes"),
        Err(error) => Refusal::InvalidPacket(error.to_string()),
    }
}
