//! `recovery`: how long a connector takes to take up its books after a kill.
//!
//! A child process fills an embedded store through a worker, as payments would but without peers, and is killed. Then this process opens the
//! books as a connector does, and times each part of it.

mod fill;

use crate::flood::child::{Child, ChildError, own_program};
use crate::flood::report::Decimal;
use crate::flood::store::Scratch;
use clap::Parser;
use fill::{Filled, Order, fill, worker_config};
use ilp_core::audit::{Audit, AuditError};
use ilp_core::runtime::{Clock, SystemClock};
use ilp_core::store::{BalanceStore, BooksError, EmbeddedStore, StoreError};
use ilp_core::worker::{OpenError, Worker};
use serde::Serialize;
use std::fmt::{self, Display};
use std::io::{self, BufRead, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXIT_CODES: &str = "\
Exit status:
  0  the books were taken up, and are right
  1  they weren't, or aren't
  2  wrong usage
  3  the books could not be made";

/// Makes books with many transfers, kills the process that has them, and times how they are taken up again.
#[derive(Debug, Parser)]
#[command(name = "recovery", version, after_help = EXIT_CODES)]
struct Options {
    /// Transfers that are in flight when the process is killed
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    held: u32,
    /// Transfers that have ended by then and are remembered
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    remembered: u32,
    /// How often they are taken up; each time by a process that doesn't close them in good order
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    times: u16,
    /// Where the store makes its directory, which is gone afterwards [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    store_dir: Option<PathBuf>,
    /// Prints the report as one line of JSON
    #[arg(long)]
    json: bool,
    /// Be the process that is killed
    #[arg(long, hide = true, exclusive = true)]
    fill: bool,
    /// Be a process that takes the books up, and is killed
    #[arg(long, hide = true, exclusive = true)]
    take_up: bool,
}

/// What is found; as JSON one line with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Report {
    held: usize,
    remembered: usize,
    /// Batches of the log.
    batches: u64,
    /// Bytes of the log that were read.
    log_bytes_read: u64,
    /// The store's file.
    file_bytes: u64,
    /// Opening the file after a kill, and checking it: the median.
    open_file_ms: Option<Decimal>,
    /// Reading the slot: the median.
    read_slot_ms: Option<Decimal>,
    /// Making a worker of it: the median.
    recover_ms: Option<Decimal>,
    /// All of it: the median …
    total_ms: Option<Decimal>,
    /// … and the slowest.
    total_ms_max: Option<Decimal>,
    /// Whether an audit of the books finds nothing.
    books_right: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Books(#[from] BooksError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Fill(String),
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match (options.fill, options.take_up) {
        (true, _) => as_child(fill).map(|()| ExitCode::SUCCESS),
        (_, true) => as_child(take_up).map(|()| ExitCode::SUCCESS),
        _ => measure(&options),
    };
    done.unwrap_or_else(|failure| {
        let _ = writeln!(stderr(), "recovery: {failure}");
        ExitCode::from(3)
    })
}

fn measure(options: &Options) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let within = options.store_dir.clone().unwrap_or_else(std::env::temp_dir);
        let scratch = Scratch::make(&within, "ilp-recovery")?;
        let order = Order { dir: scratch.path().to_owned(), held: options.held, remembered: options.remembered };
        let child: Child<Filled> = Child::start_as(&own_program()?, &["--fill"], &order).await?;
        drop(child);
        let mut taken = Vec::new();
        for _ in 0..options.times {
            let child: Child<TakenUp> = Child::start_as(&own_program()?, &["--take-up"], &order).await?;
            taken.push(child.hello().clone());
            // Killed as well: the next one finds the file as unclean as this one did.
            drop(child);
        }
        let (store, _) = open(scratch.path())?;
        let picture = store.read(&fill::slot()).await?.ok_or_else(|| AuditError::NoSlot("slot-0".into()))?;
        let audit = Audit::of_slot("slot-0", picture)?;
        let file_bytes = std::fs::metadata(scratch.path().join("books.redb")).map_or(0, |file| file.len());
        Ok::<_, Failure>(report(&taken, &audit, file_bytes, options))
    })?;
    let right = report.books_right;
    let text = if options.json { serde_json::to_string(&report).unwrap_or_default() } else { report.to_string() };
    writeln!(stdout(), "{text}")?;
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The store, and when its opening began. The lock of a process that was killed is free when the kernel is done with that: this isn't counted.
fn open(dir: &std::path::Path) -> Result<(EmbeddedStore, Instant), Failure> {
    let until = Instant::now() + LOCK_TIME_MAX;
    loop {
        let began = Instant::now();
        match EmbeddedStore::open(dir) {
            Err(BooksError::InUse { .. }) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            result => return Ok((result?, began)),
        }
    }
}

/// Reads an order, does it, answers, and waits to be killed.
fn as_child<A: Serialize>(work: impl AsyncFnOnce(Order) -> Result<A, Failure>) -> Result<(), Failure> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).map_err(|error| Failure::Fill(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(work(order))?;
    writeln!(stdout(), "{}", serde_json::to_string(&answer).unwrap_or_default())?;
    stdout().flush()?;
    // Its parent kills it, or is gone.
    let _ = stdin().lock().read_line(&mut line);
    std::process::abort()
}

/// What one taking up took.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
struct TakenUp {
    open_file_ns: u64,
    read_slot_ns: u64,
    recover_ns: u64,
    batches: u64,
    log_bytes: u64,
    held: usize,
    remembered: usize,
}

async fn take_up(order: Order) -> Result<TakenUp, Failure> {
    let (store, began) = open(&order.dir)?;
    let opened_at = Instant::now();
    let opened = store.open(&fill::slot(), &fill::lease()).await?;
    let read_at = Instant::now();
    let worker = Worker::open(worker_config()?, &opened, SystemClock::new().now())?;
    let recovered_at = Instant::now();
    // The worker lives until the process is killed.
    let status = std::mem::ManuallyDrop::new(worker).status();
    std::mem::forget(store);
    let ns = |from: Instant, to: Instant| u64::try_from(to.duration_since(from).as_nanos()).unwrap_or(u64::MAX);
    Ok(TakenUp {
        open_file_ns: ns(began, opened_at),
        read_slot_ns: ns(opened_at, read_at),
        recover_ns: ns(read_at, recovered_at),
        batches: u64::try_from(opened.log.len()).unwrap_or(u64::MAX),
        log_bytes: opened.log.iter().map(|blob| u64::try_from(blob.len()).unwrap_or(u64::MAX)).sum(),
        held: status.in_flight,
        remembered: status.remembered - status.in_flight,
    })
}

fn report(taken: &[TakenUp], audit: &Audit, file_bytes: u64, options: &Options) -> Report {
    let median = |of: fn(&TakenUp) -> u64| {
        let mut all: Vec<u64> = taken.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().map(Duration::from_nanos).and_then(Decimal::milliseconds)
    };
    let total = |taken: &TakenUp| taken.open_file_ns + taken.read_slot_ns + taken.recover_ns;
    let slowest = taken.iter().map(total).max().map(Duration::from_nanos);
    let last = taken.last();
    let (held, remembered) = last.map_or((0, 0), |last| (last.held, last.remembered));
    Report {
        held,
        remembered,
        batches: last.map_or(0, |last| last.batches),
        log_bytes_read: last.map_or(0, |last| last.log_bytes),
        file_bytes,
        open_file_ms: median(|taken| taken.open_file_ns),
        read_slot_ms: median(|taken| taken.read_slot_ns),
        recover_ms: median(|taken| taken.recover_ns),
        total_ms: median(|taken| taken.open_file_ns + taken.read_slot_ns + taken.recover_ns),
        total_ms_max: slowest.and_then(Decimal::milliseconds),
        books_right: audit.is_right() && u32::try_from(held) == Ok(options.held) && u32::try_from(remembered) == Ok(options.remembered),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: Option<Decimal>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        writeln!(f, "in flight    {} transfers, and {} remembered", self.held, self.remembered)?;
        writeln!(f, "log read     {} bytes in {} batches, of a file of {} bytes", self.log_bytes_read, self.batches, self.file_bytes)?;
        let (file, slot, worker) = (shown(self.open_file_ms), shown(self.read_slot_ms), shown(self.recover_ms));
        writeln!(f, "open         {file} ms for the file, {slot} ms for the slot, {worker} ms for the worker")?;
        writeln!(f, "all          {} ms, {} ms at most", shown(self.total_ms), shown(self.total_ms_max))?;
        write!(f, "books        {}", if self.books_right { "right" } else { "WRONG" })
    }
}

const LOCK_TIME_MAX: Duration = Duration::from_secs(10);
