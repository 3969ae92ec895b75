//! The rules about what a log says.

use super::super::observe::{AccountPlace, NodeNo, WireNo};
use super::ledger::{Outcome, Settled, Transfer};
use super::log::{Id, Leg, OWN, Prepared, Record};
use super::{Auditor, Batch, Invariant};
use ilp_oer::ilp::Packet;
use sha2::{Digest, Sha256};

impl Auditor {
    /// A batch has become durable.
    pub(super) fn durable(&mut self, node: NodeNo, batch: Batch) {
        let seq = batch.seq;
        for record in batch.records {
            self.count_event(node, seq, &record);
            let fits = match record {
                Record::AccountOpened { no, name, asset } => self.account_opened(node, seq, no, &name, &asset),
                Record::Prepared(prepared) => self.prepared(node, batch.epoch, seq, *prepared),
                Record::Fulfilled { key, from, to, fulfillment } => self.fulfilled(node, key, from, to, fulfillment),
                Record::Rejected { key, from, reason } => self.rejected(node, key, from, reason),
                Record::AnswerAcked { key } => self.answer_acked(node, key),
                Record::AnswerRefused { key, from, charged } => self.answer_refused(node, key, from, charged),
                Record::Unconfirmed { key, from } => self.unconfirmed(node, key, from),
                Record::Charged { from, .. } => self.charged(node, from),
                Record::Settled { no, id, amount } => self.settled(node, seq, no, id, amount),
                Record::Claimed => Ok(()),
                Record::BatchBegun { events } => self.batch_begun(node, events),
                Record::EventsAcked { through } => self.events_acked(node, through),
                Record::MoveBegun { no, n, given } => self.moved(node, no, (n, true), -given),
                Record::MoveEnded { no, n, drawn } => self.moved(node, no, (n, false), drawn),
                part => self.part_of_snapshot(node, seq, part),
            };
            if let Err((invariant, what)) = fits {
                self.fail(node, invariant, format!("batch {seq}: {what}"));
            }
        }
        self.ledgers[node].kept.push_back((seq, batch.blob));
        for (name, balance) in batch.balances {
            let place = self.layout.nodes[node].accounts.iter().position(|account| account.name == name);
            let is = place.map(|place| self.ledgers[node].hot(place));
            if is != Some(balance) || balance < 0 {
                let what = format!("batch {seq} leaves {name} with {balance} beside the log, its records make it {is:?}");
                self.fail(node, Invariant::BalanceFormula, what);
            }
        }
        if let Some(Err((invariant, what))) = batch.cut_below.map(|cut| self.cut(node, seq, cut)) {
            self.fail(node, invariant, format!("batch {seq}: {what}"));
        }
    }

    /// Moves are numbered without gaps, one after the other.
    fn moved(&mut self, node: NodeNo, no: u32, (n, begins): (u64, bool), units: i128) -> Fits {
        let ledger = &mut self.ledgers[node];
        let place = ledger.numbers.get(&no).copied().ok_or((Invariant::BalanceFormula, format!("there is no account {no}")))?;
        let before = std::mem::replace(&mut ledger.moves[place], (n, begins));
        ledger.sums[place].moved += units;
        let fits = if begins { before == (n - 1, false) } else { before == (n, true) };
        fits.then_some(()).ok_or((Invariant::BalanceFormula, format!("move {n} of account {no} comes after {before:?}")))
    }

    fn account_opened(&mut self, node: NodeNo, seq: u64, no: u32, name: &str, asset: &str) -> Fits {
        let place = self.layout.nodes[node].accounts.iter().position(|account| account.name == name);
        let place = place.ok_or((Invariant::BalanceFormula, format!("there is no account {name}")))?;
        let ledger = &mut self.ledgers[node];
        ledger.account_in[place] = seq;
        ledger.own_in.entry(asset.to_owned()).or_insert(seq);
        match ledger.numbers.insert(no, place) {
            None => Ok(()),
            Some(_) => Err((Invariant::BalanceFormula, format!("number {no} was given out twice"))),
        }
    }

    pub(super) fn leg(&self, node: NodeNo, leg: Leg) -> Result<Option<AccountPlace>, (Invariant, String)> {
        self.ledgers[node].place(leg).map_err(|what| (Invariant::BalanceFormula, what))
    }

    fn prepared(&mut self, node: NodeNo, epoch: u64, seq: u64, prepared: Prepared) -> Fits {
        let (from, to) = (self.leg(node, prepared.from)?, self.leg(node, prepared.to)?);
        let units = i128::from(prepared.from.amount);
        self.ledgers[node].add(from, -units);
        self.ledgers[node].sum(from, |sums| sums.incoming_prepared += units);
        let verdict = self.may_hold(node, from, to, &prepared);
        let id = prepared.incoming_id;
        if let Some(place) = from {
            if let Some(asked) = self.ledgers[node].asked.get_mut(&(place, id)) {
                let transfer = Transfer::new(prepared.clone(), from, to, epoch);
                asked.iter_mut().filter(|asked| transfer.has(asked)).for_each(|asked| asked.open = false);
            }
            self.ledgers[node].by_incoming.insert((place, id), prepared.key);
        }
        let key = prepared.key;
        let transfer = Transfer { recorded_in: seq, ..Transfer::new(prepared, from, to, epoch) };
        let known = self.ledgers[node].transfers.insert(key, transfer);
        if known.is_some() {
            return Err((Invariant::OneHold, format!("transfer {} is held for the second time", short(&key))));
        }
        verdict
    }

    /// Whether a prepare may be held like this.
    fn may_hold(&self, node: NodeNo, from: Option<AccountPlace>, to: Option<AccountPlace>, own: &Prepared) -> Fits {
        let (layout, name) = (&self.layout, short(&own.key));
        let of = &layout.nodes[node];
        if own.key[..2] != of.slot.to_be_bytes() {
            return Err((Invariant::AsRecorded, format!("the id {name} isn't of the connector's slot")));
        }
        if own.incoming_expires_at - own.expires_at != layout.window_ms {
            let window = own.incoming_expires_at - own.expires_at;
            return Err((Invariant::Claimable, format!("transfer {name} ends {window} ms before it has to be claimed")));
        }
        // The connector's own payments have no incoming side.
        let ends = if from.is_some() { own.incoming_expires_at } else { own.expires_at };
        if ends - self.latest() > layout.hold_ms_max {
            return Err((Invariant::Claimable, format!("transfer {name} is held for too long")));
        }
        let Some(place) = from else { return Ok(()) };
        let ledger = &self.ledgers[node];
        let transfer = Transfer::new(own.clone(), from, to, 0);
        let asked = ledger.asked.get(&(place, own.incoming_id)).and_then(|asked| asked.iter().find(|asked| transfer.has(asked)));
        let Some(asked) = asked else {
            let what = format!("transfer {name} isn't what {} asked for", of.accounts[place].name);
            return Err((Invariant::AsRecorded, what));
        };
        if own.expires_at - asked.earliest_clock < layout.outgoing_ms_min {
            return Err((Invariant::Claimable, format!("transfer {name} has too little time left")));
        }
        let earlier = ledger.held_as(place, &own.incoming_id).map(|earlier| earlier.prepared.incoming_expires_at);
        if earlier.is_some_and(|expires_at| self.latest() < expires_at) {
            return Err((Invariant::OneHold, format!("{} has transfer {} held twice", of.accounts[place].name, short(&own.incoming_id))));
        }
        self.right_amount(node, place, to, own)?;
        let account = &of.accounts[place];
        if ledger.balances[place] < -i128::from(account.credit_limit) {
            let what = format!("{} is at {}, its limit is {}", account.name, ledger.balances[place], account.credit_limit);
            return Err((Invariant::CreditLimit, what));
        }
        Ok(())
    }

    /// Route, rate and size.
    fn right_amount(&self, node: NodeNo, from: AccountPlace, to: Option<AccountPlace>, own: &Prepared) -> Fits {
        let of = &self.layout.nodes[node];
        let wrong = |what: String| Err((Invariant::AsRecorded, format!("transfer {}: {what}", short(&own.key))));
        let Ok(Packet::Payment(payment)) = Packet::decode(&own.packet) else { return wrong("it carries no payment".into()) };
        let destination = payment.account.as_str();
        let leads = |prefix: &str| destination.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let mut routes = vec![(of.address.clone(), None)];
        for (place, account) in of.accounts.iter().enumerate() {
            routes.push((format!("{}.{}", of.address, account.name), Some(place)));
            routes.extend(account.routes.iter().map(|route| (route.clone(), Some(place))));
        }
        let route = routes.iter().filter(|(prefix, _)| leads(prefix)).max_by_key(|(prefix, _)| prefix.len());
        if route.map(|(_, place)| *place) != Some(to) {
            return wrong(format!("it goes to account {to:?}, {destination} lies behind {route:?}"));
        }
        let sender = &of.accounts[from];
        if own.from.amount > sender.max_packet {
            return wrong(format!("{} is more than {} may send", own.from.amount, sender.name));
        }
        let Some(to) = to else { return Ok(()) };
        let hop = &of.accounts[to];
        let rate = of.rates.iter().find(|(a, b, ..)| (a, b) == (&sender.asset, &hop.asset)).map(|(_, _, n, d)| (*n, *d));
        let (numerator, denominator) = if sender.asset == hop.asset { (1, 1) } else { rate.unwrap_or((0, 1)) };
        let worth = u128::from(own.from.amount) * u128::from(numerator) / u128::from(denominator);
        let right = match payment.amount.get() {
            // What is worth less than a unit isn't sent on for nothing.
            0 => u128::from(own.to.amount) == worth && (worth > 0 || own.from.amount == 0),
            wanted => own.to.amount == wanted && u128::from(wanted) <= worth,
        };
        if !right || own.to.amount > hop.max_packet {
            return wrong(format!("{} of {} became {} of {}", own.from.amount, sender.asset, own.to.amount, hop.asset));
        }
        Ok(())
    }

    fn held(&mut self, node: NodeNo, key: &Id, becomes: Outcome) -> Result<&mut Transfer, (Invariant, String)> {
        let transfer = self.ledgers[node].transfers.get_mut(key);
        let transfer = transfer.ok_or((Invariant::OneOutcome, format!("transfer {} ends and was never held", short(key))))?;
        match transfer.outcome.replace(becomes) {
            None => Ok(transfer),
            Some(before) => Err((Invariant::OneOutcome, format!("transfer {} ends twice: {before:?}, {becomes:?}", short(key)))),
        }
    }

    fn fulfilled(&mut self, node: NodeNo, key: Id, from: Leg, to: Leg, fulfillment: [u8; 32]) -> Fits {
        let (asset_from, asset_to) = self.assets_of(node, from, to)?;
        let (grace, skew) = (self.layout.grace_ms, self.layout.skew_ms_max);
        let slot_epoch = self.ledgers[node].epoch;
        let transfer = self.held(node, &key, Outcome::Fulfilled(fulfillment))?;
        let (own, hop, sender) = (&transfer.prepared, transfer.to, transfer.from);
        if (own.from, own.to) != (from, to) {
            return Err((Invariant::AsRecorded, format!("transfer {} ends with other amounts than it was held with", short(&key))));
        }
        let condition: [u8; 32] = Sha256::digest(fulfillment).into();
        if condition != own.condition {
            return Err((Invariant::FulfillmentFits, format!("the fulfillment of {} doesn't fit its condition", short(&key))));
        }
        let recovered = if transfer.epoch < slot_epoch { skew } else { 0 };
        let until = own.expires_at + grace + recovered;
        if hop.is_some() && !transfer.fulfills.iter().any(|(said, clock)| *said == fulfillment && *clock < until) {
            let what = format!("nobody who it went to has fulfilled {} in time ({:?}, until {until})", short(&key), transfer.fulfills);
            return Err((Invariant::FulfillmentFits, what));
        }
        let (x, y) = (i128::from(from.amount), i128::from(to.amount));
        let ledger = &mut self.ledgers[node];
        ledger.sum(sender, |sums| {
            sums.incoming_prepared -= x;
            sums.incoming_fulfilled += x;
        });
        ledger.sum(hop, |sums| sums.outgoing_fulfilled += y);
        ledger.add(hop, y);
        if let (Some(_), Some(asset)) = (sender, asset_from) {
            *ledger.own.entry(asset).or_default() += x;
        }
        if let (Some(_), Some(asset)) = (hop, asset_to) {
            *ledger.own.entry(asset).or_default() -= y;
        }
        Ok(())
    }

    /// The assets of the accounts of two legs.
    pub(super) fn assets_of(&self, node: NodeNo, from: Leg, to: Leg) -> Result<(Option<String>, Option<String>), (Invariant, String)> {
        let asset = |place: Option<AccountPlace>| place.map(|place| self.layout.nodes[node].accounts[place].asset.clone());
        Ok((asset(self.leg(node, from)?), asset(self.leg(node, to)?)))
    }

    fn rejected(&mut self, node: NodeNo, key: Id, from: Leg, reason: Vec<u8>) -> Fits {
        let (latest, grace, skew) = (self.latest(), self.layout.grace_ms, self.layout.skew_ms_max);
        let slot_epoch = self.ledgers[node].epoch;
        let transfer = self.held(node, &key, Outcome::Rejected)?;
        transfer.reason = reason;
        let sender = transfer.from;
        if transfer.prepared.from != from {
            return Err((Invariant::AsRecorded, format!("transfer {} is given back in another amount", short(&key))));
        }
        let refused = transfer.errors > 0 && transfer.sent.len() == 1;
        let recovered = if transfer.epoch < slot_epoch { skew } else { 0 };
        let in_time = latest >= transfer.prepared.expires_at + grace + recovered;
        let ended = transfer.rejects > 0 || refused || transfer.sent.is_empty() || transfer.prepared.to.account == OWN || in_time;
        let sent = transfer.sent.len();
        self.ledgers[node].sum(sender, |sums| sums.incoming_prepared -= i128::from(from.amount));
        self.ledgers[node].add(sender, i128::from(from.amount));
        match ended {
            true => Ok(()),
            false => Err((Invariant::HoldEnds, format!("transfer {}, sent {sent} times, was given back without cause", short(&key)))),
        }
    }

    fn answer_acked(&mut self, node: NodeNo, key: Id) -> Fits {
        let (latest, grace) = (self.latest(), self.layout.grace_ms);
        let transfer = self.settle(node, &key, Settled::Acked)?;
        // A reject is settled by time as well: the sender has its money by then.
        let over = transfer.outcome == Some(Outcome::Rejected) && latest >= transfer.prepared.incoming_expires_at + grace;
        match over || transfer.answer_acks + transfer.answer_errors > 0 {
            true => Ok(()),
            false => Err((Invariant::SaidAgain, format!("the answer to {} passes for acknowledged, and nobody has", short(&key)))),
        }
    }

    fn answer_refused(&mut self, node: NodeNo, key: Id, from: Leg, charged: bool) -> Fits {
        let asset = self.assets_of(node, from, from)?.0;
        let transfer = self.settle(node, &key, if charged { Settled::Disputed } else { Settled::Lost })?;
        let (sender, expires_at) = (transfer.from, transfer.prepared.incoming_expires_at);
        let answers = transfer.answers.clone();
        let said = transfer.answer_errors > 0;
        let fits = transfer.prepared.from == from && matches!(transfer.outcome, Some(Outcome::Fulfilled(_)));
        let ledger = &mut self.ledgers[node];
        ledger.disputed += u64::from(charged);
        ledger.doubt(sender, from.amount.into(), |doubts| if charged { &mut doubts.disputed } else { &mut doubts.lost });
        if !charged {
            ledger.losses += 1;
            ledger.sum(sender, |sums| sums.incoming_fulfilled -= i128::from(from.amount));
            ledger.add(sender, i128::from(from.amount));
            *ledger.own.entry(asset.unwrap_or_default()).or_default() -= i128::from(from.amount);
        }
        if !said || !fits {
            return Err((Invariant::LateFulfill, format!("the answer to {} passes for refused, and wasn't", short(&key))));
        }
        // What an earlier process has said in time isn't known after a crash: then the connector may bear it.
        let said = |epoch: Option<u64>| {
            let of = |wire: &WireNo| self.wires.get(wire).is_some_and(|wire| epoch.is_none_or(|epoch| wire.epoch == epoch));
            answers.iter().any(|(wire, clock)| *clock < expires_at && of(wire))
        };
        let (ever, now) = (said(None), said(Some(self.ledgers[node].epoch)));
        match (charged && ever) || (!charged && !now) {
            true => Ok(()),
            false => {
                let what = format!("the fulfill of {} was refused, said in time: {ever}, charged: {charged}", short(&key));
                Err((Invariant::LateFulfill, what))
            }
        }
    }

    fn unconfirmed(&mut self, node: NodeNo, key: Id, from: Leg) -> Fits {
        let (latest, grace) = (self.latest(), self.layout.grace_ms);
        let place = self.leg(node, from)?;
        self.ledgers[node].unconfirmed += 1;
        self.ledgers[node].doubt(place, from.amount.into(), |doubts| &mut doubts.unconfirmed);
        let transfer = self.settle(node, &key, Settled::Unconfirmed)?;
        match latest >= transfer.prepared.incoming_expires_at + grace {
            true => Ok(()),
            false => Err((Invariant::SaidAgain, format!("the answer to {} was given up before its time", short(&key)))),
        }
    }

    fn settle(&mut self, node: NodeNo, key: &Id, how: Settled) -> Result<&mut Transfer, (Invariant, String)> {
        let transfer = self.ledgers[node].transfers.get_mut(key).filter(|transfer| transfer.outcome.is_some());
        let transfer = transfer.ok_or((Invariant::OneOutcome, format!("transfer {} is settled and has no outcome", short(key))))?;
        match transfer.settled.replace(how) {
            None => Ok(transfer),
            Some(before) => Err((Invariant::OneOutcome, format!("transfer {} is settled twice: {before:?}, {how:?}", short(key)))),
        }
    }

    fn charged(&mut self, node: NodeNo, from: Leg) -> Fits {
        let asset = self.assets_of(node, from, from)?.0;
        let place = self.leg(node, from)?;
        self.ledgers[node].add(place, -i128::from(from.amount));
        self.ledgers[node].sum(place, |sums| sums.incoming_unconditional += i128::from(from.amount));
        *self.ledgers[node].own.entry(asset.unwrap_or_default()).or_default() += i128::from(from.amount);
        Ok(())
    }
}

pub(super) type Fits = Result<(), (Invariant, String)>;

pub(super) fn short(id: &Id) -> String {
    hex::encode(&id[..4])
}
