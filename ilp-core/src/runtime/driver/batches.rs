//! Batches: stepped, made durable, released.

use super::super::Notice;
use super::Driver;
use crate::colleagues::{Relay, Sent};
use crate::store::{Commit, CommitOutcome};
use crate::worker::{Batch, Released};
use ilp_oer::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

impl Driver {
    pub(super) fn step_and_release(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Result<(), String> {
        let due = self.worker.next_step().is_some_and(|at| at <= now);
        let stopping = self.stop.is_some();
        if stopping {
            self.worker.flush();
        }
        if due || stopping || !self.inputs.is_empty() {
            let (worker, inputs) = (&mut self.worker, &mut self.inputs);
            let step = catch_unwind(AssertUnwindSafe(|| worker.step(now, inputs)));
            let batch = step.map_err(|_| "a step panicked".to_owned())?.map_err(|error| error.to_string())?;
            self.commit(batch);
        }
        self.take_committed(cx)?;
        // What is durable is released only while the slot is ours: whoever has it next may have released it too.
        if !self.pipeline.is_empty() && Instant::now() >= self.lease_until {
            return Err(format!("its lease has ended: {} batches are not released", self.pipeline.len()));
        }
        let mut released = std::mem::take(&mut self.released);
        while let Some(batch) = self.pipeline.next_durable() {
            let worker = &mut self.worker;
            let release = catch_unwind(AssertUnwindSafe(|| worker.release(batch, now, &mut released)));
            release.map_err(|_| "a release panicked".to_owned())?;
        }
        for effect in released.drain(..) {
            self.effect(effect, now);
        }
        self.released = released;
        Ok(())
    }

    pub(super) fn commit(&mut self, batch: Batch) {
        if let Some(commit) = self.pipeline.push(batch) {
            self.send_commit(commit, Duration::ZERO);
        }
    }

    pub(super) fn send_commit(&mut self, commit: Commit, after: Duration) {
        let store = self.shared.store.clone();
        self.commits.push(Box::pin(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let outcome = store.commit(commit.clone()).await;
            (commit, outcome)
        }));
    }

    pub(super) fn take_committed(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        while let Poll::Ready(Some((commit, outcome))) = self.commits.poll_next_unpin(cx) {
            if let CommitOutcome::Unknown { cause } = &outcome {
                self.shared.notices.send(Notice::CommitUnknown { seq: commit.seq, cause: cause.clone() });
            }
            if let Some(retry) = self.pipeline.outcome(commit, outcome).map_err(|untrusted| untrusted.to_string())? {
                self.send_commit(retry.commit, retry.after);
            }
        }
        Ok(())
    }

    pub(super) fn effect(&mut self, effect: Released, now: Timestamp) {
        match effect {
            Released::Command(connection, command) => match self.switch.command(connection, command) {
                Sent::Here(connection, command) => {
                    if let Some(place) = self.place(connection) {
                        self.link_command(place, command, now);
                    }
                }
                Sent::Colleague(slot, relay) => self.tell(slot, relay),
                Sent::Nobody => {}
            },
            Released::Move(request) => self.make_move(*request),
            Released::Note { to, account, note } => self.tell(to, Relay::Noted { account, note }),
            Released::Deliver(delivery, payment) => self.deliver(delivery, *payment),
            Released::Paid(id, result) => {
                if let Some(reply) = self.pays.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Released::Account(id, result) => {
                if let Some(reply) = self.replies.remove(&id) {
                    let _ = reply.send(result);
                }
            }
            Released::Settled(number, result) => {
                if let Some(reply) = self.settlements.remove(&number) {
                    let _ = reply.send(result);
                }
            }
            Released::Stated(number, status) => {
                if let Some(reply) = self.statements.remove(&number) {
                    let _ = reply.send(*status);
                }
            }
            Released::Event(event) => self.events_out.push(*event),
        }
    }
}
