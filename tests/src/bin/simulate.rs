//! Runs networks of connectors, each from a seed, and checks their books; see `docs/testing.md`.

use clap::{Parser, ValueEnum};
use ilp_tests::sim::{Coverage, FaultKind, Observation, Outcome, Plan, START, Seen, Side, TransferState, Violation, run, shrink, watch};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Simulates networks of three to five connectors and their peers, with 200 payments and a dozen faults each, all from one number; an
/// auditor that sees only frames and what is durable checks the books.
///
/// Exit codes: 0 every rule held; 1 a rule was broken; 2 the command line is wrong; 3 the runs left a fault or a state of a transfer
/// untried (--coverage).
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Options {
    /// How many seeds are run.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    seeds: u64,
    /// The first of them. Drawn from the clock if it isn't given, and printed.
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// Runs one seed and prints everything that happens.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Only these kinds of faults, with commas between; `none` for none.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Stops starting new seeds after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Stops at the first seed that breaks a rule.
    #[arg(long)]
    stop_at_first: bool,
    /// Fails with exit code 3 if a fault struck in fewer than 5 % of the seeds, or a fault met a state of a transfer in less than 1 %.
    #[arg(long)]
    coverage: bool,
    /// With --seed: only these faults of the plan, by number; as a report says.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', requires = "seed")]
    keep_faults: Option<Vec<usize>>,
    /// With --seed: only these payments of the plan, by number; as a report says.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', requires = "seed")]
    keep_payments: Option<Vec<usize>>,
    /// With --seed: prints a hash of everything that happens instead of what happens.
    #[arg(long, requires = "seed")]
    digest: bool,
    /// How many threads; all cores by default.
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Kind(Option<FaultKind>);

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Kind; FaultKind::ALL.len() + 1] = {
            let mut all = [Kind(None); FaultKind::ALL.len() + 1];
            let mut place = 0;
            while place < FaultKind::ALL.len() {
                all[place + 1] = Kind(Some(FaultKind::ALL[place]));
                place += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.map_or("none", FaultKind::name)))
    }
}

impl Options {
    fn kinds(&self) -> Vec<FaultKind> {
        if self.faults.is_empty() { FaultKind::ALL.to_vec() } else { self.faults.iter().filter_map(|kind| kind.0).collect() }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    std::panic::set_hook(Box::new(|_| {}));
    match options.seed {
        Some(seed) => one(&options, seed),
        None => many(&options),
    }
}

// One seed.

fn one(options: &Options, seed: u64) -> ExitCode {
    let mut plan = Plan::new(seed, &options.kinds());
    if let Some(keep) = &options.keep_faults {
        plan.faults.retain(|fault| keep.contains(&fault.no));
    }
    if let Some(keep) = &options.keep_payments {
        plan.payments.retain(|payment| keep.contains(&payment.no));
    }
    let outcome = if options.digest { hashed(&plan) } else { shown(&plan) };
    finish_one(options, &plan, &outcome)
}

fn shown(plan: &Plan) -> Outcome {
    say(&network(plan));
    watch(plan, Some(Box::new(|observation: &Observation| say(&line(observation)))))
}

fn hashed(plan: &Plan) -> Outcome {
    let hash = Rc::new(RefCell::new(Sha256::new()));
    let into = hash.clone();
    let outcome = watch(plan, Some(Box::new(move |observation: &Observation| into.borrow_mut().update(format!("{observation:?}\n")))));
    say(&hex::encode(hash.borrow().clone().finalize()));
    outcome
}

fn finish_one(options: &Options, plan: &Plan, outcome: &Outcome) -> ExitCode {
    if options.json {
        let struck: Map<String, Value> = outcome.struck.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
        let violation = outcome.violation.as_ref();
        say(&json!({
            "seed": plan.seed, "payments": plan.payments.len(), "faults": struck, "observations": outcome.observations,
            "quiet_points": outcome.quiet_points, "violations": u8::from(violation.is_some()),
            "invariant": violation.map(|v| v.invariant.name()), "what": violation.map(|v| v.what.clone()),
        })
        .to_string());
    }
    match &outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            say(&told(violation));
            ExitCode::FAILURE
        }
    }
}

// Many seeds.

#[derive(Default)]
struct Sum {
    seeds: u64,
    payments: u64,
    observations: u64,
    quiet_points: u64,
    struck: BTreeMap<FaultKind, (u64, u64)>,
    coverage: [[u64; FaultKind::ALL.len()]; TransferState::COUNT],
    faults: Vec<u32>,
    crashes: Vec<u32>,
    failures: BTreeMap<u64, Violation>,
}

impl Sum {
    fn add(&mut self, seed: u64, plan: &Plan, outcome: Outcome) {
        self.seeds += 1;
        self.payments += u64::try_from(plan.payments.len()).unwrap_or(u64::MAX);
        self.observations += outcome.observations;
        self.quiet_points += u64::from(outcome.quiet_points);
        for (kind, count) in &outcome.struck {
            let entry = self.struck.entry(*kind).or_default();
            entry.0 += u64::from(*count);
            entry.1 += 1;
        }
        self.faults.push(outcome.struck.values().sum());
        self.crashes.push(outcome.struck.iter().filter(|(kind, _)| kind.kills()).map(|(_, count)| count).sum());
        add_coverage(&mut self.coverage, &outcome.coverage);
        if let Some(violation) = outcome.violation {
            self.failures.insert(seed, violation);
        }
    }
}

fn add_coverage(sum: &mut [[u64; FaultKind::ALL.len()]; TransferState::COUNT], more: &Coverage) {
    for (sum, more) in sum.iter_mut().flatten().zip(more.iter().flatten()) {
        *sum += u64::from(*more);
    }
}

fn many(options: &Options) -> ExitCode {
    let first = options.from.unwrap_or_else(drawn);
    let jobs = options.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1).max(1);
    let (began, next, stop) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    if !options.json {
        say(&format!("seeds from {first}, {jobs} threads"));
    }
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work(options, first, began, &next, &stop, &sum));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(options, first, &sum, began.elapsed())
}

fn work(options: &Options, first: u64, began: Instant, next: &AtomicU64, stop: &AtomicBool, sum: &Mutex<Sum>) {
    let kinds = options.kinds();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let late = options.seconds.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds));
        if place >= options.seeds || late || stop.load(Ordering::Relaxed) {
            return;
        }
        let seed = first.wrapping_add(place);
        let plan = Plan::new(seed, &kinds);
        let outcome = run(&plan);
        stop.fetch_or(options.stop_at_first && outcome.violation.is_some(), Ordering::Relaxed);
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.add(seed, &plan, outcome);
        if sum.seeds.is_multiple_of(100) && (stderr().is_terminal() || sum.seeds.is_multiple_of(1_000)) {
            let _ = writeln!(stderr(), "{} seeds, {} s, {} broken", sum.seeds, began.elapsed().as_secs(), sum.failures.len());
        }
    }
}

fn report(options: &Options, first: u64, sum: &Sum, took: Duration) -> ExitCode {
    let failing = sum.failures.first_key_value();
    if let Some((seed, violation)) = failing {
        explain(options, *seed, violation);
    }
    let gaps = gaps(options, sum);
    if options.json {
        let faults: Map<String, Value> = sum.struck.iter().map(|(kind, (count, _))| (kind.name().to_owned(), json!(count))).collect();
        let coverage: Map<String, Value> = TransferState::ALL
            .iter()
            .zip(&sum.coverage)
            .map(|(state, row)| {
                let row: Map<String, Value> = FaultKind::ALL.iter().zip(row).map(|(kind, n)| (kind.name().to_owned(), json!(n))).collect();
                (state.name().to_owned(), Value::Object(row))
            })
            .collect();
        say(&json!({
            "seeds": sum.seeds, "from": first, "seconds": took.as_secs_f64(), "payments": sum.payments,
            "violations": sum.failures.len(), "faults": faults, "first_failing_seed": failing.map(|(seed, _)| seed),
            "invariant": failing.map(|(_, v)| v.invariant.name()), "what": failing.map(|(_, v)| v.what.clone()),
            "observations": sum.observations, "quiet_points": sum.quiet_points,
            "median_faults": median(&sum.faults), "median_crashes": median(&sum.crashes), "coverage": coverage, "gaps": gaps,
        })
        .to_string());
    } else {
        say(&summary(sum, took));
        gaps.iter().filter(|_| options.coverage).for_each(|gap| say(gap));
    }
    match (failing, options.coverage && !gaps.is_empty()) {
        (Some(_), _) => ExitCode::from(1),
        (None, true) => ExitCode::from(3),
        (None, false) => ExitCode::SUCCESS,
    }
}

/// Says what was broken, and how to see it in as few steps as possible.
fn explain(options: &Options, seed: u64, violation: &Violation) {
    let kinds = options.kinds();
    let plan = Plan::new(seed, &kinds);
    let plan_payments = plan.payments.len();
    let mut text = format!("seed {seed}: {}\n", told(violation));
    let small = if options.stop_at_first && options.json { plan } else { shrink(&plan, violation, 400) };
    let numbers = |numbers: Vec<usize>| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let faults = numbers(small.faults.iter().map(|fault| fault.no).collect());
    let payments = numbers(small.payments.iter().map(|payment| payment.no).collect());
    let _ = writeln!(text, "the same rule is broken with {} faults and {} payments:", small.faults.len(), small.payments.len());
    for fault in &small.faults {
        let _ = writeln!(text, "  fault {}: {} at n{}, after {} ms", fault.no, fault.kind.name(), fault.node, fault.after_ms);
    }
    let mut arguments = format!("--seed {seed}");
    if small.faults.is_empty() {
        arguments += " --faults none";
    } else {
        if !options.faults.is_empty() {
            let _ = write!(arguments, " --faults {}", kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(","));
        }
        let _ = write!(arguments, " --keep-faults {faults}");
    }
    if small.payments.len() < plan_payments {
        let _ = write!(arguments, " --keep-payments {payments}");
    }
    let _ = write!(text, "to see it: cargo run --release --package ilp-tests --bin simulate -- {arguments}");
    let _ = writeln!(stderr(), "{text}");
}

/// What the runs left untried: a tenth of what is asked of ten thousand seeds is asked of a thousand.
fn gaps(options: &Options, sum: &Sum) -> Vec<String> {
    let mut gaps = Vec::new();
    for (place, kind) in FaultKind::ALL.iter().enumerate().filter(|(_, kind)| options.kinds().contains(kind)) {
        let seeds = sum.struck.get(kind).map_or(0, |(_, seeds)| *seeds);
        if seeds * 20 < sum.seeds {
            gaps.push(format!("{} struck in {seeds} of {} seeds only", kind.name(), sum.seeds));
        }
        for (state, row) in TransferState::ALL.iter().zip(&sum.coverage) {
            if row[place] * 100 < sum.seeds {
                gaps.push(format!("{} met transfers in state {} only {} times", kind.name(), state.name(), row[place]));
            }
        }
    }
    gaps
}

fn summary(sum: &Sum, took: Duration) -> String {
    let mut text = format!(
        "{} seeds in {:.1} s, {} payments, {} observations, {} quiet points; median {} faults and {} crashes; {} seeds broke a rule\n",
        sum.seeds,
        took.as_secs_f64(),
        sum.payments,
        sum.observations,
        sum.quiet_points,
        median(&sum.faults),
        median(&sum.crashes),
        sum.failures.len()
    );
    let _ = write!(text, "{:<22}{:>8}{:>8}", "fault", "struck", "seeds");
    for state in TransferState::ALL {
        let _ = write!(text, "{:>10}", state.name());
    }
    for (place, kind) in FaultKind::ALL.iter().enumerate() {
        let (count, seeds) = sum.struck.get(kind).copied().unwrap_or_default();
        let _ = write!(text, "\n{:<22}{count:>8}{seeds:>8}", kind.name());
        for row in &sum.coverage {
            let _ = write!(text, "{:>10}", row[place]);
        }
    }
    text
}

fn median(of: &[u32]) -> u32 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

fn drawn() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default() & 0xffff_ffff_ffff
}

// Words.

fn told(violation: &Violation) -> String {
    let node = violation.node.map(|node| format!(" at n{node}")).unwrap_or_default();
    format!("{}{node}, after {} ms: {}", violation.invariant.name(), violation.at - START, violation.what)
}

fn network(plan: &Plan) -> String {
    let mut text = String::new();
    for (no, node) in plan.layout.nodes.iter().enumerate() {
        let accounts = node.accounts.iter().map(|account| {
            let kind = match (account.other, account.dedupes(), account.honest) {
                (Some(_), ..) => "",
                (None, false, _) => ", 2017",
                (None, true, true) => ", honest",
                (None, true, false) => ", a liar",
            };
            format!("{} ({}{kind})", account.name, account.asset)
        });
        let accounts = accounts.collect::<Vec<_>>();
        let books = node.books;
        let kept = if books.embedded { "the embedded store" } else { "memory" };
        let _ = writeln!(
            text,
            "n{no} {}: {}; books in {kept}, {} bytes of log{}",
            node.address,
            accounts.join(", "),
            books.log_bytes,
            if books.events { ", events" } else { "" }
        );
    }
    text
}

fn line(observation: &Observation) -> String {
    let side = |side: &Side| if *side == Side::Node { "connector" } else { "holder" };
    let what = match &observation.what {
        Seen::Opened { node, epoch, last_seq, log } => {
            format!("n{node} opened, epoch {epoch}, {last_seq} batches, reads the last {}", log.len())
        }
        Seen::Died { node, epoch } => format!("n{node} died, epoch {epoch}"),
        Seen::Connected { wire, node, epoch, account } => format!("n{node} wire {wire} is account {account}'s (epoch {epoch})"),
        Seen::Ended { wire, by } => format!("wire {wire} ended for the {}", side(by)),
        Seen::Sent { wire, by, frame, .. } => format!("wire {wire} {} sends {}", side(by), ilp_tests::sim::describe(frame)),
        Seen::Arrived { wire, at, frame, .. } => format!("wire {wire} {} reads {}", side(at), ilp_tests::sim::describe(frame)),
        Seen::Applied { node, epoch, seq, blob, cut_below, .. } => {
            let cut = cut_below.map(|cut| format!(", cuts below {cut}")).unwrap_or_default();
            format!("n{node} store has batch {seq} of epoch {epoch}, {} bytes{cut}", blob.len())
        }
        Seen::Synced { node, seq } => format!("n{node} store is durable up to {seq}"),
        Seen::Forgotten { node, last_seq } => format!("n{node} store has forgotten all after {last_seq}"),
        Seen::Told { node, number, event, .. } => format!("n{node} tells event {number}: {} {:?}", event.kind, event.amounts),
        Seen::Acknowledged { node, through } => format!("n{node} embedder has events up to {through}"),
        Seen::Settled { node, account, id, amount, result } => {
            let result = match result {
                Ok(true) => "was in the books",
                Ok(false) => "is in the books",
                Err(error) => error,
            };
            format!("n{node} settlement {id} of {amount} at account {account} {result}")
        }
        Seen::Fault { kind, node, account } => format!("FAULT {} at n{node} {account:?}", kind.name()),
    };
    format!("{:>8} {what}", observation.at - START)
}

fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}
