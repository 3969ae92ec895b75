//! Where the demo's three connectors keep their books, and bob's till its secret.

use super::network::DemoError;
use crate::connector::store::OpenedStore;
use ilp_core::audit::{Audit, Violation};
use ilp_core::runtime::StartError;
use ilp_core::store::{BalanceStore, BooksError, EmbeddedStore, MemoryStore};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The slot of the store that a connector takes if nobody says otherwise.
const SLOT: &str = "slot-0";

/// Where the books of a demo are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In memory: gone when the demo ends.
    Memory,
    /// In a directory: the next demo goes on with them.
    Directory(PathBuf),
}

impl Place {
    /// As `--store` says it: a directory, or `memory`.
    pub fn given(text: PathBuf) -> Self {
        if text.as_os_str() == "memory" { Self::Memory } else { Self::Directory(text) }
    }

    /// Where programs of this user keep what shall last. `None` if the environment doesn't say where that is.
    pub fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
        Some(Self::Directory(state.join("ilp-node").join("demo")))
    }
}

/// The books of all three, and what bob's till makes its fulfillments of.
pub(super) struct DemoBooks {
    pub(super) connector: OpenedStore,
    pub(super) alice: OpenedStore,
    pub(super) bob: OpenedStore,
    pub(super) secret: Zeroizing<[u8; 32]>,
}

impl DemoBooks {
    /// Opens them, or begins new ones.
    pub(super) fn open(place: &Place) -> Result<Self, DemoError> {
        let Place::Directory(directory) = place else {
            let memory = || OpenedStore::Memory(MemoryStore::new());
            return Ok(Self { connector: memory(), alice: memory(), bob: memory(), secret: new_secret()? });
        };
        let open = |name: &str| match EmbeddedStore::open(&directory.join(name)) {
            Ok(store) => Ok(OpenedStore::Embedded(store)),
            Err(BooksError::InUse { .. }) => Err(DemoError::InUse { directory: directory.clone() }),
            Err(error) => Err(error.into()),
        };
        // Whoever has the first may have the others.
        let connector = open("connector")?;
        let (alice, bob) = (open("alice")?, open("bob")?);
        let secret = secret_in(&directory.join("bob").join("till.secret"))?;
        Ok(Self { connector, alice, bob, secret })
    }
}

/// What the books of the connector say before anybody has opened them.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// There were none.
    pub(super) new: bool,
    pub(super) alice: i128,
    pub(super) bob: i128,
    pub(super) own: i128,
    /// Taken from alice for payments that are undecided.
    pub(super) held: i128,
    /// What must not be, in anybody's books.
    pub(super) violations: Vec<Violation>,
}

impl DemoBooks {
    /// Looks at the books of all three, and changes nothing.
    pub(super) async fn look(&self) -> Result<Found, DemoError> {
        let mut found = Found::default();
        for (which, books) in [("connector", &self.connector), ("alice", &self.alice), ("bob", &self.bob)] {
            let picture = books.read(&SLOT.into()).await.map_err(StartError::from)?;
            let audit = picture.map(|picture| Audit::of_slot(SLOT, picture)).transpose()?;
            if which == "connector" {
                found.new = audit.is_none();
                found.take_balances(audit.as_ref());
            }
            let violations = audit.into_iter().flat_map(|audit| audit.violations);
            found.violations.extend(violations.map(|violation| Violation { what: format!("{which}: {}", violation.what), ..violation }));
        }
        Ok(found)
    }
}

impl Found {
    fn take_balances(&mut self, audit: Option<&Audit>) {
        for account in audit.into_iter().flat_map(|audit| &audit.accounts) {
            match account.id.name() {
                "alice" => {
                    self.alice = account.balance;
                    self.held = account.totals.incoming_prepared;
                }
                "bob" => self.bob = account.balance,
                _ => {}
            }
        }
        self.own = audit.into_iter().flat_map(|audit| &audit.assets).map(|of| of.own).fold(0, i128::saturating_add);
    }
}

/// Invoices that were paid when the demo was killed can only be answered with the secret that they were made with.
fn secret_in(path: &Path) -> Result<Zeroizing<[u8; 32]>, DemoError> {
    let failed = |source: io::Error| DemoError::Secret { path: path.to_owned(), source };
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => {
            let secret = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| failed(io::Error::other("it hasn't 32 bytes")));
            secret.map(Zeroizing::new)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = new_secret()?;
            write_new(path, &secret[..]).map_err(failed)?;
            Ok(secret)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Under another name until it is whole and synced.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let making = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&making)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&making, path)
}

fn new_secret() -> Result<Zeroizing<[u8; 32]>, DemoError> {
    super::network::random().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_place_is_for_what_shall_last() {
        let place = |variables: &'static [(&str, &str)]| {
            Place::usual(move |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value)))
        };
        let directory = |path: &str| Some(Place::Directory(path.into()));
        assert_eq!(place(&[("XDG_STATE_HOME", "/state"), ("HOME", "/home/ann")]), directory("/state/ilp-node/demo"));
        assert_eq!(place(&[("HOME", "/home/ann")]), directory("/home/ann/.local/state/ilp-node/demo"));
        assert_eq!(place(&[("XDG_STATE_HOME", "relative"), ("HOME", "/home/ann")]), directory("/home/ann/.local/state/ilp-node/demo"));
        assert_eq!(place(&[]), None);
        assert_eq!(Place::given("memory".into()), Place::Memory);
        assert_eq!(Place::given("./memory".into()), Place::Directory("./memory".into()));
    }
}
