//! What a peer has sent and received, in a file that outlives everything.
//!
//! A journal is a line that says what it is, then entries: a u32 with the length of the rest, a byte of kind, the connection's number
//! (u32), microseconds since 1970 (i64), the frame. All numbers are big-endian.

use crate::flood::wire::FrameLog;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

/// Writes a journal. Each connection gets a [`ConnectionLog`] of its own.
#[derive(Debug)]
pub(super) struct Journal {
    pages: Rc<RefCell<Pages>>,
    connections: Cell<u32>,
}

/// The frames of one connection.
#[derive(Debug)]
struct ConnectionLog {
    pages: Rc<RefCell<Pages>>,
    connection: u32,
}

#[derive(Debug)]
struct Pages {
    file: File,
    unwritten: Vec<u8>,
    /// Something couldn't be written: nothing that follows is.
    failed: Option<String>,
}

impl Journal {
    /// Begins a new one.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create_new(path)?;
        file.write_all(TITLE)?;
        file.sync_all()?;
        let pages = Pages { file, unwritten: Vec::new(), failed: None };
        Ok(Self { pages: Rc::new(RefCell::new(pages)), connections: Cell::new(0) })
    }

    /// The log of a new connection.
    pub(super) fn connection(&self) -> Box<dyn FrameLog> {
        let connection = self.connections.get().wrapping_add(1);
        self.connections.set(connection);
        Box::new(ConnectionLog { pages: self.pages.clone(), connection })
    }

    /// All that was noted is on the disk when this returns.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.pages.borrow_mut().sync()
    }

    /// Why nothing more is written, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.pages.borrow().failed.clone()
    }
}

impl FrameLog for ConnectionLog {
    fn sent(&mut self, frame: &[u8]) {
        self.pages.borrow_mut().note(SENT, self.connection, frame);
    }

    fn received(&mut self, frame: &[u8]) {
        self.pages.borrow_mut().note(RECEIVED, self.connection, frame);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.pages.borrow_mut().sync()
    }
}

impl Pages {
    fn note(&mut self, kind: u8, connection: u32, frame: &[u8]) {
        let Ok(length) = u32::try_from(HEAD_BYTES + frame.len()) else {
            self.failed = Some("a frame is too long for the journal".to_owned());
            return;
        };
        self.unwritten.extend_from_slice(&length.to_be_bytes());
        self.unwritten.push(kind);
        self.unwritten.extend_from_slice(&connection.to_be_bytes());
        self.unwritten.extend_from_slice(&now_us().to_be_bytes());
        self.unwritten.extend_from_slice(frame);
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.clone()));
        }
        let written = self.file.write_all(&self.unwritten).and_then(|()| self.file.sync_data());
        self.unwritten.clear();
        if let Err(error) = &written {
            self.failed = Some(error.to_string());
        }
        written
    }
}

/// The time of day in microseconds, as every process on this machine sees it.
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) direction: Direction,
    /// Counted from 1.
    pub(super) connection: u32,
    /// When it was noted, in microseconds since 1970.
    pub(super) at_us: i64,
    pub(super) frame: Vec<u8>,
}

/// Seen from the peer whose journal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Sent,
    Received,
}

/// Reads a journal, entry by entry. The peer that wrote it ended in good order, so a journal that ends in the middle of an entry is an error.
#[derive(Debug)]
pub(super) struct Entries {
    file: BufReader<File>,
}

impl Entries {
    /// From the first entry on.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut title = [0; TITLE.len()];
        file.read_exact(&mut title)?;
        if title != *TITLE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a journal", path.display())));
        }
        Ok(Self { file })
    }

    fn read(&mut self) -> io::Result<Option<Entry>> {
        let mut length = [0; 4];
        match self.file.read(&mut length)? {
            0 => return Ok(None),
            some => self.file.read_exact(length.get_mut(some..).unwrap_or_default())?,
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(HEAD_BYTES..=ENTRY_BYTES_MAX).contains(&length) {
            return Err(damaged("an entry's length"));
        }
        let mut entry = vec![0; length];
        self.file.read_exact(&mut entry)?;
        let (kind, rest) = entry.split_first().ok_or_else(|| damaged("an entry"))?;
        let (connection, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("an entry"))?;
        let (at_us, frame) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("an entry"))?;
        let direction = match *kind {
            SENT => Direction::Sent,
            RECEIVED => Direction::Received,
            _ => return Err(damaged("an entry's kind")),
        };
        let (connection, at_us) = (u32::from_be_bytes(*connection), i64::from_be_bytes(*at_us));
        Ok(Some(Entry { direction, connection, at_us, frame: frame.to_vec() }))
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the journal is damaged: {what} makes no sense"))
}

const TITLE: &[u8; 10] = b"journal 1\n";
const SENT: u8 = 1;
const RECEIVED: u8 = 2;
/// Kind, connection and time.
const HEAD_BYTES: usize = 13;
/// No frame that a connector takes or sends is as long.
const ENTRY_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("{name}-{}", std::process::id()))
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let path = file("journal-read-again");
        let journal = Journal::create(&path).unwrap();
        let (mut first, mut second) = (journal.connection(), journal.connection());
        first.sent(b"a");
        second.received(b"");
        second.sync().unwrap();
        first.received(b"not synced");
        let entries: Vec<_> = Entries::open(&path).unwrap().map(Result::unwrap).collect();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.direction, entry.connection, entry.frame.as_slice())).collect();
        assert_eq!(seen, [(Direction::Sent, 1, b"a".as_slice()), (Direction::Received, 2, b"")]);
        journal.sync().unwrap();
        assert_eq!(Entries::open(&path).unwrap().count(), 3);
        assert!(Journal::create(&path).is_err(), "a journal is never begun twice");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_journal_that_is_cut_off_is_an_error() {
        let path = file("journal-cut-off");
        let journal = Journal::create(&path).unwrap();
        journal.connection().sent(b"frame");
        journal.sync().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in TITLE.len() + 1..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Entries::open(&path).unwrap().any(|entry| entry.is_err()), "{length}");
        }
        std::fs::write(&path, &whole[..3]).unwrap();
        assert!(Entries::open(&path).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
