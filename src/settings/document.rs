//! A document before anybody asks what it means: values, each with the line and column at which it was written.
//!
//! The agent makes it from JSON (RFC 8259); the operator's tool makes the same from TOML and YAML with the constructors.

use crate::error::{Error, Result};
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

/// How many tables and lists may lie inside each other.
pub const MAX_DEPTH: usize = 16;
/// The most items of one list, and the most keys of one table.
pub const MAX_ITEMS: usize = 4096;
/// The most values of a document.
pub const MAX_NODES: usize = 65_536;

/// What the whole document is called in errors.
pub(super) const DOCUMENT: &str = "settings";

/// Where something is written. Both counts begin at 1; a column is a character, not a byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    value: Value,
    place: Option<Place>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, which no key of the settings takes.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; whole numbers are exact.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A table: keys and values in the order in which they were written.
    Table(Vec<Entry>),
}

impl Value {
    /// The kind of value, in words that finish the sentence "it is …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// One key of a table, with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is written.
    pub place: Option<Place>,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A value that is written at `place`, where that is known.
    pub fn new(value: Value, place: Option<Place>) -> Self {
        Node { value, place }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where it is written.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// The value of a key; `None` where this is no table or has no such key.
    pub fn entry(&self, key: &str) -> Option<&Node> {
        let Value::Table(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// An item of a list; `None` where this is no list or is shorter.
    pub fn item(&self, index: usize) -> Option<&Node> {
        let Value::List(items) = &self.value else { return None };
        items.get(index)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// Bytes that are not UTF-8, a byte order mark, broken JSON, a key that is given twice, or more than the limits
    /// of this file. [`crate::Class::Invalid`], with line and column.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = bytes.get(..error.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok());
                let place = Cursor::new(good.unwrap_or("")).place(usize::MAX);
                return refuse("", Some(place), "is not UTF-8 text", "save the file as UTF-8");
            }
        };
        if text.starts_with('\u{feff}') {
            let place = Some(Place { line: 1, column: 1 });
            return refuse("", place, "begins with a byte order mark", "save the file as UTF-8 without one");
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        let mut reader = JsonReader { start: text.as_ptr().addr(), cursor: Cursor::new(text), nodes: 0 };
        let node = reader.node(raw, "", 1)?;
        node.check_shape()?;
        Ok(node)
    }

    /// Refuses a document that goes beyond the limits of this file or gives a key twice, whoever made it.
    ///
    /// # Errors
    /// [`crate::Class::Invalid`], with the place.
    pub(super) fn check_shape(&self) -> Result<()> {
        check_shape(self, "", 1, &mut 0)
    }

    /// The value as `serde_json` holds it; `null` beyond the depth limit.
    pub(super) fn to_json_value(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json_value).collect()),
            Value::Table(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json_value())).collect())
            }
        }
    }
}

/// As JSON, keys in their order, so that the operator's tool can write the document of another notation.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
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

/// An error about the value at `path`. `place` is left out where it is not known.
pub(super) fn invalid(
    path: &str,
    place: Option<Place>,
    problem: impl fmt::Display,
    remedy: impl fmt::Display,
) -> Error {
    let path = if path.is_empty() { DOCUMENT } else { path };
    match place {
        Some(place) => Error::invalid(format_args!("{path} ({place})"), problem, remedy),
        None => Error::invalid(path, problem, remedy),
    }
}

fn refuse<T>(path: &str, place: Option<Place>, problem: &str, remedy: &str) -> Result<T> {
    Err(invalid(path, place, problem, remedy))
}

/// The path of a key in a table.
pub(super) fn key_path(table: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
    match (table.is_empty(), plain) {
        (true, true) => shortened(key),
        (false, true) => format!("{table}.{}", shortened(key)),
        (_, false) => format!("{table}[\"{}\"]", shortened(key)),
    }
}

/// The path of an item in a list.
pub(super) fn item_path(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// A text that may be long, for an error.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

fn check_shape(node: &Node, path: &str, depth: usize, nodes: &mut usize) -> Result<()> {
    *nodes = nodes.saturating_add(1);
    check_limits(path, node.place, depth, *nodes)?;
    match &node.value {
        Value::List(items) => {
            check_items(path, node.place, items.len())?;
            for (index, item) in items.iter().enumerate() {
                check_shape(item, &item_path(path, index), depth.saturating_add(1), nodes)?;
            }
        }
        Value::Table(entries) => {
            check_items(path, node.place, entries.len())?;
            let mut seen = BTreeSet::new();
            for entry in entries {
                let path = key_path(path, &entry.key);
                if !seen.insert(&entry.key) {
                    return refuse(&path, entry.place.or(node.place), "is given twice", "keep one of the two");
                }
                check_shape(&entry.node, &path, depth.saturating_add(1), nodes)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_limits(path: &str, place: Option<Place>, depth: usize, nodes: usize) -> Result<()> {
    // The document's own table is not inside anything, and a plain value adds no level.
    if depth > MAX_DEPTH.saturating_add(1) {
        return refuse(path, place, "lies inside more than 16 tables and lists", "make the document flatter");
    }
    if nodes > MAX_NODES {
        return refuse(path, place, "is value number 65537 of the document", "write fewer values, 65536 at most");
    }
    Ok(())
}

fn check_items(path: &str, place: Option<Place>, count: usize) -> Result<()> {
    if count > MAX_ITEMS {
        return refuse(path, place, "has more than 4096 items", "write fewer");
    }
    Ok(())
}

fn not_json(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    let place = Place { line: error.line().max(1), column: error.column().max(1) };
    invalid("", Some(place), format_args!("is not JSON: {problem}"), "mend the text there")
}

/// Turns byte offsets that only grow into places, in one pass over the text.
struct Cursor<'t> {
    rest: std::str::CharIndices<'t>,
    place: Place,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Cursor { rest: text.char_indices(), place: Place { line: 1, column: 1 } }
    }

    fn place(&mut self, offset: usize) -> Place {
        while self.rest.offset() < offset {
            match self.rest.next() {
                Some((_, '\n')) => self.place = Place { line: self.place.line.saturating_add(1), column: 1 },
                Some(_) => self.place.column = self.place.column.saturating_add(1),
                None => break,
            }
        }
        self.place
    }
}

/// Makes nodes of slices of the text, so that the offset of each is known.
struct JsonReader<'t> {
    start: usize,
    cursor: Cursor<'t>,
    nodes: usize,
}

impl<'t> JsonReader<'t> {
    fn place(&mut self, raw: &RawValue) -> Place {
        self.cursor.place(raw.get().as_ptr().addr().saturating_sub(self.start))
    }

    fn node(&mut self, raw: &'t RawValue, path: &str, depth: usize) -> Result<Node> {
        let place = Some(self.place(raw));
        self.nodes = self.nodes.saturating_add(1);
        check_limits(path, place, depth, self.nodes)?;
        let text = raw.get();
        let broken = |_| invalid(path, place, "is not a value of JSON", "mend the text there");
        let too_many = |_| invalid(path, place, "has more than 4096 items", "write fewer");
        let value = match text.bytes().next() {
            Some(b'{') => {
                let parts = serde_json::Deserializer::from_str(text).deserialize_map(EntryParts).map_err(too_many)?;
                let mut entries = Vec::with_capacity(parts.len());
                for (key, value) in parts {
                    let place = self.place(key);
                    let key = read_text(
                        key.get(),
                        &format!("a key of {}", if path.is_empty() { DOCUMENT } else { path }),
                        Some(place),
                    )?;
                    let node = self.node(value, &key_path(path, &key), depth.saturating_add(1))?;
                    entries.push(Entry { key, place: Some(place), node });
                }
                Value::Table(entries)
            }
            Some(b'[') => {
                let parts = serde_json::Deserializer::from_str(text).deserialize_seq(ItemParts).map_err(too_many)?;
                let mut items = Vec::with_capacity(parts.len());
                for (index, part) in parts.into_iter().enumerate() {
                    items.push(self.node(part, &item_path(path, index), depth.saturating_add(1))?);
                }
                Value::List(items)
            }
            Some(b'"') => Value::Text(read_text(text, path, place)?),
            Some(b't' | b'f') => Value::Bool(serde_json::from_str(text).map_err(broken)?),
            Some(b'n') => Value::Null,
            _ => Value::Number(read_number(text).ok_or_else(|| {
                invalid(path, place, "is a number too large to hold exactly", "write a smaller number")
            })?),
        };
        Ok(Node { value, place })
    }
}

fn read_text(raw: &str, path: &str, place: Option<Place>) -> Result<String> {
    serde_json::from_str(raw).map_err(|_| {
        invalid(path, place, "has half of a surrogate pair", "write the character itself instead of \\u escapes")
    })
}

fn read_number(text: &str) -> Option<Number> {
    if text.contains(['.', 'e', 'E']) {
        return Number::from_f64(text.parse().ok()?);
    }
    text.parse()
        .ok()
        .map(|number: i64| Number::from(number))
        .or_else(|| text.parse().ok().map(|number: u64| Number::from(number)))
}

struct EntryParts;

impl<'t> Visitor<'t> for EntryParts {
    type Value = Vec<(&'t RawValue, &'t RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = map.next_entry()? {
            if parts.len() >= MAX_ITEMS {
                return Err(serde::de::Error::custom(""));
            }
            parts.push(part);
        }
        Ok(parts)
    }
}

struct ItemParts;

impl<'t> Visitor<'t> for ItemParts {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element()? {
            if parts.len() >= MAX_ITEMS {
                return Err(serde::de::Error::custom(""));
            }
            parts.push(part);
        }
        Ok(parts)
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
        let place = |node: &Node| (node.place.unwrap().line, node.place.unwrap().column);
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
        assert!(error("{\"a\": 1").contains("is not JSON: EOF"));
        assert!(error("{} {}").contains("is not JSON: trailing characters"));
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
        let number = |text: &str| match Node::from_json(text.as_bytes()).unwrap().value {
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
        assert_eq!(node.check_shape().unwrap_err().to_string(), "a: is given twice; keep one of the two");
    }
}
