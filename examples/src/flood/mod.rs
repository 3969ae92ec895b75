//! `flood`: makes many payments through a connector, fast, and checks every one of them.
//!
//! ```text
//!   sender 1 ──prepare──►             ──prepare──► receiver 1
//!              ◄──fulfill── connector ◄──fulfill──
//!   sender 2 ──────────────►         ──────────────► receiver 2
//! ```
//!
//! All peers run on one thread, in one future that is polled when any of their connections has something to do (`run`). Only the
//! receivers can make the preimages of the payments' conditions (`invoice`). A sender counts outcomes, one a payment, and verifies
//! fulfillments; both sides keep books, which are compared with the connector's at the end (`pair`).
//!
//! | file | what |
//! |---|---|
//! | `options` | the command line |
//! | `child`, `connector` | the connector in a child process, seen from outside and from inside |
//! | `process` | CPU time and memory of a process |
//! | `pair`, `sender`, `receiver`, `wire` | the peers |
//! | `invoice`, `random`, `slots` | preimages; random numbers; requests under way |
//! | `run`, `clock`, `progress` | the loop |
//! | `tally`, `histogram`, `report` | the results |
//! | `store`, `compare` | where the books are kept, and what that costs |
//! | `faults` | payments while connections are lost all the time |

pub(crate) mod child;
pub(crate) mod clock;
mod compare;
mod connector;
pub(crate) mod faults;
pub(crate) mod histogram;
pub(crate) mod invoice;
pub(crate) mod options;
pub(crate) mod pair;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod random;
mod receiver;
pub(crate) mod report;
pub(crate) mod run;
mod sender;
mod slots;
pub(crate) mod store;
pub(crate) mod tally;
pub(crate) mod wire;

use crate::redis::RedisServer;
use child::{Child, ChildError, Farewell, Hello, Order};
use ilp_clp::ws::{TlsClientConfig, TlsError, Url, UrlError};
use ilp_oer::{Amount, InvalidAddress};
use options::{Login, Plan, Target, Task, Until};
use pair::{ConnectError, Pair};
use process::{CpuMeter, Process};
use random::NoRandomness;
use report::{Decimal, Latency, Memory, Report, Traffic, Usage, WorkersUse};
use run::{Outcome, Run};
use serde::Serialize;
use std::fmt::Display;
use std::future::Future;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use store::{RedisUse, Scratch, Store, StoreUse};

/// Runs the program: reads its arguments, floods a connector, reports, and gives the exit code that `--help` explains.
pub fn main() -> ExitCode {
    match options::parse(std::env::args_os()) {
        Ok(Task::Connector) => connector::main(),
        Ok(Task::Flood(plan)) => run(async {
            Ok(match &plan.faults {
                Some(faults) => faults::drive(&plan, faults).await.map(|(report, complaints)| (text(&plan, &report), complaints))?,
                None => drive(&plan).await.map(|(report, complaints)| (text(&plan, &report), complaints))?,
            })
        }),
        Ok(Task::Compare(plan, times, against)) => {
            run(async { compare::compare(&plan, times, against).await.map(|(report, complaints)| (text(&plan, &report), complaints)) })
        }
        Err(error) => {
            // Help and version are no errors and have code 0.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
        }
    }
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error("faults need a connector of flood's own: leave out --url")]
    NeedsChild,
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

fn run(finish: impl Future<Output = Result<(String, Vec<String>), StartError>>) -> ExitCode {
    // One thread: what the connector's process has is the other core.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let finished = runtime.map_err(StartError::from).and_then(|runtime| runtime.block_on(finish));
    let (text, complaints) = match finished {
        Ok(finished) => finished,
        Err(error) => {
            let _ = writeln!(stderr(), "flood: {error}");
            return ExitCode::from(NO_CONNECTOR);
        }
    };
    for complaint in &complaints {
        let _ = writeln!(stderr(), "flood: {complaint}");
    }
    match writeln!(stdout(), "{text}") {
        Ok(()) if complaints.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::from(WENT_WRONG),
    }
}

fn text(plan: &Plan, report: &(impl Serialize + Display)) -> String {
    if plan.json { serde_json::to_string(report).unwrap_or_default() } else { report.to_string() }
}

/// Makes the payments; gives the report and what is to be complained about.
async fn drive(plan: &Plan) -> Result<(Report, Vec<String>), StartError> {
    match &plan.target {
        Target::Child { pairs, tls, store, store_dir } => {
            let pairs = child::logins(*pairs)?;
            let scratch = scratch(*store, store_dir)?;
            let redis = match (&scratch, store.appendfsync()) {
                (Some(scratch), Some(fsync)) => Some((RedisServer::start(scratch.path(), fsync)?, fsync)),
                _ => None,
            };
            let order = match &redis {
                Some((server, _)) => Order { redis: Some((server.url(), *store == Store::Redis)), ..order(&pairs, *tls, None, plan) },
                None => order(&pairs, *tls, scratch.as_ref(), plan),
            };
            let child: Child<Hello> = Child::start(&order).await?;
            let before = redis.as_ref().map(|(server, _)| server.figures()).transpose()?;
            let hello = child.hello();
            let scheme = if *tls { "wss" } else { "ws" };
            let url: Url = format!("{scheme}://127.0.0.1:{}/", hello.port).parse()?;
            let trusted = hello.certificate.as_ref().map(String::as_bytes);
            let result = measure(plan, &url, trusted, &pairs, Some(child.process())).await;
            let books = child.stop().await;
            let (mut report, complaints) = result?;
            if let (Some((server, fsync)), Some(before)) = (&redis, before) {
                report.redis = Some(RedisUse::new(fsync, &before, &server.figures()?, report.fulfilled));
            }
            let mut complaints = complaints;
            if plan.workers > 1 || plan.parallelism > 1 {
                // A worker answers its peer with what it knows itself, so the child's own sums are compared.
                let paid = i128::from(report.fulfilled).saturating_mul(plan.amount.into());
                complaints =
                    books.as_ref().map_or_else(|| vec!["the connector said nothing".to_owned()], |books| wrong(books, &pairs, paid));
                report.balances_ok = complaints.is_empty();
                report.workers = books.as_ref().map(|books| WorkersUse {
                    workers: plan.workers,
                    parallelism: plan.parallelism,
                    moves: books.moves,
                    moves_per_thousand: Decimal::ratio(u128::from(books.moves).saturating_mul(1_000), report.fulfilled.into()),
                    parked: books.parked,
                });
            }
            report.disk = books.and_then(|books| books.store).map(|figures| StoreUse::new(&figures, report.fulfilled));
            Ok((report, complaints))
        }
        Target::Url { url, pairs, certificate, pid } => measure(plan, url, certificate.as_deref(), pairs, pid.map(Process::new)).await,
    }
}

/// Makes the payments through the connector at `url`, whose process is `connector` if it is known.
async fn measure(
    plan: &Plan,
    url: &Url,
    trusted: Option<&[u8]>,
    logins: &[(Login, Login)],
    connector: Option<Process>,
) -> Result<(Report, Vec<String>), StartError> {
    let tls = match trusted {
        Some(certificate) => TlsClientConfig::trusting_certificate_pem(certificate)?,
        None => TlsClientConfig::public_roots()?,
    };
    let mut pairs = Vec::new();
    for (sender, receiver) in logins {
        pairs.push(Pair::connect(url, &tls, [sender, receiver], Amount::new(plan.amount)).await?);
    }
    let meters = (CpuMeter::start(Process::own()), connector.map(CpuMeter::start));
    let outcome = Run::new(&mut pairs, plan.load, connector).finish().await;
    let used = Used {
        flood_cpu: meters.0.used(),
        connector_cpu: meters.1.and_then(CpuMeter::used),
        connector_rss_kib: connector.and_then(|process| process.rss_kib().ok()),
        connector_peak_rss_kib: connector.and_then(|process| process.peak_rss_kib().ok()),
        traffic: traffic(&pairs),
    };
    let differences = compare_books(&mut pairs, &outcome).await;
    for pair in pairs {
        pair.close().await;
    }
    let report = report(plan, &outcome, &used, connector.is_some(), differences.is_empty());
    let mut complaints = outcome.tally.complaints();
    complaints.extend(outcome.lost.as_ref().map(ToString::to_string));
    complaints.extend(differences);
    if outcome.interrupted {
        let _ = writeln!(stderr(), "flood: ended early, after {} payments", outcome.tally.started);
    }
    Ok((report, complaints))
}

/// What a run took, as far as it is known.
struct Used {
    flood_cpu: Option<Duration>,
    connector_cpu: Option<Duration>,
    connector_rss_kib: Option<u64>,
    connector_peak_rss_kib: Option<u64>,
    traffic: Traffic,
}

fn report(plan: &Plan, outcome: &Outcome, used: &Used, connector_known: bool, balances_ok: bool) -> Report {
    let tally = &outcome.tally;
    let each = |cpu: Option<Duration>| Decimal::microseconds_each(cpu?, tally.fulfilled);
    let mib = |kib: Option<u64>| Decimal::mib(kib?);
    let quantile = |per_mille| tally.latency.per_mille(per_mille).and_then(Decimal::milliseconds);
    let time = Duration::from_nanos(tally.last_end_ns);
    let steady = plan.load.rate.is_some() || matches!(plan.load.until, Until::Elapsed(_));
    let usage = Usage { cpu_us_per_payment: each(used.connector_cpu), peak_rss_mib: mib(used.connector_peak_rss_kib) };
    let memory = Memory { at_10s: mib(outcome.rss_kib_at_10s), end: mib(used.connector_rss_kib) };
    Report {
        payments: tally.started,
        fulfilled: tally.fulfilled,
        failed: tally.failed.clone(),
        seconds: Decimal::seconds(time).unwrap_or(Decimal::ZERO),
        payments_per_second: Decimal::per_second(tally.fulfilled, time).unwrap_or(Decimal::ZERO),
        latency_ms: Latency { p50: quantile(500), p99: quantile(990), p999: quantile(999) },
        bytes: used.traffic,
        connector: connector_known.then_some(usage),
        flood_cpu_us_per_payment: each(used.flood_cpu),
        balances_ok,
        store: match plan.target {
            Target::Child { store, .. } => Some(store.name()),
            Target::Url { .. } => None,
        },
        disk: None,
        redis: None,
        workers: None,
        rss_mib: (steady && connector_known).then_some(memory),
    }
}

/// In what the books differ, in words.
async fn compare_books(pairs: &mut [Pair], outcome: &Outcome) -> Vec<String> {
    if outcome.lost.is_some() {
        return vec!["the books can't be compared".to_owned()];
    }
    let mut differences = Vec::new();
    for pair in pairs {
        match pair.compare_books().await {
            Ok(found) => differences.extend(found),
            Err(error) => differences.push(format!("the books can't be compared: {error}")),
        }
    }
    differences
}

fn traffic(pairs: &[Pair]) -> Traffic {
    let mut traffic = Traffic { sent: 0, received: 0 };
    for counters in pairs.iter().flat_map(Pair::counters) {
        traffic.sent += counters.bytes_out;
        traffic.received += counters.bytes_in;
    }
    traffic
}

/// The directory that a store needs, if it needs one.
fn scratch(store: Store, within: &Path) -> Result<Option<Scratch>, StartError> {
    match store {
        Store::Memory => Ok(None),
        Store::Embedded | Store::Redis | Store::RedisEverysec => Ok(Some(Scratch::make(within, "ilp-flood")?)),
    }
}

/// In what a child's books differ from what was paid, in words.
fn wrong(books: &Farewell, pairs: &[(Login, Login)], paid: i128) -> Vec<String> {
    let of = |name: &str| books.accounts.iter().find(|account| account.name == name).map_or(0, |account| account.balance);
    let sent: i128 = pairs.iter().map(|(sender, _)| of(&sender.name)).sum();
    let received: i128 = pairs.iter().map(|(_, receiver)| of(&receiver.name)).sum();
    let figures = [("units from nowhere", books.conservation, 0), ("sent", sent, -paid), ("received", received, paid)];
    figures.iter().filter(|(_, is, should)| is != should).map(|(what, is, should)| format!("{what}: {is}, not {should}")).collect()
}

fn order(pairs: &[(Login, Login)], tls: bool, scratch: Option<&Scratch>, plan: &Plan) -> Order {
    let account = |login: &Login| (login.name.clone(), login.token.clone());
    Order {
        senders: pairs.iter().map(|(sender, _)| account(sender)).collect(),
        receivers: pairs.iter().map(|(_, receiver)| account(receiver)).collect(),
        tls,
        // An outcome that is on its way back still counts there, and no longer here.
        in_flight_per_account: plan.load.window_per_pair.saturating_mul(2),
        redis: None,
        store_dir: scratch.map(|scratch| scratch.path().to_owned()),
        workers: plan.workers,
        parallelism: plan.parallelism,
        impatient: false,
    }
}

const WENT_WRONG: u8 = 1;
const USAGE: u8 = 2;
const NO_CONNECTOR: u8 = 3;
