//! Two connectors with a bad line between them: each payment has one outcome, and both books agree but for what is listed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use async_trait::async_trait;
use futures::future::join_all;
use ilp_core::link::PeerProtocol::Clp;
use ilp_core::runtime::{Connector, PayError};
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Limits, Receiver, Rejection, Timing, Tokens};
use ilp_examples::proxy::{Fault, Faults, Kind, Lanes, Proxy, Victim};
use ilp_oer::{Address, Amount, Fulfillment};
use ilp_plugins::clp::{ClpDialler, ClpListener, TlsClientConfig};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// The preimage of a payment is the hash of its data.
#[derive(Debug)]
struct Shop;

#[async_trait]
impl Receiver for Shop {
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection> {
        // Some are still held when the line is cut, and come again.
        let last = payment.data.last().copied().map_or(0, u64::from);
        tokio::time::sleep(Duration::from_millis(last % 4 * 500)).await;
        Ok(preimage(&payment.data))
    }
}

fn preimage(data: &[u8]) -> Fulfillment {
    Fulfillment::new(Sha256::digest(data).into())
}

const TIMING: Timing = Timing { window_ms: 500, grace_ms: 300, outgoing_ms_min: 100, hold_ms_max: 60_000, skew_ms_max: 500 };

fn limits() -> Limits {
    Limits { ping_ms: 200, pong_ms: 400, stall_ms: 600, handshake_ms: 600, unauthenticated_ms: 600, ..Limits::default() }
}

fn xrp() -> Asset {
    Asset::new("XRP", 6)
}

/// Ann takes payments; Bob's connector dials hers through the proxy.
async fn connectors() -> (Connector, Connector, Proxy) {
    let (ann_address, bob_address): (Address, Address) = ("test.ann".parse().unwrap(), "test.bob".parse().unwrap());
    let bob = AccountConfig { credit_limit: 1_000_000, ..AccountConfig::new(AccountId::new(1, "bob").unwrap(), xrp()) };
    let tokens = Tokens::new();
    tokens.insert(b"bob", bob.id.clone(), Clp, b"secret");
    let listener = ClpListener::bind(ann_address.clone(), "ws://127.0.0.1:0", None).await.unwrap();
    let proxy = Proxy::start(listener.local_addr()).await.unwrap();
    let anns = Connector::builder("test.ann").account(bob).authenticator(Arc::new(tokens)).endpoint(listener).receiver(Shop);
    let anns = anns.timing(TIMING).limits(limits()).start().await.unwrap();

    let ann = AccountConfig { routes: vec![ann_address], ..AccountConfig::new(AccountId::new(1, "ann").unwrap(), xrp()) };
    let (url, tls) = (format!("ws://{}", proxy.local_addr()).parse().unwrap(), TlsClientConfig::public_roots().unwrap());
    let dialler = ClpDialler::new(bob_address, ann.id.clone(), Clp, url, "bob", b"secret", tls);
    let bobs = Connector::builder("test.bob").account(ann).endpoint(dialler).timing(TIMING).limits(limits()).start().await.unwrap();
    (anns, bobs, proxy)
}

/// Pays one unit after so long; whether it was fulfilled.
async fn pay(bobs: &Connector, number: u32) -> bool {
    tokio::time::sleep(Duration::from_millis(4) * number).await;
    let data = number.to_be_bytes();
    let expires_at = bobs.now().saturating_add_millis(i64::from(1_500 + number % 7 * 300));
    let (to, amount) = ("test.ann.shop".parse().unwrap(), Amount::new(1));
    match bobs.pay_with(&to, amount, preimage(&data).condition(), expires_at, data.to_vec().into()).await {
        Ok(fulfillment) => {
            assert_eq!(fulfillment, preimage(&data));
            true
        }
        Err(PayError::Refused { .. }) => false,
        Err(error) => panic!("no outcome: {error}"),
    }
}

/// Ann's answers are held up for so long that Bob gives the connection up: he knows nothing of what she holds, and says it again.
async fn withhold_answers(proxy: &Proxy) {
    let kind = Kind::Delay { lanes: Lanes::Down, time: Duration::from_secs(2) };
    loop {
        tokio::time::sleep(Duration::from_millis(1_700)).await;
        proxy.inject(Fault { kind, victim: Victim::Live(0) });
    }
}

#[tokio::test]
async fn two_connectors_agree_after_losing_their_connection_again_and_again() {
    let (anns, bobs, proxy) = connectors().await;
    let paid = tokio::select! {
        () = proxy.torment(Faults::new(4), Duration::from_millis(700)) => unreachable!(),
        () = withhold_answers(&proxy) => unreachable!(),
        paid = join_all((0..1_200).map(|number| pay(&bobs, number))) => paid,
    };
    let paid = i128::try_from(paid.iter().filter(|paid| **paid).count()).unwrap();
    // How many faults there is time for depends on the machine.
    assert!(paid > 20 && proxy.counts().values().sum::<u64>() > 2, "{paid} paid, {:?}", proxy.counts());
    proxy.heal();
    for connector in [&anns, &bobs] {
        while connector.status().await.unwrap().worker.in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    let (ann, bob) = (anns.status().await.unwrap().worker, bobs.status().await.unwrap().worker);
    assert_eq!((ann.conservation(&xrp()), bob.conservation(&xrp())), (0, 0));
    // Bob owes Ann what he had a preimage for, and not a unit more.
    assert_eq!((bob.accounts[0].balance, bob.accounts[0].totals.incoming_prepared), (paid, 0));
    // Ann has charged all of that, and what she lists.
    let charged = -ann.accounts[0].balance;
    let listed = i128::from(ann.counters.unconfirmed + ann.counters.disputed);
    assert!((paid..=paid + listed).contains(&charged), "{paid} paid, {charged} charged, {listed} listed, {:?}", ann.counters);
    assert_eq!(ann.accounts[0].totals.incoming_prepared, 0);
    let _ = (bobs.stop(Duration::ZERO).await, anns.stop(Duration::ZERO).await);
}
