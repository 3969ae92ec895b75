//! The bytes inside CLP's sub-protocols: what stands in an entry's `data`.
//!
//! | name | module | from |
//! |---|---|---|
//! | `setup` | [`Setup`] | this project |
//! | `liquidity`, `reconcile` 4.1 | [`Liquidity`] | this project |
//! | `info` | [`Info`] | the JavaScript node of 2017 |
//! | `balance` | [`Balance`] | the same |
//! | `vouch` | [`Vouch`] | the same |
//!
//! `ilp`, `payment` and `ilqp` carry an [`ilp::Packet`](crate::ilp::Packet). All are canonical like the packets, save that lengths in
//! `info` and `vouch` are written as that node did: `82 hh ll` from 128 up, even when one byte would do. Both forms are read there.

mod info;
mod liquidity;
pub mod names;
mod protocols;
mod setup;

pub use info::{Balance, Info, Vouch, VouchKind};
pub use liquidity::{Liquidity, LiquidityAnswer};
pub use protocols::{ProtocolList, ProtocolNumbers};
pub use setup::Setup;
