//! The rules, by name.

use std::fmt;

/// A rule that every order must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// I1: balances, held and own changes add up to nothing.
    Conservation,
    /// I2, §5: each balance is what its sums make it.
    BalanceFormula,
    /// §4.4: a prepare is held and acknowledged, or refused for a reason that is there.
    HeldOrRefused,
    /// §4.6: a matching fulfill in time, and a reject, of a held transfer is taken, whatever came of the Ack.
    AnswerIsTaken,
    /// §4.7: a hold ends by a matching fulfill, a reject, or the time, and in no other way.
    HoldEnds,
    /// §4.8: what a sender is owed reaches it; and what a next hop has not acknowledged.
    SaidAgain,
    /// §4.9: nothing is sent twice to a peer that doesn't dedupe.
    NothingTwice,
    /// I4: one outcome per transfer.
    OneOutcome,
    /// I4: both sides agree, or the transfer is listed.
    BooksAgree,
    /// When all is delivered and time has passed, nothing is held, owed or remembered.
    NothingLeft,
    /// No connection ends but by the fault of the scenario.
    ConnectionStays,
    /// §7: an application's request has one end, and both ends agree on it.
    ExchangeAgrees,
}

impl Check {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conservation => "conservation (I1)",
            Self::BalanceFormula => "balance formula (I2)",
            Self::HeldOrRefused => "held or rightly refused (4.4)",
            Self::AnswerIsTaken => "answer in time is taken (4.6)",
            Self::HoldEnds => "hold ends in three ways (4.7)",
            Self::SaidAgain => "said again until acknowledged (4.8)",
            Self::NothingTwice => "nothing twice without dedupe (4.9)",
            Self::OneOutcome => "one outcome (I4)",
            Self::BooksAgree => "both sides agree (I4)",
            Self::NothingLeft => "nothing left",
            Self::ConnectionStays => "connection stays",
            Self::ExchangeAgrees => "exchange agrees",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// How.
    pub what: String,
}

impl Violation {
    pub(super) fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}
