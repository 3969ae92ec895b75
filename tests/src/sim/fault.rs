//! The kinds of faults.

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A process is killed between two turns.
    Crash,
    /// … when it has stepped and the batch hasn't reached the store.
    CrashBeforeCommit,
    /// … when its batch is durable and nothing of it was released.
    CrashBeforeRelease,
    /// … when some of what it released is sent.
    CrashInRelease,
    /// The machine loses power: the process dies, and the store forgets what it hadn't synced.
    PowerCut,
    /// The same, but the store has written a part of what it hadn't synced.
    TornWrite,
    /// The store takes long for a while.
    SlowStore,
    /// The store has taken a batch and answers that it doesn't know.
    UnknownApplied,
    /// The store hasn't taken a batch and answers that it doesn't know.
    UnknownLost,
    /// The store can't write for a while, and answers that it doesn't know.
    DiskFull,
    /// A process stands still past its lease; another one opens the slot; the first one goes on.
    Pause,
    /// A clock goes faster or slower, within the bound.
    Drift,
    /// A connection breaks: both sides notice soon, and what is on its way may be lost.
    Cut,
    /// A connection breaks and one side doesn't notice for long.
    HalfOpen,
    /// A connection becomes slow for a while.
    SlowLink,
    /// A peer breaks its connection when it has just received or sent something about money.
    WorstMoment,
    /// A peer sends its prepares and answers again.
    Replay,
    /// A peer answers what isn't its own, with fulfillments and rejections that are wrong or forged.
    Lie,
    /// A peer takes what it is sent, and says nothing for long.
    Silence,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Crash,
        Self::CrashBeforeCommit,
        Self::CrashBeforeRelease,
        Self::CrashInRelease,
        Self::PowerCut,
        Self::TornWrite,
        Self::SlowStore,
        Self::UnknownApplied,
        Self::UnknownLost,
        Self::DiskFull,
        Self::Pause,
        Self::Drift,
        Self::Cut,
        Self::HalfOpen,
        Self::SlowLink,
        Self::WorstMoment,
        Self::Replay,
        Self::Lie,
        Self::Silence,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashBeforeCommit => "crash-before-commit",
            Self::CrashBeforeRelease => "crash-before-release",
            Self::CrashInRelease => "crash-in-release",
            Self::PowerCut => "power-cut",
            Self::TornWrite => "torn-write",
            Self::SlowStore => "slow-store",
            Self::UnknownApplied => "unknown-applied",
            Self::UnknownLost => "unknown-lost",
            Self::DiskFull => "disk-full",
            Self::Pause => "pause",
            Self::Drift => "drift",
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::SlowLink => "slow-link",
            Self::WorstMoment => "worst-moment",
            Self::Replay => "replay",
            Self::Lie => "lie",
            Self::Silence => "silence",
        }
    }

    /// Whether a process dies of it.
    pub fn kills(self) -> bool {
        matches!(
            self,
            Self::Crash | Self::CrashBeforeCommit | Self::CrashBeforeRelease | Self::CrashInRelease | Self::PowerCut | Self::TornWrite
        )
    }
}
