//! The seam between the driver and sockets.

use super::connector::Command;
use crate::account::AccountId;
use crate::limits::Limits;
use crate::link::Link;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

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
    /// Where it comes from or goes to, for people.
    pub peer: String,
    /// Dropped when the connection has ended.
    pub alive: Option<oneshot::Sender<()>>,
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
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) notices: super::Notices,
    pub(super) limits: Limits,
}

impl Connections {
    /// Hands a connection to the driver; waits while that is busy. `false` if the connector has stopped.
    pub async fn offer(&self, connection: NewConnection) -> bool {
        self.commands.send(Command::Connection(Box::new(connection))).await.is_ok()
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
