//! The `connector` command: checks a configuration, runs a connector from it, or shows one at work.

mod exit;
mod log;
mod serve;
mod signals;

pub use exit::Exit;
pub use log::{Log, LogWriter};
pub use signals::Signals;

use crate::config::{self, Checked, Config, Store};
use crate::demo;
use crate::show::counted;
use clap::{ArgGroup, Parser};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const AFTER_HELP: &str = "\
Exit codes:
    0  all is well
    1  it ran and something was wrong: payments left behind at the stop, or the demo's books aren't right
    2  wrong usage
    3  the configuration is wrong; every problem is on stderr as file:line:column
    4  it can't start: port taken, store, certificate
  130  stopped at once by a second Ctrl-C, without waiting for payments in flight

SIGHUP reads certificates and keys again, all or none of them, and says what they are; connections that are there go on.
Ctrl-C and SIGTERM take no new payments and wait for those in flight; a second one stops at once.

Examples:
  connector --demo                       three connectors on this machine pay each other; needs no file
  connector --demo --for 60s             the same for a minute
  connector --check connector.toml       every problem of a configuration at once
  connector connector.toml               runs until Ctrl-C
";

/// An Interledger connector.
#[derive(Debug, Parser)]
#[command(name = "connector", version, after_help = AFTER_HELP)]
#[command(group(ArgGroup::new("what").required(true).args(["config", "demo"])))]
struct Arguments {
    /// The configuration file (TOML); examples/connector.toml is one with explanations
    #[arg(value_name = "CONFIG.toml")]
    config: Option<PathBuf>,

    /// Only check the configuration, and everything it names, and say what is wrong with it
    #[arg(long, requires = "config", conflicts_with = "demo")]
    check: bool,

    /// How long to wait for payments in flight when told to stop: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, conflicts_with = "demo")]
    drain: Duration,

    /// Start a connector and two peers on this machine, let one pay the other, and check the books
    #[arg(long)]
    demo: bool,

    /// How many payments the demo makes [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "config", value_parser = clap::value_parser!(u64).range(1..))]
    payments: Option<u64>,

    /// How long the demo pays, instead of how often: 60s, 500ms, 2m
    #[arg(long = "for", value_name = "TIME", conflicts_with_all = ["config", "payments"], value_parser = parse_duration)]
    pay_for: Option<Duration>,

    /// How many of the demo's payments are in flight at once
    #[arg(long, value_name = "N", conflicts_with = "config", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,

    /// What each of the demo's payments is worth, in millionths of an XRP
    #[arg(long, value_name = "AMOUNT", conflicts_with = "config", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    amount: u64,
}

/// Runs the command with this process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version aren't errors; where they go is clap's to know.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    let exit = match &arguments.config {
        Some(file) => configured(file, &arguments),
        None => demonstrate(&arguments),
    };
    exit.into()
}

fn configured(file: &Path, arguments: &Arguments) -> Exit {
    let Checked { config, problems } = config::load(file, &|name| std::env::var_os(name));
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{problems}");
    let Some(config) = config else {
        let errors = problems.errors();
        let noun = if errors == 1 { "error" } else { "errors" };
        let _ = writeln!(stderr, "connector: {errors} {noun} in {}", file.display());
        return if problems.has_errors() { Exit::Config } else { Exit::CantStart };
    };
    if arguments.check {
        let _ = writeln!(std::io::stdout(), "{}", summary(&config, problems.list.len()));
        return Exit::Done;
    }
    let (log, writer) = match Log::start() {
        Ok(started) => started,
        Err(error) => return say(Exit::CantStart, &format!("no thread can be started: {error}")),
    };
    let exit = run(serve::serve(config, file, arguments.drain, log));
    // Who asked to stop at once isn't kept waiting by a terminal that stands still.
    writer.finish(Duration::from_secs(1));
    exit
}

fn summary(config: &Config, warnings: usize) -> String {
    let store = match config.store {
        Store::Memory => "books in memory",
    };
    format!(
        "ok: {}, {}, {}, {store}, address {}{}",
        counted(config.accounts.len(), "account"),
        counted(config.listen.len(), "listener"),
        counted(config.rates.len(), "rate"),
        config.address,
        if warnings == 0 { String::new() } else { format!("; {}", counted(warnings, "warning")) },
    )
}

fn demonstrate(arguments: &Arguments) -> Exit {
    let goal = match arguments.pay_for {
        Some(time) => demo::Goal::For(time),
        None => demo::Goal::Payments(arguments.payments.unwrap_or(1_000)),
    };
    let options = demo::Options { goal, in_flight: arguments.in_flight.into(), amount: arguments.amount };
    if let Err(why) = options.check() {
        return say(Exit::Usage, &why);
    }
    run(async {
        match demo::run(options, &mut std::io::stdout()).await {
            Ok(demo::Verdict::Right) => Exit::Done,
            Ok(demo::Verdict::Wrong) => Exit::Failed,
            Ok(demo::Verdict::Interrupted) => Exit::Interrupted,
            Err(error) => say(Exit::CantStart, &error.to_string()),
        }
    })
}

fn run(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(command);
            // What is still running has been told to stop; nobody waits for it.
            runtime.shutdown_background();
            exit
        }
        Err(error) => say(Exit::CantStart, &format!("the runtime can't be started: {error}")),
    }
}

fn say(exit: Exit, message: &str) -> Exit {
    let _ = writeln!(std::io::stderr(), "connector: {message}");
    exit
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
