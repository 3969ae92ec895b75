//! Puts a connector together and starts it.

use super::connector::{Connector, unused_name};
use super::hub::{Colleagues, Hub};
use super::supervisor::{Heir, Seeds, Shared};
use super::transport::Endpoint;
use super::{Clock, Notice, Notices, SystemClock};
use crate::account::{AccountConfig, Rate};
use crate::auth::{Authenticator, Tokens};
use crate::event::NumberedEvent;
use crate::limits::{Limits, Timing};
use crate::receiver::Receiver;
use crate::store::{BalanceStore, Directory, Lease, MemoryStore, SlotNo, StoreError, slot_name};
use crate::worker::{AccountError, OpenError, WorkerConfig};
use ilp_oer::{Address, InvalidAddress};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Puts a connector together. Made by [`Connector::builder`].
#[derive(Debug)]
pub struct ConnectorBuilder {
    address: String,
    allow_production: bool,
    slots: Vec<SlotNo>,
    deployment: Vec<SlotNo>,
    standby: bool,
    inherits_after: Option<Duration>,
    holder: Option<String>,
    reached_at: Option<String>,
    lease: Duration,
    colleagues: Option<Arc<dyn Colleagues>>,
    store: Arc<dyn BalanceStore>,
    authenticator: Option<Arc<dyn Authenticator>>,
    receiver: Option<Arc<dyn Receiver>>,
    clock: Arc<dyn Clock>,
    seeds: Seeds,
    limits: Limits,
    timing: Timing,
    rates: Vec<Rate>,
    accounts: Vec<AccountConfig>,
    endpoints: Vec<Arc<dyn Endpoint>>,
    notices: Notices,
    events: Option<mpsc::Sender<NumberedEvent>>,
}

/// A connector that can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The connector's address isn't one.
    #[error("the connector's address {address:?} is not an ILP address: {source}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        source: InvalidAddress,
    },
    /// A production address without its switch.
    #[error(
        "address {0} is a production address: call allow_production(true) if real money is meant to move, or use one that begins with \"test.\""
    )]
    Production(Address),
    /// An account can't be added.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Two accounts of one name.
    #[error("there are two accounts called {0}")]
    Duplicate(String),
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The slot's books can't be taken up.
    #[error("slot can't be opened: {0}")]
    Open(#[from] OpenError),
    /// No random numbers are to be had.
    #[error("the operating system gives no random numbers: {0}")]
    Randomness(String),
}

impl ConnectorBuilder {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            allow_production: false,
            slots: vec![0],
            deployment: Vec::new(),
            standby: false,
            inherits_after: None,
            holder: None,
            reached_at: None,
            lease: Duration::from_secs(10),
            colleagues: None,
            store: Arc::new(MemoryStore::new()),
            authenticator: None,
            receiver: None,
            clock: Arc::new(SystemClock::new()),
            seeds: Seeds::System,
            limits: Limits::default(),
            timing: Timing::default(),
            rates: Vec::new(),
            accounts: Vec::new(),
            endpoints: Vec::new(),
            notices: Notices::default(),
            events: None,
        }
    }

    /// Keeps the books. Default: a [`MemoryStore`] of its own.
    pub fn store(mut self, store: impl BalanceStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// How many workers there are: slots 0 to `count` − 1 of the store, each with a task of its own. Default: 1. Accounts are spread over
    /// them by their parallelism when they are first added, and stay there.
    ///
    /// Several pay on a runtime with several threads: the workers share nothing but the store.
    pub fn workers(self, count: SlotNo) -> Self {
        self.slots((0..count.max(1)).collect())
    }

    /// The slots of the store that this connector opens, instead of those from 0.
    pub fn slots(mut self, slots: Vec<SlotNo>) -> Self {
        self.slots = slots;
        self
    }

    /// All slots of the store that new accounts are spread over, in this process or another. Default: those that this connector opens.
    pub fn deployment(mut self, slots: Vec<SlotNo>) -> Self {
        self.deployment = slots;
        self
    }

    /// Slots that somebody else has open are waited for, and taken when their lease has ended; without this, starting fails then. Such a
    /// connector also starts if it can have none at once.
    pub fn standby(mut self, standby: bool) -> Self {
        self.standby = standby;
        self
    }

    /// Slots of the [deployment](Self::deployment) that others should open are taken over when nobody has them any more: at once when their
    /// lease has run out, as a process's that died does; and after `patience` if they were given up in good order or nobody has opened them
    /// yet, so that a process can be started, and started again. Default: never.
    ///
    /// Whoever is started and finds one of its slots taken over needs [`standby`](Self::standby), and gets it when the other one stops.
    pub fn inherits_after(mut self, patience: Duration) -> Self {
        self.inherits_after = Some(patience);
        self
    }

    /// For how long slots are kept without a sign of life; longer than anything that may hold a worker up. Default: 10 s. It is renewed
    /// three times as often. A worker that couldn't renew it releases nothing more.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// What the store shows as the holder of the slots. Default: the process's number, and something random.
    pub fn holder(mut self, holder: &str) -> Self {
        self.holder = Some(holder.to_owned());
        self
    }

    /// The way to workers of other processes. Default: none.
    pub fn colleagues(mut self, colleagues: Arc<dyn Colleagues>, reached_at: &str) -> Self {
        self.colleagues = Some(colleagues);
        self.reached_at = Some(reached_at.to_owned());
        self
    }

    /// Adds an account. Its peer authenticates with what the [`authenticator`](Self::authenticator) knows.
    pub fn account(mut self, account: AccountConfig) -> Self {
        self.accounts.push(account);
        self
    }

    /// Decides who may speak for an account. Default: nobody.
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Takes payments to the connector's own address. Default: they are refused.
    pub fn receiver(mut self, receiver: impl Receiver) -> Self {
        self.receiver = Some(Arc::new(receiver));
        self
    }

    /// Makes connections: a listener or a dialler. Runs from start to stop.
    pub fn endpoint(mut self, endpoint: impl Endpoint) -> Self {
        self.endpoints.push(Arc::new(endpoint));
        self
    }

    /// A fixed rate between two assets, in one direction.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rates.push(rate);
        self
    }

    /// How much of anything peers may use.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The time rules.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Allows an address that doesn't begin with `test.` (or another reserved prefix that moves no real money).
    pub fn allow_production(mut self, allow: bool) -> Self {
        self.allow_production = allow;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where outgoing transfer ids come from. Default: the operating system. A seed must never be used twice with the same store.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seeds = Seeds::Given(seed);
        self
    }

    /// Calls back with what an operator should hear. The callback must not block.
    pub fn on_notice(mut self, callback: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        self.notices = Notices(Some(Arc::new(callback)));
        self
    }

    /// Everything that changes the books, in order and numbered, after it is durable; and what was refused. Costs an allocation per event.
    ///
    /// None is lost: while the channel is full, or [`Limits::events_unacknowledged`] are not acknowledged, nothing more is read from peers.
    /// What isn't acknowledged ([`Connector::acknowledge_events`]) is told again by the next connector on the same slot, and when this one
    /// has to open its slot again. Each slot numbers its own. A connector without this call numbers its events all the same, and tells them to nobody.
    pub fn events(mut self, events: mpsc::Sender<NumberedEvent>) -> Self {
        self.events = Some(events);
        self
    }

    /// Opens the slots and starts, on the runtime that this is called on.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing runs; the slot may have been opened.
    pub async fn start(self) -> Result<Connector, StartError> {
        let address = Address::new(&self.address).map_err(|source| StartError::Address { address: self.address.clone(), source })?;
        let production = !["test", "example", "private", "local", "self", "peer"].iter().any(|first| first_segment(&address) == *first);
        if production && !self.allow_production {
            return Err(StartError::Production(address));
        }
        let mut accounts = std::collections::BTreeMap::new();
        for account in &self.accounts {
            if accounts.insert(account.id.clone(), account.clone()).is_some() {
                return Err(StartError::Duplicate(account.id.name().to_owned()));
            }
        }
        let seeds = self.seeds;
        let holder = match self.holder {
            Some(holder) => holder,
            None => {
                let random = Seeds::System.next()?.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                format!("{}-{random:016x}", std::process::id())
            }
        };
        let lease = Lease {
            holder: holder.into(),
            address: self.reached_at.map(Into::into),
            ms: u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX),
        };
        let mut slots = self.slots;
        slots.sort_unstable();
        slots.dedup();
        let deployment = if self.deployment.is_empty() { slots.clone() } else { self.deployment };
        let of_others: Vec<_> = deployment.iter().copied().filter(|slot| !slots.contains(slot)).collect();
        // Slots that nobody was told to open, but that have books: somebody has to end what is in flight there.
        let found = self.store.directory().await?;
        for account in &self.accounts {
            unused_name(&account.id, &found)?;
        }
        let (mut adopted, mut later) = (Vec::new(), Vec::new());
        for (slot, held) in orphans(&found, &deployment) {
            if held { later.push(slot) } else { adopted.push(slot) }
        }
        for slot in &adopted {
            self.notices.send(Notice::Adopted { slot: slot_name(*slot).to_string() });
        }
        slots.extend(adopted);
        let shared = Arc::new(Shared {
            worker: WorkerConfig {
                address: address.clone(),
                slot: 0,
                deployment: deployment.iter().chain(&slots).chain(&later).copied().collect::<BTreeSet<_>>().into_iter().collect(),
                limits: self.limits.clone(),
                timing: self.timing,
                rates: self.rates,
                seed: [0; 32],
                events: self.events.is_some(),
            },
            limits: self.limits,
            store: self.store,
            authenticator: self.authenticator.unwrap_or_else(|| Arc::new(Tokens::new())),
            receiver: self.receiver,
            clock: self.clock,
            notices: self.notices,
            events: self.events,
            accounts: Default::default(),
            seeds: seeds.into(),
            slots: deployment,
            lease,
            hub: Hub::new(self.colleagues),
        });
        let mut opened = Vec::with_capacity(slots.len());
        for slot in slots {
            match shared.open(slot).await {
                Ok(this) => opened.push((slot, Some(this))),
                Err(StartError::Store(error)) if self.standby && error.held_by.is_some() => {
                    shared.notices.send(Notice::Standby { slot: slot_name(slot).to_string() });
                    opened.push((slot, None));
                }
                Err(error) => return Err(error),
            }
        }
        let mut connector = Connector::run(shared, opened);
        if let Some(patience) = self.inherits_after {
            connector.inherit(&of_others, Heir::OfOthers(patience));
        }
        if !later.is_empty() {
            connector.inherit(&later, Heir::OfNobody);
        }
        for account in self.accounts {
            if let Err(error) = connector.set_up_account(account).await {
                let _ = connector.stop(Duration::ZERO).await;
                return Err(error.into());
            }
        }
        for endpoint in self.endpoints {
            connector.spawn(endpoint);
        }
        Ok(connector)
    }
}

/// Slots with books that no account may be dealt to any more, and whether somebody has them.
fn orphans(directory: &Directory, deployment: &[SlotNo]) -> Vec<(SlotNo, bool)> {
    let number = |name: &str| name.strip_prefix("slot-")?.parse::<SlotNo>().ok();
    let with_books = directory.slots.iter().filter(|slot| slot.last_seq > 0);
    with_books.filter_map(|slot| Some((number(&slot.name)?, slot.lease.is_some()))).filter(|(slot, _)| !deployment.contains(slot)).collect()
}

fn first_segment(address: &Address) -> &str {
    address.as_str().split('.').next().unwrap_or_default()
}
