//! Servers of a test's own, and short ways to say things.

use bytes::Bytes;
use ilp_core::AccountId;
use ilp_core::store::{AccountSetup, BalanceStore, Commit, CommitOutcome, Lease, Move, MoveChange, MoveOutcome, OpenedSlot, SlotName};
use ilp_store_redis::{RedisConfig, RedisStore};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For what must happen, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A directory of its own for a test, removed at the end.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

static COUNT: AtomicU64 = AtomicU64::new(0);

impl Dir {
    pub(crate) fn new() -> Self {
        let no = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{}-{no}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server, killed at the end.
#[derive(Debug)]
pub(crate) struct Server {
    program: &'static str,
    child: Child,
    port: u16,
    dir: Dir,
    args: Vec<String>,
}

/// What a server needs for `Required::Disk`.
pub(crate) const DISK: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

impl Server {
    /// A server with these settings, ready to be asked.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_program("redis-server", args, |_| {})
    }

    /// A replica that follows at once.
    pub(crate) fn replica_of(master: &Self, args: &[&str]) -> Self {
        let port = master.port.to_string();
        let mut all = vec!["--replicaof", "127.0.0.1", &port];
        all.extend_from_slice(args);
        Self::start(&all)
    }

    /// A Sentinel that watches a master by the name `main`, and soon calls it dead.
    pub(crate) fn sentinel_of(master: &Self) -> Self {
        let config = format!(
            "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 6000\n",
            master.port
        );
        Self::start_program("redis-sentinel", &[], |dir| std::fs::write(dir.join("sentinel.conf"), &config).unwrap())
    }

    fn start_program(program: &'static str, args: &[&str], prepare: impl Fn(&Path)) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..20 {
            let (dir, port) = (Dir::new(), free_port());
            prepare(dir.path());
            let child = spawn(program, dir.path(), port, &args);
            let mut server = Self { program, child, port, dir, args: args.clone() };
            // Somebody may have taken the port meanwhile.
            if server.is_ready() {
                return server;
            }
        }
        panic!("{program} doesn't start");
    }

    /// Waits until it answers; `false` if it has ended instead.
    fn is_ready(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.answers() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} on port {} isn't ready after {PATIENCE:?}", self.program, self.port);
    }

    fn answers(&self) -> bool {
        if TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            return false;
        }
        match self.try_ask(&["INFO", "SERVER"]) {
            Ok(redis::Value::BulkString(info)) => {
                let info = String::from_utf8(info).unwrap();
                info.lines().any(|line| line == format!("process_id:{}", self.child.id()))
                    && self.try_ask(&["DBSIZE"]).map_or_else(|error| !error.to_string().contains("loading"), |_| true)
            }
            Ok(_) => false,
            // It wants a password, or something else that a test is about.
            Err(error) => !error.is_io_error() && !error.to_string().contains("oading"),
        }
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::new(&self.url()).unwrap()
    }

    pub(crate) async fn store(&self) -> RedisStore {
        RedisStore::connect(self.config()).await.unwrap()
    }

    /// Asks by a connection of its own. Waits while the server loads what its master has sent, which a replica may do at any time.
    pub(crate) fn ask(&self, words: &[&str]) -> redis::Value {
        let began = Instant::now();
        loop {
            match self.try_ask(words) {
                Ok(value) => return value,
                Err(error) if error.to_string().contains("oading") && began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                Err(error) => panic!("{words:?}: {error}"),
            }
        }
    }

    pub(crate) fn try_ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut cmd = redis::Cmd::new();
        cmd.arg(words).query(&mut connection)
    }

    /// What is answered, as text.
    pub(crate) fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.ask(words)).unwrap()
    }

    /// A line of INFO; nothing if there is none.
    pub(crate) fn info(&self, name: &str) -> String {
        let info = self.text(&["INFO", "EVERYTHING"]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// `SIGKILL`: without a last word to anybody.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again what was killed, with what is in its directory.
    pub(crate) fn start_again(&mut self) {
        let began = Instant::now();
        loop {
            self.child = spawn(self.program, self.dir.path(), self.port, &self.args);
            if self.is_ready() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{} doesn't start again on port {}", self.program, self.port);
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// It does nothing any more, until it may go on.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, dir: &Path, port: u16, args: &[String]) -> Child {
    let mut command = Command::new(program);
    if program == "redis-sentinel" {
        command.arg(dir.join("sentinel.conf"));
    }
    let port = port.to_string();
    command.args(["--bind", "127.0.0.1", "--port", &port, "--daemonize", "no", "--logfile", "log", "--dir"]).arg(dir);
    if program == "redis-server" {
        command.args(["--save", "", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "disabled"]);
    }
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("{program} can't be started ({error}): these tests need it. On Debian: apt-get install redis-server redis-sentinel")
    })
}

/// One that nobody has now. Not of those that the system gives to whoever connects somewhere.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id().wrapping_mul(37) % 10_000).unwrap();
    for _ in 0..10_000 {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("there is no free port");
}

/// Asks over and over until it is so.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, is: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = is().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "still not after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A store, as soon as the server is what it should be.
pub(crate) async fn connected(config: RedisConfig) -> RedisStore {
    let began = Instant::now();
    loop {
        match RedisStore::connect(config.clone()).await {
            Ok(store) => return store,
            Err(error) => assert!(began.elapsed() < PATIENCE, "still not after {PATIENCE:?}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn lease() -> Lease {
    Lease { holder: "test".into(), address: None, ms: 3_600_000 }
}

pub(crate) fn slot(name: &str) -> SlotName {
    name.into()
}

pub(crate) fn id(name: &str) -> AccountId {
    AccountId::new(1, name).unwrap()
}

pub(crate) fn batch(slot: &str, epoch: u64, seq: u64) -> Commit {
    let blob = Bytes::from(format!("batch {seq} of {slot}"));
    Commit { slot: slot.into(), epoch, seq, blob, balances: Vec::new(), cut_below: None, mail_read: None }
}

pub(crate) fn setup(name: &str, credit_limit: u64) -> AccountSetup {
    AccountSetup { id: id(name), slots: vec![1, 2], key: [7; 16], credit_limit }
}

pub(crate) fn move_of(name: &str, slot: u16, n: u64, change: MoveChange) -> Move {
    Move { account: id(name), slot, n, change }
}

pub(crate) async fn open(store: &RedisStore, name: &str) -> OpenedSlot {
    store.open(&slot(name), &lease()).await.unwrap()
}

pub(crate) async fn durable(store: &RedisStore, batch: Commit) {
    assert_eq!(store.commit(batch).await, CommitOutcome::Durable);
}

/// Commits until the outcome is known, as a worker does.
pub(crate) async fn commit(store: &RedisStore, batch: &Commit) -> CommitOutcome {
    until("the outcome of a commit is known", || async {
        match store.commit(batch.clone()).await {
            CommitOutcome::Unknown { .. } => None,
            outcome => Some(outcome),
        }
    })
    .await
}

/// Moves until the outcome is known.
pub(crate) async fn moved(store: &RedisStore, request: &Move) -> MoveOutcome {
    until("the outcome of a move is known", || async {
        match store.make_move(request).await {
            MoveOutcome::Unknown { .. } => None,
            outcome => Some(outcome),
        }
    })
    .await
}

/// Why an outcome isn't known.
pub(crate) fn unknown(outcome: CommitOutcome) -> String {
    match outcome {
        CommitOutcome::Unknown { cause } => cause,
        other => panic!("{other:?} should be unknown"),
    }
}
