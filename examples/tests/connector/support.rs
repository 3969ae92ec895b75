//! What the tests share: the command, folders, and a connector at work between two peers.

use async_trait::async_trait;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice, PayError};
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Receiver, Rejection, Tokens};
use ilp_oer::{Address, Amount, Fulfillment};
use ilp_plugins::clp::{ClpDialler, ClpListener, TlsClientConfig, TlsServerConfig};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector"));
    command.kill_on_drop(true).env_remove("ALICE_TOKEN").env_remove("BOB_TOKEN");
    // Nothing is ever left where this user's programs keep what shall last.
    command.env_remove("XDG_STATE_HOME").env_remove("HOME");
    command
}

pub(super) async fn run(arguments: &[&str]) -> (i32, String, String) {
    finished(command().args(arguments)).await
}

pub(super) async fn finished(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A folder of its own for one test; removed at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("connector-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// The path of something in it.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn write(&self, name: &str, contents: &str) -> String {
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

/// The command at work, between alice, who dials it over TLS, and bob, whom it dials.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) stderr: Lines<BufReader<ChildStderr>>,
    pub(super) alice: Arc<Connector>,
    alice_hears: mpsc::UnboundedReceiver<Notice>,
    _bob: Connector,
    /// Says when a payment has come to bob …
    pub(super) arrived: mpsc::UnboundedReceiver<()>,
    /// … who takes as many as there are permits.
    pub(super) takes: Arc<Semaphore>,
    /// The configuration.
    pub(super) file: String,
    pub(super) folder: Folder,
}

pub(super) const SECRET: [u8; 32] = [7; 32];

/// What a payment of these tests is worth.
pub(super) const AMOUNT: u64 = 700;

#[derive(Debug)]
struct Bob {
    arrived: mpsc::UnboundedSender<()>,
    takes: Arc<Semaphore>,
}

#[async_trait]
impl Receiver for Bob {
    async fn receive(&self, _: IncomingPayment) -> Result<Fulfillment, Rejection> {
        // Nobody may listen any more.
        let _ = self.arrived.send(());
        self.takes.acquire().await.unwrap().forget();
        Ok(Fulfillment::new(SECRET))
    }
}

fn peer_account(name: &str) -> AccountConfig {
    let mut account = AccountConfig::new(AccountId::new(1, name).unwrap(), Asset::new("XRP", 6));
    account.credit_limit = 1_000_000_000;
    account.routes.push("test".parse().unwrap());
    account
}

impl Running {
    pub(super) async fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(Folder::new(name), "", arguments).await
    }

    /// With more in its configuration, such as `[store]`.
    pub(super) async fn start_with(folder: Folder, more: &str, arguments: &[&str]) -> Self {
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

        // One that it finds again when it is started again.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.write(
            "ann.toml",
            &format!(
                "address = \"test.ann\"\n{more}\n[[listen]]\nurl = \"wss://127.0.0.1:{port}\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
                 [[account]]\nname = \"alice\"\nasset = \"XRP\"\nscale = 6\ncredit_limit = \"1000000000\"\n\
                 token = {{ file = \"alice.token\" }}\n\
                 [[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\ntoken = {{ env = \"BOB_TOKEN\" }}\nprotocol = \"clp-seed\"\n\
                 url = \"{bobs_url}\"\nca = \"cert.pem\"\nroutes = [\"test.bob\"]\n"
            ),
        );
        let (child, stderr) = spawn(&file, arguments);
        let (sender, alice_hears) = mpsc::unbounded_channel();
        let ann = peer_account("ann");
        let own: Address = "test.alice".parse().unwrap();
        let url = format!("wss://127.0.0.1:{port}").parse().unwrap();
        let dialler = ClpDialler::new(own, ann.id.clone(), PeerProtocol::Clp, url, "alice", b"a token of alice's, in a file", trust);
        let mut running = {
            let alice = Connector::builder("test.alice").account(ann);
            let alice = alice.on_notice(move |notice| drop(sender.send(notice))).start().await.unwrap();
            Self { child, stderr, alice: Arc::new(alice), alice_hears, _bob: bob, arrived, takes, file, folder }
        };
        running.line_with("account bob is connected").await;
        Arc::get_mut(&mut running.alice).unwrap().add_endpoint(dialler);
        running.alice_connected().await;
        running
    }

    /// Starts the command again, after it has ended.
    pub(super) async fn start_again(&mut self) {
        (self.child, self.stderr) = spawn(&self.file, &[]);
    }

    /// Returns when both peers are there again.
    pub(super) async fn connected_again(&mut self) {
        self.line_with("account bob is connected").await;
        self.alice_connected().await;
    }

    async fn alice_connected(&mut self) {
        while !matches!(timeout(PATIENCE, self.alice_hears.recv()).await.unwrap(), Some(Notice::Connected { .. })) {}
    }

    /// Alice pays bob; returns when bob has the payment and thinks about it.
    pub(super) async fn pay(&mut self) -> JoinHandle<Result<Fulfillment, PayError>> {
        while self.arrived.try_recv().is_ok() {}
        let payment = self.begin_to_pay();
        timeout(PATIENCE, self.arrived.recv()).await.unwrap().unwrap();
        payment
    }

    /// Alice pays bob.
    pub(super) fn begin_to_pay(&self) -> JoinHandle<Result<Fulfillment, PayError>> {
        let alice = self.alice.clone();
        tokio::spawn(async move {
            let condition = Fulfillment::new(SECRET).condition();
            let expires_at = alice.now().saturating_add_millis(PATIENCE.as_millis().try_into().unwrap());
            alice.pay(&"test.bob.hi".parse().unwrap(), Amount::new(AMOUNT), condition, expires_at).await
        })
    }

    /// Runs a command of the running connector's, such as `status`, on its configuration.
    pub(super) async fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&[arguments, &["--config", &self.file]].concat()).await
    }

    /// What `audit --json` says.
    pub(super) async fn audit(&self) -> serde_json::Value {
        let (code, stdout, stderr) = self.ask(&["audit", "--json"]).await;
        assert_eq!(code, 0, "{stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(super) async fn signal(&self, name: &str) {
        kill(&self.child, name).await;
    }

    pub(super) async fn line_with(&mut self, part: &str) -> String {
        line_with(&mut self.stderr, part).await
    }

    /// Stops it with SIGTERM; gives the exit code.
    pub(super) async fn stop(&mut self) -> i32 {
        self.signal("-TERM").await;
        let status = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        status.code().unwrap()
    }

    /// Waits for the end; gives the exit code and what was written to stdout.
    pub(super) async fn end(self) -> (i32, String) {
        let output = timeout(PATIENCE, self.child.wait_with_output()).await.unwrap().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

pub(super) async fn kill(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
}

pub(super) async fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, part: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(line))) if line.contains(part) => return line,
            Ok(Ok(Some(line))) => seen.push(line),
            other => panic!("no line with {part:?} but {other:?} after {seen:#?}"),
        }
    }
}

fn spawn(file: &str, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut command = command();
    command.arg(file).args(arguments).env("BOB_TOKEN", "a token of bob's, in a variable");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, stderr)
}

/// The balance of an account in an audit.
pub(super) fn balance(audit: &serde_json::Value, name: &str) -> i128 {
    let account = audit["accounts"].as_array().unwrap().iter().find(|account| account["name"] == name).unwrap();
    account["balance"].as_str().unwrap().parse().unwrap()
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The command as another user runs it: as nobody if the tests run as root, else as the tests' own user.
pub(super) struct Stranger {
    /// One that everybody can enter; removed at the end.
    pub(super) folder: PathBuf,
}

/// Nobody's number everywhere.
const NOBODY: u32 = 65_534;

impl Stranger {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("connector-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        set_mode(&folder, 0o755);
        // Where the tests' binaries are, nobody may not come.
        std::fs::copy(env!("CARGO_BIN_EXE_connector"), folder.join("connector")).unwrap();
        set_mode(&folder.join("connector"), 0o755);
        Self { folder }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.folder.join("connector"));
        command.kill_on_drop(true).env_remove("XDG_STATE_HOME").env_remove("HOME").current_dir(&self.folder);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
