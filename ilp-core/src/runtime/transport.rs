//! The seam between the driver and sockets.

use super::connector::Command;
use super::hub::Hub;
use crate::account::AccountId;
use crate::limits::Limits;
use crate::link::Link;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// One connection that carries whole frames, in order, both ways.
///
/// # Contract
///
/// * `poll_receive` appends whatever frames are there, at most `max` and at least one, and says how many; `Pending` if none is, after
///   which the context's waker is woken when one may be. An error is final; so is the end of the connection, which is an error too.
/// * `send` queues a frame; it may write but never blocks. Errors show at the next flush.
/// * `poll_flush` is ready when all that was queued is with the operating system.
/// * `poll_close` says good-bye as the protocol has it, after flushing, and may be given up at any time by dropping the transport.
pub trait Transport: Debug + Send {
    /// Takes frames that have come in.
    fn poll_receive(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Bytes>, max: usize) -> Poll<Result<usize, TransportError>>;
    /// Queues a frame.
    fn send(&mut self, frame: Bytes);
    /// Writes what is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
    /// Closes the connection in good order.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Bytes queued and not yet with the operating system.
    fn backlog(&self) -> usize;
    /// The SHA-256 of the key (SubjectPublicKeyInfo, RFC 5280) in the certificate that the peer has shown, a key that it has proved to hold.
    fn certificate(&self) -> Option<[u8; 32]>;
    /// Frames and bytes so far.
    fn traffic(&self) -> Traffic;
}

/// Frames and their bytes, without what the transport adds to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the peer.
    pub frames_in: u64,
    /// To the peer.
    pub frames_out: u64,
    /// From the peer.
    pub bytes_in: u64,
    /// To the peer.
    pub bytes_out: u64,
    /// From the peer, beside the frames: pings and the like.
    pub controls_in: u64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// In words.
    pub message: String,
    /// What lay below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A connection for the driver to take over.
#[derive(Debug)]
pub struct NewConnection {
    /// Its frames.
    pub transport: Box<dyn Transport>,
    /// Its protocol.
    pub link: Box<dyn Link>,
    /// Who it will be once the link says `Authenticated`: set for connections that we dialled.
    pub account: Option<AccountId>,
    /// Which accounts it may be for, if it came in somewhere that isn't for all.
    pub door: Option<Door>,
    /// Where it comes from or goes to, for people.
    pub peer: String,
    /// Dropped when the connection has ended.
    pub alive: Option<oneshot::Sender<()>>,
}

/// A place where accounts of one parallelism connect, and where those of others do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The parallelism of accounts that connect here.
    pub parallelism: u8,
    /// Where accounts of other parallelisms connect, as their peers would write it.
    pub others: Arc<[(u8, String)]>,
}

impl Door {
    /// Why an account of this parallelism has to connect elsewhere; `None` if it is right here.
    pub fn refuses(&self, account: &AccountId) -> Option<String> {
        let parallelism = account.parallelism();
        if parallelism == self.parallelism {
            return None;
        }
        let place = self.others.iter().find(|(other, _)| *other == parallelism).map(|(_, place)| place);
        let name = account.name();
        Some(match place {
            Some(place) => format!(
                "account {name} has parallelism {parallelism} and connects at {place}, this is for parallelism {}",
                self.parallelism
            ),
            None => format!(
                "account {name} has parallelism {parallelism}, for which nothing listens here; this is for parallelism {}",
                self.parallelism
            ),
        })
    }
}

/// Makes connections: a listener or a dialler.
///
/// # Contract
///
/// `run` lasts as long as the connector; dropping its future must free everything it has (it is dropped by `stop`). What goes wrong for
/// a while is retried inside, with growing pauses.
#[async_trait]
pub trait Endpoint: Debug + Send + Sync + 'static {
    /// Makes connections until its future is dropped.
    async fn run(&self, connections: Connections);
}

/// Where endpoints hand over connections.
#[derive(Debug, Clone)]
pub struct Connections {
    pub(super) hub: Arc<Hub>,
    pub(super) notices: super::Notices,
    pub(super) limits: Limits,
}

impl Connections {
    /// Hands a connection to a worker; waits while that is busy. `false` if the connector has stopped.
    ///
    /// A connection that we dialled goes to a worker that serves its account; of one that came in that is known only when its peer has said
    /// who it is, so it goes to any, and then is handed over before anything else is read from it.
    pub async fn offer(&self, connection: NewConnection) -> bool {
        let of_account = connection.account.as_ref().and_then(|account| self.hub.deal(account));
        let commands = of_account.and_then(|slot| self.hub.commands(slot)).or_else(|| self.hub.any());
        match commands {
            Some(commands) => commands.send(Command::Connection(Box::new(connection))).await.is_ok(),
            None => {
                let (account, peer) = (connection.account, connection.peer);
                let reason = "this process has no slot just now: others serve".to_owned();
                self.notices.send(super::Notice::Disconnected { account, peer, reason });
                !self.hub.is_closed()
            }
        }
    }

    /// The connector's limits: an endpoint keeps to those that concern it.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Tells the operator something, as the connector itself does.
    pub fn notice(&self, notice: super::Notice) {
        self.notices.send(notice);
    }
}
