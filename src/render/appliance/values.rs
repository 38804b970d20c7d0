//! The names that a template may use: the fields, `terminals`, `hostname`, `instance` and `class`.

use crate::class::{Class, Resolved, Value as Field};
use crate::settings::Settings;
use minijinja::Value;

/// All of them, as one value.
pub(super) fn values(settings: &Settings, class: &Class, resolved: &Resolved) -> Value {
    let mut names: Vec<(String, Value)> = Vec::new();
    for (name, value) in &resolved.fields {
        names.push((name.clone(), optional(value.as_ref())));
    }
    let terminals: Vec<(String, Value)> = resolved
        .terminals
        .iter()
        .map(|(name, peers)| {
            let peers: Vec<Value> = peers
                .iter()
                .map(|peer| {
                    let keys = [
                        ("name", Value::from_safe_string(peer.name.to_string())),
                        ("address", Value::from_safe_string(peer.address.to_string())),
                        ("port", Value::from(peer.port)),
                    ];
                    map(keys.map(|(key, value)| (key.to_owned(), value)))
                })
                .collect();
            (name.clone(), Value::from(peers))
        })
        .collect();
    names.push(("terminals".into(), map(terminals)));
    let hostname = settings.hostname.as_ref();
    names.push(("hostname".into(), hostname.map_or(none(), |name| Value::from_safe_string(name.to_string()))));
    let instance = settings.instance.as_ref().map_or("", |instance| instance.id.as_str());
    names.push(("instance".into(), Value::from(instance)));
    names.push(("class".into(), Value::from_safe_string(class.name.clone())));
    map(names)
}

fn optional(value: Option<&Field>) -> Value {
    value.map_or(none(), of)
}

fn none() -> Value {
    Value::from(())
}

fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::from_pairs(entries)
}

fn of(value: &Field) -> Value {
    match value {
        Field::Word(word) => Value::from_safe_string(word.clone()),
        Field::Text(text) => Value::from(text.as_str()),
        Field::Integer(number) => Value::from(*number),
        Field::Decimal(number) => Value::from(*number),
        Field::Boolean(value) => Value::from(*value),
        Field::Duration(number) | Field::Size(number) => Value::from(*number),
        Field::List(items) => Value::from(items.iter().map(of).collect::<Vec<Value>>()),
        Field::Table(records) => {
            let record = |record: &Vec<(String, Option<Field>)>| {
                map(record.iter().map(|(name, value)| (name.clone(), optional(value.as_ref()))))
            };
            Value::from(records.iter().map(record).collect::<Vec<Value>>())
        }
    }
}
