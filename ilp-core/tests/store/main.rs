//! The embedded store and the conformance suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::as_conversions, reason = "a test fails by panicking")]

mod backups;
mod broken;
mod conformance;
mod crashing;
mod damage;
mod failing;
mod opening;
mod processes;
mod support;
mod upgrade;
