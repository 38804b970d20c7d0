//! The places of a class's settings that could hold a text, each with a text that it takes.

use crate::appliance::Appliance;
use handoff::class::notation::{write_duration, write_size};
use handoff::class::{Direction, Family, Field, Kind, Scalar};
use serde_json::{Value, json};

/// Letters that stand nowhere but in the place that is looked at.
const MARKER: &str = "zqmarker";

/// What a place takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Texts, some of which may be hostile.
    Text,
    /// What has an alphabet of its own, or is no text: no hostile text at all.
    Other,
}

/// One place.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its path, as errors write it.
    pub name: String,
    pointer: String,
    pub form: Form,
    pub secret: bool,
    /// A text that is good there; of texts, one that stands nowhere else.
    pub good: String,
}

impl Subject {
    /// The settings with this text there.
    pub fn set_in(&self, settings: &Value, text: &str) -> Value {
        let mut settings = settings.clone();
        *settings.pointer_mut(&self.pointer).expect(&self.pointer) = json!(text);
        settings
    }
}

/// Blocks of PEM with each label: a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pem {
    pub certificate: String,
    pub key: String,
}

impl Pem {
    fn labelled(&self, label: Option<&str>) -> String {
        match label {
            Some("CERTIFICATE") => self.certificate.clone(),
            Some("PRIVATE KEY") => self.key.clone(),
            Some(label) => format!("-----BEGIN {label}-----\nenFtYXJrZXI=\n-----END {label}-----\n"),
            None => format!("{}{}", self.certificate, self.key),
        }
    }
}

/// A good value of a type; of texts, one with this word in it.
pub fn good(scalar: &Scalar, word: &str, pem: &Pem) -> Value {
    match scalar {
        Scalar::String { length, pattern, .. } => {
            let candidates = [
                word.to_owned(),
                format!("/{word}"),
                format!("{word}.example"),
                format!("{word}1"),
                format!("{word}@example.net"),
                word.to_uppercase(),
            ];
            let fits = |text: &&String| {
                length.contains(&(text.chars().count() as u64)) && pattern.as_ref().is_none_or(|p| p.matches(text))
            };
            let found = candidates.iter().find(fits);
            json!(found.unwrap_or_else(|| panic!("no text is known that {scalar:?} takes: add one here")))
        }
        Scalar::Secret(length) => {
            let least = usize::try_from(*length.start()).unwrap();
            json!(format!("{word}{}", "s".repeat(least.saturating_sub(word.len()))))
        }
        Scalar::Url(schemes) => json!(format!("{}://{word}.example/", schemes[0])),
        Scalar::Pem(label) => json!(pem.labelled(label.as_deref())),
        Scalar::Integer(range) => json!(range.start().max(&0).min(range.end())),
        Scalar::Decimal(range) => json!(range.start().max(0.0).min(*range.end())),
        Scalar::Boolean => json!(true),
        Scalar::Enum(words) => json!(words[0]),
        Scalar::Port => json!(8080),
        Scalar::Address(Some(Family::V6)) => json!("2001:db8::1"),
        Scalar::Address(_) => json!("192.0.2.1"),
        Scalar::Network(Some(Family::V6)) => json!("2001:db8::/32"),
        Scalar::Network(_) => json!("192.0.2.0/24"),
        Scalar::Hostname => json!(format!("{word}.example")),
        Scalar::Mac => json!("52:54:00:12:34:56"),
        Scalar::Duration(range) => json!(write_duration(*range.start().max(&1000).min(range.end()))),
        Scalar::Size(range) => json!(write_size(*range.start().max(&(1 << 20)).min(range.end()))),
    }
}

fn form(scalar: &Scalar) -> Form {
    match scalar {
        Scalar::String { .. } | Scalar::Secret(_) | Scalar::Url(_) | Scalar::Pem(_) => Form::Text,
        _ => Form::Other,
    }
}

fn subject(name: &str, form: Form, secret: bool, good: &Value) -> Subject {
    let pointer = format!("/{}", name.replace('[', ".").replace(']', "").replace('.', "/"));
    let good = good.as_str().map_or_else(|| good.to_string(), str::to_owned);
    Subject { name: name.to_owned(), pointer, form, secret, good }
}

fn of_field(field: &Field, name: &str, pem: &Pem, found: &mut Vec<Subject>) {
    match &field.kind {
        Kind::One(scalar) => {
            let secret = field.secret || matches!(scalar, Scalar::Secret(_));
            found.push(subject(name, form(scalar), secret, &good(scalar, MARKER, pem)));
        }
        Kind::List { items, .. } => {
            found.push(subject(name, Form::Other, false, &json!("[]")));
            found.push(subject(&format!("{name}[0]"), form(items), field.secret, &good(items, MARKER, pem)));
        }
        Kind::Table { columns, .. } => {
            found.push(subject(name, Form::Other, false, &json!("[]")));
            found.push(subject(&format!("{name}[0]"), Form::Other, false, &json!("{}")));
            for column in columns {
                of_field(column, &format!("{name}[0].{}", column.name), pem, found);
            }
        }
    }
}

/// All of them: fields, items, columns, peers, and what else a template may print.
pub fn subjects(appliance: &Appliance) -> Vec<Subject> {
    let mut found = Vec::new();
    for field in &appliance.class.fields {
        of_field(field, &format!("fields.{}", field.name), &appliance.pem, &mut found);
    }
    for terminal in &appliance.class.terminals {
        if let Direction::Output { .. } = terminal.direction {
            let peer = format!("terminals.{}[0]", terminal.name);
            for (key, good) in [("name", MARKER), ("address", "192.0.2.1"), ("port", "80")] {
                found.push(subject(&format!("{peer}.{key}"), Form::Other, false, &json!(good)));
            }
            found.push(subject(&peer, Form::Other, false, &json!("{}")));
        }
    }
    found.push(subject("hostname", Form::Other, false, &json!(format!("{MARKER}.example"))));
    found.push(subject("appliance.class", Form::Other, false, &json!(appliance.class.name)));
    found.push(subject("appliance.version", Form::Other, false, &appliance.base["appliance"]["version"]));
    found.push(subject("instance.id", Form::Text, false, &json!(MARKER)));
    found
}
