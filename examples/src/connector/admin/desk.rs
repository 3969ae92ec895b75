//! Answers requests, with the running connector and its store.

use super::super::report::{AuditReport, BalancesReport, Copied, Explanation, HotSetReport, StatusReport, together};
use super::super::store::{OpenedStore, in_full};
use super::super::watch::Watched;
use super::protocol::{Code, Refused, Request, Settled, answer_line};
use ilp_core::audit::{Audit, AuditError};
use ilp_core::runtime::Connector;
use ilp_core::store::{BalanceStore, SlotName, SlotPicture, StoreError, slot_name};
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
    since: Instant,
    /// For requests that cost time or memory: one at a time.
    heavy: Semaphore,
}

impl Desk {
    /// For this connector, which keeps its books in `store`, seen through `watched`.
    pub(in super::super) fn new(connector: Arc<Connector>, store: OpenedStore, watched: Watched) -> Self {
        Self { connector, store, watched, since: Instant::now(), heavy: Semaphore::new(1) }
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
            Request::Balances {} => to_line(self.balances().await).await,
            Request::HotSet {} => to_line(self.hot_set().await).await,
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
        let mut slots = Vec::new();
        let own: Vec<_> = self.connector.slots().into_iter().map(|slot| (slot, slot_name(slot))).collect();
        let wrong = |error: StoreError| Refused::new(Code::Failed, in_full(&error));
        for entry in self.store.directory().await.map_err(wrong)?.slots {
            // Of slots that other processes have, the books alone are audited.
            let statement = match own.iter().find(|(_, name)| *name == entry.name) {
                Some((slot, _)) => Some(self.connector.statement(*slot).await.map_err(stopped)?),
                None => None,
            };
            let picture = self.store.read(&entry.name).await.map_err(wrong)?;
            let picture = picture.ok_or_else(|| failed(&AuditError::NoSlot(entry.name.to_string())))?;
            slots.push((entry.name, picture, statement));
        }
        let account = account.map(str::to_owned);
        // Reading a log takes a processor for as long as it is long.
        let audit = tokio::task::spawn_blocking(move || audit(slots, account.as_deref()));
        audit.await.map_err(|error| Refused::new(Code::Failed, format!("the audit has broken down: {error}")))?
    }

    async fn balances(&self) -> Result<BalancesReport, Refused> {
        let _alone = self.heavy.try_acquire().map_err(|_| busy())?;
        let pictures = pictures(&self.store).await?;
        let report = tokio::task::spawn_blocking(move || BalancesReport::of(pictures));
        let report = report.await.map_err(|error| Refused::new(Code::Failed, format!("reading has broken down: {error}")))?;
        report.map_err(|error| failed(&error))
    }

    async fn hot_set(&self) -> Result<HotSetReport, Refused> {
        let _alone = self.heavy.try_acquire().map_err(|_| busy())?;
        let pictures = pictures(&self.store).await?;
        let report = tokio::task::spawn_blocking(move || HotSetReport::of(&pictures));
        let report = report.await.map_err(|error| Refused::new(Code::Failed, format!("reading has broken down: {error}")))?;
        report.map_err(|error| failed(&error))
    }

    async fn backup(&self, directory: PathBuf) -> Result<Copied, Refused> {
        let OpenedStore::Embedded(store) = &self.store else {
            return Err(Refused::new(
                Code::Refused,
                "only books in a directory can be copied: those in memory are gone when the connector ends, those on a server are copied there",
            ));
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
    if connector.slots().is_empty() {
        return Err(Refused::new(Code::Refused, "this process has no slot just now: others have them, so settle there"));
    }
    let found =
        accounts.iter().find(|other| other.id.name() == account).ok_or_else(|| no_account(account, accounts.iter().map(|a| &a.id)))?;
    let done = connector.settle(&found.id, amount, &settlement).await.map_err(|error| {
        let code = if matches!(error, SettleError::Stopped) { Code::Unknown } else { Code::Refused };
        Refused::new(code, error.to_string())
    })?;
    let (account, asset) = (account.to_owned(), found.asset.to_string());
    Ok(Settled { account, asset, amount, id: id.to_owned(), balance: done.balance, repeated: done.repeated })
}

/// Every slot of a store, each as it is at some instant.
pub(crate) async fn pictures(store: &dyn BalanceStore) -> Result<Vec<(SlotName, SlotPicture)>, Refused> {
    let wrong = |error: StoreError| Refused::new(Code::Failed, in_full(&error));
    let mut pictures = Vec::new();
    for slot in store.directory().await.map_err(wrong)?.slots {
        if let Some(picture) = store.read(&slot.name).await.map_err(wrong)? {
            pictures.push((slot.name, picture));
        }
    }
    Ok(pictures)
}

/// Audits pictures of slots, each with what its worker says if it runs, and explains an account. Takes as long as the logs are long.
pub(crate) fn audit(slots: Vec<(SlotName, SlotPicture, Option<WorkerStatus>)>, account: Option<&str>) -> Result<AuditReport, Refused> {
    let (mut reports, mut audits, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (slot, picture, statement) in slots {
        if let Some(id) = account.and_then(|name| picture.accounts.iter().map(|(id, _)| id).find(|id| id.name() == name)) {
            last.extend(Audit::last_transfers(&slot, &picture, id).map_err(|error| failed(&error))?);
        }
        let audit = match &statement {
            Some(statement) => Audit::of_running(&slot, picture, statement),
            None => Audit::of_slot(&slot, picture),
        };
        let audit = audit.map_err(|error| failed(&error))?;
        reports.push(AuditReport::from(&audit));
        audits.extend(audit.accounts);
    }
    let mut report = AuditReport::merge(reports).ok_or_else(|| Refused::new(Code::Failed, "there is no slot"))?;
    if let Some(name) = account {
        let found = together(audits.iter().filter(|other| other.id.name() == name));
        let found = found.ok_or_else(|| no_account(name, audits.iter().map(|account| &account.id)))?;
        // The newest first.
        last.sort_by_key(|transfer| std::cmp::Reverse(transfer.at));
        report.account = Some(Explanation::new(&found, &last));
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
