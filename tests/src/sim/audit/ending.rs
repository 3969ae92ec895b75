//! The rules about what must be so when nothing is on its way, and at the end.

use super::super::observe::{NodeNo, Statement};
use super::ledger::{Outcome, Settled};
use super::log::{Doubts, Sums};
use super::records::short;
use super::{Auditor, Invariant};
use ilp_core::worker::AccountStatus;

impl Auditor {
    /// The books of the log, the balances beside it, and what the running worker states are the same.
    pub(super) fn compare(&mut self, statements: &[Statement]) {
        if statements.len() != self.ledgers.len() {
            return self.fail(0, Invariant::Liveness, "a connector doesn't run");
        }
        for (node, statement) in statements.iter().enumerate() {
            if let Err((invariant, what)) = self.compare_one(node, statement) {
                self.fail(node, invariant, what);
            }
        }
    }

    fn compare_one(&self, node: NodeNo, statement: &Statement) -> Result<(), (Invariant, String)> {
        let (ledger, layout) = (&self.ledgers[node], &self.layout.nodes[node]);
        let differs = |what: String| Err((Invariant::BalanceFormula, what));
        if !self.unsynced[node].is_empty() {
            return Err((Invariant::Liveness, "a batch was applied, and is never made durable".into()));
        }
        for (asset, _) in &statement.status.own {
            let stated = statement.status.accounts.iter().filter(|account| account.asset == *asset);
            let own: i128 = statement.status.own.iter().filter(|(of, _)| of == asset).map(|(_, own)| *own).sum();
            let moved = |account: &AccountStatus| account.balance + account.totals.incoming_prepared - account.totals.settlements;
            let sum = stated.map(moved).sum::<i128>() + own;
            if sum != 0 {
                return Err((Invariant::Conservation, format!("{sum} {asset} came from nowhere")));
            }
        }
        for (place, account) in layout.accounts.iter().enumerate() {
            let (balance, sums, doubts) = (ledger.balances[place], ledger.sums[place], ledger.doubts[place]);
            let Some(stated) = statement.status.accounts.iter().find(|stated| stated.id.name() == account.name) else {
                return differs(format!("{} isn't stated", account.name));
            };
            if stated.balance != balance || sums_of(stated) != sums || stated.totals.balance() != Some(balance) {
                let (name, is, totals) = (&account.name, stated.balance, stated.totals);
                return differs(format!("{name} has {balance} by its log, of {sums:?}; it is stated to have {is}, of {totals:?}"));
            }
            if doubts_of(stated) != doubts {
                return differs(format!("{} has {doubts:?} by its log, and states {:?}", account.name, stated.doubts));
            }
            let stored = statement.stored.iter().find(|(name, _)| *name == account.name).map_or(0, |(_, balance)| *balance);
            let hot = ledger.hot(place);
            if (stored, stated.hot) != (hot, hot) {
                let stated = stated.hot;
                return differs(format!("{hot} of {} are hot by its log, {stored} beside it, {stated} are stated", account.name));
            }
        }
        for asset in ledger.assets() {
            let stated = statement.status.own.iter().find(|(own, _)| own.to_string() == asset).map_or(0, |(_, own)| *own);
            if stated != ledger.own[asset] {
                return differs(format!("the connector itself has {} {asset} by its log, and states {stated}", ledger.own[asset]));
            }
        }
        if let Some(log) = &statement.log {
            self.reads(node, log)?;
        }
        if let Some(embedders) = &statement.embedder {
            self.compare_embedder(node, embedders)?;
        }
        match ledger.sums(layout).into_iter().find(|(_, sum)| *sum != 0) {
            Some((asset, sum)) => Err((Invariant::Conservation, format!("{sum} {asset} came from nowhere"))),
            None => Ok(()),
        }
    }

    /// What isn't acknowledged was said on the account's connection.
    pub(super) fn look_for_silence(&mut self) {
        let mut found = None;
        let (grace, least) = (self.layout.grace_ms, self.layout.outgoing_ms_min);
        // What a connector's clock shows at least, and a margin for its turn.
        let earliest = self.now - super::SKEW_MS_MAX / 2;
        for (node, ledger) in self.ledgers.iter().enumerate() {
            for transfer in ledger.transfers.values() {
                let own = &transfer.prepared;
                let said_on = |wires: &[u64], account: Option<usize>| {
                    let Some((wire, _, since)) = account.and_then(|account| ledger.connected.get(&account)) else { return true };
                    self.wires.get(wire).is_some_and(|wire| wire.over) || wires.contains(wire) || *since > earliest + 1_000
                };
                let owed = transfer.outcome.is_some() && transfer.answer_acks + transfer.answer_errors == 0 && transfer.settled.is_none();
                let dedupes = |account: Option<usize>| account.is_some_and(|account| self.dedupes(node, account));
                let answers: Vec<u64> = transfer.answers.iter().map(|(wire, _)| *wire).collect();
                let in_time = self.latest() < own.incoming_expires_at + grace;
                if owed && in_time && dedupes(transfer.from) && !said_on(&answers, transfer.from) {
                    found =
                        found.or(Some((node, format!("the answer to {} wasn't said on the newest connection", short(&own.incoming_id)))));
                }
                let unheard = transfer.outcome.is_none() && !transfer.acked && transfer.errors == 0;
                // Nothing waits for a store, so with time left it had to go out.
                let had_time = own.expires_at - self.latest() > least;
                if unheard && had_time && dedupes(transfer.to) && !said_on(&transfer.sent, transfer.to) {
                    found = found.or(Some((node, format!("prepare {} wasn't said on the newest connection", short(&own.key)))));
                }
            }
        }
        if let Some((node, what)) = found {
            self.fail(node, Invariant::SaidAgain, what);
        }
    }

    /// Everything has ended.
    pub(super) fn look_for_leftovers(&mut self, statements: &[Statement]) {
        let mut found = None;
        for settlement in &self.settlements {
            if !self.ledgers[settlement.node].settlements.contains_key(&(settlement.account, settlement.id.clone())) {
                found = found.or(Some((settlement.node, format!("settlement {} never came to the books", settlement.id))));
            }
        }
        for (node, (ledger, statement)) in self.ledgers.iter().zip(statements).enumerate() {
            for transfer in ledger.transfers.values() {
                let name = short(&transfer.prepared.key);
                if transfer.outcome.is_none() {
                    found = found.or(Some((node, format!("transfer {name} is still held"))));
                } else if transfer.from.is_some() && transfer.settled.is_none() {
                    found = found.or(Some((node, format!("nothing says how the answer to {name} was taken"))));
                }
            }
            let (in_flight, remembered) = (statement.status.in_flight, statement.status.remembered);
            if in_flight + remembered > 0 {
                found = found.or(Some((node, format!("{in_flight} transfers are in flight and {remembered} remembered"))));
            }
        }
        if let Some((node, what)) = found {
            self.fail(node, Invariant::Liveness, what);
        }
    }

    /// Both sides agree, or it is listed.
    pub(super) fn look_for_disagreements(&mut self) {
        let mut found = None;
        for (node, ledger) in self.ledgers.iter().enumerate() {
            let accounts = &self.layout.nodes[node].accounts;
            for transfer in ledger.transfers.values() {
                let name = short(&transfer.prepared.key);
                let fulfilled = matches!(transfer.outcome, Some(Outcome::Fulfilled(_)));
                let charged = fulfilled && transfer.settled != Some(Settled::Lost);
                let listed = matches!(transfer.settled, Some(Settled::Disputed | Settled::Unconfirmed));
                if let Some(sender) = transfer.from.map(|place| &accounts[place]).filter(|sender| sender.honest && sender.other.is_none()) {
                    if transfer.sender_paid && !charged {
                        found = found.or(Some((node, format!("{} has paid {name}, and isn't charged", sender.name))));
                    }
                    if charged && !transfer.sender_paid && !listed {
                        found = found.or(Some((node, format!("{} is charged for {name}, and hasn't paid", sender.name))));
                    }
                    if charged && transfer.sender_rejected {
                        found = found.or(Some((node, format!("{} is charged for {name}, and was told that it was rejected", sender.name))));
                    }
                }
                let Some(hop) = transfer.to.map(|place| &accounts[place]) else { continue };
                if hop.honest && hop.other.is_none() && transfer.hop_taken.is_some_and(|(said, _)| said != fulfilled) {
                    found = found.or(Some((node, format!("{} and the connector disagree on {name}", hop.name))));
                }
                // The next hop is a connector: its log says whether it has charged us.
                let Some((other, account)) = hop.other else { continue };
                let Some(theirs) = self.ledgers[other].held_as(account, &transfer.prepared.key) else { continue };
                let charged = matches!(theirs.outcome, Some(Outcome::Fulfilled(_))) && theirs.settled != Some(Settled::Lost);
                let listed = matches!(theirs.settled, Some(Settled::Disputed | Settled::Unconfirmed));
                if charged != fulfilled && !listed {
                    let what = format!("for {name} n{other} charges: {charged}, n{node} credits: {fulfilled}, and n{other} lists nothing");
                    found = found.or(Some((node, what)));
                }
            }
        }
        if let Some((node, what)) = found {
            self.fail(node, Invariant::Agreement, what);
        }
    }
}

fn sums_of(stated: &AccountStatus) -> Sums {
    let of = stated.totals;
    Sums {
        incoming_prepared: of.incoming_prepared,
        incoming_fulfilled: of.incoming_fulfilled,
        incoming_unconditional: of.incoming_unconditional,
        outgoing_fulfilled: of.outgoing_fulfilled,
        outgoing_unconditional: of.outgoing_unconditional,
        settlements: of.settlements,
        moved: stated.hot - stated.balance,
    }
}

fn doubts_of(stated: &AccountStatus) -> Doubts {
    let tally = |tally: ilp_core::worker::Tally| (tally.count, tally.amount);
    let of = stated.doubts;
    Doubts { disputed: tally(of.disputed), unconfirmed: tally(of.unconfirmed), lost: tally(of.lost) }
}
