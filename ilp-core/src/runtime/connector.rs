//! The embedder's side of a running connector: pay, settle, watch, audit, stop.

use super::ConnectorBuilder;
use super::connection::ConnectionStatus;
use super::driver::StatusReply;
use super::supervisor::{Shared, supervise};
use super::transport::{Connections, Endpoint, NewConnection};
use crate::account::{AccountConfig, AccountId};
use crate::audit::{Audit, AuditError};
use crate::store::{Durability, OpenedSlot};
use crate::worker::{AccountError, SettleError, Settlement, SettlementId, TransferStatus, Worker, WorkerStatus};
use bytes::Bytes;
use ilp_oer::ilp::ErrorPacket;
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many commands may wait for the driver.
const COMMANDS_MAX: usize = 256;

/// A running connector. Dropping it stops it without draining; [`stop`](Self::stop) is the graceful way.
#[derive(Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    driver: Option<tokio::task::JoinHandle<()>>,
    endpoints: JoinSet<()>,
}

impl Connector {
    pub(super) fn run(shared: Arc<Shared>, opened: (Worker, OpenedSlot)) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let driver = tokio::spawn(supervise(shared.clone(), opened, received));
        Self { shared, commands, driver: Some(driver), endpoints: JoinSet::new() }
    }

    /// Starts putting a connector together. `address` is its ILP address, such as `test.ann`.
    pub fn builder(address: &str) -> ConnectorBuilder {
        ConnectorBuilder::new(address)
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

    /// Books what was settled with an account's holder outside of the connector: `amount`, in the account's base unit, is added to what the
    /// connector owes the holder. Positive if they have paid us, negative if we have paid them. It is durable when this returns.
    ///
    /// An account's settlements are known by their ids for ever, so this can be called again with the same id and amount any number of
    /// times: it counts once. The credit limit doesn't hold for settlements, since what has happened has happened.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the settlement may be in the books or not: settle again with the same id.
    pub async fn settle(&self, account: &AccountId, amount: i128, id: &SettlementId) -> Result<Settlement, SettleError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Settle { account: account.clone(), amount, id: id.clone(), reply };
        self.command(command).await.map_err(|Stopped| SettleError::Stopped)?;
        answer.await.unwrap_or(Err(SettleError::Stopped))
    }

    /// Says that the embedder has made use of all events up to this number, durably if it has to be: they won't be told again, once this is
    /// recorded with the next change of the books. Numbers that were acknowledged before, or that no event has yet, change nothing.
    pub async fn acknowledge_events(&self, through: u64) -> Result<(), Stopped> {
        self.command(Command::AcknowledgeEvents { through }).await
    }

    /// Audits the books while the connector runs: what the worker says of itself is compared with what its log says, to the unit. Reads the
    /// slot's whole log.
    pub async fn audit(&self) -> Result<Audit, AuditError> {
        let statement = self.statement().await.map_err(|Stopped| AuditError::Stopped)?;
        let picture = self.shared.store.read(&self.shared.slot).await?.ok_or_else(|| AuditError::NoSlot(self.shared.slot.to_string()))?;
        Audit::of_running(&self.shared.slot, picture, &statement)
    }

    /// What the worker says of itself, once all of it is durable: what [`Audit::of_running`] compares with a picture of the slot that is taken
    /// afterwards. For those who make the audit elsewhere, because it costs time: a thread of its own, say.
    pub async fn statement(&self) -> Result<WorkerStatus, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::State { reply }).await?;
        answer.await.map_err(|_| Stopped)
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
        match worker {
            Some(Stopping { drained, worker, in_flight }) => StopReport { drained, worker: Some(worker), in_flight },
            None => StopReport { drained: false, worker: None, in_flight: Vec::new() },
        }
    }

    pub(super) fn spawn(&mut self, endpoint: Arc<dyn Endpoint>) {
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
    Settle {
        account: AccountId,
        amount: i128,
        id: SettlementId,
        reply: oneshot::Sender<Result<Settlement, SettleError>>,
    },
    AcknowledgeEvents {
        through: u64,
    },
    State {
        reply: oneshot::Sender<WorkerStatus>,
    },
    Status {
        reply: oneshot::Sender<StatusReply>,
    },
    Stop {
        deadline: Instant,
        reply: oneshot::Sender<Stopping>,
    },
}

/// How the driver leaves things.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) drained: bool,
    pub(super) worker: WorkerStatus,
    pub(super) in_flight: Vec<TransferStatus>,
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
    /// Nothing was in flight any more, and everything is durable. A store that is in trouble when the time to wait is over leaves it false: what
    /// it hasn't taken was told to nobody, and is lost to nobody.
    pub drained: bool,
    /// The books at the end; `worker.in_flight` transfers are still held or owed and are taken up when the slot is opened again. `None`
    /// if the connector had stopped before.
    pub worker: Option<WorkerStatus>,
    /// What is still held or owed, those that expire first first; at most a thousand of `worker.in_flight`.
    pub in_flight: Vec<TransferStatus>,
}
