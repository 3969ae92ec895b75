//! The smallest connector inside another program: one peer may connect and pay it.
//!
//! `cargo run -p ilp-examples --example embed`

use async_trait::async_trait;
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::Connector;
use ilp_core::{AccountConfig, AccountId, Asset, IncomingPayment, Receiver, Rejection, Tokens};
use ilp_oer::{ErrorCode, Fulfillment};
use ilp_plugins::clp::ClpListener;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Knows one secret, and takes whatever is paid for it.
#[derive(Debug)]
struct Shop(Fulfillment);

#[async_trait]
impl Receiver for Shop {
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection> {
        let known = payment.condition.is_fulfilled_by(&self.0);
        known.then(|| self.0.clone()).ok_or(Rejection { code: ErrorCode::F05_WRONG_CONDITION, message: "not for sale".into() })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let alice = AccountId::new(1, "alice")?;
    let tokens = Tokens::new();
    tokens.insert(b"alice", alice.clone(), PeerProtocol::Clp, b"a secret between alice and us");
    let mut account = AccountConfig::new(alice, Asset::new("XRP", 6));
    account.credit_limit = 5_000_000;

    let listener = ClpListener::bind("test.ann".parse()?, "ws://127.0.0.1:0", None).await?;
    writeln!(std::io::stdout(), "alice can connect to {}; Ctrl-C stops", listener.url())?;
    let connector = Connector::builder("test.ann")
        .account(account)
        .authenticator(Arc::new(tokens))
        .endpoint(listener)
        .receiver(Shop(Fulfillment::new([7; 32])))
        .start()
        .await?;

    tokio::signal::ctrl_c().await?;
    let report = connector.stop(Duration::from_secs(10)).await;
    writeln!(std::io::stdout(), "{:#?}", report.worker)?;
    Ok(())
}
