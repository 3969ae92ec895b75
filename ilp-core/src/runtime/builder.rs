//! The embedder's side: build, start, pay, watch, stop.

use super::connection::ConnectionStatus;
use super::driver::StatusReply;
use super::supervisor::{Seeds, Shared, supervise};
use super::transport::{Connections, Endpoint, NewConnection};
use super::{Clock, Notice, Notices, SystemClock};
use crate::account::{AccountConfig, AccountId, Rate};
use crate::auth::{Authenticator, Tokens};
use crate::event::Event;
use crate::limits::{Limits, Timing};
use crate::receiver::Receiver;
use crate::store::{BalanceStore, Durability, MemoryStore, SlotName, StoreError};
use crate::worker::{AccountError, OpenError, WorkerConfig, WorkerStatus};
use bytes::Bytes;
use ilp_oer::ilp::ErrorPacket;
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, InvalidAddress, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many commands may wait for the driver.
const COMMANDS_MAX: usize = 256;

/// Puts a connector together. Made by [`Connector::builder`].
#[derive(Debug)]
pub struct ConnectorBuilder {
    address: String,
    allow_production: bool,
    slot: SlotName,
    slot_number: u16,
    store: Arc<dyn BalanceStore>,
    authenticator: Option<Arc<dyn Authenticator>>,
    receiver: Option<Arc<dyn Receiver>>,
    clock: Arc<dyn Clock>,
    seeds: Seeds,
    limits: Limits,
    timing: Timing,
    rates: Vec<Rate>,
    accounts: Vec<AccountConfig>,
    endpoints: Vec<Arc<dyn Endpoint>>,
    notices: Notices,
    events: Option<mpsc::Sender<Event>>,
}

/// A connector that can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The connector's address isn't one.
    #[error("the connector's address {address:?} is not an ILP address: {source}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        source: InvalidAddress,
    },
    /// A production address without its switch.
    #[error(
        "address {0} is a production address: call allow_production(true) if real money is meant to move, or use one that begins with \"test.\""
    )]
    Production(Address),
    /// An account can't be added.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Two accounts of one name.
    #[error("there are two accounts called {0}")]
    Duplicate(String),
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The slot's books can't be taken up.
    #[error("slot can't be opened: {0}")]
    Open(#[from] OpenError),
    /// No random numbers are to be had.
    #[error("the operating system gives no random numbers: {0}")]
    Randomness(String),
}

impl ConnectorBuilder {
    /// Keeps the books. Default: a [`MemoryStore`] of its own.
    pub fn store(mut self, store: impl BalanceStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// The slot of the store, and its number in outgoing ids. Default: `slot-0`, 0.
    pub fn slot(mut self, name: &str, number: u16) -> Self {
        self.slot = name.into();
        self.slot_number = number;
        self
    }

    /// Adds an account. Its peer authenticates with what the [`authenticator`](Self::authenticator) knows.
    pub fn account(mut self, account: AccountConfig) -> Self {
        self.accounts.push(account);
        self
    }

    /// Decides who may speak for an account. Default: nobody.
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Takes payments to the connector's own address. Default: they are refused.
    pub fn receiver(mut self, receiver: impl Receiver) -> Self {
        self.receiver = Some(Arc::new(receiver));
        self
    }

    /// Makes connections: a listener or a dialler. Runs from start to stop.
    pub fn endpoint(mut self, endpoint: impl Endpoint) -> Self {
        self.endpoints.push(Arc::new(endpoint));
        self
    }

    /// A fixed rate between two assets, in one direction.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rates.push(rate);
        self
    }

    /// How much of anything peers may use.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The time rules.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Allows an address that doesn't begin with `test.` (or another reserved prefix that moves no real money).
    pub fn allow_production(mut self, allow: bool) -> Self {
        self.allow_production = allow;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where outgoing transfer ids come from. Default: the operating system. A seed must never be used twice with the same store.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seeds = Seeds::Given(seed);
        self
    }

    /// Calls back with what an operator should hear. The callback must not block.
    pub fn on_notice(mut self, callback: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        self.notices = Notices(Some(Arc::new(callback)));
        self
    }

    /// Every accepted, settled and refused payment, in order. Costs an allocation per event. None is dropped: while the channel is full
    /// nothing more is read from peers.
    pub fn events(mut self, events: mpsc::Sender<Event>) -> Self {
        self.events = Some(events);
        self
    }

    /// Opens the slot and starts, on the runtime that this is called on.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing runs; the slot may have been opened.
    pub async fn start(self) -> Result<Connector, StartError> {
        let address = Address::new(&self.address).map_err(|source| StartError::Address { address: self.address.clone(), source })?;
        let production = !["test", "example", "private", "local", "self", "peer"].iter().any(|first| first_segment(&address) == *first);
        if production && !self.allow_production {
            return Err(StartError::Production(address));
        }
        let mut accounts = std::collections::BTreeMap::new();
        for account in &self.accounts {
            if accounts.insert(account.id.clone(), account.clone()).is_some() {
                return Err(StartError::Duplicate(account.id.name().to_owned()));
            }
        }
        let shared = Arc::new(Shared {
            slot: self.slot,
            worker: WorkerConfig {
                address: address.clone(),
                slot: self.slot_number,
                limits: self.limits.clone(),
                timing: self.timing,
                rates: self.rates,
                seed: [0; 32],
                events: self.events.is_some(),
            },
            limits: self.limits,
            store: self.store,
            authenticator: self.authenticator.unwrap_or_else(|| Arc::new(Tokens::new())),
            receiver: self.receiver,
            clock: self.clock,
            notices: self.notices,
            events: self.events,
            accounts: Default::default(),
            seeds: self.seeds.into(),
        });
        let opened = shared.open().await?;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let driver = tokio::spawn(supervise(shared.clone(), opened, received));
        let mut connector = Connector { shared, commands, driver: Some(driver), endpoints: JoinSet::new() };
        for account in self.accounts {
            if let Err(error) = connector.add_account(account).await {
                let _ = connector.stop(Duration::ZERO).await;
                return Err(error.into());
            }
        }
        for endpoint in self.endpoints {
            connector.spawn(endpoint);
        }
        Ok(connector)
    }
}

fn first_segment(address: &Address) -> &str {
    address.as_str().split('.').next().unwrap_or_default()
}

/// A running connector. Dropping it stops it without draining; [`stop`](Self::stop) is the graceful way.
#[derive(Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    driver: Option<tokio::task::JoinHandle<()>>,
    endpoints: JoinSet<()>,
}

impl Connector {
    /// Starts putting a connector together. `address` is its ILP address, such as `test.ann`.
    pub fn builder(address: &str) -> ConnectorBuilder {
        ConnectorBuilder {
            address: address.to_owned(),
            allow_production: false,
            slot: "slot-0".into(),
            slot_number: 0,
            store: Arc::new(MemoryStore::new()),
            authenticator: None,
            receiver: None,
            clock: Arc::new(SystemClock::new()),
            seeds: Seeds::System,
            limits: Limits::default(),
            timing: Timing::default(),
            rates: Vec::new(),
            accounts: Vec::new(),
            endpoints: Vec::new(),
            notices: Notices::default(),
            events: None,
        }
    }

    /// The connector's ILP address.
    pub fn address(&self) -> &Address {
        &self.shared.worker.address
    }

    /// Adds an account, or gives an account another configuration; in force when this returns.
    pub async fn add_account(&self, config: AccountConfig) -> Result<(), AccountError> {
        let (reply, answer) = oneshot::channel();
        let id = config.id.clone();
        self.command(Command::AddAccount { config: Box::new(config.clone()), reply }).await.map_err(|Stopped| AccountError::Stopped)?;
        answer.await.unwrap_or(Err(AccountError::Stopped))?;
        self.shared.accounts().insert(id, config);
        Ok(())
    }

    /// Takes no new payments of an account, waits until it has none in flight, and closes it. A balance other than zero keeps it open
    /// ([`AccountError::Balance`]), unless it is to be written off: then it goes to the connector's own account.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the account is closed all the same when it can be.
    pub async fn remove_account(&self, id: &AccountId, write_off: bool) -> Result<(), AccountError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::RemoveAccount { id: id.clone(), write_off, reply }).await.map_err(|Stopped| AccountError::Stopped)?;
        answer.await.unwrap_or(Err(AccountError::Stopped))?;
        self.shared.accounts().remove(id);
        Ok(())
    }

    /// Adds an endpoint to the running connector.
    pub fn add_endpoint(&mut self, endpoint: impl Endpoint) {
        self.spawn(Arc::new(endpoint));
    }

    /// Hands over one connection.
    pub async fn connect(&self, connection: NewConnection) -> Result<(), Stopped> {
        self.command(Command::Connection(Box::new(connection))).await
    }

    /// Pays from the connector's own account: `amount` goes to the next hop and shall arrive, in the base unit of the next hop's
    /// account. Ends when the payment does: at `expires_at` and the time rules' grace at the latest.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future doesn't undo the payment.
    pub async fn pay(
        &self,
        destination: &Address,
        amount: Amount,
        condition: Condition,
        expires_at: Timestamp,
    ) -> Result<Fulfillment, PayError> {
        self.pay_with(destination, amount, condition, expires_at, Bytes::new()).await
    }

    /// [`pay`](Self::pay), with data for the receiver (at most 32,767 bytes).
    pub async fn pay_with(
        &self,
        destination: &Address,
        amount: Amount,
        condition: Condition,
        expires_at: Timestamp,
        data: Bytes,
    ) -> Result<Fulfillment, PayError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Pay { destination: destination.clone(), amount, condition, expires_at, data, reply };
        self.command(command).await.map_err(|Stopped| PayError::Stopped)?;
        answer.await.map_err(|_| PayError::Unknown)?.map_err(|reason| refused(&reason))
    }

    /// The time as the connector sees it.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The books, counters and connections at this instant.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Status { reply }).await?;
        let (worker, connections) = answer.await.map_err(|_| Stopped)?;
        Ok(Status { worker, connections, durability: self.shared.store.durability() })
    }

    /// Stops: makes no more connections, holds no new payments, waits until those in flight have ended or `patience` is over, makes
    /// everything durable and closes the connections. What is still in flight stays in the store and is in the report.
    pub async fn stop(mut self, patience: Duration) -> StopReport {
        self.endpoints.shutdown().await;
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now().checked_add(patience).unwrap_or_else(Instant::now);
        let stopped = self.command(Command::Stop { deadline, reply }).await;
        let worker = match stopped {
            Ok(()) => answer.await.ok(),
            Err(Stopped) => None,
        };
        if let Some(driver) = self.driver.take() {
            let _ = driver.await;
        }
        StopReport { drained: worker.as_ref().is_some_and(|worker| worker.in_flight == 0), worker }
    }

    fn spawn(&mut self, endpoint: Arc<dyn Endpoint>) {
        let connections =
            Connections { commands: self.commands.clone(), notices: self.shared.notices.clone(), limits: self.shared.limits.clone() };
        self.endpoints.spawn(async move { endpoint.run(connections).await });
    }

    async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// What goes to the driver.
#[derive(Debug)]
pub(super) enum Command {
    Connection(Box<NewConnection>),
    Pay {
        destination: Address,
        amount: Amount,
        condition: Condition,
        expires_at: Timestamp,
        data: Bytes,
        reply: oneshot::Sender<Result<Fulfillment, Bytes>>,
    },
    AddAccount {
        config: Box<AccountConfig>,
        reply: oneshot::Sender<Result<(), AccountError>>,
    },
    RemoveAccount {
        id: AccountId,
        write_off: bool,
        reply: oneshot::Sender<Result<(), AccountError>>,
    },
    Status {
        reply: oneshot::Sender<StatusReply>,
    },
    Stop {
        deadline: Instant,
        reply: oneshot::Sender<WorkerStatus>,
    },
}

/// The connector has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connector has stopped")]
pub struct Stopped;

/// A payment that didn't succeed, or whose end nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// Somebody refused it; nothing was paid.
    #[error("{code} {name}, by {triggered_by}: {message}")]
    Refused {
        /// IL-RFC 3.
        code: ErrorCode,
        /// The code's name.
        name: String,
        /// Who said so.
        triggered_by: Address,
        /// The error's data, as text.
        message: String,
    },
    /// The worker was thrown away meanwhile: the payment ends as its transfer does, but this call doesn't learn how.
    #[error("the worker restarted while the payment was in flight: its outcome is in the books")]
    Unknown,
    /// The connector has stopped.
    #[error("the connector has stopped")]
    Stopped,
}

fn refused(reason: &[u8]) -> PayError {
    match ErrorPacket::decode(reason) {
        Ok(error) => PayError::Refused {
            code: error.code,
            name: error.name.to_owned(),
            triggered_by: error.triggered_by.to_address(),
            message: String::from_utf8_lossy(error.data).into_owned(),
        },
        Err(_) => PayError::Unknown,
    }
}

/// A connector at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Books and counters.
    pub worker: WorkerStatus,
    /// Open connections.
    pub connections: Vec<ConnectionStatus>,
    /// What the store's durable batches survive.
    pub durability: Durability,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct StopReport {
    /// Nothing was in flight any more.
    pub drained: bool,
    /// The books at the end; `worker.in_flight` transfers are still held or owed and are taken up when the slot is opened again. `None`
    /// if the connector had stopped before.
    pub worker: Option<WorkerStatus>,
}
