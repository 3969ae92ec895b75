//! The rules of a payment's life, one test or more for each, on a worker without sockets or store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod audits;
mod bench;
mod books;
mod checks;
mod claims;
mod endings;
mod events;
mod farm;
mod late;
mod limits;
mod moves;
mod owed;
mod pipeline;
mod settle;
mod switch;
mod time;
mod together;
