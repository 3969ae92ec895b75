//! Runs several workers of one connector, each run from a seed, and checks their books; see `docs/testing.md`.

use clap::Parser;
use ilp_tests::workers::{Outcome, run};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Simulates two to eight workers that serve the same accounts, with their peers, 120 payments and some twenty faults, all from one number.
/// Workers die, also between the steps of a move, stand still past their leases, and are taken over.
///
/// Exit codes: 0 every rule held; 1 a rule was broken; 2 the command line is wrong; 3 a worker never died between two steps of a move.
#[derive(Debug, Parser)]
#[command(name = "workers")]
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
    /// Stops starting new seeds after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Stops at the first seed that breaks a rule.
    #[arg(long)]
    stop_at_first: bool,
    /// Fails with exit code 3 if workers died fewer than 50 times between two steps of a move.
    #[arg(long)]
    coverage: bool,
    /// How many threads; all cores by default.
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
}

const STAGES: [&str; 5] =
    ["died with a move begun", "died with a move durable", "died with a move decided", "died with a move told", "died with a move ended"];

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        let mut lines = Vec::new();
        let outcome = run(seed, Some(&mut lines));
        for line in lines {
            if writeln!(stdout(), "{line}").is_err() {
                return ExitCode::FAILURE;
            }
        }
        return match outcome.violation {
            None => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        };
    }
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let from = options.from.unwrap_or_else(clock);
    let until = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (next, done, found) =
        (AtomicU64::new(0), Mutex::new((0_u64, BTreeMap::<&str, u64>::new())), Mutex::new(Vec::<(u64, &'static str, String)>::new()));
    let jobs = options.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1).max(1);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let stop = options.stop_at_first && found.lock().is_ok_and(|found| !found.is_empty());
                    if n >= options.seeds || stop || until.is_some_and(|until| Instant::now() >= until) {
                        return;
                    }
                    let caught = std::panic::catch_unwind(|| run(from + n, None));
                    let outcome =
                        caught.unwrap_or_else(|_| Outcome { violation: Some(("panic", "it panicked".into())), ..Outcome::default() });
                    if let Ok(mut done) = done.lock() {
                        done.0 += 1;
                        for (what, count) in outcome.counts {
                            *done.1.entry(what).or_default() += count;
                        }
                    }
                    if let (Some((rule, what)), Ok(mut found)) = (outcome.violation, found.lock()) {
                        let _ = writeln!(stderr(), "seed {}: {rule}: {what}", from + n);
                        found.push((from + n, rule, what));
                    }
                }
            });
        }
    });
    let (seeds, counts) = done.into_inner().unwrap_or_default();
    let mut found = found.into_inner().unwrap_or_default();
    found.sort();
    let untried = STAGES.iter().filter(|stage| counts.get(*stage).copied().unwrap_or(0) < 50).count();
    if options.json {
        let (rule, what) = (found.first().map(|found| found.1), found.first().map(|(seed, _, what)| json!({ "seed": seed, "what": what })));
        let report = json!({ "from": from, "seeds": seeds, "violations": found.len(), "invariant": rule, "first": what, "counts": counts,
            "seconds": began.elapsed().as_secs_f32() });
        let _ = writeln!(stdout(), "{report}");
    } else {
        let _ = writeln!(stdout(), "{seeds} seeds from {from} in {:.1} s: {} broke a rule", began.elapsed().as_secs_f32(), found.len());
        for (what, count) in &counts {
            let _ = writeln!(stdout(), "  {count:>10} {what}");
        }
    }
    match (found.is_empty(), options.coverage && untried > 0) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(3),
        (true, false) => ExitCode::SUCCESS,
    }
}
