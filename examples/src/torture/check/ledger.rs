//! The ledger that the embedder made from events alone, compared with the store.

use super::books::{Books, Doubts};
use crate::torture::events::{Line, Move};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// What the events of a whole run add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Ledger {
    /// Balance and what is held, by account; `None` is the connector's own.
    accounts: BTreeMap<Option<String>, (i128, i128)>,
    /// Events by kind.
    pub(in super::super) kinds: BTreeMap<String, u64>,
    /// The last event's number.
    pub(in super::super) last: u64,
    /// Events that were told again.
    pub(in super::super) again: u64,
    wrong: Vec<String>,
}

impl Ledger {
    /// Reads and adds up.
    pub(in super::super) fn read(path: &Path) -> io::Result<Self> {
        let mut ledger = Self::default();
        for line in BufReader::new(File::open(path)?).lines() {
            ledger.line(serde_json::from_str(&line?)?);
        }
        Ok(ledger)
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Event { number, kind, moves } => {
                if number != self.last.saturating_add(1) {
                    self.wrong.push(format!("event {number} came after event {}", self.last));
                }
                self.last = number;
                *self.kinds.entry(kind).or_default() += 1;
                for Move { account, balance, held } in moves {
                    let sums = self.accounts.entry(account).or_default();
                    *sums = (sums.0.saturating_add(balance), sums.1.saturating_add(held));
                }
            }
            Line::Again { events } => self.again = self.again.saturating_add(events),
        }
    }

    /// Compares it with the store's books, to the unit. Gives the units that they are apart.
    pub(in super::super) fn compare(&self, books: &Books, complaints: &mut Vec<String>) -> u64 {
        complaints.extend(self.wrong.iter().take(super::COMPLAINTS_MAX).map(|wrong| format!("ledger of events: {wrong}")));
        let mut apart: u128 = 0;
        let mut compare = |what: &str, events: i128, store: i128| {
            if events != store {
                complaints.push(format!("ledger of events: {what} is {events}, the store has {store}"));
                apart = apart.saturating_add(events.abs_diff(store));
            }
        };
        let none = (0, 0);
        for (name, account) in &books.accounts {
            let (balance, held) = *self.accounts.get(&Some(name.clone())).unwrap_or(&none);
            compare(&format!("account {name}"), balance, account.balance);
            compare(&format!("what is held of {name}"), held, account.held);
        }
        compare("the connector's own account", self.accounts.get(&None).unwrap_or(&none).0, books.own);
        let unknown = self.accounts.keys().flatten().filter(|name| !books.accounts.contains_key(*name)).count();
        compare("accounts that the store doesn't know", i128::try_from(unknown).unwrap_or(i128::MAX), 0);
        let doubts = |of: fn(&Doubts) -> u64| books.accounts.values().map(|account| i128::from(of(&account.doubts))).sum();
        let told = |kind: &str| i128::from(self.kinds.get(kind).copied().unwrap_or_default());
        compare("the number of disputes", told("disputed"), doubts(|doubts| doubts.disputed.0));
        compare("the number of unconfirmed payments", told("unconfirmed"), doubts(|doubts| doubts.unconfirmed.0));
        compare("the number of losses that were borne", told("borne"), doubts(|doubts| doubts.borne.0));
        u64::try_from(apart).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::books::Account;
    use super::*;

    fn event(number: u64, kind: &str, moves: &[(Option<&str>, i128, i128)]) -> Line {
        let moves = moves.iter().map(|(account, balance, held)| Move { account: account.map(Into::into), balance: *balance, held: *held });
        Line::Event { number, kind: kind.to_owned(), moves: moves.collect() }
    }

    fn ledger(lines: impl IntoIterator<Item = Line>) -> Ledger {
        let mut ledger = Ledger::default();
        lines.into_iter().for_each(|line| ledger.line(line));
        ledger
    }

    fn lines() -> Vec<Line> {
        vec![
            event(1, "opened", &[(Some("a"), 0, 0)]),
            event(2, "accepted", &[(Some("a"), -10, 10)]),
            Line::Again { events: 3 },
            event(3, "fulfilled", &[(Some("a"), 0, -10), (None, 10, 0), (Some("b"), 10, 0), (None, -10, 0)]),
        ]
    }

    fn books() -> Books {
        let account = |balance| Account { balance, ..Account::default() };
        Books { accounts: [("a".into(), account(-10)), ("b".into(), account(10))].into(), ..Books::default() }
    }

    #[test]
    fn events_that_make_the_stores_books_are_found_to() {
        let (ledger, mut complaints) = (ledger(lines()), Vec::new());
        assert_eq!((ledger.compare(&books(), &mut complaints), &complaints), (0, &vec![]));
        assert_eq!((ledger.last, ledger.again, ledger.kinds["accepted"]), (3, 3, 1));
    }

    #[test]
    fn every_event_that_is_missing_or_too_many_is_noticed() {
        for missing in [1, 3] {
            let mut lines = lines();
            lines.remove(missing);
            let mut complaints = Vec::new();
            let apart = ledger(lines).compare(&books(), &mut complaints);
            assert!(apart > 0 && !complaints.is_empty(), "{missing}");
        }
        let mut first = lines();
        first.remove(0);
        let mut complaints = Vec::new();
        assert_eq!(ledger(first).compare(&books(), &mut complaints), 0);
        assert_eq!(complaints, ["ledger of events: event 2 came after event 0"]);
        let mut twice = lines();
        twice.push(event(4, "unconfirmed", &[]));
        assert_eq!(ledger(twice).compare(&books(), &mut Vec::new()), 1);
    }
}
