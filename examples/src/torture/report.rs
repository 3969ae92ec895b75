//! What a run has shown.

use super::check::Verdict;
use super::points::Torn;
use super::run::Figures;
use crate::flood::report::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

/// A report; as JSON one line with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// Nothing was lost, and nothing is to be complained about.
    pub(super) ok: bool,
    /// Processes killed, each of which said before where it stood.
    kills: usize,
    /// Those at whose death payments were held and undecided, by their payers' journals.
    kills_with_in_flight: usize,
    /// Such payments, on average.
    in_flight_mean: u64,
    /// Payments that were held by a process that was killed, and fulfilled by a later one.
    paid_across_kills: u64,
    /// Kills by the moment at which the process stood.
    points: BTreeMap<String, u64>,
    /// The same, by what was about to happen there, or had.
    moments: BTreeMap<String, u64>,
    /// Those that came before the slot was open.
    kills_while_opening: usize,
    /// A Redis server was killed beside them, and started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    servers_killed: Option<u64>,
    /// Of power cuts: sectors that weren't synced, and those of them that reached the disk all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    sectors: Option<Sectors>,
    /// Payments started.
    payments: u64,
    /// Payments that their payers owe.
    fulfilled: u64,
    /// Units that the store's balances are off from what the peers' journals say, those still held among them.
    units_lost: u64,
    /// Payments with one end paid and the other not that the store doesn't list.
    disagreements: u64,
    /// Listed by the store: charged, and the payer refused the preimage although it had it in time.
    disputed: u64,
    /// Listed by the store: charged, and the payer never answered.
    unconfirmed: u64,
    /// Listed by the store: the preimage came too late for the payer, and the connector's own account paid.
    borne: u64,
    /// Payments of which neither end knows what became of them.
    unknown_to_both: u64,
    /// Of the ledger that the embedder made from events, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Events>,
    /// From a process's start until its slot is open and it listens.
    recovery_ms: Recovery,
    /// Connections of peers beyond their first ones.
    reconnects: u64,
    /// Frames in the peers' journals.
    frames: u64,
    /// From the first payment to the verdict.
    seconds: Decimal,
    /// Of the moments: `--seed` chooses the same again.
    seed: u64,
    /// Where the books are.
    store: super::StoreKind,
    /// What was broken on purpose.
    sabotage: Option<super::Sabotage>,
    /// What is wrong, in words.
    pub(super) complaints: Vec<String>,
}

/// Of all power cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Sectors {
    unsynced: u64,
    survived: u64,
    /// Cuts that some of the unsynced sectors survived, and some didn't.
    torn_cuts: usize,
}

/// Of the embedder's own ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Events {
    /// Events in it, without gaps.
    pub(super) told: u64,
    /// Those that were told once more, and passed over.
    pub(super) again: u64,
    /// Units by which it and the store's books differ.
    pub(super) units_apart: u64,
}

/// Of all restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Recovery {
    p50: Option<Decimal>,
    max: Option<Decimal>,
}

impl Report {
    pub(super) fn new(figures: Figures, verdict: Verdict) -> Self {
        let mut recoveries = figures.recoveries_us;
        recoveries.sort_unstable();
        let ms = |us: Option<&u64>| us.and_then(|us| Decimal::milliseconds(Duration::from_micros(*us)));
        let recovery_ms = Recovery { p50: ms(recoveries.get(recoveries.len() / 2)), max: ms(recoveries.last()) };
        let (mut points, mut moments) = (BTreeMap::new(), BTreeMap::new());
        for words in &figures.kills {
            *points.entry(words.point.to_string()).or_default() += 1;
            let phase = if words.opening { ", while opening" } else { "" };
            *moments.entry(format!("{}: {}{phase}", words.point, kind(&words.what))).or_default() += 1;
        }
        let torn: Vec<Torn> = figures.kills.iter().filter_map(|words| words.torn).collect();
        let sectors = Sectors {
            unsynced: torn.iter().map(|torn| torn.unsynced).sum(),
            survived: torn.iter().map(|torn| torn.survived).sum(),
            torn_cuts: torn.iter().filter(|torn| torn.survived > 0 && torn.survived < torn.unsynced).count(),
        };
        let kills = figures.kills.len();
        let in_flight_sum: u64 = verdict.in_flight.iter().sum();
        let complaints: Vec<String> = figures.complaints.into_iter().chain(verdict.complaints).collect();
        Self {
            ok: complaints.is_empty() && verdict.units_lost == 0 && verdict.disagreements == 0,
            kills,
            kills_with_in_flight: verdict.in_flight.iter().filter(|count| **count > 0).count(),
            in_flight_mean: u64::try_from(kills).ok().and_then(|kills| in_flight_sum.checked_div(kills)).unwrap_or_default(),
            paid_across_kills: verdict.paid_across_kills,
            points,
            moments,
            kills_while_opening: figures.kills.iter().filter(|words| words.opening).count(),
            sectors: (!torn.is_empty()).then_some(sectors),
            payments: verdict.payments,
            servers_killed: (figures.store == super::StoreKind::Redis).then_some(figures.servers_killed),
            fulfilled: verdict.fulfilled,
            units_lost: verdict.units_lost,
            disagreements: verdict.disagreements,
            disputed: verdict.disputed,
            unconfirmed: verdict.unconfirmed,
            borne: verdict.borne,
            unknown_to_both: verdict.unknown_to_both,
            events: figures.events,
            recovery_ms,
            reconnects: figures.reconnects,
            frames: verdict.frames,
            seconds: Decimal::seconds(figures.time).unwrap_or(Decimal::ZERO),
            seed: figures.seed,
            store: figures.store,
            sabotage: figures.sabotage,
            complaints,
        }
    }
}

/// A moment without its numbers.
fn kind(what: &str) -> String {
    what.chars()
        .map(|c| if c.is_ascii_digit() { '#' } else { c })
        .collect::<String>()
        .replace("##", "#")
        .replace("##", "#")
        .replace("##", "#")
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let lines =
            |counts: &BTreeMap<String, u64>| counts.iter().map(|(name, count)| format!("  {count:5}  {name}\n")).collect::<String>();
        writeln!(f, "kills          {} in {} s, seed {}", self.kills, self.seconds, self.seed)?;
        write!(f, "{}", lines(&self.points))?;
        writeln!(f, "opening        {} of them before the slot was open", self.kills_while_opening)?;
        if let Some(servers) = self.servers_killed {
            writeln!(f, "servers        {servers} times the Redis server was killed, too")?;
        }
        if let Some(Sectors { unsynced, survived, torn_cuts }) = self.sectors {
            writeln!(f, "sectors        {survived} of {unsynced} unsynced ones survived; {torn_cuts} cuts tore something")?;
        }
        let (kills, mean, paid) = (self.kills_with_in_flight, self.in_flight_mean, self.paid_across_kills);
        writeln!(f, "in flight      at {kills} kills; {mean} payments on average; {paid} were paid by a later process")?;
        writeln!(f, "payments       {}, of which {} are owed by their payers", self.payments, self.fulfilled)?;
        writeln!(f, "journals       {} frames; {} reconnections", self.frames, self.reconnects)?;
        writeln!(f, "recovery       {} ms as a rule, {} ms at most", shown(self.recovery_ms.p50), shown(self.recovery_ms.max))?;
        writeln!(f, "listed         {} disputed, {} unconfirmed, {} borne", self.disputed, self.unconfirmed, self.borne)?;
        writeln!(f, "unknown        {} payments, to both ends", self.unknown_to_both)?;
        if let Some(Events { told, again, units_apart }) = self.events {
            writeln!(f, "events         {told}, of which {again} were told again; their ledger is {units_apart} units from the store")?;
        }
        writeln!(f, "disagreements  {}", self.disagreements)?;
        write!(f, "units lost     {}", self.units_lost)
    }
}
