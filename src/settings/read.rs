//! From bytes to settings. There are two doors: the agent's takes only what was verified, the desk's takes any text.

use super::document::{FORMAT, Node, Value};
use super::network;
use super::{
    Appliance, Group, Hostname, HostsEntry, Instance, KEYS, Locale, Network, PlainFile, Service, Settings, Timezone,
    User, fields, rules, terminals,
};
use crate::document::At;
use crate::error::Result;
use crate::trust::Verified;

/// The version of the settings that this program reads.
const VERSION: u64 = 1;

impl Settings {
    /// Reads verified settings. This is the guest's only way.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place: [`crate::Class::Invalid`].
    pub fn read(verified: &Verified) -> Result<Self> {
        Self::check_text(verified.settings())
    }

    /// Reads JSON at the operator's desk, before anything is signed. A guest uses [`Settings::read`].
    ///
    /// # Errors
    /// The first thing that is wrong, with its place: [`crate::Class::Invalid`].
    pub fn check_text(bytes: &[u8]) -> Result<Self> {
        Self::from_document(&Node::from_json(bytes)?)
    }

    /// Reads a document, whatever notation it was written in.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place: [`crate::Class::Invalid`].
    pub fn from_document(document: &Node) -> Result<Self> {
        Form::read(document)?.settle(document)
    }
}

/// Settings of which each value is good by itself, and nobody has asked yet whether they fit together.
///
/// `docs/settings.schema.json` describes exactly this; [`Form::settle`] checks what no schema can say.
#[derive(Debug)]
pub struct Form(Settings);

impl Form {
    /// Reads each value of a document.
    ///
    /// # Errors
    /// The first value that is wrong, with its place: [`crate::Class::Invalid`].
    pub fn read(document: &Node) -> Result<Self> {
        let at = At::document(document, &FORMAT);
        // The version comes first: what an unknown version says, nobody here can judge.
        check_version(&at)?;
        document.check_shape(&FORMAT)?;
        let table = at.table(KEYS)?;
        Ok(Form(Settings {
            instance: table.optional("instance", |at| Instance::read(&at))?,
            appliance: table.optional("appliance", |at| Appliance::read(&at))?,
            hostname: table.optional("hostname", |at| at.parsed(Hostname::parse))?,
            hosts: table.list("hosts", 4096, |at| HostsEntry::read(&at))?,
            network: table.optional("network", |at| Network::read(&at))?,
            groups: table.list("groups", 1000, |at| Group::read(&at))?,
            users: table.list("users", 1000, |at| User::read(&at))?,
            services: table.list("services", 1000, |at| Service::read(&at))?,
            files: table.list("files", 4096, |at| PlainFile::read(&at))?,
            timezone: table.optional("timezone", |at| at.parsed(Timezone::parse))?,
            locale: table.optional("locale", |at| at.parsed(Locale::parse))?,
            fields: table.optional("fields", |at| fields::read(&at))?.unwrap_or_default(),
            terminals: table.optional("terminals", |at| terminals::read(&at))?.unwrap_or_default(),
        }))
    }

    /// Checks that the values fit together: names that are unique, references that lead somewhere, paths that are free.
    /// `document` is the one that the form was read from; it gives the places for errors.
    ///
    /// # Errors
    /// The first rule that is broken, with its place: [`crate::Class::Invalid`].
    pub fn settle(self, document: &Node) -> Result<Settings> {
        let Form(settings) = self;
        rules::check(&settings, document)?;
        terminals::check(&settings.terminals)?;
        if let Some(section) = &settings.network {
            network::check(section, document)?;
        }
        Ok(settings)
    }
}

fn check_version(at: &At<'_>) -> Result<()> {
    let entries = at.entries()?;
    let Some(entry) = entries.iter().find(|entry| entry.key == "version") else {
        return at.refuse("has no `version`", "add the key `version` with the value 1");
    };
    match entry.node.value() {
        Value::Number(number) if number.as_u64() == Some(VERSION) => Ok(()),
        Value::Number(number) => at.value_of(entry).refuse(
            format_args!("{number} is not a version that this program knows"),
            "write 1, or use a newer handoff on both sides",
        ),
        _ => at.value_of(entry).integer(VERSION..=VERSION).map(|_| ()),
    }
}
