//! The checker, on journals made up for it: that it is content with what is right, and with nothing else.

use super::books::{Account, Doubts};
use super::*;
use crate::flood::wire::FrameLog;
use crate::torture::journal::{Journal, now_us};
use ilp_oer::clp::{Body, Fulfill, Packet, Prepare, ProtocolData, Reject, RejectionReason};
use ilp_oer::ilp::{AddrList, ErrorPacket};
use ilp_oer::{Address, Amount, ErrorCode, Fulfillment, Timestamp, TransferId};
use std::sync::atomic::{AtomicU32, Ordering};

const AMOUNT: u64 = 10;

/// One payment's conversation, at both ends.
struct Story {
    payer: Box<dyn FrameLog>,
    payee: Box<dyn FrameLog>,
    journals: [Journal; 2],
    peers: Vec<Peers>,
}

impl Story {
    fn new() -> Self {
        static STORIES: AtomicU32 = AtomicU32::new(0);
        let number = STORIES.fetch_add(1, Ordering::Relaxed);
        let path = |name: &str| std::env::temp_dir().join(format!("checked-{name}-{}-{number}", std::process::id()));
        let peer = |name: &str| Peer { name: name.to_owned(), journal: path(name) };
        let journals = [Journal::create(&path("payer")).unwrap(), Journal::create(&path("payee")).unwrap()];
        let peers = vec![Peers { payer: peer("payer"), payee: peer("payee") }];
        Self { payer: journals[0].connection(), payee: journals[1].connection(), journals, peers }
    }

    /// A payment that is held, and passed on.
    fn held() -> Self {
        let mut story = Self::new();
        story.payer.sent(&frame(1, prepare(1, AMOUNT)));
        story.payer.received(&ack(1));
        story.passed_on(1)
    }

    fn passed_on(mut self, transfer: u8) -> Self {
        self.payee.received(&frame(transfer.into(), prepare(100 + transfer, AMOUNT)));
        self.payee.sent(&ack(transfer.into()));
        self
    }

    /// The payee gives the preimage away.
    fn claimed(mut self, transfer: u8) -> Self {
        self.payee.sent(&frame(transfer.into(), fulfill(100 + transfer)));
        self
    }

    fn earned(self, transfer: u8) -> Self {
        let mut story = self.claimed(transfer);
        story.payee.received(&ack(transfer.into()));
        story
    }

    fn paid(mut self) -> Self {
        self.payer.received(&frame(7, fulfill(1)));
        self.payer.sent(&ack(7));
        self
    }

    fn refused(mut self) -> Self {
        self.payer.received(&frame(7, fulfill(1)));
        self.payer.sent(&error(7));
        self
    }

    fn rejected(mut self) -> Self {
        let by: Address = "test.a".parse().unwrap();
        let reason = RejectionReason::from(reason(&by));
        let reject = Reject { transfer_id: TransferId::new([1; 16]), reason, data: ProtocolData::EMPTY };
        self.payer.received(&frame(7, Body::Reject(reject)));
        self.payer.sent(&ack(7));
        self
    }

    fn verdict(&self, books: &Books) -> Verdict {
        self.journals.iter().for_each(|journal| journal.sync().unwrap());
        check(&self.peers, books, &[]).unwrap()
    }

    /// Units lost, disagreements, and whether there is anything to complain about.
    fn judged(&self, books: &Books) -> (u64, u64, bool) {
        let verdict = self.verdict(books);
        (verdict.units_lost, verdict.disagreements, !verdict.complaints.is_empty())
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        for peers in &self.peers {
            let _ = std::fs::remove_file(&peers.payer.journal).and(std::fs::remove_file(&peers.payee.journal));
        }
    }
}

fn frame(number: u32, body: Body<'_>) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    Packet { request_id: number, body }.encode(&mut out).unwrap();
    out.to_vec()
}

fn ack(number: u32) -> Vec<u8> {
    frame(number, Body::Ack(ProtocolData::EMPTY))
}

fn error(number: u32) -> Vec<u8> {
    let by: Address = "test.a".parse().unwrap();
    frame(number, Body::Error { reason: RejectionReason::from(reason(&by)), data: ProtocolData::EMPTY })
}

fn reason(by: &Address) -> ErrorPacket<'_> {
    let code = ErrorCode::R00_TRANSFER_TIMED_OUT;
    ErrorPacket { code, name: "", triggered_by: by.as_addr(), forwarded_by: AddrList::EMPTY, triggered_at: Timestamp::MIN, data: b"" }
}

fn preimage() -> Fulfillment {
    Fulfillment::new([5; 32])
}

fn prepare(id: u8, amount: u64) -> Body<'static> {
    let transfer_id = TransferId::new([id; 16]);
    let expires_at = Timestamp::from_unix_millis(now_us() / 1_000 + 10_000).unwrap();
    let (amount, condition) = (Amount::new(amount), preimage().condition());
    Body::Prepare(Prepare { transfer_id, amount, condition, expires_at, data: ProtocolData::EMPTY })
}

fn fulfill(id: u8) -> Body<'static> {
    Body::Fulfill(Fulfill { transfer_id: TransferId::new([id; 16]), fulfillment: preimage(), data: ProtocolData::EMPTY })
}

fn books(charged: i128, credited: i128) -> Books {
    let account = |balance| Account { balance, ..Account::default() };
    let accounts = [("payer".to_owned(), account(-charged)), ("payee".to_owned(), account(credited))];
    Books { accounts: accounts.into(), own: credited.min(0), violations: Vec::new() }
}

fn listed(mut books: Books, doubts: Doubts) -> Books {
    books.accounts.get_mut("payer").unwrap().doubts = doubts;
    books
}

#[test]
fn what_is_right_is_found_right() {
    assert_eq!(Story::held().judged(&books(0, 0)), (0, 0, false));
    assert_eq!(Story::held().rejected().judged(&books(0, 0)), (0, 0, false));
    assert_eq!(Story::held().earned(1).paid().judged(&books(10, 10)), (0, 0, false));
    let verdict = Story::held().earned(1).paid().verdict(&books(10, 10));
    assert_eq!((verdict.payments, verdict.fulfilled, verdict.frames), (1, 1, 8));
    // The payee's answer is lost, but its payer has the preimage.
    assert_eq!(Story::held().claimed(1).paid().judged(&books(10, 10)), (0, 0, false));
}

#[test]
fn every_unit_too_much_or_too_little_is_lost() {
    let story = Story::held().earned(1).paid();
    for (charged, credited, lost) in [(10, 9, 1), (9, 10, 1), (11, 10, 1), (0, 0, 20), (10, 0, 10), (0, 10, 10), (20, 20, 20)] {
        assert_eq!(story.judged(&books(charged, credited)), (lost, 0, true), "{charged} {credited}");
    }
    assert_eq!(story.judged(&Books::default()), (20, 0, true));
    assert_eq!(Story::held().judged(&books(10, 10)), (20, 0, true));
}

#[test]
fn what_is_still_held_is_lost_and_books_that_break_their_rules_are_wrong() {
    let mut held = books(10, 0);
    held.accounts.get_mut("payer").unwrap().held = 10;
    assert_eq!(Story::held().judged(&held), (10, 0, true));
    let mut own = books(10, 10);
    own.own = 3;
    assert_eq!(Story::held().earned(1).paid().judged(&own), (3, 0, true));
    let mut broken = books(10, 10);
    broken.violations.push("I2: something".to_owned());
    assert_eq!(Story::held().earned(1).paid().judged(&broken), (0, 0, true));
}

#[test]
fn ends_that_contradict_each_other_are_disagreements() {
    // Paid, and nobody asked for the money; earned, and rejected to the payer; earned twice for one payment.
    assert_eq!(Story::held().paid().judged(&books(0, 0)), (0, 1, true));
    assert_eq!(Story::held().earned(1).rejected().judged(&books(10, 10)), (0, 1, true));
    assert_eq!(Story::held().passed_on(2).earned(1).earned(2).paid().judged(&books(20, 20)), (0, 1, true));
    let mut stranger = Story::new();
    stranger.payee.received(&frame(1, prepare(101, AMOUNT)));
    assert_eq!(stranger.earned(1).judged(&books(10, 10)), (0, 1, true));
}

#[test]
fn one_end_paid_and_the_other_not_must_be_listed() {
    let story = || Story::held().earned(1).refused();
    assert_eq!(story().judged(&books(10, 10)), (0, 1, true));
    for doubts in [Doubts { disputed: (1, 10), ..Doubts::default() }, Doubts { unconfirmed: (1, 10), ..Doubts::default() }] {
        assert_eq!(story().judged(&listed(books(10, 10), doubts)), (0, 0, false), "{doubts:?}");
    }
    // Borne by the connector: the payer isn't charged, and its own account has paid.
    let mut borne = listed(books(0, 10), Doubts { borne: (1, 10), ..Doubts::default() });
    assert!(story().judged(&borne).2);
    borne.own = -10;
    assert_eq!(story().judged(&borne), (0, 0, false));
}

#[test]
fn what_neither_end_knows_may_be_either_but_must_be_listed() {
    let story = || Story::held().claimed(1);
    assert_eq!(story().judged(&books(0, 0)), (0, 0, false));
    assert!(story().judged(&books(10, 10)).2);
    let doubts = Doubts { unconfirmed: (1, 10), ..Doubts::default() };
    assert_eq!(story().judged(&listed(books(10, 10), doubts)), (0, 0, false));
    assert_eq!(story().judged(&listed(books(5, 5), doubts)), (0, 0, false), "between the two, as far as journals tell");
    assert_eq!(story().judged(&listed(books(11, 11), doubts)).0, 2);
}

#[test]
fn a_payment_that_never_reaches_its_payee_who_is_there_is_noticed() {
    let told = |reaches: bool, asks: bool| {
        let mut story = Story::new();
        story.payer.sent(&frame(1, prepare(1, AMOUNT)));
        story.payer.received(&ack(1));
        wait();
        let message = |number| frame(number, Body::Message(ProtocolData::EMPTY));
        let answer = |number| frame(number, Body::Response(ProtocolData::EMPTY));
        // The first one is only the login.
        story.payee.sent(&message(1));
        story.payee.received(&answer(1));
        if reaches {
            story = story.passed_on(2);
        }
        if asks {
            story.payee.sent(&message(2));
            story.payee.received(&answer(2));
        }
        wait();
        story.rejected().judged(&books(0, 0)).2
    };
    assert_eq!([told(false, true), told(true, true), told(false, false)], [true, false, false]);
}

/// Until the clock shows another time.
fn wait() {
    let now = now_us();
    while now_us() <= now {}
}

#[test]
fn a_preimage_that_is_not_one_pays_nobody() {
    let mut story = Story::held();
    let wrong = Fulfill { transfer_id: TransferId::new([1; 16]), fulfillment: Fulfillment::new([6; 32]), data: ProtocolData::EMPTY };
    story.payer.received(&frame(7, Body::Fulfill(wrong)));
    story.payer.sent(&ack(7));
    assert_eq!(story.judged(&books(0, 0)), (0, 0, false));
}

#[test]
fn what_a_connector_can_not_say_is_noticed() {
    let mut story = Story::held();
    story.payer.received(&ack(99));
    story.payer.received(b"?");
    assert_eq!(story.judged(&books(0, 0)), (0, 0, true));
}

#[test]
fn payments_are_in_flight_from_their_acknowledgement_to_their_outcome() {
    let before = now_us();
    let story = Story::held();
    wait();
    let between = now_us();
    wait();
    let story = story.earned(1).paid();
    let after = now_us() + 1;
    let _ = story.verdict(&books(10, 10));
    assert_eq!(check(&story.peers, &books(10, 10), &[before, between, after]).unwrap().in_flight, [0, 1, 0]);
}
