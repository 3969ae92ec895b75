//! The load tool, run as a program: against the connector it starts itself, and against connectors that break promises.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod fake;

use fake::Lie;
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn flood(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flood"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

fn run(arguments: &str) -> (Option<i32>, Output) {
    let output = flood(arguments).output().unwrap();
    (output.status.code(), output)
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one line of JSON, not {text:?}; {}", complaints(output));
    serde_json::from_str(&text).unwrap()
}

fn complaints(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every payment is fulfilled and every field is there.
fn check_perfect(arguments: &str, payments: u64) -> Value {
    let (code, output) = run(arguments);
    assert_eq!((code, complaints(&output)), (Some(0), String::new()));
    let report = report(&output);
    assert_eq!((&report["payments"], &report["fulfilled"]), (&payments.into(), &payments.into()), "{report}");
    assert_eq!((&report["failed"], &report["balances_ok"]), (&serde_json::json!({}), &true.into()));
    for pointer in [
        "/seconds",
        "/payments_per_second",
        "/latency_ms/p50",
        "/latency_ms/p99",
        "/latency_ms/p999",
        "/bytes/sent",
        "/bytes/received",
        "/flood_cpu_us_per_payment",
    ] {
        assert!(report.pointer(pointer).is_some_and(Value::is_number), "{pointer}: {report}");
    }
    report
}

fn check_child(report: &Value) {
    assert_eq!(report["store"], "embedded");
    assert!(report["disk"]["fsyncs"].as_u64().is_some_and(|fsyncs| fsyncs > 1), "{report}");
    for pointer in ["/disk/bytes_written_per_payment", "/disk/log_bytes_per_payment", "/disk/fsync_ms", "/disk/disk_fsync_ms/p50"] {
        assert!(report.pointer(pointer).is_some_and(Value::is_number), "{pointer}: {report}");
    }
    assert!(report["connector"]["cpu_us_per_payment"].is_number(), "{report}");
    assert!(report["connector"]["peak_rss_mib"].as_f64().is_some_and(|mib| mib > 1.0), "{report}");
}

#[test]
fn a_connector_is_started_flooded_and_found_in_order() {
    let report = check_perfect("--count 2000 --window 64 --json", 2000);
    check_child(&report);
    // Prepare, fulfill and two acks each way; the ILP packet alone has 150 bytes.
    assert!(report["bytes"]["sent"].as_u64().is_some_and(|bytes| bytes > 2000 * 250), "{report}");
    assert!(report.get("rss_mib").is_none());
}

#[test]
fn stores_are_compared_in_turns() {
    let (code, output) = run("--count 500 --window 64 --compare 2 --json");
    assert_eq!(code, Some(0), "{}", complaints(&output));
    let report = report(&output);
    assert_eq!(report["runs"], 2);
    assert!(report["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{report}");
    for (run, store) in [("baseline", "memory"), ("run", "embedded")] {
        assert_eq!((&report[run]["name"], &report[run]["balances_ok"]), (&store.into(), &true.into()), "{report}");
        assert!(report[run]["payments_per_second"].is_number(), "{report}");
    }
    assert!(report["baseline"]["disk"].is_null() && report["run"]["disk"]["fsyncs"].is_number(), "{report}");
}

#[test]
fn two_workers_are_compared_with_one_and_hardly_move_anything() {
    let (code, output) = run("--count 2000 --window 64 --workers 2 --parallelism 2 --compare 1 --against workers=1 --json");
    assert_eq!(code, Some(0), "{}", complaints(&output));
    let report = report(&output);
    for (run, workers) in [("baseline", 1), ("run", 2)] {
        assert_eq!((&report[run]["balances_ok"], &report[run]["workers"]["workers"]), (&true.into(), &workers.into()), "{report}");
        assert!(report[run]["workers"]["moves_per_thousand"].as_f64().is_some_and(|moves| moves < 10.0), "{report}");
    }
}

#[test]
fn a_store_in_memory_takes_nothing_of_the_disk() {
    let report = check_perfect("--count 500 --store memory --json", 500);
    assert!(report["store"] == "memory" && report["disk"].is_null(), "{report}");
}

#[test]
fn it_works_over_tls_and_with_odd_numbers_of_everything() {
    check_child(&check_perfect("--count 777 --window 65 --peers 3 --amount 1000000007 --tls --json", 777));
}

#[test]
fn a_rate_is_kept_and_memory_is_reported() {
    let (code, output) = run("--rate 500 --for 1s --json");
    assert_eq!((code, complaints(&output)), (Some(0), String::new()));
    let report = report(&output);
    let payments = report["payments"].as_u64().unwrap();
    assert!((450..=500).contains(&payments) && report["fulfilled"] == payments, "{report}");
    assert!(report["rss_mib"]["at_10s"].is_null() && report["rss_mib"]["end"].is_number(), "{report}");
}

#[test]
fn every_unit_is_accounted_for_when_connections_are_lost_all_the_time() {
    check_faults("--seed 5");
}

#[test]
fn every_unit_is_accounted_for_when_connections_over_tls_are_lost_all_the_time() {
    check_faults("--seed 6 --tls");
}

fn check_faults(arguments: &str) {
    let (code, output) = run(&format!("--faults=150ms --for 4s --rate 400 --json {arguments}"));
    assert_eq!((code, complaints(&output)), (Some(0), String::new()));
    let report = report(&output);
    assert_eq!((&report["stuck"], &report["balances_ok"]), (&0.into(), &true.into()), "{report}");
    // Otherwise it shows nothing.
    let faults: u64 = report["faults"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert!(faults >= 10, "{report}");
    for (pointer, least) in [
        ("/payments", 300),
        ("/outcomes/fulfilled", 100),
        ("/outcomes/rejected/F99", 1),
        ("/outcomes/rejected/R00", 1),
        ("/reconnects/senders", 1),
        ("/reconnects/receivers", 1),
        ("/resent/prepares", 1),
    ] {
        assert!(report.pointer(pointer).and_then(Value::as_u64).is_some_and(|count| count >= least), "{pointer}: {report}");
    }
}

#[test]
fn on_redis_it_says_what_that_takes_of_the_server() {
    for store in ["redis", "redis-everysec"] {
        let (code, output) = run(&format!("--count 2000 --peers 2 --window 256 --store {store} --json"));
        let report = report(&output);
        assert_eq!((code, report["store"].as_str(), report["balances_ok"].as_bool()), (Some(0), Some(store), Some(true)), "{report}");
        let redis = &report["redis"];
        let figure = |name: &str| redis[name].as_f64().unwrap();
        // A call for each payment would be some of it.
        assert!(figure("commands_per_payment") < 0.5 && figure("aof_bytes_per_payment") > 100.0, "{report}");
        assert!(figure("cpu_us_per_payment") > 0.0, "{report}");
    }
}

#[test]
fn people_get_words() {
    let (code, output) = run("--count 10 --peers 1");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(code == Some(0) && text.contains("books        agree"), "{text}{}", complaints(&output));
}

#[test]
fn wrong_usage_has_exit_code_2_and_help_0() {
    for arguments in
        ["--nonsense", "--seed 1", "--faults 1s", "--count none", "--store redi", "--window 1 --peers 2", "--url ws://127.0.0.1:1"]
    {
        let (code, output) = run(arguments);
        assert_eq!(code, Some(2), "{arguments}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let (code, output) = run("--help");
    assert!(code == Some(0) && String::from_utf8_lossy(&output.stdout).contains("Exit status"));
}

#[test]
fn an_unreachable_connector_has_exit_code_3() {
    // Bound and let go of: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = flood(&format!("--url ws://127.0.0.1:{port} --sender a --receiver b --json"));
    let output = command.env("FLOOD_SENDER_TOKENS", "x").env("FLOOD_RECEIVER_TOKENS", "y").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{}", complaints(&output));
}

#[test]
fn the_child_is_gone_after_the_run_and_when_its_parent_is_killed() {
    let mut parent = flood("--for 60s --rate 10 --json").stdout(Stdio::null()).spawn().unwrap();
    let child = wait_for(|| children_of(parent.id()).first().copied());
    // Without a chance to tidy up.
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for(|| (!std::path::Path::new(&format!("/proc/{child}")).exists()).then_some(()));

    let mut parent = flood("--count 50 --json").stdout(Stdio::null()).spawn().unwrap();
    let child = wait_for(|| children_of(parent.id()).first().copied());
    assert!(parent.wait().unwrap().success());
    assert!(!std::path::Path::new(&format!("/proc/{child}")).exists());
}

#[test]
fn ctrl_c_ends_a_run_early_and_in_good_order() {
    let parent = flood("--for 60s --rate 200 --json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = parent.id();
    wait_for(|| catches_interrupts(id).then_some(()));
    interrupt(id);
    let output = parent.wait_with_output().unwrap();
    assert!(output.status.success() && complaints(&output).contains("ended early"), "{}", complaints(&output));
    let report = report(&output);
    assert!(report["payments"] == report["fulfilled"] && report["seconds"].as_f64().is_some_and(|seconds| seconds < 30.0), "{report}");
}

#[test]
fn a_second_ctrl_c_gives_up_on_what_has_no_outcome() {
    let mut connector = Fake::start(Lie::Swallow);
    let mut parent = connector.flood("secret").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| connector.lied.load(Ordering::Acquire).then_some(()));
    while parent.try_wait().unwrap().is_none() {
        interrupt(parent.id());
    }
    let output = parent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!((&report["failed"], &report["balances_ok"]), (&serde_json::json!({"none": 1}), &true.into()));
    connector.stop();
}

#[test]
fn a_connector_that_keeps_its_promises_is_found_in_order() {
    let (code, output) = run_against(Lie::Nothing, "secret");
    assert_eq!(code, Some(0), "{}", complaints(&output));
    let report = report(&output);
    assert_eq!((&report["fulfilled"], &report["connector"], &report["store"]), (&20.into(), &Value::Null, &Value::Null));
}

#[test]
fn each_broken_promise_is_noticed() {
    for (lie, complaint, fulfilled) in [
        (Lie::FulfillTwice, "1 outcomes of payments that have had theirs", 20),
        (Lie::RejectToo, "1 outcomes of payments that have had theirs", 20),
        (Lie::WrongPreimage, "1 fulfillments that are not their condition's preimage", 20),
        (Lie::Balance, "sender-1: the connector's books say -21, the peer's own say -20", 20),
        (Lie::Reject, "1 of 20 payments were not fulfilled: 1 T99", 19),
        (Lie::Refuse, "1 of 20 payments were not fulfilled: 1 T99", 19),
        (Lie::HangUp, "account sender-1: the peer closed the connection", 9),
    ] {
        let (code, output) = run_against(lie, "secret");
        assert!(code == Some(1) && complaints(&output).contains(complaint), "{lie:?}: {code:?} {}", complaints(&output));
        let report = report(&output);
        assert_eq!(
            (&report["fulfilled"], &report["balances_ok"]),
            (&fulfilled.into(), &(lie != Lie::Balance && lie != Lie::HangUp).into())
        );
    }
}

#[test]
fn a_wrong_token_has_exit_code_3() {
    let (code, output) = run_against(Lie::Nothing, "guess");
    assert!(code == Some(3) && complaints(&output).contains("account receiver-1: refused: T99"), "{}", complaints(&output));
}

fn run_against(lie: Lie, token: &str) -> (Option<i32>, Output) {
    let mut connector = Fake::start(lie);
    let output = connector.flood(token).output().unwrap();
    connector.stop();
    (output.status.code(), output)
}

/// A connector of the test's own, in this process.
struct Fake {
    runtime: Option<tokio::runtime::Runtime>,
    url: String,
    lied: Arc<AtomicBool>,
}

impl Fake {
    fn start(lie: Lie) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (listener, url) = runtime.block_on(fake::listen());
        let lied = Arc::new(AtomicBool::new(false));
        runtime.spawn(fake::serve(listener, lie, lied.clone()));
        Self { runtime: Some(runtime), url, lied }
    }

    /// Twenty payments through it, one after the other.
    fn flood(&self, token: &str) -> Command {
        let url = &self.url;
        let mut command = flood(&format!("--url {url} --sender sender-1 --receiver receiver-1 --count 20 --window 1 --json"));
        command.env("FLOOD_SENDER_TOKENS", token).env("FLOOD_RECEIVER_TOKENS", token);
        command
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// Whether it has asked for SIGINT, the second lowest bit.
fn catches_interrupts(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 2 != 0)
}

fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).stderr(Stdio::null()).status().is_ok());
}

fn children_of(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    tasks.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Looks until there is something to see.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::yield_now();
    }
}
