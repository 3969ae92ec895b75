//! Files that the configuration names.

use super::problem::{Collector, Span};
use super::section::Section;
use super::values;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file taken: certificates and tokens are a few kilobytes.
const BYTES_MAX: u64 = 1 << 20;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Public,
    /// A warning says so if others can read it.
    Secret,
}

/// Reads a file named by a text key; `None` if the key is missing or was reported.
pub(super) fn read_key(
    section: &Section<'_>,
    key: &str,
    contents: Contents,
    folder: &Path,
    problems: &mut Collector<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    let name = section.text(key, problems)?;
    read(&section.say(key), name.value, &name.at, contents, folder, problems)
}

/// Reads a file. `what` begins the messages.
pub(super) fn read(
    what: &str,
    name: &str,
    at: &Span,
    contents: Contents,
    folder: &Path,
    problems: &mut Collector<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    if name.is_empty() {
        problems.error(at, format!("{what} is empty; write the name of a file"));
        return None;
    }
    let path: PathBuf = folder.join(name);
    let read = std::fs::File::open(&path).and_then(|file| {
        let metadata = file.metadata()?;
        let mut bytes = Zeroizing::new(Vec::new());
        // A device or a pipe doesn't say how much there is.
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len <= BYTES_MAX) {
            return Ok((bytes, metadata));
        }
        Err(std::io::Error::other(format!("it is larger than {BYTES_MAX} bytes")))
    });
    match read {
        Ok((bytes, metadata)) => {
            if contents == Contents::Secret && others_can_read(&metadata) {
                problems.warning(
                    at,
                    format!("{what}: every user of this machine can read {}; run chmod o-rwx on it", values::shown_path(&path)),
                );
            }
            Some(bytes)
        }
        Err(error) => {
            problems.error(at, format!("{what}: file {} can't be read: {error}", values::shown_path(&path)));
            None
        }
    }
}

#[cfg(unix)]
fn others_can_read(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn others_can_read(_metadata: &std::fs::Metadata) -> bool {
    false
}
