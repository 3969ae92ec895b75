//! Packets between hex and JSON. See `packet --help`.

use clap::{Args, Parser, Subcommand};
use ilp_examples::packet::{self, Direction, Format, Outcome};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Turns Interledger packets from hex into JSON and back, one a line.
///
/// Every line of input becomes one line of output, in order. A line that can't be converted becomes an object with `error`, and with
/// the `offset` in the packet when decoding or the `field` in the object when encoding.
#[derive(Parser)]
#[command(name = "packet", version, about, long_about, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reads packets in hex, prints their values in JSON.
    #[command(after_help = AFTER_HELP)]
    Decode(Conversion),
    /// Reads values in JSON, prints their packets in hex.
    #[command(after_help = AFTER_HELP)]
    Encode(Conversion),
}

#[derive(Args)]
struct Conversion {
    /// What the packets are; the bytes don't tell.
    #[arg(long, value_enum)]
    format: Format,
    /// File to read; standard input if it is missing or `-`.
    file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  echo 0100000001020100 | packet decode --format clp
  echo '{\"type\":5,\"destinationAmount\":\"5\",\"sourceHoldDuration\":3000}' | packet encode --format ilp
  packet decode --format clp-seed captured.txt > values.jsonl

Bytes are lower-case hex, amounts decimal text, times ISO-8601 in UTC with milliseconds.

Exit status: 0 if every line was converted, 1 if one was not, 2 if the command itself can't run.";

fn main() -> ExitCode {
    let (direction, Conversion { format, file }) = match Cli::parse().command {
        Command::Decode(conversion) => (Direction::Decode, conversion),
        Command::Encode(conversion) => (Direction::Encode, conversion),
    };
    let input: Box<dyn Read> = match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => match File::open(&file) {
            Ok(open) => Box::new(open),
            Err(error) => return cannot_run(format_args!("{}: {error}", file.display())),
        },
        None => Box::new(io::stdin().lock()),
    };
    // Standard output alone would be flushed after every line.
    let mut output = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    match packet::run(direction, format, input, &mut output) {
        Ok(Outcome::AllGood) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        Err(error) => cannot_run(format_args!("{error}")),
    }
}

fn cannot_run(why: std::fmt::Arguments<'_>) -> ExitCode {
    // If even this can't be said, the status still says it.
    let _ = writeln!(io::stderr(), "packet: {why}");
    ExitCode::from(2)
}
