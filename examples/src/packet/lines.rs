//! Lines of bytes with a limit.

use std::io::{self, BufRead, BufReader, Read};

/// Reads lines. What they hold needn't be text.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
}

/// One line, without its end.
pub(super) enum Line<'a> {
    /// Up to the limit.
    Text(&'a [u8]),
    /// Its bytes were dropped.
    TooLong,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), line: Vec::new() }
    }

    /// Whether the next line isn't there yet, as far as is known without asking for it.
    pub(super) fn would_wait(&self) -> bool {
        !self.input.buffer().contains(&b'\n')
    }

    /// The next line; none at the end. The last line needn't have an end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let read = (&mut self.input).take(LINE_MAX).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') && !self.at_end()? {
            self.input.skip_until(b'\n')?;
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Text(self.line.trim_ascii())))
    }

    fn at_end(&mut self) -> io::Result<bool> {
        self.input.fill_buf().map(<[u8]>::is_empty)
    }
}

/// Bytes of a line, its end included. Far above any packet, and little enough to hold in memory.
const LINE_MAX: u64 = 16 << 20;
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Option<String>> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push(match line {
                Line::Text(line) => Some(String::from_utf8_lossy(line).into_owned()),
                Line::TooLong => None,
            });
        }
        all
    }

    #[test]
    fn blank_lines_count_and_the_last_needs_no_end() {
        assert!(lines(b"").is_empty());
        assert_eq!(lines(b"\n"), [Some(String::new())]);
        assert_eq!(lines(b"a\n\n b \r\nc"), ["a", "", "b", "c"].map(|line| Some(line.to_owned())));
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_whole() {
        let max = usize::try_from(LINE_MAX).unwrap();
        let mut input = vec![b'a'; max + 1];
        input.extend_from_slice(b"\nb\n");
        assert_eq!(lines(&input), [None, Some("b".to_owned())]);
        assert_eq!(lines(&input[..max + 1]), [None]);
        assert_eq!(lines(&input[..max]).len(), 1);
        assert!(lines(&input[..max])[0].is_some());
    }
}
