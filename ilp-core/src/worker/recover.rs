//! A worker is made from its slot's log.

use super::{Counters, Outcome, Pending, Transfer, Worker, WorkerConfig, WorkerError, seeded};
use crate::collections::{PartedMap, Slots};
use crate::limits::InvalidTiming;
use crate::record::{OWN, Record};
use crate::routes::Routes;
use crate::store::OpenedSlot;
use crate::wheel::Wheel;
use ilp_oer::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// A worker that can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The time rules can't be kept.
    #[error(transparent)]
    Timing(#[from] InvalidTiming),
    /// The log can't be read or doesn't fit itself; `batch` counts from the oldest that the store returned.
    #[error("batch {batch} of the slot's log is damaged: {source}")]
    Log {
        /// Which one.
        batch: usize,
        /// What is wrong with it.
        source: WorkerError,
    },
    /// A rate with a zero.
    #[error("the rate from {from} to {to} has a zero in it")]
    Rate {
        /// As configured.
        from: String,
        /// As configured.
        to: String,
    },
}

impl Worker {
    /// Reads the log of a slot. Transfers that were held still are, and wait for their outcome or their time; accounts have their books
    /// but no configuration until [`Input::AddAccount`](super::Input::AddAccount) gives them one.
    pub fn open(config: WorkerConfig, opened: &OpenedSlot, now: Timestamp) -> Result<Self, OpenError> {
        config.timing.check()?;
        if let Some(rate) = config.rates.iter().find(|rate| rate.numerator == 0 || rate.denominator == 0) {
            return Err(OpenError::Rate { from: rate.from.to_string(), to: rate.to.to_string() });
        }
        let (rng, [connections, routes, incoming, outgoing, names]) = seeded(config.seed);
        let mut routes = Routes::new(routes);
        routes.insert(&config.address, OWN);
        let mut worker = Self {
            rng,
            assets: Vec::new(),
            rates: BTreeMap::new(),
            accounts: Vec::new(),
            by_name: HashMap::with_hasher(names),
            connections: HashMap::with_hasher(connections),
            routes,
            transfers: Slots::new(),
            active: Slots::new(),
            incoming: PartedMap::new(incoming),
            outgoing: PartedMap::new(outgoing),
            wheel: Wheel::new(now),
            fired: Vec::new(),
            unsent: Vec::new(),
            receiving: 0,
            closing: Vec::new(),
            colleagues: Vec::new(),
            strays: Vec::new(),
            restless: Vec::new(),
            dues: Default::default(),
            next_serial: 0,
            mail: opened.mail.clone(),
            mail_read: None,
            draining: false,
            counters: Counters::default(),
            later: Vec::new(),
            pending: Pending { seq: opened.last_seq, ..Pending::default() },
            snapshot: Default::default(),
            events: Default::default(),
            statements: Vec::new(),
            replaying: true,
            recovered_skew_ms: config.timing.skew_ms_max,
            config,
        };
        worker.learn_names(&opened.log).map_err(|(batch, source)| OpenError::Log { batch, source })?;
        for (batch, blob) in opened.log.iter().enumerate() {
            worker.replay(blob).map_err(|source| OpenError::Log { batch, source })?;
        }
        worker.replaying = false;
        worker.forget_names();
        worker.recount();
        worker.pending.touched.clear();
        worker.pending.closed.clear();
        worker.resume();
        Ok(worker)
    }

    fn replay(&mut self, blob: &[u8]) -> Result<(), WorkerError> {
        for record in Record::decode_all(blob) {
            let record = record?;
            let event = self.event_of(&record);
            self.apply(&record)?;
            self.count_event(&record, event);
        }
        Ok(())
    }

    /// The numbers of transfers per account. A log that was cut may name accounts before it says that they exist.
    fn recount(&mut self) {
        self.receiving = 0;
        for account in self.accounts.iter_mut().flatten() {
            (account.incoming, account.outgoing, account.remembered) = Default::default();
        }
        let payload = |transfer: &Transfer| self.active(transfer).map(|active| (active.packet.len(), active.reason.len()));
        let transfer = |(_, t): (usize, &Transfer)| (t.from, t.to, payload(t), t.outcome == Outcome::Held);
        let transfers: Vec<_> = self.transfers.iter().map(transfer).collect();
        for (from, to, payload, held) in transfers {
            let (packet, reason) = payload.unwrap_or_default();
            if let Some(account) = self.account_mut(from.account) {
                account.remembered = account.remembered.saturating_add(1);
                match (payload.is_some(), held) {
                    (true, true) => account.incoming.enter(packet, from.amount),
                    (true, false) => account.incoming.enter(reason, 0),
                    (false, _) => {}
                }
            }
            if held && to.account == OWN {
                self.receiving = self.receiving.saturating_add(1);
            } else if held && let Some(account) = self.account_mut(to.account) {
                account.outgoing.enter(packet, to.amount);
            }
        }
    }

    /// Payments to our own address are asked about again, and moves asked for; everything else waits for a connection or its time.
    fn resume(&mut self) {
        let to_self =
            |(_, transfer): (usize, &Transfer)| (transfer.to.account == OWN && transfer.outcome == Outcome::Held).then_some(transfer.key);
        let keys: Vec<_> = self.transfers.iter().filter_map(to_self).collect();
        for key in keys {
            self.send_on(key);
        }
        // Whatever the store was asked, or was about to be asked, it is asked again.
        for no in (0..).take(self.accounts.len()) {
            self.ask_for_move(no);
        }
    }
}
