//! What has become of the payments.

use super::histogram::Histogram;
use ilp_oer::ErrorCode;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Counts of a run, kept by senders and receivers together.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Payments that were started.
    pub(crate) started: u64,
    /// Payments whose right preimage came in time.
    pub(crate) fulfilled: u64,
    /// Payments that ended in another way, by code of the reject or error; [`NONE`] and [`LATE`] too.
    pub(crate) failed: BTreeMap<String, u64>,
    /// What should not happen whatever becomes of payments.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// From start to fulfillment, of fulfilled payments.
    pub(crate) latency: Histogram,
    /// When the last payment ended, in nanoseconds since the start of the run.
    pub(crate) last_end_ns: u64,
}

/// What should not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An outcome for a payment that isn't under way, most likely because it has had one.
    SecondOutcome,
    /// A fulfillment that isn't the condition's preimage.
    WrongFulfillment,
    /// A request that got no answer.
    Unanswered,
    /// An answer to no request.
    UnmatchedAnswer,
    /// The connector refused the fulfillment of what it had prepared.
    FulfillRefused,
    /// A packet that can't be read.
    Unreadable,
    /// A request that has no place on that connection.
    Misplaced,
}

/// A payment that got neither fulfill nor reject nor error.
pub(crate) const NONE: &str = "none";
/// A payment that was fulfilled after its expiry.
pub(crate) const LATE: &str = "late";

impl Tally {
    pub(crate) fn new() -> Self {
        Self { started: 0, fulfilled: 0, failed: BTreeMap::new(), faults: BTreeMap::new(), latency: Histogram::new(), last_end_ns: 0 }
    }

    /// A payment was fulfilled, so long after its start.
    pub(crate) fn fulfilled(&mut self, started_ns: u64, now_ns: u64) {
        self.fulfilled += 1;
        self.latency.record(now_ns.saturating_sub(started_ns));
        self.last_end_ns = now_ns;
    }

    /// A payment was rejected or refused.
    pub(crate) fn rejected(&mut self, code: ErrorCode, now_ns: u64) {
        self.failed(code.as_str(), now_ns);
    }

    /// A payment ended in another way.
    pub(crate) fn failed(&mut self, how: &str, now_ns: u64) {
        // No allocation for the next ones, of which there may be very many.
        match self.failed.get_mut(how) {
            Some(count) => *count += 1,
            None => drop(self.failed.insert(how.to_owned(), 1)),
        }
        self.last_end_ns = now_ns;
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Payments that have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.fulfilled + self.failed.values().sum::<u64>()
    }

    /// What went wrong, in words; nothing if every payment was fulfilled, once.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let failed = self.started.saturating_sub(self.fulfilled);
        if failed > 0 {
            let mut text = format!("{failed} of {} payments were not fulfilled:", self.started);
            for (how, count) in &self.failed {
                let _ = write!(text, " {count} {how},");
            }
            complaints.push(text.trim_end_matches([',', ':']).to_owned());
        }
        if self.started != self.ended() {
            complaints.push(format!("{} payments were started, but {} have ended", self.started, self.ended()));
        }
        complaints.extend(self.faults.iter().map(|(fault, count)| format!("{count} {}", fault.what())));
        complaints
    }
}

impl Fault {
    fn what(self) -> &'static str {
        match self {
            Self::SecondOutcome => "outcomes of payments that have had theirs, or never were",
            Self::WrongFulfillment => "fulfillments that are not their condition's preimage",
            Self::Unanswered => "requests without an answer",
            Self::UnmatchedAnswer => "answers without a request",
            Self::FulfillRefused => "fulfillments that the connector refused",
            Self::Unreadable => "packets that can't be read",
            Self::Misplaced => "requests that have no place on their connection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fulfilled_payments_and_nothing_else_are_no_reason_to_complain() {
        let mut tally = Tally::new();
        tally.started = 2;
        tally.fulfilled(0, 5);
        tally.fulfilled(1, 9);
        assert_eq!((tally.complaints(), tally.ended(), tally.last_end_ns), (vec![], 2, 9));
        assert!(tally.latency.per_mille(1000).is_some_and(|longest| longest.as_nanos() == 8));
    }

    #[test]
    fn whatever_else_happens_is_complained_about() {
        let mut tally = Tally::new();
        tally.started = 4;
        tally.fulfilled(0, 1);
        tally.rejected(ErrorCode::T03_CONNECTOR_BUSY, 2);
        tally.failed(NONE, 3);
        tally.fault(Fault::SecondOutcome);
        let complaints = tally.complaints();
        assert_eq!(complaints.len(), 3);
        assert_eq!(complaints[0], "3 of 4 payments were not fulfilled: 1 T03, 1 none");
        assert_eq!(complaints[1], "4 payments were started, but 3 have ended");
    }
}
