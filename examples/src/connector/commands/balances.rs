//! `connector balances` and `connector hotset`: where balances and transfers are.

use super::super::Exit;
use super::super::admin::protocol::Request;
use super::super::report::{BalancesReport, HotSetReport};
use super::super::store::in_full;
use super::place::{Found, Where};
use super::{Failure, block_on, pictures, print, print_json};
use clap::Args;

const AFTER_HELP: &str = "\
Read from the books, of a running connector or at rest; nothing is changed. While payments go on,
slots are read one after the other: what moves between them meanwhile may be shown twice or not at
all, which the sum of an account then shows.

Exit codes:
    0  shown
    2  wrong usage
    3  the configuration can't be read
    4  they couldn't be read
";

/// How to show it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in super::super) struct ShowArguments {
    /// As one line of JSON, with amounts in base units
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

/// What is cold, hot and in transit.
pub(in super::super) fn balances(arguments: ShowArguments) -> Result<Exit, Failure> {
    let report: BalancesReport = match arguments.place.place()?.ask_or_open(&Request::Balances {})? {
        Found::Answer(report) => report,
        Found::AtRest(store) => BalancesReport::of(block_on(pictures(store))??).map_err(|error| Failure::cannot(in_full(&error)))?,
    };
    if arguments.json {
        print_json(&report)?
    } else {
        print(&report)
    }
    Ok(Exit::Done)
}

/// What is in flight.
pub(in super::super) fn hot_set(arguments: ShowArguments) -> Result<Exit, Failure> {
    let report: HotSetReport = match arguments.place.place()?.ask_or_open(&Request::HotSet {})? {
        Found::Answer(report) => report,
        Found::AtRest(store) => HotSetReport::of(&block_on(pictures(store))??).map_err(|error| Failure::cannot(in_full(&error)))?,
    };
    if arguments.json {
        print_json(&report)?
    } else {
        print(&report)
    }
    Ok(Exit::Done)
}
