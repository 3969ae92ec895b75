//! What bob is to be paid for: each invoice has a condition of its own, and only bob can make the fulfillment.

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use ilp_core::{IncomingPayment, Receiver, Rejection};
use ilp_oer::{Amount, Condition, ErrorCode, Fulfillment};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Bob's till. A fulfillment is made of a secret and of what stands in the invoice, so there is nothing to remember but the secret: what was
/// being paid when the demo was killed is taken when it runs again.
#[derive(Debug)]
pub(super) struct Till {
    secret: Zeroizing<[u8; 32]>,
    /// Of this run, so that no invoice is ever made twice with one secret.
    run: u64,
    price: Amount,
    issued: AtomicU64,
    taken: AtomicU64,
}

/// What bob gives alice, by whatever way: where the money is to go, they both know.
#[derive(Debug, Clone)]
pub(super) struct Invoice {
    /// Goes along with the payment, as its data: run, number and price.
    pub(super) text: Bytes,
    pub(super) condition: Condition,
}

impl Till {
    /// Everything costs `price`, in the payer's base unit.
    pub(super) fn new(secret: Zeroizing<[u8; 32]>, run: u64, price: Amount) -> Self {
        Self { secret, run, price, issued: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// A new invoice.
    pub(super) fn invoice(&self) -> Invoice {
        let mut text = BytesMut::with_capacity(TEXT_LEN);
        text.put_u64(self.run);
        text.put_u64(self.issued.fetch_add(1, Ordering::Relaxed));
        text.put_u64(self.price.get());
        Invoice { condition: self.fulfillment(&text).condition(), text: text.freeze() }
    }

    /// How many payments were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn fulfillment(&self, text: &[u8]) -> Fulfillment {
        let digest = Sha256::new().chain_update(*self.secret).chain_update(text).finalize();
        Fulfillment::new(digest.into())
    }
}

const TEXT_LEN: usize = 24;

/// The till as the connector of bob's sees it.
#[derive(Debug)]
pub(super) struct TillReceiver(pub(super) std::sync::Arc<Till>);

#[async_trait]
impl Receiver for TillReceiver {
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection> {
        let till = &self.0;
        let fulfillment = till.fulfillment(&payment.data);
        // Nobody else can make a condition that fits: it says that the invoice is ours.
        if payment.data.len() != TEXT_LEN || !payment.condition.is_fulfilled_by(&fulfillment) {
            return Err(Rejection { code: ErrorCode::F06_UNEXPECTED_PAYMENT, message: "there is no such invoice".into() });
        }
        let price = payment.data.last_chunk().map(|price| u64::from_be_bytes(*price));
        if Some(payment.amount.get()) != price {
            return Err(Rejection { code: ErrorCode::F03_INVALID_AMOUNT, message: "this is not the invoice's amount".into() });
        }
        till.taken.fetch_add(1, Ordering::Relaxed);
        Ok(fulfillment)
    }
}
