//! `[store]` with `kind = "redis"`, and `[process]`: books that processes share, and this process among them.

use super::problem::{Collector, Place};
use super::section::Section;
use super::token::{self, Token};
use super::{Context, values};
use ilp_core::store::SlotNo;
use ilp_store_redis::{RedisConfig, RedisError, Required};
use std::time::Duration;
use toml::de::DeValue;

/// A Redis server, or Sentinels that know one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where; without a password.
    pub url: String,
    /// What it must promise.
    pub require: Required,
    /// What all keys begin with.
    pub prefix: String,
    /// Who we are there, if not the default user.
    pub user: Option<String>,
    /// And prove to be.
    pub password: Option<Token>,
    /// Likewise at the Sentinels.
    pub sentinel_user: Option<String>,
    /// And prove to be.
    pub sentinel_password: Option<Token>,
    /// Where the file says so.
    pub place: Place,
}

/// This process, one of several that share the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The slots that it opens; all if `None`.
    pub slots: Option<Vec<SlotNo>>,
    /// Where other processes reach it.
    pub colleagues: Option<Colleagues>,
    /// How long the store keeps its slots without a sign of life.
    pub lease: Duration,
    /// After which time slots that nobody has are taken over.
    pub inherits_after: Duration,
}

/// The way to the workers of other processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colleagues {
    /// Host and port that it listens on.
    pub listen: String,
    /// Host and port by which others reach that.
    pub reached_at: Option<String>,
    /// What all of them know.
    pub secret: Token,
    /// Where the file says so.
    pub place: Place,
}

impl Default for Process {
    fn default() -> Self {
        Self { slots: None, colleagues: None, lease: LEASE, inherits_after: INHERITS_AFTER }
    }
}

const LEASE: Duration = Duration::from_secs(10);
const INHERITS_AFTER: Duration = Duration::from_secs(30);
const LEASE_MS_MIN: u64 = 500;
const LEASE_MS_MAX: u64 = 600_000;

/// The keys of `[store]` that are Redis's own.
pub(super) const KEYS: [&str; 8] = ["url", "require", "replicas", "prefix", "user", "password", "sentinel_user", "sentinel_password"];
const PROCESS_KEYS: [&str; 6] = ["slots", "listen", "reached_at", "secret", "lease_ms", "inherits_after_ms"];

impl Redis {
    /// For the store.
    pub fn config(&self) -> Result<RedisConfig, RedisError> {
        let text = |secret: &Token| String::from_utf8_lossy(secret.as_bytes()).into_owned();
        let mut config = RedisConfig::new(&self.url)?.require(self.require).prefix(&self.prefix);
        if let Some(password) = &self.password {
            config = config.login(self.user.as_deref(), &text(password));
        }
        if let Some(password) = &self.sentinel_password {
            config = config.sentinel_login(self.sentinel_user.as_deref(), &text(password));
        }
        Ok(config)
    }
}

/// `[store]`, whose kind is `redis`. `None` was reported.
pub(super) fn read(section: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Redis> {
    if section.get("path").is_some() {
        problems.error(&section.at("path"), section.say("path is for kind = \"embedded\": a Redis server has a url"));
    }
    let url = section.required_text(
        "url",
        "write where the server is, such as redis://127.0.0.1:6379 or sentinel://host:26379/main",
        problems,
    )?;
    if url.value.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
        let why = "url has a user or a password in it, which copies and version control would spread: write user = and password = { file = \"<file>\" }";
        problems.error(&url.at, section.say(why));
        return None;
    }
    let text = |key, problems: &mut Collector<'_>| section.text(key, problems).map(|text| text.value.to_owned());
    let prefix = text("prefix", problems).unwrap_or_default();
    let (user, sentinel_user) = (text("user", problems), text("sentinel_user", problems));
    let password = token::read_optional(section, "password", context, problems);
    let sentinel_password = token::read_optional(section, "sentinel_password", context, problems);
    for (who, what, proof) in [("user", &user, &password), ("sentinel_user", &sentinel_user, &sentinel_password)] {
        if what.is_some() && matches!(proof, Some(None)) {
            let why = format!("{who} has no password: write {} = {{ file = \"<file>\" }}", who.replace("user", "password"));
            problems.error(&section.at(who), section.say(&why));
        }
    }
    let redis = Redis {
        url: url.value.to_owned(),
        require: require(section, problems)?,
        prefix,
        user,
        password: password?,
        sentinel_user,
        sentinel_password: sentinel_password?,
        place: problems.place(&url.at),
    };
    let checked = redis.config().and_then(|config| config.check());
    checked.map_err(|error| problems.error(&url.at, section.say(&error.to_string()))).ok()?;
    Some(redis)
}

fn require(section: &Section<'_>, problems: &mut Collector<'_>) -> Option<Required> {
    let replicas = section.small("replicas", problems);
    let word = section.text("require", problems);
    if section.get("require").is_some() && word.is_none() || section.get("replicas").is_some() && replicas.is_none() {
        return None;
    }
    let hint = "write require = \"disk\", \"replicas\" with replicas = <how many there are>, or \"nothing\"";
    match (word.as_ref().map(|word| word.value), replicas) {
        (None | Some("disk"), None) => Some(Required::Disk),
        (Some("nothing"), None) => Some(Required::Nothing),
        (None | Some("replicas"), Some(replicas)) => Some(Required::Replicas(replicas.value)),
        (Some("replicas"), None) => {
            problems.error(&section.at("require"), section.say("require is \"replicas\", but replicas = <how many there are> is missing"));
            None
        }
        (Some("disk" | "nothing"), Some(_)) => {
            problems.error(&section.at("replicas"), section.say("replicas is for require = \"replicas\""));
            None
        }
        (Some(other), _) => {
            let why = format!("require is \"{}\", which is no promise; {hint}", values::shown(other));
            problems.error(&section.at("require"), section.say(&why));
            None
        }
    }
}

/// `[process]`, or what goes without saying. `slots` is how many there are in all. `None` was reported.
pub(super) fn read_process(
    top: &Section<'_>,
    slots: u8,
    shared: bool,
    context: Context<'_>,
    problems: &mut Collector<'_>,
) -> Option<Process> {
    let Some(value) = top.get("process") else { return Some(Process::default()) };
    let Some(table) = value.get_ref().as_table() else {
        top.wrong_type("process", "a table: [process] as a line of its own, then slots = [0, 1]", value, problems);
        return None;
    };
    let section = Section::new("process".into(), value.span(), table, &PROCESS_KEYS, problems);
    if !shared {
        problems.error(&section.at, section.say("only processes that share books are told apart: it needs [store] with kind = \"redis\""));
        return None;
    }
    let lease = milliseconds(&section, "lease_ms", LEASE, problems)?;
    let inherits_after = milliseconds(&section, "inherits_after_ms", INHERITS_AFTER, problems)?;
    let own = match section.get("slots") {
        None => None,
        Some(_) => Some(own_slots(&section, slots, problems)?),
    };
    let colleagues = match section.text("listen", problems) {
        Some(listen) => Some(Colleagues {
            listen: host_and_port(&section, "listen", listen.value, problems)?,
            reached_at: match section.text("reached_at", problems) {
                Some(text) => Some(host_and_port(&section, "reached_at", text.value, problems)?),
                None => None,
            },
            secret: token::read(&section, "secret", context, problems)?,
            place: problems.place(&listen.at),
        }),
        None => {
            if own.is_some() {
                let why = "listen is missing, so this process can't reach the others, nor they it: write listen = \"<host>:<port>\" and secret = { file = \"<file>\" }";
                problems.error(&section.at, section.say(why));
                return None;
            }
            None
        }
    };
    Some(Process { slots: own, colleagues, lease, inherits_after })
}

fn own_slots(section: &Section<'_>, slots: u8, problems: &mut Collector<'_>) -> Option<Vec<SlotNo>> {
    let value = section.get("slots")?;
    let numbers = value.get_ref().as_array().and_then(|array| {
        let number = |value: &toml::Spanned<DeValue<'_>>| match values::number(value.get_ref(), u64::from(SlotNo::MAX)) {
            values::Number::Is(number) => SlotNo::try_from(number).ok(),
            values::Number::Wrong(_) => None,
        };
        array.iter().map(number).collect::<Option<Vec<_>>>()
    });
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
        section.wrong_type("slots", "a list of numbers such as [0, 1]", value, problems);
        return None;
    };
    if let Some(beyond) = numbers.iter().find(|slot| **slot >= SlotNo::from(slots)) {
        let last = slots.saturating_sub(1);
        let why = format!("slots has {beyond}, but with workers = {slots} there are 0 to {last}: workers counts those of all processes");
        problems.error(&value.span(), section.say(&why));
        return None;
    }
    Some(numbers)
}

fn milliseconds(section: &Section<'_>, key: &str, default: Duration, problems: &mut Collector<'_>) -> Option<Duration> {
    if section.get(key).is_none() {
        return Some(default);
    }
    let ms = section.amount(key, problems)?;
    if !(LEASE_MS_MIN..=LEASE_MS_MAX).contains(&ms.value) {
        let why = format!("{key} is {}, out of range: it must be from {LEASE_MS_MIN} to {LEASE_MS_MAX}", ms.value);
        problems.error(&ms.at, section.say(&why));
        return None;
    }
    Some(Duration::from_millis(ms.value))
}

fn host_and_port(section: &Section<'_>, key: &str, text: &str, problems: &mut Collector<'_>) -> Option<String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !good {
        let why = format!("{key} is \"{}\", but must be a host and a port, such as 10.0.0.1:7800", values::shown(text));
        problems.error(&section.at(key), section.say(&why));
        return None;
    }
    Some(text.to_owned())
}
