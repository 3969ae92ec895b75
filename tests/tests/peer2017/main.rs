//! A peer from 2017 and the connector as it is: see "A peer from 2017" in `docs/testing.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod captured;
mod client;
mod refused;
mod sensitive;
mod server;
mod twice;

use ilp_core::link::PeerProtocol;
use ilp_core::{AccountConfig, AccountId, Asset};
use ilp_oer::{Fulfillment, TransferId};
use ilp_tests::{Network, Peer2017, RawPeer, Seen};

/// An account of the 2017 form, with the token `<name>-token`.
async fn add_account(network: &Network, name: &str, credit_limit: u64) {
    let id = AccountId::new(1, name).unwrap();
    network.tokens.insert(name.as_bytes(), id.clone(), PeerProtocol::Clp2017, format!("{name}-token").as_bytes());
    let asset = Asset::new("XRP", 6);
    let account = AccountConfig { credit_limit, protocol: PeerProtocol::Clp2017, ..AccountConfig::new(id, asset) };
    network.connector.add_account(account).await.unwrap();
}

/// The peer jane, with an account with credit of 1,000.
async fn jane(network: &Network) -> Peer2017 {
    add_account(network, "jane", 1_000).await;
    Peer2017::login(&url_2017(network), "jane", "jane-token").await
}

/// What peers of 2017 are configured with.
fn url_2017(network: &Network) -> String {
    format!("{}/ilp-node-3/api/v1", network.url)
}

/// A CLP peer takes a payment and fulfills it.
async fn fulfill(peer: &mut RawPeer, amount: u64, with: Fulfillment) {
    let Seen::Prepare { request, id, amount: found, .. } = peer.next().await else { panic!("no prepare") };
    assert_eq!(found, amount);
    peer.ack(request).await;
    let request = peer.fulfill(id, with).await;
    assert_eq!(peer.next().await, Seen::Ack(request));
}

/// A CLP peer sees its payment fulfilled.
async fn fulfilled(peer: &mut RawPeer, id: TransferId, with: Fulfillment) {
    let Seen::Fulfill { request, id: found, fulfillment } = peer.next().await else { panic!("not fulfilled") };
    assert_eq!((found, fulfillment), (id, with));
    peer.ack(request).await;
}
