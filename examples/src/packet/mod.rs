//! The `packet` command: packets between hex and JSON, a line each.
//!
//! [`run`] reads lines and writes exactly one for each, in order, whatever the lines hold. What they become is up to
//! [`decode::line`] and [`encode::line`].

pub mod decode;
pub mod encode;
mod lines;

use lines::{Line, Lines};
use serde::Serialize;
use std::io::{self, Read, Write};

/// What the bytes of a line are, or shall become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// CLP packets with named sub-protocols, types 1 to 7.
    Clp,
    /// CLP packets with numbered sub-protocols, types 1 to 7.
    ClpSeed,
    /// CLP packets with named sub-protocols, types 1 to 8.
    ClpExt,
    /// ILP and ILQP packets of 2017, types 1 to 8.
    #[value(alias = "ilp_v1")]
    Ilp,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Hex in, JSON out.
    Decode,
    /// JSON in, hex out.
    Encode,
}

/// Whether all lines were good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every line.
    AllGood,
    /// At least one became an error.
    SomeFailed,
}

/// Turns every line of `input` into one line of `output`.
///
/// Output is flushed before waiting for more input, so that another program can hold a conversation with this one. That the reader
/// of the output has gone is no error; other failures of input or output are.
pub fn run(direction: Direction, format: Format, input: impl Read, output: &mut impl Write) -> io::Result<Outcome> {
    match convert(direction, format, Lines::new(input), output) {
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::AllGood),
        Err(Stop::Input(error) | Stop::Output(error)) => Err(error),
        Ok(outcome) => Ok(outcome),
    }
}

/// Which side failed.
enum Stop {
    Input(io::Error),
    Output(io::Error),
}

fn convert<R: Read>(direction: Direction, format: Format, mut lines: Lines<R>, output: &mut impl Write) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::AllGood;
    let (mut bytes, mut converted) = (Vec::new(), Vec::new());
    loop {
        if lines.would_wait() {
            output.flush().map_err(Stop::Output)?;
        }
        let Some(line) = lines.next_line().map_err(Stop::Input)? else {
            output.flush().map_err(Stop::Output)?;
            return Ok(outcome);
        };
        converted.clear();
        let good = match (direction, line) {
            (Direction::Decode, Line::Text(line)) => shown(decode::line(format, line, &mut bytes, &mut converted), &mut converted),
            (Direction::Encode, Line::Text(line)) => shown(encode::line(format, line, &mut bytes, &mut converted), &mut converted),
            (Direction::Decode, Line::TooLong) => shown(Err(decode::Failure::line_too_long()), &mut converted),
            (Direction::Encode, Line::TooLong) => shown(Err(encode::Failure::line_too_long()), &mut converted),
        };
        if !good {
            outcome = Outcome::SomeFailed;
        }
        converted.push(b'\n');
        output.write_all(&converted).map_err(Stop::Output)?;
    }
}

/// Replaces a line that failed by its error. Says whether it is a good one.
fn shown(result: Result<(), impl Serialize>, converted: &mut Vec<u8>) -> bool {
    let Err(failure) = result else { return true };
    converted.clear();
    if serde_json::to_writer(&mut *converted, &failure).is_err() {
        converted.clear();
        converted.extend_from_slice(br#"{"error":"not to be shown"}"#);
    }
    false
}
