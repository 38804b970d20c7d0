//! The settings as a document: their limits, how errors about them sound, and the door for JSON.

pub use crate::document::{Entry, Node, Place, Value};
pub(super) use crate::document::{item_path, key_path};

use super::SingleLine;
use crate::document::{self, At, Format, Refusal};
use crate::error::{Error, Result};
use std::fmt;

/// How many tables and lists may lie inside each other.
pub const MAX_DEPTH: usize = Format::DEPTH;
/// The most items of one list, and the most keys of one table.
pub const MAX_ITEMS: usize = 4096;
/// The most values of a document.
pub const MAX_NODES: usize = 65_536;

/// The settings.
pub(super) const FORMAT: Format = Format {
    name: "settings",
    depth: MAX_DEPTH,
    items: MAX_ITEMS,
    values: MAX_NODES,
    error: |fault| invalid(fault.path, fault.place, fault.problem, fault.remedy),
};

impl Node {
    /// Reads settings that are written in JSON.
    ///
    /// # Errors
    /// Bytes that are not UTF-8, a byte order mark, broken JSON, a key that is given twice, or more than the limits
    /// of this file. [`crate::Class::Invalid`], with line and column.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        document::read(bytes, &FORMAT)
    }
}

impl At<'_> {
    /// A text of one line, not empty, with at most `most` characters.
    pub fn line(&self, most: usize) -> Result<SingleLine> {
        self.parsed(|text| {
            if text.is_empty() {
                return Err(Refusal::new("is empty", "write a text or leave the key out"));
            }
            if text.chars().count() > most {
                return Err(Refusal::new(format!("is longer than {most} characters"), "shorten it"));
            }
            SingleLine::parse(text)
        })
    }
}

/// An error about the value at `path`. `place` is left out where it is not known.
pub(super) fn invalid(
    path: &str,
    place: Option<Place>,
    problem: impl fmt::Display,
    remedy: impl fmt::Display,
) -> Error {
    let path = if path.is_empty() { FORMAT.name } else { path };
    match place {
        Some(place) => Error::invalid(format_args!("{path} ({place})"), problem, remedy),
        None => Error::invalid(path, problem, remedy),
    }
}

/// As JSON, keys in their order: what the tests hold the tree against.
#[cfg(test)]
impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self.value() {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => number.serialize(serializer),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items),
            Value::Table(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    map.serialize_entry(&entry.key, &entry.node)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Node::from_json(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let node = Node::from_json("{\n  \"é\": [1,\n\t\"ö\", {\"b\" : true}]}\n".as_bytes()).unwrap();
        let place = |node: &Node| (node.place().unwrap().line, node.place().unwrap().column);
        let list = node.entry("é").unwrap();
        assert_eq!(place(&node), (1, 1));
        assert_eq!(place(list), (2, 8));
        assert_eq!(place(list.item(0).unwrap()), (2, 9));
        assert_eq!(place(list.item(1).unwrap()), (3, 2));
        assert_eq!(place(list.item(2).unwrap().entry("b").unwrap()), (3, 14));
        assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"é":[1,"ö",{"b":true}]}"#);
    }

    #[test]
    fn a_key_given_twice_is_refused_at_every_depth() {
        assert_eq!(error("{\"a\": 1,\n \"\\u0061\": 2}"), "a (line 2, column 2): is given twice; keep one of the two");
        assert_eq!(
            error(r#"{"fields": {"x": [{"y": 1, "y": 1}]}}"#),
            "fields.x[0].y (line 1, column 28): is given twice; keep one of the two"
        );
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        assert_eq!(
            error("{\n \"a\" 1}"),
            "settings (line 2, column 6): is not JSON: expected `:`; mend the text there"
        );
        assert!(error("{\"a\": 1").contains("is not JSON: it ends in the middle"));
        assert!(error("{} {}").contains("is not JSON: more comes after its end"));
        assert!(error("").contains("is not JSON"));
        assert_eq!(
            error("\u{feff}{}"),
            "settings (line 1, column 1): begins with a byte order mark; save the file as UTF-8 without one"
        );
        assert_eq!(
            Node::from_json(b"{\n\"a\xff").unwrap_err().to_string(),
            "settings (line 2, column 3): is not UTF-8 text; save the file as UTF-8"
        );
        assert_eq!(
            error(r#"{"a": "\ud800"}"#),
            "a (line 1, column 7): has half of a surrogate pair; write the character itself instead of \\u escapes"
        );
        assert!(error(r#"{"\ud800": 1}"#).starts_with("a key of settings (line 1, column 2): has half"));
    }

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        let number = |text: &str| match Node::from_json(text.as_bytes()).unwrap().value().clone() {
            Value::Number(number) => number,
            other => panic!("{other:?}"),
        };
        assert_eq!(number("18446744073709551615").as_u64(), Some(u64::MAX));
        assert_eq!(number("-9223372036854775808").as_i64(), Some(i64::MIN));
        assert_eq!(number("1.5").as_f64(), Some(1.5));
        for wrong in ["18446744073709551616", "-9223372036854775809", "1e999"] {
            assert!(error(wrong).contains("too large to hold exactly"), "{wrong}");
        }
    }

    #[test]
    fn depth_items_and_values_have_limits() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Node::from_json(nested(16).as_bytes()).is_ok());
        assert!(Node::from_json(nested(17).as_bytes()).is_ok());
        assert!(error(&nested(18)).contains("lies inside more than 16 tables and lists"));
        assert!(error(&nested(500_000)).contains("16 tables and lists"));
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(Node::from_json(list(4096).as_bytes()).is_ok());
        assert_eq!(error(&list(4097)), "settings (line 1, column 1): has more than 4096 items; write fewer");
        let many = format!("[{}0]", format!("{},", list(4096)).repeat(16));
        assert!(error(&many).contains("is value number 65537"));
        let table = (0..4097).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
        assert_eq!(
            error(&format!("{{{table}}}")),
            "settings (line 1, column 1): has more than 4096 items; write fewer"
        );
    }

    #[test]
    fn a_tree_made_elsewhere_is_held_to_the_same_limits() {
        let entry = || Entry { key: "a".into(), place: None, node: Node::new(Value::Null, None) };
        let node = Node::new(Value::Table(vec![entry(), entry()]), None);
        assert_eq!(node.check_shape(&FORMAT).unwrap_err().to_string(), "a: is given twice; keep one of the two");
    }
}
