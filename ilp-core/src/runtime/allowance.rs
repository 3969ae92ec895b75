//! How much a connection may ask of us without moving money.

/// Frames that a connection may still send although they bring no payment any further: pings, messages, refused requests, what can't be
/// decoded. Refills with time; transfers that are taken refill it too, so that a busy peer may also be refused now and then.
///
/// Without it a peer could keep the one task busy that serves all others, at no cost: a refused prepare moves none of its money.
#[derive(Debug)]
pub(super) struct Allowance {
    left: i64,
    per_second: i64,
    /// Since the last refill, in thousandths of a frame.
    fraction: i64,
}

impl Allowance {
    /// For a connection whose peer isn't known: as little as it takes to say who it is. It never refills.
    pub(super) fn of_stranger() -> Self {
        Self { left: STRANGERS, per_second: 0, fraction: 0 }
    }

    /// For a connection that is an account's.
    pub(super) fn of_account(per_second: u32) -> Self {
        let per_second = i64::from(per_second);
        Self { left: per_second, per_second, fraction: 0 }
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.left <= 0
    }

    /// How many frames may be read at once: not many more than there is allowance for, lest a debt be run up in one turn.
    pub(super) fn frames(&self, max: usize) -> usize {
        let enough = usize::try_from(self.left.max(0)).unwrap_or(usize::MAX).saturating_add(FRAMES_MIN);
        max.min(enough)
    }

    /// Frames came that brought nothing.
    pub(super) fn spend(&mut self, frames: u64) {
        self.left = self.left.saturating_sub_unsigned(frames);
    }

    /// A transfer was taken, or an end of one.
    pub(super) fn earn(&mut self) {
        self.left = self.left.saturating_add(1).min(self.per_second.max(self.left));
    }

    /// So much time has passed.
    pub(super) fn refill(&mut self, elapsed_ms: i64) {
        let thousandths = self.per_second.saturating_mul(elapsed_ms.clamp(0, 1_000)).saturating_add(self.fraction);
        self.fraction = thousandths.rem_euclid(1_000);
        self.left = self.left.saturating_add(thousandths.div_euclid(1_000)).min(self.per_second.max(self.left));
    }
}

/// A login takes one or two.
const STRANGERS: i64 = 64;
/// A turn costs more than so few frames.
const FRAMES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_refills_what_a_second_may_take_and_no_more() {
        let mut allowance = Allowance::of_account(2_000);
        allowance.spend(2_500);
        assert!(allowance.is_used_up());
        for _ in 0..3 {
            allowance.refill(100);
        }
        assert_eq!((allowance.left, allowance.frames(1_024)), (100, 132));
        allowance.refill(1_000_000);
        assert_eq!(allowance.left, 2_000);
    }

    #[test]
    fn little_times_add_up_and_transfers_earn() {
        let mut allowance = Allowance::of_account(10);
        allowance.spend(10);
        for _ in 0..100 {
            allowance.refill(1);
        }
        assert_eq!(allowance.left, 1);
        (0..20).for_each(|_| allowance.earn());
        assert_eq!(allowance.left, 10);
    }

    #[test]
    fn a_stranger_has_little_and_gets_no_more() {
        let mut allowance = Allowance::of_stranger();
        allowance.spend(64);
        allowance.refill(1_000);
        assert!(allowance.is_used_up());
    }
}
