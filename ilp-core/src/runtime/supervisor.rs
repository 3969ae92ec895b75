//! Opens a slot, runs its driver, and opens the slot again when the worker's state can't be trusted any more.

use super::StartError;
use super::connector::Command;
use super::driver::{Driver, Exit};
use super::hub::Hub;
use super::{Clock, Notice, Notices};
use crate::account::{AccountConfig, AccountId};
use crate::auth::Authenticator;
use crate::event::NumberedEvent;
use crate::limits::Limits;
use crate::receiver::Receiver;
use crate::store::{AccountRow, BalanceStore, Lease, OpenedSlot, SlotNo, slot_name};
use crate::worker::{Worker, WorkerConfig};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often slots of others are looked at: four times a lease, within this.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(2);

const HELD: &str = "somebody else has it";

/// What outlives a worker.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) worker: WorkerConfig,
    pub(super) limits: Limits,
    pub(super) store: Arc<dyn BalanceStore>,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) receiver: Option<Arc<dyn Receiver>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) notices: Notices,
    pub(super) events: Option<mpsc::Sender<NumberedEvent>>,
    pub(super) accounts: Mutex<BTreeMap<AccountId, (AccountConfig, AccountRow)>>,
    pub(super) seeds: Mutex<Seeds>,
    /// Every slot that new accounts are served by, in this process or another.
    pub(super) slots: Vec<SlotNo>,
    pub(super) lease: Lease,
    pub(super) hub: Arc<Hub>,
}

/// A worker that was just opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) slot: SlotNo,
    pub(super) worker: Worker,
    pub(super) found: OpenedSlot,
    /// Until when the slot is ours.
    pub(super) lease_until: Instant,
}

/// Where a worker's seed comes from: the operating system, or the embedder.
#[derive(Debug)]
pub(super) enum Seeds {
    System,
    /// Used for the first worker; each further one gets the next number.
    Given([u8; 32]),
}

impl Seeds {
    pub(super) fn next(&mut self) -> Result<[u8; 32], StartError> {
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
    pub(super) fn accounts(&self) -> MutexGuard<'_, BTreeMap<AccountId, (AccountConfig, AccountRow)>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seed(&self) -> Result<[u8; 32], StartError> {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    pub(super) async fn open(&self, slot: SlotNo) -> Result<Opened, StartError> {
        let began = Instant::now();
        let name = slot_name(slot);
        let found = self.store.open(&name, &self.lease).await?;
        self.refresh_rows().await?;
        let lease_until = began.checked_add(self.lease_time()).unwrap_or(began);
        let config = WorkerConfig { seed: self.seed()?, slot, ..self.worker.clone() };
        let worker = Worker::open(config, &found, self.clock.now())?;
        let status = worker.status();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.notices.send(Notice::Opened {
            slot: name.to_string(),
            epoch: found.epoch,
            batches: count(found.log.len()),
            bytes: found.log.iter().map(|blob| count(blob.len())).fold(0, u64::saturating_add),
            in_flight: status.in_flight,
            remembered: status.remembered.saturating_sub(status.in_flight),
            took: began.elapsed(),
        });
        Ok(Opened { slot, worker, found, lease_until })
    }

    pub(super) fn lease_time(&self) -> Duration {
        Duration::from_millis(self.lease.ms.into())
    }

    /// What was known of accounts may be old when a slot is opened again.
    async fn refresh_rows(&self) -> Result<(), StartError> {
        if self.accounts().is_empty() {
            return Ok(());
        }
        let rows = self.store.directory().await?.accounts;
        let mut accounts = self.accounts();
        for (id, row) in rows {
            if let Some((_, known)) = accounts.get_mut(&id) {
                *known = row;
            }
        }
        Ok(())
    }
}

/// For which slots, and how, somebody waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heir {
    /// Slots that others should have. Those that were given up, or that nobody ever had, are taken after so long.
    OfOthers(Duration),
    /// Slots that nobody should have any more.
    OfNobody,
}

/// Takes over slots that others have, once nobody has one any more: at once if its lease was seen and has run out, and after a while if it
/// was given up or nobody ever had it, since whoever should have it may be starting. Runs them from then on.
pub(super) async fn inherit(shared: Arc<Shared>, mut slots: BTreeMap<SlotNo, mpsc::Receiver<Command>>, heir: Heir) {
    let patience = match heir {
        Heir::OfOthers(patience) => patience,
        Heir::OfNobody => shared.lease_time(),
    };
    let mut running = JoinSet::new();
    let mut leases: BTreeMap<SlotNo, Instant> = BTreeMap::new();
    let mut vacant: BTreeMap<SlotNo, Instant> = BTreeMap::new();
    let look = shared.lease_time().checked_div(4).unwrap_or_default().clamp(LOOK_MIN, LOOK_MAX);
    while !slots.is_empty() && tokio::time::timeout(look, shared.hub.closed()).await.is_err() {
        // Who asks a slot that isn't here learns that at once.
        slots.values_mut().for_each(|commands| while commands.try_recv().is_ok() {});
        // A store in trouble is asked again.
        let Ok(directory) = shared.store.directory().await else { continue };
        let now = Instant::now();
        let lease_of = |slot: SlotNo| directory.slots.iter().find(|entry| entry.name == slot_name(slot))?.lease.as_ref();
        for slot in slots.keys().copied().collect::<Vec<_>>() {
            if let Some(lease) = lease_of(slot) {
                vacant.remove(&slot);
                leases.insert(slot, now.checked_add(Duration::from_millis(lease.ms.into())).unwrap_or(now));
                continue;
            }
            let since = *vacant.entry(slot).or_insert(now);
            if leases.get(&slot).is_some_and(|until| *until > now) {
                // It ended before its time: it was given up.
                leases.remove(&slot);
            }
            let ran_out = leases.get(&slot).is_some_and(|until| *until <= now);
            if !ran_out && now.saturating_duration_since(since) < patience {
                continue;
            }
            match shared.open(slot).await {
                Ok(opened) => {
                    let Some(commands) = slots.remove(&slot) else { continue };
                    let name = slot_name(slot).to_string();
                    shared.notices.send(match heir {
                        Heir::OfOthers(_) => Notice::TakenOver { slot: name },
                        Heir::OfNobody => Notice::Adopted { slot: name },
                    });
                    let first = Some(Driver::new(shared.clone(), opened));
                    running.spawn(supervise(shared.clone(), slot, first, commands));
                }
                // Somebody else was faster, or it can't be opened now: looked at again.
                Err(_) => drop(vacant.remove(&slot)),
            }
        }
    }
    while running.join_next().await.is_some() {}
}

/// Waits for a while. Whoever asks meanwhile learns that nobody is there; `false` for whoever wants to stop.
async fn waits(commands: &mut mpsc::Receiver<Command>, time: Duration) -> bool {
    let until = Instant::now().checked_add(time).unwrap_or_else(Instant::now);
    while let Ok(command) = tokio::time::timeout_at(until, commands.recv()).await {
        if matches!(command, None | Some(Command::Stop { .. })) {
            return false;
        }
    }
    true
}

/// Runs workers of a slot one after the other until told to stop.
pub(super) async fn supervise(shared: Arc<Shared>, slot: SlotNo, mut first: Option<Driver>, mut commands: mpsc::Receiver<Command>) {
    let mut pause = Duration::from_millis(20);
    // Who starts without the slot has said so.
    let mut told = if first.is_some() { String::new() } else { HELD.to_owned() };
    loop {
        let mut driver = match first.take() {
            Some(driver) => driver,
            None => match shared.open(slot).await {
                Ok(opened) => Driver::new(shared.clone(), opened),
                Err(error) => {
                    shared.hub.set_away(slot, true);
                    let held = matches!(&error, StartError::Store(error) if error.held_by.is_some());
                    let cause = if held { HELD.to_owned() } else { error.to_string() };
                    if told != cause {
                        told.clone_from(&cause);
                        let slot = slot_name(slot).to_string();
                        shared.notices.send(match held {
                            true => Notice::Standby { slot },
                            false => Notice::Restarted { slot, cause: format!("the slot can't be opened, trying again: {cause}") },
                        });
                    }
                    if !waits(&mut commands, pause).await {
                        return;
                    }
                    let most = if held { Duration::from_millis(500) } else { Duration::from_secs(5) };
                    pause = pause.saturating_mul(2).min(most);
                    continue;
                }
            },
        };
        told.clear();
        pause = Duration::from_millis(20);
        driver.add_accounts();
        match driver.run(&mut commands).await {
            Exit::Stopped => return,
            Exit::Poisoned(_) => {
                drop(driver);
                // The stop that it was told to make went with it; nobody will tell the next one.
                if shared.hub.is_closed() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}
