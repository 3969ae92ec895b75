//! What goes wrong, drawn from a seed.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::time::Duration;

/// Something that goes wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// To which connection.
    pub victim: Victim,
}

/// Which connection a fault happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// One of those that are there: this number modulo how many.
    Live(u64),
    /// The next one, from its first byte: handshakes too fail and stall.
    Next,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both sides are closed.
    Cut {
        /// With RST, which throws away what is on its way; otherwise with FIN.
        reset: bool,
        /// In the middle of what comes next towards the server, after at most so many bytes of it; otherwise at once.
        within: Option<usize>,
    },
    /// Nothing gets through for a while, and then all of it.
    Delay {
        /// In which direction.
        lanes: Lanes,
        /// How long.
        time: Duration,
    },
    /// FIN in one direction.
    HalfClose {
        /// In which: `Both` is not drawn.
        lanes: Lanes,
        /// Nothing gets through in the other direction either; otherwise it goes on.
        silent: bool,
    },
    /// Everything is taken and thrown away, and nobody is told, not even of the other's end.
    BlackHole,
    /// Bytes get through one at a time for a while.
    Trickle {
        /// How long.
        time: Duration,
    },
}

/// Directions of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
    /// Either way.
    Both,
}

/// Faults from a seed, one after the other: the same for the same seed.
#[derive(Debug, Clone)]
pub struct Faults {
    random: ChaCha12Rng,
}

impl Faults {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: ChaCha12Rng::seed_from_u64(seed) }
    }

    /// The next fault.
    pub fn draw(&mut self) -> Fault {
        let kind = match self.below(100) {
            0..30 => {
                let reset = self.below(2) == 0;
                let within = self.below(2) == 0;
                let within = within.then(|| usize::try_from(self.below(CUT_WITHIN_BYTES)).unwrap_or_default());
                Kind::Cut { reset, within }
            }
            30..55 => Kind::Delay { lanes: self.lanes(3), time: self.between(DELAY_MS) },
            55..70 => Kind::HalfClose { lanes: self.lanes(2), silent: self.below(2) == 0 },
            70..85 => Kind::BlackHole,
            _ => Kind::Trickle { time: self.between(TRICKLE_MS) },
        };
        let number = self.random.next_u64();
        let victim = if self.below(6) == 0 { Victim::Next } else { Victim::Live(number) };
        Fault { kind, victim }
    }

    /// How long until the next one, from half to one and a half of `every`.
    pub fn pause(&mut self, every: Duration) -> Duration {
        let ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis((ms / 2).saturating_add(self.below(ms.saturating_add(1))))
    }

    fn lanes(&mut self, choices: u64) -> Lanes {
        match self.below(choices) {
            0 => Lanes::Up,
            1 => Lanes::Down,
            _ => Lanes::Both,
        }
    }

    fn between(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.below(most.saturating_sub(least)))
    }

    /// A number below `bound`, which is at least 1. Not perfectly even, which doesn't matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64().checked_rem(bound).unwrap_or_default()
    }
}

impl Kind {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut { within: Some(_), .. } => "cut_mid_frame",
            Self::Cut { reset: true, .. } => "cut_rst",
            Self::Cut { reset: false, .. } => "cut_fin",
            Self::Delay { .. } => "delay",
            Self::HalfClose { .. } => "half_close",
            Self::BlackHole => "black_hole",
            Self::Trickle { .. } => "trickle",
        }
    }
}

/// About two frames of a payment.
const CUT_WITHIN_BYTES: u64 = 600;
const DELAY_MS: (u64, u64) = (10, 3_000);
const TRICKLE_MS: (u64, u64) = (100, 2_000);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_gives_the_same_faults_again_and_another_seed_others() {
        let some = |seed| {
            let mut faults = Faults::new(seed);
            (0..50).map(|_| faults.draw()).collect::<Vec<_>>()
        };
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
    }

    #[test]
    fn every_kind_is_drawn() {
        let mut faults = Faults::new(1);
        let names: BTreeSet<_> = (0..500).map(|_| faults.draw().kind.name()).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }
}
