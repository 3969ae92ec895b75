//! The Common Ledger Protocol (CLP): two parties tell each other of transfers, conditional or not, and ask each other things.
//!
//! ```text
//!   your application
//!        │ send_request, RequestHandler
//!   Client, Server, Peer      feature `tokio`: one task a connection, on the caller's runtime
//!        │
//!   Exchange                  requests and transfers: which packets belong together, who said what in time
//!        │
//!   Setup                     who is there, and what it speaks
//!        │
//!   Session                   packets: which answer belongs to which request
//!        │
//!   ws::Socket                feature `tokio`: WebSocket and TLS, one packet a binary frame
//! ```
//!
//! [`Session`], [`Setup`] and [`Exchange`] are pure state machines: frames, commands and the time go in, frames and events come out.
//! Without features the crate has no runtime, sockets, clock or randomness in it.
//!
//! # A client and a server
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ilp_clp::ws::TlsClientConfig;
//! use ilp_clp::*;
//! use ilp_oer::{Address, Amount, ErrorCode, Fulfillment, clp::Protocol};
//!
//! let accounts = Accounts::new().with("alice", "her secret", Address::new("test.shop.alice")?);
//! let config = ServerConfig::new(ExchangeConfig::new(Address::new("test.shop")?), accounts);
//! let mut server = Server::bind("127.0.0.1:0", config.with_handler(|peer: Peer, request: HandlerRequest| async move {
//!     match request.transfer {
//!         Transfer::Conditional { .. } => Ok(HandlerReply::fulfill(Fulfillment::new([7; 32]))),
//!         _ => Err(peer.refusal(ErrorCode::F06_UNEXPECTED_PAYMENT, "only conditional transfers")),
//!     }
//! })).await?;
//! let url = format!("ws://{}", server.local_addr()?).parse()?;
//! let serving = tokio::spawn(async move { server.accept().await.closed().await });
//!
//! let credentials = Credentials::new("alice", "her secret", "");
//! let tls = TlsClientConfig::public_roots()?;
//! let shop = Client::connect(ClientConfig::new(url, credentials, tls, Address::new("test.alice")?)).await?;
//! let transfer = Transfer::Conditional {
//!     amount: Amount::new(5),
//!     condition: Fulfillment::new([7; 32]).condition(),
//!     expires_at: now().saturating_add_millis(10_000),
//! };
//! let data = ProtocolBuffer::one(Protocol::Name("ilp"), b"an ILP packet")?;
//! let reply = shop.send_request(data, transfer).await?;
//! assert!(matches!(reply, Reply::Fulfilled { .. }));
//!
//! drop(shop);
//! serving.await?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```

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
    Accounts, Authenticator, Client, ClientConfig, ConnectError, Form, Peer, RefuseAll, RequestHandler, Server, ServerConfig, now,
};
pub use session::{
    Answer, IncomingAnswer, IncomingRequest, Request, SendError, Session, SessionConfig, SessionCounters, SessionEvent, SessionLimits,
    TooManyErrors, detect_dialect,
};
pub use setup::{Credentials, Protocols, Setup, SetupConfig, SetupEvent, SetupFailure, credentials_from_path};
