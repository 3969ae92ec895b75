//! Conditions that only the receiver can fulfill.

use ilp_oer::{Condition, Fulfillment};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// What the receiver tells the sender of one payment beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invoice {
    /// Travels in the packet's data.
    pub(crate) nonce: Nonce,
    /// The payment's.
    pub(crate) condition: Condition,
}

/// What makes a payment's preimage different from all others.
pub(crate) type Nonce = [u8; NONCE_BYTES];

/// Length of a [`Nonce`].
pub(crate) const NONCE_BYTES: usize = 16;

/// The receiver's secret, from which it makes the preimage of every payment that reaches it; so it has to remember none of them.
pub(crate) struct Preimages {
    secret: [u8; 32],
    random: ChaCha12Rng,
}

impl Preimages {
    /// From two seeds of a cryptographic random source.
    pub(crate) fn new(secret: [u8; 32], nonces: [u8; 32]) -> Self {
        Self { secret, random: ChaCha12Rng::from_seed(nonces) }
    }

    /// The preimage that goes with a nonce: SHA-256 of the secret and the nonce.
    pub(crate) fn preimage(&self, nonce: &Nonce) -> Fulfillment {
        let hash = Sha256::new().chain_update(self.secret).chain_update(nonce).finalize();
        Fulfillment::new(hash.into())
    }

    /// Adds so many new invoices to `stock`.
    pub(crate) fn issue(&mut self, count: usize, stock: &mut Vec<Invoice>) {
        stock.extend((0..count).map(|_| {
            let mut nonce = [0; NONCE_BYTES];
            self.random.fill_bytes(&mut nonce);
            Invoice { nonce, condition: self.preimage(&nonce).condition() }
        }));
    }
}

impl std::fmt::Debug for Preimages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preimages").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_invoice_has_its_own_condition_and_the_nonce_leads_to_its_preimage() {
        let mut preimages = Preimages::new([1; 32], [2; 32]);
        let mut stock = Vec::new();
        preimages.issue(1000, &mut stock);
        assert!(stock.iter().all(|invoice| invoice.condition.is_fulfilled_by(&preimages.preimage(&invoice.nonce))));
        assert_eq!(stock.iter().map(|invoice| invoice.condition).collect::<HashSet<_>>().len(), 1000);
    }

    #[test]
    fn another_secret_makes_other_preimages() {
        let (one, other) = (Preimages::new([1; 32], [2; 32]), Preimages::new([3; 32], [2; 32]));
        assert_ne!(one.preimage(&[0; NONCE_BYTES]), other.preimage(&[0; NONCE_BYTES]));
    }
}
