//! What a run with faults has shown.

use super::super::report::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// A report; as JSON one line with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in super::super) struct FaultReport {
    /// Payments started.
    pub(super) payments: u64,
    /// From the first payment to the last unit's being accounted for.
    pub(super) seconds: Decimal,
    /// Of the faults: `--seed` repeats them.
    pub(super) seed: u64,
    /// Whether the connections were encrypted.
    pub(super) tls: bool,
    /// How often what happened to connections.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Connections beyond the first of each peer.
    pub(super) reconnects: Reconnects,
    /// Sent again by the peers.
    pub(super) resent: Sent,
    /// Sent again by the connector, as the peers have seen it.
    pub(super) duplicates: Sent,
    /// For the senders.
    pub(super) outcomes: Outcomes,
    /// Fulfills that came when their sender had given up, and were refused.
    pub(super) late_fulfills: u64,
    /// Listed by the connector: charged, and the sender never answered the fulfill.
    pub(super) unconfirmed: Option<u64>,
    /// Listed by the connector: charged, and the sender refused the fulfill although it had left in time.
    pub(super) disputed: Option<u64>,
    /// Fulfills that left too late: the connector's own account paid.
    pub(super) lost: Option<u64>,
    /// Payments that the connector charged and whose senders never had the preimage in time: part of the two above.
    pub(super) charged_unseen: u64,
    /// Payments of which neither sender nor receiver knows what became of them.
    pub(super) unknown_to_both: u64,
    /// Transfers still held, or with an answer owed, after the last expiry.
    pub(super) stuck: Option<usize>,
    /// Whether every unit is accounted for.
    pub(super) balances_ok: bool,
    /// The longest time in which no payment ended.
    pub(super) longest_pause_seconds: Decimal,
    /// The longest time in which a peer had no answer from the connector: lost connections in a row.
    pub(super) longest_outage_seconds: Decimal,
}

/// Of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Reconnects {
    pub(super) senders: u64,
    pub(super) receivers: u64,
}

/// By kind of packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    pub(super) prepares: u64,
    pub(super) fulfills: u64,
    pub(super) rejects: u64,
}

/// How payments ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Outcomes {
    pub(super) fulfilled: u64,
    /// By code.
    pub(super) rejected: BTreeMap<String, u64>,
    /// Nothing came by expiry and grace.
    pub(super) timed_out: u64,
}

impl Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &mut dyn Iterator<Item = (String, u64)>| {
            counts.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
        };
        let shown = |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let faults = list(&mut self.faults.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        let rejected = list(&mut self.outcomes.rejected.iter().map(|(code, count)| (code.clone(), *count)));
        let Outcomes { fulfilled, timed_out, .. } = self.outcomes;
        writeln!(f, "payments     {} in {} s, seed {}", self.payments, self.seconds, self.seed)?;
        writeln!(f, "faults       {faults}")?;
        writeln!(f, "reconnects   {} of senders, {} of receivers", self.reconnects.senders, self.reconnects.receivers)?;
        let Sent { prepares, fulfills, rejects } = self.resent;
        writeln!(f, "sent again   {prepares} prepares, {fulfills} fulfills, {rejects} rejects")?;
        let Sent { prepares, fulfills, rejects } = self.duplicates;
        writeln!(f, "came again   {prepares} prepares, {fulfills} fulfills, {rejects} rejects")?;
        writeln!(f, "outcomes     {fulfilled} fulfilled, {timed_out} timed out; rejected: {rejected}")?;
        let (unconfirmed, disputed, lost) = (shown(self.unconfirmed), shown(self.disputed), shown(self.lost));
        writeln!(f, "listed       {unconfirmed} unconfirmed, {disputed} disputed, {lost} lost")?;
        writeln!(f, "unseen       {} charged, {} unknown to both ends", self.charged_unseen, self.unknown_to_both)?;
        writeln!(f, "pause        {} s at most without an outcome", self.longest_pause_seconds)?;
        writeln!(f, "outage       {} s at most without an answer to a peer", self.longest_outage_seconds)?;
        writeln!(f, "stuck        {}", shown(self.stuck.and_then(|stuck| u64::try_from(stuck).ok())))?;
        write!(f, "books        {}", if self.balances_ok { "agree" } else { "DISAGREE" })
    }
}
