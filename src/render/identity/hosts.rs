//! Our lines of `/etc/hosts`, in a block of ours; every other line stays byte for byte. Format: hosts(5).

use super::super::{Context, block, current_file};
use crate::error::Result;
use crate::guest::{File, GuestPath, Node, Owner};
use crate::plan::Desired;
use std::collections::BTreeSet;

/// What a guest without the file gets besides our lines.
const FRESH: &[u8] = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Puts the file where the settings have lines for it, or where a block of ours is left to take out.
pub(super) fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let path = GuestPath::of("/etc/hosts");
    let block = lines(context);
    let current = match current_file(context.guest, &path)? {
        Some(file) => file,
        None if block.is_empty() => return Ok(()),
        None => File { content: FRESH.to_vec(), mode: 0o644, owner: Owner::ROOT },
    };
    if block.is_empty() && !block::is_in(&current.content) {
        return Ok(());
    }
    let content = block::replace(&current.content, &block);
    desired.edited(path, Node::file_of(content, current.mode, current.owner), false)
}

/// Our lines.
fn lines(context: &Context<'_>) -> Vec<u8> {
    let settings = context.settings;
    let mut text = String::new();
    let mut named = BTreeSet::new();
    for entry in &settings.hosts {
        text.push_str(&entry.address.to_string());
        for (at, name) in entry.names.iter().enumerate() {
            text.push(if at == 0 { '\t' } else { ' ' });
            text.push_str(name.as_str());
            named.insert(name.as_str());
        }
        text.push('\n');
    }
    // The appliance reaches its peers by the terminal's name, and each by its own.
    for (terminal, peers) in &context.resolved.terminals {
        for peer in peers {
            text.push_str(&format!("{}\t{terminal} {}.{terminal}\n", peer.address, peer.name));
        }
    }
    // A machine must be able to find its own name; the settings may say at which address.
    if let Some(hostname) = &settings.hostname
        && !named.contains(hostname.as_str())
    {
        text.push_str("127.0.1.1\t");
        text.push_str(hostname.as_str());
        if hostname.short() != hostname.as_str() && !named.contains(hostname.short()) {
            text.push(' ');
            text.push_str(hostname.short());
        }
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Tree;
    use crate::render::bench::Bench;
    use crate::render::block::{BEGIN, END};
    use crate::settings::{DnsName, Hostname, HostsEntry, Settings};

    fn settings(hostname: &str, hosts: &[(&str, &[&str])]) -> Settings {
        let entry = |(address, names): &(&str, &[&str])| HostsEntry {
            address: address.parse().unwrap(),
            names: names.iter().map(|name| DnsName::parse(name).unwrap()).collect(),
        };
        let hostname = (!hostname.is_empty()).then(|| Hostname::parse(hostname).unwrap());
        Settings { hostname, hosts: hosts.iter().map(entry).collect(), ..Settings::default() }
    }

    #[test]
    fn our_lines_come_first_and_go_without_a_trace() {
        let image = "127.0.0.1 localhost\n127.0.1.1 builder\n# end, without a newline";
        let mut bench = Bench::new(Tree::new().with("/etc/hosts", image));
        bench.apply(&settings("lb.example.net", &[("10.0.0.5", &["db", "db.example.net"])]));
        let ours = "10.0.0.5\tdb db.example.net\n127.0.1.1\tlb.example.net lb\n";
        let mark = |mark: &[u8]| String::from_utf8(mark.to_vec()).unwrap();
        let block = format!("{}\n{ours}{}\n", mark(BEGIN), mark(END));
        assert_eq!(bench.text("/etc/hosts"), format!("{block}{image}"));
        bench.edit("/etc/hosts", &mark(BEGIN), &format!("10.9.9.9 mine\n{}", mark(BEGIN)));
        bench.apply(&settings("x", &[]));
        assert!(bench.text("/etc/hosts").starts_with("10.9.9.9 mine\n# handoff: begin"), "it stays in its place");
        assert!(bench.text("/etc/hosts").contains("\n127.0.1.1\tx\n"));
        bench.apply(&settings("", &[]));
        assert_eq!(bench.text("/etc/hosts"), format!("10.9.9.9 mine\n{image}"));
    }

    #[test]
    fn a_name_that_the_settings_place_gets_no_loopback_address() {
        let mut bench = Bench::new(Tree::new());
        bench.apply(&settings("lb.example.net", &[("10.0.0.10", &["lb.example.net", "lb"])]));
        assert!(!bench.text("/etc/hosts").contains("127.0.1.1"));
        assert!(bench.text("/etc/hosts").contains("\n127.0.0.1\tlocalhost\n"), "a fresh file");
        bench.apply(&settings("lb.example.net", &[("10.0.0.10", &["lb"])]));
        assert!(bench.text("/etc/hosts").contains("127.0.1.1\tlb.example.net\n"));
    }

    #[test]
    fn without_lines_of_ours_the_file_is_left_alone() {
        let bench = Bench::new(Tree::new().with("/etc/hosts", "x"));
        let desired = bench.render(&settings("", &[])).unwrap();
        assert!(desired.entry(&GuestPath::of("/etc/hosts")).is_none());
    }
}
