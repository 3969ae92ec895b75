//! The bar on a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// How far a run is, on a terminal; nothing on pipes and in files.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many kills.
    pub(super) fn new(kills: usize) -> Self {
        let bar = match u64::try_from(kills) {
            Ok(kills) if stderr().is_terminal() => ProgressBar::new(kills),
            _ => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// So many kills, so many payments.
    pub(super) fn show(&mut self, kills: usize, payments: u64) {
        self.0.set_position(u64::try_from(kills).unwrap_or(u64::MAX));
        self.0.set_message(format!("{payments} payments"));
    }

    /// Takes it off the screen.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
