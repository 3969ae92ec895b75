//! A network from one seed: real workers, links and sessions on simulated wires, stores and clocks, and an auditor that knows the rules
//! but not the code.

mod fault;
mod observe;

pub use fault::FaultKind;
pub use observe::{AccountLayout, AccountPlace, Layout, NodeLayout, NodeNo, Observation, Seen, Side, Statement, WireNo};
