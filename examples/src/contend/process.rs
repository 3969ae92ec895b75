//! A connector in a child process, one of several on one server.

use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, SocketColleagues};
use ilp_core::{AccountConfig, AccountId, Asset, Limits, Tokens};
use ilp_oer::Address;
use ilp_plugins::clp::ClpListener;
use ilp_store_redis::{RedisConfig, RedisStore};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write, stderr, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the child is told: one line of JSON on its input.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) redis: String,
    /// Which process this is; its slot has the same number.
    pub(super) number: u16,
    pub(super) processes: u16,
    /// All processes', as hex.
    pub(super) secret: String,
    /// Name, token and initial balance of each.
    pub(super) payers: Vec<(String, String, u64)>,
    pub(super) payee: (String, String),
    pub(super) parallelism: u8,
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) port: u16,
}

/// Reads an order from the input, is a connector, and stops when the input ends.
pub(super) fn main() -> ExitCode {
    match serve() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(stderr(), "contend: connector: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `false` if something was left in flight.
fn serve() -> Result<bool, Error> {
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        // The parent is gone already.
        return Ok(true);
    }
    let order: Order = serde_json::from_str(&line)?;
    let (ended, end) = oneshot::channel::<()>();
    // Reading the standard input blocks, so it can't be left to the connector's thread.
    std::thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        drop(ended);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connector, hello) = start(&order).await?;
        let mut out = stdout();
        writeln!(out, "{}", serde_json::to_string(&hello)?)?;
        out.flush()?;
        let _: Result<(), _> = end.await;
        Ok(connector.stop(STOP_PATIENCE).await.drained)
    })
}

async fn start(order: &Order) -> Result<(Connector, Hello), Error> {
    let store = RedisStore::connect(RedisConfig::new(&order.redis)?).await?;
    let holder = format!("process-{}", order.number);
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(&order.secret, &mut *secret)?;
    let colleagues = SocketColleagues::bind("127.0.0.1:0", secret, Arc::new(store.clone()), &holder).await?;
    let reached_at = colleagues.local_addr()?.to_string();
    let listener = ClpListener::bind(Address::new(ADDRESS)?, "ws://127.0.0.1:0", None).await?;
    let hello = Hello { port: listener.local_addr().port() };
    let (tokens, asset) = (Tokens::new(), Asset::new("XRP", 6));
    let limits = Limits { in_flight_per_account: 65_536, in_flight_bytes_per_account: 256 << 20, ..Limits::default() };
    let mut builder = Connector::builder(ADDRESS).store(store).holder(&holder).slots(vec![order.number]).limits(limits);
    builder = builder.deployment((0..order.processes).collect()).colleagues(Arc::new(colleagues), &reached_at).endpoint(listener);
    let payee = (&order.payee.0, &order.payee.1, 0, 1);
    let payers = order.payers.iter().map(|(name, token, balance)| (name, token, *balance, order.parallelism));
    for (name, token, balance, parallelism) in payers.chain([payee]) {
        let id = AccountId::new(parallelism, name)?;
        tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp, token.as_bytes());
        builder = builder.account(AccountConfig { initial_balance: i64::try_from(balance)?, ..AccountConfig::new(id, asset.clone()) });
    }
    Ok((builder.authenticator(Arc::new(tokens)).start().await?, hello))
}

const ADDRESS: &str = "test.contend";
/// For answers that are still on their way.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
