//! A connector in a child process, from its parent's side; and any other program that is told what to do by lines on its input.

use super::options::Login;
use super::process::Process;
use super::random::{NoRandomness, random};
use super::store::StoreFigures;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// This program as a child process, a connector as a rule. It ends when it is dropped, and by itself when this process ends in
/// whatever way: its input is then at its end.
#[derive(Debug)]
pub(crate) struct Child<H> {
    process: tokio::process::Child,
    /// Held so that the child lives.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    id: u32,
    hello: H,
}

/// What the child is told: one line of JSON on its input. Not in its arguments, which everybody on the machine can read.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    /// Accounts that may pay, by name and token.
    pub(crate) senders: Vec<(String, String)>,
    /// Accounts that are paid.
    pub(crate) receivers: Vec<(String, String)>,
    /// Whether to listen for TLS.
    pub(crate) tls: bool,
    /// The most payments that an account has in flight.
    pub(crate) in_flight_per_account: u32,
    /// The directory of the embedded store; `None`: the books are in memory.
    pub(crate) store_dir: Option<PathBuf>,
    /// The Redis server, and whether it must be durable; its books are there, then.
    pub(crate) redis: Option<(String, bool)>,
    /// How many workers it has.
    pub(crate) workers: u16,
    /// Parallelism of the accounts.
    pub(crate) parallelism: u8,
    /// Short times, for connections that are lost all the time: see `faults::timing`.
    pub(crate) impatient: bool,
}

/// What the child answers: one line of JSON on its output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    /// Its certificate (PEM), if it listens for TLS.
    pub(crate) certificate: Option<String>,
}

/// The child's books when it ended: one more line of JSON on its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// Every account.
    pub(crate) accounts: Vec<AccountBooks>,
    /// The connector's own account.
    pub(crate) own: i128,
    /// Σ balances + held + own: 0 if no unit was lost or made.
    pub(crate) conservation: i128,
    /// Transfers held, or with an answer owed.
    pub(crate) in_flight: usize,
    /// Connections, of accounts or strangers.
    pub(crate) connections: usize,
    /// Payments fulfilled.
    pub(crate) fulfilled: u64,
    /// Fulfills that a sender refused although it had them in time: charged.
    pub(crate) disputed: u64,
    /// Fulfills that a sender never answered: charged.
    pub(crate) unconfirmed: u64,
    /// Fulfills that came too late for a sender: not charged.
    pub(crate) lost: u64,
    /// Moves between cold and hot balances.
    pub(crate) moves: u64,
    /// Payments that waited for one.
    pub(crate) parked: u64,
    /// What an embedded store did.
    pub(crate) store: Option<StoreFigures>,
}

/// One account of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountBooks {
    /// Whose.
    pub(crate) name: String,
    /// What the connector owes it.
    pub(crate) balance: i128,
    /// What is held for its payments.
    pub(crate) held: i128,
}

/// Why there is no child.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
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

impl<H: DeserializeOwned> Child<H> {
    /// Starts this program again as a connector.
    ///
    /// # Errors
    /// See [`ChildError`].
    pub(crate) async fn start(order: &impl Serialize) -> Result<Self, ChildError> {
        Self::start_as(&own_program()?, &[CONNECTOR_ARGUMENT], order).await
    }

    /// Starts a program with these arguments, gives it its order and waits for its hello.
    ///
    /// # Errors
    /// See [`ChildError`].
    pub(crate) async fn start_as(program: &Path, arguments: &[&str], order: &impl Serialize) -> Result<Self, ChildError> {
        let mut command = Command::new(program);
        // A group of its own: Ctrl-C is for the parent, which still needs it for the payments in flight.
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut process = command.spawn().map_err(ChildError::Spawn)?;
        let (Some(input), Some(output), Some(id)) = (process.stdin.take(), process.stdout.take(), process.id()) else {
            return Err(ChildError::Silent(String::new()));
        };
        let (mut input, mut output) = (input, BufReader::new(output));
        let hello = exchange(&mut input, &mut output, &to_line(order), START_TIME_MAX).await?;
        Ok(Self { process, input, output, id, hello })
    }

    /// What it said of itself.
    pub(crate) fn hello(&self) -> &H {
        &self.hello
    }

    /// Its process.
    pub(crate) fn process(&self) -> Process {
        Process::new(self.id)
    }

    /// Gives it a line and waits for the line that it answers with.
    ///
    /// # Errors
    /// See [`ChildError`].
    pub(crate) async fn ask<A: DeserializeOwned>(&mut self, question: &str) -> Result<A, ChildError> {
        exchange(&mut self.input, &mut self.output, &format!("{question}\n"), ANSWER_TIME_MAX).await
    }

    /// The next thing that it says by itself, in the form of its hello; `None` when it says nothing more.
    ///
    /// # Errors
    /// If that can't be read.
    pub(crate) async fn hear(&mut self) -> Result<Option<H>, ChildError> {
        let mut line = String::new();
        (&mut self.output).take(LINE_BYTES_MAX).read_line(&mut line).await.map_err(ChildError::Spawn)?;
        if line.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(|_| ChildError::Silent(line))
    }

    /// Lets it end by closing its input, waits until it has, and says how it ended. `None` if it had to be killed for want of time.
    ///
    /// # Errors
    /// If the system doesn't say.
    pub(crate) async fn end(self, patience: Duration) -> Result<Option<ExitStatus>, ChildError> {
        drop(self.input);
        ended(self.process, patience).await
    }

    /// The same, but its end is its own business: its input stays open.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub(crate) async fn ended(self, patience: Duration) -> Result<Option<ExitStatus>, ChildError> {
        let _input = self.input;
        ended(self.process, patience).await
    }

    /// Lets it end, and makes it if it doesn't. Gives its last word, if it had one.
    pub(crate) async fn stop(mut self) -> Option<Farewell> {
        drop(self.input);
        let mut line = String::new();
        let mut output = (&mut self.output).take(LINE_BYTES_MAX);
        let last_word = tokio::time::timeout(STOP_TIME_MAX, output.read_line(&mut line)).await;
        if tokio::time::timeout(STOP_TIME_MAX, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
        last_word.ok()?.ok()?;
        serde_json::from_str(&line).ok()
    }
}

async fn ended(mut process: tokio::process::Child, patience: Duration) -> Result<Option<ExitStatus>, ChildError> {
    match tokio::time::timeout(patience, process.wait()).await {
        Ok(status) => Ok(Some(status.map_err(ChildError::Spawn)?)),
        Err(_) => {
            let _ = process.kill().await;
            Ok(None)
        }
    }
}

/// This program's own file.
///
/// # Errors
/// If the system doesn't say.
pub(crate) fn own_program() -> Result<PathBuf, ChildError> {
    std::env::current_exe().map_err(ChildError::Spawn)
}

/// Accounts of a child: sender and receiver of each pair, with tokens that nobody can guess.
pub(crate) fn logins(pairs: u16) -> Result<Vec<(Login, Login)>, NoRandomness> {
    let login = |role: &str, pair: u16| Ok(Login { name: format!("{role}-{pair}"), token: hex::encode(random::<16>()?) });
    (1..=pairs).map(|pair| Ok((login("sender", pair)?, login("receiver", pair)?))).collect()
}

fn to_line(order: &impl Serialize) -> String {
    // Strings and numbers only: nothing that JSON doesn't know.
    serde_json::to_string(order).unwrap_or_default() + "\n"
}

async fn exchange<A: DeserializeOwned>(
    input: &mut ChildStdin,
    output: &mut BufReader<ChildStdout>,
    question: &str,
    time: Duration,
) -> Result<A, ChildError> {
    let answer = async {
        input.write_all(question.as_bytes()).await?;
        input.flush().await?;
        let mut line = String::new();
        output.take(LINE_BYTES_MAX).read_line(&mut line).await?;
        Ok(line)
    };
    let line = tokio::time::timeout(time, answer).await.map_err(|_| ChildError::TimedOut)?.map_err(ChildError::Spawn)?;
    serde_json::from_str(&line).map_err(|_| ChildError::Silent(line))
}

const CONNECTOR_ARGUMENT: &str = "--connector";
const START_TIME_MAX: Duration = Duration::from_secs(20);
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Books of a thousand pairs, a hundred bytes an account.
const LINE_BYTES_MAX: u64 = 1 << 20;

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
        let order = Order {
            senders: vec![("a\n".into(), "b".into())],
            receivers: vec![],
            tls: true,
            in_flight_per_account: 7,
            store_dir: None,
            redis: None,
            workers: 1,
            parallelism: 1,
            impatient: false,
        };
        let line = to_line(&order);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: Order = serde_json::from_str(&line).unwrap();
        assert_eq!((read.senders, read.tls), (order.senders, true));
    }
}
