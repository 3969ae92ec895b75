//! Single values: numbers, assets, addresses, names that were meant.

use ilp_core::Asset;
use ilp_oer::{Address, InvalidAddress};
use toml::de::DeValue;

/// The first segments that move no real money; all others need `allow_production`.
const TEST_PREFIXES: [&str; 6] = ["test", "example", "private", "local", "self", "peer"];

/// What became of a value that should be a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Number {
    Is(u64),
    /// Why not, to be put behind the key's name.
    Wrong(String),
}

/// A whole number from 0 to `max`, as a decimal text or an integer.
pub(super) fn number(value: &DeValue<'_>, max: u64) -> Number {
    let (digits, radix, found) = match value {
        DeValue::String(text) => (text.as_ref(), 10, format!("\"{}\"", shown(text))),
        DeValue::Integer(integer) => (integer.as_str(), integer.radix(), integer.to_string()),
        DeValue::Float(float) => {
            return Number::Wrong(format!("is {}, but must be a whole number of base units, without a point or exponent", float.as_str()));
        }
        other => return Number::Wrong(format!("must be a whole number from 0 to {max}, not {}", type_name(other))),
    };
    let is_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let negative = digits.strip_prefix('-').is_some_and(|rest| rest.chars().all(|c| c.is_digit(radix)));
    if !is_digits && !negative {
        return Number::Wrong(format!("is {found}, but must be a whole number: digits only, from 0 to {max}"));
    }
    match u64::from_str_radix(digits, radix) {
        Ok(number) if number <= max => Number::Is(number),
        _ => Number::Wrong(format!("is {found}, out of range: it must be from 0 to {max}")),
    }
}

/// A whole number that may be negative, as a decimal text or an integer.
pub(super) fn signed(value: &DeValue<'_>) -> Result<i64, String> {
    let (text, radix) = match value {
        DeValue::String(text) => (text.as_ref(), 10),
        DeValue::Integer(integer) => (integer.as_str(), integer.radix()),
        DeValue::Float(float) => {
            return Err(format!("is {}, but must be a whole number of base units, without a point or exponent", float.as_str()));
        }
        other => return Err(format!("must be a whole number of base units, not {}", type_name(other))),
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(format!("is \"{}\", but must be a whole number: digits only, with a - in front if it is negative", shown(text)));
    }
    let out_of_range = |_| format!("is {}, out of range: it must be from {} to {}", shown(text), i64::MIN, i64::MAX);
    i64::from_str_radix(text, radix).map_err(out_of_range)
}

/// An asset code: `XRP`, `EUR`, …
pub(super) fn asset_code(code: &str) -> Result<(), String> {
    if code.contains('/') {
        return Err(format!("is \"{}\", but has only the code here: the scale goes into scale = …", shown(code)));
    }
    let good = |c: char| c.is_ascii_graphic() && c != '"';
    if code.is_empty() || code.len() > 32 || !code.chars().all(good) {
        return Err(format!("is \"{}\", but must have 1 to 32 visible ASCII characters, such as XRP", shown(code)));
    }
    Ok(())
}

/// An asset as rates write it: `XRP/6`.
pub(super) fn asset(text: &str) -> Result<Asset, String> {
    let wrong = || format!("is \"{}\", but must be an asset code and a scale such as XRP/6", shown(text));
    let (code, scale) = text.rsplit_once('/').ok_or_else(wrong)?;
    asset_code(code).map_err(|_| wrong())?;
    let digits = !scale.is_empty() && scale.bytes().all(|byte| byte.is_ascii_digit());
    let scale = scale.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    Ok(Asset::new(code, scale))
}

/// An address or a route; a dot at the end, as prefixes had it in 2017, is taken off.
pub(super) fn address(text: &str, allow_production: bool) -> Result<Address, String> {
    let address = Address::new(text.strip_suffix('.').unwrap_or(text)).map_err(|error| wrong_address(text, &error))?;
    let mut segments = address.as_str().split('.');
    let first = segments.next().unwrap_or_default();
    if first.is_empty() || segments.any(str::is_empty) {
        return Err(wrong_address(text, &InvalidAddress::EmptySegment));
    }
    if !allow_production && !TEST_PREFIXES.contains(&first) {
        return Err(format!(
            "is \"{address}\", a production address: begin it with \"test.\", or write allow_production = true at the top of the file \
             if real money is meant to move"
        ));
    }
    Ok(address)
}

fn wrong_address(text: &str, error: &InvalidAddress) -> String {
    format!("is \"{}\", which is not an ILP address such as test.ann: {error}", shown(text))
}

/// Whether a text can stand in a URL's path as one segment, unchanged.
pub(super) fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
}

/// What kind of value it is, with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value as it can stand in a message: on one line, and not too long.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > CHARS_MAX {
        shown.push('…');
    }
    shown
}

/// The name of a file, on one line whatever is in it.
pub(super) fn shown_path(path: &std::path::Path) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    path.display().to_string().chars().map(plain).collect()
}

/// The known name that was probably meant: at most a third of the letters are wrong.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase();
    let (distance, near) = known.iter().map(|known| (edit_distance(&name, known), *known)).min()?;
    let longest = name.chars().count().max(near.chars().count());
    (distance * 3 <= longest.max(3)).then_some(near)
}

/// How many letters must be added, taken away, changed, or swapped with their neighbour, to make `b` of `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Rows of the usual table: for the letters of `a` up to two before this one, up to the last one, and up to this one.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&last, j) + usize::from(x != y);
            let mut best = changed.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_with_the_fewest_wrong_letters() {
        let known = ["credit_limit", "max_packet", "routes", "name", "url"];
        for (typed, meant) in [
            ("credit_limt", Some("credit_limit")),
            ("creditlimit", Some("credit_limit")),
            ("Credit_Limit", Some("credit_limit")),
            ("maxpacket", Some("max_packet")),
            ("route", Some("routes")),
            ("nmae", Some("name")),
            ("ulr", Some("url")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn an_edit_distance_counts_letters() {
        for (a, b, distance) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "acb", 1), ("kitten", "sitting", 3), ("ab", "ba", 1)]
        {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn an_asset_is_a_code_and_a_scale() {
        assert_eq!(asset("XRP/6"), Ok(Asset::new("XRP", 6)));
        assert_eq!(asset("EUR/0"), Ok(Asset::new("EUR", 0)));
        for text in ["XRP", "XRP/", "/6", "XRP/256", "XRP/-1", "XRP/+1", "X RP/6", "X/Y/6", ""] {
            assert!(asset(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_production_address_needs_its_switch() {
        assert!(address("g.ann", false).unwrap_err().contains("allow_production = true"));
        assert_eq!(address("g.ann", true).unwrap().as_str(), "g.ann");
        assert_eq!(address("test.bob.", false).unwrap().as_str(), "test.bob");
        for text in ["", ".", "test..bob", ".test", "test.b b"] {
            assert!(address(text, true).is_err(), "{text}");
        }
    }
}
