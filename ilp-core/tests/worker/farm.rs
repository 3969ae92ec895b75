//! Several workers that serve the same accounts, with rings between them and one store, on a fake clock: whatever is on its way anywhere
//! goes on when the test says so.

use crate::bench::{TIMING, opened};
use bytes::Bytes;
use ilp_core::colleagues::{Arrived, Relay, Routed, Sent, Switch, slots_for};
use ilp_core::link::{Answer, IncomingPrepare, LinkCommand, LinkEvent, Payload};
use ilp_core::store::{AccountRow, AccountSetup, Letter, Move, MoveChange, MoveOutcome, SlotNo};
use ilp_core::worker::{Batch, ConnectionId, Input, Released, Settlement, Worker, WorkerConfig, WorkerStatus, letter_of};
use ilp_core::{AccountConfig, AccountError, AccountId, Asset, Limits, Refusal, SettleError};
use ilp_oer::ilp::{Packet, Payment};
use ilp_oer::{Address, Amount, Condition, Fulfillment, Timestamp, TransferId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A worker, and what is durable of it.
pub(crate) struct Node {
    pub(crate) slot: SlotNo,
    pub(crate) worker: Worker,
    pub(crate) switch: Switch,
    /// Its process runs. If not, `worker` is what a reader of its log would have.
    pub(crate) up: bool,
    /// How often it was opened.
    pub(crate) epoch: u64,
    pub(crate) inputs: Vec<Input>,
    /// Stepped, and whether it is durable.
    held: VecDeque<(Batch, bool)>,
    log: Vec<(u64, Bytes)>,
    balances: BTreeMap<AccountId, i128>,
    pub(crate) mail: Vec<Letter>,
    letters: u64,
    next_connection: u64,
}

/// A transfer as its sender knows it.
pub(crate) struct Known {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) id: TransferId,
    pub(crate) amount: u64,
    event: LinkEvent,
    /// Immediate answers, in order.
    pub(crate) answers: Vec<Answer>,
    /// Nobody could be asked: these answers say nothing.
    pub(crate) unanswerable: u32,
    /// What became of it.
    pub(crate) outcome: Option<Result<Fulfillment, Bytes>>,
    /// What the next hop knows it as.
    pub(crate) sent_as: Option<TransferId>,
    /// The next hop has fulfilled it, and was told that it has.
    pub(crate) offered: bool,
    pub(crate) confirmed: bool,
    /// How often it was said.
    said: usize,
    expires_at: i64,
}

/// What a request of a peer's was about.
#[derive(Clone, Copy)]
enum Asked {
    Prepare(usize),
    Fulfill(usize),
    Other,
}

/// A connection of an account, at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) who: usize,
    pub(crate) node: usize,
    pub(crate) connection: ConnectionId,
}

pub(crate) struct Farm {
    pub(crate) now: i64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) accounts: Vec<AccountConfig>,
    /// Not removed.
    pub(crate) there: Vec<bool>,
    /// Was removed once: its parts don't add up to its balance any more.
    pub(crate) removed: Vec<bool>,
    pub(crate) rows: BTreeMap<AccountId, AccountRow>,
    /// Moves that the store was asked for: by which opening of which node.
    pub(crate) asked: Vec<(usize, u64, Move)>,
    answers: Vec<(usize, u64, Input)>,
    rings: BTreeMap<(usize, usize), VecDeque<Relay>>,
    joined: BTreeSet<(usize, usize)>,
    pub(crate) lines: Vec<Line>,
    pub(crate) transfers: Vec<Known>,
    requests: Vec<Asked>,
    /// Our requests that peers haven't answered; the transfer, and whether it is the prepare.
    pub(crate) pending: Vec<(Line, u64, usize, bool)>,
    /// What closings, settlements and configurations ended with.
    pub(crate) replies: BTreeMap<u64, Result<(), AccountError>>,
    pub(crate) settled: Vec<Result<Settlement, SettleError>>,
    /// What settlements that were asked for bring to each account, in all.
    brought: BTreeMap<AccountId, i128>,
    next_reply: u64,
    removing: BTreeMap<u64, usize>,
    /// Accounts that a node couldn't be told of yet.
    retry: BTreeMap<u64, (usize, usize)>,
    /// The most that was hot at a slot since its last decided draw; and what that draw found available with it.
    peaks: BTreeMap<(usize, AccountId), i128>,
    caps: BTreeMap<(usize, AccountId, u64), i128>,
    /// Something that was said was lost on its way, as it may be.
    lossy: bool,
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

fn place(request: u32) -> usize {
    usize::try_from(request).unwrap()
}

fn preimage(n: usize) -> Fulfillment {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number(n).to_be_bytes());
    Fulfillment::new(bytes)
}

pub(crate) fn config(name: &str, parallelism: u8, credit: u64) -> AccountConfig {
    AccountConfig { credit_limit: credit, ..AccountConfig::new(AccountId::new(parallelism, name).unwrap(), Asset::new("XRP", 6)) }
}

fn worker_config(slot: SlotNo, epoch: u64, deployment: Vec<SlotNo>) -> WorkerConfig {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&slot.to_be_bytes());
    seed[2..10].copy_from_slice(&epoch.to_be_bytes());
    WorkerConfig {
        address: Address::new("test.ann").unwrap(),
        slot,
        deployment,
        limits: Limits { log_bytes: 1_024, ..Limits::default() },
        timing: TIMING,
        rates: Vec::new(),
        seed,
        events: false,
    }
}

impl Farm {
    /// Workers that know each other and their accounts, with nothing on its way.
    pub(crate) fn new(count: usize, accounts: Vec<AccountConfig>) -> Self {
        let now = crate::bench::START;
        let at = Timestamp::from_unix_millis(now).unwrap();
        let slots: Vec<SlotNo> = (1..=count).map(|n| n.try_into().unwrap()).collect();
        let nodes = (0..count).map(|n| {
            let slot = SlotNo::try_from(n + 1).unwrap();
            Node {
                slot,
                worker: Worker::open(worker_config(slot, 0, slots.clone()), &opened(&[], &[]), at).unwrap(),
                switch: Switch::new(slot),
                up: false,
                epoch: 0,
                inputs: Vec::new(),
                held: VecDeque::new(),
                log: Vec::new(),
                balances: BTreeMap::new(),
                mail: Vec::new(),
                letters: 0,
                next_connection: 1,
            }
        });
        let (there, removed) = (vec![true; accounts.len()], vec![false; accounts.len()]);
        let mut farm = Self {
            now,
            nodes: nodes.collect(),
            accounts,
            there,
            removed,
            rows: BTreeMap::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            rings: BTreeMap::new(),
            joined: BTreeSet::new(),
            lines: Vec::new(),
            transfers: Vec::new(),
            requests: Vec::new(),
            pending: Vec::new(),
            replies: BTreeMap::new(),
            settled: Vec::new(),
            brought: BTreeMap::new(),
            next_reply: 1,
            removing: BTreeMap::new(),
            retry: BTreeMap::new(),
            peaks: BTreeMap::new(),
            caps: BTreeMap::new(),
            lossy: false,
        };
        (0..count).for_each(|node| farm.open(node));
        farm.run();
        farm
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.now).unwrap()
    }

    fn slots(&self) -> Vec<SlotNo> {
        self.nodes.iter().map(|node| node.slot).collect()
    }

    fn node_of(&self, slot: SlotNo) -> usize {
        self.nodes.iter().position(|node| node.slot == slot).unwrap()
    }

    pub(crate) fn id(&self, who: usize) -> AccountId {
        self.accounts[who].id.clone()
    }

    // Nodes come and go.

    /// Another worker opens the slot.
    pub(crate) fn open(&mut self, at: usize) {
        let (slots, now) = (self.slots(), self.at());
        let node = &mut self.nodes[at];
        if node.up {
            return;
        }
        node.epoch += 1;
        node.worker = Worker::open(worker_config(node.slot, node.epoch, slots.clone()), &opened(&node.log, &node.mail), now).unwrap();
        node.switch = Switch::new(node.slot);
        node.switch.set_known(slots);
        node.up = true;
        (0..self.accounts.len()).filter(|who| self.there[*who]).collect::<Vec<_>>().into_iter().for_each(|who| self.tell(at, who));
        (0..self.nodes.len()).filter(|other| *other != at).for_each(|other| self.join(at, other));
    }

    /// The process dies: what isn't durable is lost, and what was on its way to it or from it.
    pub(crate) fn crash(&mut self, at: usize) {
        if !self.nodes[at].up {
            return;
        }
        let (slots, now) = (self.slots(), self.at());
        self.lossy = true;
        self.lines.retain(|line| line.node != at);
        self.pending.retain(|(line, ..)| line.node != at);
        let node = &mut self.nodes[at];
        (node.up, node.inputs) = (false, Vec::new());
        node.held.clear();
        node.worker = Worker::open(worker_config(node.slot, 0, slots), &opened(&node.log, &node.mail), now).unwrap();
        self.retry.retain(|_, (node, _)| *node != at);
        for reply in std::mem::take(&mut self.removing) {
            match self.home(reply.1) == at {
                true => {}
                false => drop(self.removing.insert(reply.0, reply.1)),
            }
        }
        (0..self.nodes.len()).for_each(|other| self.cut(at, other));
        self.check();
    }

    fn home(&self, who: usize) -> usize {
        self.node_of(self.rows[&self.id(who)].slots[0])
    }

    /// What goes between two workers is lost, and they know it.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        if !self.joined.remove(&(a.min(b), a.max(b))) {
            return;
        }
        self.lossy = true;
        for (from, to) in [(a, b), (b, a)] {
            self.rings.remove(&(from, to));
            self.meet(to);
        }
    }

    /// They are connected again.
    pub(crate) fn join(&mut self, a: usize, b: usize) {
        if a == b || !self.nodes[a].up || !self.nodes[b].up || !self.joined.insert((a.min(b), a.max(b))) {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            self.meet(to);
            self.rings.entry((from, to)).or_default().push_back(Relay::Hello);
        }
    }

    /// A node learns which colleagues it has.
    fn meet(&mut self, at: usize) {
        if !self.nodes[at].up {
            return;
        }
        let open: Vec<SlotNo> = (0..self.nodes.len())
            .filter(|other| self.joined.contains(&(at.min(*other), at.max(*other))))
            .map(|other| self.nodes[other].slot)
            .collect();
        let node = &mut self.nodes[at];
        let gone = node.switch.set_open(open.clone());
        node.inputs.extend(gone);
        node.inputs.push(Input::Colleagues { slots: open });
    }

    /// A node is told of an account, as it stands at the store.
    fn tell(&mut self, at: usize, who: usize) {
        let config = self.accounts[who].clone();
        let slots = slots_for(&config.id, &self.slots());
        let setup =
            AccountSetup { id: config.id.clone(), slots, key: [u8::try_from(who).unwrap() + 40; 16], credit_limit: config.credit_limit };
        let row = self.rows.entry(config.id.clone()).or_insert_with(|| AccountRow::new(&setup));
        row.set_up(&setup);
        let reply = self.next_reply;
        self.next_reply += 1;
        self.retry.insert(reply, (at, who));
        let node = &mut self.nodes[at];
        node.switch.set_account(&config.id, row);
        node.inputs.push(Input::AddAccount { config, row: row.clone(), reply });
    }

    /// An account gets another limit, at every worker.
    pub(crate) fn limit(&mut self, who: usize, limit: u64) {
        if self.there[who] {
            self.accounts[who].credit_limit = limit;
            (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect::<Vec<_>>().into_iter().for_each(|node| self.tell(node, who));
        }
    }

    /// An account that was removed comes back.
    pub(crate) fn add(&mut self, who: usize) {
        if !self.there[who] {
            self.there[who] = true;
            (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect::<Vec<_>>().into_iter().for_each(|node| self.tell(node, who));
        }
    }

    /// An account is to be closed, whatever its balance. Returns the number of the reply.
    pub(crate) fn remove(&mut self, who: usize, write_off: bool) -> Option<u64> {
        let home = self.home(who);
        if !self.nodes[home].up || !self.there[who] || self.removing.values().any(|other| *other == who) {
            return None;
        }
        let reply = self.next_reply;
        self.next_reply += 1;
        self.removed[who] = true;
        self.removing.insert(reply, who);
        let id = self.id(who);
        self.nodes[home].inputs.push(Input::RemoveAccount { id, write_off, reply });
        Some(reply)
    }

    /// Something is settled at an account's home.
    pub(crate) fn settle(&mut self, who: usize, amount: i128, id: u8) {
        let home = self.home(who);
        if self.nodes[home].up {
            *self.brought.entry(self.id(who)).or_default() += amount.max(0);
            let input = Input::Settle { account: self.id(who), amount, id: format!("s{id}").parse().unwrap(), reply: 0 };
            self.nodes[home].inputs.push(input);
        }
    }

    // Peers.

    pub(crate) fn connect(&mut self, who: usize, at: usize) -> Option<Line> {
        if !self.nodes[at].up || !self.nodes[at].worker.status().accounts.iter().any(|account| account.id == self.accounts[who].id) {
            return None;
        }
        let account = self.id(who);
        let node = &mut self.nodes[at];
        let connection = ConnectionId(node.next_connection);
        node.next_connection += 1;
        let relay = node.switch.connected(connection, &account);
        node.inputs.push(Input::Connected { connection, account, relayed: false });
        self.tell_all(at, relay);
        let line = Line { who, node: at, connection };
        self.lines.push(line);
        Some(line)
    }

    pub(crate) fn disconnect(&mut self, line: Line) {
        if !self.lines.contains(&line) {
            return;
        }
        self.lossy = true;
        self.lines.retain(|other| *other != line);
        for (_, tag, ..) in self.pending.extract_if(.., |(of, ..)| *of == line).collect::<Vec<_>>() {
            self.event(line, LinkEvent::Answered { tag, answer: Answer::Lost });
        }
        let node = &mut self.nodes[line.node];
        let relay = node.switch.disconnected(line.connection);
        node.inputs.push(Input::Disconnected { connection: line.connection });
        if let Some(relay) = relay {
            self.tell_all(line.node, relay);
        }
    }

    fn tell_all(&mut self, from: usize, relay: Relay) {
        for other in 0..self.nodes.len() {
            if self.joined.contains(&(from.min(other), from.max(other))) {
                self.rings.entry((from, other)).or_default().push_back(relay.clone());
            }
        }
    }

    fn event(&mut self, line: Line, event: LinkEvent) {
        match self.nodes[line.node].switch.event(line.connection, event) {
            Routed::Here(input) => self.nodes[line.node].inputs.push(input),
            Routed::Colleague(slot, relay) => {
                let to = self.node_of(slot);
                self.rings.entry((line.node, to)).or_default().push_back(relay);
            }
            Routed::Mail { slot, account, event } => {
                let content = letter_of(&account, &event).unwrap();
                let to = self.node_of(slot);
                let node = &mut self.nodes[to];
                node.letters += 1;
                node.mail.push(Letter { no: node.letters, content });
            }
            Routed::Unanswerable(request) => {
                if let Some(Asked::Prepare(n)) = self.requests.get(place(request)).copied() {
                    self.transfers[n].unanswerable += 1;
                }
            }
            Routed::Nobody => {}
        }
    }

    fn request(&mut self, asked: Asked) -> u32 {
        self.requests.push(asked);
        u32::try_from(self.requests.len() - 1).unwrap()
    }

    /// A new payment, said on these connections of its sender's. Returns its number.
    pub(crate) fn send(&mut self, from: usize, to: usize, amount: u64, ttl: i64, lines: &[Line]) -> usize {
        let n = self.transfers.len();
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let (id, destination) = (TransferId::new(id), Address::new(format!("test.ann.{}", self.accounts[to].id.name())).unwrap());
        let packet = Packet::Payment(Payment { amount: Amount::new(amount), account: destination.as_addr(), data: b"" });
        let payload = Payload::ilp(packet.to_vec().unwrap().into());
        let (condition, expires_at) = (preimage(n).condition(), self.at().saturating_add_millis(ttl));
        let transfer = IncomingPrepare { id, amount: Amount::new(amount), condition, expires_at, payload };
        let event = LinkEvent::Prepare { request: 0, transfer };
        self.know(from, to, id, amount, event, expires_at.unix_millis(), lines)
    }

    /// A new unconditional transfer.
    pub(crate) fn charge(&mut self, from: usize, amount: u64, lines: &[Line]) -> usize {
        let mut id = [8; 16];
        id[..8].copy_from_slice(&number(self.transfers.len()).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let id = TransferId::new(id);
        let event = LinkEvent::Transfer { request: 0, id, amount: Amount::new(amount), expires_at: None, payload: Payload::EMPTY };
        let expires_at = self.now + TIMING.hold_ms_max;
        self.know(from, from, id, amount, event, expires_at, lines)
    }

    #[allow(clippy::too_many_arguments, reason = "what a transfer is")]
    fn know(&mut self, from: usize, to: usize, id: TransferId, amount: u64, event: LinkEvent, expires_at: i64, lines: &[Line]) -> usize {
        let n = self.transfers.len();
        self.transfers.push(Known {
            from,
            to,
            id,
            amount,
            event,
            answers: Vec::new(),
            unanswerable: 0,
            outcome: None,
            sent_as: None,
            offered: false,
            confirmed: false,
            said: 0,
            expires_at,
        });
        lines.iter().for_each(|line| self.say(n, *line));
        n
    }

    /// A payment is said (again) on a connection of its sender's.
    pub(crate) fn say(&mut self, n: usize, line: Line) {
        assert_eq!(self.transfers[n].from, line.who);
        self.transfers[n].said += 1;
        let (mut event, number) = (self.transfers[n].event.clone(), self.request(Asked::Prepare(n)));
        match &mut event {
            LinkEvent::Prepare { request, .. } | LinkEvent::Transfer { request, .. } => *request = number,
            _ => {}
        }
        self.event(line, event);
    }

    /// The next hop fulfills a payment.
    pub(crate) fn fulfill(&mut self, n: usize, line: Line, right: bool) {
        let Some(id) = self.transfers[n].sent_as else { return };
        let request = self.request(if right { Asked::Fulfill(n) } else { Asked::Other });
        self.transfers[n].offered |= right;
        let fulfillment = if right { preimage(n) } else { preimage(n + 100_000) };
        self.event(line, LinkEvent::Fulfill { request, id, fulfillment });
    }

    pub(crate) fn reject(&mut self, n: usize, line: Line) {
        let Some(id) = self.transfers[n].sent_as else { return };
        let request = self.request(Asked::Other);
        self.event(line, LinkEvent::Reject { request, id, reason: crate::bench::error_bytes("F99", "test.hop") });
    }

    /// A peer answers a request of ours.
    pub(crate) fn answer_pending(&mut self, pick: usize, answer: Answer) {
        let (line, tag, ..) = self.pending.remove(pick);
        self.event(line, LinkEvent::Answered { tag, answer });
    }

    /// Lines of an account.
    pub(crate) fn lines_of(&self, who: usize) -> Vec<Line> {
        self.lines.iter().copied().filter(|line| line.who == who).collect()
    }

    fn command(&mut self, node: usize, connection: ConnectionId, command: LinkCommand) {
        let Some(line) = self.lines.iter().copied().find(|line| (line.node, line.connection) == (node, connection)) else { return };
        match command {
            LinkCommand::Answer { request, answer } => match self.requests[place(request)] {
                Asked::Prepare(n) => self.transfers[n].answers.push(answer),
                Asked::Fulfill(n) if answer == Answer::Ack => {
                    self.transfers[n].confirmed = true;
                    let rejected = matches!(self.transfers[n].outcome, Some(Err(_))) && !self.forgotten(n);
                    assert!(!rejected, "payment {n} was rejected at its sender and paid to its hop");
                }
                Asked::Fulfill(_) | Asked::Other => {}
            },
            LinkCommand::Prepare { tag, id, amount, condition, .. } => {
                let n = self.transfer_of(condition);
                let forgotten = self.forgotten(n);
                let transfer = &mut self.transfers[n];
                assert_eq!((transfer.to, transfer.amount), (line.who, amount.get()));
                let before = transfer.sent_as.replace(id);
                assert!(forgotten || before.is_none_or(|before| before == id), "payment {n} was sent on twice, as {before:?} and {id:?}");
                self.pending.push((line, tag, n, true));
            }
            LinkCommand::Fulfill { tag, id, fulfillment } => {
                let (n, forgotten) = (self.transfer_by(line.who, id), self.removed[line.who]);
                let transfer = &mut self.transfers[n];
                assert!(transfer.offered, "payment {n} was fulfilled by nobody");
                assert_eq!(fulfillment, preimage(n));
                let before = transfer.outcome.replace(Ok(fulfillment));
                assert!(forgotten || !matches!(before, Some(Err(_))), "payment {n} was rejected before it was fulfilled");
                self.pending.push((line, tag, n, false));
            }
            LinkCommand::Reject { tag, id, reason } => {
                let (n, forgotten) = (self.transfer_by(line.who, id), self.removed[line.who]);
                let transfer = &mut self.transfers[n];
                assert!(forgotten || !transfer.confirmed, "payment {n} was paid to its hop and rejected at its sender");
                let before = transfer.outcome.replace(Err(reason));
                assert!(forgotten || !matches!(before, Some(Ok(_))), "payment {n} was fulfilled before it was rejected");
                self.pending.push((line, tag, n, false));
            }
            LinkCommand::Close { .. } => self.disconnect(line),
            LinkCommand::Accept { .. } | LinkCommand::Refuse | LinkCommand::Redirect { .. } => {}
        }
    }

    /// Its sender's account was closed since, perhaps: another one of its name knows nothing of it.
    fn forgotten(&self, n: usize) -> bool {
        self.removed[self.transfers[n].from]
    }

    fn transfer_of(&self, condition: Condition) -> usize {
        (0..self.transfers.len()).find(|n| preimage(*n).condition() == condition).unwrap()
    }

    fn transfer_by(&self, from: usize, id: TransferId) -> usize {
        self.transfers.iter().position(|transfer| transfer.from == from && transfer.id == id).unwrap()
    }

    // What is on its way goes on.

    /// A step of a worker with whatever has come in.
    pub(crate) fn step(&mut self, at: usize) {
        let now = self.at();
        if !self.nodes[at].up {
            return;
        }
        let mut draws: BTreeMap<AccountId, (i128, i128)> = BTreeMap::new();
        for input in &self.nodes[at].inputs {
            let Input::Moved { account, n, outcome: MoveOutcome::Done { result, .. } } = input else { continue };
            let (drawn, found) = draws.entry(account.clone()).or_insert((0, i128::MIN));
            *drawn += result.moved.max(0);
            *found = (*found).max(self.caps.get(&(at, account.clone(), *n)).copied().unwrap_or(i128::MIN));
        }
        let node = &mut self.nodes[at];
        let before = (node.worker.status(), held(&node.worker));
        let batch = node.worker.step(now, &mut node.inputs).unwrap();
        let after = (node.worker.status(), held(&node.worker));
        node.held.push_back((batch, false));
        self.check_admissions(at, &before, &after, &draws);
        self.check();
    }

    /// The next batch of a worker becomes durable.
    pub(crate) fn make_durable(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        let Some((batch, durable)) = node.held.iter_mut().find(|(_, durable)| !durable) else { return false };
        *durable = true;
        let Some(commit) = &batch.commit else { return true };
        node.log.push((commit.seq, commit.blob.clone()));
        for (id, balance) in commit.balances.clone() {
            match balance {
                Some(balance) => node.balances.insert(id, balance),
                None => node.balances.remove(&id),
            };
        }
        if let Some(cut) = commit.cut_below {
            node.log.retain(|(seq, _)| *seq >= cut);
        }
        node.mail.retain(|letter| commit.mail_read.is_none_or(|read| letter.no > read));
        true
    }

    /// The next batch of a worker is released, if it is durable.
    pub(crate) fn release(&mut self, at: usize) -> bool {
        let now = self.at();
        let node = &mut self.nodes[at];
        if node.held.front().is_none_or(|(_, durable)| !durable) {
            return false;
        }
        let Some((batch, _)) = node.held.pop_front() else { return false };
        let mut out = Vec::new();
        node.worker.release(batch, now, &mut out);
        for effect in out {
            self.released(at, effect);
        }
        true
    }

    fn released(&mut self, at: usize, effect: Released) {
        match effect {
            Released::Command(connection, command) => match self.nodes[at].switch.command(connection, command) {
                Sent::Here(connection, command) => self.command(at, connection, command),
                Sent::Colleague(slot, relay) => self.relay(at, slot, relay),
                Sent::Nobody => {}
            },
            Released::Move(request) => self.asked.push((at, self.nodes[at].epoch, *request)),
            Released::Note { to, account, note } => self.relay(at, to, Relay::Noted { account, note }),
            Released::Account(reply, result) => {
                if let Some(who) = self.removing.remove(&reply)
                    && result.is_ok()
                {
                    self.there[who] = false;
                    self.lines_of(who).into_iter().for_each(|line| self.disconnect(line));
                }
                if let Some((node, who)) = self.retry.remove(&reply)
                    && let Err(error) = &result
                {
                    assert!(matches!(error, AccountError::Closing(_)), "{error}");
                    self.retry.insert(reply, (node, who));
                }
                self.replies.insert(reply, result);
            }
            Released::Settled(_, result) => self.settled.push(result),
            // What leads to an account that is gone leads to the connector itself.
            Released::Deliver(delivery, payment) => {
                let result = Err(Refusal::NoRoute(payment.destination.to_string()));
                self.nodes[at].inputs.push(Input::Received { delivery, result });
            }
            other => panic!("{other:?}"),
        }
    }

    fn relay(&mut self, from: usize, to: SlotNo, relay: Relay) {
        let to = self.node_of(to);
        if self.joined.contains(&(from.min(to), from.max(to))) {
            self.rings.entry((from, to)).or_default().push_back(relay);
        }
    }

    /// The next thing on one of the rings arrives.
    pub(crate) fn deliver(&mut self, pick: usize) -> bool {
        let full: Vec<_> = self.rings.iter().filter(|(_, ring)| !ring.is_empty()).map(|(key, _)| *key).collect();
        let Some((from, to)) = full.get(pick % full.len().max(1)).copied() else { return false };
        let Some(relay) = self.rings.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return false };
        let slot = self.nodes[from].slot;
        match self.nodes[to].switch.arrived(slot, relay) {
            Arrived::Input(input) => self.nodes[to].inputs.push(input),
            Arrived::Command(connection, command) => self.command(to, connection, command),
            Arrived::Reply(relays) => relays.into_iter().for_each(|relay| self.relay(to, slot, relay)),
            Arrived::Nothing => {}
        }
        true
    }

    /// The store decides a move that it was asked for. `again`: it will be asked once more, late. `unknown`: it doesn't say what it
    /// decided, or hasn't.
    pub(crate) fn decide(&mut self, pick: usize, again: bool, unknown: Option<bool>) -> bool {
        let Some((at, epoch, request)) = self.asked.get(pick % self.asked.len().max(1)).cloned() else { return false };
        if !again {
            self.asked.remove(pick % self.asked.len());
        }
        let account = request.account.clone();
        let row = self.rows.get_mut(&account).unwrap();
        let before = row.clone();
        let mut outcome = MoveOutcome::Unknown { cause: "told to say so".into() };
        if unknown != Some(false) {
            outcome = row.apply(request.slot, request.n, &request.change);
            let (new, cold, limit) = (before.moves != row.moves, row.cold, i128::from(row.credit_limit));
            let result = row.moves.get(&request.slot).map(|last| last.result);
            if let (MoveChange::Draw { .. }, Some(result), true) = (&request.change, result, new) {
                assert!(result.moved >= 0 && (result.moved == 0 || cold >= -limit), "{account}: drawn to {cold} with a limit of {limit}");
                let hot = self.nodes[at].worker.hot_balances().get(&account).copied().unwrap_or_default();
                let peak = self.peaks.insert((at, account.clone()), hot).unwrap_or_default().max(hot);
                let cap = if result.enough { before.cold + limit + peak } else { i128::MIN };
                self.caps.insert((at, account.clone(), request.n), cap);
            }
            if unknown == Some(true) {
                outcome = MoveOutcome::Unknown { cause: "told to say so".into() };
            }
        }
        self.answers.push((at, epoch, Input::Moved { account, n: request.n, outcome }));
        self.check();
        true
    }

    /// The store's answer arrives.
    pub(crate) fn answer(&mut self, pick: usize) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let (at, epoch, input) = self.answers.remove(pick % self.answers.len());
        let node = &mut self.nodes[at];
        if node.up && node.epoch == epoch {
            node.inputs.push(input);
        }
        true
    }

    /// Everything that can go on at this instant does.
    pub(crate) fn run(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it doesn't come to rest");
            let mut busy = false;
            for at in 0..self.nodes.len() {
                let node = &self.nodes[at];
                if node.up && (!node.inputs.is_empty() || node.worker.next_step().is_some_and(|next| next <= self.at())) {
                    self.step(at);
                    busy = true;
                }
                while self.make_durable(at) {}
                while self.release(at) {}
            }
            while self.deliver(0) {
                busy = true;
            }
            while self.decide(0, false, None) {
                busy = true;
            }
            while self.answer(0) {
                busy = true;
            }
            if !busy {
                return;
            }
        }
    }

    /// Time passes, and everything goes on as it should.
    pub(crate) fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        self.run();
        loop {
            let next = self.nodes.iter().filter(|node| node.up).filter_map(|node| node.worker.next_step()).min();
            let Some(next) = next.map(|next| next.unix_millis()).filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.run();
        }
        self.now = end;
        self.run();
    }

    /// Whoever has sent something that hasn't expired and was accepted says it again: it is still accepted, and nothing else follows.
    pub(crate) fn probe(&mut self) {
        self.run();
        for n in 0..self.transfers.len() {
            let transfer = &self.transfers[n];
            let (from, accepted) = (transfer.from, transfer.answers.contains(&Answer::Ack));
            if !accepted || transfer.expires_at <= self.now || self.removed[from] {
                continue;
            }
            let Some(line) = self.lines_of(from).into_iter().next_back().or_else(|| self.connect(from, n % self.nodes.len())) else {
                continue;
            };
            let answers = self.transfers[n].answers.len();
            self.say(n, line);
            self.run();
            assert_eq!(self.transfers[n].answers[answers..], [Answer::Ack], "payment {n} was accepted");
        }
    }

    /// All are up, together, and know every account.
    pub(crate) fn heal(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.open(at));
        for a in 0..self.nodes.len() {
            (0..a).for_each(|b| self.join(a, b));
        }
        self.run();
        self.tell_again();
    }

    /// Nodes that couldn't be told of an account, since it was being closed, are told again, unless it is gone.
    pub(crate) fn tell_again(&mut self) {
        for (_, (node, who)) in std::mem::take(&mut self.retry) {
            if self.there[who] {
                self.tell(node, who);
            }
        }
        self.run();
    }

    // What must hold.

    pub(crate) fn status(&self, at: usize) -> WorkerStatus {
        self.nodes[at].worker.status()
    }

    /// An account's balance: what its parts at all slots add up to.
    pub(crate) fn balance(&self, who: usize) -> i128 {
        self.nodes.iter().flat_map(|node| node.worker.status().accounts).filter(|a| a.id == self.accounts[who].id).map(|a| a.balance).sum()
    }

    pub(crate) fn hot(&self, who: usize) -> i128 {
        self.nodes.iter().flat_map(|node| node.worker.status().accounts).filter(|a| a.id == self.accounts[who].id).map(|a| a.hot).sum()
    }

    /// I1, I2, and that nothing is hot that isn't there.
    pub(crate) fn check(&mut self) {
        let statuses: Vec<_> = self.nodes.iter().map(|node| node.worker.status()).collect();
        for (node, status) in self.nodes.iter().zip(&statuses) {
            for account in &status.accounts {
                assert_eq!(account.totals.balance(), Some(account.balance), "I2 of {} at slot {}", account.id, node.slot);
                assert!(account.hot >= 0, "{} of {} are hot at slot {}", account.hot, account.id, node.slot);
            }
            for (asset, _) in &status.own {
                assert_eq!(status.conservation(asset), 0, "I1 of {asset} at slot {}", node.slot);
            }
        }
        let mut missing = 0;
        for (who, config) in self.accounts.iter().enumerate() {
            let Some(row) = self.rows.get(&config.id) else { continue };
            let mut sum = row.cold;
            for (at, (node, status)) in self.nodes.iter().zip(&statuses).enumerate() {
                let Some(account) = status.accounts.iter().find(|account| account.id == config.id) else { continue };
                let transit = node.worker.in_transit(&config.id, row.moves.get(&node.slot).copied());
                sum += account.hot + transit - account.balance;
                let peak = self.peaks.entry((at, config.id.clone())).or_default();
                *peak = (*peak).max(account.hot);
            }
            if !self.removed[who] {
                assert_eq!(sum, 0, "of {} units were made (or lost)", config.id);
            }
            missing += sum;
        }
        let gone: i128 = statuses.iter().flat_map(|status| &status.closed_moves).map(|(_, moved)| *moved).sum();
        assert_eq!(missing + gone, 0, "with all that was closed, units were made (or lost)");
    }

    /// Nothing was admitted that the rule refuses: P × amount against what is hot, or what a draw found.
    fn check_admissions(&self, at: usize, before: &Seen, after: &Seen, draws: &BTreeMap<AccountId, (i128, i128)>) {
        for account in &after.0.accounts {
            let new = after.1.iter().filter(|(key, _)| key.0 == account.id && !before.1.contains_key(*key));
            let new: Vec<i128> = new.map(|(_, amount)| i128::from(*amount)).collect();
            let old = before.0.accounts.iter().find(|other| other.id == account.id);
            let (drawn, found) = draws.get(&account.id).copied().unwrap_or((0, i128::MIN));
            // What was hot, and whatever was added.
            let (old_hot, was) = old.map_or((0, Default::default()), |old| (old.hot, old.totals));
            let is = &account.totals;
            let refunds =
                was.incoming_prepared + new.iter().sum::<i128>() - is.incoming_prepared - (is.incoming_fulfilled - was.incoming_fulfilled);
            // One settlement may bring what another takes again in the same step.
            let brought = if is.settlements == was.settlements { 0 } else { self.brought.get(&account.id).copied().unwrap_or_default() };
            let earned = is.outgoing_fulfilled - was.outgoing_fulfilled;
            let most = old_hot + refunds + earned + brought + drawn;
            for amount in new {
                let needed = amount * i128::from(account.id.parallelism());
                assert!(
                    needed <= most.max(found),
                    "{amount} of {} were admitted at node {at} with {most} hot and {found} found",
                    account.id
                );
            }
        }
    }

    /// Everything has ended, and everybody knows how.
    pub(crate) fn check_over(&self) {
        for (node, at) in self.nodes.iter().zip(0..) {
            let status = self.status(at);
            let idle = (node.worker.parked(), node.worker.moves_under_way(), status.in_flight, status.remembered);
            assert_eq!(idle, (0, 0, 0, 0), "parked, moving, in flight, remembered at slot {}", node.slot);
            for account in &status.accounts {
                assert_eq!((account.totals.incoming_prepared, account.in_flight), (0, 0), "{} at slot {}", account.id, node.slot);
            }
            let beside: BTreeMap<_, _> = status.accounts.iter().map(|a| (a.id.clone(), a.hot)).filter(|(_, hot)| *hot != 0).collect();
            let stored: BTreeMap<_, _> = node.balances.iter().filter(|(_, hot)| **hot != 0).map(|(id, hot)| (id.clone(), *hot)).collect();
            assert_eq!(stored, beside, "beside the log of slot {}", node.slot);
        }
        assert!(self.removing.is_empty(), "an account is never closed");
        assert!(self.retry.is_empty(), "an account is never configured");
        for (n, transfer) in self.transfers.iter().enumerate().filter(|_| !self.lossy) {
            assert_eq!(transfer.answers.len(), transfer.said, "payment {n} was said {} times", transfer.said);
        }
    }
}

type Seen = (WorkerStatus, BTreeMap<(AccountId, TransferId), u64>);

/// Conditional transfers of accounts that are in flight at a worker.
fn held(worker: &Worker) -> BTreeMap<(AccountId, TransferId), u64> {
    let transfers = worker.in_flight_transfers(usize::MAX).into_iter();
    transfers.filter_map(|t| Some(((t.from?, t.incoming_id), t.incoming_amount.get()))).collect()
}
