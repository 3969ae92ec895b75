//! Settlements: what was paid outside of the connector, told to it by hand or by the embedder.

use super::batch::{Effect, ReplyId};
use super::{Worker, WorkerError};
use crate::account::AccountId;
use crate::record::{AccountNo, Record};
use std::fmt;
use std::str::FromStr;

/// A settlement's name, chosen by whoever settles: 1 to 64 characters of printable ASCII without spaces. An account's settlements are known
/// by it for ever, so the same one can be told any number of times and counts once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettlementId(Box<str>);

impl SettlementId {
    /// The longest, in bytes.
    pub const LEN_MAX: usize = 64;
    /// The name of an account's [initial balance](crate::AccountConfig::initial_balance), which nobody can choose.
    pub const INITIAL: &'static str = "initial";

    /// The name as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SettlementId {
    type Err = InvalidSettlementId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > Self::LEN_MAX {
            return Err(InvalidSettlementId::Length(text.len()));
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(InvalidSettlementId::Character(c));
        }
        if text == Self::INITIAL {
            return Err(InvalidSettlementId::Reserved);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A settlement that waits.
#[derive(Debug)]
pub(super) struct Asked {
    amount: i128,
    id: SettlementId,
    reply: ReplyId,
}

/// Why a text can't name a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettlementId {
    /// Its length in bytes.
    #[error("a settlement's id has 1 to 64 bytes, this one has {0}")]
    Length(usize),
    /// The first character that can't stand in one.
    #[error("a settlement's id has printable ASCII characters without spaces only, not {0:?}")]
    Character(char),
    /// The initial balance's.
    #[error("\"initial\" is the id of an account's initial balance: take another one")]
    Reserved,
}

/// A settlement that is in the books, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The account's balance, with the settlement in it.
    pub balance: i128,
    /// It was in the books already; this call changed nothing.
    pub repeated: bool,
}

/// A settlement that isn't in the books.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// There is no such account.
    #[error("there is no account {0}")]
    Unknown(AccountId),
    /// The account is about to be closed.
    #[error("account {0} is being closed")]
    Closing(AccountId),
    /// The id stands for another amount.
    #[error(
        "account {account} has settlement {id} with an amount of {recorded} in its books, not {asked}: a new settlement needs a new id"
    )]
    OtherAmount {
        /// Whose.
        account: AccountId,
        /// Which.
        id: SettlementId,
        /// As in the books.
        recorded: i128,
        /// As given now.
        asked: i128,
    },
    /// Nothing would change.
    #[error("a settlement of nothing changes nothing")]
    Zero,
    /// The balance would leave the range of the books.
    #[error("with it the balance of account {0} would leave the range that the books can hold")]
    OutOfRange(AccountId),
    /// The account has as many settlements as there may be.
    #[error("account {account} has {max} settlements, the most that are remembered (limit settlements_per_account)")]
    TooMany {
        /// Whose.
        account: AccountId,
        /// How many.
        max: u32,
    },
    /// Another process settles it.
    #[error("account {account} is at home in {slot}, which this process hasn't open: settle where that is")]
    Elsewhere {
        /// Which.
        account: AccountId,
        /// Where.
        slot: String,
    },
    /// The connector has stopped; whether the settlement is in the books isn't known. Tell it again with the same id.
    #[error("the connector has stopped: settle again, with the same id")]
    Stopped,
}

impl Worker {
    pub(super) fn settle(&mut self, account: &AccountId, amount: i128, id: &SettlementId, reply: ReplyId) -> Result<(), WorkerError> {
        let no = self.number_of(account);
        if let Some(books) = no.and_then(|no| self.account_mut(no)).filter(|books| !books.is_closing())
            && (!books.moves.settlements.is_empty() || (books.moves.under_way.is_some() && books.hot().saturating_add(amount) < 0))
        {
            // It takes more than is here: the rest is taken from the cold balance, by a move that can't begin yet.
            books.moves.settlements.push_back(Asked { amount, id: id.clone(), reply });
            return Ok(());
        }
        self.settle_now(account, amount, id, reply)?;
        self.restless.extend(no);
        Ok(())
    }

    /// Settles what had to wait, up to what has to wait again.
    pub(super) fn settle_deferred(&mut self, no: AccountNo) -> Result<(), WorkerError> {
        while let Some(account) = self.account_mut(no).filter(|account| account.hot() >= 0) {
            let Some(Asked { amount, id, reply }) = account.moves.settlements.pop_front() else { return Ok(()) };
            let account = account.id.clone();
            self.settle_now(&account, amount, &id, reply)?;
        }
        Ok(())
    }

    fn settle_now(&mut self, account: &AccountId, amount: i128, id: &SettlementId, reply: ReplyId) -> Result<(), WorkerError> {
        let result = match self.check_settlement(account, amount, id) {
            Ok((no, repeated)) => {
                if !repeated {
                    self.ensure_recorded(no)?;
                    self.record(&Record::Settled { no, id: id.as_str(), amount })?;
                }
                let balance = self.account(no).map_or(0, |account| account.balance);
                Ok(Settlement { balance, repeated })
            }
            Err(error) => Err(error),
        };
        // With the batch, or behind the earlier one that has it.
        self.effect(Effect::Settled { reply, result });
        Ok(())
    }

    /// The account's number, and whether it has the settlement.
    fn check_settlement(&self, account: &AccountId, amount: i128, id: &SettlementId) -> Result<(AccountNo, bool), SettleError> {
        let no = self.number_of(account).ok_or_else(|| SettleError::Unknown(account.clone()))?;
        let books = self.account(no).ok_or_else(|| SettleError::Unknown(account.clone()))?;
        if let Some(recorded) = books.settlements.get(id.as_str()).copied() {
            return match recorded == amount {
                true => Ok((no, true)),
                false => Err(SettleError::OtherAmount { account: account.clone(), id: id.clone(), recorded, asked: amount }),
            };
        }
        if amount == 0 {
            return Err(SettleError::Zero);
        }
        if books.is_closing() {
            return Err(SettleError::Closing(account.clone()));
        }
        let max = self.config.limits.settlements_per_account;
        if books.settlements.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(SettleError::TooMany { account: account.clone(), max });
        }
        // Half the range is left for payments, so that they never run into its end.
        let room = super::apply::SUM_MAX / 4;
        let fits = |sum: Option<i128>| sum.is_some_and(|sum| (-room..=room).contains(&sum));
        if !fits(books.balance.checked_add(amount)) || !fits(books.sums.settlements.checked_add(amount)) {
            return Err(SettleError::OutOfRange(account.clone()));
        }
        Ok((no, false))
    }
}
