//! Rules between the values of the section `network`.

use super::{AddressAndPrefix, Destination, Interface, InterfaceKind, Match, Network, Route};
use crate::error::Result;
use crate::settings::InterfaceName;
use crate::settings::document::Node;
use crate::settings::rules::{Step, Unique, broken};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// Checks the whole section.
pub(in crate::settings) fn check(network: &Network, document: &Node) -> Result<()> {
    check_names(network, document)?;
    check_parents(network, document)?;
    check_addresses(network, document)?;
    for (index, interface) in network.interfaces.iter().enumerate() {
        check_gateways(interface, index, document)?;
        check_routes(interface, index, document)?;
        check_mtu(network, interface, index, document)?;
    }
    Ok(())
}

/// The way to a value of an interface.
fn way(index: usize, rest: &[Step]) -> Vec<Step> {
    let mut way = vec![Step::Key("network"), Step::Key("interfaces"), Step::Item(index)];
    way.extend_from_slice(rest);
    way
}

/// Names and cards are each meant once.
fn check_names(network: &Network, document: &Node) -> Result<()> {
    let (mut names, mut cards, mut macs, mut vlans) = (Unique::new(), Unique::new(), Unique::new(), Unique::new());
    for (index, interface) in network.interfaces.iter().enumerate() {
        names.add(&interface.name, document, &way(index, &[Step::Key("name")]))?;
        match &interface.kind {
            InterfaceKind::Physical(Match::OwnName) => {
                cards.add(&interface.name, document, &way(index, &[Step::Key("name")]))?;
            }
            InterfaceKind::Physical(Match::Name(name)) => {
                cards.add(&name, document, &way(index, &[Step::Key("match"), Step::Key("name")]))?;
            }
            InterfaceKind::Physical(Match::Mac(mac)) => {
                macs.add(&mac, document, &way(index, &[Step::Key("match"), Step::Key("mac")]))?;
            }
            InterfaceKind::Vlan(vlan) => {
                let vlan = format!("VLAN {} on {}", vlan.id, vlan.link);
                vlans.add(&vlan, document, &way(index, &[Step::Key("vlan"), Step::Key("id")]))?;
            }
            InterfaceKind::Bond(_) | InterfaceKind::Bridge(_) => {}
        }
    }
    Ok(())
}

/// The interfaces that this one is made on, with the way to each name.
fn lower(interface: &Interface) -> Vec<(&InterfaceName, Vec<Step>)> {
    let members = |kind, names| {
        let member = |(item, name)| (name, vec![Step::Key(kind), Step::Key("members"), Step::Item(item)]);
        <[InterfaceName]>::iter(names).enumerate().map(member).collect()
    };
    match &interface.kind {
        InterfaceKind::Physical(_) => Vec::new(),
        InterfaceKind::Vlan(vlan) => vec![(&vlan.link, vec![Step::Key("vlan"), Step::Key("link")])],
        InterfaceKind::Bond(bond) => members("bond", &bond.members),
        InterfaceKind::Bridge(bridge) => members("bridge", &bridge.members),
    }
}

/// What is made on other interfaces finds them, and not itself at the end.
fn check_parents(network: &Network, document: &Node) -> Result<()> {
    let mut members = Unique::new();
    for (index, interface) in network.interfaces.iter().enumerate() {
        for (name, steps) in lower(interface) {
            let way = way(index, &steps);
            let Some(other) = network.interfaces.iter().find(|interface| interface.name == *name) else {
                let problem = format!("`{name}` is no interface of these settings");
                return Err(broken(document, &way, problem, "add it to network.interfaces, or correct the name"));
            };
            if matches!(interface.kind, InterfaceKind::Vlan(_)) {
                continue;
            }
            members.add(&name, document, &way)?;
            let fits = match &interface.kind {
                InterfaceKind::Bond(_) => matches!(other.kind, InterfaceKind::Physical(_) | InterfaceKind::Vlan(_)),
                _ => !matches!(other.kind, InterfaceKind::Bridge(_)),
            };
            if !fits {
                let problem = format!("`{name}` cannot be a member here");
                return Err(broken(document, &way, problem, "give a bond cards, and a bridge no other bridge"));
            }
            let own = !other.addresses.is_empty()
                || other.dhcp != super::Dhcp::None
                || other.accept_ra == Some(true)
                || !other.gateways.is_empty()
                || !other.routes.is_empty();
            if own {
                let problem = format!("`{name}` has addresses, dhcp, gateways or routes of its own");
                let remedy = format!("move them to `{}`, because a member has none", interface.name);
                return Err(broken(document, &way, problem, remedy));
            }
        }
    }
    check_loops(network, document)
}

/// Takes away, again and again, what is made on nothing that is left. What stays is a loop.
fn check_loops(network: &Network, document: &Node) -> Result<()> {
    let mut left: Vec<(usize, &Interface)> = network.interfaces.iter().enumerate().collect();
    loop {
        let names: BTreeSet<&str> = left.iter().map(|(_, interface)| interface.name.as_str()).collect();
        left.retain(|(_, interface)| lower(interface).iter().any(|(name, _)| names.contains(name.as_str())));
        if left.len() == names.len() {
            break;
        }
    }
    match left.first() {
        None => Ok(()),
        Some((index, interface)) => {
            let problem = format!("`{}` is made on itself, by way of its link or members", interface.name);
            Err(broken(document, &way(*index, &[]), problem, "remove one of the references"))
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Why an address cannot be that of one machine.
fn unfit(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("is the address of nothing")
    } else if address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast()) {
        Some("is the address of a group")
    } else if address.is_loopback() {
        Some("is a loopback address")
    } else {
        None
    }
}

/// Each address is on one interface. Link-local ones count for their own link only.
fn check_addresses(network: &Network, document: &Node) -> Result<()> {
    let mut everywhere = Unique::new();
    for (index, interface) in network.interfaces.iter().enumerate() {
        let mut here = Unique::new();
        for (item, address) in interface.addresses.iter().enumerate() {
            let way = way(index, &[Step::Key("addresses"), Step::Item(item)]);
            if let Some(problem) = unfit(address.address()) {
                let problem = format!("`{address}` {problem}");
                return Err(broken(document, &way, problem, "write the address of this machine"));
            }
            let seen = if is_link_local(address.address()) { &mut here } else { &mut everywhere };
            seen.add(&address.address(), document, &way)?;
        }
    }
    Ok(())
}

/// A gateway can be reached: its family has an address here, and it lies in one of the networks. Outside of them it may
/// lie where the networks are not known before (DHCP), on the link (link-local), or beside a host address (/32, /128).
fn check_gateways(interface: &Interface, index: usize, document: &Node) -> Result<()> {
    for (item, gateway) in interface.gateways.iter().enumerate() {
        let way = way(index, &[Step::Key("gateways"), Step::Item(item)]);
        let family = family(*gateway);
        if let Some(problem) = unfit(*gateway) {
            let problem = format!("`{gateway}` {problem}");
            return Err(broken(document, &way, problem, "write the address of a router"));
        }
        let dynamic = match gateway {
            IpAddr::V4(_) => interface.dhcp.ipv4(),
            IpAddr::V6(_) => interface.dhcp.ipv6() || interface.accept_ra == Some(true),
        };
        let mut same =
            interface.addresses.iter().filter(|address| address.address().is_ipv4() == gateway.is_ipv4()).peekable();
        if same.peek().is_none() && !dynamic {
            let problem = format!("`{gateway}` is a gateway for {family}, and the interface has no {family} address");
            let remedy = format!("add an {family} address to `addresses`, or remove the gateway");
            return Err(broken(document, &way, problem, remedy));
        }
        if interface.addresses.iter().any(|address| address.address() == *gateway) {
            let problem = format!("`{gateway}` is an address of the interface itself");
            return Err(broken(document, &way, problem, "write the address of a router"));
        }
        let is_host = |address: &AddressAndPrefix| address.network_is_host();
        if !dynamic && !is_link_local(*gateway) && interface.is_on_link(*gateway) && !same.any(is_host) {
            let problem = format!("`{gateway}` lies in no network of the interface");
            let remedy = "correct the gateway, or the prefix length of the address (/32 or /128 where the gateway is on the link)";
            return Err(broken(document, &way, problem, remedy));
        }
        if interface.gateways.iter().take(item).any(|first| first.is_ipv4() == gateway.is_ipv4()) {
            let problem = format!("`{gateway}` is a second gateway for {family}");
            return Err(broken(document, &way, problem, "keep one; a second one can be a default route with a metric"));
        }
    }
    Ok(())
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn check_routes(interface: &Interface, index: usize, document: &Node) -> Result<()> {
    let mut seen = Unique::new();
    for (item, route) in interface.routes.iter().enumerate() {
        let at = |key| way(index, &[Step::Key("routes"), Step::Item(item), Step::Key(key)]);
        if let Destination::Network(network) = route.to {
            if network.network() != network {
                let problem = format!("`{network}` has host bits");
                let remedy = format!("write the network, {}", network.network());
                return Err(broken(document, &at("to"), problem, remedy));
            }
            if let Some(via) = route.via
                && via.is_ipv4() != network.address().is_ipv4()
            {
                let problem = format!("`{via}` is {}, and `{network}` is not", family(via));
                return Err(broken(document, &at("via"), problem, "give both the same family"));
            }
        }
        if let Some(via) = route.via
            && let Some(problem) = unfit(via)
        {
            let problem = format!("`{via}` {problem}");
            return Err(broken(document, &at("via"), problem, "write the address of a router"));
        }
        seen.add(&description(route), document, &at("to"))?;
    }
    Ok(())
}

/// What makes two routes the same one for the kernel.
fn description(route: &Route) -> String {
    let to = match route.to {
        Destination::Default => format!("default for {}", route.via.map_or("", family)),
        Destination::Network(network) if network.prefix() == 0 => format!("default for {}", family(network.address())),
        Destination::Network(network) => network.to_string(),
    };
    match route.metric {
        Some(metric) => format!("{to} with metric {metric}"),
        None => to,
    }
}

/// IPv6 needs packets of 1,280 bytes (RFC 8200, section 5), and a VLAN cannot have larger ones than its link.
fn check_mtu(network: &Network, interface: &Interface, index: usize, document: &Node) -> Result<()> {
    let ipv6 = interface.dhcp.ipv6()
        || interface.accept_ra == Some(true)
        || interface.addresses.iter().any(|address| address.address().is_ipv6());
    let Some(mtu) = interface.mtu else { return Ok(()) };
    let way = way(index, &[Step::Key("mtu")]);
    if ipv6 && mtu < 1280 {
        let problem = format!("{mtu} is less than the 1280 that IPv6 needs");
        return Err(broken(document, &way, problem, "write 1280 or more"));
    }
    let InterfaceKind::Vlan(vlan) = &interface.kind else { return Ok(()) };
    match network.interfaces.iter().find(|link| link.name == vlan.link).and_then(|link| link.mtu) {
        Some(most) if mtu > most => {
            let problem = format!("{mtu} is more than the {most} of its link `{}`", vlan.link);
            Err(broken(document, &way, problem, format!("write {most} at most, or raise that of the link")))
        }
        _ => Ok(()),
    }
}

impl AddressAndPrefix {
    fn network_is_host(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.prefix == 32,
            IpAddr::V6(_) => u32::from(self.prefix) == Ipv6Addr::BITS,
        }
    }
}
