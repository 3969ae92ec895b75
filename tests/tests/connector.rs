//! The connector over sockets: logging in, its own addresses, live accounts, stopping, many in one process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use ilp_clp::ws::TlsClientConfig;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, PayError};
use ilp_core::{AccountConfig, AccountError, AccountId, Asset, IncomingPayment, Limits, Receiver, Rejection, Tokens};
use ilp_oer::sub::{Liquidity, names};
use ilp_oer::{Address, Amount, ErrorCode, Fulfillment};
use ilp_plugins::clp::{ClpDialler, ClpListener};
use ilp_tests::{Network, RawPeer, Seen, id_of, preimage};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn everything_but_setup_is_refused_before_authentication() {
    let network = Network::start().await;
    let mut stranger = RawPeer::dial(&network.url, &TlsClientConfig::public_roots().unwrap()).await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    let request = stranger.prepare(id_of(1), "test.ann.bob", 1, preimage(1).condition(), expires_at).await;
    assert_eq!(stranger.next().await, Seen::Error(request, "F00".into()));
    let request = stranger.message(names::LIQUIDITY, &Liquidity::Request.to_vec().unwrap()).await;
    assert_eq!(stranger.next().await, Seen::Error(request, "F00".into()));
    // Nothing is lost by that.
    let request = stranger.authenticate("alice", "alice-token").await;
    assert!(matches!(stranger.next().await, Seen::Response(id, _) if id == request));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_wrong_token_and_an_unknown_account_look_alike_and_end_the_connection() {
    let network = Network::start().await;
    for (name, token) in [("alice", "wrong"), ("nobody", "alice-token"), ("", "")] {
        let mut stranger = RawPeer::dial(&network.url, &TlsClientConfig::public_roots().unwrap()).await;
        let request = stranger.authenticate(name, token).await;
        assert_eq!(stranger.next().await, Seen::Error(request, "F00".into()), "{name}");
        assert_eq!(stranger.next_or_end().await, None);
    }
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn liquidity_says_what_may_still_be_sent() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let _bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    alice.prepare(id_of(1), "test.ann.bob", 300, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    alice.message(names::LIQUIDITY, &Liquidity::Request.to_vec().unwrap()).await;
    let Seen::Response(_, data) = alice.next().await else { panic!() };
    let Ok(Liquidity::Answer(answer)) = Liquidity::decode(&data) else { panic!() };
    assert_eq!((answer.available, answer.balance, answer.credit_limit, answer.held), (700, -300, 1_000, 300));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[derive(Debug)]
struct Shop;

#[async_trait]
impl Receiver for Shop {
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection> {
        match payment.destination.as_str() {
            "test.ann.shop" => Ok(preimage(1)),
            "test.ann.broken" => panic!("a receiver that panics"),
            _ => Err(Rejection { code: ErrorCode::F99_APPLICATION_ERROR, message: "no such article".into() }),
        }
    }
}

#[tokio::test]
async fn the_receiver_takes_refuses_and_may_panic() {
    let network = Network::with(|builder| builder.receiver(Shop)).await;
    let mut alice = network.login("alice").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    for (n, to, code) in [(1, "test.ann.shop", None), (2, "test.ann.other", Some("F99")), (3, "test.ann.broken", Some("T00"))] {
        let request = alice.prepare(id_of(n), to, 10, preimage(1).condition(), expires_at).await;
        assert_eq!(alice.next().await, Seen::Ack(request));
        match alice.next().await {
            Seen::Fulfill { request, id, fulfillment } => {
                assert_eq!((id, fulfillment, code), (id_of(n), preimage(1), None));
                alice.ack(request).await;
            }
            Seen::Reject { request, id, code: got } => {
                assert_eq!((id, Some(got.as_str())), (id_of(n), code));
                alice.ack(request).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(network.balance("alice").await, -10);
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn pay_pays_and_a_dropped_call_does_not_undo() {
    let network = Network::start().await;
    let mut bob = network.login("bob").await;
    let bobs = Address::new("test.ann.bob.invoice").unwrap();
    let expires_at = network.connector.now().saturating_add_millis(5_000);
    let pay = network.connector.pay(&bobs, Amount::new(7), preimage(1).condition(), expires_at);
    let (paid, ()) = tokio::join!(pay, async {
        let Seen::Prepare { request, id, amount: 7, .. } = bob.next().await else { panic!() };
        bob.ack(request).await;
        bob.fulfill(id, preimage(1)).await;
        assert!(matches!(bob.next().await, Seen::Ack(_)));
    });
    assert_eq!(paid, Ok(preimage(1)));
    {
        let pay = network.connector.pay(&bobs, Amount::new(5), preimage(2).condition(), expires_at);
        tokio::pin!(pay);
        let id = tokio::select! {
            _ = &mut pay => panic!("paid by nobody"),
            seen = bob.next() => match seen { Seen::Prepare { id, .. } => id, other => panic!("{other:?}") },
        };
        // The call is dropped at the end of this block.
        bob.fulfill(id, preimage(2)).await;
    }
    assert!(matches!(bob.next().await, Seen::Ack(_)));
    assert_eq!(network.balance("bob").await, 12);
    let nowhere = Address::new("test.nowhere").unwrap();
    let refused = network.connector.pay(&nowhere, Amount::new(1), preimage(3).condition(), expires_at).await;
    assert!(matches!(refused, Err(PayError::Refused { code, .. }) if code == ErrorCode::F02_UNREACHABLE), "{refused:?}");
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn events_say_what_happens_and_a_reader_that_is_behind_stops_the_reading() {
    use ilp_core::Event;
    let (sender, mut events) = tokio::sync::mpsc::channel(1);
    let network = Network::with(|builder| builder.events(sender)).await;
    let accounts = network.connector.status().await.unwrap().worker.accounts.len();
    for number in (1..).take(accounts) {
        let told = events.recv().await.unwrap();
        assert!(matches!(told.event, Event::AccountOpened { .. }) && told.number == Some(number), "{told:?}");
    }
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    for n in 1..=4 {
        alice.prepare(id_of(n), "test.ann.bob", 10, preimage(n).condition(), expires_at).await;
        // Only the first is read: its event fills the channel, that of the second waits.
        if n <= 2 {
            let Seen::Prepare { .. } = bob.next().await else { panic!() };
        }
        if n == 2 {
            while network.connector.status().await.unwrap().worker.counters.accepted < 2 {
                tokio::task::yield_now().await;
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(network.connector.status().await.unwrap().worker.counters.accepted, 2, "it read on");
    let mut accepted = 0;
    while accepted < 4 {
        let Event::Accepted { from, to, incoming_amount, .. } = events.recv().await.unwrap().event else { panic!() };
        assert_eq!((from.unwrap().name(), to.unwrap().name(), incoming_amount.get()), ("alice", "bob", 10));
        accepted += 1;
    }
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn accounts_come_and_go_live() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let carol = AccountId::new(1, "carol").unwrap();
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    let request = alice.prepare(id_of(1), "test.carol.x", 1, preimage(1).condition(), expires_at).await;
    assert_eq!(alice.next().await, Seen::Error(request, "F02".into()));
    let config =
        AccountConfig { routes: vec![Address::new("test.carol").unwrap()], ..AccountConfig::new(carol.clone(), Asset::new("XRP", 6)) };
    network.connector.add_account(config).await.unwrap();
    let request = alice.prepare(id_of(1), "test.carol.x", 1, preimage(1).condition(), expires_at).await;
    assert_eq!(alice.next().await, Seen::Error(request, "T01".into()));
    network.connector.remove_account(&carol, false).await.unwrap();
    let request = alice.prepare(id_of(1), "test.carol.x", 1, preimage(1).condition(), expires_at).await;
    assert_eq!(alice.next().await, Seen::Error(request, "F02".into()));
    let unknown = network.connector.remove_account(&carol, false).await;
    assert_eq!(unknown, Err(AccountError::Unknown(carol)));
    let other = AccountConfig::new(AccountId::new(1, "bob").unwrap(), Asset::new("EUR", 2));
    assert!(matches!(network.connector.add_account(other).await, Err(AccountError::OtherAsset { .. })));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn stop_waits_for_what_is_in_flight_and_refuses_what_is_new() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    alice.prepare(id_of(1), "test.ann.bob", 1, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    let Seen::Prepare { request, id, .. } = bob.next().await else { panic!() };
    bob.ack(request).await;
    let (report, ()) = tokio::join!(network.connector.stop(Duration::from_secs(20)), async {
        let request = loop {
            // Until the stop has begun, a new payment may still be held; this one never is, for lack of time.
            let request = alice.prepare(id_of(2), "test.ann.bob", 1, preimage(2).condition(), expires_at).await;
            match alice.next().await {
                Seen::Error(of, code) if of == request && code == "T03" => break request,
                Seen::Ack(of) if of == request => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(request > 0);
        bob.fulfill(id, preimage(1)).await;
        loop {
            match bob.next().await {
                // The one that slipped in before the stop.
                Seen::Prepare { request, id, .. } => {
                    bob.ack(request).await;
                    bob.fulfill(id, preimage(2)).await;
                }
                Seen::Ack(_) => break,
                other => panic!("{other:?}"),
            }
        }
        while let Some(seen) = alice.next_or_end().await {
            if let Seen::Fulfill { request, .. } = seen {
                alice.ack(request).await;
            }
        }
    });
    assert!(report.drained, "{report:?}");
}

#[tokio::test]
async fn stop_lists_what_did_not_end_in_time() {
    let network = Network::start().await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(10_000);
    alice.prepare(id_of(1), "test.ann.bob", 1, preimage(1).condition(), expires_at).await;
    let Seen::Prepare { .. } = bob.next().await else { panic!() };
    let report = network.connector.stop(Duration::ZERO).await;
    assert!(!report.drained);
    assert_eq!(report.worker.unwrap().in_flight, 1);
}

/// A ring of connectors: number i dials number i + 1, and pays through all others to itself's neighbour before it.
#[test]
fn a_hundred_connectors_in_one_process_pass_payments_round_a_ring_and_leave_nothing_behind() {
    const MEMBERS: usize = 100;
    const HOPS: usize = 8;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (tasks, files) = (tokio::runtime::Handle::current().metrics().num_alive_tasks(), open_files());
        ring(MEMBERS, HOPS).await;
        // Sockets are closed by the tasks that end; both are gone shortly after the last stop.
        let gone = async {
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > tasks || open_files() > files {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), gone).await;
        let now = (tokio::runtime::Handle::current().metrics().num_alive_tasks(), open_files());
        assert!(in_time.is_ok(), "tasks and files before {:?}, now {now:?}", (tasks, files));
    });
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[derive(Debug)]
struct Member;

#[async_trait]
impl Receiver for Member {
    async fn receive(&self, _: IncomingPayment) -> Result<Fulfillment, Rejection> {
        Ok(preimage(9))
    }
}

async fn ring(members: usize, hops: usize) {
    let account = |name: &str, routes: Vec<Address>| AccountConfig {
        credit_limit: 1_000_000,
        routes,
        ..AccountConfig::new(AccountId::new(1, name).unwrap(), Asset::new("XRP", 6))
    };
    // Every member takes its predecessor's connection, and dials its successor with a route to the `hops` members after it.
    let mut listeners = Vec::new();
    for i in 0..members {
        let address = Address::new(format!("test.m{i}")).unwrap();
        listeners.push(ClpListener::bind(address, "ws://127.0.0.1:0", None).await.unwrap());
    }
    let urls: Vec<String> = listeners.iter().map(ClpListener::url).collect();
    let timing = ilp_core::Timing { window_ms: 1_000, grace_ms: 500, outgoing_ms_min: 100, ..ilp_core::Timing::default() };
    let mut connectors = Vec::new();
    for (i, listener) in listeners.into_iter().enumerate() {
        let next = (i + 1) % members;
        let before = AccountId::new(1, "before").unwrap();
        let after = AccountId::new(1, "after").unwrap();
        let tokens = Tokens::new();
        tokens.insert(b"before", before, PeerProtocol::Clp, b"secret");
        let routes = (1..=hops).map(|k| Address::new(format!("test.m{}", (i + k) % members)).unwrap()).collect();
        let name = format!("test.m{i}");
        let tls = TlsClientConfig::public_roots().unwrap();
        let url = urls[next].parse().unwrap();
        let dialler = ClpDialler::new(Address::new(&name).unwrap(), after, PeerProtocol::Clp, url, "before", b"secret", tls);
        let connector = Connector::builder(&name)
            .timing(timing)
            .authenticator(Arc::new(tokens))
            .account(account("before", vec![]))
            .account(account("after", routes))
            .receiver(Member)
            .endpoint(listener)
            .endpoint(dialler)
            .start()
            .await
            .unwrap();
        connectors.push(connector);
    }
    for connector in &connectors {
        let connected = async {
            loop {
                let status = connector.status().await.unwrap();
                if status.worker.accounts.iter().all(|account| account.connected) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), connected).await.unwrap();
    }
    // One payment from each, over several hops: all members pass on what the others pay.
    let pays = connectors.iter().enumerate().map(|(i, connector)| async move {
        let to = Address::new(format!("test.m{}.shop", (i + hops) % members)).unwrap();
        let expires_at = connector.now().saturating_add_millis(60_000);
        connector.pay(&to, Amount::new(3), preimage(9).condition(), expires_at).await
    });
    let mut paid = Vec::new();
    for pay in pays {
        paid.push(pay.await);
    }
    assert!(paid.iter().all(|result| *result == Ok(preimage(9))), "{paid:?}");
    for connector in connectors {
        let report = connector.stop(Duration::from_secs(10)).await;
        let worker = report.worker.unwrap();
        assert!(report.drained);
        let balance = |name| worker.accounts.iter().find(|account| account.id.name() == name).unwrap().balance;
        let each = i128::try_from(hops).unwrap() * 3;
        assert_eq!((balance("before"), balance("after")), (-each, each));
        assert_eq!(worker.conservation(&Asset::new("XRP", 6)), 0);
    }
}

#[tokio::test]
async fn one_stranger_too_many_ends_the_oldest_and_nobody_elses_connection() {
    let limits = Limits { unauthenticated: 2, ..Limits::default() };
    let network = Network::with(|builder| builder.limits(limits)).await;
    let mut alice = network.login("alice").await;
    let tls = TlsClientConfig::public_roots().unwrap();
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(RawPeer::dial(&network.url, &tls).await);
    }
    let mut oldest = strangers.remove(0);
    let ended = tokio::time::timeout(Duration::from_secs(10), oldest.next_or_end()).await;
    assert_eq!(ended, Ok(None));
    // Who was there before, and who comes now, is none the worse for it.
    let bob = network.login("bob").await;
    alice.message(names::LIQUIDITY, &Liquidity::Request.to_vec().unwrap()).await;
    assert!(matches!(alice.next().await, Seen::Response(..)));
    drop((bob, strangers));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_dead_peer_is_found_and_its_account_can_be_told_so() {
    let limits = Limits { ping_ms: 30, pong_ms: 60, ..Limits::default() };
    let network = Network::with(|builder| builder.limits(limits)).await;
    // Nobody polls alice's socket from here on, as if her machine had died.
    let _alice = network.login("alice").await;
    let gone = async {
        loop {
            let status = network.connector.status().await.unwrap();
            if status.worker.accounts.iter().all(|account| !account.connected) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    let notices = network.notices.lock().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(notices.iter().any(|notice| notice.contains("no sign of life")), "{notices:?}");
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_account_that_logs_in_again_and_again_waits_its_turn() {
    let limits = Limits { login_ms: 300, ..Limits::default() };
    let network = Network::with(|builder| builder.limits(limits)).await;
    let mut first = network.login("alice").await;
    let began = std::time::Instant::now();
    let mut second = network.login("alice").await;
    assert!(began.elapsed() >= Duration::from_millis(300), "let in after {:?}", began.elapsed());
    // The newest wins, and nobody else is concerned.
    assert_eq!(first.next_or_end().await, None);
    second.message(names::LIQUIDITY, &Liquidity::Request.to_vec().unwrap()).await;
    assert!(matches!(second.next().await, Seen::Response(..)));
    let _bob = network.login("bob").await;
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn of_the_logins_that_wait_for_their_turn_the_newest_wins() {
    let limits = Limits { login_ms: 500, ..Limits::default() };
    let network = Network::with(|builder| builder.limits(limits)).await;
    let tls = TlsClientConfig::public_roots().unwrap();
    let heard = |frames: usize| {
        let connector = &network.connector;
        async move {
            // Connections that have said something.
            while connector.status().await.unwrap().connections.iter().filter(|one| one.traffic.frames_in > 0).count() != frames {
                tokio::task::yield_now().await;
            }
        }
    };
    let mut first = network.login("alice").await;
    // Takes a place that the newest connection gets after it.
    let mut stranger = RawPeer::dial(&network.url, &tls).await;
    stranger.message(names::LIQUIDITY, &Liquidity::Request.to_vec().unwrap()).await;
    heard(2).await;
    let mut older = RawPeer::dial(&network.url, &tls).await;
    older.authenticate("alice", "alice-token").await;
    heard(3).await;
    drop(stranger);
    heard(2).await;
    let mut newest = RawPeer::dial(&network.url, &tls).await;
    newest.authenticate("alice", "alice-token").await;
    assert!(matches!(newest.next().await, Seen::Response(..)));
    // The older one is told nothing but good-bye.
    assert_eq!((first.next_or_end().await, older.next_or_end().await), (None, None));
    newest.message(names::LIQUIDITY, &Liquidity::Request.to_vec().unwrap()).await;
    assert!(matches!(newest.next().await, Seen::Response(..)));
    let _ = network.connector.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn who_asks_more_than_its_allowance_is_read_later_and_nobody_else_is() {
    let limits = Limits { fruitless_frames_per_second: 50, ..Limits::default() };
    let network = Network::with(|builder| builder.limits(limits)).await;
    let (mut alice, mut bob) = (network.login("alice").await, network.login("bob").await);
    let request = Liquidity::Request.to_vec().unwrap();
    let began = std::time::Instant::now();
    for _ in 0..100 {
        alice.message(names::LIQUIDITY, &request).await;
    }
    bob.message(names::LIQUIDITY, &request).await;
    assert!(matches!(bob.next().await, Seen::Response(..)));
    for _ in 0..100 {
        assert!(matches!(alice.next().await, Seen::Response(..)));
    }
    // 50 and some are answered at once, and the debt has to be waited off before the others are.
    assert!(began.elapsed() >= Duration::from_millis(300), "all answered after {:?}", began.elapsed());
    let _ = network.connector.stop(Duration::ZERO).await;
}
