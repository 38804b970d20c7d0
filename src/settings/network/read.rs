//! Reading the section `network`. Each value is judged by itself here; `rules` asks whether they fit together.

use super::{
    AddressAndPrefix, Bond, BondMode, Bridge, Destination, Dhcp, Dns, Interface, InterfaceKind, Mac, Match, Network,
    Route, Vlan,
};
use crate::document::At;
use crate::error::Result;
use crate::settings::names::ip_address;
use crate::settings::{DnsName, InterfaceName};

/// The most interfaces, and the most members of one.
const MAX_INTERFACES: usize = 256;

impl Network {
    pub(in crate::settings) fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["interfaces", "dns"])?;
        Ok(Network {
            interfaces: table.list("interfaces", MAX_INTERFACES, |at| Interface::read(&at))?,
            dns: table.optional("dns", |at| Dns::read(&at))?.unwrap_or_default(),
        })
    }
}

impl Dns {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["servers", "search"])?;
        Ok(Dns {
            servers: table.list("servers", 16, |at| at.parsed(ip_address))?,
            search: table.list("search", 32, |at| at.parsed(DnsName::parse))?,
        })
    }
}

impl Interface {
    fn read(at: &At<'_>) -> Result<Self> {
        const KINDS: &[&str] = &["match", "vlan", "bond", "bridge"];
        let table = at.table(&[
            "name",
            "match",
            "vlan",
            "bond",
            "bridge",
            "addresses",
            "dhcp",
            "accept_ra",
            "gateways",
            "routes",
            "mtu",
        ])?;
        table.at_most_one(KINDS)?;
        let name = table.required("name", |at| at.parsed(InterfaceName::parse))?;
        let kind = if let Some(at) = table.get("vlan") {
            InterfaceKind::Vlan(Vlan::read(&at)?)
        } else if let Some(at) = table.get("bond") {
            InterfaceKind::Bond(Bond::read(&at)?)
        } else if let Some(at) = table.get("bridge") {
            InterfaceKind::Bridge(Bridge::read(&at)?)
        } else {
            InterfaceKind::Physical(table.optional("match", |at| Match::read(&at))?.unwrap_or(Match::OwnName))
        };
        Ok(Interface {
            name,
            kind,
            addresses: table.list("addresses", 256, |at| at.parsed(AddressAndPrefix::parse))?,
            dhcp: table
                .optional("dhcp", |at| {
                    let words =
                        [("none", Dhcp::None), ("ipv4", Dhcp::Ipv4), ("ipv6", Dhcp::Ipv6), ("both", Dhcp::Both)];
                    at.word(&words)
                })?
                .unwrap_or_default(),
            accept_ra: table.optional("accept_ra", |at| at.boolean())?,
            gateways: table.list("gateways", 2, |at| at.parsed(ip_address))?,
            routes: table.list("routes", 1024, |at| Route::read(&at))?,
            mtu: table.optional("mtu", |at| at.integer_u32(68..=65535))?,
        })
    }
}

impl Match {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["mac", "name"])?;
        table.exactly_one(&["mac", "name"])?;
        match table.get("mac") {
            Some(at) => Ok(Match::Mac(at.parsed(Mac::parse)?)),
            None => table.required("name", |at| Ok(Match::Name(at.parsed(InterfaceName::parse)?))),
        }
    }
}

impl Vlan {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["id", "link"])?;
        let id = table.required("id", |at| at.integer_u32(1..=4094))?;
        Ok(Vlan {
            id: u16::try_from(id).unwrap_or(u16::MAX),
            link: table.required("link", |at| at.parsed(InterfaceName::parse))?,
        })
    }
}

impl Bond {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["members", "mode", "monitor_ms"])?;
        let modes = BondMode::ALL.map(|mode| (mode.as_str(), mode));
        Ok(Bond {
            members: table.required("members", |at| at.list(1..=MAX_INTERFACES, |at| member(&at)))?,
            mode: table.required("mode", |at| at.word(&modes))?,
            monitor_ms: table.optional("monitor_ms", |at| at.integer_u32(1..=60_000))?,
        })
    }
}

impl Bridge {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["members", "stp"])?;
        Ok(Bridge {
            members: table.required("members", |at| at.list(0..=MAX_INTERFACES, |at| member(&at)))?,
            stp: table.optional("stp", |at| at.boolean())?.unwrap_or(false),
        })
    }
}

fn member(at: &At<'_>) -> Result<InterfaceName> {
    at.parsed(InterfaceName::parse)
}

impl Route {
    fn read(at: &At<'_>) -> Result<Self> {
        let table = at.table(&["to", "via", "metric"])?;
        let to = table.required("to", |at| {
            at.parsed(|text| match text {
                "default" => Ok(Destination::Default),
                network => AddressAndPrefix::parse(network).map(Destination::Network),
            })
        })?;
        let via = table.optional("via", |at| at.parsed(ip_address))?;
        if to == Destination::Default && via.is_none() {
            return table.at().refuse(
                "is a default route without `via`",
                "add `via`, or write 0.0.0.0/0 or ::/0 where everything is on the link itself",
            );
        }
        Ok(Route { to, via, metric: table.optional("metric", |at| at.integer_u32(0..=u32::MAX))? })
    }
}
