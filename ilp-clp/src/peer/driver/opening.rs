//! How a connection becomes a peer's.

use super::{Command, Driver};
use crate::peer::{Identity, Peer, RequestHandler, Shared};
use crate::setup::{Credentials, SetupEvent, SetupFailure};
use futures::FutureExt;
use futures::future::BoxFuture;
use ilp_oer::Address;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// How far the connection has come.
pub(super) enum Phase {
    Setup(Starting, mpsc::Sender<Command>, watch::Receiver<Option<Arc<str>>>),
    Deciding(BoxFuture<'static, Option<Address>>, Starting, mpsc::Sender<Command>, watch::Receiver<Option<Arc<str>>>),
    Open(Arc<Shared>, mpsc::WeakSender<Command>),
    Over,
}

/// What is needed until there is a peer.
pub(in crate::peer) struct Starting {
    /// Hears of the peer, or why there is none.
    pub(in crate::peer) ready: oneshot::Sender<Result<Peer, SetupFailure>>,
    pub(in crate::peer) handler: Arc<dyn RequestHandler>,
    /// Our own address.
    pub(in crate::peer) own: Address,
    /// The account's name; a server learns it from the peer.
    pub(in crate::peer) account: Vec<u8>,
    /// A server's way to find out.
    pub(in crate::peer) authenticate: Option<Authenticate>,
}

pub(in crate::peer) type Authenticate = Box<dyn FnOnce(Credentials) -> BoxFuture<'static, Option<Address>> + Send>;

impl Driver {
    pub(super) fn setup(&mut self, event: SetupEvent) {
        match event {
            SetupEvent::Authenticate(credentials) => {
                if let Phase::Setup(mut starting, commands, ended) = std::mem::replace(&mut self.phase, Phase::Over) {
                    starting.account.clone_from(&credentials.account);
                    let decision = match starting.authenticate.take() {
                        Some(authenticate) => authenticate(credentials),
                        None => futures::future::ready(None).boxed(),
                    };
                    self.phase = Phase::Deciding(decision, starting, commands, ended);
                }
            }
            SetupEvent::Authenticated { address } => self.open(address),
            SetupEvent::Failed(failure) => {
                self.end.get_or_insert_with(|| failure.to_string().into());
                if let Phase::Setup(starting, ..) | Phase::Deciding(_, starting, ..) = std::mem::replace(&mut self.phase, Phase::Over) {
                    let _ = starting.ready.send(Err(failure));
                }
            }
            // Known to the exchange; a claim is without effect.
            SetupEvent::Negotiated(_) | SetupEvent::Claim { .. } => {}
        }
    }

    /// The connection is authenticated: from now on there is a peer.
    pub(super) fn open(&mut self, address: Option<Address>) {
        let (starting, commands, ended) = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Setup(starting, commands, ended) | Phase::Deciding(_, starting, commands, ended) => (starting, commands, ended),
            other => {
                self.phase = other;
                return;
            }
        };
        let identity = Identity { own: starting.own, address, account: starting.account, dialect: self.exchange.dialect() };
        let shared = Arc::new(Shared::new(starting.handler, identity, ended));
        self.phase = Phase::Open(Arc::clone(&shared), commands.downgrade());
        // If nobody waits for the peer any more its last clone is gone, and the connection ends.
        let _ = starting.ready.send(Ok(Peer { shared, commands }));
    }
}
