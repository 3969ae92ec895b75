//! Connectors that share books on one Redis server, as their operator meets them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod page;
mod processes;
mod server;
mod wrong;
