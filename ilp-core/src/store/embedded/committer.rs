//! The one thread that writes. It takes all that has queued, of all slots, makes it durable together, answers, and goes on with what has
//! queued meanwhile: the slower the disk, the more each sync carries.

use super::accounts::{Answer, Ask};
use super::books::Books;
use super::copy::{Copied, copy};
use super::error::BooksError;
use crate::store::{
    AccountRow, AccountSetup, Commit, CommitOutcome, Directory, Lease, Leases, Move, MoveOutcome, OpenedSlot, Renewal, SlotName,
    SlotPicture, StoreError,
};
use bytes::Bytes;
use futures::channel::oneshot::Sender;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Instant;

/// What the thread is asked, each with where the answer goes. An answer that nobody waits for any more is dropped.
pub(super) enum Request {
    Open(SlotName, Lease, Sender<Result<OpenedSlot, StoreError>>),
    Renew(SlotName, u64, Lease, Sender<Renewal>),
    SetUp(AccountSetup, Sender<Result<AccountRow, StoreError>>),
    Move(Move, Sender<MoveOutcome>),
    Mail(SlotName, Bytes, Sender<Result<(), StoreError>>),
    Directory(Sender<Result<Directory, StoreError>>),
    Read(SlotName, Sender<Result<Option<SlotPicture>, StoreError>>),
    Commit(Commit, Sender<CommitOutcome>),
    Backup(PathBuf, Sender<Result<Copied, BooksError>>),
}

/// Runs until nobody can ask any more and all that was asked is answered.
pub(super) fn run(mut books: Books, requests: &Receiver<Request>, queued_bytes: &Arc<AtomicUsize>) {
    let mut readers = Readers::default();
    let mut queued = Queued::default();
    let (mut leases, began) = (Leases::default(), Instant::now());
    // Leases end with the process, as its lock on the file does.
    let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    while let Ok(first) = requests.recv() {
        for request in std::iter::once(first).chain(requests.try_iter()) {
            match request {
                Request::Commit(batch, answer) => {
                    queued_bytes.fetch_sub(batch.blob.len(), Ordering::Relaxed);
                    queued.batches.push(batch);
                    queued.askers.push(answer);
                }
                Request::SetUp(setup, answer) => queued.ask(Ask::SetUp(setup), Asker::SetUp(answer)),
                Request::Move(request, answer) => queued.ask(Ask::Move(request), Asker::Move(answer)),
                Request::Mail(slot, letter, answer) => queued.ask(Ask::Mail(slot, letter), Asker::Mail(answer)),
                // Later commits are decided by the new epoch, earlier ones by the old.
                Request::Open(slot, lease, answer) => {
                    queued.commit(&mut books);
                    let taken = leases.take(&slot, &lease, now()).map_err(|held_by| StoreError::held(&slot, held_by));
                    match taken.and_then(|()| books.take(&slot)) {
                        Ok(look) => readers.start(look, answer, |look| look.opened()),
                        Err(error) => drop(answer.send(Err(error))),
                    }
                }
                Request::Renew(slot, epoch, lease, answer) => {
                    let renewal = match books.epoch(&slot) {
                        now if now == epoch => Renewal::Kept,
                        epoch => Renewal::Fenced { epoch },
                    };
                    if renewal == Renewal::Kept {
                        leases.renew(&slot, &lease, now());
                    }
                    let _ = answer.send(renewal);
                }
                Request::Directory(answer) => {
                    queued.commit(&mut books);
                    let directory = books.directory().map(|mut directory| {
                        directory.slots.iter_mut().for_each(|slot| slot.lease = leases.of(&slot.name, now()));
                        directory
                    });
                    let _ = answer.send(directory);
                }
                Request::Backup(to, answer) => match books.picture() {
                    Ok(picture) => readers.start(picture, answer, move |picture| copy(picture, &to)),
                    Err(error) => drop(answer.send(Err(error))),
                },
                Request::Read(slot, answer) => match books.look(&slot) {
                    Ok(Some(look)) => readers.start(look, answer, |look| look.picture().map(Some)),
                    Ok(None) => drop(answer.send(Ok(None))),
                    Err(error) => drop(answer.send(Err(error))),
                },
            }
        }
        queued.commit(&mut books);
    }
    // They hold the medium, and with it the lock.
    readers.join();
}

/// What goes into the next transaction.
#[derive(Default)]
struct Queued {
    batches: Vec<Commit>,
    askers: Vec<Sender<CommitOutcome>>,
    asks: Vec<Ask>,
    ask_askers: Vec<Asker>,
}

enum Asker {
    SetUp(Sender<Result<AccountRow, StoreError>>),
    Move(Sender<MoveOutcome>),
    Mail(Sender<Result<(), StoreError>>),
}

impl Queued {
    fn ask(&mut self, ask: Ask, asker: Asker) {
        self.asks.push(ask);
        self.ask_askers.push(asker);
    }

    fn commit(&mut self, books: &mut Books) {
        if self.batches.is_empty() && self.asks.is_empty() {
            return;
        }
        let (outcomes, answers) = books.transact(&self.batches, &self.asks);
        self.batches.clear();
        self.asks.clear();
        for (asker, outcome) in self.askers.drain(..).zip(outcomes) {
            // Whoever doesn't listen any more doesn't know the outcome, and may ask again.
            let _ = asker.send(outcome);
        }
        for (asker, answer) in self.ask_askers.drain(..).zip(answers) {
            match (asker, answer) {
                (Asker::SetUp(asker), Answer::SetUp(answer)) => drop(asker.send(answer)),
                (Asker::Move(asker), Answer::Move(answer)) => drop(asker.send(answer)),
                (Asker::Mail(asker), Answer::Mail(answer)) => drop(asker.send(answer)),
                // Answers are in the order of what was asked.
                _ => {}
            }
        }
    }
}

/// Threads that read a slot's log while commits go on.
#[derive(Default)]
struct Readers {
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start<L: Send + 'static, T: Send + 'static>(&mut self, look: L, answer: Sender<T>, read: impl FnOnce(&L) -> T + Send + 'static) {
        self.threads.retain(|thread| !thread.is_finished());
        if self.threads.len() >= READERS_MAX {
            // Whoever opens thousands of slots at once waits for some of them.
            let _ = self.threads.remove(0).join();
        }
        let reading = move || drop(answer.send(read(&look)));
        // If there can't be another thread, the answer's sender is dropped with the closure, and the asker is told.
        if let Ok(thread) = std::thread::Builder::new().name("ilp-store-read".to_owned()).spawn(reading) {
            self.threads.push(thread);
        }
    }

    fn join(self) {
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

pub(super) fn stopped(place: &str) -> BooksError {
    BooksError::Stopped { place: place.to_owned() }
}

const READERS_MAX: usize = 16;
