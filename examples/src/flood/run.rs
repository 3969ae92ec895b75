//! The loop that drives all pairs.

use super::clock::{Clock, Now};
use super::options::{Load, Until};
use super::pair::{Lost, Pair};
use super::process::Process;
use super::progress::Progress;
use super::tally::Tally;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep_until};

/// A run: payments are started, and whatever comes in is handled, until all have ended.
///
/// One future for all connections, polled when any of them has something to do: no task, timer or channel for a payment, and one
/// flush a connection in each turn.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pairs: &'a mut [Pair],
    load: Load,
    clock: Clock,
    tally: Tally,
    frames: Vec<Bytes>,
    /// The pair that makes the next payment.
    turn: usize,
    /// No more payments are started.
    stopping: bool,
    /// Payments are due that have to wait for the window.
    behind: bool,
    tick: Interval,
    next_due: Pin<Box<Sleep>>,
    interrupts: Option<Signal>,
    interrupted: bool,
    watched: Option<Process>,
    rss_kib_at_10s: Option<u64>,
    progress: Progress,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The payments.
    pub(crate) tally: Tally,
    /// Memory of the connector after 10 s, if the run lasted so long and the process is known.
    pub(crate) rss_kib_at_10s: Option<u64>,
    /// The connection that was lost, if one was; then everything under way was abandoned.
    pub(crate) lost: Option<Lost>,
    /// Ctrl-C ended it early.
    pub(crate) interrupted: bool,
}

impl<'a> Run<'a> {
    /// A run that starts now. `watched` is the connector's process.
    pub(crate) fn new(pairs: &'a mut [Pair], load: Load, watched: Option<Process>) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clock = Clock::start();
        Self {
            pairs,
            load,
            clock,
            tally: Tally::new(),
            frames: Vec::new(),
            turn: 0,
            stopping: false,
            behind: false,
            tick,
            next_due: Box::pin(sleep_until(clock.started().into())),
            // Without it Ctrl-C just ends the program, and the child ends because its input does.
            interrupts: signal(SignalKind::interrupt()).ok(),
            interrupted: false,
            watched,
            rss_kib_at_10s: None,
            progress: Progress::new(&load.until),
        }
    }

    /// Runs until all payments have ended.
    pub(crate) async fn finish(mut self) -> Outcome {
        let result = poll_fn(|cx| self.poll(cx)).await;
        let now = self.clock.now();
        // After a run in good order there is nothing to abandon.
        self.pairs.iter_mut().for_each(|pair| pair.abandon(now, &mut self.tally));
        self.progress.finish();
        Outcome { tally: self.tally, rss_kib_at_10s: self.rss_kib_at_10s, lost: result.err(), interrupted: self.interrupted }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let mut more = false;
        for pair in self.pairs.iter_mut() {
            more |= pair.serve(cx, &self.clock, &mut self.frames, &mut self.tally)?;
        }
        let now = self.clock.now();
        self.start_payments(now)?;
        for pair in self.pairs.iter_mut() {
            pair.flush_sender(cx)?;
        }
        if self.tick.poll_tick(cx).is_ready() {
            // The next one wakes us only if it is asked for.
            more = true;
            if self.housekeep(cx, now) {
                return Poll::Ready(Ok(()));
            }
        }
        if self.stopping && self.pairs.iter().all(Pair::is_idle) {
            return Poll::Ready(Ok(()));
        }
        if more || self.sleep_until_due(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn start_payments(&mut self, now: Now) -> Result<(), Lost> {
        let mut in_flight = self.pairs.iter().fold(0, |sum: u32, pair| sum.saturating_add(pair.in_flight()));
        while !self.stopping {
            let over = match self.load.until {
                Until::Count(count) => self.tally.started >= count,
                Until::Elapsed(time) => now.ns >= super::clock::nanoseconds(time),
            };
            if over {
                self.stopping = true;
                break;
            }
            let due_ns = self.due_ns();
            if due_ns.is_some_and(|due_ns| due_ns > now.ns) {
                self.behind = false;
                break;
            }
            // What had to wait has been late since it was due, not since there was room for it.
            let started_ns = due_ns.filter(|_| self.behind).unwrap_or(now.ns);
            let room = in_flight < self.load.window;
            let Some(pair) = room.then(|| self.next_pair()).flatten() else {
                self.behind = true;
                break;
            };
            if !pair.start(started_ns, now)? {
                self.behind = true;
                break;
            }
            self.tally.started += 1;
            in_flight += 1;
        }
        Ok(())
    }

    /// When the next payment is due, in nanoseconds since the start, if there is a rate.
    fn due_ns(&self) -> Option<u64> {
        let rate = self.load.rate?;
        let ns = u128::from(self.tally.started) * NS_PER_SECOND / u128::from(rate.max(1));
        Some(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The next pair in turn that has room for a payment.
    fn next_pair(&mut self) -> Option<&mut Pair> {
        let window = self.load.window_per_pair;
        let count = self.pairs.len();
        for _ in 0..count {
            let place = self.turn;
            self.turn = if place + 1 < count { place + 1 } else { 0 };
            if self.pairs.get(place).is_some_and(|pair| pair.in_flight() < window) {
                return self.pairs.get_mut(place);
            }
        }
        None
    }

    /// Wakes this task when the next payment is due. `true` if it is by now.
    fn sleep_until_due(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stopping || self.behind {
            return false;
        }
        let Some(due) = self.due_ns().and_then(|ns| self.clock.started().checked_add(Duration::from_nanos(ns))) else { return false };
        let due = due.into();
        if self.next_due.deadline() != due {
            self.next_due.as_mut().reset(due);
        }
        self.next_due.as_mut().poll(cx).is_ready()
    }

    /// What need not be done in every turn. `true` if the run is to end at once.
    fn housekeep(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for pair in self.pairs.iter_mut() {
            pair.sweep(now, &mut self.tally);
        }
        if self.rss_kib_at_10s.is_none() && now.ns >= 10 * NS_PER_SECOND_U64 {
            self.rss_kib_at_10s = self.watched.and_then(|process| process.rss_kib().ok());
        }
        self.progress.show(self.tally.ended(), now);
        while let Some(Poll::Ready(Some(()))) = self.interrupts.as_mut().map(|interrupts| interrupts.poll_recv(cx)) {
            if self.interrupted {
                return true;
            }
            self.interrupted = true;
            self.stopping = true;
        }
        false
    }
}

const TICK: Duration = Duration::from_millis(250);
const NS_PER_SECOND: u128 = 1_000_000_000;
const NS_PER_SECOND_U64: u64 = 1_000_000_000;
