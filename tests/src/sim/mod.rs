//! A network from one seed: real workers, links and sessions on simulated wires, stores and clocks, and an auditor that knows the rules
//! but not the code.
//!
//! A [`Plan`] is all that a seed stands for; [`run`] runs it. The [`Auditor`] sees [`Observation`]s only. `docs/testing.md`
//! says how to use it, and how to add a fault.

mod audit;
mod disk;
mod embedder;
mod fault;
mod network;
mod observe;
mod peer;
mod plan;
mod process;
mod rng;

pub(crate) use rng::Rng;
mod run;
mod store;
mod strike;
mod wire;
mod world;

pub use audit::{Auditor, Invariant, Tally, TransferState, Violation};
pub use fault::FaultKind;
pub use network::describe;
pub use observe::{
    AccountLayout, AccountPlace, BooksLayout, EmbeddersLedger, Layout, NodeLayout, NodeNo, Observation, Seen, Side, Statement, Told, WireNo,
};
pub use plan::{Decision, Fault, Party, Payment, PeerPlan, Plan, START, Settlement};
pub use run::{Outcome, run, shrink, watch};
pub use world::{Coverage, Watcher};
