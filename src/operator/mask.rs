//! Settings that may be shown: what is secret in them is masked.

use super::convert;
use crate::class::{Class, Field, Kind};
use crate::error::one_line;
use crate::settings::FileMode;
use crate::settings::document::{Entry, Node, Value};

/// What stands in the place of a secret.
pub const MASK: &str = "<secret>";

/// The document as text, for a terminal: secrets masked, and nothing in it that could turn or forge a line.
pub fn shown(document: &Node, class: Option<&Class>) -> String {
    let json = convert::to_json(&masked(document, class));
    let lines: Vec<String> = String::from_utf8_lossy(&json).lines().map(one_line).collect();
    lines.join("\n") + "\n"
}

/// The document with its secrets masked: password hashes, values of environment variables, contents of files that not
/// everybody in the guest may read, and fields that are secret by their class or by their name. Works on any document, also on
/// one that is not good.
fn masked(document: &Node, class: Option<&Class>) -> Node {
    table(document, |entry| match entry.key.as_str() {
        "users" => items(&entry.node, |user| table(user, |entry| hide_if(entry, entry.key.contains("password")))),
        "services" => items(&entry.node, |service| {
            table(service, |entry| match entry.key.as_str() {
                "environment" => {
                    items(&entry.node, |variable| table(variable, |entry| hide_if(entry, entry.key != "name")))
                }
                _ => entry.node.clone(),
            })
        }),
        "files" => items(&entry.node, |file| {
            let open = is_readable_by_all(file);
            table(file, |entry| hide_if(entry, !open && entry.key.starts_with("content")))
        }),
        "fields" => fields(&entry.node, class.map(|class| class.fields.as_slice()).unwrap_or_default()),
        _ => entry.node.clone(),
    })
}

/// The fields, or one record of a table. What the class knows nothing of, its name tells.
fn fields(node: &Node, known: &[Field]) -> Node {
    table(node, |entry| match known.iter().find(|field| field.name == entry.key) {
        Some(Field { secret: false, kind: Kind::Table { columns, .. }, .. }) => {
            items(&entry.node, |record| fields(record, columns))
        }
        Some(field) => hide_if(entry, field.secret || is_named_like_a_secret(&entry.key)),
        None => hide_if(entry, is_named_like_a_secret(&entry.key)),
    })
}

/// The same table with other values. What is no table stays as it is only where it cannot hold a secret: nowhere.
fn table(node: &Node, mut value: impl FnMut(&Entry) -> Node) -> Node {
    let Value::Table(entries) = node.value() else { return hidden(node) };
    let entries =
        entries.iter().map(|entry| Entry { key: entry.key.clone(), place: entry.place, node: value(entry) }).collect();
    Node::new(Value::Table(entries), node.place())
}

fn items(node: &Node, item: impl FnMut(&Node) -> Node) -> Node {
    let Value::List(items) = node.value() else { return hidden(node) };
    Node::new(Value::List(items.iter().map(item).collect()), node.place())
}

fn hide_if(entry: &Entry, secret: bool) -> Node {
    if secret { hidden(&entry.node) } else { entry.node.clone() }
}

fn hidden(node: &Node) -> Node {
    Node::new(Value::Text(MASK.into()), node.place())
}

/// Whether the file's mode is known and lets everybody read it. Without a mode it is 0644.
fn is_readable_by_all(file: &Node) -> bool {
    match file.entry("mode").map(Node::value) {
        None => true,
        Some(Value::Text(mode)) => FileMode::parse(mode).is_ok_and(|mode| mode.bits() & 0o004 != 0),
        Some(_) => false,
    }
}

/// Only the class knows which fields are secret, and it may not be at hand. Then the name has to do.
fn is_named_like_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passphrase", "secret", "token", "credential", "key"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_is_shown() {
        let text = r#"{"version":1,
            "users":[{"name":"ops","password_hash":"S1","ssh_authorized_keys":["shown1"]}],
            "services":[{"name":"x","environment":[{"name":"shown2","value":"S2"}]}],
            "files":[{"path":"/a","mode":"0640","content":"S3"},{"path":"/b","mode":"0644","content":"shown3"},
                     {"path":"/c","mode":420,"content_base64":"S4"},{"path":"/d","content":"shown4"}],
            "fields":{"db_password":"S5","mode":"shown5","api_token":{"x":"S6"}}}"#;
        let shown = shown(&Node::from_json(text.as_bytes()).unwrap(), None);
        for secret in ["S1", "S2", "S3", "S4", "S5", "S6"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for open in ["shown1", "shown2", "shown3", "shown4", "shown5", "/a"] {
            assert!(shown.contains(open), "{open}");
        }
        assert_eq!(shown.matches(MASK).count(), 6);
    }

    #[test]
    fn a_document_of_another_shape_shows_no_secret_either() {
        let text = r#"{"users":{"ops":{"password_hash":"S1"}},"files":"S2","services":[{"environment":{"A":"S3"}}]}"#;
        let shown = shown(&Node::from_json(text.as_bytes()).unwrap(), None);
        assert!(!shown.contains("S1") && !shown.contains("S2") && !shown.contains("S3"), "{shown}");
    }

    #[test]
    fn a_hostile_text_cannot_turn_a_line_around() {
        let shown = shown(&Node::from_json("{\"hostname\":\"a\u{202e}b\"}".as_bytes()).unwrap(), None);
        assert!(!shown.contains('\u{202e}'));
    }

    #[test]
    fn a_class_knows_secrets_that_no_name_tells() {
        let class = r#"{"version":1,"class":"x","fields":{"pin":{"type":"secret","help":"x"},"cert":{"type":"pem","secret":true,"help":"x"},
            "open":{"type":"string","help":"x"},"rows":{"type":"table","help":"x","columns":{
            "name":{"type":"string","help":"x"},"code":{"type":"secret","help":"x"}}}}}"#;
        let class = Class::parse(class.as_bytes()).unwrap();
        let text = r#"{"fields":{"pin":"S1","cert":"S2","open":"shown1","other":"shown2","api_key":"S3",
            "rows":[{"name":"shown3","code":"S4"},"S5"]}}"#;
        let shown = shown(&Node::from_json(text.as_bytes()).unwrap(), Some(&class));
        assert!((1..=5).all(|number| !shown.contains(&format!("S{number}"))), "{shown}");
        assert!((1..=3).all(|number| shown.contains(&format!("shown{number}"))), "{shown}");
    }
}
