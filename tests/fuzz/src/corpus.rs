//! The inputs kept in `tests/corpora`.
//!
//! `TARGET/kept.hex` has inputs that reach something no other does, one a line in hex. `TARGET/found-…` are inputs that once broke
//! something, as they are. Both are for the ordinary tests to replay.

use crate::seeds::tests;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A target's folder.
pub fn folder(target: &str) -> PathBuf {
    tests().join("corpora").join(target)
}

/// All inputs kept for a target, with the file they are from. A folder that isn't there has none.
///
/// # Errors
/// If a file can't be read, or isn't hex.
pub fn load(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = folder(target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<_> = fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let mut inputs = Vec::new();
    for file in files {
        for input in read(&file)? {
            inputs.push((file.clone(), input));
        }
    }
    Ok(inputs)
}

/// The inputs of one file.
///
/// # Errors
/// If it can't be read, or isn't hex although its name says so.
pub fn read(file: &Path) -> io::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(file)?;
    if file.extension().is_none_or(|extension| extension != "hex") {
        return Ok(vec![bytes]);
    }
    let not_hex = |line: usize| io::Error::other(format!("{}:{}: not hex", file.display(), line + 1));
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(number, line)| hex::decode(line).map_err(|_| not_hex(number))).collect()
}

/// Writes an input that broke something, and gives its file.
///
/// # Errors
/// If it can't be written.
pub fn save_found(target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("found-{:016x}", hash(input)));
    fs::write(&file, input)?;
    Ok(file)
}

/// Replaces what is kept for a target.
///
/// # Errors
/// If it can't be written.
pub fn save_kept(target: &str, inputs: &[&[u8]]) -> io::Result<PathBuf> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    let file = folder.join("kept.hex");
    let lines: String = inputs.iter().map(|input| hex::encode(input) + "\n").collect();
    fs::write(&file, lines)?;
    Ok(file)
}

/// FNV-1a, which will be the same for ever.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
