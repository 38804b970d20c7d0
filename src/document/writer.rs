//! JSON as the agent writes it: the same bytes for the same values, in the form of `serde_json`.

use std::fmt::{Display, Write as _};

/// Writes one document, value by value.
#[derive(Debug)]
pub struct Writer {
    text: String,
    /// Two blanks for each level, each value on a line of its own.
    indented: bool,
    level: usize,
    /// Whether nothing was written into the innermost table or list yet.
    empty: bool,
}

impl Writer {
    /// For people and programs: indented, with a newline at the end.
    pub fn indented(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer { text: String::new(), indented: true, level: 0, empty: true };
        write(&mut writer);
        writer.text.push('\n');
        writer.text.into_bytes()
    }

    /// For programs only: without any white space.
    pub fn compact(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer { text: String::new(), indented: false, level: 0, empty: true };
        write(&mut writer);
        writer.text.into_bytes()
    }

    /// A table. `fill` writes a key and then its value, as often as it wants.
    pub fn table(&mut self, fill: impl FnOnce(&mut Self)) {
        self.open('{');
        fill(self);
        self.close('}');
    }

    /// A list. `write` writes one item.
    pub fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.open('[');
        for item in items {
            self.next();
            write(self, item);
        }
        self.close(']');
    }

    /// A table of any keys.
    pub fn map<K: AsRef<str>, V>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
        mut write: impl FnMut(&mut Self, V),
    ) {
        self.open('{');
        for (key, value) in entries {
            write(self.key(key.as_ref()), value);
        }
        self.close('}');
    }

    /// A key. Its value comes next.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.next();
        self.text(key);
        self.text.push_str(if self.indented { ": " } else { ":" });
        self
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '\0'..='\u{1f}' => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(character));
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }

    /// A whole number.
    pub fn number(&mut self, number: impl Into<u64>) {
        self.bare(&number.into());
    }

    /// A whole number that may be below zero.
    pub fn integer(&mut self, number: i64) {
        self.bare(&number);
    }

    /// A number that is finite.
    pub fn decimal(&mut self, number: f64) {
        self.bare(&number);
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: bool) {
        self.bare(&value);
    }

    /// The word of a value.
    pub fn word<T: PartialEq>(&mut self, words: &[(&'static str, T)], value: T) {
        let word = words.iter().find(|(_, of)| *of == value).map(|(word, _)| *word);
        self.nullable(word, Writer::text);
    }

    /// A value, or `null`.
    pub fn nullable<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.bare(&"null"),
        }
    }

    fn bare(&mut self, value: &dyn Display) {
        let _ = write!(self.text, "{value}");
    }

    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.level = self.level.saturating_add(1);
        self.empty = true;
    }

    fn close(&mut self, bracket: char) {
        self.level = self.level.saturating_sub(1);
        if !self.empty {
            self.break_line();
        }
        self.text.push(bracket);
        self.empty = false;
    }

    /// The front of an item or of a key.
    fn next(&mut self) {
        if !self.empty {
            self.text.push(',');
        }
        self.empty = false;
        self.break_line();
    }

    fn break_line(&mut self) {
        if self.indented {
            self.text.push('\n');
            for _ in 0..self.level {
                self.text.push_str("  ");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writer: &mut Writer) {
        let awkward = "\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}é\u{2028}\u{1f600}";
        writer.table(|writer| {
            writer.key("text").text(awkward);
            writer.key(awkward).number(u64::MAX);
            writer.key("empty").list([0_u32; 0], Writer::number);
            writer.key("list").list([1_u32, 2], |writer, n| writer.list([n], Writer::number));
            writer.key("none").nullable(None, |writer, n: u32| writer.number(n));
            writer.key("table").table(|_| {});
            writer.key("map").map([("a", true), ("b", false)], Writer::boolean);
        });
    }

    #[test]
    fn the_text_is_that_of_serde_json() {
        for (text, pretty) in [(Writer::compact(write), false), (Writer::indented(write), true)] {
            // `Node` keeps the order of the keys.
            let tree = crate::settings::document::Node::from_json(&text).unwrap();
            let mut wanted = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
            if pretty {
                wanted.push(b'\n');
            }
            assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(wanted).unwrap());
        }
    }
}
