//! A TCP proxy that treats connections badly, for tests of what must go on when connections are lost.
//!
//! It carries bytes both ways and doesn't look into them, so it works for plain connections as for TLS. What goes wrong is drawn from a
//! seed ([`Faults`]): connections are cut, held up, closed in one direction, made to swallow everything, or slowed down to single bytes.
//!
//! ```text
//!   peer ──► Proxy ──► connector
//!              ▲
//!              └── inject(fault), again and again, until heal()
//! ```

mod connection;
mod fault;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Faults, Kind, Lanes, Victim};

use connection::{Connection, carry};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A proxy in front of one server. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    local: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Vec<Weak<Connection>>,
    /// Happens to the next connection, from its first byte.
    next: Option<Kind>,
    counts: BTreeMap<&'static str, u64>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes connections on to `target`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let local = listener.local_addr()?;
        let shared = Arc::<Mutex<Shared>>::default();
        let accepting = tokio::spawn(accept(listener, target, shared.clone()));
        Ok(Self { local, shared, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Lets something go wrong. `false` if there is no connection that it could happen to.
    pub fn inject(&self, fault: Fault) -> bool {
        let mut shared = lock(&self.shared);
        let done = match fault.victim {
            Victim::Next => {
                shared.next = Some(fault.kind);
                true
            }
            Victim::Live(number) => {
                shared.connections.retain(|connection| connection.strong_count() > 0);
                let live: Vec<_> = shared.connections.iter().filter_map(Weak::upgrade).filter(|one| one.is_well()).collect();
                let place = u64::try_from(live.len()).ok().and_then(|count| number.checked_rem(count));
                match place.and_then(|place| usize::try_from(place).ok()).and_then(|place| live.get(place)) {
                    Some(connection) => {
                        connection.suffer(fault.kind);
                        true
                    }
                    None => false,
                }
            }
        };
        if done {
            *shared.counts.entry(fault.kind.name()).or_default() += 1;
        }
        done
    }

    /// Draws a fault about every `every` (from half to one and a half of it) and lets it happen, for ever: drop the future to end it.
    pub async fn torment(&self, mut faults: Faults, every: Duration) {
        loop {
            tokio::time::sleep(faults.pause(every)).await;
            self.inject(faults.draw());
        }
    }

    /// Nothing more goes wrong: what was held up goes on. Connections that swallow everything, or are half closed, stay as they are.
    pub fn heal(&self) {
        let mut shared = lock(&self.shared);
        shared.next = None;
        shared.connections.iter().filter_map(Weak::upgrade).for_each(|connection| connection.heal());
    }

    /// How often what happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.shared).counts.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are the task's, and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Mutex<Shared>>) {
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = carried.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let connection = Arc::<Connection>::default();
                    let mut shared = lock(&shared);
                    if let Some(kind) = shared.next.take() {
                        connection.suffer(kind);
                    }
                    shared.connections.push(Arc::downgrade(&connection));
                    carried.spawn(carry(client, target, connection));
                }
                // Out of descriptors, as a rule.
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
