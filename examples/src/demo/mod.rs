//! `connector --demo`: a connector and two peers on this machine, alice paying bob through it, and a look at everybody's books.

mod books;
mod invoices;
mod load;
mod network;
mod progress;
mod report;

pub use books::Place;
pub use network::DemoError;

use crate::connector::Signals;
use crate::show;
use books::{DemoBooks, Found};
use ilp_core::Asset;
use ilp_oer::Amount;
use network::Network;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// When the demo has paid enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// After so many payments.
    Payments(u64),
    /// After this time.
    For(Duration),
}

/// What the demo does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many payments, or for how long.
    pub goal: Goal,
    /// How many at once.
    pub in_flight: usize,
    /// What each is worth, in base units.
    pub amount: u64,
    /// Where the books are.
    pub place: Place,
}

impl Options {
    /// Whether alice's credit is enough for all of it; if not, what to do.
    pub fn check(&self) -> Result<(), String> {
        match self.total().filter(|total| *total <= network::CREDIT) {
            Some(_) => Ok(()),
            None => Err(format!("that is more than alice has credit for ({} base units in all): take a smaller --amount", network::CREDIT)),
        }
    }

    fn total(&self) -> Option<u64> {
        match self.goal {
            Goal::Payments(payments) => payments.checked_mul(self.amount),
            // Nobody makes 2^32 payments.
            Goal::For(_) => self.amount.checked_mul(1 << 32),
        }
    }
}

/// Whether everybody's books are as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Right,
    /// They aren't; the report says where.
    Wrong,
    /// Nobody looked: a second Ctrl-C came.
    Interrupted,
}

/// What everything is paid in.
fn asset() -> Asset {
    Asset::new("XRP", 6)
}

/// Runs the demo and writes its report to `out`; progress goes to stderr. Ctrl-C ends the paying, a second one everything.
pub async fn run(options: Options, out: &mut impl Write) -> Result<Verdict, DemoError> {
    let mut signals = Signals::listen().map_err(DemoError::Signals)?;
    let stop = AtomicBool::new(false);
    let twice = async {
        let signal = signals.stop().await;
        stop.store(true, Ordering::Relaxed);
        let _ = writeln!(std::io::stderr(), "{signal}: waiting for payments in flight, once more stops at once");
        signals.stop().await;
    };
    tokio::select! {
        verdict = show_payments(options, out, &stop) => verdict,
        () = twice => Ok(Verdict::Interrupted),
    }
}

async fn show_payments(options: Options, out: &mut impl Write, stop: &AtomicBool) -> Result<Verdict, DemoError> {
    let amount = Amount::new(options.amount);
    let books = DemoBooks::open(&options.place)?;
    let found = books.look().await?;
    let network = Network::start(books, amount).await?;
    let _ = write!(out, "{}", introduction(&options, &network, &found));
    let _ = out.flush();
    network.resolve().await?;
    let before = network.books().await?;
    check_credit(&options, &before)?;
    let taken_before = network.till.taken();
    let paid = load::pay(&network, options.goal, options.in_flight, amount, stop).await;
    network.settle().await?;
    let after = network.books().await?;
    let taken = network.till.taken().saturating_sub(taken_before);
    let resumed = network.resumed;
    network.stop().await;
    let report = report::Report::new(options.amount, &paid, taken, &found, resumed, &before, &after);
    let _ = write!(out, "{report}");
    let _ = out.flush();
    Ok(if report.is_right() { Verdict::Right } else { Verdict::Wrong })
}

/// Earlier demos have used alice's credit, too.
fn check_credit(options: &Options, before: &network::Books) -> Result<(), DemoError> {
    let balance = report::balance(&before.connector, "alice");
    let left = balance.saturating_add(network::CREDIT.into());
    let enough = options.total().is_some_and(|total| i128::from(total) <= left);
    if enough { Ok(()) } else { Err(DemoError::Credit { left }) }
}

fn introduction(options: &Options, network: &Network, found: &Found) -> String {
    let how_often = match options.goal {
        Goal::Payments(payments) => format!("{} times", show::count(payments)),
        Goal::For(time) => format!("for {}", show::duration(time)),
    };
    format!(
        "connector {} at {}, and its peers alice and bob,\n\
         each on a TLS connection of its own (CLP over WebSocket, setup 0.1)\n{}\n\
         alice pays bob {} {how_often}, {} payments in flight at once\n\n",
        network.connector.address(),
        network.url,
        report::books(&options.place, found, network.resumed),
        show::units(options.amount.into(), &asset(), false),
        options.in_flight,
    )
}
