//! Where the workers of one process meet: their rings, and who deals connections to them.

use super::connector::Command;
use super::transport::NewConnection;
use super::{Notice, Notices};
use crate::account::AccountId;
use crate::colleagues::Relay;
use crate::store::SlotNo;
use async_trait::async_trait;
use futures::task::AtomicWaker;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A way to workers in other processes.
///
/// # Contract
///
/// What is handed over arrives once or not at all, and what arrives is in order. A worker that was opened anew under another epoch gets
/// nothing that was meant for its predecessor.
///
/// A worker elsewhere is known here by its slot and a number, which it has for as long as nothing that was said to it or by it can have been
/// lost, but for what [`send`](Self::send) couldn't hand over: after that, and when its epoch is another one, it gets a number that the slot
/// never had. Both sides then tell each other anew which connections they have. Numbers are taken for equal or not, and for nothing else.
/// Epochs will do where they are all that can change; a number of another making is at least 2<sup>63</sup>, where no epoch is.
#[async_trait]
pub trait Colleagues: Debug + Send + Sync + 'static {
    /// The slots that can be reached, each with its worker's number.
    fn open(&self) -> Vec<(SlotNo, u64)>;
    /// Hands messages over: from a worker of this process, under its epoch, to one of another, under its number. `false` if any of them
    /// can't be.
    fn send(&self, from: (SlotNo, u64), to: (SlotNo, u64), relays: Vec<Relay>) -> bool;
    /// Runs for as long as any worker of the connector does; brings what comes in to `inbox`. Nobody can be reached any more when its future
    /// is dropped.
    async fn run(&self, inbox: Inbox);
}

/// Where messages from other processes come in.
#[derive(Debug, Clone)]
pub struct Inbox {
    hub: Arc<Hub>,
    notices: Notices,
    present: watch::Receiver<()>,
}

impl Inbox {
    /// From a worker elsewhere, under its number, for one of this process, under its epoch. Dropped if that isn't there, or not under this
    /// epoch any more.
    pub fn deliver(&self, from: (SlotNo, u64), to: (SlotNo, u64), relays: Vec<Relay>) {
        self.hub.deliver(from, to, relays);
    }

    /// Ready when the workers of this process aren't behind with what was delivered. To be awaited before more is read.
    pub async fn room(&self) {
        while self.hub.is_crowded() {
            tokio::time::sleep(CROWDED_AGAIN).await;
        }
    }

    /// The set of slots that can be reached has changed.
    pub fn changed(&self) {
        self.hub.change();
    }

    /// The workers of this process, each with its epoch.
    pub fn here(&self) -> Vec<(SlotNo, u64)> {
        self.hub.here()
    }

    /// Ready when [`here`](Self::here) may have changed since the last call.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, no change is missed by the next call.
    pub async fn moved(&mut self) {
        if self.present.changed().await.is_err() {
            // The hub is in `self`, so this can't be.
            std::future::pending::<()>().await;
        }
    }

    /// Tells the operator something, as the connector itself does.
    pub fn notice(&self, notice: Notice) {
        self.notices.send(notice);
    }
}

/// The workers of one process.
#[derive(Debug, Default)]
pub(super) struct Hub {
    members: Mutex<BTreeMap<SlotNo, Member>>,
    /// Where the workers of this process take commands, whether they are open just now or not.
    commands: Mutex<BTreeMap<SlotNo, Desk>>,
    /// Rises when somebody comes or goes.
    generation: AtomicU64,
    /// Told when one of this process does.
    present: watch::Sender<()>,
    others: Option<Arc<dyn Colleagues>>,
    /// Which of its slots an account's last connection went to, and which slots serve it.
    dealt: Mutex<HashMap<AccountId, Dealt>>,
    turn: AtomicU64,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Dealt {
    slots: Vec<SlotNo>,
    next: usize,
    /// Workers that have connections of it, each with how many.
    connected: BTreeMap<SlotNo, usize>,
}

#[derive(Debug)]
struct Member {
    epoch: u64,
    ring: Arc<Ring>,
}

#[derive(Debug)]
struct Desk {
    commands: mpsc::Sender<Command>,
    /// The slot is somebody else's, or can't be opened: nobody will take commands soon.
    away: bool,
}

/// What waits for a worker: all of it is taken once a turn.
#[derive(Debug, Default)]
pub(super) struct Ring {
    waiting: Mutex<Waiting>,
    some: AtomicBool,
    /// How many messages wait.
    depth: AtomicUsize,
    /// The worker has nothing left to do, and wants to stop.
    idle: AtomicBool,
    task: AtomicWaker,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) relays: Vec<((SlotNo, u64), Vec<Relay>)>,
    pub(super) connections: Vec<Handover>,
}

/// A connection whose peer has proved who it is, on its way to the worker that shall serve it. Nothing was read since.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) new: NewConnection,
    pub(super) account: AccountId,
    /// What the link had still to send.
    pub(super) output: crate::link::LinkOutput,
}

impl Ring {
    pub(super) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> Option<Waiting> {
        if !self.some.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        self.depth.store(0, Ordering::Relaxed);
        Some(std::mem::take(&mut *waiting))
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.some.load(Ordering::Acquire)
    }

    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }

    fn relay(&self, from: (SlotNo, u64), relays: Vec<Relay>) {
        self.put(|waiting| {
            self.depth.fetch_add(relays.len(), Ordering::Relaxed);
            waiting.relays.push((from, relays));
        });
    }

    fn put(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut lock(&self.waiting));
        self.some.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Hub {
    pub(super) fn new(others: Option<Arc<dyn Colleagues>>) -> Arc<Self> {
        Arc::new(Self { others, ..Self::default() })
    }

    pub(super) fn inbox(self: &Arc<Self>, notices: Notices) -> Inbox {
        let mut present = self.present.subscribe();
        present.mark_changed();
        Inbox { hub: self.clone(), notices, present }
    }

    pub(super) fn others(&self) -> Option<Arc<dyn Colleagues>> {
        self.others.clone()
    }

    /// A worker was opened.
    pub(super) fn enter(&self, slot: SlotNo, epoch: u64, ring: Arc<Ring>) {
        lock(&self.members).insert(slot, Member { epoch, ring });
        // What its predecessor had is gone.
        for dealt in lock(&self.dealt).values_mut() {
            dealt.connected.remove(&slot);
        }
        self.set_away(slot, false);
        self.present.send_replace(());
        self.change();
    }

    /// There is a worker for this slot, or will be.
    pub(super) fn employ(&self, slot: SlotNo, commands: mpsc::Sender<Command>) {
        lock(&self.commands).insert(slot, Desk { commands, away: false });
    }

    /// Whether nobody will take commands for this slot soon.
    pub(super) fn set_away(&self, slot: SlotNo, away: bool) {
        if let Some(desk) = lock(&self.commands).get_mut(&slot) {
            desk.away = away;
        }
    }

    /// It is gone.
    pub(super) fn leave(&self, slot: SlotNo, epoch: u64) {
        let mut members = lock(&self.members);
        if members.get(&slot).is_some_and(|member| member.epoch == epoch) {
            members.remove(&slot);
        }
        drop(members);
        self.present.send_replace(());
        self.change();
    }

    fn change(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.wake_all();
    }

    pub(super) fn wake_all(&self) {
        lock(&self.members).values().for_each(|member| member.ring.task.wake());
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The workers that are open, here and elsewhere, each with its epoch.
    pub(super) fn open(&self) -> Vec<(SlotNo, u64)> {
        let mut open = self.here();
        if let Some(others) = &self.others {
            let here: Vec<_> = open.iter().map(|(slot, _)| *slot).collect();
            open.extend(others.open().into_iter().filter(|(slot, _)| !here.contains(slot)));
        }
        open
    }

    pub(super) fn here(&self) -> Vec<(SlotNo, u64)> {
        lock(&self.members).iter().map(|(slot, member)| (*slot, member.epoch)).collect()
    }

    /// All workers of this process want to stop, and have nothing left to do.
    pub(super) fn all_idle(&self) -> bool {
        lock(&self.members).values().all(|member| member.ring.idle.load(Ordering::Acquire) && member.ring.is_empty())
    }

    pub(super) fn commands(&self, slot: SlotNo) -> Option<mpsc::Sender<Command>> {
        lock(&self.commands).get(&slot).filter(|desk| !desk.away).map(|desk| desk.commands.clone())
    }

    /// The connector has stopped: no worker will come again.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.present.send_replace(());
    }

    /// Ready when the connector has stopped.
    pub(super) async fn closed(&self) {
        let mut present = self.present.subscribe();
        while !self.is_closed() && present.changed().await.is_ok() {}
    }

    /// Nobody takes commands any more: whoever waits for them stops.
    pub(super) fn dismiss(&self) {
        lock(&self.commands).clear();
    }

    /// Any worker, each in its turn: for connections that are nobody's yet.
    pub(super) fn any(&self) -> Option<mpsc::Sender<Command>> {
        let commands = lock(&self.commands);
        let there: Vec<_> = commands.values().filter(|desk| !desk.away).collect();
        let count = u64::try_from(there.len()).ok()?;
        let place = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count)?;
        there.get(usize::try_from(place).ok()?).map(|desk| desk.commands.clone())
    }

    /// Hands messages to a worker. `false` if it isn't there, or not under this epoch any more: what was meant for its predecessor names
    /// connections that are others' now.
    pub(super) fn send(&self, from: (SlotNo, u64), to: (SlotNo, u64), relays: Vec<Relay>) -> bool {
        let member = lock(&self.members).get(&to.0).map(|member| (member.epoch, member.ring.clone()));
        match (member, &self.others) {
            (Some((epoch, ring)), _) if epoch == to.1 => {
                ring.relay(from, relays);
                true
            }
            (None, Some(others)) => others.send(from, to, relays),
            _ => false,
        }
    }

    fn deliver(&self, from: (SlotNo, u64), to: (SlotNo, u64), relays: Vec<Relay>) {
        let ring = lock(&self.members).get(&to.0).filter(|member| member.epoch == to.1).map(|member| member.ring.clone());
        if let Some(ring) = ring {
            ring.relay(from, relays);
        }
    }

    /// So much waits for some worker that nothing more should be read from peers.
    pub(super) fn is_crowded(&self) -> bool {
        lock(&self.members).values().any(|member| member.ring.depth.load(Ordering::Relaxed) > RING_MAX)
    }

    /// The slots that serve an account.
    pub(super) fn set_account(&self, account: &AccountId, slots: &[SlotNo]) {
        lock(&self.dealt).entry(account.clone()).or_default().slots = slots.to_vec();
    }

    pub(super) fn remove_account(&self, account: &AccountId) {
        lock(&self.dealt).remove(account);
    }

    /// The worker for an account's next connection: one of those that serve it, in turn, and first those that have none; any if none of them
    /// is here.
    pub(super) fn deal(&self, account: &AccountId) -> Option<SlotNo> {
        let here: Vec<_> = lock(&self.members).keys().copied().collect();
        let mut dealt = lock(&self.dealt);
        let dealt = dealt.get_mut(account)?;
        let serving: Vec<_> = dealt.slots.iter().copied().filter(|slot| here.contains(slot)).collect();
        let free: Vec<_> = serving.iter().copied().filter(|slot| !dealt.connected.contains_key(slot)).collect();
        let from = [free, serving, here].into_iter().find(|slots| !slots.is_empty())?;
        let slot = from.get(dealt.next.checked_rem(from.len())?).copied();
        dealt.next = dealt.next.wrapping_add(1);
        slot
    }

    /// A worker has a connection of the account, or one less.
    pub(super) fn connected(&self, account: &AccountId, slot: SlotNo, is: bool) {
        if let Some(dealt) = lock(&self.dealt).get_mut(account) {
            let count = dealt.connected.entry(slot).or_default();
            *count = if is { count.saturating_add(1) } else { count.saturating_sub(1) };
            if *count == 0 {
                dealt.connected.remove(&slot);
            }
        }
    }

    /// Hands a connection over. Gives it back if the worker isn't there.
    pub(super) fn hand_over(&self, slot: SlotNo, handover: Handover) -> Result<(), Box<Handover>> {
        let ring = lock(&self.members).get(&slot).map(|member| member.ring.clone());
        match ring {
            Some(ring) => {
                ring.put(|waiting| waiting.connections.push(handover));
                Ok(())
            }
            None => Err(Box::new(handover)),
        }
    }
}

/// Messages that may wait for a worker before nothing more is read from peers.
const RING_MAX: usize = 65_536;

/// When it is looked again whether they still do.
const CROWDED_AGAIN: Duration = Duration::from_millis(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held, so what is inside is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
