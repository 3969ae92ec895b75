//! The one thread that writes. It takes all that has queued, of all slots, makes it durable together, answers, and goes on with what has
//! queued meanwhile: the slower the disk, the more each sync carries.

use super::books::Books;
use super::copy::{Copied, copy};
use super::error::BooksError;
use crate::store::{Commit, CommitOutcome, OpenedSlot, SlotName, SlotPicture, StoreError};
use futures::channel::oneshot::Sender;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

/// What the thread is asked, each with where the answer goes. An answer that nobody waits for any more is dropped.
pub(super) enum Request {
    Open(SlotName, Sender<Result<OpenedSlot, StoreError>>),
    Read(SlotName, Sender<Result<Option<SlotPicture>, StoreError>>),
    Commit(Commit, Sender<CommitOutcome>),
    Backup(PathBuf, Sender<Result<Copied, BooksError>>),
}

/// Runs until nobody can ask any more and all that was asked is answered.
pub(super) fn run(mut books: Books, requests: &Receiver<Request>, queued_bytes: &Arc<AtomicUsize>) {
    let mut readers = Readers::default();
    let mut batches = Vec::new();
    let mut askers = Vec::new();
    while let Ok(first) = requests.recv() {
        for request in std::iter::once(first).chain(requests.try_iter()) {
            match request {
                Request::Commit(batch, answer) => {
                    queued_bytes.fetch_sub(batch.blob.len(), Ordering::Relaxed);
                    batches.push(batch);
                    askers.push(answer);
                }
                // Later commits are decided by the new epoch, earlier ones by the old.
                Request::Open(slot, answer) => {
                    commit(&mut books, &mut batches, &mut askers);
                    match books.take(&slot) {
                        Ok(look) => readers.start(look, answer, |look| look.opened()),
                        Err(error) => drop(answer.send(Err(error))),
                    }
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
        commit(&mut books, &mut batches, &mut askers);
    }
    // They hold the medium, and with it the lock.
    readers.join();
}

fn commit(books: &mut Books, batches: &mut Vec<Commit>, askers: &mut Vec<Sender<CommitOutcome>>) {
    if batches.is_empty() {
        return;
    }
    let outcomes = books.commit(batches);
    batches.clear();
    for (asker, outcome) in askers.drain(..).zip(outcomes) {
        // Whoever doesn't listen any more doesn't know the outcome, and may ask again.
        let _ = asker.send(outcome);
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
