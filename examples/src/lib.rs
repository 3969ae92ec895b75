//! What the example binaries are made of. The README's program is a doctest of this crate.
#![doc = include_str!("../../README.md")]

pub mod config;
pub mod connector;
pub mod contend;
pub mod demo;
pub mod flood;
pub mod hostile;
pub mod packet;
pub mod proxy;
pub mod recovery;
mod redis;
pub mod show;
pub mod torture;
