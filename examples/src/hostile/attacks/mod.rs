//! The attacks.
//!
//! Each runs until it is dropped. What it sees is scored; what should never be seen stands under a name that begins with `!`.

mod accounts;
mod connections;
mod frames;
mod money;

use super::client::Client;
use super::connector::Account;
use super::score::Score;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use ilp_oer::{Address, Timestamp};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An attack.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// In words.
    pub(super) what: &'static str,
    /// Seconds of the connector's patience that it must last to see its end; a tenth with an impatient connector.
    pub(super) patience_s: u64,
    /// What must have been seen.
    pub(super) expected: &'static [&'static str],
    run: fn(Arc<Target>) -> BoxFuture<'static, ()>,
}

/// What is attacked.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) tls_port: u16,
    /// Those that the attacker knows the tokens of.
    pub(super) accounts: Vec<Account>,
    /// Who their errors say they are.
    pub(super) address: Address,
    /// Fewer connections, shorter times.
    pub(super) small: bool,
    pub(super) score: Score,
}

/// The accounts of attackers.
pub(super) const MALLORY: &str = "mallory";
/// Whom they pay.
pub(super) const ACCOMPLICE: &str = "accomplice";
/// A third.
pub(super) const EVE: &str = "eve";
/// Of an honest peer, whose token they don't know.
pub(super) const HONEST: &str = "receiver-1";

impl Attack {
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|attack| attack.name == name)
    }

    pub(super) fn run(&self, target: Arc<Target>) -> BoxFuture<'static, ()> {
        (self.run)(target)
    }
}

impl Target {
    async fn upgraded(&self) -> io::Result<Client> {
        Client::upgraded(self.port, &self.score).await
    }

    /// A connection of an account whose token is known.
    async fn login(&self, name: &str) -> io::Result<Client> {
        self.login_on(Client::connect(self.port, &self.score).await?, name).await
    }

    /// The same, on a connection that doesn't take in what it doesn't read.
    async fn login_deaf(&self, name: &str) -> io::Result<Client> {
        self.login_on(Client::connect_deaf(self.port, &self.score).await?, name).await
    }

    async fn login_on(&self, mut client: Client, name: &str) -> io::Result<Client> {
        let token = self.accounts.iter().find(|account| account.name == name).map(|account| account.token.as_str());
        client.upgrade().await?;
        match client.login(name, token.unwrap_or_default()).await? {
            true => Ok(client),
            false => Err(io::Error::other("refused with the right token")),
        }
    }

    /// Longer than the connector's longest patience.
    fn patience(&self) -> Duration {
        Duration::from_secs(if self.small { 6 } else { 60 })
    }

    /// So many, or a tenth in a small run.
    fn many(&self, count: usize) -> usize {
        if self.small { count.div_ceil(10) } else { count }
    }

    /// An expiry that leaves the connector just enough time for the next hop.
    fn expiry(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let own = if self.small { 3_500 } else { 4_500 };
        Timestamp::from_unix_millis(ms.saturating_add(own)).unwrap_or(Timestamp::MAX)
    }
}

/// Does the same for ever in so many places at once.
fn swarm<F>(target: Arc<Target>, count: usize, once: impl Fn(Arc<Target>, usize) -> F + Send + Sync + 'static) -> BoxFuture<'static, ()>
where
    F: Future<Output = io::Result<()>> + Send,
{
    async move {
        let once = &once;
        let places = (0..count).map(|place| {
            let target = target.clone();
            async move {
                loop {
                    if let Err(error) = once(target.clone(), place).await {
                        target.score.saw(&format!("({})", error.kind()));
                        // Refused connections would otherwise be tried as fast as the processor can.
                        tokio::time::sleep(AGAIN).await;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        join_all(places).await;
    }
    .boxed()
}

const AGAIN: Duration = Duration::from_millis(20);

/// All of them.
pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "nothing",
        what: "does nothing: what the measurement itself comes to",
        patience_s: 0,
        expected: &[],
        run: |_| std::future::pending().boxed(),
    },
    Attack {
        name: "wrong-token",
        what: "tries wrong tokens for an honest account on 64 connections",
        patience_s: 0,
        expected: &["Error F00"],
        run: connections::wrong_token,
    },
    Attack {
        name: "wrong-path",
        what: "asks for paths that name nobody, or hold wrong tokens in the form of 2017",
        patience_s: 0,
        expected: &[],
        run: connections::wrong_path,
    },
    Attack {
        name: "text-frames",
        what: "sends text, before and after it has authenticated",
        patience_s: 0,
        expected: &["closed before login", "closed after login"],
        run: frames::text,
    },
    Attack {
        name: "frames-16mb",
        what: "sends frames of 16 MB: whole, in part, and in pieces of 16 kB",
        patience_s: 0,
        expected: &["closed: whole", "closed: in part", "closed: in pieces", "closed: in pieces, after login"],
        run: frames::large,
    },
    Attack {
        name: "half-frames",
        what: "sends half a request, half a TLS record, half a frame, and then nothing, on 64 connections",
        patience_s: 10,
        expected: &["closed: half a request", "closed: half a TLS record", "closed: half a header", "closed: half a frame"],
        run: frames::half,
    },
    Attack {
        name: "garbage",
        what: "sends random bytes: instead of HTTP, of TLS, of frames, in frames, and in packets after it has authenticated",
        patience_s: 0,
        expected: &["closed: as HTTP", "closed: as TLS", "closed: as frames", "closed: in packets"],
        run: frames::garbage,
    },
    Attack {
        name: "slow-bytes",
        what: "sends one byte a second: of a request, of TLS, and of a frame, on 64 connections",
        patience_s: 10,
        expected: &["closed: slow request", "closed: slow TLS", "closed: slow frame"],
        run: frames::slow,
    },
    Attack {
        name: "connections-10000",
        what: "holds 10,000 connections: idle, with half a handshake, and with a whole one but no name",
        patience_s: 0,
        expected: &["closed: too many"],
        run: connections::ten_thousand,
    },
    Attack {
        name: "million-prepares",
        what: "sends a million prepares to a peer that reads them and never answers",
        patience_s: 0,
        expected: &["Ack", "Error T03"],
        run: money::million_prepares,
    },
    Attack {
        name: "never-reads",
        what: "asks without reading the answers, and is paid without reading the prepares",
        patience_s: 10,
        expected: &["cut off: is paid", "Ack", "Error T03"],
        run: money::never_reads,
    },
    Attack {
        name: "duplicate-logins",
        what: "logs in to its account from 16 connections again and again, and to an honest one without its token",
        patience_s: 0,
        expected: &["older connection closed", "Error F00"],
        run: connections::duplicate_logins,
    },
    Attack {
        name: "foreign-ids",
        what: "answers requests and transfers of others: all five packets, for ids that it knows and for guessed ones",
        patience_s: 0,
        expected: &["refused: Fulfill", "refused: Reject", "paid all the same"],
        run: money::foreign_ids,
    },
    Attack {
        name: "pings",
        what: "floods with pings of 125 bytes, unasked pongs and empty frames, reading little of what comes back",
        patience_s: 0,
        expected: &["Pong"],
        run: frames::pings,
    },
    Attack {
        name: "deflate",
        what: "offers compression, and sends a compressed frame",
        patience_s: 0,
        expected: &["no compression", "closed: compressed"],
        run: connections::deflate,
    },
    Attack {
        name: "headers",
        what: "sends a request with 1 MB of headers, in one and in a thousand",
        patience_s: 0,
        expected: &["closed: one header", "closed: many headers"],
        run: connections::headers,
    },
    Attack {
        name: "entries",
        what: "sends packets with 10,000 entries of protocol data",
        patience_s: 0,
        expected: &["closed: entries"],
        run: accounts::entries,
    },
    Attack {
        name: "messages",
        what: "asks for the state of its account as fast as it can, and reads the answers",
        patience_s: 0,
        expected: &["Response"],
        run: accounts::messages,
    },
    Attack {
        name: "reasons",
        what: "rejects its own prepares with reasons of 8 kB, and doesn't acknowledge the rejects",
        patience_s: 0,
        expected: &["Reject F99"],
        run: money::reasons,
    },
];
