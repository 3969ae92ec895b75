//! Command lines, configurations, and what keeps a connector from starting.

use super::support::{Folder, command, finished, run};
use std::path::Path;

#[tokio::test]
async fn help_lists_the_exit_codes_and_examples() {
    let (code, stdout, stderr) = run(&["--help"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in ["Exit codes:", "130  stopped at once", "connector --demo --for 60s", "--check", "--drain"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let (code, stdout, _) = run(&["--version"]).await;
    assert_eq!((code, stdout), (0, format!("connector {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for arguments in
        [&[][..], &["--chek", "a"], &["a.toml", "--demo"], &["--demo", "--for", "soon"], &["--demo", "--amount", "9223372036854775807"]]
    {
        let (code, stdout, stderr) = run(arguments).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_sample_configuration_is_good() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/connector.toml");
    let tokens = [("ALICE_TOKEN", "a token of alice's"), ("BOB_TOKEN", "another token of bob's")];
    let (code, stdout, stderr) = finished(command().args(["--check", sample]).envs(tokens)).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let books = concat!(env!("CARGO_MANIFEST_DIR"), "/books");
    assert_eq!(stdout, format!("ok: 2 accounts, 1 listener, 2 rates, books in {books}, address test.ann\n"));
    assert!(!Path::new(books).exists(), "nothing is made by a check");
    let (code, _, stderr) = run(&["--check", sample]).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("ALICE_TOKEN is not set") && stderr.contains("BOB_TOKEN is not set"), "{stderr}");
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_3_and_every_problem_has_its_place() {
    let folder = Folder::new("wrong");
    let file = folder.write(
        "wrong.toml",
        "address = \"g.ann\"\n\n[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6.5\ncredit_limt = \"1\"\ntoken = { env = \"NOT_SET\" }\n\
         url = \"http://bob.example\"\n\n[[account]]\nname = \"bob\"\n",
    );
    for arguments in [&["--check", &file][..], &[&file]] {
        let (code, stdout, stderr) = run(arguments).await;
        assert_eq!((code, stdout.as_str()), (3, ""));
        for expected in [
            "1:11: error: address is \"g.ann\", a production address",
            "6:9: error: account \"bob\": scale is 6.5, but must be a whole number",
            "7:1: error: account \"bob\": unknown key \"credit_limt\"; did you mean \"credit_limit\"?",
            "8:17: error: account \"bob\": token: the environment variable NOT_SET is not set",
            "9:7: error: account \"bob\": url can't be dialled: the scheme must be ws:// or wss://",
            "11:1: error: account \"bob\": token is missing",
            "12:8: error: there are two accounts called \"bob\", the other one in line 4",
        ] {
            assert!(stderr.lines().any(|line| line.starts_with(&format!("{file}:{expected}"))), "{expected} in\n{stderr}");
        }
        assert!(stderr.ends_with(&format!(" errors in {file}\n")), "{stderr}");
    }
    let (code, _, stderr) = run(&["no/such/file.toml"]).await;
    assert!(code == 3 && stderr.starts_with("no/such/file.toml: error: the configuration file can't be read"), "{stderr}");
}

#[tokio::test]
async fn a_literal_token_is_refused_and_never_shown() {
    let folder = Folder::new("literal");
    for token in ["\"hunter2hunter2hunter2\"", "hunter2", "{ value = \"hunter2\" }"] {
        let text = format!("address = \"test.ann\"\n[[account]]\nname = \"bob\"\nasset = \"XRP\"\nscale = 6\ntoken = {token}\n");
        let file = folder.write("literal.toml", &text);
        let (code, stdout, stderr) = run(&["--check", &file]).await;
        assert_eq!(code, 3);
        assert!(stderr.contains(":6:9: error: ") && !stderr.contains("hunter2") && !stdout.contains("hunter2"), "{stderr}");
    }
}

#[tokio::test]
async fn warnings_do_not_fail_a_check() {
    let folder = Folder::new("warnings");
    let text = "address = \"test.ann\"\n[[listen]]\nurl = \"ws://0.0.0.0:0\"\n";
    let (code, stdout, stderr) = run(&["--check", &folder.write("a.toml", text)]).await;
    assert_eq!(code, 0);
    assert!(stderr.contains(":3:7: warning: listen 1: ws://0.0.0.0:0 is not encrypted"), "{stderr}");
    let books = folder.0.join("books").display().to_string();
    assert_eq!(stdout, format!("ok: 0 accounts, 1 listener, 0 rates, books in {books}, address test.ann; 2 warnings\n"));
}

#[tokio::test]
async fn what_keeps_it_from_starting_ends_with_4() {
    let folder = Folder::new("start");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = folder.write("taken.toml", &format!("address = \"test.ann\"\n[[listen]]\nurl = \"ws://{address}\"\n"));
    let (code, _, stderr) = run(&[&file]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains(&format!("can't listen on \"ws://{address}\"")) && stderr.contains("taken.toml:3:7"), "{stderr}");
    // Nothing is wrong with the file.
    assert_eq!(run(&["--check", &file]).await.0, 0);

    folder.write("junk.pem", "junk");
    let text = "address = \"test.ann\"\n[[listen]]\nurl = \"wss://127.0.0.1:0\"\ncert = \"junk.pem\"\nkey = \"junk.pem\"\n";
    let file = folder.write("junk.toml", text);
    let (code, _, stderr) = run(&[&file]).await;
    assert!(code == 4 && stderr.contains("junk.toml:4:8: error: listen 1: cert and key can't be used"), "{code} {stderr}");
}
