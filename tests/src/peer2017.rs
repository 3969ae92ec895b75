//! A peer of 2017: the Node program in `tests/node`, driven and heard line by line.

use ilp_oer::{Condition, Fulfillment, Timestamp, TransferId};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// The program, as a process of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Peer2017 {
    process: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// What it said, in order, and whether a test has asked for it.
    said: Vec<(Value, bool)>,
}

impl Peer2017 {
    /// Starts the program; it does nothing yet.
    pub async fn start() -> Self {
        let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
        for package in ["btp-packet", "ilp-packet", "ws"] {
            let there = node.join("node_modules").join(package).join("package.json").exists();
            assert!(there, "the peer from 2017 lacks its packages: run tests/run, or (cd tests/node && npm ci)");
        }
        let mut command = Command::new("node");
        command.arg(node.join("peer2017.js")).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("node (18 or later) is needed for the peer from 2017");
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, stdin, stdout: BufReader::new(stdout).lines(), said: Vec::new() }
    }

    /// A client that is connected, has vouched, and was told its address.
    pub async fn login(url: &str, name: &str, token: &str) -> Self {
        let mut peer = Self::start().await;
        peer.tell(json!({"do": "habits", "wallet": "test.crypto.xrp.rClientAcct"})).await;
        peer.connect(url, name, token).await;
        for _vouch in 0..2 {
            peer.received("ack").await;
        }
        peer.address().await;
        peer
    }

    /// Dials, and goes on dialling.
    pub async fn connect(&mut self, url: &str, name: &str, token: &str) {
        self.dial(url, name, token).await;
        self.event("open").await;
    }

    /// Begins to dial.
    pub async fn dial(&mut self, url: &str, name: &str, token: &str) {
        self.tell(json!({"do": "connect", "url": url, "name": name, "token": token})).await;
    }

    /// Asks for its address, takes what is below it for its own from now on. Also proves that all which was sent to it earlier
    /// on this connection is there.
    pub async fn address(&mut self) -> String {
        self.tell(json!({"do": "info"})).await;
        let wanted = |packet: &Value| packet["type"] == "response" && packet["first"]["info"] == "answer";
        text(&self.packet("received", wanted).await["first"]["address"]).to_owned()
    }

    /// Asks for its balance.
    pub async fn balance(&mut self) -> u64 {
        self.tell(json!({"do": "balance"})).await;
        let wanted = |packet: &Value| packet["type"] == "response" && packet["first"]["balance"] == "answer";
        text(&self.packet("received", wanted).await["first"]["amount"]).parse().unwrap()
    }

    /// Sends a prepare with an ILP payment of the same amount; `more` is added to the command.
    pub async fn pay(&mut self, id: TransferId, to: &str, amount: u64, condition: Condition, expires_at: Timestamp, more: Value) {
        let mut command = json!({
            "do": "pay", "transferId": hex::encode(id.as_bytes()), "to": to, "amount": amount.to_string(),
            "condition": hex::encode(condition.as_bytes()), "expiresAt": expires_at.to_string(),
        });
        if let (Some(command), Value::Object(more)) = (command.as_object_mut(), more) {
            command.extend(more);
        }
        self.tell(command).await;
    }

    /// What it does with a prepare for itself: `fulfill`, `hold`, `cut` (the connection, after its ack), `reject`, `error`, `nothing`.
    pub async fn answer_with(&mut self, answer: &str, fulfillments: &[Fulfillment], reason: Value) {
        let fulfillments: Vec<_> = fulfillments.iter().map(|fulfillment| hex::encode(fulfillment.as_bytes())).collect();
        self.tell(json!({"do": "policy", "answer": answer, "fulfillments": fulfillments, "reason": reason})).await;
    }

    /// Gives the program a command; it has obeyed when this returns.
    pub async fn tell(&mut self, command: Value) {
        self.write(&command).await;
        let done = self.event("done").await;
        assert_eq!(done["name"], command["do"]);
    }

    async fn write(&mut self, command: &Value) {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.stdin.flush().await.unwrap();
    }

    /// The next packet of a type that it received and no test has asked for; earlier ones of other types stay.
    pub async fn received(&mut self, kind: &str) -> Value {
        self.packet("received", |packet| packet["type"] == kind).await
    }

    /// The next packet of a type that it sent.
    pub async fn sent(&mut self, kind: &str) -> Value {
        self.packet("sent", |packet| packet["type"] == kind).await
    }

    /// The next event of a name that no test has asked for.
    pub async fn event(&mut self, name: &str) -> Value {
        self.find(|event| event["event"] == name).await
    }

    /// Everything it has received, in order, asked for or not.
    pub fn all_received(&self) -> Vec<&Value> {
        self.said.iter().filter(|(event, _)| event["event"] == "received").map(|(event, _)| &event["packet"]).collect()
    }

    /// How many of these it has received.
    pub fn count_received(&self, kind: &str) -> usize {
        self.all_received().iter().filter(|packet| packet["type"] == kind).count()
    }

    /// Ends the program, and proves that nothing has killed it until then.
    pub async fn quit(mut self) {
        self.write(&json!({"do": "quit"})).await;
        while let Some(event) = self.read().await {
            alive(&event);
        }
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("the peer doesn't quit").unwrap();
        assert!(status.success(), "the peer from 2017 ended with {status}");
    }

    async fn packet(&mut self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.find(|said| said["event"] == event && wanted(&said["packet"])).await["packet"].take()
    }

    async fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some((event, asked_for)) = self.said.iter_mut().find(|(event, asked_for)| !asked_for && wanted(event)) {
            *asked_for = true;
            return event.clone();
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let read = tokio::time::timeout_at(deadline, self.read()).await;
            let Ok(Some(event)) = read else { panic!("it never came; the peer said: {:#?}", self.said) };
            let found = wanted(&event);
            if !found {
                alive(&event);
            }
            self.said.push((event.clone(), found));
            if found {
                return event;
            }
        }
    }

    async fn read(&mut self) -> Option<Value> {
        let line = self.stdout.next_line().await.unwrap()?;
        Some(serde_json::from_str(&line).expect(&line))
    }
}

/// The text of a JSON value.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A peer that has died, or lost what was sent too early, ends the test, unless that is what the test asks for.
fn alive(event: &Value) {
    assert!(event["event"] != "died" && event["event"] != "lost", "a peer from 2017 can't live with that: {event}");
}

const PATIENCE: Duration = Duration::from_secs(30);
