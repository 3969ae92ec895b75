//! What books are written on: a file, or what stands for one in a test.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, fs::File};

/// A row of bytes that can be made durable.
///
/// Calls may come from several threads; those that write come from one at a time.
pub trait Medium: Debug + Send + Sync + 'static {
    /// How many bytes there are.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are none.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Fills `out` with the bytes from `offset` on. An error if there are fewer.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Replaces the bytes from `offset` on. Lost by a failure of power unless [`sync`](Self::sync) comes between, whole or in part.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what is beyond `len`, or adds zeroes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Everything written before it is durable when this returns `Ok`. After an error nobody knows what is; a later call that returns
    /// `Ok` covers all that was written before it nevertheless.
    fn sync(&self) -> io::Result<()>;

    /// What people call it, for errors.
    fn name(&self) -> String;
}

/// A file that nobody else may have open as a medium: it is locked until this value is dropped.
#[derive(Debug)]
pub struct FileMedium {
    file: File,
    path: PathBuf,
    unsynced: Mutex<Unsynced>,
}

#[derive(Debug, Default)]
struct Unsynced {
    /// What was written since the last sync that succeeded: from, to.
    written: Vec<(u64, u64)>,
    /// A sync has failed since. The kernel may have dropped the mark that these pages have to be written.
    doubtful: bool,
}

impl FileMedium {
    /// Opens a file that is there.
    ///
    /// # Errors
    ///
    /// Those of opening it, and [`ResourceBusy`](io::ErrorKind::ResourceBusy) if it is locked already, by another process or this one.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::lock(fs::OpenOptions::new().read(true).write(true).open(path)?, path)
    }

    /// Opens a file that is there, or makes one that only its owner may read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Self::lock(options.open(path)?, path)
    }

    fn lock(file: File, path: &Path) -> io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path: path.to_owned(), unsynced: Mutex::default() }),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// After a failed sync, pages that never reached the disk may count as clean: writing them anew makes the next sync take them.
    fn write_again(&self, written: &[(u64, u64)]) -> io::Result<()> {
        let len = self.len()?;
        let mut bytes = Vec::new();
        for (offset, end) in written {
            let (mut at, end) = (*offset, len.min(*end));
            while at < end {
                let count = end.saturating_sub(at).min(AGAIN_BYTES);
                bytes.resize(usize::try_from(count).unwrap_or(0), 0);
                read_at(&self.file, at, &mut bytes)?;
                write_at(&self.file, at, &bytes)?;
                at = at.saturating_add(count);
            }
        }
        Ok(())
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium for FileMedium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_at(&self.file, offset, out)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut unsynced = self.unsynced();
        if unsynced.written.len() >= WRITTEN_MAX {
            // Syncs have failed for long: all of the file, then.
            unsynced.written = vec![(0, u64::MAX)];
        }
        unsynced.written.push((offset, offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))));
        write_at(&self.file, offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut unsynced = self.unsynced();
        if unsynced.doubtful {
            self.write_again(&unsynced.written)?;
        }
        match self.file.sync_data() {
            Ok(()) => {
                unsynced.written.clear();
                unsynced.doubtful = false;
                Ok(())
            }
            Err(error) => {
                unsynced.doubtful = true;
                Err(error)
            }
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// How much is in memory at a time while it is written again.
const AGAIN_BYTES: u64 = 1 << 20;
/// More than any transaction writes.
const WRITTEN_MAX: usize = 100_000;

#[cfg(unix)]
pub(super) fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek};
    // Without positioned reads the file has one position: whoever moves it holds the lock.
    let _one = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(out)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, Write};
    let _one = POSITION.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
static POSITION: Mutex<()> = Mutex::new(());

/// A row of bytes in memory, which survives its users but not the process. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryMedium {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryMedium {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that begins with these bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)) }
    }

    /// All its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for MemoryMedium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryMedium").field("len", &self.lock().len()).finish()
    }
}

impl Medium for MemoryMedium {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.lock().len()).unwrap_or(u64::MAX))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.lock();
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = from.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.lock();
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = from.checked_add(new.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if end > bytes.len() {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(from..end) {
            place.copy_from_slice(new);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.lock().resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{FileMedium, Medium};

    /// After a failed sync everything since the last good one is written anew, as it is.
    #[test]
    fn what_may_not_have_been_synced_is_written_again() -> std::io::Result<()> {
        let path = std::env::temp_dir().join(format!("ilp-medium-{}", std::process::id()));
        let medium = FileMedium::create(&path)?;
        medium.set_len(8_192)?;
        medium.write(0, &[1; 100])?;
        medium.sync()?;
        medium.write(50, &[2; 100])?;
        medium.write(4_000, &[3; 4_000])?;
        medium.write(60, &[4; 10])?;
        // Some of it isn't there any more.
        medium.set_len(6_000)?;
        let before = std::fs::read(&path)?;
        assert_eq!(medium.unsynced().written.len(), 3);
        medium.unsynced().doubtful = true;
        medium.sync()?;
        assert_eq!(std::fs::read(&path)?, before);
        assert!(medium.unsynced().written.is_empty() && !medium.unsynced().doubtful);
        std::fs::remove_file(&path)
    }
}
