//! `handoff new`: settings for a class to begin with, in TOML, with everything in them that may be set.

use super::words;
use crate::class::notation::{write_duration, write_size};
use crate::class::{Class, Direction, Family, Field, Kind, Required, Scalar, Terminal};
use crate::document::{Node, Value};

/// The width that comments are wrapped to.
const WIDTH: usize = 100;

/// Settings that `handoff check` calls good as they are.
pub fn settings(class: &Class) -> String {
    let takes = |section: &str| class.policy.sections.contains(&section);
    let name = host_name(&class.name);
    let mut out = String::new();
    comment(&mut out, &format!("Settings of {}: {}.", class.name, class.summary.trim_end_matches('.')));
    comment(&mut out, "What is commented out has the value that is shown, or is not set.");
    out.push_str("version = 1\n");
    if takes("hostname") {
        out.push_str(&format!("hostname = \"{name}\"\n"));
    }
    if takes("timezone") {
        out.push_str("# timezone = \"Europe/Paris\"\n");
    }
    out.push_str(&format!(
        "\n[instance]\nid = \"{name}\"\nserial = 1                          # one more with each change\n"
    ));
    out.push_str(&format!("\n[appliance]\nclass = \"{}\"\n", class.name));
    if let Some(release) = &class.release {
        out.push_str(&format!("# version = \"{release}\"\n"));
    }
    if takes("network") {
        out.push('\n');
        comment(&mut out, "Interfaces that are not listed stay as the image has them.");
        out.push_str(NETWORK);
    }
    if !class.fields.is_empty() && takes("fields") {
        out.push_str("\n[fields]\n");
        for (index, field) in class.fields.iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "\n" });
            write_field(&mut out, field, &class.fields);
        }
    }
    let outputs: Vec<&Terminal> = class.terminals.iter().filter(|terminal| is_output(terminal)).collect();
    if !outputs.is_empty() && takes("terminals") {
        out.push_str("\n[terminals]\n");
        outputs.into_iter().for_each(|terminal| write_terminal(&mut out, terminal));
    }
    out
}

/// Settings with the example of every field, else its default, and as many peers as there may be, as JSON.
pub fn examples(class: &Class) -> serde_json::Value {
    let value = |field: &Field| {
        let node = field.example.as_ref().or(field.default_written.as_ref())?;
        Some((field.name.clone(), super::schema::as_json(node)))
    };
    let fields: serde_json::Map<_, _> = class.fields.iter().filter_map(value).collect();
    let peers = |terminal: &Terminal| {
        let Direction::Output { peers } = &terminal.direction else { return None };
        let peer = |number| serde_json::json!({ "name": format!("peer{number}"), "address": "192.0.2.1", "port": 80 });
        Some((terminal.name.clone(), (0..*peers.end()).map(peer).collect()))
    };
    let terminals: serde_json::Map<_, _> = class.terminals.iter().filter_map(peers).collect();
    serde_json::json!({ "version": 1, "hostname": "a.example", "fields": fields, "terminals": terminals })
}

const NETWORK: &str = r#"# [[network.interfaces]]
# name = "lan"
# match = { mac = "52:54:00:12:34:56" }
# addresses = ["192.0.2.10/24"]
# dhcp = "none"
# gateways = ["192.0.2.1"]
#
# [network.dns]
# servers = ["192.0.2.1"]
"#;

/// A host name made of a class's name, which may have other characters.
fn host_name(class: &str) -> String {
    let plain: String = class.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    format!("{}-1", plain.trim_matches('-'))
}

fn comment(out: &mut String, text: &str) {
    let mut used = 1;
    out.push('#');
    for word in text.split_whitespace() {
        let length = word.chars().count() + 1;
        if used > 1 && used + length > WIDTH {
            out.push_str("\n#");
            used = 1;
        }
        out.push(' ');
        out.push_str(word);
        used += length;
    }
    out.push('\n');
}

fn write_field(out: &mut String, field: &Field, fields: &[Field]) {
    let required = match &field.required {
        Required::No => String::new(),
        _ => format!(" ({})", words::default(field)),
    };
    comment(out, &format!("{}: {}{required}.", field.help.trim_end_matches('.'), words::kind(field)));
    if let Kind::Table { columns, .. } = &field.kind {
        for column in columns {
            let default = words::default(column);
            comment(out, &format!("- {}: {}; {}; {default}.", column.name, column.help, words::kind(column)));
        }
    }
    let value = field.default_written.as_ref().or(field.example.as_ref());
    let value = value.map_or_else(|| sample(&field.kind), written);
    let lines = format!("{} = {value}", field.name);
    let needed = words::is_needed(field, fields);
    write_lines(out, &lines, needed);
    if let (Some(_), Some(example)) = (&field.default_written, &field.example) {
        comment(out, &format!("Like {}", words::toml_value(example)));
    }
}

fn write_lines(out: &mut String, lines: &str, needed: bool) {
    for line in lines.lines() {
        out.push_str(if needed { "" } else { "# " });
        out.push_str(line);
        out.push('\n');
    }
}

/// A value, with each record of a table on a line of its own.
fn written(node: &Node) -> String {
    match node.value() {
        Value::List(items) if items.iter().any(|item| matches!(item.value(), Value::Table(_))) => {
            let records = items.iter().map(|item| format!("  {},\n", words::toml_value(item)));
            format!("[\n{}]", records.collect::<String>())
        }
        _ => words::toml_value(node),
    }
}

/// Something in the place of a value that the class does not show.
fn sample(kind: &Kind) -> String {
    match kind {
        Kind::One(scalar) => scalar_sample(scalar),
        Kind::List { items, .. } => format!("[{}]", scalar_sample(items)),
        Kind::Table { columns, .. } => {
            let cell = |column: &Field| {
                let value = column.default_written.as_ref().or(column.example.as_ref());
                format!("{} = {}", column.name, value.map_or_else(|| sample(&column.kind), words::toml_value))
            };
            format!("[\n  {{ {} }},\n]", columns.iter().map(cell).collect::<Vec<_>>().join(", "))
        }
    }
}

fn scalar_sample(scalar: &Scalar) -> String {
    match scalar {
        Scalar::String { .. } | Scalar::Secret(_) => "\"…\"".to_owned(),
        Scalar::Integer(range) => 1.clamp(*range.start(), *range.end()).to_string(),
        Scalar::Decimal(range) => format!("{:?}", 1.0_f64.clamp(*range.start(), *range.end())),
        Scalar::Boolean => "true".to_owned(),
        Scalar::Enum(words) => format!("\"{}\"", words.first().map(String::as_str).unwrap_or_default()),
        Scalar::Port => "8080".to_owned(),
        Scalar::Address(Some(Family::V6)) => "\"2001:db8::10\"".to_owned(),
        Scalar::Address(_) => "\"192.0.2.10\"".to_owned(),
        Scalar::Network(Some(Family::V6)) => "\"2001:db8::/64\"".to_owned(),
        Scalar::Network(_) => "\"192.0.2.0/24\"".to_owned(),
        Scalar::Hostname => "\"www.example.net\"".to_owned(),
        Scalar::Mac => "\"52:54:00:12:34:56\"".to_owned(),
        Scalar::Url(schemes) => {
            format!("\"{}://www.example.net/\"", schemes.first().map_or("https", String::as_str))
        }
        Scalar::Duration(range) => format!("\"{}\"", write_duration(30_000.clamp(*range.start(), *range.end()))),
        Scalar::Size(range) => format!("\"{}\"", write_size((64 << 20).clamp(*range.start(), *range.end()))),
        Scalar::Pem(label) => {
            let label = label.as_deref().unwrap_or("CERTIFICATE");
            format!("\"\"\"\n-----BEGIN {label}-----\n…\n-----END {label}-----\n\"\"\"")
        }
    }
}

fn is_output(terminal: &Terminal) -> bool {
    matches!(terminal.direction, Direction::Output { .. })
}

fn write_terminal(out: &mut String, terminal: &Terminal) {
    let Direction::Output { peers } = &terminal.direction else { return };
    comment(out, &format!("{}: {}.", terminal.help.trim_end_matches('.'), words::terminal(terminal)));
    let port = match terminal.protocol.as_str() {
        "http" => 80,
        "https" => 443,
        "postgresql" => 5432,
        _ => 8080,
    };
    let mut lines = format!("{} = [\n", terminal.name);
    // As many as there must be, and one to see how it is written where there need be none.
    for number in 1..=(*peers.start()).max(1) {
        let address = format!("10.0.{}.{}", number / 250, number % 250 + 1);
        lines.push_str(&format!("  {{ name = \"peer{number}\", address = \"{address}\", port = {port} }},\n"));
    }
    lines.push(']');
    write_lines(out, &lines, *peers.start() > 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::catalog::Catalog;
    use crate::operator::toml;
    use crate::settings::Settings;

    /// The settings with every line in force that shows a default or an example.
    fn uncommented(class: &Class) -> String {
        let mut inside = false;
        let shows = |line: &str| {
            let name = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).map(|(name, _)| name);
            name.and_then(|name| class.field(name)).is_some_and(shows_a_value)
        };
        let line = |line: &str| {
            let begins = shows(line);
            let text = if begins || inside { line.trim_start_matches("# ") } else { line };
            inside = (begins && line.ends_with('[')) || (inside && line != "# ]");
            format!("{text}\n")
        };
        settings(class).lines().map(line).collect()
    }

    fn shows_a_value(field: &Field) -> bool {
        field.default_written.is_some() || field.example.is_some()
    }

    #[test]
    fn what_is_commented_out_may_be_put_in_force_as_it_is() {
        for name in Catalog::BuiltIn.names().unwrap() {
            let class = Catalog::BuiltIn.class(&name).unwrap().class;
            let text = uncommented(&class);
            let settings = Settings::from_document(&toml::parse(&text).unwrap()).unwrap();
            let shown = class.fields.iter().filter(|field| shows_a_value(field)).count();
            assert_eq!(settings.fields.len(), shown, "{text}");
            class.resolve(&settings).unwrap();
        }
    }

    #[test]
    fn values_that_the_class_does_not_show_are_of_their_type() {
        let kinds = [
            (r#""type": "integer", "min": 7"#, "7"),
            (r#""type": "decimal", "max": 0.5"#, "0.5"),
            (r#""type": "duration", "max": "5s""#, "\"5s\""),
            (r#""type": "size", "min": "1GiB""#, "\"1GiB\""),
            (r#""type": "enum", "values": ["x"]"#, "\"x\""),
            (r#""type": "list", "items": { "type": "address", "family": "ipv6" }"#, "[\"2001:db8::10\"]"),
        ];
        for (declared, wanted) in kinds {
            let text =
                format!(r#"{{ "version": 1, "class": "x", "fields": {{ "f": {{ {declared}, "help": "h" }} }} }}"#);
            let class = Class::parse(text.as_bytes()).unwrap();
            assert!(settings(&class).contains(&format!("\n# f = {wanted}\n")), "{}", settings(&class));
        }
    }
}
