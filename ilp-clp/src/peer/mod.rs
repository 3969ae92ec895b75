//! The other end of a connection, for applications on tokio: [`Client`] dials, [`Server`] is dialled, both give [`Peer`]s.

mod accounts;
mod client;
mod clock;
mod driver;
mod handler;
mod server;

pub use accounts::{Accounts, Authenticator};
pub use client::{Client, ClientConfig, ConnectError};
pub use clock::now;
pub use handler::{RefuseAll, RequestHandler};
pub use server::{Server, ServerConfig};

use crate::exchange::{Failure, HandlerError, LocalFailure, Reply, Transfer};
use crate::{InterledgerError, ProtocolBuffer};
use driver::Command;
use futures::task::AtomicWaker;
use ilp_oer::clp::Dialect;
use ilp_oer::{Address, ErrorCode, TransferId};
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

/// The other end of an authenticated connection. Cheap to clone; the connection is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Peer {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// The form of CLP a connection speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Named sub-protocols, and setup.
    #[default]
    Named,
    /// Numbered sub-protocols, and setup.
    Seed,
    /// As the JavaScript node of 2017: named sub-protocols, name and token in the path, no setup.
    Legacy2017,
}

/// What all clones of a peer, and its driver, know.
struct Shared {
    handler: RwLock<Arc<dyn RequestHandler>>,
    identity: Identity,
    ended: watch::Receiver<Option<Arc<str>>>,
    /// Somebody wants the connection closed, and the task that has to do it.
    closing: AtomicBool,
    task: AtomicWaker,
}

/// Who is who on a connection.
#[derive(Debug, Clone)]
struct Identity {
    /// Where our errors come from.
    own: Address,
    /// What the server calls this connection.
    address: Option<Address>,
    /// The account, as the client named it.
    account: Vec<u8>,
    dialect: Dialect,
}

impl Peer {
    /// Sends a request and waits for what comes back: an answer with the same request id, or the fulfill or reject of the transfer.
    /// A transfer gets a random id.
    ///
    /// Dropping the future doesn't undo the request: it only means that nobody hears of its outcome.
    ///
    /// # Errors
    /// See [`Failure`]: what went wrong here says nothing about what the peer did, unless nothing was sent.
    pub async fn send_request(&self, data: ProtocolBuffer, transfer: Transfer) -> Result<Reply, Failure> {
        let mut id = [0; 16];
        if transfer != Transfer::None && rustls::crypto::ring::default_provider().secure_random.fill(&mut id).is_err() {
            return Err(LocalFailure::SendFailed("no random numbers".to_owned()).into());
        }
        self.send_request_as(TransferId::new(id), data, transfer).await
    }

    /// The same with a transfer id of the caller's: one that it has written down before, so that after a crash or on another
    /// connection it can send the same transfer again, and the peer will know it.
    ///
    /// # Errors
    /// As [`send_request`](Self::send_request).
    pub async fn send_request_as(&self, id: TransferId, data: ProtocolBuffer, transfer: Transfer) -> Result<Reply, Failure> {
        let (reply, outcome) = oneshot::channel();
        let command = Command { id, data, transfer, reply };
        self.commands.send(command).await.map_err(|_| LocalFailure::Closed)?;
        outcome.await.unwrap_or(Err(LocalFailure::Closed.into()))
    }

    /// Replaces the handler of the peer's requests. Requests that are being handled stay with the old one.
    pub fn set_request_handler(&self, handler: impl RequestHandler) {
        *self.shared.handler.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(handler);
    }

    /// The address of this connection, given by the server; a server of 2017 gives none.
    pub fn address(&self) -> Option<&Address> {
        self.shared.identity.address.as_ref()
    }

    /// The account's name, as the client gave it.
    pub fn account(&self) -> &[u8] {
        &self.shared.identity.account
    }

    /// How this connection writes protocol data.
    pub fn dialect(&self) -> Dialect {
        self.shared.identity.dialect
    }

    /// An error for a handler to answer: this code, and a text for people.
    pub fn refusal(&self, code: ErrorCode, text: &str) -> HandlerError {
        InterledgerError::ours(code, &self.shared.identity.own, clock::wall(), text).into()
    }

    /// Closes the connection, whoever else holds a clone. What is under way ends as [`LocalFailure::Closed`].
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.task.wake();
    }

    /// Waits until the connection has ended, and gives the reason.
    pub async fn closed(&self) -> String {
        let mut ended = self.shared.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.as_deref().map(str::to_owned));
        reason.unwrap_or_else(|| "the connection's task was stopped".to_owned())
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }
}

impl Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = String::from_utf8_lossy(&self.shared.identity.account);
        f.debug_struct("Peer").field("account", &account).field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(handler: Arc<dyn RequestHandler>, identity: Identity, ended: watch::Receiver<Option<Arc<str>>>) -> Self {
        let (closing, task) = (AtomicBool::new(false), AtomicWaker::new());
        Self { handler: RwLock::new(handler), identity, ended, closing, task }
    }

    fn handler(&self) -> Arc<dyn RequestHandler> {
        Arc::clone(&self.handler.read().unwrap_or_else(PoisonError::into_inner))
    }
}
