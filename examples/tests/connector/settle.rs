//! `connector settle`: once, however often it is told.

use super::support::{Folder, Running, balance, run};

#[tokio::test]
async fn a_settlement_counts_once_whether_the_connector_runs_or_not() {
    let mut running = Running::start("settle", &[]).await;
    let settle = |amount: &'static str, id: &'static str| ["settle", "alice", amount, "--id", id];
    for word in ["is in the books", "was in the books already"] {
        let (code, stdout, stderr) = running.ask(&settle("+500", "wire-7")).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        let expected = format!("settlement wire-7 of +500 (+0.000500 XRP) with alice {word}; its balance is 500 (0.000500 XRP)\n");
        assert_eq!(stdout, expected);
    }
    let (code, stdout, stderr) = running.ask(&settle("-500", "wire-7")).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("account alice has settlement wire-7 with an amount of 500 in its books, not -500"), "{stderr}");
    assert_eq!(balance(&running.audit().await, "alice"), 500);

    // At rest the same holds.
    assert_eq!(running.stop().await, 0);
    let (code, stdout, _) = running.ask(&settle("+500", "wire-7")).await;
    assert!(code == 0 && stdout.contains("was in the books already; its balance is 500 "), "{stdout}");
    let (code, stdout, _) = running.ask(&settle("-520", "wire-8")).await;
    assert!(code == 0 && stdout.contains("is in the books; its balance is -20 (-0.000020 XRP)"), "{stdout}");
    let (code, _, stderr) = running.ask(&settle("-521", "wire-8")).await;
    assert!(code == 1 && stderr.contains("-520 in its books, not -521"), "{stderr}");

    // And what was settled at rest is there when it runs.
    running.start_again().await;
    running.line_with("is running").await;
    let (code, stdout, _) = running.ask(&settle("-520", "wire-8")).await;
    assert!(code == 0 && stdout.contains("was in the books already; its balance is -20 "), "{stdout}");
    let audit = running.audit().await;
    assert_eq!((balance(&audit, "alice"), audit["assets"][0]["settlements"].as_str()), (-20, Some("-20")));
}

#[tokio::test]
async fn what_is_settled_below_zero_at_rest_leaves_nothing_below_zero_that_may_be_spent() {
    let mut running = Running::start("settle-below", &[]).await;
    // Something of bob's is in the books, but he has never moved anything.
    let (code, _, stderr) = running.ask(&["settle", "bob", "+1", "--id", "one"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(running.stop().await, 0);
    let (code, stdout, stderr) = running.ask(&["settle", "bob", "-700", "--id", "two"]).await;
    assert!(code == 0 && stdout.contains("its balance is -699 (-0.000699 XRP)"), "{stdout}{stderr}");
    let (code, stdout, stderr) = running.ask(&["audit"]).await;
    assert!(code == 0 && stdout.contains("the books are right"), "{stdout}{stderr}");
    let (code, stdout, _) = running.ask(&["balances"]).await;
    assert!(code == 0 && stdout.contains("-0.000699 XRP"), "{stdout}");
    running.start_again().await;
    running.line_with("is running").await;
    assert_eq!(balance(&running.audit().await, "bob"), -699);
}

#[tokio::test]
async fn what_can_not_be_settled_is_said_before_anything_is_asked() {
    let running = Running::start("settle-wrong", &[]).await;
    for (arguments, code, why) in [
        (["settle", "carol", "+5", "--id", "a"], 1, "the books have no account \"carol\"; there are alice, bob"),
        (["settle", "alice", "+0", "--id", "a"], 1, "a settlement of nothing changes nothing"),
        (["settle", "alice", "5", "--id", "a"], 2, "say which way: +5 if the holder has paid us, -5 if we have paid them"),
        (["settle", "alice", "-2.5", "--id", "a"], 2, "amounts are whole base units"),
        (["settle", "alice", "+5", "--id", ""], 2, "a settlement's id has 1 to 64 bytes"),
        (["settle", "alice", "+5", "--id", "initial"], 2, "\"initial\" is the id of an account's initial balance"),
        (["settle", "alice", "+170141183460469231731687303715884105727", "--id", "a"], 1, "would leave the range"),
    ] {
        let (found, stdout, stderr) = running.ask(&arguments).await;
        assert_eq!((found, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(why), "{why} in {stderr}");
    }
    assert_eq!(balance(&running.audit().await, "alice"), 0);
}

#[tokio::test]
async fn where_there_is_neither_a_connector_nor_books_it_says_so() {
    let folder = Folder::new("settle-nowhere");
    let (none, socket) = (folder.path("none"), folder.path("none.sock"));
    let config = folder.write("memory.toml", "address = \"test.ann\"\n[store]\nkind = \"memory\"\n[admin]\nsocket = \"none\"\n");
    let missing = folder.path("missing.toml");
    for (place, code, why) in [
        (["--store", &none], 4, "no connector answers, and there are no books in "),
        (["--socket", &socket], 4, "is it running? (With --store or --config, books at rest would be looked at.)"),
        (["--config", &config], 4, "the configuration has socket = \"none\" in [admin], so no connector can be asked"),
        (["--config", &missing], 3, "the configuration file can't be read"),
    ] {
        for command in [&["settle", "alice", "+5", "--id", "a"][..], &["audit"], &["backup", &folder.path("copy")]] {
            let (found, stdout, stderr) = run(&[command, &place].concat()).await;
            assert_eq!((found, stdout.as_str()), (code, ""), "{command:?} {place:?}: {stderr}");
            assert!(stderr.contains(why), "{why} in {stderr}");
        }
    }
    let (code, _, stderr) = run(&["status", "--store", &none]).await;
    assert!(code == 4 && stderr.contains("no connector answers at"), "{stderr}");
    assert!(!folder.0.join("none").exists(), "nothing is made by looking");
}
