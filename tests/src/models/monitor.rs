//! What the rules need to know of the past, and the rules that are about single steps.

use super::peer::{place_of, preimage};
use super::scenario::{EXPIRES_MS, GRACE_MS, NAMES, OUTGOING_MS_MIN, START, Scenario, WINDOW_MS};
use super::wire::Said;
use super::{Check, Payment, Violation};
use ilp_core::Event;
use ilp_core::worker::{ConnectionId, WorkerStatus};
use ilp_oer::TransferId;
use std::collections::BTreeMap;

/// The last instant for a fulfill of the outgoing side.
const HOLD_END: i64 = START + EXPIRES_MS - WINDOW_MS + GRACE_MS;
/// The last instant at which a prepare is sent.
const SEND_END: i64 = START + EXPIRES_MS - WINDOW_MS - OUTGOING_MS_MIN;

#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) payments: Vec<Watched>,
    /// What the connector's requests on each connection were about: the payment, and whether it was the prepare.
    requests: BTreeMap<(ConnectionId, u32), (usize, bool)>,
    pub(super) broken: Option<Violation>,
}

/// One payment, as it was seen.
#[derive(Debug, Default)]
pub(super) struct Watched {
    from: usize,
    to: usize,
    id: u8,
    /// Where the connector's books have it.
    pub(super) view: View,
    outgoing_id: Option<TransferId>,
    pub(super) prepares: u8,
    pub(super) answers: u8,
    /// When the sender was first told.
    answered_at: i64,
    fulfilled: bool,
    rejected: bool,
    /// The prepare was answered by an Error when it had been sent once.
    refused: bool,
    disputed: bool,
    /// How often the connector said that it has ended.
    outcomes: u8,
}

/// Where the connector's books have a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum View {
    #[default]
    Absent,
    Held,
    Fulfilled,
    Rejected,
    /// Fulfilled, and the own account bears it.
    Lost,
}

impl Monitor {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let watched = |payment: &Payment| Watched { from: payment.from, to: payment.to, id: payment.id, ..Watched::default() };
        Self { payments: scenario.payments.iter().map(watched).collect(), requests: BTreeMap::new(), broken: None }
    }

    pub(super) fn fail(&mut self, check: Check, what: impl Into<String>) {
        self.broken.get_or_insert_with(|| Violation::new(check, what));
    }

    /// The connector puts a frame on a wire.
    pub(super) fn sent(&mut self, peer: usize, dedupes: bool, connection: ConnectionId, said: &Said, now: i64) {
        let (place, request, prepare) = match said {
            Said::Prepare { request, id, amount } => {
                let place = place_of(*amount);
                self.payments[place].outgoing_id = Some(*id);
                (Some(place), *request, true)
            }
            Said::Fulfill { request, id, .. } | Said::Reject { request, id } => (self.sent_by(peer, id), *request, false),
            _ => return,
        };
        let Some(place) = place else {
            return self.fail(Check::OneOutcome, format!("{} is told about a transfer that it never sent: {said}", NAMES[peer]));
        };
        self.requests.insert((connection, request), (place, prepare));
        let watched = &mut self.payments[place];
        let times = if prepare { &mut watched.prepares } else { &mut watched.answers };
        *times += 1;
        let times = *times;
        if !prepare && times == 1 {
            watched.answered_at = now;
        }
        if times > 1 && !dedupes {
            self.fail(Check::NothingTwice, format!("{said} went to {} of 2017 for the second time", NAMES[peer]));
        }
    }

    /// The connector is about to take a frame. Gives what must be so afterwards.
    pub(super) fn taking(&mut self, peer: usize, connection: ConnectionId, said: &Said, now: i64, up: &[bool]) -> Option<Expected> {
        match said {
            Said::Prepare { id, .. } => {
                let place = self.sent_by(peer, id)?;
                let watched = &self.payments[place];
                let takes = up[watched.to] && now <= SEND_END;
                (watched.view == View::Absent && takes).then_some(Expected { place, view: View::Held, check: Check::HeldOrRefused })
            }
            Said::Fulfill { id, fulfillment, .. } => {
                let place = self.sent_to(peer, id).filter(|place| *fulfillment == preimage(*place))?;
                let watched = &mut self.payments[place];
                watched.fulfilled = true;
                let expected = watched.view == View::Held && now < HOLD_END;
                expected.then_some(Expected { place, view: View::Fulfilled, check: Check::AnswerIsTaken })
            }
            Said::Reject { id, .. } => {
                let place = self.sent_to(peer, id)?;
                let watched = &mut self.payments[place];
                watched.rejected = true;
                (watched.view == View::Held).then_some(Expected { place, view: View::Rejected, check: Check::AnswerIsTaken })
            }
            Said::Error(request, _) => {
                let (place, prepare) = self.requests.get(&(connection, *request)).copied()?;
                let watched = &mut self.payments[place];
                watched.refused |= prepare && watched.prepares == 1;
                watched.disputed |= !prepare;
                None
            }
            Said::Ack(_) | Said::Other => None,
        }
    }

    /// The connector's books after a step.
    pub(super) fn look(&mut self, status: &WorkerStatus, events: &[Event], now: i64, expected: Option<Expected>) {
        for event in events {
            let amount = match event {
                Event::Fulfilled { incoming_amount, .. } | Event::Rejected { incoming_amount, .. } => incoming_amount,
                _ => continue,
            };
            self.payments[place_of(amount.get())].outcomes += 1;
        }
        for place in 0..self.payments.len() {
            let (before, after) = (self.payments[place].view, self.view(place, status));
            self.payments[place].view = after;
            self.changed(place, before, after, now);
            if self.payments[place].outcomes > 1 {
                self.fail(Check::OneOutcome, format!("the connector ended payment {place} twice"));
            }
        }
        if let Some(Expected { place, view, check }) = expected {
            let is = self.payments[place].view;
            if is != view {
                self.fail(check, format!("payment {place} should be {view:?} after this, but it is {is:?}"));
            }
        }
        for account in &status.accounts {
            if account.totals.balance() != Some(account.balance) {
                self.fail(Check::BalanceFormula, format!("{} has {}, not {:?}", account.id, account.balance, account.totals));
            }
        }
        for (asset, own) in &status.own {
            if status.conservation(asset) != 0 {
                self.fail(Check::Conservation, format!("{} {asset} came from nowhere (own {own})", status.conservation(asset)));
            }
        }
    }

    fn view(&mut self, place: usize, status: &WorkerStatus) -> View {
        let watched = &self.payments[place];
        let amount = i128::from(Payment::amount(place));
        let digit = |sum: i128| sum / amount % 16;
        let (from, to) = (&status.accounts[watched.from].totals, &status.accounts[watched.to].totals);
        let (held, spent, earned) = (digit(from.incoming_prepared), digit(from.incoming_fulfilled), digit(to.outgoing_fulfilled));
        match (held, spent, earned) {
            (0, 0, 0) if watched.view == View::Absent => View::Absent,
            (1, 0, 0) => View::Held,
            (0, 1, 1) => View::Fulfilled,
            (0, 0, 0) => View::Rejected,
            (0, 0, 1) => View::Lost,
            _ => {
                let view = watched.view;
                self.fail(Check::BooksAgree, format!("payment {place} is held {held}, spent {spent} and earned {earned} times"));
                view
            }
        }
    }

    fn changed(&mut self, place: usize, before: View, after: View, now: i64) {
        let watched = &self.payments[place];
        let right = match (before, after) {
            _ if before == after => true,
            (View::Absent, View::Held) => true,
            (View::Held, View::Fulfilled) => watched.fulfilled && now < HOLD_END,
            (View::Held, View::Rejected) => watched.rejected || watched.refused || watched.prepares == 0 || now >= HOLD_END,
            (View::Fulfilled, View::Lost) => watched.disputed && watched.answered_at >= START + EXPIRES_MS,
            _ => false,
        };
        if !right {
            let check = if before == View::Held { Check::HoldEnds } else { Check::OneOutcome };
            let left = HOLD_END - now;
            self.fail(check, format!("payment {place} became {after:?} from {before:?} without cause, {left} ms before its time"));
        }
    }

    fn sent_by(&self, peer: usize, id: &TransferId) -> Option<usize> {
        self.payments.iter().position(|watched| watched.from == peer && TransferId::new([watched.id; 16]) == *id)
    }

    fn sent_to(&self, peer: usize, id: &TransferId) -> Option<usize> {
        self.payments.iter().position(|watched| watched.to == peer && watched.outgoing_id == Some(*id))
    }
}

/// Where a payment must be after a step, and which rule says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    place: usize,
    view: View,
    check: Check,
}
