//! The driver: one task that moves bytes between sockets and the worker, and batches between the worker and the store.
//!
//! A turn takes in whatever is ready — commands, frames, timers — steps the worker once, starts the commit, releases what has become
//! durable, and flushes each connection once.

use super::builder::Command;
use super::connection::Connection;
use super::events::EventQueue;
use super::ready::Ready;
use super::supervisor::Shared;
use super::{ConnectionStatus, NewConnection, Notice};
use crate::link::{LinkCommand, LinkEvent};
use crate::receiver::IncomingPayment;
use crate::refusal::Refusal;
use crate::store::{Commit, CommitOutcome, OpenedSlot};
use crate::worker::{Batch, ConnectionId, Delivery, Input, Pay, Released, Worker, WorkerStatus};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use ilp_oer::{Fulfillment, Timestamp};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

/// How often links are given the time, in milliseconds.
const LINK_TICK_MS: i64 = 100;
/// A connection that hasn't proved to be anybody's after this long is closed.
const UNAUTHENTICATED_MS_MAX: i64 = 10_000;
/// The first wrong credentials are answered after this long; the delay doubles with every further failure …
const REFUSE_AFTER_MS: i64 = 50;
/// … up to this many times, and halves again every second without one.
const REFUSE_DOUBLINGS_MAX: u32 = 6;

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
    worker: Worker,
    epoch: u64,
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
    batches: VecDeque<(Batch, Option<u64>, bool)>,
    commits: FuturesUnordered<BoxFuture<'static, (Commit, CommitOutcome)>>,
    receiving: FuturesUnordered<BoxFuture<'static, (Delivery, Result<Fulfillment, Refusal>)>>,
    pays: HashMap<u64, oneshot::Sender<Result<Fulfillment, Bytes>>>,
    replies: HashMap<u64, oneshot::Sender<Result<(), crate::AccountError>>>,
    next_reply: u64,
    sleep: Pin<Box<Sleep>>,
    sleep_until: Option<Timestamp>,
    link_tick: Timestamp,
    auth_failures: u32,
    last_failure_step: Timestamp,
    events_out: EventQueue,
    /// A future was added that nobody has polled yet.
    unpolled: bool,
    stop: Option<StopRequest>,
}

struct StopRequest {
    deadline: Instant,
    reply: oneshot::Sender<WorkerStatus>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, worker: Worker, opened: &OpenedSlot) -> Self {
        let now = shared.clock.now();
        let shared_events = shared.events.clone();
        Self {
            shared,
            worker,
            epoch: opened.epoch,
            connections: Slab::new(),
            next_connection: 0,
            closing: FuturesUnordered::new(),
            events_out: EventQueue::new(shared_events),
            unpolled: false,
            ready: Arc::default(),
            places: Vec::new(),
            dirty: Vec::new(),
            inputs: Vec::new(),
            events: Vec::new(),
            frames: Vec::new(),
            released: Vec::new(),
            batches: VecDeque::new(),
            commits: FuturesUnordered::new(),
            receiving: FuturesUnordered::new(),
            pays: HashMap::new(),
            replies: HashMap::new(),
            next_reply: 0,
            sleep: Box::pin(tokio::time::sleep(Duration::from_millis(1))),
            sleep_until: None,
            link_tick: now,
            auth_failures: 0,
            last_failure_step: now,
            stop: None,
        }
    }

    /// Adds accounts without waiting for anybody's answer: those that the connector was configured with.
    pub(super) fn add_accounts(&mut self) {
        for config in self.shared.accounts().values() {
            self.inputs.push(Input::AddAccount { config: config.clone(), reply: u64::MAX });
        }
    }

    /// Runs until told to stop, or until the worker can't go on.
    pub(super) async fn run(&mut self, commands: &mut mpsc::Receiver<Command>) -> Exit {
        let exit = std::future::poll_fn(|cx| self.turn(cx, commands)).await;
        if let Exit::Poisoned(cause) = &exit {
            self.shared.notices.send(Notice::Restarted { cause: cause.clone() });
        }
        self.close_all().await;
        exit
    }

    fn turn(&mut self, cx: &mut Context<'_>, commands: &mut mpsc::Receiver<Command>) -> Poll<Exit> {
        self.ready.register(cx.waker());
        let now = self.shared.clock.now();
        let commands_left = self.take_commands(cx, commands, now);
        self.serve_connections(now);
        self.take_received(cx);
        while let Poll::Ready(Some(())) = self.closing.poll_next_unpin(cx) {}
        if self.link_tick <= now {
            self.tick_links(now);
        }
        match self.step_and_release(cx, now) {
            Ok(()) => {}
            Err(cause) => return Poll::Ready(Exit::Poisoned(cause)),
        }
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
            Command::AddAccount { config, reply } => {
                let id = self.number();
                self.replies.insert(id, reply);
                self.inputs.push(Input::AddAccount { config: *config, reply: id });
            }
            Command::RemoveAccount { id, write_off, reply } => {
                let number = self.number();
                self.replies.insert(number, reply);
                self.inputs.push(Input::RemoveAccount { id, write_off, reply: number });
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

    // Connections.

    fn connect(&mut self, new: NewConnection, now: Timestamp) {
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        self.next_connection = self.next_connection.wrapping_add(1) & u64::from(u32::MAX);
        let low = u64::try_from(place).unwrap_or(u64::MAX);
        let id = ConnectionId(self.next_connection << 32 | low);
        entry.insert(Connection::new(id, new, self.ready.waker(place), now));
        self.places.push(place);
        self.after_link(place, now);
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        let place = usize::try_from(id.0 & u64::from(u32::MAX)).ok()?;
        self.connections.get(place).filter(|connection| connection.id == id).map(|_| place)
    }

    fn serve_connections(&mut self, now: Timestamp) {
        self.ready.take(&mut self.places);
        let may_read = self.may_read();
        let mut places = std::mem::take(&mut self.places);
        for place in places.drain(..) {
            let Some(connection) = self.connections.get_mut(place) else { continue };
            connection.served();
            let mut result = connection.flush();
            // A peer that doesn't read isn't read from either: it is listed again when it has taken some of what waits for it.
            if result.is_ok() && connection.backlog() < self.shared.limits.output_backlog {
                if may_read {
                    let mut frames = std::mem::take(&mut self.frames);
                    result = connection.receive(&mut frames, self.shared.limits.frames_per_turn, now);
                    self.frames = frames;
                    if connection.unread {
                        self.places.push(place);
                    }
                } else {
                    // Looked at again when the store or the embedder has caught up.
                    self.places.push(place);
                }
            }
            // What was read before the connection broke counts.
            self.after_link(place, now);
            if let Err(error) = result {
                self.disconnect(place, error.to_string());
            }
        }
        drop(places);
    }

    /// Not while the store or the reader of events is behind: what isn't read costs its sender, not us.
    fn may_read(&self) -> bool {
        self.batches.len() < self.shared.limits.batches_in_flight && !self.events_out.is_behind()
    }

    /// Takes what a link has produced: events to the worker, frames to the transport.
    fn after_link(&mut self, place: usize, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        let mut events = std::mem::take(&mut self.events);
        connection.take_events(&mut events);
        if connection.send() {
            self.dirty.push(place);
        }
        let (id, close) = (connection.id, connection.output.close.take());
        for event in events.drain(..) {
            self.link_event(place, id, event, now);
        }
        self.events = events;
        if let Some(reason) = close {
            self.flush_one(place);
            self.disconnect(place, reason);
        }
    }

    fn link_event(&mut self, place: usize, id: ConnectionId, event: LinkEvent, now: Timestamp) {
        match event {
            LinkEvent::Authenticate(credentials) => match self.shared.authenticator.authenticate(&credentials) {
                Some(account) => {
                    let address = self.worker.address().join(account.name());
                    self.authenticated(place, account);
                    let command = match address {
                        Ok(address) => LinkCommand::Accept { address },
                        Err(_) => LinkCommand::Refuse,
                    };
                    self.link_command(place, command, now);
                }
                None => self.refuse(place, now),
            },
            LinkEvent::Authenticated { .. } => {
                if let Some(account) = self.connections.get_mut(place).and_then(|connection| connection.new.account.take()) {
                    self.authenticated(place, account);
                }
            }
            event => {
                // A link says nothing about money before this; were it to, it would be ignored by the worker.
                self.inputs.push(Input::Link { connection: id, event });
            }
        }
    }

    fn authenticated(&mut self, place: usize, account: crate::AccountId) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        connection.authenticated = Some(account.clone());
        self.shared.notices.send(Notice::Connected { account: account.clone(), peer: connection.new.peer.clone() });
        self.inputs.push(Input::Connected { connection: connection.id, account });
    }

    /// Wrong credentials are answered late, the later the more there are.
    fn refuse(&mut self, place: usize, now: Timestamp) {
        let doublings = self.auth_failures.min(REFUSE_DOUBLINGS_MAX);
        self.auth_failures = self.auth_failures.saturating_add(1);
        self.last_failure_step = now;
        let delay = REFUSE_AFTER_MS.checked_shl(doublings).unwrap_or(REFUSE_AFTER_MS);
        if let Some(connection) = self.connections.get_mut(place) {
            connection.refuse_at = Some(now.saturating_add_millis(delay));
            self.shared.notices.send(Notice::AuthenticationFailed { peer: connection.new.peer.clone() });
        }
        self.sleep_until = None;
    }

    fn link_command(&mut self, place: usize, command: LinkCommand, now: Timestamp) {
        if let Some(connection) = self.connections.get_mut(place) {
            connection.command(command, now);
        }
        self.after_link(place, now);
    }

    fn tick_links(&mut self, now: Timestamp) {
        self.link_tick = now.saturating_add_millis(LINK_TICK_MS);
        if self.auth_failures > 0 && now.millis_since(self.last_failure_step) >= 1_000 {
            self.auth_failures = self.auth_failures.div_euclid(2);
            self.last_failure_step = now;
        }
        let places: Vec<usize> = self.connections.iter().map(|(place, _)| place).collect();
        for place in places {
            let Some(connection) = self.connections.get_mut(place) else { continue };
            connection.tick(now);
            let refuse = connection.refuse_at.is_some_and(|at| at <= now);
            let too_long = connection.authenticated.is_none()
                && connection.refuse_at.is_none()
                && now.millis_since(connection.since) > UNAUTHENTICATED_MS_MAX;
            if refuse {
                connection.refuse_at = Some(Timestamp::MAX);
                self.link_command(place, LinkCommand::Refuse, now);
            } else if too_long {
                self.link_command(place, LinkCommand::Close { reason: "not authenticated in time".into() }, now);
            } else {
                self.after_link(place, now);
            }
        }
    }

    fn disconnect(&mut self, place: usize, reason: String) {
        let Some(mut connection) = self.connections.try_remove(place) else { return };
        connection.new.link.closed(&mut connection.output);
        for event in connection.output.events.drain(..) {
            self.inputs.push(Input::Link { connection: connection.id, event });
        }
        self.inputs.push(Input::Disconnected { connection: connection.id });
        let peer = std::mem::take(&mut connection.new.peer);
        self.shared.notices.send(Notice::Disconnected { account: connection.authenticated.take(), peer, reason });
        // Closed in good order, or what was written last might not arrive.
        let mut transport = connection.new.transport;
        let close = async move { std::future::poll_fn(|cx| transport.poll_close(cx)).await };
        self.closing.push(Box::pin(async move {
            let _ = tokio::time::timeout(CLOSE_MAX, close).await;
        }));
        self.unpolled = true;
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            self.flush_one(place);
        }
        self.dirty = dirty;
    }

    fn flush_one(&mut self, place: usize) {
        let result = self.connections.get_mut(place).map(Connection::flush);
        if let Some(Err(error)) = result {
            self.disconnect(place, error.to_string());
        }
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

    // The worker and the store.

    fn step_and_release(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Result<(), String> {
        let due = self.worker.next_step().is_some_and(|at| at <= now);
        let stopping = self.stop.is_some();
        if stopping {
            self.worker.flush();
        }
        if due || stopping || !self.inputs.is_empty() {
            let (worker, inputs) = (&mut self.worker, &mut self.inputs);
            let step = catch_unwind(AssertUnwindSafe(|| worker.step(now, inputs)));
            let batch = step.map_err(|_| "a step panicked".to_owned())?.map_err(|error| error.to_string())?;
            self.commit(batch);
        }
        self.take_committed(cx)?;
        let mut released = std::mem::take(&mut self.released);
        while self.batches.front().is_some_and(|(_, _, durable)| *durable) {
            let Some((batch, _, _)) = self.batches.pop_front() else { break };
            let worker = &mut self.worker;
            let release = catch_unwind(AssertUnwindSafe(|| worker.release(batch, now, &mut released)));
            release.map_err(|_| "a release panicked".to_owned())?;
        }
        for effect in released.drain(..) {
            self.effect(effect, now);
        }
        self.released = released;
        Ok(())
    }

    fn commit(&mut self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let seq = batch.commit.as_ref().map(|commit| commit.seq);
        if let Some(commit) = &batch.commit {
            let commit = Commit {
                slot: self.shared.slot.clone(),
                epoch: self.epoch,
                seq: commit.seq,
                blob: commit.blob.clone(),
                balances: commit.balances.clone(),
                cut_below: commit.cut_below,
            };
            self.send_commit(commit, Duration::ZERO);
        }
        self.batches.push_back((batch, seq, seq.is_none()));
    }

    fn send_commit(&mut self, commit: Commit, after: Duration) {
        let store = self.shared.store.clone();
        self.commits.push(Box::pin(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let outcome = store.commit(commit.clone()).await;
            (commit, outcome)
        }));
    }

    fn take_committed(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        while let Poll::Ready(Some((commit, outcome))) = self.commits.poll_next_unpin(cx) {
            match outcome {
                CommitOutcome::Durable => {
                    let batch = self.batches.iter_mut().find(|(_, seq, _)| *seq == Some(commit.seq));
                    if let Some((_, _, durable)) = batch {
                        *durable = true;
                    }
                }
                CommitOutcome::Fenced { epoch } => {
                    return Err(format!("another opener holds the slot (epoch {epoch}, ours was {})", self.epoch));
                }
                CommitOutcome::Gap { last_seq } => {
                    let oldest = self.batches.iter().find_map(|(_, seq, durable)| seq.filter(|_| !durable));
                    if oldest.is_none_or(|oldest| last_seq.saturating_add(1) < oldest) {
                        return Err(format!("the store has forgotten batches after {last_seq} that it had called durable"));
                    }
                    self.send_commit(commit, Duration::from_millis(1));
                }
                CommitOutcome::Unknown { cause } => {
                    self.shared.notices.send(Notice::CommitUnknown { seq: commit.seq, cause });
                    self.send_commit(commit, Duration::from_millis(5));
                }
            }
        }
        Ok(())
    }

    fn effect(&mut self, effect: Released, now: Timestamp) {
        match effect {
            Released::Command(connection, command) => {
                if let Some(place) = self.place(connection) {
                    self.link_command(place, command, now);
                }
            }
            Released::Deliver(delivery, payment) => self.deliver(delivery, *payment),
            Released::Paid(id, result) => {
                if let Some(reply) = self.pays.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Released::Account(id, result) => {
                if let Some(reply) = self.replies.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Released::Event(event) => self.events_out.push(*event),
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
        let drained = self.worker.in_flight() == 0 && self.batches.is_empty() && self.inputs.is_empty();
        if !drained && Instant::now() < stop.deadline {
            return None;
        }
        let stop = self.stop.take()?;
        let _ = stop.reply.send(self.worker.status());
        Some(Exit::Stopped)
    }

    async fn close_all(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        let close = std::future::poll_fn(|cx| {
            connections.retain(|_, connection| connection.new.transport.poll_close(cx).is_pending());
            if connections.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let good_byes = std::mem::take(&mut self.closing).collect::<()>();
        let _ = tokio::time::timeout(CLOSE_MAX, futures::future::join(close, good_byes)).await;
    }
}

/// What a status request gets.
pub(super) type StatusReply = (WorkerStatus, Vec<ConnectionStatus>);
