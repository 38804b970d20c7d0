//! Name servers: `/etc/resolv.conf`, or systemd-resolved where the image has it.

use super::MANAGED;
use crate::error::Result;
use crate::guest::{GuestPath, Node, View};
use crate::plan::Desired;
use crate::render::base::Base;
use crate::render::{Context, services};
use crate::settings::{Dhcp, Dns, Network};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the file for programs that read `/etc/resolv.conf`, relative to it.
const STUB: &str = "../run/systemd/resolve/stub-resolv.conf";
/// How many name servers the C library takes from the file; resolv.conf(5), `MAXNS`.
const MAX_SERVERS: usize = 3;

/// Puts the resolver's files into the desired tree.
///
/// # Errors
/// systemd-resolved is there and cannot be enabled.
pub fn render(context: &Context<'_>, network: &Network, resolved: bool, desired: &mut Desired) -> Result<()> {
    let dns = &network.dns;
    let dynamic = network.interfaces.iter().any(|i| i.dhcp != Dhcp::None || i.accept_ra == Some(true));
    let given = !dns.servers.is_empty() || !dns.search.is_empty();
    if resolved {
        if given || dynamic {
            services::enable(context, desired, "systemd-resolved.service")?;
            stub(context, desired)?;
        }
        if given && network.interfaces.is_empty() {
            let text = format!("{MANAGED}[Resolve]\n{}", lines(dns));
            desired.file(GuestPath::of("/etc/systemd/resolved.conf.d/10-handoff.conf"), text, 0o644)?;
        }
        return Ok(());
    }
    if !dns.servers.is_empty() {
        if dns.servers.len() > MAX_SERVERS {
            desired
                .warnings
                .push(format!("network.dns: only the first {MAX_SERVERS} name servers are used by the guest"));
        }
        let mut text = String::from(MANAGED);
        for server in &dns.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !dns.search.is_empty() {
            text.push_str(&format!("search {}\n", joined(dns)));
        }
        desired.file(GuestPath::of(RESOLV_CONF), text, 0o644)?;
    } else if given || dynamic {
        desired.warnings.push(format!(
            "network: without systemd-resolved nothing writes the name servers of DHCP to {RESOLV_CONF}, which stays as it is; \
             give network.dns.servers, or install systemd-resolved in the image"
        ));
    }
    Ok(())
}

/// The link to what systemd-resolved writes; one that is there already stays as it is.
fn stub(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let path = GuestPath::of(RESOLV_CONF);
    match Base::new(context).node(&path)? {
        Some(Node::Link(there)) if there.contains("run/systemd/resolve/") => desired.link(path, there),
        _ => desired.link(path, STUB),
    }
}

/// `DNS=` and `Domains=`, as networkd and resolved both know them.
pub fn lines(dns: &Dns) -> String {
    let mut text = String::new();
    for server in &dns.servers {
        text.push_str(&format!("DNS={server}\n"));
    }
    if !dns.search.is_empty() {
        text.push_str(&format!("Domains={}\n", joined(dns)));
    }
    text
}

fn joined(dns: &Dns) -> String {
    dns.search.iter().map(|domain| domain.as_str()).collect::<Vec<_>>().join(" ")
}
