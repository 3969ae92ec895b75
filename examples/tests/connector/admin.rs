//! The admin socket: whom it answers, what it takes, and that nobody is held up by it.

use super::support::{Folder, Running, Stranger, command, finished, is_root, run, set_mode};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// One line for another.
fn ask(stream: &mut BufReader<UnixStream>, line: &str) -> String {
    // Who has heard enough answers before all is said.
    let _ = stream.get_mut().write_all(format!("{line}\n").as_bytes());
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    answer
}

fn connect(socket: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    BufReader::new(stream)
}

#[tokio::test]
async fn the_socket_is_its_owners_alone() {
    let running = Running::start("socket-owner", &[]).await;
    let books = running.folder.0.join("books");
    let socket = books.join("admin.sock");
    assert_eq!((mode(&books), mode(&socket), mode(&books.join("books.redb"))), (0o700, 0o600, 0o600));
    assert!(ask(&mut connect(&socket), r#"{"v":1,"do":"status"}"#).starts_with(r#"{"v":1,"ok":{"address":"test.ann","#));
    if !is_root() {
        // Nobody else's process can be started from here.
        return;
    }
    let stranger = Stranger::new("socket-stranger");
    let path = socket.to_str().unwrap();
    let (code, _, stderr) = finished(stranger.command().args(["status", "--socket", path])).await;
    assert!(code == 4 && stderr.contains("only the user that runs the connector, and root, may ask it"), "{stderr}");
    // Even if somebody opens every door, the connector looks who it is.
    let mut above = Some(books.as_path());
    let mut closed = Vec::new();
    while let Some(folder) = above {
        if mode(folder) & 0o001 == 0 {
            closed.push((folder.to_owned(), mode(folder)));
            set_mode(folder, mode(folder) | 0o001);
        }
        above = folder.parent();
    }
    set_mode(&socket, 0o666);
    let (code, _, stderr) = finished(stranger.command().args(["status", "--socket", path])).await;
    for (folder, mode) in closed {
        set_mode(&folder, mode);
    }
    assert!(code == 4 && stderr.contains("gave no answer"), "{stderr}");
    assert_eq!(running.ask(&["status"]).await.0, 0);
    let mut running = running;
    running.line_with("a process of another user was turned away at the admin socket").await;
}

#[tokio::test]
async fn a_socket_is_not_put_where_others_can_come() {
    let folder = Folder::new("socket-open");
    std::fs::create_dir(folder.0.join("open")).unwrap();
    set_mode(&folder.0.join("open"), 0o750);
    let file = folder.write("a.toml", "address = \"test.ann\"\n[admin]\nsocket = \"open/s\"\n");
    for arguments in [&[&file[..]][..], &["--check", &file]] {
        let (code, _, stderr) = run(arguments).await;
        assert!(code == 4 && stderr.contains("a.toml:3:10: error: admin: socket") && stderr.contains("run chmod 700"), "{code} {stderr}");
    }
    let file = folder.write("b.toml", "address = \"test.ann\"\n[admin]\nsocket = \"books/file\"\n");
    std::fs::create_dir(folder.0.join("books")).unwrap();
    set_mode(&folder.0.join("books"), 0o700);
    folder.write("books/file", "");
    let (code, _, stderr) = run(&[&file]).await;
    assert!(
        code == 4 && stderr.contains("file is there and is no socket: choose another place") && stderr.contains("b.toml:3:10"),
        "{stderr}"
    );
    assert!(folder.0.join("books/file").exists());
}

#[tokio::test]
async fn nonsense_costs_only_whoever_sends_it() {
    let mut running = Running::start("socket-nonsense", &[]).await;
    let socket = running.folder.0.join("books/admin.sock");
    // Questions that are wrong are answered, and the connection goes on.
    let mut asker = connect(&socket);
    for (line, code) in [
        ("", "bad-request"),
        ("nonsense", "bad-request"),
        ("{}", "version"),
        (r#"{"v":7,"do":"status"}"#, "version"),
        (r#"{"v":1,"do":"launch"}"#, "bad-request"),
        (r#"{"v":1,"do":"backup","directory":"relative"}"#, "bad-request"),
        (r#"{"v":1,"do":"settle","account":"alice","amount":"x","id":"a"}"#, "bad-request"),
        (r#"{"v":1,"do":"settle","account":"alice","amount":"5","id":"a b"}"#, "refused"),
        (r#"{"v":1,"do":"settle","account":"carol","amount":"5","id":"a"}"#, "refused"),
        (&"[".repeat(10_000), "bad-request"),
    ] {
        let answer = ask(&mut asker, line);
        assert!(answer.starts_with(&format!("{{\"v\":1,\"error\":{{\"code\":\"{code}\"")), "{line}: {answer}");
    }
    assert!(ask(&mut asker, r#"{"v":1,"do":"status"}"#).contains("\"ok\""));
    // A line without an end isn't read for ever.
    let answer = ask(&mut connect(&socket), &"x".repeat(1 << 20));
    assert!(answer.contains("a request has at most 16384 bytes"), "{answer}");
    // Half a line, bytes that are no text, good-byes in the middle: nothing is heard of them.
    let mut half = connect(&socket);
    half.get_mut().write_all(b"{\"v\":1,").unwrap();
    let mut gone = connect(&socket);
    gone.get_mut().write_all(b"\xff\x00\xfe\n").unwrap();
    drop(gone);
    let mut asked = connect(&socket);
    asked.get_mut().write_all(b"{\"v\":1,\"do\":\"audit\"}\n").unwrap();
    drop(asked);

    // As many as come at once are turned away when it's enough, and payments go on.
    let crowd: Vec<_> = (0..40).map(|_| connect(&socket)).collect();
    let turned_away = crowd.into_iter().filter_map(|mut one| {
        one.get_mut().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut answer = String::new();
        one.read_line(&mut answer).ok().filter(|len| *len > 0).map(|_| answer)
    });
    let turned_away: Vec<String> = turned_away.collect();
    assert!(turned_away.len() >= 24 && turned_away.iter().all(|answer| answer.contains("\"busy\"")), "{turned_away:?}");
    running.takes.add_permits(1);
    running.begin_to_pay().await.unwrap().unwrap();
    drop((half, asker));
    assert_eq!(running.ask(&["status"]).await.0, 0);
    assert_eq!(running.stop().await, 0);
    assert!(!socket.exists(), "it is gone with the connector");
}

/// Whoever doesn't read answers, and asks on, is nobody's burden.
#[tokio::test]
async fn a_client_that_does_not_read_is_left_alone() {
    let mut running = Running::start("socket-slow", &[]).await;
    let socket = running.folder.0.join("books/admin.sock");
    let mut slow = UnixStream::connect(&socket).unwrap();
    slow.set_nonblocking(true).unwrap();
    let line = b"{\"v\":1,\"do\":\"status\"}\n";
    while slow.write(&line.repeat(1_000)).is_ok() {}
    running.takes.add_permits(1);
    running.begin_to_pay().await.unwrap().unwrap();
    for _ in 0..5 {
        assert_eq!(running.ask(&["status"]).await.0, 0);
    }
    assert_eq!(running.stop().await, 0);
    slow.set_nonblocking(false).unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
}

#[tokio::test]
async fn a_dead_process_socket_is_taken_over_and_a_live_one_is_not() {
    let mut running = Running::start("socket-dead", &[]).await;
    let socket = running.folder.0.join("books/admin.sock");
    running.kill().await;
    assert!(socket.exists() && UnixStream::connect(&socket).is_err());
    running.start_again().await;
    running.line_with("is running").await;
    assert_eq!(running.ask(&["status"]).await.0, 0);

    // Another connector, with books of its own, that was given the same socket.
    let path = socket.to_str().unwrap();
    let text = format!("address = \"test.eve\"\n[store]\nkind = \"embedded\"\npath = \"others\"\n[admin]\nsocket = \"{path}\"\n");
    let file = running.folder.write("eve.toml", &text);
    let (code, _, stderr) = run(&[&file]).await;
    assert!(code == 4 && stderr.contains("another connector answers at") && stderr.contains("eve.toml:6:10"), "{stderr}");
    assert_eq!(running.ask(&["status"]).await.0, 0);
}

/// A listener that accepts and says nothing is a process that lives.
#[tokio::test]
async fn a_socket_of_something_else_is_left_alone() {
    let folder = Folder::new("socket-else");
    std::fs::create_dir(folder.0.join("private")).unwrap();
    set_mode(&folder.0.join("private"), 0o700);
    let _something = UnixListener::bind(folder.0.join("private/s")).unwrap();
    let file = folder.write("a.toml", "address = \"test.ann\"\n[admin]\nsocket = \"private/s\"\n");
    let (code, _, stderr) = finished(command().arg(&file).stdin(Stdio::null())).await;
    assert!(code == 4 && stderr.contains("another connector answers at"), "{stderr}");
    assert!(UnixStream::connect(folder.0.join("private/s")).is_ok());
}
