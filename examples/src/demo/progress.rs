//! How far the demo is: a bar on a terminal, otherwise a line every second.

use super::Goal;
use crate::show;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Writes to stderr only, so that the report can be sent elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    goal: Goal,
    bar: Option<ProgressBar>,
    /// What was shown last, and when: the rate shown next is the rate since then.
    shown: (u64, Duration),
}

impl Progress {
    pub(super) fn start(goal: Goal) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let length = match goal {
                Goal::Payments(payments) => payments,
                Goal::For(time) => millis(time),
            };
            let bar = ProgressBar::new(length);
            if let Ok(style) = ProgressStyle::with_template("  {bar:28} {percent:>3}%  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { goal, bar, shown: (0, Duration::ZERO) }
    }

    pub(super) fn show(&mut self, fulfilled: u64, time: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_position(match self.goal {
                Goal::Payments(_) => fulfilled,
                Goal::For(_) => millis(time),
            });
        }
        let (before, since) = self.shown;
        let passed = time.saturating_sub(since);
        if passed < Duration::from_secs(1) {
            return;
        }
        self.shown = (fulfilled, time);
        let rate = show::count(show::per_second(fulfilled.saturating_sub(before), passed));
        let fulfilled = show::count(fulfilled);
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{fulfilled} payments, {rate} a second"));
        } else {
            let time = show::duration(time);
            let _ = writeln!(std::io::stderr(), "  {time:>10}  {fulfilled:>12} payments  {rate:>8} a second");
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
