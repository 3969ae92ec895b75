//! Instants, on the wire and as text.

use super::text_serde::text_serde;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// An instant in milliseconds since 1970-01-01T00:00:00.000Z, from year 0000 to year 9999 of the proleptic Gregorian calendar.
///
/// Wire form: `YYYYMMDDHHMMSS.fffZ` (`Timestamp` of InterledgerTypes, a `GeneralizedTime` in UTC). Text form: ISO-8601,
/// `YYYY-MM-DDTHH:MM:SS.fffZ`. Both have exactly these digits, name a date that exists, and know no leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0000-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// Length of the wire form in bytes, without its length byte.
    pub const WIRE_LEN: usize = 19;

    /// An instant so many milliseconds after (negative: before) 1970; refuses years outside 0000 to 9999.
    pub const fn from_unix_millis(millis: i64) -> Result<Self, InvalidTimestamp> {
        if millis < Self::MIN.0 || millis > Self::MAX.0 {
            return Err(InvalidTimestamp);
        }
        Ok(Self(millis))
    }

    /// Milliseconds since 1970, negative before.
    #[inline]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// So many milliseconds later, at most [`MAX`](Self::MAX) and at least [`MIN`](Self::MIN).
    #[inline]
    pub const fn saturating_add_millis(self, millis: i64) -> Self {
        Self::clamped(self.0.saturating_add(millis))
    }

    /// So many milliseconds earlier, at most [`MAX`](Self::MAX) and at least [`MIN`](Self::MIN).
    #[inline]
    pub const fn saturating_sub_millis(self, millis: i64) -> Self {
        Self::clamped(self.0.saturating_sub(millis))
    }

    /// Milliseconds from `other` to this, negative if this is the earlier one. Can't overflow.
    #[inline]
    pub const fn millis_since(self, other: Self) -> i64 {
        self.0 - other.0
    }

    /// Reads the wire form.
    #[inline]
    pub fn parse_wire(bytes: &[u8]) -> Result<Self, InvalidTimestamp> {
        // Much of the work of decoding a prepare: eight characters at a time, as two words and a rest.
        let Some((date, rest)) = bytes.split_first_chunk() else { return Err(InvalidTimestamp) };
        let Some((time, [f2, f3, b'Z'])) = rest.split_first_chunk() else { return Err(InvalidTimestamp) };
        let (date, time) = (pairs(*date, *b"00000000"), pairs(*time, *b"000000.0"));
        let (f2, f3) = (f2.wrapping_sub(b'0'), f3.wrapping_sub(b'0'));
        let (Some([century, of_century, month, day]), Some([hour, minute, second, f1]), 0..10, 0..10) = (date, time, f2, f3) else {
            return Err(InvalidTimestamp);
        };
        if f1 > 9 {
            // What should be the point was another character.
            return Err(InvalidTimestamp);
        }
        let (year, millis) = (century * 100 + of_century, f1 * 100 + u32::from(f2) * 10 + u32::from(f3));
        if hour > 23 || minute > 59 || second > 59 || day == 0 || day > days_in_month(year, month) {
            return Err(InvalidTimestamp);
        }
        let in_day = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
        Ok(Self(i64::from(days_from_year_zero(year, month, day)) * DAY_MILLIS + i64::from(in_day) + Self::MIN.0))
    }

    /// Writes the wire form.
    pub fn write_wire(&self) -> [u8; Self::WIRE_LEN] {
        let [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, f1, f2, f3] = self.to_digits();
        [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'.', f1, f2, f3, b'Z']
    }

    const fn clamped(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// The 17 digits that both forms have in common, as ASCII.
    fn to_digits(self) -> [u8; 17] {
        // Both quotients fit by far, whatever the instant: it is between `MIN` and `MAX`.
        let since_zero = self.0 - Self::MIN.0;
        let days = u32::try_from(since_zero / DAY_MILLIS).unwrap_or(0);
        let in_day = u32::try_from(since_zero % DAY_MILLIS).unwrap_or(0);
        let (year, month, day) = civil_from_days(days);
        let (second, milli) = (in_day / 1000, in_day % 1000);
        let (minute, hour) = (second / 60 % 60, second / 3600);
        let second = second % 60;
        [
            year / 1000,
            year / 100 % 10,
            year / 10 % 10,
            year % 10,
            month / 10,
            month % 10,
            day / 10,
            day % 10,
            hour / 10,
            hour % 10,
            minute / 10,
            minute % 10,
            second / 10,
            second % 10,
            milli / 100,
            milli / 10 % 10,
            milli % 10,
        ]
        .map(|digit| b'0'.wrapping_add(u8::try_from(digit).unwrap_or(0)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, f1, f2, f3] = self.to_digits();
        let text = [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1, f2, f3, b'Z'];
        f.pad(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1, f2, f3, b'Z'] =
            *text.as_bytes()
        else {
            return Err(InvalidTimestamp);
        };
        Self::parse_wire(&[y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'.', f1, f2, f3, b'Z'])
    }
}

text_serde!(Timestamp, "a time such as 2017-09-14T13:23:52.000Z");

/// Not an instant in one of the two forms, or not between the years 0000 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a valid time")]
pub struct InvalidTimestamp;

/// The four numbers that eight characters make, two digits each; a character that isn't one up to nine above its `zero` makes none.
#[inline]
fn pairs(characters: [u8; 8], zero: [u8; 8]) -> Option<[u32; 4]> {
    let digits = u64::from_le_bytes(characters) ^ u64::from_le_bytes(zero);
    // Adding 0x76 to more than 9 sets the highest bit, as a character beyond ASCII has it set.
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let [a, _, b, _, c, _, d, _] = digits.wrapping_mul(10).wrapping_add(digits >> 8).to_le_bytes();
    Some([a, b, c, d].map(u32::from))
}

const DAY_MILLIS: i64 = 86_400_000;
/// Days of 400 Gregorian years.
const ERA_DAYS: u32 = 146_097;
/// 0000-01-01 is so many days before 0000-03-01.
const JANUARY_AND_FEBRUARY: u32 = 60;

#[inline]
fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// Days from 0000-01-01. Years are counted from March on, so that a leap day is the last of its year; then the days before a
/// month are a straight line, rounded: (153 m + 2) / 5.
#[inline]
fn days_from_year_zero(year: u32, month: u32, day: u32) -> u32 {
    // One era ahead, so that January of year 0 needs no negative number.
    let year = if month > 2 { year + 400 } else { year + 399 };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + (day - 1);
    days + JANUARY_AND_FEBRUARY - ERA_DAYS
}

/// The inverse of [`days_from_year_zero`].
fn civil_from_days(days: u32) -> (u32, u32, u32) {
    let days = days + ERA_DAYS - JANUARY_AND_FEBRUARY;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + carry - 400, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_one_later_than_the_day_before() {
        let mut days = 0;
        for year in 0..=9999 {
            for month in 1..=12 {
                let wire = format!("{year:04}{month:02}01000000.000Z");
                let time = Timestamp::parse_wire(wire.as_bytes()).unwrap();
                assert_eq!(time.unix_millis(), Timestamp::MIN.0 + i64::from(days) * DAY_MILLIS, "{wire}");
                assert_eq!(time.write_wire(), wire.as_bytes());
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_from_year_zero(year, month, day), days);
                    assert_eq!(civil_from_days(days), (year, month, day));
                    days += 1;
                }
            }
        }
        assert_eq!(i64::from(days) * DAY_MILLIS + Timestamp::MIN.0, Timestamp::MAX.0 + 1);
    }

    #[test]
    fn known_instants() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2017-09-14T13:23:52.000Z", 1_505_395_432_000),
            ("2038-01-19T03:14:07.999Z", 2_147_483_647_999),
            ("9999-12-31T23:59:59.999Z", Timestamp::MAX.0),
            ("0000-01-01T00:00:00.000Z", Timestamp::MIN.0),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().unix_millis(), millis);
            assert_eq!(Timestamp::from_unix_millis(millis).unwrap().to_string(), text);
        }
    }

    #[test]
    fn dates_and_forms_that_do_not_exist_are_refused() {
        for text in [
            "20170229132352.789Z",
            "20170230132352.789Z",
            "19000229000000.000Z",
            "20170431000000.000Z",
            "20170014132352.789Z",
            "20171314132352.789Z",
            "20170900132352.789Z",
            "20170932132352.789Z",
            "20170914240000.000Z",
            "20170914136052.789Z",
            "20161231235960.000Z",
            "20170914132352.789z",
            "20170914132352,789Z",
            "2017091413235a.789Z",
            "20170914132352.7890Z",
            " 0170914132352.789Z",
            "-0170914132352.789Z",
            "20170914132352.789",
            "",
            "2017",
            "2017-09-14T13:23:52.789Z",
        ] {
            assert_eq!(Timestamp::parse_wire(text.as_bytes()), Err(InvalidTimestamp), "{text:?}");
        }
        for text in ["2017-09-14T13:23:52Z", "2017-09-14 13:23:52.000Z", "2017-09-14T13:23:52.000+00:00", "20170914132352.789Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text:?}");
        }
        assert_eq!(Timestamp::from_unix_millis(Timestamp::MIN.0 - 1), Err(InvalidTimestamp));
        assert_eq!(Timestamp::from_unix_millis(i64::MAX), Err(InvalidTimestamp));
    }

    #[test]
    fn every_byte_of_the_digits_must_be_one() {
        let good = b"20111011121310.101Z";
        for at in (0..14).chain(15..18) {
            for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                let mut bytes = *good;
                bytes[at] = byte;
                assert_eq!(Timestamp::parse_wire(&bytes), Err(InvalidTimestamp), "{byte} at {at}");
            }
        }
        assert!(Timestamp::parse_wire(good).is_ok());
    }

    #[test]
    fn arithmetic_stays_within_the_range() {
        assert_eq!(Timestamp::MAX.saturating_add_millis(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_add_millis(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.saturating_sub_millis(1), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.saturating_sub_millis(i64::MIN), Timestamp::MAX);
        assert_eq!(Timestamp(5).saturating_sub_millis(7), Timestamp(-2));
        assert_eq!(Timestamp::MIN.millis_since(Timestamp::MAX), Timestamp::MIN.0 - Timestamp::MAX.0);
    }
}
