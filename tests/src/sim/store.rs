//! Commits on their way to a store and back, and what a store has after a process died.

use super::disk::{Books, Disk, Found, Power, named};
use super::fault::FaultKind;
use super::observe::{NodeNo, Seen};
use super::world::{Event, World};
use ilp_core::store::{Commit, CommitOutcome, OpenedSlot};

impl World {
    pub(super) fn give_to_store(&mut self, node: NodeNo, process: u64, commit: Commit, after_ms: i64) {
        let takes = self.nodes[node].disk.takes(self.now, &mut self.rng);
        self.after(self.now + after_ms + takes, Event::Apply { node, process, commit });
    }

    /// A commit has come to the store.
    pub(super) fn apply(&mut self, node: NodeNo, process: u64, commit: Commit) {
        if self.silenced.contains(&process) {
            return;
        }
        let takes = self.nodes[node].disk.takes(self.now, &mut self.rng);
        let unknown = self.nodes[node].disk.unknown.pop_front();
        if let Some(kind) = unknown {
            self.see(Seen::Fault { kind, node, account: None });
        }
        if unknown == Some(FaultKind::UnknownLost) {
            let outcome = nobody_knows();
            return self.after(self.now + takes, Event::Reply { node, process, commit, outcome });
        }
        match &mut self.nodes[node].disk {
            // It commits as soon as it has done with what came earlier; what comes meanwhile goes with it.
            Disk { books: Books::Embedded(disk), .. } => {
                disk.waiting.push((process, commit, unknown.is_some()));
                if !std::mem::replace(&mut disk.planned, true) {
                    self.after(self.now + takes, Event::CommitGroup(node));
                }
            }
            disk if disk.is_full(self.now) => {
                let outcome = nobody_knows();
                self.after(self.now + takes, Event::Reply { node, process, commit, outcome });
            }
            Disk { books: Books::Memory(disk), .. } => {
                let applied = disk.commit(&commit);
                if applied.grown {
                    self.see(seen_applied(node, &commit));
                    if self.pull_the_plug(node) {
                        return;
                    }
                }
                let is_synced = self.memory_disk(node).is_synced(commit.seq);
                let event = match applied.outcome {
                    _ if unknown.is_some() => Event::Reply { node, process, commit, outcome: nobody_knows() },
                    CommitOutcome::Durable if !is_synced => Event::Synced { node, process, commit },
                    outcome => Event::Reply { node, process, commit, outcome },
                };
                self.after(self.now + takes, event);
            }
        }
    }

    /// The memory store has made everything durable that it has.
    pub(super) fn synced(&mut self, node: NodeNo, process: u64, commit: Commit) {
        let seq = self.memory_disk(node).sync();
        self.see(Seen::Synced { node, seq });
        self.reply(node, process, commit, CommitOutcome::Durable);
    }

    /// The embedded store commits all that has come.
    pub(super) fn commit_group(&mut self, node: NodeNo) {
        let (now, full) = (self.now, self.nodes[node].disk.is_full(self.now));
        let takes = self.nodes[node].disk.takes(now, &mut self.rng);
        let Some(disk) = self.nodes[node].disk.embedded() else { return };
        disk.planned = false;
        if disk.waiting.is_empty() {
            return;
        }
        if let Some(kind) = self.nodes[node].current.and_then(|_| self.power_trap(node)) {
            return self.bury(node, 0, kind);
        }
        let Some(disk) = self.nodes[node].disk.embedded() else { return };
        let (waiting, batches): (Vec<_>, Vec<_>) =
            std::mem::take(&mut disk.waiting).into_iter().map(|(process, commit, unknown)| ((process, unknown), commit)).unzip();
        if full {
            disk.fill(&mut self.rng);
        }
        let (outcomes, durable) = disk.commit(&batches);
        disk.mend();
        self.see_durable(node, &durable);
        for (((process, unknown), commit), outcome) in waiting.into_iter().zip(batches).zip(outcomes) {
            let outcome = if unknown { nobody_knows() } else { outcome };
            self.after(now + takes, Event::Reply { node, process, commit, outcome });
        }
    }

    pub(super) fn reply(&mut self, node: NodeNo, process: u64, commit: Commit, outcome: CommitOutcome) {
        if let Some(process) = self.nodes[node].processes.get_mut(&process) {
            process.answers.push((commit, outcome));
        }
        self.wake(node, process, self.now);
    }

    /// A process with the embedded store in it ends, in the middle of a commit if one waits. All workers in it end.
    pub(super) fn die_with_store(&mut self, node: NodeNo, kind: FaultKind, notice_ms: i64) {
        for number in self.nodes[node].processes.keys().copied().collect::<Vec<_>>() {
            self.retire(node, number, notice_ms);
            self.silenced.insert(number);
        }
        if self.nodes[node].current.take().is_some() {
            self.after(self.now + 50, Event::Restart(node));
        }
        let power = match kind {
            FaultKind::PowerCut => Power::Lost,
            FaultKind::TornWrite => Power::Torn,
            _ => Power::On,
        };
        let in_commit = power != Power::On || self.rng.percent(50);
        let Some(disk) = self.nodes[node].disk.embedded() else { return };
        let batches: Vec<_> = std::mem::take(&mut disk.waiting).into_iter().map(|(_, commit, _)| commit).collect();
        let mut durable = Vec::new();
        if in_commit && !batches.is_empty() {
            disk.stop_inside(false, &mut self.rng);
            // Nobody hears the outcome; what it called durable must be there nevertheless.
            (_, durable) = disk.commit(&batches);
        }
        disk.die(power, &mut self.rng);
        self.see_durable(node, &durable);
    }

    /// Of a store apart, the power takes what isn't synced.
    pub(super) fn forget_unsynced(&mut self, node: NodeNo, process: u64, kind: FaultKind) {
        if !matches!(kind, FaultKind::PowerCut | FaultKind::TornWrite) {
            return;
        }
        self.silenced.insert(process);
        let unsynced = self.memory_disk(node).unsynced();
        let written = if kind == FaultKind::TornWrite { self.rng.next() % unsynced.max(1) + 1 } else { 0 };
        let last_seq = self.memory_disk(node).lose_power(written);
        self.see(Seen::Forgotten { node, last_seq });
    }

    /// A process opens the slot. `None` if it can't, and has to try again later.
    pub(super) fn open_slot(&mut self, node: NodeNo) -> Option<OpenedSlot> {
        let (trap, full) = (self.rng.percent(25) && self.nodes[node].disk.is_embedded(), self.nodes[node].disk.is_full(self.now));
        if let Some(kind) = trap.then(|| self.power_trap(node)).flatten() {
            let disk = self.nodes[node].disk.embedded()?;
            disk.stop_inside(true, &mut self.rng);
            // Whether it opened or not, nobody has seen it.
            disk.open_blindly();
            self.die_with_store(node, kind, 5_000);
            self.after(self.now + 100, Event::Restart(node));
            return None;
        }
        let found = match &mut self.nodes[node].disk.books {
            Books::Memory(disk) => Ok(Found { survived: Vec::new(), slot: disk.open() }),
            Books::Embedded(disk) => {
                if full {
                    disk.fill(&mut self.rng);
                }
                let found = disk.open();
                disk.mend();
                found
            }
        };
        match found {
            Ok(Found { survived, slot }) => {
                self.see_durable(node, &survived);
                self.see(Seen::Synced { node, seq: slot.last_seq });
                self.see(Seen::Opened { node, epoch: slot.epoch, last_seq: slot.last_seq, log: slot.log.clone() });
                Some(slot)
            }
            Err(_) if full => {
                self.after(self.now + 100, Event::Restart(node));
                None
            }
            Err(error) => {
                self.broken(node, format!("the books can't be opened: {error}"));
                None
            }
        }
    }

    fn see_durable(&mut self, node: NodeNo, batches: &[Commit]) {
        for commit in batches {
            self.see(seen_applied(node, commit));
        }
        if let Some(last) = batches.last() {
            self.see(Seen::Synced { node, seq: last.seq });
        }
    }

    fn memory_disk(&mut self, node: NodeNo) -> &mut super::disk::MemoryDisk {
        match &mut self.nodes[node].disk.books {
            Books::Memory(disk) => disk,
            Books::Embedded(_) => unreachable!("it has another store"),
        }
    }
}

fn seen_applied(node: NodeNo, commit: &Commit) -> Seen {
    let Commit { epoch, seq, blob, cut_below, .. } = commit;
    Seen::Applied { node, epoch: *epoch, seq: *seq, blob: blob.clone(), balances: named(commit), cut_below: *cut_below }
}

fn nobody_knows() -> CommitOutcome {
    CommitOutcome::Unknown { cause: "the answer was lost".into() }
}
