//! A connector from a configuration, from start to stop.

use super::admin::desk::Desk;
#[cfg(unix)]
use super::admin::{server::Server, socket::Socket};
use super::reload::reload;
use super::signals::Signal;
use super::store::{OpenedStore, in_full};
use super::watch::Watched;
use super::{Exit, Log, Signals};
use crate::config::{Config, Listen, Place, Process, Store};
use crate::show::{self, Table, counted, units};
use ilp_core::Tokens;
use ilp_core::runtime::{Connector, ConnectorBuilder, Door, Notice, SocketColleagues, StartError, StopReport};
use ilp_core::store::SlotNo;
use ilp_core::worker::{AccountStatus, OpenError};
use ilp_plugins::clp::{ClpDialler, ClpListener};
use ilp_store_redis::Required;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the stop waits for what operators have asked just before.
const ADMIN_PATIENCE: Duration = Duration::from_secs(1);

/// How long closing the books may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A connector at work, and what belongs to it.
struct Running {
    connector: Arc<Connector>,
    #[cfg(unix)]
    admin: Option<Server>,
    store: OpenedStore,
    watched: Watched,
}

/// Runs until a signal comes, then drains for at most `patience`.
pub(super) async fn serve(config: Config, file: &Path, patience: Duration, log: Log) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return cannot_start(&log, &format!("signals can't be listened to: {error}")),
    };
    // Every connection is an open file; shells allow few by default, more on request. With fewer it works, for fewer peers.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let tokens = Arc::new(Tokens::new());
    let started = tokio::select! {
        started = start(&config, file, &tokens, &log) => started,
        // Large books take a while.
        signal = signals.stop() => {
            log.line(format_args!("{signal}: stopped before it was started"));
            return Exit::Interrupted;
        }
    };
    let (running, places) = match started {
        Ok(started) => started,
        Err(why) => return cannot_start(&log, &why),
    };
    log.line(format_args!("connector {} is running", config.address));
    let signal = loop {
        match signals.next().await {
            Signal::Stop(name) => break name,
            Signal::Reload => reload(&config, &tokens, &places, file, &log),
        }
    };
    stop(running, signal, patience, &mut signals, &log).await
}

async fn start(config: &Config, file: &Path, tokens: &Arc<Tokens>, log: &Log) -> Result<(Running, Vec<String>), String> {
    // Before anything is said: a second connector on the same ports shall end with one message.
    let listeners = listen(config, file).await?;
    let store = open_store(config, file).await?;
    #[cfg(unix)]
    let socket = match &config.admin {
        Some(socket) => Some(Socket::bind(&socket.path).map_err(|error| format!("{error}{}", at(socket.place, file)))?),
        None => None,
    };
    let watched = Watched::new(store.clone(), log.clone());
    let notices = log.clone();
    let (builder, colleagues) = with_colleagues(build(config, tokens), config, &store, file).await?;
    let mut builder = builder.store(watched.clone()).on_notice(move |notice| say_notice(&notice, &notices));
    let places: Vec<String> = listeners.iter().map(ClpListener::url).collect();
    for listener in listeners {
        builder = builder.endpoint(listener);
    }
    // Before the start, so that what happens on these places comes after them.
    say_books(config, file, log);
    say_places(config, &places, log);
    if let Some(colleagues) = colleagues {
        log.line(format_args!("other processes are listened to at {colleagues}"));
    }
    let connector = builder.start().await.map_err(|error| explain(&error))?;
    let connector = Arc::new(connector);
    say_slots(config, &connector, log).await;
    #[cfg(unix)]
    let admin = socket.map(|socket| {
        let desk = Desk::new(connector.clone(), store.clone(), watched.clone());
        Server::start(socket, Arc::new(desk), log.clone())
    });
    let running = Running {
        connector,
        #[cfg(unix)]
        admin,
        store,
        watched,
    };
    Ok((running, places))
}

async fn open_store(config: &Config, file: &Path) -> Result<OpenedStore, String> {
    let place = match &config.store {
        Store::Memory => None,
        Store::Embedded(directory) => directory.place,
        Store::Redis(redis) => Some(redis.place),
    };
    OpenedStore::open(&config.store).await.map_err(|error| format!("{}{}", in_full(&*error), at(place, file)))
}

/// What a process among several has of its own.
async fn with_colleagues(
    builder: ConnectorBuilder,
    config: &Config,
    store: &OpenedStore,
    file: &Path,
) -> Result<(ConnectorBuilder, Option<String>), String> {
    let Store::Redis(_) = &config.store else { return Ok((builder, None)) };
    let all: Vec<SlotNo> = (0..config.workers.into()).collect();
    let Process { slots, colleagues, lease, inherits_after } = &config.process;
    let holder = holder()?;
    let mut builder = builder.slots(slots.clone().unwrap_or_else(|| all.clone())).deployment(all).standby(true);
    builder = builder.lease(*lease).inherits_after(*inherits_after).holder(&holder);
    let Some(colleagues) = colleagues else { return Ok((builder, None)) };
    // Whoever writes less than 32 random bytes was warned.
    let secret = Zeroizing::new(Sha256::digest(colleagues.secret.as_bytes()).into());
    let bound = SocketColleagues::bind(&colleagues.listen, secret, Arc::new(store.clone()), &holder).await;
    let bound = bound.map_err(|error| {
        format!("the other processes can't be listened to at {}: {error}{}", colleagues.listen, at(Some(colleagues.place), file))
    })?;
    let local = bound.local_addr().map_err(|error| error.to_string())?.to_string();
    let reached_at = colleagues.reached_at.clone().unwrap_or_else(|| local.clone());
    Ok((builder.colleagues(Arc::new(bound), &reached_at), Some(local)))
}

/// What the store and the other processes call this one: never the same twice.
fn holder() -> Result<String, String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| format!("the operating system gives no random numbers: {error}"))?;
    Ok(format!("{}-{}", std::process::id(), hex::encode(random)))
}

fn at(place: Option<Place>, file: &Path) -> String {
    place.map_or_else(String::new, |place| format!(" ({}:{}:{})", file.display(), place.line, place.column))
}

/// What keeps it from starting, and what to do if that isn't plain.
fn explain(error: &StartError) -> String {
    let hint = match error {
        StartError::Open(OpenError::Log { .. }) => {
            ": the books are whole but can't be understood, perhaps because a newer version wrote them: use that version, or restore a backup"
        }
        _ => "",
    };
    format!("{}{hint}", in_full(error))
}

fn say_notice(notice: &Notice, log: &Log) {
    match notice {
        Notice::Disconnected { account: None, .. } | Notice::AuthenticationFailed { .. } => log.stranger(notice),
        // Said by whoever watches the store, and not each time.
        Notice::CommitUnknown { .. } => {}
        Notice::Opened { slot, epoch, batches, bytes, in_flight, remembered, took } => log.line(format_args!(
            "{slot} opened: epoch {}, {} batches, {} of log read, {} in flight, {} remembered, {}",
            show::count(*epoch),
            show::count(*batches),
            show::bytes(*bytes),
            show::count(u64::try_from(*in_flight).unwrap_or(u64::MAX)),
            show::count(u64::try_from(*remembered).unwrap_or(u64::MAX)),
            show::duration(*took),
        )),
        _ => log.line(notice),
    }
}

async fn listen(config: &Config, file: &Path) -> Result<Vec<ClpListener>, String> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    for listen in &config.listen {
        let bound =
            ClpListener::bind(config.address.clone(), &listen.url.to_string(), listen.tls.as_ref().map(|tls| tls.config.clone())).await;
        let place = listen.place;
        let bound = bound.map_err(|error| {
            format!(
                "{error} ({}:{}:{}): is another program listening there? Stop it, or take another port",
                file.display(),
                place.line,
                place.column
            )
        })?;
        listeners.push(bound);
    }
    let public =
        |(listen, listener): (&Listen, &ClpListener)| (listen.parallelism, listen.public_url.clone().unwrap_or_else(|| listener.url()));
    let places: Vec<_> = config.listen.iter().zip(&listeners).map(public).collect();
    let door = |(listener, listen): (ClpListener, &Listen)| {
        listener.with_door(Door { parallelism: listen.parallelism, others: places.clone().into() })
    };
    Ok(listeners.into_iter().zip(&config.listen).map(door).collect())
}

fn build(config: &Config, tokens: &Arc<Tokens>) -> ConnectorBuilder {
    let mut builder = Connector::builder(config.address.as_str())
        .workers(config.workers.into())
        .allow_production(config.allow_production)
        .limits(config.limits.clone());
    for account in &config.accounts {
        let (id, protocol) = (account.config.id.clone(), account.config.protocol);
        builder = builder.account(account.config.clone());
        match &account.dial {
            Some(dial) => {
                let (url, tls) = (dial.url.clone(), dial.tls.clone());
                let dialler = ClpDialler::new(config.address.clone(), id, protocol, url, &account.login, account.token.as_bytes(), tls);
                builder = builder.endpoint(dialler);
            }
            None => {
                let (login, token) = (account.login.as_bytes(), account.token.as_bytes());
                tokens.insert_with_certificate(login, id, protocol, token, account.certificate);
            }
        }
    }
    for rate in &config.rates {
        builder = builder.rate(rate.clone());
    }
    builder.authenticator(tokens.clone())
}

/// Accounts keep the slots that they were given, so more workers are of no use to those that were there before.
async fn say_slots(config: &Config, connector: &Connector, log: &Log) {
    let Ok(status) = connector.status().await else { return };
    let could = |account: &AccountStatus| usize::from(account.id.parallelism().min(config.workers));
    let fewer: Vec<_> =
        status.worker.accounts.iter().filter(|account| !account.slots.is_empty() && account.slots.len() < could(account)).collect();
    if let [first, ..] = fewer.as_slice() {
        let (count, name) = (show::count(u64::try_from(fewer.len()).unwrap_or(u64::MAX)), first.id.name());
        log.line(format_args!(
            "{count} accounts, {name} among them, are served by fewer workers than their parallelism would give them now: they keep the slots that they were given when there were fewer workers"
        ));
    }
}

fn say_books(config: &Config, file: &Path, log: &Log) {
    match &config.store {
        Store::Memory => log.line("the books are in memory: they are gone when this process ends"),
        Store::Embedded(directory) if directory.place.is_none() => log.line(format_args!(
            "the books are in {}, beside the configuration, since {} names no other directory",
            directory.path.display(),
            file.display()
        )),
        Store::Embedded(directory) => log.line(format_args!("the books are in {}", directory.path.display())),
        Store::Redis(redis) => {
            log.line(format_args!("the books are at {}", redis.url));
            if redis.require == Required::Nothing {
                log.line("what the Redis server calls written can be lost: require = \"nothing\" promises no better");
            }
        }
    }
    match &config.admin {
        Some(socket) => log.line(format_args!("commands are answered at {}", socket.path.display())),
        None => log.line("commands aren't answered: no socket in [admin]"),
    }
}

fn say_places(config: &Config, places: &[String], log: &Log) {
    for account in &config.accounts {
        if let Some(dial) = &account.dial {
            log.line(format_args!("dialling account {} at {}", account.config.id, dial.url));
        }
    }
    for (place, listen) in places.iter().zip(&config.listen) {
        match listen.parallelism {
            1 => log.line(format_args!("listening on {place}")),
            parallelism => log.line(format_args!("listening on {place} for parallelism {parallelism}")),
        }
        if let Some(tls) = &listen.tls {
            log.line(format_args!("the certificate on {place} is {}", tls.certificate));
        }
    }
}

async fn stop(running: Running, signal: &str, patience: Duration, signals: &mut Signals, log: &Log) -> Exit {
    let seconds = show::duration(patience);
    log.line(format_args!("{signal}: stopping; waiting up to {seconds} for payments in flight, once more stops at once"));
    let Running { connector, store, watched, .. } = running;
    let stopped = async {
        #[cfg(unix)]
        if let Some(admin) = running.admin {
            admin.stop(ADMIN_PATIENCE.min(patience)).await;
        }
        match Arc::into_inner(connector) {
            Some(connector) => Some(connector.stop(patience).await),
            None => None,
        }
    };
    let report = tokio::select! {
        report = stopped => report,
        signal = signals.stop() => {
            log.line(format_args!("{signal} again: stopped at once"));
            // Closing the books would wait for the disk.
            std::mem::forget(store);
            return Exit::Interrupted;
        }
    };
    let exit = match report {
        Some(report) => finish(&report, watched.undecided(), log),
        None => {
            log.line("it can't be stopped in an orderly way: somebody still uses it");
            Exit::Failed
        }
    };
    // A backup that is being made would hold up the end; the next opening only takes longer if the books aren't closed.
    let _ = tokio::time::timeout(CLOSE_MAX, tokio::task::spawn_blocking(move || drop((store, watched)))).await;
    exit
}

fn finish(report: &StopReport, not_durable: usize, log: &Log) -> Exit {
    let Some(status) = &report.worker else {
        log.line("the connector had stopped by itself");
        return Exit::Failed;
    };
    let mut table = Table::new(["balance at the stop", "", "held"]);
    for account in &status.accounts {
        let (asset, held) = (&account.asset, account.totals.incoming_prepared);
        table.row([account.id.to_string(), units(account.balance, asset, false), units(held, asset, false)]);
    }
    for (asset, own) in &status.own {
        table.row(["the connector's own".into(), units(*own, asset, false), String::new()]);
    }
    let _ = write!(std::io::stdout(), "{table}");
    if not_durable > 0 {
        log.line(format_args!(
            "stopped, but {} not durable when the time to wait was over: nobody was told of what is in them, and the next start goes on \
             from what is",
            if not_durable == 1 { "1 batch was".into() } else { format!("{not_durable} batches were") }
        ));
    }
    if report.drained {
        log.line("stopped; nothing was left in flight");
        return Exit::Done;
    }
    if status.in_flight > 0 {
        log.line(format_args!(
            "stopped with {} in flight: the time to wait was over; they are in the books, and the next start goes on with them",
            counted(status.in_flight, "payment")
        ));
    }
    Exit::Failed
}

fn cannot_start(log: &Log, why: &str) -> Exit {
    log.line(format_args!("can't start: {why}"));
    Exit::CantStart
}
