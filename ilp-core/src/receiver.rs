//! Payments to the connector's own addresses.

use crate::account::AccountId;
use crate::refusal::Refusal;
use async_trait::async_trait;
use bytes::Bytes;
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp};
use std::borrow::Cow;
use std::fmt::Debug;

/// Decides about payments to the connector's own address and what lies below it (unless an account's route is longer).
///
/// # Contract
///
/// `receive` may be called again with the same payment after a restart, and must then decide as before. Its future is dropped when the
/// connector stops. An answer after the payment's `expires_at` comes too late. A panic refuses the payment with T00.
#[async_trait]
pub trait Receiver: Debug + Send + Sync + 'static {
    /// The fulfillment that takes the payment, or why it is refused.
    async fn receive(&self, payment: IncomingPayment) -> Result<Fulfillment, Rejection>;
}

/// A payment that is held for the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingPayment {
    /// Who pays.
    pub from: AccountId,
    /// What is held, in the payer's base unit.
    pub amount: Amount,
    /// Where to: the connector's address, or below it.
    pub destination: Address,
    /// What the fulfillment must hash to.
    pub condition: Condition,
    /// Until when the answer counts.
    pub expires_at: Timestamp,
    /// The payment's data.
    pub data: Bytes,
}

/// Why a receiver doesn't take a payment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Rejection {
    /// IL-RFC 3: F… final, T… temporary, R… relative to the amount or time.
    pub code: ErrorCode,
    /// For the sender to read.
    pub message: Cow<'static, str>,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Receiver { code: rejection.code, message: rejection.message }
    }
}
