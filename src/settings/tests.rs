//! What the reader says to an operator: representative refusals, each with its exact text.

use super::document::Node;
use super::{Destination, Dhcp, Form, InterfaceKind, Match, Settings, Sudo};
use proptest::prelude::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi ops@example";

fn read(text: &str) -> Result<Settings, String> {
    Settings::check_text(text.as_bytes()).map_err(|error| {
        assert_eq!(error.class(), crate::Class::Invalid);
        error.to_string()
    })
}

/// What is said to a document of version 1 with these sections.
fn said(sections: &str) -> String {
    read(&format!("{{\"version\": 1, {sections}}}")).unwrap_err()
}

fn accepted(sections: &str) -> Settings {
    read(&format!("{{\"version\": 1, {sections}}}")).unwrap()
}

#[test]
fn the_whole_document_is_read() {
    let settings = read(include_str!("../../tests/settings/full.json")).unwrap();
    let instance = settings.instance.as_ref().unwrap();
    assert_eq!((instance.id.as_str(), instance.serial), ("lb-eu-1", 7));
    assert_eq!(instance.machine.unwrap().to_string(), "4c4c4544-0042-3510-8052-b4c04f4e3132");
    assert_eq!(settings.hostname.as_ref().unwrap().as_str(), "lb-eu-1.example.net");
    let front = &settings.network.as_ref().unwrap().interfaces[0];
    assert!(matches!(front.kind, InterfaceKind::Physical(Match::Mac(_))));
    assert_eq!(front.dhcp, Dhcp::None);
    assert!(matches!(front.routes[0].to, Destination::Network(to) if to.to_string() == "10.1.0.0/16"));
    assert_eq!(settings.users[0].sudo, Sudo::Password);
    assert_eq!(settings.users[0].ssh_authorized_keys.as_ref().unwrap()[0].as_str(), KEY);
    assert_eq!(settings.services[0].name.as_str(), "haproxy.service");
    assert_eq!(settings.files[0].content, b"Welcome.\n\tMind the step.\n");
    assert_eq!(settings.files[1].content, [0, 1, 2, 255]);
    assert_eq!(settings.fields.value("port").unwrap().signed(0..=9999), Ok(8080));
}

#[test]
fn a_document_with_nothing_but_its_version_manages_nothing() {
    assert_eq!(read(r#"{"version": 1}"#).unwrap(), Settings::default());
    assert_eq!(accepted(r#""users": [], "files": [], "network": {}"#).users, []);
}

#[test]
fn the_version_is_asked_for_first() {
    assert_eq!(
        read("{}").unwrap_err(),
        "settings (line 1, column 1): has no `version`; add the key `version` with the value 1"
    );
    assert_eq!(
        read(r#"{"colour": "blue", "version": 2}"#).unwrap_err(),
        "version (line 1, column 31): 2 is not a version that this program knows; write 1, or use a newer handoff on both sides"
    );
    assert_eq!(
        read(r#"{"version": "1"}"#).unwrap_err(),
        "version (line 1, column 13): is a text, not a number; write a whole number without quotes"
    );
    assert_eq!(
        read("[]").unwrap_err(),
        "settings (line 1, column 1): is a list, not a table; write { } with keys and values"
    );
}

#[test]
fn each_refusal_names_place_problem_and_remedy() {
    for (sections, wanted) in [
        (
            "\n\"users\": [{\"name\": \"ops\", \"shel\": 1}]",
            "users[0].shel (line 2, column 27): is an unknown key; did you mean `shell`?",
        ),
        (
            r#""groups": [{"name": "ops", "colour": 1}]"#,
            "groups[0].colour (line 1, column 43): is an unknown key; the keys here are name, gid",
        ),
        (
            r#""users": [{"name": "ops", "password": "hunter2"}]"#,
            "users[0].password (line 1, column 42): is an unknown key; did you mean `password_hash`?",
        ),
        (
            r#""users": [{"name": "ops", "password_hash": "hunter2"}]"#,
            "users[0].password_hash (line 1, column 59): is not the hash of a password; write what `mkpasswd` or `openssl passwd -6` prints; plain passwords do not exist in settings",
        ),
        (r#""users": [{"uid": 1000}]"#, "users[0] (line 1, column 26): has no `name`; add the key `name`"),
        (
            r#""users": [{"name": "Ops"}]"#,
            "users[0].name (line 1, column 35): `Ops` is not an account name; begin with a lower-case letter or _, go on with lower-case letters, digits, _ and -, at most 32 characters",
        ),
        (
            r#""users": [{"name": "ops", "shell": "bin/sh"}]"#,
            "users[0].shell (line 1, column 51): `bin/sh` does not begin with /; write it from the root of the guest, like /etc/motd",
        ),
        (
            r#""users": [{"name": "ops", "uid": 65534}]"#,
            "users[0].uid (line 1, column 49): 65534 is kept for nobody; choose another number, like 1000",
        ),
        (
            r#""users": [{"name": "ops", "uid": 1000.5}]"#,
            "users[0].uid (line 1, column 49): 1000.5 is not a whole number from 1 to 4294967293; write a whole number from 1 to 4294967293",
        ),
        (
            r#""users": [{"name": "ops", "sudo": "yes"}]"#,
            "users[0].sudo (line 1, column 50): `yes` is no value of it; write none, password or nopasswd",
        ),
        (r#""hostname": null"#, "hostname (line 1, column 28): is null, not a text; leave out what is not meant"),
        (
            r#""users": [{"name": "ops", "sudo": true}]"#,
            "users[0].sudo (line 1, column 50): is true or false, not a text; write none, password or nopasswd",
        ),
        (r#""hostname": 7"#, "hostname (line 1, column 28): is a number, not a text; write it in quotes"),
        (
            r#""hostname": "a\u0007b""#,
            "hostname (line 1, column 28): has a control character; write it on one line, without tabs",
        ),
        (
            r#""users": {"name": "ops"}"#,
            "users (line 1, column 25): is a table, not a list; write [ ] around it, also around a single one",
        ),
        (
            r#""services": [{"name": "x", "environment": [{"name": "A", "value": "s3cret\n"}]}]"#,
            "services[0].environment[0].value (line 1, column 82): has a control character; write it on one line, without tabs",
        ),
        (
            r#""services": [{"name": "x", "masked": true, "enabled": true}]"#,
            "services[0] (line 1, column 29): is masked and enabled; remove one of the two, because nothing starts a masked service",
        ),
        (
            r#""files": [{"path": "/etc/motd", "content": "", "content_base64": ""}]"#,
            "files[0].content_base64 (line 1, column 81): stands beside `content`; keep either `content` or `content_base64`",
        ),
        (
            r#""files": [{"path": "/etc/motd"}]"#,
            "files[0] (line 1, column 26): has no `content` and no `content_base64`; add content or content_base64",
        ),
        (
            r#""files": [{"path": "/etc/motd", "content": "a\u0000b"}]"#,
            "files[0].content (line 1, column 59): has a NUL character; give bytes that are no text as content_base64",
        ),
        (
            r#""fields": {"a": [{"b": null}]}"#,
            "fields.a[0].b (line 1, column 39): is null, which is no value; leave out what is not meant",
        ),
    ] {
        assert_eq!(said(sections), wanted);
    }
}

#[test]
fn each_rule_between_values_names_place_problem_and_remedy() {
    for (sections, wanted) in [
        (
            "\"groups\": [{\"name\": \"a\"},\n{\"name\": \"a\"}]",
            "groups[1].name (line 2, column 10): `a` is also groups[0].name (line 1, column 36); keep it in one place",
        ),
        (
            r#""users": [{"name": "a", "uid": 1000}, {"name": "b", "uid": 1000}]"#,
            "users[1].uid (line 1, column 75): `1000` is also users[0].uid (line 1, column 47); keep it in one place",
        ),
        (
            r#""users": [{"name": "root", "home": "/x"}]"#,
            "users[0].home (line 1, column 51): cannot be set for root; set only password_hash, ssh_authorized_keys, shell and locked for root",
        ),
        (
            r#""files": [{"path": "/run/x", "content": ""}]"#,
            "files[0].path (line 1, column 35): `/run/x` lies in /run, where no file stays; choose another path",
        ),
        (
            r#""files": [{"path": "/etc/sudoers.d/x", "content": ""}]"#,
            "files[0].path (line 1, column 35): /etc/sudoers.d is not for `files`; use `users[].sudo`, which writes it",
        ),
        (
            r#""files": [{"path": "/a/b/c", "content": ""}, {"path": "/a", "content": ""}]"#,
            "files[0].path (line 1, column 35): `/a/b/c` lies below `/a`, which is a file by files[1].path (line 1, column 70); remove one of the two",
        ),
        (
            r#""services": [{"name": "x", "environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]"#,
            "services[0].environment[1].name (line 1, column 97): `A` is also services[0].environment[0].name (line 1, column 68); keep it in one place",
        ),
        (
            r#""services": [{"name": "x"}, {"name": "x.service"}]"#,
            "services[1].name (line 1, column 53): `x.service` is also services[0].name (line 1, column 38); keep it in one place",
        ),
    ] {
        assert_eq!(said(sections), wanted);
    }
}

fn network(interfaces: &str) -> Result<Settings, String> {
    read(&format!(r#"{{"version": 1, "network": {{"interfaces": [{interfaces}]}}}}"#))
}

#[test]
fn networks_that_cannot_be_are_refused() {
    for (interfaces, wanted) in [
        (r#"{"name": "a"}, {"name": "a"}"#, "[1].name (line 1, column 67): `a` is also network.interfaces[0].name"),
        (r#"{"name": "a", "match": {"name": "e"}}, {"name": "e"}"#, "[1].name (line 1, column 91): `e` is also"),
        (
            r#"{"name": "a", "match": {"mac": "52:54:00:00:00:01"}}, {"name": "b", "match": {"mac": "52-54-00-00-00-01"}}"#,
            "[1].match.mac (line 1, column 128): `52:54:00:00:00:01` is also",
        ),
        (r#"{"name": "a", "vlan": {"id": 5, "link": "b"}}"#, "[0].vlan.link (line 1, column 83): `b` is no interface"),
        (r#"{"name": "a", "vlan": {"id": 5, "link": "a"}}"#, "[0] (line 1, column 43): `a` is made on itself"),
        (
            r#"{"name": "a", "vlan": {"id": 5, "link": "b"}}, {"name": "b", "bridge": {"members": ["a"]}}"#,
            "[0] (line 1, column 43): `a` is made on itself",
        ),
        (
            r#"{"name": "e"}, {"name": "a", "vlan": {"id": 5, "link": "e"}}, {"name": "b", "vlan": {"id": 5, "link": "e"}}"#,
            "[2].vlan.id (line 1, column 134): `VLAN 5 on e` is also",
        ),
        (
            r#"{"name": "e"}, {"name": "b", "bridge": {"members": ["e"]}}, {"name": "c", "bridge": {"members": ["e"]}}"#,
            "[2].bridge.members[0] (line 1, column 140): `e` is also",
        ),
        (
            r#"{"name": "b", "bridge": {"members": []}}, {"name": "c", "bridge": {"members": ["b"]}}"#,
            "[1].bridge.members[0] (line 1, column 122): `b` cannot be a member here",
        ),
        (
            r#"{"name": "e", "dhcp": "ipv4"}, {"name": "b", "bond": {"mode": "802.3ad", "members": ["e"]}}"#,
            "[1].bond.members[0] (line 1, column 128): `e` has addresses, dhcp, gateways or routes of its own",
        ),
        (
            r#"{"name": "a", "addresses": ["10.0.0.1/24"]}, {"name": "b", "addresses": ["10.0.0.1/16"]}"#,
            "[1].addresses[0] (line 1, column 116): `10.0.0.1` is also",
        ),
        (r#"{"name": "a", "addresses": ["127.0.0.2/8"]}"#, "`127.0.0.2/8` is a loopback address"),
        (r#"{"name": "a", "addresses": ["ff02::1/64"]}"#, "`ff02::1/64` is the address of a group"),
        (
            r#"{"name": "a", "gateways": ["10.0.0.1"]}"#,
            "`10.0.0.1` is a gateway for IPv4, and the interface has no IPv4",
        ),
        (
            r#"{"name": "a", "addresses": ["10.0.0.2/24"], "gateways": ["10.0.1.1"]}"#,
            "[0].gateways[0] (line 1, column 100): `10.0.1.1` lies in no network of the interface",
        ),
        (
            r#"{"name": "a", "addresses": ["10.0.0.2/24"], "gateways": ["10.0.0.2"]}"#,
            "`10.0.0.2` is an address of the interface itself",
        ),
        (
            r#"{"name": "a", "addresses": ["10.0.0.2/24"], "gateways": ["10.0.0.1", "10.0.0.3"]}"#,
            "[0].gateways[1] (line 1, column 112): `10.0.0.3` is a second gateway for IPv4",
        ),
        (
            r#"{"name": "a", "routes": [{"to": "10.0.0.1/24"}]}"#,
            "[0].routes[0].to (line 1, column 75): `10.0.0.1/24` has host bits; write the network, 10.0.0.0/24",
        ),
        (
            r#"{"name": "a", "routes": [{"to": "10.0.0.0/24", "via": "fe80::1"}]}"#,
            "[0].routes[0].via (line 1, column 97): `fe80::1` is IPv6",
        ),
        (r#"{"name": "a", "routes": [{"to": "default"}]}"#, "is a default route without `via`"),
        (
            r#"{"name": "a", "routes": [{"to": "default", "via": "10.0.0.1"}, {"to": "0.0.0.0/0"}]}"#,
            "`default for IPv4` is also",
        ),
        (r#"{"name": "a", "mtu": 1000, "dhcp": "both"}"#, "1000 is less than the 1280 that IPv6 needs"),
        (
            r#"{"name": "e", "mtu": 1500}, {"name": "a", "vlan": {"id": 1, "link": "e"}, "mtu": 1501}"#,
            "1501 is more than the 1500 of its link `e`",
        ),
        (r#"{"name": "a", "vlan": {"id": 1, "link": "a"}, "match": {}}"#, "stands beside `match`"),
    ] {
        let error = network(interfaces).unwrap_err();
        assert!(error.contains(wanted), "{error}\n  is not\n{wanted}");
    }
}

#[test]
fn networks_that_can_be_are_accepted() {
    for interfaces in [
        r#"{"name": "a", "addresses": ["10.0.0.2/32"], "gateways": ["10.9.9.9"]}"#,
        r#"{"name": "a", "addresses": ["2001:db8::2/64"], "gateways": ["fe80::1"]}"#,
        r#"{"name": "a", "dhcp": "ipv4", "gateways": ["10.9.9.9"]}"#,
        r#"{"name": "a", "addresses": ["fe80::1/64"]}, {"name": "b", "addresses": ["fe80::1/64"]}"#,
        r#"{"name": "a", "match": {"name": "b"}}, {"name": "b", "match": {"name": "a"}}"#,
        r#"{"name": "e"}, {"name": "f"}, {"name": "bond0", "bond": {"mode": "active-backup", "members": ["e", "f"]}},
           {"name": "bond0.5", "vlan": {"id": 5, "link": "bond0"}},
           {"name": "br0", "bridge": {"members": ["bond0.5"], "stp": true}, "addresses": ["10.0.0.2/24"]}"#,
        r#"{"name": "a", "routes": [{"to": "10.0.0.0/24"}, {"to": "10.0.0.0/24", "metric": 5}]}"#,
    ] {
        if let Err(error) = network(interfaces) {
            panic!("{interfaces}: {error}");
        }
    }
}

#[test]
fn secrets_are_never_repeated() {
    for sections in [
        r#""users": [{"name": "ops", "password_hash": "s3cret"}]"#,
        r#""services": [{"name": "x", "environment": [{"name": "A", "value": "s3cret\u0001"}]}]"#,
        r#""files": [{"path": "/x", "content_base64": "s3cret"}]"#,
        r#""files": [{"path": "/x", "content": "s3cret\u0000"}]"#,
        r#""fields": {"token": "s3cret\u0001"}"#,
    ] {
        assert!(!said(sections).contains("s3cret"), "{sections}");
    }
}

#[test]
fn a_long_or_hostile_value_stays_one_short_line() {
    let text = said(&format!("\"hostname\": \"{}\"", "é".repeat(5000)));
    assert!(text.len() < 400, "{text}");
    let text = said(r#""\n\u001b[2Jx": 1"#);
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// A value of JSON with some of the format's own keys in it.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let keys = prop::sample::select(vec![
        "version",
        "users",
        "name",
        "files",
        "path",
        "content",
        "network",
        "interfaces",
        "match",
        "fields",
        "x",
        "mac",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        Just(1.into()),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        Just("eth0".into()),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Settings::check_text(&bytes);
    }

    #[test]
    fn no_json_makes_the_reader_panic(value in any_json()) {
        let text = value.to_string();
        let node = Node::from_json(text.as_bytes()).unwrap();
        prop_assert_eq!(serde_json::to_value(&node).unwrap(), serde_json::from_str::<serde_json::Value>(&text).unwrap());
        let _ = Form::read(&node);
        let mut document = serde_json::json!({"version": 1, "users": [], "fields": {"x": value}});
        let _ = Settings::check_text(document.to_string().as_bytes());
        for section in ["network", "users", "files", "services", "instance"] {
            document[section] = document["fields"]["x"].clone();
            let _ = Settings::check_text(document.to_string().as_bytes());
        }
    }

    #[test]
    fn a_document_of_good_values_is_accepted(
        hostname in "[a-z]([a-z0-9-]{0,10}[a-z0-9])?\\.example",
        names in prop::collection::btree_set("[a-z_][a-z0-9_-]{0,31}", 0..20),
        octets in prop::collection::btree_set((1u8..=223, any::<u8>(), any::<u8>(), 1u8..=254, 1u8..=32), 0..20),
        texts in prop::collection::vec("[^\0]{0,40}", 0..10),
        serial in 0..=i64::MAX as u64,
    ) {
        let addresses: std::collections::BTreeMap<_, _> = octets
            .into_iter()
            .filter(|octets| octets.0 != 127)
            .map(|(a, b, c, d, prefix)| (format!("{a}.{b}.{c}.{d}"), prefix))
            .collect();
        let document = serde_json::json!({
            "version": 1,
            "instance": {"id": "x", "serial": serial},
            "hostname": hostname,
            "network": {"interfaces": [{
                "name": "eth0",
                "addresses": addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect::<Vec<_>>(),
            }]},
            "users": names.iter().filter(|name| *name != "root").enumerate()
                .map(|(n, name)| serde_json::json!({"name": name, "uid": n + 1000})).collect::<Vec<_>>(),
            "files": texts.iter().enumerate()
                .map(|(n, text)| serde_json::json!({"path": format!("/srv/{n}"), "content": text})).collect::<Vec<_>>(),
        });
        let settings = Settings::check_text(document.to_string().as_bytes());
        prop_assert!(settings.is_ok(), "{}", settings.unwrap_err());
        let files = settings.unwrap().files;
        prop_assert!(files.iter().zip(&texts).all(|(file, text)| file.content == text.as_bytes()));
    }
}
