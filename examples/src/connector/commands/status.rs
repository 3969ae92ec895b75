//! `connector status`: how a running connector is.

use super::super::Exit;
use super::super::admin::protocol::Request;
use super::super::report::StatusReport;
use super::place::Where;
use super::{Failure, print, print_json};
use clap::Args;

/// What to ask for.
#[derive(Debug, Args)]
pub(in super::super) struct StatusArguments {
    /// As one line of JSON, with amounts in base units
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

/// Asks the running connector.
pub(in super::super) fn status(arguments: StatusArguments) -> Result<Exit, Failure> {
    let report: StatusReport = arguments.place.place()?.ask(&Request::Status {})?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&report);
    }
    Ok(Exit::Done)
}
