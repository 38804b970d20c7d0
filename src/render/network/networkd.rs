//! systemd-networkd: files in `/etc/systemd/network`, for systemd 252 and later.
//!
//! systemd.network(5), systemd.netdev(5) and systemd.link(5) are the source of every key. The files are for everybody to
//! read, because networkd runs as a user of its own.

mod fights;

use super::{MANAGED, resolver};
use crate::error::Result;
use crate::guest::GuestPath;
use crate::plan::Desired;
use crate::render::{Context, services};
use crate::settings::{Destination, Dhcp, Interface, InterfaceKind, InterfaceName, Match, Network, Route};
use std::fmt::Display;
use std::net::IpAddr;

const DIRECTORY: &str = "/etc/systemd/network";
/// The number is below those that images and packages use, because the first file that matches is the only one taken.
const PREFIX: &str = "10-handoff-";

/// Puts all files of the section into the desired tree, and enables networkd.
///
/// # Errors
/// The image lacks networkd's units, or another section wants the same files.
pub fn render(context: &Context<'_>, network: &Network, desired: &mut Desired) -> Result<()> {
    for interface in &network.interfaces {
        let mut put = |suffix: &str, text: Text| {
            let path = format!("{DIRECTORY}/{PREFIX}{}.{suffix}", interface.name);
            desired.file(GuestPath::parse(&path)?, text.0, 0o644)
        };
        if let Some(text) = link(interface) {
            put("link", text)?;
        }
        if let Some(text) = netdev(interface) {
            put("netdev", text)?;
        }
        put("network", Place::of(network, interface).network())?;
    }
    fights::look(context, network, desired)?;
    services::enable(context, desired, "systemd-networkd.service")
}

/// The text of a file, section by section.
struct Text(String);

impl Text {
    fn new() -> Self {
        Text(MANAGED.into())
    }

    fn section(&mut self, name: &str) -> &mut Self {
        self.0.push_str(&format!("\n[{name}]\n"));
        self
    }

    fn set(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.0.push_str(&format!("{key}={value}\n"));
        self
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// What udev does with a device when it appears: names, and the hardware address.
///
/// A file of ours takes the place of udev's `99-default.link`, so that what that file does for a card is repeated here.
fn link(interface: &Interface) -> Option<Text> {
    let mut text = Text::new();
    text.section("Match");
    match &interface.kind {
        // The permanent address stays with the card. A VLAN, bridge or bond that takes over the card's address has none.
        InterfaceKind::Physical(Match::Mac(mac)) => text.set("PermanentMACAddress", mac),
        InterfaceKind::Physical(Match::Name(old)) => match predictable(old.as_str()) {
            Some(property) => text.set("Property", format_args!("{property}={old}")),
            None => text.set("OriginalName", old),
        },
        // Else udev would give this card another name than the one that was asked for.
        InterfaceKind::Physical(Match::OwnName) if is_kernel_name(interface.name.as_str()) => {
            text.set("OriginalName", &interface.name)
        }
        InterfaceKind::Physical(Match::OwnName) | InterfaceKind::Vlan(_) => return None,
        // udev would invent an address for these, and a host that lets a guest use only the addresses of its own cards
        // would drop all that they send. Left alone, the kernel gives them the address of a member.
        InterfaceKind::Bond(_) | InterfaceKind::Bridge(_) => {
            text.set("OriginalName", &interface.name).section("Link").set("MACAddressPolicy", "none");
            return Some(text);
        }
    };
    text.section("Link").set("Name", &interface.name);
    text.set("AlternativeNamesPolicy", "database onboard slot path").set("MACAddressPolicy", "persistent");
    Some(text)
}

/// Whether the kernel itself gives such names.
fn is_kernel_name(name: &str) -> bool {
    name.strip_prefix("eth").is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
}

/// The udev property that holds a predictable name such as `enp1s0`; systemd.net-naming-scheme(7). A `.link` file sees only
/// the name that the kernel gave, so such a name has to be found there.
fn predictable(name: &str) -> Option<&'static str> {
    let rest = ["en", "wl", "ww", "ib", "sl"].iter().find_map(|kind| name.strip_prefix(kind))?;
    // A PCI domain may come first: enP2p1s0.
    let rest = match rest.strip_prefix('P') {
        Some(domain) => domain.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    if !rest.bytes().any(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(match rest.bytes().next()? {
        b'o' | b'd' => "ID_NET_NAME_ONBOARD",
        b's' | b'X' => "ID_NET_NAME_SLOT",
        b'x' => "ID_NET_NAME_MAC",
        b'p' | b'a' | b'c' | b'i' | b'u' | b'v' => "ID_NET_NAME_PATH",
        _ => return None,
    })
}

/// A device that networkd makes.
fn netdev(interface: &Interface) -> Option<Text> {
    let mut text = Text::new();
    text.section("NetDev").set("Name", &interface.name);
    match &interface.kind {
        InterfaceKind::Physical(_) => return None,
        InterfaceKind::Vlan(vlan) => {
            text.set("Kind", "vlan").section("VLAN").set("Id", vlan.id);
        }
        InterfaceKind::Bond(bond) => {
            text.set("Kind", "bond").set("MACAddress", "none");
            text.section("Bond").set("Mode", bond.mode.as_str());
            text.set("MIIMonitorSec", format_args!("{}ms", bond.monitor_ms.unwrap_or(100)));
        }
        InterfaceKind::Bridge(bridge) => {
            text.set("Kind", "bridge").set("MACAddress", "none");
            text.section("Bridge").set("STP", yes_no(bridge.stp));
        }
    }
    Some(text)
}

/// One interface among the others of the section.
struct Place<'a> {
    network: &'a Network,
    interface: &'a Interface,
    /// The bond it is in.
    bond: Option<&'a InterfaceName>,
    /// The bridge it is in.
    bridge: Option<&'a InterfaceName>,
    /// The VLANs on it.
    vlans: Vec<&'a InterfaceName>,
}

impl<'a> Place<'a> {
    fn of(network: &'a Network, interface: &'a Interface) -> Self {
        let mut place = Place { network, interface, bond: None, bridge: None, vlans: Vec::new() };
        for other in &network.interfaces {
            match &other.kind {
                InterfaceKind::Vlan(vlan) if vlan.link == interface.name => place.vlans.push(&other.name),
                InterfaceKind::Bond(bond) if bond.members.contains(&interface.name) => place.bond = Some(&other.name),
                InterfaceKind::Bridge(bridge) if bridge.members.contains(&interface.name) => {
                    place.bridge = Some(&other.name);
                }
                _ => {}
            }
        }
        place
    }

    fn is_member(&self) -> bool {
        self.bond.is_some() || self.bridge.is_some()
    }

    fn accepts_ra(&self) -> bool {
        !self.is_member() && self.interface.accept_ra.unwrap_or(self.interface.dhcp.ipv6())
    }

    /// Whether it has addresses, or will have.
    fn is_addressed(&self) -> bool {
        !self.interface.addresses.is_empty() || self.interface.dhcp != Dhcp::None || self.accepts_ra()
    }

    /// Whether name servers are told to this interface: to those that lead out, and to all where none does.
    fn has_dns(&self) -> bool {
        let leads_out = |interface: &Interface| {
            interface.dhcp != Dhcp::None
                || !interface.gateways.is_empty()
                || interface.routes.iter().any(|route| route.to == Destination::Default)
        };
        let some = self.network.interfaces.iter().any(leads_out);
        if some { leads_out(self.interface) } else { self.is_addressed() }
    }

    fn network(&self) -> Text {
        let interface = self.interface;
        let mut text = Text::new();
        self.matching(text.section("Match"));

        // A switch without members never has a carrier, and services behind it want its address all the same.
        let alone = matches!(&interface.kind, InterfaceKind::Bridge(bridge) if bridge.members.is_empty());
        // What has no address of its own can be down without the guest being offline.
        let required = self.is_addressed() && !alone;
        if interface.mtu.is_some() || !required {
            text.section("Link");
        }
        if let Some(mtu) = interface.mtu {
            text.set("MTUBytes", mtu);
        }
        if !required {
            text.set("RequiredForOnline", "no");
        }

        text.section("Network");
        if let Some(bond) = self.bond {
            text.set("Bond", bond);
        }
        if let Some(bridge) = self.bridge {
            text.set("Bridge", bridge);
        }
        for vlan in &self.vlans {
            text.set("VLAN", vlan);
        }
        let dhcp = match interface.dhcp {
            Dhcp::None => "no",
            Dhcp::Ipv4 => "ipv4",
            Dhcp::Ipv6 => "ipv6",
            Dhcp::Both => "yes",
        };
        text.set("DHCP", dhcp).set("IPv6AcceptRA", yes_no(self.accepts_ra()));
        // IPv6 cannot be had with packets of less than 1,280 bytes.
        let local = self.is_addressed() && interface.mtu.is_none_or(|mtu| mtu >= 1280);
        text.set("LinkLocalAddressing", if local { "ipv6" } else { "no" });
        if alone {
            text.set("ConfigureWithoutCarrier", "yes");
        }
        for address in &interface.addresses {
            text.set("Address", address);
        }
        if self.has_dns() {
            text.0.push_str(&resolver::lines(&self.network.dns));
        }
        for gateway in &interface.gateways {
            text.section("Route");
            self.via(&mut text, *gateway);
        }
        for route in &interface.routes {
            self.route(text.section("Route"), route);
        }
        self.dynamic(&mut text);
        text
    }

    /// Which device this is. It has to be the right one even if it could not be renamed.
    fn matching(&self, text: &mut Text) {
        let name = &self.interface.name;
        match &self.interface.kind {
            InterfaceKind::Physical(Match::Mac(mac)) => text.set("PermanentMACAddress", mac),
            InterfaceKind::Physical(Match::Name(old)) if !self.network.interfaces.iter().any(|i| i.name == *old) => {
                text.set("Name", format_args!("{name} {old}"))
            }
            InterfaceKind::Physical(_) => text.set("Name", name),
            InterfaceKind::Vlan(_) => text.set("Name", name).set("Kind", "vlan"),
            InterfaceKind::Bond(_) => text.set("Name", name).set("Kind", "bond"),
            InterfaceKind::Bridge(_) => text.set("Name", name).set("Kind", "bridge"),
        };
    }

    fn via(&self, text: &mut Text, router: IpAddr) {
        text.set("Gateway", router);
        if self.interface.is_on_link(router) {
            text.set("GatewayOnLink", "yes");
        }
    }

    fn route(&self, text: &mut Text, route: &Route) {
        match (route.to, route.via) {
            (Destination::Network(network), _) => text.set("Destination", network),
            (Destination::Default, Some(IpAddr::V6(_))) => text.set("Destination", "::/0"),
            (Destination::Default, _) => text.set("Destination", "0.0.0.0/0"),
        };
        match route.via {
            Some(router) => self.via(text, router),
            None if matches!(route.to, Destination::Network(network) if network.address().is_ipv6()) => {}
            None => {
                text.set("Scope", "link");
            }
        }
        if let Some(metric) = route.metric {
            text.set("Metric", metric);
        }
    }

    /// What is taken from DHCP and router advertisements.
    fn dynamic(&self, text: &mut Text) {
        let dhcp = self.interface.dhcp;
        let own_dns = !self.network.dns.servers.is_empty();
        if dhcp.ipv4() {
            // Hosts reserve addresses for the hardware address that they gave the guest. The other identifier is made
            // of the machine-id, which differs between an image, its initramfs and a guest with a new identity.
            text.section("DHCPv4").set("ClientIdentifier", "mac").set("UseHostname", "no");
            if own_dns {
                text.set("UseDNS", "no").set("UseDomains", "no");
            }
        }
        if dhcp.ipv6() {
            text.section("DHCPv6").set("UseHostname", "no");
            if own_dns {
                text.set("UseDNS", "no").set("UseDomains", "no");
            }
            if !self.accepts_ra() {
                text.set("WithoutRA", "solicit");
            }
        }
        if self.accepts_ra() && (own_dns || !dhcp.ipv6()) {
            text.section("IPv6AcceptRA");
            if own_dns {
                text.set("UseDNS", "no").set("UseDomains", "no");
            }
            if !dhcp.ipv6() {
                // Else a router could start DHCP, which the settings did not ask for.
                text.set("DHCPv6Client", "no");
            }
        }
    }
}
