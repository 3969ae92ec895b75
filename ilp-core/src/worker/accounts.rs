//! Accounts of a worker: added, configured, closed.

use super::batch::{Effect, ReplyId};
use super::{AssetBook, ConnectionId, Doubts, SettlementId, Worker, WorkerError};
use crate::account::{AccountConfig, AccountId, Asset};
use crate::limits::Limits;
use crate::link::{Claim, PeerProtocol};
use crate::record::{AccountNo, OWN, Record, Sums};
use ilp_oer::Address;
use std::collections::BTreeMap;

/// An account as its worker holds it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) address: Address,
    /// Index into the worker's assets.
    pub(super) asset: usize,
    pub(super) credit_limit: i128,
    pub(super) max_packet: u64,
    pub(super) max_in_flight: u64,
    pub(super) protocol: PeerProtocol,
    pub(super) sums: Sums,
    pub(super) doubts: Doubts,
    /// Every settlement that `sums` have in them, by its id.
    pub(super) settlements: BTreeMap<Box<str>, i128>,
    /// Always what `sums` add up to.
    pub(super) balance: i128,
    /// Transfers it sent that are held or whose answer it is owed.
    pub(super) incoming: Flight,
    /// Transfers on their way to it.
    pub(super) outgoing: Flight,
    /// Transfers it sent that can still be repeated, those in flight too.
    pub(super) remembered: u32,
    pub(super) connection: Option<ConnectionId>,
    /// More waits for the connection than its peer reads.
    pub(super) congested: bool,
    /// In the configuration. Otherwise only its books are here.
    pub(super) configured: bool,
    pub(super) closing: Option<(bool, ReplyId)>,
    /// What its peer states about ledger accounts.
    pub(super) claims: Vec<Claim>,
}

/// What an account has in flight, one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) count: u32,
    /// Memory, as the limits reckon it.
    pub(super) bytes: usize,
    /// Of those that are undecided.
    pub(super) value: u128,
}

impl Flight {
    pub(super) fn enter(&mut self, payload: usize, value: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(Limits::TRANSFER_BYTES).saturating_add(payload);
        self.value = self.value.saturating_add(value.into());
    }

    /// It is decided, and the answer's payload is kept instead of the packet.
    pub(super) fn decide(&mut self, packet: usize, answer: usize, value: u64) {
        self.bytes = self.bytes.saturating_sub(packet).saturating_add(answer);
        self.value = self.value.saturating_sub(value.into());
    }

    pub(super) fn leave(&mut self, payload: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(Limits::TRANSFER_BYTES).saturating_sub(payload);
    }

    /// Whether one more transfer keeps within the limits; else which of them it doesn't.
    pub(super) fn check(&self, limits: &Limits, value_max: u64, payload: usize, value: u64) -> Result<(), (u64, &'static str)> {
        let value_max = value_max.min(limits.in_flight_value_per_account);
        let bytes = self.bytes.saturating_add(Limits::TRANSFER_BYTES).saturating_add(payload);
        if self.count >= limits.in_flight_per_account {
            return Err((limits.in_flight_per_account.into(), "transfers in flight"));
        }
        if bytes > limits.in_flight_bytes_per_account {
            return Err((u64::try_from(limits.in_flight_bytes_per_account).unwrap_or(u64::MAX), "bytes of transfers in flight"));
        }
        if self.value.saturating_add(value.into()) > value_max.into() {
            return Err((value_max, "units of value in flight"));
        }
        Ok(())
    }
}

/// Why an account can't be added or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is none of this id.
    #[error("there is no account {0}")]
    Unknown(AccountId),
    /// One of this name exists with another parallelism.
    #[error("account {id} exists as {existing}: the parallelism is part of an account's id and can't be changed")]
    OtherParallelism {
        /// Asked for.
        id: AccountId,
        /// There already.
        existing: AccountId,
    },
    /// Its books are in another asset.
    #[error("account {id} has its books in {books}, they can't be continued in {asked}")]
    OtherAsset {
        /// Whose.
        id: AccountId,
        /// As recorded.
        books: String,
        /// As configured.
        asked: String,
    },
    /// Two accounts can't have one route.
    #[error("route {prefix} of account {id} belongs to account {taken_by} already")]
    RouteTaken {
        /// Whose.
        id: AccountId,
        /// Which.
        prefix: Address,
        /// By whom.
        taken_by: String,
    },
    /// Its name makes an address that is too long.
    #[error("the address of account {0} would be too long")]
    AddressTooLong(AccountId),
    /// It can't be closed while it has a balance. It goes on as before.
    #[error("account {id} has a balance of {balance}: settle it, or close the account with a write-off")]
    Balance {
        /// Whose.
        id: AccountId,
        /// What the connector owes its holder.
        balance: i128,
    },
    /// It is being closed already.
    #[error("account {0} is being closed already")]
    Closing(AccountId),
    /// The connector has stopped.
    #[error("the connector has stopped")]
    Stopped,
}

impl Worker {
    pub(super) fn add_account(&mut self, config: AccountConfig, reply: ReplyId) -> Result<(), WorkerError> {
        let result = match self.check_account(&config) {
            Ok(address) => {
                self.configure_account(config, address)?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.effect(Effect::Account { reply, result });
        Ok(())
    }

    fn check_account(&self, config: &AccountConfig) -> Result<Address, AccountError> {
        let id = &config.id;
        let address = self.config.address.join(id.name()).map_err(|_| AccountError::AddressTooLong(id.clone()))?;
        let existing = self.by_name.get(id.name()).copied();
        if let Some(other) = existing.and_then(|no| self.account(no)).filter(|account| account.id != *id) {
            return Err(AccountError::OtherParallelism { id: id.clone(), existing: other.id.clone() });
        }
        if let Some(account) = existing.and_then(|no| self.account(no)) {
            let books = self.asset(account.asset);
            if account.closing.is_some() {
                return Err(AccountError::Closing(id.clone()));
            }
            if books != Some(&config.asset) {
                let books = books.map(ToString::to_string).unwrap_or_default();
                return Err(AccountError::OtherAsset { id: id.clone(), books, asked: config.asset.to_string() });
            }
        }
        for prefix in config.routes.iter().chain([&address]) {
            if let Some(no) = self.routes.get_exact(prefix.as_str()).filter(|no| Some(*no) != existing) {
                let taken_by =
                    if no == OWN { "the connector itself".into() } else { self.account(no).map(|a| a.id.to_string()).unwrap_or_default() };
                return Err(AccountError::RouteTaken { id: id.clone(), prefix: prefix.clone(), taken_by });
            }
        }
        Ok(address)
    }

    fn configure_account(&mut self, config: AccountConfig, address: Address) -> Result<(), WorkerError> {
        let no = match self.number_of(&config.id) {
            Some(no) => no,
            None => {
                let no = AccountNo::try_from(self.accounts.len()).ok().filter(|no| *no != OWN);
                let no = no.ok_or(WorkerError::Inconsistent("too many accounts"))?;
                let asset = asset_text(&config.asset);
                self.record(&Record::AccountOpened { no, id: config.id.clone(), asset: &asset })?;
                if config.initial_balance != 0 {
                    let amount = config.initial_balance.into();
                    self.record(&Record::Settled { no, id: SettlementId::INITIAL, amount })?;
                }
                no
            }
        };
        self.routes.remove_hop(no);
        for prefix in config.routes.iter().chain([&address]) {
            self.routes.insert(prefix, no);
        }
        if let Some(account) = self.account_mut(no) {
            account.address = address;
            account.credit_limit = config.credit_limit.into();
            account.max_packet = config.max_packet;
            account.max_in_flight = config.max_in_flight;
            account.protocol = config.protocol;
            account.configured = true;
        }
        Ok(())
    }

    pub(super) fn remove_account(&mut self, id: &AccountId, write_off: bool, reply: ReplyId) {
        let no = self.number_of(id);
        let error = match no.and_then(|no| self.account_mut(no)) {
            None => AccountError::Unknown(id.clone()),
            Some(account) if account.closing.is_some() => AccountError::Closing(id.clone()),
            Some(account) => {
                account.closing = Some((write_off, reply));
                self.closing.extend(no);
                return;
            }
        };
        self.effect(Effect::Account { reply, result: Err(error) });
    }

    /// Closes accounts that were told to and have nothing in flight any more.
    pub(super) fn finish_closing(&mut self) -> Result<(), WorkerError> {
        for no in std::mem::take(&mut self.closing) {
            let Some(account) = self.account_mut(no) else { continue };
            let Some((write_off, reply)) = account.closing else { continue };
            if account.incoming.count > 0 || account.outgoing.count > 0 {
                self.closing.push(no);
                continue;
            }
            if account.balance != 0 && !write_off {
                account.closing = None;
                let error = AccountError::Balance { id: account.id.clone(), balance: account.balance };
                self.effect(Effect::Account { reply, result: Err(error) });
                continue;
            }
            let (id, written_off) = (account.id.clone(), account.balance);
            if let Some(connection) = account.connection.take() {
                self.connections.remove(&connection);
                self.effect(Effect::Close { connection, reason: "the account was closed" });
            }
            self.routes.remove_hop(no);
            self.record(&Record::AccountClosed { no, id, written_off })?;
            self.effect(Effect::Account { reply, result: Ok(()) });
        }
        Ok(())
    }

    pub(super) fn asset(&self, index: usize) -> Option<&Asset> {
        self.assets.get(index).map(|book| &book.asset)
    }

    /// The index of an asset written as `code/scale`, made if it is new.
    pub(super) fn asset_index(&mut self, text: &str) -> usize {
        let asset = asset_of(text);
        match self.assets.iter().position(|book| book.asset == asset) {
            Some(index) => index,
            None => {
                self.assets.push(AssetBook { asset, own: 0, closed_settlements: 0 });
                self.rates_for_new_asset();
                self.assets.len().saturating_sub(1)
            }
        }
    }

    fn rates_for_new_asset(&mut self) {
        for rate in &self.config.rates {
            let index = |asset: &Asset| self.assets.iter().position(|book| book.asset == *asset);
            if let (Some(from), Some(to)) = (index(&rate.from), index(&rate.to)) {
                self.rates.insert((from, to), (rate.numerator, rate.denominator));
            }
        }
    }
}

/// The asset that a record names.
pub(super) fn asset_of(text: &str) -> Asset {
    match text.rsplit_once('/') {
        Some((code, scale)) => Asset::new(code, scale.parse().unwrap_or_default()),
        None => Asset::new(text, 0),
    }
}

/// How records name an asset.
pub(super) fn asset_text(asset: &Asset) -> String {
    asset.to_string()
}
