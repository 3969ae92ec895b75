//! Which connector, or which books, a command is about.

use super::super::Exit;
use super::super::admin::protocol::Request;
use super::super::store::{OpenedStore, are_in, in_full};
use super::Failure;
use crate::config::{self, Directory, Redis, SOCKET, Store};
use clap::Args;
use ilp_core::store::{BooksError, EmbeddedStore};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The configuration that is meant if nothing else is said.
const CONFIG: &str = "connector.toml";

/// Where to look.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(in super::super) struct Where {
    /// The connector's configuration file, which says where its socket and its books are [default: connector.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The directory of its books; if it runs, its socket is in there
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// The socket of a running connector
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// A connector that may run, and its books.
#[derive(Debug)]
pub(super) struct Place {
    socket: Option<PathBuf>,
    books: Option<Store>,
    /// What is the case if there are no books.
    no_books: &'static str,
}

/// A connector that runs, or books that nobody has open.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It has answered.
    Answer(T),
    /// Nobody answers.
    AtRest(Books),
}

/// Books that nobody here has open; those on a server may be in use by others.
#[derive(Debug)]
pub(super) enum Books {
    /// In a directory, and open.
    Embedded(EmbeddedStore),
    /// On a server.
    Redis(Box<Redis>),
}

impl Books {
    /// To be called on the runtime on which they are used.
    pub(super) async fn open(self) -> Result<OpenedStore, Failure> {
        match self {
            Self::Embedded(store) => Ok(OpenedStore::Embedded(store)),
            Self::Redis(redis) => OpenedStore::open(&Store::Redis(redis)).await.map_err(|error| Failure::cannot(in_full(&*error))),
        }
    }
}

impl Where {
    /// Finds out.
    pub(super) fn place(self) -> Result<Place, Failure> {
        let no_books = "";
        match self {
            Self { store: Some(directory), .. } => {
                let socket = Some(directory.join(SOCKET));
                Ok(Place { socket, books: Some(Store::Embedded(Directory { path: directory, place: None })), no_books })
            }
            Self { socket: Some(socket), .. } => {
                Ok(Place { socket: Some(socket), books: None, no_books: "With --store or --config, books at rest would be looked at." })
            }
            Self { config, .. } => {
                let given = config.is_some();
                let file = config.unwrap_or_else(|| CONFIG.into());
                if !given && !file.exists() {
                    let why = format!("which connector? There is no {CONFIG} here: write --config FILE, --store DIR or --socket PATH");
                    return Err(Failure::new(Exit::Usage, why));
                }
                let (store, socket) = config::locate(&file, &|name| std::env::var_os(name))
                    .map_err(|problems| Failure::new(Exit::Config, problems.to_string()))?;
                let books = Some(store).filter(|store| *store != Store::Memory);
                let no_books = if books.is_some() { "" } else { "Its books are in memory, so there are none while it doesn't run." };
                Ok(Place { socket: socket.map(|socket| socket.path), books, no_books })
            }
        }
    }
}

impl Place {
    /// Asks the running connector, or opens its books if it doesn't run.
    pub(super) fn ask_or_open<T: DeserializeOwned>(&self, request: &Request) -> Result<Found<T>, Failure> {
        if let Some(answer) = self.try_ask(request)? {
            return Ok(Found::Answer(answer));
        }
        match &self.books {
            Some(Store::Embedded(directory)) => self.open(&directory.path).map(Books::Embedded).map(Found::AtRest),
            Some(Store::Redis(redis)) => Ok(Found::AtRest(Books::Redis(redis.clone()))),
            Some(Store::Memory) | None => Err(self.nobody()),
        }
    }

    /// Asks the running connector.
    pub(super) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        self.try_ask(request)?.ok_or_else(|| self.nobody())
    }

    /// `None` if nobody is there.
    #[cfg(unix)]
    fn try_ask<T: DeserializeOwned>(&self, request: &Request) -> Result<Option<T>, Failure> {
        use super::super::admin::client::{AskError, ask};
        use std::io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
        let Some(socket) = &self.socket else { return Ok(None) };
        match ask(socket, request) {
            Ok(answer) => Ok(Some(answer)),
            Err(AskError::NobodyThere { source, .. }) if matches!(source.kind(), NotFound | ConnectionRefused | NotADirectory) => Ok(None),
            Err(AskError::Refused(refused)) => Err(refused.into()),
            Err(error @ AskError::NoAnswer { .. }) => {
                Err(Failure::cannot(format!("{error}; whether it was done isn't known here: do it again, the same way")))
            }
            Err(error) => Err(Failure::cannot(format!("{error}: only the user that runs the connector, and root, may ask it"))),
        }
    }

    #[cfg(not(unix))]
    fn try_ask<T: DeserializeOwned>(&self, _request: &Request) -> Result<Option<T>, Failure> {
        Ok(None)
    }

    fn nobody(&self) -> Failure {
        let socket = match &self.socket {
            Some(socket) => format!("no connector answers at {}", socket.display()),
            None => "the configuration has socket = \"none\" in [admin], so no connector can be asked".into(),
        };
        let more = if self.no_books.is_empty() { String::new() } else { format!(" ({})", self.no_books) };
        Failure::cannot(format!("{socket}: is it running?{more}"))
    }

    fn open(&self, directory: &Path) -> Result<EmbeddedStore, Failure> {
        if !are_in(directory) {
            let directory = directory.display();
            return Err(Failure::cannot(format!("no connector answers, and there are no books in {directory}: is it the right place?")));
        }
        EmbeddedStore::open(directory).map_err(|error| {
            let hint = match error {
                BooksError::InUse { .. } => {
                    ". If a connector runs on it, it doesn't answer where it was looked for: say where with --socket or --config"
                }
                _ => "",
            };
            Failure::cannot(format!("{}{hint}", in_full(&error)))
        })
    }
}
