//! The commands for a connector that runs, and for books at rest.

mod audit;
mod balances;
mod copies;
mod place;
mod settle;
mod status;

pub(super) use audit::{AuditArguments, audit};
pub(super) use balances::{ShowArguments, balances, hot_set};
pub(super) use copies::{BackupArguments, RestoreArguments, SalvageArguments, backup, restore, salvage};
pub(super) use settle::{SettleArguments, settle};
pub(super) use status::{StatusArguments, status};

use super::Exit;
use super::admin::desk;
use super::admin::protocol::{Code, Refused};
use ilp_core::store::{SlotName, SlotPicture};
use std::io::Write;

/// A command that didn't do what it was to do.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Nothing could be done.
    fn cannot(message: impl Into<String>) -> Self {
        Self::new(Exit::CantStart, message)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let exit = if refused.code == Code::Refused { Exit::Failed } else { Exit::CantStart };
        Self::new(exit, refused.message)
    }
}

/// Says how a command went.
pub(super) fn finish(result: Result<Exit, Failure>) -> Exit {
    result.unwrap_or_else(|failure| {
        let _ = writeln!(std::io::stderr(), "connector: {}", failure.message.trim_end());
        failure.exit
    })
}

/// Writes a result to stdout. Nobody may be there to read it: what was done is done.
fn print(text: impl std::fmt::Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Likewise as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::cannot(format!("the result can't be written: {error}")))?;
    print(format_args!("{text}\n"));
    Ok(())
}

/// Every slot of books at rest.
async fn pictures(books: place::Books) -> Result<Vec<(SlotName, SlotPicture)>, Failure> {
    Ok(desk::pictures(&books.open().await?).await?)
}

/// Waits for something of a store, which needs no runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| Failure::cannot(format!("the runtime can't be started: {error}")))?.block_on(future))
}
