//! Every limit and every duration in one place, each with the reason for its default.

/// How much of anything a peer, or all of them together, may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Transfers of one account that are held at once. Bounds memory: about 600 bytes each with their payload.
    /// 65,536 at 100,000 a second is two thirds of a second of round trip.
    pub in_flight_per_account: u32,
    /// Transfers of one account that are in flight or remembered until they can't be replayed any more. About 250 bytes each;
    /// 1,500,000 is 100,000 a second for 15 seconds.
    pub remembered_per_account: u32,
    /// Payments to the connector's own addresses that the embedder's receiver is working on at once.
    pub receiving: u32,
    /// Frames taken from one connection before the others get their turn.
    pub frames_per_turn: usize,
    /// Bytes waiting for a peer that reads slowly; above, nothing more is read from it.
    pub output_backlog: usize,
    /// Batches stepped but not durable; above, nothing more is read from anybody.
    pub batches_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_per_account: 65_536,
            remembered_per_account: 1_500_000,
            receiving: 1_024,
            frames_per_turn: 1_024,
            output_backlog: 1 << 20,
            batches_in_flight: 64,
        }
    }
}

/// The durations of DESIGN's time rules, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Taken off the expiry at this hop: the time in which the incoming side can still be fulfilled after the outgoing side was. Must
    /// be at least `grace` + the slowest commit + the sender's round trip.
    pub window_ms: i64,
    /// How long after its expiry an outgoing transfer's fulfill is still taken, because it may have been on its way.
    pub grace_ms: i64,
    /// An outgoing transfer with less time left than this is not sent.
    pub outgoing_ms_min: i64,
    /// Transfers that expire later than this from now are refused: they would hold funds and memory for too long.
    pub hold_ms_max: i64,
    /// By how much the clocks of peers, and our own across a restart, may differ.
    pub skew_ms_max: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { window_ms: 2_000, grace_ms: 1_000, outgoing_ms_min: 500, hold_ms_max: 300_000, skew_ms_max: 1_000 }
    }
}

impl Timing {
    /// Whether the durations can keep invariant I3: an accepted fulfill can still be claimed.
    pub fn check(&self) -> Result<(), InvalidTiming> {
        if self.window_ms <= self.grace_ms {
            return Err(InvalidTiming::Window { window_ms: self.window_ms, grace_ms: self.grace_ms });
        }
        for (name, value) in [
            ("grace_ms", self.grace_ms),
            ("outgoing_ms_min", self.outgoing_ms_min),
            ("skew_ms_max", self.skew_ms_max),
            ("hold_ms_max", self.hold_ms_max),
        ] {
            if !(0..=86_400_000).contains(&value) {
                return Err(InvalidTiming::Range { name, value });
            }
        }
        Ok(())
    }
}

/// Durations that can't work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// No time would be left to claim what was paid.
    #[error("the window ({window_ms} ms) must be longer than the grace ({grace_ms} ms), by the slowest commit and a round trip")]
    Window {
        /// As given.
        window_ms: i64,
        /// As given.
        grace_ms: i64,
    },
    /// Negative, or more than a day.
    #[error("{name} is {value}, it must be between 0 and 86400000 ms")]
    Range {
        /// Which.
        name: &'static str,
        /// As given.
        value: i64,
    },
}
