//! Whether the other end of a connection is still there.
//!
//! TCP doesn't say: a peer whose machine or network died leaves a connection that is open here for ever. So a peer is asked for a sign
//! of life now and then. Only its answer counts, not what else it says: one that talks and doesn't read is of no use either, and
//! the kernel keeps megabytes for it before anybody notices. A peer that takes nothing of what waits for it is given up sooner.

use super::SocketLimits;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Looks at a connection a few times per period rather than at every frame: reading the clock is not free.
#[derive(Debug)]
pub(super) struct Alive {
    ping: Duration,
    pong: Duration,
    stall: Duration,
    alarm: Pin<Box<Sleep>>,
    /// The number of the last question.
    question: u64,
    /// When it was asked, while there is no answer.
    asked: Option<Instant>,
    /// The last answer, or the start.
    answered: Instant,
    written: u64,
    last_written: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    /// Ask for a sign of life.
    Ask,
    Silent,
    Stalled,
}

impl Alive {
    pub(super) fn new(limits: &SocketLimits) -> Self {
        let now = Instant::now();
        let (ping, pong, stall) = (limits.ping, limits.pong, limits.stall);
        let mut alive = Self {
            ping,
            pong,
            stall,
            alarm: Box::pin(sleep_until(now)),
            question: 0,
            asked: None,
            answered: now,
            written: 0,
            last_written: now,
        };
        alive.wind(now);
        alive
    }

    /// A pong came. Those that nobody asked for say nothing.
    pub(super) fn pong(&mut self, content: &[u8]) {
        if content == self.question.to_be_bytes() && self.asked.take().is_some() {
            self.answered = Instant::now();
        }
    }

    /// What to ask.
    pub(super) fn question(&self) -> [u8; 8] {
        self.question.to_be_bytes()
    }

    /// To be called when nothing more can be read, or written, for now; wakes the task for the next look. `all_read`: it is reading that
    /// came to an end; while its owner doesn't read, the peer's answer may be there. `waiting`: something is queued for the peer;
    /// `written`: bytes written since the start.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, all_read: bool, waiting: bool, written: u64) -> Verdict {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.wind(now);
            let verdict = self.look(now, all_read, waiting, written);
            if verdict != Verdict::Alive {
                // The task may be polled on by nothing else.
                cx.waker().wake_by_ref();
                return verdict;
            }
        }
        Verdict::Alive
    }

    fn look(&mut self, now: Instant, all_read: bool, waiting: bool, written: u64) -> Verdict {
        let progress = written != self.written;
        // When the kernel's buffer was full and takes more, the peer has read, and our question may be stuck behind what waits. (While it
        // isn't full, it takes what goes nowhere too.)
        if waiting && progress && self.asked.is_some() {
            self.asked = Some(now);
        }
        if !waiting || progress {
            (self.written, self.last_written) = (written, now);
        }
        if now.duration_since(self.last_written) >= self.stall {
            return Verdict::Stalled;
        }
        match self.asked {
            Some(asked) if all_read && now.duration_since(asked) >= self.pong => Verdict::Silent,
            Some(_) => Verdict::Alive,
            // What waits for the peer says all that a question could, and comes first.
            None if waiting || now.duration_since(self.answered) < self.ping => Verdict::Alive,
            None => {
                self.question = self.question.wrapping_add(1);
                self.asked = Some(now);
                Verdict::Ask
            }
        }
    }

    fn wind(&mut self, now: Instant) {
        let period = self.ping.min(self.pong).min(self.stall) / LOOKS_PER_PERIOD;
        let next = now.checked_add(period.clamp(PERIOD_MIN, PERIOD_MAX)).unwrap_or(now);
        self.alarm.as_mut().reset(next);
    }
}

const LOOKS_PER_PERIOD: u32 = 4;
const PERIOD_MIN: Duration = Duration::from_millis(1);
const PERIOD_MAX: Duration = Duration::from_secs(60);
