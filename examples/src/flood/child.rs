//! The connector in a child process, from its parent's side.

use super::options::Login;
use super::process::Process;
use super::random::{NoRandomness, random};
use serde::{Deserialize, Serialize};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// A connector in a child process. It ends when it is dropped, and by itself when this process ends in whatever way: its input is
/// then at its end.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    /// Held so that the child lives.
    input: ChildStdin,
    output: BufReader<Take<ChildStdout>>,
    id: u32,
    hello: Hello,
}

/// What the child is told: one line of JSON on its input. Not in its arguments, which everybody on the machine can read.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// Accounts that may pay, by name and token.
    pub(super) senders: Vec<(String, String)>,
    /// Accounts that are paid.
    pub(super) receivers: Vec<(String, String)>,
    /// Whether to listen for TLS.
    pub(super) tls: bool,
    /// The most payments that an account has in flight.
    pub(super) in_flight_per_account: u32,
    /// Short times, for connections that are lost all the time: see `faults::timing`.
    pub(super) impatient: bool,
}

/// What the child answers: one line of JSON on its output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Where it listens, on 127.0.0.1.
    pub(super) port: u16,
    /// Its certificate (PEM), if it listens for TLS.
    pub(super) certificate: Option<String>,
}

/// The child's books when it ended: one more line of JSON on its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Farewell {
    /// Every account.
    pub(super) accounts: Vec<AccountBooks>,
    /// The connector's own account.
    pub(super) own: i128,
    /// Σ balances + held + own: 0 if no unit was lost or made.
    pub(super) conservation: i128,
    /// Transfers held, or with an answer owed.
    pub(super) in_flight: usize,
    /// Connections, of accounts or strangers.
    pub(super) connections: usize,
    /// Payments fulfilled.
    pub(super) fulfilled: u64,
    /// Fulfills that a sender refused although it had them in time: charged.
    pub(super) disputed: u64,
    /// Fulfills that a sender never answered: charged.
    pub(super) unconfirmed: u64,
    /// Fulfills that came too late for a sender: not charged.
    pub(super) lost: u64,
}

/// One account of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccountBooks {
    /// Whose.
    pub(super) name: String,
    /// What the connector owes it.
    pub(super) balance: i128,
    /// What is held for its payments.
    pub(super) held: i128,
}

/// Why there is no child.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    /// It can't be run.
    #[error("cannot run the connector: {0}")]
    Spawn(#[source] io::Error),
    /// It ended instead of saying where it listens.
    #[error("the connector did not start; what it wrote: {0:?}")]
    Silent(String),
    /// It took too long.
    #[error("the connector did not start in time")]
    TimedOut,
}

impl Child {
    /// Starts this program again as a connector.
    ///
    /// # Errors
    /// See [`ChildError`].
    pub(super) async fn start(order: &Order) -> Result<Self, ChildError> {
        let program = std::env::current_exe().map_err(ChildError::Spawn)?;
        let mut command = Command::new(program);
        // A group of its own: Ctrl-C is for the parent, which still needs it for the payments in flight.
        command.arg(CONNECTOR_ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut process = command.spawn().map_err(ChildError::Spawn)?;
        let (Some(input), Some(output), Some(id)) = (process.stdin.take(), process.stdout.take(), process.id()) else {
            return Err(ChildError::Silent(String::new()));
        };
        let greeted = tokio::time::timeout(START_TIME_MAX, greet(input, output, order)).await;
        let (input, output, hello) = greeted.map_err(|_| ChildError::TimedOut)??;
        Ok(Self { process, input, output, id, hello })
    }

    /// What it said of itself.
    pub(super) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Its process.
    pub(super) fn process(&self) -> Process {
        Process::new(self.id)
    }

    /// Lets it end, and makes it if it doesn't. Gives its last word, if it had one.
    pub(super) async fn stop(mut self) -> Option<Farewell> {
        drop(self.input);
        let mut line = String::new();
        self.output.get_mut().set_limit(FAREWELL_BYTES_MAX);
        let last_word = tokio::time::timeout(STOP_TIME_MAX, self.output.read_line(&mut line)).await;
        if tokio::time::timeout(STOP_TIME_MAX, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
        last_word.ok()?.ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Order {
    /// The line for the child's input.
    pub(super) fn to_line(&self) -> String {
        // Strings and numbers only: nothing that JSON doesn't know.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// Accounts of a child: sender and receiver of each pair, with tokens that nobody can guess.
pub(super) fn logins(pairs: u16) -> Result<Vec<(Login, Login)>, NoRandomness> {
    let login = |role: &str, pair: u16| Ok(Login { name: format!("{role}-{pair}"), token: hex::encode(random::<16>()?) });
    (1..=pairs).map(|pair| Ok((login("sender", pair)?, login("receiver", pair)?))).collect()
}

type Greeted = (ChildStdin, BufReader<Take<ChildStdout>>, Hello);

async fn greet(mut input: ChildStdin, output: ChildStdout, order: &Order) -> Result<Greeted, ChildError> {
    input.write_all(order.to_line().as_bytes()).await.map_err(ChildError::Spawn)?;
    input.flush().await.map_err(ChildError::Spawn)?;
    let mut line = String::new();
    let mut output = BufReader::new(output.take(HELLO_BYTES_MAX));
    output.read_line(&mut line).await.map_err(ChildError::Spawn)?;
    let hello = serde_json::from_str(&line).map_err(|_| ChildError::Silent(line))?;
    Ok((input, output, hello))
}

const CONNECTOR_ARGUMENT: &str = "--connector";
const START_TIME_MAX: Duration = Duration::from_secs(20);
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
const HELLO_BYTES_MAX: u64 = 64 << 10;
/// A thousand pairs, a hundred bytes an account.
const FAREWELL_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_account_has_a_name_and_a_token_of_its_own() {
        let logins = logins(50).unwrap();
        let all: Vec<_> = logins.iter().flat_map(|(sender, receiver)| [sender, receiver]).collect();
        assert_eq!(all.iter().map(|login| &login.name).collect::<HashSet<_>>().len(), 100);
        assert_eq!(all.iter().map(|login| &login.token).collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn an_order_is_one_line() {
        let order =
            Order { senders: vec![("a\n".into(), "b".into())], receivers: vec![], tls: true, in_flight_per_account: 7, impatient: false };
        let line = order.to_line();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: Order = serde_json::from_str(&line).unwrap();
        assert_eq!((read.senders, read.tls), (order.senders, true));
    }
}
