//! The command `get`: the fields of this guest, for its own programs and for people. Secret ones are for root.

use crate::class::Class;
use crate::document::{self, Format, Node, Value, Writer};
use crate::error::{Error, Result, one_line};
use crate::guest::{GuestPath, View};
use crate::render::appliance::fields::{FIELDS, SECRET_FIELDS};
use crate::root::Root;
use std::io::Write;

/// The two files as documents.
const FORMAT: Format = Format {
    name: FIELDS,
    depth: Format::DEPTH,
    items: Format::OWN,
    values: Format::OWN,
    error: |fault| Error::not_applied(FIELDS, fault.problem, "apply the settings again with `handoff-agent apply`"),
};

/// Prints one field, or all that the caller may see.
pub(super) fn get(root: &Root, field: Option<&str>, json: bool, out: &mut dyn Write) -> Result<u8> {
    let class = Class::load(root)?;
    let Some(public) = read(root, FIELDS)? else {
        let problem = "no settings were applied to this guest, or its class has no fields";
        return Err(Error::no_settings("fields", problem, "apply settings first, and see `handoff-agent status`"));
    };
    let text = match field {
        Some(name) => {
            let Some(declared) = class.field(name) else {
                let known: Vec<&str> = class.fields.iter().map(|field| field.name.as_str()).collect();
                let remedy = format!("these are there: {}", known.join(", "));
                return Err(Error::usage(name, format_args!("is no field of the class {}", class.name), remedy));
            };
            let value = match declared.secret {
                true => secret(root, name)?.and_then(|fields| fields.entry(name).cloned()),
                // Where a column is secret, root sees the whole and everybody else the rest.
                false if declared.holds_secret() => {
                    let whole = secret(root, name).ok().flatten().and_then(|fields| fields.entry(name).cloned());
                    whole.or_else(|| public.entry(name).cloned())
                }
                false => public.entry(name).cloned(),
            };
            let Some(value) = value else {
                let problem = "has no value: the settings do not give it, and it has no default";
                return Err(Error::no_settings(
                    name,
                    problem,
                    format_args!("add it to the settings: {}", declared.help),
                ));
            };
            match value.value() {
                Value::Text(text) if !json => format!("{text}\n").into_bytes(),
                _ => Writer::indented(|writer| write(writer, &value)),
            }
        }
        None if json => Writer::indented(|writer| write(writer, &public)),
        None => {
            let Value::Table(entries) = public.value() else { return Ok(0) };
            let line = |entry: &document::Entry| {
                let value = match entry.node.value() {
                    Value::Text(text) => text.clone(),
                    _ => String::from_utf8_lossy(&Writer::compact(|writer| write(writer, &entry.node))).into_owned(),
                };
                format!("{} {}\n", entry.key, one_line(&value))
            };
            entries.iter().map(line).collect::<String>().into_bytes()
        }
    };
    let _ = out.write_all(&text).and_then(|()| out.flush());
    Ok(0)
}

fn read(root: &Root, path: &str) -> Result<Option<Node>> {
    root.read(&GuestPath::of(path))?.map(|bytes| document::read(&bytes, &FORMAT)).transpose()
}

/// The secret fields. They are there, and who is not root cannot read them.
fn secret(root: &Root, name: &str) -> Result<Option<Node>> {
    read(root, SECRET_FIELDS).map_err(|_| Error::usage(name, "is secret", "ask as root"))
}

fn write(writer: &mut Writer, node: &Node) {
    match node.value() {
        Value::Null => writer.nullable(None, |writer, text: &str| writer.text(text)),
        Value::Bool(value) => writer.boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => writer.integer(number),
            None => writer.decimal(number.as_f64().unwrap_or_default()),
        },
        Value::Text(text) => writer.text(text),
        Value::List(items) => writer.list(items, write),
        Value::Table(entries) => writer.map(entries.iter().map(|entry| (&entry.key, &entry.node)), write),
    }
}
