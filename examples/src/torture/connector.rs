//! The connector in a child process, from inside: the library's, with a store, a listener and moments at which it is killed.

use super::endpoint::WatchedListener;
use super::events::Bookkeeper;
use super::medium::{self, BEFORE_READING, OPEN_MOMENTS, Volatile};
use super::points::{Kill, LastWords, Point, Trigger};
use super::store::{Hasty, Watched};
use super::{ADDRESS, RULES, Sabotage, StoreKind};
use crate::flood::faults;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::Connector;
use ilp_core::store::{BalanceStore, EmbeddedStore, FileMedium, MemoryStore};
use ilp_core::{AccountConfig, AccountId, Asset, Limits, NumberedEvent, Tokens};
use ilp_oer::Address;
use ilp_store_redis::{RedisConfig, RedisStore};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the child is told: one line of JSON on its input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// Where to listen, on 127.0.0.1.
    pub(super) port: u16,
    pub(super) store: StoreKind,
    /// Where the store is.
    pub(super) directory: PathBuf,
    /// The server, if it is on one.
    pub(super) redis: Option<String>,
    /// Name, token and credit limit of each.
    pub(super) accounts: Vec<(String, String, u64)>,
    /// The embedder's own ledger, if it keeps one.
    pub(super) ledger: Option<PathBuf>,
    /// When it shall be killed; if not, it lives until its input ends.
    pub(super) kill: Option<Kill>,
    /// Its disk forgets, and what isn't synced is torn when it is killed.
    pub(super) power_fails: bool,
    pub(super) workers: u16,
    pub(super) sabotage: Option<Sabotage>,
}

/// What the child says, a line of JSON each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// It is there; so long after it was started, in microseconds.
    Listening { recovery_us: u64 },
    /// It stands where it shall be killed, and is.
    At(LastWords),
    /// Its books, or whatever else it needs, can't be opened.
    Unopenable(String),
    /// It has stopped in good order.
    Stopped { in_flight: usize },
}

/// Reads an order from the input and is a connector until it is killed, or until the input ends.
pub(super) fn main() -> ExitCode {
    let started = Instant::now();
    match serve(started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "torture: connector: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(started: Instant) -> Result<(), Error> {
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        // The parent is gone already.
        return Ok(());
    }
    let order: Order = serde_json::from_str(&line)?;
    let (ended, end) = oneshot::channel::<()>();
    // Reading the standard input blocks, so it can't be left to the connector's thread.
    std::thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        drop(ended);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let trigger = Arc::new(Trigger::new(order.kill));
        trigger.start_clock();
        let opened = match &order.redis {
            Some(url) => on_redis(url).await.map(|store| (store, None)),
            None => open(&order, &trigger),
        };
        let (mut store, disk) = match opened {
            Ok(open) => open,
            Err(error) => return say(&Said::Unopenable(error.to_string())),
        };
        let mut hasty = None;
        if order.sabotage == Some(Sabotage::NoHold) {
            let lying = Arc::new(Hasty::new(store));
            hasty = Some(lying.clone());
            store = lying;
        }
        let store = Watched { inner: store, trigger: trigger.clone() };
        let mut bookkeeper = match &order.ledger {
            Some(path) => Some(Bookkeeper::start(path, trigger.clone(), order.sabotage)?),
            None => None,
        };
        let events = bookkeeper.as_ref().map(|bookkeeper| bookkeeper.events.clone());
        let connector = match start(&order, store, events, trigger.clone()).await {
            Ok(connector) => connector,
            Err(error) => return say(&Said::Unopenable(error.to_string())),
        };
        say(&Said::Listening { recovery_us: u64::try_from(started.elapsed().as_micros())? })?;
        tokio::select! {
            _ = end => {}
            () = acknowledge(&connector, bookkeeper.as_mut(), &trigger) => {}
        }
        let report = connector.stop(STOP_PATIENCE).await;
        if let Some(Bookkeeper { events, safe, thread }) = bookkeeper {
            // It ends when it has all that the connector has told.
            drop((events, safe));
            thread.join().map_err(|_| "the bookkeeper has panicked")??;
        }
        if let Some(hasty) = hasty {
            hasty.finish().await;
        }
        if let Some(disk) = disk {
            disk.finish()?;
        }
        say(&Said::Stopped { in_flight: report.worker.map_or(0, |worker| worker.in_flight) })
    })
}

/// Passes the bookkeeper's word on, for ever.
async fn acknowledge(connector: &Connector, bookkeeper: Option<&mut Bookkeeper>, trigger: &Trigger) {
    if let Some(bookkeeper) = bookkeeper {
        while let Some(through) = bookkeeper.safe.recv().await {
            if connector.acknowledge_events(0, through).await.is_err() {
                break;
            }
            trigger.at(Point::EventsAcknowledged, || "events are acknowledged, which nobody has recorded".to_owned());
        }
    }
    std::future::pending().await
}

/// The store, and the disk under it if its power is to fail.
type Opened = (Arc<dyn BalanceStore>, Option<Arc<Volatile>>);

async fn on_redis(url: &str) -> Result<Arc<dyn BalanceStore>, Error> {
    Ok(Arc::new(RedisStore::connect(RedisConfig::new(url)?).await?))
}

fn open(order: &Order, trigger: &Arc<Trigger>) -> Result<Opened, Error> {
    if order.store == StoreKind::Memory {
        return Ok((Arc::new(MemoryStore::new()), None));
    }
    let file = order.directory.join(FILE);
    if !file.exists() {
        // New books, by the store's own way to make them.
        drop(EmbeddedStore::open(&order.directory)?);
    }
    if trigger.variant(Point::DuringOpen, OPEN_MOMENTS) == Some(BEFORE_READING) {
        trigger.at_last(Point::DuringOpen, || "before anything is read".to_owned());
    }
    if order.power_fails {
        let disk = Arc::new(Volatile::open(&file, trigger.clone(), order.sabotage == Some(Sabotage::NoFsync))?);
        trigger.set_disk(&disk);
        return Ok((Arc::new(EmbeddedStore::open_on(disk.clone())?), Some(disk)));
    }
    let medium = medium::Watched::new(Arc::new(FileMedium::open(&file)?), trigger.clone());
    Ok((Arc::new(EmbeddedStore::open_on(Arc::new(medium))?), None))
}

async fn start(
    order: &Order,
    store: Watched,
    events: Option<mpsc::Sender<NumberedEvent>>,
    trigger: Arc<Trigger>,
) -> Result<Connector, Error> {
    let listener = WatchedListener::bind(Address::new(ADDRESS)?, order.port, trigger).await?;
    let mut builder =
        Connector::builder(ADDRESS).workers(order.workers).store(store).limits(limits()).timing(RULES.timing).endpoint(listener);
    if let Some(events) = events {
        builder = builder.events(events);
    }
    if order.store == StoreKind::Redis {
        // The same one every time: there is no lease to be waited for.
        builder = builder.holder("torture");
    }
    let tokens = Tokens::new();
    for (name, token, credit_limit) in &order.accounts {
        let id = AccountId::new(if order.workers > 1 { 2 } else { 1 }, name)?;
        tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, token.as_bytes());
        builder = builder.account(AccountConfig { credit_limit: *credit_limit, ..AccountConfig::new(id, Asset::new("XRP", 6)) });
    }
    Ok(builder.authenticator(Arc::new(tokens)).start().await?)
}

/// Little patience for silent peers, and snapshots as often as there can be.
fn limits() -> Limits {
    Limits { log_bytes: LOG_BYTES, ..faults::limits() }
}

fn say(said: &Said) -> Result<(), Error> {
    let mut out = stdout().lock();
    writeln!(out, "{}", serde_json::to_string(said)?)?;
    out.flush()?;
    Ok(())
}

/// The store's file in its directory.
const FILE: &str = "books.redb";
const LOG_BYTES: usize = 64 << 10;
/// For what is still in flight at the end, which should be nothing.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
