//! Several processes at work.

use super::server::{Folder, Peer, Process, Redis, pay_until_paid, run};
use std::sync::Arc;
use std::time::Duration;

async fn both(folder: &Folder, redis: &Redis) -> (Process, Process) {
    let (one, two) = (Process::start(folder, redis, 0), Process::start(folder, redis, 1));
    for process in [&one, &two] {
        process.says("is running").await;
        process.says("can be reached").await;
    }
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_different_processes_pay_each_other_and_every_process_sees_the_same_books() {
    let folder = Folder::new("pay");
    let redis = Redis::start(&folder);
    let (one, two) = both(&folder, &redis).await;
    let (mut alice, mut bob) = (Peer::new("alice").await, Peer::new("bob").await);
    alice.dial(&one.url).await;
    bob.dial(&two.url).await;
    for amount in 1..=40 {
        pay_until_paid(&alice, "bob", amount).await;
    }
    // What bob has earned at all four workers he spends.
    pay_until_paid(&bob, "alice", 100).await;
    for process in [&one, &two] {
        assert_eq!((process.balance_at_rest("alice").await, process.balance_at_rest("bob").await), (-720, 720));
    }
    let status = one.json("status");
    assert_eq!(status["durability"], "disk", "{status}");
    assert_eq!((one.stop(), two.stop()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_under_load_loses_nothing_and_its_peers_are_served_by_the_other() {
    let folder = Folder::new("kill");
    let redis = Redis::start(&folder);
    let (one, two) = both(&folder, &redis).await;
    let (mut alice, mut bob) = (Peer::new("alice").await, Peer::new("bob").await);
    alice.dial(&one.url).await;
    bob.dial(&two.url).await;
    pay_until_paid(&alice, "bob", 1).await;
    let alice = Arc::new(alice);
    let (mut paid, mut load) = (1, tokio::task::JoinSet::new());
    for n in 0..400 {
        let alice = alice.clone();
        load.spawn(async move {
            tokio::time::sleep(Duration::from_millis(n * 2)).await;
            alice.pay("bob", 10, Duration::from_secs(6)).await.is_ok()
        });
    }
    let mut killed = Some(one);
    while let Some(result) = load.join_next().await {
        paid += if result.unwrap() { 10 } else { 0 };
        if paid > 300 {
            // SIGKILL.
            killed = None;
        }
    }
    assert!(killed.is_none(), "hardly anything was paid: {paid}");
    two.says("slot-0 had nobody any more, and was taken over").await;
    two.says("slot-1 had nobody any more, and was taken over").await;
    let mut alice = Arc::into_inner(alice).unwrap();
    alice.dial(&two.url).await;
    pay_until_paid(&alice, "bob", 7).await;
    paid += 7;
    // What alice was told, and perhaps payments whose end she was never told: bob has neither more nor less than alice gave.
    let (gave, got) = (-two.balance_at_rest("alice").await, two.balance_at_rest("bob").await);
    assert_eq!(gave, got);
    assert!(gave >= paid, "alice was told of {paid}, and {gave} are booked");
    let own = alice.connector.status().await.unwrap().worker;
    let books = own.accounts.iter().map(|account| account.balance).sum::<i128>();
    // What she couldn't be told in time, since she had no connection, is charged, and marked as what she may see differently; some of that
    // she was told, just before.
    let audit = two.json("audit");
    let account = audit["accounts"].as_array().unwrap().iter().find(|account| account["name"] == "alice").unwrap();
    let doubt = |name: &str| account[name].as_str().unwrap().parse::<i128>().unwrap();
    let most = books + doubt("disputed") + doubt("unconfirmed");
    assert!(books <= gave && gave <= most, "alice's own books say {books}, and in doubt are as many as make {most}: {account}");
    assert_eq!(two.stop(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_past_its_lease_is_fenced() {
    let folder = Folder::new("stop");
    let redis = Redis::start(&folder);
    let (one, two) = both(&folder, &redis).await;
    one.signal("-STOP");
    two.says("slot-0 had nobody any more, and was taken over").await;
    two.says("slot-1 had nobody any more, and was taken over").await;
    one.signal("-CONT");
    one.says("threw its state away").await;
    one.says("slot-0 is somebody else's").await;
    let (mut alice, mut bob) = (Peer::new("alice").await, Peer::new("bob").await);
    alice.dial(&two.url).await;
    bob.dial(&two.url).await;
    for _ in 0..8 {
        pay_until_paid(&alice, "bob", 10).await;
    }
    assert_eq!((two.balance_at_rest("alice").await, two.balance_at_rest("bob").await), (-80, 80));
    assert_eq!((one.stop(), two.stop()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_costs_nobody_anything() {
    let folder = Folder::new("server");
    let mut redis = Redis::start(&folder);
    let (one, two) = both(&folder, &redis).await;
    let (mut alice, mut bob) = (Peer::new("alice").await, Peer::new("bob").await);
    alice.dial(&one.url).await;
    bob.dial(&two.url).await;
    pay_until_paid(&alice, "bob", 10).await;
    redis.kill();
    let refused = alice.pay("bob", 10, Duration::from_secs(3)).await;
    assert!(refused.is_err(), "nothing can be durable now");
    // Whichever of them owned it.
    tokio::select! {
        () = one.says("THE STORE IS IN TROUBLE") => {}
        () = two.says("THE STORE IS IN TROUBLE") => {}
    }
    redis.start_again(&folder);
    pay_until_paid(&alice, "bob", 10).await;
    let (gave, got) = (-one.balance_at_rest("alice").await, one.balance_at_rest("bob").await);
    assert_eq!(gave, got);
    assert_eq!(gave, 20, "the one that expired while nothing could be written isn't paid");
    assert_eq!((one.stop(), two.stop()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_on_a_server_can_be_looked_at_and_settled_while_nobody_runs() {
    let folder = Folder::new("rest");
    let redis = Redis::start(&folder);
    let (one, two) = both(&folder, &redis).await;
    let config = one.config.clone();
    assert_eq!((one.stop(), two.stop()), (0, 0));
    for (arguments, said) in [
        (vec!["settle", "alice", "+500", "--id", "wire-1"], "its balance is 500 "),
        (vec!["settle", "alice", "+500", "--id", "wire-1"], "was in the books already; its balance is 500 "),
        (vec!["audit"], "the books are right"),
        (vec!["balances"], "0.000500 XRP"),
        (vec!["hotset"], "nothing is in flight"),
    ] {
        let (code, stdout, stderr) = run(&[&arguments[..], &["--config", &config]].concat());
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        assert!(stdout.contains(said), "{arguments:?}: {stdout}");
    }
    let (code, _, stderr) = run(&["backup", folder.0.join("copy").to_str().unwrap(), "--config", &config]);
    assert!(code == 1 && stderr.contains("books on a server are copied there"), "{stderr}");
}
