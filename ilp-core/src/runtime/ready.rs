//! Which connections have something to do, so that one task can serve many without polling all of them.

use futures::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The list of connections that were woken, and the task that serves them.
#[derive(Debug, Default)]
pub(super) struct Ready {
    places: Mutex<Vec<usize>>,
    task: AtomicWaker,
}

impl Ready {
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Moves the list to `places`.
    pub(super) fn take(&self, places: &mut Vec<usize>) {
        places.append(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A waker that puts a connection on the list.
    pub(super) fn waker(self: &Arc<Self>, place: usize) -> Arc<ConnectionWaker> {
        Arc::new(ConnectionWaker { place, listed: AtomicBool::new(false), ready: self.clone() })
    }
}

#[derive(Debug)]
pub(super) struct ConnectionWaker {
    place: usize,
    listed: AtomicBool,
    ready: Arc<Ready>,
}

impl ConnectionWaker {
    /// To be called when the connection is served: from here on it can be listed again.
    pub(super) fn served(&self) {
        self.listed.store(false, Ordering::Release);
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.ready.places.lock().unwrap_or_else(PoisonError::into_inner).push(self.place);
            self.ready.task.wake();
        }
    }
}
