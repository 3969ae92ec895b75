//! The bar on a terminal.

use super::clock::{Now, nanoseconds};
use super::options::Until;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// How far a run is, on a terminal; nothing on pipes and in files.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Counts milliseconds; otherwise payments.
    timed: bool,
    last: (u64, u64),
}

impl Progress {
    pub(crate) fn new(until: &Until) -> Self {
        let (length, timed) = match until {
            Until::Count(count) => (*count, false),
            Until::Elapsed(time) => (nanoseconds(*time) / NS_PER_MS, true),
        };
        let bar = if stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% {msg}") {
            bar.set_style(style);
        }
        Self { bar, timed, last: (0, 0) }
    }

    /// Brings it up to date: so many payments have ended.
    pub(crate) fn show(&mut self, ended: u64, now: Now) {
        if self.bar.is_hidden() {
            return;
        }
        let (then, ended_then) = std::mem::replace(&mut self.last, (now.ns, ended));
        let ms = (now.ns.saturating_sub(then) / NS_PER_MS).max(1);
        let per_second = ended.saturating_sub(ended_then).saturating_mul(1000) / ms;
        self.bar.set_position(if self.timed { now.ns / NS_PER_MS } else { ended });
        self.bar.set_message(format!("{ended} payments, {per_second} a second"));
    }

    /// Takes it off the screen.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

const NS_PER_MS: u64 = 1_000_000;
