//! Work in progress.
pub mod packet;
