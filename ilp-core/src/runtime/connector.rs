//! The embedder's side of a running connector: pay, settle, watch, audit, stop.

use super::ConnectorBuilder;
use super::connection::ConnectionStatus;
use super::driver::{Driver, StatusReply};
use super::supervisor::{Heir, Opened, Shared, inherit, supervise};
use super::transport::{Connections, Endpoint, NewConnection};
use crate::account::{AccountConfig, AccountId};
use crate::audit::{Audit, AuditError};
use crate::colleagues::slots_for;
use crate::store::{AccountRow, AccountSetup, Directory, Durability, SlotNo, StoreError, slot_name};
use crate::worker::{AccountError, SettleError, Settlement, SettlementId, TransferStatus, WorkerStatus};
use bytes::Bytes;
use ilp_oer::ilp::ErrorPacket;
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many transfers a stop lists by themselves.
pub(super) const LISTED_MAX: usize = 1_000;

/// How many commands may wait for the driver.
const COMMANDS_MAX: usize = 256;

/// A running connector. Dropping it stops it without draining; [`stop`](Self::stop) is the graceful way.
#[derive(Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    /// By slot.
    workers: BTreeMap<SlotNo, mpsc::Sender<Command>>,
    drivers: JoinSet<()>,
    endpoints: JoinSet<()>,
    /// The way to other processes: needed for as long as a worker is there.
    others: JoinSet<()>,
}

impl Connector {
    pub(super) fn run(shared: Arc<Shared>, opened: Vec<(SlotNo, Option<Opened>)>) -> Self {
        let (mut workers, mut drivers, mut others) = (BTreeMap::new(), JoinSet::new(), JoinSet::new());
        for (slot, opened) in opened {
            let (commands, received) = mpsc::channel(COMMANDS_MAX);
            shared.hub.employ(slot, commands.clone());
            shared.hub.set_away(slot, opened.is_none());
            workers.insert(slot, commands);
            // In the hub from here on, whenever its task begins: connections are dealt to the right one from the first.
            let first = opened.map(|opened| Driver::new(shared.clone(), opened));
            drivers.spawn(supervise(shared.clone(), slot, first, received));
        }
        if let Some(colleagues) = shared.hub.others() {
            let inbox = shared.hub.inbox(shared.notices.clone());
            others.spawn(async move { colleagues.run(inbox).await });
        }
        Self { shared, workers, drivers, endpoints: JoinSet::new(), others }
    }

    /// Takes slots over that others should have, or that are nobody's, when nobody has them any more.
    pub(super) fn inherit(&mut self, slots: &[SlotNo], heir: Heir) {
        let mut heirs = BTreeMap::new();
        for slot in slots {
            let (commands, received) = mpsc::channel(COMMANDS_MAX);
            self.shared.hub.employ(*slot, commands.clone());
            self.shared.hub.set_away(*slot, true);
            self.workers.insert(*slot, commands);
            heirs.insert(*slot, received);
        }
        self.drivers.spawn(inherit(self.shared.clone(), heirs, heir));
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
    ///
    /// A credit limit that is lowered holds at once for what is drawn from then on; this returns when nothing is hot any more that was drawn
    /// under the old one.
    ///
    /// # Errors
    ///
    /// [`AccountError`]; the account is as it was before, but for its credit limit in the store.
    pub async fn add_account(&self, config: AccountConfig) -> Result<(), AccountError> {
        let id = config.id.clone();
        // One that is configured was looked for before.
        if !self.shared.accounts().contains_key(&id) {
            let directory = self.shared.store.directory().await.map_err(|error| AccountError::Store(error.to_string()))?;
            unused_name(&id, &directory)?;
        }
        self.set_up_account(config).await
    }

    /// Adds an account whose name is known to be nobody else's.
    pub(super) async fn set_up_account(&self, config: AccountConfig) -> Result<(), AccountError> {
        let id = config.id.clone();
        let setup = AccountSetup {
            id: id.clone(),
            slots: slots_for(&id, &self.shared.slots),
            key: self.shared.seed().map_err(|error| AccountError::Store(error.to_string()))?.first_chunk().copied().unwrap_or_default(),
            credit_limit: config.credit_limit,
        };
        let row = self.shared.store.set_up(&setup).await.map_err(|error| AccountError::Store(error.to_string()))?;
        // First of all here: a worker that is opened meanwhile either finds it, or is told.
        let before = self.shared.accounts().insert(id.clone(), (config.clone(), row.clone()));
        let told = self.tell_workers(&config, &row).await;
        match (&told, before) {
            (Ok(()), _) => self.shared.hub.set_account(&id, &row.slots),
            (Err(_), Some(before)) => drop(self.shared.accounts().insert(id, before)),
            (Err(_), None) => drop(self.shared.accounts().remove(&id)),
        }
        told
    }

    async fn tell_workers(&self, config: &AccountConfig, row: &AccountRow) -> Result<(), AccountError> {
        let mut answers = Vec::new();
        for (slot, worker) in &self.workers {
            // Whoever isn't open learns of it when it is opened.
            if self.shared.hub.commands(*slot).is_some() {
                let (reply, answer) = oneshot::channel();
                let command = Command::AddAccount { config: Box::new(config.clone()), row: Box::new(row.clone()), reply };
                worker.send(command).await.map_err(|_| AccountError::Stopped)?;
                answers.push(answer);
            }
        }
        for answer in answers {
            answer.await.unwrap_or(Err(AccountError::Stopped))?;
        }
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
        let command = Command::RemoveAccount { id: id.clone(), write_off, reply };
        self.home_of(id).await?.send(command).await.map_err(|_| AccountError::Stopped)?;
        answer.await.unwrap_or(Err(AccountError::Stopped))?;
        self.shared.accounts().remove(id);
        self.shared.hub.remove_account(id);
        Ok(())
    }

    /// The worker that settles and closes an account.
    async fn home_of(&self, id: &AccountId) -> Result<&mpsc::Sender<Command>, AccountError> {
        let mut home = self.shared.accounts().get(id).and_then(|(_, row)| row.slots.first().copied());
        if home.is_none() {
            // It isn't configured, but may have books.
            let directory = self.shared.store.directory().await.map_err(|error| AccountError::Store(error.to_string()))?;
            home = directory.accounts.iter().find(|(other, _)| other == id).and_then(|(_, row)| row.slots.first().copied());
        }
        let home = home.ok_or_else(|| AccountError::Unknown(id.clone()))?;
        // A slot that is waited for is somebody else's.
        let ours = self.workers.get(&home).filter(|_| self.shared.hub.commands(home).is_some());
        ours.ok_or_else(|| AccountError::Elsewhere { id: id.clone(), slot: slot_name(home).to_string() })
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
        let home = self.home_of(account).await.map_err(|error| match error {
            AccountError::Elsewhere { id, slot } => SettleError::Elsewhere { account: id, slot },
            _ => SettleError::Unknown(account.clone()),
        })?;
        home.send(command).await.map_err(|_| SettleError::Stopped)?;
        let mut settlement = answer.await.unwrap_or(Err(SettleError::Stopped))?;
        if self.workers.len() > 1 {
            // The home knows its own part only.
            let status = self.status().await.map_err(|Stopped| SettleError::Stopped)?;
            let whole = status.worker.accounts.iter().find(|other| other.id == *account).map(|other| other.balance);
            settlement.balance = whole.unwrap_or(settlement.balance);
        }
        Ok(settlement)
    }

    /// Says that the embedder has made use of all events of a slot up to this number, durably if it has to be: they won't be told again, once
    /// this is recorded with the slot's next change of the books. Numbers that were acknowledged before, or that no event has yet, change
    /// nothing.
    pub async fn acknowledge_events(&self, slot: SlotNo, through: u64) -> Result<(), Stopped> {
        match self.workers.get(&slot) {
            Some(worker) => worker.send(Command::AcknowledgeEvents { through }).await.map_err(|_| Stopped),
            None => Ok(()),
        }
    }

    /// The slots that this connector has open, or is just opening.
    pub fn slots(&self) -> Vec<SlotNo> {
        self.workers.keys().copied().filter(|slot| self.shared.hub.commands(*slot).is_some()).collect()
    }

    /// Audits the books while the connector runs, one slot after the other: what each worker says of itself is compared with what its log
    /// says, and with the accounts' rows, to the unit. Reads the slots' whole logs.
    pub async fn audit(&self) -> Result<Vec<Audit>, AuditError> {
        let mut audits = Vec::with_capacity(self.workers.len());
        for slot in self.slots() {
            let statement = self.statement(slot).await.map_err(|Stopped| AuditError::Stopped)?;
            let name = slot_name(slot);
            let picture = self.shared.store.read(&name).await?.ok_or_else(|| AuditError::NoSlot(name.to_string()))?;
            audits.push(Audit::of_running(&name, picture, &statement)?);
        }
        Ok(audits)
    }

    /// What the worker of a slot says of itself, once all of it is durable: what [`Audit::of_running`] compares with a picture of the slot that
    /// is taken afterwards. For those who make the audit elsewhere, because it costs time: a thread of its own, say.
    pub async fn statement(&self, slot: SlotNo) -> Result<WorkerStatus, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.shared.hub.commands(slot).ok_or(Stopped)?.send(Command::State { reply }).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// All slots and accounts of the store, as they are at this instant.
    pub async fn directory(&self) -> Result<Directory, StoreError> {
        self.shared.store.directory().await
    }

    /// Adds an endpoint to the running connector.
    pub fn add_endpoint(&mut self, endpoint: impl Endpoint) {
        self.spawn(Arc::new(endpoint));
    }

    /// Hands over one connection.
    pub async fn connect(&self, connection: NewConnection) -> Result<(), Stopped> {
        match self.connections().offer(connection).await {
            true => Ok(()),
            false => Err(Stopped),
        }
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
        let worker = self.shared.hub.any().ok_or(PayError::Stopped)?;
        worker.send(command).await.map_err(|_| PayError::Stopped)?;
        answer.await.map_err(|_| PayError::Unknown)?.map_err(|reason| refused(&reason))
    }

    /// The time as the connector sees it.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The books, counters and connections at this instant.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (mut answers, none) = (Vec::new(), self.slots().is_empty());
        for (slot, worker) in &self.workers {
            if self.shared.hub.commands(*slot).is_some() {
                let (reply, answer) = oneshot::channel();
                worker.send(Command::Status { reply }).await.map_err(|_| Stopped)?;
                answers.push((*slot, answer));
            }
        }
        let (mut workers, mut connections) = (Vec::new(), Vec::new());
        for (slot, answer) in answers {
            // One that was thrown away just now is opened again, and is there the next time.
            let Ok((worker, mut of_worker)) = answer.await else { continue };
            workers.push((slot, worker));
            connections.append(&mut of_worker);
        }
        let sum = WorkerStatus::sum(workers.iter().map(|(_, worker)| worker));
        let worker = sum.or_else(|| none.then(|| WorkerStatus::empty(self.address().clone()))).ok_or(Stopped)?;
        Ok(Status { worker, workers, connections, durability: self.shared.store.durability() })
    }

    /// Stops: makes no more connections, holds no new payments, waits until those in flight have ended or `patience` is over, makes
    /// everything durable and closes the connections. What is still in flight stays in the store and is in the report.
    pub async fn stop(mut self, patience: Duration) -> StopReport {
        self.endpoints.shutdown().await;
        self.shared.hub.close();
        let deadline = Instant::now().checked_add(patience).unwrap_or_else(Instant::now);
        let mut answers = Vec::new();
        let none = self.slots().is_empty();
        let mut report = StopReport { drained: true, worker: None, in_flight: Vec::new() };
        // Slots that are only waited for have nothing to drain.
        for worker in self.workers.keys().filter_map(|slot| self.shared.hub.commands(*slot)) {
            let (reply, answer) = oneshot::channel();
            match worker.send(Command::Stop { deadline, reply }).await {
                Ok(()) => answers.push(answer),
                Err(_) => report.drained = false,
            }
        }
        let mut workers = Vec::new();
        for answer in answers {
            match answer.await {
                Ok(Stopping { drained, worker, mut in_flight }) => {
                    report.drained &= drained;
                    workers.push(worker);
                    report.in_flight.append(&mut in_flight);
                }
                Err(_) => report.drained = false,
            }
        }
        self.workers.clear();
        self.shared.hub.dismiss();
        while self.drivers.join_next().await.is_some() {}
        self.others.shutdown().await;
        let sum = WorkerStatus::sum(workers.iter());
        report.worker = sum.or_else(|| none.then(|| WorkerStatus::empty(self.address().clone())));
        report.in_flight.sort_unstable_by_key(|transfer| (transfer.incoming_expires_at, transfer.id));
        report.in_flight.truncate(LISTED_MAX);
        report
    }

    pub(super) fn spawn(&mut self, endpoint: Arc<dyn Endpoint>) {
        let connections = self.connections();
        self.endpoints.spawn(async move { endpoint.run(connections).await });
    }

    fn connections(&self) -> Connections {
        Connections { hub: self.shared.hub.clone(), notices: self.shared.notices.clone(), limits: self.shared.limits.clone() }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.shared.hub.close();
        self.drivers.abort_all();
    }
}

/// An account's name must be nobody else's, in any slot's books: otherwise what is set up in the store couldn't be taken back.
pub(super) fn unused_name(id: &AccountId, directory: &Directory) -> Result<(), AccountError> {
    let other = directory.accounts.iter().find(|(other, row)| other.name() == id.name() && other != id && !row.closed);
    match other {
        Some((existing, _)) => Err(AccountError::OtherParallelism { id: id.clone(), existing: existing.clone() }),
        None => Ok(()),
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
        row: Box<AccountRow>,
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
    /// Books and counters, of all workers together.
    pub worker: WorkerStatus,
    /// Of each worker, by slot.
    pub workers: Vec<(SlotNo, WorkerStatus)>,
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
