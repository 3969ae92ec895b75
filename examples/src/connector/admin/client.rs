//! The asking side.

use super::protocol::{Refused, Request, read_answer};
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The longest answer taken; with a million accounts a status is about as long.
const ANSWER_LEN_MAX: u64 = 512 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no connector answers at {place}: {source}")]
    NobodyThere {
        /// The socket.
        place: String,
        /// The system's own words.
        source: io::Error,
    },
    /// The connection ended in the middle. Nobody here knows whether the request was done.
    #[error("the connector at {place} gave no answer: {source}")]
    NoAnswer {
        /// The socket.
        place: String,
        /// The system's own words.
        source: io::Error,
    },
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Asks the connector at a socket, and waits for its answer, for as long as that takes.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, AskError> {
    let place = || socket.display().to_string();
    let mut stream = UnixStream::connect(socket).map_err(|source| AskError::NobodyThere { place: place(), source })?;
    let mut line = Vec::new();
    let answered = (|| {
        // Who has no time for us says so without reading.
        let written = stream.write_all(&request.to_line()?);
        let read = BufReader::new(&stream).take(ANSWER_LEN_MAX).read_until(b'\n', &mut line);
        match line.last() {
            Some(b'\n') => Ok(read_answer::<T>(&line)?),
            _ => Err(written.and(read).err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
        }
    })();
    answered.map_err(|source| AskError::NoAnswer { place: place(), source })?.map_err(AskError::Refused)
}
