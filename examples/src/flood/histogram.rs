//! A histogram of durations with fixed buckets.

use std::time::Duration;

/// Counts durations in buckets that are at most 1/128 wide of what they hold, from 1 ns to half an hour: one addition a value, and
/// no allocation after the first.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; bucket(VALUE_MAX).saturating_add(1)], count: 0 }
    }

    /// Counts a duration in nanoseconds; longer ones than half an hour as half an hour.
    pub(crate) fn record(&mut self, ns: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket(ns.min(VALUE_MAX))) {
            *bucket += 1;
            self.count += 1;
        }
    }

    /// What so many of a thousand don't exceed (999: all but the slowest thousandth), rounded up to the end of its bucket. `None` if
    /// nothing has been counted.
    pub(crate) fn per_mille(&self, per_mille: u64) -> Option<Duration> {
        let rank = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return Some(Duration::from_nanos(bucket_end(index)));
            }
        }
        None
    }
}

/// Values below 128 have a bucket each; above, each power of two is cut into 128 buckets.
fn bucket(value: u64) -> usize {
    let shift = magnitude(value);
    let within = value >> shift;
    usize::try_from(u64::from(shift) * SUB_BUCKETS + within).unwrap_or(usize::MAX)
}

/// How many low bits of a value don't matter.
fn magnitude(value: u64) -> u32 {
    (u64::BITS - value.leading_zeros()).saturating_sub(SUB_BUCKET_BITS + 1)
}

/// The largest value of a bucket.
fn bucket_end(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    // From the second power of two on, `within` is 128 to 255: an index holds its shift, plus one.
    let shift = u32::try_from((index / SUB_BUCKETS).saturating_sub(1)).unwrap_or(u32::MAX);
    let within = index - u64::from(shift) * SUB_BUCKETS;
    (within + 1).checked_shl(shift).map_or(u64::MAX, |end| end - 1)
}

const SUB_BUCKET_BITS: u32 = 7;
const SUB_BUCKETS: u64 = 1 << SUB_BUCKET_BITS;
/// Half an hour and a bit.
const VALUE_MAX: u64 = (1 << 41) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_without_gaps_and_at_most_a_128th_wide() {
        let mut last = 0;
        for value in (0..100_000).chain((17..41).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1])) {
            let index = bucket(value);
            assert!(index == last || index == last + 1 || value >= 100_000, "{value}");
            last = index;
            let end = bucket_end(index);
            assert!(end >= value && end - value <= value / 128, "{value} is in a bucket up to {end}");
            assert_eq!(bucket(end), index);
            assert_eq!(bucket(end + 1), index + 1);
        }
        assert_eq!(bucket_end(bucket(VALUE_MAX)), VALUE_MAX);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let mut histogram = Histogram::new();
        for value in 1..=1000 {
            histogram.record(value * 1000);
        }
        for (per_mille, expected) in [(500, 500_000), (990, 990_000), (999, 999_000), (1000, 1_000_000), (0, 1_000)] {
            let got = histogram.per_mille(per_mille).unwrap().as_nanos();
            assert!(got >= expected && got - expected <= expected / 128, "{per_mille}: {got}");
        }
        assert_eq!(histogram.count, 1000);
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles_and_a_huge_value_is_counted_as_the_largest() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.per_mille(500), None);
        histogram.record(u64::MAX);
        assert_eq!(histogram.per_mille(500), Some(Duration::from_nanos(VALUE_MAX)));
    }
}
