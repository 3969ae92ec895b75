//! The command line, and what it means.

use super::compare::Baseline;
use super::random::random;
use super::store::Store;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use ilp_clp::ws::Url;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Floods a connector with payments and checks every one of them.
///
/// Pairs of peers connect to the connector: from each sender payments go through it to its receiver, each under a condition of its
/// own that only the receiver can fulfill. Without --url the connector is a child process on this machine, and its CPU time and
/// memory are measured.
#[derive(Debug, Parser)]
#[command(name = "flood", version, after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Payments to make [default: 100000; with --faults --for 120s]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Makes payments for so long instead of a number of them, such as 60s, 5m or 500ms
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "count")]
    duration: Option<Duration>,
    /// Payments in flight, of all pairs together [default: 512; with --rate as many as go]
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..))]
    window: Option<u32>,
    /// Payments started a second, whether or not earlier ones have ended; without it each one that ends starts another (with --faults: 1000)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Pairs of a sender and a receiver; each of them has an account and a connection of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=PAIRS_MAX))]
    peers: u16,
    /// Loses connections all the time: about one fault every TIME [default: 1s]
    ///
    /// The peers' connections go through a proxy that cuts them (also in the middle of a frame), holds them up, closes them in one
    /// direction, lets them swallow everything, and slows them down to single bytes. The peers come back, and say again what wasn't
    /// acknowledged. Some payments are fulfilled late, never, or rejected. At the end every unit must be accounted for and nothing
    /// be held.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1s", value_parser = duration, conflicts_with = "url")]
    faults: Option<Duration>,
    /// The seed of the faults; any other makes other ones [default: a random one]
    #[arg(long, value_name = "S", requires = "faults")]
    seed: Option<u64>,
    /// Base units that each payment delivers
    #[arg(long, value_name = "UNITS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    amount: u64,
    /// Connects over TLS; with --url, wss:// says so
    #[arg(long, conflicts_with = "url")]
    tls: bool,
    /// Workers of the connector
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["url", "faults"], value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Parallelism of the accounts; each has one connection all the same, so that with 2 half of the payments are passed on to another worker
    #[arg(long, value_name = "P", default_value_t = 1, conflicts_with_all = ["url", "faults"], value_parser = clap::value_parser!(u8).range(1..))]
    parallelism: u8,
    /// Where the connector keeps its books
    #[arg(long, value_enum, value_name = "STORE", default_value_t = Store::Embedded, conflicts_with = "url")]
    store: Store,
    /// Where the embedded store makes its directory, which is gone afterwards [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    store_dir: Option<PathBuf>,
    /// Makes the run N times, and N times what it is compared with (see --against), in turns
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "3", conflicts_with_all = ["url", "faults"], value_parser = clap::value_parser!(u16).range(1..=100))]
    compare: Option<u16>,
    /// What --compare compares the run with: `memory`, the same with books in memory; `store=STORE`, with books there; `workers=N` or `parallelism=P`, the same with so many
    #[arg(long, value_name = "WHAT", default_value = "memory", requires = "compare")]
    against: Baseline,
    /// Prints the report as one line of JSON
    #[arg(long)]
    json: bool,
    /// Drives the connector at this URL (ws:// or wss://) instead of a child process
    #[arg(long, value_name = "URL", conflicts_with = "peers", requires_all = ["sender", "receiver"])]
    url: Option<Url>,
    /// An account that pays; once for each pair
    #[arg(long, value_name = "NAME", requires = "url")]
    sender: Vec<String>,
    /// The account that the sender at the same place pays
    #[arg(long, value_name = "NAME", requires = "url")]
    receiver: Vec<String>,
    /// Tokens of the senders: one for all, or one a line [environment: FLOOD_SENDER_TOKENS, the tokens themselves]
    #[arg(long, value_name = "FILE", requires = "url")]
    sender_tokens: Option<PathBuf>,
    /// Tokens of the receivers: one for all, or one a line [environment: FLOOD_RECEIVER_TOKENS, the tokens themselves]
    #[arg(long, value_name = "FILE", requires = "url")]
    receiver_tokens: Option<PathBuf>,
    /// The only certificate that a wss:// server may have (PEM), instead of one by a public authority
    #[arg(long, value_name = "FILE", requires = "url")]
    certificate: Option<PathBuf>,
    /// Process id of the connector at --url, if it runs here and is to be measured
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
    /// Be the connector of another flood
    #[arg(long, hide = true, exclusive = true)]
    connector: bool,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Be the connector that another flood has started.
    Connector,
    /// Flood one.
    Flood(Box<Plan>),
    /// Flood one and another, so often.
    Compare(Box<Plan>, u16, Baseline),
}

/// What to flood, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Which connector.
    pub(crate) target: Target,
    /// How many payments, and how fast.
    pub(crate) load: Load,
    /// Base units of each payment.
    pub(crate) amount: u64,
    /// Workers of a child.
    pub(crate) workers: u16,
    /// Parallelism of its accounts.
    pub(crate) parallelism: u8,
    /// Report as JSON.
    pub(crate) json: bool,
    /// Lose connections meanwhile.
    pub(crate) faults: Option<FaultPlan>,
}

/// How connections are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FaultPlan {
    /// The mean time between two faults.
    pub(crate) every: Duration,
    /// Of the faults.
    pub(crate) seed: u64,
}

/// The connector to be flooded.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A child process.
    Child {
        /// How many pairs.
        pairs: u16,
        /// Whether they connect over TLS.
        tls: bool,
        /// Where it keeps its books …
        store: Store,
        /// … and within which directory, if it needs one.
        store_dir: PathBuf,
    },
    /// Any other.
    Url {
        /// Where.
        url: Url,
        /// Who pays whom.
        pairs: Vec<(Login, Login)>,
        /// PEM text of the only certificate to be trusted.
        certificate: Option<Vec<u8>>,
        /// Its process, if it runs here.
        pid: Option<u32>,
    },
}

/// Name and token of an account.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    /// Its name.
    pub(crate) name: String,
    /// Its secret.
    pub(crate) token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How many payments, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// When no more are started.
    pub(crate) until: Until,
    /// Started a second; `None` if only the window limits them.
    pub(crate) rate: Option<u32>,
    /// In flight at most, on each pair.
    pub(crate) window_per_pair: u32,
    /// In flight at most, on all pairs together.
    pub(crate) window: u32,
}

/// When no more payments are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// After so many.
    Count(u64),
    /// After so much time.
    Elapsed(Duration),
}

/// Reads the command line.
///
/// # Errors
/// Usage errors, and help and version too.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Task, clap::Error> {
    let options = Options::try_parse_from(arguments)?;
    if options.connector {
        return Ok(Task::Connector);
    }
    let target = options.target()?;
    let pairs = match &target {
        Target::Child { pairs, .. } => u32::from(*pairs),
        Target::Url { pairs, .. } => u32::try_from(pairs.len()).unwrap_or(u32::MAX),
    };
    let until = match (options.duration, options.count, options.faults) {
        (Some(time), _, _) => Until::Elapsed(time),
        (None, Some(count), _) => Until::Count(count),
        (None, None, Some(_)) => Until::Elapsed(FAULTS_FOR_DEFAULT),
        (None, None, None) => Until::Count(COUNT_DEFAULT),
    };
    // What has to wait for a connection fills any window, so a rate is what limits these payments.
    let rate = options.rate.or(options.faults.map(|_| FAULTS_RATE_DEFAULT));
    let load = Load::new(until, rate, options.window, pairs)?;
    let faults = match options.faults {
        Some(every) => Some(FaultPlan { every, seed: options.fault_seed()? }),
        None => None,
    };
    let (workers, parallelism) = (options.workers, options.parallelism);
    let plan = Box::new(Plan { target, load, amount: options.amount, workers, parallelism, json: options.json, faults });
    Ok(match options.compare {
        Some(_) if options.against == Baseline::Store(options.store) => {
            return Err(usage("--store and what it is compared with are the same; --against says what else to compare it with"));
        }
        Some(times) => Task::Compare(plan, times, options.against),
        None => Task::Flood(plan),
    })
}

impl Options {
    fn target(&self) -> Result<Target, clap::Error> {
        let Some(url) = &self.url else {
            let store_dir = self.store_dir.clone().unwrap_or_else(std::env::temp_dir);
            return Ok(Target::Child { pairs: self.peers, tls: self.tls, store: self.store, store_dir });
        };
        if self.sender.len() != self.receiver.len() || self.sender.len() > usize::from(u16::try_from(PAIRS_MAX).unwrap_or(u16::MAX)) {
            return Err(usage(format!("give as many --receiver as --sender, at most {PAIRS_MAX} of each")));
        }
        let senders = logins(&self.sender, self.sender_tokens.as_ref(), "FLOOD_SENDER_TOKENS", "--sender-tokens")?;
        let receivers = logins(&self.receiver, self.receiver_tokens.as_ref(), "FLOOD_RECEIVER_TOKENS", "--receiver-tokens")?;
        let certificate = match &self.certificate {
            Some(path) => Some(std::fs::read(path).map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?),
            None => None,
        };
        Ok(Target::Url { url: url.clone(), pairs: senders.into_iter().zip(receivers).collect(), certificate, pid: self.pid })
    }
}

impl Options {
    fn fault_seed(&self) -> Result<u64, clap::Error> {
        // Short enough to be typed again.
        let drawn = || random().map(u32::from_be_bytes).map(u64::from).map_err(usage);
        self.seed.map_or_else(drawn, Ok)
    }
}

impl Load {
    fn new(until: Until, rate: Option<u32>, window: Option<u32>, pairs: u32) -> Result<Self, clap::Error> {
        let window_max = WINDOW_PER_PAIR_MAX.saturating_mul(pairs);
        let window = match (window, rate) {
            (Some(window), _) => window,
            (None, Some(_)) => window_max,
            (None, None) => WINDOW_DEFAULT.max(pairs),
        };
        if window < pairs || window > window_max {
            return Err(usage(format!("with {pairs} pairs the window must be from {pairs} to {window_max}")));
        }
        Ok(Self { until, rate, window_per_pair: window.div_ceil(pairs.max(1)), window })
    }
}

/// Names with their tokens: from the file, or else from the environment.
fn logins(names: &[String], file: Option<&PathBuf>, variable: &str, option: &str) -> Result<Vec<Login>, clap::Error> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?,
        None => std::env::var(variable).map_err(|_| usage(format!("give tokens by {option} FILE or in {variable}")))?,
    };
    let tokens: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let token_of = |place: usize| match tokens.as_slice() {
        [one] => Ok((*one).to_owned()),
        many if many.len() == names.len() => Ok(many.get(place).copied().unwrap_or_default().to_owned()),
        many => Err(usage(format!("{option}: {} tokens for {} accounts", many.len(), names.len()))),
    };
    names.iter().enumerate().map(|(place, name)| Ok(Login { name: name.clone(), token: token_of(place)? })).collect()
}

fn usage(message: impl fmt::Display) -> clap::Error {
    Options::command().error(ErrorKind::ValueValidation, message)
}

/// A whole number with a unit: ms, s (also without any), m or h.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a number with a unit, such as 500ms, 60s, 5m or 1h".to_owned()),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms_per_unit));
    match ms {
        Some(ms) if ms > 0 && ms <= DURATION_MS_MAX => Ok(Duration::from_millis(ms)),
        _ => Err("expected a time from 1ms to 168h".to_owned()),
    }
}

const EXIT_CODES: &str = "\
Exit status:
  0  every payment was fulfilled (with --faults: had one outcome, and nothing is stuck), and the connector's books agree with
     those of its peers
  1  a payment failed, or had no outcome or more than one, or the books disagree
  2  wrong usage
  3  the connector could not be started or reached, or refused an account

Ctrl-C starts no more payments, waits for those in flight and reports; a second one doesn't wait.";
const PAIRS_MAX: i64 = 1_000;
const COUNT_DEFAULT: u64 = 100_000;
const FAULTS_FOR_DEFAULT: Duration = Duration::from_secs(120);
const FAULTS_RATE_DEFAULT: u32 = 1_000;
const WINDOW_DEFAULT: u32 = 512;
/// As many as a connector holds for one account, unless it is told otherwise.
const WINDOW_PER_PAIR_MAX: u32 = 65_536;
const DURATION_MS_MAX: u64 = 168 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Plan, clap::Error> {
        match parse(["flood"].into_iter().chain(line.split_whitespace()).map(Into::into))? {
            Task::Flood(plan) => Ok(*plan),
            Task::Compare(plan, times, _) => {
                assert_eq!(times, 3);
                Ok(*plan)
            }
            Task::Connector => panic!("not asked to be a connector"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_options_it_floods_a_child() {
        let plan = parsed("").unwrap();
        assert!(matches!(plan.target, Target::Child { pairs: 2, tls: false, store: Store::Embedded, .. }));
        assert_eq!(plan.load, Load { until: Until::Count(100_000), rate: None, window_per_pair: 256, window: 512 });
    }

    #[test]
    fn a_rate_is_limited_only_by_what_an_account_may_have_in_flight() {
        let load = parsed("--rate 5000 --for 90s --peers 3").unwrap().load;
        let until = Until::Elapsed(Duration::from_secs(90));
        assert_eq!(load, Load { until, rate: Some(5000), window_per_pair: 65_536, window: 3 * 65_536 });
    }

    #[test]
    fn faults_have_a_rate_a_time_and_a_seed() {
        let plan = parsed("--faults").unwrap();
        assert_eq!((plan.load.until, plan.load.rate), (Until::Elapsed(Duration::from_secs(120)), Some(1_000)));
        assert_eq!(plan.faults.map(|faults| faults.every), Some(Duration::from_secs(1)));
        let plan = parsed("--faults=100ms --seed 7 --count 5 --rate 20").unwrap();
        assert_eq!((plan.load.until, plan.load.rate), (Until::Count(5), Some(20)));
        assert_eq!(plan.faults, Some(FaultPlan { every: Duration::from_millis(100), seed: 7 }));
        assert_eq!(parsed("").unwrap().faults, None);
    }

    #[test]
    fn every_pair_gets_a_share_of_the_window() {
        assert_eq!(parsed("--window 7 --peers 2").unwrap().load.window_per_pair, 4);
        assert!(parsed("--window 1 --peers 2").is_err());
        assert!(parsed("--window 131073 --peers 2").is_err());
    }

    #[test]
    fn wrong_usage_has_exit_code_2() {
        for line in [
            "--count 0",
            "--count x",
            "--for 5 --count 5",
            "--for 0s",
            "--for 5y",
            "--for",
            "--peers 0",
            "--store redi",
            "--compare --against store=embedded",
            "--compare --against store=disk",
            "--store disk",
            "--tls --url ws://a --sender a --receiver b",
            "--url ws://a",
            "--sender a --receiver b",
            "--url nonsense --sender a --receiver b",
            "--url ws://a --sender a --sender b --receiver c",
            "--amount 0",
            "--seed 1",
            "--faults=0s",
            "--compare --store memory",
            "--compare 0",
            "--against memory",
            "--compare --against workers=0",
            "--compare --faults",
            "--faults --url ws://a --sender a --receiver b",
            "--unknown",
            "--connector --json",
        ] {
            assert_eq!(parsed(line).map(|_| ()).map_err(|error| error.exit_code()), Err(2), "{line}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("60s", 60_000), ("7", 7_000), ("250ms", 250), ("2m", 120_000), ("168h", DURATION_MS_MAX)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in ["", "s", "-1s", "1.5s", "169h", "99999999999999999999s", "0"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn accounts_take_tokens_from_a_file_by_line() {
        let file = std::env::temp_dir().join(format!("flood-tokens-{}", std::process::id()));
        let names = ["a".to_owned(), "b".to_owned()];
        let login = |name: &str, token: &str| Login { name: name.into(), token: token.into() };
        for (text, expected) in [("one\n", Some(["one", "one"])), ("one\ntwo\n", Some(["one", "two"])), ("1\n2\n3\n", None), ("", None)] {
            std::fs::write(&file, text).unwrap();
            let got = logins(&names, Some(&file), "UNSET", "--sender-tokens").ok();
            assert_eq!(got, expected.map(|[first, second]| vec![login("a", first), login("b", second)]), "{text:?}");
        }
        std::fs::remove_file(file).unwrap();
    }
}
