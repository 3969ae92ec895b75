//! Looks at places for books and sockets without making or changing anything.

use std::io::ErrorKind;
use std::path::Path;

/// Whether a directory can hold books: it is there and ours to use, or can be made.
pub(super) fn directory(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_dir() => Err("it is a file: name a directory, or one that isn't there yet".into()),
        Ok(_) => usable(path, "it"),
        Err(error) if error.kind() == ErrorKind::NotFound => makeable(path),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err("a part of its path is a file".into()),
        Err(error) => Err(format!("it can't be looked at: {error}")),
    }
}

/// Whether a socket can be where it is said to be. Its folder may still have to be made with the books in it; what else is wrong with that
/// one is said of the books.
pub(super) fn socket(path: &Path) -> Result<(), String> {
    let len = path.as_os_str().len();
    if len > SOCKET_PATH_LEN_MAX {
        let max = SOCKET_PATH_LEN_MAX;
        return Err(format!("its path has {len} bytes, and the system takes {max}: write a shorter one as socket in [admin]"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(there) if there.is_dir() && others_may(&there) => Err(format!(
            "other users may enter {}, and whoever reaches the socket can settle: run chmod 700 on that directory, or choose another",
            folder.display()
        )),
        // Whether it can be made was asked for the books.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The first of the directories above that is there says whether the others can be made.
fn makeable(path: &Path) -> Result<(), String> {
    let mut above = path;
    loop {
        above = match above.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err("there is no directory above it".into()),
        };
        match std::fs::metadata(above) {
            Ok(there) if !there.is_dir() => return Err(format!("{} is a file", above.display())),
            Ok(_) => return usable(above, &format!("it isn't there, and {}", above.display())),
            Err(error) if error.kind() == ErrorKind::NotFound && above != Path::new(".") => {}
            Err(error) => return Err(format!("{} can't be looked at: {error}", above.display())),
        }
    }
}

#[cfg(unix)]
fn usable(path: &Path, what: &str) -> Result<(), String> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    match accessat(CWD, path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::ROFS) => Err(format!("{what} is on a file system that can't be written")),
        Err(_) => Err(format!("{what} can't be written by this user: let the user that runs the connector own it")),
    }
}

#[cfg(not(unix))]
fn usable(path: &Path, what: &str) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(there) if there.permissions().readonly() => Err(format!("{what} can't be written")),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn others_may(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// What every Unix takes, less the zero at its end: Linux has four bytes more.
const SOCKET_PATH_LEN_MAX: usize = 103;
