//! Exhaustive small models: a connector and two or three peers on a fake clock, in every order that their messages can take.
//!
//! The connector is the real [`Worker`](ilp_core::worker::Worker) with real [`ClpLink`](ilp_plugins::clp::ClpLink)s; the peers are small
//! scripted models with books of their own over a [`Session`](ilp_clp::Session). A [`Scenario`] bounds what can happen; [`explore`]
//! takes every order; [`Check`] names the rules. `docs/testing.md` says how to use it.

mod check;
mod connector;
mod explore;
mod monitor;
mod peer;
mod scenario;
mod step;
mod wire;
mod world;

pub use check::{Check, Violation};
pub use explore::{Coverage, Explored, Found, Model, explore, replay, shortest};
pub use scenario::{Answers, Cut, Durable, Payment, Scenario, Timer, large, small};
pub use step::{NoStep, Step};
pub use world::World;

use std::hash::{DefaultHasher, Hasher};

/// The hash of a state, from what its parts show of themselves: derived, so that a field that is added is in it.
fn key_of(state: &impl std::fmt::Debug) -> u128 {
    let mut hashed = Hashed(DefaultHasher::new(), DefaultHasher::new());
    hashed.1.write_u8(1);
    // A hasher takes everything.
    let _ = std::fmt::write(&mut hashed, format_args!("{state:?}"));
    u128::from(hashed.0.finish()) << 64 | u128::from(hashed.1.finish())
}

struct Hashed(DefaultHasher, DefaultHasher);

impl std::fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        self.1.write(text.as_bytes());
        Ok(())
    }
}
