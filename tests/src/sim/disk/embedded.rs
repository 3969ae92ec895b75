//! The embedded store's books, on a medium that fails inside a commit.

use super::frail::{Failing, Frail};
use super::{Disk, Found, Picture};
use crate::sim::rng::Rng;
use ilp_core::conformance::PowerLoss;
use ilp_core::store::{Books, Commit, CommitOutcome, OpenedSlot, SlotPicture};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub(in super::super) struct EmbeddedDisk {
    medium: Arc<Frail>,
    /// None while no process has them open.
    books: Option<Books>,
    /// Commits that wait for the one under way: the process that gave it, and whether its answer gets lost.
    pub(in super::super) waiting: Vec<(u64, Commit, bool)>,
    /// The next one is planned.
    pub(in super::super) planned: bool,
    /// The last batch that anybody was told is durable.
    told: u64,
    /// What was asked for beyond that, by number; newest last.
    offered: BTreeMap<u64, Vec<Commit>>,
    /// How many operations of the medium the last commit took, and the last opening.
    commit_takes: u64,
    opening_takes: u64,
}

/// What happens to a machine's memory when its process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Power {
    /// The system goes on: what was written is there.
    On,
    /// What wasn't synced is lost.
    Lost,
    /// What wasn't synced is there in part.
    Torn,
}

impl Default for EmbeddedDisk {
    fn default() -> Self {
        Self {
            medium: Arc::new(Frail::new()),
            books: None,
            waiting: Vec::new(),
            planned: false,
            told: 0,
            offered: BTreeMap::new(),
            commit_takes: 0,
            opening_takes: 0,
        }
    }
}

impl EmbeddedDisk {
    /// A worker opens the slot; the first one of a process opens the books.
    pub(in super::super) fn open(&mut self) -> Result<Found, String> {
        self.medium.operations();
        let slot = self.try_open()?;
        self.opening_takes = self.medium.operations();
        let first = (slot.last_seq + 1).saturating_sub(u64::try_from(slot.log.len()).unwrap());
        let mut survived = Vec::new();
        for (seq, blob) in (first..).zip(&slot.log).filter(|(seq, _)| *seq > self.told) {
            let offered = self.offered.get(&seq).into_iter().flatten().rev().find(|commit| commit.blob == *blob);
            survived.push(offered.cloned().ok_or_else(|| format!("batch {seq} is there, and nobody asked for it"))?);
        }
        self.told = slot.last_seq;
        self.offered.clear();
        Ok(Found { survived, slot })
    }

    /// The same, by somebody who doesn't live to see what came of it.
    pub(in super::super) fn open_blindly(&mut self) {
        let _ = self.try_open();
    }

    fn try_open(&mut self) -> Result<OpenedSlot, String> {
        let books = match &mut self.books {
            Some(books) => books,
            None => self.books.insert(Books::open(self.medium.clone()).map_err(|error| error.to_string())?),
        };
        books.open_slot(&Disk::slot()).map_err(|error| error.to_string())
    }

    /// Commits together. An outcome for each, and what is durable since, in order.
    pub(in super::super) fn commit(&mut self, batches: &[Commit]) -> (Vec<CommitOutcome>, Vec<Commit>) {
        let Some(books) = &mut self.books else {
            return (vec![CommitOutcome::Unknown { cause: "there are no books".into() }; batches.len()], Vec::new());
        };
        for batch in batches {
            self.offered.entry(batch.seq).or_default().push(batch.clone());
        }
        self.medium.operations();
        let outcomes = books.commit(batches);
        let took = self.medium.operations();
        if outcomes.contains(&CommitOutcome::Durable) && took > 0 {
            self.commit_takes = took;
        }
        let mut durable = Vec::new();
        for (batch, _) in batches.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == CommitOutcome::Durable) {
            // Earlier ones whose outcome was unknown are there too, or this one couldn't be.
            for seq in self.told + 1..batch.seq {
                durable.extend(self.offered.get(&seq).and_then(|offered| offered.last()).cloned());
            }
            if batch.seq > self.told {
                self.told = batch.seq;
                durable.push(batch.clone());
            }
        }
        self.offered = self.offered.split_off(&(self.told + 1));
        (outcomes, durable)
    }

    /// The next commit, or opening, ends in the middle: everything stops at an operation that chance decides, or just after the last.
    pub(in super::super) fn stop_inside(&self, opening: bool, rng: &mut Rng) {
        let takes = if opening { self.opening_takes } else { self.commit_takes };
        let left = rng.next() % (takes + 2);
        self.medium.fail(Some(Failing::Dead(left)));
    }

    /// What is written now fails.
    pub(in super::super) fn fill(&self, rng: &mut Rng) {
        let failing = if rng.percent(40) { Failing::Unsyncable } else { Failing::Full(rng.next() % (self.commit_takes + 1)) };
        self.medium.fail(Some(failing));
    }

    /// It works again.
    pub(in super::super) fn mend(&self) {
        self.medium.fail(None);
    }

    /// The process that has it open is dead.
    pub(in super::super) fn die(&mut self, power: Power, rng: &mut Rng) {
        // A dead process doesn't tidy up.
        self.medium.fail(Some(Failing::Dead(0)));
        self.books = None;
        self.waiting.clear();
        match power {
            Power::On => self.medium.fail(None),
            Power::Lost => self.medium.lose_power(rng.next(), PowerLoss::Forgotten),
            Power::Torn => self.medium.lose_power(rng.next(), PowerLoss::Torn),
        }
    }

    pub(super) fn look(&mut self) -> Result<Picture, String> {
        let Some(books) = &mut self.books else { return Ok(Picture::default()) };
        let picture = books.read_slot(&Disk::slot()).map_err(|error| error.to_string())?;
        let Some(SlotPicture { slot, balances, .. }) = picture else { return Ok(Picture::default()) };
        let balances = balances.into_iter().map(|(id, balance)| (id.name().to_owned(), balance)).collect();
        Ok(Picture { balances, log: Some(slot.log) })
    }
}
