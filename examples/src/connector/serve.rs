//! A connector from a configuration, from start to stop.

use super::signals::Signal;
use super::{Exit, Log, Signals};
use crate::config::{self, Checked, Config, Store};
use crate::show::{Table, counted, units};
use ilp_core::Tokens;
use ilp_core::runtime::{Connector, ConnectorBuilder, Notice, StopReport};
use ilp_core::store::MemoryStore;
use ilp_plugins::clp::{ClpDialler, ClpListener};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs until a signal comes, then drains for at most `patience`.
pub(super) async fn serve(config: Config, file: &Path, patience: Duration, log: Log) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return cannot_start(&log, &format!("signals can't be listened to: {error}")),
    };
    // Every connection is an open file; shells allow few by default, more on request. With fewer it works, for fewer peers.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    // Before anything is said: a second connector on the same ports shall end with one message.
    let listeners = match listen(&config, file).await {
        Ok(listeners) => listeners,
        Err(why) => return cannot_start(&log, &why),
    };
    let places: Vec<String> = listeners.iter().map(ClpListener::url).collect();
    let notices = log.clone();
    let tokens = Arc::new(Tokens::new());
    let mut builder = build(&config, &tokens).on_notice(move |notice| match notice {
        Notice::Disconnected { account: None, .. } | Notice::AuthenticationFailed { .. } => notices.stranger(notice),
        _ => notices.line(notice),
    });
    for listener in listeners {
        builder = builder.endpoint(listener);
    }
    // Before the start, so that what happens on these places comes after them.
    say_places(&config, &places, &log);
    let connector = match builder.start().await {
        Ok(connector) => connector,
        Err(error) => return cannot_start(&log, &error.to_string()),
    };
    log.line(format_args!("connector {} is running", config.address));
    let signal = loop {
        match signals.next().await {
            Signal::Stop(name) => break name,
            Signal::Reload => reload(&config, &tokens, &places, file, &log),
        }
    };
    stop(connector, signal, patience, &mut signals, &log).await
}

async fn listen(config: &Config, file: &Path) -> Result<Vec<ClpListener>, String> {
    let mut listeners = Vec::with_capacity(config.listen.len());
    for listen in &config.listen {
        let bound =
            ClpListener::bind(config.address.clone(), &listen.url.to_string(), listen.tls.as_ref().map(|tls| tls.config.clone())).await;
        let place = listen.place;
        listeners.push(bound.map_err(|error| {
            format!(
                "{error} ({}:{}:{}): is another program listening there? Stop it, or take another port",
                file.display(),
                place.line,
                place.column
            )
        })?);
    }
    Ok(listeners)
}

fn build(config: &Config, tokens: &Arc<Tokens>) -> ConnectorBuilder {
    let mut builder = Connector::builder(config.address.as_str()).allow_production(config.allow_production).limits(config.limits.clone());
    builder = match config.store {
        Store::Memory => builder.store(MemoryStore::new()),
    };
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

/// Takes certificates and keys from their files again; connections that are there go on with what they have. All of them, or none.
fn reload(config: &Config, tokens: &Tokens, places: &[String], file: &Path, log: &Log) {
    let Checked { config: again, problems } = config::load(file, &|name| std::env::var_os(name));
    for problem in problems.to_string().lines() {
        log.line(problem);
    }
    let Some(mut again) = again else {
        log.line("SIGHUP: the certificates stay as they were");
        return;
    };
    let (mut listeners, mut dialled, mut pinned) = (0, 0, 0);
    for (listen, place) in config.listen.iter().zip(places) {
        let Some(tls) = &listen.tls else { continue };
        // Each stands for one, in the order of the file: several may ask for any free port.
        let same = again.listen.iter().position(|other| other.url == listen.url && other.parallelism == listen.parallelism);
        if let Some(with) = same.map(|same| again.listen.remove(same)).and_then(|same| same.tls) {
            tls.config.replace(&with.config);
            log.line(format_args!("SIGHUP: the certificate on {place} is {}", with.certificate));
            listeners += 1;
        }
    }
    for account in &config.accounts {
        let id = &account.config.id;
        let Some(same) = again.accounts.iter().find(|other| other.config.id == *id) else { continue };
        match (&account.dial, &same.dial) {
            (Some(dial), Some(with)) => {
                dial.tls.replace(&with.tls);
                dialled += usize::from(dial.url.is_tls());
            }
            (None, None) => {
                let (login, token) = (account.login.as_bytes(), account.token.as_bytes());
                tokens.insert_with_certificate(login, id.clone(), account.config.protocol, token, same.certificate);
                pinned += usize::from(same.certificate.is_some());
            }
            _ => {}
        }
    }
    log.line(format_args!(
        "SIGHUP: certificates read again for {}, {} that we dial and {}; nothing else is",
        counted(listeners, "listener"),
        counted(dialled, "peer"),
        counted(pinned, "pinned account"),
    ));
}

fn say_places(config: &Config, places: &[String], log: &Log) {
    match config.store {
        Store::Memory => log.line("the books are in memory: they are gone when this process ends"),
    }
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

async fn stop(connector: Connector, signal: &str, patience: Duration, signals: &mut Signals, log: &Log) -> Exit {
    let seconds = crate::show::duration(patience);
    log.line(format_args!("{signal}: stopping; waiting up to {seconds} for payments in flight, once more stops at once"));
    let report = tokio::select! {
        report = connector.stop(patience) => report,
        signal = signals.stop() => {
            log.line(format_args!("{signal} again: stopped at once"));
            return Exit::Interrupted;
        }
    };
    finish(&report, log)
}

fn finish(report: &StopReport, log: &Log) -> Exit {
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
    if report.drained {
        log.line("stopped; nothing was left in flight");
        return Exit::Done;
    }
    let noun = if status.in_flight == 1 { "payment" } else { "payments" };
    log.line(format_args!("stopped with {} {noun} in flight: the time to wait was over", status.in_flight));
    Exit::Failed
}

fn cannot_start(log: &Log, why: &str) -> Exit {
    log.line(format_args!("can't start: {why}"));
    Exit::CantStart
}
