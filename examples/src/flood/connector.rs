//! The connector in a child process, from inside: the library's, with accounts for the peers and nothing else.

use super::child::{AccountBooks, Farewell, Hello, Order};
use super::faults;
use super::store::{StoreFigures, disk_sync_ns};
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::Connector;
use ilp_core::store::{BalanceStore, EmbeddedStore, MemoryStore};
use ilp_core::worker::{AccountStatus, WorkerStatus};
use ilp_core::{AccountConfig, AccountId, Asset, Limits, Timing, Tokens};
use ilp_oer::Address;
use ilp_plugins::clp::{ClpListener, TlsServerConfig};
use ilp_store_redis::{RedisConfig, RedisStore, Required};
use std::io::{BufRead, BufReader, Read, Write, stderr, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Reads an order from the input, starts a connector, says on the output where it listens, and stops when the input ends: which it does
/// when the parent lets go of it, or dies.
pub(super) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "connector: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        // The parent is gone already.
        return Ok(());
    }
    let order: Order = serde_json::from_str(&line)?;
    let (ended, end) = oneshot::channel();
    // Reading the standard input blocks, so it can't be left to the connector's thread.
    std::thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        drop(ended);
    });
    // A thread for each worker.
    let runtime = match order.workers {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        workers => tokio::runtime::Builder::new_multi_thread().worker_threads(workers.into()).enable_all().build()?,
    };
    runtime.block_on(async {
        let disk_sync = order.store_dir.as_deref().map(disk_sync_ns).transpose()?.unwrap_or_default();
        let embedded = order.store_dir.as_deref().map(EmbeddedStore::open).transpose()?;
        let (connector, hello) = match (&embedded, &order.redis) {
            (Some(store), _) => start(&order, store.clone()).await?,
            (None, Some((url, durable))) => {
                let required = if *durable { Required::Disk } else { Required::Nothing };
                start(&order, RedisStore::connect(RedisConfig::new(url)?.require(required)).await?).await?
            }
            (None, None) => start(&order, MemoryStore::new()).await?,
        };
        let mut out = stdout();
        writeln!(out, "{}", serde_json::to_string(&hello)?)?;
        out.flush()?;
        let _: Result<(), _> = end.await;
        // Before it stops: stopping would wait for what may be stuck.
        let store = embedded.map(|store| StoreFigures::of(&store, disk_sync));
        if let Ok(status) = connector.status().await {
            // The parent may be gone.
            let _ = writeln!(out, "{}", serde_json::to_string(&Farewell { store, ..farewell(&status.worker, status.connections.len()) })?);
        }
        let _report = connector.stop(STOP_PATIENCE).await;
        Ok(())
    })
}

async fn start(order: &Order, store: impl BalanceStore) -> Result<(Connector, Hello), Error> {
    let certificate = if order.tls { Some(rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?) } else { None };
    let tls = match &certificate {
        Some(own) => Some(TlsServerConfig::from_pem(own.cert.pem().as_bytes(), own.signing_key.serialize_pem().as_bytes())?),
        None => None,
    };
    let url = if order.tls { "wss://127.0.0.1:0" } else { "ws://127.0.0.1:0" };
    let listener = ClpListener::bind(Address::new(ADDRESS)?, url, tls).await?;
    let hello = Hello { port: listener.local_addr().port(), certificate: certificate.map(|own| own.cert.pem()) };

    let tokens = Tokens::new();
    let (default, timing) = if order.impatient { (faults::limits(), faults::TIMING) } else { (Limits::default(), Timing::default()) };
    // As many as the load's window needs; with one window after the other, the memory of a transfer's answer comes on top.
    let in_flight_per_account = order.in_flight_per_account;
    let bytes = usize::try_from(in_flight_per_account)?.saturating_mul(2 * Limits::TRANSFER_BYTES);
    let in_flight_bytes_per_account = bytes.max(default.in_flight_bytes_per_account);
    let limits = Limits { in_flight_per_account, in_flight_bytes_per_account, ..default };
    let mut builder = Connector::builder(ADDRESS).workers(order.workers).store(store).limits(limits).timing(timing).endpoint(listener);
    let senders = order.senders.iter().map(|login| (login, u64::MAX));
    let receivers = order.receivers.iter().map(|login| (login, 0));
    for ((name, token), credit_limit) in senders.chain(receivers) {
        let id = AccountId::new(order.parallelism, name)?;
        tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, token.as_bytes());
        builder = builder.account(AccountConfig { credit_limit, max_packet: u64::MAX, ..AccountConfig::new(id, asset()) });
    }
    let connector = builder.authenticator(Arc::new(tokens)).start().await?;
    Ok((connector, hello))
}

fn farewell(books: &WorkerStatus, connections: usize) -> Farewell {
    let account = |account: &AccountStatus| AccountBooks {
        name: account.id.name().to_owned(),
        balance: account.balance,
        held: account.totals.incoming_prepared,
    };
    Farewell {
        store: None,
        accounts: books.accounts.iter().map(account).collect(),
        own: books.own.iter().map(|(_, own)| own).sum(),
        conservation: books.conservation(&asset()),
        in_flight: books.in_flight,
        connections,
        fulfilled: books.counters.fulfilled,
        moves: books.counters.moves,
        parked: books.counters.parked,
        disputed: books.counters.disputed,
        unconfirmed: books.counters.unconfirmed,
        lost: books.counters.lost,
    }
}

fn asset() -> Asset {
    Asset::new("XRP", 6)
}

/// An address where no real money can move.
pub(super) const ADDRESS: &str = "test.flood";
/// For transfers that are still held; as a rule there are none.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
