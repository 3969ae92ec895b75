//! One connection for all, made anew when it fails.

use crate::barrier::Barrier;
use crate::config::{RedisConfig, Required};
use crate::error::{ACCEPT, RedisError};
use crate::keys::Keys;
use crate::metrics::{Counters, count};
use crate::schema::{self, Found};
use crate::scripts::{Lua, Scripts};
use crate::server::Server;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// Makes connections, one at a time, for whoever asks; nothing runs in the background.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<RedisConfig>,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) counters: Counters,
    /// Where the client's own tasks run: they must outlive whoever happens to ask.
    runtime: Handle,
    state: Mutex<State>,
    /// Which books they are.
    books: String,
    serial: AtomicU64,
}

#[derive(Debug)]
enum State {
    Up(Arc<Live>),
    Down {
        cause: RedisError,
        /// From when on it is tried again.
        again: Instant,
        /// How long after that if it fails.
        pause: Duration,
    },
}

/// A connection to a server that promises what is required, and has the right books.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) server: Server,
    barrier: Barrier,
    /// Which connection of the process it is.
    pub(crate) serial: u64,
}

impl Connection {
    /// Connects for the first time, and begins new books if there are none.
    pub(crate) async fn first(config: RedisConfig) -> Result<Self, RedisError> {
        config.check()?;
        let runtime = Handle::try_current().map_err(|_| crate::config::unclear("the store needs a tokio runtime: connect within one"))?;
        let keys = Keys { prefix: config.prefix.clone() };
        let (config, scripts) = (Arc::new(config), Arc::new(Scripts::new()));
        let (server, found) = attempt(config.clone(), keys.clone(), scripts.clone(), true).await?;
        let Found::Books(books) = found else {
            return Err(server.strange("reading the schema", &found));
        };
        let state = Mutex::new(State::Up(Arc::new(Live { server, barrier: Barrier::default(), serial: 0 })));
        let counters = Counters::default();
        count(&counters.connections, 1);
        Ok(Self { config, keys, scripts, counters, runtime, state, books, serial: AtomicU64::new(1) })
    }

    /// The connection; a new one if the last has failed. Takes no longer than making one may take: who comes while that is being
    /// tried waits for it, and who comes soon after it has failed is told why.
    pub(crate) async fn live(&self) -> Result<Arc<Live>, RedisError> {
        let mut state = self.state.lock().await;
        let pause = match &*state {
            State::Up(live) => return Ok(live.clone()),
            State::Down { cause, again, .. } if Instant::now() < *again => return Err(cause.clone()),
            State::Down { pause, .. } => *pause,
        };
        match self.again().await {
            Ok(live) => {
                count(&self.counters.connections, 1);
                *state = State::Up(live.clone());
                Ok(live)
            }
            Err(cause) => {
                let again = Instant::now().checked_add(pause).unwrap_or_else(Instant::now);
                *state = State::Down { cause: cause.clone(), again, pause: pause.saturating_mul(2).min(PAUSE_MAX) };
                Err(cause)
            }
        }
    }

    async fn again(&self) -> Result<Arc<Live>, RedisError> {
        let attempt = attempt(self.config.clone(), self.keys.clone(), self.scripts.clone(), false);
        let (server, found) = match self.runtime.spawn(attempt).await {
            Ok(attempt) => attempt?,
            Err(ended) => {
                let place = self.config.place.to_string();
                return Err(RedisError::Connection { place, source: Arc::new(ended) });
            }
        };
        let what = match found {
            Found::Books(books) if books == self.books => {
                let serial = self.serial.fetch_add(1, Ordering::Relaxed);
                return Ok(Arc::new(Live { server, barrier: Barrier::default(), serial }));
            }
            Found::Books(_) => "it has other books than before",
            Found::Nothing => "it has no books any more",
        };
        Err(RedisError::Lost { place: server.place.clone(), what: what.to_owned(), accept: ACCEPT })
    }

    /// Runs a script; loads it first if the server doesn't know it.
    pub(crate) async fn run(&self, live: &Live, script: &Lua, call: &Cmd) -> Result<Value, RedisError> {
        count(&self.counters.scripts, 1);
        let outcome = run(&live.server, script, call).await;
        self.checked(live, outcome).await
    }

    /// Sends a command.
    pub(crate) async fn send(&self, live: &Live, doing: &'static str, cmd: &Cmd) -> Result<Value, RedisError> {
        let outcome = live.server.send(cmd).await;
        self.checked(live, outcome.map_err(|error| RedisError::of(&live.server.place, doing, live.server.timeout, error))).await
    }

    /// Waits until all that was written, by whomever, is as safe as is required. On a disk it is before it is answered.
    pub(crate) async fn settle(&self, live: &Live) -> Result<(), RedisError> {
        let Required::Replicas(replicas) = self.config.required else { return Ok(()) };
        let key = self.keys.barrier();
        let passed = live.barrier.pass(&live.server, &key, replicas, self.config.replicas_timeout, &self.counters).await;
        self.checked(live, passed).await
    }

    pub(crate) fn required(&self) -> Required {
        self.config.required
    }

    pub(crate) fn lost(&self, live: &Live, what: String) -> RedisError {
        RedisError::Lost { place: live.server.place.clone(), what, accept: ACCEPT }
    }

    pub(crate) fn damaged(&self, live: &Live, key: String, what: &str) -> RedisError {
        RedisError::Damaged { place: live.server.place.clone(), key, what: what.to_owned() }
    }

    /// After some errors nobody uses the connection any more; the next who asks makes another one.
    async fn checked<T>(&self, live: &Live, outcome: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(cause) = &outcome
            && cause.ends_connection()
        {
            let mut state = self.state.lock().await;
            if matches!(&*state, State::Up(current) if current.serial == live.serial) {
                *state = State::Down { cause: cause.clone(), again: Instant::now(), pause: PAUSE_MIN };
            }
        }
        outcome
    }
}

/// Finds a server, looks at it and at whose books it has; in bounded time.
async fn attempt(config: Arc<RedisConfig>, keys: Keys, scripts: Arc<Scripts>, begin: bool) -> Result<(Server, Found), RedisError> {
    let trying = async {
        let server = Server::find(&config).await?;
        // So that commits which are sent at once aren't sent twice, and one after the other.
        server.load(&scripts).await?;
        let found = schema::read(&server, &keys, &scripts, begin).await?;
        Ok((server, found))
    };
    match timeout(config.connect_timeout, trying).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(RedisError::TimedOut { place: config.place.to_string(), doing: "connecting", ms: config.connect_timeout.as_millis() })
        }
    }
}

pub(crate) async fn run(server: &Server, script: &Lua, call: &Cmd) -> Result<Value, RedisError> {
    let wrong = |error| RedisError::of(&server.place, script.name, server.timeout, error);
    match server.send(call).await {
        // It has done nothing. It doesn't know scripts after a restart, a failover, or SCRIPT FLUSH.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            server.send(&script.load()).await.map_err(wrong)?;
            server.send(call).await.map_err(wrong)
        }
        outcome => outcome.map_err(wrong),
    }
}

/// Between attempts to connect; twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
