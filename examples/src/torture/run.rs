//! A run: peers, then one connector after the other, each killed at its moment; the end of everything; the check.

use super::check::{Books, Ledger, check};
use super::connector::{Order, Said};
use super::crew::Crew;
use super::options::{Common, KillOptions, usage};
use super::place::Place;
use super::points::{self, Kill, LastWords, Point};
use super::progress::Progress;
use super::report::{Events, Report};
use super::{Sabotage, StoreKind, store};
use crate::flood::child::{Child, ChildError, logins, own_program};
use crate::flood::random::{NoRandomness, random};
use crate::redis::RedisServer;
use ilp_core::audit::AuditError;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    kills: Vec<Kill>,
    store: StoreKind,
    power_fails: bool,
    workers: u16,
    keeps_ledger: bool,
    rate: u32,
    pairs: u16,
    sabotage: Option<Sabotage>,
    keep: Option<PathBuf>,
    pub(super) json: bool,
}

/// What a run counts.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) seed: u64,
    pub(super) store: StoreKind,
    pub(super) sabotage: Option<Sabotage>,
    /// The last words of every process that was killed.
    pub(super) kills: Vec<LastWords>,
    pub(super) recoveries_us: Vec<u64>,
    pub(super) reconnects: u64,
    /// How often a Redis server was killed beside them.
    pub(super) servers_killed: u64,
    /// Of the embedder's ledger, if it kept one.
    pub(super) events: Option<Events>,
    pub(super) time: Duration,
    pub(super) complaints: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    #[error("cannot use {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("no port from {} to {} is free", PORTS.0, PORTS.1)]
    NoPort,
    #[error("the connector that was to be killed at {point} ended otherwise: {how}")]
    EndedOtherwise { point: Point, how: String },
    #[error("the connector that was to be killed at {point} has not come there in {} s", POINT_TIME_MAX.as_secs())]
    NeverThere { point: Point },
    #[error("the connector can't open its books: {0}")]
    Unopenable(String),
    #[error("the last connector ended otherwise than in good order: {0}")]
    LastOne(String),
    #[error("the peer of account {name} ended by itself")]
    PeerGone { name: String },
    #[error("a journal can't be read: {0}")]
    Journal(#[source] io::Error),
    #[error("the embedder's ledger can't be read: {0}")]
    Ledger(#[source] io::Error),
    #[error("the store can't be read: {0}")]
    Store(String),
    #[error("the store's books can't be read: {0}")]
    Audit(#[from] AuditError),
    #[error("interrupted")]
    Interrupted,
}

impl Plan {
    /// Processes are killed.
    pub(super) fn kill(KillOptions { common, store, points }: KillOptions) -> Result<Self, clap::Error> {
        let points = if points.is_empty() { Point::KILLS.to_vec() } else { points };
        if let Some(point) = points.iter().find(|point| !Point::KILLS.contains(point)) {
            return Err(usage(&format!("{point} is no moment at which a process is killed")));
        }
        Ok(Self { store, ..Self::new(common, &[Sabotage::NoHold], &points)? })
    }

    /// The power fails.
    pub(super) fn power(common: Common) -> Result<Self, clap::Error> {
        Ok(Self { power_fails: true, ..Self::new(common, &[Sabotage::NoHold, Sabotage::NoFsync], &Point::POWER)? })
    }

    /// Processes are killed that keep a ledger from events.
    pub(super) fn events(common: Common) -> Result<Self, clap::Error> {
        if common.workers > 1 {
            return Err(usage("the embedder's ledger is of one worker's events"));
        }
        Ok(Self { keeps_ledger: true, ..Self::new(common, &[Sabotage::NoHold, Sabotage::EarlyAcknowledge], &Point::EVENTS)? })
    }

    fn new(common: Common, sabotages: &[Sabotage], points: &[Point]) -> Result<Self, clap::Error> {
        let seed = common.seed();
        let Common { times, rate, pairs, workers, sabotage, keep, json, .. } = common;
        if sabotage.is_some_and(|sabotage| !sabotages.contains(&sabotage)) {
            return Err(usage("this sabotage changes nothing here: no-fsync goes with power, early-acknowledge with events"));
        }
        let (store, kills) = (StoreKind::Embedded, points::draw(seed, times, points));
        Ok(Self { seed, kills, store, power_fails: false, workers, keeps_ledger: false, rate, pairs, sabotage, keep, json })
    }
}

/// Carries a plan out.
pub(super) async fn run(plan: Plan) -> Result<Report, RunError> {
    let started = Instant::now();
    let place = Place::new(plan.keep.clone())?;
    let mut rng = ChaCha12Rng::seed_from_u64(plan.seed.rotate_left(32));
    let (logins, port) = (logins(plan.pairs)?, free_port()?);
    let accounts = logins.iter().flat_map(|(payer, payee)| [(payer, u64::MAX), (payee, 0)]);
    let accounts = accounts.map(|(login, credit)| (login.name.clone(), login.token.clone(), credit)).collect();
    let mut redis = match plan.store {
        StoreKind::Redis => Some(RedisServer::start(&place.redis()?, "always")?),
        StoreKind::Embedded | StoreKind::Memory => None,
    };
    let order = Order {
        port,
        redis: redis.as_ref().map(RedisServer::url),
        store: plan.store,
        directory: place.store(),
        accounts,
        ledger: plan.keeps_ledger.then(|| place.ledger()),
        kill: None,
        power_fails: plan.power_fails,
        workers: plan.workers,
        sabotage: plan.sabotage,
    };
    let mut figures = Figures { seed: plan.seed, store: plan.store, sabotage: plan.sabotage, ..Figures::default() };
    let mut crew = Crew::start(&logins, port, plan.workers, plan.rate, &place, &mut rng).await?;

    let opened = match kill_all(&plan, &order, &mut crew, redis.as_mut(), &mut figures).await {
        Ok(()) => settle(&order, &mut crew, &mut figures).await,
        Err(error) => Err(error),
    };
    let pairs = crew.pairs().to_vec();
    let states = crew.end().await;
    let books = match opened {
        Ok(last) => {
            stop(last).await?;
            read(&plan, &place, order.redis.as_deref()).await?
        }
        // Everything is lost that ever was in it.
        Err(RunError::Unopenable(why)) => {
            figures.complaints.push(format!("the connector can't open its books any more: {why}"));
            Books::default()
        }
        Err(error) => return Err(error),
    };
    for (name, state) in states? {
        figures.reconnects += state.reconnects;
        figures.complaints.extend(state.wrong.iter().map(|(what, count)| format!("{name}: {count} {what}")));
        figures.complaints.extend(state.failure.map(|failure| format!("{name}: the journal can't be written: {failure}")));
    }
    let kills: Vec<i64> = figures.kills.iter().map(|words| words.at_us).collect();
    let mut verdict = check(&pairs, &books, &kills).map_err(RunError::Journal)?;
    if let Some(path) = &order.ledger {
        let ledger = Ledger::read(path).map_err(RunError::Ledger)?;
        let apart = ledger.compare(&books, &mut verdict.complaints);
        figures.events = Some(Events { told: ledger.last, again: ledger.again, units_apart: apart });
    }
    figures.time = started.elapsed();
    Ok(Report::new(figures, verdict))
}

/// Kills one connector after the other, until all are dead or somebody is tired of it.
async fn kill_all(
    plan: &Plan,
    order: &Order,
    crew: &mut Crew,
    mut redis: Option<&mut RedisServer>,
    figures: &mut Figures,
) -> Result<(), RunError> {
    let mut progress = Progress::new(plan.kills.len());
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    for (n, kill) in plan.kills.iter().enumerate() {
        // Every third connector loses its server while it lives; every third one with it.
        let server = redis.as_deref_mut().filter(|_| n % 3 == 1);
        let order = Order { kill: Some(*kill), ..order.clone() };
        tokio::select! {
            // First: a connector that is just being started may get the signal, too.
            biased;
            Ok(()) = &mut interrupt => break,
            killed = kill_one(&order, *kill, server, figures) => killed?,
        }
        if let Some(server) = redis.as_deref_mut().filter(|_| n % 3 == 2) {
            server.kill()?;
            server.start_again()?;
            figures.servers_killed += 1;
        }
        if progress.is_shown() {
            progress.show(figures.kills.len(), crew.started().await?);
        }
    }
    progress.finish();
    Ok(())
}

/// The life of one connector.
async fn kill_one(
    order: &Order,
    Kill { point, .. }: Kill,
    server: Option<&mut RedisServer>,
    figures: &mut Figures,
) -> Result<(), RunError> {
    let mut child = start(order).await?;
    let mut said = Some(child.hello().clone());
    if let Some(Said::Listening { recovery_us }) = said {
        figures.recoveries_us.push(recovery_us);
        if let Some(server) = server {
            server.kill()?;
            server.start_again()?;
            figures.servers_killed += 1;
        }
        said = timeout(POINT_TIME_MAX, child.hear()).await.map_err(|_| RunError::NeverThere { point })??;
    }
    let ended = child.ended(POINT_TIME_MAX).await?;
    match (said, ended.map(|status| status.signal())) {
        (Some(Said::At(words)), Some(Some(SIGKILL))) if words.point == point => figures.kills.push(words),
        (Some(Said::Unopenable(why)), _) => return Err(RunError::Unopenable(why)),
        (said, _) => {
            let how = format!("{}; its last words: {said:?}", how(ended));
            return Err(RunError::EndedOtherwise { point, how });
        }
    }
    Ok(())
}

/// With a last connector, which isn't killed, everything comes to its end.
async fn settle(order: &Order, crew: &mut Crew, figures: &mut Figures) -> Result<Child<Said>, RunError> {
    let last = start(order).await?;
    match last.hello() {
        Said::Listening { recovery_us } => figures.recoveries_us.push(*recovery_us),
        Said::Unopenable(why) => return Err(RunError::Unopenable(why.clone())),
        said => return Err(RunError::LastOne(format!("its last words: {said:?}"))),
    }
    let settled = tokio::select! {
        settled = crew.settle() => settled?,
        // The second one.
        Ok(()) = tokio::signal::ctrl_c() => return Err(RunError::Interrupted),
    };
    if !settled {
        figures.complaints.push("not everything came to an end after the last expiry".to_owned());
    }
    Ok(last)
}

async fn start(order: &Order) -> Result<Child<Said>, RunError> {
    Ok(Child::start_as(&own_program()?, &["connector"], order).await?)
}

/// Lets the last connector stop.
async fn stop(last: Child<Said>) -> Result<(), RunError> {
    let ended = last.end(POINT_TIME_MAX).await?;
    if ended.is_some_and(|status| status.success()) { Ok(()) } else { Err(RunError::LastOne(how(ended))) }
}

/// What is in the store, now that nobody has it open.
async fn read(plan: &Plan, place: &Place, redis: Option<&str>) -> Result<Books, RunError> {
    let pictures = store::pictures(plan.store, &place.store(), redis).await.map_err(RunError::Store)?;
    Ok(Books::of(pictures)?)
}

fn how(ended: Option<ExitStatus>) -> String {
    ended.map_or_else(|| "it had to be killed for want of time".to_owned(), |status| status.to_string())
}

/// A port for all connectors of a run, one after the other. Not one that the system gives to whoever dials: a peer that dials while
/// nobody listens could get it, and be connected to itself. And not one that the seed decides: there may be other runs with the same.
fn free_port() -> Result<u16, RunError> {
    let (first, last) = PORTS;
    for _ in 0..PORT_TRIES {
        let port = first + u16::from_be_bytes(random()?) % (last - first);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(RunError::NoPort)
}

const SIGKILL: i32 = 9;
/// Some hundred times as long as it takes.
const POINT_TIME_MAX: Duration = Duration::from_secs(120);
const PORTS: (u16, u16) = (15_000, 30_000);
const PORT_TRIES: u32 = 100;
