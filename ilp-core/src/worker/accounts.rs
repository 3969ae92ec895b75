//! Accounts of a worker: added, configured, closed.

use super::batch::{Effect, Note, ReplyId};
use super::moves::Moves;
use super::{AssetBook, ConnectionId, Doubts, SettlementId, Worker, WorkerError};
use crate::account::{AccountConfig, AccountId, Asset};
use crate::limits::Limits;
use crate::link::{Claim, PeerProtocol};
use crate::record::{AccountNo, AccountState, OWN, Record, Sums};
use crate::store::{AccountRow, MoveChange};
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
    /// The worker's own connection of it first, then those at colleagues, the newest first.
    pub(super) connections: Vec<Connected>,
    /// It is in the log.
    pub(super) recorded: bool,
    pub(super) moves: Moves,
    /// In the configuration. Otherwise only its books are here.
    pub(super) configured: bool,
    pub(super) closing: Option<(bool, ReplyId)>,
    /// What its peer states about ledger accounts.
    pub(super) claims: Vec<Claim>,
}

/// A connection of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connected {
    pub(super) id: ConnectionId,
    pub(super) relayed: bool,
    /// More waits for it than its peer reads.
    pub(super) congested: bool,
}

impl Account {
    /// Where what goes to the peer goes first.
    pub(super) fn best_connection(&self) -> Option<ConnectionId> {
        let free = self.connections.iter().find(|connection| !connection.congested);
        free.or(self.connections.first()).map(|connection| connection.id)
    }

    /// It takes no new payments: it is to be closed, here or at its home.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.moves.draining_for.is_some()
    }

    /// The peer reads none of its connections as fast as it should.
    pub(super) fn is_congested(&self) -> bool {
        self.connections.iter().all(|connection| connection.congested)
    }

    pub(super) fn has_connection(&self, id: ConnectionId) -> bool {
        self.connections.iter().any(|connection| connection.id == id)
    }
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

    /// Both together.
    pub(super) fn with(&self, other: &Self) -> Self {
        let count = self.count.saturating_add(other.count);
        Self { count, bytes: self.bytes.saturating_add(other.bytes), value: self.value.saturating_add(other.value) }
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
    /// The store can't say how it stands.
    #[error("{0}")]
    Store(String),
    /// Another process settles and closes it.
    #[error("account {id} is at home in {slot}, which this process hasn't open: ask where that is")]
    Elsewhere {
        /// Which.
        id: AccountId,
        /// Where.
        slot: String,
    },
    /// The connector has stopped.
    #[error("the connector has stopped")]
    Stopped,
}

impl Worker {
    pub(super) fn add_account(&mut self, config: AccountConfig, row: &AccountRow, reply: ReplyId) -> Result<(), WorkerError> {
        let result = match self.check_account(&config) {
            Ok(address) => {
                // Whoever lowers a limit is answered when it holds.
                if !self.configure_account(config, address, row, reply)? {
                    return Ok(());
                }
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
            // Or an earlier worker was about to: that will be finished.
            if account.is_closing() || account.moves.under_way == Some(MoveChange::Close) {
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

    /// `true` if it is in force at once.
    fn configure_account(
        &mut self,
        config: AccountConfig,
        address: Address,
        row: &AccountRow,
        reply: ReplyId,
    ) -> Result<bool, WorkerError> {
        let (no, before) = match self.number_of(&config.id) {
            Some(no) => (no, self.account(no).filter(|account| account.configured).map(|account| account.credit_limit)),
            None => (self.new_account(&config, row)?, None),
        };
        self.take_strays(&config.id);
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
        Ok(self.learn_row(no, row, before, reply))
    }

    fn new_account(&mut self, config: &AccountConfig, row: &AccountRow) -> Result<AccountNo, WorkerError> {
        let no = AccountNo::try_from(self.accounts.len()).ok().filter(|no| *no != OWN);
        let no = no.ok_or(WorkerError::Inconsistent("too many accounts"))?;
        let (id, asset) = (config.id.clone(), asset_text(&config.asset));
        if row.slots.first() != Some(&self.config.slot) {
            // Most accounts never have anything to do with most slots.
            self.open_account(&AccountState::new(no, id, &asset), false)?;
            return Ok(no);
        }
        self.record(&Record::AccountOpened { no, id, asset: &asset })?;
        if config.initial_balance != 0 {
            let amount = config.initial_balance.into();
            self.record(&Record::Settled { no, id: SettlementId::INITIAL, amount })?;
        }
        Ok(no)
    }

    /// Before the first record that names it.
    pub(super) fn ensure_recorded(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        let Some(account) = self.account(no).filter(|account| !account.recorded) else { return Ok(()) };
        let (id, asset) = (account.id.clone(), self.asset(account.asset).map(asset_text).unwrap_or_default());
        self.record(&Record::AccountKnown { no, id, asset: &asset })
    }

    pub(super) fn remove_account(&mut self, id: &AccountId, write_off: bool, reply: ReplyId) {
        let no = self.number_of(id);
        let error = match no.and_then(|no| self.account_mut(no)) {
            None => AccountError::Unknown(id.clone()),
            Some(account) if account.closing.is_some() => AccountError::Closing(id.clone()),
            Some(account) => {
                account.closing = Some((write_off, reply));
                account.moves.closing = Default::default();
                self.closing.extend(no);
                self.restless.extend(no);
                self.tell_colleagues(id, Note::Drain);
                return;
            }
        };
        self.effect(Effect::Account { reply, result: Err(error) });
    }

    pub(super) fn tell_colleagues(&mut self, id: &AccountId, note: Note) {
        for to in self.colleagues.clone() {
            self.effect(Effect::Note { to, account: id.clone(), note });
        }
    }

    /// Closes accounts that were told to, when nothing of them is in flight or hot anywhere.
    pub(super) fn finish_closing(&mut self) -> Result<(), WorkerError> {
        for no in std::mem::take(&mut self.closing) {
            let Some((write_off, reply)) = self.account(no).and_then(|account| account.closing) else { continue };
            let Some(balance) = self.whole_balance(no) else {
                self.closing.push(no);
                continue;
            };
            if balance == 0 || write_off {
                self.begin_closing_row(no)?;
                continue;
            }
            let Some(account) = self.account_mut(no) else { continue };
            account.closing = None;
            account.moves.draw_again();
            let id = account.id.clone();
            self.restless.push(no);
            self.tell_colleagues(&id, Note::Resume);
            self.effect(Effect::Account { reply, result: Err(AccountError::Balance { id, balance }) });
        }
        Ok(())
    }

    /// The row is closed, and what was left of the account is here.
    pub(super) fn close_here(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        let Some(account) = self.account_mut(no) else { return Ok(()) };
        let (id, written_off, reply) = (account.id.clone(), account.hot(), account.closing.map(|(_, reply)| reply));
        self.say_good_bye(no);
        self.record(&Record::AccountClosed { no, id: id.clone(), written_off })?;
        self.tell_colleagues(&id, Note::Closed);
        if let Some(reply) = reply {
            self.effect(Effect::Account { reply, result: Ok(()) });
        }
        Ok(())
    }

    /// The account was closed at its home.
    pub(super) fn leave(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        let Some(account) = self.account(no) else { return Ok(()) };
        let empty = account.hot() == 0 && account.incoming.count == 0 && account.outgoing.count == 0;
        if !empty || account.moves.under_way.is_some() {
            // Its books stay, until they are empty and it is closed again.
            self.say_good_bye(no);
            if let Some(account) = self.account_mut(no) {
                (account.configured, account.moves.draining_for) = (false, None);
            }
            return Ok(());
        }
        let (id, recorded) = (account.id.clone(), account.recorded);
        self.say_good_bye(no);
        match recorded {
            true => self.record(&Record::AccountLeft { no, id }),
            false => self.close_account(no),
        }
    }

    fn say_good_bye(&mut self, no: AccountNo) {
        let connections = self.account_mut(no).map(|account| std::mem::take(&mut account.connections)).unwrap_or_default();
        for connection in connections {
            self.connections.remove(&connection.id);
            if !connection.relayed {
                self.effect(Effect::Close { connection: connection.id, reason: "the account was closed" });
            }
        }
        self.routes.remove_hop(no);
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
                self.assets.push(AssetBook { asset, own: 0, closed_settlements: 0, closed_moves: 0 });
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
