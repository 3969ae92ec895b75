//! `[limits]`: how much of anything peers may use, by the names of [`Limits`].

use super::problem::Collector;
use super::section::Section;
use ilp_core::Limits;

/// One of the limits.
enum Field<'l> {
    U32(&'l mut u32),
    U64(&'l mut u64),
    Usize(&'l mut usize),
}

impl Field<'_> {
    /// The largest value it can hold.
    fn max(&self) -> u64 {
        match self {
            Self::U32(_) => u32::MAX.into(),
            Self::U64(_) => u64::MAX,
            Self::Usize(_) => u64::try_from(usize::MAX).unwrap_or(u64::MAX),
        }
    }

    fn set(self, value: u64) {
        match self {
            Self::U32(field) => *field = u32::try_from(value).unwrap_or(u32::MAX),
            Self::U64(field) => *field = value,
            Self::Usize(field) => *field = usize::try_from(value).unwrap_or(usize::MAX),
        }
    }
}

type Key = (&'static str, fn(&mut Limits) -> Field<'_>);

const KEYS: [Key; 28] = [
    ("frame_bytes", |l| Field::Usize(&mut l.frame_bytes)),
    ("entries_per_packet", |l| Field::Usize(&mut l.entries_per_packet)),
    ("undecodable_packets", |l| Field::U64(&mut l.undecodable_packets)),
    ("unanswered_requests", |l| Field::Usize(&mut l.unanswered_requests)),
    ("fruitless_frames_per_second", |l| Field::U32(&mut l.fruitless_frames_per_second)),
    ("frames_per_turn", |l| Field::Usize(&mut l.frames_per_turn)),
    ("handshakes", |l| Field::Usize(&mut l.handshakes)),
    ("handshake_ms", |l| Field::U32(&mut l.handshake_ms)),
    ("unauthenticated", |l| Field::Usize(&mut l.unauthenticated)),
    ("unauthenticated_ms", |l| Field::U32(&mut l.unauthenticated_ms)),
    ("authentication_failure_ms", |l| Field::U32(&mut l.authentication_failure_ms)),
    ("authentication_failure_doublings", |l| Field::U32(&mut l.authentication_failure_doublings)),
    ("login_ms", |l| Field::U32(&mut l.login_ms)),
    ("ping_ms", |l| Field::U32(&mut l.ping_ms)),
    ("pong_ms", |l| Field::U32(&mut l.pong_ms)),
    ("stall_ms", |l| Field::U32(&mut l.stall_ms)),
    ("output_backlog", |l| Field::Usize(&mut l.output_backlog)),
    ("output_backlog_max", |l| Field::Usize(&mut l.output_backlog_max)),
    ("in_flight_per_account", |l| Field::U32(&mut l.in_flight_per_account)),
    ("in_flight_bytes_per_account", |l| Field::Usize(&mut l.in_flight_bytes_per_account)),
    ("in_flight_value_per_account", |l| Field::U64(&mut l.in_flight_value_per_account)),
    ("remembered_per_account", |l| Field::U32(&mut l.remembered_per_account)),
    ("settlements_per_account", |l| Field::U32(&mut l.settlements_per_account)),
    ("claims_per_account", |l| Field::Usize(&mut l.claims_per_account)),
    ("receiving", |l| Field::U32(&mut l.receiving)),
    ("events_unacknowledged", |l| Field::U64(&mut l.events_unacknowledged)),
    ("log_bytes", |l| Field::Usize(&mut l.log_bytes)),
    ("batches_in_flight", |l| Field::Usize(&mut l.batches_in_flight)),
];

/// What can be set.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    KEYS.map(|(name, _)| name).to_vec()
}

pub(super) fn read(top: &Section<'_>, problems: &mut Collector<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(value) = top.get("limits") else { return limits };
    let Some(table) = value.get_ref().as_table() else {
        top.wrong_type("limits", "a table: [limits] as a line of its own, then lines such as ping_ms = 10000", value, problems);
        return limits;
    };
    let names = KEYS.map(|(name, _)| name);
    let section = Section::new("limits".into(), value.span(), table, &names, problems);
    for (name, field) in KEYS {
        let Some(number) = section.amount(name, problems) else { continue };
        let field = field(&mut limits);
        match number.value {
            0 if name != "authentication_failure_doublings" => {
                problems.error(&number.at, section.say(&format!("{name} is 0: nothing could be done any more")));
            }
            value if value > field.max() => {
                problems.error(&number.at, section.say(&format!("{name} is {value}; the most is {}", field.max())));
            }
            value => field.set(value),
        }
    }
    if limits.output_backlog_max < limits.output_backlog {
        let (max, soft) = (limits.output_backlog_max, limits.output_backlog);
        let why = format!("output_backlog_max is {max}, less than output_backlog with {soft}: peers would be cut off without a warning");
        problems.error(&section.at("output_backlog_max"), section.say(&why));
    }
    limits
}
