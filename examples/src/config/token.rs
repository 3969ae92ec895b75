//! Tokens and other secrets: from a file or the environment, never from the configuration itself.

use super::files::{self, Contents};
use super::problem::Collector;
use super::section::Section;
use super::values;
use super::{Context, problem::Span};
use std::fmt;
use toml::de::DeValue;
use zeroize::Zeroizing;

/// A token, a password or another secret; wiped when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<Vec<u8>>);

impl Token {
    /// The secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Shorter ones can be guessed.
const GOOD_LEN_MIN: usize = 16;
const LEN_MAX: usize = 1024;

fn hint(key: &str) -> String {
    format!("write {key} = {{ file = \"<file>\" }} or {key} = {{ env = \"<VARIABLE>\" }}")
}

/// The secret under a key that must be there. `None` was reported.
pub(super) fn read(account: &Section<'_>, key: &'static str, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Token> {
    if account.get(key).is_none() {
        account.missing(key, &hint(key), problems);
    }
    read_optional(account, key, context, problems)?
}

/// The secret under a key. The outer `None` was reported.
#[expect(clippy::option_option, reason = "wrong is something else than missing")]
pub(super) fn read_optional(
    account: &Section<'_>,
    key: &'static str,
    context: Context<'_>,
    problems: &mut Collector<'_>,
) -> Option<Option<Token>> {
    match account.get(key) {
        Some(_) => read_there(account, key, context, problems).map(Some),
        None => Some(None),
    }
}

fn read_there(account: &Section<'_>, key: &'static str, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Token> {
    let value = account.get(key)?;
    let hint = hint(key);
    let table = match value.get_ref() {
        DeValue::Table(table) => table,
        // Nothing of the value may appear in the message.
        DeValue::String(_) => {
            let why = format!("the {key} itself must not stand in this file, where copies and version control would spread it: {hint}");
            problems.error(&value.span(), account.say(&why));
            return None;
        }
        _ => {
            problems.error(&value.span(), account.say(&format!("{key} can't be read; {hint}")));
            return None;
        }
    };
    // A key's name may be a misplaced token too.
    if table.keys().any(|key| !matches!(key.get_ref().as_ref(), "file" | "env")) {
        problems.error(&value.span(), account.say(&format!("{key} has a key that is neither file nor env; {hint}")));
        return None;
    }
    let section = Section::new(account.say(key), value.span(), table, &["file", "env"], problems);
    let (file, env) = (section.get("file").is_some(), section.get("env").is_some());
    if file == env {
        let count = if file { "both" } else { "neither" };
        problems.error(&section.at, account.say(&format!("{key} must have one of file and env, it has {count}; {hint}")));
        return None;
    }
    let (bytes, at, source) = if file {
        let name = section.text("file", problems)?;
        let bytes = files::read(&account.say(key), name.value, &name.at, Contents::Secret, context.folder, problems)?;
        (bytes, name.at, format!("file {}", values::shown_path(&context.folder.join(name.value))))
    } else {
        let name = section.text("env", problems)?;
        let bytes = variable(account, key, name.value, &name.at, context, problems)?;
        (bytes, name.at, format!("environment variable {}", name.value))
    };
    check(account, key, &bytes, &source, &at, problems)
}

fn variable(
    account: &Section<'_>,
    key: &str,
    name: &str,
    at: &Span,
    context: Context<'_>,
    problems: &mut Collector<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let why = format!("{key}: what stands behind env is not a variable's name, which has letters, digits and _ only");
        problems.error(at, account.say(&why));
        return None;
    }
    match (context.variables)(name) {
        Some(value) => Some(Zeroizing::new(value.into_encoded_bytes())),
        None => {
            let why = format!("{key}: the environment variable {name} is not set; set it, or write {key} = {{ file = \"<file>\" }}");
            problems.error(at, account.say(&why));
            None
        }
    }
}

/// Takes off the end of line that editors leave, and looks at what remains.
fn check(account: &Section<'_>, key: &str, bytes: &[u8], source: &str, at: &Span, problems: &mut Collector<'_>) -> Option<Token> {
    let token = bytes.trim_ascii();
    if token.is_empty() {
        problems.error(at, account.say(&format!("{key}: {source} is empty; put the {key} in, or a new one from: openssl rand -hex 32")));
        return None;
    }
    if token.len() > LEN_MAX {
        problems.error(at, account.say(&format!("{key}: {source} has {} bytes, more than the {LEN_MAX} that there can be", token.len())));
        return None;
    }
    if token.len() < GOOD_LEN_MIN {
        let why = format!("{key}: {source} holds only {} bytes, which may be guessed; make one with: openssl rand -hex 32", token.len());
        problems.warning(at, account.say(&why));
    }
    Some(Token(Zeroizing::new(token.to_vec())))
}

/// Whether it can stand in the path of a 2017 connection.
pub(super) fn fits_path(token: &Token) -> bool {
    std::str::from_utf8(token.as_bytes()).is_ok_and(values::is_path_segment)
}
