use super::*;
use std::path::PathBuf;

const GOOD: &str = r#"address = "test.ann"

[[listen]]
url = "ws://127.0.0.1:7768"

[[account]]
name = "bob"
asset = "XRP"
scale = 6
token = { env = "BOB_TOKEN" }
"#;

fn variables(name: &str) -> Option<OsString> {
    match name {
        "BOB_TOKEN" => Some("an honest token of bob's".into()),
        "EVE_TOKEN" => Some("an honest token of eve's".into()),
        "SHORT" => Some("short".into()),
        "EMPTY" => Some("\n".into()),
        "SLASH" => Some("a/token/with/slashes".into()),
        _ => None,
    }
}

fn problems(text: &str) -> Vec<String> {
    problems_in(text, Path::new(""))
}

fn problems_in(text: &str, folder: &Path) -> Vec<String> {
    let (_, list) = read(text, folder, &variables);
    list.iter()
        .map(|problem| {
            let place = problem.place.unwrap();
            let word = if problem.severity == Severity::Warning { "warning" } else { "error" };
            format!("{}:{}: {word}: {}", place.line, place.column, problem.message)
        })
        .collect()
}

/// A folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("connector-config-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_good_file_has_no_problems_and_defaults_where_it_says_nothing() {
    let (config, list) = read(GOOD, Path::new(""), &variables);
    assert_eq!(list, []);
    let config = config.unwrap();
    assert_eq!((config.address.as_str(), config.allow_production), ("test.ann", false));
    assert_eq!(config.store, Store::Embedded(Directory { path: "books".into(), place: None }));
    assert_eq!(config.admin, Some(Socket { path: "books/admin.sock".into(), place: None }));
    let account = &config.accounts[0];
    assert_eq!(account.config, ilp_core::AccountConfig::new(account.config.id.clone(), ilp_core::Asset::new("XRP", 6)));
    assert_eq!((account.config.id.name(), account.config.id.parallelism(), account.login.as_str()), ("bob", 1, "bob"));
    assert_eq!(account.token.as_bytes(), b"an honest token of bob's");
    assert!(account.dial.is_none());
    assert_eq!((config.listen[0].url.to_string().as_str(), config.listen[0].parallelism), ("ws://127.0.0.1:7768", 1));
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let text = r#"
address = "g.ann"
allow_production = true
[store]
kind = "memory"
[[listen]]
url = "ws://[::1]:0"
parallelism = 4
[[account]]
name = "bob"
parallelism = 4
asset = "XRP"
scale = 6
credit_limit = "18446744073709551615"
max_packet = 0xFFFF
protocol = "clp-2017"
token = { env = "BOB_TOKEN" }
url = "ws://localhost:7768/ilp-node-3/api/v1"
login = "5db5b6d5a6d1"
routes = ["g.bob", "g.world."]
[[account]]
name = "eve"
parallelism = 0
asset = "EUR"
scale = 2
token = { env = "EVE_TOKEN" }
login = "eve-at-home"
[[rate]]
from = "XRP/6"
to = "EUR/2"
numerator = "18446744073709551615"
denominator = 1_000
[[rate]]
from = "EUR/2"
to = "XRP/6"
numerator = 3
denominator = 2
"#;
    let text = text.replace("BOB_TOKEN", "TOKEN_64");
    let (config, list) = read(&text, Path::new(""), &|name| if name == "TOKEN_64" { Some("0".repeat(64).into()) } else { variables(name) });
    assert!(list.iter().all(|problem| problem.message.contains("parallelism that no [[listen]] has")), "{list:?}");
    let config = config.unwrap();
    let [bob, eve] = &config.accounts[..] else { panic!("two accounts") };
    assert_eq!((bob.config.credit_limit, bob.config.max_packet, bob.config.id.parallelism()), (u64::MAX, 0xFFFF, 4));
    let routes: Vec<&str> = bob.config.routes.iter().map(Address::as_str).collect();
    assert_eq!((routes, bob.login.as_str()), (vec!["g.bob", "g.world"], "5db5b6d5a6d1"));
    assert_eq!(bob.dial.as_ref().unwrap().url.to_string(), "ws://localhost:7768");
    assert_eq!((eve.config.id.parallelism(), eve.login.as_str()), (1, "eve-at-home"));
    assert_eq!((config.rates[0].numerator, config.rates[0].denominator), (u64::MAX, 1_000));
}

#[test]
fn every_limit_can_be_set_by_its_name() {
    let (config, list) =
        read(&format!("{GOOD}\n[limits]\nping_ms = 7\nin_flight_value_per_account = \"18446744073709551615\""), Path::new(""), &variables);
    assert_eq!(list, []);
    assert_eq!(config.unwrap().limits, Limits { ping_ms: 7, ..Limits::default() });
    for (line, expected) in [
        ("ping_ms = 0", "limits: ping_ms is 0: nothing could be done any more"),
        ("ping_ms = 4294967296", "limits: ping_ms is 4294967296; the most is 4294967295"),
        ("pin_ms = 1", "limits: unknown key \"pin_ms\"; did you mean \"ping_ms\"?"),
        ("output_backlog_max = 5", "limits: output_backlog_max is 5, less than output_backlog with 1048576"),
        ("stall_ms = true", "limits: stall_ms must be a whole number from 0 to 18446744073709551615, not true or false"),
    ] {
        let found = problems(&format!("{GOOD}\n[limits]\n{line}"));
        assert!(found.len() == 1 && found[0].contains(expected), "{line}: {found:?}");
    }
    let text = format!("{:?}", Limits::default());
    let names: Vec<&str> = text.split([' ', ':']).filter(|word| word.contains('_') || *word == "handshakes").collect();
    for name in names {
        assert!(limits::names().contains(&name), "{name} can't be set");
    }
}

#[test]
fn the_sample_has_every_limit_and_its_default() {
    let sample = include_str!("../../connector.toml");
    let (_, from) = sample.split_once("# [limits]\n").unwrap();
    let lines: Vec<&str> = from.lines().map_while(|line| line.strip_prefix("# ")).collect();
    for name in limits::names() {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
    }
    let (config, list) = read(&format!("{GOOD}\n[limits]\n{}", lines.join("\n")), Path::new(""), &variables);
    assert_eq!((list, config.unwrap().limits), (Vec::new(), Limits::default()));
}

#[test]
fn where_we_dial_our_login_is_the_end_of_our_address() {
    let text = GOOD.replace("test.ann", "test.bob.ann").replace("scale = 6", "scale = 6\nurl = \"wss://bob.example\"");
    let (config, list) = read(&text, Path::new(""), &variables);
    assert_eq!(list, []);
    let account = &config.unwrap().accounts[0];
    assert_eq!(account.login, "ann");
    assert!(account.dial.as_ref().unwrap().url.is_tls());
}

/// In the good file `from` becomes `to`; the only problem is then the given one.
fn check(cases: &[(&str, &str, &str)]) {
    for (from, to, expected) in cases {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let found = problems(&GOOD.replace(from, to));
        assert_eq!(found.len(), 1, "{to}: {found:#?}");
        let parts: Vec<&str> = expected.split('…').collect();
        let mut rest = found[0].as_str();
        assert!(rest.starts_with(parts[0]), "{to}\n  expected {expected}\n  found    {rest}");
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{to}\n  expected {expected}\n  found    {}", found[0]));
            rest = &rest[at + part.len()..];
        }
    }
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_name() {
    check(
        &[
            (
                "scale = 6",
                "scale = 6\ncredit_limt = 1",
                "10:1: error: account \"bob\": unknown key \"credit_limt\"; did you mean \"credit_limit\"?",
            ),
            (
                "scale = 6",
                "scale = 6\nmaxpacket = 1",
                "10:1: error: account \"bob\": unknown key \"maxpacket\"; did you mean \"max_packet\"?",
            ),
            (
                "scale = 6",
                "scale = 6\nfrobnicate = 1",
                "10:1: error: account \"bob\": unknown key \"frobnicate\"; there are: name, parallelism, ",
            ),
            ("[[listen]]", "[[listen]]\ncerts = 1", "4:1: error: listen 1: unknown key \"certs\"; did you mean \"cert\"?"),
            ("address = \"test.ann\"", "address = \"test.ann\"\nallow_prod = true", "2:1: error: unknown key \"allow_prod\"; "),
            (
                "[[listen]]",
                "[store]\nkind = \"memory\"\nplace = 1\n[[listen]]",
                "5:1: error: store: unknown key \"place\"; there are: kind, path",
            ),
        ][..],
    );
    let found = problems(&GOOD.replace("[[listen]]", "[[lisen]]"));
    assert!(found[0].starts_with("3:3: error: unknown key \"lisen\"; did you mean \"listen\"?"), "{found:?}");
    check(&[
        ("[[listen]]", "[[listen]]\ncertt = 1", "4:1: error: listen 1: unknown key \"certt\"; did you mean \"cert\"?"),
        (
            "[[listen]]",
            "[store]\nkind = \"memory\"\nplace = 1\n[[listen]]",
            "5:1: error: store: unknown key \"place\"; there are: kind, path",
        ),
        ("[[listen]]", "[admin]\nsock = 1\n[[listen]]", "4:1: error: admin: unknown key \"sock\"; did you mean \"socket\"?"),
        ("[[listen]]", "[[rat]]\n[[listen]]", "3:3: error: unknown key \"rat\"; did you mean \"rate\"?"),
    ]);
}

#[test]
fn a_wrong_value_is_shown_with_its_place_and_what_it_should_be() {
    check(
        &[
            ("\"test.ann\"", "\"test ann\"", "1:11: error: address is \"test ann\", which is not an ILP address"),
            ("\"test.ann\"", "\"g.ann\"", "1:11: error: address is \"g.ann\", a production address…allow_production = true"),
            ("\"test.ann\"", "7", "1:11: error: address must be a text in quotation marks, not an integer"),
            (
                "\"ws://127.0.0.1:7768\"",
                "\"http://127.0.0.1:7768\"",
                "4:7: error: listen 1: url is \"http://127.0.0.1:7768\", but must be ws:// or wss://",
            ),
            ("\"ws://127.0.0.1:7768\"", "\"ws://127.0.0.1\"", "4:7: error: listen 1: url is \"ws://127.0.0.1\", which has no port"),
            (
                "\"ws://127.0.0.1:7768\"",
                "\"ws://127.0.0.1:7768/name/secret\"",
                "4:7: error: listen 1: url is \"ws://127.0.0.1:7768\", but a path has no place here",
            ),
            (
                "url = \"ws://127.0.0.1:7768\"",
                "url = \"ws://127.0.0.1:7768\"\npublic_url = \"https://pay.example\"",
                "5:14: error: listen 1: public_url is \"https://pay.example\": ",
            ),
            ("\"ws://127.0.0.1:7768\"", "\"ws://127.0.0.1:77680\"", "4:7: error: listen 1: url…whose port must be a number from 0"),
            ("\"bob\"", "\"b.ob\"", "7:8: error: account \"b.ob\": name can't be used: …'.'"),
            ("\"bob\"", "3", "7:8: error: account 1: name must be a text in quotation marks, not an integer"),
            ("\"XRP\"", "\"XRP/6\"", "8:9: error: account \"bob\": asset is \"XRP/6\", but has only the code here…scale = "),
            ("scale = 6", "scale = 256", "9:9: error: account \"bob\": scale is 256, out of range: it must be from 0 to 255"),
            ("scale = 6", "scale = -1", "9:9: error: account \"bob\": scale is -1, out of range"),
            (
                "scale = 6",
                "scale = 6\ncredit_limit = 1.5",
                "10:16: error: account \"bob\": credit_limit is 1.5, but must be a whole number",
            ),
            (
                "scale = 6",
                "scale = 6\ncredit_limit = \"1e6\"",
                "10:16: error: account \"bob\": credit_limit is \"1e6\", but must be a whole number",
            ),
            (
                "scale = 6",
                "scale = 6\ncredit_limit = \"\"",
                "10:16: error: account \"bob\": credit_limit is \"\", but must be a whole number",
            ),
            (
                "scale = 6",
                "scale = 6\ncredit_limit = \"-5\"",
                "10:16: error: account \"bob\": credit_limit is \"-5\", out of range: it must be from 0 to 18446744073709551615",
            ),
            (
                "scale = 6",
                "scale = 6\ncredit_limit = 18446744073709551616",
                "10:16: error: account \"bob\": credit_limit is 18446744073709551616, out of range",
            ),
            ("scale = 6", "scale = 6\nmax_in_flight = 0", "10:17: error: account \"bob\": max_in_flight is 0: no payment could pass"),
            ("scale = 6", "scale = 6\nmax_packet = 0", "10:14: error: account \"bob\": max_packet is 0: no payment could pass"),
            (
                "scale = 6",
                "scale = 6\nprotocol = \"clp-2018\"",
                "10:12: error: account \"bob\": protocol is \"clp-2018\", which is none; did you mean \"clp-2017\"?",
            ),
            (
                "scale = 6",
                "scale = 6\nroutes = \"test.bob\"",
                "10:10: error: account \"bob\": routes must be a list such as [\"test.bob\"], not a text",
            ),
            (
                "scale = 6",
                "scale = 6\nroutes = [\"test.b\", \"g.b\"]",
                "10:21: error: account \"bob\": route is \"g.b\", a production address",
            ),
            ("scale = 6", "scale = 6\nca = \"x.pem\"", "10:6: error: account \"bob\": ca is for peers that we dial"),
            (
                "scale = 6",
                "scale = 6\nurl = \"http://x/secret\"",
                "10:7: error: account \"bob\": url can't be dialled: the scheme must be ws:// or wss://",
            ),
            ("scale = 6", "scale = 6\nurl = \"ws://localhost:1\"\nca = \"x\"", "11:6: error: account \"bob\": ca isn't used by ws://"),
            ("scale = 6", "scale = 6\nlogin = \"\"", "10:9: error: account \"bob\": login is empty"),
            ("[[listen]]", "[store]\nkind = \"redis\"\n[[listen]]", "3:1: error: store: url is missing; write where the server is"),
            ("[[listen]]", "[store]\nkind = \"memory\"\npath = \"a\"\n[[listen]]", "5:8: error: store: path is for kind = \"embedded\""),
            ("[[listen]]", "[store]\nkind = \"embedded\"\npath = \"\"\n[[listen]]", "5:8: error: store: path is empty"),
            ("[[listen]]", "[store]\nkind = \"embedded\"\npath = 5\n[[listen]]", "5:8: error: store: path must be a text"),
            ("[[listen]]", "[admin]\nsocket = 5\n[[listen]]", "4:10: error: admin: socket must be a text"),
            ("[[listen]]", "admin = 5\n[[listen]]", "3:9: error: admin must be a table"),
            (
                "[[listen]]",
                "[store]\nkind = \"memroy\"\n[[listen]]",
                "4:8: error: store: kind is \"memroy\", which is no store; did you mean \"memory\"?",
            ),
            ("[[account]]", "[account]", "6:1: error: there can be several account entries: write [[account]]"),
        ][..],
    );
}

#[test]
fn books_are_beside_the_file_if_it_does_not_say_where() {
    let folder = folder("books");
    let read = |text: &str| read(&format!("{GOOD}\n{text}"), &folder, &variables);
    let (config, list) = read("[store]\nkind = \"embedded\"\npath = \"a/b\"");
    assert_eq!(list, []);
    let config = config.unwrap();
    assert_eq!(config.store, Store::Embedded(Directory { path: folder.join("a/b"), place: Some(Place { line: 14, column: 8 }) }));
    assert_eq!(config.admin, Some(Socket { path: folder.join("a/b/admin.sock"), place: None }));
    let (config, list) = read("[store]\nkind = \"memory\"");
    assert_eq!((list, config.unwrap().admin), (Vec::new(), None), "there is no place for it");
    for (text, admin) in [
        ("[admin]\nsocket = \"none\"", None),
        ("[admin]\nsocket = \"s\"", Some(Socket { path: folder.join("s"), place: Some(Place { line: 13, column: 10 }) })),
        ("[admin]", Some(Socket { path: folder.join("books/admin.sock"), place: None })),
    ] {
        set_mode(&folder, 0o700);
        let (config, list) = read(text);
        assert_eq!((list, config.unwrap().admin), (Vec::new(), admin), "{text}");
    }
    assert!(!folder.join("books").exists(), "nothing is made by looking");
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_place_where_books_can_not_be_is_found_without_trying() {
    let folder = folder("places");
    set_mode(&folder, 0o755);
    std::fs::write(folder.join("file"), "").unwrap();
    std::fs::create_dir_all(folder.join("open")).unwrap();
    set_mode(&folder.join("open"), 0o755);
    let long = "l".repeat(120);
    for (text, expected) in [
        ("[store]\nkind = \"embedded\"\npath = \"file\"", "14:8: error: store: path…file can't hold the books: it is a file"),
        ("[store]\nkind = \"embedded\"\npath = \"file/a/b\"", "14:8: error: store: path…a part of its path is a file"),
        ("[store]\nkind = \"embedded\"\npath = \"open\"", "14:8: error: admin: socket…other users may enter…run chmod 700"),
        ("[admin]\nsocket = \"s\"", "13:10: error: admin: socket…other users may enter"),
        (&format!("[admin]\nsocket = \"{long}\""), "13:10: error: admin: socket…the system takes 103"),
    ] {
        let found = problems_in(&format!("{GOOD}\n{text}"), &folder);
        let mut rest = found[0].as_str();
        for part in expected.split('…') {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{text}: {part:?} in {found:?}")).1;
        }
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "open"], "nothing is made by looking");
}

#[test]
fn an_initial_balance_may_be_negative() {
    for (text, balance) in [("\"-5\"", -5), ("-5", -5), ("\"9223372036854775807\"", i64::MAX), ("0", 0)] {
        let (config, list) = read(&GOOD.replace("scale = 6", &format!("scale = 6\ninitial_balance = {text}")), Path::new(""), &variables);
        assert_eq!(list, []);
        assert_eq!(config.unwrap().accounts[0].config.initial_balance, balance);
    }
    check(&[
        (
            "scale = 6",
            "scale = 6\ninitial_balance = 1.5",
            "10:19: error: account \"bob\": initial_balance is 1.5, but must be a whole number",
        ),
        ("scale = 6", "scale = 6\ninitial_balance = \"--5\"", "10:19: error: account \"bob\": initial_balance is \"--5\", but must be"),
        (
            "scale = 6",
            "scale = 6\ninitial_balance = \"9223372036854775808\"",
            "10:19: error: account \"bob\": initial_balance is 9223372036854775808, out of range",
        ),
    ]);
}

#[test]
fn what_must_be_there_is_missed_at_its_header() {
    check(&[
        ("address = \"test.ann\"", "", "1:1: error: address is missing; write address = \"test.<name>\""),
        ("url = \"ws://127.0.0.1:7768\"", "", "3:1: error: listen 1: url is missing"),
        ("name = \"bob\"", "", "6:1: error: account 1: name is missing"),
        ("asset = \"XRP\"", "", "6:1: error: account \"bob\": asset is missing"),
        ("scale = 6", "", "6:1: error: account \"bob\": scale is missing"),
        ("token = { env = \"BOB_TOKEN\" }", "", "6:1: error: account \"bob\": token is missing; write token = { file"),
        ("[[listen]]", "[store]\n[[listen]]", "3:1: error: store: kind is missing"),
    ]);
    let found = problems(&GOOD.replace("ws://", "wss://"));
    assert!(found.len() == 2 && found[0].contains("cert is missing") && found[1].contains("key is missing"), "{found:?}");
}

#[test]
fn a_token_comes_from_a_file_or_the_environment() {
    check(&[
        (
            "{ env = \"BOB_TOKEN\" }",
            "{ env = \"NOT_SET\" }",
            "10:17: error: account \"bob\": token: the environment variable NOT_SET is not set",
        ),
        ("{ env = \"BOB_TOKEN\" }", "{ env = \"EMPTY\" }", "10:17: error: account \"bob\": token: environment variable EMPTY is empty"),
        (
            "{ env = \"BOB_TOKEN\" }",
            "{ env = \"SHORT\" }",
            "10:17: warning: account \"bob\": token: environment variable SHORT holds only 5 bytes",
        ),
        ("{ env = \"BOB_TOKEN\" }", "{ file = \"missing\" }", "10:18: error: account \"bob\": token: file missing can't be read"),
        ("{ env = \"BOB_TOKEN\" }", "{ file = \"\" }", "10:18: error: account \"bob\": token is empty"),
        (
            "{ env = \"BOB_TOKEN\" }",
            "{ file = \"a\", env = \"B\" }",
            "10:9: error: account \"bob\": token must have one of file and env, it has both",
        ),
        ("{ env = \"BOB_TOKEN\" }", "{}", "10:9: error: account \"bob\": token must have one of file and env, it has neither"),
        (
            "{ env = \"BOB_TOKEN\" }",
            "{ env = \"SLASH\" }\nprotocol = \"clp-2017\"",
            "10:9: error: account \"bob\": the token must have only letters",
        ),
    ]);
}

#[test]
fn a_literal_token_is_refused_and_never_shown() {
    let secret = "hunter2";
    for token in [
        "\"hunter2\"",
        "hunter2",
        "\"hunter2",
        "'hunter2'",
        "[\"hunter2\"]",
        "{ value = \"hunter2\" }",
        "{ hunter2 = 1 }",
        "{ env = \"hunter2!\" }",
        "{ file = [\"hunter2\"] }",
    ] {
        let found = problems(&GOOD.replace("{ env = \"BOB_TOKEN\" }", token));
        assert!(!found.is_empty() && found.iter().all(|problem| problem.starts_with("10:")), "{token}: {found:?}");
        assert!(!found.iter().any(|problem| problem.contains(secret)), "{token}: {found:?}");
    }
    let found = problems(&GOOD.replace("{ env = \"BOB_TOKEN\" }", "\"hunter2\""));
    assert!(found[0].contains("must not stand in this file") && found[0].contains("{ file = "), "{found:?}");
}

#[cfg(unix)]
#[test]
fn a_token_file_loses_its_line_end_and_others_should_not_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("token");
    std::fs::write(folder.join("bob.token"), "an honest token in a file\n").unwrap();
    let text = GOOD.replace("{ env = \"BOB_TOKEN\" }", "{ file = \"bob.token\" }");
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        std::fs::set_permissions(folder.join("bob.token"), std::fs::Permissions::from_mode(mode)).unwrap();
        let (config, list) = read(&text, &folder, &variables);
        assert_eq!(config.unwrap().accounts[0].token.as_bytes(), b"an honest token in a file");
        assert_eq!(list.iter().filter(|problem| problem.message.contains("every user of this machine can read")).count(), warnings);
        assert_eq!(list.len(), warnings);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn certificates_are_looked_at() {
    let folder = folder("certificate");
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    std::fs::write(folder.join("cert.pem"), one.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), one.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("other.pem"), other.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("junk.pem"), "junk").unwrap();
    let tls = |cert: &str, key: &str| {
        let text = GOOD.replace("\"ws://127.0.0.1:7768\"", &format!("\"wss://127.0.0.1:7768\"\ncert = \"{cert}\"\nkey = \"{key}\""));
        let (config, list) = read(&text, &folder, &variables);
        let worst = list.iter().map(|problem| problem.severity).find(|severity| *severity != Severity::Warning);
        assert_eq!(worst.is_none(), config.unwrap().listen[0].tls.is_some());
        worst
    };
    assert_eq!(tls("cert.pem", "key.pem"), None);
    assert_eq!(tls("cert.pem", "other.pem"), Some(Severity::Unusable));
    assert_eq!(tls("junk.pem", "key.pem"), Some(Severity::Unusable));
    assert_eq!(tls("cert.pem", "junk.pem"), Some(Severity::Unusable));
    assert_eq!(tls("cert.pem", "missing.pem"), Some(Severity::Error));
    let clients = |lines: &str| {
        let wss = format!("\"wss://127.0.0.1:7768\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{lines}");
        let mut found = problems_in(&GOOD.replace("\"ws://127.0.0.1:7768\"", &wss), &folder);
        // Whether others can read the key depends on who runs the tests.
        found.retain(|problem| !problem.contains("every user of this machine can read"));
        found
    };
    assert_eq!(clients("client_ca = \"cert.pem\""), Vec::<String>::new());
    assert_eq!(clients("client_ca = \"cert.pem\"\nclient_certificates = \"optional\""), Vec::<String>::new());
    let found = clients("client_ca = \"cert.pem\"\nclient_certificates = \"optinal\"");
    assert!(found.len() == 1 && found[0].contains("which is neither; did you mean \"optional\"?"), "{found:?}");
    let found = clients("client_certificates = \"required\"");
    assert!(found.len() == 1 && found[0].starts_with("7:23: error: listen 1: client_certificates says what is asked"), "{found:?}");
    let pinned = GOOD.replace("scale = 6", "scale = 6\ncertificate = \"cert.pem\"");
    let found = problems_in(&pinned, &folder);
    assert!(
        found.len() == 1 && found[0].contains("warning: account \"bob\" has a certificate, so its token counts only over wss://"),
        "{found:?}"
    );
    let mut old = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    old.not_after = rcgen::date_time_ymd(2020, 1, 2);
    std::fs::write(folder.join("cert.pem"), old.self_signed(&one.signing_key).unwrap().pem()).unwrap();
    let found = clients("");
    assert!(found.len() == 1 && found[0].ends_with("warning: listen 1: cert has expired at 2020-01-02T00:00:00.000Z"), "{found:?}");
    let dial = GOOD.replace("scale = 6", "scale = 6\nurl = \"wss://bob.example\"\nca = \"cert.pem\"");
    assert_eq!(problems_in(&dial, &folder), Vec::<String>::new());
    let found = problems_in(&dial.replace("cert.pem", "junk.pem"), &folder);
    assert!(found.len() == 1 && found[0].contains("ca can't be used"), "{found:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

const EVE: &str = r#"
[[account]]
name = "eve"
asset = "XRP"
scale = 6
token = { env = "EVE_TOKEN" }
"#;

/// The good file with another account; `from` becomes `to` in that.
fn check_eve(cases: &[(&str, &str, &str)]) {
    for (from, to, expected) in cases {
        let found = problems(&format!("{GOOD}{}", EVE.replace(from, to)));
        assert_eq!(found.len(), 1, "{to}: {found:#?}");
        assert!(found[0].starts_with(expected), "{to}\n  expected {expected}\n  found    {}", found[0]);
    }
}

#[test]
fn what_can_be_there_only_once_is_found_twice() {
    check_eve(&[
        ("\"eve\"", "\"bob\"", "13:8: error: there are two accounts called \"bob\", the other one in line 7"),
        (
            "\"eve\"",
            "\"eve\"\nlogin = \"bob\"",
            "14:9: error: account \"bob\" and account \"eve\": both would come under the login \"bob\"",
        ),
        (
            "scale = 6",
            "scale = 6\nroutes = [\"test.ann.bob\"]",
            "16:11: error: account \"eve\": route \"test.ann.bob\" belongs to account \"bob\" already",
        ),
        (
            "scale = 6",
            "scale = 6\nroutes = [\"test.ann\"]",
            "16:11: error: account \"eve\": route \"test.ann\" is the connector's own address",
        ),
        (
            "scale = 6",
            "scale = 6\nroutes = [\"test.eve\", \"test.eve.\"]",
            "16:23: warning: account \"eve\": route \"test.eve\" is there twice",
        ),
        ("EVE_TOKEN", "BOB_TOKEN", "13:8: warning: account \"eve\" and account \"bob\" have the same token"),
    ]);
    let routes = format!("{GOOD}routes = [\"test.world\"]\n{EVE}routes = [\"test.world.\"]\n");
    let found = problems(&routes);
    assert!(found.len() == 1 && found[0].contains("route \"test.world\" belongs to account \"bob\" already"), "{found:?}");
    let found = problems(&GOOD.replace("[[listen]]", "[[listen]]\nurl = \"ws://127.0.0.1:7768\"\n[[listen]]"));
    assert!(
        found.len() == 1 && found[0].starts_with("6:7: error: ws://127.0.0.1:7768 is listened on twice, the other one is in line 4"),
        "{found:?}"
    );
    let twice = format!("{}url = \"ws://localhost:5\"\n{}url = \"ws://localhost:5\"\n", GOOD, EVE);
    let found = problems(&twice);
    assert!(found.len() == 1 && found[0].contains("at ws://localhost:5 both have the login \"ann\""), "{found:?}");
}

#[test]
fn what_works_but_perhaps_not_as_meant_is_a_warning() {
    check(&[
        ("ws://127.0.0.1:7768", "ws://0.0.0.0:7768", "4:7: warning: listen 1: ws://0.0.0.0:7768 is not encrypted"),
        ("scale = 6", "scale = 6\nurl = \"ws://bob.example/secret\"", "10:7: warning: account \"bob\": ws://bob.example is not encrypted"),
        ("\"bob\"", "\"bob\"\nparallelism = 4", "7:8: warning: account \"bob\" has a parallelism that no [[listen]] has"),
        (
            "[[listen]]\nurl = \"ws://127.0.0.1:7768\"",
            "",
            "6:8: warning: account \"bob\" has no url, so its peer is to dial us, but there is no [[listen]]",
        ),
    ]);
    let found = problems("address = \"test.ann\"");
    assert!(found.len() == 1 && found[0].contains("there is no [[account]]"), "{found:?}");
}

#[test]
fn rates_are_whole_numbers_between_two_assets() {
    let rate = |text: &str| problems(&format!("{GOOD}{}\n[[rate]]\n{text}", EVE.replace("\"XRP\"", "\"EUR\"")));
    let found = rate("from = \"XRP/6\"\nto = \"EUR/6\"\nnumerator = 1\ndenominator = \"2\"\n");
    assert!(
        found.len() == 1 && found[0].contains("there is no rate from EUR/6 to XRP/6, so account \"eve\" can't pay account \"bob\""),
        "{found:?}"
    );
    for (text, expected) in [
        (
            "from = \"XRP\"\nto = \"EUR/6\"\nnumerator = 1\ndenominator = 2",
            "19:8: error: rate 1: from is \"XRP\", but must be an asset code and a scale such as XRP/6",
        ),
        ("from = \"XRP/6\"\nto = \"EUR/6\"\nnumerator = 1", "18:1: error: rate 1: denominator is missing"),
        ("from = \"XRP/6\"\nto = \"EUR/6\"\nnumerator = 1\ndenominator = 0", "22:15: error: rate 1: denominator is 0"),
        (
            "from = \"XRP/6\"\nto = \"EUR/6\"\nnumerator = 0.5\ndenominator = 1",
            "21:13: error: rate 1: numerator is 0.5, but must be a whole number",
        ),
        ("from = \"XRP/6\"\nto = \"XRP/6\"\nnumerator = 1\ndenominator = 1", "20:6: error: rate 1: from and to are both XRP/6"),
        (
            "from = \"XRP/6\"\nto = \"USD/2\"\nnumerator = 1\ndenominator = 1",
            "18:1: warning: this rate is never used: no account is in USD/2",
        ),
    ] {
        let found = rate(text);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{text}\n  expected {expected}\n  found {found:#?}");
    }
    let one = "from = \"XRP/6\"\nto = \"EUR/6\"\nnumerator = 1\ndenominator = 1\n";
    let found = rate(&format!("{one}[[rate]]\n{one}"));
    assert!(found.iter().any(|problem| problem.contains("there are two rates from XRP/6 to EUR/6, the other one in line 18")), "{found:?}");
}

#[test]
fn all_problems_are_found_at_once_in_the_order_of_the_file() {
    let text = "adress = \"test.ann\"\n[[account]]\nname = bob\nscale = 6.5\n[[rate]]\nfrom = \"X\"\n";
    let lines: Vec<String> = problems(text).iter().map(|problem| problem.split(": ").next().unwrap().to_owned()).collect();
    // The missing address, the misspelt one; two keys missing in the account, the name without quotation marks, the scale; three keys
    // missing in the rate and a wrong one.
    assert_eq!(lines, ["1:1", "1:1", "2:1", "2:1", "3:8", "4:9", "5:1", "5:1", "5:1", "6:8"]);
}

#[test]
fn a_broken_line_gets_one_message() {
    let found = problems(&GOOD.replace("scale = 6", "scale = "));
    assert!(found.len() == 1 && found[0].starts_with("9:9: error: "), "{found:?}");
    let found = problems(&GOOD.replace("scale = 6", "scale = 6\nscale = 7"));
    assert_eq!(found, ["10:1: error: duplicate key"]);
}

#[test]
fn columns_count_characters() {
    let found = problems(&GOOD.replace("token = {", "token = { \"ümläut\" = 1,"));
    assert!(found[0].starts_with("10:9: "), "{found:?}");
    let found = problems(&GOOD.replace("asset = \"XRP\"", "\"äöü\" = 1\nasset = \"é\""));
    assert!(found.iter().any(|problem| problem.starts_with("9:9: error: account \"bob\": asset is \"é\"")), "{found:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_too() {
    let folder = folder("unreadable");
    let file = folder.join("latin1.toml");
    std::fs::write(&file, b"address = \"\xe4\"").unwrap();
    for (path, why) in [(file.as_path(), "is not UTF-8 text"), (&folder.join("missing.toml"), "can't be read")] {
        let checked = load(path, &variables);
        assert!(checked.config.is_none() && checked.problems.has_errors());
        assert!(checked.problems.to_string().contains(why), "{}", checked.problems);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_broken_line_is_an_error_whatever_else_there_is_to_say_about_it() {
    for text in ["address=", "address = \"test.ann\nx", "[[account]", "= 1\naddress = \"test.ann\""] {
        let checked = super::check(text, Path::new("connector.toml"), &variables);
        assert!(checked.config.is_none() && checked.problems.has_errors(), "{text:?}: {:?}", checked.problems.list);
    }
}

#[test]
fn a_file_without_an_end_is_not_read_to_its_end() {
    let found = problems(&GOOD.replace("{ env = \"BOB_TOKEN\" }", "{ file = \"/dev/zero\" }"));
    assert!(found.len() == 1 && found[0].contains("larger than 1048576 bytes"), "{found:?}");
}

#[test]
fn a_message_is_one_line_even_about_a_file_whose_name_is_not() {
    let found = problems(&GOOD.replace("{ env = \"BOB_TOKEN\" }", "{ file = \"no\\nwhere\\u001b[2J\" }"));
    assert!(found.len() == 1 && !found[0].contains(['\n', '\u{1b}']) && found[0].contains("no\\nwhere"), "{found:?}");
}
