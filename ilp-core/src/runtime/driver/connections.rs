//! Connections: handed over, served, authenticated, closed.

use super::super::connection::Connection;
use super::super::hub::Handover;
use super::super::{NewConnection, Notice};
use super::others::MAILS_MAX;
use super::{CLOSE_MAX, Driver, LINK_TICK_MS};
use crate::account::AccountId;
use crate::colleagues::{Relay, Routed};
use crate::link::{Answer, Credentials, LinkCommand, LinkEvent};
use crate::refusal::Refusal;
use crate::store::SlotNo;
use crate::worker::{ConnectionId, Input};
use ilp_oer::Timestamp;

impl Driver {
    pub(super) fn connect(&mut self, new: NewConnection, now: Timestamp) {
        self.make_room();
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        // The highest bit marks connections of colleagues.
        self.next_connection = self.next_connection.wrapping_add(1) & u64::from(u32::MAX >> 1);
        let low = u64::try_from(place).unwrap_or(u64::MAX);
        let id = ConnectionId(self.next_connection << 32 | low);
        if new.account.is_none() {
            self.strangers.push_back(id);
        }
        entry.insert(Connection::new(id, new, self.ready.waker(place), now));
        self.places.push(place);
        self.after_link(place, now);
    }

    /// A connection that was authenticated at another worker.
    pub(super) fn take_over(&mut self, handover: Handover, now: Timestamp) {
        let account = handover.account.clone();
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        self.next_connection = self.next_connection.wrapping_add(1) & u64::from(u32::MAX >> 1);
        let low = u64::try_from(place).unwrap_or(u64::MAX);
        let id = ConnectionId(self.next_connection << 32 | low);
        entry.insert(Connection::handed_over(id, handover, self.ready.waker(place), now));
        self.dirty.push(place);
        self.serve_account(place, account, now);
    }

    /// When too many connections are nobody's, the oldest goes: an honest peer's would have a name by then.
    fn make_room(&mut self) {
        let max = self.shared.limits.unauthenticated.max(1);
        if self.strangers.len() < max {
            return;
        }
        let mut strangers = std::mem::take(&mut self.strangers);
        strangers.retain(|id| self.place(*id).and_then(|place| self.connections.get(place)).is_some_and(Connection::is_stranger));
        while strangers.len() >= max {
            let Some(place) = strangers.pop_front().and_then(|id| self.place(id)) else { continue };
            self.disconnect(place, "too many connections that haven't authenticated: the oldest was closed".into());
        }
        self.strangers = strangers;
    }

    pub(super) fn place(&self, id: ConnectionId) -> Option<usize> {
        let place = usize::try_from(id.0 & u64::from(u32::MAX)).ok()?;
        self.connections.get(place).filter(|connection| connection.id == id).map(|_| place)
    }

    pub(super) fn serve_connections(&mut self, now: Timestamp) {
        self.ready.take(&mut self.places);
        let may_read = self.may_read();
        let mut places = std::mem::take(&mut self.places);
        for place in places.drain(..) {
            let Some(connection) = self.connections.get_mut(place) else { continue };
            connection.served();
            let mut result = connection.flush();
            // A peer that doesn't read isn't read from either: it is listed again when it has taken some of what waits for it.
            if result.is_ok() && connection.backlog() < self.shared.limits.output_backlog {
                if may_read {
                    let mut frames = std::mem::take(&mut self.frames);
                    result = connection.receive(&mut frames, self.shared.limits.frames_per_turn, now);
                    self.frames = frames;
                    if connection.unread {
                        self.places.push(place);
                    }
                } else {
                    // Looked at again when the store or the embedder has caught up.
                    self.places.push(place);
                }
            }
            // What was read before the connection broke counts.
            self.after_link(place, now);
            match result {
                Ok(()) => self.watch_backlog(place),
                Err(error) => self.disconnect(place, error.to_string()),
            }
        }
        drop(places);
    }

    /// A peer that doesn't read gets no new payments at first, and is cut off before it costs memory.
    fn watch_backlog(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        let (limits, backlog) = (&self.shared.limits, connection.backlog());
        if backlog > limits.output_backlog_max {
            self.disconnect(place, format!("the peer doesn't read: {backlog} bytes wait for it"));
            return;
        }
        let high = if connection.congested { limits.output_backlog / 2 } else { limits.output_backlog };
        if connection.congested != (backlog >= high) {
            connection.congested = !connection.congested;
            let (connection, congested) = (connection.id, connection.congested);
            self.inputs.push(Input::Congested { connection, congested });
            self.tell_all(&Relay::Congested { connection, congested });
        }
    }

    /// Not while the store or the reader of events is behind: what isn't read costs its sender, not us.
    pub(super) fn may_read(&self) -> bool {
        self.pipeline.len() < self.shared.limits.batches_in_flight
            && !self.events_out.is_behind()
            && !self.crowded
            && self.mails.len() < MAILS_MAX
            && self.worker.events_unacknowledged() < self.shared.limits.events_unacknowledged
    }

    /// Takes what a link has produced: events to the worker, frames to the transport.
    pub(super) fn after_link(&mut self, place: usize, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        let mut events = std::mem::take(&mut self.events);
        connection.take_events(&mut events);
        if connection.send() {
            self.dirty.push(place);
        }
        let (id, close) = (connection.id, connection.output.close.take());
        for event in events.drain(..) {
            self.link_event(place, id, event, now);
        }
        self.events = events;
        if let Some(reason) = close {
            self.flush_one(place);
            self.disconnect(place, reason);
        }
    }

    pub(super) fn link_event(&mut self, place: usize, id: ConnectionId, event: LinkEvent, now: Timestamp) {
        match event {
            LinkEvent::Authenticate(mut credentials) => {
                credentials.certificate = self.connections.get(place).and_then(|connection| connection.new.transport.certificate());
                self.authenticate(place, &credentials, now);
            }
            LinkEvent::Authenticated { .. } => {
                if let Some(account) = self.connections.get_mut(place).and_then(|connection| connection.new.account.take()) {
                    self.authenticated(place, account);
                }
            }
            event => {
                // A link says nothing about money before this; were it to, it would be ignored by the worker.
                self.route(id, event, now);
            }
        }
    }

    /// What a peer did goes to whoever owns the transfer that it is about.
    fn route(&mut self, id: ConnectionId, event: LinkEvent, now: Timestamp) {
        match self.switch.event(id, event) {
            Routed::Here(input) => self.inputs.push(input),
            Routed::Colleague(slot, relay) => self.tell(slot, relay),
            Routed::Mail { slot, account, event } => self.mail(slot, account, id, event),
            Routed::Unanswerable(request) => {
                let reason = Refusal::OwnerAway.to_packet(self.worker.address(), now);
                if let Some(place) = self.place(id) {
                    self.link_command(place, LinkCommand::Answer { request, answer: Answer::Error(reason) }, now);
                }
            }
            Routed::Nobody => {}
        }
    }

    fn authenticate(&mut self, place: usize, credentials: &Credentials, now: Timestamp) {
        let Some(account) = self.shared.authenticator.authenticate(credentials) else {
            self.refuse(place, now);
            return;
        };
        let elsewhere = self.connections.get(place).and_then(|connection| connection.new.door.as_ref()?.refuses(&account));
        if let Some(why) = elsewhere {
            self.link_command(place, LinkCommand::Redirect { why }, now);
            return;
        }
        if let Some(connection) = self.connections.get_mut(place) {
            connection.named = true;
        }
        match self.shared.hub.deal(&account).filter(|slot| *slot != self.slot) {
            Some(slot) => self.hand_over(place, slot, account),
            None => self.serve_account(place, account, now),
        }
    }

    /// Another worker serves the account.
    fn hand_over(&mut self, place: usize, slot: SlotNo, account: AccountId) {
        let Some(connection) = self.connections.try_remove(place) else { return };
        let handover = Handover { new: connection.new, account, output: connection.output };
        if let Err(handover) = self.shared.hub.hand_over(slot, handover) {
            // It was closed just now: the peer dials again.
            let peer = handover.new.peer;
            let reason = "the worker that serves the account isn't there".to_owned();
            self.shared.notices.send(Notice::Disconnected { account: Some(handover.account), peer, reason });
        }
    }

    fn serve_account(&mut self, place: usize, account: AccountId, now: Timestamp) {
        if let Some(connection) = self.connections.get_mut(place) {
            connection.named = true;
        }
        self.end_waiting(&account);
        let pause = i64::from(self.shared.limits.login_ms);
        let at = self.logins.get(&account).map(|last| last.saturating_add_millis(pause));
        match (at.filter(|at| *at > now), self.connections.get_mut(place)) {
            (Some(at), Some(connection)) => connection.let_in_at = Some((at, account)),
            _ => self.let_in(place, account, now),
        }
    }

    /// A login that still waits for its turn when a newer one of the account comes has been given up by its peer, or is about to be: let
    /// in late, it would replace the newer one.
    fn end_waiting(&mut self, account: &AccountId) {
        let waits = |connection: &Connection| connection.let_in_at.as_ref().is_some_and(|(_, whose)| whose == account);
        let older: Vec<_> = self.connections.iter().filter(|(_, connection)| waits(connection)).map(|(place, _)| place).collect();
        for place in older {
            self.disconnect(place, "replaced by a newer connection of the account".into());
        }
    }

    fn let_in(&mut self, place: usize, account: AccountId, now: Timestamp) {
        self.logins.insert(account.clone(), now);
        let address = self.worker.address().join(account.name());
        self.authenticated(place, account);
        let command = match address {
            Ok(address) => LinkCommand::Accept { address },
            Err(_) => LinkCommand::Refuse,
        };
        self.link_command(place, command, now);
    }

    pub(super) fn authenticated(&mut self, place: usize, account: AccountId) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        connection.authenticate(account.clone(), self.shared.limits.fruitless_frames_per_second);
        self.shared.notices.send(Notice::Connected { account: account.clone(), peer: connection.new.peer.clone() });
        let id = connection.id;
        self.places.push(place);
        self.shared.hub.connected(&account, self.slot, true);
        let relay = self.switch.connected(id, &account);
        self.tell_all(&relay);
        self.inputs.push(Input::Connected { connection: id, account, relayed: false });
    }

    /// Wrong credentials are answered late, the later the more there are.
    pub(super) fn refuse(&mut self, place: usize, now: Timestamp) {
        let limits = &self.shared.limits;
        let doublings = self.auth_failures.min(limits.authentication_failure_doublings);
        self.auth_failures = self.auth_failures.saturating_add(1);
        self.last_failure_step = now;
        let first = i64::from(limits.authentication_failure_ms);
        let delay = first.saturating_mul(1_i64.checked_shl(doublings).unwrap_or(i64::MAX));
        if let Some(connection) = self.connections.get_mut(place) {
            connection.refuse_at = Some(now.saturating_add_millis(delay));
            self.shared.notices.send(Notice::AuthenticationFailed { peer: connection.new.peer.clone() });
        }
        self.sleep_until = None;
    }

    pub(super) fn link_command(&mut self, place: usize, command: LinkCommand, now: Timestamp) {
        if let Some(connection) = self.connections.get_mut(place) {
            connection.command(command, now);
        }
        self.after_link(place, now);
    }

    pub(super) fn tick_links(&mut self, now: Timestamp) {
        let elapsed_ms = LINK_TICK_MS.saturating_add(now.millis_since(self.link_tick));
        self.link_tick = now.saturating_add_millis(LINK_TICK_MS);
        if self.auth_failures > 0 && now.millis_since(self.last_failure_step) >= 1_000 {
            self.auth_failures = self.auth_failures.div_euclid(2);
            self.last_failure_step = now;
        }
        let places: Vec<usize> = self.connections.iter().map(|(place, _)| place).collect();
        for place in places {
            let Some(connection) = self.connections.get_mut(place) else { continue };
            connection.tick(now);
            if connection.refill(elapsed_ms) {
                self.places.push(place);
            }
            let let_in = connection.let_in_at.take_if(|(at, _)| *at <= now);
            let refuse = connection.refuse_at.is_some_and(|at| at <= now);
            let too_long = connection.authenticated.is_none()
                && connection.refuse_at.is_none()
                && now.millis_since(connection.since) > i64::from(self.shared.limits.unauthenticated_ms);
            if let Some((_, account)) = let_in {
                self.let_in(place, account, now);
            } else if refuse {
                connection.refuse_at = Some(Timestamp::MAX);
                self.link_command(place, LinkCommand::Refuse, now);
            } else if too_long {
                self.link_command(place, LinkCommand::Close { reason: "not authenticated in time".into() }, now);
            } else {
                self.after_link(place, now);
            }
        }
    }

    pub(super) fn disconnect(&mut self, place: usize, reason: String) {
        let Some(mut connection) = self.connections.try_remove(place) else { return };
        connection.new.link.closed(&mut connection.output);
        let events = std::mem::take(&mut connection.output.events);
        for event in events {
            self.route(connection.id, event, self.last_turn);
        }
        if let Some(relay) = self.switch.disconnected(connection.id) {
            self.tell_all(&relay);
        }
        self.inputs.push(Input::Disconnected { connection: connection.id });
        let (account, peer) = (connection.authenticated.take(), std::mem::take(&mut connection.new.peer));
        if let Some(account) = &account {
            self.shared.hub.connected(account, self.slot, false);
        }
        self.shared.notices.send(Notice::Disconnected { account, peer, reason });
        // Good-byes are for those whose connections may take memory; in a crowd of strangers nobody gets one.
        if self.closing.len() >= self.shared.limits.unauthenticated.saturating_add(self.connections.len()) {
            return;
        }
        // Closed in good order, or what was written last might not arrive.
        let mut transport = connection.new.transport;
        let close = async move { std::future::poll_fn(|cx| transport.poll_close(cx)).await };
        self.closing.push(Box::pin(async move {
            let _ = tokio::time::timeout(CLOSE_MAX, close).await;
        }));
        self.unpolled = true;
    }

    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            self.flush_one(place);
        }
        self.dirty = dirty;
    }

    pub(super) fn flush_one(&mut self, place: usize) {
        match self.connections.get_mut(place).map(Connection::flush) {
            Some(Err(error)) => self.disconnect(place, error.to_string()),
            Some(Ok(())) => self.watch_backlog(place),
            None => {}
        }
    }
}
