//! The connector in a child process, from inside: the library's, with accounts for the peers and nothing else.

use super::child::{Hello, Order};
use ilp_core::runtime::Connector;
use ilp_core::store::MemoryStore;
use std::io::{BufRead, BufReader, Read, Write, stderr, stdin, stdout};
use std::process::ExitCode;
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
    input.read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    let (ended, end) = oneshot::channel();
    // Reading the standard input blocks, so it can't be left to the connector's thread.
    std::thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        drop(ended);
    });
    // One thread, as each worker of a larger connector has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connector, hello) = start(&order).await?;
        let mut out = stdout();
        writeln!(out, "{}", serde_json::to_string(&hello)?)?;
        out.flush()?;
        let _: Result<(), _> = end.await;
        let _report = connector.stop(STOP_PATIENCE).await;
        Ok(())
    })
}

async fn start(order: &Order) -> Result<(Connector, Hello), Error> {
    todo!()
}

const STOP_PATIENCE: Duration = Duration::from_secs(1);
