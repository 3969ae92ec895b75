//! What the network tests share: a connector on loopback, and peers that send and see single packets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, reason = "a test fails by panicking")]

mod clock;
pub mod models;
mod network;
mod peer;
mod peer2017;
mod scratch;
pub mod sim;
pub mod workers;

pub use clock::JumpingClock;
pub use network::{Network, id_of, preimage};
pub use peer::{RawPeer, Seen};
pub use peer2017::{Peer2017, text};
pub use scratch::Scratch;
