//! Several workers of one connector, and their peers, on one thread from one seed.
//!
//! Everything is the product's but the wires, the clock and the store's box: workers, switches, pipelines, and the rules of accounts in the
//! store. Workers die at any instant and at each step of a move, stand still for longer than their lease, and are opened again by another
//! process; answers of the store are late, lost or told twice; connections break and come back at other workers; the same transfer is asked
//! for on several of them; limits change and settlements come in between. The rules that are checked: `docs/testing.md`.

mod check;
mod peers;
mod store;
mod unit;

use crate::sim::Rng;
use ilp_core::colleagues::Relay;
use ilp_core::link::{LinkCommand, LinkEvent};
use ilp_core::store::{Commit, CommitOutcome, Move, MoveOutcome, SlotNo};
use ilp_core::worker::{ConnectionId, Input, SettlementId};
use ilp_core::{AccountConfig, AccountId, Asset};
use peers::{Payment, Peer};
use std::collections::BTreeMap;
use store::Store;
use unit::{Unit, UnitNo};

/// What came of a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The rule that was broken, and how.
    pub violation: Option<(&'static str, String)>,
    /// How often things happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The steps of a move between which a worker can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It is in a batch that isn't durable.
    Begun,
    /// It is durable; the store hasn't been asked.
    Durable,
    /// The store has decided; nobody was told.
    Decided,
    /// The worker was told, and hasn't looked.
    Told,
    /// The worker has booked it, in a batch that isn't durable.
    Ended,
}

impl Stage {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Begun, "died with a move begun"),
        (Self::Durable, "died with a move durable"),
        (Self::Decided, "died with a move decided"),
        (Self::Told, "died with a move told"),
        (Self::Ended, "died with a move ended"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    Turn(UnitNo),
    Apply(UnitNo, Commit),
    Committed(UnitNo, Commit, CommitOutcome),
    Decide(UnitNo, Move),
    Moved(UnitNo, Move, MoveOutcome),
    Relays { from: (SlotNo, u64), to: UnitNo, relays: Vec<Relay> },
    Meet(UnitNo),
    Open { slot: SlotNo, holder: u64 },
    ToPeer { connection: ConnectionId, command: LinkCommand },
    ToUnit { connection: ConnectionId, event: LinkEvent },
    Lost { connection: ConnectionId },
    Dial(usize),
    Pay(usize),
    Decided { peer: usize, id: ilp_oer::TransferId },
    Fault,
    Settle(usize),
    SayAgain,
}

pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) rng: Rng,
    order: u64,
    events: BTreeMap<(i64, u64), Event>,
    pub(crate) store: Store,
    pub(crate) slots: Vec<SlotNo>,
    pub(crate) units: BTreeMap<UnitNo, Unit>,
    pub(crate) next_unit: UnitNo,
    pub(crate) configs: Vec<AccountConfig>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) payments: Vec<Payment>,
    pub(crate) wires: BTreeMap<ConnectionId, Wire>,
    pub(crate) next_connection: u64,
    pub(crate) settlements: Vec<Settling>,
    pub(crate) outcome: Outcome,
    /// Nothing goes wrong any more.
    pub(crate) calm: bool,
    lines: Option<Vec<String>>,
    last_at: BTreeMap<(u64, u64), i64>,
    pub(crate) replies: BTreeMap<u64, bool>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) peer: usize,
    pub(crate) unit: UnitNo,
}

#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) account: usize,
    pub(crate) amount: i128,
    pub(crate) id: SettlementId,
    pub(crate) told: bool,
    pub(crate) refused: bool,
}

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const LEASE_MS: i64 = 2_000;
pub(crate) const ADDRESS: &str = "test.ann";
const PAYMENTS: usize = 120;
const SPAN_MS: i64 = 20_000;

/// Runs a seed. With `told`, everything that happens is there as text.
pub fn run(seed: u64, told: Option<&mut Vec<String>>) -> Outcome {
    let mut world = World::new(seed, told.is_some());
    world.play();
    if let (Some(told), Some(lines)) = (told, world.lines.take()) {
        *told = lines;
    }
    world.outcome
}

impl World {
    fn new(seed: u64, tells: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x0077_6f72_6b65_7273);
        let count = [2, 2, 3, 4, 4, 8][rng.index(6)];
        let slots: Vec<SlotNo> = (0..count).collect();
        let accounts = rng.range(3, 6);
        let configs: Vec<_> = (0..accounts)
            .map(|n| {
                let parallelism = [1, 1, 2, 3, 8][rng.index(5)];
                let id = AccountId::new(parallelism, &format!("p{n}")).unwrap();
                let initial_balance = [0, rng.range(1, 400), rng.range(-200, 200)][rng.index(3)];
                let credit_limit = [0, 0, 50, 300, 5_000][rng.index(5)];
                AccountConfig { credit_limit, initial_balance, ..AccountConfig::new(id, Asset::new("XRP", 6)) }
            })
            .collect();
        let mut world = Self {
            now: START,
            rng,
            order: 0,
            events: BTreeMap::new(),
            store: Store::default(),
            slots,
            units: BTreeMap::new(),
            next_unit: 0,
            peers: configs.iter().map(|_| Peer::default()).collect(),
            configs,
            payments: Vec::new(),
            wires: BTreeMap::new(),
            next_connection: 0,
            settlements: Vec::new(),
            outcome: Outcome::default(),
            calm: false,
            lines: tells.then(Vec::new),
            last_at: BTreeMap::new(),
            replies: BTreeMap::new(),
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        for config in self.configs.clone() {
            let mut slots = ilp_core::colleagues::slots_for(&config.id, &self.slots);
            slots.truncate(self.slots.len());
            self.store.set_up(&config, slots, self.rng.bytes());
        }
        for slot in self.slots.clone() {
            self.open(slot, u64::from(slot % 2));
        }
        for peer in 0..self.peers.len() {
            for _ in 0..=self.rng.index(usize::from(self.configs[peer].id.parallelism()).min(3)) {
                let at = self.now + self.rng.range(1, 50);
                self.at(at, Event::Dial(peer));
            }
        }
        for no in 0..PAYMENTS {
            self.plan_payment(no);
            let at = self.now + self.rng.range(200, SPAN_MS);
            self.at(at, Event::Pay(no));
        }
        for _ in 0..self.rng.range(10, 30) {
            let at = self.now + self.rng.range(200, SPAN_MS + 2_000);
            self.at(at, Event::Fault);
        }
        for n in 0..self.rng.range(0, 4) {
            let account = self.rng.index(self.peers.len());
            let amount = i128::from(self.rng.range(-300, 300));
            let id = format!("s{n}").parse().unwrap();
            self.settlements.push(Settling { account, amount: if amount == 0 { 1 } else { amount }, id, told: false, refused: false });
            let at = self.now + self.rng.range(500, SPAN_MS);
            self.at(at, Event::Settle(self.settlements.len() - 1));
        }
    }

    fn play(&mut self) {
        let mut checked = self.now;
        while self.outcome.violation.is_none() {
            let Some(((at, _), event)) = self.events.pop_first() else { break };
            self.now = self.now.max(at);
            self.happen(event);
            if self.now - checked > 500 {
                checked = self.now;
                self.check_books();
            }
            if !self.calm && self.now > START + SPAN_MS + 3_000 {
                self.calm_down();
            }
            if self.calm && self.now > START + SPAN_MS + 90_000 {
                break;
            }
        }
        if self.outcome.violation.is_none() {
            self.finish();
        }
    }

    /// Runs on for so long.
    pub(crate) fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while self.outcome.violation.is_none() {
            let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) else { break };
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        if self.lines.is_some() {
            let shown = format!("{event:?}");
            self.line(|| shown);
        }
        match event {
            Event::Turn(unit) => self.turn(unit),
            Event::Apply(unit, commit) => self.apply(unit, commit),
            Event::Committed(unit, commit, outcome) => self.committed(unit, commit, outcome),
            Event::Decide(unit, request) => self.decide(unit, request),
            Event::Moved(unit, request, outcome) => self.told_of_move(unit, request, outcome),
            Event::Relays { from, to, relays } => self.relays(from, to, relays),
            Event::Meet(unit) => self.meet(unit),
            Event::Open { slot, holder } => self.open(slot, holder),
            Event::ToPeer { connection, command } => self.hears_connector(connection, command),
            Event::ToUnit { connection, event } => self.hears_peer(connection, event),
            Event::Lost { connection } => self.lost(connection),
            Event::Dial(peer) => self.dial(peer),
            Event::Pay(no) => self.pay(no),
            Event::Decided { peer, id } => self.decided(peer, id),
            Event::Fault => self.fault(),
            Event::Settle(no) => self.settle(no),
            Event::SayAgain => {
                (0..self.peers.len()).for_each(|peer| self.say_again(peer));
                if self.now < START + SPAN_MS + 30_000 {
                    self.at(self.now + 500, Event::SayAgain);
                }
            }
        }
    }

    pub(crate) fn at(&mut self, at: i64, event: Event) {
        self.order += 1;
        self.events.insert((at.max(self.now), self.order), event);
    }

    /// Behind everything that went the same way before.
    pub(crate) fn in_order(&mut self, way: (u64, u64), ms: i64, event: Event) {
        let before = self.last_at.get(&way).copied().unwrap_or(i64::MIN);
        let at = (self.now + ms).max(before);
        self.last_at.insert(way, at);
        self.at(at, event);
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.outcome.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn line(&mut self, text: impl FnOnce() -> String) {
        let at = self.now - START;
        if let Some(lines) = &mut self.lines {
            let mut text = text();
            text.truncate(400);
            lines.push(format!("{at:>6} {text}"));
        }
    }

    pub(crate) fn broken(&mut self, rule: &'static str, what: String) {
        self.line(|| format!("BROKEN {what}"));
        let at = self.now - START;
        self.outcome.violation.get_or_insert((rule, format!("after {at} ms: {what}")));
    }

    fn settle(&mut self, no: usize) {
        let Settling { account, amount, id, told, .. } = &self.settlements[no];
        if *told {
            return;
        }
        let (account, amount, id) = (self.configs[*account].id.clone(), *amount, id.clone());
        let home = self.store.rows[&account].slots[0];
        let reply = 1_000 + u64::try_from(no).unwrap();
        if let Some(unit) = self.current(home) {
            self.count("settlements told");
            self.give(unit, Input::Settle { account, amount, id, reply });
        }
        // Until it is known to be in the books.
        let at = self.now + 700;
        self.at(at, Event::Settle(no));
    }

    fn fault(&mut self) {
        if self.calm {
            return;
        }
        let units: Vec<UnitNo> = self.units.keys().copied().collect();
        let Some(unit) = (!units.is_empty()).then(|| *self.rng.pick(&units)) else { return };
        match self.rng.index(10) {
            0 | 1 => {
                self.count("died at any time");
                self.die(unit);
            }
            2..=5 => {
                let stage = Stage::ALL[self.rng.index(5)].0;
                for unit in self.units.values_mut() {
                    unit.trap = Some(stage);
                }
            }
            6 => {
                let ms = self.rng.range(100, 2 * LEASE_MS);
                self.pause(unit, ms);
            }
            7 => {
                let wires: Vec<ConnectionId> = self.wires.keys().copied().collect();
                if let Some(connection) = (!wires.is_empty()).then(|| *self.rng.pick(&wires)) {
                    self.count("connections cut");
                    self.cut(connection);
                }
            }
            8 => {
                let n = self.rng.range(1, 6);
                self.store.troubles += u32::try_from(n).unwrap();
            }
            _ => {
                let account = self.rng.index(self.configs.len());
                let limit = [0, 20, 100, 400, 5_000][self.rng.index(5)];
                self.change_limit(account, limit);
            }
        }
    }

    pub(crate) fn change_limit(&mut self, account: usize, limit: u64) {
        self.count(if limit < self.configs[account].credit_limit { "limits lowered" } else { "limits raised" });
        self.configs[account].credit_limit = limit;
        let config = self.configs[account].clone();
        let row = self.store.change_limit(&config);
        let units: Vec<UnitNo> = self.slots.clone().into_iter().filter_map(|slot| self.current(slot)).collect();
        for unit in units {
            self.give(unit, Input::AddAccount { config: config.clone(), row: row.clone(), reply: 1 });
        }
    }
}
