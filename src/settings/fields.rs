//! Section `fields`: what only the appliance's class can judge ([`crate::class`]). Here its form is held to the rules of
//! every value.

use super::document::{Entry, FORMAT, Node, Place, Value};
use crate::document::At;
use crate::error::Result;
use std::fmt;

/// The most characters of a key.
const MAX_KEY: usize = 128;

/// The fields as written, with their places. Only the class knows which of them are secret, so `Debug` shows none.
#[derive(Clone, Eq, PartialEq)]
pub struct Fields(Node);

impl Default for Fields {
    fn default() -> Self {
        Fields(Node::new(Value::Table(Vec::new()), None))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Fields {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are given.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// The names of those that are given, as written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries().iter().map(|entry| entry.key.as_str())
    }

    /// The value of a field, with its place.
    pub fn value(&self, name: &str) -> Option<At<'_>> {
        Some(self.at().inside(self.0.entry(name)?, name))
    }

    /// The whole section, with its place.
    pub(crate) fn at(&self) -> At<'_> {
        At::part(&self.0, "fields".to_owned(), &FORMAT)
    }

    /// Where the section is written.
    pub(crate) fn place(&self) -> Option<Place> {
        self.0.place()
    }

    fn entries(&self) -> &[Entry] {
        match self.0.value() {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }
}

pub(super) fn read(at: &At<'_>) -> Result<Fields> {
    check(at)?;
    at.entries()?;
    Ok(Fields(at.node().clone()))
}

/// Refuses null and control characters that are neither line feed nor tab. Values are never repeated: only the class knows
/// which are secret.
fn check(at: &At<'_>) -> Result<()> {
    match at.node().value() {
        Value::Null => at.refuse("is null, which is no value", "leave out what is not meant"),
        Value::Text(_) => {
            let text = at.text_of_any_form()?;
            match text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
                true => at.refuse("has a control character", "write lines with line feeds alone, and no other ones"),
                false => Ok(()),
            }
        }
        Value::List(_) => at.items(0..=usize::MAX)?.iter().try_for_each(check),
        Value::Table(entries) => entries.iter().try_for_each(|entry| {
            let value = at.value_of(entry);
            let length = entry.key.chars().count();
            if length == 0 || length > MAX_KEY || entry.key.chars().any(char::is_control) {
                return value.refuse(
                    "has a key that is empty, longer than 128 characters or has a control character",
                    "write the name of a field of the class",
                );
            }
            check(&value)
        }),
        Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
