//! What both ends of every payment know, and whether it agrees with each other and with the connector's books.

use super::super::child::{AccountBooks, Farewell};
use super::super::invoice::Nonce;
use ilp_oer::{ErrorCode, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// The payments of a run. Those that nobody can say anything about any more are counted and dropped.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Only one end of the payments is seen here: ends aren't compared.
    one_sided: bool,
    open: HashMap<Nonce, Entry>,
    /// By pair.
    pairs: Vec<PairTally>,
    /// When the last payment so far expires.
    pub(crate) last_expiry: Option<Timestamp>,
    /// What must never happen, by what it is.
    wrong: BTreeMap<&'static str, u64>,
    pub(crate) counts: Counts,
    /// Since when nothing has ended, and the longest such time, in nanoseconds.
    progress_ns: u64,
    pub(crate) longest_pause_ns: u64,
    /// The longest time in which a peer had no sign of life from the connector, in nanoseconds.
    pub(crate) longest_outage_ns: u64,
}

/// Counted over all peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) started: u64,
    pub(crate) fulfilled: u64,
    pub(crate) rejected: BTreeMap<String, u64>,
    pub(crate) timed_out: u64,
    /// Connections after the first: of senders, of receivers.
    pub(crate) reconnects: [u64; 2],
    pub(crate) resent_prepares: u64,
    pub(crate) resent_fulfills: u64,
    pub(crate) resent_rejects: u64,
    pub(crate) duplicate_prepares: u64,
    pub(crate) duplicate_fulfills: u64,
    pub(crate) duplicate_rejects: u64,
    /// Fulfills that a sender refused because it had given up.
    pub(crate) late_fulfills: u64,
}

/// How a payment ended for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fulfilled,
    Rejected(ErrorCode),
    /// Nothing came by its expiry and some grace.
    TimedOut,
}

/// What its receiver knows of being paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Never asked for the money.
    Nothing,
    /// Sent the fulfill, and has had no answer to it.
    Sent,
    /// The connector has taken the fulfill: paid.
    Paid,
    /// The connector has refused the fulfill: not paid.
    Refused,
}

#[derive(Debug)]
struct Entry {
    pair: usize,
    expires_at: Timestamp,
    /// When the connector's acknowledgement reached the sender: from then on it holds the payment.
    held_at: Option<Timestamp>,
    passed_on: PassedOn,
    end: Option<End>,
    word: Word,
}

/// Whether the receiver has seen a payment's prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassedOn {
    NotYet,
    /// Not, although its connection was one on which everything that was to come by then had come.
    Missed,
    Seen,
}

#[derive(Debug, Default)]
struct PairTally {
    fulfilled: u64,
    timed_out: u64,
    /// Fulfilled at the connector for sure: the sender paid, or the receiver was paid.
    sure: u64,
    /// Perhaps: the sender has given up, and the receiver never got an answer.
    perhaps: u64,
}

impl Counts {
    /// Payments that have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.fulfilled + self.rejected.values().sum::<u64>() + self.timed_out
    }
}

/// How the connector's books and the peers' compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Payments that the connector charged and whose senders never had the fulfillment in time.
    pub(crate) charged_unseen: u64,
    /// Payments of which neither end knows what became of them.
    pub(crate) unknown_to_both: u64,
}

impl Ledger {
    pub(crate) fn new(pairs: usize) -> Self {
        Self { pairs: (0..pairs).map(|_| PairTally::default()).collect(), ..Self::default() }
    }

    /// For a program that is at one end of its payments only: events are counted, and what must not happen is; nothing is compared.
    pub(crate) fn one_sided() -> Self {
        Self { one_sided: true, ..Self::default() }
    }

    /// What must never happen and has, by what it is.
    pub(crate) fn wrongs(&self) -> &BTreeMap<&'static str, u64> {
        &self.wrong
    }

    pub(crate) fn started(&mut self, pair: usize, nonce: Nonce, expires_at: Timestamp) {
        self.counts.started += 1;
        self.last_expiry = self.last_expiry.max(Some(expires_at));
        if self.one_sided {
            return;
        }
        self.open.insert(nonce, Entry { pair, expires_at, held_at: None, passed_on: PassedOn::NotYet, end: None, word: Word::Nothing });
    }

    /// The connector has acknowledged a payment.
    pub(crate) fn held(&mut self, nonce: &Nonce, now: Timestamp) {
        if let Some(entry) = self.open.get_mut(nonce) {
            entry.held_at.get_or_insert(now);
        }
    }

    /// A payment's prepare has come to its receiver.
    pub(crate) fn seen(&mut self, nonce: &Nonce) {
        if let Some(entry) = self.open.get_mut(nonce) {
            entry.passed_on = PassedOn::Seen;
        }
    }

    /// The connector has answered a receiver's question of time `asked_at`. It answers in order, so it has passed on before what it held
    /// then, and said again what may have been lost with an earlier connection. What wouldn't be said again at `deadline`, for want of
    /// time, doesn't count.
    pub(crate) fn passed_on(&mut self, pair: usize, asked_at: Timestamp, deadline: Timestamp) {
        for entry in self.open.values_mut().filter(|entry| entry.pair == pair && entry.end.is_none()) {
            let due = entry.held_at.is_some_and(|held_at| held_at < asked_at) && deadline < entry.expires_at;
            if due && entry.passed_on == PassedOn::NotYet {
                entry.passed_on = PassedOn::Missed;
            }
        }
    }

    /// A sender has seen the end of a payment.
    pub(crate) fn ended(&mut self, nonce: &Nonce, end: End, now_ns: u64) {
        self.longest_pause_ns = self.longest_pause_ns.max(now_ns.saturating_sub(self.progress_ns));
        self.progress_ns = now_ns;
        match self.open.get_mut(nonce) {
            Some(entry) if entry.end.is_none() => entry.end = Some(end),
            _ if self.one_sided => {}
            _ => self.wrong("second outcomes of payments"),
        }
        match end {
            End::Fulfilled => self.counts.fulfilled += 1,
            End::Rejected(code) => *self.counts.rejected.entry(code.as_str().to_owned()).or_default() += 1,
            End::TimedOut => self.counts.timed_out += 1,
        }
    }

    /// A receiver has learned something.
    pub(crate) fn learned(&mut self, nonce: &Nonce, word: Word) {
        match self.open.get_mut(nonce) {
            Some(entry) => entry.word = word,
            None if self.one_sided => {}
            None => self.wrong("news of payments that are long over"),
        }
    }

    /// Something that must not happen, whatever becomes of connections.
    pub(crate) fn wrong(&mut self, what: &'static str) {
        *self.wrong.entry(what).or_default() += 1;
    }

    /// Counts and drops the payments that expired before `time`.
    pub(crate) fn close_before(&mut self, time: Timestamp) {
        let old: Vec<_> = self.open.extract_if(|_, entry| entry.expires_at < time).map(|(_, entry)| entry).collect();
        for entry in old {
            self.close(&entry);
        }
    }

    fn close(&mut self, entry: &Entry) {
        let Some(tally) = self.pairs.get_mut(entry.pair) else { return };
        let mut wrong = None;
        match (entry.end, entry.word) {
            (None, _) => wrong = Some("payments without an outcome"),
            (Some(End::Fulfilled), word) => {
                tally.fulfilled += 1;
                tally.sure += 1;
                if matches!(word, Word::Nothing | Word::Refused) {
                    wrong = Some("payments that their senders paid and that were refused to their receivers");
                }
            }
            (Some(End::Rejected(_)), Word::Paid) => wrong = Some("payments that their receivers were paid and their senders not charged"),
            (Some(End::Rejected(_)), _) => {}
            (Some(End::TimedOut), word) => {
                tally.timed_out += 1;
                match word {
                    Word::Paid => tally.sure += 1,
                    Word::Sent => tally.perhaps += 1,
                    Word::Nothing | Word::Refused => {}
                }
            }
        }
        // Other ends are those of payments that the connector could not pass on, which is news that may be on its way to the sender.
        if entry.passed_on == PassedOn::Missed && entry.end == Some(End::Rejected(ErrorCode::R00_TRANSFER_TIMED_OUT)) {
            wrong = Some("payments that timed out and never reached their receivers, who were there");
        }
        if let Some(what) = wrong {
            self.wrong(what);
        }
    }

    /// At the end of a run: compares with the connector's last word. `names` are those of each pair's sender and receiver.
    pub(crate) fn settle(&mut self, books: &Farewell, names: &[[String; 2]], amount: u64) -> (Settled, Vec<String>) {
        self.close_before(Timestamp::MAX);
        let mut complaints: Vec<String> = self.wrong.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let amount = i128::from(amount);
        let mut settled = Settled::default();
        let (mut fulfilled, mut charged) = (0, 0);
        for (tally, [sender, receiver]) in self.pairs.iter().zip(names) {
            let balance =
                |name: &String| books.accounts.iter().find(|account: &&AccountBooks| account.name == *name).map(|account| account.balance);
            let (Some(sent), Some(received)) = (balance(sender), balance(receiver)) else {
                complaints.push(format!("accounts {sender} and {receiver} are not in the books"));
                continue;
            };
            if sent % amount != 0 || received % amount != 0 {
                complaints.push(format!("accounts {sender} and {receiver}: {sent} and {received} are not made of payments of {amount}"));
            }
            let (paid, got) = (-sent / amount, received / amount);
            let (sure, perhaps) = (i128::from(tally.sure), i128::from(tally.perhaps));
            if !(sure..=sure + perhaps).contains(&got) {
                let most = sure + perhaps;
                complaints
                    .push(format!("account {receiver} was credited {got} payments; by what its peers know it must be {sure} to {most}"));
            }
            let (seen, most) = (i128::from(tally.fulfilled), i128::from(tally.fulfilled + tally.timed_out));
            if !(seen..=most).contains(&paid) {
                complaints
                    .push(format!("account {sender} was charged {paid} payments; by what its peer knows it must be {seen} to {most}"));
            }
            settled.charged_unseen += u64::try_from(paid - seen).unwrap_or_default();
            settled.unknown_to_both += tally.perhaps;
            fulfilled += got;
            charged += paid;
        }
        complaints.extend(book_complaints(books, fulfilled, charged, amount));
        if settled.charged_unseen > books.unconfirmed + books.disputed {
            let (unseen, listed) = (settled.charged_unseen, books.unconfirmed + books.disputed);
            complaints.push(format!("{unseen} payments were charged and never seen by their senders, but only {listed} are listed"));
        }
        (settled, complaints)
    }
}

/// What is wrong with the connector's books by themselves. `fulfilled` and `charged` are what its balances say.
fn book_complaints(books: &Farewell, fulfilled: i128, charged: i128, amount: i128) -> Vec<String> {
    let mut complaints = Vec::new();
    if books.conservation != 0 {
        complaints.push(format!("{} units came from nowhere, or went there", books.conservation));
    }
    if books.in_flight != 0 {
        complaints.push(format!("{} transfers are stuck", books.in_flight));
    }
    for account in books.accounts.iter().filter(|account| account.held != 0) {
        complaints.push(format!("account {}: {} is still held", account.name, account.held));
    }
    if books.connections > books.accounts.len() {
        complaints.push(format!("{} connections are open, of {} accounts", books.connections, books.accounts.len()));
    }
    if fulfilled != i128::from(books.fulfilled) {
        complaints.push(format!("receivers were credited {fulfilled} payments, the connector counted {}", books.fulfilled));
    }
    let lost = i128::from(books.lost);
    if charged != fulfilled - lost {
        complaints.push(format!("senders were charged {charged} payments; {fulfilled} were fulfilled and {lost} lost"));
    }
    if books.own != -lost * amount {
        complaints.push(format!("the connector's own account has {}; {lost} payments of {amount} were lost", books.own));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_millis(ms).unwrap()
    }

    fn names() -> Vec<[String; 2]> {
        vec![["s".into(), "r".into()]]
    }

    /// Three payments of 10: seen by both, rejected, and charged although the sender has given up.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(1);
        for (number, end, word) in [
            (1, End::Fulfilled, Word::Paid),
            (2, End::Rejected(ErrorCode::R00_TRANSFER_TIMED_OUT), Word::Nothing),
            (3, End::TimedOut, Word::Paid),
        ] {
            let nonce = [number; 16];
            ledger.started(0, nonce, at(1_000));
            ledger.learned(&nonce, word);
            ledger.ended(&nonce, end, 5);
        }
        ledger
    }

    fn books() -> Farewell {
        let account = |name: &str, balance| AccountBooks { name: name.into(), balance, held: 0 };
        Farewell {
            moves: 0,
            parked: 0,
            store: None,
            accounts: vec![account("s", -20), account("r", 20)],
            own: 0,
            conservation: 0,
            in_flight: 0,
            connections: 2,
            fulfilled: 2,
            disputed: 0,
            unconfirmed: 1,
            lost: 0,
        }
    }

    #[test]
    fn books_that_agree_are_found_to() {
        let (settled, complaints) = ledger().settle(&books(), &names(), 10);
        assert_eq!((complaints, settled), (vec![], Settled { charged_unseen: 1, unknown_to_both: 0 }));
    }

    #[test]
    fn every_unit_too_much_or_too_little_is_noticed() {
        type Spoil = fn(&mut Farewell);
        let spoils: [Spoil; 9] = [
            |books| books.connections = 3,
            |books| books.accounts[0].balance += 10,
            |books| books.accounts[1].balance += 10,
            |books| books.accounts[1].balance += 1,
            |books| books.accounts[0].held = 10,
            |books| books.own = -10,
            |books| books.unconfirmed = 0,
            |books| books.in_flight = 1,
            |books| books.accounts[0].balance -= 10,
        ];
        for (number, spoil) in spoils.into_iter().enumerate() {
            let mut books = books();
            spoil(&mut books);
            assert!(!ledger().settle(&books, &names(), 10).1.is_empty(), "{number}");
        }
    }

    #[test]
    fn a_payment_with_two_ends_or_none_is_noticed() {
        let mut twice = ledger();
        twice.ended(&[1; 16], End::Fulfilled, 6);
        assert_eq!(twice.settle(&books(), &names(), 10).1, ["1 second outcomes of payments"]);
        let mut open = ledger();
        open.started(0, [4; 16], at(1_000));
        assert_eq!(open.settle(&books(), &names(), 10).1, ["1 payments without an outcome"]);
    }

    #[test]
    fn a_payment_that_is_never_passed_on_is_noticed() {
        let timed_out = End::Rejected(ErrorCode::R00_TRANSFER_TIMED_OUT);
        for (held_at, deadline, seen, end, wrong) in [
            (90, 900, false, timed_out, 1),
            (110, 900, false, timed_out, 0),
            (90, 1_000, false, timed_out, 0),
            (90, 900, true, timed_out, 0),
            (90, 900, false, End::Rejected(ErrorCode::T01_LEDGER_UNREACHABLE), 0),
        ] {
            let mut ledger = Ledger::new(1);
            ledger.started(0, [1; 16], at(1_000));
            ledger.held(&[1; 16], at(held_at));
            ledger.passed_on(0, at(100), at(deadline));
            if seen {
                ledger.seen(&[1; 16]);
            }
            ledger.ended(&[1; 16], end, 5);
            ledger.close_before(at(2_000));
            assert_eq!(ledger.wrong.len(), wrong, "{held_at} {deadline} {seen} {end:?}");
        }
    }

    #[test]
    fn ends_that_contradict_each_other_are_noticed() {
        for (end, word) in [
            (End::Fulfilled, Word::Refused),
            (End::Fulfilled, Word::Nothing),
            (End::Rejected(ErrorCode::R00_TRANSFER_TIMED_OUT), Word::Paid),
        ] {
            let mut ledger = Ledger::new(1);
            ledger.started(0, [1; 16], at(1_000));
            ledger.learned(&[1; 16], word);
            ledger.ended(&[1; 16], end, 5);
            ledger.close_before(at(2_000));
            assert_eq!(ledger.wrong.len(), 1, "{end:?} {word:?}");
        }
    }
}
