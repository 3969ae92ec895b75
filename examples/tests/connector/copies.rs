//! `connector backup`, `restore` and `salvage`.

use super::support::{Folder, Running, balance, run};
use std::fs;

#[tokio::test]
async fn a_backup_that_was_made_while_payments_went_on_is_right() {
    let mut running = Running::start("backup", &[]).await;
    running.takes.add_permits(1_000_000);
    let mut before = 0;
    for round in 0..3 {
        let payments: Vec<_> = (0..50).map(|_| running.begin_to_pay()).collect();
        let (copy, restored) = (running.folder.path(&format!("copy-{round}")), running.folder.path(&format!("restored-{round}")));
        let (code, stdout, stderr) = running.ask(&["backup", &copy]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.starts_with(&format!("copied to {copy}: slot-0 up to batch ")), "{stdout}");
        let (code, stdout, stderr) = run(&["restore", &copy, "--store", &restored]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("what happened after the backup isn't in these books"), "{stdout}");
        let (code, stdout, stderr) = run(&["audit", "--json", "--store", &restored]).await;
        assert_eq!(code, 0, "{stdout}{stderr}");
        let owed = balance(&serde_json::from_str(&stdout).unwrap(), "alice");
        assert!(owed <= before, "{owed} after {before}");
        before = owed;
        for payment in payments {
            payment.await.unwrap().unwrap();
        }
    }

    // At rest, a copy's audit is the original's.
    assert_eq!(running.stop().await, 0);
    let (copy, restored) = (running.folder.path("copy"), running.folder.path("restored"));
    assert_eq!(running.ask(&["backup", &copy]).await.0, 0);
    assert_eq!(run(&["restore", &copy, "--store", &restored]).await.0, 0);
    let (code, stdout, _) = run(&["audit", "--json", "--store", &restored]).await;
    assert_eq!((code, serde_json::from_str::<serde_json::Value>(&stdout).unwrap()), (0, running.audit().await));

    // And a connector goes on from it.
    fs::rename(running.folder.0.join("books"), running.folder.0.join("lost")).unwrap();
    assert_eq!(run(&["restore", &copy, "--store", &running.folder.path("books")]).await.0, 0);
    running.start_again().await;
    running.connected_again().await;
    running.begin_to_pay().await.unwrap().unwrap();
    assert_eq!(balance(&running.audit().await, "alice"), -700 * 151);
}

#[tokio::test]
async fn nothing_is_ever_written_over() {
    let running = Running::start("copies-refused", &[]).await;
    let (copy, books) = (running.folder.path("copy"), running.folder.path("books"));
    assert_eq!(running.ask(&["backup", &copy]).await.0, 0);
    let (code, _, stderr) = running.ask(&["backup", &copy]).await;
    assert!(code == 4 && stderr.contains(&format!("there is something at {copy} already")), "{stderr}");
    let (code, _, stderr) = run(&["restore", &copy, "--store", &books]).await;
    assert!(code == 4 && stderr.contains(&format!("there is something at {books} already")), "{stderr}");
    let (code, _, stderr) = run(&["salvage", "--store", &copy, "--to", &books]).await;
    assert!(code == 4 && stderr.contains("already"), "{stderr}");
    let (code, _, stderr) = run(&["salvage", "--store", &books, "--to", &running.folder.path("new")]).await;
    assert!(code == 4 && stderr.contains("is open already"), "{stderr}");
    let (code, _, stderr) = run(&["restore", &running.folder.path("none"), "--store", &running.folder.path("new")]).await;
    assert!(code == 4 && stderr.contains("there are no books at"), "{stderr}");
}

#[tokio::test]
async fn books_in_memory_can_not_be_copied() {
    let folder = Folder::new("copies-memory");
    let socket = folder.path("private/admin.sock");
    fs::create_dir(folder.0.join("private")).unwrap();
    super::support::set_mode(&folder.0.join("private"), 0o700);
    let more = format!("[store]\nkind = \"memory\"\n[admin]\nsocket = \"{socket}\"");
    let running = Running::start_with(folder, &more, &[]).await;
    let (code, _, stderr) = running.ask(&["backup", &running.folder.path("copy")]).await;
    assert!(code == 1 && stderr.contains("those in memory are gone when the connector ends"), "{stderr}");
    // Everything else can be asked.
    assert_eq!(running.ask(&["settle", "alice", "+5", "--id", "a"]).await.0, 0);
    assert_eq!(balance(&running.audit().await, "alice"), 5);
    let (code, stdout, _) = running.ask(&["status"]).await;
    assert!(code == 0 && stdout.contains("what is durable survives: nothing, the books are in memory"), "{stdout}");
}

#[tokio::test]
async fn damaged_books_are_refused_and_salvaged() {
    let mut running = Running::start("salvage", &[]).await;
    running.takes.add_permits(100);
    for _ in 0..20 {
        running.begin_to_pay().await.unwrap().unwrap();
    }
    assert_eq!(running.stop().await, 0);
    let file = running.folder.0.join("books/books.redb");
    let mut bytes = fs::read(&file).unwrap();
    // The last batch that has a payment in it: its packet has bob's address.
    let place = bytes.windows(11).rposition(|window| window == b"test.bob.hi").unwrap();
    bytes[place] ^= 1;
    fs::write(&file, &bytes).unwrap();

    running.start_again().await;
    let line = running.line_with("can't start").await;
    assert!(line.contains("is damaged: ") && line.contains("Restore a backup, or let `salvage` copy what can be read"), "{line}");
    assert_eq!(running.child.wait().await.unwrap().code(), Some(4));
    let (code, _, stderr) = running.ask(&["audit"]).await;
    assert!(code == 4 && stderr.contains("is damaged"), "{stderr}");

    let (books, new) = (running.folder.path("books"), running.folder.path("new"));
    let (code, stdout, stderr) = run(&["salvage", "--store", &books, "--to", &new]).await;
    assert!((0..=1).contains(&code), "{stdout}{stderr}");
    assert!(stdout.contains("slot-0: ") && stdout.contains(&format!("connector audit --store {new}")), "{stdout}");
    let (code, stdout, stderr) = run(&["audit", "--store", &new]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
}
