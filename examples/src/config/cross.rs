//! Checks across the parts of the file: what is there twice, and what is missing between parts.

use super::account::AccountRead;
use super::listen::Listen;
use super::problem::Collector;
use super::section::Located;
use ilp_core::{Asset, Rate};
use ilp_oer::Address;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(
    own: Option<&Address>,
    listen: &[Located<Listen>],
    accounts: &[AccountRead],
    rates: &[Located<Rate>],
    problems: &mut Collector<'_>,
) {
    names(accounts, problems);
    logins(accounts, problems);
    tokens(accounts, problems);
    if let Some(own) = own {
        routes(own, accounts, problems);
    }
    listeners(listen, problems);
    duplicate_rates(rates, problems);
    missing_rates(accounts, rates, problems);
}

/// A name is also the end of the account's address, so the parallelism doesn't make two of one.
fn names(accounts: &[AccountRead], problems: &mut Collector<'_>) {
    let mut first = BTreeMap::new();
    for id in accounts.iter().filter_map(|account| account.id.as_ref()) {
        if let Some(line) = first.insert(id.value.name(), problems.place(&id.at).line) {
            let why = format!("there are two accounts called \"{}\", the other one in line {line}: rename one", id.value.name());
            problems.error(&id.at, why);
        }
    }
}

/// Who comes under a login must be one account; and one account at a peer can't be connected twice.
fn logins(accounts: &[AccountRead], problems: &mut Collector<'_>) {
    let mut first: BTreeMap<(Option<String>, &str), &AccountRead> = BTreeMap::new();
    for account in accounts {
        let Some(login) = &account.login else { continue };
        let there = match (&account.dials, account.done.as_ref().and_then(|done| done.dial.as_ref())) {
            (None, _) => None,
            (Some(_), Some(dial)) => Some(dial.url.to_string()),
            (Some(_), None) => continue,
        };
        let same_name = |other: &AccountRead| other.title == account.title;
        let key = (there, login.value.as_str());
        if let Some(other) = first.get(&key).filter(|other| !same_name(other)) {
            let why = match &key.0 {
                None => "both would come under".to_owned(),
                Some(url) => format!("at {url} both have"),
            };
            let why = format!("{} and {}: {why} the login \"{}\"; give one of them another login", other.title, account.title, login.value);
            problems.error(&login.at, why);
        }
        first.entry(key).or_insert(account);
    }
}

fn tokens(accounts: &[AccountRead], problems: &mut Collector<'_>) {
    let mut first: BTreeMap<&[u8], &str> = BTreeMap::new();
    for account in accounts {
        let Some(done) = &account.done else { continue };
        if let Some(other) = first.insert(done.token.as_bytes(), &account.title)
            && let Some(id) = &account.id
        {
            problems.warning(&id.at, format!("{} and {other} have the same token: each peer could pass for the other", account.title));
        }
    }
}

/// No two accounts may have one route; each has `<own address>.<name>` anyway.
fn routes(own: &Address, accounts: &[AccountRead], problems: &mut Collector<'_>) {
    let mut taken: BTreeMap<Address, &str> = BTreeMap::new();
    for account in accounts {
        if let Some(address) = account.id.as_ref().and_then(|id| own.join(id.value.name()).ok()) {
            taken.entry(address).or_insert(&account.title);
        } else if let Some(id) = &account.id {
            problems.error(&id.at, format!("{}: its address {own}.{} would be too long", account.title, id.value.name()));
        }
    }
    for account in accounts {
        let mut mine = BTreeSet::new();
        for route in &account.routes {
            let (title, prefix) = (&account.title, &route.value);
            if prefix == own {
                problems.error(&route.at, format!("{title}: route \"{prefix}\" is the connector's own address: take it out"));
            } else if let Some(other) = taken.get(prefix).filter(|other| *other != title) {
                problems.error(&route.at, format!("{title}: route \"{prefix}\" belongs to {other} already: a route leads to one account"));
            } else if !mine.insert(prefix) {
                problems.warning(&route.at, format!("{title}: route \"{prefix}\" is there twice"));
            }
            taken.entry(prefix.clone()).or_insert(title);
        }
    }
}

fn listeners(listen: &[Located<Listen>], problems: &mut Collector<'_>) {
    let mut first = BTreeMap::new();
    for Located { value, at } in listen.iter().filter(|listen| listen.value.url.port != 0) {
        if let Some(line) = first.insert((&value.url.host, value.url.port), problems.place(at).line) {
            let why = format!("{} is listened on twice, the other one is in line {line}: take another port", value.url);
            problems.error(at, why);
        }
    }
}

/// Who is to dial us needs a place to do so.
pub(super) fn check_reachable(listen: &[Located<Listen>], accounts: &[AccountRead], problems: &mut Collector<'_>) {
    for account in accounts.iter().filter(|account| account.dials.is_none()) {
        let Some(id) = &account.id else { continue };
        let pinned = account.done.as_ref().is_some_and(|done| done.certificate.is_some());
        let parallelism = id.value.parallelism();
        let why = if listen.is_empty() {
            "has no url, so its peer is to dial us, but there is no [[listen]]"
        } else if !listen.iter().any(|listen| listen.value.parallelism == parallelism) {
            "has a parallelism that no [[listen]] has"
        } else if pinned && !listen.iter().any(|listen| listen.value.parallelism == parallelism && listen.value.url.tls) {
            "has a certificate, so its token counts only over wss://, but there is no [[listen]] for that"
        } else {
            continue;
        };
        problems.warning(&id.at, format!("{} {why}: add a [[listen]] with parallelism = {parallelism}", account.title));
    }
}

fn duplicate_rates(rates: &[Located<Rate>], problems: &mut Collector<'_>) {
    let mut first = BTreeMap::new();
    for Located { value, at } in rates {
        if let Some(line) = first.insert((&value.from, &value.to), problems.place(at).line) {
            let why = format!("there are two rates from {} to {}, the other one in line {line}: take one out", value.from, value.to);
            problems.error(at, why);
        }
    }
}

/// Any account may pay any other, so every pair of assets needs a rate each way.
fn missing_rates(accounts: &[AccountRead], rates: &[Located<Rate>], problems: &mut Collector<'_>) {
    let mut assets: BTreeMap<&Asset, &AccountRead> = BTreeMap::new();
    for account in accounts {
        if let Some(asset) = &account.asset {
            assets.entry(&asset.value).or_insert(account);
        }
    }
    for (from, payer) in &assets {
        for (to, payee) in assets.iter().filter(|(to, _)| *to != from) {
            if rates.iter().any(|rate| rate.value.from == **from && rate.value.to == **to) {
                continue;
            }
            let Some(asset) = &payee.asset else { continue };
            let why =
                format!("there is no rate from {from} to {to}, so {} can't pay {}: add a [[rate]] if it should", payer.title, payee.title);
            problems.warning(&asset.at, why);
        }
    }
    for Located { value, at } in rates {
        if let Some(unused) = [&value.from, &value.to].into_iter().find(|asset| !assets.contains_key(asset)) {
            problems.warning(at, format!("this rate is never used: no account is in {unused}"));
        }
    }
}
