//! Exhaustive small models: a connector and two or three peers on a fake clock, in every order that their messages can take.
//!
//! The connector is the real [`Worker`](ilp_core::worker::Worker) with real [`ClpLink`](ilp_plugins::clp::ClpLink)s; the peers are small
//! scripted models with books of their own over a [`Session`](ilp_clp::Session). [`Exchanges`] is the application's engine without a
//! connector. A [`Scenario`] bounds what can happen; [`explore`]
//! takes every order; [`Check`] names the rules. `docs/testing.md` says how to use it.

mod check;
mod connector;
mod exchange;
mod explore;
mod monitor;
mod peer;
mod scenario;
mod step;
mod wire;
mod world;

pub use check::{Check, Violation};
pub use exchange::Exchanges;
pub use explore::{Coverage, Explored, Found, Model, explore, replay, shortest};
pub use scenario::{Answers, Cut, Durable, Payment, Scenario, Subject, Timer, large, small};
pub use step::{NoStep, Step};
pub use world::World;

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The hash of a state, from what its parts show of themselves: that is derived, so a field that is added is in it.
fn key_of(state: &impl std::fmt::Debug) -> u128 {
    let mut text = String::with_capacity(16 << 10);
    // A string takes everything.
    let _ = write!(text, "{state:?}");
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}
