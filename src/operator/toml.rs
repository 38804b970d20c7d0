//! TOML to a document.

use crate::error::{Error, Result};
use crate::settings::document::{Entry, Node, Place, Value};
use serde_json::Number;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads TOML. Tables have their keys in the order in which they are written.
///
/// # Errors
/// Broken TOML, a date, or a number that JSON does not have: [`crate::Class::Invalid`], with line and column.
pub fn parse(text: &str) -> Result<Node> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(table) => lines.table(table.get_ref(), table.span()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            Err(lines.invalid(at, format_args!("is not TOML ({message})"), "mend it there or just before"))
        }
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    fn place(&self, at: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..at).unwrap_or_default();
        Place { line, column: before.chars().count() + 1 }
    }

    fn invalid(&self, at: usize, problem: impl fmt::Display, remedy: impl fmt::Display) -> Error {
        Error::invalid(format_args!("settings ({})", self.place(at)), problem, remedy)
    }

    fn table(&self, table: &DeTable<'_>, span: Range<usize>) -> Result<Node> {
        let mut entries = Vec::new();
        let mut written: Vec<_> = table.iter().collect();
        written.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in written {
            let place = Some(self.place(key.span().start));
            entries.push(Entry { key: key.get_ref().clone().into_owned(), place, node: self.node(value)? });
        }
        Ok(Node::new(Value::Table(entries), Some(self.place(span.start))))
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Result<Node> {
        let at = value.span().start;
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(number) => {
                let (text, radix) = (number.as_str(), number.radix());
                let signed = i64::from_str_radix(text, radix).map(Number::from);
                let number = signed.or_else(|_| u64::from_str_radix(text, radix).map(Number::from));
                Value::Number(number.map_err(|_| self.invalid(at, "is too large a number", "write a smaller one"))?)
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(Number::from_f64);
                Value::Number(number.ok_or_else(|| self.invalid(at, "is no finite number", "write a finite one"))?)
            }
            DeValue::Datetime(_) => {
                return Err(self.invalid(at, "is a date or time, which settings do not have", "put it in quotes"));
            }
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.node(item)).collect::<Result<Vec<_>>>()?),
            DeValue::Table(table) => return self.table(table, at..at),
        };
        Ok(Node::new(value, Some(self.place(at))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_lists_and_values_become_a_document() {
        let text = "b = 1\na = [\"x\", { c = [true, -2.5] }]\n[[users]]\nname = \"é\"\n[users.x]\ny = 0x1F\n";
        let node = parse(text).unwrap();
        let json = serde_json::to_string(&node).unwrap();
        assert_eq!(json, r#"{"b":1,"a":["x",{"c":[true,-2.5]}],"users":[{"name":"é","x":{"y":31}}]}"#);
        let name = node.entry("users").unwrap().item(0).unwrap().entry("name").unwrap();
        assert_eq!(name.place(), Some(Place { line: 4, column: 8 }));
    }

    #[test]
    fn a_column_is_a_character() {
        let error = parse("a = \"ééé\" x\n").unwrap_err();
        assert!(error.object().contains("line 1, column 11"), "{error}");
    }

    #[test]
    fn what_json_does_not_have_is_refused_with_its_place() {
        for (text, problem) in [
            ("x = 1\na = 2026-01-02\n", "date"),
            ("x = 1\na = 07:32:00\n", "date"),
            ("x = 1\na = inf\n", "finite"),
            ("x = 1\na = nan\n", "finite"),
            ("x = 1\na = 99999999999999999999\n", "too large"),
            ("x = 1\na = 0644\n", "not TOML"),
            ("x = 1\nx = 2\n", "not TOML"),
            ("x = 1\na\n", "not TOML"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.problem().contains(problem), "{text}: {error}");
            assert!(error.object().contains("(line 2, "), "{error}");
        }
    }

    #[test]
    fn deep_nesting_does_not_end_the_tool() {
        assert!(parse(&format!("a = {}", "[".repeat(100_000))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(any in any::<String>(), likely in "[a=.,0\\[\\]{}#'\"\\\\ \n\té_+-]{0,40}") {
            let _ = parse(&any);
            if let Ok(node) = parse(&likely) {
                // What was read can be written as JSON and is the same then.
                let json = serde_json::to_vec(&node).unwrap();
                let _: serde_json::Value = serde_json::from_slice(&json).unwrap();
            }
        }
    }
}
