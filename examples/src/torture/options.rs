//! The command line.

use super::points::Point;
use super::{Sabotage, StoreKind};
use crate::flood::random::random;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Kills a connector again and again, at named moments, and proves from its peers' journals and its store that no unit is lost.
///
/// Payers and payees are processes of their own, which are never killed: they keep a journal of every frame, dial again, and say again
/// what wasn't acknowledged. At the end a checker compares their journals with each other and with the store, unit by unit.
#[derive(Debug, Parser)]
#[command(name = "torture", version, after_help = EXIT_CODES)]
pub(super) struct Options {
    #[command(subcommand)]
    pub(super) task: Task,
}

#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Kills the connector's process (SIGKILL)
    Kill(KillOptions),
    /// Cuts the power: what the store has not synced is forgotten or torn, sector by sector, and the process killed
    Power(Common),
    /// Kills the process of an embedder that keeps a ledger of its own from the connector's events, at more moments yet
    Events(Common),
    /// Be the connector of another torture
    #[command(hide = true)]
    Connector,
    /// Be a peer of another torture
    #[command(hide = true)]
    Peer,
}

#[derive(Debug, Args)]
pub(super) struct KillOptions {
    #[command(flatten)]
    pub(super) common: Common,
    /// Where the connector keeps its books; those in memory are lost, which is to be found
    #[arg(long, value_enum, value_name = "STORE", default_value_t = StoreKind::Embedded)]
    pub(super) store: StoreKind,
    /// Kills at these moments only, separated by commas
    #[arg(long, value_enum, value_name = "POINT", value_delimiter = ',')]
    pub(super) points: Vec<Point>,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// How often
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) times: u32,
    /// Decides when: another one makes other moments [default: a random one]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Payments a second, of all pairs together
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(super) rate: u32,
    /// Pairs of a payer and a payee
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) pairs: u16,
    /// Workers of the connector; with several, each account is served by two of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) workers: u16,
    /// Breaks a promise on purpose: the run must fail, which shows that it can
    #[arg(long, value_enum, value_name = "HOW")]
    pub(super) sabotage: Option<Sabotage>,
    /// Keeps journals and store in this directory, which must not exist
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
    /// Prints the report as one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    /// As given, or one that is short enough to be typed again.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| random().map(u32::from_be_bytes).map_or(1, u64::from))
    }
}

/// Options that don't go together.
pub(super) fn usage(message: &str) -> clap::Error {
    Options::command().error(ErrorKind::ArgumentConflict, message)
}

const EXIT_CODES: &str = "\
Exit status:
  0  nothing was lost: every unit is in somebody's books, and the books agree
  1  something was lost, or two books disagree, or something did not come to an end
  2  wrong usage
  3  the connector or its peers could not be started, or ended by themselves

Ctrl-C kills no more, lets everything come to its end and checks; a second one gives up.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn wrong_usage_has_exit_code_2() {
        for line in ["", "kill", "kill --times 0", "kill --times 1 --points nowhere", "kill --times 1 --store disk", "nonsense"] {
            let parsed = Options::try_parse_from(["torture"].into_iter().chain(line.split_whitespace()));
            assert_eq!(parsed.map(|_| ()).map_err(|error| error.exit_code()), Err(2), "{line}");
        }
    }
}
