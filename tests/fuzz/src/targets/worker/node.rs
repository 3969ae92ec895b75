//! A connector without sockets, store and clock: a worker, its links, and what its driver does between them.

use super::super::frames::{START, at};
use bytes::Bytes;
use ilp_core::link::{Link, LinkCommand, LinkEvent, LinkOutput, PeerProtocol};
use ilp_core::store::{AccountRow, AccountSetup, OpenedSlot};
use ilp_core::worker::{Batch, ConnectionId, Input, Released, Worker, WorkerConfig};
use ilp_core::{AccountConfig, AccountId, Asset, Authenticator, Limits, Timing, Tokens};
use ilp_oer::{Address, Fulfillment};
use ilp_plugins::clp::ClpLink;
use std::collections::{BTreeMap, VecDeque};

/// Names a connection; never used twice.
pub(super) type Place = usize;

pub(super) struct Node {
    pub(super) worker: Worker,
    pub(super) now: i64,
    /// So many batches wait for a slow store before the oldest is durable.
    pub(super) lag: usize,
    config: WorkerConfig,
    accounts: Vec<AccountConfig>,
    tokens: Tokens,
    connections: Vec<Option<Connection>>,
    inputs: Vec<Input>,
    held: VecDeque<Batch>,
    log: Vec<(u64, Bytes)>,
    rows: BTreeMap<AccountId, AccountRow>,
    said: Vec<(Place, Bytes)>,
}

struct Connection {
    link: ClpLink,
    out: LinkOutput,
}

impl Node {
    pub(super) fn new(form_of_mallory: PeerProtocol) -> Self {
        let account = |name: &str, credit_limit: u64, protocol| {
            let id = AccountId::new(1, name).unwrap();
            AccountConfig { credit_limit, protocol, ..AccountConfig::new(id, Asset::new("XRP", 6)) }
        };
        let accounts = vec![
            account("alice", 1_000_000_000, PeerProtocol::Clp),
            account("bob", 1_000_000_000, PeerProtocol::Clp),
            account("mallory", 5_000, form_of_mallory),
        ];
        let tokens = Tokens::new();
        for account in &accounts {
            tokens.insert(account.id.name().as_bytes(), account.id.clone(), account.protocol, b"secret");
        }
        let config = WorkerConfig {
            address: Address::new("test.ann").unwrap(),
            slot: 7,
            deployment: vec![7],
            limits: Limits { unanswered_requests: 64, ..Limits::default() },
            timing: Timing::default(),
            rates: Vec::new(),
            seed: [1; 32],
            events: true,
        };
        let worker = Worker::open(config.clone(), &OpenedSlot { epoch: 1, ..OpenedSlot::default() }, at(START)).unwrap();
        let mut node = Self {
            worker,
            now: START,
            lag: 0,
            config,
            accounts,
            tokens,
            connections: Vec::new(),
            inputs: Vec::new(),
            held: VecDeque::new(),
            log: Vec::new(),
            rows: BTreeMap::new(),
            said: Vec::new(),
        };
        node.add_accounts();
        node
    }

    /// Somebody comes in.
    pub(super) fn connect(&mut self, path: &str) -> Place {
        let link = ClpLink::incoming(&self.config.address, path).with_limits(&self.config.limits);
        let place = self.connections.len();
        self.connections.push(Some(Connection { link, out: LinkOutput::default() }));
        let now = at(self.now);
        self.with_link(place, |link, out| link.start(now, out));
        place
    }

    pub(super) fn is_open(&self, place: Place) -> bool {
        self.connections[place].is_some()
    }

    /// A frame comes in.
    pub(super) fn receive(&mut self, place: Place, frame: Bytes) {
        let now = at(self.now);
        self.with_link(place, |link, out| link.receive(frame, now, out));
    }

    /// A connection breaks.
    pub(super) fn disconnect(&mut self, place: Place) {
        let Some(Connection { mut link, mut out }) = self.connections[place].take() else { return };
        link.closed(&mut out);
        let connection = id(place);
        self.inputs.extend(out.events.into_iter().map(|event| Input::Link { connection, event }));
        self.inputs.push(Input::Disconnected { connection });
    }

    /// What goes out to all connections since the last call.
    pub(super) fn take_frames(&mut self) -> Vec<(Place, Bytes)> {
        std::mem::take(&mut self.said)
    }

    pub(super) fn tick(&mut self) {
        let now = at(self.now);
        for place in 0..self.connections.len() {
            self.with_link(place, |link, out| link.tick(now, out));
        }
    }

    /// Steps until there is nothing to do, and lets out what is durable.
    pub(super) fn step(&mut self) {
        let mut rounds = 0;
        loop {
            let batch = self.worker.step(at(self.now), &mut self.inputs).expect("the worker gives up");
            if !batch.is_empty() {
                self.held.push_back(batch);
            }
            while self.held.len() > self.lag {
                self.make_durable();
            }
            if self.inputs.is_empty() && self.worker.next_step().is_none_or(|next| next.unix_millis() > self.now) {
                return;
            }
            rounds += 1;
            assert!(rounds < 10_000, "steps for ever");
        }
    }

    /// The process dies once everything is durable, and another takes over.
    pub(super) fn crash(&mut self) {
        self.lag = 0;
        self.step();
        self.connections.iter_mut().for_each(|connection| *connection = None);
        (self.inputs, self.said) = (Vec::new(), Vec::new());
        self.config.seed[0] = self.config.seed[0].wrapping_add(1);
        let last_seq = self.log.last().map_or(0, |(seq, _)| *seq);
        let opened = OpenedSlot { epoch: 1, last_seq, log: self.log.iter().map(|(_, blob)| blob.clone()).collect(), mail: Vec::new() };
        let before = self.worker.status();
        self.worker = Worker::open(self.config.clone(), &opened, at(self.now)).expect("the log can't be read");
        self.add_accounts();
        let after = self.worker.status();
        let books = |status: &ilp_core::worker::WorkerStatus| status.accounts.iter().map(|a| (a.balance, a.totals)).collect::<Vec<_>>();
        assert_eq!((books(&before), before.own), (books(&after), after.own), "the log says otherwise");
        // That an answer was acknowledged is written down when there is company for it, so more may be owed than before.
        assert!(after.in_flight >= before.in_flight, "the log has forgotten a transfer");
    }

    /// I1 and I2, the limits of credit, at this instant.
    pub(super) fn check_books(&self) {
        let status = self.worker.status();
        for account in &status.accounts {
            assert_eq!(account.totals.balance(), Some(account.balance), "the balance of {} isn't what it is made of", account.id);
            assert!(account.balance >= -account.credit_limit, "{} is below its limit: {}", account.id, account.balance);
            assert!(account.hot >= 0, "{} of {} are hot", account.hot, account.id);
            assert!(account.totals.incoming_prepared >= 0, "{} holds {}", account.id, account.totals.incoming_prepared);
        }
        for (asset, _) in &status.own {
            assert_eq!(status.conservation(asset), 0, "money came or went in {asset}");
        }
    }

    pub(super) fn balance(&self, name: &str) -> i128 {
        self.worker.status().accounts.iter().find(|account| account.id.name() == name).unwrap().balance
    }

    fn add_accounts(&mut self) {
        for (reply, config) in (1..).zip(self.accounts.clone()) {
            let setup = AccountSetup { id: config.id.clone(), slots: vec![7], key: [0; 16], credit_limit: config.credit_limit };
            let row = self.rows.entry(setup.id.clone()).or_insert_with(|| AccountRow::new(&setup)).clone();
            self.inputs.push(Input::AddAccount { config, row, reply });
        }
        let lag = std::mem::take(&mut self.lag);
        self.step();
        self.lag = lag;
    }

    fn make_durable(&mut self) {
        let Some(batch) = self.held.pop_front() else { return };
        if let Some(commit) = &batch.commit {
            self.log.push((commit.seq, commit.blob.clone()));
            if let Some(cut) = commit.cut_below {
                self.log.retain(|(seq, _)| *seq >= cut);
            }
        }
        let mut released = Vec::new();
        self.worker.release(batch, at(self.now), &mut released);
        for effect in released {
            match effect {
                Released::Command(connection, command) => {
                    let place = usize::try_from(connection.0).unwrap();
                    let now = at(self.now);
                    self.with_link(place, |link, out| link.command(command, now, out));
                }
                Released::Deliver(delivery, payment) => {
                    let n = payment.data.first().copied().unwrap_or(0);
                    self.inputs.push(Input::Received { delivery, result: Ok(Fulfillment::new([n; 32])) });
                }
                Released::Move(request) => {
                    let row = self.rows.get_mut(&request.account).expect("a move of nobody's");
                    let outcome = row.apply(request.slot, request.n, &request.change);
                    self.inputs.push(Input::Moved { account: request.account, n: request.n, outcome });
                }
                Released::Note { .. } => panic!("there are no colleagues"),
                Released::Account(_, result) => result.expect("an account isn't taken"),
                Released::Paid(..) | Released::Settled(..) | Released::Stated(..) | Released::Event(_) => {}
            }
        }
    }

    fn with_link(&mut self, place: Place, call: impl FnOnce(&mut ClpLink, &mut LinkOutput)) {
        let Some(Connection { link, out }) = self.connections.get_mut(place).and_then(Option::as_mut) else { return };
        call(link, out);
        self.said.extend(out.frames.drain(..).map(|frame| (place, frame)));
        let (events, close) = (std::mem::take(&mut out.events), out.close.take());
        for event in events {
            self.link_event(place, event);
        }
        if close.is_some() {
            self.disconnect(place);
        }
    }

    fn link_event(&mut self, place: Place, event: LinkEvent) {
        let connection = id(place);
        let LinkEvent::Authenticate(credentials) = event else {
            self.inputs.push(Input::Link { connection, event });
            return;
        };
        let command = match self.tokens.authenticate(&credentials) {
            Some(account) => {
                let address = self.config.address.join(account.name()).unwrap();
                self.inputs.push(Input::Connected { connection, account, relayed: false });
                LinkCommand::Accept { address }
            }
            None => LinkCommand::Refuse,
        };
        let now = at(self.now);
        self.with_link(place, |link, out| link.command(command, now, out));
    }
}

fn id(place: Place) -> ConnectionId {
    ConnectionId(u64::try_from(place).unwrap())
}
