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
    /// When the next line is due.
    next_line: Duration,
}

impl Progress {
    pub(super) fn start(goal: Goal) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let length = match goal {
                Goal::Payments(payments) => payments,
                Goal::For(time) => millis(time),
            };
            let bar = ProgressBar::new(length);
            if let Ok(style) = ProgressStyle::with_template("  {bar:40} {percent:>3}%  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { goal, bar, next_line: Duration::from_secs(1) }
    }

    pub(super) fn show(&mut self, fulfilled: u64, time: Duration) {
        let rate = show::per_second(fulfilled, time);
        if let Some(bar) = &self.bar {
            bar.set_position(match self.goal {
                Goal::Payments(_) => fulfilled,
                Goal::For(_) => millis(time),
            });
            bar.set_message(format!("{} payments, {}/s", show::count(fulfilled), show::count(rate)));
        } else if time >= self.next_line {
            self.next_line = time.saturating_add(Duration::from_secs(1));
            let of = match self.goal {
                Goal::Payments(payments) => format!(" of {}", show::count(payments)),
                Goal::For(_) => String::new(),
            };
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "  {:>6}: {}{of} payments, {}/s", show::duration(time), show::count(fulfilled), show::count(rate));
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
