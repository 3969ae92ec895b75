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
    certificate: Option<[u8; 32]>,
}

impl Tokens {
    /// Nobody is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who gives `login` (as a rule the account's name) and the token is the account from now on. Replaces an earlier token.
    pub fn insert(&self, login: &[u8], account: AccountId, protocol: PeerProtocol, token: &[u8]) {
        self.insert_with_certificate(login, account, protocol, token, None);
    }

    /// The same; with `certificate`, the token is only taken on connections that have shown a certificate whose key has this SHA-256
    /// ([`Credentials::certificate`]). Whoever comes with another one, or without TLS, is refused as
    /// one who doesn't know the token.
    pub fn insert_with_certificate(
        &self,
        login: &[u8],
        account: AccountId,
        protocol: PeerProtocol,
        token: &[u8],
        certificate: Option<[u8; 32]>,
    ) {
        let known = Known { account, protocol, digest: Sha256::digest(token).into(), certificate };
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
        // Without a pin, whatever was shown is the right one.
        let shown = credentials.certificate.unwrap_or_default();
        let pinned = known.and_then(|known| known.certificate);
        let certificate =
            shown.ct_eq(&pinned.unwrap_or(shown)) & Choice::from(u8::from(pinned.is_none() || credentials.certificate.is_some()));
        let protocol = Choice::from(u8::from(known.is_some_and(|known| known.protocol == credentials.protocol)));
        let right = given.ct_eq(&expected) & protocol & certificate;
        known.filter(|_| bool::from(right)).map(|known| known.account.clone())
    }
}

impl Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(accounts.values().map(|known| &known.account)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn come(tokens: &Tokens, account: &str, token: &str, certificate: Option<[u8; 32]>) -> bool {
        let credentials = Credentials {
            protocol: PeerProtocol::Clp,
            account: account.into(),
            token: Zeroizing::new(token.into()),
            target: Vec::new(),
            certificate,
        };
        tokens.authenticate(&credentials).is_some()
    }

    #[test]
    fn a_pinned_account_needs_its_certificate_and_its_token() -> Result<(), crate::InvalidAccountId> {
        let tokens = Tokens::new();
        tokens.insert(b"free", AccountId::new(1, "free")?, PeerProtocol::Clp, b"t");
        tokens.insert_with_certificate(b"pinned", AccountId::new(1, "pinned")?, PeerProtocol::Clp, b"t", Some([1; 32]));
        tokens.insert_with_certificate(b"zero", AccountId::new(1, "zero")?, PeerProtocol::Clp, b"t", Some([0; 32]));
        let cases = [
            ("free", "t", None, true),
            ("free", "t", Some([9; 32]), true),
            ("free", "u", None, false),
            ("pinned", "t", Some([1; 32]), true),
            ("pinned", "t", Some([2; 32]), false),
            ("pinned", "t", None, false),
            ("pinned", "u", Some([1; 32]), false),
            ("zero", "t", None, false),
            ("nobody", "t", Some([1; 32]), false),
        ];
        for (account, token, certificate, right) in cases {
            assert_eq!(come(&tokens, account, token, certificate), right, "{account} {token} {certificate:?}");
        }
        Ok(())
    }
}
