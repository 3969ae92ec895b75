//! The socket itself: made for its owner alone, taken over from a process that has died, never from one that lives.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// A socket that is listened to. Its file is removed when this is dropped, if it is still this one.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
    /// Who made it.
    pub(super) owner: u32,
}

/// A socket that can't be listened to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(
        "{folder} can be entered by other users, and whoever reaches the socket can settle: run chmod 700 on it, or choose another place"
    )]
    NotPrivate { folder: String },
    #[error("another connector answers at {path}: stop it, or choose another socket")]
    Live { path: String },
    #[error("{path} is there and is no socket: choose another place")]
    NoSocket { path: String },
    #[error("the socket {path} can't be made: {source}")]
    Io { path: String, source: io::Error },
}

impl Socket {
    /// Makes the socket. Blocks for a moment.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.display().to_string(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = fs::metadata(folder).map_err(failed)?.permissions().mode() & 0o077 == 0;
        if !private {
            return Err(SocketError::NotPrivate { folder: folder.display().to_string() });
        }
        // Two that start at once shall not take what the other has just made for a dead one's.
        let lock = File::open(folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        remove_dead(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Nobody else can have come in the meantime: the folder is private.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()), owner: metadata.uid() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket that nobody listens to is what a killed process left behind.
fn remove_dead(path: &Path) -> Result<(), SocketError> {
    let shown = || path.display().to_string();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::Io { path: shown(), source }),
        Ok(there) if !there.file_type().is_socket() => return Err(SocketError::NoSocket { path: shown() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| SocketError::Io { path: shown(), source })
        }
        // One that is too busy to answer lives as well.
        Ok(_) | Err(_) => Err(SocketError::Live { path: shown() }),
    }
}
