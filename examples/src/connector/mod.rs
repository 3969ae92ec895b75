//! The `connector` command: checks a configuration, runs a connector from it, or shows one at work.

pub mod admin;
mod arguments;
mod commands;
mod exit;
mod log;
mod reload;
pub mod report;
mod serve;
mod signals;
pub(crate) mod store;
mod watch;

pub use exit::Exit;
pub use log::{Log, LogWriter};
pub use signals::Signals;

use crate::config::{self, Checked, Config, Store};
use crate::demo;
use crate::show::counted;
use arguments::{Arguments, Command};
use clap::Parser;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Runs the command with this process's arguments.
pub fn main() -> ExitCode {
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version aren't errors; where they go is clap's to know.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    let exit = match (arguments.command.take(), &arguments.config) {
        (Some(command), _) => commanded(command),
        (None, Some(file)) => configured(file, arguments.check, arguments.drain),
        (None, None) => demonstrate(&arguments),
    };
    exit.into()
}

fn commanded(command: Command) -> Exit {
    commands::finish(match command {
        Command::Settle(arguments) => commands::settle(arguments),
        Command::Audit(arguments) => commands::audit(arguments),
        Command::Balances(arguments) => commands::balances(arguments),
        Command::Hotset(arguments) => commands::hot_set(arguments),
        Command::Status(arguments) => commands::status(arguments),
        Command::Backup(arguments) => commands::backup(arguments),
        Command::Restore(arguments) => commands::restore(&arguments),
        Command::Salvage(arguments) => commands::salvage(&arguments),
    })
}

fn configured(file: &Path, check: bool, drain: Duration) -> Exit {
    let Checked { config, problems } = config::load(file, &|name| std::env::var_os(name));
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{problems}");
    let Some(config) = config else {
        let errors = problems.errors();
        let noun = if errors == 1 { "error" } else { "errors" };
        let _ = writeln!(stderr, "connector: {errors} {noun} in {}", file.display());
        return if problems.has_errors() { Exit::Config } else { Exit::CantStart };
    };
    if check {
        let _ = writeln!(std::io::stdout(), "{}", summary(&config, problems.list.len()));
        return Exit::Done;
    }
    let (log, writer) = match Log::start() {
        Ok(started) => started,
        Err(error) => return say(Exit::CantStart, &format!("no thread can be started: {error}")),
    };
    let exit = run(serve::serve(config, file, drain, log));
    // Who asked to stop at once isn't kept waiting by a terminal that stands still.
    writer.finish(Duration::from_secs(1));
    exit
}

fn summary(config: &Config, warnings: usize) -> String {
    let store = match &config.store {
        Store::Memory => "books in memory".into(),
        Store::Embedded(directory) => format!("books in {}", directory.path.display()),
        Store::Redis(redis) => format!("books at {}", redis.url),
    };
    format!(
        "ok: {}, {}, {}, {store}, address {}{}",
        counted(config.accounts.len(), "account"),
        counted(config.listen.len(), "listener"),
        counted(config.rates.len(), "rate"),
        config.address,
        if warnings == 0 { String::new() } else { format!("; {}", counted(warnings, "warning")) },
    )
}

fn demonstrate(arguments: &Arguments) -> Exit {
    let goal = match arguments.pay_for {
        Some(time) => demo::Goal::For(time),
        None => demo::Goal::Payments(arguments.payments.unwrap_or(1_000)),
    };
    let given = arguments.store.clone().map(demo::Place::given);
    let Some(place) = given.or_else(|| demo::Place::usual(|name| std::env::var_os(name))) else {
        return say(Exit::Usage, &demo::DemoError::NoPlace.to_string());
    };
    let options = demo::Options { goal, in_flight: arguments.in_flight.into(), amount: arguments.amount, place };
    if let Err(why) = options.check() {
        return say(Exit::Usage, &why);
    }
    run(async {
        match demo::run(options, &mut std::io::stdout()).await {
            Ok(demo::Verdict::Right) => Exit::Done,
            Ok(demo::Verdict::Wrong) => Exit::Failed,
            Ok(demo::Verdict::Interrupted) => Exit::Interrupted,
            Err(error) => say(Exit::CantStart, &error.to_string()),
        }
    })
}

fn run(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(command);
            // What is still running has been told to stop; nobody waits for it.
            runtime.shutdown_background();
            exit
        }
        Err(error) => say(Exit::CantStart, &format!("the runtime can't be started: {error}")),
    }
}

fn say(exit: Exit, message: &str) -> Exit {
    let _ = writeln!(std::io::stderr(), "connector: {message}");
    exit
}
