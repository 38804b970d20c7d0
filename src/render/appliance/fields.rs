//! The fields as programs of the guest and people in it may read them, by `handoff-agent get`: everybody those that are not
//! secret, root alone the others.

use super::super::Context;
use crate::class::{Field, Kind, Record, Value, notation};
use crate::document::Writer;
use crate::error::Result;
use crate::guest::GuestPath;
use crate::plan::Desired;

/// The fields without their secrets, for everybody.
pub const FIELDS: &str = "/etc/handoff/fields.json";
/// The fields that hold secrets, whole, for root.
pub const SECRET_FIELDS: &str = "/etc/handoff/secret-fields.json";

pub(super) fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let declared = &context.class.fields;
    if declared.is_empty() {
        return Ok(());
    }
    let values = &context.resolved.fields;
    desired.file(GuestPath::of(FIELDS), document(declared, values, Shown::Public), 0o644)?;
    let set = |field: &Field| field.holds_secret() && context.resolved.value(&field.name).is_some();
    if declared.iter().any(set) {
        desired.secret_file(GuestPath::of(SECRET_FIELDS), document(declared, values, Shown::Secret), 0o600)?;
    }
    Ok(())
}

/// Which fields are written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shown {
    /// Those and the columns that are not secret.
    Public,
    /// Those that hold secrets, whole.
    Secret,
}

fn document(declared: &[Field], values: &Record, shown: Shown) -> Vec<u8> {
    Writer::indented(|writer| {
        writer.table(|w| {
            for (field, (name, value)) in declared.iter().zip(values) {
                let wanted = match shown {
                    Shown::Public => !field.secret,
                    Shown::Secret => field.holds_secret(),
                };
                if let Some(value) = value.as_ref().filter(|_| wanted) {
                    write(w.key(name), field, value, shown);
                }
            }
        });
    })
}

fn write(writer: &mut Writer, field: &Field, value: &Value, shown: Shown) {
    match value {
        Value::Word(text) | Value::Text(text) => writer.text(text),
        Value::Integer(number) => writer.integer(*number),
        Value::Decimal(number) => writer.decimal(*number),
        Value::Boolean(value) => writer.boolean(*value),
        Value::Duration(number) => writer.text(&notation::write_duration(*number)),
        Value::Size(number) => writer.text(&notation::write_size(*number)),
        Value::List(items) => writer.list(items, |w, item| write(w, field, item, shown)),
        Value::Table(records) => {
            let columns: &[Field] = match &field.kind {
                Kind::Table { columns, .. } => columns,
                _ => &[],
            };
            writer.list(records, |w, record| {
                w.table(|w| {
                    for (column, (name, value)) in columns.iter().zip(record) {
                        let wanted = shown == Shown::Secret || !column.secret;
                        if let Some(value) = value.as_ref().filter(|_| wanted) {
                            write(w.key(name), column, value, shown);
                        }
                    }
                });
            });
        }
    }
}
