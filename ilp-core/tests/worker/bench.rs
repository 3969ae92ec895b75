//! A worker on a fake clock, with peers that are nothing but commands and events.

use bytes::Bytes;
use ilp_core::link::{Answer, IncomingPrepare, LinkCommand, LinkEvent, Payload, PeerProtocol};
use ilp_core::store::{AccountRow, AccountSetup, Letter, Move, MoveOutcome, OpenedSlot, SlotNo, SlotPicture};
use ilp_core::worker::{Batch, ConnectionId, Input, Released, Worker, WorkerConfig, WorkerStatus};
use ilp_core::{AccountConfig, AccountId, Asset, Limits, NumberedEvent, Rate, Timing};
use ilp_oer::ilp::{ErrorPacket, Packet, Payment};
use ilp_oer::{Address, Amount, Condition, Fulfillment, Timestamp, TransferId};
use std::collections::{BTreeMap, VecDeque};

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const TIMING: Timing =
    Timing { window_ms: 2_000, grace_ms: 1_000, outgoing_ms_min: 500, hold_ms_max: 300_000, skew_ms_max: 1_000 };

pub(crate) struct Bench {
    pub(crate) worker: Worker,
    pub(crate) config: WorkerConfig,
    pub(crate) accounts: Vec<AccountConfig>,
    pub(crate) now: i64,
    pub(crate) log: Vec<(u64, Bytes)>,
    /// Beside the log: what is hot.
    pub(crate) balances: BTreeMap<AccountId, i128>,
    /// Which slots serve an account, if not this one alone.
    pub(crate) served: BTreeMap<AccountId, Vec<SlotNo>>,
    /// What the store has of accounts.
    pub(crate) rows: BTreeMap<AccountId, AccountRow>,
    /// What is in the slot's mailbox.
    pub(crate) mail: Vec<Letter>,
    /// Moves that the store was asked for and hasn't decided.
    pub(crate) moves: VecDeque<Move>,
    /// Every move that it was ever asked for.
    pub(crate) asked: Vec<Move>,
    /// Moves are decided as soon as they are asked for.
    pub(crate) decides: bool,
    /// What the embedder was told.
    pub(crate) told: Vec<NumberedEvent>,
    pub(crate) held: VecDeque<Batch>,
    /// Batches are durable, and released, as soon as they are stepped.
    pub(crate) durable: bool,
    next_connection: u64,
}

/// What a peer was sent.
pub(crate) type Sent = Vec<LinkCommand>;

pub(crate) fn id(name: &str) -> AccountId {
    AccountId::new(1, name).unwrap()
}

pub(crate) fn account(name: &str, credit: u64) -> AccountConfig {
    AccountConfig { credit_limit: credit, ..AccountConfig::new(id(name), Asset::new("XRP", 6)) }
}

pub(crate) fn preimage(n: u8) -> Fulfillment {
    Fulfillment::new([n; 32])
}

pub(crate) fn condition(n: u8) -> Condition {
    preimage(n).condition()
}

pub(crate) fn transfer_id(n: u8) -> TransferId {
    TransferId::new([n; 16])
}

pub(crate) fn payment(destination: &str, amount: u64) -> Bytes {
    let destination = Address::new(destination).unwrap();
    let packet = Packet::Payment(Payment { amount: Amount::new(amount), account: destination.as_addr(), data: b"hello" });
    packet.to_vec().unwrap().into()
}

impl Bench {
    /// Alice with a credit of 1,000, bob and carol with none, all in one asset and connected to nothing yet.
    pub(crate) fn new() -> Self {
        Self::with(vec![account("alice", 1_000), account("bob", 0), account("carol", 0)], |_| {})
    }

    pub(crate) fn with(accounts: Vec<AccountConfig>, change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let mut bench = Self::bare(Self::config(change), accounts);
        bench.configure();
        bench
    }

    pub(crate) fn config(change: impl FnOnce(&mut WorkerConfig)) -> WorkerConfig {
        let mut config = WorkerConfig {
            address: Address::new("test.ann").unwrap(),
            slot: 7,
            deployment: vec![7],
            limits: Limits::default(),
            timing: TIMING,
            rates: Vec::<Rate>::new(),
            seed: [1; 32],
            events: false,
        };
        change(&mut config);
        config
    }

    /// The same without its accounts.
    pub(crate) fn bare(config: WorkerConfig, accounts: Vec<AccountConfig>) -> Self {
        let worker = Worker::open(config.clone(), &opened(&[], &[]), Timestamp::from_unix_millis(START).unwrap()).unwrap();
        Self {
            worker,
            config,
            accounts,
            now: START,
            log: Vec::new(),
            balances: BTreeMap::new(),
            served: BTreeMap::new(),
            rows: BTreeMap::new(),
            mail: Vec::new(),
            moves: VecDeque::new(),
            asked: Vec::new(),
            decides: true,
            told: Vec::new(),
            held: VecDeque::new(),
            durable: true,
            next_connection: 1,
        }
    }

    /// The worker learns of its accounts.
    pub(crate) fn configure(&mut self) {
        for (reply, config) in (1..).zip(self.accounts.clone()) {
            let out = self.add(config, reply);
            assert!(out.iter().any(|effect| matches!(effect, Released::Account(r, Ok(())) if *r == reply)), "{out:?}");
        }
    }

    /// An account is set up at the store, and the worker told.
    pub(crate) fn add(&mut self, config: AccountConfig, reply: u64) -> Vec<Released> {
        let input = self.add_input(config, reply);
        self.input(input)
    }

    pub(crate) fn add_input(&mut self, config: AccountConfig, reply: u64) -> Input {
        let slots = self.served.get(&config.id).cloned().unwrap_or_else(|| vec![self.config.slot]);
        let setup = AccountSetup { id: config.id.clone(), slots, key: [3; 16], credit_limit: config.credit_limit };
        let row = self.rows.entry(config.id.clone()).or_insert_with(|| AccountRow::new(&setup));
        row.set_up(&setup);
        Input::AddAccount { config, row: row.clone(), reply }
    }

    /// The process dies now: what isn't durable is lost, and another worker takes the log up.
    pub(crate) fn crash(self) -> Self {
        let mut bench = self.crash_bare();
        bench.configure();
        bench
    }

    /// The same, and its accounts aren't configured yet. What the store was asked for is asked for again.
    pub(crate) fn crash_bare(mut self) -> Self {
        self.config.seed[0] = self.config.seed[0].wrapping_add(1);
        self.worker = Worker::open(self.config.clone(), &opened(&self.log, &self.mail), self.at()).unwrap();
        self.told = self.worker.take_recovered_events();
        self.held.clear();
        self.moves.clear();
        (self.durable, self.decides, self.next_connection) = (true, true, self.next_connection.max(1_000));
        self
    }

    /// What a store would have.
    pub(crate) fn picture(&self) -> SlotPicture {
        SlotPicture {
            slot: opened(&self.log, &self.mail),
            balances: self.balances.clone().into_iter().collect(),
            accounts: self.rows.clone().into_iter().collect(),
        }
    }

    pub(crate) fn at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.now).unwrap()
    }

    pub(crate) fn after(&self, ms: i64) -> Timestamp {
        self.at().saturating_add_millis(ms)
    }

    /// One step with one input, and what is released by it.
    pub(crate) fn input(&mut self, input: Input) -> Vec<Released> {
        self.step(vec![input])
    }

    pub(crate) fn step(&mut self, mut inputs: Vec<Input>) -> Vec<Released> {
        let mut out = Vec::new();
        loop {
            let batch = self.worker.step(self.at(), &mut inputs).unwrap();
            self.check_hot();
            self.held.push_back(batch);
            if self.durable {
                out.append(&mut self.make_durable());
            }
            if self.decides {
                inputs.extend(self.decide());
            }
            if inputs.is_empty() && self.worker.next_step().is_none_or(|at| at > self.at()) {
                return out;
            }
        }
    }

    /// The store decides the moves that it was asked for: what it answers.
    pub(crate) fn decide(&mut self) -> Vec<Input> {
        let decide = |m: Move| {
            let row = self.rows.get_mut(&m.account);
            let outcome = row.map_or(MoveOutcome::NoAccount, |row| row.apply(m.slot, m.n, &m.change));
            Input::Moved { account: m.account, n: m.n, outcome }
        };
        self.moves.drain(..).map(decide).collect()
    }

    pub(crate) fn make_durable(&mut self) -> Vec<Released> {
        let mut out = Vec::new();
        while let Some(batch) = self.held.pop_front() {
            if let Some(commit) = &batch.commit {
                self.log.push((commit.seq, commit.blob.clone()));
                for (id, balance) in commit.balances.clone() {
                    match balance {
                        Some(balance) => self.balances.insert(id, balance),
                        None => self.balances.remove(&id),
                    };
                }
                if let Some(cut) = commit.cut_below {
                    self.log.retain(|(seq, _)| *seq >= cut);
                }
                self.mail.retain(|letter| commit.mail_read.is_none_or(|read| letter.no > read));
            }
            self.worker.release(batch, self.at(), &mut out);
        }
        let event = |effect: &Released| match effect {
            Released::Event(event) => Some((**event).clone()),
            _ => None,
        };
        self.told.extend(out.iter().filter_map(event));
        for effect in out.extract_if(.., |effect| matches!(effect, Released::Move(_))) {
            let Released::Move(request) = effect else { continue };
            self.asked.push((*request).clone());
            self.moves.push_back(*request);
        }
        out
    }

    /// Time passes, with a step whenever the worker wants one.
    pub(crate) fn pass(&mut self, ms: i64) -> Vec<Released> {
        let end = self.now + ms;
        let mut out = Vec::new();
        while let Some(next) = self.worker.next_step().filter(|next| next.unix_millis() <= end) {
            self.now = self.now.max(next.unix_millis());
            out.append(&mut self.step(Vec::new()));
        }
        self.now = end;
        out.append(&mut self.step(Vec::new()));
        out
    }

    pub(crate) fn connect(&mut self, name: &str) -> (ConnectionId, Vec<Released>) {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let account = self.accounts.iter().find(|account| account.id.name() == name).unwrap().id.clone();
        let out = self.input(Input::Connected { connection, account, relayed: false });
        (connection, out)
    }

    pub(crate) fn disconnect(&mut self, connection: ConnectionId) -> Vec<Released> {
        self.input(Input::Disconnected { connection })
    }

    pub(crate) fn event(&mut self, connection: ConnectionId, event: LinkEvent) -> Vec<Released> {
        self.input(Input::Link { connection, event })
    }

    /// A prepare of number `n`, to an address, that expires after 10 s. Its request number is `n` too.
    pub(crate) fn prepare(&mut self, connection: ConnectionId, n: u8, to: &str, amount: u64) -> Vec<Released> {
        let event = self.prepare_event(n, to, amount, 10_000);
        self.event(connection, event)
    }

    pub(crate) fn prepare_event(&self, n: u8, to: &str, amount: u64, expires_in: i64) -> LinkEvent {
        LinkEvent::Prepare {
            request: u32::from(n),
            transfer: IncomingPrepare {
                id: transfer_id(n),
                amount: Amount::new(amount),
                condition: condition(n),
                expires_at: self.after(expires_in),
                payload: Payload::ilp(payment(to, amount)),
            },
        }
    }

    pub(crate) fn fulfill(&mut self, connection: ConnectionId, id: TransferId, n: u8) -> Vec<Released> {
        self.event(connection, LinkEvent::Fulfill { request: 900, id, fulfillment: preimage(n) })
    }

    pub(crate) fn reject(&mut self, connection: ConnectionId, id: TransferId) -> Vec<Released> {
        let reason = error_bytes("F99", "test.bob");
        self.event(connection, LinkEvent::Reject { request: 901, id, reason })
    }

    pub(crate) fn answered(&mut self, connection: ConnectionId, tag: u64, answer: Answer) -> Vec<Released> {
        self.event(connection, LinkEvent::Answered { tag, answer })
    }

    pub(crate) fn status(&self) -> WorkerStatus {
        self.worker.status()
    }

    pub(crate) fn balance(&self, name: &str) -> i128 {
        self.status().accounts.iter().find(|account| account.id.name() == name).unwrap().balance
    }

    pub(crate) fn own(&self) -> i128 {
        self.status().own.first().map_or(0, |(_, own)| *own)
    }

    /// I1 and I2, at this instant, and that nobody is below the limit.
    pub(crate) fn check_books(&self) {
        for account in &self.status().accounts {
            assert!(account.balance >= -account.credit_limit, "{} is below its limit: {}", account.id, account.balance);
        }
        self.check_sums();
    }

    /// What the worker may spend without asking.
    pub(crate) fn hot(&self, name: &str) -> i128 {
        self.status().accounts.iter().find(|account| account.id.name() == name).unwrap().hot
    }

    /// What lies at the store.
    pub(crate) fn cold(&self, name: &str) -> i128 {
        self.rows.iter().find(|(id, _)| id.name() == name).unwrap().1.cold
    }

    /// Nothing hot is ever below zero.
    pub(crate) fn check_hot(&self) {
        for (id, hot) in self.worker.hot_balances() {
            // A log of the former version has others, until the accounts are configured.
            assert!(hot >= 0 || !self.rows.contains_key(&id), "{hot} of {id} are hot");
        }
    }

    /// I1 and I2, at this instant.
    pub(crate) fn check_sums(&self) {
        let status = self.status();
        for account in &status.accounts {
            assert_eq!(account.totals.balance(), Some(account.balance), "I2 of {}", account.id);
        }
        for (asset, _) in &status.own {
            assert_eq!(status.conservation(asset), 0, "I1 of {asset}");
        }
    }
}

pub(crate) fn opened(log: &[(u64, Bytes)], mail: &[Letter]) -> OpenedSlot {
    let last_seq = log.last().map_or(0, |(seq, _)| *seq);
    OpenedSlot { epoch: 1, last_seq, log: log.iter().map(|(_, blob)| blob.clone()).collect(), mail: mail.to_vec() }
}

pub(crate) fn error_bytes(code: &str, by: &str) -> Bytes {
    let by = Address::new(by).unwrap();
    ErrorPacket {
        code: code.parse().unwrap(),
        name: "Sample",
        triggered_by: by.as_addr(),
        forwarded_by: ilp_oer::ilp::AddrList::EMPTY,
        triggered_at: Timestamp::from_unix_millis(START).unwrap(),
        data: b"why",
    }
    .to_vec()
    .unwrap()
    .into()
}

/// The commands for one connection.
pub(crate) fn to(connection: ConnectionId, out: &[Released]) -> Sent {
    let mine = |effect: &Released| match effect {
        Released::Command(at, command) if *at == connection => Some(command.clone()),
        _ => None,
    };
    out.iter().filter_map(mine).collect()
}

/// The error code of a single answer to a connection.
pub(crate) fn error_code(connection: ConnectionId, out: &[Released]) -> String {
    let sent = to(connection, out);
    match sent.as_slice() {
        [LinkCommand::Answer { answer: Answer::Error(reason), .. }] => ErrorPacket::decode(reason).unwrap().code.as_str().to_owned(),
        other => panic!("not one error but {other:?}"),
    }
}

pub(crate) fn is_ack(connection: ConnectionId, out: &[Released]) -> bool {
    matches!(to(connection, out).as_slice(), [LinkCommand::Answer { answer: Answer::Ack, .. }, ..])
}

/// The tag and id of the one prepare to a connection.
pub(crate) fn prepared(connection: ConnectionId, out: &[Released]) -> (u64, TransferId) {
    let sent = to(connection, out);
    let prepares: Vec<_> = sent
        .iter()
        .filter_map(|command| match command {
            LinkCommand::Prepare { tag, id, .. } => Some((*tag, *id)),
            _ => None,
        })
        .collect();
    match prepares.as_slice() {
        [one] => *one,
        _ => panic!("not one prepare but {sent:?}"),
    }
}

/// The tag of the one fulfill or reject to a connection.
pub(crate) fn outcome(connection: ConnectionId, out: &[Released]) -> (u64, Result<Fulfillment, Bytes>) {
    let sent = to(connection, out);
    let outcomes: Vec<_> = sent
        .iter()
        .filter_map(|command| match command {
            LinkCommand::Fulfill { tag, fulfillment, .. } => Some((*tag, Ok(*fulfillment))),
            LinkCommand::Reject { tag, reason, .. } => Some((*tag, Err(reason.clone()))),
            _ => None,
        })
        .collect();
    match outcomes.as_slice() {
        [one] => one.clone(),
        _ => panic!("not one outcome but {sent:?}"),
    }
}

pub(crate) fn code_of(outcome: Result<Fulfillment, Bytes>) -> String {
    ErrorPacket::decode(&outcome.unwrap_err()).unwrap().code.as_str().to_owned()
}

pub(crate) fn of_2017(name: &str, credit: u64) -> AccountConfig {
    AccountConfig { protocol: PeerProtocol::Clp2017, ..account(name, credit) }
}
