//! What goes wrong with processes and disks: kills, a full disk, directories that can't be used.

use super::support::{AMOUNT, Folder, Running, SECRET, Stranger, balance, command, finished, is_root, line_with, run, set_mode};
use ilp_oer::Fulfillment;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_killed_connector_goes_on_with_what_was_in_flight() {
    let mut running = Running::start("killed", &[]).await;
    running.takes.add_permits(2);
    for _ in 0..2 {
        running.begin_to_pay().await.unwrap().unwrap();
        running.arrived.recv().await.unwrap();
    }
    let payments = [running.pay().await, running.pay().await, running.pay().await];
    running.kill().await;
    let audit = running.audit().await;
    assert_eq!((balance(&audit, "alice"), balance(&audit, "bob")), (-5 * i128::from(AMOUNT), 2 * i128::from(AMOUNT)));
    assert_eq!(audit["accounts"][0]["held_count"].as_u64(), Some(3));

    running.start_again().await;
    let line = running.line_with("slot-0 opened: epoch 2, ").await;
    assert!(line.contains(" of log read, 3 in flight, ") && line.contains(" remembered, "), "{line}");
    running.line_with("account bob is connected").await;
    running.takes.add_permits(3);
    for payment in payments {
        assert_eq!(payment.await.unwrap(), Ok(Fulfillment::new(SECRET)));
    }
    let audit = running.audit().await;
    assert_eq!((balance(&audit, "alice"), balance(&audit, "bob")), (-5 * i128::from(AMOUNT), 5 * i128::from(AMOUNT)));
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn one_directory_is_one_connectors() {
    let folder = Folder::new("two");
    let file = folder.write("a.toml", "address = \"test.ann\"\n[store]\nkind = \"embedded\"\npath = \"b\"\n[admin]\nsocket = \"none\"\n");
    let mut first = command().arg(&file).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(first.stderr.take().unwrap()));
    line_with(&mut stderr, "is running").await;
    let (code, _, stderr) = run(&[&file]).await;
    assert!(
        code == 4 && stderr.contains("is open already, in another process or in this one") && stderr.contains("a.toml:4:8"),
        "{stderr}"
    );
    // Who asks without a socket is told so.
    let (code, _, stderr) = run(&["audit", "--store", &folder.path("b")]).await;
    assert!(code == 4 && stderr.contains("it doesn't answer where it was looked for: say where with --socket"), "{stderr}");
    first.kill().await.unwrap();
    assert_eq!(run(&["audit", "--store", &folder.path("b")]).await.0, 0);
}

/// The command as a user that may not write where the books shall be.
#[tokio::test]
async fn a_directory_that_can_not_be_written_is_said_with_its_place() {
    let stranger = Stranger::new("permission");
    let folder = &stranger.folder;
    let text = |path: &str| format!("address = \"test.ann\"\n[store]\nkind = \"embedded\"\npath = \"{path}\"\n");
    for name in ["closed", "closed/in", "closed/in/books"] {
        fs::create_dir_all(folder.join(name)).unwrap();
        set_mode(&folder.join(name), 0o755);
    }
    set_mode(&folder.join("closed/in"), if is_root() { 0o755 } else { 0o555 });
    set_mode(&folder.join("closed/in/books"), if is_root() { 0o700 } else { 0o500 });
    for path in ["closed/in/books", "closed/in/new/books"] {
        let file = folder.join("a.toml");
        fs::write(&file, text(path)).unwrap();
        for arguments in [&["--check"][..], &[]] {
            let (code, stdout, stderr) = finished(stranger.command().args(arguments).arg(&file)).await;
            assert_eq!((code, stdout.as_str()), (4, ""), "{path} {arguments:?}: {stderr}");
            assert!(stderr.contains("a.toml:4:8: error: store: path ") && stderr.contains("can't be written by this user"), "{stderr}");
        }
    }
    assert!(!folder.join("closed/in/new").exists(), "nothing is made by looking");
    set_mode(&folder.join("closed/in"), 0o755);
    set_mode(&folder.join("closed/in/books"), 0o700);
}

#[tokio::test]
async fn a_path_that_is_a_file_is_said_with_its_place() {
    let folder = Folder::new("file");
    folder.write("books", "these are no books");
    let file = folder.write("a.toml", "address = \"test.ann\"\n");
    for arguments in [&["--check", &file[..]][..], &[&file]] {
        let (code, _, stderr) = run(arguments).await;
        assert!(code == 4 && stderr.contains("a.toml:1:1: error: ") && stderr.contains("can't hold the books: it is a file"), "{stderr}");
    }
    fs::create_dir(folder.0.join("dir")).unwrap();
    set_mode(&folder.0.join("dir"), 0o700);
    folder.write("dir/books.redb", &"these are no books\n".repeat(1_000));
    let file = folder.write("b.toml", "address = \"test.ann\"\n[store]\nkind = \"embedded\"\npath = \"dir\"\n");
    let (code, _, stderr) = run(&[&file]).await;
    assert!(code == 4 && stderr.contains("isn't a file of books") && stderr.contains("b.toml:4:8"), "{stderr}");
}

#[tokio::test]
async fn books_of_a_newer_version_are_left_alone() {
    let mut running = Running::start("newer", &[]).await;
    assert_eq!(running.stop().await, 0);
    let database = redb::Database::open(running.folder.0.join("books/books.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("facts")).unwrap().insert("schema", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    running.start_again().await;
    let line = running.line_with("can't start: ").await;
    assert!(line.contains("has schema 99, this version knows schemas up to ") && line.contains("use the version that wrote it"), "{line}");
    assert_eq!(running.child.wait().await.unwrap().code(), Some(4));
}

/// A small file system, gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at).output().unwrap();
        assert!(
            mounted.status.success(),
            "this test needs a disk that it can fill: it mounts a tmpfs of {size}, so it has to run as root and be allowed to. mount said: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(at)
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn with_a_full_disk_it_holds_everything_and_goes_on_when_there_is_room() {
    let folder = Folder::new("full");
    let disk = SmallDisk::mount(folder.0.join("small"), "6m");
    let mut running = Running::start_with(folder, "[store]\nkind = \"embedded\"\npath = \"small/books\"", &["--drain", "2s"]).await;
    running.takes.add_permits(1_000_000);
    running.begin_to_pay().await.unwrap().unwrap();

    disk.fill();
    let mut payments = Vec::new();
    let mut lines = pay_until(&mut running, &mut payments, "THE STORE IS IN TROUBLE").await;
    assert!(lines.pop().unwrap().contains("no room"), "{lines:?}");
    // It is tried many times, and whoever asks is answered.
    let status = loop {
        let (code, stdout, stderr) = running.ask(&["status", "--json"]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        if status["store"]["failures"].as_u64().unwrap() > 8 {
            break status;
        }
    };
    assert!(status["not_durable"].as_u64().unwrap() > 0, "{status}");
    // A settlement waits, too.
    let settling = command().args(["settle", "alice", "+5", "--id", "a", "--config", &running.file]).spawn().unwrap();
    disk.make_room();
    let lines = lines_until(&mut running, "the store is out of trouble after").await;
    assert_eq!(lines.len(), 1, "nothing was said between: {lines:?}");
    assert!(settling.wait_with_output().await.unwrap().status.success());
    let mut paid = 1i128;
    for payment in payments.drain(..) {
        assert_eq!(payment.await.unwrap(), Ok(Fulfillment::new(SECRET)));
        paid += 1;
    }
    let audit = running.audit().await;
    assert_eq!((balance(&audit, "alice"), balance(&audit, "bob")), (5 - 700 * paid, 700 * paid));

    // Full again, with settlements instead of payments, so that nothing is in flight; and stopped: in time, and said.
    disk.fill();
    let mut settlements = 0;
    loop {
        settlements += 1;
        let mut settling = settle(&running, settlements).spawn().unwrap();
        if tokio::time::timeout(Duration::from_millis(500), settling.wait()).await.is_err() {
            // This one waits for room. Its asker goes; it doesn't.
            settling.kill().await.unwrap();
            break;
        }
    }
    running.line_with("THE STORE IS IN TROUBLE").await;
    let began = Instant::now();
    running.signal("-TERM").await;
    running.line_with("stopped, but 1 batch was not durable when the time to wait was over").await;
    assert_eq!(running.child.wait().await.unwrap().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    // Without room it doesn't start on new books, and says why.
    let text = "address = \"test.eve\"\n[store]\nkind = \"embedded\"\npath = \"small/others\"\n";
    let (code, _, stderr) = run(&[&running.folder.write("eve.toml", text)]).await;
    assert!(code == 4 && stderr.contains("no room to "), "{stderr}");

    // With room, what was durable is there. Whoever had no answer tells it again.
    disk.make_room();
    running.start_again().await;
    running.line_with("is running").await;
    for number in 1..=settlements {
        let output = settle(&running, number).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && (number == settlements || text.contains("was in the books already")), "{number}: {text}");
    }
    let audit = running.audit().await;
    assert_eq!((balance(&audit, "alice"), balance(&audit, "bob")), (5 + settlements - 700 * paid, 700 * paid));
    assert_eq!(running.stop().await, 0);
}

/// Settles one base unit with alice.
fn settle(running: &Running, number: i128) -> tokio::process::Command {
    let mut command = command();
    command.args(["settle", "alice", "+1", "--id", &format!("one-{number}"), "--config", &running.file]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

type Payment = tokio::task::JoinHandle<Result<Fulfillment, ilp_core::runtime::PayError>>;

/// Begins payments until the connector says something; gives what it said.
async fn pay_until(running: &mut Running, payments: &mut Vec<Payment>, part: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        payments.push(running.begin_to_pay());
        if let Ok(line) = tokio::time::timeout(Duration::from_millis(20), running.stderr.next_line()).await {
            seen.push(line.unwrap().unwrap());
            if seen.last().unwrap().contains(part) {
                return seen;
            }
        }
    }
    panic!("no line with {part:?} but {seen:#?}");
}

/// What it says until it says this.
async fn lines_until(running: &mut Running, part: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains(part)) {
        let line = tokio::time::timeout(super::support::PATIENCE, running.stderr.next_line()).await;
        seen.push(line.unwrap_or_else(|_| panic!("no line with {part:?} but {seen:#?}")).unwrap().unwrap());
    }
    seen
}
