//! One attack, measured: honest load alone and under attack in turns, and what is left afterwards.

use super::attacker::{self, COUNTS, Ready};
use super::attacks::{ACCOMPLICE, Attack, EVE, MALLORY};
use super::connector::{self, Account, HEALTH, Health, Hello, RESET};
use super::options::Options;
use super::score::Counts;
use crate::flood::child::{Child, ChildError, own_program};
use crate::flood::options::{Load, Login, Until};
use crate::flood::pair::{ConnectError, Guest, Pair};
use crate::flood::random::{NoRandomness, random};
use crate::flood::run::Run;
use ilp_clp::ws::{TlsClientConfig, TlsError, Url, UrlError};
use ilp_oer::Amount;
use std::path::Path;
use std::time::{Duration, Instant};

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) turns: Vec<Turn>,
    pub(super) counts: Counts,
    /// Honest load alone, long enough for what is remembered to have its lasting size: before the first turn and after the last one.
    pub(super) long: [Phase; 2],
    /// The connector at rest, after each of these.
    pub(super) rest: [State; 2],
    /// What is wrong with honest payments and the books, in words.
    pub(super) complaints: Vec<String>,
}

/// One run alone and one under attack.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) alone: Phase,
    pub(super) attacked: Phase,
}

/// One run.
#[derive(Debug)]
pub(super) struct Phase {
    /// Honest payments' latencies, second by second.
    pub(super) slices: Vec<Slice>,
    /// The most that the connector had from its allocator, in bytes.
    pub(super) heap_peak: usize,
    /// What it had at the end.
    pub(super) heap: usize,
    pub(super) rss_peak_kib: u64,
    /// What it had at the end.
    pub(super) rss_kib: u64,
    /// The most files that it had open, of those times at which it was looked at.
    pub(super) files_peak: usize,
    /// Logins of an honest peer that comes and goes.
    pub(super) logins: Logins,
}

/// Latencies that half of the payments, and all but one in a hundred, kept within.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// How an honest peer's logins went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Logins {
    pub(super) done: u64,
    pub(super) failed: u64,
    /// The slowest that was done.
    pub(super) slowest: Duration,
}

/// The connector, at one instant.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) health: Health,
    pub(super) files: usize,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum MeasureError {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("cannot look at the connector's process: {0}")]
    Io(#[from] std::io::Error),
}

/// Makes an attack on a connector of its own, and measures it.
pub(super) async fn measure(attack: &Attack, options: &Options) -> Result<Measured, MeasureError> {
    let accounts = accounts()?;
    let order = connector::Order { accounts: accounts.clone(), impatient: options.small };
    let connector: Child<Hello> = Child::start(&order).await?;
    let url: Url = format!("ws://127.0.0.1:{}/", connector.hello().port).parse()?;
    let tls = TlsClientConfig::public_roots()?;
    let login = |name: &str| accounts.iter().find(|account| account.name == name).map(login).unwrap_or_default();
    let (sender, receiver) = (login("sender-1"), login("receiver-1"));
    let pair = Pair::connect(&url, &tls, [&sender, &receiver], Amount::new(1)).await?;
    let guest = Guest { url, tls, login: login("guest") };
    let mut scene = Scene { attack, options, connector, guest, pair, accounts, complaints: Vec::new() };

    let long = if options.small { SMALL_LONG } else { LONG };
    let phase_before = scene.phase(long).await?;
    let before = scene.rest(None).await?;
    let (mut turns, mut counts) = (Vec::new(), Counts::default());
    for number in 0..options.pairs {
        // Every second turn the other way round, so that what changes with time hits both alike.
        let (alone, attacked) = if number % 2 == 0 {
            let alone = scene.alone().await?;
            (alone, scene.attacked(&mut counts, &before).await?)
        } else {
            let attacked = scene.attacked(&mut counts, &before).await?;
            (scene.alone().await?, attacked)
        };
        turns.push(Turn { alone, attacked });
    }
    let phase_after = scene.phase(long).await?;
    let after = scene.rest(Some(&before)).await?;
    let complaints = scene.end(&after).await;
    Ok(Measured { turns, counts, long: [phase_before, phase_after], rest: [before, after], complaints })
}

/// Whoever takes part.
struct Scene<'a> {
    attack: &'a Attack,
    options: &'a Options,
    connector: Child<Hello>,
    guest: Guest,
    pair: Pair,
    accounts: Vec<Account>,
    complaints: Vec<String>,
}

impl Scene<'_> {
    async fn alone(&mut self) -> Result<Phase, MeasureError> {
        self.phase(self.time()).await
    }

    async fn attacked(&mut self, counts: &mut Counts, before: &State) -> Result<Phase, MeasureError> {
        let known = |account: &&Account| [MALLORY, ACCOMPLICE, EVE].contains(&account.name.as_str());
        let order = attacker::Order {
            attack: self.attack.name.to_owned(),
            target: self.connector.hello().clone(),
            accounts: self.accounts.iter().filter(known).cloned().collect(),
            small: self.options.small,
        };
        let own = own_program()?;
        let arguments = ["-n", "19", own.to_str().unwrap_or_default(), "--attacker"];
        let mut attackers: Child<Ready> = Child::start_as(Path::new("nice"), &arguments, &order).await?;
        let _: Counts = attackers.ask(COUNTS).await?;
        let phase = self.phase(self.time()).await;
        // On a slow machine the connector's patience may end only after the time is over.
        let until = Instant::now() + ANSWERS_TIME_MAX;
        let mut done: Counts = attackers.ask(COUNTS).await?;
        while !self.attack.expected.iter().all(|what| done.seen.contains_key(*what)) && Instant::now() < until {
            // The honest peers' sockets are polled only when something is asked: a sign of life.
            let _ = self.pair.compare_books().await;
            tokio::time::sleep(LOOK_EVERY).await;
            done = attackers.ask(COUNTS).await?;
        }
        counts.add(&done);
        let _ = attackers.stop().await;
        // The next run alone shall not pay for this one.
        self.settle(before).await?;
        phase
    }

    fn time(&self) -> Duration {
        let patience = Duration::from_secs(self.attack.patience_s) / if self.options.small { 10 } else { 1 };
        // Closing takes a second if the peer has no good-bye to say.
        let least = if patience.is_zero() { patience } else { patience + SETTLE };
        Duration::from_secs(self.options.seconds).max(least)
    }

    /// The honest load, for so long.
    async fn phase(&mut self, time: Duration) -> Result<Phase, MeasureError> {
        let process = self.connector.process();
        process.reset_peak_rss()?;
        let _: Health = self.connector.ask(RESET).await?;
        let (mut files_peak, mut logins, mut slices) = (0, Logins::default(), Vec::new());
        let ends = Instant::now() + time;
        {
            let watch = async {
                loop {
                    files_peak = files_peak.max(process.open_files().unwrap_or_default());
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            let visit = async {
                loop {
                    let since = Instant::now();
                    match self.guest.visit().await {
                        Ok(()) => {
                            logins.done += 1;
                            logins.slowest = logins.slowest.max(since.elapsed());
                        }
                        Err(_) => logins.failed += 1,
                    }
                    tokio::time::sleep(VISIT_EVERY).await;
                }
            };
            let run = async {
                while let Some(left) = ends.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                    let until = Until::Elapsed(left.min(SLICE));
                    let load = Load { until, rate: Some(self.options.rate), window_per_pair: WINDOW, window: WINDOW };
                    let outcome = Run::new(std::slice::from_mut(&mut self.pair), load, None).finish().await;
                    self.complaints.extend(outcome.tally.complaints());
                    self.complaints.extend(outcome.lost.as_ref().map(ToString::to_string));
                    let quantile = |per_mille| outcome.tally.latency.per_mille(per_mille);
                    // The rest of a second is too short to say anything.
                    if let (Some(p50), Some(p99)) = (quantile(500), quantile(990))
                        && (left >= SLICE || slices.is_empty())
                    {
                        slices.push(Slice { p50, p99 });
                    }
                    if outcome.lost.is_some() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = run => {}
                () = async { tokio::join!(watch, visit); } => return Err(ChildError::TimedOut.into()),
            }
        }
        let health: Health = self.connector.ask(HEALTH).await?;
        Ok(Phase {
            slices,
            heap_peak: health.heap_peak,
            heap: health.heap,
            rss_peak_kib: process.peak_rss_kib()?,
            rss_kib: process.rss_kib()?,
            files_peak,
            logins,
        })
    }

    /// Waits until there is no more going on than before, but not for ever.
    async fn settle(&mut self, before: &State) -> Result<State, MeasureError> {
        // What honest payments make it remember, and nothing else.
        let remembered_max = usize::try_from(self.options.rate).unwrap_or(usize::MAX).saturating_mul(REMEMBERED_S);
        self.wait(|state| no_more_going_on(state, before) && state.health.remembered <= remembered_max).await
    }

    /// Waits until nothing goes on any more.
    async fn rest(&mut self, before: Option<&State>) -> Result<State, MeasureError> {
        // The guest's last connection may still be closing.
        let calm = |state: &State| before.map_or(state.health.connections == HONEST_CONNECTIONS, |before| no_more_going_on(state, before));
        self.wait(|state| state.health.in_flight == 0 && calm(state)).await
    }

    async fn wait(&mut self, good: impl Fn(&State) -> bool) -> Result<State, MeasureError> {
        let until = Instant::now() + SETTLE_TIME_MAX;
        loop {
            let process = self.connector.process();
            let health: Health = self.connector.ask(HEALTH).await?;
            let state = State { health, files: process.open_files()? };
            if good(&state) || Instant::now() > until {
                return Ok(state);
            }
            // The honest peers' sockets are polled only when something is asked: a sign of life.
            let _ = self.pair.compare_books().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Compares the books, and ends.
    async fn end(mut self, after: &State) -> Vec<String> {
        match self.pair.compare_books().await {
            Ok(differences) => self.complaints.extend(differences),
            Err(error) => self.complaints.push(format!("the books can't be compared: {error}")),
        }
        if after.health.conservation != 0 {
            self.complaints.push(format!("the books are {} out of balance", after.health.conservation));
        }
        self.pair.close().await;
        let _ = self.connector.stop().await;
        self.complaints
    }
}

fn no_more_going_on(state: &State, before: &State) -> bool {
    let (now, then) = (&state.health, &before.health);
    now.connections <= then.connections
        && now.tasks <= then.tasks
        && now.in_flight <= then.in_flight
        && now.held <= then.held
        && state.files <= before.files
}

/// Honest ones first. Only the sender and the attackers have credit.
fn accounts() -> Result<Vec<Account>, NoRandomness> {
    let accounts = [("sender-1", u64::MAX), ("receiver-1", 0), ("guest", 0), (MALLORY, CREDIT), (ACCOMPLICE, CREDIT), (EVE, CREDIT)];
    let account =
        |(name, credit_limit): (&str, u64)| Ok(Account { name: name.to_owned(), token: hex::encode(random::<16>()?), credit_limit });
    accounts.into_iter().map(account).collect()
}

fn login(account: &Account) -> Login {
    Login { name: account.name.clone(), token: account.token.clone() }
}

/// The attackers' credit in base units, at one unit a payment: more than they can use.
const CREDIT: u64 = 1_000_000_000_000;
/// Sender and receiver; the guest is gone between runs.
const HONEST_CONNECTIONS: usize = 2;
/// How long a payment is remembered: its time to live, and a second.
const REMEMBERED_S: usize = 7;
/// Payments expire after 6 s, and are remembered for another one.
const LONG: Duration = Duration::from_secs(10);
const SMALL_LONG: Duration = Duration::from_millis(500);
const WINDOW: u32 = 65_536;
/// Quantiles are taken of so much at a time: then a disturbance from outside is in few of them, and not in the median.
const SLICE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const VISIT_EVERY: Duration = Duration::from_millis(100);
const SETTLE_TIME_MAX: Duration = Duration::from_secs(40);
const ANSWERS_TIME_MAX: Duration = Duration::from_secs(30);

/// On top of the connector's patience: buffers have to fill first, and signs of life be asked for, on a busy machine too.
const SETTLE: Duration = Duration::from_secs(5);
