//! What a field is, in words for people: the same in the terminal, in Markdown and in new settings.

use crate::class::notation::{MAX, write_duration, write_size};
use crate::class::{Class, Direction, Family, Field, Kind, Required, Scalar, Terminal};
use crate::document::{Node, Value};
use serde_json::Value as Json;
use std::ops::RangeInclusive;

/// The type of a field with its limits: `text of 1 to 32 characters`.
pub fn kind(field: &Field) -> String {
    let kind = match &field.kind {
        Kind::One(scalar) => scalar_type(scalar),
        Kind::List { items, counts, unique } => {
            let different = if *unique { ", all different" } else { "" };
            format!("list of {}: {}{different}", between(counts), scalar_type(items))
        }
        Kind::Table { counts, unique, .. } => match unique {
            Some(column) => format!("table of {} records, each with its own `{column}`", between(counts)),
            None => format!("table of {} records", between(counts)),
        },
    };
    let is_secret = matches!(field.kind, Kind::One(Scalar::Secret(_)) | Kind::List { items: Scalar::Secret(_), .. });
    if field.secret && !is_secret { format!("{kind}, secret") } else { kind }
}

fn scalar_type(scalar: &Scalar) -> String {
    let family = |family: &Option<Family>| match family {
        None => "IP",
        Some(Family::V4) => "IPv4",
        Some(Family::V6) => "IPv6",
    };
    match scalar {
        Scalar::String { length, pattern, multiline } => {
            let lines = if *multiline { "text of several lines" } else { "text" };
            let form = pattern.as_ref().map(|pattern| format!(", matching `{}`", pattern.as_str())).unwrap_or_default();
            format!("{lines}, {} characters{form}", between(length))
        }
        Scalar::Integer(range) => match (*range.start(), *range.end()) {
            (i64::MIN, i64::MAX) => "whole number".to_owned(),
            (least, i64::MAX) => format!("whole number, {least} or more"),
            (i64::MIN, most) => format!("whole number, {most} or less"),
            (least, most) => format!("whole number, {least} to {most}"),
        },
        Scalar::Decimal(range) => match (*range.start() == f64::MIN, *range.end() == f64::MAX) {
            (true, true) => "number".to_owned(),
            (false, true) => format!("number, {} or more", range.start()),
            (true, false) => format!("number, {} or less", range.end()),
            (false, false) => format!("number, {} to {}", range.start(), range.end()),
        },
        Scalar::Boolean => "true or false".to_owned(),
        Scalar::Enum(words) => match words.as_slice() {
            [word] => word.clone(),
            words => format!("one of {}", words.join(", ")),
        },
        Scalar::Port => "port, 1 to 65535".to_owned(),
        Scalar::Address(wanted) => format!("{} address", family(wanted)),
        Scalar::Network(wanted) => format!("{} network", family(wanted)),
        Scalar::Hostname => "host name".to_owned(),
        Scalar::Mac => "hardware address".to_owned(),
        Scalar::Url(schemes) => format!("URL, {}", schemes.join(" or ")),
        Scalar::Duration(range) => format!("duration{}", limits(range, write_duration)),
        Scalar::Size(range) => format!("size{}", limits(range, write_size)),
        Scalar::Pem(Some(label)) => format!("PEM text, {label}"),
        Scalar::Pem(None) => "PEM text".to_owned(),
        Scalar::Secret(length) => format!("secret text, {} characters", between(length)),
    }
}

fn between(range: &RangeInclusive<u64>) -> String {
    match (range.start(), range.end()) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn limits(range: &RangeInclusive<u64>, write: impl Fn(u64) -> String) -> String {
    match (*range.start(), *range.end()) {
        (0, MAX) => String::new(),
        (least, MAX) => format!(", {} or more", write(least)),
        (0, most) => format!(", at most {}", write(most)),
        (least, most) => format!(", {} to {}", write(least), write(most)),
    }
}

/// The default of a field as settings would write it, or when it must be given, or that it need not be.
pub fn default(field: &Field) -> String {
    match (&field.default_written, &field.required) {
        (Some(node), _) => toml_value(node),
        (None, Required::No) => "not set".to_owned(),
        (None, Required::Always) => "required".to_owned(),
        (None, Required::If { field, is }) => format!("required when {field} = {}", toml_value(is)),
    }
}

/// Whether settings that give nothing else must give this one of `fields`.
pub fn is_needed(field: &Field, fields: &[Field]) -> bool {
    match &field.required {
        Required::No => false,
        Required::Always => true,
        Required::If { field: other, is } => {
            let other = fields.iter().find(|candidate| candidate.name == *other);
            other.and_then(|other| other.default_written.as_ref()).is_some_and(|node| node.value() == is.value())
        }
    }
}

/// A value as TOML writes it on one line.
pub fn toml_value(node: &Node) -> String {
    match node.value() {
        // JSON's escapes are TOML's, too, and DEL is no character of settings.
        Value::Text(text) => Json::from(text.as_str()).to_string(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null => "\"\"".to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Table(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Table(entries) => {
            let entries = entries.iter().map(|entry| format!("{} = {}", toml_key(&entry.key), toml_value(&entry.node)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn toml_key(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    if plain { key.to_owned() } else { Json::from(key).to_string() }
}

/// A terminal in words: `output to 1 to 64 peers that speak http`.
pub fn terminal(terminal: &Terminal) -> String {
    match &terminal.direction {
        Direction::Input { port: Some(port) } => format!("input for {}, at the port of `{port}`", terminal.protocol),
        Direction::Input { port: None } => format!("input for {}", terminal.protocol),
        Direction::Output { peers } => {
            let noun = if *peers.end() == 1 { "peer that speaks" } else { "peers that speak" };
            format!("output to {} {noun} {}", between(peers), terminal.protocol)
        }
    }
}

/// The sections that a class takes, in words; `None` where it takes all.
pub fn sections(class: &Class) -> Option<String> {
    let all = class.policy.sections.len() == crate::settings::SECTIONS.len();
    (!all).then(|| class.policy.sections.join(", "))
}

/// What it takes for the appliance to count as ready, a line for each probe.
pub fn ready(class: &Class) -> Vec<String> {
    use crate::class::{PortOf, Probe};
    let port = |port: &PortOf| match port {
        PortOf::Number(number) => format!("port {number}"),
        PortOf::Field(name) => format!("the port of `{name}`"),
    };
    let probes = class.ready.iter().flat_map(|ready| &ready.probes);
    probes
        .map(|probe| match probe {
            Probe::Tcp(at) => format!("{} takes connections", port(at)),
            Probe::Http { port: at, path, status } => format!("{} answers {path} with status {status}", port(at)),
            Probe::Unit(unit) => format!("{unit} is active"),
            Probe::Command(command) => format!("{} ends with 0", command.join(" ")),
        })
        .collect()
}
