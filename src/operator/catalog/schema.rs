//! `handoff class schema`: the JSON Schema of settings for one class, so that editors complete and check.
//!
//! It is the schema of all settings, narrowed to what the class takes. What it cannot say is written in its description, and
//! in `docs/class.md`.

use crate::class::{Class, Direction, Family, Field, Kind, Required, Scalar};
use crate::document::{Node, Value};
use crate::settings::SECTIONS;
use serde_json::{Map, Value as Json, json};

/// The schema of all settings.
const BASE: &str = include_str!("../../../docs/settings.schema.json");

/// The text of a schema.
pub fn text(class: &Class) -> String {
    format!("{:#}\n", schema(class))
}

/// The schema of settings for this class.
pub fn schema(class: &Class) -> Json {
    let mut schema: Json = serde_json::from_str(BASE).unwrap_or_default();
    let Some(root) = schema.as_object_mut() else { return schema };
    let description = format!(
        "{} What a schema cannot check, `handoff check` does: {BEYOND}.",
        class.summary.trim_end_matches('.').to_owned() + "."
    );
    root.insert("title".into(), format!("Settings of {}", class.name).into());
    root.insert("description".into(), description.into());
    let defs = own_definitions(root.get("$defs"));
    if let Some(definitions) = root.get_mut("$defs").and_then(Json::as_object_mut) {
        definitions.extend(defs);
    }
    let mut required = vec!["version"];
    let (fields, fields_needed) = record(&class.fields, "A field of the class.");
    if fields_needed {
        required.push("fields");
    }
    let (terminals, terminals_needed) = terminals(class);
    if terminals_needed {
        required.push("terminals");
    }
    root.insert("required".into(), json!(required));
    let Some(properties) = root.get_mut("properties").and_then(Json::as_object_mut) else { return schema };
    properties.insert("fields".into(), fields);
    properties.insert("terminals".into(), terminals);
    if let Some(appliance) = properties.get_mut("appliance").and_then(|one| one.get_mut("properties")) {
        let narrowed = [("class", Some(&class.name)), ("version", class.release.as_ref())];
        for (key, value) in narrowed {
            if let (Some(value), Some(place)) = (value, appliance.get_mut(key).and_then(Json::as_object_mut)) {
                place.remove("pattern");
                place.insert("const".into(), json!(value));
                place.insert("examples".into(), json!([value]));
            }
        }
    }
    for section in SECTIONS.iter().filter(|section| !class.policy.sections.contains(section)) {
        if let Some(place) = properties.get_mut(*section) {
            *place = not_taken(section, place);
        }
    }
    schema
}

/// What only the program judges.
const BEYOND: &str = "whole numbers spelled like 1.0; limits of durations and sizes (their notation is checked); \
    the inside of PEM blocks; host bits of IPv6 networks; equal items in different spelling; columns of a table that must differ; \
    and what it says of all settings";

/// A section that the class does not take may be there when it is empty.
fn not_taken(section: &str, old: &Json) -> Json {
    let description = format!("This class does not take `{section}`.");
    match old.get("type").and_then(Json::as_str) {
        Some("array") => json!({ "type": "array", "maxItems": 0, "description": description }),
        Some("object") if section != "network" => {
            json!({ "type": "object", "maxProperties": 0, "description": description })
        }
        _ => json!({ "not": {}, "description": description }),
    }
}

/// Definitions that are made of those of all settings.
fn own_definitions(base: Option<&Json>) -> Map<String, Json> {
    let pattern = |name: &str| {
        let text = base.and_then(|all| all.pointer(&format!("/{name}/pattern"))).and_then(Json::as_str);
        text.unwrap_or_default().trim_start_matches('^').trim_end_matches('$').to_owned()
    };
    let (address, hostname) = (pattern("address"), pattern("hostname"));
    // An address is `(IPv4|IPv6)`, of which only the second has colons.
    let v4 = format!("^(?!.*:)(?:{address})$");
    let v6 = format!("^(?=.*:)(?:{address})$");
    // `$` in the look-ahead of a host name is the end of the host here.
    let host = hostname.replace("(?!localhost$)", "").replace("(?=.*[A-Za-z-])", "(?=[^/?:]*[A-Za-z-])");
    let port = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    let authority =
        format!("(?:(?=[^/?:]{{1,64}}(?:[/?:]|$)){host}|{}|\\[(?=[^\\]/?]*:){address}\\])(?::{port})?", octets());
    let rest = "(?:[/?][A-Za-z0-9/?:@!$&'()*+,;=\\-._~%\\[\\]]*)?";
    let text = |title: &str, pattern: String| json!({ "title": title, "type": "string", "pattern": pattern });
    let mut all = Map::new();
    all.insert("ipv4".into(), text("IPv4 address", v4));
    all.insert("ipv6".into(), text("IPv6 address", v6));
    all.insert("ipv4Network".into(), text("IPv4 network", format!("^(?:{})$", ipv4_networks())));
    let prefix = "(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])";
    all.insert("ipv6Network".into(), text("IPv6 network", format!("^(?=.*:)(?:{address})/{prefix}$")));
    all.insert(
        "url".into(),
        json!({ "title": "URL", "type": "string", "maxLength": 2048,
        "pattern": format!("^[A-Za-z0-9_.+-]+://{authority}{rest}$") }),
    );
    let number = "(?:0|[1-9][0-9]{0,15})";
    let parts = ["d", "h", "m", "s", "ms"].map(|unit| format!("(?:{number}{unit})?")).concat();
    all.insert("duration".into(), text("duration", format!("^(?=.){parts}$")));
    all.insert("size".into(), text("size", format!("^{number}(?:[KMGT]iB|[kMGT]?B)$")));
    all
}

/// Text without control characters, and the same with line feeds and tabs.
const LINE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";
const LINES: &str = "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*$";

fn octet() -> &'static str {
    "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
}

fn octets() -> String {
    format!("(?:{}\\.){{3}}{}", octet(), octet())
}

/// The networks of IPv4, host bits zero: an alternative for each length of the prefix.
fn ipv4_networks() -> String {
    let alternatives = (0..=32_u32).map(|length| {
        let mut parts = Vec::new();
        for index in 0..4_u32 {
            let bits = length.saturating_sub(index * 8).min(8);
            parts.push(match bits {
                0 => "0".to_owned(),
                8 => octet().to_owned(),
                bits => {
                    let step = 1_usize << (8 - bits);
                    let values = (0..256).step_by(step).map(|value| value.to_string());
                    format!("(?:{})", values.collect::<Vec<_>>().join("|"))
                }
            });
        }
        format!("{}/{length}", parts.join("\\."))
    });
    alternatives.collect::<Vec<_>>().join("|")
}

/// The schema of a table of fields, and whether it must hold anything.
fn record(fields: &[Field], description: &str) -> (Json, bool) {
    let properties: Map<String, Json> = fields.iter().map(|field| (field.name.clone(), field_schema(field))).collect();
    let mut schema = json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": false,
    });
    let mut always: Vec<&str> = Vec::new();
    let mut conditions = Vec::new();
    let mut needed = false;
    for field in fields {
        match &field.required {
            Required::No => {}
            Required::Always => always.push(&field.name),
            Required::If { field: other, is } => {
                let default = fields.iter().find(|one| one.name == *other).and_then(|one| one.default_written.as_ref());
                let by_default = default.is_some_and(|node| node.value() == is.value());
                needed |= by_default;
                let mut condition = json!({ "properties": { other: { "const": as_json(is) } } });
                if let (false, Some(condition)) = (by_default, condition.as_object_mut()) {
                    condition.insert("required".into(), json!([other]));
                }
                conditions.push(json!({ "if": condition, "then": { "required": [field.name] } }));
            }
        }
    }
    needed |= !always.is_empty();
    if let Some(schema) = schema.as_object_mut() {
        if !always.is_empty() {
            schema.insert("required".into(), json!(always));
        }
        if !conditions.is_empty() {
            schema.insert("allOf".into(), conditions.into());
        }
    }
    (schema, needed)
}

fn field_schema(field: &Field) -> Json {
    let mut schema = match &field.kind {
        Kind::One(scalar) => scalar_schema(scalar),
        Kind::List { items, counts, unique } => json!({
            "type": "array",
            "items": scalar_schema(items),
            "minItems": counts.start(),
            "maxItems": counts.end(),
            "uniqueItems": unique,
        }),
        Kind::Table { columns, counts, .. } => json!({
            "type": "array",
            "items": record(columns, "One record.").0,
            "minItems": counts.start(),
            "maxItems": counts.end(),
        }),
    };
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), field.help.as_str().into());
        if let Some(default) = &field.default_written {
            schema.insert("default".into(), as_json(default));
        }
        if let Some(example) = &field.example {
            schema.insert("examples".into(), json!([as_json(example)]));
        }
    }
    schema
}

fn scalar_schema(scalar: &Scalar) -> Json {
    let family = |family: &Option<Family>, four: &str, six: &str| match family {
        Some(Family::V4) => reference(four),
        Some(Family::V6) => reference(six),
        None => json!({ "anyOf": [reference(four), reference(six)] }),
    };
    match scalar {
        Scalar::String { length, pattern, multiline } => {
            let mut all = vec![json!({ "pattern": if *multiline { LINES } else { LINE } })];
            all.extend(pattern.as_ref().map(|pattern| json!({ "pattern": format!("^(?:{})$", pattern.as_str()) })));
            json!({ "type": "string", "minLength": length.start(), "maxLength": length.end(), "allOf": all })
        }
        Scalar::Secret(length) => {
            json!({ "type": "string", "minLength": length.start(), "maxLength": length.end(), "pattern": LINE })
        }
        Scalar::Integer(range) => json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }),
        Scalar::Decimal(range) => {
            let mut schema = Map::from_iter([("type".to_owned(), "number".into())]);
            if *range.start() > f64::MIN {
                schema.insert("minimum".into(), json!(range.start()));
            }
            if *range.end() < f64::MAX {
                schema.insert("maximum".into(), json!(range.end()));
            }
            Json::Object(schema)
        }
        Scalar::Boolean => json!({ "type": "boolean" }),
        Scalar::Enum(words) => json!({ "enum": words }),
        Scalar::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65_535 }),
        Scalar::Address(wanted) => family(wanted, "ipv4", "ipv6"),
        Scalar::Network(wanted) => family(wanted, "ipv4Network", "ipv6Network"),
        Scalar::Hostname => reference("hostname"),
        Scalar::Mac => reference("mac"),
        Scalar::Url(schemes) => {
            let escaped: Vec<String> = schemes.iter().map(|one| one.replace('.', "\\.").replace('+', "\\+")).collect();
            json!({ "allOf": [reference("url"), { "pattern": format!("^(?:{})://", escaped.join("|")) }] })
        }
        Scalar::Duration(_) => reference("duration"),
        Scalar::Size(_) => reference("size"),
        Scalar::Pem(label) => {
            let label = match label.as_deref() {
                None => "[^\\n]*".to_owned(),
                Some("PRIVATE KEY") => "(?:[^\\n]* )?PRIVATE KEY".to_owned(),
                Some(label) => label.to_owned(),
            };
            let pattern = format!(
                "^\\s*(?:-----BEGIN ({label})-----[^\\S\\n]*\\n[A-Za-z0-9+/=\\s]+\\n-----END \\1-----\\s*)(?:-----BEGIN ({label})-----[^\\S\\n]*\\n[A-Za-z0-9+/=\\s]+\\n-----END \\2-----\\s*)*$"
            );
            json!({ "type": "string", "maxLength": 65_536, "allOf": [{ "pattern": LINES }, { "pattern": pattern }] })
        }
    }
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn terminals(class: &Class) -> (Json, bool) {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for terminal in &class.terminals {
        let Direction::Output { peers } = &terminal.direction else { continue };
        let schema = json!({
            "type": "array",
            "description": terminal.help,
            "items": reference("peer"),
            "minItems": peers.start(),
            "maxItems": peers.end(),
        });
        properties.insert(terminal.name.clone(), schema);
        if *peers.start() > 0 {
            required.push(terminal.name.as_str());
        }
    }
    let needed = !required.is_empty();
    let schema = json!({
        "type": "object",
        "description": "The peers of the class's outputs.",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    (schema, needed)
}

/// A value of a class as JSON.
pub(super) fn as_json(node: &Node) -> Json {
    match node.value() {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Number(number) => Json::Number(number.clone()),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Table(entries) => entries.iter().map(|entry| (entry.key.clone(), as_json(&entry.node))).collect(),
    }
}
