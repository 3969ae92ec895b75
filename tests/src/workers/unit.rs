//! One worker and what stands around it, driven in turns as the runtime drives it.

use super::store::name_of;
use super::{ADDRESS, Event, LEASE_MS, Stage, Wire, World};
use ilp_core::colleagues::{Arrived, Relay, Routed, Sent, Switch};
use ilp_core::link::{Answer, LinkCommand, LinkEvent};
use ilp_core::store::{Commit, CommitOutcome, SlotNo};
use ilp_core::worker::{ConnectionId, Input, Pipeline, Released, Worker, WorkerConfig, letter_of};
use ilp_core::{Limits, Refusal, Timing};
use ilp_oer::{Address, Timestamp};
use std::collections::BTreeMap;

pub(crate) type UnitNo = u64;

pub(crate) struct Unit {
    pub(crate) slot: SlotNo,
    pub(crate) epoch: u64,
    holder: u64,
    pub(crate) worker: Worker,
    pipeline: Pipeline,
    switch: Switch,
    /// Colleagues that it knows, each with its epoch.
    colleagues: BTreeMap<SlotNo, u64>,
    inputs: Vec<Input>,
    answers: Vec<(Commit, CommitOutcome)>,
    lease_until: i64,
    pub(crate) paused_until: i64,
    turn_at: Option<i64>,
    pub(crate) trap: Option<Stage>,
}

pub(crate) const TIMING: Timing = Timing { window_ms: 2_000, grace_ms: 1_000, outgoing_ms_min: 500, hold_ms_max: 60_000, skew_ms_max: 500 };

impl World {
    pub(crate) fn clock(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.now).unwrap()
    }

    /// The unit that has a slot open.
    pub(crate) fn current(&self, slot: SlotNo) -> Option<UnitNo> {
        let epoch = self.store.slots.get(&slot)?.epoch;
        self.units.iter().find(|(_, unit)| unit.slot == slot && unit.epoch == epoch).map(|(no, _)| *no)
    }

    /// A process wants a slot.
    pub(crate) fn open(&mut self, slot: SlotNo, holder: u64) {
        if let Some(no) = self.current(slot) {
            // Whoever stands still may have lost it; else nobody takes it away.
            if self.units[&no].paused_until <= self.now {
                return;
            }
        }
        let until = self.now + LEASE_MS;
        let opened = match self.store.open(slot, holder, self.now, until) {
            Ok(opened) => opened,
            Err(ends) => {
                let at = ends + self.rng.range(1, 100);
                return self.at(at, Event::Open { slot, holder });
            }
        };
        self.count("slots opened");
        let config = WorkerConfig {
            address: Address::new(ADDRESS).unwrap(),
            slot,
            deployment: self.slots.clone(),
            limits: Limits { log_bytes: 4_000, ..Limits::default() },
            timing: TIMING,
            rates: Vec::new(),
            seed: self.rng.bytes(),
            events: false,
        };
        let worker = match Worker::open(config, &opened, self.clock()) {
            Ok(worker) => worker,
            Err(error) => return self.broken("opens", format!("slot {slot} can't be opened: {error}")),
        };
        let mut switch = Switch::new(slot);
        switch.set_known(self.slots.iter().copied());
        let mut inputs = Vec::new();
        for config in &self.configs {
            let row = self.store.rows[&config.id].clone();
            switch.set_account(&config.id, &row);
            inputs.push(Input::AddAccount { config: config.clone(), row, reply: 0 });
        }
        let unit = Unit {
            slot,
            epoch: opened.epoch,
            holder,
            worker,
            pipeline: Pipeline::new(name_of(slot), opened.epoch),
            switch,
            colleagues: BTreeMap::new(),
            inputs,
            answers: Vec::new(),
            lease_until: until,
            paused_until: 0,
            turn_at: None,
            trap: None,
        };
        self.next_unit += 1;
        let no = self.next_unit;
        self.units.insert(no, unit);
        self.wake(no, 0);
        self.rumour();
    }

    /// Everybody hears, sooner or later, who is there.
    fn rumour(&mut self) {
        let units: Vec<_> = self.units.keys().copied().collect();
        for no in units {
            let at = self.now + self.rng.range(0, 20);
            self.at(at, Event::Meet(no));
        }
    }

    fn open_units(&self) -> Vec<(SlotNo, u64)> {
        self.slots.iter().filter_map(|slot| self.current(*slot)).map(|no| (self.units[&no].slot, self.units[&no].epoch)).collect()
    }

    pub(crate) fn meet(&mut self, no: UnitNo) {
        let open = self.open_units();
        let Some(unit) = self.units.get_mut(&no) else { return };
        let others: Vec<_> = open.into_iter().filter(|(slot, _)| *slot != unit.slot).collect();
        unit.colleagues.retain(|slot, _| others.iter().any(|(other, _)| other == slot));
        let gone = unit.switch.set_open(others.iter().map(|(slot, _)| *slot));
        unit.inputs.extend(gone);
        let mut told = Vec::new();
        for (slot, epoch) in &others {
            if unit.colleagues.get(slot).is_some_and(|known| known >= epoch) {
                continue;
            }
            unit.colleagues.insert(*slot, *epoch);
            let gone = unit.switch.reopened(*slot);
            unit.inputs.extend(gone);
            if let Arrived::Reply(relays) = unit.switch.arrived(*slot, Relay::Hello) {
                told.extend(relays.into_iter().map(|relay| (*slot, relay)));
            }
        }
        unit.inputs.push(Input::Colleagues { slots: others.into_iter().map(|(slot, _)| slot).collect() });
        for (slot, relay) in told {
            self.tell(no, slot, relay);
        }
        self.wake(no, 0);
    }

    fn tell(&mut self, no: UnitNo, slot: SlotNo, relay: Relay) {
        let Some(unit) = self.units.get(&no) else { return };
        let (from, epoch) = ((unit.slot, unit.epoch), unit.colleagues.get(&slot).copied());
        // Whoever isn't there any more is told again by everybody when it is.
        let to = self.units.iter().find(|(_, other)| other.slot == slot && Some(other.epoch) == epoch).map(|(to, _)| *to);
        if let Some(to) = to {
            let ms = self.rng.range(0, 4);
            self.in_order((no, to), ms, Event::Relays { from, to, relays: vec![relay] });
        }
    }

    fn tell_all(&mut self, no: UnitNo, relay: &Relay) {
        let slots: Vec<_> = self.units.get(&no).map(|unit| unit.switch.open().collect()).unwrap_or_default();
        for slot in slots {
            self.tell(no, slot, relay.clone());
        }
    }

    pub(crate) fn relays(&mut self, (slot, epoch): (SlotNo, u64), to: UnitNo, relays: Vec<Relay>) {
        if self.units.get(&to).is_some_and(|unit| unit.colleagues.get(&slot).is_none_or(|known| *known < epoch)) {
            self.meet(to);
        }
        for relay in relays {
            if self.units.get(&to).is_none_or(|unit| unit.colleagues.get(&slot) != Some(&epoch)) {
                return;
            }
            self.count("relays");
            match self.units.get_mut(&to).map(|unit| unit.switch.arrived(slot, relay)) {
                Some(Arrived::Input(input)) => self.give(to, input),
                Some(Arrived::Command(connection, command)) => self.say(connection, command),
                Some(Arrived::Reply(relays)) => {
                    for relay in relays {
                        self.tell(to, slot, relay);
                    }
                }
                _ => {}
            }
        }
    }

    pub(crate) fn give(&mut self, no: UnitNo, input: Input) {
        if let Some(unit) = self.units.get_mut(&no) {
            unit.inputs.push(input);
            self.wake(no, 0);
        }
    }

    fn wake(&mut self, no: UnitNo, ms: i64) {
        let Some(unit) = self.units.get_mut(&no) else { return };
        let at = (self.now + ms).max(unit.paused_until);
        if unit.turn_at.is_none_or(|planned| at < planned) {
            unit.turn_at = Some(at);
            self.at(at, Event::Turn(no));
        }
    }

    pub(crate) fn pause(&mut self, no: UnitNo, ms: i64) {
        self.count("stood still");
        let (until, now) = (self.now + ms, self.now);
        let Some(unit) = self.units.get_mut(&no) else { return };
        unit.paused_until = until;
        let (slot, holder, ends) = (unit.slot, 1 - unit.holder, unit.lease_until);
        if ends < until {
            // Somebody else waits for the lease to end.
            self.at(ends.max(now) + 1, Event::Open { slot, holder });
        }
        self.wake(no, ms);
    }

    pub(crate) fn trap_springs(&mut self, no: UnitNo, stage: Stage) -> bool {
        let springs = !self.calm && self.units.get(&no).is_some_and(|unit| unit.trap == Some(stage));
        if springs {
            for unit in self.units.values_mut() {
                unit.trap = None;
            }
            self.count(stage.name());
            self.die(no);
        }
        springs
    }

    /// The worker is gone, at once, with everything that it had in memory.
    pub(crate) fn die(&mut self, no: UnitNo) {
        let Some(unit) = self.units.remove(&no) else { return };
        self.line(|| format!("unit {no} of slot {} dies", unit.slot));
        let wires: Vec<_> = self.wires.iter().filter(|(_, wire)| wire.unit == no).map(|(id, _)| *id).collect();
        for connection in wires {
            let ms = self.rng.range(0, 10);
            self.at(self.now + ms, Event::Lost { connection });
        }
        let (ms, holder) = (self.rng.range(1, 600), if self.rng.percent(70) { unit.holder } else { 1 - unit.holder });
        self.at(self.now + ms, Event::Open { slot: unit.slot, holder });
        self.rumour();
    }

    pub(crate) fn turn(&mut self, no: UnitNo) {
        let now = self.now;
        let Some(unit) = self.units.get_mut(&no) else { return };
        unit.turn_at = None;
        if unit.paused_until > now {
            return self.wake(no, 0);
        }
        if let Err(why) = self.take_turn(no) {
            // It throws its state away, as it has to when another one has the slot.
            self.line(|| format!("unit {no}: {why}"));
            self.count("gave itself up");
            let fenced =
                self.units.get(&no).is_some_and(|unit| self.store.slots[&unit.slot].epoch != unit.epoch || unit.lease_until <= now);
            if !fenced {
                self.broken("fenced", format!("a worker that has its slot gives up: {why}"));
            }
            return self.die(no);
        }
        let clock = self.clock();
        let Some(unit) = self.units.get(&no) else { return };
        let next = unit.worker.next_step().map(|at| at.unix_millis() - clock.unix_millis());
        let ms = if unit.inputs.is_empty() { next.unwrap_or(LEASE_MS / 3).clamp(1, LEASE_MS / 3) } else { 0 };
        self.wake(no, ms);
    }

    fn take_turn(&mut self, no: UnitNo) -> Result<(), String> {
        let clock = self.clock();
        for _ in 0..64 {
            let Some(unit) = self.units.get_mut(&no) else { return Ok(()) };
            if unit.lease_until - self.now < LEASE_MS / 3 * 2 && (unit.pipeline.is_empty() || unit.lease_until > self.now) {
                let slot = self.store.slots.get_mut(&unit.slot).unwrap();
                if slot.epoch != unit.epoch {
                    return Err("fenced".into());
                }
                unit.lease_until = self.now + LEASE_MS;
                slot.lease = Some((unit.holder, unit.lease_until));
            }
            let due = unit.worker.next_step().is_some_and(|at| at <= clock);
            if !due && unit.inputs.is_empty() && unit.answers.is_empty() {
                break;
            }
            let before = unit.worker.moves_under_way();
            let batch = unit.worker.step(clock, &mut unit.inputs).map_err(|error| error.to_string())?;
            let after = unit.worker.moves_under_way();
            let commit = unit.pipeline.push(batch);
            if after < before && self.trap_springs(no, Stage::Ended) {
                return Ok(());
            }
            if after > before && self.trap_springs(no, Stage::Begun) {
                return Ok(());
            }
            if let Some(commit) = commit {
                let ms = self.rng.range(0, 4);
                self.at(self.now + ms, Event::Apply(no, commit));
            }
            let Some(unit) = self.units.get_mut(&no) else { return Ok(()) };
            for (commit, outcome) in std::mem::take(&mut unit.answers) {
                if let Some(retry) = unit.pipeline.outcome(commit, outcome).map_err(|error| error.to_string())? {
                    let ms = i64::try_from(retry.after.as_millis()).unwrap();
                    self.order += 1;
                    self.events.insert((self.now + ms, self.order), Event::Apply(no, retry.commit));
                }
            }
            self.release(no)?;
        }
        Ok(())
    }

    fn release(&mut self, no: UnitNo) -> Result<(), String> {
        let clock = self.clock();
        loop {
            let Some(unit) = self.units.get_mut(&no) else { return Ok(()) };
            if !unit.pipeline.is_empty() && self.now >= unit.lease_until {
                return Err("its lease has ended".into());
            }
            let Some(batch) = unit.pipeline.next_durable() else { return Ok(()) };
            let mut released = Vec::new();
            unit.worker.release(batch, clock, &mut released);
            for effect in released {
                self.effect(no, effect);
                if !self.units.contains_key(&no) {
                    return Ok(());
                }
            }
        }
    }

    fn effect(&mut self, no: UnitNo, effect: Released) {
        match effect {
            Released::Command(connection, command) => match self.units.get_mut(&no).map(|unit| unit.switch.command(connection, command)) {
                Some(Sent::Here(connection, command)) => self.say(connection, command),
                Some(Sent::Colleague(slot, relay)) => self.tell(no, slot, relay),
                _ => {}
            },
            Released::Move(request) => {
                self.count("moves");
                if !self.trap_springs(no, Stage::Durable) {
                    let ms = self.rng.range(0, 5);
                    self.at(self.now + ms, Event::Decide(no, *request));
                }
            }
            Released::Note { to, account, note } => self.tell(no, to, Relay::Noted { account, note }),
            Released::Settled(reply, result) => {
                let no = usize::try_from(reply - 1_000).unwrap();
                self.settlements[no].told = true;
                self.settlements[no].refused = result.is_err();
            }
            Released::Account(reply, result) => {
                if reply > 1 {
                    self.replies.insert(reply, result.is_ok());
                }
            }
            Released::Deliver(..) | Released::Paid(..) | Released::Stated(..) | Released::Event(_) => {}
        }
    }

    /// What a unit says on one of its connections.
    fn say(&mut self, connection: ConnectionId, command: LinkCommand) {
        let ms = self.rng.range(0, 5);
        if let LinkCommand::Close { .. } = &command {
            self.in_order((u64::MAX, connection.0), ms, Event::Lost { connection });
            return self.gone(connection);
        }
        self.in_order((u64::MAX, connection.0), ms, Event::ToPeer { connection, command });
    }

    /// A peer is let in by a worker.
    pub(crate) fn let_in(&mut self, peer: usize, no: UnitNo) -> ConnectionId {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection << 32);
        self.wires.insert(connection, Wire { peer, unit: no });
        let account = self.configs[peer].id.clone();
        let relay = self.units.get_mut(&no).map(|unit| unit.switch.connected(connection, &account));
        if let Some(relay) = relay {
            self.tell_all(no, &relay);
        }
        self.give(no, Input::Connected { connection, account, relayed: false });
        connection
    }

    /// What a peer did, as its worker hears it.
    pub(crate) fn hears_peer(&mut self, connection: ConnectionId, event: LinkEvent) {
        let Some(no) = self.wires.get(&connection).map(|wire| wire.unit) else { return };
        if !self.units.contains_key(&no) {
            return;
        }
        match self.units.get_mut(&no).map(|unit| unit.switch.event(connection, event)) {
            Some(Routed::Here(input)) => self.give(no, input),
            Some(Routed::Colleague(slot, relay)) => self.tell(no, slot, relay),
            Some(Routed::Mail { slot, account, event }) => {
                self.count("letters");
                if let Some(letter) = letter_of(&account, &event) {
                    self.store.mail(slot, letter);
                }
            }
            Some(Routed::Unanswerable(request)) => {
                self.count("nobody there");
                let reason = Refusal::OwnerAway.to_packet(&Address::new(ADDRESS).unwrap(), self.clock());
                self.say(connection, LinkCommand::Answer { request, answer: Answer::Error(reason) });
            }
            _ => {}
        }
    }

    /// The worker hears that a connection is gone: requests on it end without an answer.
    pub(crate) fn gone(&mut self, connection: ConnectionId) {
        let Some(no) = self.wires.get(&connection).map(|wire| wire.unit) else { return };
        for tag in self.take_unanswered(connection) {
            self.hears_peer(connection, LinkEvent::Answered { tag, answer: Answer::Lost });
        }
        let relay = self.units.get_mut(&no).and_then(|unit| unit.switch.disconnected(connection));
        if let Some(relay) = relay {
            self.tell_all(no, &relay);
        }
        self.give(no, Input::Disconnected { connection });
    }

    pub(crate) fn committed(&mut self, no: UnitNo, commit: Commit, outcome: CommitOutcome) {
        if let Some(unit) = self.units.get_mut(&no) {
            unit.answers.push((commit, outcome));
            self.wake(no, 0);
        }
    }

    /// From now on nothing goes wrong, and everybody comes back.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.line(|| "nothing goes wrong from now on".into());
        self.at(self.now + 500, Event::SayAgain);
        let units: Vec<_> = self.units.keys().copied().collect();
        for no in units {
            if let Some(unit) = self.units.get_mut(&no) {
                unit.trap = None;
            }
        }
    }
}
