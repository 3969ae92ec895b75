//! The moments at which a connector is killed.

use super::connector::Said;
use super::journal::now_us;
use super::medium::Volatile;
use clap::ValueEnum;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{Write, stdout};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// A named moment in a connector's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Point {
    /// A frame's batch is durable, and the frame isn't with the system.
    BeforeSend,
    /// A frame is with the system, and nothing was done since.
    AfterSend,
    /// A batch is about to be given to the store.
    BeforeCommit,
    /// The store has called a batch durable, and nothing of it has left.
    BetweenCommitAndRelease,
    /// The slot is being opened: before anything is read, when the epoch is raised, or after some write or sync on the way.
    DuringOpen,
    /// Before or after a commit that carries a part of a snapshot, or the word that the log may be cut.
    DuringSnapshot,
    /// Any moment at all, chosen by the time since the process was started, whatever its threads are doing.
    AtAnyTime,
    /// The embedder has taken events from the stream, and done nothing about them.
    EventsTold,
    /// The embedder has events in its own ledger, and hasn't acknowledged them.
    EventsWritten,
    /// The embedder has acknowledged events, and the connector hasn't recorded that.
    EventsAcknowledged,
    /// The power fails when the store has written so much since a sync; also while it is being opened.
    PowerWhileWriting,
    /// The power fails before a sync has done all that it should; also while the store is being opened.
    PowerWhileSyncing,
    /// The power fails when a sync is done, before the store has told anybody.
    PowerAfterSync,
    /// The power fails when a frame is with the system: what it says must be durable.
    PowerAfterSend,
    /// The power fails at any moment at all.
    PowerAtAnyTime,
}

/// When a connector shall be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kill {
    pub(super) point: Point,
    /// The how-manieth time that the process stands there, counted from 1.
    pub(super) occurrence: u32,
    /// Which of the moments that have the name.
    pub(super) variant: u32,
}

impl Point {
    /// Moments at which the process is killed.
    pub(super) const KILLS: [Self; 7] = [
        Self::BeforeSend,
        Self::AfterSend,
        Self::BeforeCommit,
        Self::BetweenCommitAndRelease,
        Self::DuringOpen,
        Self::DuringSnapshot,
        Self::AtAnyTime,
    ];

    /// Those of an embedder that keeps a ledger from events.
    pub(super) const EVENTS: [Self; 10] = [
        Self::BeforeSend,
        Self::AfterSend,
        Self::BeforeCommit,
        Self::BetweenCommitAndRelease,
        Self::DuringOpen,
        Self::DuringSnapshot,
        Self::AtAnyTime,
        Self::EventsTold,
        Self::EventsWritten,
        Self::EventsAcknowledged,
    ];

    /// Moments at which the power fails.
    pub(super) const POWER: [Self; 5] =
        [Self::PowerWhileWriting, Self::PowerWhileSyncing, Self::PowerAfterSync, Self::PowerAfterSend, Self::PowerAtAnyTime];

    /// How often it shall happen until the kill: drawn from these. A frame is sent every millisecond or less, a batch is durable every few.
    /// Of any time: milliseconds.
    fn occurrences(self) -> (u32, u32) {
        match self {
            Self::BeforeSend | Self::AfterSend | Self::PowerAfterSend => (20, 500),
            Self::BeforeCommit | Self::BetweenCommitAndRelease => (3, 60),
            Self::EventsTold | Self::EventsWritten | Self::EventsAcknowledged => (1, 40),
            Self::DuringOpen => (1, 12),
            Self::AtAnyTime | Self::PowerAtAnyTime => (1, 400),
            Self::DuringSnapshot => (1, 4),
            // Syncs: the first ones are those of opening.
            Self::PowerWhileWriting | Self::PowerWhileSyncing | Self::PowerAfterSync => (1, 100),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value();
        f.write_str(name.as_ref().map_or("", |name| name.get_name()))
    }
}

/// So many kills at these points, all of them as often as each other, in an order and at occurrences that the seed decides.
///
/// Snapshots take a while to come by, so of many kills not more than a twelfth wait for one.
pub(super) fn draw(seed: u64, times: u32, points: &[Point]) -> Vec<Kill> {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let quota = |point: Point| match point {
        Point::DuringSnapshot if points.len() > 1 => (times / 12).max(20),
        _ => u32::MAX,
    };
    let mut counts = vec![0_u32; points.len()];
    let mut kills = Vec::new();
    while !points.is_empty() && u32::try_from(kills.len()).is_ok_and(|drawn| drawn < times) {
        let fewest = points.iter().zip(&mut counts).filter(|(point, count)| **count < quota(**point)).min_by_key(|(_, count)| **count);
        let Some((point, count)) = fewest else { break };
        *count += 1;
        let (least, most) = point.occurrences();
        let occurrence = least + random.next_u32() % (most - least + 1);
        kills.push(Kill { point: *point, occurrence, variant: random.next_u32() });
    }
    for place in (1..kills.len()).rev() {
        let other = usize::try_from(random.next_u32()).unwrap_or_default() % (place + 1);
        kills.swap(place, other);
    }
    kills
}

/// Kills the process that it is in when the moment has come.
#[derive(Debug)]
pub(super) struct Trigger {
    kill: Option<Kill>,
    count: AtomicU32,
    opened: AtomicBool,
    dying: AtomicBool,
    /// Loses its power before the process dies.
    disk: OnceLock<Weak<Volatile>>,
}

/// The last words of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastWords {
    pub(super) point: Point,
    /// What exactly was about to happen, or had.
    pub(super) what: String,
    /// When, in microseconds since 1970.
    pub(super) at_us: i64,
    /// The slot wasn't open yet.
    pub(super) opening: bool,
    /// Of the disk whose power has failed.
    pub(super) torn: Option<Torn>,
}

/// What became of the sectors that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Torn {
    /// How many there were.
    pub(super) unsynced: u64,
    /// How many were changed on the disk, all the same.
    pub(super) survived: u64,
}

impl Trigger {
    pub(super) fn new(kill: Option<Kill>) -> Self {
        Self { kill, count: AtomicU32::new(0), opened: AtomicBool::new(false), dying: AtomicBool::new(false), disk: OnceLock::new() }
    }

    /// The disk whose power fails at the same time.
    pub(super) fn set_disk(&self, disk: &Arc<Volatile>) {
        let _ = self.disk.set(Arc::downgrade(disk));
    }

    /// The slot is open.
    pub(super) fn set_opened(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_opened(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    /// Lets the process die at its time, if that is what is meant. Needs a thread that nothing else keeps busy.
    pub(super) fn start_clock(self: &Arc<Self>) {
        let Some(kill) = self.kill.filter(|kill| matches!(kill.point, Point::AtAnyTime | Point::PowerAtAnyTime)) else { return };
        let trigger = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(kill.occurrence.into()));
            trigger.die(kill, "so many milliseconds after its start".to_owned());
        });
    }

    /// Which of so many moments of a point's name is meant, if it is this point's turn at all.
    pub(super) fn variant(&self, point: Point, variants: u32) -> Option<u32> {
        self.kill.filter(|kill| kill.point == point).map(|kill| kill.variant.checked_rem(variants).unwrap_or_default())
    }

    /// The process stands at a point. If it is the one where it shall die, it does, and this never returns.
    pub(super) fn at(&self, point: Point, what: impl FnOnce() -> String) {
        let Some(kill) = self.kill.filter(|kill| kill.point == point) else { return };
        if self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1) == kill.occurrence {
            self.die(kill, what());
        }
    }

    /// A disk with `syncs` behind it stands at a point, after so many writes since; `None` if no more are to come before the next sync.
    pub(super) fn power(&self, point: Point, syncs: u32, writes: Option<u32>, what: impl FnOnce() -> String) {
        let Some(kill) = self.kill.filter(|kill| kill.point == point) else { return };
        // Opening has few syncs: a quarter of all cuts come there.
        let after = if kill.variant.is_multiple_of(4) { kill.occurrence % OPENING_SYNCS } else { kill.occurrence };
        if syncs >= after && writes.is_none_or(|writes| writes > kill.variant / 4 % WRITES_MAX) {
            self.die(kill, what());
        }
    }

    /// The last of its moments has come, whatever its number was.
    pub(super) fn at_last(&self, point: Point, what: impl FnOnce() -> String) {
        if let Some(kill) = self.kill.filter(|kill| kill.point == point) {
            self.die(kill, what());
        }
    }

    /// One line to the parent, then the signal that nothing can catch: all threads are gone before any of them does anything more.
    fn die(&self, kill: Kill, what: String) -> ! {
        while self.dying.swap(true, Ordering::Relaxed) {
            // Another thread of this process has come to its moment first.
            std::thread::park();
        }
        let at_us = now_us();
        let disk = self.disk.get().and_then(Weak::upgrade);
        let torn = disk.map(|disk| disk.cut(u64::from(kill.variant) << 32 | u64::from(kill.occurrence)));
        let words = LastWords { point: kill.point, what, at_us, opening: !self.is_opened(), torn };
        let line = serde_json::to_string(&Said::At(words)).unwrap_or_default() + "\n";
        let mut out = stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        loop {
            let _ = kill_process(getpid(), Signal::KILL);
            std::thread::park();
        }
    }
}

/// So many syncs at most belong to opening.
const OPENING_SYNCS: u32 = 4;
/// The power fails after one to so many writes.
const WRITES_MAX: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn counts(kills: &[Kill]) -> BTreeMap<Point, u32> {
        let mut counts = BTreeMap::new();
        kills.iter().for_each(|kill| *counts.entry(kill.point).or_default() += 1);
        counts
    }

    #[test]
    fn each_point_has_its_share() {
        assert!(counts(&draw(1, 14, &Point::KILLS)).values().all(|count| *count == 2));
        let many = draw(7, 300, &Point::KILLS);
        assert_eq!(many.len(), 300);
        assert!(counts(&many).len() == 7 && counts(&many).values().all(|count| *count >= 20), "{:?}", counts(&many));
        assert_eq!(draw(7, 40, &[Point::DuringSnapshot]).len(), 40);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(draw(7, 60, &Point::KILLS), draw(7, 60, &Point::KILLS));
        assert_ne!(draw(7, 60, &Point::KILLS), draw(8, 60, &Point::KILLS));
        assert_ne!(counts(&draw(7, 60, &Point::KILLS)), BTreeMap::new());
    }
}
