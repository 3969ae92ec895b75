//! `[[rate]]`: fixed rates between two assets, in one direction each.

use super::problem::Collector;
use super::section::{Located, Section};
use super::values;
use ilp_core::{Asset, Rate};

const KEYS: [&str; 4] = ["from", "to", "numerator", "denominator"];

pub(super) fn read(top: &Section<'_>, problems: &mut Collector<'_>) -> Vec<Located<Rate>> {
    let tables = top.tables("rate", problems).into_iter().zip(1..);
    tables
        .filter_map(|((at, table), number)| {
            let section = Section::new(format!("rate {number}"), at, table, &KEYS, problems);
            let from = asset(&section, "from", problems);
            let to = asset(&section, "to", problems);
            let numerator = part(&section, "numerator", problems);
            let denominator = part(&section, "denominator", problems);
            let rate = Rate { from: from?, to: to?, numerator: numerator?, denominator: denominator? };
            if rate.from == rate.to {
                let why = format!("from and to are both {}, which is always exchanged 1 to 1: take this rate out", rate.from);
                problems.error(&section.at("to"), section.say(&why));
                return None;
            }
            Some(Located { value: rate, at: section.at })
        })
        .collect()
}

fn asset(section: &Section<'_>, key: &str, problems: &mut Collector<'_>) -> Option<Asset> {
    let text = section.required_text(key, "write an asset code and a scale, such as XRP/6", problems)?;
    values::asset(text.value).map_err(|why| problems.error(&text.at, section.say(&format!("{key} {why}")))).ok()
}

fn part(section: &Section<'_>, key: &str, problems: &mut Collector<'_>) -> Option<u64> {
    if section.get(key).is_none() {
        section.missing(key, "write a whole number: numerator units of to are given for denominator units of from", problems);
    }
    let number = section.amount(key, problems)?;
    if number.value == 0 {
        problems.error(&number.at, section.say(&format!("{key} is 0: nothing could ever be exchanged at this rate")));
        return None;
    }
    Some(number.value)
}
