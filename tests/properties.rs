//! What holds for any settings on any guest: a second run plans nothing, a plan that is carried out gives the desired tree,
//! other people's lines survive, and it does not matter what was applied before.
//!
//! Most of it runs on guests in memory; some on scratch roots, with the agent as it is. The seed is fixed, so that a check
//! today and one tomorrow try the same; PROPTEST_RNG_SEED and PROPTEST_CASES try others.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use handoff::commit::state::State;
use handoff::guest::{Entropy, Facts, GuestPath, Node, Owner, Tree, View as _};
use handoff::plan::{self, Desired, Incoming, Keeping, Plan, Situation, Step};
use handoff::render::{self, Context};
use handoff::settings::Settings;
use handoff::trust::Digest;
use proof::accounts::{account_lines, assert_accounts_are_sound, assert_unowned_lines_survive};
use proof::{Guest, Picture, Thing, is_root, operators_key, picture};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::RngSeed;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

fn config(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    // The default is what the environment says, and 256 and a random seed where it says nothing.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    let rng_seed = if std::env::var_os("PROPTEST_RNG_SEED").is_some() { given.rng_seed } else { RngSeed::Fixed(2) };
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 120, ..given }
}

/// The Debian-like guest of the golden roots, in memory.
static DEBIAN: LazyLock<Tree> = LazyLock::new(|| {
    let guest = Guest::debian();
    let mut tree = Tree::new();
    for (path, thing) in picture(&guest.root()) {
        let owner = if is_root() { Owner { uid: thing.uid, gid: thing.gid } } else { Owner::ROOT };
        let node = match thing.kind {
            'd' => Node::Directory { mode: thing.mode, owner },
            'l' => Node::link(thing.text()),
            _ => Node::file_of(thing.content, thing.mode, owner),
        };
        if path != "/" {
            tree.put(GuestPath::of(&path), node);
        }
    }
    tree
});

/// A guest in memory as a picture, as if it were on a disk that counts no time.
fn picture_of(tree: &Tree) -> Picture {
    let mut picture = Picture::new();
    for (path, node) in tree.iter() {
        let thing = match node {
            Node::File(file) => ('f', file.mode, file.owner, file.content.clone()),
            Node::Link(target) => ('l', 0o777, Owner::ROOT, target.clone().into_bytes()),
            Node::Directory { mode, owner } => ('d', *mode, *owner, Vec::new()),
        };
        let (kind, mode, Owner { uid, gid }, content) = thing;
        picture.insert(path.to_string(), Thing { kind, mode, uid, gid, content, inode: [0; 6] });
    }
    picture
}

/// A machine in memory: its tree, and what it remembers.
#[derive(Clone)]
struct Machine {
    tree: Tree,
    state: State,
    entropy: u8,
}

impl Machine {
    fn new(tree: Tree) -> Self {
        Machine { tree, state: State::default(), entropy: 1 }
    }

    fn plan(&self, text: &str) -> (Desired, Plan) {
        let settings = Settings::check_text(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let facts = Facts { entropy: Entropy([self.entropy; 64]), ..Facts::default() };
        let (class, resolved) = (&handoff::class::Class::default(), &handoff::class::Resolved::default());
        let (guest, previous) = (&self.tree, &self.state);
        let context = Context { settings: &settings, class, resolved, guest, previous, facts: &facts };
        let desired = render::render(&context).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let digest = format!("sha256:{}", Digest::of(text.as_bytes()).hex());
        let incoming = Incoming {
            class,
            settings: &settings,
            text: text.as_bytes(),
            signature: None,
            digest: &digest,
            authority: "nobody",
            source: "test",
            now: 7,
            on_trial: false,
        };
        let situation = Situation { guest: &self.tree, previous: &self.state, facts: &facts, compare_owners: true };
        let plan = plan::plan(desired.clone(), &incoming, &situation).unwrap_or_else(|error| panic!("{error}\n{text}"));
        (desired, plan)
    }

    /// Plans, carries out, and checks that the tree is the desired one, and that another run has nothing to do.
    fn apply(&mut self, settings: &Value) {
        let text = settings.to_string();
        let (desired, plan) = self.plan(&text);
        for step in plan.all_steps() {
            self.carry_out(step);
        }
        self.state = plan.state;
        for (path, entry) in desired.entries() {
            let there = self.tree.node(path).unwrap();
            match entry.keeping {
                Keeping::Seeded => assert!(there.is_some(), "{path} was not made"),
                _ => assert!(there == entry.node, "{path} is not as desired: {there:?}"),
            }
        }
        self.entropy += 1;
        let (_, again) = self.plan(&text);
        assert!(again.is_empty(), "a second run plans {:?}", again.all_steps());
    }

    fn carry_out(&mut self, step: Step) {
        let tree = &mut self.tree;
        match step {
            Step::MakeDirectory { path, mode, owner } => {
                assert_eq!(tree.node(&path).unwrap(), None, "{path}");
                tree.put(path, Node::Directory { mode, owner });
            }
            Step::WriteFile { path, file, before, .. } => {
                assert_eq!(tree.node(&path).unwrap(), before, "{path}");
                tree.put(path, Node::File(file));
            }
            Step::WriteLink { path, target, before } => {
                assert_eq!(tree.node(&path).unwrap(), before, "{path}");
                tree.put(path, Node::Link(target));
            }
            Step::SetAttributes { path, mode, owner, before } => {
                assert_eq!(tree.remove(&path).as_ref(), Some(&before), "{path}");
                let node = match before {
                    Node::File(file) => Node::file_of(file.content, mode, owner),
                    _ => Node::Directory { mode, owner },
                };
                tree.put(path, node);
            }
            Step::Remove { path, before } => assert_eq!(tree.remove(&path), Some(before), "{path}"),
            Step::RemoveDirectory { path } => {
                if tree.list(&path).unwrap().unwrap_or_default().is_empty() {
                    tree.remove(&path);
                }
            }
        }
    }
}

/// Puts a key into a table, sometimes.
fn set(table: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        table.insert(key.into(), value.into());
    }
}

const HASH: &str = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";

/// New users, and those of the image. The number of a new one is given, so that it is the same whatever came before.
const USERS: [(&str, Option<u32>); 7] = [
    ("ops", Some(2000)),
    ("web", Some(2001)),
    ("plain", Some(2002)),
    ("root", None),
    ("alice", None),
    ("builder", None),
    ("www-data", None),
];

fn user((name, uid): (&'static str, Option<u32>), numbers: bool) -> impl Strategy<Value = Value> {
    let keys = || select(vec![None, Some(0), Some(1), Some(2)]);
    let shell = select(vec![None, Some("/bin/sh"), Some("/bin/bash")]);
    let groups = subsequence(vec!["sudo", "adm", "users", "operators"], 0..=4);
    let sudo = select(vec!["none", "password", "nopasswd"]);
    (shell, groups, keys(), sudo, any::<[bool; 3]>()).prop_map(move |(shell, groups, keys, sudo, flags)| {
        let mut table = Map::new();
        table.insert("name".into(), name.into());
        if numbers && let Some(uid) = uid {
            table.insert("uid".into(), uid.into());
            table.insert("group".into(), "users".into());
        }
        set(&mut table, "home", (name == "web").then_some("/srv/homes/web"));
        set(&mut table, "shell", shell);
        set(&mut table, "comment", (name != "root" && flags[0]).then_some("Some One"));
        set(&mut table, "password_hash", flags[1].then_some(HASH));
        set(&mut table, "locked", (name != "root" && flags[2]).then_some(true));
        if name != "root" {
            table.insert("groups".into(), groups.into());
            table.insert("sudo".into(), sudo.into());
        }
        // The home of www-data is root's business alone, and that of builder lies open.
        let key = operators_key().public_line().unwrap();
        let keys = keys.map(|count| (0..count).map(|n| format!("{key}-{n}")).collect::<Vec<_>>());
        set(&mut table, "ssh_authorized_keys", keys.filter(|_| name != "www-data"));
        Value::Object(table)
    })
}

fn users(numbers: bool) -> impl Strategy<Value = Vec<Value>> {
    subsequence(USERS.to_vec(), 0..=5)
        .prop_flat_map(move |users| users.into_iter().map(|one| user(one, numbers)).collect::<Vec<_>>())
}

fn groups(numbers: bool) -> impl Strategy<Value = Vec<Value>> {
    let pool = vec![("deploy", 3000), ("audit", 3001), ("operators", 1010)];
    subsequence(pool, 0..=3).prop_map(move |groups| {
        let group = |(name, gid)| if numbers { json!({ "name": name, "gid": gid }) } else { json!({ "name": name }) };
        groups.into_iter().map(group).collect()
    })
}

fn files() -> impl Strategy<Value = Vec<Value>> {
    let pool = vec![
        "/etc/motd",
        "/etc/app.conf",
        "/etc/haproxy/haproxy.cfg",
        "/srv/app/a.conf",
        "/srv/app/b/c.conf",
        "/srv/app/b/d/e.conf",
        "/var/www/html/index.html",
        "/etc/deep/link",
    ];
    subsequence(pool, 0..=6).prop_flat_map(|paths| {
        let mode = select(vec!["0644", "0600", "0755", "0440"]);
        let content = select(vec!["", "one\n", "two\nlines\n", "no newline", "This is the image.\n"]);
        let one = |path: &'static str| {
            (mode.clone(), content.clone(), select(vec!["root", "www-data"])).prop_map(
                move |(mode, content, owner)| json!({ "path": path, "mode": mode, "owner": owner, "content": content }),
            )
        };
        paths.into_iter().map(one).collect::<Vec<_>>()
    })
}

fn services() -> impl Strategy<Value = Vec<Value>> {
    let pool = vec!["haproxy", "rsync", "ssh.service", "apt-daily.timer", "getty@tty3.service", "systemd-networkd"];
    subsequence(pool, 0..=6).prop_flat_map(|names| {
        let one = |name: &'static str| {
            (select(vec!["enabled", "disabled", "masked", "environment", "both"]), "[ -~]{0,20}").prop_map(
                move |(what, value)| match what {
                    "enabled" => json!({ "name": name, "enabled": true }),
                    "disabled" => json!({ "name": name, "enabled": false }),
                    "masked" => json!({ "name": name, "masked": true }),
                    _ if !name.ends_with("timer") => {
                        let environment = json!([{ "name": "MODE", "value": value }]);
                        let mut service = json!({ "name": name, "environment": environment });
                        if what == "both" {
                            service["enabled"] = true.into();
                        }
                        service
                    }
                    _ => json!({ "name": name }),
                },
            )
        };
        names.into_iter().map(one).collect::<Vec<_>>()
    })
}

fn network() -> impl Strategy<Value = Option<Value>> {
    let card = |number: u8| {
        let addresses = subsequence(vec![format!("10.{number}.0.2/24"), format!("2001:db8:{number}::2/64")], 0..=2);
        let dhcp = select(vec!["none", "ipv4", "ipv6", "both"]);
        let mtu = select(vec![None, Some(1400), Some(9000)]);
        (addresses, dhcp, mtu, any::<[bool; 2]>()).prop_map(move |(addresses, dhcp, mtu, [matched, routed])| {
            let mut table = Map::new();
            table.insert("name".into(), format!("lan{number}").into());
            set(&mut table, "match", matched.then(|| json!({ "mac": format!("52:54:00:00:00:0{number}") })));
            let v4 = addresses.iter().any(|address| address.starts_with("10."));
            set(&mut table, "gateways", (v4 && number == 1).then(|| json!(["10.1.0.1"])));
            let route = json!([{ "to": format!("10.{}.0.0/16", 100 + number), "via": format!("10.{number}.0.9"), "metric": 7 }]);
            set(&mut table, "routes", (v4 && routed).then_some(route));
            table.insert("addresses".into(), addresses.into());
            table.insert("dhcp".into(), dhcp.into());
            set(&mut table, "mtu", mtu);
            Value::Object(table)
        })
    };
    let dns = select(vec![None, Some(json!({ "servers": ["10.1.0.53"] })), Some(json!({ "search": ["example.net"] }))]);
    let extra = select(vec!["", "vlan", "bond", "bridge"]);
    let parts = (card(1), card(2), any::<[bool; 2]>(), extra, dns);
    proptest::option::of(parts).prop_map(|parts| {
        let (one, two, [first, second], extra, dns) = parts?;
        let mut interfaces: Vec<Value> =
            [(first, one), (second, two)].into_iter().filter(|(is, _)| *is).map(|(_, card)| card).collect();
        let spare = json!({ "name": "spare" });
        match extra {
            "vlan" => interfaces.extend([
                spare,
                json!({ "name": "spare.7", "vlan": { "id": 7, "link": "spare" }, "addresses": ["10.7.0.1/24"] }),
            ]),
            "bond" => interfaces
                .extend([spare, json!({ "name": "bond0", "bond": { "members": ["spare"], "mode": "active-backup" } })]),
            "bridge" => {
                interfaces.extend([spare, json!({ "name": "br0", "bridge": { "members": ["spare"] }, "dhcp": "ipv4" })])
            }
            _ => {}
        }
        let mut table = Map::new();
        table.insert("interfaces".into(), interfaces.into());
        set(&mut table, "dns", dns);
        Some(Value::Object(table))
    })
}

/// Valid settings. With `numbers`, every new account has its number given.
fn settings(numbers: bool) -> impl Strategy<Value = Value> {
    let identity = (
        select(vec![None, Some("lb-1"), Some("lb-1.example.net")]),
        subsequence(vec![("10.0.0.5", "db"), ("10.0.0.6", "cache"), ("2001:db8::7", "db")], 0..=2),
        select(vec![None, Some("UTC"), Some("Europe/Paris")]),
        select(vec![None, Some("C.UTF-8"), Some("en_US.UTF-8")]),
    );
    (identity, users(numbers), groups(numbers), files(), services(), network()).prop_map(
        |((hostname, hosts, timezone, locale), users, groups, files, services, network)| {
            let mut table = Map::new();
            table.insert("version".into(), 1.into());
            set(&mut table, "hostname", hostname);
            let hosts: Vec<Value> =
                hosts.into_iter().map(|(address, name)| json!({ "address": address, "names": [name] })).collect();
            table.insert("hosts".into(), hosts.into());
            set(&mut table, "timezone", timezone);
            set(&mut table, "locale", locale);
            table.insert("users".into(), users.into());
            table.insert("groups".into(), groups.into());
            table.insert("files".into(), files.into());
            table.insert("services".into(), services.into());
            set(&mut table, "network", network);
            Value::Object(table)
        },
    )
}

/// With an instance of this serial.
fn with_serial(mut settings: Value, serial: u64) -> Value {
    settings["instance"] = json!({ "id": "one", "serial": serial });
    settings
}

/// Variations of the Debian-like guest: other accounts, other files where ours shall go, things that are missing.
fn guest() -> impl Strategy<Value = Tree> {
    let passwd = subsequence(
        vec![
            ("/etc/passwd", "zoe:x:1500:100:Zoe,,,:/home/zoe:/bin/sh", "zoe:$6$x$y:19000:0:99999:7:::"),
            ("/etc/passwd", "srv_1:x:1501:1501::/nonexistent:/usr/sbin/nologin", "srv_1:!:19000::::::"),
            ("/etc/passwd", "# nobody knows why this is here", ""),
        ],
        0..=3,
    );
    let changes = subsequence(
        vec![
            ("/etc/motd", None),
            ("/etc/motd", Some(Node::link("/run/motd"))),
            ("/etc/app.conf", Some(Node::file("image's own\n", 0o640))),
            ("/srv/app/theirs", Some(Node::file("theirs\n", 0o644))),
            ("/srv/app/b/c.conf", Some(Node::file("one\n", 0o644))),
            ("/etc/hosts", None),
            ("/etc/hostname", None),
            ("/etc/timezone", None),
            ("/etc/machine-id", None),
            ("/etc/ssh/ssh_host_rsa_key", None),
            ("/home/ops", Some(Node::Directory { mode: 0o755, owner: Owner { uid: 2000, gid: 100 } })),
            ("/etc/systemd/system/haproxy.service.d/theirs.conf", Some(Node::file("[Unit]\n", 0o644))),
            ("/etc/systemd/system/rsync.service", Some(Node::link("/dev/null"))),
            ("/etc/localtime", Some(Node::file("TZif", 0o644))),
        ],
        0..=8,
    );
    (passwd, changes).prop_map(|(accounts, changes)| {
        let mut tree = DEBIAN.clone();
        let append = |tree: &mut Tree, path: &str, line: &str| {
            let path = GuestPath::of(path);
            if !line.is_empty()
                && let Some(Node::File(mut file)) = tree.remove(&path)
            {
                file.content.extend(format!("{line}\n").into_bytes());
                tree.put(path, Node::File(file));
            }
        };
        for (path, line, shadow) in accounts {
            append(&mut tree, path, line);
            append(&mut tree, "/etc/shadow", shadow);
            if line.starts_with("srv_1") {
                append(&mut tree, "/etc/group", "srv_1:x:1501:");
                append(&mut tree, "/etc/gshadow", "srv_1:!::");
            }
        }
        for (path, node) in changes {
            let path = GuestPath::of(path);
            match node {
                Some(node) => drop(tree.put(path, node)),
                None => drop(tree.remove(&path)),
            }
        }
        tree
    })
}

/// That a guest which got A and then B is like one that got B alone, but for what is documented to stay of A: the locked lines
/// of its new users, their homes and the directories that these lie in, directories for keys, and the identity.
fn assert_as_if_alone(one: &Picture, both: &Picture, earlier: &Value) {
    let gone: BTreeSet<String> = earlier["users"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|user| user["name"].as_str().unwrap().to_owned())
        .collect();
    let lines = |picture: &Picture, file: &str| -> BTreeMap<String, Vec<String>> {
        let members = |line: &mut Vec<String>| {
            // Members are a set.
            if file.contains("/g") {
                let mut names: Vec<&str> = line[3].split(',').collect();
                names.sort_unstable();
                line[3] = names.join(",");
            }
        };
        let lines = account_lines(picture, file).into_iter().map(|mut line| {
            members(&mut line);
            (line[0].clone(), line)
        });
        lines.collect()
    };
    let accounts = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
    let mut homes = Vec::new();
    for file in accounts {
        let (one, both) = (lines(one, file), lines(both, file));
        for (name, line) in &both {
            match one.get(name) {
                Some(alone) => assert_eq!(alone, line, "{file}"),
                None => {
                    assert!(gone.contains(name), "{file}: {line:?} stays");
                    if file == "/etc/passwd" {
                        homes.push(line[5].clone());
                    }
                    if file == "/etc/shadow" {
                        assert!(line[1].starts_with('!') && line[7] == "1", "not locked: {line:?}");
                    }
                }
            }
        }
        assert!(one.keys().all(|name| both.contains_key(name)), "{file}: a line is missing");
    }
    // A guest that had none keeps the lines that every guest has.
    let hosts = !one.contains_key("/etc/hosts")
        && both.get("/etc/hosts").is_some_and(|hosts| hosts.text().starts_with("127.0.0.1\tlocalhost\n::1"));
    let stays = |path: &String| {
        accounts.contains(&&**path)
            || path == "/"
            || (path == "/etc/hosts" && hosts)
            || path.starts_with("/var/lib/handoff")
            || path == "/etc/.pwd.lock"
            || path == "/etc/machine-id"
            || path.starts_with("/etc/ssh/ssh_host_")
            || (path.ends_with("/.ssh") && both.get(path).is_some_and(|thing| thing.kind == 'd'))
            || homes.iter().any(|home| path.starts_with(home.as_str()) || home.starts_with(&format!("{path}/")))
    };
    let others: Vec<String> = proof::differing(one, both).into_iter().filter(|path| !stays(path)).collect();
    assert!(others.is_empty(), "differ from settings that were applied alone: {others:?}");
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn a_second_run_plans_nothing_and_other_peoples_lines_survive(
        tree in guest(), first in settings(false), second in settings(false)
    ) {
        let image = picture_of(&tree);
        let mut machine = Machine::new(tree);
        let mut given = Vec::new();
        for (serial, settings) in [(1, first.clone()), (2, second), (3, json!({ "version": 1 })), (4, first)] {
            let settings = with_serial(settings, serial);
            machine.apply(&settings);
            given.push(settings);
            let now = picture_of(&machine.tree);
            assert_accounts_are_sound(&now);
            assert_unowned_lines_survive(&image, &now, &given);
        }
    }

    #[test]
    fn it_does_not_matter_what_was_applied_before(tree in guest(), first in settings(true), second in settings(true)) {
        let mut both = Machine::new(tree.clone());
        both.apply(&with_serial(first.clone(), 1));
        both.apply(&with_serial(second.clone(), 2));
        let mut one = Machine::new(tree);
        one.apply(&with_serial(second, 2));
        assert_as_if_alone(&picture_of(&one.tree), &picture_of(&both.tree), &first);
    }

    #[test]
    fn settings_that_say_nothing_give_everything_back(tree in guest(), first in settings(true)) {
        let mut machine = Machine::new(tree.clone());
        machine.apply(&with_serial(first.clone(), 1));
        machine.apply(&json!({ "version": 1, "instance": { "id": "one", "serial": 2 } }));
        assert_as_if_alone(&picture_of(&tree), &picture_of(&machine.tree), &first);
    }
}

proptest! {
    #![proptest_config(config(8))]

    #[test]
    fn the_same_holds_on_a_real_root(first in settings(true), second in settings(true)) {
        let (both, one) = (Guest::debian(), Guest::debian());
        both.apply(&with_serial(first.clone(), 1).to_string()).succeeded();
        let last = with_serial(second, 2).to_string();
        for guest in [&both, &one] {
            guest.apply(&last).succeeded();
            let done = guest.picture();
            assert_accounts_are_sound(&done);
            let again = guest.apply(&last).succeeded();
            assert!(again.out.contains("nothing to do"), "{}", again.out);
            proof::assert_untouched(&done, &guest.picture(), "a second run");
        }
        assert_as_if_alone(&one.picture(), &both.picture(), &first);
    }
}
