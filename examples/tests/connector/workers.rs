//! Several workers, as an operator meets them.

use super::support::{Folder, Running, command, line_with, run};
use ilp_core::link::PeerProtocol;
use ilp_core::runtime::{Connector, Notice};
use ilp_core::{AccountConfig, AccountId, Asset};
use ilp_plugins::clp::{ClpDialler, TlsClientConfig};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

const ACCOUNTS: &str = "[[account]]\nname = \"wide\"\nasset = \"XRP\"\nscale = 6\nparallelism = 2\ncredit_limit = \"1000\"\n\
     token = { file = \"token\" }\n[[account]]\nname = \"narrow\"\nasset = \"XRP\"\nscale = 6\ntoken = { file = \"token\" }\n";

async fn started(file: &str) -> (tokio::process::Child, tokio::io::Lines<BufReader<tokio::process::ChildStderr>>) {
    let mut command = command();
    let mut child = command.arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, stderr)
}

/// The URL in a line such as `listening on wss://… for parallelism 2`.
fn url_in(line: &str) -> String {
    let from = line.find("ws://").unwrap();
    line[from..].split([' ', ',', ';']).next().unwrap().trim_end_matches('/').to_owned()
}

#[tokio::test]
async fn who_comes_to_the_wrong_port_is_told_the_public_name_of_the_right_one() {
    let folder = Folder::new("workers-ports");
    folder.write("token", "a token of both\n");
    let file = folder.write(
        "ann.toml",
        &format!(
            "address = \"test.ann\"\nworkers = 2\n[[listen]]\nurl = \"ws://127.0.0.1:0\"\n\
             [[listen]]\nurl = \"ws://127.0.0.1:0\"\nparallelism = 2\npublic_url = \"wss://pay.example:7444/ilp\"\n{ACCOUNTS}"
        ),
    );
    let (mut child, mut stderr) = started(&file).await;
    let narrow_port = url_in(&line_with(&mut stderr, "ws://127.0.0.1:").await);
    line_with(&mut stderr, "is running").await;
    let (sender, mut hears) = mpsc::unbounded_channel();
    let ann = AccountConfig::new(AccountId::new(1, "ann").unwrap(), Asset::new("XRP", 6));
    let dialler = ClpDialler::new(
        "test.wide".parse().unwrap(),
        ann.id.clone(),
        PeerProtocol::Clp,
        narrow_port.parse().unwrap(),
        "wide",
        b"a token of both",
        TlsClientConfig::public_roots().unwrap(),
    );
    let peer = Connector::builder("test.wide").account(ann).on_notice(move |notice| drop(sender.send(notice))).endpoint(dialler);
    let peer = peer.start().await.unwrap();
    let told = loop {
        match hears.recv().await.unwrap() {
            Notice::EndpointTrouble { reason, .. } => break reason,
            Notice::Disconnected { reason, .. } => break reason,
            _ => {}
        }
    };
    assert!(told.contains("account wide has parallelism 2 and connects at wss://pay.example:7444/ilp"), "{told}");
    drop(peer);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn more_workers_than_before_are_of_no_use_to_accounts_that_were_there_and_the_log_says_so() {
    let folder = Folder::new("workers-more");
    folder.write("token", "a token of both\n");
    let config = |workers| {
        let listen = "[[listen]]\nurl = \"ws://127.0.0.1:0\"\n[[listen]]\nurl = \"ws://127.0.0.1:0\"\nparallelism = 2\n";
        folder.write("ann.toml", &format!("address = \"test.ann\"\nworkers = {workers}\n{listen}{ACCOUNTS}"))
    };
    for (workers, said) in [(1, false), (2, true)] {
        let file = config(workers);
        let (mut child, mut stderr) = started(&file).await;
        if said {
            line_with(&mut stderr, "wide among them, are served by fewer workers than their parallelism would give them").await;
        }
        line_with(&mut stderr, "is running").await;
        let (code, stdout, _) = run(&["settle", "wide", "+70", "--id", &format!("w{workers}"), "--config", &file]).await;
        assert_eq!(code, 0, "{stdout}");
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_available_is_the_whole_balance_and_the_limit() {
    let folder = Folder::new("workers-available");
    let running = Running::start_with(folder, "workers = 4\n", &[]).await;
    for (n, amount) in (0..).zip(["+500", "-20"]) {
        let (code, _, stderr) = running.ask(&["settle", "alice", amount, "--id", &format!("a{n}")]).await;
        assert_eq!(code, 0, "{stderr}");
    }
    let audit = running.audit().await;
    let alice = audit["accounts"].as_array().unwrap().iter().find(|account| account["name"] == "alice").unwrap();
    let amount = |key: &str| alice[key].as_str().unwrap().parse::<i128>().unwrap();
    assert_eq!((amount("balance"), amount("credit_limit"), amount("available")), (480, 1_000_000_000, 1_000_000_480));
}
