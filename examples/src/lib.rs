//! Work in progress.
pub mod packet;
pub mod config;
pub mod connector;
pub mod demo;
pub mod show;
