//! Section `fields`: what only the appliance's class can judge. Here its form is held to the rules of every value.

use super::document::{Node, Value};
use crate::document::At;
use crate::error::Result;
use std::collections::BTreeMap;

/// The most characters of a key.
const MAX_KEY: usize = 128;

pub(super) fn read(at: &At<'_>) -> Result<BTreeMap<String, serde_json::Value>> {
    check(at)?;
    Ok(at.entries()?.iter().map(|entry| (entry.key.clone(), Node::to_json_value(&entry.node))).collect())
}

/// Refuses null and control characters. Values are never repeated: only the class knows which are secret.
fn check(at: &At<'_>) -> Result<()> {
    match at.node().value() {
        Value::Null => at.refuse("is null, which is no value", "leave out what is not meant"),
        Value::Text(_) => at.text().map(|_| ()),
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
