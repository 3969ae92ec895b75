//! `[[account]]`: the peers.

use super::listen::is_loopback;
use super::problem::{Collector, Span};
use super::section::{Located, Section};
use super::tls;
use super::token::{self, Token};
use super::{Context, values};
use ilp_core::link::PeerProtocol;
use ilp_core::{AccountConfig, AccountId, Asset};
use ilp_oer::Address;
use ilp_plugins::clp::{TlsClientConfig, Url};

/// An account and how its peer is recognised or found.
#[derive(Debug)]
pub struct Account {
    /// As the connector knows it.
    pub config: AccountConfig,
    /// The name that goes with the token: the one the peer comes with, or the one we have at the peer.
    pub login: String,
    /// The secret between the two.
    pub token: Token,
    /// There if we dial the peer; otherwise it dials us.
    pub dial: Option<Dial>,
    /// The SHA-256 of the key that a peer which dials us has to hold, as its certificate shows.
    pub certificate: Option<[u8; 32]>,
}

/// Where a peer is to be found.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Its address.
    pub url: Url,
    /// Whom to trust; of no effect for `ws`.
    pub tls: TlsClientConfig,
}

/// As much of an account as could be read, for the checks across accounts.
#[derive(Debug)]
pub(super) struct AccountRead {
    /// For messages, such as `account "bob"`.
    pub(super) title: String,
    pub(super) id: Option<Located<AccountId>>,
    pub(super) asset: Option<Located<Asset>>,
    pub(super) routes: Vec<Located<Address>>,
    pub(super) login: Option<Located<String>>,
    /// The URL, if we dial.
    pub(super) dials: Option<Span>,
    /// The whole of it, if all is right.
    pub(super) done: Option<Account>,
}

const KEYS: [&str; 17] = [
    "name",
    "parallelism",
    "asset",
    "scale",
    "credit_limit",
    "max_packet",
    "max_in_flight",
    "initial_balance",
    "protocol",
    "token",
    "url",
    "routes",
    "login",
    "ca",
    "certificate",
    "cert",
    "key",
];
const PROTOCOLS: [PeerProtocol; 3] = [PeerProtocol::Clp, PeerProtocol::ClpSeed, PeerProtocol::Clp2017];

pub(super) fn read(top: &Section<'_>, context: Context<'_>, own: Option<&Address>, problems: &mut Collector<'_>) -> Vec<AccountRead> {
    let tables = top.tables("account", problems).into_iter().zip(1..);
    tables
        .map(|((at, table), number)| {
            let name = table.get("name").and_then(|name| name.get_ref().as_str());
            let title = name.map_or_else(|| format!("account {number}"), |name| format!("account \"{}\"", values::shown(name)));
            let section = Section::new(title, at, table, &KEYS, problems);
            read_one(section, context, own, problems)
        })
        .collect()
}

fn read_one(section: Section<'_>, context: Context<'_>, own: Option<&Address>, problems: &mut Collector<'_>) -> AccountRead {
    let id = read_id(&section, problems);
    let asset = read_asset(&section, problems);
    let credit_limit = section.amount("credit_limit", problems).map(|limit| limit.value);
    let max_packet = section.amount("max_packet", problems);
    if let Some(max) = max_packet.as_ref().filter(|max| max.value == 0) {
        problems.error(&max.at, section.say("max_packet is 0: no payment could pass; write the largest amount of one payment"));
    }
    let max_in_flight = section.amount("max_in_flight", problems);
    if let Some(max) = max_in_flight.as_ref().filter(|max| max.value == 0) {
        problems.error(&max.at, section.say("max_in_flight is 0: no payment could pass; write what all undecided ones may add up to"));
    }
    let initial_balance = section.signed("initial_balance", problems);
    let protocol = read_protocol(&section, problems);
    let token = token::read(&section, "token", context, problems);
    let routes = read_routes(&section, context, problems);
    let dials = section.get("url").map(|url| url.span());
    let dial = read_dial(&section, context, problems);
    let certificate = tls::pin(&section, context, problems);
    let login = read_login(&section, id.as_ref(), dials.is_some(), own, problems);
    if protocol == Some(PeerProtocol::Clp2017) {
        check_path(&section, token.as_ref(), login.as_ref(), problems);
    }
    let done = (|| {
        let mut config = AccountConfig::new(id.as_ref()?.value.clone(), asset.as_ref()?.value.clone());
        config.credit_limit = credit_limit.unwrap_or(config.credit_limit);
        config.max_packet = max_packet.map_or(config.max_packet, |max| max.value);
        config.max_in_flight = max_in_flight.map_or(config.max_in_flight, |max| max.value);
        config.initial_balance = initial_balance.unwrap_or(config.initial_balance);
        config.protocol = protocol?;
        config.routes = routes.iter().map(|route| route.value.clone()).collect();
        if (dials.is_some() && dial.is_none()) || (section.get("certificate").is_some() && certificate.is_none()) {
            return None;
        }
        Some(Account { config, login: login.as_ref()?.value.clone(), token: token?, dial, certificate })
    })();
    AccountRead { title: section.title, id, asset, routes, login, dials, done }
}

fn read_id(section: &Section<'_>, problems: &mut Collector<'_>) -> Option<Located<AccountId>> {
    let name = section.required_text("name", "write what to call the peer, such as name = \"bob\"", problems);
    let parallelism = match section.get("parallelism") {
        Some(_) => section.small("parallelism", problems).map(|parallelism| parallelism.value),
        None => Some(1),
    };
    let name = name?;
    match AccountId::new(parallelism.unwrap_or(1), name.value) {
        Ok(id) => Some(Located { value: id, at: name.at }),
        Err(error) => {
            problems.error(&name.at, section.say(&format!("name can't be used: {error}")));
            None
        }
    }
}

fn read_asset(section: &Section<'_>, problems: &mut Collector<'_>) -> Option<Located<Asset>> {
    let code = section.required_text("asset", "write what the amounts are in, such as asset = \"XRP\"", problems);
    if section.get("scale").is_none() {
        section.missing("scale", "write how many decimal places the base unit has, such as scale = 6", problems);
    }
    let scale = section.small("scale", problems);
    let code = code?;
    if let Err(why) = values::asset_code(code.value) {
        problems.error(&code.at, section.say(&format!("asset {why}")));
        return None;
    }
    Some(Located { value: Asset::new(code.value, scale?.value), at: code.at })
}

fn read_protocol(section: &Section<'_>, problems: &mut Collector<'_>) -> Option<PeerProtocol> {
    if section.get("protocol").is_none() {
        return Some(PeerProtocol::Clp);
    }
    let text = section.text("protocol", problems)?;
    let protocol = PROTOCOLS.into_iter().find(|protocol| protocol.as_str() == text.value);
    if protocol.is_none() {
        let names = PROTOCOLS.map(PeerProtocol::as_str);
        let hint = match values::nearest(text.value, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of: {}", names.join(", ")),
        };
        problems.error(&text.at, section.say(&format!("protocol is \"{}\", which is none; {hint}", values::shown(text.value))));
    }
    protocol
}

fn read_routes(section: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Vec<Located<Address>> {
    let texts = section.texts("routes", "[\"test.bob\"]", problems);
    texts
        .into_iter()
        .filter_map(|text| match values::address(text.value, context.allow_production) {
            Ok(value) => Some(Located { value, at: text.at }),
            Err(why) => {
                problems.error(&text.at, section.say(&format!("route {why}")));
                None
            }
        })
        .collect()
}

fn read_dial(section: &Section<'_>, context: Context<'_>, problems: &mut Collector<'_>) -> Option<Dial> {
    if section.get("url").is_none() {
        for key in ["ca", "cert", "key"] {
            if section.get(key).is_some() {
                problems.error(
                    &section.at(key),
                    section.say(&format!("{key} is for peers that we dial: take it out, or write the peer's url")),
                );
            }
        }
        return None;
    }
    let text = section.text("url", problems)?;
    let url: Url = match text.value.parse() {
        Ok(url) => url,
        // Its path may hold a secret: nothing of it is shown.
        Err(error) => {
            problems.error(&text.at, section.say(&format!("url can't be dialled: {error}")));
            return None;
        }
    };
    if !url.is_tls() {
        for key in ["ca", "cert", "key"] {
            if section.get(key).is_some() {
                problems.error(
                    &section.at(key),
                    section.say(&format!("{key} isn't used by ws://, which isn't encrypted: write wss:// in url")),
                );
            }
        }
        if !is_loopback(url.host()) {
            problems.warning(
                &text.at,
                section.say(&format!("{url} is not encrypted: the token and all payments can be read on the way; use wss://")),
            );
        }
    }
    Some(Dial { tls: tls::client(section, url.is_tls(), context, problems)?, url })
}

/// Given, or: who dials us comes under its account's name; where we dial, our account there is as a rule called by the last part of
/// our address.
fn read_login(
    section: &Section<'_>,
    id: Option<&Located<AccountId>>,
    dials: bool,
    own: Option<&Address>,
    problems: &mut Collector<'_>,
) -> Option<Located<String>> {
    if section.get("login").is_some() {
        let login = section.text("login", problems)?;
        if login.value.is_empty() {
            problems.error(&login.at, section.say("login is empty; take it out, or write the name that goes with the token"));
            return None;
        }
        return Some(Located { value: login.value.to_owned(), at: login.at });
    }
    let value = if dials { own?.as_str().rsplit('.').next()? } else { id?.value.name() };
    Some(Located { value: value.to_owned(), at: id.map_or_else(|| section.at.clone(), |id| id.at.clone()) })
}

/// In 2017 login and token were parts of the URL.
fn check_path(section: &Section<'_>, token: Option<&Token>, login: Option<&Located<String>>, problems: &mut Collector<'_>) {
    const MUST: &str = "must have only letters, digits and - . _ ~, because clp-2017 puts it into the URL";
    if token.is_some_and(|token| !token::fits_path(token)) {
        problems.error(&section.at("token"), section.say(&format!("the token {MUST}")));
    }
    if let Some(login) = login.filter(|login| !values::is_path_segment(&login.value)) {
        problems.error(&login.at, section.say(&format!("login {MUST}")));
    }
}
