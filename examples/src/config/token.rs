//! Tokens: from a file or the environment, never from the configuration itself.

use super::files::{self, Contents};
use super::problem::Collector;
use super::section::Section;
use super::values;
use super::{Context, problem::Span};
use std::fmt;
use toml::de::DeValue;
use zeroize::Zeroizing;

/// A secret; wiped when dropped, and never shown.
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

const HINT: &str = "write token = { file = \"<file>\" } or token = { env = \"<VARIABLE>\" }";

/// The token of an account. `None` was reported.
pub(super) fn read(account: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Token> {
    let Some(value) = account.get("token") else {
        account.missing("token", HINT, problems);
        return None;
    };
    let table = match value.get_ref() {
        DeValue::Table(table) => table,
        // Nothing of the value may appear in the message.
        DeValue::String(_) => {
            let why = format!("the token itself must not stand in this file, where copies and version control would spread it: {HINT}");
            problems.error(&value.span(), account.say(&why));
            return None;
        }
        _ => {
            problems.error(&value.span(), account.say(&format!("token can't be read; {HINT}")));
            return None;
        }
    };
    // A key's name may be a misplaced token too.
    if table.keys().any(|key| !matches!(key.get_ref().as_ref(), "file" | "env")) {
        problems.error(&value.span(), account.say(&format!("token has a key that is neither file nor env; {HINT}")));
        return None;
    }
    let section = Section::new(account.say("token"), value.span(), table, &["file", "env"], problems);
    let (file, env) = (section.get("file").is_some(), section.get("env").is_some());
    if file == env {
        let count = if file { "both" } else { "neither" };
        problems.error(&section.at, account.say(&format!("token must have one of file and env, it has {count}; {HINT}")));
        return None;
    }
    let (bytes, at, source) = if file {
        let name = section.text("file", problems)?;
        let bytes = files::read(&account.say("token"), name.value, &name.at, Contents::Secret, context.folder, problems)?;
        (bytes, name.at, format!("file {}", values::shown_path(&context.folder.join(name.value))))
    } else {
        let name = section.text("env", problems)?;
        let bytes = variable(account, name.value, &name.at, context, problems)?;
        (bytes, name.at, format!("environment variable {}", name.value))
    };
    check(account, &bytes, &source, &at, problems)
}

fn variable(
    account: &Section<'_>,
    name: &str,
    at: &Span,
    context: Context<'_>,
    problems: &mut Collector<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let why = "token: what stands behind env is not a variable's name, which has letters, digits and _ only";
        problems.error(at, account.say(why));
        return None;
    }
    match (context.variables)(name) {
        Some(value) => Some(Zeroizing::new(value.into_encoded_bytes())),
        None => {
            let why = format!("token: the environment variable {name} is not set; set it, or write token = {{ file = \"<file>\" }}");
            problems.error(at, account.say(&why));
            None
        }
    }
}

/// Takes off the end of line that editors leave, and looks at what remains.
fn check(account: &Section<'_>, bytes: &[u8], source: &str, at: &Span, problems: &mut Collector<'_>) -> Option<Token> {
    let token = bytes.trim_ascii();
    if token.is_empty() {
        problems.error(at, account.say(&format!("token: {source} is empty; put the token in, or a new one from: openssl rand -hex 32")));
        return None;
    }
    if token.len() > LEN_MAX {
        problems.error(at, account.say(&format!("token: {source} has {} bytes, more than a token's {LEN_MAX}", token.len())));
        return None;
    }
    if token.len() < GOOD_LEN_MIN {
        let why = format!("token: {source} holds only {} bytes, which may be guessed; make one with: openssl rand -hex 32", token.len());
        problems.warning(at, account.say(&why));
    }
    Some(Token(Zeroizing::new(token.to_vec())))
}

/// Whether it can stand in the path of a 2017 connection.
pub(super) fn fits_path(token: &Token) -> bool {
    std::str::from_utf8(token.as_bytes()).is_ok_and(values::is_path_segment)
}
