//! Sections `instance` and `appliance`: whom the settings are for, and how new they are.

use super::{Refusal, SingleLine};
use crate::document::At;
use crate::error::Result;
use crate::trust::Uuid;

/// The highest serial: the highest whole number that JSON, TOML and YAML tools all keep exact.
const MAX_SERIAL: u64 = i64::MAX as u64;

/// Whom the settings are for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// The name of this installation, 1 to 128 characters. A guest that is given another id gets a new identity.
    pub id: SingleLine,
    /// Grows with each change of the settings; a lower one than was committed is a replay.
    pub serial: u64,
    /// The SMBIOS UUID of the one machine they are for.
    pub machine: Option<Uuid>,
}

impl Instance {
    pub(super) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["id", "serial", "machine"])?;
        Ok(Instance {
            id: table.required("id", |at| at.line(128))?,
            serial: table.required("serial", |at| at.integer(0..=MAX_SERIAL))?,
            machine: table.optional("machine", |at| at.parsed(uuid))?,
        })
    }
}

fn uuid(text: &str) -> Result<Uuid, Refusal> {
    Uuid::parse(text).ok_or_else(|| {
        Refusal::new("is not a UUID", "write what /sys/class/dmi/id/product_uuid holds in the machine they are for")
    })
}

/// Which appliance the settings are for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Appliance {
    /// The class: lower-case letters, digits, `-`, `_` and `.`, at most 64.
    pub class: SingleLine,
    /// Its version, where given, in the same letters and upper-case ones, `+` and `~`.
    pub version: Option<SingleLine>,
}

impl Appliance {
    pub(super) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["class", "version"])?;
        Ok(Appliance {
            class: table.required("class", |at| at.parsed(class))?,
            version: table.optional("version", |at| at.parsed(version))?,
        })
    }
}

/// The name of a class.
pub(crate) fn class(text: &str) -> Result<SingleLine, Refusal> {
    let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.len() > 64
        || !text.bytes().next().is_some_and(first)
        || !text.bytes().all(|c| first(c) || matches!(c, b'-' | b'_' | b'.'))
    {
        return Err(Refusal::new(
            "is not the name of a class",
            "write lower-case letters, digits, -, _ and ., at most 64, like haproxy",
        ));
    }
    SingleLine::parse(text)
}

/// The version of a class.
pub(crate) fn version(text: &str) -> Result<SingleLine, Refusal> {
    if text.len() > 64
        || !text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric())
        || !text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'+' | b'~'))
    {
        return Err(Refusal::new("is not a version", "write letters, digits, -, _, ., + and ~, at most 64, like 1.2"));
    }
    SingleLine::parse(text)
}
