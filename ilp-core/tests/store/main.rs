//! The embedded store and the conformance suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::as_conversions, reason = "a test fails by panicking")]

mod conformance;
mod support;
