//! One table of the file, read key by key.

use super::problem::{Collector, Span};
use super::values::{self, Number};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table, and what to call it in messages.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// Such as `account "bob"`; empty at the top.
    pub(super) title: String,
    /// Its header.
    pub(super) at: Span,
    table: &'t DeTable<'t>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Span,
}

impl<'t> Section<'t> {
    /// Takes a table; keys that aren't `known` are errors.
    pub(super) fn new(title: String, at: Span, table: &'t DeTable<'t>, known: &[&str], problems: &mut Collector<'_>) -> Self {
        let section = Self { title, at, table };
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let hint = match values::nearest(name, known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("there are: {}", known.join(", ")),
            };
            problems.error(&key.span(), section.say(&format!("unknown key \"{}\"; {hint}", values::shown(name))));
        }
        section
    }

    /// A message about this section.
    pub(super) fn say(&self, message: &str) -> String {
        if self.title.is_empty() { message.to_owned() } else { format!("{}: {message}", self.title) }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Where a key's value stands, or the header if it is missing.
    pub(super) fn at(&self, key: &str) -> Span {
        self.get(key).map_or_else(|| self.at.clone(), Spanned::span)
    }

    pub(super) fn missing(&self, key: &str, hint: &str, problems: &mut Collector<'_>) {
        problems.error(&self.at, self.say(&format!("{key} is missing; {hint}")));
    }

    pub(super) fn wrong_type(&self, key: &str, wanted: &str, value: &Spanned<DeValue<'t>>, problems: &mut Collector<'_>) {
        let found = values::type_name(value.get_ref());
        problems.error(&value.span(), self.say(&format!("{key} must be {wanted}, not {found}")));
    }

    /// A text, if the key is there.
    pub(super) fn text(&self, key: &str, problems: &mut Collector<'_>) -> Option<Located<&'t str>> {
        let value = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(Located { value: text, at: value.span() }),
            None => {
                self.wrong_type(key, "a text in quotation marks", value, problems);
                None
            }
        }
    }

    /// A text that must be there. `hint` says what to write.
    pub(super) fn required_text(&self, key: &str, hint: &str, problems: &mut Collector<'_>) -> Option<Located<&'t str>> {
        if self.get(key).is_none() {
            self.missing(key, hint, problems);
        }
        self.text(key, problems)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str, problems: &mut Collector<'_>) -> Option<bool> {
        let value = self.get(key)?;
        if value.get_ref().as_bool().is_none() {
            self.wrong_type(key, "true or false", value, problems);
        }
        value.get_ref().as_bool()
    }

    /// A u64, as a decimal text or an integer.
    pub(super) fn amount(&self, key: &str, problems: &mut Collector<'_>) -> Option<Located<u64>> {
        let value = self.get(key)?;
        match values::number(value.get_ref(), u64::MAX) {
            Number::Is(number) => Some(Located { value: number, at: value.span() }),
            Number::Wrong(why) => {
                problems.error(&value.span(), self.say(&format!("{key} {why}")));
                None
            }
        }
    }

    /// An i64, as a decimal text or an integer.
    pub(super) fn signed(&self, key: &str, problems: &mut Collector<'_>) -> Option<i64> {
        let value = self.get(key)?;
        let signed = values::signed(value.get_ref());
        signed.map_err(|why| problems.error(&value.span(), self.say(&format!("{key} {why}")))).ok()
    }

    /// An integer from 0 to 255.
    pub(super) fn small(&self, key: &str, problems: &mut Collector<'_>) -> Option<Located<u8>> {
        let value = self.get(key)?;
        let number = match values::number(value.get_ref(), u8::MAX.into()) {
            Number::Is(number) => number,
            Number::Wrong(why) => {
                problems.error(&value.span(), self.say(&format!("{key} {why}")));
                return None;
            }
        };
        Some(Located { value: u8::try_from(number).ok()?, at: value.span() })
    }

    /// A list of texts; empty if the key isn't there.
    pub(super) fn texts(&self, key: &str, example: &str, problems: &mut Collector<'_>) -> Vec<Located<&'t str>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, &format!("a list such as {example}"), value, problems);
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(array.len());
        for element in array.iter() {
            match element.get_ref().as_str() {
                Some(text) => texts.push(Located { value: text, at: element.span() }),
                None => self.wrong_type(key, &format!("a list of texts such as {example}"), element, problems),
            }
        }
        texts
    }

    /// The tables of a `[[key]]` list.
    pub(super) fn tables(&self, key: &str, problems: &mut Collector<'_>) -> Vec<(Span, &'t DeTable<'t>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let elements = match value.get_ref() {
            DeValue::Array(array) => array,
            _ => {
                problems
                    .error(&value.span(), format!("there can be several {key} entries: write [[{key}]] as a line of its own above each"));
                return Vec::new();
            }
        };
        let mut tables = Vec::with_capacity(elements.len());
        for element in elements.iter() {
            match element.get_ref().as_table() {
                Some(table) => tables.push((element.span(), table)),
                None => self.wrong_type(key, &format!("written as [[{key}]] and key = value lines"), element, problems),
            }
        }
        tables
    }
}
