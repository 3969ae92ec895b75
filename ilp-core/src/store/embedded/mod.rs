//! The store that a connector has if it is given no other: a directory with one file, no server.

mod accounts;
mod backend;
mod books;
mod change;
mod committer;
mod copy;
mod error;
mod frame;
mod look;
mod metrics;
mod salvage;
mod scan;
mod schema;
mod target;
mod trouble;
mod upgrade;
mod wire;

pub use books::Books;
pub use copy::{Copied, restore};
pub use error::{BooksError, Damage};
pub use metrics::StoreMetrics;
pub use salvage::{SalvageReport, Salvaged, SalvagedSlot, salvage};

use self::books::Slot;
use self::committer::{Request, stopped};
use self::metrics::Counters;
use super::{
    AccountRow, AccountSetup, BalanceStore, Commit, CommitOutcome, Directory, Durability, FileMedium, Lease, Medium, Move, MoveOutcome,
    OpenedSlot, Renewal, SlotName, SlotPicture, StoreError,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::{fs, io};

/// A [`BalanceStore`] in a directory: what it calls durable survives the death of the process and of the machine's power.
///
/// One thread writes for all slots, so that batches of all workers share each sync. Clones share one store; it needs no runtime.
///
/// Dropping the last clone waits until everything that was asked is done, and closes the file. Nothing depends on that: a process that is
/// killed instead leaves books that open as well, if more slowly.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: String,
    counters: Arc<Counters>,
    queued_bytes: Arc<AtomicUsize>,
    /// Both are there until the end.
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the books in a directory, or begins new ones if it is empty or isn't there. What is made can be read by its owner alone.
    ///
    /// The file is locked for as long as the store lives: a second store on the same directory is refused.
    ///
    /// It reads the whole file, so it blocks for a time that grows with it: about a second for a gigabyte.
    ///
    /// # Errors
    ///
    /// Every [`BooksError`] but [`Occupied`](BooksError::Occupied) and [`Missing`](BooksError::Missing).
    pub fn open(dir: &Path) -> Result<Self, BooksError> {
        make_dir(dir)?;
        Self::start(Books::open_existing(Arc::new(open_or_make(dir)?))?)
    }

    /// Opens the books on a medium, or begins new ones if it is empty.
    ///
    /// # Errors
    ///
    /// As [`Books::open`].
    pub fn open_on(medium: Arc<dyn Medium>) -> Result<Self, BooksError> {
        Self::start(Books::open(medium)?)
    }

    /// What was done since the store was opened.
    pub fn metrics(&self) -> StoreMetrics {
        self.inner.counters.read()
    }

    /// Copies the books, as they are at one instant, into a directory that is empty or isn't there; [`restore`] brings them back. Every
    /// record is looked at on the way. Commits go on meanwhile; the file may grow, since nothing is removed that the copy still needs.
    ///
    /// The copy has its name once it is whole and synced. One that was interrupted is no backup, and can be begun anew.
    ///
    /// # Errors
    ///
    /// [`Occupied`](BooksError::Occupied) if there is anything in `to`, [`Damaged`](BooksError::Damaged) if what is copied is, or what
    /// the system said.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future doesn't end the copying.
    pub async fn backup(&self, to: &Path) -> Result<Copied, BooksError> {
        self.ask(|answer| Request::Backup(to.to_owned(), answer)).await?
    }

    fn start(books: Books) -> Result<Self, BooksError> {
        let place = books.place().to_owned();
        let counters = books.counters();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = mpsc::channel();
        let bytes = queued_bytes.clone();
        let thread = std::thread::Builder::new()
            .name("ilp-store".to_owned())
            .spawn(move || committer::run(books, &receiver, &bytes))
            .map_err(|error| BooksError::io(&*place, "start a thread for", error))?;
        let inner = Inner { place, counters, queued_bytes, requests: Some(sender), thread: Some(thread) };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, BooksError> {
        let (answer, answered) = oneshot::channel();
        let requests = self.inner.requests.as_ref().ok_or_else(|| stopped(&self.inner.place))?;
        requests.send(request(answer)).map_err(|_| stopped(&self.inner.place))?;
        answered.await.map_err(|_| stopped(&self.inner.place))
    }
}

#[async_trait]
impl BalanceStore for EmbeddedStore {
    async fn open(&self, slot: &SlotName, lease: &Lease) -> Result<OpenedSlot, StoreError> {
        let asked = self.ask(|answer| Request::Open(slot.clone(), lease.clone(), answer));
        asked.await.map_err(|error| error.of_slot(slot))?
    }

    async fn renew(&self, slot: &SlotName, epoch: u64, lease: &Lease) -> Renewal {
        match self.ask(|answer| Request::Renew(slot.clone(), epoch, lease.clone(), answer)).await {
            Ok(renewal) => renewal,
            Err(error) => Renewal::Unknown { cause: error.to_string() },
        }
    }

    async fn set_up(&self, account: &AccountSetup) -> Result<AccountRow, StoreError> {
        let asked = self.ask(|answer| Request::SetUp(account.clone(), answer));
        asked.await.map_err(|error| error.of_slot(&account.id.name().into()))?
    }

    async fn make_move(&self, request: &Move) -> MoveOutcome {
        match self.ask(|answer| Request::Move(request.clone(), answer)).await {
            Ok(outcome) => outcome,
            Err(error) => MoveOutcome::Unknown { cause: error.to_string() },
        }
    }

    async fn mail(&self, slot: &SlotName, letter: Bytes) -> Result<(), StoreError> {
        self.ask(|answer| Request::Mail(slot.clone(), letter, answer)).await.map_err(|error| error.of_slot(slot))?
    }

    async fn directory(&self) -> Result<Directory, StoreError> {
        self.ask(Request::Directory).await.map_err(|error| error.of_slot(&accounts::accounts_slot()))?
    }

    async fn commit(&self, batch: Commit) -> CommitOutcome {
        let len = batch.blob.len();
        let queued = self.inner.queued_bytes.fetch_add(len, Ordering::Relaxed);
        if queued > QUEUED_BYTES_MAX {
            self.inner.queued_bytes.fetch_sub(len, Ordering::Relaxed);
            return CommitOutcome::Unknown { cause: format!("{queued} bytes are waiting for {} already", self.inner.place) };
        }
        match self.ask(|answer| Request::Commit(batch, answer)).await {
            Ok(outcome) => outcome,
            Err(error) => CommitOutcome::Unknown { cause: error.to_string() },
        }
    }

    async fn read(&self, slot: &SlotName) -> Result<Option<SlotPicture>, StoreError> {
        self.ask(|answer| Request::Read(slot.clone(), answer)).await.map_err(|error| error.of_slot(slot))?
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.requests.take());
        // An answer may wake somebody whose last handle goes with the thread itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// The file's path in a directory of books.
fn file_in(dir: &Path) -> PathBuf {
    dir.join("books.redb")
}

fn make_dir(dir: &Path) -> Result<(), BooksError> {
    let made: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir).map_err(|error| BooksError::io(dir.display().to_string(), "make the directory", error))?;
    // So that each is in its parent after a failure of power.
    let parents = made.iter().filter_map(|dir| dir.parent());
    parents.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).try_for_each(sync_dir)
}

/// New books are made under another name, so that a file of the right name is whole or damaged, and never mistaken for new.
fn open_or_make(dir: &Path) -> Result<FileMedium, BooksError> {
    let (path, making) = (file_in(dir), dir.join("books.new"));
    let wrong = |path: &Path, doing, error| BooksError::io(path.display().to_string(), doing, error);
    match FileMedium::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result.map_err(|error| wrong(&path, "open", error)),
    }
    let partial = target::partial_in(dir);
    if partial.exists() {
        return Err(BooksError::Unfinished { place: partial.display().to_string() });
    }
    let medium = Arc::new(FileMedium::create(&making).map_err(|error| wrong(&making, "make", error))?);
    // Another process may have made them before this one had the lock.
    if !path.exists() {
        medium.set_len(0).map_err(|error| wrong(&making, "make", error))?;
        drop(Books::open(medium)?);
        fs::rename(&making, &path).map_err(|error| wrong(&path, "make", error))?;
        sync_dir(dir)?;
    }
    FileMedium::open(&path).map_err(|error| wrong(&path, "open", error))
}

/// The file in a directory of books that nobody has open. Nobody opens it as long as this is there.
fn source(dir: &Path) -> Result<fs::File, BooksError> {
    let path = file_in(dir);
    let place = path.display().to_string();
    let file = fs::File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BooksError::Missing { place: place.clone() },
        _ => BooksError::io(&*place, "open", error),
    })?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BooksError::InUse { place }),
        Err(fs::TryLockError::Error(error)) => Err(BooksError::io(place, "lock", error)),
    }
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), BooksError> {
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| BooksError::io(dir.display().to_string(), "sync the directory", error))
}

/// Elsewhere a directory can't be opened as a file, and names are durable when they are made.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> Result<(), BooksError> {
    Ok(())
}

/// Whoever gives up waiting leaves its batch behind; what is left behind must not grow without end.
const QUEUED_BYTES_MAX: usize = 256 << 20;
