//! The rules.

use super::World;
use super::store::name_of;
use ilp_core::AccountId;
use ilp_core::audit::Audit;
use ilp_core::store::{AccountRow, Move, MoveChange, MoveOutcome};
use ilp_core::worker::{Input, WorkerStatus};
use std::collections::BTreeMap;

impl World {
    /// A move takes from one side what it gives the other, once, and a draw finds what the rule of admission asks for.
    pub(crate) fn check_move(&mut self, before: &AccountRow, after: &AccountRow, request: &Move, outcome: &MoveOutcome) {
        let wrong = |what: &str| format!("{what}: {request:?} made {before:?} into {after:?}, told {outcome:?}");
        let total = |row: &AccountRow| row.moves.get(&request.slot).map_or(0, |last| last.total);
        if before.cold + total(before) != after.cold + total(after) || after.difference() != 0 {
            return self.broken("conservation", wrong("units came or went"));
        }
        let MoveOutcome::Done { result, .. } = outcome else { return };
        let new = before.moves.get(&request.slot).is_none_or(|last| last.n != request.n);
        if !new {
            if before != after {
                self.broken("conservation", wrong("a repeated move was made again"));
            }
            return;
        }
        if let MoveChange::Draw { needed, least, .. } = request.change {
            let available = before.cold + i128::from(before.credit_limit);
            let enough = available >= needed.max(least);
            if result.enough != enough
                || (enough && result.moved < least)
                || (!enough && result.moved != 0)
                || result.moved > available.max(0)
            {
                self.broken("admission", wrong("the draw isn't what the rule of admission asks for"));
            }
        }
    }

    /// Every slot's books by the product's own audit; every row by itself; and both together, unit by unit.
    pub(crate) fn check_books(&mut self) {
        let mut parts: BTreeMap<AccountId, (i128, i128)> = BTreeMap::new();
        let mut total = 0;
        for slot in self.slots.clone() {
            let audit = match Audit::of_slot(&name_of(slot), self.store.picture(slot)) {
                Ok(audit) => audit,
                Err(error) => return self.broken("conservation", format!("slot {slot} can't be audited: {error}")),
            };
            if let Some(violation) = audit.violations.first() {
                return self.broken("conservation", format!("slot {slot}: {violation:?}"));
            }
            for account in &audit.accounts {
                let (balance, elsewhere) = parts.entry(account.id.clone()).or_default();
                *balance += account.balance;
                *elsewhere += account.hot + account.in_transit;
            }
            total += audit.assets.iter().map(|asset| asset.difference()).sum::<i128>();
        }
        if total != 0 {
            return self.broken("conservation", format!("{total} units came from nowhere"));
        }
        for (id, row) in self.store.rows.clone() {
            let (balance, elsewhere) = parts.get(&id).copied().unwrap_or_default();
            if !row.closed && row.cold + elsewhere != balance {
                return self.broken("conservation", format!("{id}: cold {} and hot and in transit {elsewhere} aren't {balance}", row.cold));
            }
        }
    }

    pub(crate) fn statuses(&self) -> Vec<WorkerStatus> {
        self.slots.iter().filter_map(|slot| self.current(*slot)).map(|no| self.units[&no].worker.status()).collect()
    }

    fn balance(&self, account: usize) -> i128 {
        let id = &self.configs[account].id;
        self.statuses().iter().flat_map(|status| &status.accounts).filter(|account| account.id == *id).map(|account| account.balance).sum()
    }

    /// When nothing has gone wrong for long enough.
    pub(crate) fn finish(&mut self) {
        self.pass(1_000);
        self.check_books();
        let stuck = |what: &str, n: usize| format!("{n} {what} at the end");
        for slot in self.slots.clone() {
            let Some(no) = self.current(slot) else { return self.broken("liveness", format!("slot {slot} isn't open at the end")) };
            let worker = &self.units[&no].worker;
            let left = [("in flight", worker.in_flight()), ("moves under way", worker.moves_under_way()), ("parked", worker.parked())];
            if let Some((what, n)) = left.into_iter().find(|(_, n)| *n > 0) {
                return self.broken("liveness", stuck(what, n));
            }
            if !self.store.slots[&slot].mail.is_empty() {
                self.count("letters left");
            }
        }
        self.check_payments();
        if self.outcome.violation.is_none() {
            self.probe();
        }
        if self.outcome.violation.is_none() {
            self.close_all();
        }
    }

    /// What the receivers know decides what everybody has.
    fn check_payments(&mut self) {
        let mut expected: Vec<i128> = self.configs.iter().map(|config| config.initial_balance.into()).collect();
        for settling in self.settlements.iter().filter(|settling| settling.told && !settling.refused) {
            expected[settling.account] += settling.amount;
        }
        let mut unknown = vec![false; self.configs.len()];
        for (to, peer) in self.peers.iter().enumerate() {
            for received in peer.received.values().filter(|received| received.decision == Some(true)) {
                let payment = &self.payments[received.payment];
                match received.taken.or(payment.outcome) {
                    Some(true) => {
                        expected[to] += i128::from(received.amount);
                        expected[payment.from] -= i128::from(payment.amount);
                    }
                    Some(false) => {}
                    // Neither was ever told.
                    None => (unknown[to], unknown[payment.from]) = (true, true),
                }
            }
        }
        for (account, expected) in expected.into_iter().enumerate().filter(|(account, _)| !unknown[*account]) {
            let is = self.balance(account);
            if is != expected {
                return self.broken("as-paid", format!("p{account} has {is}; by what the receivers know it is {expected}"));
            }
        }
        for no in 0..self.payments.len() {
            let payment = &self.payments[no];
            let received = self.peers[payment.to].received.values().find(|received| received.payment == no);
            let knows = received.is_some_and(|received| received.taken.is_some() || received.decision != Some(true));
            let paid = received.is_some_and(|received| received.decision == Some(true) && received.taken == Some(true));
            match payment.outcome {
                Some(true) if !paid && knows => return self.broken("as-paid", format!("payment {no} is fulfilled to its sender alone")),
                Some(false) if paid => return self.broken("as-paid", format!("payment {no} is fulfilled to its receiver alone")),
                Some(true) => self.count("fulfilled"),
                Some(false) => self.count("rejected"),
                None => self.count("without an end for the sender"),
            }
        }
    }

    /// With all else at rest a payment is taken if and only if parallelism × amount is there.
    fn probe(&mut self) {
        for account in 0..self.configs.len() {
            self.pass(1_000);
            let (p, limit) = (i128::from(self.configs[account].id.parallelism()), i128::from(self.configs[account].credit_limit));
            let to = (account + 1) % self.configs.len();
            // Small ones first, so that something is hot at several slots, and stays there for a while.
            for _ in 0..if p > 1 { 3 } else { 0 } {
                if self.probe_with(account, to, 1).is_none() {
                    return self.broken("liveness", format!("p{account} isn't connected at the end"));
                }
            }
            self.pass(3_000);
            let most = (self.balance(account) + limit).div_euclid(p);
            for (amount, fits) in [(most + 1, false), (most, true)] {
                let Ok(amount) = u64::try_from(amount) else { continue };
                if amount == 0 {
                    continue;
                }
                let Some(no) = self.probe_with(account, to, amount) else {
                    return self.broken("liveness", format!("p{account} isn't connected at the end"));
                };
                self.pass(3_000);
                let payment = &self.payments[no];
                let short = payment.refused.contains_key("T04");
                if payment.acked != fits || short == fits {
                    let (is, balance) = (payment.acked, self.balance(account));
                    let what = format!(
                        "p{account} has {balance} with a limit of {limit}, parallelism {p}: {amount} taken is {is}, it should be {fits}; refused {:?}",
                        payment.refused
                    );
                    return self.broken("admission", what);
                }
                self.count("probes");
            }
        }
        self.pass(15_000);
        self.check_books();
    }

    /// A payment on any connection of its sender's; `None` if it has none.
    fn probe_with(&mut self, account: usize, to: usize, amount: u64) -> Option<usize> {
        let mut payment = self.new_payment(account, to, amount);
        payment.expires_at = self.now + 10_000;
        let connection = self.any_connection(account)?;
        self.payments.push(payment);
        let no = self.payments.len() - 1;
        self.ask(no, connection);
        Some(no)
    }

    /// Closed, nothing of an account is left anywhere, and what it had is the connector's own.
    fn close_all(&mut self) {
        let settled: i128 = self.statuses().iter().flat_map(|status| &status.accounts).map(|account| account.totals.settlements).sum();
        for account in 0..self.configs.len() {
            let id = self.configs[account].id.clone();
            let home = self.store.rows[&id].slots[0];
            let reply = 100 + u64::try_from(account).unwrap();
            if let Some(unit) = self.current(home) {
                self.give(unit, Input::RemoveAccount { id, write_off: true, reply });
            }
            self.pass(500);
            if self.replies.get(&reply) != Some(&true) {
                return self.broken("closing", format!("p{account} can't be closed: {:?}", self.replies.get(&reply)));
            }
        }
        self.pass(2_000);
        let statuses = self.statuses();
        if let Some(left) = statuses.iter().flat_map(|status| &status.accounts).next() {
            return self.broken("closing", format!("after all were closed there is {left:?}"));
        }
        let own: i128 = statuses.iter().flat_map(|status| &status.own).map(|(_, own)| *own).sum();
        if own != settled {
            return self.broken("closing", format!("the connector has {own} of its own, {settled} were settled"));
        }
        if let Some((id, row)) = self.store.rows.iter().find(|(_, row)| row.cold != 0 || !row.closed || row.difference() != 0) {
            return self.broken("closing", format!("{id} is left with {row:?}"));
        }
        self.count("closed all");
    }
}
