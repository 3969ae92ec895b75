//! What an embedder can watch.

use crate::account::AccountId;
use ilp_oer::{Amount, ErrorCode, TransferId};

/// Something happened to a payment. Events are made after the step that decided is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An incoming transfer is held; one outcome will follow.
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
    /// An accepted transfer was fulfilled: the sender is charged, the next hop credited.
    Settled {
        /// The sender.
        from: Option<AccountId>,
        /// The next hop.
        to: Option<AccountId>,
        /// As in `Accepted`.
        id: TransferId,
        /// As in `Accepted`.
        incoming_amount: Amount,
        /// As in `Accepted`.
        outgoing_amount: Amount,
    },
    /// A transfer was refused: at once, without ever being held (`id` is `None`), or after it was accepted, by whoever came later or
    /// for lack of time. The sender has its money.
    Refused {
        /// The sender.
        from: Option<AccountId>,
        /// As in `Accepted`; `None` if it was refused at once.
        id: Option<TransferId>,
        /// In the sender's base unit.
        incoming_amount: Amount,
        /// Why.
        code: ErrorCode,
    },
}
