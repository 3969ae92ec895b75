//! Every limit and every duration in one place, each with the reason for its default.

/// How much of anything a peer, or all of them together, may use: one place for the whole connector. Links, listeners and diallers take
/// what concerns them from here.
///
/// What is refused because of a limit is refused with T03, and the error says which limit and whose. What comes in faster than it can be
/// dealt with isn't read: then the sender's own buffers fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    // What comes in on one connection.
    /// The largest frame taken from a peer, in bytes; a larger one ends its connection before any of it is stored. Default 128 KiB: ILP
    /// data is at most 32 KiB, which leaves room for what rides along.
    pub frame_bytes: usize,
    /// Entries of protocol data in one packet; a packet with more counts as one that can't be decoded. Default 32: only the first entry
    /// decides what a request is.
    pub entries_per_packet: usize,
    /// Packets that can't be decoded before the connection is closed. Default 16: a peer of another age sends one now and then.
    pub undecodable_packets: u64,
    /// Our requests that wait for a peer's answer on one connection; one more closes it. Default 65,536, at 24 bytes each: a peer that
    /// acknowledges never comes near it.
    pub unanswered_requests: usize,
    /// Frames a second of one connection that bring no payment any further: pings, messages, refused requests, what can't be decoded.
    /// What comes faster isn't read; each transfer that is taken allows one more. Default 2,000: less than a hundredth of what one
    /// worker can do.
    pub fruitless_frames_per_second: u32,
    /// Frames taken from one connection before the others get their turn. Default 1,024: some milliseconds of work.
    pub frames_per_turn: usize,

    // Connections that haven't proved to be anybody's.
    /// Handshakes (TCP, TLS, WebSocket) that one listener carries on at once; one more waits, and ends the oldest. Default 256, at about
    /// 10 KiB each.
    pub handshakes: usize,
    /// Milliseconds for a handshake. Default 10,000: several round trips on a bad line.
    pub handshake_ms: u32,
    /// Connections with a finished handshake and nobody's name; one more closes the oldest. Default 128, at about 45 KiB each: an honest
    /// peer's is known after one round trip. Handshakes, and connections that are being closed, have limits of their own and aren't counted.
    pub unauthenticated: usize,
    /// Milliseconds until such a connection is closed. Default 10,000.
    pub unauthenticated_ms: u32,
    /// Milliseconds until the first wrong credentials are answered. Default 50: enough to make guessing slow, and nobody with the right
    /// ones waits for it.
    pub authentication_failure_ms: u32,
    /// How many times that doubles, once for each further failure; it halves again every second without one. Default 6: 3.2 s at most.
    pub authentication_failure_doublings: u32,

    // Connections of accounts.
    /// Milliseconds between two logins of one account: a login that comes earlier waits. Default 100: a login looks through everything
    /// that is in flight, for what has to be said again.
    pub login_ms: u32,
    /// Milliseconds after a peer's last sign of life until it is asked for another. Default 10,000: network address translators forget
    /// connections after 30 s.
    pub ping_ms: u32,
    /// Milliseconds that it has for that before it is taken for gone. Default 20,000: two retransmissions of a bad line.
    pub pong_ms: u32,
    /// Milliseconds without a byte taken by a peer for which something waits, until it is taken for gone. Default 10,000.
    pub stall_ms: u32,
    /// Bytes waiting for a peer that reads slowly; above, nothing more is read from it, and no new payments are sent to it. Default
    /// 1 MiB: more than a fast peer's turn, and in addition to what the kernel holds.
    pub output_backlog: usize,
    /// Bytes waiting for a peer above which it is cut off. Default 2 MiB: the answers that an account within its limits can still be owed
    /// once it is not read from any more.
    pub output_backlog_max: usize,

    // Accounts.
    /// Transfers of one account at one worker, and likewise transfers on their way to it, that are undecided or whose answer isn't
    /// acknowledged; what waits for a draw counts as well. Default 4,096: 40,000 a second at a round trip of 100 ms.
    pub in_flight_per_account: u32,
    /// Memory for them in bytes, at [`TRANSFER_BYTES`](Self::TRANSFER_BYTES) and the payload each. Default 2 MiB: about
    /// 2,600 payments of 150 bytes. With what is remembered of them it is most of what one account can make the connector hold.
    pub in_flight_bytes_per_account: usize,
    /// What the undecided transfers of one account, and likewise those on their way to it, may add up to, in base units. Default: no limit
    /// beyond balance and credit, since base units differ from asset to asset; [`AccountConfig::max_in_flight`](crate::AccountConfig)
    /// narrows it.
    pub in_flight_value_per_account: u64,
    /// Transfers of one account that are in flight or remembered until they can't be replayed any more. About 250 bytes each;
    /// 1,500,000 is 100,000 a second for 15 seconds.
    pub remembered_per_account: u32,

    /// Settlements of one account: their ids are remembered for ever, so that each counts once. Default 10,000, at about 150 bytes each: one
    /// a day for 27 years.
    pub settlements_per_account: u32,
    /// Statements about ledger accounts that are kept for one account. Default 16: a peer has a few wallets.
    pub claims_per_account: usize,

    // The connector.
    /// Payments to the connector's own addresses that are parked with the embedder's receiver at once.
    pub receiving: u32,
    /// Events that the embedder hasn't acknowledged; above, nothing more is read from anybody, since the log has to keep them. Default
    /// 262,144: a second of a busy connector.
    pub events_unacknowledged: u64,
    /// Bytes of the log below which it isn't cut. Default 8 MiB: cutting costs a look at all that is remembered.
    pub log_bytes: usize,
    /// Batches stepped but not durable; above, nothing more is read from anybody.
    pub batches_in_flight: usize,
}

impl Limits {
    /// What a transfer in flight is taken to need beside its payload, in bytes, with its part of the log.
    pub const TRANSFER_BYTES: usize = 640;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 128 << 10,
            entries_per_packet: 32,
            undecodable_packets: 16,
            unanswered_requests: 65_536,
            fruitless_frames_per_second: 2_000,
            frames_per_turn: 1_024,
            handshakes: 256,
            handshake_ms: 10_000,
            unauthenticated: 128,
            unauthenticated_ms: 10_000,
            authentication_failure_ms: 50,
            authentication_failure_doublings: 6,
            login_ms: 100,
            ping_ms: 10_000,
            pong_ms: 20_000,
            stall_ms: 10_000,
            output_backlog: 1 << 20,
            output_backlog_max: 2 << 20,
            in_flight_per_account: 4_096,
            in_flight_bytes_per_account: 2 << 20,
            in_flight_value_per_account: u64::MAX,
            remembered_per_account: 1_500_000,
            settlements_per_account: 10_000,
            claims_per_account: 16,
            receiving: 1_024,
            events_unacknowledged: 262_144,
            log_bytes: 8 << 20,
            batches_in_flight: 64,
        }
    }
}

/// The durations of the time rules, in milliseconds.
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
