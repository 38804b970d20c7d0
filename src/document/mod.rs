//! A document before anybody asks what it means: values, each with the line and column at which it was written.
//!
//! This is the one strict reader of JSON (RFC 8259) for all that the agent takes from a file: settings, class, state,
//! journal and status. Text becomes a tree ([`read`]), the tree is read key by key ([`At`]), and a [`Format`] says which
//! limits hold and how an error sounds. What the agent itself leaves behind is written with [`Writer`]. The operator's
//! tool makes the same tree from TOML and YAML.

mod json;
mod reader;
mod writer;

pub use json::read;
pub use reader::{At, Refusal, Table};
pub(crate) use reader::{nearest, one_of};
pub use writer::Writer;

use crate::error::{Error, Result};
use serde_json::Number;
use std::collections::BTreeSet;
use std::fmt;

/// One format of document: what its texts are held to, and how an error about one of them sounds.
#[derive(Debug)]
pub struct Format {
    /// What the whole document is called.
    pub name: &'static str,
    /// How many tables and lists may lie inside each other.
    pub depth: usize,
    /// The most items of one list, and the most keys of one table.
    pub items: usize,
    /// The most values.
    pub values: usize,
    /// The error about one value.
    pub error: fn(&Fault<'_>) -> Error,
}

impl Format {
    /// The depth of a format that nobody gave a reason to have another.
    pub const DEPTH: usize = 16;
    /// The items, and the values, of a file that this program wrote itself: more than fit in the 8 MiB that are read of a
    /// file, so that whatever was written can be read.
    pub const OWN: usize = 1 << 20;
}

/// What is wrong with a value.
#[derive(Clone, Copy)]
pub struct Fault<'a> {
    /// The path to the value, like `users[2].shell`; empty for the whole document.
    pub path: &'a str,
    /// Where it is written, if that is known.
    pub place: Option<Place>,
    /// What is wrong. It may repeat the value.
    pub problem: &'a dyn fmt::Display,
    /// What to write instead.
    pub remedy: &'a dyn fmt::Display,
}

impl fmt::Debug for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({} {:?})", self.path, self.place)
    }
}

impl Fault<'_> {
    /// The place alone, in brackets and with a blank before it, for files whose content must not be shown.
    pub fn shown_place(&self) -> String {
        self.place.map_or(String::new(), |place| format!(" ({place})"))
    }
}

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    value: Value,
    place: Option<Place>,
}

/// A value.
#[derive(Clone, Debug, Eq, PartialEq)]
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
    fn kind(&self) -> &'static str {
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
#[derive(Clone, Debug, Eq, PartialEq)]
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

    /// Refuses a document that goes beyond the limits of its format or gives a key twice, whoever made it.
    ///
    /// # Errors
    /// That of the format, with the place.
    pub fn check_shape(&self, format: &Format) -> Result<()> {
        Shape { format, values: 0 }.check(self, "", 1)
    }
}

/// How much of a document was looked at.
struct Shape<'f> {
    format: &'f Format,
    values: usize,
}

impl Shape<'_> {
    fn check(&mut self, node: &Node, path: &str, depth: usize) -> Result<()> {
        self.count(path, node.place, depth)?;
        let below = depth.saturating_add(1);
        match &node.value {
            Value::List(items) => {
                self.check_items(path, node.place, items.len())?;
                for (index, item) in items.iter().enumerate() {
                    self.check(item, &item_path(path, index), below)?;
                }
            }
            Value::Table(entries) => {
                self.check_items(path, node.place, entries.len())?;
                let mut seen = BTreeSet::new();
                for entry in entries {
                    let path = key_path(path, &entry.key);
                    if !seen.insert(&entry.key) {
                        return self.refuse(
                            &path,
                            entry.place.or(node.place),
                            &"is given twice",
                            "keep one of the two",
                        );
                    }
                    self.check(&entry.node, &path, below)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// One more value, at this depth.
    fn count(&mut self, path: &str, place: Option<Place>, depth: usize) -> Result<()> {
        let Format { depth: deepest, values: most, .. } = *self.format;
        self.values = self.values.saturating_add(1);
        // The document's own table is not inside anything, and a plain value adds no level.
        if depth > deepest.saturating_add(1) {
            let problem = format_args!("lies inside more than {deepest} tables and lists");
            return self.refuse(path, place, &problem, "make the document flatter");
        }
        if self.values > most {
            let problem = format_args!("is value number {} of the document", self.values);
            return self.refuse(path, place, &problem, format!("write fewer values, {most} at most"));
        }
        Ok(())
    }

    fn check_items(&self, path: &str, place: Option<Place>, count: usize) -> Result<()> {
        if count > self.format.items { self.refuse_items(path, place) } else { Ok(()) }
    }

    fn refuse_items<T>(&self, path: &str, place: Option<Place>) -> Result<T> {
        let problem = format_args!("has more than {} items", self.format.items);
        self.refuse(path, place, &problem, "write fewer")
    }

    fn refuse<T>(
        &self,
        path: &str,
        place: Option<Place>,
        problem: &dyn fmt::Display,
        remedy: impl fmt::Display,
    ) -> Result<T> {
        Err((self.format.error)(&Fault { path, place, problem, remedy: &remedy }))
    }
}

/// The path of a key in a table.
pub(crate) fn key_path(table: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
    match (table.is_empty(), plain) {
        (true, true) => shortened(key),
        (false, true) => format!("{table}.{}", shortened(key)),
        (_, false) => format!("{table}[\"{}\"]", shortened(key)),
    }
}

/// The path of an item in a list.
pub(crate) fn item_path(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// A text that may be long, for an error.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}
