//! What we write for systemd, held against systemd's own tools. Where a tool is not there, its test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use handoff::commit::state::State;
use handoff::guest::{Facts, GuestPath, Node, Tree};
use handoff::plan::Desired;
use handoff::render::{Context, services};
use handoff::settings::{EnvironmentName, EnvironmentVariable, Service, Settings, SingleLine, UnitName};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Units as vendors write them: name and text.
const UNITS: &[(&str, &str)] = &[
    ("plain.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"),
    ("both.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=a.target b.target\nRequiredBy=c.target\n"),
    ("named.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=m.target\nAlias=other.service x.service\n"),
    ("pair.service", "[Service]\nExecStart=/bin/true\n[Install]\nAlso=pair.socket\nWantedBy=multi-user.target\n"),
    ("pair.socket", "[Socket]\nListenStream=9\n[Install]\nWantedBy=sockets.target\n"),
    (
        "t@.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=m.target %i.target\nDefaultInstance=d\nAlias=q@.service\n",
    ),
    ("u@.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=wants@.target\n"),
    ("user-of-d.service", "[Service]\nExecStart=/bin/true\n[Install]\nAlso=t@.service\n"),
    (
        "reset.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=no.target\nWantedBy=\nWantedBy=\\\n y.target\n",
    ),
    ("specifier.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=%N-%p.target\n"),
    ("only-also.service", "[Service]\nExecStart=/bin/true\n[Install]\nAlso=pair.service\n"),
    ("ring-a.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=x.target\nAlso=ring-b.service\n"),
    ("ring-b.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=x.target\nAlso=ring-a.service\n"),
    ("tick.timer", "[Timer]\nOnBootSec=1\n[Install]\nWantedBy=timers.target\n"),
    ("dropped.service", "[Service]\nExecStart=/bin/true\n"),
];

const NAMES: &[&str] = &[
    "plain.service",
    "both.service",
    "named.service",
    "pair.service",
    "pair.socket",
    "t@one.service",
    "u@two.service",
    "user-of-d.service",
    "reset.service",
    "specifier.service",
    "only-also.service",
    "ring-a.service",
    "tick.timer",
    "local.service",
    "dropped.service",
];

fn has(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("HANDOFF_TEST_ALL").is_none(), "{tool} is not installed; make deps installs it");
        eprintln!("skipped: no {tool} on this machine");
    }
    there
}

/// A root with those units, on disk and in memory. One link is there already, from which the spelling is seen.
fn root(directory: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut file = |path: &str, text: &str| {
        let at = directory.join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
        tree.put(GuestPath::of(path), Node::file(text, 0o644));
    };
    file("/usr/lib/systemd/systemd", "");
    for (name, text) in UNITS {
        file(&format!("/usr/lib/systemd/system/{name}"), text);
    }
    file("/usr/lib/systemd/system/first.timer", "[Timer]\nOnBootSec=1\n[Install]\nWantedBy=timers.target\n");
    file("/etc/systemd/system/local.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=m.target\n");
    file("/etc/systemd/system/dropped.service.d/x.conf", "[Install]\nWantedBy=dropped.target\n");
    std::os::unix::fs::symlink("usr/lib", directory.join("lib")).unwrap();
    tree.put(GuestPath::of("/lib"), Node::link("usr/lib"));
    assert!(systemctl(directory, "enable", "first.timer"));
    links_into(directory, &mut tree);
    tree
}

fn systemctl(directory: &Path, verb: &str, unit: &str) -> bool {
    let output = Command::new("systemctl").arg("--root").arg(directory).args([verb, unit]).output().unwrap();
    output.status.success()
}

/// All links below /etc/systemd/system of a root on disk.
fn links(directory: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let shown = format!("/{}", path.strip_prefix(root).unwrap().display());
            match fs::read_link(&path) {
                Ok(target) => drop(found.insert(shown, target.display().to_string())),
                Err(_) if path.is_dir() => walk(root, &path, found),
                Err(_) => {}
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, &directory.join("etc/systemd/system"), &mut found);
    found
}

fn links_into(directory: &Path, tree: &mut Tree) {
    for (path, target) in links(directory) {
        tree.put(GuestPath::of(&path), Node::link(target));
    }
}

fn render(tree: &Tree, service: Service) -> Desired {
    let settings = Settings { services: vec![service], ..Settings::default() };
    let (state, facts) = (State::default(), Facts::default());
    let mut desired = Desired::new();
    let (class, resolved) = (&handoff::class::Class::default(), &handoff::class::Resolved::default());
    let context = Context { settings: &settings, class, resolved, guest: tree, previous: &state, facts: &facts };
    services::render(&context, &mut desired).unwrap();
    desired
}

fn service(name: &str, enabled: Option<bool>, masked: bool) -> Service {
    Service { name: UnitName::parse(name).unwrap(), enabled, masked, environment: Vec::new() }
}

/// The links of a tree in memory after the desired ones are put in.
fn applied(tree: &Tree, desired: &Desired) -> BTreeMap<String, String> {
    let mut tree = tree.clone();
    for (path, entry) in desired.entries() {
        match &entry.node {
            Some(node) => drop(tree.put(path.clone(), node.clone())),
            None => drop(tree.remove(path)),
        }
    }
    let inside = GuestPath::of("/etc/systemd/system");
    let link = |(path, node): (&GuestPath, &Node)| match node {
        Node::Link(target) if path.is_within(&inside) => Some((path.to_string(), target.clone())),
        _ => None,
    };
    tree.iter().filter_map(link).collect()
}

#[test]
fn enable_disable_and_mask_make_the_links_that_systemctl_makes() {
    if !has("systemctl") {
        return;
    }
    for name in NAMES {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut tree = root(directory);

        let desired = render(&tree, service(name, Some(true), false));
        assert!(systemctl(directory, "enable", name), "{name}");
        assert_eq!(applied(&tree, &desired), links(directory), "enable {name}");
        assert!(desired.warnings.is_empty(), "{:?}", desired.warnings);
        links_into(directory, &mut tree);
        let again = render(&tree, service(name, Some(true), false));
        assert_eq!(applied(&tree, &again), links(directory), "enable {name} once more");

        let desired = render(&tree, service(name, Some(false), false));
        assert!(systemctl(directory, "disable", name), "{name}");
        assert_eq!(applied(&tree, &desired), links(directory), "disable {name}");
    }
}

#[test]
fn a_mask_is_the_link_that_systemctl_makes() {
    if !has("systemctl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let tree = root(directory);
    let desired = render(&tree, service("plain", None, true));
    assert!(systemctl(directory, "mask", "plain.service"));
    assert_eq!(applied(&tree, &desired), links(directory));
}

/// `environment.d` is read by the code that reads `EnvironmentFile=`, and then expands `$`; so all but `$` can be seen.
#[test]
fn systemd_reads_back_the_environment_that_was_written() {
    let generator = Path::new("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator");
    if !generator.exists() {
        eprintln!("skipped: no environment-d-generator on this machine");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let tree = root(directory.path());
    let values = [
        "plain",
        " two  spaces ",
        "a\"b",
        "back\\slash\\",
        "`id`",
        "'single'",
        "#no comment",
        "; x",
        "é ü",
        "a=b",
        "\\n",
        "\\\\\"",
    ];
    let mut wanted = service("plain", None, false);
    for (number, value) in values.iter().enumerate() {
        let name = EnvironmentName::parse(&format!("V{number:02}")).unwrap();
        wanted.environment.push(EnvironmentVariable { name, value: SingleLine::parse(value).unwrap() });
    }
    let desired = render(&tree, wanted);
    let entry = desired.entry(&GuestPath::of("/etc/handoff/environment/plain.service")).unwrap();
    let Some(Node::File(file)) = &entry.node else { panic!("no file") };
    let configuration = directory.path().join("config/environment.d");
    fs::create_dir_all(&configuration).unwrap();
    fs::write(configuration.join("x.conf"), &file.content).unwrap();
    let output = Command::new(generator)
        .env_clear()
        .env("XDG_CONFIG_HOME", directory.path().join("config"))
        .env("HOME", directory.path())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for (number, value) in values.iter().enumerate() {
        let prefix = format!("V{number:02}=");
        let line = printed.lines().find_map(|line| line.strip_prefix(&prefix));
        let line = line.unwrap_or_else(|| panic!("no {prefix} in: {printed}"));
        // It prints for a shell, so a shell takes the quotes off.
        let shell = Command::new("sh").arg("-c").arg(format!("printf %s {line}")).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), *value, "{line}");
    }
}

/// Every unit that this machine has, as its packages ship them: the widest table there is.
#[test]
fn the_units_of_this_machine_are_enabled_as_systemctl_enables_them() {
    let vendor = Path::new("/usr/lib/systemd/system");
    if !has("systemctl") || !vendor.exists() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut tree = root(directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(vendor).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if entry.path().is_symlink() || UnitName::parse(&name).is_ok_and(|unit| unit.as_str() != name) {
            continue;
        }
        fs::write(directory.join("usr/lib/systemd/system").join(&name), &text).unwrap();
        tree.put(GuestPath::of(&format!("/usr/lib/systemd/system/{name}")), Node::file(text.clone(), 0o644));
        // A template without a default instance is asked for by an instance.
        let template = name.contains("@.") && !text.contains("\nDefaultInstance=");
        let name = if template { name.replace("@.", "@one.") } else { name };
        // UnitName has no templates; and systemctl takes "enable" of a static unit for done.
        if text.contains("\n[Install]") && !name.contains("@.") {
            names.push(name);
        }
    }
    names.sort();
    let start = links(directory);
    for name in &names {
        let desired = render(&tree, service(name, Some(true), false));
        assert!(systemctl(directory, "enable", name), "{name}");
        assert_eq!(applied(&tree, &desired), links(directory), "enable {name}");
        let mut enabled = tree.clone();
        links_into(directory, &mut enabled);
        let desired = render(&enabled, service(name, Some(false), false));
        assert!(systemctl(directory, "disable", name), "{name}");
        assert_eq!(applied(&enabled, &desired), links(directory), "disable {name}");
        assert_eq!(links(directory), start, "{name}");
    }
    eprintln!("{} units", names.len());
}

/// How exposed the units are, by systemd's own measure: 10 is a process of root's without any limit. What is left is what
/// docs/image.md gives the reasons for.
#[test]
fn the_units_are_no_more_exposed_than_their_work_needs() {
    if !has("systemd-analyze") {
        return;
    }
    for (unit, limit) in [("handoff.service", 4.6), ("handoff-ready.service", 5.3), ("handoff-stopped.service", 5.4)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/systemd").join(unit);
        let mut analyze = Command::new("systemd-analyze");
        let output = analyze.args(["security", "--offline=yes", "--no-pager"]).arg(path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.contains("Overall exposure level"));
        let Some(line) = line else { panic!("{unit}: {text}{}", String::from_utf8_lossy(&output.stderr)) };
        let level: f64 = line.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
        eprintln!("{unit}: exposure {level} of 10");
        assert!(level <= limit, "{unit}: {level} is more than {limit}\n{text}");
    }
}

/// The values of a directive in one of our units, in their order.
fn directive(unit: &str, key: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/systemd").join(unit);
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
}

#[test]
fn whatever_applies_settings_may_do_the_same_in_each_unit() {
    for key in [
        "CapabilityBoundingSet",
        "DevicePolicy",
        "LockPersonality",
        "NoNewPrivileges",
        "ProtectClock",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "SystemCallArchitectures",
        "SystemCallErrorNumber",
        "SystemCallFilter",
        "TasksMax",
        "UMask",
    ] {
        let of_boot = directive("handoff.service", key);
        assert!(!of_boot.is_empty(), "{key}");
        for unit in ["handoff-ready.service", "handoff-stopped.service"] {
            assert_eq!(directive(unit, key), of_boot, "{unit}: {key}");
        }
    }
}
