//! Alice pays: several payments in flight at once, until the goal is reached.

use super::Goal;
use super::invoices::Invoice;
use super::network::Network;
use super::progress::Progress;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ilp_core::runtime::PayError;
use ilp_oer::Amount;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a machine that is busy with other things; but until a payment expires, all three remember it against repetition,
/// which in a long run takes most of the memory.
const EXPIRES_AFTER_MS: i64 = 6_000;
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What became of the payments.
#[derive(Debug, Default)]
pub(super) struct Paid {
    pub(super) sent: u64,
    /// With a fulfillment that fits the condition.
    pub(super) fulfilled: u64,
    /// The other ones, by reason.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) time: Duration,
    /// Ctrl-C came before the goal was reached.
    pub(super) interrupted: bool,
}

/// Pays until the goal is reached or it is told to stop; what is in flight by then is waited for.
pub(super) async fn pay(network: &Network, goal: Goal, in_flight: usize, amount: Amount, stop: &AtomicBool) -> Paid {
    let mut paid = Paid::default();
    let mut progress = Progress::start(goal);
    let mut flying = FuturesUnordered::new();
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    let start = Instant::now();
    loop {
        paid.interrupted = stop.load(Ordering::Relaxed);
        while !paid.interrupted && flying.len() < in_flight && wants_more(goal, paid.sent, start) {
            flying.push(pay_one(network, network.till.invoice(), amount));
            paid.sent += 1;
        }
        if flying.is_empty() {
            break;
        }
        tokio::select! {
            Some(result) = flying.next() => match result {
                Ok(()) => paid.fulfilled += 1,
                Err(why) => *paid.failed.entry(why).or_default() += 1,
            },
            _ = tick.tick() => progress.show(paid.fulfilled, start.elapsed()),
        }
    }
    paid.time = start.elapsed();
    progress.finish();
    paid
}

fn wants_more(goal: Goal, sent: u64, start: Instant) -> bool {
    match goal {
        Goal::Payments(payments) => sent < payments,
        Goal::For(time) => start.elapsed() < time,
    }
}

async fn pay_one(network: &Network, invoice: Invoice, amount: Amount) -> Result<(), String> {
    let Invoice { text, condition } = invoice;
    let expires_at = network.alice.now().saturating_add_millis(EXPIRES_AFTER_MS);
    match network.alice.pay_with(network.bob.address(), amount, condition, expires_at, text).await {
        Ok(fulfillment) if condition.is_fulfilled_by(&fulfillment) => Ok(()),
        Ok(_) => Err("a fulfillment that doesn't fit the condition".into()),
        // Without the text that differs from payment to payment.
        Err(PayError::Refused { code, name, triggered_by, .. }) => Err(format!("{code} {name}, by {triggered_by}")),
        Err(error) => Err(error.to_string()),
    }
}

impl Paid {
    /// Whether every payment went through.
    pub(super) fn all_fulfilled(&self) -> bool {
        self.fulfilled == self.sent && self.failed.is_empty()
    }
}
