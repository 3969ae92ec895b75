//! The connector dials: the peer is a node, which lets every name in and gives it credit.

use super::{fulfill, fulfilled};
use ilp_clp::ws::TlsClientConfig;
use ilp_core::link::PeerProtocol;
use ilp_core::{AccountConfig, AccountId, Asset};
use ilp_oer::Address;
use ilp_plugins::clp::ClpDialler;
use ilp_tests::{JumpingClock, Network, Peer2017, Seen, id_of, preimage, text};
use serde_json::{Value, json};
use std::time::Duration;

/// A connector has the address that the node gives it, so that the node's other peers can reach what is behind it.
const CONNECTOR: &str = "peer.testing.node.downstream_ann";

/// A node, and a connector that has dialled it as `ann`. Whatever begins with the node's address goes there.
async fn node_and_network(clock: &JumpingClock) -> (Peer2017, String, Network) {
    let mut node = Peer2017::start().await;
    node.tell(json!({"do": "habits", "wallet": "test.crypto.xrp.rServerAcct"})).await;
    node.tell(json!({"do": "listen", "name": "node"})).await;
    let url = text(&node.event("listening").await["url"]).to_owned();
    let id = AccountId::new(1, "node").unwrap();
    let account = AccountConfig {
        credit_limit: 100,
        protocol: PeerProtocol::Clp2017,
        routes: vec![Address::new("peer.testing.node").unwrap()],
        ..AccountConfig::new(id.clone(), Asset::new("XRP", 6))
    };
    let tls = TlsClientConfig::public_roots().unwrap();
    let connector = Address::new(CONNECTOR).unwrap();
    let dialler = ClpDialler::new(connector, id, PeerProtocol::Clp2017, url.parse().unwrap(), "ann", b"ann-token", tls);
    let network = Network::at(CONNECTOR, |builder| builder.clock(clock.clone()).account(account).endpoint(dialler)).await;
    connected(&mut node, &network).await;
    (node, url, network)
}

async fn connected(node: &mut Peer2017, network: &Network) {
    let dialled = node.event("dialled").await;
    assert_eq!(dialled["path"], "/ilp-node-3/api/v1/ann/ann-token");
    node.event("open").await;
    let connected = async {
        while !network.connector.status().await.unwrap().worker.accounts.iter().any(|a| a.id.name() == "node" && a.connected) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), connected).await.expect("the connector doesn't know that it is connected");
}

/// The node asks us for our name for it: all that was sent to it before has come.
async fn settled(node: &mut Peer2017) {
    node.tell(json!({"do": "info", "on": "ann"})).await;
    let answer = node.received("response").await;
    assert_eq!(answer["first"]["address"], "peer.testing.node.downstream_ann.node");
}

#[tokio::test]
async fn a_node_that_we_dial_vouches_is_paid_and_pays() {
    let (mut node, _, network) = node_and_network(&JumpingClock::default()).await;
    for _vouch in 0..2 {
        node.received("ack").await;
    }
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    node.answer_with("fulfill", &[preimage(1)], json!(null)).await;
    alice.prepare(id_of(1), "peer.testing.node.shop", 7, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    assert_eq!(network.balance("node").await, 7);

    let to = format!("{CONNECTOR}.bob.invoice");
    node.pay(id_of(2), &to, 9, preimage(2).condition(), expires_at, json!({"on": "ann"})).await;
    fulfill(&mut bob, 9, preimage(2)).await;
    assert_eq!(text(&node.received("fulfill").await["fulfillment"]), hex::encode([2; 32]));
    assert_eq!((network.balance("node").await, network.balance("bob").await), (-2, 9));
    // Its credit ends at 100, and it can read that.
    node.pay(id_of(3), &to, 99, preimage(3).condition(), expires_at, json!({"on": "ann"})).await;
    assert_eq!(node.received("error").await["reason"]["code"], "T04");
    let _ = network.connector.stop(Duration::ZERO).await;
    node.quit().await;
}

#[tokio::test]
async fn payments_pass_through_a_node_to_and_from_its_other_peers() {
    let clock = JumpingClock::default();
    let (mut node, url, network) = node_and_network(&clock).await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    // Two of that time lose each other's vouches: the node's come in its client's first instant.
    node.tell(json!({"do": "habits", "wallet": null})).await;
    let mut carol = Peer2017::login(&url, "carol", "any token").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    let carols = carol.address().await;
    assert_eq!(carols, "peer.testing.node.downstream_carol");
    carol.answer_with("fulfill", &[preimage(1)], json!(null)).await;
    alice.prepare(id_of(1), &format!("{carols}.hi"), 7, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    let (at_node, at_carol) = (node.received("prepare").await, carol.received("prepare").await);
    assert_ne!(at_node["transferId"], at_carol["transferId"]);
    let expiry = |prepare: &Value| text(&prepare["expiresAt"]).parse::<ilp_oer::Timestamp>().unwrap();
    assert_eq!(expires_at.millis_since(expiry(&at_node)), 2_000);
    assert_eq!(expires_at.millis_since(expiry(&at_carol)), 12_000);

    carol.pay(id_of(2), &format!("{CONNECTOR}.bob.hi"), 9, preimage(2).condition(), expires_at, json!({})).await;
    fulfill(&mut bob, 9, preimage(2)).await;
    assert_eq!(text(&carol.received("fulfill").await["fulfillment"]), hex::encode([2; 32]));
    assert_eq!((network.balance("node").await, network.balance("alice").await), (-2, -7));

    // With less than 11 s left it passes nothing on.
    let soon = network.connector.now().saturating_add_millis(12_000);
    alice.prepare(id_of(3), &format!("{carols}.hi"), 7, preimage(3).condition(), soon).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    let Seen::Reject { code, request, .. } = alice.next().await else { panic!("not rejected") };
    assert_eq!(code, "R02");
    alice.ack(request).await;
    // For somebody whom it doesn't know it acknowledges, and that is all: the time ends it.
    alice.prepare(id_of(4), "peer.testing.node.downstream_nobody", 7, preimage(4).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    node.received("prepare").await;
    clock.jump_ms(60_000);
    let Seen::Reject { code, id, .. } = alice.next().await else { panic!("not rejected") };
    assert_eq!((id, code.as_str()), (id_of(4), "R00"));
    let _ = network.connector.stop(Duration::ZERO).await;
    node.quit().await;
    carol.quit().await;
}

#[tokio::test]
async fn a_node_that_cuts_the_connection_is_dialled_again_and_sent_nothing_twice() {
    let (mut node, _, network) = node_and_network(&JumpingClock::default()).await;
    let mut alice = network.login("alice").await;
    let mut bob = network.login("bob").await;
    let expires_at = network.connector.now().saturating_add_millis(60_000);
    // A payment of each side is under way, and one of the node's is answered, when it goes.
    let to = format!("{CONNECTOR}.bob.invoice");
    node.pay(id_of(3), &to, 9, preimage(3).condition(), expires_at, json!({"on": "ann"})).await;
    fulfill(&mut bob, 9, preimage(3)).await;
    node.received("fulfill").await;
    node.pay(id_of(2), &to, 9, preimage(2).condition(), expires_at, json!({"on": "ann"})).await;
    let Seen::Prepare { id: at_bob, .. } = bob.next().await else { panic!("no prepare") };
    node.answer_with("cut", &[preimage(1)], json!(null)).await;
    alice.prepare(id_of(1), "peer.testing.node.shop", 7, preimage(1).condition(), expires_at).await;
    assert!(matches!(alice.next().await, Seen::Ack(_)));
    let prepare = node.received("prepare").await;
    node.event("closed").await;
    connected(&mut node, &network).await;
    settled(&mut node).await;
    assert_eq!((node.count_received("prepare"), node.count_received("fulfill")), (1, 1));

    node.tell(json!({"do": "release", "on": "ann", "transferId": prepare["transferId"]})).await;
    fulfilled(&mut alice, id_of(1), preimage(1)).await;
    bob.fulfill(at_bob, preimage(2)).await;
    assert_eq!(text(&node.received("fulfill").await["transferId"]), hex::encode([2; 16]));
    assert_eq!(network.balance("node").await, 7 - 18);
    let _ = network.connector.stop(Duration::ZERO).await;
    node.quit().await;
}
