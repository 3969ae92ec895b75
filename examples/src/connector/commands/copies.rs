//! `connector backup`, `restore` and `salvage`: books copied, put back, and saved from a damaged file.

use super::super::Exit;
use super::super::admin::protocol::Request;
use super::super::report::Copied;
use super::super::store::in_full;
use super::place::{Books, Found, Where};
use super::{Failure, block_on, print, print_json};
use crate::show;
use clap::Args;
use ilp_core::store::{BooksError, SalvageReport, Salvaged};
use std::path::{Path, PathBuf};

const BACKUP_HELP: &str = "\
The copy is of one instant. If a connector runs it makes the copy itself, as its own user, and
payments go on meanwhile; if none does, the books at rest are copied. Every record is checked on the
way. A copy that was interrupted is no backup, and its directory can be used again.

Exit codes:
    0  copied
    1  refused: books in memory
    2  wrong usage
    3  the configuration can't be read
    4  it couldn't be done
";

const RESTORE_HELP: &str = "\
The books go on where they were when the backup was made. Whatever happened since is gone from them,
but not from the books of the peers: compare balances with each of them, and settle the differences.
Don't do this while the lost books can still be used or salvaged.

Exit codes:
    0  restored
    2  wrong usage
    4  it couldn't be done: no connector takes what is in DIR then
";

const SALVAGE_HELP: &str = "\
Copies everything before the first damage into a new directory. The damaged file is only read. A
backup is consistent too, and may be newer: look at both with `connector audit --store` before you
go on with either.

Exit codes:
    0  all of it could be read
    1  something is lost: what, is printed
    2  wrong usage
    4  nothing could be read, or the new books couldn't be written
";

/// Where to copy what.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_HELP)]
pub(in super::super) struct BackupArguments {
    /// The directory for the copy: one that isn't there yet, or is empty
    directory: PathBuf,

    /// As one line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

/// What to put back where.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub(in super::super) struct RestoreArguments {
    /// The directory of the backup
    backup: PathBuf,

    /// The directory for the books: one that isn't there yet, or is empty
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
}

/// What to save where.
#[derive(Debug, Args)]
#[command(after_help = SALVAGE_HELP)]
pub(in super::super) struct SalvageArguments {
    /// The directory of the damaged books
    #[arg(long, value_name = "DIR")]
    store: PathBuf,

    /// The directory for what can be read of them: one that isn't there yet, or is empty
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Copies the books of a running connector, or those at rest.
pub(in super::super) fn backup(arguments: BackupArguments) -> Result<Exit, Failure> {
    let directory = std::path::absolute(&arguments.directory)
        .map_err(|error| Failure::cannot(format!("{} is no path: {error}", arguments.directory.display())))?;
    let request = Request::Backup { directory: directory.clone() };
    let copied: Copied = match arguments.place.place()?.ask_or_open(&request)? {
        Found::Answer(copied) => copied,
        Found::AtRest(Books::Redis(_)) => {
            return Err(Failure::new(Exit::Failed, "books on a server are copied there: this command is for those in a directory"));
        }
        Found::AtRest(Books::Embedded(store)) => {
            let copied = block_on(store.backup(&directory))?.map_err(|error| wrong(&error))?;
            Copied::new(&directory, &copied)
        }
    };
    if arguments.json {
        print_json(&copied)?;
    } else {
        print(format_args!("copied to {copied}\n"));
    }
    Ok(Exit::Done)
}

/// Puts a backup where a connector takes it up.
pub(in super::super) fn restore(arguments: &RestoreArguments) -> Result<Exit, Failure> {
    let copied = ilp_core::store::restore(&arguments.backup, &arguments.store).map_err(|error| wrong(&error))?;
    print(format_args!(
        "restored to {}\nwhat happened after the backup isn't in these books: compare balances with your peers\n",
        Copied::new(&arguments.store, &copied)
    ));
    Ok(Exit::Done)
}

/// Copies what can be read of damaged books.
pub(in super::super) fn salvage(arguments: &SalvageArguments) -> Result<Exit, Failure> {
    let report = ilp_core::store::salvage(&arguments.store, &arguments.to).map_err(|error| wrong(&error))?;
    print(salvaged(&report, &arguments.to));
    Ok(if report.is_whole() { Exit::Done } else { Exit::Failed })
}

fn salvaged(report: &SalvageReport, to: &Path) -> String {
    let mut text = String::new();
    if let Some(why) = &report.index {
        text.push_str(&format!("the file's index can't be used ({why}): batches were looked for one by one\n"));
    }
    for slot in &report.slots {
        let name = &slot.slot;
        text.push_str(&match slot.outcome {
            Salvaged::Whole { last_seq } => format!("{name}: all of it, up to batch {}\n", show::count(last_seq)),
            Salvaged::CutShort { last_seq, seen } => format!(
                "{name}: UP TO BATCH {} ONLY, batches up to {} were there: what is between is lost\n",
                show::count(last_seq),
                show::count(seen)
            ),
            Salvaged::Lost { damaged, seen } => format!(
                "{name}: LOST, batch {} can't be read and all of {} need it: restore a backup\n",
                show::count(damaged),
                show::count(seen)
            ),
        });
    }
    let (accounts, bytes) = (show::count(report.accounts), show::bytes(report.bytes));
    text.push_str(&format!("salvaged to {}: {bytes} of records; balances of accounts: {accounts}\n", to.display()));
    text.push_str(&format!("look at them before you use them: connector audit --store {}\n", to.display()));
    text
}

fn wrong(error: &BooksError) -> Failure {
    Failure::cannot(in_full(error))
}
