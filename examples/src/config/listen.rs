//! `[[listen]]`: where peers can connect.

use super::Context;
use super::problem::{Collector, Place, Span};
use super::section::{Located, Section};
use super::tls::{self, ServerTls};
use super::values::shown;
use ilp_plugins::clp::Url;
use std::fmt;
use std::net::IpAddr;

/// One address to listen on.
#[derive(Debug)]
pub struct Listen {
    /// Where in the file.
    pub place: Place,
    /// What to listen on.
    pub url: ListenUrl,
    /// The parallelism of the accounts that connect here.
    pub parallelism: u8,
    /// There for `wss`.
    pub tls: Option<ServerTls>,
    /// What peers call it, if that isn't where it listens: told to those who come to the wrong port.
    pub public_url: Option<String>,
}

/// `wss://host:port` or `ws://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenUrl {
    /// `wss`.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Whether traffic to this host stays on the machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

const KEYS: [&str; 7] = ["url", "public_url", "parallelism", "cert", "key", "client_ca", "client_certificates"];
const EXAMPLE: &str = "such as wss://0.0.0.0:7443";

/// The second value says whether all entries could be read.
pub(super) fn read(top: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> (Vec<Located<Listen>>, bool) {
    let tables = top.tables("listen", problems);
    let count = tables.len();
    let tables = tables.into_iter().zip(1..);
    let listen: Vec<_> = tables
        .filter_map(|((at, table), number)| {
            let section = Section::new(format!("listen {number}"), at, table, &KEYS, problems);
            read_one(&section, context, problems)
        })
        .collect();
    let complete = listen.len() == count && top.get("listen").is_none_or(|listen| listen.get_ref().is_array());
    (listen, complete)
}

fn read_one(section: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Located<Listen>> {
    let text = section.required_text("url", &format!("write where to listen, {EXAMPLE}"), problems);
    let url = text.as_ref().and_then(|text| {
        let parsed = parse(text.value);
        parsed
            .map_err(|why| problems.error(&text.at, section.say(&format!("url is \"{}\", {why}", shown(&Url::public_part(text.value))))))
            .ok()
    });
    let parallelism = section.small("parallelism", problems).map_or(1, |parallelism| parallelism.value.max(1));
    let public_url = public(section, problems);
    let at = section.at("url");
    let tls = match &url {
        Some(url) if url.tls => Some(tls::server(section, context, problems)),
        Some(url) => {
            plain(section, url, &at, problems);
            None
        }
        None => None,
    };
    Some(Located { value: Listen { place: problems.place(&at), url: url?, parallelism, tls: tls.flatten(), public_url }, at })
}

fn public(section: &Section<'_>, problems: &mut Collector<'_>) -> Option<String> {
    let text = section.text("public_url", problems)?;
    match text.value.parse::<Url>() {
        Ok(_) => Some(text.value.to_owned()),
        Err(error) => {
            problems.error(&text.at, section.say(&format!("public_url is \"{}\": {error}", shown(&Url::public_part(text.value)))));
            None
        }
    }
}

fn plain(section: &Section<'_>, url: &ListenUrl, at: &Span, problems: &mut Collector<'_>) {
    for key in ["cert", "key", "client_ca", "client_certificates"] {
        if section.get(key).is_some() {
            problems
                .error(&section.at(key), section.say(&format!("{key} isn't used by ws://, which isn't encrypted: write wss:// in url")));
        }
    }
    if !is_loopback(&url.host) {
        let why =
            format!("{url} is not encrypted and can be reached from elsewhere: tokens and payments can be read on the way; use wss://");
        problems.warning(at, section.say(&why));
    }
}

fn parse(text: &str) -> Result<ListenUrl, String> {
    let expected = || format!("but must be ws:// or wss://, an address and a port, {EXAMPLE}");
    let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
    let tls = match scheme {
        "wss" => true,
        "ws" => false,
        _ => return Err(expected()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(format!("but a path has no place here: every path is taken; write it {EXAMPLE}"));
    }
    let (host, port) = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.ends_with(']'))
        .ok_or_else(|| format!("which has no port; write one, {EXAMPLE}"))?;
    // Without the filter a plus sign would pass.
    let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = digits.and_then(|port| port.parse().ok()).ok_or("whose port must be a number from 0 (any free one) to 65535")?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
        Some(_) => return Err("which has no IPv6 address in its brackets".into()),
        None if host.contains(':') => return Err("where an IPv6 address needs brackets, such as wss://[::1]:7443".into()),
        None if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)) => return Err(expected()),
        None => host,
    };
    Ok(ListenUrl { tls, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_url_is_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("wss://127.0.0.1:7443", "wss://127.0.0.1:7443"),
            ("ws://localhost:0/", "ws://localhost:0"),
            ("wss://[::1]:1", "wss://[::1]:1"),
        ] {
            assert_eq!(parse(text).map(|url| url.to_string()).as_deref(), Ok(shown));
        }
        for text in [
            "",
            "wss://",
            "wss://a",
            "wss://[::1]",
            "wss://::1:5",
            "http://a:1",
            "ws://a:+1",
            "ws://a:65536",
            "ws://a:1/path",
            "ws://:1",
            "ws://u@a:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("localhost", true),
            ("0.0.0.0", false),
            ("::", false),
            ("a.example", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
