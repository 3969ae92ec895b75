//! Two processes and one directory. The other process is this test program, run again for a test of its own.

use crate::support::{Dir, batch, fill, open};
use futures::executor::block_on;
use ilp_core::store::{BalanceStore, BooksError, CommitOutcome, EmbeddedStore};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

const ROLE: &str = "ILP_STORE_TEST_ROLE";
const DIR: &str = "ILP_STORE_TEST_DIR";

/// The other process. Run as a test like any other it has no role, and nothing to do.
#[test]
fn other_process() {
    let (Ok(role), Ok(dir)) = (std::env::var(ROLE), std::env::var(DIR)) else { return };
    let dir = PathBuf::from(dir);
    match &*role {
        "open" => say(&EmbeddedStore::open(&dir).map(|_| "opened".to_owned()).unwrap_or_else(|error| error.to_string())),
        "commit for ever" => {
            let store = EmbeddedStore::open(&dir).unwrap();
            let opened = open(&store, "a");
            for seq in opened.last_seq + 1.. {
                assert_eq!(block_on(store.commit(batch("a", opened.epoch, seq))), CommitOutcome::Durable);
                say(&seq.to_string());
            }
        }
        _ => panic!("{role}"),
    }
}

/// To whoever started this process: a line that the test harness doesn't write.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> {line}").unwrap();
    out.flush().unwrap();
}

struct Other {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
    _stdin: Option<ChildStdin>,
}

impl Other {
    fn start(program: &Path, role: &str, dir: &Path, uid: Option<u32>) -> Self {
        let mut command = Command::new(program);
        command.args(["--exact", "processes::other_process", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(uid) = uid {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
            command.current_dir("/");
        }
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = out.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("> ").map(str::to_owned));
        Self { _stdin: child.stdin.take(), child, lines: Box::new(lines) }
    }

    fn here(role: &str, dir: &Path) -> Self {
        Self::start(&std::env::current_exe().unwrap(), role, dir, None)
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the other process should say something")
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn another_process_is_refused() {
    let dir = Dir::new();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    fill(&store, "a", 2);
    let said = Other::here("open", dir.path()).line();
    assert!(said.contains("books.redb is open already, in another process or in this one"), "{said}");
    drop(store);
    assert_eq!(Other::here("open", dir.path()).line(), "opened");
}

/// Nothing that was acknowledged is lost, however often.
#[test]
fn a_killed_process_loses_nothing_and_holds_nothing() {
    let dir = Dir::new();
    for round in 0..5 {
        let mut other = Other::here("commit for ever", dir.path());
        let mut acknowledged = 0;
        for _ in 0..20 + round * 7 {
            acknowledged = other.line().parse().unwrap();
        }
        let error = EmbeddedStore::open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, BooksError::InUse { .. }), "{error:?}");
        other.child.kill().unwrap();
        other.child.wait().unwrap();
        let opened = open(&EmbeddedStore::open(dir.path()).unwrap(), "a");
        assert!(opened.last_seq >= acknowledged, "{} after {acknowledged}", opened.last_seq);
        let expected: Vec<_> = (1..=opened.last_seq).map(|seq| batch("a", 0, seq).blob).collect();
        assert_eq!(opened.log, expected);
    }
}

/// Somebody else's books. The superuser may read everything, so it asks as nobody.
#[test]
fn no_permission_for_the_file() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = Dir::new();
    let books = dir.join("books");
    drop(EmbeddedStore::open(&books).unwrap());
    let said = if std::fs::metadata(&books).unwrap().uid() == 0 {
        // Where the test program lies, nobody may not look either.
        let public = std::env::temp_dir().join(format!("ilp-store-test-{}", std::process::id()));
        std::fs::create_dir_all(&public).unwrap();
        std::fs::set_permissions(&public, PermissionsExt::from_mode(0o755)).unwrap();
        let program = public.join("program");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let theirs = public.join("books");
        drop(EmbeddedStore::open(&theirs).unwrap());
        std::fs::set_permissions(&theirs, PermissionsExt::from_mode(0o755)).unwrap();
        let said = Other::start(&program, "open", &theirs, Some(65_534)).line();
        std::fs::remove_dir_all(&public).unwrap();
        said
    } else {
        std::fs::set_permissions(books.join("books.redb"), PermissionsExt::from_mode(0o000)).unwrap();
        Other::here("open", &books).line()
    };
    assert!(said.starts_with("no permission to open "), "{said}");
    assert!(said.contains("books.redb: let the user that runs this own it"), "{said}");
}
