//! Lines on stderr, each with its time.

use ilp_core::runtime::{Clock, SystemClock};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait for a slow stderr; what comes on top is dropped and counted.
const WAITING_MAX: usize = 1_024;

/// Lines about strangers in one [`STRANGERS_EVERY`]; the rest are counted and summed up at its end. Whoever scans the internet shall not
/// fill the operator's disk.
const STRANGERS_MAX: u64 = 10;
const STRANGERS_EVERY: Duration = Duration::from_secs(10);

/// Where lines go. Writing never blocks: a thread of its own writes them, so that a terminal which stands still can't stop payments.
#[derive(Debug, Clone)]
pub struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    clock: Arc<SystemClock>,
}

#[derive(Debug)]
struct Line {
    text: String,
    about_strangers: bool,
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
        self.send(&text.to_string(), false);
    }

    /// Likewise a line that anybody can cause: ten in ten seconds are written, the rest summed up.
    pub fn stranger(&self, text: impl std::fmt::Display) {
        self.send(&text.to_string(), true);
    }

    fn send(&self, text: &str, about_strangers: bool) {
        let text = format!("{} {}\n", self.clock.now(), printable(text));
        match self.lines.try_send(Line { text, about_strangers }) {
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

fn write_lines(lines: &Receiver<Line>, dropped: &AtomicU64, alive: Sender<()>) {
    let mut stderr = std::io::stderr();
    let mut strangers = Strangers::new(Instant::now());
    loop {
        let line = match strangers.due_at() {
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => lines.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        // Nobody may be there to read; that is no reason to stop.
        if let Some(sum) = strangers.sum(Instant::now(), matches!(line, Err(RecvTimeoutError::Disconnected))) {
            let _ = stderr.write_all(sum.as_bytes());
        }
        match line {
            Ok(line) if line.about_strangers && !strangers.may_say() => {}
            Ok(line) => drop(stderr.write_all(line.text.as_bytes())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(writeln!(stderr, "({count} lines were dropped: stderr was too slow)")),
        }
    }
    drop(alive);
}

/// How much has been said about strangers lately.
#[derive(Debug)]
struct Strangers {
    since: Instant,
    said: u64,
    unsaid: u64,
}

impl Strangers {
    fn new(now: Instant) -> Self {
        Self { since: now, said: 0, unsaid: 0 }
    }

    /// When the sum is due; `None` while nothing has been left out.
    fn due_at(&self) -> Option<Instant> {
        (self.unsaid > 0).then(|| self.since + STRANGERS_EVERY)
    }

    /// Counts a line; whether it is written.
    fn may_say(&mut self) -> bool {
        let may = self.said < STRANGERS_MAX;
        *if may { &mut self.said } else { &mut self.unsaid } += 1;
        may
    }

    /// At the end of a period, or of everything, the line about what was left out, if anything was; the next period begins.
    fn sum(&mut self, now: Instant, end: bool) -> Option<String> {
        if !end && now.saturating_duration_since(self.since) < STRANGERS_EVERY {
            return None;
        }
        let unsaid = std::mem::replace(self, Self::new(now)).unsaid;
        (unsaid > 0).then(|| format!("({unsaid} more lines about strangers were left out)\n"))
    }
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
    use super::{STRANGERS_EVERY, Strangers, printable};
    use std::time::{Duration, Instant};

    #[test]
    fn lines_that_strangers_cause_are_summed_up() {
        let began = Instant::now();
        let mut strangers = Strangers::new(began);
        assert_eq!((0..1_000).filter(|_| strangers.may_say()).count(), 10);
        assert_eq!(strangers.due_at(), Some(began + STRANGERS_EVERY));
        assert_eq!(strangers.sum(began + STRANGERS_EVERY - Duration::from_millis(1), false), None);
        assert_eq!(strangers.sum(began + STRANGERS_EVERY, false).as_deref(), Some("(990 more lines about strangers were left out)\n"));
        assert!(strangers.due_at().is_none() && strangers.may_say());
        assert_eq!(strangers.sum(began + STRANGERS_EVERY * 3, true), None, "nothing was left out");
    }

    #[test]
    fn a_peers_text_can_not_begin_a_line_or_colour_it() {
        assert_eq!(printable("no \x1b[31m\n2026 all is well é"), "no \\u{1b}[31m\\n2026 all is well é");
    }
}
