//! Who a peer says it is.

use std::fmt::{self, Debug};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Who a peer says it is, and how it proves that.
#[derive(Clone, Eq)]
pub struct Credentials {
    /// The account's name; any bytes.
    pub account: Vec<u8>,
    /// The secret; wiped when dropped, and never shown.
    pub token: Zeroizing<Vec<u8>>,
    /// The account it wants to talk to; empty for the server itself.
    pub target: Vec<u8>,
}

impl Credentials {
    /// From the fields of setup 0.1.
    pub fn new(account: impl Into<Vec<u8>>, token: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { account: account.into(), token: Zeroizing::new(token.into()), target: target.into() }
    }
}

/// The tokens are compared in constant time.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        let Self { account, token, target } = self;
        bool::from(token.ct_eq(&other.token)) && (account, target) == (&other.account, &other.target)
    }
}

impl Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("account", &String::from_utf8_lossy(&self.account)).finish_non_exhaustive()
    }
}

/// The credentials of a 2017 connection: name and token are the last two segments of the request's path. `None` if there are no
/// two, or one is empty.
pub fn credentials_from_path(path: &str) -> Option<Credentials> {
    let path = path.split(['?', '#']).next()?;
    let mut segments = path.strip_prefix('/')?.rsplit('/');
    let (token, name) = (segments.next()?, segments.next()?);
    if token.is_empty() || name.is_empty() { None } else { Some(Credentials::new(name, token, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_token_are_the_last_two_segments_of_the_path() {
        let expected = Some(Credentials::new("name", "token", ""));
        assert_eq!(credentials_from_path("/ilp-node-3/api/v1/name/token"), expected);
        assert_eq!(credentials_from_path("/name/token"), expected);
        assert_eq!(credentials_from_path("/name/token?x=/a/b"), expected);
    }

    #[test]
    fn a_path_without_two_segments_has_no_credentials() {
        for path in ["", "/", "/token", "//token", "/name/", "name/token", "/a/b/"] {
            assert_eq!(credentials_from_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let shown = format!("{:?}", Credentials::new("alice", "hunter2", ""));
        assert!(shown.contains("alice") && !shown.contains("hunter2"));
    }
}
