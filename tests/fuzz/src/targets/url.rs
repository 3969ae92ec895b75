//! URLs.

use crate::target::Report;
use ilp_clp::credentials_from_path;
use ilp_clp::ws::Url;

pub(super) const WORDS: &[&str] =
    &["ws", "wss", "http", "://", "localhost", "127.0.0.1", "[::1]", "80", "443", "65535", "65536", "user", "@", "%41", "?", "#"];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    [
        "ws://127.0.0.1:7768",
        "wss://connector.example:443/path/to?query=1",
        "ws://[::1]:80/",
        "wss://user:password@host/",
        "ws://host/ilp-node-3/api/v1/name/token",
        "wss://h",
        "/ilp-node-3/api/v1/name/token?x=/a/b",
        "/name/token",
        "http://host/",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub(super) fn run(bytes: &[u8], report: &mut Report) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    report.envelope = text.starts_with("ws://") || text.starts_with("wss://") || text.starts_with('/');
    if let Some(credentials) = credentials_from_path(text) {
        report.full = true;
        assert!(!credentials.account.is_empty() && !credentials.token.is_empty());
        let path = text.split(['?', '#']).next().unwrap();
        let end = format!("/{}/{}", str::from_utf8(&credentials.account).unwrap(), str::from_utf8(&credentials.token).unwrap());
        assert!(path.ends_with(&end), "{path} doesn't end in {end}");
    }
    let url = match text.parse::<Url>() {
        Ok(url) => url,
        Err(error) => return report.feature(error.to_string()),
    };
    report.full = true;
    report.feature((url.is_tls(), url.port() % 8, url.host().contains(':'), url.path().len().min(3)));
    assert!(!url.host().is_empty() && !url.host().contains(['/', '@', '?', '#', '[', ']']), "host {:?}", url.host());
    assert!(url.path().starts_with('/'), "path {:?}", url.path());
    let shown = url.to_string();
    let again: Url = shown.parse().unwrap();
    assert_eq!((again.is_tls(), again.host(), again.port()), (url.is_tls(), url.host(), url.port()), "{shown}");
    assert_eq!(again.to_string(), shown);
    let joined = url.join(&["name", "token"]);
    let (path, query) = url.path().split_once('?').map_or((url.path(), None), |(path, query)| (path, Some(query)));
    let (longer, same) = joined.path().split_once('?').map_or((joined.path(), None), |(path, query)| (path, Some(query)));
    assert!(longer.starts_with(path.trim_end_matches('/')) && longer.ends_with("/name/token"), "{path} became {longer}");
    assert_eq!((query, joined.host()), (same, url.host()), "segments belong to the path");
}
