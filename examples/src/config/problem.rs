//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A place in the file, both counted from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file says something that can't be.
    Error,
    /// What the file says can be, but what it names can't be used: a damaged certificate, for example.
    Unusable,
    /// It works, but perhaps not as meant.
    Warning,
}

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` for the file as a whole.
    pub place: Option<Place>,
    /// How bad.
    pub severity: Severity,
    /// What, which value, and what to do about it. Never a secret.
    pub message: String,
}

/// Everything that was found, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file, as the user called it.
    pub file: PathBuf,
    /// What is wrong with it.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Whether nothing worse than a warning was found.
    pub fn is_usable(&self) -> bool {
        self.list.iter().all(|problem| problem.severity == Severity::Warning)
    }

    /// Whether the file itself is wrong.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// How many are worse than warnings.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|problem| problem.severity != Severity::Warning).count()
    }
}

/// One line each: `file:line:column: error: what`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            write!(f, "{}:", self.file.display())?;
            if let Some(Place { line, column }) = problem.place {
                write!(f, "{line}:{column}:")?;
            }
            let word = if problem.severity == Severity::Warning { "warning" } else { "error" };
            writeln!(f, " {word}: {}", problem.message)?;
        }
        Ok(())
    }
}

/// A range of bytes in the file.
pub(super) type Span = Range<usize>;

/// Collects problems while a file is read.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    text: &'a str,
    list: Vec<Problem>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, list: Vec::new() }
    }

    pub(super) fn error(&mut self, at: &Span, message: impl Into<String>) {
        self.add(at, Severity::Error, message.into());
    }

    pub(super) fn unusable(&mut self, at: &Span, message: impl Into<String>) {
        self.add(at, Severity::Unusable, message.into());
    }

    pub(super) fn warning(&mut self, at: &Span, message: impl Into<String>) {
        self.add(at, Severity::Warning, message.into());
    }

    /// The line and column of a place.
    pub(super) fn place(&self, at: &Span) -> Place {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }

    pub(super) fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.place);
        self.list
    }

    fn add(&mut self, at: &Span, severity: Severity, message: String) {
        let place = Some(self.place(at));
        self.list.push(Problem { place, severity, message });
    }
}
