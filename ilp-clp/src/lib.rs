//! The Common Ledger Protocol.

mod data;
mod exchange;
mod session;
mod setup;

#[cfg(feature = "tokio")]
mod peer;
#[cfg(feature = "tokio")]
pub mod ws;

pub use data::{InterledgerError, ProtocolBuffer};
pub use exchange::{
    Confirmation, Exchange, ExchangeConfig, ExchangeEvent, ExchangeLimits, ExchangeOutput, Failure, HandlerError, HandlerReply,
    HandlerRequest, LocalFailure, Reply, RequestKey, Role, Settled, Transfer, Via,
};
#[cfg(feature = "tokio")]
pub use peer::{
    Accounts, Authenticator, Client, ClientConfig, ConnectError, Form, Peer, RefuseAll, RequestHandler, Server, ServerConfig,
};
pub use session::{
    Answer, IncomingAnswer, IncomingRequest, Request, SendError, Session, SessionConfig, SessionCounters, SessionEvent, SessionLimits,
    TooManyErrors, detect_dialect,
};
pub use setup::{Credentials, Protocols, Setup, SetupConfig, SetupEvent, SetupFailure, credentials_from_path};
