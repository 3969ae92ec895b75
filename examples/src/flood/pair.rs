//! A sender and the receiver that it pays: their connections, and their own books.

use super::clock::{Clock, Now};
use super::invoice::{Invoice, Preimages};
use super::options::Login;
use super::random::{NoRandomness, random};
use super::receiver::Receiver;
use super::sender::Sender;
use super::tally::Tally;
use super::wire::{Wire, WireError};
use bytes::Bytes;
use ilp_clp::ws::{DialError, SocketCounters, SocketLimits, TlsClientConfig, Url, dial};
use ilp_oer::sub::{self, Liquidity, LiquidityAnswer, Setup};
use ilp_oer::{Address, Amount};
use std::task::{Context, Poll};

/// A sender and its receiver.
#[derive(Debug)]
pub(crate) struct Pair {
    sender: Sender,
    receiver: Receiver,
    /// What the receiver has told the sender in advance.
    stock: Vec<Invoice>,
    names: [String; 2],
    /// The accounts as they were before the first payment.
    opening: [LiquidityAnswer; 2],
}

/// Why a pair couldn't be connected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The connector can't be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// An account could not be used.
    #[error("account {name}: {source}")]
    Account {
        /// Which.
        name: String,
        /// Why.
        source: WireError,
    },
    /// Preimages and ids can't be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// A connection was lost in the middle of a run.
#[derive(Debug, thiserror::Error)]
#[error("account {name}: {source}")]
pub(crate) struct Lost {
    name: String,
    source: WireError,
}

impl Pair {
    /// Connects and authenticates both, and asks for the state of their accounts.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(crate) async fn connect(url: &Url, tls: &TlsClientConfig, logins: [&Login; 2], amount: Amount) -> Result<Self, ConnectError> {
        let names = logins.map(|login| login.name.clone());
        let [sender, receiver] = logins;
        // The receiver first: nothing can be sent to a peer that isn't there.
        let receiver = open(url, tls, receiver).await?;
        let sender = open(url, tls, sender).await?;
        let preimages = Preimages::new(random()?, random()?);
        let opening = [sender.account, receiver.account];
        let receiver = Receiver::new(receiver.wire, receiver.address, preimages);
        let paying = Sender::new(sender.wire, sender.address, receiver.address(), amount, random()?);
        let sender = paying.map_err(|error| failed(&names[0], error.into()))?;
        Ok(Self { sender, receiver, stock: Vec::new(), names, opening })
    }

    /// Payments that have had no outcome yet.
    pub(crate) fn in_flight(&self) -> u32 {
        self.sender.in_flight()
    }

    /// Whether every payment has ended, and every request of both has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.sender.is_idle() && self.receiver.is_idle()
    }

    /// Queues a payment; see [`Sender::start`].
    ///
    /// # Errors
    /// If the packet can't be written.
    pub(crate) fn start(&mut self, started_ns: u64, now: Now) -> Result<bool, Lost> {
        if self.stock.is_empty() {
            self.receiver.issue(&mut self.stock);
        }
        let Some(invoice) = self.stock.pop() else { return Ok(false) };
        self.sender.start(&invoice, started_ns, now).map_err(|error| self.lost(0, error.into()))
    }

    /// Handles what has come in on both connections, the receiver's first so that its answers are on their way meanwhile. `true` if
    /// there may be more.
    ///
    /// # Errors
    /// When a connection has ended.
    pub(crate) fn serve(&mut self, cx: &mut Context<'_>, clock: &Clock, frames: &mut Vec<Bytes>, tally: &mut Tally) -> Result<bool, Lost> {
        let more = self.receiver.serve(cx, clock, frames, tally).map_err(|error| self.lost(1, error))?;
        flush(&mut self.receiver.wire, cx).map_err(|error| self.lost(1, error))?;
        let more_to_send = self.sender.serve(cx, clock, frames, tally).map_err(|error| self.lost(0, error))?;
        Ok(more || more_to_send)
    }

    /// Hands to the system what the sender has queued.
    ///
    /// # Errors
    /// When its connection has ended.
    pub(crate) fn flush_sender(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        flush(&mut self.sender.wire, cx).map_err(|error| self.lost(0, error))
    }

    /// Gives up on what has waited too long.
    pub(crate) fn sweep(&mut self, now: Now, tally: &mut Tally) {
        self.sender.sweep(now, tally);
        self.receiver.sweep(now, tally);
    }

    /// Gives up on everything under way.
    pub(crate) fn abandon(&mut self, now: Now, tally: &mut Tally) {
        self.sender.abandon(now, tally);
        self.receiver.abandon(tally);
    }

    /// Asks the connector for both accounts and compares them with the pair's own books. Gives the differences, in words.
    ///
    /// # Errors
    /// If the connector doesn't answer.
    pub(crate) async fn compare_books(&mut self) -> Result<Vec<String>, Lost> {
        let closing = [account_of(&mut self.sender.wire).await, account_of(&mut self.receiver.wire).await];
        let changes = [-self.sender.paid(), self.receiver.received()];
        let mut differences = Vec::new();
        for (place, (closing, change)) in closing.into_iter().zip(changes).enumerate() {
            let closing = closing.map_err(|error| self.lost(place, error))?;
            let (Some(name), Some(opening)) = (self.names.get(place), self.opening.get(place)) else { continue };
            let expected = opening.balance + change;
            if closing.balance != expected {
                let balance = closing.balance;
                differences.push(format!("account {name}: the connector's books say {balance}, the peer's own say {expected}"));
            }
            if closing.held != opening.held {
                differences.push(format!("account {name}: {} is held, at the start it was {}", closing.held, opening.held));
            }
        }
        Ok(differences)
    }

    /// What has gone through both connections.
    pub(crate) fn counters(&self) -> [SocketCounters; 2] {
        [self.sender.wire.counters(), self.receiver.wire.counters()]
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.sender.wire.close().await;
        self.receiver.wire.close().await;
    }

    fn lost(&self, place: usize, source: WireError) -> Lost {
        Lost { name: self.names.get(place).cloned().unwrap_or_default(), source }
    }
}

/// A peer that only comes to see whether it is let in.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Where.
    pub(crate) url: Url,
    /// Whom it trusts.
    pub(crate) tls: TlsClientConfig,
    /// Who it is.
    pub(crate) login: Login,
}

impl Guest {
    /// Connects, authenticates, asks for the state of its account, and goes.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(crate) async fn visit(&self) -> Result<(), ConnectError> {
        open(&self.url, &self.tls, &self.login).await?.wire.close().await;
        Ok(())
    }
}

/// An authenticated connection.
pub(crate) struct Opened {
    /// Nothing is under way on it.
    pub(crate) wire: Wire,
    /// The account's.
    pub(crate) address: Address,
    account: LiquidityAnswer,
}

/// Dials and logs in.
///
/// # Errors
/// See [`ConnectError`].
pub(crate) async fn open(url: &Url, tls: &TlsClientConfig, login: &Login) -> Result<Opened, ConnectError> {
    let mut wire = Wire::new(dial(url, tls, &SocketLimits::default()).await?);
    let address = authenticate(&mut wire, login).await.map_err(|error| failed(&login.name, error))?;
    let account = account_of(&mut wire).await.map_err(|error| failed(&login.name, error))?;
    Ok(Opened { wire, address, account })
}

async fn authenticate(wire: &mut Wire, login: &Login) -> Result<Address, WireError> {
    let request = Setup::Authenticate { token: login.token.as_bytes(), account: login.name.as_bytes(), target: b"" };
    let answer = wire.call(sub::names::SETUP, &request.to_vec()?).await?;
    match Setup::decode_answer(&answer) {
        Ok(Setup::Authenticated { address }) => Ok(address.to_address()),
        _ => Err(WireError::Unexpected),
    }
}

async fn account_of(wire: &mut Wire) -> Result<LiquidityAnswer, WireError> {
    let answer = wire.call(sub::names::LIQUIDITY, &Liquidity::Request.to_vec()?).await?;
    match Liquidity::decode(&answer) {
        Ok(Liquidity::Answer(account)) => Ok(account),
        _ => Err(WireError::Unexpected),
    }
}

fn flush(wire: &mut Wire, cx: &mut Context<'_>) -> Result<(), WireError> {
    match wire.poll_flush(cx) {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(()),
    }
}

fn failed(name: &str, source: WireError) -> ConnectError {
    ConnectError::Account { name: name.to_owned(), source }
}
