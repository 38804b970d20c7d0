//! The files for systemd-networkd: their texts, and what the real networkd makes of them.
//!
//! Texts are in `tests/network/NAME.txt`, beside the settings in `NAME.json`. `HANDOFF_UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use handoff::commit::state::State;
use handoff::guest::{Facts, GuestPath, Node, Tree};
use handoff::plan::Desired;
use handoff::render::{Context, network};
use handoff::settings::Settings;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NETWORKD: &str = "/lib/systemd/systemd-networkd";

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network");
    let mut cases: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// An image as Debian makes it; with or without systemd-resolved.
fn image(resolved: bool) -> Tree {
    let units = "/usr/lib/systemd/system";
    let tree = Tree::new()
        .with("/usr/lib/systemd/systemd", "")
        .with("/usr/lib/systemd/systemd-networkd", "")
        .with_node("/lib", Node::link("usr/lib"))
        .with(
            &format!("{units}/systemd-networkd.service"),
            "[Install]\nWantedBy=multi-user.target\nAlso=systemd-networkd.socket\nAlias=dbus-org.freedesktop.network1.service\n\
             Also=systemd-networkd-wait-online.service\n",
        )
        .with(&format!("{units}/systemd-networkd.socket"), "[Install]\nWantedBy=sockets.target\n")
        .with(&format!("{units}/systemd-networkd-wait-online.service"), "[Install]\nWantedBy=network-online.target\n");
    if !resolved {
        return tree;
    }
    tree.with("/usr/lib/systemd/systemd-resolved", "").with(
        &format!("{units}/systemd-resolved.service"),
        "[Install]\nWantedBy=sysinit.target\nAlias=dbus-org.freedesktop.resolve1.service\n",
    )
}

fn render(json: &[u8], tree: &Tree) -> Desired {
    let settings = Settings::check_text(json).unwrap();
    let (state, facts) = (State::default(), Facts::default());
    let mut desired = Desired::new();
    let (class, resolved) = (&handoff::class::Class::default(), &handoff::class::Resolved::default());
    let context = Context { settings: &settings, class, resolved, guest: tree, previous: &state, facts: &facts };
    network::render(&context, &mut desired).unwrap();
    desired
}

/// Everything desired, as one text.
fn shown(desired: &Desired) -> String {
    let mut text = String::new();
    for (path, entry) in desired.entries() {
        match &entry.node {
            Some(Node::File(file)) => {
                assert_eq!((file.mode, file.owner.uid, file.owner.gid), (0o644, 0, 0), "{path}: networkd is not root");
                let content = String::from_utf8(file.content.clone()).unwrap();
                assert!(content.starts_with("# Managed by handoff."), "{path}");
                let body = content.lines().skip(1).collect::<Vec<_>>().join("\n");
                writeln!(text, "==> {path}\n{}\n", body.trim()).unwrap();
            }
            Some(Node::Link(target)) => writeln!(text, "==> {path} -> {target}\n").unwrap(),
            other => panic!("{path}: {other:?}"),
        }
    }
    for warning in &desired.warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    text
}

#[test]
fn each_case_is_written_as_expected() {
    for case in cases() {
        let resolved = shown(&render(&fs::read(&case).unwrap(), &image(true)));
        let expected = case.with_extension("txt");
        if std::env::var_os("HANDOFF_UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &resolved).unwrap();
        }
        assert_eq!(resolved, fs::read_to_string(&expected).unwrap(), "{}", case.display());
    }
}

/// Whether a network namespace of our own can be had, and networkd run in it.
fn can_run_networkd() -> bool {
    let namespace = Command::new("unshare").args(["-mn", "true"]).output().is_ok_and(|output| output.status.success());
    let there = namespace && Path::new(NETWORKD).exists();
    if !there {
        eprintln!("skipped: no systemd-networkd here, or no right to make a network namespace");
    }
    there
}

/// Runs networkd on these files in a namespace for `seconds`, after `before`, and `after` while it still runs. Gives the
/// standard output of `after` and the log.
///
/// Mounts are private to the namespace. `/sys` is read-only there, by which networkd knows that no udev will come.
fn run_networkd(desired: &Desired, before: &str, after: &str) -> (String, String) {
    let directory = tempfile::Builder::new().prefix("handoff-networkd-").tempdir().unwrap();
    let root = directory.path();
    let files = root.join("network");
    fs::create_dir(&files).unwrap();
    for (path, entry) in desired.entries() {
        if let (Some(Node::File(file)), true) = (&entry.node, path.is_within(&GuestPath::of("/etc/systemd/network"))) {
            fs::write(files.join(path.name()), &file.content).unwrap();
        }
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root, open).unwrap();
    let script = format!(
        "set -eu\n\
         mount --make-rprivate /\n\
         mount --bind {files} /mnt\n\
         mount -t tmpfs tmpfs /run\n\
         mkdir -p /run/systemd/netif\n\
         chown systemd-network: /run/systemd/netif\n\
         mount -t sysfs -o ro sysfs /sys\n\
         mount -t tmpfs tmpfs /etc/systemd/network\n\
         cp /mnt/* /etc/systemd/network\n\
         chmod 755 /etc/systemd/network\n\
         ip link set lo up\n\
         {before}\n\
         SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console timeout -k 1 20 {NETWORKD} >{log} 2>&1 &\n\
         networkd=$!\n\
         {after}\n\
         kill $networkd\n",
        files = files.display(),
        log = root.join("log").display(),
    );
    let output = Command::new("timeout")
        .args(["-k", "1", "40", "unshare", "-mn", "sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = fs::read_to_string(root.join("log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{log}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), log)
}

/// The lines in which networkd complains of a file.
fn complaints(log: &str) -> Vec<&str> {
    // 252 says "Unknown key", "Invalid …", "Failed to parse …", always with the file and the line in front.
    log.lines()
        .filter(|line| line.starts_with("/etc/systemd/network/") || line.contains("ignoring assignment"))
        .collect()
}

#[test]
fn networkd_takes_every_line_of_every_case() {
    if !can_run_networkd() {
        return;
    }
    for case in cases() {
        let desired = render(&fs::read(&case).unwrap(), &image(true));
        if desired.entries().keys().all(|path| path.parent() != Some(GuestPath::of("/etc/systemd/network"))) {
            continue;
        }
        let (_, log) = run_networkd(&desired, "", "sleep 0.7");
        assert!(log.contains("up-to-date"), "networkd did not get to work:\n{log}");
        assert_eq!(complaints(&log), [""; 0], "{}", case.display());
    }
}

#[test]
fn a_key_that_networkd_does_not_know_would_be_seen() {
    if !can_run_networkd() {
        return;
    }
    let mut desired = Desired::new();
    let path = GuestPath::of("/etc/systemd/network/10-handoff-x.network");
    desired.file(path, "[Match]\nName=x\n[Network]\nNoSuchKey=1\nAddress=300.1.1.1/8\n", 0o644).unwrap();
    let (_, log) = run_networkd(&desired, "", "sleep 0.7");
    assert_eq!(complaints(&log).len(), 2, "{log}");
}

#[test]
fn networkd_sets_addresses_routes_and_mtu_as_the_settings_say() {
    if !can_run_networkd() {
        return;
    }
    let json = br#"{ "version": 1, "network": { "interfaces": [
        { "name": "front", "addresses": ["10.0.0.10/24", "2001:db8::10/64"], "gateways": ["10.0.0.1", "fe80::1"], "mtu": 1400,
          "routes": [ { "to": "10.1.0.0/16", "via": "10.0.0.254", "metric": 77 }, { "to": "10.2.0.0/16" },
                      { "to": "10.3.0.0/16", "via": "172.16.0.1" }, { "to": "2001:db8:1::/48" } ] },
        { "name": "alone", "addresses": ["203.0.113.7/32"], "routes": [ { "to": "default", "via": "172.31.1.1", "metric": 9 } ] },
        { "name": "member" },
        { "name": "br0", "bridge": { "members": ["member"] }, "addresses": ["10.5.0.1/24"] },
        { "name": "inner", "bridge": { "members": [] }, "addresses": ["10.6.0.1/24"] } ],
      "dns": { "servers": ["10.0.0.53"], "search": ["example.net"] } } }"#;
    let desired = render(json, &image(true));
    let before = "for n in front alone member; do ip link add $n type veth peer name p-$n; ip link set p-$n up; done";
    let after = "for i in $(seq 100); do \
            [ $(cat /run/systemd/netif/links/* | grep -c '^ADMIN_STATE=configured') -ge 5 ] && break; sleep 0.1; done; \
         ip -o address show; ip -o link show; ip route; ip -6 route; cat /run/systemd/netif/links/*";
    let (shown, log) = run_networkd(&desired, before, after);
    assert_eq!(complaints(&log), [""; 0]);
    for expected in [
        "front    inet 10.0.0.10/24 ",
        "front    inet6 2001:db8::10/64 ",
        "alone    inet 203.0.113.7/32 ",
        "br0    inet 10.5.0.1/24 ",
        "inner    inet 10.6.0.1/24 ",
        "default via 10.0.0.1 dev front proto static \n",
        "default via 172.31.1.1 dev alone proto static metric 9 onlink",
        "10.1.0.0/16 via 10.0.0.254 dev front proto static metric 77",
        "10.2.0.0/16 dev front proto static scope link",
        "10.3.0.0/16 via 172.16.0.1 dev front proto static onlink",
        "2001:db8:1::/48 dev front proto static",
        "default via fe80::1 dev front proto static",
        "DNS=10.0.0.53\n",
        "DOMAINS=example.net\n",
    ] {
        assert!(shown.contains(expected), "no `{expected}` in:\n{shown}\n{log}");
    }
    let link =
        |name: &str| shown.lines().find(|line| line.contains(&format!(": {name}")) && line.contains("mtu")).unwrap();
    assert!(link("front@").contains("mtu 1400"), "{}", link("front@"));
    assert!(link("member@").contains("master br0"), "{}", link("member@"));
    let mac = |line: &str| line.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(mac(link("br0")), mac(link("member@")), "a bridge has the address of its member");
    assert!(!shown.contains(": member    inet"), "a member has no address:\n{shown}");
}

/// The other end of the cable is a DHCP server, networkd's own.
#[test]
fn dhcp_gives_an_address_and_not_its_name_servers_where_the_settings_have_some() {
    if !can_run_networkd() {
        return;
    }
    let json = br#"{ "version": 1, "network": { "interfaces": [ { "name": "cable", "dhcp": "ipv4" } ],
        "dns": { "servers": ["10.0.0.53"] } } }"#;
    let mut desired = render(json, &image(true));
    let server =
        "[Match]\nName=p-cable\n[Network]\nAddress=10.77.0.1/24\nDHCPServer=yes\n[DHCPServer]\nDNS=10.77.0.53\n";
    desired.file(GuestPath::of("/etc/systemd/network/90-server.network"), server, 0o644).unwrap();
    let before = "ip link add cable address 52:54:00:00:00:07 type veth peer name p-cable";
    let after = "for i in $(seq 150); do \
            grep -q '^ADMIN_STATE=configured' /run/systemd/netif/links/$(cat /sys/class/net/cable/ifindex) && break; sleep 0.1; done; \
         ip -o -4 address show dev cable; cat /run/systemd/netif/links/$(cat /sys/class/net/cable/ifindex) /run/systemd/netif/leases/*";
    let (shown, log) = run_networkd(&desired, before, after);
    assert_eq!(complaints(&log), [""; 0]);
    assert!(shown.contains("inet 10.77.0."), "{shown}\n{log}");
    assert!(shown.contains("\nDNS=10.0.0.53\n"), "{shown}");
    assert!(shown.contains("\nDNS=10.77.0.53\n"), "the lease has it, the interface not: {shown}");
    // 01 is the type, and then the hardware address.
    assert!(shown.contains("CLIENTID=01525400000007"), "{shown}");
}
