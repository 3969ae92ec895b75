//! Whose keys they are, and of which form.

use crate::connection::run;
use crate::error::RedisError;
use crate::keys::Keys;
use crate::reply;
use crate::scripts::Scripts;
use crate::server::Server;
use redis::Value;

/// What a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Books, with a name that no others have.
    Books(String),
    Nothing,
}

/// Looks at the schema, and begins new books if told to.
pub(crate) async fn read(server: &Server, keys: &Keys, scripts: &Scripts, begin: bool) -> Result<Found, RedisError> {
    let new = if begin { format!("{SOFTWARE} {SCHEMA} {}", random(server)?) } else { String::new() };
    let mut call = scripts.schema.call(&[keys.schema(), keys.slots(), keys.accounts()]);
    call.arg(new);
    let reply = run(server, &scripts.schema, &call).await?;
    let not_books = |why: &str| RedisError::NotBooks { place: server.place.clone(), why: why.to_owned() };
    if reply == Value::Nil {
        return Ok(Found::Nothing);
    }
    let text = reply::text(&reply).ok_or_else(|| not_books("the key `schema` is something else"))?;
    if text == "without" {
        return Err(not_books("there are keys `slots` or `accounts`, but none that is called `schema`"));
    }
    let mut words = text.split(' ');
    let (software, schema, name) = (words.next(), words.next().and_then(|schema| schema.parse::<u64>().ok()), words.next());
    match (software, schema, name) {
        (Some(SOFTWARE), Some(found), _) if found > SCHEMA => Err(RedisError::Newer { place: server.place.clone(), found, known: SCHEMA }),
        (Some(SOFTWARE), Some(SCHEMA), Some(name)) => Ok(Found::Books(name.to_owned())),
        _ => Err(not_books("the key `schema` says something else")),
    }
}

/// A name for new books.
pub(crate) fn random(server: &Server) -> Result<String, RedisError> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(hex::encode(bytes)),
        Err(error) => Err(server.strange("asking the operating system for random bytes", &error)),
    }
}

const SOFTWARE: &str = "ilp-store-redis";
/// The first.
const SCHEMA: u64 = 1;
