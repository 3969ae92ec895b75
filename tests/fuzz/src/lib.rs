//! Fuzzing on stable Rust: [targets], each with what must hold for every input to a part of the project, and what drives them.
//!
//! ```text
//!  tests/vectors ─► seeds ┐                                  ┌► keeps what reaches something new ─► tests/corpora/TARGET/kept.hex
//!  tests/corpora ─────────┴► tree ─► mutate ─► bytes ─► target ┤
//!                                                            └► finding ─► minimise ─► tests/corpora/TARGET/found-…
//! ```
//!
//! The ordinary tests replay all that is kept (`tests/replay.rs`); `tests/fuzz/run` builds with coverage counters and goes on from there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

pub mod corpus;
pub mod engine;
pub mod formats;
pub mod minimise;
pub mod mutate;
pub mod program;
pub mod rng;
pub mod seeds;
pub mod shape;
pub mod target;
pub mod targets;
pub mod tree;
pub mod trial;
pub mod words;

#[global_allocator]
static ALLOCATOR: ilp_fuzz_probe::Counting = ilp_fuzz_probe::Counting;
