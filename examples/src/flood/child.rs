//! The connector in a child process, from its parent's side.

use super::options::Login;
use super::process::Process;
use super::random::{NoRandomness, random};
use serde::{Deserialize, Serialize};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};

/// A connector in a child process. It ends when it is dropped, and by itself when this process ends in whatever way: its input is
/// then at its end.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    /// Held so that the child lives.
    input: ChildStdin,
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
}

/// What the child answers: one line of JSON on its output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Where it listens, on 127.0.0.1.
    pub(super) port: u16,
    /// Its certificate (PEM), if it listens for TLS.
    pub(super) certificate: Option<String>,
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
        let (input, hello) = greeted.map_err(|_| ChildError::TimedOut)??;
        Ok(Self { process, input, id, hello })
    }

    /// What it said of itself.
    pub(super) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Its process.
    pub(super) fn process(&self) -> Process {
        Process::new(self.id)
    }

    /// Lets it end, and makes it if it doesn't.
    pub(super) async fn stop(mut self) {
        drop(self.input);
        if tokio::time::timeout(STOP_TIME_MAX, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
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

async fn greet(mut input: ChildStdin, output: tokio::process::ChildStdout, order: &Order) -> Result<(ChildStdin, Hello), ChildError> {
    input.write_all(order.to_line().as_bytes()).await.map_err(ChildError::Spawn)?;
    input.flush().await.map_err(ChildError::Spawn)?;
    let mut line = String::new();
    let mut output = BufReader::new(output.take(HELLO_BYTES_MAX));
    output.read_line(&mut line).await.map_err(ChildError::Spawn)?;
    let hello = serde_json::from_str(&line).map_err(|_| ChildError::Silent(line))?;
    Ok((input, hello))
}

const CONNECTOR_ARGUMENT: &str = "--connector";
const START_TIME_MAX: Duration = Duration::from_secs(20);
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
const HELLO_BYTES_MAX: u64 = 64 << 10;

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
        let order = Order { senders: vec![("a\n".into(), "b".into())], receivers: vec![], tls: true, in_flight_per_account: 7 };
        let line = order.to_line();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: Order = serde_json::from_str(&line).unwrap();
        assert_eq!((read.senders, read.tls), (order.senders, true));
    }
}
