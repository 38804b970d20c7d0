//! Section `network`: interfaces, addresses, routes, name servers.

mod read;
mod rules;

pub(super) use rules::check;

use super::{DnsName, InterfaceName, Refusal};
use std::fmt;
use std::net::IpAddr;

/// The whole section.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Network {
    /// The interfaces, each with a name of its own.
    pub interfaces: Vec<Interface>,
    /// Name servers for the whole guest.
    pub dns: Dns,
}

/// Name servers and search domains.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dns {
    /// Addresses of name servers, in order.
    pub servers: Vec<IpAddr>,
    /// Domains in which short names are looked up, in order.
    pub search: Vec<DnsName>,
}

/// One interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// The name it has in the guest.
    pub name: InterfaceName,
    /// What it is.
    pub kind: InterfaceKind,
    /// Static addresses.
    pub addresses: Vec<AddressAndPrefix>,
    /// Which addresses come by DHCP.
    pub dhcp: Dhcp,
    /// Whether IPv6 router advertisements are taken. `None`: only where DHCP for IPv6 is on.
    pub accept_ra: Option<bool>,
    /// Default gateways, at most one for each address family.
    pub gateways: Vec<IpAddr>,
    /// More routes.
    pub routes: Vec<Route>,
    /// The largest packet, in bytes, 68 to 65535 (1280 at least where IPv6 is used).
    pub mtu: Option<u32>,
}

impl Interface {
    /// Whether a gateway lies outside the interface's static networks, and is to be reached on the link itself.
    pub fn is_on_link(&self, gateway: IpAddr) -> bool {
        !self.addresses.iter().any(|address| address.contains(gateway))
    }
}

/// What an interface is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InterfaceKind {
    /// A network card.
    Physical(Match),
    /// A VLAN on another interface.
    Vlan(Vlan),
    /// Several cards as one.
    Bond(Bond),
    /// A switch.
    Bridge(Bridge),
}

/// Which network card is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Match {
    /// The card with the interface's own name.
    OwnName,
    /// The card that the kernel or udev names so; it is renamed.
    Name(InterfaceName),
    /// The card with this hardware address; it is renamed.
    Mac(Mac),
}

/// A VLAN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vlan {
    /// Its number, 1 to 4094.
    pub id: u16,
    /// The interface that carries it; one of the section's.
    pub link: InterfaceName,
}

/// A bond.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bond {
    /// The interfaces in it; each one of the section's, without addresses of its own.
    pub members: Vec<InterfaceName>,
    /// How they share the work.
    pub mode: BondMode,
    /// How often links are checked, in milliseconds. `None`: 100.
    pub monitor_ms: Option<u32>,
}

/// How the members of a bond share the work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BondMode {
    /// `balance-rr`
    BalanceRr,
    /// `active-backup`
    ActiveBackup,
    /// `balance-xor`
    BalanceXor,
    /// `broadcast`
    Broadcast,
    /// `802.3ad`
    Lacp,
    /// `balance-tlb`
    BalanceTlb,
    /// `balance-alb`
    BalanceAlb,
}

impl BondMode {
    /// All modes.
    pub const ALL: [BondMode; 7] = [
        BondMode::BalanceRr,
        BondMode::ActiveBackup,
        BondMode::BalanceXor,
        BondMode::Broadcast,
        BondMode::Lacp,
        BondMode::BalanceTlb,
        BondMode::BalanceAlb,
    ];

    /// The kernel's name, which is also the one in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            BondMode::BalanceRr => "balance-rr",
            BondMode::ActiveBackup => "active-backup",
            BondMode::BalanceXor => "balance-xor",
            BondMode::Broadcast => "broadcast",
            BondMode::Lacp => "802.3ad",
            BondMode::BalanceTlb => "balance-tlb",
            BondMode::BalanceAlb => "balance-alb",
        }
    }
}

/// A bridge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bridge {
    /// The interfaces in it; each one of the section's, without addresses of its own.
    pub members: Vec<InterfaceName>,
    /// Whether it speaks the spanning tree protocol.
    pub stp: bool,
}

/// Which addresses come by DHCP.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dhcp {
    /// None.
    #[default]
    None,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Both.
    Both,
}

impl Dhcp {
    /// Whether IPv4 addresses come by DHCP.
    pub fn ipv4(self) -> bool {
        matches!(self, Dhcp::Ipv4 | Dhcp::Both)
    }

    /// Whether IPv6 addresses come by DHCP.
    pub fn ipv6(self) -> bool {
        matches!(self, Dhcp::Ipv6 | Dhcp::Both)
    }
}

/// One route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to.
    pub to: Destination,
    /// Through which router. `None`: the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// The lower, the more preferred. `None`: the kernel's default.
    pub metric: Option<u32>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// Everywhere that no other route leads; the family is that of `via`.
    Default,
    /// A network. Its host bits are zero.
    Network(AddressAndPrefix),
}

/// An address with the length of its network's prefix, such as `10.0.0.10/24`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct AddressAndPrefix {
    address: IpAddr,
    prefix: u8,
}

impl AddressAndPrefix {
    /// Reads `ADDRESS/PREFIX`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong =
            || Refusal::new("is not an address with a prefix length", "write it like 10.0.0.10/24 or 2001:db8::10/64");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let zero_first = prefix.len() > 1 && prefix.starts_with('0');
        if prefix.is_empty() || prefix.len() > 3 || zero_first || !prefix.bytes().all(|c| c.is_ascii_digit()) {
            return Err(wrong());
        }
        let prefix: u16 = prefix.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match u8::try_from(prefix) {
            Ok(prefix) if prefix <= most => Ok(AddressAndPrefix { address, prefix }),
            _ => Err(Refusal::new("has a prefix longer than its address", format!("write /{most} at most"))),
        }
    }

    /// The address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The network it lies in, host bits zero.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        AddressAndPrefix { address, prefix: self.prefix }
    }

    /// Whether an address lies in the same network.
    pub fn contains(self, other: IpAddr) -> bool {
        self.address.is_ipv4() == other.is_ipv4()
            && AddressAndPrefix { address: other, prefix: self.prefix }.network() == self.network()
    }
}

impl fmt::Display for AddressAndPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A hardware address. Shown in lower case with colons.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Reads six pairs of hexadecimal digits with colons or hyphens between them.
    ///
    /// # Errors
    /// What is wrong with it; also a group address, which no card has.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::new("is not a hardware address", "write it like 52:54:00:12:34:56");
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(Refusal::new("is the address of a group or of nothing", "write the address of one card"));
        }
        Ok(Mac(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_knows_its_network() {
        let address = AddressAndPrefix::parse("10.0.5.10/22").unwrap();
        assert_eq!(address.network().to_string(), "10.0.4.0/22");
        assert!(address.contains("10.0.7.255".parse().unwrap()));
        assert!(!address.contains("10.0.8.1".parse().unwrap()));
        assert!(!address.contains("::1".parse().unwrap()));
        assert_eq!(AddressAndPrefix::parse("2001:db8::10/64").unwrap().network().to_string(), "2001:db8::/64");
        assert_eq!(AddressAndPrefix::parse("1.2.3.4/0").unwrap().network().to_string(), "0.0.0.0/0");
        for wrong in [
            "10.0.0.1",
            "10.0.0.1/33",
            "::1/129",
            "10.0.0.1/",
            "10.0.0.1/+8",
            "10.0.0.01/8",
            "10.0.0.1/08",
            "a/8",
            "10.0.0.1/8/8",
        ] {
            assert!(AddressAndPrefix::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hardware_address_is_that_of_one_card() {
        assert_eq!(Mac::parse("52-54-00-AB-cd-56").unwrap().to_string(), "52:54:00:ab:cd:56");
        for wrong in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:5",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "+2:54:00:12:34:56",
        ] {
            assert!(Mac::parse(wrong).is_err(), "{wrong}");
        }
    }
}
