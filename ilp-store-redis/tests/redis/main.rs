//! The store against servers that these tests start, and kill. They need `redis-server` and `redis-sentinel`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod amounts;
mod commands;
mod conformance;
mod contention;
mod losses;
mod outages;
mod promises;
mod sentinel;
mod support;
