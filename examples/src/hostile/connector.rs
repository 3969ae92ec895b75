//! The connector under attack, from inside: a child process that listens with and without TLS and says how it is when it is asked.

use super::HeapMeter;
use super::store::NoLog;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::Connector;
use ilp_core::{AccountConfig, AccountId, Asset, Limits, Tokens};
use ilp_oer::Address;
use ilp_plugins::clp::{ClpListener, TlsServerConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Write, stderr, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the connector is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Its accounts.
    pub(super) accounts: Vec<Account>,
    /// Whether its patience is a tenth of what it is by default, so that a test sees its end.
    pub(super) impatient: bool,
}

/// An account, and how to log in to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) token: String,
    pub(super) credit_limit: u64,
}

/// Where the connector listens, on 127.0.0.1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Without TLS.
    pub(super) port: u16,
    /// With TLS.
    pub(super) tls_port: u16,
}

/// How the connector is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Health {
    /// Connections, authenticated or not.
    pub(super) connections: usize,
    /// Tasks of its runtime.
    pub(super) tasks: usize,
    /// Transfers held, or whose answer is owed.
    pub(super) in_flight: usize,
    /// Transfers in flight or remembered.
    pub(super) remembered: usize,
    /// What is held in sum, in base units.
    pub(super) held: i128,
    /// Zero if the books are right.
    pub(super) conservation: i128,
    /// Balances of all accounts, in base units.
    pub(super) balances: BTreeMap<String, i128>,
    /// Bytes that it has from its allocator.
    pub(super) heap: usize,
    /// The most that it had since it was last told to forget that.
    pub(super) heap_peak: usize,
}

/// Asks for the [`Health`].
pub(super) const HEALTH: &str = "health";
/// As [`HEALTH`], and counts the peak from now on.
pub(super) const RESET: &str = "reset";

/// Serves until its input ends: which it does when the parent lets go of it, or dies.
pub(super) fn main(heap: &HeapMeter) -> ExitCode {
    run_child("connector", |lines| serve(lines, heap))
}

/// Runs a child process: `serve` gets the lines of its input.
pub(super) fn run_child<F: Future<Output = Result<(), Error>>>(who: &str, serve: impl FnOnce(mpsc::Receiver<String>) -> F) -> ExitCode {
    // Every connection is an open file.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (sender, lines) = mpsc::channel(8);
    // Reading the standard input blocks, so it can't be left to the one thread of the others.
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(serve(lines))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "{who}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The next line of the input, which is JSON; `None` at its end.
pub(super) async fn order<T: DeserializeOwned>(lines: &mut mpsc::Receiver<String>) -> Result<Option<T>, Error> {
    Ok(match lines.recv().await {
        Some(line) => Some(serde_json::from_str(&line)?),
        None => None,
    })
}

/// Writes a line for the parent.
pub(super) fn say(answer: &impl Serialize) -> Result<(), Error> {
    let mut out = stdout();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}

async fn serve(mut lines: mpsc::Receiver<String>, heap: &HeapMeter) -> Result<(), Error> {
    let Some(order) = order::<Order>(&mut lines).await? else { return Ok(()) };
    let (connector, hello) = start(&order).await?;
    say(&hello)?;
    while let Some(question) = lines.recv().await {
        if question == RESET {
            (heap.reset)();
        }
        say(&health(&connector, heap).await?)?;
    }
    let _report = connector.stop(STOP_PATIENCE).await;
    Ok(())
}

async fn start(order: &Order) -> Result<(Connector, Hello), Error> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let tls = TlsServerConfig::from_pem(own.cert.pem().as_bytes(), own.signing_key.serialize_pem().as_bytes())?;
    let limits = if order.impatient { impatient() } else { Limits::default() };
    let plain = ClpListener::bind(Address::new(ADDRESS)?, "ws://127.0.0.1:0", None).await?;
    let secure = ClpListener::bind(Address::new(ADDRESS)?, "wss://127.0.0.1:0", Some(tls)).await?;
    let hello = Hello { port: plain.local_addr().port(), tls_port: secure.local_addr().port() };

    let tokens = Tokens::new();
    let mut builder = Connector::builder(ADDRESS).store(NoLog::default()).limits(limits).endpoint(plain).endpoint(secure);
    for Account { name, token, credit_limit } in &order.accounts {
        let id = AccountId::new(1, name)?;
        // The form of 2017, for which the secret stands in the path, is not tried with a right one: every account speaks the other.
        tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, token.as_bytes());
        builder = builder.account(AccountConfig { credit_limit: *credit_limit, ..AccountConfig::new(id, Asset::new(ASSET, 6)) });
    }
    Ok((builder.authenticator(Arc::new(tokens)).start().await?, hello))
}

fn impatient() -> Limits {
    let default = Limits::default();
    Limits {
        handshake_ms: default.handshake_ms / 10,
        unauthenticated_ms: default.unauthenticated_ms / 10,
        ping_ms: default.ping_ms / 10,
        pong_ms: default.pong_ms / 10,
        stall_ms: default.stall_ms / 10,
        ..default
    }
}

async fn health(connector: &Connector, heap: &HeapMeter) -> Result<Health, Error> {
    let (now, peak) = ((heap.now)(), (heap.peak)());
    let status = connector.status().await?;
    let worker = &status.worker;
    Ok(Health {
        connections: status.connections.len(),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        in_flight: worker.in_flight,
        remembered: worker.remembered,
        held: worker.accounts.iter().map(|account| account.totals.incoming_prepared).sum(),
        conservation: worker.conservation(&Asset::new(ASSET, 6)),
        balances: worker.accounts.iter().map(|account| (account.id.name().to_owned(), account.balance)).collect(),
        heap: now,
        heap_peak: peak,
    })
}

/// An address where no real money can move.
pub(super) const ADDRESS: &str = "test.hostile";
const ASSET: &str = "XRP";
/// For transfers that are still held; as a rule there are none.
const STOP_PATIENCE: Duration = Duration::from_millis(200);
