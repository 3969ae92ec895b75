//! The task of one connection: drains what is ready, feeds the answers, flushes once.

mod opening;

pub(super) use opening::{Authenticate, Starting};

use super::Peer;
use super::clock::Clock;
use crate::ProtocolBuffer;
use crate::exchange::{
    Exchange, ExchangeEvent, ExchangeOutput, Failure, HandlerError, HandlerReply, HandlerRequest, Reply, RequestKey, Settled, Transfer,
};
use crate::setup::SetupFailure;
use crate::ws::Socket;
use bytes::Bytes;
use futures::FutureExt;
use ilp_oer::{Timestamp, TransferId};
use opening::Phase;
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

/// A request on its way to the connection's task.
pub(super) struct Command {
    pub(super) id: TransferId,
    pub(super) data: ProtocolBuffer,
    pub(super) transfer: Transfer,
    pub(super) reply: oneshot::Sender<Result<Reply, Failure>>,
}

/// Drives one connection until it ends.
pub(super) struct Driver {
    socket: Socket,
    exchange: Exchange,
    out: ExchangeOutput,
    clock: Clock,
    received: Vec<Bytes>,
    phase: Phase,
    commands: mpsc::Receiver<Command>,
    replies: HashMap<u64, oneshot::Sender<Result<Reply, Failure>>>,
    next_tag: u64,
    handlers: JoinSet<Handled>,
    timer: Pin<Box<Sleep>>,
    timer_for: Option<Timestamp>,
    ended: watch::Sender<Option<Arc<str>>>,
    end: Option<Arc<str>>,
}

/// What a handler's task gives back; no result if it panicked.
type Handled = (RequestKey, Option<Result<HandlerReply, HandlerError>>);

impl Driver {
    pub(super) fn new(socket: Socket, exchange: Exchange, starting: Starting) -> Self {
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (ended, ended_out) = watch::channel(None);
        Self {
            socket,
            exchange,
            out: ExchangeOutput::default(),
            clock: Clock::new(),
            received: Vec::new(),
            phase: Phase::Setup(starting, commands_in, ended_out),
            commands,
            replies: HashMap::new(),
            next_tag: 0,
            handlers: JoinSet::new(),
            timer: Box::pin(sleep(Duration::ZERO)),
            timer_for: None,
            ended,
            end: None,
        }
    }

    /// Until the connection has ended, and everybody who waited knows.
    pub(super) async fn run(mut self) {
        let now = self.clock.now();
        self.exchange.start(now, &mut self.out);
        let reason = poll_fn(|cx| self.poll(cx)).await;
        // What was said last should still arrive, such as why somebody was refused.
        let _ = timeout(GOODBYE, poll_fn(|cx| self.socket.poll_close(cx))).await;
        self.commands.close();
        let now = self.clock.now();
        self.exchange.handle_close(now, &mut self.out);
        self.take_events(now);
        while let Ok(command) = self.commands.try_recv() {
            let _ = command.reply.send(Err(crate::LocalFailure::Closed.into()));
        }
        // Handlers may be in the middle of something of their own.
        self.handlers.detach_all();
        if let Phase::Setup(starting, ..) | Phase::Deciding(_, starting, ..) = std::mem::replace(&mut self.phase, Phase::Over) {
            let _ = starting.ready.send(Err(SetupFailure::Closed));
        }
        let _ = self.ended.send(Some(reason));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        if let Phase::Open(shared, _) = &self.phase {
            shared.task.register(cx.waker());
            if shared.closing.load(Ordering::Acquire) {
                self.end.get_or_insert_with(|| "closed".into());
            }
        }
        for _ in 0..TURNS {
            let now = self.clock.now();
            let mut busy = self.poll_timer(cx, now);
            busy |= self.poll_decision(cx, now);
            busy |= self.poll_handlers(cx, now);
            busy |= self.poll_commands(cx, now);
            busy |= self.poll_socket(cx, now);
            busy |= self.take_events(now);
            for frame in self.out.frames.drain(..) {
                self.socket.send(frame);
            }
            if let Poll::Ready(Err(error)) = self.socket.poll_flush(cx) {
                return Poll::Ready(error.to_string().into());
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(end);
            }
            if !busy && self.set_timer(cx) {
                return Poll::Pending;
            }
        }
        // Others want their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let due = self.timer_for.is_some_and(|at| at <= now);
        if due || (self.timer_for.is_some() && self.timer.as_mut().poll(cx).is_ready()) {
            self.timer_for = None;
            self.exchange.handle_timeout(now, &mut self.out);
        }
        due
    }

    /// Whether there is nothing to do before the timer goes off.
    fn set_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let next = self.exchange.next_timeout();
        if next != self.timer_for {
            self.timer_for = next;
            if let Some(at) = next {
                let left_ms = u64::try_from(at.millis_since(self.clock.now())).unwrap_or(0);
                self.timer.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(left_ms.clamp(1, TIMER_MS_MAX)));
            }
        }
        self.timer_for.is_none() || self.timer.as_mut().poll(cx).is_pending()
    }

    /// A server finds out whether credentials are right.
    fn poll_decision(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Phase::Deciding(decision, ..) = &mut self.phase else { return false };
        let Poll::Ready(address) = decision.as_mut().poll(cx) else { return false };
        match address {
            Some(address) => {
                self.open(Some(address.clone()));
                self.exchange.accept(&address, now, &mut self.out);
            }
            None => {
                self.exchange.refuse(now, &mut self.out);
                self.end = Some("the peer's credentials were wrong".into());
            }
        }
        true
    }

    fn poll_handlers(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some(joined)) = self.handlers.poll_join_next(cx) {
            busy = true;
            // A task that was not ours to stop was stopped by the runtime's end.
            let Ok((key, result)) = joined else { continue };
            match result {
                Some(result) => self.exchange.respond(key, result, now, &mut self.out),
                None => self.exchange.respond_panicked(key, now, &mut self.out),
            }
        }
        busy
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        for taken in 0..COMMANDS {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command { id, data, transfer, reply })) => {
                    let tag = self.next_tag;
                    self.next_tag += 1;
                    self.replies.insert(tag, reply);
                    self.exchange.send_request(tag, id, &data, transfer, now, &mut self.out);
                }
                Poll::Ready(None) => {
                    self.end.get_or_insert_with(|| "closed".into());
                    return taken > 0;
                }
                Poll::Pending => return taken > 0,
            }
        }
        true
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        // A peer that doesn't read isn't read from either.
        if self.socket.queued_bytes() > BACKLOG_BYTES {
            return false;
        }
        let mut frames = std::mem::take(&mut self.received);
        let received = self.socket.poll_receive(cx, &mut frames, FRAMES);
        for frame in frames.drain(..) {
            if let Err(error) = self.exchange.handle_frame(frame, now, &mut self.out) {
                self.end.get_or_insert_with(|| error.to_string().into());
            }
        }
        self.received = frames;
        match received {
            Poll::Ready(Ok(_)) => true,
            Poll::Ready(Err(error)) => {
                self.end.get_or_insert_with(|| error.to_string().into());
                false
            }
            Poll::Pending => false,
        }
    }

    /// Whether there were any: they may have started what has to be polled.
    fn take_events(&mut self, now: Timestamp) -> bool {
        let events = std::mem::take(&mut self.out.events);
        let any = !events.is_empty();
        for event in events {
            match event {
                ExchangeEvent::Done { tag, outcome } => {
                    if let Some(reply) = self.replies.remove(&tag) {
                        // Whoever asked may not be there any more.
                        let _ = reply.send(outcome);
                    }
                }
                ExchangeEvent::Request { key, request } => self.handle(key, request, now),
                ExchangeEvent::Settled(settled) => self.settled(settled),
                ExchangeEvent::Setup(event) => self.setup(event),
            }
        }
        any
    }

    fn peer(&self) -> Option<Peer> {
        match &self.phase {
            Phase::Open(shared, commands) => Some(Peer { shared: Arc::clone(shared), commands: commands.upgrade()? }),
            Phase::Setup(..) | Phase::Deciding(..) | Phase::Over => None,
        }
    }

    fn handle(&mut self, key: RequestKey, request: HandlerRequest, now: Timestamp) {
        let Some(peer) = self.peer() else {
            // The last clone was dropped: the connection is about to end.
            self.exchange.respond_panicked(key, now, &mut self.out);
            return;
        };
        let handler = peer.shared.handler();
        let handled = async move { handler.handle(&peer, request).await };
        self.handlers.spawn(AssertUnwindSafe(handled).catch_unwind().map(move |result| (key, result.ok())));
    }

    fn settled(&self, settled: Settled) {
        if let Phase::Open(shared, commands) = &self.phase {
            // The last clone may be gone, but the books have to be kept all the same.
            let commands = commands.upgrade().unwrap_or_else(|| mpsc::channel(1).0);
            let peer = Peer { shared: Arc::clone(shared), commands };
            let handler = peer.shared.handler();
            // It runs on this task, which others depend on.
            let _ = catch_unwind(AssertUnwindSafe(|| handler.settled(&peer, settled)));
        }
    }
}

/// Requests that may wait for the task to take them.
const COMMANDS: usize = 256;
/// Frames taken before they are answered.
const FRAMES: usize = 256;
/// Rounds before other tasks get their turn.
const TURNS: usize = 16;
/// Bytes waiting for a peer that doesn't read, above which it isn't read from.
const BACKLOG_BYTES: usize = 1 << 20;
/// Time for the last frames to arrive.
const GOODBYE: Duration = Duration::from_secs(2);
/// The wall clock may be set: look at it at least this often.
const TIMER_MS_MAX: u64 = 10_000;
