//! `contend`: several connector processes on one Redis server, and payers that are connected to all of them and try to pay more than they have.
//!
//! ```text
//!   payer ──┬──► process 1 ──┐
//!     …     ├──► process 2 ──┼──► payee        each payer has a small balance and a connection to every process;
//!   payer ──┴──► process N ──┘                 what is accepted of it in all is known beforehand, to the unit
//!                    │
//!                  Redis
//! ```
//!
//! | file | what |
//! |---|---|
//! | `process` | a connector in a child process |
//! | `load` | payers and payee |

mod load;
mod process;

use crate::connector::admin::desk;
use crate::connector::report::BalancesReport;
use crate::flood::child::{Child, ChildError, own_program};
use crate::flood::options::Login;
use crate::flood::pair::ConnectError;
use crate::flood::random::{NoRandomness, random};
use crate::flood::report::Decimal;
use crate::flood::store::Scratch;
use crate::flood::wire::WireError;
use crate::redis::RedisServer;
use clap::{Parser, Subcommand};
use ilp_store_redis::{RedisConfig, RedisError, RedisStore};
use load::{Tally, contend};
use process::{Hello, Order};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Lets connector processes that share their books contend for small balances, and sees that exactly what is there is paid.
///
/// A Redis server and the processes are started for it and stopped again. Every payer is connected to every process and makes its attempts on all of them
/// at once; in the end it goes on until everybody says that there isn't enough.
#[derive(Debug, Parser)]
#[command(name = "contend", version, after_help = EXIT_CODES)]
struct Options {
    #[command(subcommand)]
    task: Option<Task>,
    /// Connector processes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    processes: u16,
    /// Payments that are tried, of all payers together
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    attempts: u64,
    /// Payers
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    payers: u16,
    /// Parallelism of their accounts: a payment of x needs so many times x
    #[arg(long, value_name = "P", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallelism: u8,
    /// What each payment is worth, in base units
    #[arg(long, value_name = "AMOUNT", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    amount: u64,
    /// Prints the report as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Be a connector of another contend
    #[command(hide = true)]
    Connector,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum ContendError {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("a connection has ended: {0}")]
    Wire(#[from] WireError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("the books can't be read: {0}")]
    Books(String),
    #[error("the payers haven't come to an end in {} s", TIME_MAX.as_secs())]
    TimedOut,
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// What came of it; as JSON one line with these fields.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    processes: u16,
    parallelism: u8,
    attempts: u64,
    accepted: u64,
    /// Payments that were refused, by the error's code.
    refused: BTreeMap<String, u64>,
    seconds: Decimal,
    /// What is wrong, in words.
    complaints: Vec<String>,
}

/// Runs the program: reads its arguments, lets them contend, reports, and gives the exit code that `--help` explains.
pub fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Help and version are no errors and have code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Some(Task::Connector) = options.task {
        return process::main();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = match runtime.map_err(ContendError::from).and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(report) => report,
        Err(error) => {
            let _ = writeln!(stderr(), "contend: {error}");
            return ExitCode::from(3);
        }
    };
    let text = match options.json {
        true => serde_json::to_string(&report).unwrap_or_default(),
        false => {
            let refused: String = report.refused.iter().map(|(code, count)| format!(", {count} refused with {code}")).collect();
            let (processes, attempts, accepted, seconds) = (report.processes, report.attempts, report.accepted, report.seconds);
            format!("{processes} processes: {attempts} attempts in {seconds} s, {accepted} accepted{refused}")
        }
    };
    for complaint in &report.complaints {
        let _ = writeln!(stderr(), "contend: {complaint}");
    }
    match writeln!(stdout(), "{text}") {
        Ok(()) if report.ok => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

async fn run(options: &Options) -> Result<Report, ContendError> {
    let began = Instant::now();
    let scratch = Scratch::make(&std::env::temp_dir(), "ilp-contend")?;
    let redis = RedisServer::start(scratch.path(), "always")?;
    let login = |name: String| Ok::<_, NoRandomness>(Login { name, token: hex::encode(random::<16>()?) });
    let payee = login("payee".to_owned())?;
    let payers = (0..options.payers).map(|n| login(format!("payer-{n}"))).collect::<Result<Vec<_>, _>>()?;
    let each = options.attempts.div_ceil(options.payers.into());
    // Enough for about half of the attempts; with a rest that no payment fits in, another one for each.
    let balance = |n: u64| (each / 2 + u64::from(options.parallelism)).saturating_mul(options.amount).saturating_add(n % options.amount);
    let accounts =
        |payers: &[Login]| payers.iter().zip(0..).map(|(login, n)| (login.name.clone(), login.token.clone(), balance(n))).collect();
    let secret = hex::encode(random::<32>()?);
    let mut children: Vec<Child<Hello>> = Vec::new();
    for number in 0..options.processes {
        let order = Order {
            redis: redis.url(),
            number,
            processes: options.processes,
            secret: secret.clone(),
            payers: accounts(&payers),
            payee: (payee.name.clone(), payee.token.clone()),
            parallelism: options.parallelism,
        };
        children.push(Child::start_as(&own_program()?, &["connector"], &order).await?);
    }
    let ports: Vec<_> = children.iter().map(|child| child.hello().port).collect();
    let load = contend(&ports, &payee, &payers, options.amount, each);
    let tallies = tokio::time::timeout(TIME_MAX, load).await.map_err(|_| ContendError::TimedOut)??;
    for child in children {
        let ended = child.end(STOP_TIME_MAX).await?;
        if !ended.is_some_and(|status| status.success()) {
            return Err(ContendError::Books("a connector didn't stop in good order".to_owned()));
        }
    }
    let store = RedisStore::connect(RedisConfig::new(&redis.url())?).await?;
    let pictures = desk::pictures(&store).await.map_err(|refused| ContendError::Books(refused.message))?;
    let audit = desk::audit(pictures.iter().map(|(slot, picture)| (slot.clone(), picture.clone(), None)).collect(), None);
    let audit = audit.map_err(|refused| ContendError::Books(refused.message))?;
    let books = BalancesReport::of(pictures).map_err(|error| ContendError::Books(error.to_string()))?;
    let mut complaints = audit.violations;
    let mut all = Tally::default();
    for ((login, tally), n) in payers.iter().zip(&tallies).zip(0..) {
        let mut left = balance(n);
        let needed = options.amount.saturating_mul(options.parallelism.into());
        let mut expected = 0_u64;
        while left >= needed {
            left -= options.amount;
            expected += 1;
        }
        if tally.accepted != expected {
            complaints.push(format!("{}: {} payments were accepted, and {expected} fit", login.name, tally.accepted));
        }
        let booked = books.accounts.iter().find(|account| account.name == login.name).map(|account| account.balance);
        if booked != Some(left.into()) {
            complaints.push(format!("{}: {booked:?} are booked, and {left} are left", login.name));
        }
        all.add(tally);
    }
    Ok(Report {
        ok: complaints.is_empty(),
        processes: options.processes,
        parallelism: options.parallelism,
        attempts: all.attempts,
        accepted: all.accepted,
        refused: all.refused,
        seconds: Decimal::seconds(began.elapsed()).unwrap_or(Decimal::ZERO),
        complaints,
    })
}

const EXIT_CODES: &str = "\
Exit status:
  0  of every balance exactly what fits was paid, and the books agree
  1  more or less was paid, or the books don't agree
  2  wrong usage
  3  it could not be carried out";

const TIME_MAX: Duration = Duration::from_secs(1_800);
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
