//! The smallest embedding: Ann runs a shop behind a connector, Bob's connector dials it and pays.
//!
//! `cargo run --package ilp-examples --example embed`

use ilp_core::link::PeerProtocol::Clp;
use ilp_core::runtime::Connector;
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Receiver, Rejection, Tokens};
use ilp_oer::{Address, Amount, Fulfillment};
use ilp_plugins::clp::{ClpDialler, ClpListener, TlsClientConfig};
use std::{error::Error, io::Write, sync::Arc, time::Duration};

#[derive(Debug)]
struct Shop(Fulfillment);

#[async_trait::async_trait]
impl Receiver for Shop {
    async fn receive(&self, _: IncomingPayment) -> Result<Fulfillment, Rejection> {
        Ok(self.0) // a real shop looks at payment.destination, .amount and .data first
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (secret, xrp) = (Fulfillment::new([7; 32]), Asset::new("XRP", 6));
    let (ann_address, bob_address): (Address, Address) = ("test.ann".parse()?, "test.bob".parse()?);

    // Ann gives Bob credit for 5 XRP; whoever knows the token is Bob.
    let bob = AccountConfig { credit_limit: 5_000_000, ..AccountConfig::new(AccountId::new(1, "bob")?, xrp.clone()) };
    let tokens = Tokens::new();
    tokens.insert(b"bob", bob.id.clone(), Clp, b"between ann and bob");
    let listener = ClpListener::bind(ann_address.clone(), "ws://127.0.0.1:0", None).await?;
    let url = listener.url().parse()?;
    let anns = Connector::builder("test.ann").account(bob).authenticator(Arc::new(tokens)).endpoint(listener).receiver(Shop(secret));
    let anns = anns.start().await?;

    // Bob's connector knows Ann, and that everything below test.ann is reached through her.
    let ann = AccountConfig { routes: vec![ann_address.clone()], ..AccountConfig::new(AccountId::new(1, "ann")?, xrp) };
    let tls = TlsClientConfig::public_roots()?;
    let dialler = ClpDialler::new(bob_address, ann.id.clone(), Clp, url, "bob", b"between ann and bob", tls);
    let bobs = Connector::builder("test.bob").account(ann).endpoint(dialler).start().await?;
    while !bobs.status().await?.worker.accounts[0].connected {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let expires_at = bobs.now().saturating_add_millis(10_000);
    let paid = bobs.pay(&ann_address.join("shop")?, Amount::new(250_000), secret.condition(), expires_at).await?;
    let books = anns.status().await?.worker;
    writeln!(std::io::stdout(), "paid, and got {paid}; at Ann's, Bob's balance is {}", books.accounts[0].balance)?;
    let reports = [bobs.stop(Duration::from_secs(5)).await, anns.stop(Duration::from_secs(5)).await];
    assert!(reports.iter().all(|report| report.drained));
    Ok(())
}
