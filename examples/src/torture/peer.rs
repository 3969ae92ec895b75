//! A payer or payee in a process of its own, which is never killed and keeps a journal of all that it says and hears.

use super::journal::Journal;
use super::{ADDRESS, RULES};
use crate::flood::clock::Clock;
use crate::flood::faults::ledger::Ledger;
use crate::flood::faults::payee::Payee;
use crate::flood::faults::payer::{Payer, Wishes};
use crate::flood::faults::peer::{Peer, Phase, Place, Shared, Side, Standing};
use crate::flood::invoice::Preimages;
use crate::flood::options::{Load, Login, Until};
use ilp_clp::ws::TlsClientConfig;
use ilp_oer::Address;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the child is told first: one line of JSON on its input.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// Where the connector is, now and then, on 127.0.0.1.
    pub(super) port: u16,
    /// The connector's workers.
    pub(super) workers: u16,
    pub(super) name: String,
    pub(super) token: String,
    /// The account at the other end.
    pub(super) partner: String,
    pub(super) is_payer: bool,
    /// What preimages are made of: the payer's and the payee's alone.
    pub(super) secret: [u8; 32],
    pub(super) seed: u64,
    /// Payments a second.
    pub(super) rate: u32,
    pub(super) journal: PathBuf,
}

/// What it is told later, a word a line. To each it answers with a [`State`], in a line of JSON.
pub(super) mod words {
    /// How it is.
    pub(in super::super) const HOW: &str = "how";
    /// Start no more payments.
    pub(in super::super) const SETTLE: &str = "settle";
    /// It is over.
    pub(in super::super) const END: &str = "end";
}

/// How a peer is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Payments that it has started.
    pub(super) started: u64,
    /// Payments whose end it has seen, as their payer.
    pub(super) ended: u64,
    /// Connections beyond the first.
    pub(super) reconnects: u64,
    /// Nothing is under way any more.
    pub(super) idle: bool,
    /// When its last payment expires, in milliseconds since 1970.
    pub(super) last_expiry_ms: Option<i64>,
    /// For when the connector has last told it how its account stands.
    pub(super) books_at_ms: Option<i64>,
    /// What the connector must never do and has done, by what it is.
    pub(super) wrong: BTreeMap<String, u64>,
    /// Why it can't go on.
    pub(super) failure: Option<String>,
}

/// Is a peer until its input ends, or it is told to.
pub(super) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "torture: peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let mut lines = BufReader::new(stdin()).lines();
    let Some(line) = lines.next() else { return Ok(()) };
    let order: Order = serde_json::from_str(&line?)?;
    let journal = Rc::new(Journal::create(&order.journal)?);
    // Reading the standard input blocks.
    let (words, heard) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if words.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connections = journal.clone();
    let shared = Shared {
        url: format!("ws://127.0.0.1:{}/", order.port).parse()?,
        tls: TlsClientConfig::public_roots()?,
        clock: Clock::start(),
        in_order: order.workers == 1,
        ledger: RefCell::new(Ledger::one_sided()),
        phase: Cell::new(Phase::Paying),
        peers: vec![Cell::default()],
        journal: Some(Box::new(move || connections.connection())),
    };
    say(&State::default())?;
    let mut random = ChaCha12Rng::seed_from_u64(order.seed);
    let connector = Address::new(ADDRESS)?;
    let addresses = [connector.join(&order.name)?, connector.join(&order.partner)?];
    let mut nonces = [0; 32];
    random.fill_bytes(&mut nonces);
    let preimages = Preimages::new(order.secret, nonces);
    runtime.block_on(async {
        if order.is_payer {
            let load = Load { until: Until::Elapsed(Duration::MAX), rate: Some(order.rate), window_per_pair: WINDOW, window: WINDOW };
            let wishes = Wishes { load, amounts: 1..=AMOUNT_MAX, padding: PADDING_BYTES, rules: RULES };
            let payer = Payer::new(0, addresses, wishes, random.clone(), preimages);
            run(payer, Place::Sender, &order, random, &shared, heard, &journal).await
        } else {
            let [own, _] = addresses;
            run(Payee::new(0, own, preimages, RULES), Place::Receiver, &order, random, &shared, heard, &journal).await
        }
    })?;
    journal.sync()?;
    say(&state(&shared, &journal))
}

async fn run(
    side: impl Side,
    place: Place,
    order: &Order,
    random: ChaCha12Rng,
    shared: &Shared,
    heard: mpsc::Receiver<String>,
    journal: &Journal,
) -> Result<(), Error> {
    let login = Login { name: order.name.clone(), token: order.token.clone() };
    let mut peer = Peer { side, login, place, number: 0, random };
    let ((), obeyed) = tokio::join!(peer.run(shared), obey(shared, heard, journal));
    obeyed
}

/// Does what the parent says, until there is no parent any more.
async fn obey(shared: &Shared, mut heard: mpsc::Receiver<String>, journal: &Journal) -> Result<(), Error> {
    while let Some(word) = heard.recv().await {
        match word.as_str() {
            words::HOW => {}
            words::SETTLE => shared.phase.set(Phase::Settling),
            _ => break,
        }
        say(&state(shared, journal))?;
    }
    shared.phase.set(Phase::Over);
    Ok(())
}

fn state(shared: &Shared, journal: &Journal) -> State {
    let ledger = shared.ledger.borrow();
    let Standing { idle, books_at, .. } = shared.peers.first().map(Cell::get).unwrap_or_default();
    State {
        started: ledger.counts.started,
        ended: ledger.counts.ended(),
        reconnects: ledger.counts.reconnects.iter().sum(),
        idle,
        last_expiry_ms: ledger.last_expiry.map(|at| at.unix_millis()),
        books_at_ms: books_at.map(|at| at.unix_millis()),
        wrong: ledger.wrongs().iter().map(|(what, count)| ((*what).to_owned(), *count)).collect(),
        failure: journal.failure(),
    }
}

fn say(state: &State) -> Result<(), Error> {
    let mut out = stdout().lock();
    writeln!(out, "{}", serde_json::to_string(state)?)?;
    out.flush()?;
    Ok(())
}

/// More than can be in flight at the rate of a run.
const WINDOW: u32 = 4_000;
/// Payments of all sizes, so that no two sums are the same by chance.
const AMOUNT_MAX: u64 = 1_000;
/// So much that the log grows fast enough for snapshots to come by.
const PADDING_BYTES: usize = 500;
