//! A connector's status, to be shown.

use super::asset;
use crate::connector::admin::protocol::text;
use crate::show::{self, Table, units};
use ilp_core::runtime::Status;
use ilp_core::store::{Durability, StoreMetrics};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How a running connector is. Amounts are in base units, as texts of digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Its ILP address.
    pub address: String,
    /// Since when it runs, in milliseconds.
    pub running_ms: u64,
    /// What durable books survive: `memory` (nothing), `disk` (the death of the process and of the machine's power), `replicated(n)` (the
    /// loss of n − 1 machines).
    pub durability: String,
    /// Every account.
    pub accounts: Vec<HeldReport>,
    /// Every connection, of accounts and of strangers.
    pub connections: Vec<ConnectionReport>,
    /// The connector's own account in each asset, such as `XRP/6`.
    pub own: Vec<(String, String)>,
    /// Transfers held or with an answer owed.
    pub in_flight: u64,
    /// Transfers that have ended and are remembered.
    pub remembered: u64,
    /// Since the start: held.
    pub accepted: u64,
    /// Since the start: refused at once.
    pub refused: u64,
    /// Since the start: fulfilled.
    pub fulfilled: u64,
    /// Since the start: rejected or timed out.
    pub rejected: u64,
    /// Since the start: fulfills that a sender refused although it had them in time.
    pub disputed: u64,
    /// Since the start: fulfills that a sender never answered.
    pub unconfirmed: u64,
    /// Since the start: fulfills that came too late for the sender.
    pub lost: u64,
    /// The last batch.
    pub seq: u64,
    /// Batches that aren't known to be durable yet.
    pub not_durable: u64,
    /// Events that the embedder hasn't acknowledged.
    pub events_unacknowledged: u64,
    /// What the store has done since it was opened; null for books in memory.
    pub store: Option<StoreReport>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReport {
    /// Its name.
    pub name: String,
    /// What its amounts are in, such as `XRP/6`.
    pub asset: String,
    /// What the connector owes its holder.
    #[serde(with = "text")]
    pub balance: i128,
    /// What its holder can still spend.
    #[serde(with = "text")]
    pub available: i128,
    /// Taken from the balance for payments that are undecided.
    #[serde(with = "text")]
    pub held: i128,
    /// Transfers of its holder that are undecided or have an answer owed.
    pub in_flight: u32,
    /// Its peer is there.
    pub connected: bool,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Whose; null before it has proved to be anybody's.
    pub account: Option<String>,
    /// Where from or to.
    pub peer: String,
    /// Frames from the peer.
    pub frames_in: u64,
    /// Frames to the peer.
    pub frames_out: u64,
    /// Bytes from the peer.
    pub bytes_in: u64,
    /// Bytes to the peer.
    pub bytes_out: u64,
}

/// What a store has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Transactions.
    pub commits: u64,
    /// Batches in them.
    pub batches: u64,
    /// Bytes of their records.
    pub log_bytes: u64,
    /// Transactions whose outcome was left unknown.
    pub failures: u64,
    /// How often the file was opened again after one.
    pub reopened: u64,
    /// Syncs.
    pub syncs: u64,
    /// How long they took together, in microseconds.
    pub sync_us: u64,
    /// Bytes written to the disk.
    pub bytes_written: u64,
}

impl StatusReport {
    /// Of a status and the store below it.
    pub fn new(status: &Status, store: Option<StoreMetrics>, not_durable: usize, running: Duration) -> Self {
        let (worker, counters) = (&status.worker, &status.worker.counters);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let accounts = worker.accounts.iter().map(|account| HeldReport {
            name: account.id.name().to_owned(),
            asset: account.asset.to_string(),
            balance: account.balance,
            available: account.balance.saturating_add(account.credit_limit).max(0),
            held: account.totals.incoming_prepared,
            in_flight: account.in_flight,
            connected: account.connected,
        });
        let connections = status.connections.iter().map(|connection| ConnectionReport {
            account: connection.account.as_ref().map(|account| account.name().to_owned()),
            peer: connection.peer.clone(),
            frames_in: connection.traffic.frames_in,
            frames_out: connection.traffic.frames_out,
            bytes_in: connection.traffic.bytes_in,
            bytes_out: connection.traffic.bytes_out,
        });
        Self {
            address: worker.address.to_string(),
            running_ms: u64::try_from(running.as_millis()).unwrap_or(u64::MAX),
            durability: durability(status.durability),
            accounts: accounts.collect(),
            connections: connections.collect(),
            own: worker.own.iter().map(|(asset, own)| (asset.to_string(), own.to_string())).collect(),
            in_flight: count(worker.in_flight),
            remembered: count(worker.remembered.saturating_sub(worker.in_flight)),
            accepted: counters.accepted,
            refused: counters.refused,
            fulfilled: counters.fulfilled,
            rejected: counters.rejected,
            disputed: counters.disputed,
            unconfirmed: counters.unconfirmed,
            lost: counters.lost,
            seq: worker.seq,
            not_durable: count(not_durable),
            events_unacknowledged: worker.events_unacknowledged,
            store: store.map(StoreReport::from),
        }
    }
}

fn durability(durability: Durability) -> String {
    match durability {
        Durability::Memory => "memory".into(),
        Durability::Disk => "disk".into(),
        Durability::Replicated(machines) => format!("replicated({machines})"),
    }
}

impl From<StoreMetrics> for StoreReport {
    fn from(metrics: StoreMetrics) -> Self {
        Self {
            commits: metrics.commits,
            batches: metrics.batches,
            log_bytes: metrics.log_bytes,
            failures: metrics.failures,
            reopened: metrics.reopened,
            syncs: metrics.syncs,
            sync_us: u64::try_from(metrics.sync_time.as_micros()).unwrap_or(u64::MAX),
            bytes_written: metrics.bytes_written,
        }
    }
}

/// For people.
impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = show::duration(Duration::from_millis(self.running_ms));
        writeln!(f, "connector {}, running for {running}; what is durable survives: {}\n", self.address, survives(&self.durability))?;
        let mut accounts = Table::new(["account", "balance", "available", "held", "in flight", "peer"]);
        for account in &self.accounts {
            let asset = asset(&account.asset);
            let [balance, available, held] = [account.balance, account.available, account.held].map(|amount| units(amount, &asset, false));
            let peer = if account.connected { "connected" } else { "away" };
            accounts.row([account.name.clone(), balance, available, held, show::count(account.in_flight.into()), peer.into()]);
        }
        for (name, own) in &self.own {
            let own = own.parse().map_or_else(|_| own.clone(), |own| units(own, &asset(name), false));
            accounts.row(["the connector's own".into(), own, String::new(), String::new(), String::new(), String::new()]);
        }
        writeln!(f, "{accounts}")?;
        let mut connections = Table::new(["connection", "peer", "frames in", "frames out", "bytes in", "bytes out"]);
        for connection in &self.connections {
            connections.row([
                connection.account.clone().unwrap_or_else(|| "a stranger".into()),
                connection.peer.clone(),
                show::count(connection.frames_in),
                show::count(connection.frames_out),
                show::bytes(connection.bytes_in),
                show::bytes(connection.bytes_out),
            ]);
        }
        writeln!(f, "{connections}")?;
        let [in_flight, remembered, accepted, refused, fulfilled, rejected] =
            [self.in_flight, self.remembered, self.accepted, self.refused, self.fulfilled, self.rejected].map(show::count);
        writeln!(f, "payments: {in_flight} in flight, {remembered} remembered; since the start {accepted} held, {fulfilled} fulfilled,")?;
        writeln!(
            f,
            "  {rejected} rejected, {refused} refused at once, {} disputed, {} unconfirmed, {} lost",
            self.disputed, self.unconfirmed, self.lost
        )?;
        writeln!(f, "log: batch {}, {} not durable yet", show::count(self.seq), show::count(self.not_durable))?;
        writeln!(f, "events: {} not acknowledged", show::count(self.events_unacknowledged))?;
        if let Some(store) = &self.store {
            let [commits, batches, failures, syncs] = [store.commits, store.batches, store.failures, store.syncs].map(show::count);
            let a_sync = Duration::from_micros(store.sync_us.checked_div(store.syncs).unwrap_or_default());
            writeln!(
                f,
                "store: {batches} batches with {} in {commits} transactions, {} written, {syncs} syncs of {}.{:03} ms each, {failures} failures",
                show::bytes(store.log_bytes),
                show::bytes(store.bytes_written),
                a_sync.as_millis(),
                a_sync.subsec_micros() % 1_000,
            )?;
        }
        Ok(())
    }
}

fn survives(durability: &str) -> String {
    match durability {
        "memory" => "nothing, the books are in memory".into(),
        "disk" => "the death of the process and of the machine's power".into(),
        other => other.to_owned(),
    }
}
