//! `flood --compare`: the same run with the memory store and with the embedded one, in turns.

use super::options::{Plan, Target};
use super::report::{Decimal, Report};
use super::store::{Store, StoreUse};
use super::{StartError, drive};
use serde::Serialize;
use std::fmt::{self, Display};
use std::io::{Write, stderr};

/// A comparison; as JSON one line with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Comparison {
    /// Of each store.
    runs: u16,
    /// With the books in memory.
    memory: Runs,
    /// With the books on the disk.
    embedded: Runs,
    /// What the embedded store reaches of the memory store's median, 1 being all of it.
    ratio: Option<Decimal>,
}

/// The runs with one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Runs {
    /// The median.
    payments_per_second: Option<Decimal>,
    least: Option<Decimal>,
    most: Option<Decimal>,
    /// Medians.
    p50_ms: Option<Decimal>,
    p99_ms: Option<Decimal>,
    cpu_us_per_payment: Option<Decimal>,
    balances_ok: bool,
    /// Of the last run.
    disk: Option<StoreUse>,
}

/// Makes the runs; gives the report and what is to be complained about.
pub(super) async fn compare(plan: &Plan, times: u16) -> Result<(Comparison, Vec<String>), StartError> {
    let (mut memory, mut embedded, mut complaints) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..times {
        // Every second turn the other way round: what warms up, or fills up, does so for both.
        let order = [Store::Memory, Store::Embedded];
        let order = if turn.is_multiple_of(2) { order } else { [order[1], order[0]] };
        for store in order {
            let (report, wrong) = drive(&with(plan, store)).await?;
            let _ = writeln!(stderr(), "{}: {} payments a second", store.name(), report.payments_per_second);
            complaints.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", store.name())));
            match store {
                Store::Memory => memory.push(report),
                Store::Embedded => embedded.push(report),
            }
        }
    }
    let (memory, embedded) = (runs(&memory), runs(&embedded));
    let ratio = embedded.payments_per_second.zip(memory.payments_per_second).and_then(|(a, b)| a.over(b));
    Ok((Comparison { runs: times, memory, embedded, ratio }, complaints))
}

fn with(plan: &Plan, with: Store) -> Plan {
    let mut plan = plan.clone();
    if let Target::Child { store, .. } = &mut plan.target {
        *store = with;
    }
    plan
}

fn runs(reports: &[Report]) -> Runs {
    let sorted = |of: fn(&Report) -> Option<Decimal>| {
        let mut all: Vec<Decimal> = reports.iter().filter_map(of).collect();
        all.sort_unstable();
        all
    };
    let median = |of| {
        let all = sorted(of);
        all.get(all.len() / 2).copied()
    };
    let rates = sorted(|report| Some(report.payments_per_second));
    Runs {
        payments_per_second: median(|report| Some(report.payments_per_second)),
        least: rates.first().copied(),
        most: rates.last().copied(),
        p50_ms: median(|report| report.latency_ms.p50),
        p99_ms: median(|report| report.latency_ms.p99),
        cpu_us_per_payment: median(|report| report.connector.and_then(|usage| usage.cpu_us_per_payment)),
        balances_ok: reports.iter().all(|report| report.balances_ok),
        disk: reports.last().and_then(|report| report.disk.clone()),
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        for (name, runs) in [("memory", &self.memory), ("embedded", &self.embedded)] {
            let (rate, least, most) = (shown(runs.payments_per_second), shown(runs.least), shown(runs.most));
            let (p50, p99, cpu) = (shown(runs.p50_ms), shown(runs.p99_ms), shown(runs.cpu_us_per_payment));
            writeln!(f, "{name:<9} {rate} payments a second ({least} to {most}), p50 {p50} ms, p99 {p99} ms, {cpu} µs of CPU")?;
            if let Some(disk) = &runs.disk {
                writeln!(f, "{disk}")?;
            }
        }
        write!(f, "embedded / memory: {}", shown(self.ratio))
    }
}
