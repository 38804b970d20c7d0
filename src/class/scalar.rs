//! The types of single values: what they are declared with, and how a value is read.

use super::notation;
use super::texts::{Pattern, check_pem, check_url};
use super::value::Value;
use crate::document::{At, Node, Refusal, Table, Value as Written, one_of};
use crate::error::Result;
use crate::settings::{AddressAndPrefix, Hostname, Mac};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The most characters that any text may be allowed to have.
pub const MAX_TEXT: u64 = 65_536;
/// The most characters of a text whose declaration does not say.
const USUAL_TEXT: u64 = 255;
/// The most characters of PEM text.
const MAX_PEM: u64 = 65_536;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The words for the families.
pub const FAMILIES: [(&str, Family); 2] = [("ipv4", Family::V4), ("ipv6", Family::V6)];

/// The type of a single value, with its limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A text, with its length in characters.
    String {
        /// The least and the most characters.
        length: RangeInclusive<u64>,
        /// What the whole text must match.
        pattern: Option<Pattern>,
        /// Whether line feeds and tabs are allowed.
        multiline: bool,
    },
    /// A whole number.
    Integer(RangeInclusive<i64>),
    /// A number, whole or not.
    Decimal(RangeInclusive<f64>),
    /// True or false.
    Boolean,
    /// One of these words.
    Enum(Vec<String>),
    /// A port, 1 to 65535.
    Port,
    /// An IP address.
    Address(Option<Family>),
    /// A network, host bits zero, like `10.0.0.0/8`.
    Network(Option<Family>),
    /// A host name.
    Hostname,
    /// A hardware address.
    Mac,
    /// A URL with one of these schemes.
    Url(Vec<String>),
    /// A duration in milliseconds.
    Duration(RangeInclusive<u64>),
    /// A size in bytes.
    Size(RangeInclusive<u64>),
    /// PEM text whose blocks have this label.
    Pem(Option<String>),
    /// A text that nobody but root sees, with its length in characters.
    Secret(RangeInclusive<u64>),
}

/// The names of the types, and the keys with which each is declared.
pub const TYPES: [(&str, &[&str]); 15] = [
    ("string", &["min_length", "max_length", "pattern", "multiline"]),
    ("integer", &["min", "max"]),
    ("decimal", &["min", "max"]),
    ("boolean", &[]),
    ("enum", &["values"]),
    ("port", &[]),
    ("address", &["family"]),
    ("network", &["family"]),
    ("hostname", &[]),
    ("mac", &[]),
    ("url", &["schemes"]),
    ("duration", &["min", "max"]),
    ("size", &["min", "max"]),
    ("pem", &["label"]),
    ("secret", &["min_length", "max_length"]),
];

impl Scalar {
    /// Reads the declaration of a type: the name is known, its keys are in the table.
    pub(super) fn declared(name: &str, table: &Table<'_>) -> Result<Self> {
        let family = || table.optional("family", |at| at.word(&FAMILIES));
        Ok(match name {
            "string" => Scalar::String {
                length: length(table)?,
                pattern: table.optional("pattern", |at| at.parsed(Pattern::parse))?,
                multiline: table.optional("multiline", |at| at.boolean())?.unwrap_or(false),
            },
            "integer" => Scalar::Integer(range(table, i64::MIN..=i64::MAX, |at, all| at.signed(all))?),
            "decimal" => Scalar::Decimal(range(table, f64::MIN..=f64::MAX, |at, all| at.decimal(all))?),
            "boolean" => Scalar::Boolean,
            "enum" => Scalar::Enum(table.required("values", |at| at.list(1..=256, |at| at.parsed(word)))?),
            "port" => Scalar::Port,
            "address" => Scalar::Address(family()?),
            "network" => Scalar::Network(family()?),
            "hostname" => Scalar::Hostname,
            "mac" => Scalar::Mac,
            "url" => Scalar::Url(
                table
                    .optional("schemes", |at| at.list(1..=16, |at| at.parsed(word)))?
                    .unwrap_or_else(|| vec!["http".into(), "https".into()]),
            ),
            "duration" => Scalar::Duration(range(table, 0..=notation::MAX, |at, _| at.parsed(notation::duration))?),
            "size" => Scalar::Size(range(table, 0..=notation::MAX, |at, _| at.parsed(notation::size))?),
            "pem" => Scalar::Pem(table.optional("label", |at| at.parsed(label))?),
            _ => Scalar::Secret(length(table)?),
        })
    }

    /// The name of the type.
    pub fn name(&self) -> &'static str {
        match self {
            Scalar::String { .. } => "string",
            Scalar::Integer(_) => "integer",
            Scalar::Decimal(_) => "decimal",
            Scalar::Boolean => "boolean",
            Scalar::Enum(_) => "enum",
            Scalar::Port => "port",
            Scalar::Address(_) => "address",
            Scalar::Network(_) => "network",
            Scalar::Hostname => "hostname",
            Scalar::Mac => "mac",
            Scalar::Url(_) => "url",
            Scalar::Duration(_) => "duration",
            Scalar::Size(_) => "size",
            Scalar::Pem(_) => "pem",
            Scalar::Secret(_) => "secret",
        }
    }

    /// Reads a value of this type. One that is `secret` is not repeated in errors.
    pub(super) fn read(&self, at: &At<'_>, secret: bool) -> Result<Value> {
        let secret = secret || matches!(self, Scalar::Secret(_));
        if secret && matches!(at.node().value(), Written::Number(_)) {
            return at.refuse("is a number, not a text", "write it in quotes");
        }
        if let (Scalar::Duration(_) | Scalar::Size(_), Written::Number(_)) = (self, at.node().value()) {
            let remedy = match self {
                Scalar::Duration(_) => "write it in quotes and with its unit, like \"30s\"",
                _ => "write it in quotes and with its unit, like \"64MiB\"",
            };
            return at.refuse("is a number without a unit", remedy);
        }
        Ok(match self {
            Scalar::String { multiline: true, .. } | Scalar::Pem(_) => {
                let text = at.text_of_any_form()?;
                self.check(text).or_else(|refusal| at.refuse(refusal.problem, refusal.remedy))?;
                Value::Text(text.to_owned())
            }
            Scalar::String { .. } | Scalar::Url(_) | Scalar::Secret(_) => {
                Value::Text(self.parsed(at, secret, |text| self.check(text).map(|()| text.to_owned()))?)
            }
            Scalar::Integer(range) if !secret => Value::Integer(at.signed(range.clone())?),
            Scalar::Decimal(range) if !secret => Value::Decimal(at.decimal(range.clone())?),
            Scalar::Integer(_) | Scalar::Decimal(_) => return at.refuse("cannot be secret", "declare it as a secret"),
            Scalar::Boolean => Value::Boolean(at.boolean()?),
            Scalar::Enum(words) => {
                Value::Word(self.parsed(at, secret, |text| match words.iter().any(|w| w == text) {
                    true => Ok(text.to_owned()),
                    false => Err(Refusal::new(
                        "is no value of it",
                        format!("write {}", one_of(&words.iter().map(String::as_str).collect::<Vec<_>>())),
                    )),
                })?)
            }
            Scalar::Port => Value::Integer(at.signed(1..=65_535)?),
            Scalar::Address(family) => {
                let address = |text: &str| {
                    let remedy = match family {
                        None => "write it like 10.0.0.10 or 2001:db8::10",
                        Some(Family::V4) => "write it like 10.0.0.10",
                        Some(Family::V6) => "write it like 2001:db8::10",
                    };
                    match text.parse::<IpAddr>() {
                        Ok(address) if fits(address, *family) => Ok(address.to_string()),
                        _ => Err(Refusal::new(format!("is not an {} address", family_name(*family)), remedy)),
                    }
                };
                Value::Word(self.parsed(at, secret, address)?)
            }
            Scalar::Network(family) => Value::Word(self.parsed(at, secret, |text| {
                let network = AddressAndPrefix::parse(text)?;
                if !fits(network.address(), *family) {
                    let problem = format!("is not an {} network", family_name(*family));
                    return Err(Refusal::new(problem, "write one of that family"));
                }
                if network.network() != network {
                    let remedy = format!("did you mean {}?", network.network());
                    return Err(Refusal::new("is an address in a network, and not the network", remedy));
                }
                Ok(network.to_string())
            })?),
            Scalar::Hostname => Value::Word(self.parsed(at, secret, |text| Ok(Hostname::parse(text)?.to_string()))?),
            Scalar::Mac => Value::Word(self.parsed(at, secret, |text| Ok(Mac::parse(text)?.to_string()))?),
            Scalar::Duration(range) => Value::Duration(
                self.parsed(at, secret, |text| between(notation::duration(text)?, range, notation::write_duration))?,
            ),
            Scalar::Size(range) => Value::Size(
                self.parsed(at, secret, |text| between(notation::size(text)?, range, notation::write_size))?,
            ),
        })
    }

    fn parsed<T>(&self, at: &At<'_>, secret: bool, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Result<T> {
        if secret { at.parsed_secret(parse) } else { at.parsed(parse) }
    }

    /// Judges the text of a type that is any text.
    fn check(&self, text: &str) -> Result<(), Refusal> {
        let allowed = match self {
            Scalar::String { length, .. } | Scalar::Secret(length) => length.clone(),
            Scalar::Pem(_) => 1..=MAX_PEM,
            _ => 0..=MAX_TEXT,
        };
        let count = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        if !allowed.contains(&count) {
            let (least, most) = (allowed.start(), allowed.end());
            let problem = match count {
                0 => "is empty".to_owned(),
                count if count < *least => format!("is shorter than {least} characters"),
                _ => format!("is longer than {most} characters"),
            };
            return Err(Refusal::new(problem, format!("write {least} to {most} characters")));
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(Refusal::new("has a control character", "write lines with line feeds alone"));
        }
        match self {
            Scalar::String { pattern: Some(pattern), .. } if !pattern.matches(text) => Err(Refusal::new(
                "does not have the form that is asked for",
                format!("write what matches {}", pattern.as_str()),
            )),
            Scalar::Pem(label) => check_pem(text, label.as_deref()),
            Scalar::Url(schemes) => check_url(text, schemes),
            _ => Ok(()),
        }
    }
}

fn fits(address: IpAddr, family: Option<Family>) -> bool {
    family.is_none_or(|family| (family == Family::V4) == address.is_ipv4())
}

fn family_name(family: Option<Family>) -> &'static str {
    match family {
        None => "IP",
        Some(Family::V4) => "IPv4",
        Some(Family::V6) => "IPv6",
    }
}

fn between(value: u64, range: &RangeInclusive<u64>, write: impl Fn(u64) -> String) -> Result<u64, Refusal> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (write(*range.start()), write(*range.end()));
    Err(Refusal::new(format!("is not from {least} to {most}"), format!("write {least} to {most}")))
}

fn length(table: &Table<'_>) -> Result<RangeInclusive<u64>> {
    let least = table.optional("min_length", |at| at.integer(0..=MAX_TEXT))?.unwrap_or(0);
    let most = table.optional("max_length", |at| at.integer(0..=MAX_TEXT))?.unwrap_or(USUAL_TEXT.max(least));
    not_empty(table, least..=most)
}

fn range<T: PartialOrd + Copy>(
    table: &Table<'_>,
    all: RangeInclusive<T>,
    read: impl Fn(&At<'_>, RangeInclusive<T>) -> Result<T>,
) -> Result<RangeInclusive<T>> {
    let least = table.optional("min", |at| read(&at, all.clone()))?.unwrap_or(*all.start());
    let most = table.optional("max", |at| read(&at, all.clone()))?.unwrap_or(*all.end());
    not_empty(table, least..=most)
}

fn not_empty<T: PartialOrd>(table: &Table<'_>, range: RangeInclusive<T>) -> Result<RangeInclusive<T>> {
    if range.is_empty() {
        return table.at().refuse("allows no value: its least is more than its most", "exchange the two");
    }
    Ok(range)
}

/// A word of an enum, or a scheme: what means nothing to any target.
fn word(text: &str) -> Result<String, Refusal> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'+');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(good) || text.starts_with('-') {
        return Err(Refusal::new("is not a word", "write 1 to 64 letters, digits, -, _, . and +"));
    }
    Ok(text.to_owned())
}

fn label(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|c| c.is_ascii_uppercase() || c == b' ') {
        return Err(Refusal::new("is not the label of a PEM block", "write it like CERTIFICATE"));
    }
    Ok(text.to_owned())
}

/// Whether a scalar of the settings is the one that a condition names.
pub(super) fn is_same_scalar(node: &Node, value: Option<&Value>) -> bool {
    match (node.value(), value) {
        (Written::Bool(wanted), Some(Value::Boolean(value))) => wanted == value,
        (Written::Text(wanted), Some(Value::Word(value) | Value::Text(value))) => wanted == value,
        (Written::Number(wanted), Some(Value::Integer(value))) => wanted.as_i64() == Some(*value),
        _ => false,
    }
}
