//! The operators' page, run as it stands but for its ports.

use super::server::{Folder, PATIENCE, free_port};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

const PAGE: &str = include_str!("../../../docs/redis.md");

/// The page's commands, in order.
fn commands() -> String {
    let mut commands = String::new();
    let mut inside = false;
    for line in PAGE.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => commands = format!("{commands}{line}\n"),
            _ => {}
        }
    }
    commands
}

/// Ports of the page by their beginnings, which stand before a digit or a variable, each with three that are free in a row.
fn with_free_ports(commands: &str) -> String {
    let mut text = commands.to_owned();
    let mut taken = Vec::new();
    for (mark, beginning) in [("@a@", "2640"), ("@b@", "640"), ("@c@", "770"), ("@d@", "780")] {
        let first = loop {
            // A row of ten, so that the last digit can be written behind the others.
            let first = free_port() / 10 * 10;
            let free = (0..3).all(|n| TcpListener::bind(("127.0.0.1", first + n)).is_ok());
            if free && first > 10_000 && !taken.contains(&(first / 10)) {
                break first / 10;
            }
        };
        taken.push(first);
        text = text.replace(beginning, mark);
    }
    for (mark, first) in ["@a@", "@b@", "@c@", "@d@"].into_iter().zip(taken) {
        text = text.replace(mark, &first.to_string());
    }
    text
}

#[test]
fn the_operators_page_works_as_it_stands() {
    let folder = Folder::new("page");
    let commands = with_free_ports(&commands());
    let connectors = std::path::Path::new(env!("CARGO_BIN_EXE_connector")).parent().unwrap().to_owned();
    let path = format!("{}:{}", connectors.display(), std::env::var("PATH").unwrap());
    let script = folder.write("page.sh", &format!("set -eu\n{commands}"));
    let log = std::fs::File::create(folder.0.join("page.log")).unwrap();
    // A group of its own: what it starts in the background is stopped with it.
    let mut page = Command::new("bash")
        .arg(&script)
        .current_dir(&folder.0)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = page.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > PATIENCE.saturating_mul(5) / 2 {
            break None;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let group = format!("-{}", page.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = page.wait();
    let logs: String = std::fs::read_dir(&folder.0)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            is_log.then(|| format!("== {}\n{}", path.display(), std::fs::read_to_string(&path).unwrap_or_default()))
        })
        .collect();
    assert!(status.is_some_and(|status| status.success()), "the page ends with {status:?}:\n{logs}");
}
