//! `connector audit`: right books, wrong books, and books that are being written.

use super::support::{AMOUNT, Running, balance, run};
use bytes::Bytes;
use ilp_core::AccountId;
use ilp_core::store::{BalanceStore, Commit, CommitOutcome, EmbeddedStore, Lease};

#[tokio::test]
async fn a_running_connector_under_load_is_audited() {
    let mut running = Running::start("audit-load", &[]).await;
    running.takes.add_permits(1_000_000);
    let load = {
        let payers: Vec<_> = (0..8).map(|_| (running.alice.clone(), running.begin_to_pay())).collect();
        tokio::spawn(async move {
            let mut paid = 0u64;
            for (_, payment) in payers {
                payment.await.unwrap().unwrap();
                paid += 1;
            }
            paid
        })
    };
    // One audit begins while the eight are on their way, the others while more are.
    let mut last_seq = 0;
    for _ in 0..5 {
        let more: Vec<_> = (0..50).map(|_| running.begin_to_pay()).collect();
        let audit = running.audit().await;
        assert_eq!((audit["right"].as_bool(), audit["violations"].as_array().map(Vec::len)), (Some(true), Some(0)));
        last_seq = audit["seq"].as_u64().unwrap().max(last_seq);
        for payment in more {
            payment.await.unwrap().unwrap();
        }
    }
    assert_eq!(load.await.unwrap(), 8);
    assert!(last_seq > 0);
    let audit = running.audit().await;
    let paid = i128::from(AMOUNT) * 258;
    assert_eq!((balance(&audit, "alice"), balance(&audit, "bob")), (-paid, paid));

    let (code, stdout, stderr) = running.ask(&["audit", "alice"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    for part in [
        "account alice, in XRP/6",
        "incoming, fulfilled: what it spent",
        "-0.180600 XRP",
        "last transfers",
        "fulfilled",
        "difference",
        "oldest in flight",
    ] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert!(stdout.ends_with("the books are right\n"), "{stdout}");
    let (code, _, stderr) = running.ask(&["audit", "carol"]).await;
    assert!(code == 1 && stderr.contains("no account \"carol\"; there are alice, bob"), "{stderr}");
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn books_at_rest_are_audited_and_stay_as_they_are() {
    let mut running = Running::start("audit-rest", &[]).await;
    running.takes.add_permits(3);
    for _ in 0..3 {
        let payment = running.begin_to_pay();
        payment.await.unwrap().unwrap();
    }
    // One stays with bob when the connector is killed.
    let payment = running.pay().await;
    running.kill().await;
    let books = running.folder.path("books");
    let audits = [running.audit().await, running.audit().await];
    assert_eq!(audits[0], audits[1], "no epoch was raised");
    let alice = &audits[0]["accounts"][0];
    assert_eq!(
        (alice["held"].as_str(), alice["held_count"].as_u64(), &alice["available"]),
        (Some("700"), Some(1), &serde_json::Value::Null)
    );
    assert!(alice["oldest_held_since"].as_str().unwrap().contains('T'));
    assert_eq!((balance(&audits[0], "alice"), balance(&audits[0], "bob")), (-2_800, 2_100));
    let (code, stdout, _) = run(&["audit", "alice", "--store", &books]).await;
    assert!(code == 0 && stdout.contains("   held   "), "{stdout}");
    payment.abort();
}

#[tokio::test]
async fn a_balance_that_somebody_changed_is_found() {
    let mut running = Running::start("audit-wrong", &[]).await;
    running.takes.add_permits(1);
    running.begin_to_pay().await.unwrap().unwrap();
    assert_eq!(running.stop().await, 0);
    assert_eq!(running.ask(&["audit"]).await.0, 0);

    // Somebody who can write to the store, and wants alice to have paid less.
    let store = EmbeddedStore::open(&running.folder.0.join("books")).unwrap();
    let opened = store.open(&"slot-0".into(), &Lease { holder: "somebody".into(), address: None, ms: 1 }).await.unwrap();
    let commit = Commit {
        slot: "slot-0".into(),
        epoch: opened.epoch,
        seq: opened.last_seq + 1,
        blob: Bytes::new(),
        balances: vec![(AccountId::new(1, "alice").unwrap(), Some(-70))],
        cut_below: None,
        mail_read: None,
    };
    assert_eq!(store.commit(commit).await, CommitOutcome::Durable);
    drop(store);

    let (code, stdout, stderr) = running.ask(&["audit"]).await;
    assert_eq!((code, stderr.as_str()), (1, ""));
    assert!(stdout.contains("  WRONG  I2: account alice: 999999300 of it are hot by the log, -70 beside it"), "{stdout}");
    assert!(stdout.contains("\nTHE BOOKS ARE NOT RIGHT"), "{stdout}");
    let (code, stdout, _) = running.ask(&["audit", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, report["right"].as_bool(), report["violations"].as_array().unwrap().len()), (1, Some(false), 1));

    // The running connector's books are compared as well.
    running.start_again().await;
    running.line_with("is running").await;
    let (code, stdout, _) = running.ask(&["audit"]).await;
    assert!(code == 1 && stdout.contains("I2: account alice: 999999300 of it are hot by the log, -70 beside it"), "{stdout}");
}
