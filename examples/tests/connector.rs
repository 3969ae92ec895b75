//! The `connector` command as its user meets it: exit codes, messages, stopping, the demo.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use async_trait::async_trait;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice, PayError};
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Receiver, Rejection, Tokens};
use ilp_oer::{Address, Amount, Fulfillment};
use ilp_plugins::clp::{ClpDialler, ClpListener, TlsClientConfig, TlsServerConfig};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector"));
    command.kill_on_drop(true).env_remove("ALICE_TOKEN").env_remove("BOB_TOKEN");
    command
}

async fn run(arguments: &[&str]) -> (i32, String, String) {
    finished(command().args(arguments)).await
}

async fn finished(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A folder of its own for one test; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("connector-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, contents: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn help_lists_the_exit_codes_and_examples() {
    let (code, stdout, stderr) = run(&["--help"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in ["Exit codes:", "130  stopped at once", "connector --demo --for 60s", "--check", "--drain"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let (code, stdout, _) = run(&["--version"]).await;
    assert_eq!((code, stdout), (0, format!("connector {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for arguments in
        [&[][..], &["--chek", "a"], &["a.toml", "--demo"], &["--demo", "--for", "soon"], &["--demo", "--amount", "9223372036854775807"]]
    {
        let (code, stdout, stderr) = run(arguments).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_sample_configuration_is_good() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/connector.toml");
    let tokens = [("ALICE_TOKEN", "a token of alice's"), ("BOB_TOKEN", "another token of bob's")];
    let (code, stdout, stderr) = finished(command().args(["--check", sample]).envs(tokens)).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let books = concat!(env!("CARGO_MANIFEST_DIR"), "/books");
    assert_eq!(stdout, format!("ok: 2 accounts, 1 listener, 2 rates, books in {books}, address test.ann\n"));
    assert!(!Path::new(books).exists(), "nothing is made by a check");
    let (code, _, stderr) = run(&["--check", sample]).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("ALICE_TOKEN is not set") && stderr.contains("BOB_TOKEN is not set"), "{stderr}");
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_3_and_every_problem_has_its_place() {
    let folder = Folder::new("wrong");
    let file = folder.write(
        "wrong.toml",
        "address = \"g.ann\"\n\n[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6.5\ncredit_limt = \"1\"\ntoken = { env = \"NOT_SET\" }\n\
         url = \"http://bob.example\"\n\n[[account]]\nname = \"bob\"\n",
    );
    for arguments in [&["--check", &file][..], &[&file]] {
        let (code, stdout, stderr) = run(arguments).await;
        assert_eq!((code, stdout.as_str()), (3, ""));
        for expected in [
            "1:11: error: address is \"g.ann\", a production address",
            "6:9: error: account \"bob\": scale is 6.5, but must be a whole number",
            "7:1: error: account \"bob\": unknown key \"credit_limt\"; did you mean \"credit_limit\"?",
            "8:17: error: account \"bob\": token: the environment variable NOT_SET is not set",
            "9:7: error: account \"bob\": url can't be dialled: the scheme must be ws:// or wss://",
            "11:1: error: account \"bob\": token is missing",
            "12:8: error: there are two accounts called \"bob\", the other one in line 4",
        ] {
            assert!(stderr.lines().any(|line| line.starts_with(&format!("{file}:{expected}"))), "{expected} in\n{stderr}");
        }
        assert!(stderr.ends_with(&format!(" errors in {file}\n")), "{stderr}");
    }
    let (code, _, stderr) = run(&["no/such/file.toml"]).await;
    assert!(code == 3 && stderr.starts_with("no/such/file.toml: error: the configuration file can't be read"), "{stderr}");
}

#[tokio::test]
async fn a_literal_token_is_refused_and_never_shown() {
    let folder = Folder::new("literal");
    for token in ["\"hunter2hunter2hunter2\"", "hunter2", "{ value = \"hunter2\" }"] {
        let text = format!("address = \"test.ann\"\n[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\ntoken = {token}\n");
        let file = folder.write("literal.toml", &text);
        let (code, stdout, stderr) = run(&["--check", &file]).await;
        assert_eq!(code, 3);
        assert!(stderr.contains(":6:9: error: ") && !stderr.contains("hunter2") && !stdout.contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn warnings_do_not_fail_a_check() {
    let folder = Folder::new("warnings");
    let text = "address = \"test.ann\"\n[[listen]]\nurl = \"ws://0.0.0.0:0\"\n";
    let (code, stdout, stderr) = run(&["--check", &folder.write("a.toml", text)]).await;
    assert_eq!(code, 0);
    assert!(stderr.contains(":3:7: warning: listen 1: ws://0.0.0.0:0 is not encrypted"), "{stderr}");
    let books = folder.0.join("books").display().to_string();
    assert_eq!(stdout, format!("ok: 0 accounts, 1 listener, 0 rates, books in {books}, address test.ann; 2 warnings\n"));
}

#[tokio::test]
async fn what_keeps_it_from_starting_ends_with_4() {
    let folder = Folder::new("start");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = folder.write("taken.toml", &format!("address = \"test.ann\"\n[[listen]]\nurl = \"ws://{address}\"\n"));
    let (code, _, stderr) = run(&[&file]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains(&format!("can't listen on \"ws://{address}\"")) && stderr.contains("taken.toml:3:7"), "{stderr}");
    // Nothing is wrong with the file.
    assert_eq!(run(&["--check", &file]).await.0, 0);

    folder.write("junk.pem", "junk");
    let text = "address = \"test.ann\"\n[[listen]]\nurl = \"wss://127.0.0.1:0\"\ncert = \"junk.pem\"\nkey = \"junk.pem\"\n";
    let file = folder.write("junk.toml", text);
    let (code, _, stderr) = run(&[&file]).await;
    assert!(code == 4 && stderr.contains("junk.toml:4:8: error: listen 1: cert and key can't be used"), "{code} {stderr}");
}

#[tokio::test]
async fn the_demo_pays_and_the_books_are_right() {
    let (code, stdout, stderr) = run(&["--demo", "--payments", "50", "--amount", "2500"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}{stderr}");
    for expected in [
        "50 of 50 payments fulfilled in ",
        "alice -0.125000 XRP, expected -0.125000 XRP",
        "bob   +0.125000 XRP, expected +0.125000 XRP",
        "books in memory",
        "frames in",
        " a second",
    ] {
        assert!(stdout.contains(expected), "{expected} in\n{stdout}");
    }
    assert!(stdout.ends_with("\nthe books are right\n"), "{stdout}");
    assert!(!stdout.contains("WRONG"), "{stdout}");
}

#[tokio::test]
async fn the_demo_can_go_by_time() {
    let (code, stdout, stderr) = run(&["--demo", "--for", "300ms", "--in-flight", "4"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("for 300 ms, 4 payments in flight at once") && stdout.ends_with("the books are right\n"), "{stdout}");
}

#[tokio::test]
async fn the_demo_stops_paying_when_told_to_and_still_looks_at_the_books() {
    let mut child = command().args(["--demo", "--for", "1h"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    line_with(&mut stderr, " payments  ").await;
    kill(&child, "-INT").await;
    line_with(&mut stderr, "Ctrl-C: waiting for payments in flight").await;
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("(stopped by Ctrl-C)") && stdout.ends_with("the books are right\n"), "{stdout}");
}

/// The command at work, between alice, who dials it over TLS, and bob, whom it dials.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    alice: Arc<Connector>,
    _bob: Connector,
    /// Says when a payment has come to bob …
    arrived: mpsc::UnboundedReceiver<()>,
    /// … who takes as many as there are permits.
    takes: Arc<Semaphore>,
    _folder: Folder,
}

const SECRET: [u8; 32] = [7; 32];

#[derive(Debug)]
struct Bob {
    arrived: mpsc::UnboundedSender<()>,
    takes: Arc<Semaphore>,
}

#[async_trait]
impl Receiver for Bob {
    async fn receive(&self, _: IncomingPayment) -> Result<Fulfillment, Rejection> {
        self.arrived.send(()).unwrap();
        self.takes.acquire().await.unwrap().forget();
        Ok(Fulfillment::new(SECRET))
    }
}

fn peer_account(name: &str) -> AccountConfig {
    let mut account = AccountConfig::new(AccountId::new(1, name).unwrap(), Asset::new("XRP", 6));
    account.credit_limit = 1_000_000;
    account.routes.push("test".parse().unwrap());
    account
}

impl Running {
    async fn start(name: &str, arguments: &[&str]) -> Self {
        let folder = Folder::new(name);
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = certificate.cert.pem();
        folder.write("cert.pem", &pem);
        folder.write("key.pem", &certificate.signing_key.serialize_pem());
        folder.write("alice.token", "a token of alice's, in a file\n");
        let tls = TlsServerConfig::from_pem(pem.as_bytes(), certificate.signing_key.serialize_pem().as_bytes()).unwrap();
        let trust = TlsClientConfig::trusting_certificate_pem(pem.as_bytes()).unwrap();

        let (sender, arrived) = mpsc::unbounded_channel();
        let takes = Arc::new(Semaphore::new(0));
        let listener = ClpListener::bind("test.bob".parse().unwrap(), "wss://127.0.0.1:0", Some(tls)).await.unwrap();
        let bobs_url = listener.url();
        let tokens = Tokens::new();
        let ann = peer_account("ann");
        tokens.insert(b"ann", ann.id.clone(), PeerProtocol::ClpSeed, b"a token of bob's, in a variable");
        let bob = Connector::builder("test.bob").account(ann).authenticator(Arc::new(tokens)).endpoint(listener);
        let bob = bob.receiver(Bob { arrived: sender, takes: takes.clone() }).start().await.unwrap();

        let file = folder.write(
            "ann.toml",
            &format!(
                "address = \"test.ann\"\n[[listen]]\nurl = \"wss://127.0.0.1:0\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
                 [[account]]\nname = \"alice\"\nasset = \"XRP\"\nscale = 6\ncredit_limit = \"1000000\"\ntoken = {{ file = \"alice.token\" }}\n\
                 [[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\ntoken = {{ env = \"BOB_TOKEN\" }}\nprotocol = \"clp-seed\"\n\
                 url = \"{bobs_url}\"\nca = \"cert.pem\"\nroutes = [\"test.bob\"]\n"
            ),
        );
        let mut command = command();
        command.arg(file).args(arguments).env("BOB_TOKEN", "a token of bob's, in a variable");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = line_with(&mut stderr, "listening on ").await;
        let url = listening.rsplit(' ').next().unwrap().parse().unwrap();
        line_with(&mut stderr, "account bob is connected").await;

        let (sender, mut notices) = mpsc::unbounded_channel();
        let ann = peer_account("ann");
        let own: Address = "test.alice".parse().unwrap();
        let dialler = ClpDialler::new(own, ann.id.clone(), PeerProtocol::Clp, url, "alice", b"a token of alice's, in a file", trust);
        let alice = Connector::builder("test.alice").account(ann).endpoint(dialler);
        let alice = alice.on_notice(move |notice| drop(sender.send(notice))).start().await.unwrap();
        let opened = timeout(PATIENCE, notices.recv()).await.unwrap();
        assert!(matches!(opened, Some(Notice::Opened { .. })), "{opened:?}");
        let connected = timeout(PATIENCE, notices.recv()).await.unwrap();
        assert!(matches!(connected, Some(Notice::Connected { .. })), "{connected:?}");
        Self { child, stderr, alice: Arc::new(alice), _bob: bob, arrived, takes, _folder: folder }
    }

    /// Alice pays bob; returns when bob has the payment and thinks about it.
    async fn pay(&mut self) -> JoinHandle<Result<Fulfillment, PayError>> {
        let alice = self.alice.clone();
        let payment = tokio::spawn(async move {
            let condition = Fulfillment::new(SECRET).condition();
            let expires_at = alice.now().saturating_add_millis(PATIENCE.as_millis().try_into().unwrap());
            alice.pay(&"test.bob.hi".parse().unwrap(), Amount::new(700), condition, expires_at).await
        });
        timeout(PATIENCE, self.arrived.recv()).await.unwrap().unwrap();
        payment
    }

    async fn signal(&self, name: &str) {
        kill(&self.child, name).await;
    }

    async fn line_with(&mut self, part: &str) -> String {
        line_with(&mut self.stderr, part).await
    }

    /// Waits for the end; gives the exit code and what was written to stdout.
    async fn end(self) -> (i32, String) {
        let output = timeout(PATIENCE, self.child.wait_with_output()).await.unwrap().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

#[tokio::test]
async fn a_configured_connector_forwards_payments_until_told_to_stop() {
    for (signal, name) in [("-INT", "Ctrl-C"), ("-TERM", "SIGTERM")] {
        let mut running = Running::start(&format!("idle{signal}"), &[]).await;
        running.takes.add_permits(1);
        let payment = running.pay().await;
        assert_eq!(payment.await.unwrap(), Ok(Fulfillment::new(SECRET)));
        running.signal(signal).await;
        running.line_with(&format!("{name}: stopping; waiting up to 10.0 s for payments in flight, once more stops at once")).await;
        running.line_with("stopped; nothing was left in flight").await;
        let (code, stdout) = running.end().await;
        assert_eq!(code, 0);
        let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(rows.contains(&vec!["alice", "-0.000700", "XRP", "0.000000", "XRP"]), "{stdout}");
        assert!(rows.contains(&vec!["bob", "0.000700", "XRP", "0.000000", "XRP"]), "{stdout}");
    }
}

#[tokio::test]
async fn a_payment_in_flight_is_waited_for() {
    let mut running = Running::start("drain", &["--drain", "60s"]).await;
    let payment = running.pay().await;
    running.signal("-INT").await;
    running.line_with("Ctrl-C: stopping; waiting up to 1 min 00 s").await;
    running.takes.add_permits(1);
    assert_eq!(payment.await.unwrap(), Ok(Fulfillment::new(SECRET)));
    running.line_with("stopped; nothing was left in flight").await;
    let (code, stdout) = running.end().await;
    assert_eq!(code, 0);
    assert!(stdout.contains("-0.000700 XRP"), "{stdout}");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut running = Running::start("twice", &["--drain", "60s"]).await;
    let payment = running.pay().await;
    running.signal("-INT").await;
    running.line_with("once more stops at once").await;
    running.signal("-INT").await;
    running.line_with("Ctrl-C again: stopped at once").await;
    assert_eq!(running.end().await.0, 130);
    payment.abort();
}

#[tokio::test]
async fn after_the_deadline_it_stops_with_payments_in_flight_and_says_so() {
    let mut running = Running::start("deadline", &["--drain", "1ms"]).await;
    let payment = running.pay().await;
    running.signal("-INT").await;
    running.line_with("stopped with 1 payment in flight").await;
    let (code, stdout) = running.end().await;
    assert_eq!(code, 1);
    assert!(stdout.contains("0.000700 XRP"), "{stdout}");
    payment.abort();
}

async fn kill(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
}

async fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, part: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(line))) if line.contains(part) => return line,
            Ok(Ok(Some(line))) => seen.push(line),
            other => panic!("no line with {part:?} but {other:?} after {seen:#?}"),
        }
    }
}
