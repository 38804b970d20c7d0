//! What a class declares beside its fields: terminals, templates, services, volumes, and when it is ready.

use super::field::Field;
use super::notation;
use crate::document::{At, Refusal, Table};
use crate::error::Result;
use crate::guest::GuestPath;
use crate::render::templates::Syntax;
use crate::settings::{AccountName, FileMode, UnitName, refuse_path, takes_volume};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How many probes a class may ask at most.
pub(crate) const MAX_PROBES: usize = 16;

/// A named connection to other appliances.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Terminal {
    /// Its name, one label, by which the guest reaches the peers.
    pub name: String,
    /// Which way it goes.
    pub direction: Direction,
    /// What is spoken on it, for people: `http`.
    pub protocol: String,
    /// What it is for, in one line.
    pub help: String,
}

/// Which way a terminal goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Others connect to this appliance, at the port that a field holds, where one is named.
    Input {
        /// The field.
        port: Option<String>,
    },
    /// This appliance connects to others, so many of them.
    Output {
        /// How many peers the settings must give.
        peers: RangeInclusive<u64>,
    },
}

/// A file that is made of the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Its text.
    pub text: String,
    /// Where the file goes.
    pub target: GuestPath,
    /// How texts are quoted in it.
    pub syntax: Syntax,
    /// Its owner.
    pub owner: AccountName,
    /// Its group.
    pub group: AccountName,
    /// Its permissions. Where not everybody may read it, its content is shown nowhere.
    pub mode: FileMode,
    /// When there is such a file at all.
    pub when: Option<Condition>,
    /// A command of the image that judges the file before anything is committed: the program and its arguments.
    pub check: Vec<String>,
    /// The units that are reloaded when it changes.
    pub reload: Vec<UnitName>,
    /// The units that are started anew when it changes.
    pub restart: Vec<UnitName>,
}

/// Whether a field is true, or a field or terminal has a value that is not empty; or the contrary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// The field or terminal.
    pub name: String,
    /// Whether it must be so, or must not.
    pub wanted: bool,
}

/// A data volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The device: `/dev/disk/by-id/virtio-SERIAL` or `LABEL=…`, as in fstab.
    pub device: String,
    /// Where it is mounted.
    pub mount: GuestPath,
    /// Its file system, made where the volume is blank.
    pub filesystem: String,
    /// Further mount options.
    pub options: Vec<String>,
    /// The units that do not start without it.
    pub services: Vec<UnitName>,
}

/// How an appliance is known to do its work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// How long it may take.
    pub deadline: Duration,
    /// What must hold, all of it.
    pub probes: Vec<Probe>,
}

/// One thing that must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Probe {
    /// A port of this machine takes connections.
    Tcp(PortOf),
    /// A page of this machine is answered with a status.
    Http {
        /// The port.
        port: PortOf,
        /// The path, beginning with `/`.
        path: String,
        /// The status, such as 200.
        status: u16,
    },
    /// A unit is active.
    Unit(UnitName),
    /// A command of the image ends with 0: the program and its arguments.
    Command(Vec<String>),
}

/// A port by its number, or by the field that holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PortOf {
    /// The number.
    Number(u16),
    /// The name of the field.
    Field(String),
}

impl Terminal {
    pub(super) fn declared(name: &str, at: &At<'_>, fields: &[Field]) -> Result<Self> {
        let label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let plain = name.bytes().all(label) && !name.starts_with('-') && !name.ends_with('-');
        if name.is_empty() || name.len() > 63 || !plain || name == "localhost" {
            return at.refuse("has not the name of a terminal", "write lower-case letters, digits and -, like backend");
        }
        let input = at.required("direction", |at| at.word(&[("input", true), ("output", false)]))?;
        let table = match input {
            true => at.table(&["direction", "protocol", "help", "port"])?,
            false => at.table(&["direction", "protocol", "help", "min", "max"])?,
        };
        let direction = if input {
            Direction::Input { port: table.optional("port", |at| at.parsed(|text| known_field(text, fields)))? }
        } else {
            let least = table.optional("min", |at| at.integer(0..=1024))?.unwrap_or(0);
            let most = table.optional("max", |at| at.integer(least..=1024))?.unwrap_or(least.max(64));
            Direction::Output { peers: least..=most }
        };
        Ok(Terminal {
            name: name.to_owned(),
            direction,
            protocol: table.required("protocol", |at| at.line(64))?.as_str().to_owned(),
            help: table.required("help", |at| at.line(1000))?.as_str().to_owned(),
        })
    }
}

impl Template {
    pub(super) fn declared(at: &At<'_>, fields: &[Field], terminals: &[Terminal]) -> Result<Self> {
        let table =
            at.table(&["text", "target", "syntax", "owner", "group", "mode", "when", "check", "reload", "restart"])?;
        let condition = |text: &str| {
            let (name, wanted) = text.strip_prefix('!').map_or((text, true), |name| (name, false));
            let known =
                fields.iter().any(|field| field.name == name) || terminals.iter().any(|terminal| terminal.name == name);
            match known {
                true => Ok(Condition { name: name.to_owned(), wanted }),
                false => Err(Refusal::new("is no field and no terminal", "write one that this class declares")),
            }
        };
        let root = |at: Option<AccountName>| at.unwrap_or_else(AccountName::root);
        Ok(Template {
            text: table.required("text", |at| at.text_of_any_form().map(str::to_owned))?,
            target: table.required("target", |at| {
                let path = at.guest_path()?;
                match refuse_path(&path) {
                    Some(refusal) => at.refuse(refusal.problem, refusal.remedy),
                    None => Ok(path),
                }
            })?,
            syntax: table.required("syntax", |at| at.parsed(Syntax::parse))?,
            owner: root(table.optional("owner", |at| at.parsed(AccountName::parse))?),
            group: root(table.optional("group", |at| at.parsed(AccountName::parse))?),
            mode: table.optional("mode", |at| at.parsed(FileMode::parse))?.unwrap_or_default(),
            when: table.optional("when", |at| at.parsed(condition))?,
            check: table.optional("check", |at| command(&at))?.unwrap_or_default(),
            reload: units(&table, "reload")?,
            restart: units(&table, "restart")?,
        })
    }
}

impl Volume {
    pub(super) fn declared(name: &str, at: &At<'_>) -> Result<Self> {
        let table = at.table(&["serial", "label", "mount", "filesystem", "options", "services"])?;
        table.exactly_one(&["serial", "label"])?;
        let serial = table.optional("serial", |at| at.parsed(|text| plain_word(text, 20)))?;
        let device = match serial {
            Some(serial) => format!("/dev/disk/by-id/virtio-{serial}"),
            None => {
                format!(
                    "LABEL={}",
                    table.optional("label", |at| at.parsed(|text| plain_word(text, 16)))?.unwrap_or_default()
                )
            }
        };
        let known = [("ext4", "ext4"), ("xfs", "xfs"), ("btrfs", "btrfs")];
        Ok(Volume {
            name: name.to_owned(),
            device,
            mount: table.required("mount", |at| {
                let path = at.guest_path()?;
                let bytes = path.as_str().bytes();
                let plain =
                    bytes.into_iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_' | b'.'));
                if !plain || path.parent().is_none() {
                    return at
                        .refuse("is no place for a volume", "write a path of letters, digits, -, _ and . below /");
                }
                if !takes_volume(&path) {
                    let problem = "would hide or hold what this program writes or relies on";
                    return at.refuse(problem, "mount it further down, like /srv or /var/lib/postgresql");
                }
                Ok(path)
            })?,
            filesystem: table.optional("filesystem", |at| at.word(&known))?.unwrap_or("ext4").to_owned(),
            options: table.list("options", 16, |at| at.parsed(|text| plain_word(text, 64)))?,
            services: units(&table, "services")?,
        })
    }
}

impl Ready {
    pub(super) fn declared(at: &At<'_>, fields: &[Field]) -> Result<Self> {
        let table = at.table(&["deadline", "probes"])?;
        let limited = |text: &str| match notation::duration(text)? {
            milliseconds @ 1..=600_000 => Ok(Duration::from_millis(milliseconds)),
            _ => Err(Refusal::new("is not from 1ms to 10m", "write how long the appliance may take, like 60s")),
        };
        Ok(Ready {
            deadline: table.optional("deadline", |at| at.parsed(limited))?.unwrap_or(Duration::from_secs(60)),
            probes: table.required("probes", |at| at.list(1..=MAX_PROBES, |at| probe(&at, fields)))?,
        })
    }
}

fn probe(at: &At<'_>, fields: &[Field]) -> Result<Probe> {
    let (kind, value) = at.variant()?;
    Ok(match kind {
        "tcp" => Probe::Tcp(port(&value, fields)?),
        "http" => {
            let table = value.table(&["port", "path", "status"])?;
            let path = |text: &str| match text.starts_with('/') && text.bytes().all(|c| c.is_ascii_graphic()) {
                true => Ok(text.to_owned()),
                false => Err(Refusal::new("is not the path of a page", "write it like /health")),
            };
            let status = table.optional("status", |at| at.integer_u32(100..=599))?.unwrap_or(200);
            Probe::Http {
                port: table.required("port", |at| port(&at, fields))?,
                path: table.optional("path", |at| at.parsed(path))?.unwrap_or_else(|| "/".into()),
                status: u16::try_from(status).unwrap_or(200),
            }
        }
        "unit" => Probe::Unit(value.parsed(UnitName::parse)?),
        "command" => Probe::Command(command(&value)?),
        _ => return at.refuse("is no probe", "write tcp, http, unit or command"),
    })
}

fn port(at: &At<'_>, fields: &[Field]) -> Result<PortOf> {
    if let crate::document::Value::Text(_) = at.node().value() {
        return Ok(PortOf::Field(at.parsed(|text| known_field(text, fields))?));
    }
    Ok(PortOf::Number(u16::try_from(at.integer_u32(1..=65_535)?).unwrap_or(u16::MAX)))
}

fn known_field(text: &str, fields: &[Field]) -> Result<String, Refusal> {
    match fields.iter().any(|field| field.name == text) {
        true => Ok(text.to_owned()),
        false => Err(Refusal::new("is no field", "write one that this class declares")),
    }
}

/// A program of the image by its whole path, and its arguments.
fn command(at: &At<'_>) -> Result<Vec<String>> {
    let words = at.list(1..=64, |at| at.text().map(str::to_owned))?;
    match words.first() {
        Some(program) if program.starts_with('/') => Ok(words),
        _ => at
            .refuse("does not begin with the whole path of a program", "write it like [\"/usr/sbin/haproxy\", \"-c\"]"),
    }
}

fn units(table: &Table<'_>, key: &'static str) -> Result<Vec<UnitName>> {
    table.list(key, 64, |at| at.parsed(UnitName::parse))
}

fn plain_word(text: &str, most: usize) -> Result<String, Refusal> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'=' | b':');
    if text.is_empty() || text.len() > most || !text.bytes().all(good) {
        return Err(Refusal::new("is not a word", format!("write 1 to {most} letters, digits, -, _, ., = and :")));
    }
    Ok(text.to_owned())
}
