//! What happened, and whether the books are right.

use super::asset;
use super::books::{Found, Place};
use super::load::Paid;
use super::network::Books;
use crate::show::{self, Table, units};
use ilp_core::runtime::Status;
use ilp_core::worker::Counters;
use std::fmt;

/// The demo's result, ready to be shown.
#[derive(Debug)]
pub(super) struct Report {
    summary: String,
    failures: Vec<String>,
    balances: Table,
    links: Table,
    checks: Vec<(bool, String)>,
}

/// Where the books are, and what they said before the demo, for people.
pub(super) fn books(place: &Place, found: &Found, resumed: usize) -> String {
    let asset = asset();
    let plain = |amount| units(amount, &asset, false);
    let directory = match place {
        Place::Memory => return "the books are in memory, gone when this ends".into(),
        Place::Directory(directory) => directory.display(),
    };
    if found.new {
        return format!("the books of all three are in {directory}; they are new, and the next demo goes on with them");
    }
    let held = match resumed {
        0 => String::new(),
        count => format!(
            "\n{} of alice's in flight when the last demo ended, with {} held by the connector: decided first",
            show::counted(count, "payment"),
            plain(found.held)
        ),
    };
    format!("the books of all three are in {directory}; found: alice {}, bob {}{held}", plain(found.alice), plain(found.bob))
}

impl Report {
    /// `found`: before anybody had opened the books; `before`: when what was still in flight then was decided, and the paying began.
    pub(super) fn new(amount: u64, paid: &Paid, taken: u64, found: &Found, resumed: usize, before: &Books, after: &Books) -> Self {
        let interrupted = if paid.interrupted { " (stopped by Ctrl-C)" } else { "" };
        let summary = format!(
            "{} of {} payments fulfilled in {}{interrupted}: {} a second\n",
            show::count(paid.fulfilled),
            show::count(paid.sent),
            show::duration(paid.time),
            show::count(show::per_second(paid.fulfilled, paid.time)),
        );
        let failures = paid.failed.iter().map(|(why, count)| format!("{}: {why}", show::count(*count))).collect();
        Self {
            summary,
            failures,
            balances: balances(found, &before.connector, &after.connector),
            links: links(&after.connector, paid.sent),
            checks: found_checks(found, resumed, &before.connector).into_iter().chain(checks(amount, paid, taken, before, after)).collect(),
        }
    }

    /// Whether every check passed.
    pub(super) fn is_right(&self) -> bool {
        self.checks.iter().all(|(passed, _)| *passed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        for failure in &self.failures {
            writeln!(f, "  {failure}")?;
        }
        writeln!(f, "{}\n{}", self.balances, self.links)?;
        for (passed, what) in &self.checks {
            writeln!(f, "  {}  {what}", if *passed { "ok   " } else { "WRONG" })?;
        }
        writeln!(f, "\n{}", if self.is_right() { "the books are right" } else { "THE BOOKS ARE NOT RIGHT" })
    }
}

/// The balance of an account of the connector's; 0 if there is none.
pub(super) fn balance(status: &Status, name: &str) -> i128 {
    status.worker.accounts.iter().find(|account| account.id.name() == name).map_or(0, |account| account.balance)
}

/// The connector's own account.
fn own(status: &Status) -> i128 {
    status.worker.own.iter().filter(|(of, _)| *of == asset()).map(|(_, own)| *own).sum()
}

/// What is taken from alice for undecided payments.
fn held(status: &Status) -> i128 {
    let alices = status.worker.accounts.iter().filter(|account| account.id.name() == "alice");
    alices.map(|account| account.totals.incoming_prepared).fold(0, i128::saturating_add)
}

fn balances(found: &Found, before: &Status, after: &Status) -> Table {
    let asset = asset();
    let mut table = Table::new(["balance at the connector", "found", "before", "after", "change"]);
    let rows = [
        ("alice", [found.alice, balance(before, "alice"), balance(after, "alice")]),
        ("held of hers", [found.held, held(before), held(after)]),
        ("bob", [found.bob, balance(before, "bob"), balance(after, "bob")]),
        ("the connector's own", [found.own, own(before), own(after)]),
    ];
    let sum = |at: usize| rows.iter().filter_map(|(_, amounts)| amounts.get(at)).fold(0, |sum: i128, amount| sum.saturating_add(*amount));
    for (name, [found, before, after]) in rows.iter().copied().chain([("sum", [sum(0), sum(1), sum(2)])]) {
        table.row([
            name.to_owned(),
            units(found, &asset, false),
            units(before, &asset, false),
            units(after, &asset, false),
            units(after.saturating_sub(found), &asset, true),
        ]);
    }
    table
}

/// What was found, and what has become of what was in flight then.
fn found_checks(found: &Found, resumed: usize, before: &Status) -> Vec<(bool, String)> {
    let asset = asset();
    let mut checks: Vec<(bool, String)> =
        found.violations.iter().map(|it| (false, format!("as found, {}: {}", it.rule, it.what))).collect();
    if resumed > 0 || found.held != 0 {
        let back = balance(before, "alice").saturating_sub(found.alice);
        let paid = balance(before, "bob").saturating_sub(found.bob);
        let lost = own(before).saturating_sub(found.own);
        let signed = |amount| units(amount, &asset, true);
        let all = [back, paid, lost].into_iter().fold(0, i128::saturating_add);
        checks.push((
            all == found.held && held(before) == 0,
            format!(
                "what was in flight when the last demo ended is decided: alice {}, bob {}, {} are held no more",
                signed(back),
                signed(paid),
                units(found.held, &asset, false),
            ),
        ));
    }
    checks
}

fn links(status: &Status, payments: u64) -> Table {
    let mut table = Table::new(["link", "frames in", "frames out", "bytes in", "bytes out", "bytes a payment"]);
    for connection in &status.connections {
        let Some(account) = &connection.account else { continue };
        let traffic = connection.traffic;
        let bytes = traffic.bytes_in.saturating_add(traffic.bytes_out);
        table.row([
            account.name().to_owned(),
            show::count(traffic.frames_in),
            show::count(traffic.frames_out),
            show::bytes(traffic.bytes_in),
            show::bytes(traffic.bytes_out),
            show::count(bytes.checked_div(payments).unwrap_or_default()),
        ]);
    }
    table
}

fn checks(amount: u64, paid: &Paid, taken: u64, before: &Books, after: &Books) -> Vec<(bool, String)> {
    let asset = asset();
    let moved = i128::from(amount).saturating_mul(paid.fulfilled.into());
    let change = |name| balance(&after.connector, name).saturating_sub(balance(&before.connector, name));
    let (alice, bob) = (change("alice"), change("bob"));
    let (alices_own, bobs_own) = (own(&after.alice).saturating_sub(own(&before.alice)), own(&after.bob).saturating_sub(own(&before.bob)));
    let everyone = [&after.alice, &after.connector, &after.bob];
    let conserved = everyone.iter().all(|status| status.worker.conservation(&asset) == 0);
    let pending: usize = everyone.iter().map(|status| status.worker.in_flight).sum();
    let (then, now) = (before.connector.worker.counters, after.connector.worker.counters);
    let since = |of: fn(&Counters) -> u64| of(&now).saturating_sub(of(&then));
    let (unconfirmed, disputed, lost) = (since(|c| c.unconfirmed), since(|c| c.disputed), since(|c| c.lost));
    let signed = |amount| units(amount, &asset, true);
    vec![
        (
            paid.all_fulfilled(),
            format!(
                "{} of {} payments fulfilled, each with the preimage of its own condition",
                show::count(paid.fulfilled),
                show::count(paid.sent)
            ),
        ),
        (alice == -moved, format!("alice {}, expected {}", signed(alice), signed(-moved))),
        (bob == moved, format!("bob   {}, expected {}", signed(bob), signed(moved))),
        (
            own(&after.connector) == own(&before.connector),
            format!(
                "the connector's own account {}, expected no change",
                signed(own(&after.connector).saturating_sub(own(&before.connector)))
            ),
        ),
        (
            alices_own == -moved && bobs_own == moved,
            format!("their own books agree: alice {}, bob {}", signed(alices_own), signed(bobs_own)),
        ),
        (taken == paid.fulfilled, format!("bob gave out {} fulfillments", show::count(taken))),
        (conserved, "all balances and holds add up to nothing, in the books of all three".into()),
        (
            pending == 0 && lost == 0 && unconfirmed == 0 && disputed == 0,
            format!("nothing is left open: {pending} in flight, {unconfirmed} unconfirmed, {disputed} disputed, {lost} lost"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ilp_core::AccountId;
    use ilp_core::store::Durability;
    use ilp_core::worker::{AccountStatus, Doubts, Totals, WorkerStatus};
    use std::time::Duration;

    fn status(balances: &[(&str, i128)], own: i128) -> Status {
        let account = |(name, balance): &(&str, i128)| AccountStatus {
            id: AccountId::new(1, name).unwrap(),
            address: format!("test.demo.{name}").parse().unwrap(),
            asset: asset(),
            balance: *balance,
            hot: *balance,
            cold: 0,
            slots: vec![0],
            credit_limit: 0,
            connected: true,
            in_flight: 0,
            claims: Vec::new(),
            totals: Totals { outgoing_fulfilled: *balance, ..Totals::default() },
            doubts: Doubts::default(),
        };
        let worker = WorkerStatus {
            address: "test.demo".parse().unwrap(),
            accounts: balances.iter().map(account).collect(),
            own: vec![(asset(), own)],
            closed_settlements: Vec::new(),
            closed_moves: Vec::new(),
            counters: Counters::default(),
            in_flight: 0,
            remembered: 0,
            seq: 0,
            events_unacknowledged: 0,
        };
        Status { worker, workers: Vec::new(), connections: Vec::new(), durability: Durability::Memory }
    }

    fn books(alice: i128, bob: i128) -> Books {
        Books {
            connector: status(&[("alice", alice), ("bob", bob)], 0),
            alice: status(&[("demo", -alice)], alice),
            bob: status(&[("demo", -bob)], bob),
        }
    }

    fn report(paid: &Paid, taken: u64, after: &Books) -> Report {
        Report::new(10, paid, taken, &Found::default(), 0, &books(0, 0), after)
    }

    #[test]
    fn right_books_are_right_and_each_wrong_entry_is_found() {
        let paid = || Paid { sent: 5, fulfilled: 5, time: Duration::from_secs(1), ..Paid::default() };
        let right = report(&paid(), 5, &books(-50, 50));
        assert!(right.is_right() && right.to_string().ends_with("\nthe books are right\n"), "{right}");

        let mut own = books(-50, 50);
        own.connector.worker.own[0].1 = 1;
        let mut held = books(-50, 50);
        held.connector.worker.accounts[0].totals.incoming_prepared = 1;
        let mut pending = books(-50, 50);
        pending.bob.worker.in_flight = 1;
        let mut lost = books(-50, 50);
        lost.connector.worker.counters.lost = 1;
        let mut alices = books(-50, 50);
        alices.alice.worker.own[0].1 = -49;
        let failed = Paid { sent: 6, failed: [("T03".to_owned(), 1)].into(), ..paid() };
        for (name, wrong) in [
            ("alice paid too little", report(&paid(), 5, &books(-49, 50))),
            ("bob got too little", report(&paid(), 5, &books(-50, 49))),
            ("own", report(&paid(), 5, &own)),
            ("held", report(&paid(), 5, &held)),
            ("pending", report(&paid(), 5, &pending)),
            ("lost", report(&paid(), 5, &lost)),
            ("alice's own books", report(&paid(), 5, &alices)),
            ("bob gave out too many", report(&paid(), 6, &books(-50, 50))),
            ("not all went through", report(&failed, 5, &books(-50, 50))),
        ] {
            let text = wrong.to_string();
            assert!(!wrong.is_right() && text.contains("  WRONG  ") && text.ends_with("THE BOOKS ARE NOT RIGHT\n"), "{name}: {text}");
        }
    }
}
