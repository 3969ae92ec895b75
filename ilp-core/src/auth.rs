//! Who may speak for an account.

use crate::account::AccountId;
use crate::link::{Credentials, PeerProtocol};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{PoisonError, RwLock};
use subtle::{Choice, ConstantTimeEq};

/// Decides whether a peer is the account it says it is.
///
/// # Contract
///
/// The answer must take the same time whether the account is unknown or the token wrong. It must not block.
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The account, if everything is right.
    fn authenticate(&self, credentials: &Credentials) -> Option<AccountId>;
}

/// An [`Authenticator`] with one token an account, kept as SHA-256 digests only.
#[derive(Default)]
pub struct Tokens {
    accounts: RwLock<HashMap<Vec<u8>, Known>>,
}

struct Known {
    account: AccountId,
    protocol: PeerProtocol,
    digest: [u8; 32],
}

impl Tokens {
    /// Nobody is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who gives `login` (as a rule the account's name) and the token is the account from now on. Replaces an earlier token.
    pub fn insert(&self, login: &[u8], account: AccountId, protocol: PeerProtocol, token: &[u8]) {
        let known = Known { account, protocol, digest: Sha256::digest(token).into() };
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).insert(login.to_vec(), known);
    }

    /// Nobody is the account any more.
    pub fn remove(&self, account: &AccountId) {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).retain(|_, known| known.account != *account);
    }
}

impl Authenticator for Tokens {
    fn authenticate(&self, credentials: &Credentials) -> Option<AccountId> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let known = accounts.get(&credentials.account);
        // The unknown account has a digest too, which nothing hashes to, so that as much is done for it.
        let expected = known.map_or([0; 32], |known| known.digest);
        let given: [u8; 32] = Sha256::digest(&credentials.token).into();
        let right = given.ct_eq(&expected) & Choice::from(u8::from(known.is_some_and(|known| known.protocol == credentials.protocol)));
        known.filter(|_| bool::from(right)).map(|known| known.account.clone())
    }
}

impl Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(accounts.values().map(|known| &known.account)).finish()
    }
}
