//! A peer that comes back: dials, authenticates, serves, and does it again when the connection is lost.

use super::super::clock::{Clock, Now};
use super::super::options::Login;
use super::super::wire::{FrameLog, Wire, WireError};
use super::ledger::Ledger;
use super::line::{Came, Line};
use bytes::Bytes;
use ilp_clp::ws::{SocketLimits, TlsClientConfig, Url, dial};
use ilp_oer::Timestamp;
use ilp_oer::sub::LiquidityAnswer;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// What a peer does with its connections.
pub(crate) trait Side {
    /// A new connection has been let in: what is owed is said again.
    fn connected(&mut self, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError>;
    /// Something has come.
    fn came(&mut self, came: Came<'_>, line: &mut Line, now: Now, ledger: &mut Ledger) -> Result<(), WireError>;
    /// Time has passed, with a connection that has been let in or without.
    fn tick(&mut self, line: Option<&mut Line>, now: Now, shared: &Shared) -> Result<(), WireError>;
    /// Nothing is under way any more.
    fn is_idle(&self) -> bool;
}

/// What all peers of a run share.
pub(crate) struct Shared {
    pub(crate) url: Url,
    pub(crate) tls: TlsClientConfig,
    pub(crate) clock: Clock,
    /// One worker has all of an account. Others are asked on a connection's behalf, and their answers come when they come.
    pub(crate) in_order: bool,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) phase: Cell<Phase>,
    /// Where each peer stands, by its number.
    pub(crate) peers: Vec<Cell<Standing>>,
    /// Gives each new connection what keeps its frames.
    pub(crate) journal: Option<Box<dyn Fn() -> Box<dyn FrameLog>>>,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Nothing is under way any more.
    pub(crate) idle: bool,
    /// The connector's books of its account, and when they were asked for. They outlive connections.
    pub(crate) books: Option<LiquidityAnswer>,
    pub(crate) books_at: Option<Timestamp>,
    /// When the connector last answered it, since the start of the run.
    pub(crate) alive_ns: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Payments are started.
    Paying,
    /// What is under way comes to its end.
    Settling,
    Over,
}

/// A peer of the run.
pub(crate) struct Peer<S> {
    pub(crate) side: S,
    pub(crate) login: Login,
    pub(crate) place: Place,
    /// Its place among all of them.
    pub(crate) number: usize,
    pub(crate) random: ChaCha12Rng,
}

/// Which side of its pair a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Sender,
    Receiver,
}

impl<S: Side> Peer<S> {
    /// Comes back again and again, until the run is over.
    pub(crate) async fn run(&mut self, shared: &Shared) {
        let mut connections: u64 = 0;
        let mut failures = 0;
        let mut ticker = interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shared.phase.get() < Phase::Over {
            let let_in = self.connect(shared, &mut ticker).await;
            if let_in {
                connections += 1;
                failures = 0;
            } else {
                failures = u32::min(failures + 1, BACK_OFF_DOUBLINGS_MAX);
            }
            if let_in && connections > 1 {
                let [senders, receivers] = &mut shared.ledger.borrow_mut().counts.reconnects;
                *if self.place == Place::Sender { senders } else { receivers } += 1;
            }
            self.back_off(failures, shared, &mut ticker).await;
        }
    }

    /// From half to one and a half of a time that doubles with every failure. Time goes on meanwhile.
    async fn back_off(&mut self, failures: u32, shared: &Shared, ticker: &mut Interval) {
        let base = BACK_OFF_MS << failures;
        let jitter = self.random.next_u64().checked_rem(base).unwrap_or_default();
        let wait = tokio::time::sleep(Duration::from_millis(base / 2 + jitter));
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return,
                _ = ticker.tick() => {
                    let _ = self.side.tick(None, shared.clock.now(), shared);
                }
            }
        }
    }

    /// One connection from its beginning to its end. Whether it was ever let in.
    async fn connect(&mut self, shared: &Shared, ticker: &mut Interval) -> bool {
        let limits = SocketLimits { handshake: HANDSHAKE_MAX, ..SocketLimits::default() };
        let dialling = dial(&shared.url, &shared.tls, &limits);
        tokio::pin!(dialling);
        let socket = loop {
            tokio::select! {
                dialled = &mut dialling => match dialled {
                    Ok(socket) => break socket,
                    Err(_) => return false,
                },
                _ = ticker.tick() => {
                    let _ = self.side.tick(None, shared.clock.now(), shared);
                }
            }
        };
        let wire = match &shared.journal {
            Some(journal) => Wire::new(socket).with_log(journal()),
            None => Wire::new(socket),
        };
        let Ok(mut line) = Line::open(wire, &self.login, shared.in_order, shared.clock.now()) else { return false };
        let mut frames = Vec::new();
        // Whatever the reason: the next connection is to be had.
        let _lost: Result<(), WireError> = poll_fn(|cx| self.poll(cx, &mut line, shared, &mut frames, ticker)).await;
        line.authenticated
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut Line,
        shared: &Shared,
        frames: &mut Vec<Bytes>,
        ticker: &mut Interval,
    ) -> Poll<Result<(), WireError>> {
        while let Poll::Ready(received) = line.wire.poll_receive(cx, frames) {
            received?;
            let now = shared.clock.now();
            let mut ledger = shared.ledger.borrow_mut();
            for frame in frames.drain(..) {
                let Some(came) = line.read(&frame, &mut ledger) else { continue };
                match came {
                    Came::Authenticated => self.side.connected(line, now, &mut ledger)?,
                    Came::Books(books, asked_at) => {
                        if let Some(standing) = shared.peers.get(self.number) {
                            let outage_ns = now.ns.saturating_sub(standing.get().alive_ns);
                            ledger.longest_outage_ns = ledger.longest_outage_ns.max(outage_ns);
                            let (books, books_at) = (Some(books), Some(asked_at.wall));
                            standing.set(Standing { books, books_at, alive_ns: now.ns, ..standing.get() });
                        }
                        self.side.came(came, line, now, &mut ledger)?;
                    }
                    came => self.side.came(came, line, now, &mut ledger)?,
                }
            }
        }
        while ticker.poll_tick(cx).is_ready() {
            let now = shared.clock.now();
            self.side.tick(line.authenticated.then_some(&mut *line), now, shared)?;
            if let Some(standing) = shared.peers.get(self.number) {
                standing.set(Standing { idle: self.side.is_idle(), ..standing.get() });
            }
            if !line.keep_alive(now)? {
                return Poll::Ready(Err(WireError::TimedOut));
            }
        }
        if shared.phase.get() == Phase::Over {
            return Poll::Ready(Ok(()));
        }
        match line.wire.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

const TICK: Duration = Duration::from_millis(5);
const HANDSHAKE_MAX: Duration = Duration::from_millis(1_500);
const BACK_OFF_MS: u64 = 20;
const BACK_OFF_DOUBLINGS_MAX: u32 = 4;
