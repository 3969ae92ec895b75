//! Answers requests, with the running connector and its store.

use super::super::report::{AuditReport, Copied, Explanation, StatusReport};
use super::super::store::{OpenedStore, in_full};
use super::super::watch::Watched;
use super::protocol::{Code, Refused, Request, Settled, answer_line};
use ilp_core::audit::{Audit, AuditError};
use ilp_core::runtime::Connector;
use ilp_core::store::{BalanceStore, SlotName, SlotPicture};
use ilp_core::worker::WorkerStatus;
use ilp_core::{AccountId, SettleError, SettlementId};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// What the running connector answers with.
#[derive(Debug)]
pub(crate) struct Desk {
    connector: Arc<Connector>,
    store: OpenedStore,
    watched: Watched,
    slot: SlotName,
    since: Instant,
    /// For requests that cost time or memory: one at a time.
    heavy: Semaphore,
}

impl Desk {
    /// For this connector, which keeps the books of `slot` in `store`, seen through `watched`.
    pub(crate) fn new(connector: Arc<Connector>, store: OpenedStore, watched: Watched, slot: &str) -> Self {
        Self { connector, store, watched, slot: slot.into(), since: Instant::now(), heavy: Semaphore::new(1) }
    }

    /// The answer's line to a request.
    pub(super) async fn answer(&self, request: Result<Request, Refused>) -> Vec<u8> {
        let request = match request {
            Ok(request) => request,
            Err(refused) => return to_line(Err::<(), _>(refused)).await,
        };
        match request {
            Request::Status {} => to_line(self.status().await).await,
            Request::Settle { account, amount, id } => to_line(self.settle(&account, amount, &id).await).await,
            Request::Audit { account } => to_line(self.audit(account.as_deref()).await).await,
            Request::Backup { directory } => to_line(self.backup(directory).await).await,
        }
    }

    async fn status(&self) -> Result<StatusReport, Refused> {
        let status = self.connector.status().await.map_err(stopped)?;
        Ok(StatusReport::new(&status, self.store.metrics(), self.watched.undecided(), self.since.elapsed()))
    }

    async fn settle(&self, account: &str, amount: i128, id: &str) -> Result<Settled, Refused> {
        settle(&self.connector, account, amount, id).await
    }

    async fn audit(&self, account: Option<&str>) -> Result<AuditReport, Refused> {
        let _alone = self.heavy.try_acquire().map_err(|_| busy())?;
        let statement = self.connector.statement().await.map_err(stopped)?;
        let picture = self.store.read(&self.slot).await.map_err(|error| Refused::new(Code::Failed, in_full(&error)))?;
        let picture = picture.ok_or_else(|| failed(&AuditError::NoSlot(self.slot.to_string())))?;
        let (slot, account) = (self.slot.clone(), account.map(str::to_owned));
        // Reading a log takes a processor for as long as it is long.
        let audit = tokio::task::spawn_blocking(move || audit(&slot, picture, Some(&statement), account.as_deref()));
        audit.await.map_err(|error| Refused::new(Code::Failed, format!("the audit has broken down: {error}")))?
    }

    async fn backup(&self, directory: PathBuf) -> Result<Copied, Refused> {
        let OpenedStore::Embedded(store) = &self.store else {
            return Err(Refused::new(Code::Refused, "books in memory can't be copied: they are gone when the connector ends"));
        };
        if !directory.is_absolute() {
            let why = format!("{} isn't absolute: the connector may be in another directory than you", directory.display());
            return Err(Refused::new(Code::BadRequest, why));
        }
        let _alone = self.heavy.try_acquire().map_err(|_| busy())?;
        let copied = store.backup(&directory).await.map_err(|error| Refused::new(Code::Failed, in_full(&error)))?;
        Ok(Copied::new(&directory, &copied))
    }
}

/// Settles with an account that is known by its name.
pub(crate) async fn settle(connector: &Connector, account: &str, amount: i128, id: &str) -> Result<Settled, Refused> {
    let settlement: SettlementId = id.parse().map_err(|error| Refused::new(Code::Refused, format!("id {id:?}: {error}")))?;
    let status = connector.status().await.map_err(stopped)?;
    let accounts = &status.worker.accounts;
    let found =
        accounts.iter().find(|other| other.id.name() == account).ok_or_else(|| no_account(account, accounts.iter().map(|a| &a.id)))?;
    let done = connector.settle(&found.id, amount, &settlement).await.map_err(|error| {
        let code = if matches!(error, SettleError::Stopped) { Code::Unknown } else { Code::Refused };
        Refused::new(code, error.to_string())
    })?;
    let (account, asset) = (account.to_owned(), found.asset.to_string());
    Ok(Settled { account, asset, amount, id: id.to_owned(), balance: done.balance, repeated: done.repeated })
}

/// Audits a picture of a slot, and explains an account of it. Takes as long as the log is long.
pub(crate) fn audit(
    slot: &str,
    picture: SlotPicture,
    statement: Option<&WorkerStatus>,
    account: Option<&str>,
) -> Result<AuditReport, Refused> {
    let copy = account.map(|_| picture.clone());
    let audit = match statement {
        Some(statement) => Audit::of_running(slot, picture, statement),
        None => Audit::of_slot(slot, picture),
    };
    let audit = audit.map_err(|error| failed(&error))?;
    let mut report = AuditReport::from(&audit);
    if let (Some(name), Some(picture)) = (account, copy) {
        let found = audit.accounts.iter().find(|other| other.id.name() == name);
        let found = found.ok_or_else(|| no_account(name, audit.accounts.iter().map(|account| &account.id)))?;
        let last = Audit::last_transfers(slot, &picture, &found.id).map_err(|error| failed(&error))?;
        report.account = Some(Explanation::new(found, &last));
    }
    Ok(report)
}

/// A long status is many bytes of text.
async fn to_line<T: Serialize + Send + 'static>(answer: Result<T, Refused>) -> Vec<u8> {
    let line = tokio::task::spawn_blocking(move || answer_line(&answer)).await;
    line.ok().and_then(Result::ok).unwrap_or_default()
}

fn no_account<'a>(name: &str, others: impl Iterator<Item = &'a AccountId>) -> Refused {
    let mut names: Vec<&str> = others.take(20).map(AccountId::name).collect();
    names.sort_unstable();
    let there = if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
    Refused::new(Code::Refused, format!("the books have no account {name:?}; {there}"))
}

fn stopped(_: ilp_core::runtime::Stopped) -> Refused {
    Refused::new(Code::Failed, "the connector has stopped")
}

fn failed(error: &AuditError) -> Refused {
    Refused::new(Code::Failed, in_full(error))
}

fn busy() -> Refused {
    Refused::new(Code::Busy, "another audit or backup is at work: ask again when it is done")
}
