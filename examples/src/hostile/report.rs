//! What an attack came to.

use super::attacks::Attack;
use super::measure::{Measured, Phase, Slice, Turn};
use crate::flood::report::Decimal;
use crate::show;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

/// One attack; one line of JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) attack: &'static str,
    /// The connector withstood it.
    pub(super) ok: bool,
    /// What it didn't withstand, in words.
    pub(super) wrong: Vec<String>,
    /// Which of the four demands it met.
    pub(super) kept: Kept,
    pub(super) connections: Connections,
    pub(super) bytes_sent: u64,
    pub(super) memory: Memory,
    /// Honest payments: medians over the seconds of all turns.
    pub(super) honest: Honest,
    /// What the attackers saw, and how often.
    pub(super) seen: BTreeMap<String, u64>,
    pub(super) left: Left,
}

/// The demands.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Kept {
    /// No connection costs more than 4 MiB.
    pub(super) memory: bool,
    /// Honest payments' p99 at most doubles.
    pub(super) latency: bool,
    /// Nothing is left behind.
    pub(super) nothing_left: bool,
    /// Every honest payment is made, once, an honest peer can log in, and the books are right.
    pub(super) honest: bool,
    /// The attackers got the answers that they should, and no others.
    pub(super) answers: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Connections {
    pub(super) opened: u64,
    /// At the same time, as the attackers saw it.
    pub(super) at_once: u64,
    /// At the same time, as the connector's open files show it.
    pub(super) held_at_once: usize,
    pub(super) closed: u64,
    pub(super) closed_after_ms: Option<u64>,
    pub(super) closed_after_ms_max: u64,
}

/// In MiB, above what the connector has under the honest load alone.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    /// From its allocator, at most.
    pub(super) heap: Decimal,
    /// In its pages, at most.
    pub(super) rss: Decimal,
    /// The larger of the two, for each connection held at once.
    pub(super) per_connection: Decimal,
}

/// In milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Honest {
    pub(super) p50_alone: Option<Decimal>,
    pub(super) p50: Option<Decimal>,
    pub(super) p99_alone: Option<Decimal>,
    pub(super) p99: Option<Decimal>,
    /// The quotient of the medians.
    pub(super) p99_ratio: Option<Decimal>,
    pub(super) logins: u64,
    pub(super) logins_failed: u64,
    pub(super) login_max_alone: Option<Decimal>,
    pub(super) login_max: Option<Decimal>,
}

/// What the connector has more than it had before: at rest, and as to memory, under the honest load alone.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub(super) heap_kib: i64,
    pub(super) rss_kib: i64,
    pub(super) files: i64,
    pub(super) tasks: i64,
    pub(super) connections: i64,
    pub(super) in_flight: i64,
    pub(super) held: i128,
}

impl Report {
    pub(super) fn new(attack: &Attack, measured: Measured) -> Self {
        let Measured { turns, counts, long, rest, complaints } = measured;
        let (memory, held_at_once) = memory(&turns);
        let honest = honest(&turns);
        let [before, after] = &rest;
        let more = |now: usize, then: usize| {
            i64::try_from(now).unwrap_or(i64::MAX).saturating_sub_unsigned(u64::try_from(then).unwrap_or(u64::MAX))
        };
        let kib = |bytes: usize| bytes / 1024;
        let left = Left {
            heap_kib: more(kib(long[1].heap), kib(long[0].heap)),
            rss_kib: i64::try_from(long[1].rss_kib).unwrap_or(i64::MAX).saturating_sub_unsigned(long[0].rss_kib),
            files: more(after.files, before.files),
            tasks: more(after.health.tasks, before.health.tasks),
            connections: more(after.health.connections, before.health.connections),
            in_flight: more(after.health.in_flight, before.health.in_flight),
            held: after.health.held - before.health.held,
        };

        let mut wrong = complaints;
        let honest_kept = wrong.is_empty() && honest.logins > 0;
        if honest.logins == 0 {
            wrong.push("an honest peer could not log in".to_owned());
        }
        let memory_kept = memory.per_connection <= Decimal::mib(MEMORY_MAX_KIB).unwrap_or(Decimal::ZERO);
        if !memory_kept {
            wrong.push(format!("a connection costs {} MiB", memory.per_connection));
        }
        let latency_kept = honest.p99_ratio.is_some_and(|ratio| Some(ratio) <= Decimal::ratio(2, 1));
        if !latency_kept {
            wrong.push(format!("honest payments' p99 is {} times what it was", shown(honest.p99_ratio)));
        }
        let remains = left.remains();
        let nothing_left = remains.is_empty();
        wrong.extend(remains);
        let mut answers: Vec<String> =
            attack.expected.iter().filter(|what| !counts.seen.contains_key(**what)).map(|what| format!("never seen: {what}")).collect();
        answers.extend(counts.seen.keys().filter(|what| what.starts_with('!')).map(|what| format!("seen: {what}")));
        let answers_kept = answers.is_empty();
        wrong.extend(answers);

        Self {
            attack: attack.name,
            ok: wrong.is_empty(),
            wrong,
            kept: Kept { memory: memory_kept, latency: latency_kept, nothing_left, honest: honest_kept, answers: answers_kept },
            connections: Connections {
                opened: counts.opened,
                at_once: counts.open_max,
                held_at_once,
                closed: counts.closed,
                closed_after_ms: counts.closed_ms(),
                closed_after_ms_max: counts.closed_ms_max,
            },
            bytes_sent: counts.bytes_sent,
            memory,
            honest,
            seen: counts.seen,
            left,
        }
    }
}

impl Left {
    /// What shouldn't be there, in words.
    fn remains(&self) -> Vec<String> {
        let mut remains = Vec::new();
        for (what, more) in
            [("open files", self.files), ("tasks", self.tasks), ("connections", self.connections), ("transfers in flight", self.in_flight)]
        {
            if more > 0 {
                remains.push(format!("{more} {what} are left"));
            }
        }
        if self.held != 0 {
            remains.push(format!("{} units are still held", self.held));
        }
        if self.heap_kib > HEAP_LEFT_MAX_KIB {
            remains.push(format!("{} KiB of heap are left", self.heap_kib));
        }
        remains
    }
}

fn memory(turns: &[Turn]) -> (Memory, usize) {
    let most = |value: fn(&Phase) -> u64, which: fn(&Turn) -> &Phase| turns.iter().map(|turn| value(which(turn))).max().unwrap_or(0);
    let above = |value: fn(&Phase) -> u64| most(value, |turn| &turn.attacked).saturating_sub(most(value, |turn| &turn.alone));
    let heap_kib = above(|phase| u64::try_from(phase.heap_peak / 1024).unwrap_or(u64::MAX));
    let rss_kib = above(|phase| phase.rss_peak_kib);
    let files = above(|phase| u64::try_from(phase.files_peak).unwrap_or(u64::MAX)).max(1);
    let mib = |kib| Decimal::mib(kib).unwrap_or(Decimal::ZERO);
    let per_connection = Decimal::ratio(heap_kib.max(rss_kib).into(), u128::from(files) * 1024).unwrap_or(Decimal::ZERO);
    (Memory { heap: mib(heap_kib), rss: mib(rss_kib), per_connection }, usize::try_from(files).unwrap_or(usize::MAX))
}

fn honest(turns: &[Turn]) -> Honest {
    let middle =
        |which: fn(&Turn) -> &Phase, what: fn(&Slice) -> Duration| median(turns.iter().flat_map(|turn| &which(turn).slices).map(what));
    let (p50_alone, p50) = (middle(|turn| &turn.alone, |slice| slice.p50), middle(|turn| &turn.attacked, |slice| slice.p50));
    let (p99_alone, p99) = (middle(|turn| &turn.alone, |slice| slice.p99), middle(|turn| &turn.attacked, |slice| slice.p99));
    let ms = |time: Option<Duration>| time.and_then(Decimal::milliseconds);
    let slowest = |which: fn(&Turn) -> &Phase| turns.iter().map(|turn| which(turn).logins.slowest).max().and_then(Decimal::milliseconds);
    Honest {
        p50_alone: ms(p50_alone),
        p50: ms(p50),
        p99_alone: ms(p99_alone),
        p99: ms(p99),
        p99_ratio: p99.zip(p99_alone).and_then(|(attacked, alone)| Decimal::ratio(attacked.as_nanos(), alone.as_nanos())),
        logins: turns.iter().map(|turn| turn.attacked.logins.done).sum(),
        logins_failed: turns.iter().map(|turn| turn.attacked.logins.failed).sum(),
        login_max_alone: slowest(|turn| &turn.alone),
        login_max: slowest(|turn| &turn.attacked),
    }
}

/// The one in the middle; of two in the middle the larger.
fn median<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    values.into_iter().nth(middle)
}

fn shown(value: Option<Decimal>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, memory, honest, left, .. } = self;
        let closed = match connections.closed_after_ms {
            Some(ms) => format!("{} closed after {ms} ms, {} at most", connections.closed, connections.closed_after_ms_max),
            None => "none closed".to_owned(),
        };
        writeln!(f, "{:18} {}", self.attack, if self.ok { "ok" } else { "NOT OK" })?;
        writeln!(
            f,
            "  attackers   {} connections, {} at once, {closed}; {} sent",
            connections.opened,
            connections.at_once,
            show::bytes(self.bytes_sent)
        )?;
        let Memory { heap, rss, per_connection } = memory;
        writeln!(
            f,
            "  memory      {heap} MiB more heap, {rss} MiB more pages; {per_connection} MiB for each of {}",
            connections.held_at_once
        )?;
        let Honest { p50_alone, p50, p99_alone, p99, p99_ratio, .. } = honest;
        let [p50_alone, p50, p99_alone, p99, ratio] = [p50_alone, p50, p99_alone, p99, p99_ratio].map(|value| shown(*value));
        writeln!(f, "  payments    p50 {p50_alone} → {p50} ms, p99 {p99_alone} → {p99} ms, {ratio} times")?;
        let (alone, slowest) = (shown(honest.login_max_alone), shown(honest.login_max));
        writeln!(f, "  logins      {}, and {} failed; {alone} → {slowest} ms at most", honest.logins, honest.logins_failed)?;
        let seen: Vec<String> = self.seen.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        writeln!(f, "  seen        {}", seen.join(", "))?;
        let Left { heap_kib, rss_kib, files, tasks, connections, in_flight, held } = left;
        write!(
            f,
            "  left        {heap_kib} KiB of heap, {rss_kib} KiB of pages, {files} files, {tasks} tasks, {connections} connections, {in_flight} transfers, {held} units held"
        )?;
        for wrong in &self.wrong {
            write!(f, "\n  WRONG       {wrong}")?;
        }
        Ok(())
    }
}

const MEMORY_MAX_KIB: u64 = 4 << 10;
/// Tables keep the size that they once had: those of transfers grow by 8,192 places at a time, at some 600 bytes each. It is the same
/// after many attacks as after one.
const HEAP_LEFT_MAX_KIB: i64 = 8 << 10;
