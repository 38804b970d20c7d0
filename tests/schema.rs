//! `docs/settings.schema.json` and the code accept the same documents, and `docs/settings.md` shows the same keys.
//!
//! A corpus of good documents is changed in every place in many ways; on each changed document schema and code must
//! agree. The schema describes [`Form::read`], which judges each value by itself. What only several places together can
//! break is listed in `RULES`: schema and form accept it, and [`Form::settle`] refuses it.
//!
//! Two things are outside of what a schema can say, and no change here touches them: a whole number spelled `1.0`, and the
//! inside of the data of SSH keys other than Ed25519.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use handoff::settings::Form;
use handoff::settings::Settings;
use handoff::settings::document::Node;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const SCHEMA: &str = include_str!("../docs/settings.schema.json");
const PAGE: &str = include_str!("../docs/settings.md");
const FULL: &str = include_str!("settings/full.json");
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi ops@example";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCQTHeEMSw3E1IQCZ0kiA0rsHuFpN2NvK6x01pc6tLYn1uhQzwiAiaUF/GpdYPwV0Pr8DNF85dAKBv1bBlGq+aY= ops";

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Documents that are good, with every key of the format in them and the edges of every range.
fn corpus() -> Vec<Value> {
    let full: Value = serde_json::from_str(FULL).unwrap();
    let mut corpus = vec![full.clone(), json!({"version": 1})];
    for (key, section) in full.as_object().unwrap() {
        if key != "version" {
            corpus.push(json!({"version": 1, key: section}));
        }
    }
    let sections = [
        json!({"instance": {"id": "é".repeat(128), "serial": 0}}),
        json!({"instance": {"id": "x", "serial": i64::MAX, "machine": "ABCDEF01-2345-6789-abcd-ef0123456789"}}),
        json!({"appliance": {"class": "1-a_b.c", "version": "1.2~rc1+x"}}),
        json!({"hostname": format!("{}.a", "a".repeat(62))}),
        json!({"hosts": [{"address": "2001:DB8::1", "names": ["a", "_b._c.example"]}]}),
        json!({"hosts": [{"address": "1:2:3:4:5:6:1.2.3.4", "names": ["a"]}, {"address": "::", "names": ["b"]}]}),
        json!({"network": {}}),
        json!({"network": {"dns": {}}}),
        json!({"network": {"dns": {"servers": [], "search": []}, "interfaces": []}}),
        json!({"network": {"interfaces": [{
            "name": "a", "addresses": ["10.0.0.2/32", "fe80::1/0"], "dhcp": "ipv6", "accept_ra": true, "mtu": 65535,
            "gateways": ["192.0.2.1", "fe80::9"],
            "routes": [{"to": "default", "via": "::9", "metric": 0}, {"to": "0.0.0.0/0", "metric": 4294967295_u32},
                       {"to": "::/0"}, {"to": "1::/128"}]
        }]}}),
        json!({"network": {"interfaces": [
            {"name": "0a", "mtu": 68, "match": {"mac": "52-54-00-AB-cd-00"}},
            {"name": "b", "bond": {"members": ["0a"], "mode": "802.3ad", "monitor_ms": 1}},
            {"name": "b.1", "vlan": {"id": 1, "link": "b"}}, {"name": "b.4094", "vlan": {"id": 4094, "link": "b"}},
            {"name": "c", "bridge": {"members": []}}, {"name": "d", "bridge": {"members": ["b.1"], "stp": false}}
        ]}}),
        json!({"groups": [{"name": "_"}, {"name": "a".repeat(32), "gid": 1}, {"name": "b", "gid": 4294967293_u32}]}),
        json!({"users": [{"name": "root", "ssh_authorized_keys": [ECDSA], "locked": true, "shell": "/bin/sh"},
            {"name": "a", "ssh_authorized_keys": [], "groups": [], "comment": "", "sudo": "nopasswd", "uid": 65533},
            {"name": "b", "password_hash": "$2b$12$0123456789abcdefghijk", "comment": "é", "sudo": "none"}]}),
        json!({"services": [{"name": "a@b"}, {"name": "a:b.socket", "enabled": false, "masked": true, "environment": []},
            {"name": "c", "masked": false, "enabled": true, "environment": [{"name": "_", "value": ""}]}]}),
        json!({"files": [{"path": "/srv/..a/.b/c:d", "mode": "777", "content": "\u{1}\u{7f}\r\n\u{85}"},
            {"path": "/srv/e", "content_base64": ""}, {"path": "/srv/é ü", "content_base64": "AA=="}]}),
        json!({"timezone": "UTC"}),
        json!({"timezone": "Etc/GMT+1"}),
        json!({"locale": "C"}),
        json!({"fields": {}}),
        json!({"fields": {"é x": [1.5, -1, true, "", {"": 1}]}}),
    ];
    for section in sections {
        let mut document = section.as_object().unwrap().clone();
        document.insert("version".into(), 1.into());
        corpus.push(document.into());
    }
    // An empty key of `fields` is refused, also inside of it: the last one is made good here.
    let last = corpus.last_mut().unwrap();
    last["fields"]["é x"][4] = json!({"y": 1e300});
    corpus
}

/// Documents in which each value is good by itself, and which are refused all the same.
fn rules() -> Vec<(&'static str, Value)> {
    let interfaces = |interfaces: Value| json!({"network": {"interfaces": interfaces}});
    let file = |path: &str| json!({"files": [{"path": path, "content": ""}]});
    vec![
        ("two groups of one name", json!({"groups": [{"name": "a"}, {"name": "a"}]})),
        ("two groups of one number", json!({"groups": [{"name": "a", "gid": 5}, {"name": "b", "gid": 5}]})),
        ("the group root", json!({"groups": [{"name": "root"}]})),
        ("two users of one name", json!({"users": [{"name": "a"}, {"name": "a"}]})),
        ("two users of one number", json!({"users": [{"name": "a", "uid": 5}, {"name": "b", "uid": 5}]})),
        ("a group given twice", json!({"users": [{"name": "a", "groups": ["b", "b"]}]})),
        ("root with a number", json!({"users": [{"name": "root", "uid": 5}]})),
        ("root with a group", json!({"users": [{"name": "root", "group": "a"}]})),
        ("root with groups", json!({"users": [{"name": "root", "groups": ["a"]}]})),
        ("root with a home", json!({"users": [{"name": "root", "home": "/a"}]})),
        ("root with a comment", json!({"users": [{"name": "root", "comment": "a"}]})),
        ("root with sudo", json!({"users": [{"name": "root", "sudo": "password"}]})),
        ("two services of one name", json!({"services": [{"name": "a"}, {"name": "a.service"}]})),
        (
            "two variables of one name",
            json!({"services": [{"name": "a", "environment": [{"name": "A", "value": ""}, {"name": "A", "value": ""}]}]}),
        ),
        (
            "two files of one path",
            json!({"files": [{"path": "/a", "content": ""}, {"path": "/a", "content": ""}]}),
        ),
        (
            "a file below a file",
            json!({"files": [{"path": "/a/b/c", "content": ""}, {"path": "/a", "content": ""}]}),
        ),
        ("a file in /proc", file("/proc/x")),
        ("a file in /sys", file("/sys/x")),
        ("a file in /dev", file("/dev/x")),
        ("a file in /run", file("/run/x")),
        ("a file in /var/run", file("/var/run/x")),
        ("the file of users", file("/etc/passwd")),
        ("the file of hashes", file("/etc/shadow")),
        ("the file of groups", file("/etc/group")),
        ("the other file of groups", file("/etc/gshadow")),
        ("the file of sudo", file("/etc/sudoers")),
        ("a file of sudo", file("/etc/sudoers.d/x")),
        ("the file of the host name", file("/etc/hostname")),
        ("the file of hosts", file("/etc/hosts")),
        ("the file of the identity", file("/etc/machine-id")),
        ("our own state", file("/var/lib/handoff/x")),
        ("our own keys", file("/etc/handoff/trusted-keys")),
        ("the image's keys", file("/usr/lib/handoff/trusted-keys")),
        ("our own program", file("/usr/sbin/handoff-agent")),
        ("a name of the commit", file("/etc/.handoff-0001.new")),
        ("two interfaces of one name", interfaces(json!([{"name": "a"}, {"name": "a"}]))),
        ("two names of one card", interfaces(json!([{"name": "a"}, {"name": "b", "match": {"name": "a"}}]))),
        (
            "two names of one address",
            interfaces(json!([{"name": "a", "match": {"mac": "52:54:00:00:00:01"}},
                              {"name": "b", "match": {"mac": "52-54-00-00-00-01"}}])),
        ),
        ("a link that is not there", interfaces(json!([{"name": "a", "vlan": {"id": 1, "link": "b"}}]))),
        ("a member that is not there", interfaces(json!([{"name": "a", "bridge": {"members": ["b"]}}]))),
        ("a VLAN on itself", interfaces(json!([{"name": "a", "vlan": {"id": 1, "link": "a"}}]))),
        (
            "a loop",
            interfaces(json!([{"name": "a", "vlan": {"id": 1, "link": "b"}}, {"name": "b", "bond": {"members": ["a"], "mode": "802.3ad"}}])),
        ),
        (
            "two masters",
            interfaces(json!([{"name": "a"}, {"name": "b", "bridge": {"members": ["a"]}}, {"name": "c", "bridge": {"members": ["a"]}}])),
        ),
        (
            "a bridge in a bridge",
            interfaces(json!([{"name": "a", "bridge": {"members": []}}, {"name": "b", "bridge": {"members": ["a"]}}])),
        ),
        (
            "a member with an address",
            interfaces(json!([{"name": "a", "addresses": ["10.0.0.1/8"]}, {"name": "b", "bridge": {"members": ["a"]}}])),
        ),
        (
            "one VLAN twice",
            interfaces(json!([{"name": "a"}, {"name": "b", "vlan": {"id": 1, "link": "a"}}, {"name": "c", "vlan": {"id": 1, "link": "a"}}])),
        ),
        (
            "an address on two interfaces",
            interfaces(json!([{"name": "a", "addresses": ["10.0.0.1/8"]}, {"name": "b", "addresses": ["10.0.0.1/9"]}])),
        ),
        ("an address of a group", interfaces(json!([{"name": "a", "addresses": ["224.0.0.1/8"]}]))),
        ("a gateway without an address", interfaces(json!([{"name": "a", "gateways": ["10.0.0.1"]}]))),
        (
            "a gateway elsewhere",
            interfaces(json!([{"name": "a", "addresses": ["10.0.0.1/24"], "gateways": ["10.0.1.1"]}])),
        ),
        (
            "two gateways of a family",
            interfaces(json!([{"name": "a", "dhcp": "ipv4", "gateways": ["10.0.1.1", "10.0.1.2"]}])),
        ),
        ("host bits", interfaces(json!([{"name": "a", "routes": [{"to": "10.0.0.1/24"}]}]))),
        ("two families", interfaces(json!([{"name": "a", "routes": [{"to": "10.0.0.0/24", "via": "::5"}]}]))),
        ("one route twice", interfaces(json!([{"name": "a", "routes": [{"to": "1::/16"}, {"to": "1::/16"}]}]))),
        ("too small for IPv6", interfaces(json!([{"name": "a", "mtu": 1279, "dhcp": "both"}]))),
        (
            "a VLAN larger than its link",
            interfaces(json!([{"name": "a", "mtu": 1500}, {"name": "b", "mtu": 1501, "vlan": {"id": 1, "link": "a"}}])),
        ),
    ]
    .into_iter()
    .map(|(name, mut document)| {
        document["version"] = 1.into();
        (name, document)
    })
    .collect()
}

/// Values of every type, format and range of the schema, on both sides of their borders.
fn palette() -> Vec<Value> {
    let mut palette = vec![Value::Null, json!(true), json!(false), json!(1.5), json!(-1)];
    for border in [0_u64, 1, 68, 4094, 60_000, 65_534, 65_535, 4_294_967_293, 4_294_967_295, 9_223_372_036_854_775_807]
    {
        for number in [border.saturating_sub(1), border, border + 1] {
            palette.push(json!(number));
        }
    }
    for length in [1, 15, 32, 62, 63, 64, 128, 192, 253, 255, 256, 384, 1024, 4096, 16_384] {
        palette.push(json!("a".repeat(length)));
        palette.push(json!("a".repeat(length + 1)));
        palette.push(json!(format!("/{}", "a/".repeat(length / 2))));
        palette.push(json!(format!("{}a", "/a".repeat(length / 2))));
        palette.push(json!(format!("{}a", "a.".repeat(length / 2))));
        palette.push(json!(format!("$6${}", "a".repeat(length))));
    }
    let texts = [
        "",
        " ",
        "a",
        "A",
        "1",
        "12",
        "a b",
        "a\nb",
        "a\tb",
        "a\n",
        "\u{85}",
        "a\0b",
        "\u{7f}",
        "é",
        "-a",
        "a-",
        "_a",
        ".a",
        "a.",
        "a..b",
        "+a",
        "a_b",
        "a:b",
        "a,b",
        "a/b",
        "a@b",
        "a@b@c",
        "@a",
        "a%i",
        "a=b",
        "a~b",
        "localhost",
        "localhost.a",
        "lo",
        "all",
        "default",
        "root",
        "none",
        "both",
        "ipv4",
        "password",
        "nopasswd",
        "NOPASSWD",
        "802.3ad",
        "balance-rr",
        "1.2.3",
        "1.2.3.4",
        "01.2.3.4",
        "256.1.1.1",
        "1.2.3.4/32",
        "1.2.3.4/33",
        "1.2.3.4/08",
        "1.2.3.4/",
        "1.2.3.4/+8",
        "::",
        "::1",
        "1::",
        "1:2:3:4:5:6:7::",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:8::",
        "::2:3:4:5:6:7:8",
        "::1:2:3:4:5:6:7:8",
        "1::2::3",
        "::1.2.3.4",
        "::ffff:1.2.3.256",
        "1:2:3:4:5:6:7:1.2.3.4",
        "12345::",
        "g::",
        "fe80::1%1",
        "[::1]",
        "::1/128",
        "::1/129",
        "::1/64",
        "::/0",
        "/",
        "//",
        "/a",
        "/a/",
        "/a//b",
        "/a/..",
        "/../a",
        "/a/./b",
        "/a/...",
        "/.",
        "/..a",
        "/a:b",
        "a/../b",
        "0644",
        "644",
        "64",
        "1777",
        "0778",
        "00644",
        "0o644",
        "52:54:00:12:34:56",
        "52-54-00-12-34-56",
        "52:54-00:12:34:56",
        "525400123456",
        "53:54:00:12:34:56",
        "00:00:00:00:00:00",
        "00-00-00-00-00-00",
        "ff:ff:ff:ff:ff:ff",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "02:00:00:00:00:00",
        "4c4c4544-0042-3510-8052-b4c04f4e3132",
        "4c4c4544004235108052b4c04f4e3132",
        "{4c4c4544-0042-3510-8052-b4c04f4e3132}",
        "4c4c4544-0042-3510-8052-b4c04f4e313g",
        "LD_PRELOAD",
        "LD",
        "PATH",
        "PATHS",
        "IFS",
        "ENV",
        "BASH_ENV",
        "GCONV_PATH",
        "1A",
        "haproxy.service",
        ".service",
        "a.timer",
        "a.b.c",
        "getty@.service",
        "a\u{a0}b",
        "Europe/Paris",
        "Europe/",
        "/Europe",
        "a//b",
        "-1",
        "Etc/GMT-1",
        "en_US.UTF-8",
        "de_DE@euro",
        "aGFuZG9mZg==",
        "aGFuZG9mZg",
        "aGFuZG9mZh==",
        "AAA=",
        "AAB=",
        "AAAA",
        "====",
        "A===",
        "AA=A",
        "AAAA AAAA",
        "$6$saltsalt$0123456789abcdef",
        "$1$saltsalt$0123456789abcdef",
        "$6$salt:alt$0123456789abcdef",
        "$6$salt*alt$0123456789abcdef",
        "$6$salt!alt$0123456789abcdef",
        "$6$salt\\alt$0123456789abcdef",
        "$6$salt;alt$0123456789abcdef",
        "$6$salt alt$0123456789abcdef",
        "$6$séltalt$0123456789abcdef",
        "$y$j9T$\"#$%&'()+,-./<=>?@[]^_`{|}~",
        "$gy$0123456789abcdef",
        "$7$0123456789abcdefg",
        "$2a$0123456789abcdefg",
        "$2y$0123456789abcdefg",
        "$5$0123456789abcdefg",
        ED25519,
        ECDSA,
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3M=",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi",
    ];
    palette.extend(texts.map(Value::from));
    palette.push(json!(ED25519.replace("AAAAIBB", "AAAAIQB")));
    palette.push(json!(ED25519.replace(" ops@example", "")));
    palette.push(json!(ED25519.replace(" ops@example", "A")));
    palette.push(json!(ED25519.replace(" ops@example", "  ")));
    palette.push(json!(ED25519.replace("ssh-ed25519 ", "ssh-ed25519  ")));
    palette.push(json!(format!("command=\"id\" {ED25519}")));
    palette.push(json!(format!("{ED25519} a b c\u{9}")));
    for length in [16_384, 16_385] {
        palette.push(json!(format!("{ED25519:length$}")));
        palette.push(json!(format!("{ED25519}{}", "a".repeat(length - ED25519.len()))));
    }
    for length in [16, 17, 381, 382] {
        palette.push(json!(format!("$6${}", "a".repeat(length))));
    }
    palette.push(json!(format!("{}aa", "a.".repeat(126))));
    palette.push(json!("/a".repeat(512)));
    palette.extend(["active-backup", "balance-xor", "broadcast", "balance-tlb", "balance-alb"].map(Value::from));
    palette.extend([json!([]), json!([null]), json!(["a"]), json!([["a"]]), json!([{}]), json!({}), json!({"a": 1})]);
    palette.push(json!([{"name": "A", "value": ""}]));
    palette.extend([json!({"name": "a"}), json!([{"name": "a"}]), json!({"mac": "02:00:00:00:00:00", "name": "a"})]);
    palette
}

/// What is near to a value: texts with a letter more, less or changed, numbers one higher or lower, lists without items,
/// with items twice and with too many, tables without one of their keys, with another name for it, with one more.
fn neighbours(value: &Value) -> Vec<Value> {
    match value {
        Value::Null | Value::Bool(_) => Vec::new(),
        Value::Number(number) => match number.as_u64() {
            Some(number) => vec![json!(number.wrapping_sub(1)), json!(number + 1), json!(number.to_string())],
            None => Vec::new(),
        },
        Value::String(text) => {
            let mut near: Vec<String> = ["\n", "\0", " ", "-", ".", ":", ",", "/", "@", "é", "\u{9f}", "=", "A", "0"]
                .into_iter()
                .flat_map(|letter| [format!("{text}{letter}"), format!("{letter}{text}")])
                .collect();
            near.extend([text.to_uppercase(), text.to_lowercase(), format!("{text}{text}")]);
            near.push(text.chars().skip(1).collect());
            let mut shorter = text.clone();
            shorter.pop();
            near.push(shorter);
            near.into_iter().map(Value::String).collect()
        }
        Value::Array(items) => {
            let mut near = vec![json!([])];
            if let Some(first) = items.first() {
                let mut twice = items.clone();
                twice.push(first.clone());
                near.push(twice.into());
            }
            near
        }
        Value::Object(entries) => {
            let mut near = Vec::new();
            for (key, value) in entries {
                let without: Map<_, _> = entries.clone().into_iter().filter(|(other, _)| other != key).collect();
                for name in [format!("{key}x"), key.to_uppercase(), key.replace('_', "-")] {
                    let mut renamed = without.clone();
                    renamed.insert(name, value.clone());
                    near.push(renamed.into());
                }
                near.push(without.into());
            }
            for (key, value) in [
                ("unknown", json!(1)),
                ("", json!("")),
                ("a\nb", json!(1)),
                ("content", json!("")),
                ("content_base64", json!("")),
                ("match", json!({"name": "a"})),
                ("bridge", json!({"members": []})),
                ("vlan", json!({"id": 1, "link": "a"})),
                ("bond", json!({"members": ["a"], "mode": "802.3ad"})),
                ("masked", json!(true)),
                ("enabled", json!(true)),
                ("via", json!("10.0.0.1")),
                ("name", json!("a")),
                ("mac", json!("02:00:00:00:00:00")),
            ] {
                let mut more = entries.clone();
                more.insert(key.to_owned(), value);
                near.push(more.into());
            }
            for length in [128, 129] {
                let mut more = entries.clone();
                more.insert("é".repeat(length), json!(1));
                near.push(more.into());
            }
            near
        }
    }
}

/// The list with as many items as any list may have, and with one more.
fn crowds(value: &Value) -> Vec<Value> {
    let Some(first) = value.as_array().and_then(|items| items.first()) else { return Vec::new() };
    let counts = [2_usize, 16, 32, 64, 256, 1000, 1024, 4096].into_iter().flat_map(|most| [most, most + 1]);
    counts.map(|count| Value::from(vec![first.clone(); count])).collect()
}

/// The JSON pointers of every value in a document.
fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{here}/{index}"), found);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                pointers(value, &format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

fn form(document: &Value) -> handoff::Result<Form> {
    Form::read(&Node::from_json(document.to_string().as_bytes())?)
}

#[test]
fn schema_and_code_agree_on_every_changed_document() {
    let schema = jsonschema::draft202012::new(&schema()).unwrap();
    let palette = palette();
    let (mut judged, mut accepted) = (0_u32, 0_u32);
    let (mut seen, mut crowded) = (BTreeSet::new(), BTreeSet::new());
    let mut disagreements = Vec::new();
    let mut judge = |document: &Value, what: &dyn Fn() -> String| {
        let (by_schema, by_code) = (schema.is_valid(document), form(document));
        judged += 1;
        accepted += u32::from(by_schema);
        if by_schema != by_code.is_ok() {
            let code = by_code.map_or_else(|error| error.to_string(), |_| "accepts it".into());
            let schema = if by_schema { "accepts it" } else { "refuses it" };
            disagreements.push(format!("{}\n  schema: {schema}\n  code: {code}", what()));
        }
    };
    // The largest document comes last, because most is tried where a kind of place comes first.
    for document in corpus().into_iter().rev() {
        assert!(schema.is_valid(&document), "{document}: {:?}", schema.validate(&document));
        form(&document).unwrap_or_else(|error| panic!("{document}: {error}"));
        Settings::check_text(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{document}: {error}"));
        let mut found = Vec::new();
        pointers(&document, "", &mut found);
        for pointer in found {
            let old = document.pointer(&pointer).unwrap();
            let near = neighbours(old);
            // A place of the same kind was judged with the palette before, in another document.
            let kind: String = pointer.chars().filter(|c| !c.is_ascii_digit()).collect();
            let kind = if old == &json!([]) { format!("{kind} without items") } else { kind };
            let first = seen.insert(kind.clone());
            let crowds = if crowded.insert(kind) { crowds(old) } else { Vec::new() };
            for new in near.iter().chain(&crowds).chain(first.then_some(&palette).into_iter().flatten()) {
                let mut changed = document.clone();
                *changed.pointer_mut(&pointer).unwrap() = new.clone();
                judge(&changed, &|| {
                    let mut text = new.to_string();
                    text.truncate(text.char_indices().nth(100).map_or(text.len(), |(end, _)| end));
                    format!("{pointer} = {text}")
                });
            }
        }
    }
    println!("{judged} changed documents judged, {accepted} of them good");
    assert!(disagreements.is_empty(), "{} disagreements:\n{}", disagreements.len(), disagreements.join("\n"));
    assert!(judged > 35_000 && accepted > 1_000, "too few documents: {judged}, {accepted} good");
}

#[test]
fn what_only_several_places_can_break_passes_the_schema_and_not_the_program() {
    let schema = jsonschema::draft202012::new(&schema()).unwrap();
    for (name, document) in rules() {
        assert!(schema.is_valid(&document), "{name}: {:?}", schema.validate(&document));
        assert!(form(&document).is_ok(), "{name}");
        let error = Settings::check_text(document.to_string().as_bytes()).expect_err(name);
        assert!(error.object().contains("(line 1, column "), "{name}: {error}");
    }
}

#[test]
fn the_schema_is_a_schema_of_its_draft() {
    assert!(jsonschema::meta::is_valid(&schema()));
    for (name, definition) in schema()["$defs"].as_object().unwrap() {
        assert!(SCHEMA.contains(&format!("\"#/$defs/{name}\"")), "{name} is not used");
        assert!(definition["description"].is_string() && definition["title"].is_string(), "{name} is not described");
    }
}

#[test]
fn examples_and_defaults_of_the_schema_are_good() {
    let schema = schema();
    for property in properties(&schema) {
        // An example with `…` is shortened for people.
        let shown =
            property.schema["examples"].as_array().into_iter().flatten().filter(|e| !e.to_string().contains('…'));
        let mut own = property.schema.clone();
        own["$defs"] = schema["$defs"].clone();
        let own = jsonschema::draft202012::new(&own).unwrap();
        for value in shown.chain(property.schema.get("default")) {
            assert!(own.is_valid(value), "{}: {value}", property.path);
        }
    }
}

#[test]
fn every_key_of_the_schema_is_in_the_corpus() {
    let mut found = Vec::new();
    for document in corpus() {
        pointers(&document, "", &mut found);
    }
    let in_corpus: BTreeSet<String> = found
        .iter()
        .map(|pointer| {
            let parts = pointer.split('/').skip(1);
            parts.fold(String::new(), |path, part| match part.parse::<usize>() {
                Ok(_) => format!("{path}[]"),
                Err(_) if path.is_empty() => part.to_owned(),
                Err(_) => format!("{path}.{part}"),
            })
        })
        .collect();
    for property in properties(&schema()) {
        assert!(in_corpus.contains(&property.path), "{} is in no document of the corpus", property.path);
    }
}

#[test]
fn the_page_shows_the_keys_of_the_schema_and_no_others() {
    let wanted: Vec<String> = properties(&schema()).iter().map(Property::row).collect();
    let shown: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    for row in &wanted {
        assert!(shown.contains(&row.as_str()), "docs/settings.md lacks the line\n{row}");
    }
    for row in shown {
        assert!(
            wanted.iter().any(|wanted| wanted == row),
            "docs/settings.md has a line that the schema has not\n{row}"
        );
    }
}

/// A key of the schema.
struct Property {
    path: String,
    required: bool,
    schema: Value,
    type_name: String,
}

impl Property {
    /// Its line in the page.
    fn row(&self) -> String {
        let code = |value: &Value| format!("`{value}`");
        let default = match self.schema.get("default") {
            _ if self.required => "required".to_owned(),
            Some(default) => code(default),
            None => "–".to_owned(),
        };
        let example = self.schema["examples"].get(0).map_or_else(|| "–".to_owned(), code);
        let meaning = self.schema["description"].as_str().expect("each key has a description");
        format!("| `{}` | {} | {default} | {meaning} | {example} |", self.path, self.type_name)
    }
}

fn properties(schema: &Value) -> Vec<Property> {
    let mut found = Vec::new();
    collect(schema, schema, "", &mut found);
    found
}

fn collect(root: &Value, table: &Value, path: &str, found: &mut Vec<Property>) {
    let required = |key: &String| table["required"].as_array().is_some_and(|keys| keys.iter().any(|k| k == key));
    for (key, schema) in table["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let type_name = type_name(root, schema);
        found.push(Property { path: path.clone(), required: required(key), schema: schema.clone(), type_name });
        collect(root, schema, &path, found);
        if schema["items"].is_object() {
            collect(root, &schema["items"], &format!("{path}[]"), found);
        }
    }
}

fn type_name(root: &Value, schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return type_name(root, root.pointer(reference.trim_start_matches('#')).unwrap());
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        return format!("one of {}", words.join(", "));
    }
    match schema["type"].as_str().unwrap() {
        "integer" if schema["const"].is_number() => schema["const"].to_string(),
        "integer" => format!("whole number, {} to {}", schema["minimum"], schema["maximum"]),
        "boolean" => "true or false".into(),
        "array" => {
            let least = schema["minItems"].as_u64().unwrap_or(0);
            format!("list of {least} to {}: {}", schema["maxItems"], type_name(root, &schema["items"]))
        }
        "object" => "table".into(),
        "string" => "text".into(),
        other => panic!("{other}"),
    }
}
