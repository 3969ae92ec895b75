//! `hostile`: attacks a connector, and measures what honest peers notice and what is left afterwards.
//!
//! ```text
//!   sender ──────►             ──────► receiver     honest, at a fixed rate: measured
//!   guest ───────► connector                        logs in again and again: measured
//!   attackers ───►             ──────► attackers    a process of their own, with the lowest priority
//! ```
//!
//! | file | what |
//! |---|---|
//! | `options` | the command line |
//! | `connector`, `store` | the connector in a child process, which says how it is |
//! | `attacker`, `attacks/` | the attackers in another |
//! | `client`, `score` | their connections, and their counts |
//! | `measure`, `report` | runs alone and under attack, in turns, and what they came to |
//!
//! The honest peers are those of `flood`.

mod attacker;
mod attacks;
mod client;
mod connector;
mod measure;
mod options;
mod report;
mod score;
mod store;

use clap::Parser;
use measure::{MeasureError, measure};
use options::Options;
use report::Report;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

/// The allocator of this program, which counts.
#[derive(Debug, Clone, Copy)]
pub struct HeapMeter {
    /// Bytes in use.
    pub now: fn() -> usize,
    /// The most bytes that were in use since the last reset.
    pub peak: fn() -> usize,
    /// Forgets the peak.
    pub reset: fn(),
}

/// Runs the program: reads its arguments, makes the attacks, reports, and gives the exit code that `--help` explains.
pub fn main(heap: &HeapMeter) -> ExitCode {
    match Options::try_parse() {
        Ok(options) if options.connector => connector::main(heap),
        Ok(options) if options.attacker => attacker::main(),
        Ok(options) if options.list => list(),
        Ok(options) => attack(&options),
        Err(error) => {
            // Help and version are no errors and have code 0.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
        }
    }
}

fn list() -> ExitCode {
    for attack in attacks::ALL {
        let _ = writeln!(stdout(), "{:18} {}", attack.name, attack.what);
    }
    ExitCode::SUCCESS
}

fn attack(options: &Options) -> ExitCode {
    let mut withstood = true;
    for attack in options.chosen() {
        let report = match run(attack, options) {
            Ok(report) => report,
            Err(error) => {
                let _ = writeln!(stderr(), "hostile: {}: {error}", attack.name);
                return ExitCode::from(NO_CONNECTOR);
            }
        };
        withstood &= report.ok;
        let text = match options.json {
            true => serde_json::to_string(&report).unwrap_or_default(),
            false => report.to_string(),
        };
        if writeln!(stdout(), "{text}").is_err() {
            return ExitCode::from(WENT_WRONG);
        }
    }
    if withstood { ExitCode::SUCCESS } else { ExitCode::from(WENT_WRONG) }
}

fn run(attack: &attacks::Attack, options: &Options) -> Result<Report, MeasureError> {
    // One thread: what the connector's process has is the other core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(Report::new(attack, runtime.block_on(measure(attack, options))?))
}

const WENT_WRONG: u8 = 1;
const USAGE: u8 = 2;
const NO_CONNECTOR: u8 = 3;
