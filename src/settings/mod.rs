//! The settings document, version 1: what an operator sets from outside. One file for each section, domain types only.

mod accounts;
pub mod document;
mod fields;
mod files;
mod hosts;
mod instance;
mod names;
mod network;
mod read;
mod rules;
mod services;
mod terminals;

pub use crate::document::Refusal;
pub use accounts::{AuthorizedKey, Group, PasswordHash, Sudo, User};
pub use fields::Fields;
pub use files::{FileMode, PlainFile};
pub use hosts::HostsEntry;
pub use instance::{Appliance, Instance};
pub(crate) use instance::{class as class_name, version as class_release};
pub use names::{
    AccountName, DnsName, EnvironmentName, Hostname, InterfaceName, Locale, SingleLine, Timezone, UnitName,
};
pub use network::{
    AddressAndPrefix, Bond, BondMode, Bridge, Destination, Dhcp, Dns, Interface, InterfaceKind, Mac, Match, Network,
    Route, Vlan,
};
pub use read::Form;
pub use rules::{refuse_path, takes_volume};
pub use services::{EnvironmentVariable, Service};
pub use terminals::{Peer, Terminal};

#[cfg(test)]
mod tests;

/// The keys of the document, in the order of the documents.
const KEYS: &[&str] = &[
    "version",
    "instance",
    "appliance",
    "hostname",
    "hosts",
    "network",
    "groups",
    "users",
    "services",
    "files",
    "timezone",
    "locale",
    "fields",
    "terminals",
];

/// The sections that a class may take or not: all keys but `version`, `instance` and `appliance`.
pub const SECTIONS: &[&str] = KEYS.split_at(3).1;

/// A settings document that has been read and checked. A section that is absent (or empty) manages nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Whom the settings are for, and how new they are.
    pub instance: Option<Instance>,
    /// Which appliance they are for.
    pub appliance: Option<Appliance>,
    /// The host name.
    pub hostname: Option<Hostname>,
    /// Lines of `/etc/hosts`.
    pub hosts: Vec<HostsEntry>,
    /// Interfaces and name servers.
    pub network: Option<Network>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Users.
    pub users: Vec<User>,
    /// Services of the guest's init.
    pub services: Vec<Service>,
    /// Whole files.
    pub files: Vec<PlainFile>,
    /// Time zone.
    pub timezone: Option<Timezone>,
    /// Locale.
    pub locale: Option<Locale>,
    /// The fields of the appliance's class, as written.
    pub fields: Fields,
    /// The peers of the appliance's terminals.
    pub terminals: Vec<Terminal>,
}

impl Settings {
    /// Those of [`SECTIONS`] that are there and not empty.
    pub fn sections(&self) -> impl Iterator<Item = &'static str> {
        // One for each, or this does not compile.
        let given: [bool; SECTIONS.len()] = [
            self.hostname.is_some(),
            !self.hosts.is_empty(),
            self.network.is_some(),
            !self.groups.is_empty(),
            !self.users.is_empty(),
            !self.services.is_empty(),
            !self.files.is_empty(),
            self.timezone.is_some(),
            self.locale.is_some(),
            !self.fields.is_empty(),
            !self.terminals.is_empty(),
        ];
        SECTIONS.iter().zip(given).filter(|(_, given)| *given).map(|(section, _)| *section)
    }
}
