//! JSON as a tree. `serde_json` finds where each value begins and ends; each is then read from its own slice of the text,
//! so that its place is known.

use super::{Entry, Fault, Format, Node, Place, Shape, Value, item_path, key_path};
use crate::error::Result;
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;
use std::fmt;

/// Reads JSON.
///
/// # Errors
/// Bytes that are not UTF-8, a byte order mark, broken JSON, a key that is given twice, or more than the format allows:
/// the error of the format, with line and column.
pub fn read(bytes: &[u8], format: &Format) -> Result<Node> {
    let whole = |place, problem: &dyn fmt::Display, remedy: &dyn fmt::Display| {
        (format.error)(&Fault { path: "", place: Some(place), problem, remedy })
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok());
            let place = Cursor::new(good.unwrap_or("")).place(usize::MAX);
            return Err(whole(place, &"is not UTF-8 text", &"save the file as UTF-8"));
        }
    };
    if text.starts_with('\u{feff}') {
        let place = Place { line: 1, column: 1 };
        return Err(whole(place, &"begins with a byte order mark", &"save the file as UTF-8 without one"));
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let problem = problem(&error.to_string());
        let place = Place { line: error.line().max(1), column: error.column().max(1) };
        whole(place, &format_args!("is not JSON: {problem}"), &"mend the text there")
    })?;
    let shape = Shape { format, values: 0 };
    let node = JsonReader { start: text.as_ptr().addr(), cursor: Cursor::new(text), shape }.node(raw, "", 1)?;
    node.check_shape(format)?;
    Ok(node)
}

/// What serde_json says is wrong, in plain words where it has none.
fn problem(text: &str) -> String {
    let said = text.rsplit_once(" at line ").map_or(text, |(said, _)| said);
    let plain = match said {
        said if said.starts_with("EOF ") => "it ends in the middle",
        "expected value" | "expected ident" => "a value is expected",
        "trailing characters" => "more comes after its end",
        "trailing comma" => "a comma stands before a closing bracket",
        "recursion limit exceeded" => "it is nested too deep",
        said if said.starts_with("control character") => "a line end or control character stands in a text",
        said => said,
    };
    plain.to_owned()
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
    shape: Shape<'t>,
}

impl<'t> JsonReader<'t> {
    fn place(&mut self, raw: &RawValue) -> Place {
        self.cursor.place(raw.get().as_ptr().addr().saturating_sub(self.start))
    }

    fn node(&mut self, raw: &'t RawValue, path: &str, depth: usize) -> Result<Node> {
        let place = Some(self.place(raw));
        self.shape.count(path, place, depth)?;
        let text = raw.get();
        let shape = &self.shape;
        let most = shape.format.items;
        let value = match text.bytes().next() {
            Some(b'{') => {
                let parts = serde_json::Deserializer::from_str(text).deserialize_map(EntryParts { most });
                let Ok(parts) = parts else { return shape.refuse_items(path, place) };
                let mut entries = Vec::with_capacity(parts.len());
                for (key, value) in parts {
                    let place = self.place(key);
                    let table = if path.is_empty() { self.shape.format.name } else { path };
                    let key = self.shape.text(key.get(), &format!("a key of {table}"), Some(place))?;
                    let node = self.node(value, &key_path(path, &key), depth.saturating_add(1))?;
                    entries.push(Entry { key, place: Some(place), node });
                }
                Value::Table(entries)
            }
            Some(b'[') => {
                let parts = serde_json::Deserializer::from_str(text).deserialize_seq(ItemParts { most });
                let Ok(parts) = parts else { return shape.refuse_items(path, place) };
                let mut items = Vec::with_capacity(parts.len());
                for (index, part) in parts.into_iter().enumerate() {
                    items.push(self.node(part, &item_path(path, index), depth.saturating_add(1))?);
                }
                Value::List(items)
            }
            Some(b'"') => Value::Text(shape.text(text, path, place)?),
            // Here and for null the first letter tells all, since the whole text was checked.
            Some(first @ (b't' | b'f')) => Value::Bool(first == b't'),
            Some(b'n') => Value::Null,
            _ => match read_number(text) {
                Some(number) => Value::Number(number),
                None => {
                    let problem = "is a number too large to hold exactly";
                    return shape.refuse(path, place, &problem, "write a smaller number");
                }
            },
        };
        Ok(Node { value, place })
    }
}

impl Shape<'_> {
    fn text(&self, raw: &str, path: &str, place: Option<Place>) -> Result<String> {
        serde_json::from_str(raw).or_else(|_| {
            let remedy = "write the character itself instead of \\u escapes";
            self.refuse(path, place, &"has half of a surrogate pair", remedy)
        })
    }
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

/// The keys and values of a table, unread.
struct EntryParts {
    most: usize,
}

impl<'t> Visitor<'t> for EntryParts {
    type Value = Vec<(&'t RawValue, &'t RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = map.next_entry()? {
            if parts.len() >= self.most {
                return Err(serde::de::Error::custom(""));
            }
            parts.push(part);
        }
        Ok(parts)
    }
}

/// The items of a list, unread.
struct ItemParts {
    most: usize,
}

impl<'t> Visitor<'t> for ItemParts {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element()? {
            if parts.len() >= self.most {
                return Err(serde::de::Error::custom(""));
            }
            parts.push(part);
        }
        Ok(parts)
    }
}
