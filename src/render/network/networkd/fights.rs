//! What else in the image configures the same interfaces. None of it is touched; the operator is told.

use super::{DIRECTORY, PREFIX};
use crate::error::Result;
use crate::guest::{GuestPath, Interface as Live, Kind, View};
use crate::plan::Desired;
use crate::render::Context;
use crate::render::base::Base;
use crate::settings::{InterfaceKind, Match, Network};

/// The directories of networkd's files, the strongest first. Files of all of them are sorted together.
const DIRECTORIES: [&str; 4] =
    [DIRECTORY, "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"];

/// Adds a warning for each thing in the image that would have its way against us.
///
/// # Errors
/// The guest cannot be read.
pub fn look(context: &Context<'_>, network: &Network, desired: &mut Desired) -> Result<()> {
    let base = Base::new(context);
    earlier_files(&base, network, desired)?;
    ifupdown(&base, network, desired)?;
    for service in ["NetworkManager", "dhcpcd"] {
        let link = format!("/etc/systemd/system/multi-user.target.wants/{service}.service");
        if base.node(&GuestPath::of(&link))?.is_some() {
            desired.warnings.push(format!(
                "network: {service} is enabled in the image and may change the same interfaces; disable it in `services`"
            ));
        }
    }
    two_defaults(network, desired);
    if let Some(live) = &context.facts.live {
        missing_cards(&live.interfaces, network, desired);
    }
    Ok(())
}

/// Cards that the running system does not have, or not yet. Predictable names are not looked for, because udev may still
/// give them.
fn missing_cards(live: &[Live], network: &Network, desired: &mut Desired) {
    if live.is_empty() {
        return;
    }
    for interface in &network.interfaces {
        let (wanted, there) = match &interface.kind {
            InterfaceKind::Physical(Match::Mac(mac)) => {
                let mac = mac.to_string();
                let there = live.iter().any(|card| card.mac.eq_ignore_ascii_case(&mac));
                (mac, there)
            }
            InterfaceKind::Physical(kind) => {
                let name = match kind {
                    Match::Name(old) => old.as_str(),
                    _ => interface.name.as_str(),
                };
                let is_there = |card: &Live| card.name == name || card.name == interface.name.as_str();
                (name.to_owned(), !super::is_kernel_name(name) || live.iter().any(is_there))
            }
            _ => continue,
        };
        if !there {
            let cards: Vec<String> = live.iter().take(8).map(|card| format!("{} {}", card.name, card.mac)).collect();
            desired.warnings.push(format!(
                "network: `{}` is for the card {wanted}, which is not there now (there is {}); correct its `match` unless it comes later",
                interface.name,
                cards.join(", ")
            ));
        }
    }
}

/// Of several files that match an interface, only the first one counts.
fn earlier_files(base: &Base<'_>, network: &Network, desired: &mut Desired) -> Result<()> {
    let mut seen = Vec::new();
    for directory in DIRECTORIES {
        let directory = GuestPath::of(directory);
        if base.kind(&directory)? != Some(Kind::Directory) {
            continue;
        }
        for name in base.list(&directory)?.unwrap_or_default() {
            let kind = name.rsplit_once('.').map(|(_, suffix)| suffix);
            let earlier = name.as_str() < PREFIX && matches!(kind, Some("network" | "link"));
            if !earlier || seen.contains(&name) {
                continue;
            }
            let path = directory.join(&name)?;
            let text = base.read(&path).unwrap_or_default().unwrap_or_default();
            seen.push(name);
            if let Some(ours) =
                network.interfaces.iter().find(|i| may_match(&String::from_utf8_lossy(&text), i.name.as_str()))
            {
                desired.warnings.push(format!(
                    "network: {path} of the image comes before our files and may match `{}`; remove it from the image",
                    ours.name
                ));
            }
        }
    }
    Ok(())
}

/// Whether the `[Match]` section may mean an interface of this name. When in doubt, it may.
fn may_match(text: &str, name: &str) -> bool {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Match]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            let other = match key.trim() {
                "Name" => {
                    !value.trim_start().starts_with('!') && !value.split_ascii_whitespace().any(|p| glob(p, name))
                }
                _ => false,
            };
            if other {
                return false;
            }
        }
    }
    !text.trim().is_empty()
}

/// Shell patterns, as far as they are used here: what is in brackets counts as anything.
fn glob(pattern: &str, name: &str) -> bool {
    match pattern.find(['*', '?', '[']) {
        None => pattern == name,
        Some(at) => pattern.get(..at).is_some_and(|front| name.starts_with(front)),
    }
}

/// `/etc/network/interfaces` of ifupdown, and its directory.
fn ifupdown(base: &Base<'_>, network: &Network, desired: &mut Desired) -> Result<()> {
    let mut paths = vec![GuestPath::of("/etc/network/interfaces")];
    let more = GuestPath::of("/etc/network/interfaces.d");
    if base.kind(&more)? == Some(Kind::Directory) {
        for name in base.list(&more)?.unwrap_or_default() {
            paths.push(more.join(&name)?);
        }
    }
    for path in paths {
        if base.kind(&path)? != Some(Kind::File) {
            continue;
        }
        let text = base.read(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut names = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let first = words.next()?;
            (matches!(first, "auto" | "iface") || first.starts_with("allow-")).then_some(words)
        });
        let ours =
            |name: &str| network.interfaces.iter().any(|i| i.name.as_str() == name || old_name(&i.kind) == Some(name));
        if let Some(name) = names.find_map(|mut words| words.find(|name| ours(name))) {
            desired.warnings.push(format!(
                "network: {path} of the image configures `{name}` too (ifupdown); remove it from the image"
            ));
        }
    }
    Ok(())
}

fn old_name(kind: &InterfaceKind) -> Option<&str> {
    match kind {
        InterfaceKind::Physical(Match::Name(old)) => Some(old.as_str()),
        _ => None,
    }
}

/// Two default gateways of the same family, with nothing to choose between them.
fn two_defaults(network: &Network, desired: &mut Desired) {
    for family in ["IPv4", "IPv6"] {
        let has = |gateway: &std::net::IpAddr| gateway.is_ipv4() == (family == "IPv4");
        let mut with = network.interfaces.iter().filter(|i| i.gateways.iter().any(has));
        if let (Some(first), Some(second)) = (with.next(), with.next()) {
            desired.warnings.push(format!(
                "network: `{}` and `{}` both have a default gateway for {family}; write one as a route with a metric",
                first.name, second.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_other_names_does_not_match() {
        assert!(may_match("[Match]\nName=en*\n[Network]\nDHCP=yes", "enp1s0"));
        assert!(may_match("[Match]\nType=ether", "front"));
        assert!(may_match("[Match]\nName=!lo", "front"));
        assert!(!may_match("[Match]\nName=wl* eth0", "front"));
        assert!(!may_match("[Match]\nName=front2", "front"));
        assert!(!may_match("", "front"));
    }
}
