//! A field as the class declares it, and how its value is read from the settings.

use super::scalar::{Scalar, TYPES, is_same_scalar};
use super::value::{Record, Value};
use crate::document::{At, Node, Refusal, Value as Written};
use crate::error::Result;
use std::ops::RangeInclusive;

/// The most items of a list or records of a table.
pub const MAX_ITEMS: u64 = 1024;
/// The most items where the declaration does not say.
const USUAL_ITEMS: u64 = 64;

/// One field of a class, or one column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name: lower-case letters, digits and `_`.
    pub name: String,
    /// What it may hold.
    pub kind: Kind,
    /// What it holds where the settings are silent.
    pub default: Option<Value>,
    /// The default as the class writes it.
    pub default_written: Option<Node>,
    /// When the settings must give it.
    pub required: Required,
    /// What it means, in one line.
    pub help: String,
    /// A value as an operator would write it.
    pub example: Option<Node>,
    /// Whether nobody but root may see it.
    pub secret: bool,
}

/// What a field may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// One value.
    One(Scalar),
    /// A list of values of one type.
    List {
        /// The type of each.
        items: Scalar,
        /// How many.
        counts: RangeInclusive<u64>,
        /// Whether no two may be equal.
        unique: bool,
    },
    /// A table: records with the same columns.
    Table {
        /// The columns; none of them is a table.
        columns: Vec<Field>,
        /// How many records.
        counts: RangeInclusive<u64>,
        /// The column in which no two records may be equal.
        unique: Option<String>,
    },
}

/// When the settings must give a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Required {
    /// Never.
    No,
    /// Always.
    Always,
    /// When another field holds this value.
    If {
        /// The other field.
        field: String,
        /// The value, as the class writes it.
        is: Node,
    },
}

/// The keys of every field.
const COMMON: [&str; 7] = ["type", "default", "required", "required_if", "help", "example", "secret"];

impl Field {
    /// Reads the declaration of a field; a column of a table where `column` is set.
    pub(super) fn declared(name: &str, at: &At<'_>, column: bool) -> Result<Self> {
        if !is_field_name(name) {
            return at.refuse("has not the name of a field", "write lower-case letters, digits and _, a letter first");
        }
        let kind_name = at.required("type", |at| type_name(&at, column))?;
        let mut known = COMMON.to_vec();
        known.extend(keys(kind_name));
        let table = at.table_of(known.into())?;
        let kind = match kind_name {
            "list" => Kind::List {
                items: table.required("items", |at| items(&at))?,
                counts: counts(&table)?,
                unique: table.optional("unique", |at| at.boolean())?.unwrap_or(false),
            },
            "table" => table_kind(&table)?,
            name => Kind::One(Scalar::declared(name, &table)?),
        };
        let said = table.optional("secret", |at| at.boolean())?.unwrap_or(false);
        let secret = said || matches!(kind, Kind::One(Scalar::Secret(_)) | Kind::List { items: Scalar::Secret(_), .. });
        let is_number = |scalar: &Scalar| matches!(scalar, Scalar::Integer(_) | Scalar::Decimal(_) | Scalar::Port);
        let holds_number = match &kind {
            Kind::One(scalar) | Kind::List { items: scalar, .. } => is_number(scalar),
            Kind::Table { .. } => false,
        };
        if said && (holds_number || matches!(kind, Kind::Table { .. })) {
            return at.refuse("is secret and no text", "declare a text, or its columns, as secret");
        }
        let mut field = Field {
            name: name.to_owned(),
            kind,
            default: None,
            default_written: table.get("default").map(|at| at.node().clone()),
            required: required(&table)?,
            help: table.required("help", |at| at.line(1000))?.as_str().to_owned(),
            example: table.get("example").map(|at| at.node().clone()),
            secret,
        };
        field.default = table.optional("default", |at| field.read(&at))?;
        table.optional("example", |at| field.read(&at).map(|_| ()))?;
        if field.default.is_some() && field.required != Required::No {
            return at.refuse("is required and has a default", "keep one of the two");
        }
        Ok(field)
    }

    /// Reads the value of this field.
    ///
    /// # Errors
    /// The value is not what the field may hold, with its place. A secret is not repeated.
    pub fn read(&self, at: &At<'_>) -> Result<Value> {
        match &self.kind {
            Kind::One(scalar) => scalar.read(at, self.secret),
            Kind::List { items, counts, unique } => {
                let values =
                    counted(at, counts)?.iter().map(|at| items.read(at, self.secret)).collect::<Result<Vec<_>>>()?;
                if *unique && let Some((first, second)) = twins(&values) {
                    return at.refuse(
                        format_args!("holds the same value twice, as items {first} and {second}"),
                        "keep one of the two",
                    );
                }
                Ok(Value::List(values))
            }
            Kind::Table { columns, counts, unique } => {
                let records =
                    counted(at, counts)?.iter().map(|at| record(columns, at)).collect::<Result<Vec<Record>>>()?;
                if let Some(column) = unique {
                    let keys: Vec<Option<&Value>> = records.iter().map(|record| column_of(record, column)).collect();
                    if let Some((first, second)) = twins(&keys) {
                        return at.refuse(
                            format_args!("holds the same `{column}` twice, in records {first} and {second}"),
                            format_args!("give each record a `{column}` of its own"),
                        );
                    }
                }
                Ok(Value::Table(records))
            }
        }
    }

    /// Whether the value of this field, or a part of it, is secret.
    pub fn holds_secret(&self) -> bool {
        let column = |columns: &[Field]| columns.iter().any(Field::holds_secret);
        self.secret || matches!(&self.kind, Kind::Table { columns, .. } if column(columns))
    }
}

/// The value of a column.
fn column_of<'r>(record: &'r Record, column: &str) -> Option<&'r Value> {
    record.iter().find(|(name, _)| name == column).and_then(|(_, value)| value.as_ref())
}

/// The items of a list, as many as are allowed.
fn counted<'n>(at: &At<'n>, counts: &RangeInclusive<u64>) -> Result<Vec<At<'n>>> {
    let items = at.items(0..=usize::MAX)?;
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
    if !counts.contains(&count) {
        let (least, most) = (counts.start(), counts.end());
        return at.refuse(
            format_args!("has {count} items, and not {least} to {most}"),
            format_args!("write {least} to {most} items"),
        );
    }
    Ok(items)
}

fn record(columns: &[Field], at: &At<'_>) -> Result<Record> {
    check_names(at, columns, "no column of this table")?;
    settle(
        columns,
        |name| at.node().entry(name).map(|node| at.inside(node, name)),
        |problem, remedy| at.refuse(problem, remedy),
    )
}

/// Refuses keys that no declaration has.
pub(super) fn check_names(at: &At<'_>, fields: &[Field], what: &str) -> Result<()> {
    let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    for entry in at.entries()? {
        if !known.contains(&entry.key.as_str()) {
            let remedy = remedy_of(&entry.key, &known);
            return at.value_of(entry).refuse(format_args!("is {what}"), remedy);
        }
    }
    Ok(())
}

/// What to write instead of a name that is not known.
pub(super) fn remedy_of(name: &str, known: &[&str]) -> String {
    match crate::document::nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("those that there are: {}", known.join(", ")),
    }
}

/// The values of all fields: what is given, else the default. `missing` makes the error about one that is required.
pub(super) fn settle<'n>(
    fields: &[Field],
    given: impl Fn(&str) -> Option<At<'n>>,
    missing: impl Fn(String, String) -> Result<()>,
) -> Result<Record> {
    let mut values: Record = Vec::with_capacity(fields.len());
    for field in fields {
        let value = match given(&field.name) {
            Some(at) => Some(field.read(&at)?),
            None => field.default.clone(),
        };
        values.push((field.name.clone(), value));
    }
    for field in fields {
        let name = &field.name;
        let needed = match &field.required {
            Required::No => None,
            Required::Always => Some(format!("has no `{name}`")),
            Required::If { field: other, is } => is_same_scalar(is, column_of(&values, other))
                .then(|| format!("has no `{name}`, which must be given when `{other}` is {}", scalar_text(is))),
        };
        if let Some(problem) = needed.filter(|_| column_of(&values, name).is_none()) {
            missing(problem, format!("add `{name}`: {}", field.help))?;
        }
    }
    Ok(values)
}

/// A scalar of the class as it is written, for an error.
fn scalar_text(node: &Node) -> String {
    match node.value() {
        Written::Text(text) => format!("`{text}`"),
        Written::Number(number) => number.to_string(),
        Written::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}

/// Two equal items, by their numbers.
fn twins<T: PartialEq>(values: &[T]) -> Option<(usize, usize)> {
    values.iter().enumerate().find_map(|(second, value)| {
        let first = values.iter().take(second).position(|other| other == value)?;
        Some((first, second))
    })
}

fn type_name(at: &At<'_>, column: bool) -> Result<&'static str> {
    let text = at.text()?;
    let mut known: Vec<&'static str> = TYPES.iter().map(|(name, _)| *name).collect();
    known.push("list");
    if !column {
        known.push("table");
    }
    match known.iter().find(|name| **name == text) {
        Some(name) => Ok(name),
        None => at.refuse("is no type", remedy_of(text, &known)),
    }
}

/// The keys of a type beside the common ones.
fn keys(kind: &str) -> Vec<&'static str> {
    match kind {
        "list" => vec!["items", "min_items", "max_items", "unique"],
        "table" => vec!["columns", "min_items", "max_items", "unique"],
        _ => TYPES.iter().find(|(name, _)| *name == kind).map(|(_, keys)| keys.to_vec()).unwrap_or_default(),
    }
}

/// The type of a list's items.
fn items(at: &At<'_>) -> Result<Scalar> {
    let known: Vec<&'static str> = TYPES.iter().map(|(name, _)| *name).collect();
    let name = at.required("type", |at| {
        let text = at.text()?;
        match known.iter().find(|name| **name == text) {
            Some(name) => Ok(*name),
            None => at.refuse("is no type of items", remedy_of(text, &known)),
        }
    })?;
    let mut known = vec!["type"];
    known.extend(keys(name));
    Scalar::declared(name, &at.table_of(known.into())?)
}

fn table_kind(table: &crate::document::Table<'_>) -> Result<Kind> {
    let columns = table.required("columns", |at| declared_all(&at, true))?;
    let unique = table.optional("unique", |at| {
        at.parsed(|text| match columns.iter().any(|column| column.name == text) {
            true => Ok(text.to_owned()),
            false => Err(Refusal::new("is no column", "name a column of this table")),
        })
    })?;
    Ok(Kind::Table { columns, counts: counts(table)?, unique })
}

/// The declarations of a class's fields, or of a table's columns, in the order in which they are written.
pub(super) fn declared_all(at: &At<'_>, column: bool) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    for entry in at.entries()? {
        fields.push(Field::declared(&entry.key, &at.value_of(entry), column)?);
    }
    for field in &fields {
        let Required::If { field: other, is } = &field.required else { continue };
        // Only types whose values are written in one way can be compared with what the class writes.
        let other = fields.iter().find(|candidate| candidate.name == *other && candidate.name != field.name);
        let other = other.filter(|other| {
            use Scalar::{Boolean, Enum, Integer, Port, String};
            matches!(other.kind, Kind::One(Boolean | Enum(_) | Integer(_) | Port | String { .. }))
        });
        let Some(other) = other else {
            return at.refuse(
                format_args!("has `{}`, whose required_if names no other boolean, enum, number or text", field.name),
                "write it like { field = \"tls\", is = true }",
            );
        };
        other.read(&at.inside(is, &field.name))?;
    }
    Ok(fields)
}

fn counts(table: &crate::document::Table<'_>) -> Result<RangeInclusive<u64>> {
    let least = table.optional("min_items", |at| at.integer(0..=MAX_ITEMS))?.unwrap_or(0);
    let most = table.optional("max_items", |at| at.integer(0..=MAX_ITEMS))?.unwrap_or(USUAL_ITEMS.max(least));
    if least > most {
        return table.at().refuse("allows no number of items", "exchange min_items and max_items");
    }
    Ok(least..=most)
}

fn required(table: &crate::document::Table<'_>) -> Result<Required> {
    table.at_most_one(&["required", "required_if"])?;
    if table.optional("required", |at| at.boolean())?.unwrap_or(false) {
        return Ok(Required::Always);
    }
    let condition = table.optional("required_if", |at| {
        let condition = at.table(&["field", "is"])?;
        Ok(Required::If {
            field: condition.required("field", |at| at.text())?.to_owned(),
            is: condition.required("is", |at| Ok(at.node().clone()))?,
        })
    })?;
    Ok(condition.unwrap_or(Required::No))
}

/// Names that mean something else in a template.
const TAKEN: [&str; 6] = ["terminals", "hostname", "instance", "class", "loop", "none"];

fn is_field_name(name: &str) -> bool {
    let first = |c: u8| c.is_ascii_lowercase();
    let rest = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    name.len() <= 64 && name.bytes().next().is_some_and(first) && name.bytes().all(rest) && !TAKEN.contains(&name)
}
