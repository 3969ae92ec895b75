//! The configuration file of the `connector` command: read, checked as a whole, and turned into a running connector's parts.
//!
//! Every problem is found in one go, and says where it is, which value it is about and what to do. Tokens come from files or the
//! environment only, so that the configuration itself holds no secret.

mod account;
mod cross;
mod files;
mod limits;
mod listen;
mod place;
mod problem;
mod rate;
mod redis;
mod section;
mod store;
mod tls;
mod token;
mod values;

pub use account::{Account, Dial};
pub use listen::{Listen, ListenUrl};
pub use problem::{Place, Problem, Problems, Severity};
pub use redis::{Colleagues, Process, Redis};
pub use store::{DIRECTORY, Directory, SOCKET, Socket, Store};
pub use tls::ServerTls;
pub use token::Token;

use ilp_core::{Limits, Rate};
use ilp_oer::Address;
use problem::Collector;
use section::Section;
use std::ffi::OsString;
use std::path::Path;
use toml::de::DeTable;

/// A configuration without errors.
#[derive(Debug)]
pub struct Config {
    /// The connector's ILP address.
    pub address: Address,
    /// Real money is meant to move.
    pub allow_production: bool,
    /// How many workers there are.
    pub workers: u8,
    /// Where the books are kept.
    pub store: Store,
    /// Which of several processes this is.
    pub process: Process,
    /// Where the operator's commands are answered, if they are.
    pub admin: Option<Socket>,
    /// How much of anything peers may use.
    pub limits: Limits,
    /// Where peers can connect.
    pub listen: Vec<Listen>,
    /// The peers' accounts.
    pub accounts: Vec<Account>,
    /// Fixed rates between assets.
    pub rates: Vec<Rate>,
}

/// What came of reading a file.
#[derive(Debug)]
pub struct Checked {
    /// There if nothing worse than a warning was found.
    pub config: Option<Config>,
    /// Everything that was found.
    pub problems: Problems,
}

/// Looks up an environment variable.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads and checks a file, and all files and variables that it names. Relative paths in it start at its own folder.
pub fn load(file: &Path, variables: Variables<'_>) -> Checked {
    let text = match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return unreadable(file, "is not UTF-8 text"),
        Err(error) => return unreadable(file, &format!("can't be read: {error}")),
    };
    check(&text, file, variables)
}

/// Checks the text of a file, and all files and variables that it names.
pub fn check(text: &str, file: &Path, variables: Variables<'_>) -> Checked {
    let (config, list) = read(text, file.parent().unwrap_or(Path::new("")), variables);
    let problems = Problems { file: file.to_owned(), list };
    Checked { config: config.filter(|_| problems.is_usable()), problems }
}

/// Reads no more of a file than where its books and its socket are: for commands that need neither accounts nor certificates.
pub fn locate(file: &Path, variables: Variables<'_>) -> Result<(Store, Option<Socket>), Problems> {
    let text = match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return Err(unreadable(file, "is not UTF-8 text").problems),
        Err(error) => return Err(unreadable(file, &format!("can't be read: {error}")).problems),
    };
    let mut problems = Collector::new(&text);
    let (table, syntax) = DeTable::parse_recoverable(&text);
    for error in &syntax {
        problems.error(&error.span().unwrap_or(0..0), error.message());
    }
    let mut others = Collector::new(&text);
    let folder = file.parent().unwrap_or(Path::new(""));
    let top = Section::new(String::new(), 0..0, table.get_ref(), &KEYS, &mut others);
    let store = store::read(&top, Context { folder, variables, allow_production: false }, &mut problems);
    let admin = store::read_socket(&top, store.as_ref(), folder, &mut problems);
    // Whether the places can be used shows when they are.
    let list = problems.into_list().into_iter().filter(|problem| problem.severity == Severity::Error).collect::<Vec<_>>();
    match (store, admin) {
        (Some(store), Some(admin)) if list.is_empty() => Ok((store, admin)),
        _ => Err(Problems { file: file.to_owned(), list }),
    }
}

fn unreadable(file: &Path, why: &str) -> Checked {
    let problem = Problem { place: None, severity: Severity::Error, message: format!("the configuration file {why}") };
    Checked { config: None, problems: Problems { file: file.to_owned(), list: vec![problem] } }
}

/// What a part of the file needs to know of the rest.
#[derive(Clone, Copy)]
struct Context<'a> {
    /// Relative paths start here.
    folder: &'a Path,
    variables: Variables<'a>,
    allow_production: bool,
}

fn read(text: &str, folder: &Path, variables: Variables<'_>) -> (Option<Config>, Vec<Problem>) {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let (mut broken, mut problems) = (Collector::new(text), Collector::new(text));
    for error in &syntax {
        // The parser's own way to show an error quotes the line, which may hold a secret.
        broken.error(&error.span().unwrap_or(0..0), error.message());
    }
    let config = read_top(table.get_ref(), folder, variables, &mut problems);
    let mut list = broken.into_list();
    // What the parser made of a broken line isn't worth a second message.
    let broken_lines: Vec<usize> = list.iter().filter_map(|problem| Some(problem.place?.line)).collect();
    let rest = problems.into_list().into_iter();
    list.extend(rest.filter(|problem| problem.place.is_none_or(|place| !broken_lines.contains(&place.line))));
    list.sort_by_key(|problem| problem.place);
    (config, list)
}

const KEYS: [&str; 10] = ["address", "allow_production", "workers", "store", "process", "admin", "limits", "listen", "account", "rate"];

/// More than machines have cores that a connector could use.
const WORKERS_MAX: u8 = 64;

fn read_top<'t>(table: &'t DeTable<'t>, folder: &Path, variables: Variables<'_>, problems: &mut Collector<'_>) -> Option<Config> {
    let top = Section::new(String::new(), 0..0, table, &KEYS, problems);
    let allow_production = top.flag("allow_production", problems).unwrap_or(false);
    let context = Context { folder, variables, allow_production };
    let address = top.required_text("address", "write address = \"test.<name>\" at the top of the file", problems);
    let address = address.and_then(|address| {
        let checked = values::address(address.value, allow_production);
        checked.map_err(|why| problems.error(&address.at, format!("address {why}"))).ok()
    });
    let workers = match top.small("workers", problems) {
        Some(workers) if !(1..=WORKERS_MAX).contains(&workers.value) => {
            let why =
                format!("workers is {}, and must be from 1 to {WORKERS_MAX}: about as many as there are processor cores", workers.value);
            problems.error(&workers.at, why);
            None
        }
        Some(workers) => Some(workers.value),
        None if top.get("workers").is_some() => None,
        None => Some(1),
    };
    let store = store::read(&top, context, problems);
    let shared = matches!(store, Some(Store::Redis(_)) | None);
    let process = redis::read_process(&top, workers.unwrap_or(WORKERS_MAX), shared, context, problems);
    let admin = store::read_socket(&top, store.as_ref(), folder, problems);
    let limits = limits::read(&top, problems);
    let (listen, listen_complete) = listen::read(&top, context, problems);
    let accounts = account::read(&top, context, address.as_ref(), problems);
    let rates = rate::read(&top, problems);
    cross::check(address.as_ref(), &listen, &accounts, &rates, problems);
    if listen_complete {
        cross::check_reachable(&listen, &accounts, problems);
    }
    if top.get("account").is_none() {
        problems.warning(&(0..0), "there is no [[account]]: nobody can connect or pay");
    }
    Some(Config {
        address: address?,
        allow_production,
        workers: workers?,
        store: store?,
        process: process?,
        admin: admin?,
        limits,
        listen: listen.into_iter().map(|listen| listen.value).collect(),
        accounts: accounts.into_iter().filter_map(|account| account.done).collect(),
        rates: rates.into_iter().map(|rate| rate.value).collect(),
    })
}

#[cfg(test)]
mod tests;
