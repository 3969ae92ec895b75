//! Values as text.

use crate::target::Report;
use ilp_core::AccountId;
use ilp_oer::value::{Octets, Text};
use ilp_oer::{Addr, Address, Amount, Condition, ErrorCode, Timestamp, TransferId};
use std::fmt::Display;
use std::str::FromStr;

pub(super) const WORDS: &[&str] =
    &["test", "bob", "shop", "T", "Z", "-", ":", ".", "2017", "02", "29", "F00", "T04", "R99", "00112233", "aabbccddeeff"];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let long = ["a".repeat(1023), "a.".repeat(511), "a".repeat(63)];
    let id = "00112233445566778899aabbccddeeff";
    let condition = id.repeat(2);
    let seeds: [(u8, &[&str]); 9] = [
        (0, &["test.bob.shop", "test.bob.", "g", "a~b_c-d.Z9", &long[0], &long[1]]),
        (1, &["2017-09-14T13:23:52.000Z", "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "2016-02-29T00:00:00.001Z"]),
        (2, &["20170914132352.000Z", "00000101000000.000Z", "99991231235959.999Z", "20000229235959.999Z"]),
        (3, &["0", "1", "18446744073709551615", "18446744073709551616", "007"]),
        (4, &[id]),
        (5, &[&condition]),
        (6, &["F00", "T04", "R99", "L53", "abc"]),
        (7, &["alice", "a-b_c~d", &long[2]]),
        (8, &["", "00ff", &condition, "Sample name"]),
    ];
    seeds.iter().flat_map(|(choice, texts)| texts.iter().map(|text| [&[*choice][..], text.as_bytes()].concat())).collect()
}

pub(super) fn run(input: &[u8], report: &mut Report) {
    let Some((choice, bytes)) = input.split_first() else { return };
    if choice % 9 == 0 {
        address(bytes, report);
    }
    if choice % 9 == 2 {
        wire_time(bytes, report);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    report.envelope = true;
    match choice % 9 {
        1 => time(text, report),
        3 => same::<Amount>(text, text == "0" || (decimal(text) && !text.starts_with('0') && text.parse::<u64>().is_ok()), report),
        4 => same::<TransferId>(text, text.len() == 32 && lower_hex(text), report),
        5 => same::<Condition>(text, text.len() == 64 && lower_hex(text), report),
        6 => {
            if let Ok(code) = text.parse::<ErrorCode>() {
                report.full = true;
                assert_eq!((code.as_str(), code.as_bytes().len()), (text, 3));
            }
        }
        7 => {
            let good = (1..=63).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_~".contains(c));
            let id = AccountId::new(3, text);
            assert_eq!(id.is_ok(), good, "{text:?}");
            report.full = id.is_ok_and(|id| id.name() == text && id.parallelism() == 3);
        }
        8 => {
            same::<Octets>(text, text.len() % 2 == 0 && lower_hex(text), report);
            assert_eq!(Text::new(text).is_ok(), text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
        }
        _ => {}
    }
    report.feature((choice % 9, report.full));
}

/// What is read is shown again as it was, and only what the rule allows is read.
fn same<T: FromStr + Display>(text: &str, good: bool, report: &mut Report) {
    let value = text.parse::<T>();
    assert_eq!(value.is_ok(), good, "{text:?}");
    if let Ok(value) = value {
        report.full = true;
        assert_eq!(value.to_string(), text);
    }
}

fn address(bytes: &[u8], report: &mut Report) {
    let good = (1..=1023).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_~.".contains(byte));
    let address = Addr::from_bytes(bytes);
    assert_eq!(address.is_ok(), good, "{} bytes: {:?}", bytes.len(), String::from_utf8_lossy(bytes));
    let Ok(address) = address else { return };
    report.full = true;
    let owned = address.to_address();
    assert_eq!((owned.as_str().as_bytes(), owned.as_addr()), (bytes, address));
    let text = address.as_str();
    for prefix in ["test", "test.bob", "test.bob.", "a", "a.", text].map(|prefix| Addr::new(prefix).unwrap()) {
        let whole = prefix.as_str().trim_end_matches('.');
        let below = text.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'));
        let covers = text == prefix.as_str() || (below && (!prefix.as_str().ends_with('.') || text.starts_with(prefix.as_str())));
        // Prefixes that end in several dots are nobody's.
        if !prefix.as_str().ends_with("..") {
            assert_eq!(address.has_prefix(prefix), covers, "{text} below {prefix}");
        }
    }
    match owned.join("x.y") {
        Ok(joined) => assert!(joined.as_addr().has_prefix(Addr::new("test").unwrap()) == address.has_prefix(Addr::new("test").unwrap())),
        Err(_) => assert!(text.len() + 4 > 1023, "{text}"),
    }
    assert_eq!(text.parse::<Address>().unwrap(), owned);
}

fn time(text: &str, report: &mut Report) {
    let wire = text.as_bytes().iter().enumerate().filter(|(at, _)| ![4, 7, 10, 13, 16].contains(at)).map(|(_, byte)| *byte);
    let wire: Vec<u8> = wire.collect();
    let signs = text.len() == 24
        && [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')].iter().all(|(at, sign)| text.as_bytes()[*at] == *sign);
    let result = text.parse::<Timestamp>();
    assert_eq!(result.ok(), millis_by_calendar(&wire).filter(|_| signs).map(|ms| Timestamp::from_unix_millis(ms).unwrap()), "{text:?}");
    if let Ok(time) = result {
        report.full = true;
        assert_eq!(time.to_string(), text);
    }
}

fn wire_time(bytes: &[u8], report: &mut Report) {
    let result = Timestamp::parse_wire(bytes);
    assert_eq!(result.ok().map(Timestamp::unix_millis), millis_by_calendar(bytes), "{:?}", String::from_utf8_lossy(bytes));
    if let Ok(time) = result {
        report.full = true;
        assert_eq!(time.write_wire(), bytes);
    }
}

/// The milliseconds of a wire form since 1970, counted year by year; `None` if it is none.
fn millis_by_calendar(bytes: &[u8]) -> Option<i64> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.len() == 19 && text.as_bytes()[14] == b'.' && text.ends_with('Z'))?;
    let number = |from: usize, to: usize| text.get(from..to).filter(|digits| decimal(digits)).and_then(|digits| digits.parse::<i64>().ok());
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second, milli) = (number(8, 10)?, number(10, 12)?, number(12, 14)?, number(15, 18)?);
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_of = |month: i64| match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    };
    if day < 1 || day > days_of(month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap_days_before = |year: i64| if year == 0 { 0 } else { (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 };
    let days = |year: i64| year * 365 + leap_days_before(year);
    let days = days(year) - days(1970) + (1..month).map(days_of).sum::<i64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + milli)
}

fn decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
