//! Accounts: bilateral relations with one peer, in one asset and scale.

use crate::link::PeerProtocol;
use std::fmt;
use std::sync::Arc;

/// The name of an account in the store and between workers: the first byte is the account's parallelism, then come 1 to 63 bytes of
/// name. People see [`name`](Self::name) and [`parallelism`](Self::parallelism), never the raw first byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<[u8]>);

impl AccountId {
    /// The longest name, in bytes.
    pub const NAME_LEN_MAX: usize = 63;

    /// An id of a parallelism (0 counts as 1) and a name of 1 to 63 characters of `A–Z a–z 0–9 - _ ~`, so that it can be a segment of
    /// an ILP address.
    pub fn new(parallelism: u8, name: &str) -> Result<Self, InvalidAccountId> {
        if name.is_empty() || name.len() > Self::NAME_LEN_MAX {
            return Err(InvalidAccountId::Length(name.len()));
        }
        if let Some(c) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_~".contains(*c))) {
            return Err(InvalidAccountId::Character(c));
        }
        let mut bytes = Vec::with_capacity(name.len().saturating_add(1));
        bytes.push(parallelism.max(1));
        bytes.extend_from_slice(name.as_bytes());
        Ok(Self(bytes.into()))
    }

    /// How many slots serve the account: 1 to 255. A payment is admitted if this many times its amount is there.
    pub fn parallelism(&self) -> u8 {
        self.0.first().copied().unwrap_or(1).max(1)
    }

    /// The name alone.
    pub fn name(&self) -> &str {
        self.0.get(1..).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// The id's bytes, as the store and its records have them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (parallelism, name) = bytes.split_first()?;
        Self::new(*parallelism, std::str::from_utf8(name).ok()?).ok()
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parallelism() {
            1 => f.write_str(self.name()),
            p => write!(f, "{} (parallelism {p})", self.name()),
        }
    }
}

/// Why a name can't be an account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountId {
    /// Its length in bytes.
    #[error("an account name has 1 to 63 bytes, this one has {0}")]
    Length(usize),
    /// The first character that can't stand in one.
    #[error("an account name has characters of A-Z a-z 0-9 - _ ~ only, not {0:?}")]
    Character(char),
}

/// A unit of account: a code and how many decimal places its base unit has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asset {
    /// `XRP`, `EUR`, …; compared byte by byte.
    pub code: Arc<str>,
    /// One base unit is 10^−scale of the code's unit.
    pub scale: u8,
}

impl Asset {
    /// An asset of a code and a scale.
    pub fn new(code: &str, scale: u8) -> Self {
        Self { code: code.into(), scale }
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code, self.scale)
    }
}

/// A fixed rate between the base units of two assets: `from` units are worth `numerator / denominator` units each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// What an incoming account is held in.
    pub from: Asset,
    /// What an outgoing account is held in.
    pub to: Asset,
    /// Units of `to` …
    pub numerator: u64,
    /// … for this many units of `from`; not 0.
    pub denominator: u64,
}

/// What a worker must know of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountConfig {
    /// Its name and parallelism.
    pub id: AccountId,
    /// What its amounts are in.
    pub asset: Asset,
    /// How far below zero the balance may go, in base units.
    pub credit_limit: u64,
    /// The largest single transfer, either way, in base units.
    pub max_packet: u64,
    /// What its undecided transfers, and likewise those on their way to it, may add up to at one worker, in base units: of an account that
    /// several workers serve, each lets so much in. The connector's [`Limits::in_flight_value_per_account`](crate::Limits) holds as well.
    pub max_in_flight: u64,
    /// How its peer speaks.
    pub protocol: PeerProtocol,
    /// What the balance is when the account is opened, in base units: what was settled with its holder before. It counts once, then and
    /// never again: an account that is there keeps the balance that it has.
    pub initial_balance: i64,
    /// Address prefixes that lead to it, beside `<connector>.<name>`, which always does.
    pub routes: Vec<ilp_oer::Address>,
}

impl AccountConfig {
    /// An account without credit, speaking CLP, with no routes but its own name, and packets up to 1,000,000 base units
    /// and any number of them in flight.
    pub fn new(id: AccountId, asset: Asset) -> Self {
        Self {
            id,
            asset,
            credit_limit: 0,
            max_packet: 1_000_000,
            max_in_flight: u64::MAX,
            protocol: PeerProtocol::Clp,
            initial_balance: 0,
            routes: Vec::new(),
        }
    }
}
