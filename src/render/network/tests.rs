use crate::class::{Class, Resolved};
use crate::commit::state::State;
use crate::error::Result;
use crate::guest::{Facts, GuestPath, Interface, Live, Node, Tree};
use crate::plan::Desired;
use crate::render::Context;
use crate::settings::Settings;

const STATIC: &str =
    r#""interfaces": [{"name": "front", "match": {"mac": "52:54:00:12:34:56"}, "addresses": ["10.0.0.2/24"]}]"#;

fn image() -> Tree {
    Tree::new()
        .with("/usr/lib/systemd/systemd", "")
        .with("/usr/lib/systemd/systemd-networkd", "")
        .with("/usr/lib/systemd/system/systemd-networkd.service", "[Install]\nWantedBy=multi-user.target\n")
}

fn render_on(tree: &Tree, facts: &Facts, network: &str) -> Result<Desired> {
    let settings = Settings::check_text(format!(r#"{{"version": 1, "network": {{{network}}}}}"#).as_bytes()).unwrap();
    let state = State::default();
    let mut desired = Desired::new();
    super::render(
        &Context {
            settings: &settings,
            class: &Class::default(),
            resolved: &Resolved::default(),
            guest: tree,
            previous: &state,
            facts,
        },
        &mut desired,
    )?;
    Ok(desired)
}

fn render(tree: &Tree, network: &str) -> Desired {
    render_on(tree, &Facts::default(), network).unwrap()
}

fn node(desired: &Desired, path: &str) -> Option<Node> {
    desired.entry(&GuestPath::of(path)).and_then(|entry| entry.node.clone())
}

#[test]
fn an_image_without_networkd_is_an_error_that_names_what_to_install() {
    let tree = Tree::new().with("/usr/lib/systemd/systemd", "");
    let error = render_on(&tree, &Facts::default(), STATIC).unwrap_err();
    assert!(error.remedy().contains("systemd-networkd"), "{error}");
    let unmerged = Tree::new()
        .with("/lib/systemd/systemd", "")
        .with("/lib/systemd/systemd-networkd", "")
        .with("/lib/systemd/system/systemd-networkd.service", "[Install]\nWantedBy=multi-user.target\n");
    let link = node(&render(&unmerged, STATIC), "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
    assert_eq!(link, Some(Node::link("/lib/systemd/system/systemd-networkd.service")));
}

#[test]
fn without_resolved_the_name_servers_are_in_a_file() {
    let dns = r#""dns": {"servers": ["10.0.0.1", "2001:db8::1"], "search": ["a.example", "b.example"]}"#;
    let desired = render(&image(), &format!("{STATIC}, {dns}"));
    let text = format!("{}nameserver 10.0.0.1\nnameserver 2001:db8::1\nsearch a.example b.example\n", super::MANAGED);
    assert_eq!(node(&desired, "/etc/resolv.conf"), Some(Node::file(text, 0o644)));
    assert!(node(&render(&image(), STATIC), "/etc/resolv.conf").is_none(), "left alone");
    let dhcp = render(&image(), r#""interfaces": [{"name": "ens3", "dhcp": "ipv4"}]"#);
    assert!(node(&dhcp, "/etc/resolv.conf").is_none());
    assert!(dhcp.warnings.iter().any(|line| line.contains("systemd-resolved")), "{:?}", dhcp.warnings);
}

#[test]
fn a_link_of_the_image_to_resolved_stays_as_it_is() {
    let tree = image()
        .with("/usr/lib/systemd/systemd-resolved", "")
        .with("/usr/lib/systemd/system/systemd-resolved.service", "[Install]\nWantedBy=sysinit.target\n")
        .with_node("/etc/resolv.conf", Node::link("/run/systemd/resolve/stub-resolv.conf"));
    let desired = render(&tree, r#""interfaces": [{"name": "ens3", "dhcp": "ipv4"}]"#);
    assert_eq!(node(&desired, "/etc/resolv.conf"), Some(Node::link("/run/systemd/resolve/stub-resolv.conf")));
}

#[test]
fn what_would_fight_over_an_interface_is_told() {
    let tree = image()
        .with("/etc/systemd/network/05-all.network", "[Match]\nName=*\n[Network]\nDHCP=yes\n")
        .with("/usr/lib/systemd/network/06-other.network", "[Match]\nName=wl*\n")
        .with("/usr/lib/systemd/network/80-dhcp.network", "[Match]\nName=*\n")
        .with("/etc/network/interfaces", "auto lo\niface lo inet loopback\nallow-hotplug front\n");
    let warnings = render(&tree, STATIC).warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("/etc/systemd/network/05-all.network"), "{warnings:?}");
    assert!(warnings[1].contains("/etc/network/interfaces"), "{warnings:?}");
    assert!(render(&image(), STATIC).warnings.is_empty());
}

#[test]
fn a_card_that_is_not_there_is_told_with_those_that_are() {
    let card = |name: &str, mac: &str| Interface { name: name.into(), mac: mac.into(), up: false };
    let facts =
        |cards: Vec<Interface>| Facts { live: Some(Live { interfaces: cards, ..Live::default() }), ..Facts::default() };
    let other = facts(vec![card("enp1s0", "52:54:00:aa:aa:aa")]);
    let warnings = render_on(&image(), &other, STATIC).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("52:54:00:12:34:56") && warnings[0].contains("enp1s0 52:54:00:aa:aa:aa"),
        "{warnings:?}"
    );
    let right = facts(vec![card("enp1s0", "52:54:00:12:34:56")]);
    assert!(render_on(&image(), &right, STATIC).unwrap().warnings.is_empty());
    assert!(render_on(&image(), &facts(Vec::new()), STATIC).unwrap().warnings.is_empty(), "drivers may come later");
}
