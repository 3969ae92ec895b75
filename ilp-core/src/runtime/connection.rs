//! One connection as the driver holds it.

use super::ready::ConnectionWaker;
use super::transport::{NewConnection, Traffic, TransportError};
use crate::account::AccountId;
use crate::link::{LinkCommand, LinkEvent, LinkOutput};
use crate::worker::ConnectionId;
use bytes::Bytes;
use ilp_oer::Timestamp;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A connection of a running connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Whose; `None` before it has authenticated.
    pub account: Option<AccountId>,
    /// Where from or to.
    pub peer: String,
    /// Frames and bytes so far.
    pub traffic: Traffic,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) new: NewConnection,
    pub(super) authenticated: Option<AccountId>,
    pub(super) since: Timestamp,
    /// More waits for it than its peer reads; the worker knows.
    pub(super) congested: bool,
    /// It is an account's from this time on: its last login was only just before.
    pub(super) let_in_at: Option<(Timestamp, AccountId)>,
    /// Wrong credentials are answered at this time.
    pub(super) refuse_at: Option<Timestamp>,
    pub(super) output: LinkOutput,
    waker: Arc<ConnectionWaker>,
    task: Waker,
    /// Frames were queued since the last flush, or the last flush didn't end.
    unflushed: bool,
    /// There may be more to read although nobody will wake us for it.
    pub(super) unread: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, new: NewConnection, waker: Arc<ConnectionWaker>, now: Timestamp) -> Self {
        let task = Waker::from(waker.clone());
        let mut connection = Self {
            id,
            new,
            authenticated: None,
            since: now,
            congested: false,
            let_in_at: None,
            refuse_at: None,
            output: LinkOutput::default(),
            waker,
            task,
            unflushed: false,
            unread: true,
        };
        connection.new.link.start(now, &mut connection.output);
        connection
    }

    pub(super) fn served(&self) {
        self.waker.served();
    }

    /// Takes frames in, up to `max`, and lets the link read them.
    pub(super) fn receive(&mut self, frames: &mut Vec<Bytes>, max: usize, now: Timestamp) -> Result<(), TransportError> {
        let mut cx = Context::from_waker(&self.task);
        self.unread = match self.new.transport.poll_receive(&mut cx, frames, max) {
            Poll::Ready(Ok(count)) => count > 0,
            Poll::Ready(Err(error)) => {
                frames.clear();
                return Err(error);
            }
            Poll::Pending => false,
        };
        for frame in frames.drain(..) {
            self.new.link.receive(frame, now, &mut self.output);
        }
        Ok(())
    }

    pub(super) fn command(&mut self, command: LinkCommand, now: Timestamp) {
        self.new.link.command(command, now, &mut self.output);
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        self.new.link.tick(now, &mut self.output);
    }

    pub(super) fn take_events(&mut self, events: &mut Vec<LinkEvent>) {
        events.append(&mut self.output.events);
    }

    /// Hands queued frames to the transport. `true` if a flush is due.
    pub(super) fn send(&mut self) -> bool {
        for frame in self.output.frames.drain(..) {
            self.new.transport.send(frame);
            self.unflushed = true;
        }
        self.unflushed
    }

    pub(super) fn flush(&mut self) -> Result<(), TransportError> {
        if self.unflushed {
            let mut cx = Context::from_waker(&self.task);
            match self.new.transport.poll_flush(&mut cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// It came from outside, and nobody has authenticated on it.
    pub(super) fn is_stranger(&self) -> bool {
        self.authenticated.is_none() && self.new.account.is_none()
    }

    pub(super) fn backlog(&self) -> usize {
        self.new.transport.backlog()
    }

    pub(super) fn status(&self) -> ConnectionStatus {
        ConnectionStatus { account: self.authenticated.clone(), peer: self.new.peer.clone(), traffic: self.new.transport.traffic() }
    }
}
