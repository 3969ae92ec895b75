//! The embedder's event stream: bounded, in order, and never lossy.

use crate::event::NumberedEvent;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::task::{Context, Poll};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{OwnedPermit, Sender};

/// Events on their way to the embedder. While it is behind nothing more is read from peers, so that what waits here stays as small as
/// what one turn produces.
pub(super) struct EventQueue {
    sender: Option<Sender<NumberedEvent>>,
    waiting: VecDeque<NumberedEvent>,
    permit: Option<BoxFuture<'static, Result<OwnedPermit<NumberedEvent>, SendError<()>>>>,
}

impl EventQueue {
    pub(super) fn new(sender: Option<Sender<NumberedEvent>>) -> Self {
        Self { sender, waiting: VecDeque::new(), permit: None }
    }

    pub(super) fn push(&mut self, event: NumberedEvent) {
        if self.sender.is_some() {
            self.waiting.push_back(event);
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what the embedder has room for; wakes the task when there is more room.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while !self.waiting.is_empty() {
            let Some(sender) = &self.sender else { return self.waiting.clear() };
            let mut permit = self.permit.take().unwrap_or_else(|| sender.clone().reserve_owned().boxed());
            match permit.poll_unpin(cx) {
                Poll::Ready(Ok(permit)) => {
                    if let Some(event) = self.waiting.pop_front() {
                        permit.send(event);
                    }
                }
                // Nobody listens any more.
                Poll::Ready(Err(_)) => self.sender = None,
                Poll::Pending => {
                    self.permit = Some(permit);
                    return;
                }
            }
        }
    }
}
