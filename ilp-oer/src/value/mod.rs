//! Owned forms of the packets with serde: what JSON tools read and print.
//!
//! | Rust | JSON |
//! |---|---|
//! | [`ClpValue`], [`IlpValue`] | an object with `type` (the packet's number) and the fields in camel case |
//! | bytes | lower-case hex |
//! | [`Amount`](crate::Amount) | decimal text |
//! | integers up to 32 bits | numbers |
//! | [`Timestamp`](crate::Timestamp) | ISO-8601 in UTC with milliseconds |
//! | curve | pairs of decimal text |
//!
//! Every limit and alphabet is checked while reading, so that what has been read can be written. Objects must have all fields of
//! their type, once, and no others.

mod clp;
mod clp_json;
mod ilp;
mod ilp_json;
mod object;
mod octets;

pub use clp::{ClpBody, ClpValue, EntryValue, NamedEntry, SeedEntry};
pub use ilp::{ErrorValue, IlpValue};
pub use octets::{Octets, OctetsTooLong, Text};
