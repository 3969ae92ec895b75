//! The balance store of the `ilp-core` connector on Redis: one server, or a master that Sentinels name.
//!
//! A batch is one script call, which makes it part of its slot whole or not at all, and any call can be repeated. What a batch that was
//! called durable survives is what is [`Required`] of the server; one that promises less is refused.
//!
//! | key | type | what is in it |
//! |---|---|---|
//! | `schema` | string | the form of the books |
//! | `slots` | set | the names of all slots |
//! | `accounts` | sorted set | the ids of all accounts, by the last change of each |
//! | `slot:{name}` | hash | epoch, opener, number of the last batch |
//! | `log:{name}` | stream | batches, by their numbers |
//! | `mail:{name}` | stream | letters |
//! | `hotBalance:{name}` | hash | what the slot has of each account |
//! | `lease:{name}` | hash with a time to live | who has the slot |
//! | `account:{id}` | hash | an account's row |
//! | `coldBalance:{id}` | string | its cold balance |
//! | `changes` | string | how often a row was changed |
//! | `barrier` | string | written before each wait for replicas |
//!
//! Accounts' ids are in hexadecimal digits; amounts are decimal digits, which no script reads as a number.

mod barrier;
mod config;
mod connection;
mod error;
mod keys;
mod metrics;
mod pictures;
mod reply;
mod rows;
mod schema;
mod scripts;
mod server;
mod slots;
mod store;

pub use config::{RedisConfig, Required};
pub use error::RedisError;
pub use metrics::RedisMetrics;
pub use store::RedisStore;
