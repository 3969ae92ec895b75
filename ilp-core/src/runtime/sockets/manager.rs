//! Makes links and keeps them: listens, looks who else there is, dials.

use super::handshake::{self, Refused, Session};
use super::link::Link;
use super::table::Table;
use super::{SocketColleagues, SocketOptions};
use crate::runtime::{Inbox, Notice};
use crate::store::Directory;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// Connections that can't be accepted are most likely too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Strangers are not worth a line each.
const STRANGERS_AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Manager<'a> {
    of: &'a SocketColleagues,
    inbox: Inbox,
    tasks: JoinSet<Done>,
    /// Handshakes with those who have dialled us, oldest first.
    strangers: VecDeque<AbortHandle>,
    strangers_told: Option<Instant>,
    /// Processes that have a slot, and where each is.
    others: BTreeMap<Arc<str>, Other>,
    looking: bool,
    look_at: Instant,
    rng: ChaCha12Rng,
}

struct Other {
    address: Arc<str>,
    failures: u32,
    dial_at: Instant,
    dialling: bool,
    /// What the operator heard last.
    told: String,
}

/// What a task has come to.
enum Done {
    Looked(Option<Directory>),
    Accepted(TcpStream, SocketAddr, Result<Session, Refused>),
    Dialled(Arc<str>, Result<(TcpStream, Session), String>),
    /// A link has ended after so long.
    Ended(Arc<str>, Duration),
}

impl<'a> Manager<'a> {
    pub(super) fn new(of: &'a SocketColleagues, inbox: Inbox) -> Self {
        let seed = of.seed.unwrap_or_else(|| {
            // Without any, pauses are just the same for all.
            let mut seed = [0; 32];
            let _ = getrandom::fill(&mut seed);
            seed
        });
        Self {
            of,
            inbox,
            tasks: JoinSet::new(),
            strangers: VecDeque::new(),
            strangers_told: None,
            others: BTreeMap::new(),
            looking: false,
            look_at: Instant::now(),
            rng: ChaCha12Rng::from_seed(seed),
        }
    }

    pub(super) async fn run(mut self) {
        let mut accept_at = Instant::now();
        loop {
            self.look();
            self.dial();
            let wake = self.wake();
            let accept = async {
                sleep_until(accept_at).await;
                self.of.listener.accept().await
            };
            tokio::select! {
                accepted = accept => match accepted {
                    Ok((stream, from)) => self.accept(stream, from),
                    Err(_) => accept_at = after(ACCEPT_AGAIN),
                },
                Some(done) = self.tasks.join_next() => if let Ok(done) = done {
                    self.done(done);
                },
                () = self.inbox.moved() => {
                    self.of.table.links().iter().for_each(|link| link.announce(&self.inbox));
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn options(&self) -> &'a SocketOptions {
        &self.of.options
    }

    /// When there is something to do next, if nothing happens.
    fn wake(&self) -> Instant {
        let dials =
            self.others.iter().filter(|(holder, other)| !other.dialling && !self.of.table.has(holder)).map(|(_, other)| other.dial_at);
        let look = (!self.looking).then_some(self.look_at);
        dials.chain(look).min().unwrap_or_else(|| after(self.options().look))
    }

    // Who there is.

    fn look(&mut self) {
        if self.looking || self.look_at > Instant::now() {
            return;
        }
        self.looking = true;
        let store = self.of.store.clone();
        // A store in trouble is asked again the next time: who was there may still be.
        self.tasks.spawn(async move { Done::Looked(store.directory().await.ok()) });
    }

    fn looked(&mut self, directory: Option<Directory>) {
        self.looking = false;
        self.look_at = after(self.options().look);
        let Some(directory) = directory else { return };
        let mut found = BTreeMap::new();
        for lease in directory.slots.into_iter().filter_map(|slot| slot.lease) {
            if let Some(address) = lease.address.filter(|_| lease.holder != self.of.holder) {
                found.insert(lease.holder, address);
            }
        }
        self.others.retain(|holder, other| other.dialling || found.contains_key(holder));
        for (holder, address) in found {
            let pause = if self.of.holder > holder { self.options().redial } else { Duration::ZERO };
            let other = self.others.entry(holder).or_insert_with(|| Other {
                address: address.clone(),
                failures: 0,
                // Both see each other at about the same time, and one link will do.
                dial_at: after(pause),
                dialling: false,
                told: String::new(),
            });
            other.address = address;
        }
    }

    // Those whom we dial.

    fn dial(&mut self) {
        let now = Instant::now();
        for (holder, other) in &mut self.others {
            if other.dialling || other.dial_at > now || self.of.table.has(holder) {
                continue;
            }
            other.dialling = true;
            let (holder, address, patience) = (holder.clone(), other.address.clone(), self.of.options.handshake);
            let (secret, own) = (self.of.secret.clone(), self.of.holder.clone());
            self.tasks.spawn(async move {
                let dial = async {
                    let connect = timeout(patience, TcpStream::connect(&*address)).await;
                    let connect = connect.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                    let mut stream = connect.map_err(|error| error.to_string())?;
                    let session = handshake::dial(&mut stream, &secret, &own, &holder, patience).await;
                    Ok((stream, session.map_err(|refused| refused.to_string())?))
                };
                let result = dial.await;
                Done::Dialled(holder, result)
            });
        }
    }

    fn dialled(&mut self, holder: &Arc<str>, result: Result<(TcpStream, Session), String>) {
        let pause = self.pause(holder);
        let Some(other) = self.others.get_mut(holder) else { return };
        other.dialling = false;
        other.failures = other.failures.saturating_add(1);
        other.dial_at = after(pause);
        let address = other.address.to_string();
        match result {
            Ok((stream, session)) => self.link(stream, address, true, session),
            Err(reason) if other.told != reason && !self.of.table.has(holder) => {
                other.told.clone_from(&reason);
                self.inbox.notice(Notice::EndpointTrouble { endpoint: format!("colleague {holder} at {address}"), reason });
            }
            Err(_) => {}
        }
    }

    /// Until a process is dialled again.
    fn pause(&mut self, holder: &str) -> Duration {
        let failures = self.others.get(holder).map_or(0, |other| other.failures);
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        let most = self.options().redial.saturating_mul(factor).min(self.options().redial_max);
        let thousandths = self.rng.next_u32().checked_rem(501).unwrap_or(0);
        most.saturating_sub(most.saturating_mul(thousandths) / 1_000)
    }

    // Those who dial us.

    fn accept(&mut self, mut stream: TcpStream, from: SocketAddr) {
        self.strangers.retain(|stranger| !stranger.is_finished());
        if self.strangers.len() >= self.options().handshakes.max(1)
            && let Some(oldest) = self.strangers.pop_front()
        {
            oldest.abort();
        }
        let (secret, own, patience) = (self.of.secret.clone(), self.of.holder.clone(), self.options().handshake);
        self.strangers.push_back(self.tasks.spawn(async move {
            let session = handshake::accept(&mut stream, &secret, &own, patience).await;
            Done::Accepted(stream, from, session)
        }));
    }

    fn refused(&mut self, from: SocketAddr, refused: Refused) {
        let now = Instant::now();
        if self.strangers_told.is_none_or(|told| now.saturating_duration_since(told) >= STRANGERS_AGAIN) {
            self.strangers_told = Some(now);
            let reason = format!("a connection from {from} was closed: {refused}");
            self.inbox.notice(Notice::EndpointTrouble { endpoint: "listener for colleagues".into(), reason });
        }
    }

    // Both.

    fn done(&mut self, done: Done) {
        match done {
            Done::Looked(directory) => self.looked(directory),
            Done::Accepted(stream, from, Ok(session)) => self.link(stream, from.to_string(), false, session),
            Done::Accepted(_, from, Err(refused)) => self.refused(from, refused),
            Done::Dialled(holder, result) => self.dialled(&holder, result),
            Done::Ended(holder, lived) => {
                // One that lasted was no failure.
                if let Some(other) = self.others.get_mut(&holder).filter(|_| lived > self.of.options.silence) {
                    other.failures = 0;
                }
                let pause = self.pause(&holder);
                if let Some(other) = self.others.get_mut(&holder) {
                    other.dial_at = after(pause);
                }
                self.look_at = Instant::now();
            }
        }
    }

    fn link(&mut self, stream: TcpStream, peer: String, dialled: bool, session: Session) {
        // Batches are written whole: nothing is won by waiting for more.
        let _ = stream.set_nodelay(true);
        let link = Arc::new(Link::new(session.holder.clone(), peer, dialled));
        if !self.of.table.enter(&link) {
            return;
        }
        if let Some(other) = self.others.get_mut(&link.holder) {
            other.told.clear();
        }
        self.inbox.notice(Notice::ColleagueConnected { holder: link.holder.to_string(), peer: link.peer.clone() });
        let entered = Entered { link, table: self.of.table.clone(), inbox: self.inbox.clone() };
        entered.link.announce(&self.inbox);
        let options = self.options().clone();
        self.tasks.spawn(async move {
            let began = Instant::now();
            let Entered { link, table, inbox } = &entered;
            let reason = link.run(stream, session, table, inbox, &options).await;
            if table.leave(link) {
                inbox.notice(Notice::ColleagueDisconnected { holder: link.holder.to_string(), reason });
            }
            Done::Ended(link.holder.clone(), began.elapsed())
        });
    }
}

impl Drop for Manager<'_> {
    /// The links' tasks end a little later than this: nobody is to be reached from now on.
    fn drop(&mut self) {
        self.of.table.clear();
        self.inbox.changed();
    }
}

/// A link that is in the table, for as long as its task lives.
struct Entered {
    link: Arc<Link>,
    table: Arc<Table>,
    inbox: Inbox,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.table.leave(&self.link);
        self.inbox.changed();
    }
}

fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}
