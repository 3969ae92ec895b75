//! The command line.

use super::commands::{
    AuditArguments, BackupArguments, RestoreArguments, SalvageArguments, SettleArguments, ShowArguments, StatusArguments,
};
use clap::{ArgGroup, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Exit codes:
    0  all is well
    1  it ran, and something was wrong: payments left behind at the stop, books that aren't right,
       a settlement that was refused
    2  wrong usage
    3  the configuration is wrong; every problem is on stderr as file:line:column
    4  it can't start or can't be done: port taken, store, certificate, no connector to ask;
       stderr says which, and what to do
  130  stopped at once by a second Ctrl-C, without waiting for payments in flight

SIGHUP reads certificates and keys again, all or none of them, and says what they are; connections
that are there go on.
Ctrl-C and SIGTERM take no new payments and wait for those in flight; a second one stops at once.

Examples:
  connector --demo                    three connectors on this machine pay each other, no file needed
  connector --demo --for 60s          the same for a minute
  connector --check connector.toml    every problem of a configuration at once
  connector connector.toml            runs until Ctrl-C
  connector status                    asks the connector of ./connector.toml how it is
  connector settle bob -2500 --id wire-7
                                      bob was paid 2,500 base units elsewhere: once in the books,
                                      however often it is said
  connector audit                     recomputes every balance, of a running connector or at rest
  connector balances                  what is cold, and what each worker's slot may spend
  connector backup /backups/monday    copies the books, also while payments go on
";

/// An Interledger connector.
#[derive(Debug, Parser)]
#[command(name = "connector", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group(ArgGroup::new("what").required(true).args(["config", "demo"])))]
pub(super) struct Arguments {
    /// What to do with a connector that is there, or with its books; without one, a connector is run
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// The configuration file (TOML); examples/connector.toml is one with explanations
    #[arg(value_name = "CONFIG.toml")]
    pub(super) config: Option<PathBuf>,

    /// Only check the configuration, and everything it names, and say what is wrong with it
    #[arg(long, requires = "config", conflicts_with = "demo")]
    pub(super) check: bool,

    /// How long to wait for payments in flight when told to stop: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, conflicts_with = "demo")]
    pub(super) drain: Duration,

    /// Start a connector and two peers on this machine, let one pay the other, and check the books
    #[arg(long)]
    pub(super) demo: bool,

    /// Where the demo's books are, or "memory" [default: $XDG_STATE_HOME/ilp-node/demo or ~/.local/state/ilp-node/demo]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) store: Option<PathBuf>,

    /// How many payments the demo makes [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "config", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) payments: Option<u64>,

    /// How long the demo pays, instead of how often: 60s, 500ms, 2m
    #[arg(long = "for", value_name = "TIME", conflicts_with_all = ["config", "payments"], value_parser = parse_duration)]
    pub(super) pay_for: Option<Duration>,

    /// How many of the demo's payments are in flight at once
    #[arg(long, value_name = "N", conflicts_with = "config", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) in_flight: u16,

    /// What each of the demo's payments is worth, in millionths of an XRP
    #[arg(long, value_name = "AMOUNT", conflicts_with = "config", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) amount: u64,
}

/// What can be done with a connector that runs, or with books at rest.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Books what was settled with an account's holder elsewhere
    Settle(SettleArguments),
    /// Recomputes every balance from the log and says whether the books are right
    Audit(AuditArguments),
    /// Says where each balance lies: what is cold, what each slot may spend, and what is in transit
    Balances(ShowArguments),
    /// Lists the transfers that are in flight, with the slot that owns each
    Hotset(ShowArguments),
    /// Says how a running connector is
    Status(StatusArguments),
    /// Copies the books into a directory, also while payments go on
    Backup(BackupArguments),
    /// Puts a backup in place as the books of a connector that doesn't run
    Restore(RestoreArguments),
    /// Copies what can be read of damaged books
    Salvage(SalvageArguments),
}

/// A whole number and a unit; seconds if there is none.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let wrong = || "expected a whole number and a unit, such as 10s, 500ms, 2m or 1h".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" | "" => number.checked_mul(1_000),
        "m" | "min" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(wrong()),
    };
    let longest_ms = 365 * 24 * 3_600_000;
    millis.filter(|millis| *millis <= longest_ms).map(Duration::from_millis).ok_or_else(|| "longer than a year".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, millis) in
            [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("2min", 120_000), ("1h", 3_600_000), ("7", 7_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h", "9999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_or_the_demo_is_needed_and_not_both() {
        for (arguments, works) in [
            (&["connector", "a.toml"][..], true),
            (&["connector", "--check", "a.toml"], true),
            (&["connector", "--demo"], true),
            (&["connector", "--demo", "--payments", "5"], true),
            (&["connector", "--demo", "--for", "1s", "--in-flight", "1"], true),
            (&["connector"], false),
            (&["connector", "--check"], false),
            (&["connector", "a.toml", "--demo"], false),
            (&["connector", "--demo", "--check"], false),
            (&["connector", "--demo", "--payments", "5", "--for", "1s"], false),
            (&["connector", "--demo", "--payments", "0"], false),
            (&["connector", "a.toml", "--payments", "5"], false),
        ] {
            assert_eq!(Arguments::try_parse_from(arguments).is_ok(), works, "{arguments:?}");
        }
    }
}
