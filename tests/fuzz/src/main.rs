//! The `fuzz` command. See `fuzz --help`; `tests/fuzz/run` builds it with coverage counters.

mod child;
mod parent;
mod replay;
mod watch;

use clap::{Args, Parser, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tries invented inputs to parts of the project, and says what breaks.
///
/// Inputs are made from the packets in tests/vectors and from what earlier runs kept in tests/corpora, by changing fields and putting the
/// lengths around them right. What breaks something is made small and written to tests/corpora/TARGET/found-…
#[derive(Parser)]
#[command(name = "fuzz", about, long_about, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Says what targets there are.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    run: Run,
}

#[derive(Args, Clone)]
struct Run {
    /// Targets, or `all`.
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Inputs for each target; 0 for no limit but time.
    #[arg(long, default_value_t = 0)]
    runs: u64,
    /// Where the random numbers start. The same seed, corpus and number of runs try the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Targets at the same time, each in a process of its own.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Writes the smallest inputs that reach all that was reached to tests/corpora/TARGET/kept.hex.
    #[arg(long)]
    keep: bool,
    /// Prints a line of JSON for each target, and one for all.
    #[arg(long)]
    json: bool,
    /// The process of one target: reports to its parent.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Tries the inputs of files again, and prints what breaks.
    Replay {
        /// Files in tests/corpora/TARGET; .hex files hold an input a line.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The target, where it isn't the name of the file's folder.
        #[arg(long)]
        target: Option<String>,
    },
}

const AFTER_HELP: &str = "\
Examples:
  fuzz all --seconds 60
  fuzz worker --seconds 600 --seed 7 --keep
  fuzz replay tests/corpora/clp/found-0123456789abcdef

Exit status: 0 if nothing broke, 1 if something did, 2 if the command itself can't run.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Replay { files, target }) => replay::run(&files, target.as_deref()),
        None if cli.list => list(),
        None => match &cli.run.child {
            Some(current) => child::run(&cli.run, current),
            None => parent::run(&cli.run),
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for target in ilp_fuzz::targets::ALL {
        writeln!(out, "{:<10}{}", target.name, target.about)?;
    }
    Ok(true)
}
