//! What the network tests share: a connector on loopback, and peers that send and see single packets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, reason = "a test fails by panicking")]

mod network;
mod peer;

pub use network::{Network, id_of, preimage};
pub use peer::{RawPeer, Seen};
