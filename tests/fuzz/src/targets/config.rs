//! The configuration file.

use crate::seeds::tests;
use crate::target::Report;
use ilp_examples::config::{Checked, Problems, Severity, check};
use ilp_fuzz_probe::measure;
use std::ffi::OsString;
use std::path::Path;

pub(super) const WORDS: &[&str] = &[
    "address",
    "allow_production",
    "store",
    "kind",
    "memory",
    "limits",
    "listen",
    "url",
    "cert",
    "key",
    "parallelism",
    "account",
    "name",
    "asset",
    "scale",
    "credit_limit",
    "max_packet",
    "max_in_flight",
    "token",
    "env",
    "file",
    "protocol",
    "clp",
    "clp-seed",
    "clp-2017",
    "login",
    "ca",
    "routes",
    "rate",
    "from",
    "to",
    "numerator",
    "denominator",
    "XRP/6",
    "EUR/2",
    "test.ann",
    "test.ann.alice",
    "test.",
    "g.ann",
    "ws://127.0.0.1:0",
    "wss://0.0.0.0:1",
    "TOKEN",
    "SHORT",
    "EMPTY",
    "true",
    "false",
    "ping_ms",
    "output_backlog",
    "output_backlog_max",
    "alice",
    "bob",
    "[[account]]",
    "[[listen]]",
    "[[rate]]",
    "[limits]",
];

const SMALL: &str = "address = \"test.ann\"\n\n[[listen]]\nurl = \"ws://127.0.0.1:7768\"\n\n[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\ntoken = { env = \"TOKEN\" }\n";

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let example = std::fs::read_to_string(tests().join("../examples/connector.toml")).unwrap();
    let plain: String =
        example.lines().filter(|line| !line.starts_with('#')).map(|line| line.split("  #").next().unwrap().to_owned() + "\n").collect();
    let uncommented = example.replace("\n# ", "\n");
    let rates = "[[rate]]\nfrom = \"XRP/6\"\nto = \"EUR/2\"\nnumerator = 55\ndenominator = \"1000000\"\n";
    let dial = "[[account]]\nname = \"carol\"\nasset = \"EUR\"\nscale = 2\ntoken = { env = \"TOKEN\" }\nurl = \"ws://127.0.0.1:1\"\nroutes = [\"test.carol\"]\nprotocol = \"clp-2017\"\nparallelism = 3\n";
    let texts = [
        SMALL.to_owned(),
        format!("{SMALL}{dial}{rates}"),
        format!("{SMALL}[limits]\nping_ms = 7\n[store]\nkind = \"memory\"\n"),
        plain,
        example.clone(),
        uncommented,
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

pub(super) fn run(bytes: &[u8], report: &mut Report) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // A path can lead anywhere: a device, a pipe. Only what leads nowhere is tried.
    if text.contains("dev") || text.contains("proc") {
        return;
    }
    let file = Path::new("/nowhere/at-all/connector.toml");
    let (Checked { config, problems }, memory) = measure(|| check(text, file, &variables));
    assert!(memory.peak <= 4096 * text.len() + (64 << 10), "{} bytes took {memory:?}", text.len());
    report.envelope = text.parse::<toml::Table>().is_ok();
    report.full = config.is_some();
    check_problems(text, &problems);
    assert_eq!(config.is_some(), problems.is_usable(), "{problems}");
    report.feature((problems.list.len().min(5), problems.errors().min(5)));
    if let Some(config) = config {
        report.feature((config.accounts.len(), config.listen.len(), config.rates.len(), config.allow_production));
        assert!(config.rates.iter().all(|rate| rate.numerator > 0 && rate.denominator > 0));
        assert!(config.accounts.iter().all(|account| account.config.max_packet > 0));
        assert!(config.limits.output_backlog_max >= config.limits.output_backlog);
    }
}

fn check_problems(text: &str, problems: &Problems) {
    let lines = text.matches('\n').count() + 1;
    for problem in &problems.list {
        // A name may be long, and is shown once or twice.
        assert!(!problem.message.is_empty() && problem.message.len() < 4096 + 4 * text.len(), "{} bytes of message", problem.message.len());
        assert!(!problem.message.contains(SECRET), "shows a secret: {}", problem.message);
        assert!(!problem.message.contains('\n'), "more than a line: {:?}", problem.message);
        if let Some(place) = problem.place {
            assert!((1..=lines).contains(&place.line), "line {} of {lines}: {}", place.line, problem.message);
            let width = text.split('\n').nth(place.line - 1).unwrap().chars().count();
            assert!((1..=width + 1).contains(&place.column), "column {} of {width}: {}", place.column, problem.message);
        }
    }
    assert_eq!(problems.errors() == 0, problems.list.iter().all(|problem| problem.severity == Severity::Warning));
    assert_eq!(problems.to_string().lines().count(), problems.list.len());
}

fn variables(name: &str) -> Option<OsString> {
    match name {
        "TOKEN" | "ALICE_TOKEN" | "BOB_TOKEN" => Some(format!("{SECRET} of {name}").into()),
        "SHORT" => Some("short".into()),
        "EMPTY" => Some("\n".into()),
        _ => None,
    }
}

const SECRET: &str = "an honest token";
