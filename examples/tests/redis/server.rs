//! A Redis server, connectors on it, and their peers.

use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice, PayError};
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Receiver, Rejection};
use ilp_oer::{Amount, Fulfillment};
use ilp_plugins::clp::{ClpDialler, TlsClientConfig};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Nothing here takes longer, however busy the machine is.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that nobody else may enter; removed at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self(folder)
    }

    pub(super) fn write(&self, name: &str, contents: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that is stopped at the end, whatever happens.
pub(super) struct Program(pub(super) Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that writes everything down before it answers.
pub(super) struct Redis {
    program: Program,
    pub(super) port: u16,
}

impl Redis {
    pub(super) fn start(folder: &Folder) -> Self {
        for _ in 0..20 {
            let port = free_port();
            let mut redis = Self { program: Program(spawn(folder, port)), port };
            if redis.is_ready() {
                return redis;
            }
        }
        panic!("redis-server doesn't start");
    }

    /// Waits until it answers; `false` if it has ended, because somebody else has the port.
    fn is_ready(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.program.0.try_wait().unwrap().is_some() {
                return false;
            }
            if self.ask(&["PING"]).trim() == "PONG" {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server on port {} isn't ready after {PATIENCE:?}", self.port);
    }

    pub(super) fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn kill(&mut self) {
        self.program.0.kill().unwrap();
        self.program.0.wait().unwrap();
    }

    /// Starts it again, with what is in its folder.
    pub(super) fn start_again(&mut self, folder: &Folder) {
        self.program = Program(spawn(folder, self.port));
        assert!(self.is_ready(), "it ends");
    }
}

fn spawn(folder: &Folder, port: u16) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", folder.0.to_str().unwrap()]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("redis-server can't be started ({error}): apt-get install redis-server"))
}

pub(super) fn connector(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector"));
    command.args(arguments).env_remove("XDG_STATE_HOME").env_remove("HOME").stdin(Stdio::null());
    command
}

pub(super) fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = connector(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A connector of several that share their books.
pub(super) struct Process {
    pub(super) program: Program,
    pub(super) config: String,
    pub(super) url: String,
    log: PathBuf,
}

impl Process {
    /// Its slots are two of four: those from `2 × number`.
    pub(super) fn start(folder: &Folder, redis: &Redis, number: u16) -> Self {
        for (name, contents) in
            [("secret", "a secret that all processes share, of 32 bytes and more"), ("token", "a token of both accounts")]
        {
            folder.write(name, contents);
        }
        let (port, listen) = (free_port(), free_port());
        let slots = [2 * number, 2 * number + 1];
        let accounts: String = [("alice", "100000"), ("bob", "0")]
            .map(|(name, limit)| {
                format!(
                    "[[account]]\nname = \"{name}\"\nasset = \"XRP\"\nscale = 6\nparallelism = 4\ncredit_limit = \"{limit}\"\ntoken = {{ file = \"token\" }}\n"
                )
            })
            .concat();
        let config = folder.write(
            &format!("process-{number}.toml"),
            &format!(
                "address = \"test.ann\"\nworkers = 4\n[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:{}\"\nprefix = \"ann:\"\n\
                 [process]\nslots = {slots:?}\nlisten = \"127.0.0.1:{listen}\"\nsecret = {{ file = \"secret\" }}\nlease_ms = 3000\ninherits_after_ms = 60000\n\
                 [admin]\nsocket = \"process-{number}.sock\"\n[[listen]]\nurl = \"ws://127.0.0.1:{port}\"\nparallelism = 4\n{accounts}",
                redis.port
            ),
        );
        Self::start_from(folder, config, format!("ws://127.0.0.1:{port}"), &format!("process-{number}.log"))
    }

    pub(super) fn start_from(folder: &Folder, config: String, url: String, log: &str) -> Self {
        let log = folder.0.join(log);
        let file = std::fs::File::create(&log).unwrap();
        let program = Program(connector(&[&config]).stdout(Stdio::null()).stderr(file).spawn().unwrap());
        Self { program, config, url, log }
    }

    pub(super) async fn says(&self, what: &str) {
        let began = Instant::now();
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap();
            if log.contains(what) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what:?} isn't said:\n{log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.program.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Stops it in good order; gives the exit code.
    pub(super) fn stop(mut self) -> i32 {
        self.signal("-TERM");
        self.program.0.wait().unwrap().code().unwrap()
    }

    /// What a command says about it, or its books.
    pub(super) fn json(&self, command: &str) -> serde_json::Value {
        let (code, stdout, stderr) = run(&[command, "--json", "--config", &self.config]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// The balance of an account, when nothing is in flight any more and the books are right.
    pub(super) async fn balance_at_rest(&self, name: &str) -> i128 {
        let began = Instant::now();
        loop {
            let in_flight = self.json("hotset")["transfers"].as_array().unwrap().len();
            let (audit, balances) = (self.json("audit"), self.json("balances"));
            let of = |report: &serde_json::Value| -> i128 {
                let account = report["accounts"].as_array().unwrap().iter().find(|account| account["name"] == name).unwrap();
                account["balance"].as_str().unwrap().parse().unwrap()
            };
            assert_eq!(audit["right"], true, "{audit}");
            if in_flight == 0 && of(&audit) == of(&balances) {
                return of(&audit);
            }
            assert!(began.elapsed() < PATIENCE, "it doesn't come to rest: {audit} {balances}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const SECRET: [u8; 32] = [7; 32];

/// Somebody with an account at the connectors.
pub(super) struct Peer {
    pub(super) connector: Connector,
    name: &'static str,
    hears: mpsc::UnboundedReceiver<Notice>,
}

#[derive(Debug)]
struct Takes;

#[async_trait::async_trait]
impl Receiver for Takes {
    async fn receive(&self, _: IncomingPayment) -> Result<Fulfillment, Rejection> {
        Ok(Fulfillment::new(SECRET))
    }
}

impl Peer {
    pub(super) async fn new(name: &'static str) -> Self {
        let mut ann = AccountConfig::new(AccountId::new(1, "ann").unwrap(), Asset::new("XRP", 6));
        ann.credit_limit = 1_000_000_000;
        ann.routes.push("test.ann".parse().unwrap());
        let (sender, hears) = mpsc::unbounded_channel();
        let builder = Connector::builder(&format!("test.ann.{name}")).account(ann).receiver(Takes);
        let connector = builder.on_notice(move |notice| drop(sender.send(notice))).start().await.unwrap();
        Self { connector, name, hears }
    }

    /// Returns when it has a connection.
    pub(super) async fn dial(&mut self, url: &str) {
        while self.hears.try_recv().is_ok() {}
        let ann = AccountId::new(1, "ann").unwrap();
        let own = format!("test.ann.{}", self.name).parse().unwrap();
        let tls = TlsClientConfig::public_roots().unwrap();
        let dialler = ClpDialler::new(own, ann, PeerProtocol::Clp, url.parse().unwrap(), self.name, b"a token of both accounts", tls);
        self.connector.add_endpoint(dialler);
        let connected = async { while !matches!(self.hears.recv().await, Some(Notice::Connected { .. })) {} };
        tokio::time::timeout(PATIENCE, connected).await.unwrap();
    }

    pub(super) async fn pay(&self, to: &str, amount: u64, patience: Duration) -> Result<Fulfillment, PayError> {
        let expires_at = self.connector.now().saturating_add_millis(i64::try_from(patience.as_millis()).unwrap());
        let condition = Fulfillment::new(SECRET).condition();
        self.connector.pay(&format!("test.ann.{to}.hi").parse().unwrap(), Amount::new(amount), condition, expires_at).await
    }
}

/// Pays until it succeeds: who has dialled is known to all workers only a moment later.
pub(super) async fn pay_until_paid(from: &Peer, to: &str, amount: u64) {
    let began = Instant::now();
    while let Err(error) = from.pay(to, amount, Duration::from_secs(8)).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
