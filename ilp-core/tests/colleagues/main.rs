//! Several workers that serve the same accounts: in one process, and in several that are joined by sockets only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod peer;
mod processes;
mod strangers;
mod support;
mod workers;
