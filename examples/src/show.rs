//! Numbers and tables for people to read.

use ilp_core::Asset;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// An amount of base units in the asset's own unit, every digit of it: `-1,234.500000 XRP`. With a sign in front if `signed`.
pub fn units(base_units: i128, asset: &Asset, signed: bool) -> String {
    let scale = usize::from(asset.scale);
    let digits = format!("{:0>width$}", base_units.unsigned_abs(), width = scale.saturating_add(1));
    let (whole, fraction) = digits.split_at_checked(digits.len().saturating_sub(scale)).unwrap_or((&digits, ""));
    let sign = match base_units {
        ..0 => "-",
        0 => "",
        1.. if signed => "+",
        1.. => "",
    };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction} {}", grouped(whole), asset.code)
}

/// How many there are of a thing: `1 listener`, `2 listeners`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A count with a comma every three digits.
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len().saturating_mul(2));
    for (digit, behind) in digits.chars().zip((0..digits.len()).rev()) {
        out.push(digit);
        if behind > 0 && behind % 3 == 0 {
            out.push(',');
        }
    }
    out
}

/// Bytes in the largest unit that leaves something before the point: `640 B`, `1.5 MB`.
pub fn bytes(number: u64) -> String {
    let (unit, name) = match number {
        0..1_000 => return format!("{number} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", grouped(&(number / unit).to_string()), number % unit * 10 / unit)
}

/// A duration as `850 ms`, `12.3 s` or `2 min 05 s`.
pub fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", millis / 100),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// How many of something there were in a second; all of them if no time has passed.
pub fn per_second(number: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(number).saturating_mul(1_000_000) / micros).unwrap_or(u64::MAX)
}

/// Rows in columns as wide as they need to be: the first is on the left, the others are on the right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a headline.
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).into()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

/// Each line is indented by two and ends with a newline.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> = (0..columns).map(|column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (text, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(line, "  {text:<width$}")?,
                    _ => write!(line, "   {text:>width$}")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_every_digit_of_the_scale() {
        let xrp = Asset::new("XRP", 6);
        for (amount, shown) in [(0, "0.000000 XRP"), (1, "0.000001 XRP"), (-1, "-0.000001 XRP"), (-1_234_567_890, "-1,234.567890 XRP")] {
            assert_eq!(units(amount, &xrp, false), shown);
        }
        assert_eq!(units(5, &xrp, true), "+0.000005 XRP");
        assert_eq!(units(0, &xrp, true), "0.000000 XRP");
        assert_eq!(units(1_000, &Asset::new("JPY", 0), false), "1,000 JPY");
        assert!(units(i128::MIN, &Asset::new("X", 255), false).starts_with("-0.000"));
    }

    #[test]
    fn large_numbers_are_grouped_by_three() {
        for (number, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(count(number), shown);
        }
    }

    #[test]
    fn bytes_and_durations_take_the_unit_that_fits() {
        for (number, shown) in [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_999_999, "1.9 MB"), (u64::MAX, "18,446,744,073.7 GB")] {
            assert_eq!(bytes(number), shown);
        }
        for (millis, shown) in [(0, "0 ms"), (999, "999 ms"), (12_345, "12.3 s"), (125_000, "2 min 05 s")] {
            assert_eq!(duration(Duration::from_millis(millis)), shown);
        }
        assert_eq!(per_second(500, Duration::from_millis(250)), 2_000);
        assert_eq!(per_second(5, Duration::ZERO), 5_000_000);
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["account", "before", "after"]);
        table.row(["bob".into(), "0".into(), "+1,000".into()]);
        table.row(["connector".into(), "10".into(), "7".into()]);
        assert_eq!(table.to_string(), "  account     before    after\n  bob              0   +1,000\n  connector       10        7\n");
    }
}
