//! An embeddable Interledger connector: it holds accounts for its peers, takes conditional payments on one, passes them on through
//! another, and keeps books that stay right whatever dies.
//!
//! ```text
//!  frames ─► Link ─► inputs ─► Worker::step ─► records ─► BalanceStore::commit ─► durable
//!                                    └──────► effects, held ───────────────────────┴─► Worker::release ─► Link ─► frames
//! ```
//!
//! * The [`worker`] is a deterministic state machine: no sockets, clock or randomness. Nothing that others can see leaves before the
//!   records it follows from are durable.
//! * A [`link`] adapts one protocol on one connection; `ilp-plugins` has the one for CLP.
//! * A [`store`] makes batches durable.
//! * [`runtime`] (feature `runtime`) runs all of it on the caller's tokio runtime.
//!
//! A connector that takes payments to its own address, with one account and, in this example, no endpoint through which anybody could
//! reach it:
//!
//! ```
//! # #[cfg(feature = "runtime")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ilp_core::runtime::Connector;
//! use ilp_core::{AccountConfig, AccountId, Asset};
//! use ilp_oer::{Address, Amount, Fulfillment};
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let bob = AccountConfig { credit_limit: 1_000, ..AccountConfig::new(AccountId::new(1, "bob")?, Asset::new("XRP", 6)) };
//! let connector = Connector::builder("test.ann").account(bob).start().await?;
//!
//! // Bob isn't connected, so the payment is refused at once, and nothing is owed.
//! let condition = Fulfillment::new([7; 32]).condition();
//! let expires_at = connector.now().saturating_add_millis(5_000);
//! let refused = connector.pay(&Address::new("test.ann.bob")?, Amount::new(10), condition, expires_at).await.unwrap_err();
//! assert!(refused.to_string().starts_with("T01"), "{refused}");
//!
//! let status = connector.status().await?;
//! assert_eq!(status.worker.accounts[0].balance, 0);
//! assert!(connector.stop(Duration::from_secs(5)).await.drained);
//! # Ok(())
//! # })
//! # }
//! # #[cfg(not(feature = "runtime"))]
//! # fn main() {}
//! ```

mod account;
pub mod audit;
mod auth;
pub mod colleagues;
mod collections;
#[cfg(feature = "conformance")]
pub mod conformance;
mod event;
mod limits;
pub mod link;
mod receiver;
mod record;
mod refusal;
mod routes;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod store;
mod wheel;
pub mod worker;

pub use account::{AccountConfig, AccountId, Asset, InvalidAccountId, Rate};
pub use auth::{Authenticator, Tokens};
pub use event::{Event, NumberedEvent};
pub use limits::{InvalidTiming, Limits, Timing};
pub use receiver::{IncomingPayment, Receiver, Rejection};
pub use record::CorruptRecord;
pub use refusal::Refusal;
pub use worker::{AccountError, InvalidSettlementId, SettleError, Settlement, SettlementId};
