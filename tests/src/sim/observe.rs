//! What can be seen of a network from outside: frames on its links, and what its stores have durably.
//!
//! The simulator says these, the auditor judges by these alone.

use super::fault::FaultKind;
use bytes::Bytes;
use ilp_core::link::PeerProtocol;

/// A connector of the network, by its place in [`Layout::nodes`].
pub type NodeNo = usize;

/// An account of one connector, by its place in [`NodeLayout::accounts`].
pub type AccountPlace = usize;

/// One connection, numbered through the whole run; never used twice.
pub type WireNo = u64;

/// What the auditor is told before anything happens. All instants are milliseconds since 1970; durations are milliseconds.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The connectors.
    pub nodes: Vec<NodeLayout>,
    /// The time rules, the same at every connector: DESIGN §4, "Time".
    pub window_ms: i64,
    /// See `window_ms`.
    pub grace_ms: i64,
    /// An outgoing prepare leaves with at least so much time left.
    pub outgoing_ms_min: i64,
    /// Transfers that expire later than this from now are refused.
    pub hold_ms_max: i64,
    /// By how much any two clocks differ at most; added to deadlines after recovery.
    pub skew_ms_max: i64,
}

/// One connector.
#[derive(Debug, Clone)]
pub struct NodeLayout {
    /// Its ILP address.
    pub address: String,
    /// The first two bytes of the transfer ids that it makes.
    pub slot: u16,
    /// Its accounts.
    pub accounts: Vec<AccountLayout>,
    /// Units of the second asset for units of the first: (from, to, numerator, denominator). The same asset is one to one.
    pub rates: Vec<(String, String, u64, u64)>,
    /// What keeps its books.
    pub books: BooksLayout,
}

/// How a connector keeps its books, and who reads along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BooksLayout {
    /// In the embedded store, on a medium that loses what isn't synced; otherwise in the memory store.
    pub embedded: bool,
    /// From so many bytes on the log is cut.
    pub log_bytes: usize,
    /// An embedder keeps a ledger of its own by the connector's events.
    pub events: bool,
}

/// One account of a connector, and who holds it.
#[derive(Debug, Clone)]
pub struct AccountLayout {
    /// Its name.
    pub name: String,
    /// The asset as it is written in the log: `XRP/6`.
    pub asset: String,
    /// How far below zero its balance may go.
    pub credit_limit: u64,
    /// The largest single transfer.
    pub max_packet: u64,
    /// What it is opened with.
    pub initial_balance: i64,
    /// How its peer speaks; one of 2017 doesn't dedupe.
    pub protocol: PeerProtocol,
    /// Address prefixes that lead there.
    pub routes: Vec<String>,
    /// The connector on the other side, and its account for this one; `None` if the holder is a peer without accounts.
    pub other: Option<(NodeNo, AccountPlace)>,
    /// Its holder keeps the rules of DESIGN and of CLP. What one that doesn't says need not agree with anything.
    pub honest: bool,
}

impl AccountLayout {
    /// Whether its holder can be told the same thing twice.
    pub fn dedupes(&self) -> bool {
        self.protocol.dedupes()
    }
}

/// One side of a connection: the account's holder, or the connector that has the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The connector.
    Node,
    /// Whoever holds the account: a peer, or a connector.
    Holder,
}

/// Something that happened, and when.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The true time.
    pub at: i64,
    /// What.
    pub what: Seen,
}

/// What happened.
///
/// Between two connectors there are two accounts, one at each; a connection between them is seen as two wires with numbers of their own,
/// one for each connector's account: what the one has `Sent` as `Node` of its wire is `Arrived` at the other as from the `Holder` of its.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A process has opened the connector's slot and goes on from what is durable. An earlier process may still run (paused), and
    /// doesn't have the slot any more.
    Opened {
        /// Which connector.
        node: NodeNo,
        /// Greater than any before.
        epoch: u64,
        /// The number of the last batch that it has read.
        last_seq: u64,
        /// What it has read, oldest first: the last one is that of `last_seq`.
        log: Vec<Bytes>,
    },
    /// A process is gone: its sockets, and what it hadn't given to the store.
    Died {
        /// Which connector.
        node: NodeNo,
        /// Of the process.
        epoch: u64,
    },
    /// A connection has proved to be an account's, at the connector's side, in the process with this epoch.
    Connected {
        /// The connection.
        wire: WireNo,
        /// Which connector.
        node: NodeNo,
        /// Which process.
        epoch: u64,
        /// Whose.
        account: AccountPlace,
    },
    /// One side has noticed that a connection is over, or has ended it: it sends and receives nothing there any more.
    Ended {
        /// The connection.
        wire: WireNo,
        /// Who noticed.
        by: Side,
    },
    /// A frame was handed to the socket. It arrives, or is lost with the connection.
    Sent {
        /// The connection.
        wire: WireNo,
        /// By whom.
        by: Side,
        /// The sender's clock.
        clock: i64,
        /// One CLP packet, or a part of the greeting.
        frame: Bytes,
    },
    /// A frame was read from the socket. A process that dies may have read it and done nothing about it.
    Arrived {
        /// The connection.
        wire: WireNo,
        /// Who read it.
        at: Side,
        /// The reader's clock.
        clock: i64,
        /// What the other side `Sent`.
        frame: Bytes,
    },
    /// The store has taken a batch, not yet for good.
    Applied {
        /// Which connector.
        node: NodeNo,
        /// Of the process that gave it.
        epoch: u64,
        /// Its number.
        seq: u64,
        /// Its records.
        blob: Bytes,
        /// The balances that it touched, as they stand beside the log: account name, units.
        balances: Vec<(String, i128)>,
        /// Batches below needn't be kept once this one is durable.
        cut_below: Option<u64>,
    },
    /// All batches up to this one are durable.
    Synced {
        /// Which connector.
        node: NodeNo,
        /// The last one.
        seq: u64,
    },
    /// The power was cut: batches after this one are gone, none of which was durable.
    Forgotten {
        /// Which connector.
        node: NodeNo,
        /// The last one that is left.
        last_seq: u64,
    },
    /// The embedder was told an event of the books; it has it unless the process dies first.
    Told {
        /// Which connector.
        node: NodeNo,
        /// Of the process that tells it.
        epoch: u64,
        /// The event's number.
        number: u64,
        /// What it says.
        event: Told,
    },
    /// The embedder says that it has all events up to this one. Whether the connector hears it is another matter.
    Acknowledged {
        /// Which connector.
        node: NodeNo,
        /// The number.
        through: u64,
    },
    /// The embedder was told what became of a settlement.
    Settled {
        /// Which connector.
        node: NodeNo,
        /// At whose account.
        account: AccountPlace,
        /// Its id.
        id: String,
        /// As it was asked for.
        amount: i128,
        /// Whether it is in the books, and was before.
        result: Result<bool, String>,
    },
    /// A fault is about to strike.
    Fault {
        /// Its kind.
        kind: FaultKind,
        /// The connector it strikes, or whose account's connection or holder.
        node: NodeNo,
        /// The account, if it strikes only that.
        account: Option<AccountPlace>,
    },
}

/// An event of the books, in plain words. What a kind doesn't have is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `opened`, `accepted`, `fulfilled`, `rejected`, `disputed`, `unconfirmed`, `lost`, `charged`, `settled`.
    pub kind: &'static str,
    /// The sender's account, or the one that it is about; `None` for the connector itself.
    pub from: Option<String>,
    /// The next hop's.
    pub to: Option<String>,
    /// The transfer's, in hex; the settlement's; or the account's asset.
    pub id: String,
    /// At `from`, and at `to`.
    pub amounts: [i128; 2],
}

/// What an embedder has in its ledger, by events alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbeddersLedger {
    /// The number of the last event in it.
    pub last: u64,
    /// By account: its asset, its balance, what is held of it.
    pub accounts: std::collections::BTreeMap<String, (String, i128, i128)>,
    /// What the connector itself has, by asset.
    pub own: std::collections::BTreeMap<String, i128>,
}

/// A connector's own statement, asked for at quiet points. In order of [`NodeLayout::accounts`].
#[derive(Debug, Clone)]
pub struct Statement {
    /// The books as the running worker states them.
    pub status: ilp_core::worker::WorkerStatus,
    /// The balances beside the log, from the store: account name, units.
    pub stored: Vec<(String, i128)>,
    /// What an opener would read, if the store shows it without being opened.
    pub log: Option<Vec<Bytes>>,
    /// The embedder's ledger, if one reads along.
    pub embedder: Option<EmbeddersLedger>,
}
