//! Where to dial: `ws://host:port/path` and `wss://…`.

use std::fmt::{self, Debug, Display};
use std::net::Ipv6Addr;
use std::str::FromStr;
use thiserror::Error;
use tokio_tungstenite::tungstenite::http::Uri;
use zeroize::Zeroizing;

/// A parsed `ws://` or `wss://` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    path: Zeroizing<String>,
}

/// Why a text isn't a URL that can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("not a URL; expected something like wss://connector.example:7768/path")]
    Syntax,
    /// Neither `ws` nor `wss`.
    #[error("the scheme must be ws:// or wss://")]
    Scheme,
    /// There is no host name, or brackets that hold no IPv6 address.
    #[error("the URL names no host")]
    Host,
    /// Beyond 65535, or none after the colon.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// `user:password@host`: nobody would read it, and it would end up in logs.
    #[error("a user name or password has no place in the URL")]
    UserInfo,
}

impl Url {
    /// Whether the connection is encrypted (`wss`).
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 for `ws` and 443 for `wss` unless the URL says otherwise.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as sent to the server; at least `/`. It may hold a secret (the 2017 form's token): don't log it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same URL with `segments` added to its path, each after a slash and before the query.
    pub fn join(&self, segments: &[&str]) -> Self {
        if segments.is_empty() {
            return self.clone();
        }
        let (path, query) = match self.path.find('?') {
            Some(at) => self.path.split_at(at),
            None => (self.path.as_str(), ""),
        };
        let mut joined = path.trim_end_matches('/').to_owned();
        for segment in segments {
            joined.push('/');
            joined.push_str(segment);
        }
        joined.push_str(query);
        Self { path: joined.into(), ..self.clone() }
    }

    /// What of a text that should be a URL can stand in a message: scheme, host and port. A user, a path or a query may hold a secret,
    /// however wrong they are where they stand.
    pub fn public_part(text: &str) -> String {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}{}{host}", if scheme.is_empty() { "" } else { "://" })
    }

    fn authority(&self) -> String {
        let default_port = if self.tls { 443 } else { 80 };
        let brackets = self.host.contains(':');
        let host = if brackets { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port { host } else { format!("{host}:{}", self.port) }
    }
}

/// Like [`Display`]: without the path.
impl Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Without the path, which may hold a secret.
impl Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "wss" } else { "ws" }, self.authority())
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Syntax)?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(_) | None => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = match authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map(|_| inner).map_err(|_| UrlError::Host)?,
            None => authority.host(),
        };
        if host.is_empty() || host.contains(['[', ']']) {
            return Err(UrlError::Host);
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            // A port that doesn't fit, or nothing after the colon.
            None if authority.as_str().len() > authority.host().len() => return Err(UrlError::Port),
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // A query right behind the host stays without the slash that a request must begin with.
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { tls, host: host.to_owned(), port, path: format!("{slash}{path}").into() })
    }
}

/// The whole URL as the WebSocket handshake wants it.
pub(super) fn request_uri(url: &Url) -> Result<Uri, UrlError> {
    Uri::builder()
        .scheme(if url.tls { "wss" } else { "ws" })
        .authority(url.authority())
        .path_and_query(url.path.as_str())
        .build()
        .map_err(|_| UrlError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Url, UrlError> {
        text.parse()
    }

    #[test]
    fn a_url_has_the_default_port_of_its_scheme() {
        let url = parse("wss://connector.example").unwrap();
        assert_eq!((url.is_tls(), url.host(), url.port(), url.path()), (true, "connector.example", 443, "/"));
        let url = parse("ws://127.0.0.1:7768/ilp-node-3/api/v1/name/token?x=1").unwrap();
        assert_eq!((url.is_tls(), url.host(), url.port()), (false, "127.0.0.1", 7768));
        assert_eq!(url.path(), "/ilp-node-3/api/v1/name/token?x=1");
    }

    #[test]
    fn an_ipv6_address_loses_its_brackets_and_gets_them_back() {
        let url = parse("ws://[::1]:8000/a").unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 8000));
        assert_eq!(request_uri(&url).unwrap().to_string(), "ws://[::1]:8000/a");
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        assert_eq!(parse(""), Err(UrlError::Syntax));
        assert_eq!(parse("ws://a b"), Err(UrlError::Syntax));
        assert_eq!(parse("http://a/"), Err(UrlError::Scheme));
        assert_eq!(parse("connector.example:80"), Err(UrlError::Scheme));
        assert_eq!(parse("ws://user:secret@a/"), Err(UrlError::UserInfo));
        for host in ["a[", "[a]", "[::1", "[[::1]]", "[]"] {
            assert!(matches!(parse(&format!("ws://{host}/")), Err(UrlError::Host | UrlError::Syntax)), "{host}");
        }
        // A listener takes a free port then.
        assert_eq!(parse("ws://a:0/").unwrap().port(), 0);
        assert_eq!(parse("ws://a:70000/"), Err(UrlError::Port));
    }

    #[test]
    fn joined_segments_come_after_the_path() {
        let url = parse("ws://a:1/api/").unwrap().join(&["name", "token"]);
        assert_eq!(url.path(), "/api/name/token");
        assert_eq!(parse("ws://a").unwrap().join(&["n", "t"]).path(), "/n/t");
        assert_eq!(parse("ws://a/api?key=1/").unwrap().join(&["n", "t"]).path(), "/api/n/t?key=1/");
    }

    #[test]
    fn a_path_begins_with_a_slash_even_if_there_is_only_a_query() {
        let url = parse("ws://a?key=1").unwrap();
        assert_eq!(url.path(), "/?key=1");
        assert_eq!(request_uri(&url).unwrap().to_string(), "ws://a/?key=1");
    }

    #[test]
    fn the_public_part_of_a_text_is_scheme_host_and_port() {
        for (text, shown) in [
            ("ws://127.0.0.1:1", "ws://127.0.0.1:1"),
            ("http://a/", "http://a"),
            ("ws://a:1/name/secret", "ws://a:1"),
            ("ws://user:secret@a:1", "ws://a:1"),
            ("ws://a?secret#@b", "ws://a"),
            ("a:1/secret", "a:1"),
            ("secret@a", "a"),
            ("://secret@", ""),
        ] {
            assert_eq!(Url::public_part(text), shown, "{text}");
        }
    }

    #[test]
    fn a_displayed_url_does_not_show_its_path() {
        assert_eq!(parse("ws://a:1/name/token").unwrap().to_string(), "ws://a:1");
    }
}
