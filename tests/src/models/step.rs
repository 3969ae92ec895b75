//! What can happen next.

use std::fmt;
use std::str::FromStr;

/// One step of a connection's model. Peers and payments are named by their places in the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The connector takes the next frame of a peer.
    Take(usize),
    /// A peer takes the next frame of the connector.
    Hear(usize),
    /// A peer acknowledges the prepare of a payment.
    Ack(usize),
    /// A peer refuses the prepare of a payment with an Error.
    Refuse(usize),
    /// A peer fulfills a payment.
    Fulfill(usize),
    /// A peer rejects a payment.
    Reject(usize),
    /// The oldest batch becomes durable.
    Commit,
    /// A peer's connection is cut: all frames on it, either way, are lost.
    Cut(usize),
    /// A peer has a new connection.
    Reconnect(usize),
    /// Time passes.
    Time,
}

/// A text that names no step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoStep(pub String);

impl fmt::Display for NoStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no step", self.0)
    }
}

impl std::error::Error for NoStep {}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(n) => write!(f, "take{n}"),
            Self::Hear(n) => write!(f, "hear{n}"),
            Self::Ack(n) => write!(f, "ack{n}"),
            Self::Refuse(n) => write!(f, "refuse{n}"),
            Self::Fulfill(n) => write!(f, "fulfill{n}"),
            Self::Reject(n) => write!(f, "reject{n}"),
            Self::Commit => f.write_str("commit"),
            Self::Cut(n) => write!(f, "cut{n}"),
            Self::Reconnect(n) => write!(f, "reconnect{n}"),
            Self::Time => f.write_str("time"),
        }
    }
}

impl FromStr for Step {
    type Err = NoStep;

    fn from_str(text: &str) -> Result<Self, NoStep> {
        let (word, number) = text.split_at(text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len()));
        let n = || number.parse::<usize>().map_err(|_| NoStep(text.into()));
        Ok(match word {
            "take" => Self::Take(n()?),
            "hear" => Self::Hear(n()?),
            "ack" => Self::Ack(n()?),
            "refuse" => Self::Refuse(n()?),
            "fulfill" => Self::Fulfill(n()?),
            "reject" => Self::Reject(n()?),
            "commit" => Self::Commit,
            "cut" => Self::Cut(n()?),
            "reconnect" => Self::Reconnect(n()?),
            "time" => Self::Time,
            _ => return Err(NoStep(text.into())),
        })
    }
}
