//! What an operator should hear.

use crate::account::AccountId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something an operator may want in a log. Never holds secrets or payloads, and is never made once per payment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// An account's peer is there.
    Connected {
        /// Whose.
        account: AccountId,
        /// Where from or to.
        peer: String,
    },
    /// A connection has ended.
    Disconnected {
        /// Whose; `None` if it never proved to be anybody's.
        account: Option<AccountId>,
        /// Where from or to.
        peer: String,
        /// Why.
        reason: String,
    },
    /// Somebody's credentials were wrong.
    AuthenticationFailed {
        /// Where from.
        peer: String,
    },
    /// A connection couldn't be made; it is tried again.
    EndpointTrouble {
        /// Which endpoint.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
    /// An endpoint on or to another machine isn't encrypted: tokens and payments can be read on the way.
    Unencrypted {
        /// Which endpoint.
        endpoint: String,
    },
    /// The slot was opened, at the start or again, and its books were taken up.
    Opened {
        /// Which.
        slot: String,
        /// How often it was opened, this time included.
        epoch: u64,
        /// Batches of its log that were read.
        batches: u64,
        /// Bytes of them.
        bytes: u64,
        /// Transfers that are held or have an answer owed.
        in_flight: usize,
        /// Transfers that have ended and are remembered, against repetition.
        remembered: usize,
        /// How long it took.
        took: Duration,
    },
    /// The worker threw its state away, closed its connections and opens its slot again.
    Restarted {
        /// Whose.
        slot: String,
        /// Why.
        cause: String,
    },
    /// Somebody else has the slot: it is opened when their lease ends.
    Standby {
        /// Which.
        slot: String,
    },
    /// The store has a slot that this connector wasn't told to open, and nobody else has it: it is taken over as well.
    Adopted {
        /// Which.
        slot: String,
    },
    /// Another process should have the slot, and had it no more: it was taken over.
    TakenOver {
        /// Which.
        slot: String,
    },
    /// Workers of another process can be reached.
    ColleagueConnected {
        /// The process, as its leases call it.
        holder: String,
        /// Where from or to.
        peer: String,
    },
    /// They can't any more; it is tried again.
    ColleagueDisconnected {
        /// The process.
        holder: String,
        /// Why.
        reason: String,
    },
    /// A letter for a slot that nobody has open can't be left: what a peer said of a transfer is lost, unless the peer says it again.
    MailLost {
        /// For whom.
        slot: String,
        /// Why.
        cause: String,
    },
    /// A commit's outcome is unknown; the same bytes are sent again.
    CommitUnknown {
        /// Which batch.
        seq: u64,
        /// What the store said.
        cause: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { account, peer } => write!(f, "account {account} is connected ({peer})"),
            Self::Disconnected { account: Some(account), peer, reason } => write!(f, "account {account} is gone ({peer}): {reason}"),
            Self::Disconnected { account: None, peer, reason } => {
                write!(f, "a connection ended before it authenticated ({peer}): {reason}")
            }
            Self::AuthenticationFailed { peer } => write!(f, "wrong credentials from {peer}"),
            Self::EndpointTrouble { endpoint, reason } => write!(f, "{endpoint}: {reason}"),
            Self::Unencrypted { endpoint } => write!(
                f,
                "{endpoint} is not encrypted and not on this machine only: tokens and payments can be read on the way; use wss://"
            ),
            Self::Opened { slot, epoch, batches, bytes, in_flight, remembered, took } => write!(
                f,
                "{slot} opened: epoch {epoch}, {batches} batches, {bytes} bytes of log read, {in_flight} in flight, {remembered} remembered, \
                 {} ms",
                took.as_millis()
            ),
            Self::Restarted { slot, cause } => write!(f, "the worker of {slot} threw its state away and opens its slot again: {cause}"),
            Self::Standby { slot } => write!(f, "{slot} is somebody else's: waiting for their lease to end"),
            Self::Adopted { slot } => write!(f, "{slot} is nobody's, and was taken over"),
            Self::TakenOver { slot } => write!(f, "{slot} had nobody any more, and was taken over"),
            Self::ColleagueConnected { holder, peer } => write!(f, "the workers of {holder} can be reached ({peer})"),
            Self::ColleagueDisconnected { holder, reason } => write!(f, "the workers of {holder} can't be reached any more: {reason}"),
            Self::MailLost { slot, cause } => write!(f, "a letter for {slot} could not be left: {cause}"),
            Self::CommitUnknown { seq, cause } => write!(f, "the outcome of batch {seq} is unknown, sending it again: {cause}"),
        }
    }
}

/// The embedder's callback, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Notices(pub(super) Option<Arc<dyn Fn(Notice) + Send + Sync>>);

impl Notices {
    pub(crate) fn send(&self, notice: Notice) {
        if let Some(callback) = &self.0 {
            callback(notice);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Notices(callback)" } else { "Notices(none)" })
    }
}
