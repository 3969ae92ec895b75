//! Lines on stderr, each with its time.

use ilp_core::runtime::{Clock, SystemClock};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

/// Lines that may wait for a slow stderr; what comes on top is dropped and counted.
const WAITING_MAX: usize = 1_024;

/// Where lines go. Writing never blocks: a thread of its own writes them, so that a terminal which stands still can't stop payments.
#[derive(Debug, Clone)]
pub struct Log {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    clock: Arc<SystemClock>,
}

/// Waits, at the end, until all lines are written.
#[derive(Debug)]
pub struct LogWriter(Receiver<()>);

impl Log {
    /// Starts the writing thread.
    pub fn start() -> std::io::Result<(Self, LogWriter)> {
        let (lines, received) = sync_channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Self { lines, dropped: dropped.clone(), clock: Arc::new(SystemClock::new()) };
        let (alive, ended) = channel();
        std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&received, &dropped, alive))?;
        Ok((log, LogWriter(ended)))
    }

    /// Writes a line, with the time in front.
    pub fn line(&self, text: impl std::fmt::Display) {
        match self.lines.try_send(format!("{} {}\n", self.clock.now(), printable(&text.to_string()))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl LogWriter {
    /// Returns when every line is written and every [`Log`] is dropped, or this time is over.
    pub fn finish(self, at_most: Duration) {
        // Nothing is ever sent: the other half is dropped at the end of the thread.
        let _ = self.0.recv_timeout(at_most);
    }
}

fn write_lines(lines: &Receiver<String>, dropped: &AtomicU64, alive: Sender<()>) {
    let mut stderr = std::io::stderr();
    for line in lines {
        // Nobody may be there to read; that is no reason to stop.
        let _ = stderr.write_all(line.as_bytes());
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(writeln!(stderr, "({count} lines were dropped: stderr was too slow)")),
        }
    }
    drop(alive);
}

/// Peers have a say in some texts: what would move the cursor or begin a line is written out instead.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_peers_text_can_not_begin_a_line_or_colour_it() {
        assert_eq!(printable("no \x1b[31m\n2026 all is well é"), "no \\u{1b}[31m\\n2026 all is well é");
    }
}
