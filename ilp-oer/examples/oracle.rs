//! The long form of the oracle's tests: both codecs on as many random values of each type of packet as you like.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what can't be is a panic, as in the tests")]

#[path = "../tests/oracle/check.rs"]
mod check;
#[path = "../tests/oracle/damage.rs"]
mod damage;
#[path = "../tests/oracle/model.rs"]
mod model;
#[path = "../tests/strategies/mod.rs"]
mod strategies;
#[path = "../tests/oracle/types.rs"]
mod types;
#[path = "../tests/oracle/values.rs"]
mod values;

use clap::Parser;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Compares ilp-oer with an independent codec (rasn): random values of each type of packet are written by both to the same bytes, and
/// each reads the other's bytes back to the same value; then damaged encodings, which both must read as the same value or refuse.
///
/// Prints a line a type. Ends with 0 if they agree on everything, 1 if not (with the smallest value found on which they differ),
/// 2 for wrong arguments.
#[derive(Parser)]
struct Args {
    /// How many values of each type.
    #[arg(long, default_value_t = 100_000)]
    cases: u32,
    /// The same seed draws the same values; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the types whose name contains this, such as "ilp" or "clp seed Prepare".
    #[arg(long, default_value = "")]
    only: String,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

fn main() -> std::io::Result<ExitCode> {
    let args = Args::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(now.subsec_nanos().into());
    let mut out = stdout().lock();
    if !args.json {
        writeln!(out, "seed {seed}\n{:<26}{:>10}{:>10}{:>10}{:>9}", "type", "cases", "agreed", "packets", "seconds")?;
    }
    let mut differences = false;
    for check in check::values_of_each_type().into_iter().chain(damage::damaged_encodings()) {
        if !check.name.contains(&args.only) {
            continue;
        }
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_be_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
        let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::with_cases(args.cases) }, rng);
        let began = Instant::now();
        let outcome = (check.run)(&mut runner);
        let (name, cases, seconds) = (&check.name, args.cases, began.elapsed().as_millis());
        let seconds = format!("{}.{:03}", seconds / 1000, seconds % 1000);
        match outcome {
            Ok(packets) if args.json => {
                let line = json!({ "type": name, "seed": seed, "cases": cases, "agreed": cases, "packets": packets, "seconds": seconds });
                writeln!(out, "{line}")?;
            }
            Ok(packets) => writeln!(out, "{name:<26}{cases:>10}{cases:>10}{packets:>10}{seconds:>9}")?,
            Err(difference) => {
                differences = true;
                if args.json {
                    writeln!(out, "{}", json!({ "type": name, "seed": seed, "cases": cases, "difference": difference }))?;
                } else {
                    writeln!(out, "{name:<26} DIFFERS: {difference}")?;
                }
            }
        }
    }
    Ok(ExitCode::from(u8::from(differences)))
}
