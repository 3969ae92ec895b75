//! Liquidity curves.

use std::fmt;
use thiserror::Error;

/// A borrowed liquidity curve: points (source amount, destination amount), the first strictly increasing, the second never
/// decreasing (`LiquidityCurve` of InterledgerQuotingProtocol).
///
/// Between points it is linear. Below the first and above the last point there is no quote.
#[derive(Clone, Copy)]
pub struct CurvePoints<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    /// As on the wire, without the count: x and y, 8 bytes each.
    Wire(&'a [[u8; 16]]),
    Owned(&'a [(u64, u64)]),
}

impl<'a> CurvePoints<'a> {
    /// For points whose order was checked.
    #[inline]
    pub(crate) const fn from_checked(points: &'a [[u8; 16]]) -> Self {
        Self(Repr::Wire(points))
    }

    /// How many points.
    #[inline]
    pub const fn len(self) -> usize {
        match self.0 {
            Repr::Wire(points) => points.len(),
            Repr::Owned(points) => points.len(),
        }
    }

    /// Whether there is no point, and so no quote for anything.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The point of that number, from 0.
    #[inline]
    pub fn get(self, index: usize) -> Option<(u64, u64)> {
        match self.0 {
            Repr::Wire(points) => points.get(index).map(split_point),
            Repr::Owned(points) => points.get(index).copied(),
        }
    }

    /// All points in order.
    pub fn iter(self) -> Points<'a> {
        Points { curve: self, next: 0 }
    }

    /// What arrives when `source` is sent, rounded down; none outside the curve.
    pub fn quote_by_source(self, source: u64) -> Option<u64> {
        let index = self.partition_point(|(x, _)| x < source);
        let (x1, y1) = self.get(index)?;
        if x1 == source {
            return Some(y1);
        }
        let (x0, y0) = self.get(index.checked_sub(1)?)?;
        let (run, rise) = (u128::from(x1 - x0), u128::from(y1 - y0));
        let gain = u128::from(source - x0) * rise / run;
        y0.checked_add(u64::try_from(gain).ok()?)
    }

    /// The least that must be sent for at least `destination` to arrive; none outside the curve.
    pub fn quote_by_destination(self, destination: u64) -> Option<u64> {
        let index = self.partition_point(|(_, y)| y < destination);
        let (x1, y1) = self.get(index)?;
        let Some(before) = index.checked_sub(1) else {
            return (y1 == destination).then_some(x1);
        };
        let (x0, y0) = self.get(before)?;
        // y0 < destination <= y1, so the line rises here.
        let (run, rise) = (u128::from(x1 - x0), u128::from(y1 - y0));
        let step = (u128::from(destination - y0) * run).div_ceil(rise);
        x0.checked_add(u64::try_from(step).ok()?)
    }

    /// An owned copy.
    pub fn to_curve(self) -> Curve {
        Curve(self.iter().collect())
    }

    /// The number of the first point for which `before` is false.
    fn partition_point(self, before: impl Fn((u64, u64)) -> bool) -> usize {
        match self.0 {
            Repr::Wire(points) => points.partition_point(|point| before(split_point(point))),
            Repr::Owned(points) => points.partition_point(|point| before(*point)),
        }
    }
}

/// The points of a curve in order.
#[derive(Debug, Clone)]
pub struct Points<'a> {
    curve: CurvePoints<'a>,
    next: usize,
}

impl Iterator for Points<'_> {
    type Item = (u64, u64);

    #[inline]
    fn next(&mut self) -> Option<(u64, u64)> {
        let point = self.curve.get(self.next)?;
        self.next += 1;
        Some(point)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.curve.len().saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Points<'_> {}

impl<'a> IntoIterator for CurvePoints<'a> {
    type Item = (u64, u64);
    type IntoIter = Points<'a>;

    fn into_iter(self) -> Points<'a> {
        self.iter()
    }
}

impl PartialEq for CurvePoints<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for CurvePoints<'_> {}

impl fmt::Debug for CurvePoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An owned liquidity curve; see [`CurvePoints`] for the rules and the quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Curve(Vec<(u64, u64)>);

impl Curve {
    /// A curve through these points, in order.
    pub fn new(points: Vec<(u64, u64)>) -> Result<Self, InvalidCurve> {
        check_order(points.iter().copied())?;
        Ok(Self(points))
    }

    /// Borrowed.
    #[inline]
    pub fn as_points(&self) -> CurvePoints<'_> {
        CurvePoints(Repr::Owned(&self.0))
    }

    /// All points in order.
    pub fn iter(&self) -> Points<'_> {
        self.as_points().iter()
    }

    /// See [`CurvePoints::quote_by_source`].
    pub fn quote_by_source(&self, source: u64) -> Option<u64> {
        self.as_points().quote_by_source(source)
    }

    /// See [`CurvePoints::quote_by_destination`].
    pub fn quote_by_destination(&self, destination: u64) -> Option<u64> {
        self.as_points().quote_by_destination(destination)
    }
}

impl<'a> IntoIterator for &'a Curve {
    type Item = (u64, u64);
    type IntoIter = Points<'a>;

    fn into_iter(self) -> Points<'a> {
        self.iter()
    }
}

impl<'a> From<&'a Curve> for CurvePoints<'a> {
    #[inline]
    fn from(curve: &'a Curve) -> Self {
        curve.as_points()
    }
}

/// Points in an order that no curve has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("curve is not increasing at point {0}")]
pub struct InvalidCurve(
    /// Number of the point, from 0, that doesn't follow on the one before.
    pub usize,
);

/// Refuses points whose x doesn't increase or whose y decreases.
#[inline]
pub(crate) fn check_order(points: impl Iterator<Item = (u64, u64)>) -> Result<(), InvalidCurve> {
    let mut last: Option<(u64, u64)> = None;
    for (index, (x, y)) in points.enumerate() {
        if last.is_some_and(|(x0, y0)| x <= x0 || y < y0) {
            return Err(InvalidCurve(index));
        }
        last = Some((x, y));
    }
    Ok(())
}

#[inline]
pub(crate) fn split_point(point: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_be_bytes(*point);
    let [x, y] = [both >> 64, both & u128::from(u64::MAX)];
    // Half of 128 bits each, so neither conversion can fail.
    (u64::try_from(x).unwrap_or(u64::MAX), u64::try_from(y).unwrap_or(u64::MAX))
}

impl serde::Serialize for Curve {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(x, y)| [super::Amount::new(x), super::Amount::new(y)]))
    }
}

impl<'de> serde::Deserialize<'de> for Curve {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = <Vec<[super::Amount; 2]>>::deserialize(deserializer)?;
        let points = points.into_iter().map(|[x, y]| (x.get(), y.get())).collect();
        Self::new(points).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_must_increase_and_y_must_not_decrease() {
        for points in [vec![], vec![(5, 9)], vec![(0, 0), (1, 0), (2, 7), (3, 7)]] {
            assert!(Curve::new(points).is_ok());
        }
        assert_eq!(Curve::new(vec![(1, 0), (1, 5)]), Err(InvalidCurve(1)));
        assert_eq!(Curve::new(vec![(0, 0), (2, 0), (1, 5)]), Err(InvalidCurve(2)));
        assert_eq!(Curve::new(vec![(0, 5), (1, 4)]), Err(InvalidCurve(1)));
    }

    #[test]
    fn there_is_no_quote_outside_the_curve() {
        let curve = Curve::new(vec![(10, 20), (20, 40)]).unwrap();
        for (source, destination) in [(9, None), (10, Some(20)), (15, Some(30)), (20, Some(40)), (21, None)] {
            assert_eq!(curve.quote_by_source(source), destination);
        }
        for (destination, source) in [(19, None), (20, Some(10)), (31, Some(16)), (40, Some(20)), (41, None)] {
            assert_eq!(curve.quote_by_destination(destination), source);
        }
        assert_eq!(Curve::default().quote_by_source(0), None);
        assert_eq!(Curve::default().quote_by_destination(0), None);
    }

    #[test]
    fn a_flat_stretch_costs_its_beginning() {
        let curve = Curve::new(vec![(0, 0), (10, 5), (100, 5)]).unwrap();
        assert_eq!(curve.quote_by_destination(5), Some(10));
        assert_eq!(curve.quote_by_source(99), Some(5));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let curve = Curve::new(vec![(0, 0), (u64::MAX, u64::MAX)]).unwrap();
        for amount in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert_eq!(curve.quote_by_source(amount), Some(amount));
            assert_eq!(curve.quote_by_destination(amount), Some(amount));
        }
    }

    #[test]
    fn curve_in_json_is_pairs_of_decimal_text() {
        let curve = Curve::new(vec![(0, 0), (u64::MAX, 1)]).unwrap();
        let json = r#"[["0","0"],["18446744073709551615","1"]]"#;
        assert_eq!(serde_json::to_string(&curve).unwrap(), json);
        assert_eq!(serde_json::from_str::<Curve>(json).unwrap(), curve);
        for json in [r#"[["0"]]"#, r#"[["0","0","0"]]"#, r#"[["1","1"],["0","2"]]"#, "[[0,0]]"] {
            assert!(serde_json::from_str::<Curve>(json).is_err(), "{json}");
        }
    }
}
