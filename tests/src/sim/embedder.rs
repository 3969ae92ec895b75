//! The embedder of a connector: outside of its process, with a ledger of its own that survives it, made of events alone; and with
//! settlements that it tells until it is told that they are durable.

use super::observe::{EmbeddersLedger, NodeNo, Seen, Told};
use super::process::account_id;
use super::world::{Event, World};
use ilp_core::worker::{Input, SettleError, Settlement, SettlementId};
use ilp_core::{AccountId, NumberedEvent};
use ilp_oer::TransferId;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Embedder {
    ledger: EmbeddersLedger,
    /// Told by a process and not yet looked at: it goes with the process.
    inbox: VecDeque<(u64, u64, Told)>,
}

impl Embedder {
    pub(super) fn ledger(&self) -> &EmbeddersLedger {
        &self.ledger
    }

    /// A process is gone, and what it had told and nobody has taken.
    pub(super) fn hang_up(&mut self, process: u64) {
        self.inbox.retain(|(of, ..)| *of != process);
    }
}

impl EmbeddersLedger {
    /// Moves what the event says that it moves, once.
    fn enter(&mut self, number: u64, event: Told) {
        if number <= self.last {
            return;
        }
        self.last = number;
        let Told { kind, from, to, id, amounts: [x, y] } = event;
        let (from, to) = (from.as_deref(), to.as_deref());
        match kind {
            "opened" => drop(self.accounts.insert(from.unwrap_or_default().to_owned(), (id, 0, 0))),
            "accepted" => self.change(from, -x, x, 0),
            "fulfilled" => {
                self.change(from, 0, -x, x);
                self.change(to, y, 0, -y);
            }
            "rejected" => self.change(from, x, -x, 0),
            "lost" => self.change(from, x, 0, -x),
            "charged" => self.change(from, -x, 0, x),
            "settled" => self.change(from, x, 0, 0),
            _ => {}
        }
    }

    fn change(&mut self, account: Option<&str>, balance: i128, held: i128, own: i128) {
        let Some(account) = account.and_then(|name| self.accounts.get_mut(name)) else { return };
        account.1 += balance;
        account.2 += held;
        *self.own.entry(account.0.clone()).or_default() += own;
    }
}

impl World {
    /// A process tells its embedder an event.
    pub(super) fn tell(&mut self, node: NodeNo, process: u64, epoch: u64, event: NumberedEvent) {
        // What isn't in the books is nobody's business here.
        let Some((number, event)) = event.number.zip(told(event.event)) else { return };
        self.see(Seen::Told { node, epoch, number, event: event.clone() });
        let waiting = self.nodes[node].embedder.inbox.iter().any(|(of, ..)| *of == process);
        self.nodes[node].embedder.inbox.push_back((process, number, event));
        if !waiting {
            let at = self.now + if self.rng.percent(80) { self.rng.range(0, 20) } else { self.rng.range(0, 400) };
            self.after(at, Event::Embed { node, process });
        }
    }

    /// The embedder takes what it was told. It says so later, if at all.
    pub(super) fn embed(&mut self, node: NodeNo, process: u64) {
        let Embedder { ledger, inbox } = &mut self.nodes[node].embedder;
        for (of, number, event) in std::mem::take(inbox) {
            match of == process {
                true => ledger.enter(number, event),
                false => inbox.push_back((of, number, event)),
            }
        }
        if self.rng.percent(30) {
            let at = self.now + self.rng.range(0, 2_000);
            self.after(at, Event::Acknowledge { node, process });
        }
    }

    pub(super) fn acknowledge(&mut self, node: NodeNo, process: u64) {
        let through = self.nodes[node].embedder.ledger.last;
        let Some(of) = self.nodes[node].processes.get_mut(&process) else { return };
        of.inputs.push(Input::AcknowledgeEvents { through });
        self.see(Seen::Acknowledged { node, through });
        self.wake(node, process, self.now);
    }

    /// The embedder tells a settlement, and again until it hears that it is durable; some tell it again even then.
    pub(super) fn settle(&mut self, place: usize) {
        let planned = self.plan.settlements[place].clone();
        let again = self.now + self.rng.range(50, 1_500);
        let other_amount = match self.settled[place] {
            None => false,
            Some(told) if told >= planned.repeats => return,
            Some(told) => {
                self.settled[place] = Some(told + 1);
                self.rng.percent(25)
            }
        };
        let later = if self.settled[place].is_some() { self.rng.range(0, 6_000) } else { 0 };
        self.after(again + later, Event::Settle(place));
        let Some(number) = self.nodes[planned.node].current else { return };
        let account = account_id(&self.plan.layout.nodes[planned.node], planned.account);
        let amount = planned.amount + i128::from(other_amount);
        let reply = u64::try_from(place).unwrap() * 2 + u64::from(other_amount);
        if let Some(process) = self.nodes[planned.node].processes.get_mut(&number) {
            let id: SettlementId = planned.id.parse().unwrap();
            process.inputs.push(Input::Settle { account, amount, id, reply });
        }
        self.wake(planned.node, number, self.now);
    }

    pub(super) fn told_of_settlement(&mut self, reply: u64, result: Result<Settlement, SettleError>) {
        let (place, other_amount) = (usize::try_from(reply / 2).unwrap(), reply % 2);
        let planned = self.plan.settlements[place].clone();
        let amount = planned.amount + i128::from(other_amount);
        if result.is_ok() {
            self.settled[place].get_or_insert(0);
        }
        let result = result.map(|settlement| settlement.repeated).map_err(|error| error.to_string());
        self.see(Seen::Settled { node: planned.node, account: planned.account, id: planned.id, amount, result });
    }
}

fn told(event: ilp_core::Event) -> Option<Told> {
    use ilp_core::Event as E;
    let hex = |id: TransferId| hex::encode(id.as_bytes());
    let name = |account: Option<AccountId>| account.map(|account| account.name().to_owned());
    let told = |kind, from, to, id, amounts| Some(Told { kind, from: name(from), to: name(to), id, amounts });
    let units = |amount: ilp_oer::Amount| i128::from(amount.get());
    match event {
        E::AccountOpened { account, asset } => told("opened", Some(account), None, asset.to_string(), [0, 0]),
        E::Accepted { from, to, id, incoming_amount, outgoing_amount } => {
            told("accepted", from, to, hex(id), [units(incoming_amount), units(outgoing_amount)])
        }
        E::Fulfilled { from, to, id, incoming_amount, outgoing_amount } => {
            told("fulfilled", from, to, hex(id), [units(incoming_amount), units(outgoing_amount)])
        }
        E::Rejected { from, id, incoming_amount, .. } => told("rejected", from, None, hex(id), [units(incoming_amount), 0]),
        E::Disputed { from, id, incoming_amount } => told("disputed", from, None, hex(id), [units(incoming_amount), 0]),
        E::Unconfirmed { from, id, incoming_amount } => told("unconfirmed", from, None, hex(id), [units(incoming_amount), 0]),
        E::Lost { from, id, incoming_amount } => told("lost", from, None, hex(id), [units(incoming_amount), 0]),
        E::Charged { from, id, amount } => told("charged", Some(from), None, hex(id), [units(amount), 0]),
        E::Settlement { account, id, amount } => told("settled", Some(account), None, id, [amount, 0]),
        _ => None,
    }
}
