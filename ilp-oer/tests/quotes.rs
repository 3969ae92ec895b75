//! Quotes of curves against a search through all amounts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod strategies;

use ilp_oer::{Curve, ilp};
use proptest::prelude::*;
use strategies::*;

/// What arrives for `x`, from the definition: the point on the line, rounded down.
fn by_source(points: &[(u64, u64)], x: u64) -> Option<u64> {
    if let Some((_, y)) = points.iter().find(|(px, _)| *px == x) {
        return Some(*y);
    }
    points.windows(2).find_map(|pair| {
        let [(x0, y0), (x1, y1)] = pair else { return None };
        (*x0 < x && x < *x1).then(|| {
            // The largest y with (y - y0) / (x - x0) <= (y1 - y0) / (x1 - x0).
            (*y0..=*y1).rev().find(|y| (y - y0) * (x1 - x0) <= (y1 - y0) * (x - x0)).unwrap()
        })
    })
}

fn small_points() -> impl Strategy<Value = Vec<(u64, u64)>> {
    (0..20_u64, 0..20_u64, proptest::collection::vec((1..30_u64, 0..30_u64), 0..6)).prop_map(|(x, y, steps)| {
        let mut points = vec![(x, y)];
        for (run, rise) in steps {
            let (x, y) = points[points.len() - 1];
            points.push((x + run, y + rise));
        }
        points
    })
}

proptest! {
    #[test]
    fn quotes_are_those_of_the_definition(points in small_points()) {
        let curve = Curve::new(points.clone()).unwrap();
        let (first, last) = (points[0], points[points.len() - 1]);
        for x in 0..last.0 + 5 {
            prop_assert_eq!(curve.quote_by_source(x), by_source(&points, x), "source {}", x);
        }
        for y in 0..last.1 + 5 {
            let lowest = (first.0..=last.0).find(|x| by_source(&points, *x).unwrap() >= y);
            let expected = if y < first.1 { None } else { lowest };
            prop_assert_eq!(curve.quote_by_destination(y), expected, "destination {}", y);
        }
    }

    #[test]
    fn a_decoded_curve_quotes_like_an_owned_one(
        curve in curve(), prefix in address(), expires_at in timestamp(), amount in any::<u64>(),
    ) {
        let packet = ilp::Packet::LiquidityResponse(ilp::LiquidityResponse {
            liquidity_curve: curve.as_points(),
            applies_to_prefix: prefix.as_addr(),
            source_hold_duration: 0,
            expires_at,
        });
        let bytes = packet.to_vec().unwrap();
        let Ok(ilp::Packet::LiquidityResponse(decoded)) = ilp::Packet::decode(&bytes) else { panic!() };
        let middle = curve.iter().nth(curve.iter().len() / 2);
        for amount in [amount, amount % 64, middle.map_or(0, |(x, _)| x), middle.map_or(0, |(_, y)| y)] {
            prop_assert_eq!(decoded.liquidity_curve.quote_by_source(amount), curve.quote_by_source(amount));
            prop_assert_eq!(decoded.liquidity_curve.quote_by_destination(amount), curve.quote_by_destination(amount));
        }
    }

    #[test]
    fn the_two_quotes_fit_each_other_at_any_size(curve in curve(), share in 0..=1000_u64) {
        let (Some((x0, y0)), Some((x1, y1))) = (curve.iter().next(), curve.iter().last()) else { return Ok(()) };
        let x = x0 + (x1 - x0) / 1000 * share;
        let arrives = curve.quote_by_source(x).unwrap();
        prop_assert!((y0..=y1).contains(&arrives));
        let needed = curve.quote_by_destination(arrives).unwrap();
        prop_assert!(needed <= x);
        prop_assert!(curve.quote_by_source(needed).unwrap() >= arrives);
        if needed > x0 {
            prop_assert!(curve.quote_by_source(needed - 1).unwrap() < arrives);
        }
    }
}
