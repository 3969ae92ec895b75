//! What an embedder can watch: everything that changes the books.

use crate::account::{AccountId, Asset};
use crate::store::SlotNo;
use ilp_oer::{Amount, ErrorCode, TransferId};

/// An event and its number.
///
/// Numbers run without gaps from 1 through the life of a slot. An event is part of the batch that changes the books: it is told once that is
/// durable, and told again after a restart until it is [acknowledged](crate::runtime::Connector::acknowledge_events). So whoever keeps
/// the last number with what it did about it, and passes over numbers that it has, sees every change of the books exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEvent {
    /// The slot whose books they are.
    pub slot: SlotNo,
    /// `None` for what leaves no trace in the books, and so isn't told again: [`Event::Refused`].
    pub number: Option<u64>,
    /// What happened.
    pub event: Event,
}

/// Something happened to the books. Amounts are in the base unit of the account that they are at; each event says how it moves the account's
/// balance, what is held of it, and the connector's own account in the account's asset: a ledger can be built from these alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An account exists from here on, with a balance of 0.
    AccountOpened {
        /// Which.
        account: AccountId,
        /// What its amounts are in.
        asset: Asset,
    },
    /// An account exists no more. What was left of its balance is the connector's own now.
    AccountClosed {
        /// Which.
        account: AccountId,
        /// The balance that it had. Own: + this.
        written_off: i128,
    },
    /// An incoming transfer is held; one outcome will follow. Sender: balance − incoming, held + incoming.
    Accepted {
        /// The sender; `None` for a payment of our own.
        from: Option<AccountId>,
        /// The next hop; `None` for a payment to our own address.
        to: Option<AccountId>,
        /// Ours, on the outgoing side.
        id: TransferId,
        /// In the sender's base unit; for a payment of our own what the next hop gets.
        incoming_amount: Amount,
        /// In the next hop's base unit.
        outgoing_amount: Amount,
    },
    /// An accepted transfer was fulfilled. Sender: held − incoming, own + incoming; next hop: balance + outgoing, own − outgoing.
    Fulfilled {
        /// As in `Accepted`.
        from: Option<AccountId>,
        /// As in `Accepted`.
        to: Option<AccountId>,
        /// As in `Accepted`.
        id: TransferId,
        /// As in `Accepted`.
        incoming_amount: Amount,
        /// As in `Accepted`.
        outgoing_amount: Amount,
    },
    /// An accepted transfer was rejected by whoever came later, or its time ran out. Sender: balance + incoming, held − incoming.
    Rejected {
        /// As in `Accepted`.
        from: Option<AccountId>,
        /// As in `Accepted`.
        id: TransferId,
        /// As in `Accepted`.
        incoming_amount: Amount,
        /// Why.
        code: ErrorCode,
    },
    /// The sender refused a fulfill that it had in time. It stays charged: nothing moves.
    Disputed {
        /// The sender.
        from: Option<AccountId>,
        /// As in `Accepted`.
        id: TransferId,
        /// As in `Accepted`.
        incoming_amount: Amount,
    },
    /// The sender never answered a fulfill. It stays charged: nothing moves.
    Unconfirmed {
        /// The sender.
        from: Option<AccountId>,
        /// As in `Accepted`.
        id: TransferId,
        /// As in `Accepted`.
        incoming_amount: Amount,
    },
    /// A fulfill came too late for the sender. Sender: balance + incoming; own − incoming.
    Lost {
        /// The sender.
        from: Option<AccountId>,
        /// As in `Accepted`.
        id: TransferId,
        /// As in `Accepted`.
        incoming_amount: Amount,
    },
    /// An unconditional transfer came in. Sender: balance − amount; own + amount.
    Charged {
        /// The sender.
        from: AccountId,
        /// The sender's.
        id: TransferId,
        /// As above.
        amount: Amount,
    },
    /// Something was settled outside of the connector. Account: balance + amount, which may be negative.
    Settlement {
        /// Whose.
        account: AccountId,
        /// As given by whoever settled.
        id: String,
        /// As above.
        amount: i128,
    },
    /// A transfer was refused at once, without ever being held. Nothing of it is in the books.
    Refused {
        /// The sender.
        from: Option<AccountId>,
        /// In the sender's base unit.
        incoming_amount: Amount,
        /// Why.
        code: ErrorCode,
    },
}
