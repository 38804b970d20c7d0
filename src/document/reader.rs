//! Reading a document key by key: wrong types, unknown keys and missing keys become errors that name their place.

use super::{Entry, Fault, Format, Node, Value, item_path, key_path, shortened};
use crate::error::{Error, Result};
use crate::guest::GuestPath;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Why a value is refused, and what to write instead. The reader of the document adds the place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What is wrong with the value.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Refusal { problem: problem.into(), remedy: remedy.into() }
    }
}

/// A value of the document, and the path that leads to it.
#[derive(Clone, Debug)]
pub struct At<'n> {
    node: &'n Node,
    path: String,
    format: &'static Format,
}

/// Whether a value may be repeated in an error.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shown {
    Yes,
    No,
}

impl<'n> At<'n> {
    /// The whole document.
    pub fn document(node: &'n Node, format: &'static Format) -> Self {
        At { node, path: String::new(), format }
    }

    /// A part of a document that was kept for later, and the path that led to it.
    pub fn part(node: &'n Node, path: String, format: &'static Format) -> Self {
        At { node, path, format }
    }

    /// Refuses this value.
    ///
    /// # Errors
    /// Always: the error of the format.
    pub fn refuse<T>(&self, problem: impl fmt::Display, remedy: impl fmt::Display) -> Result<T> {
        Err(self.error(&problem, &remedy))
    }

    #[cold]
    #[inline(never)]
    fn error(&self, problem: &dyn fmt::Display, remedy: &dyn fmt::Display) -> Error {
        (self.format.error)(&Fault { path: &self.path, place: self.node.place(), problem, remedy })
    }

    /// What lies below this value.
    fn below(&self, node: &'n Node, path: String) -> At<'n> {
        At { node, path, format: self.format }
    }

    /// The node itself.
    pub fn node(&self) -> &'n Node {
        self.node
    }

    fn refuse_kind<T>(&self, wanted: &str, remedy: &str) -> Result<T> {
        let kind = self.node.value().kind();
        match self.node.value() {
            Value::Null => self.refuse(format_args!("is {kind}, not {wanted}"), "leave out what is not meant"),
            _ => self.refuse(format_args!("is {kind}, not {wanted}"), remedy),
        }
    }

    /// Any text at all.
    #[inline(never)]
    pub fn raw_text(&self) -> Result<&'n str> {
        match self.node.value() {
            Value::Text(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => self.refuse_kind("a text", "write it in quotes"),
            _ => self.refuse_kind("a text", "write one text in quotes"),
        }
    }

    /// Any text without NUL.
    pub fn text_of_any_form(&self) -> Result<&'n str> {
        let text = self.raw_text()?;
        if text.contains('\0') {
            return self.refuse("has a NUL character", "give bytes that are no text as content_base64");
        }
        Ok(text)
    }

    /// A text without control characters.
    #[inline(never)]
    pub fn text(&self) -> Result<&'n str> {
        let text = self.text_of_any_form()?;
        if text.chars().any(char::is_control) {
            return self.refuse("has a control character", "write it on one line, without tabs");
        }
        Ok(text)
    }

    /// A text that `parse` makes a value of. The text is repeated in errors.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Result<T> {
        self.parse(Shown::Yes, parse)
    }

    /// The same for a text that may be secret.
    pub fn parsed_secret<T>(&self, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Result<T> {
        self.parse(Shown::No, parse)
    }

    fn parse<T>(&self, shown: Shown, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Result<T> {
        let text = self.text()?;
        parse(text).or_else(|refusal| match shown {
            Shown::Yes => self.refuse(format_args!("`{}` {}", shortened(text), refusal.problem), refusal.remedy),
            Shown::No => self.refuse(refusal.problem, refusal.remedy),
        })
    }

    /// One of some words.
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let Value::Text(_) = self.node.value() else {
            return self.refuse_kind("a text", &format!("write {}", one_of(&known)));
        };
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        self.refuse(format_args!("`{}` is no value of it", shortened(text)), format_args!("write {}", one_of(&known)))
    }

    /// `true` or `false`.
    #[inline(never)]
    pub fn boolean(&self) -> Result<bool> {
        match self.node.value() {
            Value::Bool(value) => Ok(*value),
            _ => self.refuse_kind("true or false", "write true or false without quotes"),
        }
    }

    /// A whole number of a range.
    pub fn integer(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let number = self.whole(i128::from(*range.start()), i128::from(*range.end()))?;
        Ok(u64::try_from(number).unwrap_or(*range.start()))
    }

    /// A whole number of a range that may begin below zero.
    pub fn signed(&self, range: RangeInclusive<i64>) -> Result<i64> {
        let number = self.whole(i128::from(*range.start()), i128::from(*range.end()))?;
        Ok(i64::try_from(number).unwrap_or(*range.start()))
    }

    #[inline(never)]
    fn whole(&self, least: i128, most: i128) -> Result<i128> {
        let Value::Number(number) = self.node.value() else {
            return self.refuse_kind("a number", "write a whole number without quotes");
        };
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        match whole.filter(|whole| (least..=most).contains(whole)) {
            Some(whole) => Ok(whole),
            None => self.refuse(
                format_args!("{number} is not a whole number from {least} to {most}"),
                format_args!("write a whole number from {least} to {most}"),
            ),
        }
    }

    /// A number of a range, whole or not.
    pub fn decimal(&self, range: RangeInclusive<f64>) -> Result<f64> {
        let Value::Number(number) = self.node.value() else {
            return self.refuse_kind("a number", "write a number without quotes, like 0.5");
        };
        match number.as_f64() {
            Some(number) if range.contains(&number) => Ok(number),
            _ => {
                let (least, most) = (range.start(), range.end());
                self.refuse(
                    format_args!("{number} is not from {least} to {most}"),
                    format_args!("write a number from {least} to {most}"),
                )
            }
        }
    }

    /// A whole number of any size that a type holds.
    pub fn number<T: TryFrom<u64>>(&self) -> Result<T> {
        match T::try_from(self.integer(0..=u64::MAX)?) {
            Ok(number) => Ok(number),
            Err(_) => self.refuse("is too large a number", "write a smaller one"),
        }
    }

    /// The same for ranges that fit in 32 bits.
    pub fn integer_u32(&self, range: RangeInclusive<u32>) -> Result<u32> {
        let number = self.integer(u64::from(*range.start())..=u64::from(*range.end()))?;
        Ok(u32::try_from(number).unwrap_or(*range.end()))
    }

    /// The items of a list, `counts` of them.
    #[inline(never)]
    pub fn items(&self, counts: RangeInclusive<usize>) -> Result<Vec<At<'n>>> {
        let Value::List(items) = self.node.value() else {
            return self.refuse_kind("a list", "write [ ] around it, also around a single one");
        };
        if items.len() < *counts.start() {
            return self.refuse("is empty", "write at least one item or leave the key out");
        }
        if items.len() > *counts.end() {
            let problem = format!("has {} items, more than {}", items.len(), counts.end());
            return self.refuse(problem, "write fewer");
        }
        let item = |(index, node)| self.below(node, item_path(&self.path, index));
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// A list of values that `read` makes.
    pub fn list<T>(&self, counts: RangeInclusive<usize>, mut read: impl FnMut(At<'n>) -> Result<T>) -> Result<Vec<T>> {
        let items = self.items(counts)?;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(read(item)?);
        }
        Ok(values)
    }

    /// The entries of a table.
    pub fn entries(&self) -> Result<&'n [Entry]> {
        match self.node.value() {
            Value::Table(entries) => Ok(entries),
            _ => self.refuse_kind("a table", "write { } with keys and values"),
        }
    }

    /// The place of a value in this table.
    pub fn value_of(&self, entry: &'n Entry) -> At<'n> {
        self.below(&entry.node, key_path(&self.path, &entry.key))
    }

    /// The place of a value below a key of this table.
    pub fn inside(&self, node: &'n Node, key: &str) -> At<'n> {
        self.below(node, key_path(&self.path, key))
    }

    /// What `read` makes of a value that may be `null`.
    pub fn nullable<T>(&self, read: impl FnOnce(&At<'n>) -> Result<T>) -> Result<Option<T>> {
        if *self.node.value() == Value::Null { Ok(None) } else { read(self).map(Some) }
    }

    /// A table of any keys, read as a map.
    pub fn map<K: Ord, V>(
        &self,
        key: impl Fn(&str) -> Option<K>,
        value: impl Fn(&At<'n>) -> Result<V>,
    ) -> Result<BTreeMap<K, V>> {
        let mut map = BTreeMap::new();
        for entry in self.entries()? {
            let at = self.value_of(entry);
            match key(&entry.key) {
                Some(key) => map.insert(key, value(&at)?),
                None => return at.refuse("has a key that is none", "remove it"),
            };
        }
        Ok(map)
    }

    /// What `read` makes of one key of a table, whatever else the table holds.
    pub fn required<T>(&self, key: &str, read: impl FnOnce(At<'n>) -> Result<T>) -> Result<T> {
        read(self.need(key)?)
    }

    /// The value of one key of a table. Not generic, and never inlined, because each key of each document comes here.
    #[inline(never)]
    fn need(&self, key: &str) -> Result<At<'n>> {
        match self.entries()?.iter().find(|entry| entry.key == key) {
            Some(entry) => Ok(self.value_of(entry)),
            None => self.refuse(format_args!("has no `{key}`"), format_args!("add the key `{key}`")),
        }
    }

    /// A table of one key, which says what kind of thing is described by its value.
    pub fn variant(&self) -> Result<(&'n str, At<'n>)> {
        match self.entries()? {
            [entry] => Ok((&entry.key, self.value_of(entry))),
            _ => self.refuse("has not exactly one key", "write the kind of thing as the only key"),
        }
    }

    /// A path in the guest.
    pub fn guest_path(&self) -> Result<GuestPath> {
        let text = self.raw_text()?;
        GuestPath::parse(text).or_else(|error| self.refuse(error.problem(), error.remedy()))
    }

    /// A table with the keys `known` and no others.
    pub fn table(&self, known: &'static [&'static str]) -> Result<Table<'n>> {
        self.table_of(Cow::Borrowed(known))
    }

    /// The same for keys that are not known before something else was read.
    pub fn table_of(&self, known: Cow<'static, [&'static str]>) -> Result<Table<'n>> {
        let entries = self.entries()?;
        if let Some(unknown) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            let path = key_path(&self.path, &unknown.key);
            let remedy = match nearest(&unknown.key, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let place = unknown.place.or(unknown.node.place());
            let fault = Fault { path: &path, place, problem: &"is an unknown key", remedy: &remedy };
            return Err((self.format.error)(&fault));
        }
        Ok(Table { at: self.clone(), known })
    }
}

/// A table whose keys are all known.
#[derive(Debug)]
pub struct Table<'n> {
    at: At<'n>,
    known: Cow<'static, [&'static str]>,
}

impl<'n> Table<'n> {
    /// The value of a key that may be absent.
    #[inline(never)]
    pub fn get(&self, key: &'static str) -> Option<At<'n>> {
        debug_assert!(self.known.contains(&key), "{key} is not among the known keys");
        self.at.node.entry(key).map(|node| self.at.below(node, key_path(&self.at.path, key)))
    }

    /// What `read` makes of a key that may be absent.
    pub fn optional<T>(&self, key: &'static str, read: impl FnOnce(At<'n>) -> Result<T>) -> Result<Option<T>> {
        self.get(key).map(read).transpose()
    }

    /// What `read` makes of a key that must be there.
    pub fn required<T>(&self, key: &'static str, read: impl FnOnce(At<'n>) -> Result<T>) -> Result<T> {
        debug_assert!(self.known.contains(&key), "{key} is not among the known keys");
        self.at.required(key, read)
    }

    /// A list that is empty where its key is absent.
    pub fn list<T>(&self, key: &'static str, most: usize, read: impl FnMut(At<'n>) -> Result<T>) -> Result<Vec<T>> {
        Ok(self.optional(key, |at| at.list(0..=most, read))?.unwrap_or_default())
    }

    /// The table's own place.
    pub fn at(&self) -> &At<'n> {
        &self.at
    }

    /// Refuses a table that has several of these keys.
    pub fn at_most_one(&self, keys: &[&'static str]) -> Result<()> {
        let mut given = keys.iter().filter_map(|key| self.get(key).map(|at| (*key, at)));
        match (given.next(), given.next()) {
            (Some((first, _)), Some((second, at))) => {
                at.refuse(format_args!("stands beside `{first}`"), format_args!("keep either `{first}` or `{second}`"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a table that has not exactly one of these keys.
    pub fn exactly_one(&self, keys: &[&'static str]) -> Result<()> {
        self.at_most_one(keys)?;
        if keys.iter().all(|key| self.get(key).is_none()) {
            return self
                .at
                .refuse(format_args!("has no `{}`", keys.join("` and no `")), format_args!("add {}", one_of(keys)));
        }
        Ok(())
    }
}

/// Words joined for a sentence: `a, b or c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [front @ .., last] => format!("{} or {last}", front.join(", ")),
    }
}

/// The known key that was most likely meant.
pub(crate) fn nearest<'w>(key: &str, known: &[&'w str]) -> Option<&'w str> {
    if key.len() > 40 {
        return None;
    }
    let folded = key.to_ascii_lowercase().replace('-', "_");
    let limit = if folded.len() < 4 { 1 } else { 2 };
    let close = known.iter().map(|word| (distance(&folded, word), *word)).min().filter(|(d, _)| *d <= limit);
    let begins = || {
        let related = |word: &str| word.starts_with(&folded) || folded.starts_with(word);
        known.iter().copied().find(|word| folded.len() >= 3 && related(word))
    };
    close.map(|(_, word)| word).or_else(begins)
}

/// How many letters must be changed, added or removed to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.bytes().enumerate() {
        let mut diagonal = index;
        let mut left = index.saturating_add(1);
        for (cell, b) in std::iter::zip(row.iter_mut().skip(1), to.bytes()) {
            let changed = diagonal.saturating_add(usize::from(a != b));
            diagonal = *cell;
            left = changed.min(diagonal.saturating_add(1)).min(left.saturating_add(1));
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_words_is_counted_in_letters() {
        for (a, b, wanted) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("nmae", "name", 2),
        ] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
        }
    }

    #[test]
    fn the_key_that_was_meant_is_found() {
        const KEYS: &[&str] = &["name", "uid", "group", "groups", "password_hash", "ssh_authorized_keys"];
        assert_eq!(nearest("nmae", KEYS), Some("name"));
        assert_eq!(nearest("Name", KEYS), Some("name"));
        assert_eq!(nearest("gruops", KEYS), Some("groups"));
        assert_eq!(nearest("password", KEYS), Some("password_hash"));
        assert_eq!(nearest("ssh-authorized-keys", KEYS), Some("ssh_authorized_keys"));
        assert_eq!(nearest("shell", KEYS), None);
        assert_eq!(nearest("é", KEYS), None);
    }
}
