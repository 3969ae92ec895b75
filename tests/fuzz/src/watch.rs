//! Whether a child process goes on, judged by the processor time it has used rather than by the clock: on a busy machine a process may
//! get none for long.

use std::time::{Duration, Instant};

/// Since a child last said anything.
#[derive(Debug)]
pub(super) struct Watch {
    process: u32,
    heard: Instant,
    used: Duration,
}

impl Watch {
    pub(super) fn new(process: u32) -> Self {
        Self { process, heard: Instant::now(), used: used_by(process) }
    }

    pub(super) fn heard(&mut self) {
        (self.heard, self.used) = (Instant::now(), used_by(self.process));
    }

    /// It says something every second, unless one input takes for ever.
    pub(super) fn hangs(&self) -> bool {
        let silent = self.heard.elapsed();
        silent > IDLE_MAX || (silent > BUSY_MAX && used_by(self.process).saturating_sub(self.used) > BUSY_MAX)
    }
}

/// User and system time so far; nothing where the system doesn't tell.
fn used_by(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in brackets may hold blanks; what follows has the two times as its 12th and 13th field, in hundredths of a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks.saturating_mul(10))
}

const BUSY_MAX: Duration = Duration::from_secs(6);
const IDLE_MAX: Duration = Duration::from_secs(120);
