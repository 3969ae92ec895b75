//! The demo: payments that anybody can watch, on books that stay.

use super::support::{Folder, PATIENCE, command, finished, kill, line_with, run};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

#[tokio::test]
async fn the_demo_pays_and_the_books_are_right() {
    let (code, stdout, stderr) = run(&["--demo", "--store", "memory", "--payments", "50", "--amount", "2500"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}{stderr}");
    for expected in [
        "50 of 50 payments fulfilled in ",
        "alice -0.125000 XRP, expected -0.125000 XRP",
        "bob   +0.125000 XRP, expected +0.125000 XRP",
        "the books are in memory, gone when this ends",
        "frames in",
        " a second",
    ] {
        assert!(stdout.contains(expected), "{expected} in\n{stdout}");
    }
    assert!(stdout.ends_with("\nthe books are right\n"), "{stdout}");
    assert!(!stdout.contains("WRONG"), "{stdout}");
}

#[tokio::test]
async fn the_demo_can_go_by_time() {
    let folder = Folder::new("demo-time");
    let mut command = command();
    let (code, stdout, stderr) = finished(command.env("HOME", &folder.0).args(["--demo", "--for", "300ms", "--in-flight", "4"])).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("for 300 ms, 4 payments in flight at once") && stdout.ends_with("the books are right\n"), "{stdout}");
    let books = folder.path(".local/state/ilp-node/demo");
    assert!(stdout.contains(&format!("the books of all three are in {books}; they are new")), "{stdout}");
    assert_eq!(run(&["audit", "--store", &format!("{books}/bob")]).await.0, 0);
}

#[tokio::test]
async fn the_demo_stops_paying_when_told_to_and_still_looks_at_the_books() {
    let mut child =
        command().args(["--demo", "--store", "memory", "--for", "1h"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    line_with(&mut stderr, " payments  ").await;
    kill(&child, "-INT").await;
    line_with(&mut stderr, "Ctrl-C: waiting for payments in flight").await;
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("(stopped by Ctrl-C)") && stdout.ends_with("the books are right\n"), "{stdout}");
}

/// What the report says of one row: found, before, after, change.
fn row(stdout: &str, name: &str) -> Vec<i128> {
    let line = stdout
        .lines()
        .find(|line| line.starts_with(&format!("  {name} ")) && line.contains("XRP"))
        .unwrap_or_else(|| panic!("{name} in {stdout}"));
    let digits = |text: &str| text.chars().filter(|c| c.is_ascii_digit() || *c == '-').collect::<String>();
    line.split("XRP").map(digits).filter_map(|digits| digits.parse().ok()).collect()
}

#[tokio::test]
async fn a_demo_that_was_killed_goes_on_from_its_books() {
    let folder = Folder::new("demo-killed");
    let books = folder.path("books");
    let arguments = ["--demo", "--store", &books];
    let (code, stdout, _) = run(&[&arguments[..], &["--payments", "20"]].concat()).await;
    assert_eq!((code, row(&stdout, "alice")), (0, vec![0, 0, -20_000, -20_000]), "{stdout}");

    let mut found_in_flight = false;
    for _ in 0..3 {
        let mut child = command().args(arguments).args(["--for", "1h"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        line_with(&mut stderr, " payments  ").await;

        // Another demo on the same books has to wait.
        let (code, stdout, stderr) = run(&arguments).await;
        assert_eq!((code, stdout.as_str()), (4, ""));
        assert!(stderr.contains(&format!("another demo has its books in {books} open: wait for its end")), "{stderr}");

        child.kill().await.unwrap();
        let (code, stdout, stderr) = run(&["audit", "--json", "--store", &format!("{books}/connector")]).await;
        assert_eq!(code, 0, "{stdout}{stderr}");
        let audit: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let amount = |account: usize, what: &str| audit["accounts"][account][what].as_str().unwrap().parse::<i128>().unwrap();
        let (alice, held, bob) = (amount(0, "balance"), amount(0, "held"), amount(1, "balance"));
        let (code, stdout, stderr) = run(&[&arguments[..], &["--payments", "30"]].concat()).await;
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(stdout.ends_with("the books are right\n"), "{stdout}");
        let [alices, helds, bobs] = ["alice", "held of hers", "bob"].map(|name| row(&stdout, name));
        assert_eq!((alices[0], helds[0], bobs[0]), (alice, held, bob), "{stdout}");
        assert_eq!((alices[2] - alices[1], helds[2], bobs[2] - bobs[1]), (-30_000, 0, 30_000), "{stdout}");
        assert_eq!(alices[2] + bobs[2], 0, "{stdout}");
        found_in_flight |= stdout.contains(" of alice's in flight when the last demo ended, with ");
        assert!(held == 0 || found_in_flight, "{stdout}");
    }
    assert!(found_in_flight, "64 payments in flight at once, and none was when it was killed");
}
