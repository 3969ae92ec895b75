//! Finding a server, and seeing what it promises.

use crate::config::{Login, Place, RedisConfig, Required, addr_of};
use crate::error::RedisError;
use crate::reply;
use crate::scripts::Scripts;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A connection to a server that promises what is required.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) place: String,
    pub(crate) client: MultiplexedConnection,
    pub(crate) timeout: Duration,
}

impl Server {
    /// Finds the master, connects, and looks at it. The caller limits the time.
    pub(crate) async fn find(config: &RedisConfig) -> Result<Self, RedisError> {
        let addr = match &config.place {
            Place::Server(addr) => addr.clone(),
            Place::Sentinels { at, master, tls } => ask_sentinels(config, at, master, *tls).await?,
        };
        let server = Self::connect(config, addr, &config.login, config.db).await?;
        server.look(config.required).await?;
        Ok(server)
    }

    async fn connect(config: &RedisConfig, addr: ConnectionAddr, login: &Login, db: i64) -> Result<Self, RedisError> {
        let place = addr.to_string();
        let client = client(config, addr, login, db)?;
        // The client repeats nothing by itself: it has no such thing for single connections.
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.response_timeout))
            .set_pipeline_buffer_size(PIPELINE_LEN);
        let connected = client.get_multiplexed_async_connection_with_config(&options).await;
        let client = connected.map_err(|error| RedisError::of(&place, "connecting", config.connect_timeout, error))?;
        Ok(Self { place, client, timeout: config.response_timeout })
    }

    /// Sends one command. Several may be under way at once: they share the connection.
    pub(crate) async fn send(&self, cmd: &Cmd) -> Result<Value, redis::RedisError> {
        self.client.clone().send_packed_command(cmd).await.and_then(Value::extract_error)
    }

    /// Lets the server know the scripts.
    pub(crate) async fn load(&self, scripts: &Scripts) -> Result<(), RedisError> {
        let loaded: Result<(), _> = scripts.load().query_async(&mut self.client.clone()).await;
        loaded.map_err(|error| RedisError::of(&self.place, "SCRIPT LOAD", self.timeout, error))
    }

    async fn ask(&self, doing: &'static str, cmd: &Cmd) -> Result<Value, RedisError> {
        self.send(cmd).await.map_err(|error| RedisError::of(&self.place, doing, self.timeout, error))
    }

    pub(crate) fn strange(&self, doing: &'static str, said: &dyn std::fmt::Debug) -> RedisError {
        let said = format!("{said:?}").chars().take(SHOWN_MAX).collect();
        RedisError::Strange { place: self.place.clone(), doing, said }
    }

    /// Whether it is what it should be, and promises what is required.
    async fn look(&self, required: Required) -> Result<(), RedisError> {
        let info = self.info().await?;
        let of = |name: &str| info.get(name).map_or("", String::as_str);
        if of("redis_mode") == "sentinel" {
            return Err(self.unsuitable("is a Sentinel", "a server (or a sentinel:// address with the master's name)"));
        }
        if of("loading") == "1" {
            return Err(RedisError::Loading { place: self.place.clone() });
        }
        let version = of("redis_version");
        if version.split('.').next().and_then(|major| major.parse().ok()).is_none_or(|major: u32| major < VERSION_MIN) {
            return Err(self.unsuitable(&format!("has version {version:?}"), "7.0 or later"));
        }
        if of("redis_mode") == "cluster" {
            return Err(self.unsuitable("is a node of a Redis Cluster", "a server that isn't"));
        }
        let online = self.replicas_online(&info).await?;
        let connected = of("connected_slaves").parse().unwrap_or(0);
        let settings = self.settings().await?;
        self.keeps_everything(&settings)?;
        match required {
            Required::Nothing => Ok(()),
            Required::Disk => self.writes_at_once(&settings),
            Required::Replicas(needed) => {
                self.comes_back_with_its_data(&settings)?;
                self.has_replicas(online, connected, needed)
            }
        }
    }

    async fn info(&self) -> Result<HashMap<String, String>, RedisError> {
        let doing = "INFO";
        let reply = self.ask(doing, &redis::cmd("INFO")).await?;
        let text = reply::text(&reply).ok_or_else(|| self.strange(doing, &reply))?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Ok(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    async fn settings(&self) -> Result<HashMap<String, String>, RedisError> {
        let doing = "CONFIG GET";
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("GET").arg(&["maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite"]);
        let reply = self.ask(doing, &cmd).await?;
        let shown = format!("{reply:?}");
        Ok(reply::pairs(reply).ok_or_else(|| self.strange(doing, &shown))?.into_iter().collect())
    }

    /// It must be a master; says how many replicas follow.
    async fn replicas_online(&self, info: &HashMap<String, String>) -> Result<usize, RedisError> {
        let doing = "ROLE";
        let reply = self.ask(doing, &redis::cmd("ROLE")).await?;
        let shown = format!("{reply:?}");
        let mut role = reply::items(reply).unwrap_or_default().into_iter();
        match role.next().as_ref().and_then(reply::text).as_deref() {
            Some("master") => Ok(role.nth(1).and_then(reply::items).map_or(0, |replicas| replicas.len())),
            Some("slave") => {
                let of = |name: &str| info.get(name).map_or("?", String::as_str);
                let master = format!("{}:{}", of("master_host"), of("master_port"));
                Err(RedisError::Replica { place: self.place.clone(), master })
            }
            _ => Err(self.strange(doing, &shown)),
        }
    }

    fn keeps_everything(&self, settings: &HashMap<String, String>) -> Result<(), RedisError> {
        let why = "or it throws books away when its memory is full";
        self.needs(settings, "maxmemory-policy", "noeviction", why, "CONFIG SET maxmemory-policy noeviction")
    }

    fn writes_at_once(&self, settings: &HashMap<String, String>) -> Result<(), RedisError> {
        let why = "for `disk`";
        self.needs(settings, "appendonly", "yes", why, "CONFIG SET appendonly yes")?;
        self.needs(settings, "appendfsync", "always", why, "CONFIG SET appendfsync always")?;
        let why = "for `disk`, or nothing is synced while the file is rewritten";
        self.needs(settings, "no-appendfsync-on-rewrite", "no", why, "CONFIG SET no-appendfsync-on-rewrite no")
    }

    /// A master that starts again with nothing makes its replicas forget everything too.
    fn comes_back_with_its_data(&self, settings: &HashMap<String, String>) -> Result<(), RedisError> {
        let why = "for `replicas`, or a master that starts again empties its replicas";
        self.needs(settings, "appendonly", "yes", why, "CONFIG SET appendonly yes")
    }

    fn needs(
        &self,
        settings: &HashMap<String, String>,
        setting: &'static str,
        needed: &'static str,
        why: &'static str,
        command: &'static str,
    ) -> Result<(), RedisError> {
        match settings.get(setting).map_or("(unknown)", String::as_str) {
            found if found == needed => Ok(()),
            found => Err(RedisError::Setting { place: self.place.clone(), setting, found: found.to_owned(), needed, why, command }),
        }
    }

    fn has_replicas(&self, online: usize, connected: usize, needed: u8) -> Result<(), RedisError> {
        let wrong = |found, help| Err(RedisError::Replicas { place: self.place.clone(), found, needed, help });
        if online < usize::from(needed) {
            return wrong(online, "Start the others, and wait until they have caught up (INFO replication)");
        }
        if connected > usize::from(needed) {
            return wrong(connected, "One that needn't have a batch could be made the master: require as many as there are");
        }
        Ok(())
    }

    fn unsuitable(&self, found: &str, needed: &'static str) -> RedisError {
        RedisError::Unsuitable { place: self.place.clone(), found: found.to_owned(), needed }
    }
}

/// The first Sentinel that knows says where the master is.
async fn ask_sentinels(config: &RedisConfig, at: &[(String, u16)], master: &str, tls: bool) -> Result<ConnectionAddr, RedisError> {
    let doing = "SENTINEL GET-MASTER-ADDR-BY-NAME";
    let mut tried = Vec::new();
    // One that is silent leaves time for the others, and for the master.
    let share = config.connect_timeout.checked_div(u32::try_from(at.len()).unwrap_or(u32::MAX).saturating_add(1)).unwrap_or_default();
    let config = RedisConfig { connect_timeout: share, response_timeout: share, ..config.clone() };
    for (host, port) in at {
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let asked = async {
            let sentinel = Server::connect(&config, addr_of(host, *port, tls), &config.sentinel_login, 0).await?;
            sentinel.ask(doing, &cmd).await
        };
        match asked.await {
            Ok(reply) => match reply::array::<2>(reply).as_ref().map(|[host, port]| (reply::text(host), reply::number(port))) {
                Some((Some(host), Some(port))) => return Ok(addr_of(&host, port, tls)),
                _ => tried.push(format!("{host}:{port} knows none")),
            },
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(RedisError::NoMaster { master: master.to_owned(), tried: tried.join("; ") })
}

fn client(config: &RedisConfig, addr: ConnectionAddr, login: &Login, db: i64) -> Result<Client, RedisError> {
    let place = addr.to_string();
    let info = config.info(addr, login, db)?;
    #[cfg(feature = "tls")]
    if config.place.is_tls() {
        // Whoever embeds this may have chosen another already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if let Some(path) = &config.ca_file {
            let read =
                std::fs::read(path).map_err(|error| crate::config::unclear(&format!("{} can't be read: {error}", path.display())))?;
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(read) };
            return Client::build_with_tls(info, certificates)
                .map_err(|error| crate::config::unclear(&format!("{} isn't a file of certificates (PEM): {error}", path.display())));
        }
    }
    Client::open(info).map_err(|error| RedisError::Connection { place, source: Arc::new(error) })
}

/// Older ones don't know before a script whether there is room for what it writes, and might stop in the middle of it.
const VERSION_MIN: u32 = 7;
/// Commands that wait for their turn on a connection; further ones wait for a place.
const PIPELINE_LEN: usize = 1_024;
const SHOWN_MAX: usize = 300;
