//! The rules, by name.

use super::super::observe::NodeNo;

/// A rule that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// I1: per asset, balances, holds and the connector's own account add up to nothing.
    Conservation,
    /// I2, §5: every balance is what the records of its log make it, beside the log and in the worker.
    BalanceFormula,
    /// I3, §4 "Time": an outgoing transfer ends the window before the incoming one, leaves with its minimum time, and no hold is too long.
    Claimable,
    /// I4: a transfer is held once, and has one outcome.
    OneOutcome,
    /// I4: both sides agree on it, or it is listed as disputed or unconfirmed.
    Agreement,
    /// I5, §3: nothing leaves before what it says is durable.
    DurableFirst,
    /// I6, §6: one opener at a time changes the log, batch after batch.
    Fenced,
    /// §4.2, §4.3: a transfer is one of its account, whatever other accounts call theirs.
    OneHold,
    /// §4.3: no account goes below its limit.
    CreditLimit,
    /// §4.5: what leaves is what the record says; route and amount are right when it is made.
    AsRecorded,
    /// §4.4: no Error after the Ack.
    ErrorAfterAck,
    /// §4.6: a fulfillment fits its condition and comes from the account that the transfer went to, in time.
    FulfillmentFits,
    /// §4.7: a hold ends by a fulfill, a reject, or the time; or by an Error to a prepare sent once, or when it was never sent.
    HoldEnds,
    /// §4.8, §4.10: what isn't acknowledged is said again on the next connection.
    SaidAgain,
    /// §4.9: nothing is said twice to a peer that doesn't dedupe.
    NothingTwice,
    /// §4, "Late fulfills": who bears a fulfill that A refuses.
    LateFulfill,
    /// §6, "Snapshots": what a snapshot tells is what the log before it says.
    SnapshotTells,
    /// §6, "Snapshots": a cut takes nothing that a restart, or whoever has to be told, needs; and the store takes no more than that.
    CutKeeps,
    /// §5: a settlement counts once, however often it is told, and is in the books when it is called durable.
    SettledOnce,
    /// Events have numbers without gaps, are told when they are durable and until they are acknowledged, and make the books of the log.
    EventsTellBooks,
    /// When nothing goes wrong any more, everything ends.
    Liveness,
    /// The product's own checks of its books.
    OwnChecks,
}

impl Invariant {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conservation => "conservation (I1)",
            Self::BalanceFormula => "balance formula (I2)",
            Self::Claimable => "claimable in time (I3)",
            Self::OneOutcome => "one outcome (I4)",
            Self::Agreement => "both sides agree (I4)",
            Self::DurableFirst => "durable before it leaves (I5)",
            Self::Fenced => "one opener, no gaps (I6)",
            Self::OneHold => "one hold per transfer (4.3)",
            Self::CreditLimit => "credit limit (4.3)",
            Self::AsRecorded => "nothing computed again (4.5)",
            Self::ErrorAfterAck => "no error after the ack (4.4)",
            Self::FulfillmentFits => "fulfillment fits (4.6)",
            Self::HoldEnds => "hold ends in three ways (4.7)",
            Self::SaidAgain => "said again until acknowledged (4.8)",
            Self::NothingTwice => "nothing twice without dedupe (4.9)",
            Self::LateFulfill => "who bears a late fulfill (4)",
            Self::SnapshotTells => "snapshots tell the books (6)",
            Self::CutKeeps => "a cut keeps what is needed (6)",
            Self::SettledOnce => "a settlement counts once (5)",
            Self::EventsTellBooks => "events tell the books",
            Self::Liveness => "liveness",
            Self::OwnChecks => "own checks of the books",
        }
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub what: String,
    /// When, in true milliseconds since 1970.
    pub at: i64,
    /// At which connector.
    pub node: Option<NodeNo>,
}

/// Where a transfer stands at a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// The prepare has arrived, nothing is durable.
    Asked,
    /// Durable, and not sent on.
    Held,
    /// Sent on.
    Sent,
    /// Acknowledged by the next hop.
    Acked,
    /// The next hop's answer has arrived, and isn't durable.
    Deciding,
    /// The outcome is durable, and not sent to the sender.
    Decided,
    /// Sent to the sender, and not acknowledged.
    Answered,
    /// Nothing more is to be said.
    Done,
}

impl TransferState {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Asked, Self::Held, Self::Sent, Self::Acked, Self::Deciding, Self::Decided, Self::Answered, Self::Done];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Held => "held",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Deciding => "deciding",
            Self::Decided => "decided",
            Self::Answered => "answered",
            Self::Done => "done",
        }
    }
}
