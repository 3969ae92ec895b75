//! What an operator asks a running connector, over a Unix socket that only its own user can reach.
//!
//! One request a line, one answer a line, both JSON ([`protocol`]). The server reads lines and takes no more than it can answer, the desk
//! answers them, the [`client`] is what the commands use.
//!
//! Nothing that is asked here can hold up payments: a request is a message to the driver, as any other of the embedder's, and what takes
//! time (reading a log, copying books) is done by threads of its own, one at a time.

#[cfg(unix)]
pub mod client;
pub(crate) mod desk;
pub mod protocol;
#[cfg(unix)]
pub(super) mod server;
#[cfg(unix)]
pub(super) mod socket;
