//! Workers of other processes, over TCP.
//!
//! Each process listens at the address that its leases in the store say, and dials those that others' leases say; between two processes there
//! is one link. They prove to each other that they know one secret, and every frame is numbered and authenticated. Nothing is encrypted: this
//! is for processes of one machine, or of a network where nobody listens in.
//!
//! ```text
//!  handshake   who is at the other end
//!  frame       numbered and authenticated
//!  wire        what a frame says
//!  link        reads, writes, and what waits to be written
//!  table       one link a process; which slots are where
//!  manager     listens, looks into the store's directory, dials
//! ```

mod frame;
mod handshake;
mod link;
mod mac;
mod manager;
mod table;
mod wire;

use super::hub::{Colleagues, Inbox};
use crate::colleagues::Relay;
use crate::store::{BalanceStore, SlotNo};
use async_trait::async_trait;
use mac::Key;
use manager::Manager;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use table::Table;
use tokio::net::{TcpListener, ToSocketAddrs};
use zeroize::Zeroizing;

/// The way to workers of other processes, over TCP. See [`ConnectorBuilder::colleagues`](super::ConnectorBuilder::colleagues).
///
/// The processes share a store and a secret of 32 bytes from a cryptographic random source. Who knows the secret can do whatever a worker can.
/// Others can neither pose as a process, nor add, change, repeat or reorder messages, but whoever is on the way can read them.
///
/// ```
/// # use ilp_core::runtime::{Connector, SocketColleagues};
/// # use ilp_core::store::MemoryStore;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let (store, secret) = (MemoryStore::new(), [7; 32]);
/// let colleagues = SocketColleagues::bind("127.0.0.1:0", secret.into(), Arc::new(store.clone()), "first").await?;
/// let address = colleagues.local_addr()?.to_string();
/// let connector = Connector::builder("test.ann")
///     .store(store)
///     .holder("first")
///     .slots(vec![0, 1])
///     .deployment(vec![0, 1, 2, 3])
///     .colleagues(Arc::new(colleagues), &address)
///     .start()
///     .await?;
/// # assert!(connector.stop(Duration::from_secs(5)).await.drained);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct SocketColleagues {
    listener: TcpListener,
    secret: Key,
    holder: Arc<str>,
    store: Arc<dyn BalanceStore>,
    options: SocketOptions,
    seed: Option<[u8; 32]>,
    table: Arc<Table>,
    dropped: AtomicU64,
}

/// How long [`SocketColleagues`] wait, and for how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// How often the store's directory is read for new processes. Default 1 s. Whenever a link breaks it is read at once.
    pub look: Duration,
    /// For a connection to be made, and likewise for both sides to prove who they are. Default 5 s.
    pub handshake: Duration,
    /// Handshakes that are carried on at once with those who have dialled us; one more ends the oldest, since an honest one takes no time.
    /// Default 32.
    pub handshakes: usize,
    /// After how long without anything else to say a link gives a sign of life. Default 1 s.
    pub ping: Duration,
    /// After how long without a sign of life, or without a byte taken, a link is taken for broken. Default 5 s.
    pub silence: Duration,
    /// Until a process is dialled again, at first; doubled with every failure. Each pause is shortened at random by up to a half, so that
    /// processes that lost each other at once don't meet at once. Default 100 ms.
    pub redial: Duration,
    /// At most. Default 5 s.
    pub redial_max: Duration,
    /// Relays that may wait on one link; what is more and about payments is dropped. Default 65,536: as many as may wait for a worker in
    /// its own process.
    pub queue_relays: usize,
    /// Their bytes. Default 32 MiB.
    pub queue_bytes: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            handshake: Duration::from_secs(5),
            handshakes: 32,
            ping: Duration::from_secs(1),
            silence: Duration::from_secs(5),
            redial: Duration::from_millis(100),
            redial_max: Duration::from_secs(5),
            queue_relays: 65_536,
            queue_bytes: 32 << 20,
        }
    }
}

impl SocketColleagues {
    /// Listens. The address that the others reach this at is the builder's `reached_at`, host and port; with port 0 here,
    /// [`local_addr`](Self::local_addr) says which one it has become.
    ///
    /// `holder` must be the builder's [`holder`](super::ConnectorBuilder::holder): never the same for two processes, nor for two runs of one.
    /// `store` must be the builder's store.
    ///
    /// # Errors
    ///
    /// The address can't be listened at, or the holder's name hasn't 1 to 255 bytes.
    pub async fn bind(
        listen: impl ToSocketAddrs,
        secret: Zeroizing<[u8; 32]>,
        store: Arc<dyn BalanceStore>,
        holder: &str,
    ) -> io::Result<Self> {
        if holder.is_empty() || holder.len() > handshake::HOLDER_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a holder's name has 1 to 255 bytes"));
        }
        let listener = TcpListener::bind(listen).await?;
        let holder: Arc<str> = holder.into();
        Ok(Self {
            listener,
            secret: Key::new(secret),
            table: Arc::new(Table::new(holder.clone())),
            holder,
            store,
            options: SocketOptions::default(),
            seed: None,
            dropped: AtomicU64::new(0),
        })
    }

    /// Other durations and limits.
    pub fn options(mut self, options: SocketOptions) -> Self {
        self.options = options;
        self
    }

    /// What pauses are shortened by comes from here. Default: the operating system.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The processes that there is a link to, by their leases' holders.
    pub fn linked(&self) -> Vec<Arc<str>> {
        self.table.links().iter().map(|link| link.holder.clone()).collect()
    }

    /// How many relays couldn't be put on their way so far: too much waited already, the link was gone, or they were too large.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Colleagues for SocketColleagues {
    fn open(&self) -> Vec<(SlotNo, u64)> {
        self.table.open()
    }

    fn send(&self, from: (SlotNo, u64), to: (SlotNo, u64), relays: Vec<Relay>) -> bool {
        let lost = match self.table.way_to(to.0, to.1) {
            Some((link, epoch)) => link.send(from, (to.0, epoch), &relays, &self.options),
            None => relays.len(),
        };
        self.dropped.fetch_add(u64::try_from(lost).unwrap_or(u64::MAX), Ordering::Relaxed);
        lost == 0
    }

    async fn run(&self, inbox: Inbox) {
        Manager::new(self, inbox).run().await;
    }
}
