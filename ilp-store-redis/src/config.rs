//! Where the server is, and what it must promise.

use crate::RedisError;
use ilp_core::store::Durability;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, io::tcp::TcpSettings};
use std::fmt;
use std::time::Duration;

/// How a [`RedisStore`](crate::RedisStore) finds its server, and what it asks of it.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    pub(crate) place: Place,
    pub(crate) login: Login,
    pub(crate) sentinel_login: Login,
    pub(crate) db: i64,
    pub(crate) prefix: String,
    pub(crate) required: Required,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) replicas_timeout: Duration,
    #[cfg(feature = "tls")]
    pub(crate) ca_file: Option<std::path::PathBuf>,
}

/// What a batch that was called durable must survive. A server that promises less is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// Nothing: whatever the server does. This is what `appendfsync everysec` comes to, which can lose its last second.
    Nothing,
    /// The death of the server and of its machine's power: `appendonly yes` and `appendfsync always`. One server, without failover.
    Disk,
    /// The loss of all machines but one, when so many replicas beside the master each have it. All there are: a replica that needn't
    /// have acknowledged a batch could be made the master. Not 0.
    Replicas(u8),
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Server(ConnectionAddr),
    Sentinels { at: Vec<(String, u16)>, master: String, tls: bool },
}

/// Who asks.
#[derive(Clone, Default)]
pub(crate) struct Login {
    user: Option<String>,
    password: Option<String>,
}

impl RedisConfig {
    /// For the server at a URL:
    ///
    /// * `redis://[user:password@]host[:port][/db]`, or `rediss://…` by TLS (feature `tls`);
    /// * `unix:///path/to/socket`;
    /// * `sentinel://[user:password@]host[:port],host[:port],…/name-of-the-master[/db]`, or `sentinels://…` by TLS. User and password are
    ///   the master's; the Sentinels' own are set with [`sentinel_login`](Self::sentinel_login).
    ///
    /// It requires [`Required::Disk`] unless told otherwise.
    ///
    /// # Errors
    ///
    /// [`RedisError::Config`] if it can't be understood. The message doesn't repeat it, since there may be a password in it.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        let (place, login, db) = match url.split_once("://") {
            Some(("sentinel", rest)) => sentinels(rest, false)?,
            Some(("sentinels", rest)) => sentinels(rest, true)?,
            _ => {
                let info = url.into_connection_info().map_err(|error| unclear(&error.to_string().replace(url, "…")))?;
                let own = |text: Option<&str>| text.map(str::to_owned);
                let settings = info.redis_settings();
                let login = Login { user: own(settings.username()), password: own(settings.password()) };
                (Place::Server(info.addr().clone()), login, settings.db())
            }
        };
        if place.is_tls() && !cfg!(feature = "tls") {
            return Err(unclear("TLS needs the feature `tls` of ilp-store-redis: build with it, or use redis:// on a private network"));
        }
        Ok(Self {
            place,
            login,
            sentinel_login: Login::default(),
            db,
            prefix: String::new(),
            required: Required::Disk,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            replicas_timeout: Duration::from_secs(1),
            #[cfg(feature = "tls")]
            ca_file: None,
        })
    }

    /// What all keys begin with, so that several deployments can share a server. Without it nothing; not with braces in it, which have a
    /// meaning in keys.
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// What the server must promise.
    pub fn require(self, required: Required) -> Self {
        Self { required, ..self }
    }

    /// User (if it isn't the default one) and password at the server.
    pub fn login(self, user: Option<&str>, password: &str) -> Self {
        Self { login: Login { user: user.map(str::to_owned), password: Some(password.to_owned()) }, ..self }
    }

    /// User (if it isn't the default one) and password at the Sentinels.
    pub fn sentinel_login(self, user: Option<&str>, password: &str) -> Self {
        Self { sentinel_login: Login { user: user.map(str::to_owned), password: Some(password.to_owned()) }, ..self }
    }

    /// How long it may take to find the master, connect, and look at the server's settings, all in all. 5 seconds if not set.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// How long the server may take to answer. 5 seconds if not set: a slow disk under `appendfsync always` is no reason to connect anew.
    /// Afterwards the outcome is unknown, and the connection is made anew.
    pub fn response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    /// How long replicas may take to acknowledge, in whole milliseconds; less than the time-out for responses. 1 second if not set.
    pub fn replicas_timeout(self, replicas_timeout: Duration) -> Self {
        Self { replicas_timeout, ..self }
    }

    /// A file with certificates (PEM) of the authorities that may vouch for the server, instead of the system's.
    #[cfg(feature = "tls")]
    pub fn ca_file(self, ca_file: impl Into<std::path::PathBuf>) -> Self {
        Self { ca_file: Some(ca_file.into()), ..self }
    }

    /// Whether it makes sense, as far as that can be seen without a server.
    ///
    /// # Errors
    ///
    /// [`RedisError::Config`].
    pub fn check(&self) -> Result<(), RedisError> {
        if self.prefix.contains(['{', '}']) {
            return Err(unclear("the prefix has a brace in it: leave it out"));
        }
        if self.connect_timeout.is_zero() || self.response_timeout.is_zero() {
            return Err(unclear("a time-out is 0: give it some seconds"));
        }
        match (self.required, &self.place) {
            (Required::Replicas(0), _) => Err(unclear("0 replicas are required: write how many there are, or require `disk`")),
            (Required::Replicas(_), _) if self.replicas_timeout.as_millis() == 0 => {
                Err(unclear("the time-out for replicas is below a millisecond, and would be none at all: give it a second"))
            }
            (Required::Replicas(_), _) if self.replicas_timeout >= self.response_timeout => {
                Err(unclear("the time-out for replicas isn't less than the one for responses: make it so"))
            }
            (Required::Disk, Place::Sentinels { .. }) => Err(unclear(
                "`disk` is required, but Sentinels may make a replica the master that hasn't everything: \
                 require as many replicas as there are, or name the one server by redis://",
            )),
            _ => Ok(()),
        }
    }

    /// For how a server is reached.
    pub(crate) fn info(&self, addr: ConnectionAddr, login: &Login, db: i64) -> Result<ConnectionInfo, RedisError> {
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_db(db);
        if let Some(user) = &login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password);
        }
        let info = addr.into_connection_info().map_err(|error| unclear(&error.to_string()))?;
        Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(settings))
    }
}

impl Required {
    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::Nothing => Durability::Memory,
            Self::Disk => Durability::Disk,
            // The master is a machine too.
            Self::Replicas(replicas) => Durability::Replicated(replicas.saturating_add(1)),
        }
    }
}

impl Place {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Server(ConnectionAddr::TcpTls { .. }) | Self::Sentinels { tls: true, .. })
    }
}

/// For people: without user or password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(addr) => write!(f, "{addr}"),
            Self::Sentinels { master, .. } => write!(f, "the master {master}"),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("Login").field("user", &self.user).field("password", &password).finish()
    }
}

/// An address of a server, by TLS or not.
pub(crate) fn addr_of(host: &str, port: u16, tls: bool) -> ConnectionAddr {
    match tls {
        true => ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host.to_owned(), port),
    }
}

/// `[user:password@]host[:port],…/master[/db]`.
fn sentinels(rest: &str, tls: bool) -> Result<(Place, Login, i64), RedisError> {
    // A password may have any sign in it but `@` and `/`, which are written as %40 and %2F.
    let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err(unclear("a sentinel:// address ends with the name of the master: sentinel://host:26379/mymaster"));
    }
    let db = db.parse().map_err(|_| unclear("the database at the end of a sentinel:// address isn't a number"))?;
    let at = hosts.split(',').map(host_and_port).collect::<Option<Vec<_>>>();
    let at = at.ok_or_else(|| unclear("the Sentinels of a sentinel:// address are host:port,host:port"))?;
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (Some(user).filter(|user| !user.is_empty()), Some(password)),
        None => (None, Some(login).filter(|login| !login.is_empty())),
    };
    let plain = |text: Option<&str>| match text.map(unescaped) {
        Some(None) => Err(unclear("a % in user or password isn't followed by two hexadecimal digits")),
        plain => Ok(plain.flatten()),
    };
    let login = Login { user: plain(user)?, password: plain(password)? };
    Ok((Place::Sentinels { at, master: master.to_owned(), tls }, login, db))
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address has colons itself, and brackets around it.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, SENTINEL_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// With `%40` as `@`.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        plain.extend(hex::decode(part.get(..2)?).ok()?);
        plain.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(plain).ok()
}

pub(crate) fn unclear(what: &str) -> RedisError {
    RedisError::Config { what: what.to_owned() }
}

const SENTINEL_PORT: u16 = 26379;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinel_addresses() {
        let config = RedisConfig::new("sentinel://ann:s%40c%2Fret@one,two:7,[::1]:8/main/3").unwrap();
        let Place::Sentinels { at, master, tls } = &config.place else { panic!("{config:?}") };
        assert_eq!(at, &[("one".to_owned(), 26379), ("two".to_owned(), 7), ("::1".to_owned(), 8)]);
        assert_eq!((&**master, *tls, config.db), ("main", false, 3));
        assert_eq!((config.login.user.as_deref(), config.login.password.as_deref()), (Some("ann"), Some("s@c/ret")));
        for wrong in ["sentinel://one", "sentinel:///main", "sentinel://one:x/main", "sentinel://one/main/x", "sentinel://a:%4@one/main"] {
            assert!(matches!(RedisConfig::new(wrong), Err(RedisError::Config { .. })), "{wrong}");
        }
    }

    #[test]
    fn passwords_stay_inside() {
        for url in ["redis://ann:s3cret@host/", "redis://:s3cret@host/x", "sentinel://:s3cret@host", "nonsense://:s3cret@host"] {
            let shown = format!("{:?}", RedisConfig::new(url));
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let config = RedisConfig::new("redis://host").unwrap().login(None, "s3cret").sentinel_login(Some("ann"), "s3cret");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let of = |url| RedisConfig::new(url).unwrap();
        let second = Duration::from_secs(1);
        for config in [
            of("redis://host").prefix("a{b"),
            of("redis://host").require(Required::Replicas(0)),
            of("redis://host").require(Required::Replicas(1)).response_timeout(second),
            of("redis://host").require(Required::Replicas(1)).replicas_timeout(Duration::from_micros(900)),
            of("redis://host").connect_timeout(Duration::ZERO),
            of("sentinel://host/main"),
        ] {
            assert!(matches!(config.check(), Err(RedisError::Config { .. })), "{config:?}");
        }
        of("sentinel://host/main").require(Required::Replicas(2)).check().unwrap();
        of("redis://host").check().unwrap();
    }
}
