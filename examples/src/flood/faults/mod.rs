//! `flood --faults`: payments while connections are lost all the time.
//!
//! ```text
//!   senders ──┐                       ┌──► senders' accounts
//!             ├──► proxy (faults) ──► connector
//!   receivers ┘                       └──► receivers' accounts
//! ```
//!
//! The peers dial again, say again what wasn't acknowledged, and know repeats (`payer`, `payee`, over `peer` and `line`). What both ends
//! of every payment know is compared with each other and, at the end, with the connector's books (`ledger`).

pub(crate) mod ledger;
mod line;
pub(crate) mod payee;
pub(crate) mod payer;
pub(crate) mod peer;
mod report;

pub(super) use report::FaultReport;

use super::child::{self, Child, Farewell, Hello};
use super::clock::Clock;
use super::connector::ADDRESS;
use super::invoice::Preimages;
use super::options::{FaultPlan, Login, Plan, Target, Until};
use super::progress::Progress;
use super::random::random;
use super::report::Decimal;
use super::{StartError, order, scratch};
use crate::proxy::{Faults, Proxy};
use ilp_clp::ws::TlsClientConfig;
use ilp_core::{Limits, Timing};
use ilp_oer::{Address, Timestamp};
use ledger::{Counts, Ledger, Settled};
use payee::Payee;
use payer::{Payer, Wishes};
use peer::{Peer, Phase, Place, Shared};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use report::{Outcomes, Reconnects, Sent};
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// The time rules of a connector whose connections are lost every second: short, so that many payments expire.
pub(super) const TIMING: Timing = Timing { window_ms: 1_000, grace_ms: 400, outgoing_ms_min: 100, hold_ms_max: 60_000, skew_ms_max: 2_000 };

/// What peers reckon with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The connector's time rules.
    pub(crate) timing: Timing,
    /// From when to when a payment lives, at its sender, in milliseconds.
    pub(crate) lifetime_ms: (i64, i64),
    /// A sender takes a fulfill for so long after its payment's expiry: it may have been on its way. Shorter than the connector's own
    /// grace, so that some fulfills that come late are refused.
    pub(crate) sender_grace_ms: i64,
    /// For so long after a transfer's expiry a receiver says its answer again.
    pub(crate) insist_ms: i64,
    /// The connector may end and come back: its deadlines are later then than its time rules say.
    pub(crate) restarts: bool,
}

const RULES: Rules = Rules { timing: TIMING, lifetime_ms: (1_500, 6_500), sender_grace_ms: 200, insist_ms: REMEMBERED_MS, restarts: false };

/// The connector's limits, with little patience for silent peers: half-open connections are found from both sides.
pub(crate) fn limits() -> Limits {
    let alive = Limits { ping_ms: 1_000, pong_ms: 1_500, stall_ms: 2_000, ..Limits::default() };
    Limits { handshake_ms: 2_000, unauthenticated_ms: 2_000, in_flight_bytes_per_account: 64 << 20, ..alive }
}

/// Makes the payments; gives the report and what is to be complained about.
pub(super) async fn drive(plan: &Plan, faults: &FaultPlan) -> Result<(FaultReport, Vec<String>), StartError> {
    let Target::Child { pairs, tls, store, store_dir } = &plan.target else { return Err(StartError::NeedsChild) };
    let logins = child::logins(*pairs)?;
    let scratch = scratch(*store, store_dir)?;
    let mut order = order(&logins, *tls, scratch.as_ref(), plan);
    order.impatient = true;
    let child: Child<Hello> = Child::start(&order).await?;
    let hello = child.hello();
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, hello.port))).await?;
    let scheme = if *tls { "wss" } else { "ws" };
    let shared = Shared {
        url: format!("{scheme}://{}/", proxy.local_addr()).parse()?,
        tls: match &hello.certificate {
            Some(certificate) => TlsClientConfig::trusting_certificate_pem(certificate.as_bytes())?,
            None => TlsClientConfig::public_roots()?,
        },
        clock: Clock::start(),
        in_order: true,
        ledger: RefCell::new(Ledger::new(logins.len())),
        phase: Cell::new(Phase::Paying),
        peers: (0..logins.len() * 2).map(|_| Cell::default()).collect(),
        journal: None,
    };
    let (mut payers, mut payees) = peers(plan, &logins)?;
    let (settled_in_time, (), ()) = tokio::join!(
        conduct(plan, faults, &proxy, &shared),
        async { drop(futures::future::join_all(payers.iter_mut().map(|peer| peer.run(&shared))).await) },
        async { drop(futures::future::join_all(payees.iter_mut().map(|peer| peer.run(&shared))).await) },
    );
    let time = shared.clock.started().elapsed();
    let books = child.stop().await;

    let names: Vec<_> = logins.iter().map(|(sender, receiver)| [sender.name.clone(), receiver.name.clone()]).collect();
    let mut ledger = shared.ledger.borrow_mut();
    let (settled, mut complaints) = match &books {
        Some(books) => ledger.settle(books, &names, plan.amount),
        None => (Settled::default(), vec!["the connector's books can't be had".to_owned()]),
    };
    if let Some(books) = &books {
        complaints.extend(differences(&shared, books));
    }
    if !settled_in_time {
        complaints.push("not everything came to an end after the last expiry".to_owned());
    }
    let pause = Duration::from_nanos(ledger.longest_pause_ns);
    if pause > PAUSE_MAX {
        complaints.push(format!("for {} s no payment ended", pause.as_secs()));
    }
    let outage = Duration::from_nanos(ledger.longest_outage_ns);
    let run = Figures { seed: faults.seed, tls: *tls, time, pause, outage, balances_ok: complaints.is_empty() };
    Ok((report(&run, &proxy, &ledger.counts, settled, books.as_ref()), complaints))
}

type Peers = (Vec<Peer<Payer>>, Vec<Peer<Payee>>);

fn peers(plan: &Plan, logins: &[(Login, Login)]) -> Result<Peers, StartError> {
    let (mut payers, mut payees) = (Vec::new(), Vec::new());
    let connector = Address::new(ADDRESS)?;
    for (pair, (sender, receiver)) in logins.iter().enumerate() {
        let addresses = [connector.join(&sender.name)?, connector.join(&receiver.name)?];
        // The sender only ever draws invoices; the preimages are the receiver's business.
        let (secret, nonces) = (random()?, random()?);
        let payee = Payee::new(pair, addresses[1].clone(), Preimages::new(secret, random()?), RULES);
        let rng = || Ok::<_, StartError>(ChaCha12Rng::from_seed(random()?));
        let wishes = Wishes { load: plan.load, amounts: plan.amount..=plan.amount, padding: PADDING_BYTES, rules: RULES };
        let payer = Payer::new(pair, addresses, wishes, rng()?, Preimages::new(secret, nonces));
        let (login, place, number) = (sender.clone(), Place::Sender, pair * 2);
        payers.push(Peer { side: payer, login, place, number, random: rng()? });
        let (login, place, number) = (receiver.clone(), Place::Receiver, pair * 2 + 1);
        payees.push(Peer { side: payee, login, place, number, random: rng()? });
    }
    Ok((payers, payees))
}

/// Lets things go wrong as long as payments are started, then lets everything come to its end. Whether it did.
async fn conduct(plan: &Plan, faults: &FaultPlan, proxy: &Proxy, shared: &Shared) -> bool {
    let mut progress = Progress::new(&plan.load.until);
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = proxy.torment(Faults::new(faults.seed), faults.every) => {}
        () = paid(plan.load.until, shared, &mut progress) => {}
        () = interrupted => {}
    }
    progress.finish();
    shared.phase.set(Phase::Settling);
    proxy.heal();
    let patience = Instant::now() + SETTLE_TIME_MAX;
    let last_expiry = shared.ledger.borrow().last_expiry.unwrap_or(Timestamp::MIN);
    // By then nobody owes anybody anything, and the receivers know as much as they ever will.
    let over = last_expiry.saturating_add_millis(TIMING.skew_ms_max);
    let mut settled = false;
    while !settled && Instant::now() < patience {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            // The second one.
            Ok(()) = tokio::signal::ctrl_c() => break,
        }
        // Asked for when all was over, so that the last books are the final ones.
        settled = shared.peers.iter().all(|peer| peer.get().idle && peer.get().books_at.is_some_and(|at| at > over));
    }
    shared.phase.set(Phase::Over);
    settled
}

/// Waits until no more payments are to be started.
async fn paid(until: Until, shared: &Shared, progress: &mut Progress) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = shared.clock.now();
        let mut ledger = shared.ledger.borrow_mut();
        ledger.close_before(now.wall.saturating_sub_millis(FORGET_MS));
        progress.show(ledger.counts.ended(), now);
        let over = match until {
            Until::Count(count) => ledger.counts.started >= count,
            Until::Elapsed(time) => shared.clock.started().elapsed() >= time,
        };
        if over {
            return;
        }
    }
}

/// What the connector told its peers at the end must be what it says itself.
fn differences(shared: &Shared, books: &Farewell) -> Vec<String> {
    let told = shared.peers.iter().enumerate().filter_map(|(number, peer)| Some((number, peer.get().books?)));
    let name = |number: usize| format!("{}-{}", if number.is_multiple_of(2) { "sender" } else { "receiver" }, number / 2 + 1);
    told.filter_map(|(number, told)| {
        let own = books.accounts.iter().find(|account| account.name == name(number))?;
        let (told, own) = ((told.balance, told.held), (own.balance, own.held));
        (told != own).then(|| format!("account {}: its peer was told {told:?}, the books say {own:?}", name(number)))
    })
    .collect()
}

struct Figures {
    seed: u64,
    tls: bool,
    time: Duration,
    pause: Duration,
    outage: Duration,
    balances_ok: bool,
}

fn report(run: &Figures, proxy: &Proxy, counts: &Counts, settled: Settled, books: Option<&Farewell>) -> FaultReport {
    let [senders, receivers] = counts.reconnects;
    FaultReport {
        payments: counts.started,
        seconds: Decimal::seconds(run.time).unwrap_or(Decimal::ZERO),
        seed: run.seed,
        tls: run.tls,
        faults: proxy.counts(),
        reconnects: Reconnects { senders, receivers },
        resent: Sent { prepares: counts.resent_prepares, fulfills: counts.resent_fulfills, rejects: counts.resent_rejects },
        duplicates: Sent { prepares: counts.duplicate_prepares, fulfills: counts.duplicate_fulfills, rejects: counts.duplicate_rejects },
        outcomes: Outcomes { fulfilled: counts.fulfilled, rejected: counts.rejected.clone(), timed_out: counts.timed_out },
        late_fulfills: counts.late_fulfills,
        unconfirmed: books.map(|books| books.unconfirmed),
        disputed: books.map(|books| books.disputed),
        lost: books.map(|books| books.lost),
        charged_unseen: settled.charged_unseen,
        unknown_to_both: settled.unknown_to_both,
        stuck: books.map(|books| books.in_flight),
        balances_ok: run.balances_ok,
        longest_pause_seconds: Decimal::seconds(run.pause).unwrap_or(Decimal::ZERO),
        longest_outage_seconds: Decimal::seconds(run.outage).unwrap_or(Decimal::ZERO),
    }
}

/// For so long after a transfer's expiry the connector remembers it: until the incoming side's expiry and the skew. Less a bit: it is
/// the time when an answer comes here that counts.
const REMEMBERED_MS: i64 = TIMING.window_ms + TIMING.skew_ms_max - REMEMBERED_LESS_MS;
const REMEMBERED_LESS_MS: i64 = 500;
/// The connector's clock follows the system's by other steps than ours, and a timer has its grain.
const CLOCKS_DIFFER_MS: i64 = 100;
/// After so long nothing can come any more that has to do with a payment.
const FORGET_MS: i64 = 8_000;
/// Data of a transport protocol, before the nonce.
const PADDING_BYTES: usize = 80;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// From the end of the faults to the end of everything: the longest payment's life, what the connector remembers, and room.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(40);
/// Longer than any payment's life and any connection's loss.
const PAUSE_MAX: Duration = Duration::from_secs(20);
