//! Section `hosts`: lines of `/etc/hosts`.

use super::DnsName;
use super::names::ip_address;
use crate::document::At;
use crate::error::Result;
use std::net::IpAddr;

/// One line of `/etc/hosts`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostsEntry {
    /// The address.
    pub address: IpAddr,
    /// Its names, at least one.
    pub names: Vec<DnsName>,
}

impl HostsEntry {
    pub(super) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["address", "names"])?;
        Ok(HostsEntry {
            address: table.required("address", |at| at.parsed(ip_address))?,
            names: table.required("names", |at| at.list(1..=64, |at| at.parsed(DnsName::parse)))?,
        })
    }
}
