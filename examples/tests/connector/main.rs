//! The `connector` command as its user meets it: exit codes, messages, stopping, books, the demo.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod admin;
mod audit;
mod copies;
mod demo;
mod running;
mod settle;
mod starting;
mod support;
mod trouble;
mod workers;
