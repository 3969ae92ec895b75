//! Opens the slot, runs the driver, and opens the slot again when the worker's state can't be trusted any more.

use super::StartError;
use super::connector::Command;
use super::driver::{Driver, Exit};
use super::{Clock, Notice, Notices};
use crate::account::{AccountConfig, AccountId};
use crate::auth::Authenticator;
use crate::event::NumberedEvent;
use crate::limits::Limits;
use crate::receiver::Receiver;
use crate::store::{BalanceStore, OpenedSlot, SlotName};
use crate::worker::{Worker, WorkerConfig};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What outlives a worker.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) slot: SlotName,
    pub(super) worker: WorkerConfig,
    pub(super) limits: Limits,
    pub(super) store: Arc<dyn BalanceStore>,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) receiver: Option<Arc<dyn Receiver>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) notices: Notices,
    pub(super) events: Option<mpsc::Sender<NumberedEvent>>,
    pub(super) accounts: Mutex<BTreeMap<AccountId, AccountConfig>>,
    pub(super) seeds: Mutex<Seeds>,
}

/// Where a worker's seed comes from: the operating system, or the embedder.
#[derive(Debug)]
pub(super) enum Seeds {
    System,
    /// Used for the first worker; each further one gets the next number.
    Given([u8; 32]),
}

impl Seeds {
    fn next(&mut self) -> Result<[u8; 32], StartError> {
        match self {
            Self::System => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(|error| StartError::Randomness(error.to_string()))?;
                Ok(seed)
            }
            Self::Given(seed) => {
                let given = *seed;
                for byte in seed.iter_mut() {
                    *byte = byte.wrapping_add(1);
                    if *byte != 0 {
                        break;
                    }
                }
                Ok(given)
            }
        }
    }
}

impl Shared {
    pub(super) fn accounts(&self) -> MutexGuard<'_, BTreeMap<AccountId, AccountConfig>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn open(self: &Arc<Self>) -> Result<(Worker, OpenedSlot), StartError> {
        let began = std::time::Instant::now();
        let opened = self.store.open(&self.slot).await?;
        let seed = self.seeds.lock().unwrap_or_else(PoisonError::into_inner).next()?;
        let config = WorkerConfig { seed, ..self.worker.clone() };
        let worker = Worker::open(config, &opened, self.clock.now())?;
        let status = worker.status();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.notices.send(Notice::Opened {
            slot: self.slot.to_string(),
            epoch: opened.epoch,
            batches: count(opened.log.len()),
            bytes: opened.log.iter().map(|blob| count(blob.len())).fold(0, u64::saturating_add),
            in_flight: status.in_flight,
            remembered: status.remembered.saturating_sub(status.in_flight),
            took: began.elapsed(),
        });
        Ok((worker, opened))
    }
}

/// Runs workers one after the other until told to stop.
pub(super) async fn supervise(shared: Arc<Shared>, first: (Worker, OpenedSlot), mut commands: mpsc::Receiver<Command>) {
    let mut opened = Some(first);
    let mut pause = Duration::from_millis(20);
    loop {
        let (worker, slot) = match opened.take() {
            Some(opened) => opened,
            None => match shared.open().await {
                Ok(opened) => opened,
                Err(error) => {
                    shared.notices.send(Notice::Restarted { cause: format!("the slot can't be opened, trying again: {error}") });
                    // Whoever asks meanwhile learns that nobody is there; whoever wants to stop can.
                    let until = Instant::now().checked_add(pause).unwrap_or_else(Instant::now);
                    while let Ok(command) = tokio::time::timeout_at(until, commands.recv()).await {
                        if matches!(command, None | Some(Command::Stop { .. })) {
                            return;
                        }
                    }
                    pause = pause.saturating_mul(2).min(Duration::from_secs(5));
                    continue;
                }
            },
        };
        let mut driver = Driver::new(shared.clone(), worker, &slot);
        driver.add_accounts();
        match driver.run(&mut commands).await {
            Exit::Stopped => return,
            Exit::Poisoned(_) => tokio::time::sleep(pause).await,
        }
    }
}
