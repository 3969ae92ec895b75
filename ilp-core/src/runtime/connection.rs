//! One connection as the driver holds it.

use super::allowance::Allowance;
use super::hub::Handover;
use super::ready::ConnectionWaker;
use super::transport::{NewConnection, Traffic, TransportError};
use crate::account::AccountId;
use crate::link::{Answer, LinkCommand, LinkEvent, LinkOutput};
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
    allowance: Allowance,
    /// Control frames that were paid for.
    controls: u64,
    /// It wasn't read because its allowance was used up.
    throttled: bool,
    waker: Arc<ConnectionWaker>,
    task: Waker,
    /// Frames were queued since the last flush, or the last flush didn't end.
    unflushed: bool,
    /// There may be more to read although nobody will wake us for it.
    pub(super) unread: bool,
    /// Its peer has said who it is, and isn't let in yet: nothing more is read.
    pub(super) named: bool,
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
            allowance: Allowance::of_stranger(),
            controls: 0,
            throttled: false,
            waker,
            task,
            unflushed: false,
            unread: true,
            named: false,
        };
        connection.new.link.start(now, &mut connection.output);
        connection
    }

    /// One whose peer has proved at another worker who it is.
    pub(super) fn handed_over(id: ConnectionId, handover: Handover, waker: Arc<ConnectionWaker>, now: Timestamp) -> Self {
        let Handover { new, output, .. } = handover;
        let task = Waker::from(waker.clone());
        Self {
            id,
            new,
            authenticated: None,
            since: now,
            congested: false,
            let_in_at: None,
            refuse_at: None,
            output,
            allowance: Allowance::of_stranger(),
            controls: 0,
            throttled: false,
            waker,
            task,
            unflushed: true,
            unread: false,
            named: true,
        }
    }

    pub(super) fn served(&self) {
        self.waker.served();
    }

    /// It is an account's from now on.
    pub(super) fn authenticate(&mut self, account: AccountId, fruitless_frames_per_second: u32) {
        self.authenticated = Some(account);
        self.named = false;
        self.unread = true;
        self.allowance = Allowance::of_account(fruitless_frames_per_second);
    }

    /// Time has passed. `true` if it may be read from again.
    pub(super) fn refill(&mut self, elapsed_ms: i64) -> bool {
        self.allowance.refill(elapsed_ms);
        self.throttled && !self.allowance.is_used_up() && std::mem::take(&mut self.throttled)
    }

    /// Takes frames in, up to `max` and what it may still ask for, and lets the link read them.
    pub(super) fn receive(&mut self, frames: &mut Vec<Bytes>, max: usize, now: Timestamp) -> Result<(), TransportError> {
        if self.named {
            // What comes next is for whoever serves the account.
            self.unread = false;
            return Ok(());
        }
        // A login is looked at alone: whoever serves the account reads what comes after it.
        let max = if self.authenticated.is_none() { 1 } else { max };
        if self.allowance.is_used_up() {
            // Listed again when there is some.
            self.throttled = true;
            self.unread = false;
            return Ok(());
        }
        let mut cx = Context::from_waker(&self.task);
        self.unread = match self.new.transport.poll_receive(&mut cx, frames, self.allowance.frames(max)) {
            Poll::Ready(Ok(count)) => count > 0,
            Poll::Ready(Err(error)) => {
                frames.clear();
                return Err(error);
            }
            Poll::Pending => false,
        };
        let (received, before) = (frames.len(), self.output.events.len());
        for frame in frames.drain(..) {
            self.new.link.receive(frame, now, &mut self.output);
        }
        let said = self.output.events.len().saturating_sub(before);
        let controls = std::mem::replace(&mut self.controls, self.new.transport.traffic().controls_in);
        let fruitless = u64::try_from(received.saturating_sub(said)).unwrap_or(u64::MAX);
        self.allowance.spend(fruitless.saturating_add(self.controls.saturating_sub(controls)));
        Ok(())
    }

    pub(super) fn command(&mut self, command: LinkCommand, now: Timestamp) {
        match &command {
            LinkCommand::Answer { answer: Answer::Ack, .. } => self.allowance.earn(),
            LinkCommand::Answer { .. } => self.allowance.spend(1),
            _ => {}
        }
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
