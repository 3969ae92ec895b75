//! `[store]` and `[admin]`: where the books are kept, and where the running connector can be asked about them.

use super::problem::{Collector, Place, Span};
use super::redis::{self, Redis};
use super::section::Section;
use super::{Context, place, values};
use std::path::{Path, PathBuf};

/// Where the books are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In memory: they are gone when the process ends.
    Memory,
    /// In a directory of this machine.
    Embedded(Directory),
    /// On a Redis server, for one process or several.
    Redis(Box<Redis>),
}

/// A directory of books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Relative paths of the file start at its folder; this one doesn't any more.
    pub path: PathBuf,
    /// Where the file says so; `None` if it doesn't.
    pub place: Option<Place>,
}

/// The socket for the operator's commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// Where the file says so; `None` if it doesn't.
    pub place: Option<Place>,
}

/// The directory for books of a configuration that names none, beside it.
pub const DIRECTORY: &str = "books";

/// The socket's name in the directory of books.
pub const SOCKET: &str = "admin.sock";

/// `[store]`, or what goes without saying. `None` was reported.
pub(super) fn read(top: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Store> {
    let folder = context.folder;
    let default = || (0..0, Directory { path: folder.join(DIRECTORY), place: None });
    let Some(value) = top.get("store") else {
        let (at, directory) = default();
        return check(&at, "", directory, problems);
    };
    let Some(table) = value.get_ref().as_table() else {
        top.wrong_type(
            "store",
            "a table: [store] as a line of its own, then kind = \"embedded\", \"redis\" or \"memory\"",
            value,
            problems,
        );
        return None;
    };
    let is_redis = table.get("kind").and_then(|kind| kind.get_ref().as_str()) == Some("redis");
    let known: Vec<_> = ["kind", "path"].into_iter().chain(is_redis.then_some(redis::KEYS).into_iter().flatten()).collect();
    let section = Section::new("store".into(), value.span(), table, &known, problems);
    let hint = "write kind = \"embedded\", \"redis\", or \"memory\" for books that nobody will miss";
    let kind = section.required_text("kind", hint, problems)?;
    match kind.value {
        "memory" => {
            if section.get("path").is_some() {
                problems.error(&section.at("path"), section.say("path is for kind = \"embedded\": books in memory have none"));
                return None;
            }
            Some(Store::Memory)
        }
        "embedded" if section.get("path").is_some() => {
            let (at, path) = read_path(&section, "path", folder, problems)?;
            let place = Some(problems.place(&at));
            check(&at, "store: path ", Directory { path, place }, problems)
        }
        "embedded" => check(&section.at, "store: ", default().1, problems),
        "redis" => redis::read(&section, context, problems).map(|redis| Store::Redis(Box::new(redis))),
        other => {
            let near = values::nearest(other, &["memory", "embedded", "redis"]);
            let hint = near.map(|near| format!("did you mean \"{near}\"?"));
            let hint = hint.unwrap_or_else(|| "write \"embedded\", \"redis\", or \"memory\" for books that nobody will miss".into());
            problems.error(&kind.at, section.say(&format!("kind is \"{}\", which is no store; {hint}", values::shown(other))));
            None
        }
    }
}

/// `[admin]`, or what goes without saying: a socket beside the books, and none if there is no such place. The outer `None` was reported.
pub(super) fn read_socket(top: &Section<'_>, store: Option<&Store>, folder: &Path, problems: &mut Collector<'_>) -> Option<Option<Socket>> {
    let beside = || match store {
        Some(Store::Embedded(directory)) => Some(Socket { path: directory.path.join(SOCKET), place: None }),
        // Beside the configuration: each process has its own.
        Some(Store::Redis(_)) => Some(Socket { path: folder.join(SOCKET), place: None }),
        Some(Store::Memory) | None => None,
    };
    let socket = match top.get("admin") {
        None => beside(),
        Some(value) => {
            let Some(table) = value.get_ref().as_table() else {
                top.wrong_type("admin", "a table: [admin] as a line of its own, then socket = \"<path>\" or \"none\"", value, problems);
                return None;
            };
            let section = Section::new("admin".into(), value.span(), table, &["socket"], problems);
            match section.get("socket") {
                None => beside(),
                Some(_) if section.text("socket", problems)?.value == "none" => None,
                Some(_) => {
                    let (at, path) = read_path(&section, "socket", folder, problems)?;
                    Some(Socket { path, place: Some(problems.place(&at)) })
                }
            }
        }
    };
    if let Some(socket) = &socket
        && let Err(why) = place::socket(&socket.path)
    {
        let place = |table: &str, key: &str| Some(top.get(table)?.get_ref().as_table()?.get(key)?.span());
        let at = place("admin", "socket").or_else(|| place("store", "path")).unwrap_or(0..0);
        problems.unusable(&at, format!("admin: socket {} can't be used: {why}", values::shown_path(&socket.path)));
    }
    Some(socket)
}

fn read_path(section: &Section<'_>, key: &str, folder: &Path, problems: &mut Collector<'_>) -> Option<(Span, PathBuf)> {
    let text = section.text(key, problems)?;
    if text.value.is_empty() || text.value.contains('\0') {
        problems.error(&text.at, section.say(&format!("{key} is empty or has a zero in it: write a path")));
        return None;
    }
    Some((text.at, folder.join(text.value)))
}

/// Looks whether books can be there; makes nothing.
fn check(at: &Span, title: &str, directory: Directory, problems: &mut Collector<'_>) -> Option<Store> {
    if let Err(why) = place::directory(&directory.path) {
        let hint = if directory.place.is_none() { " (that is where books are if [store] doesn't say otherwise)" } else { "" };
        problems.unusable(at, format!("{title}{} can't hold the books: {why}{hint}", values::shown_path(&directory.path)));
    }
    Some(Store::Embedded(directory))
}
