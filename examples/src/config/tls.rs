//! Certificates, keys and authorities: what `[[listen]]` and `[[account]]` say of them.

use super::Context;
use super::files::{self, Contents};
use super::problem::Collector;
use super::section::Section;
use super::values;
use ilp_core::runtime::{Clock, SystemClock};
use ilp_plugins::clp::{Certificate, ClientCertificates, TlsClientConfig, TlsServerConfig};

/// What a `wss` listener needs.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Certificate, key, and what is asked of clients.
    pub config: TlsServerConfig,
    /// What the certificate says of itself.
    pub certificate: Certificate,
}

/// `cert`, `key`, `client_ca` and `client_certificates` of a listener, if they are there and good.
pub(super) fn server(section: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<ServerTls> {
    for key in ["cert", "key"] {
        if section.get(key).is_none() {
            section.missing(key, &format!("wss:// needs cert and key: write {key} = \"<PEM file>\""), problems);
        }
    }
    let cert = files::read_key(section, "cert", Contents::Public, context.folder, problems);
    let key = files::read_key(section, "key", Contents::Secret, context.folder, problems);
    let demand = demand(section, problems);
    let (cert, key) = (cert?, key?);
    let read = TlsServerConfig::from_pem(&cert, &key).and_then(|config| Ok((config, Certificate::from_pem(&cert)?)));
    match read {
        Ok((config, certificate)) => {
            warn_of_dates("cert", &certificate, section, problems);
            Some(ServerTls { config: clients(config, demand?, section, context, problems)?, certificate })
        }
        Err(error) => {
            let why =
                format!("cert and key can't be used: {error}; cert must be a PEM chain, the server's first, and key its PEM private key");
            problems.unusable(&section.at("cert"), section.say(&why));
            None
        }
    }
}

/// What is asked of clients: a certificate of one of these authorities, or whatever certificate they have. The latter matters only for
/// accounts that are pinned to one.
fn clients(
    tls: TlsServerConfig,
    demand: ClientCertificates,
    section: &Section<'_>,
    context: Context<'_>,
    problems: &mut Collector<'_>,
) -> Option<TlsServerConfig> {
    let result = match section.get("client_ca") {
        Some(_) => tls.with_client_ca_pem(&files::read_key(section, "client_ca", Contents::Public, context.folder, problems)?, demand),
        None => tls.asking_for_certificates(),
    };
    match result {
        Ok(tls) => Some(tls),
        Err(error) => {
            let why = format!("client_ca can't be used: {error}; it must be PEM certificates of authorities");
            problems.unusable(&section.at("client_ca"), section.say(&why));
            None
        }
    }
}

fn demand(section: &Section<'_>, problems: &mut Collector<'_>) -> Option<ClientCertificates> {
    const NAMES: [&str; 2] = ["required", "optional"];
    if section.get("client_certificates").is_none() {
        return Some(ClientCertificates::Required);
    }
    let text = section.text("client_certificates", problems)?;
    if section.get("client_ca").is_none() {
        let why = "client_certificates says what is asked of clients beside client_ca: write client_ca too, or take it out";
        problems.error(&text.at, section.say(why));
        return None;
    }
    match text.value {
        "required" => Some(ClientCertificates::Required),
        "optional" => Some(ClientCertificates::Optional),
        other => {
            let hint = match values::nearest(other, &NAMES) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of: {}", NAMES.join(", ")),
            };
            let why = format!("client_certificates is \"{}\", which is neither; {hint}", values::shown(other));
            problems.error(&text.at, section.say(&why));
            None
        }
    }
}

/// `ca`, `cert` and `key` of an account that we dial; they count for `wss` only.
pub(super) fn client(section: &Section<'_>, wss: bool, context: Context<'_>, problems: &mut Collector<'_>) -> Option<TlsClientConfig> {
    let (key, tls) = if wss && section.get("ca").is_some() {
        let pem = files::read_key(section, "ca", Contents::Public, context.folder, problems)?;
        ("ca", TlsClientConfig::trusting_certificate_pem(&pem))
    } else {
        ("url", TlsClientConfig::public_roots())
    };
    match tls {
        Ok(tls) if wss => with_own_certificate(tls, section, context, problems),
        Ok(tls) => Some(tls),
        Err(error) => {
            problems.unusable(
                &section.at(key),
                section.say(&format!("{key} can't be used: {error}; ca must be the peer's certificate as PEM text")),
            );
            None
        }
    }
}

/// Our own certificate, for a peer that asks for one.
fn with_own_certificate(
    tls: TlsClientConfig,
    section: &Section<'_>,
    context: Context<'_>,
    problems: &mut Collector<'_>,
) -> Option<TlsClientConfig> {
    if section.get("cert").is_none() && section.get("key").is_none() {
        return Some(tls);
    }
    for (key, other) in [("cert", "key"), ("key", "cert")] {
        if section.get(key).is_none() {
            section.missing(key, &format!("it goes with {other}: write {key} = \"<PEM file>\""), problems);
        }
    }
    let cert = files::read_key(section, "cert", Contents::Public, context.folder, problems);
    let key = files::read_key(section, "key", Contents::Secret, context.folder, problems);
    let (cert, key) = (cert?, key?);
    let read = tls.with_certificate_pem(&cert, &key).and_then(|tls| Ok((tls, Certificate::from_pem(&cert)?)));
    match read {
        Ok((tls, certificate)) => {
            warn_of_dates("cert", &certificate, section, problems);
            Some(tls)
        }
        Err(error) => {
            problems.unusable(&section.at("cert"), section.say(&format!("cert and key can't be used: {error}")));
            None
        }
    }
}

/// `certificate` of an account whose peer dials us: the key in it, which the peer has to hold.
pub(super) fn pin(section: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<[u8; 32]> {
    if section.get("certificate").is_some() && section.get("url").is_some() {
        problems.error(&section.at("certificate"), section.say("certificate is for peers that dial us: write ca for one that we dial"));
        return None;
    }
    let pem = files::read_key(section, "certificate", Contents::Public, context.folder, problems)?;
    match Certificate::from_pem(&pem) {
        Ok(certificate) => Some(certificate.key_sha256),
        Err(error) => {
            problems.unusable(&section.at("certificate"), section.say(&format!("certificate can't be used: {error}")));
            None
        }
    }
}

/// Who looks at dates would refuse it; those who trust its key don't.
fn warn_of_dates(key: &str, certificate: &Certificate, section: &Section<'_>, problems: &mut Collector<'_>) {
    let now = SystemClock::new().now();
    let why = if now > certificate.until {
        format!("{key} has expired at {}", certificate.until)
    } else if now < certificate.from {
        format!("{key} isn't valid before {}", certificate.from)
    } else {
        return;
    };
    problems.warning(&section.at(key), section.say(&why));
}
