//! Payer's and payee's knowledge of each payment, put together.

use super::books::{Account, Books};
use super::knowledge::{Knowledge, Paid, Paying};
use super::{COMPLAINTS_MAX, Verdict};
use crate::torture::RULES;
use ilp_core::Timing;

/// What both ends of all payments of a pair say, in units and numbers of payments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pair {
    payments: u64,
    /// The payer owes them.
    paid: Sum,
    /// The payee has earned them for sure: it was told, or its payer has the preimage.
    earned: Sum,
    /// The payee may have earned them: it gave the preimage away and had no answer, and its payer knows nothing either.
    unknown: Sum,
    /// The payee has earned them and the payer owes nothing, as it sees it: must be listed.
    one_sided: Sum,
    /// They were held and never passed on to their payee, who was there.
    stranded: u64,
    /// One end has it in writing that it was paid, and the other that it wasn't.
    contradictions: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    units: i128,
}

impl Sum {
    fn add(&mut self, units: u64) {
        self.count += 1;
        self.units = self.units.saturating_add(units.into());
    }
}

impl Pair {
    pub(super) fn compare(payer: &Knowledge, payee: &Knowledge) -> Self {
        let mut pair = Self::default();
        for (condition, paying) in &payer.paying {
            let paid = payee.paid.get(condition).map_or(&[][..], Vec::as_slice);
            pair.payment(paying, paid);
            pair.stranded += u64::from(is_stranded(paying, paid, &payee.probes));
        }
        for (_, paid) in payee.paid.iter().filter(|(condition, _)| !payer.paying.contains_key(*condition)) {
            paid.iter().filter(|transfer| transfer.earned).for_each(|transfer| pair.earned.add(transfer.amount));
            if paid.iter().any(|transfer| transfer.claimed) {
                pair.contradictions.push("a payee fulfilled a payment that its payer never made".to_owned());
            }
        }
        pair
    }

    fn payment(&mut self, paying: &Paying, paid: &[Paid]) {
        self.payments += 1;
        let amount = paying.amount;
        if let Some(wrong) = paid.iter().find(|transfer| transfer.amount != amount) {
            self.contradictions.push(format!("a payment of {amount} reached its payee as one of {}", wrong.amount));
        }
        let earned = paid.iter().filter(|transfer| transfer.earned).count();
        let perhaps = paid.iter().any(|transfer| transfer.claimed && !transfer.earned && !transfer.refused);
        for _ in 0..earned {
            self.earned.add(amount);
        }
        if paying.paid {
            self.paid.add(amount);
        }
        match (paying.paid, earned) {
            (true, 1) => {}
            // The payer has it from the payee: only the answer to the payee is lost.
            (true, 0) if perhaps => self.earned.add(amount),
            (true, 0) => self.contradictions.push(format!("a payment of {amount} was paid, and its payee never earned it")),
            (_, 2..) => self.contradictions.push(format!("a payment of {amount} was earned {earned} times")),
            (false, 1) if paying.rejected => {
                self.contradictions.push(format!("a payment of {amount} was earned, and rejected to its payer"));
            }
            (false, 1) => self.one_sided.add(amount),
            (false, 0) if perhaps && !paying.rejected => self.unknown.add(amount),
            (false, 0) => {}
        }
    }

    /// Compares with the store's books. Gives the units that are in no one's.
    pub(super) fn settle(self, payer: &str, payee: &str, books: &Books, verdict: &mut Verdict) -> i128 {
        let Account { balance, held, doubts } = books.account(payer);
        // What is held is taken from the balance, and not charged yet.
        let (charged, credited) = (balance.saturating_add(held).saturating_neg(), books.account(payee).balance);
        let (disputed, unconfirmed, borne) = (doubts.disputed, doubts.unconfirmed, doubts.borne);
        verdict.payments += self.payments;
        verdict.fulfilled += self.paid.count;
        verdict.disputed += disputed.0;
        verdict.unconfirmed += unconfirmed.0;
        verdict.borne += borne.0;
        verdict.unknown_to_both += self.unknown.count;
        let complaints = &mut verdict.complaints;
        let mut lost = 0_i128;

        // What a payee has earned is what its account was credited.
        let (least, most) = (self.earned.units, self.earned.units.saturating_add(self.unknown.units));
        let right = credited.clamp(least, most);
        if credited != right {
            complaints.push(format!("account {payee} has {credited}; by the journals it must have {least} to {most}"));
            lost = lost.saturating_add(credited.abs_diff(right).try_into().unwrap_or(i128::MAX));
        }
        // A payer is charged for that, but for what the connector has borne.
        let right = right.saturating_sub(borne.1);
        if charged != right {
            complaints.push(format!("account {payer} was charged {charged}; by the journals it must have been {right}"));
            lost = lost.saturating_add(charged.abs_diff(right).try_into().unwrap_or(i128::MAX));
        }
        // What it was charged for and doesn't owe, as it sees it, is listed.
        let (unseen, listed) = (charged.saturating_sub(self.paid.units), disputed.1.saturating_add(unconfirmed.1));
        if unseen > listed {
            complaints.push(format!("account {payer} was charged {unseen} that it never saw paid; {listed} of it is listed"));
        }
        let listed = disputed.0.saturating_add(unconfirmed.0).saturating_add(borne.0);
        if self.one_sided.count > listed {
            let count = self.one_sided.count;
            complaints.push(format!("{payer}: {count} payments were earned and not seen paid, {listed} are listed"));
        }
        if self.stranded > 0 {
            complaints.push(format!("{payer}: {} payments were held and never reached their payee, who was there", self.stranded));
        }
        let contradictions = u64::try_from(self.contradictions.len()).unwrap_or(u64::MAX);
        verdict.disagreements += contradictions + self.one_sided.count.saturating_sub(listed);
        complaints.extend(self.contradictions.iter().take(COMPLAINTS_MAX).map(|what| format!("{payer}: {what}")));
        lost
    }
}

/// Whether a payment was held, timed out, and never reached its payee, although it should have.
///
/// The connector answers in order. So when it answers a question that a payee asked after the payment was held, it has passed it on on that
/// connection before, if there was time enough; and if it was held by an earlier process, that has been said again.
fn is_stranded(paying: &Paying, paid: &[Paid], probes: &[(i64, i64)]) -> bool {
    let Some(held_us) = paying.held_us.filter(|_| paying.outcome_us.is_none() || paying.timed_out) else { return false };
    let Some((_, answered_us)) = probes.get(probes.partition_point(|(asked_us, _)| *asked_us <= held_us)) else { return false };
    let Timing { window_ms, outgoing_ms_min, .. } = RULES.timing;
    let in_time = *answered_us < paying.expires_us - (window_ms + outgoing_ms_min + CLOCKS_DIFFER_MS) * 1_000;
    let undecided = paying.outcome_us.is_none_or(|outcome_us| outcome_us > *answered_us);
    in_time && undecided && !paid.iter().any(|transfer| transfer.came_us <= *answered_us)
}

/// Adds to each kill the payments that were held then: acknowledged by the connector before, and decided only afterwards, or never. Gives the
/// number of payments that were held at some kill, and were paid all the same.
pub(super) fn count_in_flight(payer: &Knowledge, kills: &[i64], in_flight: &mut [u64]) -> u64 {
    let held = || payer.paying.values().filter_map(|paying| Some((paying.held_us?, paying.outcome_us.unwrap_or(paying.expires_us))));
    let (mut starts, mut ends): (Vec<_>, Vec<_>) = held().filter(|(start, end)| start < end).unzip();
    starts.sort_unstable();
    ends.sort_unstable();
    for (kill, count) in kills.iter().zip(in_flight) {
        let begun = starts.partition_point(|start| start < kill);
        let over = ends.partition_point(|end| end <= kill);
        *count += u64::try_from(begun.saturating_sub(over)).unwrap_or(u64::MAX);
    }
    let next = |time| kills.get(kills.partition_point(|kill| *kill <= time));
    let survived = |paying: &&Paying| {
        let times = paying.held_us.zip(paying.outcome_us).filter(|_| paying.paid);
        times.is_some_and(|(held_us, paid_us)| next(held_us).is_some_and(|kill| *kill < paid_us))
    };
    u64::try_from(payer.paying.values().filter(survived).count()).unwrap_or(u64::MAX)
}

/// The connector's clock follows the system's by other steps, and a timer has its grain.
const CLOCKS_DIFFER_MS: i64 = 100;
