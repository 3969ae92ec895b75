//! What a driver has to do with colleagues and with what they share: relays, letters, moves, the lease.

use super::super::Notice;
use super::Driver;
use crate::account::AccountId;
use crate::colleagues::{Arrived, Relay};
use crate::link::LinkEvent;
use crate::store::{Move, MoveOutcome, Renewal, SlotNo, slot_name};
use crate::worker::{ConnectionId, Input, letter_of};
use futures::StreamExt;
use ilp_oer::{Timestamp, TransferId};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A store that is in trouble is asked again after so long at first.
const MOVE_AGAIN: Duration = Duration::from_millis(5);
const MOVE_AGAIN_MAX: Duration = Duration::from_secs(1);

/// So many letters are on their way at most before peers are read on.
pub(super) const MAILS_MAX: usize = 1_024;

/// A letter that couldn't be left.
#[derive(Debug)]
pub(super) struct Lost {
    account: AccountId,
    id: TransferId,
    slot: String,
    cause: String,
}

impl Driver {
    /// Something for a colleague: sent at the end of the turn.
    pub(super) fn tell(&mut self, slot: SlotNo, relay: Relay) {
        self.outgoing.entry(slot).or_default().push(relay);
    }

    pub(super) fn tell_all(&mut self, relay: &Relay) {
        let open: Vec<_> = self.switch.open().collect();
        for slot in open {
            self.tell(slot, relay.clone());
        }
    }

    pub(super) fn send_relays(&mut self) {
        let from = (self.slot, self.epoch);
        for (slot, relays) in &mut self.outgoing {
            let relays = std::mem::take(relays);
            if let Some(epoch) = self.colleagues.get(slot).filter(|_| !relays.is_empty()) {
                // Who isn't there any more is told again by everybody when it is.
                let _ = self.shared.hub.send(from, (*slot, *epoch), relays);
            }
        }
    }

    /// Takes what colleagues have said, and notices who has come and gone.
    pub(super) fn take_ring(&mut self, now: Timestamp) {
        self.meet_colleagues();
        self.crowded = self.shared.hub.is_crowded();
        let Some(waiting) = self.ring.take() else { return };
        for ((slot, epoch), relays) in waiting.relays {
            // Of one who came after this turn began, perhaps. The hub alone says who is there: what the last message of one who is gone
            // says is of no use to anybody.
            if self.colleagues.get(&slot) != Some(&epoch) {
                self.meet_colleagues();
            }
            if self.colleagues.get(&slot) != Some(&epoch) {
                continue;
            }
            for relay in relays {
                self.relay(slot, relay, now);
            }
        }
        for handover in waiting.connections {
            self.take_over(handover, now);
        }
    }

    fn relay(&mut self, from: SlotNo, relay: Relay, now: Timestamp) {
        match self.switch.arrived(from, relay) {
            Arrived::Input(input) => self.inputs.push(input),
            Arrived::Command(connection, command) => {
                if let Some(place) = self.place(connection) {
                    self.link_command(place, command, now);
                }
            }
            Arrived::Reply(relays) => relays.into_iter().for_each(|relay| self.tell(from, relay)),
            Arrived::Nothing => {}
        }
    }

    fn meet_colleagues(&mut self) {
        let generation = self.shared.hub.generation();
        if std::mem::replace(&mut self.hub_generation, generation) == generation {
            return;
        }
        let open: Vec<_> = self.shared.hub.open().into_iter().filter(|(slot, _)| *slot != self.slot).collect();
        self.colleagues.retain(|slot, _| open.iter().any(|(other, _)| other == slot));
        let gone = self.switch.set_open(open.iter().map(|(slot, _)| *slot));
        self.inputs.extend(gone);
        self.outgoing.retain(|slot, _| open.iter().any(|(other, _)| other == slot));
        if open.iter().any(|(slot, epoch)| self.colleagues.get(slot).is_some_and(|known| known != epoch)) {
            // Whoever has a slot now knows nothing of what its predecessor had asked for.
            let same = open.iter().filter(|(slot, epoch)| self.colleagues.get(slot) == Some(epoch)).map(|(slot, _)| *slot);
            self.inputs.push(Input::Colleagues { slots: same.collect() });
        }
        for (slot, epoch) in &open {
            self.meet(*slot, *epoch);
        }
        self.inputs.push(Input::Colleagues { slots: open.into_iter().map(|(slot, _)| slot).collect() });
    }

    /// A colleague that we don't know yet: it is told of our connections, and what it had before is gone.
    fn meet(&mut self, slot: SlotNo, epoch: u64) {
        if self.colleagues.insert(slot, epoch) == Some(epoch) {
            return;
        }
        let gone = self.switch.reopened(slot);
        self.inputs.extend(gone);
        self.outgoing.remove(&slot);
        if let Arrived::Reply(relays) = self.switch.arrived(slot, Relay::Hello) {
            relays.into_iter().for_each(|relay| self.tell(slot, relay));
        }
        for relay in self.letters.reached(slot) {
            self.tell(slot, relay);
        }
    }

    /// What a peer said of a transfer whose owner isn't open anywhere: it goes to the slot's mailbox, which is read when the slot is opened.
    pub(super) fn mail(&mut self, slot: SlotNo, account: AccountId, connection: ConnectionId, event: LinkEvent) {
        let (LinkEvent::Fulfill { id, .. } | LinkEvent::Reject { id, .. }) = event else { return };
        let Some(letter) = letter_of(&account, &event) else { return };
        let fulfill = matches!(event, LinkEvent::Fulfill { .. }).then_some(Relay::Event { connection, event });
        if !self.letters.write(&account, (slot, id), letter.len(), fulfill, &self.shared.limits) {
            return;
        }
        let (store, name) = (self.shared.store.clone(), slot_name(slot));
        self.mails.push(Box::pin(async move {
            store.mail(&name, letter).await.map_err(|error| Lost { account, id, slot: name.to_string(), cause: error.to_string() })
        }));
        self.unpolled = true;
    }

    pub(super) fn make_move(&mut self, request: Move) {
        let store = self.shared.store.clone();
        self.moving.push(Box::pin(async move {
            let mut pause = MOVE_AGAIN;
            loop {
                match store.make_move(&request).await {
                    MoveOutcome::Unknown { .. } => {
                        tokio::time::sleep(pause).await;
                        pause = pause.saturating_mul(2).min(MOVE_AGAIN_MAX);
                    }
                    outcome => return (request, outcome),
                }
            }
        }));
        self.unpolled = true;
    }

    pub(super) fn take_answers(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((Move { account, n, .. }, outcome))) = self.moving.poll_next_unpin(cx) {
            self.inputs.push(Input::Moved { account, n, outcome });
        }
        while let Poll::Ready(Some(result)) = self.mails.poll_next_unpin(cx) {
            if let Err(Lost { account, id, slot, cause }) = result {
                self.letters.lost(&account, id);
                self.shared.notices.send(Notice::MailLost { slot, cause });
            }
        }
    }

    /// Keeps the slot: asks for more time when a third of it is over.
    pub(super) fn keep_lease(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        let third = self.shared.lease_time() / 3;
        if self.renewal.is_none() && self.renew.as_mut().poll(cx).is_ready() {
            let (store, lease, epoch) = (self.shared.store.clone(), self.shared.lease.clone(), self.epoch);
            let name = slot_name(self.slot);
            self.renewal = Some(Box::pin(async move {
                let asked = Instant::now();
                (asked, store.renew(&name, epoch, &lease).await)
            }));
        }
        let Some(renewal) = &mut self.renewal else { return Ok(()) };
        if let Poll::Ready((asked, outcome)) = renewal.as_mut().poll(cx) {
            self.renewal = None;
            let mut next = third;
            match outcome {
                Renewal::Kept => self.lease_until = asked.checked_add(self.shared.lease_time()).unwrap_or(asked),
                Renewal::Fenced { epoch } => return Err(format!("another opener holds the slot (epoch {epoch}, ours was {})", self.epoch)),
                Renewal::Unknown { .. } => next = third / 8,
            }
            let at = Instant::now().checked_add(next).unwrap_or_else(Instant::now);
            self.renew.as_mut().reset(at);
            // Registers with the timer.
            if self.renew.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }
}
