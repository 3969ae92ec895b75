//! `flood --compare`: the run as the other options have it, and one that differs in one thing, in turns.

use super::options::{Plan, Target};
use super::report::{Decimal, Report, WorkersUse};
use super::store::{RedisUse, Store, StoreUse};
use super::{StartError, drive};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::{self, Display};
use std::io::{Write, stderr};
use std::str::FromStr;

/// What differs in the run that the other is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// The books are kept elsewhere.
    Store(Store),
    /// The connector has so many workers.
    Workers(u16),
    /// The accounts have this parallelism.
    Parallelism(u8),
}

impl FromStr for Baseline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is none of memory, store=STORE, workers=N (1 to 64) and parallelism=P (1 to 255)");
        match text.split_once('=') {
            None if text == "memory" => Ok(Self::Store(Store::Memory)),
            Some(("store", store)) => Store::from_str(store, false).map(Self::Store).map_err(|_| wrong()),
            Some(("workers", n)) => n.parse().ok().filter(|n| (1..=64).contains(n)).map(Self::Workers).ok_or_else(wrong),
            Some(("parallelism", p)) => p.parse().ok().filter(|p| *p > 0).map(Self::Parallelism).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }
}

impl Baseline {
    fn of(self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        match (self, &mut plan.target) {
            (Self::Store(other), Target::Child { store, .. }) => *store = other,
            (Self::Store(_), Target::Url { .. }) => {}
            (Self::Workers(workers), _) => plan.workers = workers,
            (Self::Parallelism(parallelism), _) => plan.parallelism = parallelism,
        }
        plan
    }

    /// What a run is called that is compared with another in this.
    fn name(self, plan: &Plan) -> String {
        match (self, &plan.target) {
            (Self::Store(_), Target::Child { store, .. }) => store.name().to_owned(),
            (Self::Store(_), Target::Url { .. }) => String::new(),
            (Self::Workers(_), _) => format!("workers={}", plan.workers),
            (Self::Parallelism(_), _) => format!("parallelism={}", plan.parallelism),
        }
    }
}

/// A comparison; as JSON one line with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Comparison {
    /// Of each.
    runs: u16,
    baseline: Runs,
    /// As the other options have it.
    run: Runs,
    /// What the run reaches of the baseline's median, 1 being all of it.
    ratio: Option<Decimal>,
}

/// The runs of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Runs {
    name: String,
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
    /// Of the last run, if it has one.
    redis: Option<RedisUse>,
    /// Of the last run, if there are several workers or slots.
    workers: Option<WorkersUse>,
}

/// Makes the runs; gives the report and what is to be complained about.
pub(super) async fn compare(plan: &Plan, times: u16, against: Baseline) -> Result<(Comparison, Vec<String>), StartError> {
    let mut kinds = [against.of(plan), plan.clone()].map(|plan| (against.name(&plan), plan, Vec::new()));
    let mut complaints = Vec::new();
    for turn in 0..times {
        // Every second turn the other way round: what warms up, or fills up, does so for both.
        let order = if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        for at in order {
            let (name, plan, reports) = &mut kinds[at];
            let (report, wrong) = drive(plan).await?;
            let _ = writeln!(stderr(), "{name}: {} payments a second", report.payments_per_second);
            complaints.extend(wrong.into_iter().map(|wrong| format!("{name}: {wrong}")));
            reports.push(report);
        }
    }
    let [baseline, run] = kinds.map(|(name, _, reports)| runs(name, &reports));
    let ratio = run.payments_per_second.zip(baseline.payments_per_second).and_then(|(a, b)| a.over(b));
    Ok((Comparison { runs: times, baseline, run, ratio }, complaints))
}

fn runs(name: String, reports: &[Report]) -> Runs {
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
        name,
        payments_per_second: median(|report| Some(report.payments_per_second)),
        least: rates.first().copied(),
        most: rates.last().copied(),
        p50_ms: median(|report| report.latency_ms.p50),
        p99_ms: median(|report| report.latency_ms.p99),
        cpu_us_per_payment: median(|report| report.connector.and_then(|usage| usage.cpu_us_per_payment)),
        balances_ok: reports.iter().all(|report| report.balances_ok),
        disk: reports.last().and_then(|report| report.disk.clone()),
        redis: reports.last().and_then(|report| report.redis.clone()),
        workers: reports.last().and_then(|report| report.workers),
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        for runs in [&self.baseline, &self.run] {
            let (name, rate, least, most) = (&runs.name, shown(runs.payments_per_second), shown(runs.least), shown(runs.most));
            let (p50, p99, cpu) = (shown(runs.p50_ms), shown(runs.p99_ms), shown(runs.cpu_us_per_payment));
            writeln!(f, "{name:<13} {rate} payments a second ({least} to {most}), p50 {p50} ms, p99 {p99} ms, {cpu} µs of CPU")?;
            let workers = runs.workers.as_ref().map(ToString::to_string);
            let disk = runs.disk.as_ref().map(ToString::to_string);
            let parts = [workers, disk, runs.redis.as_ref().map(ToString::to_string)];
            for part in parts.into_iter().flatten() {
                writeln!(f, "{part}")?;
            }
        }
        write!(f, "{} / {}: {}", self.run.name, self.baseline.name, shown(self.ratio))
    }
}
