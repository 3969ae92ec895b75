//! Who may connect to a server.

use crate::setup::Credentials;
use async_trait::async_trait;
use ilp_oer::Address;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Debug;
use subtle::{Choice, ConstantTimeEq};

/// Decides who may connect.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The address of the connection if the credentials are right. Should take the same time for a wrong token and an unknown
    /// account, and compare tokens in constant time.
    async fn authenticate(&self, credentials: &Credentials) -> Option<Address>;
}

/// A fixed list of accounts; of the tokens only digests are kept.
#[derive(Debug, Clone, Default)]
pub struct Accounts(BTreeMap<Vec<u8>, Account>);

#[derive(Clone)]
struct Account {
    digest: [u8; 32],
    address: Address,
}

impl Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.address, f)
    }
}

impl Accounts {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also lets in whoever knows the token of `name`, under this address.
    #[must_use]
    pub fn with(mut self, name: impl Into<Vec<u8>>, token: impl AsRef<[u8]>, address: Address) -> Self {
        self.0.insert(name.into(), Account { digest: Sha256::digest(token.as_ref()).into(), address });
        self
    }
}

#[async_trait]
impl Authenticator for Accounts {
    async fn authenticate(&self, credentials: &Credentials) -> Option<Address> {
        let account = self.0.get(&credentials.account);
        // An unknown account is compared too, with a digest that nothing has.
        let expected = account.map_or([0; 32], |account| account.digest);
        let given: [u8; 32] = Sha256::digest(credentials.token.as_slice()).into();
        let right = given.ct_eq(&expected) & Choice::from(u8::from(account.is_some()));
        account.filter(|_| bool::from(right)).map(|account| account.address.clone())
    }
}
