//! `connector audit`: whether the books are right.

use super::super::Exit;
use super::super::admin::desk;
use super::super::admin::protocol::Request;
use super::super::report::AuditReport;
use super::place::{Books, Found, Where};
use super::{Failure, block_on, pictures, print, print_json};
use clap::Args;

const AFTER_HELP: &str = "\
Every balance is computed anew from the log, twice, and compared with what stands beside the log
and, if a connector runs, with what it says itself (I2); all balances, holds and the connector's own
account add up to what was settled (I1). Nothing is changed.

Exit codes:
    0  the books are right
    1  they aren't; every violation is printed. Or there is no such account
    2  wrong usage
    3  the configuration can't be read
    4  they couldn't be audited
";

/// What to audit.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in super::super) struct AuditArguments {
    /// An account to explain: its sums, and its last transfers
    account: Option<String>,

    /// As one line of JSON, with amounts in base units
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

/// Audits the running connector, or the books at rest.
pub(in super::super) fn audit(arguments: AuditArguments) -> Result<Exit, Failure> {
    let AuditArguments { account, json, place } = arguments;
    let request = Request::Audit { account: account.clone() };
    let report: AuditReport = match place.place()?.ask_or_open(&request)? {
        Found::Answer(report) => report,
        Found::AtRest(store) => at_rest(store, account.as_deref())?,
    };
    if json {
        print_json(&report)?;
    } else {
        print(&report);
    }
    Ok(if report.right { Exit::Done } else { Exit::Failed })
}

fn at_rest(books: Books, account: Option<&str>) -> Result<AuditReport, Failure> {
    let pictures = block_on(pictures(books))??;
    if pictures.is_empty() {
        return Err(Failure::cannot("the books are empty: no connector has been started on them"));
    }
    Ok(desk::audit(pictures.into_iter().map(|(slot, picture)| (slot, picture, None)).collect(), account)?)
}
