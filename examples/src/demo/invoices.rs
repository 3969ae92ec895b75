//! What bob is to be paid for: each invoice has a condition of its own, and only bob can make the fulfillment.

use async_trait::async_trait;
use ilp_core::{IncomingPayment, Receiver, Rejection};
use ilp_oer::{Amount, Condition, ErrorCode, Fulfillment};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Bob's till. Fulfillments are made of a random secret and the invoice's number, so there is nothing to remember.
#[derive(Debug)]
pub(super) struct Till {
    secret: Zeroizing<[u8; 32]>,
    price: Amount,
    issued: AtomicU64,
    taken: AtomicU64,
}

/// What bob gives alice, by whatever way: where the money is to go, they both know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invoice {
    /// Goes along with the payment, as its data.
    pub(super) number: u64,
    pub(super) condition: Condition,
}

impl Till {
    /// Everything costs `price`, in the payer's base unit.
    pub(super) fn new(secret: [u8; 32], price: Amount) -> Self {
        Self { secret: Zeroizing::new(secret), price, issued: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// A new invoice.
    pub(super) fn invoice(&self) -> Invoice {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        Invoice { number, condition: self.fulfillment(number).condition() }
    }

    /// How many payments were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn fulfillment(&self, number: u64) -> Fulfillment {
        let digest = Sha256::new().chain_update(*self.secret).chain_update(number.to_be_bytes()).finalize();
        Fulfillment::new(digest.into())
    }
}

/// The till as the connector of bob's sees it.
#[derive(Debug)]
pub(super) struct TillReceiver(pub(super) std::sync::Arc<Till>);

#[async_trait]
impl Receiver for TillReceiver {
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection> {
        let till = &self.0;
        let unknown = || Rejection { code: ErrorCode::F06_UNEXPECTED_PAYMENT, message: "there is no such invoice".into() };
        let number = payment.data.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| unknown())?;
        let fulfillment = till.fulfillment(number);
        if number >= till.issued.load(Ordering::Relaxed) || !payment.condition.is_fulfilled_by(&fulfillment) {
            return Err(unknown());
        }
        if payment.amount != till.price {
            return Err(Rejection { code: ErrorCode::F03_INVALID_AMOUNT, message: "this is not the invoice's amount".into() });
        }
        till.taken.fetch_add(1, Ordering::Relaxed);
        Ok(fulfillment)
    }
}
