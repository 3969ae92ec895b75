//! `torture`: kills a connector at named moments, again and again, and proves that no unit is lost.
//!
//! ```text
//!   payer 1 ───────►             ───────► payee 1       processes that are never killed:
//!      │             connector              │           each keeps a journal of every frame
//!   payer 2 ───────►  (killed)   ───────► payee 2
//!      │                 │                  │
//!   journals ─────►   store     ◄────── journals        at the end the checker reads these alone
//! ```
//!
//! | file | what |
//! |---|---|
//! | `options` | the command line |
//! | `run`, `place`, `progress` | the run: kills, restarts, the end, the check |
//! | `points` | the moments, and the signal |
//! | `connector`, `store`, `medium`, `endpoint` | the connector in a child process, with the moments around its store, file and connections |
//! | `events` | the embedder's own ledger, made from events |
//! | `crew`, `peer`, `journal` | the peers, which are those of `flood --faults`, and what they keep |
//! | `check/` | the checker |
//! | `report` | what a run has shown |

mod check;
mod connector;
mod crew;
mod endpoint;
mod events;
mod journal;
mod medium;
mod options;
mod peer;
mod place;
mod points;
mod progress;
mod report;
mod run;
mod store;

use crate::flood::faults::Rules;
use clap::{Parser, ValueEnum};
use ilp_core::Timing;
use options::{Options, Task};
use run::{Plan, RunError};
use serde::{Deserialize, Serialize};
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

/// Runs the program: reads its arguments, tortures, reports, and gives the exit code that `--help` explains.
pub fn main() -> ExitCode {
    let task = match Options::try_parse() {
        Ok(options) => options.task,
        Err(error) => {
            // Help and version are no errors and have code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let plan = match task {
        Task::Connector => return connector::main(),
        Task::Peer => return peer::main(),
        Task::Kill(options) => Plan::kill(options),
        Task::Power(options) => Plan::power(options),
        Task::Events(options) => Plan::events(options),
    };
    match plan {
        Ok(plan) => torture(plan),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(USAGE)
        }
    }
}

fn torture(plan: Plan) -> ExitCode {
    let json = plan.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let finished = runtime.map_err(RunError::from).and_then(|runtime| runtime.block_on(run::run(plan)));
    let report = match finished {
        Ok(report) => report,
        Err(error) => {
            let _ = writeln!(stderr(), "torture: {error}");
            return ExitCode::from(NO_CONNECTOR);
        }
    };
    for complaint in &report.complaints {
        let _ = writeln!(stderr(), "torture: {complaint}");
    }
    let text = if json { serde_json::to_string(&report).unwrap_or_default() } else { report.to_string() };
    match writeln!(stdout(), "{text}") {
        Ok(()) if report.ok => ExitCode::SUCCESS,
        _ => ExitCode::from(WENT_WRONG),
    }
}

/// Where the connector keeps its books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum StoreKind {
    /// Durable, in files of this machine
    #[default]
    Embedded,
    /// In memory only: every kill loses all of it
    Memory,
    /// On a Redis server of torture's own (`appendfsync always`), which is killed as well
    Redis,
}

/// A promise that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Sabotage {
    /// Frames leave before what they say is durable
    NoHold,
    /// The disk is told nothing of syncs (with `power` only)
    NoFsync,
    /// Events are acknowledged before they are in the ledger (with `events` only)
    EarlyAcknowledge,
}

/// Short times, so that payments expire all the time. A payment that was held when the connector was killed is given back so early that
/// the connector can still charge its sender for it: `window_ms` is more than grace, skew and a restart.
const RULES: Rules = Rules {
    timing: Timing { window_ms: 900, grace_ms: 200, outgoing_ms_min: 50, skew_ms_max: 200, hold_ms_max: 60_000 },
    lifetime_ms: (1_200, 3_000),
    sender_grace_ms: 100,
    insist_ms: 1_500,
    restarts: true,
};
/// An address where no real money can move.
const ADDRESS: &str = "test.torture";

const WENT_WRONG: u8 = 1;
const USAGE: u8 = 2;
const NO_CONNECTOR: u8 = 3;
