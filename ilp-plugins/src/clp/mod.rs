//! Peers over the Common Ledger Protocol: the only place where CLP meets the core.
//!
//! [`ClpListener`] and [`ClpDialler`] are endpoints for a connector's builder; [`ClpLink`] is the sans-IO adapter that both give each
//! connection.

mod dialler;
mod link;
mod listener;
mod payload;
mod transport;

pub use dialler::ClpDialler;
pub use link::ClpLink;
pub use listener::{BindError, ClpListener};
pub use transport::ClpTransport;

pub use ilp_clp::ws::{Certificate, ClientCertificates, SocketLimits, TlsClientConfig, TlsError, TlsServerConfig, Url, UrlError};
