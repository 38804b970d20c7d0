//! A value that has its type, and keeps it until a template prints it.

use std::fmt;

/// A value of a field.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A text whose type has an alphabet that means nothing to any target: a host name, an address, a word of an enum.
    Word(String),
    /// Any other text. A template never prints it without quoting it.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Decimal(f64),
    /// True or false.
    Boolean(bool),
    /// A duration in milliseconds.
    Duration(u64),
    /// A size in bytes.
    Size(u64),
    /// A list, all of one type.
    List(Vec<Value>),
    /// A table: records of the same columns.
    Table(Vec<Record>),
}

/// One record of a table: each column in the order of the class, with its value where it has one.
pub type Record = Vec<(String, Option<Value>)>;

/// Nobody knows here what is secret, so the value is not shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Word(_) => "Word(..)",
            Value::Text(_) => "Text(..)",
            Value::Integer(_) => "Integer(..)",
            Value::Decimal(_) => "Decimal(..)",
            Value::Boolean(_) => "Boolean(..)",
            Value::Duration(_) => "Duration(..)",
            Value::Size(_) => "Size(..)",
            Value::List(_) => "List(..)",
            Value::Table(_) => "Table(..)",
        })
    }
}

impl Value {
    /// Whether there is nothing in it: an empty text, list or table.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Word(text) | Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Table(records) => records.is_empty(),
            _ => false,
        }
    }
}
