//! Exit codes: part of the command's interface, listed in `--help`.

use std::process::ExitCode;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// It ran, and something was wrong: payments left behind at the stop, books that aren't right in the demo.
    Failed,
    /// The command line can't be understood.
    Usage,
    /// The configuration is wrong.
    Config,
    /// It can't start: port taken, store, certificate.
    CantStart,
    /// A second Ctrl-C: stopped without waiting for payments in flight.
    Interrupted,
}

impl Exit {
    /// The number that the caller sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::CantStart => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
