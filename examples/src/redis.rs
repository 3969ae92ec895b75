//! A Redis server of a program's own: to be measured, and to be killed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server on 127.0.0.1 that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    dir: PathBuf,
    fsync: &'static str,
}

/// What it has done since it was started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RedisFigures {
    /// Commands, those inside scripts included.
    pub(crate) commands: u64,
    pub(crate) cpu: Duration,
    /// Bytes of its log of commands.
    pub(crate) aof_bytes: u64,
}

impl RedisServer {
    /// Starts one with its files in a directory, and waits until it answers. `fsync`: when it syncs, in its own words.
    ///
    /// # Errors
    /// There is no such program, or it doesn't start.
    pub(crate) fn start(dir: &Path, fsync: &'static str) -> io::Result<Self> {
        for _ in 0..PORT_TRIES {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut server = Self { child: spawn(dir, port, fsync)?, port, dir: dir.to_owned(), fsync };
            if server.is_ready()? {
                return Ok(server);
            }
        }
        Err(io::Error::other("redis-server ends at once: see whether it can write to its directory"))
    }

    /// For the store.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `SIGKILL`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again with what is in its directory, and waits until it answers.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        self.child = spawn(&self.dir, self.port, self.fsync)?;
        if self.is_ready()? { Ok(()) } else { Err(io::Error::other("redis-server doesn't start again")) }
    }

    /// What it has done.
    ///
    /// # Errors
    /// It doesn't answer.
    pub(crate) fn figures(&self) -> io::Result<RedisFigures> {
        let number = |info: &BTreeMap<String, String>, key: &str| info.get(key).and_then(|value| value.parse::<f64>().ok());
        let (stats, cpu, persistence) = (self.info("commandstats")?, self.info("cpu")?, self.info("persistence")?);
        // `cmdstat_hset:calls=5,usec=…`. Its own questions aren't the store's.
        let calls = |(name, value): (&String, &String)| {
            let calls = value.split(',').find_map(|part| part.strip_prefix("calls="))?;
            (!matches!(name.as_str(), "cmdstat_info" | "cmdstat_ping")).then(|| calls.parse::<u64>().ok())?
        };
        let seconds = ["used_cpu_sys", "used_cpu_user"].iter().filter_map(|key| number(&cpu, key)).sum::<f64>();
        Ok(RedisFigures {
            commands: stats.iter().filter_map(calls).sum(),
            cpu: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            aof_bytes: persistence.get("aof_current_size").and_then(|size| size.parse().ok()).unwrap_or_default(),
        })
    }

    fn info(&self, section: &str) -> io::Result<BTreeMap<String, String>> {
        let lines = self.ask(&format!("INFO {section}"))?;
        Ok(lines.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
    }

    /// Asks by a connection of its own; an answer of one line, or a text.
    fn ask(&self, words: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{words}\r\n").as_bytes())?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.strip_prefix('$').and_then(|length| length.trim().parse().ok()) {
            Some(length) => {
                let mut text = String::new();
                stream.take(length).read_to_string(&mut text)?;
                Ok(text)
            }
            None => Ok(line),
        }
    }

    /// `false` if it has ended, because somebody else has the port.
    fn is_ready(&mut self) -> io::Result<bool> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if self.ask("PING").is_ok_and(|answer| answer.starts_with("+PONG")) {
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "redis-server isn't ready in time"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(dir: &Path, port: u16, fsync: &str) -> io::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", fsync]);
    command.arg("--dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("redis-server can't be run ({error}): apt-get install redis-server")))
}

const PORT_TRIES: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);
