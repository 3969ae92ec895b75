//! The driver: one task that moves bytes between sockets and the worker, and batches between the worker and the store.
//!
//! A turn takes in whatever is ready — commands, frames, timers — steps the worker once, starts the commit, releases what has become
//! durable, and flushes each connection once.

mod batches;
mod connections;
mod letters;
mod others;

use self::letters::Letters;
use self::others::Lost;
use super::connection::Connection;
use super::connector::{Command, LISTED_MAX, Stopping};
use super::events::EventQueue;
use super::hub::Ring;
use super::ready::Ready;
use super::supervisor::{Opened, Shared};
use super::{ConnectionStatus, Notice};
use crate::account::AccountId;
use crate::colleagues::{Relay, Switch};
use crate::link::LinkEvent;
use crate::receiver::IncomingPayment;
use crate::refusal::Refusal;
use crate::store::{Commit, CommitOutcome, Lease, Move, MoveOutcome, Renewal, SlotNo, slot_name};
use crate::worker::{ConnectionId, Delivery, Input, Pay, Pipeline, Released, SettleError, Settlement, Worker, WorkerStatus};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use ilp_oer::{Fulfillment, Timestamp};
use slab::Slab;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

/// How often links are given the time, in milliseconds.
const LINK_TICK_MS: i64 = 100;

/// How long a peer may take to say good-bye.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// How a driver ended.
#[derive(Debug)]
pub(super) enum Exit {
    /// As it was told to.
    Stopped,
    /// The worker's state can't be trusted any more.
    Poisoned(String),
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    slot: SlotNo,
    epoch: u64,
    worker: Worker,
    switch: Switch,
    ring: Arc<Ring>,
    /// Workers that we know to be open, each with its epoch.
    colleagues: BTreeMap<SlotNo, u64>,
    hub_generation: u64,
    /// So much waits for some worker that nothing is read.
    crowded: bool,
    /// For colleagues, at the end of the turn.
    outgoing: BTreeMap<SlotNo, Vec<Relay>>,
    /// To workers that can't be reached.
    letters: Letters,
    moving: FuturesUnordered<BoxFuture<'static, (Move, MoveOutcome)>>,
    mails: FuturesUnordered<BoxFuture<'static, Result<(), Lost>>>,
    lease_until: Instant,
    renew: Pin<Box<Sleep>>,
    renewal: Option<BoxFuture<'static, (Instant, Renewal)>>,
    last_turn: Timestamp,
    connections: Slab<Connection>,
    next_connection: u64,
    /// Connections that are over but for their good-bye.
    closing: FuturesUnordered<BoxFuture<'static, ()>>,
    ready: Arc<Ready>,
    places: Vec<usize>,
    dirty: Vec<usize>,
    inputs: Vec<Input>,
    events: Vec<LinkEvent>,
    frames: Vec<Bytes>,
    released: Vec<Released>,
    pipeline: Pipeline,
    commits: FuturesUnordered<BoxFuture<'static, (Commit, CommitOutcome)>>,
    receiving: FuturesUnordered<BoxFuture<'static, (Delivery, Result<Fulfillment, Refusal>)>>,
    pays: HashMap<u64, oneshot::Sender<Result<Fulfillment, Bytes>>>,
    replies: HashMap<u64, oneshot::Sender<Result<(), crate::AccountError>>>,
    settlements: HashMap<u64, oneshot::Sender<Result<Settlement, SettleError>>>,
    statements: HashMap<u64, oneshot::Sender<WorkerStatus>>,
    next_reply: u64,
    sleep: Pin<Box<Sleep>>,
    sleep_until: Option<Timestamp>,
    link_tick: Timestamp,
    /// Connections that nobody has authenticated on, oldest first; some may be over or known by now.
    strangers: VecDeque<ConnectionId>,
    /// When each account last logged in.
    logins: HashMap<AccountId, Timestamp>,
    auth_failures: u32,
    last_failure_step: Timestamp,
    events_out: EventQueue,
    /// A future was added that nobody has polled yet.
    unpolled: bool,
    stop: Option<StopRequest>,
}

struct StopRequest {
    deadline: Instant,
    reply: oneshot::Sender<Stopping>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, opened: Opened) -> Self {
        let Opened { slot, mut worker, found, lease_until } = opened;
        let now = shared.clock.now();
        let ring = Arc::<Ring>::default();
        let mut switch = Switch::new(slot);
        switch.set_known(shared.slots.iter().copied().chain([slot]));
        shared.hub.enter(slot, found.epoch, ring.clone());
        let renew = Box::pin(tokio::time::sleep(shared.lease_time() / 3));
        let mut events_out = EventQueue::new(shared.events.clone());
        worker.take_recovered_events().into_iter().for_each(|event| events_out.push(event));
        Self {
            shared,
            slot,
            epoch: found.epoch,
            worker,
            switch,
            ring,
            colleagues: BTreeMap::new(),
            hub_generation: 0,
            crowded: false,
            outgoing: BTreeMap::new(),
            letters: Letters::default(),
            moving: FuturesUnordered::new(),
            mails: FuturesUnordered::new(),
            lease_until,
            renew,
            renewal: None,
            last_turn: now,
            pipeline: Pipeline::new(slot_name(slot), found.epoch),
            connections: Slab::new(),
            next_connection: 0,
            closing: FuturesUnordered::new(),
            events_out,
            unpolled: false,
            ready: Arc::default(),
            places: Vec::new(),
            dirty: Vec::new(),
            inputs: Vec::new(),
            events: Vec::new(),
            frames: Vec::new(),
            released: Vec::new(),
            commits: FuturesUnordered::new(),
            receiving: FuturesUnordered::new(),
            pays: HashMap::new(),
            replies: HashMap::new(),
            settlements: HashMap::new(),
            statements: HashMap::new(),
            next_reply: 0,
            sleep: Box::pin(tokio::time::sleep(Duration::from_millis(1))),
            sleep_until: None,
            link_tick: now,
            strangers: VecDeque::new(),
            logins: HashMap::new(),
            auth_failures: 0,
            last_failure_step: now,
            stop: None,
        }
    }

    /// Adds accounts without waiting for anybody's answer: those that the connector was configured with.
    pub(super) fn add_accounts(&mut self) {
        let accounts: Vec<_> = self.shared.accounts().values().cloned().collect();
        for (config, row) in accounts {
            self.switch.set_account(&config.id, &row);
            self.inputs.push(Input::AddAccount { config, row, reply: u64::MAX });
        }
    }

    /// Runs until told to stop, or until the worker can't go on.
    pub(super) async fn run(&mut self, commands: &mut mpsc::Receiver<Command>) -> Exit {
        let exit = std::future::poll_fn(|cx| self.turn(cx, commands)).await;
        if let Exit::Poisoned(cause) = &exit {
            self.shared.hub.leave(self.slot, self.epoch);
            let slot = slot_name(self.slot).to_string();
            self.shared.notices.send(Notice::Restarted { slot, cause: cause.clone() });
        }
        self.close_all().await;
        exit
    }

    fn turn(&mut self, cx: &mut Context<'_>, commands: &mut mpsc::Receiver<Command>) -> Poll<Exit> {
        self.ready.register(cx.waker());
        self.ring.register(cx.waker());
        let now = self.shared.clock.now();
        self.last_turn = now;
        if let Err(cause) = self.keep_lease(cx) {
            return Poll::Ready(Exit::Poisoned(cause));
        }
        self.take_ring(now);
        let commands_left = self.take_commands(cx, commands, now);
        self.serve_connections(now);
        self.take_received(cx);
        self.take_answers(cx);
        while let Poll::Ready(Some(())) = self.closing.poll_next_unpin(cx) {}
        if self.link_tick <= now {
            self.tick_links(now);
        }
        match self.step_and_release(cx, now) {
            Ok(()) => {}
            Err(cause) => return Poll::Ready(Exit::Poisoned(cause)),
        }
        self.send_relays();
        self.flush();
        self.events_out.poll(cx);
        if let Some(exit) = self.check_stop() {
            return Poll::Ready(exit);
        }
        let due = self.worker.next_step().is_some_and(|at| at <= now);
        let unread = self.may_read() && !self.places.is_empty();
        if commands_left || due || unread || std::mem::take(&mut self.unpolled) || !self.inputs.is_empty() {
            cx.waker().wake_by_ref();
        } else {
            self.sleep(cx, now);
        }
        Poll::Pending
    }

    // Commands of the embedder and of endpoints.

    fn take_commands(&mut self, cx: &mut Context<'_>, commands: &mut mpsc::Receiver<Command>, now: Timestamp) -> bool {
        for _ in 0..256 {
            match commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => self.command(command, now),
                // All handles are gone: like a stop without patience.
                Poll::Ready(None) => {
                    if self.stop.is_none() {
                        self.stop = Some(StopRequest { deadline: Instant::now(), reply: oneshot::channel().0 });
                    }
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Connection(new) => self.connect(*new, now),
            Command::Pay { destination, amount, condition, expires_at, data, reply } => {
                let id = self.number();
                self.pays.insert(id, reply);
                self.inputs.push(Input::Pay(Pay { id, destination, amount, condition, expires_at, data }));
            }
            Command::AddAccount { config, row, reply } => {
                let id = self.number();
                self.replies.insert(id, reply);
                self.switch.set_account(&config.id, &row);
                self.inputs.push(Input::AddAccount { config: *config, row: *row, reply: id });
            }
            Command::RemoveAccount { id, write_off, reply } => {
                let number = self.number();
                self.replies.insert(number, reply);
                self.inputs.push(Input::RemoveAccount { id, write_off, reply: number });
            }
            Command::Settle { account, amount, id, reply } => {
                let number = self.number();
                self.settlements.insert(number, reply);
                self.inputs.push(Input::Settle { account, amount, id, reply: number });
            }
            Command::AcknowledgeEvents { through } => self.inputs.push(Input::AcknowledgeEvents { through }),
            Command::State { reply } => {
                let number = self.number();
                self.statements.insert(number, reply);
                self.inputs.push(Input::State { reply: number });
            }
            Command::Status { reply } => {
                let connections = self.connections.iter().map(|(_, connection)| connection.status()).collect();
                let _ = reply.send((self.worker.status(), connections));
            }
            Command::Stop { deadline, reply } => {
                self.worker.drain();
                self.stop = Some(StopRequest { deadline, reply });
                self.sleep_until = None;
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next_reply = self.next_reply.wrapping_add(1);
        self.next_reply
    }

    // The embedder's receiver.

    fn deliver(&mut self, delivery: Delivery, payment: IncomingPayment) {
        let receiver = self.shared.receiver.clone();
        let receive = async move {
            let Some(receiver) = receiver else {
                return Err(Refusal::NoRoute(format!("{}: nobody receives payments here", payment.destination)));
            };
            receiver.receive(payment).await.map_err(Refusal::from)
        };
        let caught = AssertUnwindSafe(receive).catch_unwind();
        let result = caught.map(move |result| (delivery, result.unwrap_or(Err(Refusal::Internal("the receiver panicked")))));
        self.receiving.push(result.boxed());
        self.unpolled = true;
    }

    fn take_received(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((delivery, result))) = self.receiving.poll_next_unpin(cx) {
            self.inputs.push(Input::Received { delivery, result });
        }
    }

    // Time and the end.

    fn sleep(&mut self, cx: &mut Context<'_>, now: Timestamp) {
        let links = (!self.connections.is_empty()).then_some(self.link_tick);
        let wanted = [self.worker.next_step(), links].into_iter().flatten().min();
        let stop = self.stop.as_ref().map(|stop| stop.deadline);
        if wanted.is_none() && stop.is_none() {
            self.sleep_until = None;
            return;
        }
        if self.sleep_until != wanted || wanted.is_none() || self.sleep.is_elapsed() {
            let wait = wanted.map(|at| u64::try_from(at.millis_since(now).max(1)).unwrap_or(u64::MAX));
            let at = wait.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
            if let Some(at) = at.into_iter().chain(stop).min() {
                self.sleep.as_mut().reset(at);
            }
            self.sleep_until = wanted;
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            self.sleep_until = None;
            cx.waker().wake_by_ref();
        }
    }

    fn check_stop(&mut self) -> Option<Exit> {
        let stop = self.stop.as_ref()?;
        let quiet = self.worker.in_flight() == 0 && self.worker.moves_under_way() == 0 && self.worker.parked() == 0;
        let idle = quiet && self.pipeline.is_empty() && self.inputs.is_empty() && self.ring.is_empty();
        self.ring.set_idle(idle);
        // A worker that has nothing left to do may still have connections that a colleague needs.
        let drained = idle && self.shared.hub.all_idle();
        if idle && drained {
            self.shared.hub.wake_all();
        }
        if !drained && Instant::now() < stop.deadline {
            return None;
        }
        let stop = self.stop.take()?;
        let (worker, in_flight) = (self.worker.status(), self.worker.in_flight_transfers(LISTED_MAX));
        let _ = stop.reply.send(Stopping { drained, worker, in_flight });
        Some(Exit::Stopped)
    }

    async fn close_all(&mut self) {
        self.shared.hub.leave(self.slot, self.epoch);
        let mut connections = std::mem::take(&mut self.connections);
        let close = std::future::poll_fn(|cx| {
            connections.retain(|_, connection| connection.new.transport.poll_close(cx).is_pending());
            if connections.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let good_byes = std::mem::take(&mut self.closing).collect::<()>();
        let _ = tokio::time::timeout(CLOSE_MAX, futures::future::join(close, good_byes)).await;
        // Whoever opens the slot next needn't wait until the lease ends. It does if this fails.
        let none = Lease { ms: 0, ..self.shared.lease.clone() };
        let _ = tokio::time::timeout(CLOSE_MAX, self.shared.store.renew(&slot_name(self.slot), self.epoch, &none)).await;
    }
}

/// What a status request gets.
pub(super) type StatusReply = (WorkerStatus, Vec<ConnectionStatus>);

impl Drop for Driver {
    /// Also when its task is aborted.
    fn drop(&mut self) {
        self.shared.hub.leave(self.slot, self.epoch);
    }
}
