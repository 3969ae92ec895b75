//! What can be wrong with a server.

use ilp_core::store::StoreError;
use redis::{ErrorKind, RedisError as ClientError};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Why the store can't be used, or what was asked of it isn't known to be done. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The configuration makes no sense.
    #[error("the configuration of the Redis store: {what}")]
    Config {
        /// In what way.
        what: String,
    },
    /// There is no connection.
    #[error(
        "no connection to Redis at {place}: {source}. See that the server runs and can be reached from here, and that the address is right"
    )]
    Connection {
        /// Where.
        place: String,
        /// What the client said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// It took too long.
    #[error("Redis at {place} hasn't answered {doing} within {ms} ms. See whether it is overloaded, stopped, or its disk slow")]
    TimedOut {
        /// Where.
        place: String,
        /// What.
        doing: &'static str,
        /// How long it was waited for, in milliseconds.
        ms: u128,
    },
    /// It doesn't let us in, or not do what must be done.
    #[error("Redis at {place} refuses: {said}. {help}")]
    Refused {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
        /// What to do.
        help: &'static str,
    },
    /// It reads its files.
    #[error("Redis at {place} is loading its data: wait until it has")]
    Loading {
        /// Where.
        place: String,
    },
    /// It is too old, or something else.
    #[error("Redis at {place} {found}, and {needed} is needed")]
    Unsuitable {
        /// Where.
        place: String,
        /// What it is.
        found: String,
        /// What it should be.
        needed: &'static str,
    },
    /// It promises too little.
    #[error(
        "Redis at {place} has {setting} {found}, and {needed} is needed {why}. Say: {command}, and write it into the server's configuration"
    )]
    Setting {
        /// Where.
        place: String,
        /// The setting's name.
        setting: &'static str,
        /// As it is.
        found: String,
        /// As it should be.
        needed: &'static str,
        /// What for.
        why: &'static str,
        /// What changes it.
        command: &'static str,
    },
    /// It hasn't as many replicas as it should have.
    #[error("Redis at {place} has {found} replicas, and exactly {needed} must be there. {help}")]
    Replicas {
        /// Where.
        place: String,
        /// How many.
        found: usize,
        /// How many there should be.
        needed: u8,
        /// What to do.
        help: &'static str,
    },
    /// Not all replicas have it.
    #[error(
        "{acknowledged} of {needed} replicas of Redis at {place} acknowledged within {ms} ms. See whether they run and keep up: INFO replication"
    )]
    Unacknowledged {
        /// Where.
        place: String,
        /// How many have it.
        acknowledged: i64,
        /// How many should.
        needed: u8,
        /// How long it was waited for, in milliseconds.
        ms: u128,
    },
    /// It is a replica.
    #[error(
        "Redis at {place} is a read-only replica of {master}: name that one, or the Sentinels (sentinel://…), or make this one the master"
    )]
    Replica {
        /// Where.
        place: String,
        /// Host and port.
        master: String,
    },
    /// No Sentinel knows the master.
    #[error("no Sentinel names a master {master}: {tried}. See that they run and watch a master of this name")]
    NoMaster {
        /// By its name.
        master: String,
        /// What each said.
        tried: String,
    },
    /// There is no room, or it can't write.
    #[error("Redis at {place} doesn't take anything: {said}. {help}")]
    NotWriting {
        /// Where.
        place: String,
        /// The server's words.
        said: String,
        /// What to do.
        help: &'static str,
    },
    /// The keys are somebody else's.
    #[error("the keys of Redis at {place} with this prefix aren't books of this software ({why}): choose another prefix or database")]
    NotBooks {
        /// Where.
        place: String,
        /// How that was seen.
        why: String,
    },
    /// Written by a newer version of this software.
    #[error(
        "the books in Redis at {place} have schema {found}, this version knows schemas up to {known}: use the version that wrote them, or a newer one"
    )]
    Newer {
        /// Where.
        place: String,
        /// The schema it says it has.
        found: u64,
        /// The newest schema known.
        known: u64,
    },
    /// What was called durable isn't there any more.
    #[error(
        "Redis at {place} has lost what it had called durable: {what}. Nothing is written. Bring back the server or replica that has it, or restore its files. {accept}"
    )]
    Lost {
        /// Where.
        place: String,
        /// What.
        what: String,
        /// What it means to go on without it.
        accept: &'static str,
    },
    /// What is read isn't what was written.
    #[error("the books in Redis at {place} are damaged: {key} {what}. Restore the server's files from a backup")]
    Damaged {
        /// Where.
        place: String,
        /// Which key.
        key: String,
        /// In what way.
        what: String,
    },
    /// Others were always faster.
    #[error("{what} was changed by others each time: ask again")]
    Busy {
        /// What.
        what: String,
    },
    /// An answer that makes no sense.
    #[error("Redis at {place} gave an answer that isn't understood to {doing}: {said}. Tell who maintains this software")]
    Strange {
        /// Where.
        place: String,
        /// To what.
        doing: &'static str,
        /// The answer.
        said: String,
    },
}

pub(crate) const ACCEPT: &str = "Starting this process again accepts the loss";

impl RedisError {
    /// What the client says about a request.
    pub(crate) fn of(place: &str, doing: &'static str, timeout: Duration, error: ClientError) -> Self {
        let place = place.to_owned();
        let said = said(&error);
        let refused = |help| Self::Refused { place: place.clone(), said: said.clone(), help };
        let not_writing = |help| Self::NotWriting { place: place.clone(), said: said.clone(), help };
        if error.is_timeout() {
            return Self::TimedOut { place, doing, ms: timeout.as_millis() };
        }
        match (error.code().unwrap_or_default(), error.kind()) {
            (_, ErrorKind::AuthenticationFailed) | ("WRONGPASS" | "NOAUTH", _) => {
                refused("Set the user and password that it wants (requirepass, or ACL LIST)")
            }
            ("NOPERM", _) => {
                refused("Let the user read and write these keys and call EVALSHA, SCRIPT, CONFIG GET, INFO, ROLE and WAIT (ACL SETUSER)")
            }
            ("LOADING", _) => Self::Loading { place },
            ("READONLY", _) => Self::Replica { place, master: "another server, since a moment ago".to_owned() },
            ("OOM", _) => not_writing("It is full: give it more memory (CONFIG SET maxmemory)"),
            ("MISCONF", _) => not_writing("It can't write its files: see its log, make room on its disk"),
            ("NOREPLICAS", _) => not_writing("It wants more replicas (min-replicas-to-write): start them"),
            ("BUSY", _) => not_writing("A script of somebody else keeps it busy: SCRIPT KILL"),
            ("WRONGTYPE", _) => Self::NotBooks { place, why: said },
            ("DENIED", _) => refused("It is in protected mode: set a password and bind addresses"),
            ("", ErrorKind::Io) => Self::Connection { place, source: Arc::new(error) },
            ("", _) => Self::Strange { place, doing, said },
            _ if said.contains("max number of clients") => refused("Let it have more clients (CONFIG SET maxclients)"),
            _ if said.contains("DB index") => refused("Choose another database, or set `databases` in its configuration"),
            _ => refused("See its log, and whether commands were renamed or forbidden"),
        }
    }

    /// Whether a connection is of no more use after it.
    pub(crate) fn ends_connection(&self) -> bool {
        // With too few replicas it may be the wrong server: connecting anew tells.
        matches!(
            self,
            Self::Connection { .. }
                | Self::TimedOut { .. }
                | Self::Refused { .. }
                | Self::Loading { .. }
                | Self::Replica { .. }
                | Self::Unacknowledged { .. }
                | Self::Strange { .. }
        )
    }

    pub(crate) fn of_slot(self, slot: &str) -> StoreError {
        StoreError { slot: slot.to_owned(), message: self.to_string(), held_by: None, source: Some(Arc::new(self)) }
    }
}

/// The server's or client's words, with the code in front.
fn said(error: &ClientError) -> String {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "the password is wrong, or there is no such user".to_owned();
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
