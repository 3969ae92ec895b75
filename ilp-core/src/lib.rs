//! Work in progress.

mod account;
mod auth;
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
pub use event::Event;
pub use limits::{InvalidTiming, Limits, Timing};
pub use receiver::{IncomingPayment, Receiver, Rejection};
pub use record::CorruptRecord;
pub use refusal::Refusal;
pub use worker::AccountError;
