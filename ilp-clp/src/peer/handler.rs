//! What an application implements to be asked things.

use super::Peer;
use crate::exchange::{HandlerError, HandlerReply, HandlerRequest, Settled};
use async_trait::async_trait;
use ilp_oer::ErrorCode;

/// Answers the requests of a peer.
///
/// Requests are handled beside each other, in any order, up to [`ExchangeLimits::handling_max`](crate::ExchangeLimits). A
/// conditional transfer has been acknowledged before, and is handed out once; the answer becomes a fulfill or a reject, which is
/// repeated until the peer has it. An answer after the transfer's expiry is ignored. A handler that panics costs its request a T00,
/// and nothing else.
///
/// Any `Fn(Peer, HandlerRequest) -> impl Future<Output = Result<HandlerReply, HandlerError>>` is a handler.
#[async_trait]
pub trait RequestHandler: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Errors
    /// [`Peer::refusal`] makes one; it goes to the peer as an Error or a Reject.
    async fn handle(&self, peer: &Peer, request: HandlerRequest) -> Result<HandlerReply, HandlerError>;

    /// A conditional transfer of the peer's has come to its end, for the books. Called on the connection's task: must not block.
    fn settled(&self, peer: &Peer, settled: Settled) {
        let _ = (peer, settled);
    }
}

#[async_trait]
impl<F, R> RequestHandler for F
where
    F: Fn(Peer, HandlerRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<HandlerReply, HandlerError>> + Send + 'static,
{
    async fn handle(&self, peer: &Peer, request: HandlerRequest) -> Result<HandlerReply, HandlerError> {
        self(peer.clone(), request).await
    }
}

/// Refuses everything: what a peer has until it is given something better.
#[derive(Debug, Clone, Copy, Default)]
pub struct RefuseAll;

#[async_trait]
impl RequestHandler for RefuseAll {
    async fn handle(&self, peer: &Peer, _request: HandlerRequest) -> Result<HandlerReply, HandlerError> {
        Err(peer.refusal(ErrorCode::F00_BAD_REQUEST, "nothing is offered here"))
    }
}
