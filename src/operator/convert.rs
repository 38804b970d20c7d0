//! A document as the JSON that is signed: the same text whichever notation it was written in.

use crate::settings::document::{Node, Value};
use serde_json::Value as Json;

/// Keys that come first in their table, in this order. All others follow by the alphabet.
const FIRST: [&str; 32] = [
    "class",
    "version",
    "instance",
    "appliance",
    "id",
    "serial",
    "machine",
    "hostname",
    "hosts",
    "network",
    "interfaces",
    "name",
    "match",
    "path",
    "address",
    "addresses",
    "names",
    "uid",
    "gid",
    "group",
    "groups",
    "users",
    "services",
    "files",
    "timezone",
    "locale",
    "enabled",
    "mode",
    "owner",
    "dhcp",
    "to",
    "via",
];

/// The document as JSON for people and programs: two spaces for each level, keys in one fixed order, a line end at the
/// end. Only the values count, so that a document has one text and one digest.
pub fn to_json(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    write(node, 0, &mut out);
    out.push(b'\n');
    out
}

/// The document as JSON for programs: one line, keys in the order in which they are written, because in a class it is the
/// order of the documents.
pub fn to_json_in_order(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    write_in_order(node, &mut out);
    out.push(b'\n');
    out
}

fn write_in_order(node: &Node, out: &mut Vec<u8>) {
    match node.value() {
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                out.extend((index > 0).then_some(b','));
                write_in_order(item, out);
            }
            out.push(b']');
        }
        Value::Table(entries) => {
            out.push(b'{');
            for (index, entry) in entries.iter().enumerate() {
                out.extend((index > 0).then_some(b','));
                out.extend_from_slice(Json::from(entry.key.as_str()).to_string().as_bytes());
                out.push(b':');
                write_in_order(&entry.node, out);
            }
            out.push(b'}');
        }
        _ => write(node, 0, out),
    }
}

fn write(node: &Node, level: usize, out: &mut Vec<u8>) {
    match node.value() {
        Value::List(items) if items.is_empty() => out.extend_from_slice(b"[]"),
        Value::Table(entries) if entries.is_empty() => out.extend_from_slice(b"{}"),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, level + 1, out);
                write(item, level + 1, out);
            }
            line(level, out);
            out.push(b']');
        }
        Value::Table(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|entry| (rank(&entry.key), &entry.key));
            out.push(b'{');
            for (index, entry) in entries.into_iter().enumerate() {
                separate(index, level + 1, out);
                out.extend_from_slice(Json::from(entry.key.as_str()).to_string().as_bytes());
                out.extend_from_slice(b": ");
                write(&entry.node, level + 1, out);
            }
            line(level, out);
            out.push(b'}');
        }
        Value::Text(text) => out.extend_from_slice(Json::from(text.as_str()).to_string().as_bytes()),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Null => out.extend_from_slice(b"null"),
    }
}

fn rank(key: &str) -> usize {
    FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len())
}

fn separate(index: usize, level: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
    line(level, out);
}

fn line(level: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', level * 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{toml, yaml};

    const JSON: &str = r#"{
  "version": 1,
  "hosts": [
    {
      "address": "10.0.0.5",
      "names": [
        "db"
      ]
    }
  ],
  "users": [],
  "fields": {
    "a": 1.5,
    "z": "é \"\n"
  }
}
"#;

    #[test]
    fn every_notation_gives_the_same_bytes() {
        let json = r#"{"fields":{"z":"\u00e9 \"\n","a":1.50},"users":[],"hosts":[{"names":["db"],"address":"10.0.0.5"}],"version":1}"#;
        let yaml = "version: 1\nusers: []\nhosts:\n- {names: [db], address: 10.0.0.5}\nfields:\n  z: \"é \\\"\\n\"\n  a: 1.5\n";
        let toml = "version = 1\nusers = []\n[[hosts]]\nnames = [\"db\"]\naddress = \"10.0.0.5\"\n[fields]\nz = \"é \\\"\\n\"\na = 1.5\n";
        let documents =
            [Node::from_json(json.as_bytes()).unwrap(), yaml::parse(yaml).unwrap(), toml::parse(toml).unwrap()];
        for document in documents {
            assert_eq!(String::from_utf8(to_json(&document)).unwrap(), JSON);
        }
    }

    #[test]
    fn what_was_converted_stays_as_it_is() {
        let node = Node::from_json(JSON.as_bytes()).unwrap();
        assert_eq!(to_json(&node), JSON.as_bytes());
    }
}
