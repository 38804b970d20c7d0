//! Account files, sudo rules and keys, held against the tools that read them. Where a tool is not there, or a test needs
//! root and has it not, it says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use handoff::commit::state::State;
use handoff::guest::{Entropy, Facts, GuestPath, Node, Tree};
use handoff::plan::Desired;
use handoff::render::{Context, accounts, identity};
use handoff::settings::{AccountName, AuthorizedKey, Group, Hostname, PasswordHash, Settings, SingleLine, Sudo, User};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBB4EYZ5RcHoCD8kqW94XY3eW1ewW1ZHh9lvS65aXmCi ops@example";

/// The account files of a Debian 12 image, shortened.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin
debian:x:1000:1000:Debian,,,:/home/debian:/bin/bash
";
const SHADOW: &str = "root:*:19700:0:99999:7:::
daemon:*:19700:0:99999:7:::
www-data:*:19700:0:99999:7:::
nobody:*:19700:0:99999:7:::
systemd-network:!*:19700::::::
debian:!:19700:0:99999:7:::
";
const GROUP: &str = "root:x:0:
daemon:x:1:
adm:x:4:debian
sudo:x:27:debian
www-data:x:33:
nogroup:x:65534:
systemd-network:x:998:
debian:x:1000:
";
const GSHADOW: &str = "root:*::
daemon:*::
adm:*::debian
sudo:*::debian
www-data:*::
nogroup:*::
systemd-network:!*::
debian:!::
";

fn image() -> Tree {
    let mut tree = Tree::new()
        .with("/etc/passwd", PASSWD)
        .with("/etc/group", GROUP)
        .with_node("/etc/shadow", Node::file(SHADOW, 0o640))
        .with_node("/etc/gshadow", Node::file(GSHADOW, 0o640))
        .with_node("/etc/sudoers.d", Node::directory(0o755))
        .with("/etc/ssh/sshd_config", "")
        .with("/etc/skel/.profile", "");
    for shell in ["/bin/bash", "/bin/sh", "/usr/sbin/nologin"] {
        tree.put(GuestPath::of(shell), Node::file("", 0o755));
    }
    for home in ["/root", "/var/www", "/nonexistent", "/home/debian"] {
        tree.put(GuestPath::of(home), Node::directory(0o755));
    }
    tree
}

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

fn user(text: &str, sudo: Sudo) -> User {
    User {
        name: name(text),
        uid: None,
        group: None,
        groups: Vec::new(),
        shell: None,
        home: None,
        comment: None,
        password_hash: None,
        ssh_authorized_keys: Some(vec![AuthorizedKey::parse(KEY).unwrap()]),
        sudo,
        locked: false,
    }
}

fn everything() -> Settings {
    let hash = Some(PasswordHash::parse("$6$saltsalt$0123456789abcdef0123456789abcdef").unwrap());
    let many = vec![name("sudo"), name("adm"), name("web")];
    Settings {
        hostname: Some(Hostname::parse("lb-1").unwrap()),
        groups: vec![Group { name: name("web"), gid: Some(1001) }, Group { name: name("empty"), gid: None }],
        users: vec![
            User { password_hash: hash.clone(), groups: many.clone(), ..user("ops", Sudo::Password) },
            User { uid: Some(1500), group: Some(name("web")), ..user("app", Sudo::NoPassword) },
            User { locked: true, comment: Some(SingleLine::parse("Löck Ed").unwrap()), ..user("shut", Sudo::None) },
            User { ssh_authorized_keys: None, ..user("bare", Sudo::None) },
            User { groups: many, password_hash: hash, ..user("debian", Sudo::Password) },
            User { uid: Some(500), ..user("low", Sudo::None) },
        ],
        ..Settings::default()
    }
}

/// Applies the desired entries; returns what is remembered.
fn apply(tree: &mut Tree, settings: &Settings, previous: &State) -> State {
    let facts = Facts { entropy: Entropy([5; 64]), ..Facts::default() };
    let mut desired = Desired::new();
    let (class, resolved) = (&handoff::class::Class::default(), &handoff::class::Resolved::default());
    let context = Context { settings, class, resolved, guest: tree, previous, facts: &facts };
    accounts::render(&context, &mut desired).unwrap();
    identity::render(&context, &mut desired).unwrap();
    for (path, entry) in desired.entries() {
        match &entry.node {
            Some(node) => drop(tree.put(path.clone(), node.clone())),
            None => drop(tree.remove(path)),
        }
    }
    State { accounts: desired.accounts, ..State::default() }
}

fn write(tree: &Tree, root: &Path) {
    for (path, node) in tree.iter() {
        let to = root.join(path.as_str().trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        match node {
            Node::File(file) => {
                fs::write(&to, &file.content).unwrap();
                fs::set_permissions(&to, Permissions::from_mode(file.mode)).unwrap();
            }
            Node::Directory { .. } => fs::create_dir_all(&to).unwrap(),
            Node::Link(_) => {}
        }
    }
}

/// Runs a tool. `None` where it is not installed.
fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("HANDOFF_TEST_ALL").is_none(), "{tool} is not installed; make deps installs it");
            eprintln!("skipped: no {tool} on this machine");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

fn assert_liked(output: &Output, of: &str) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    assert!(output.status.success(), "{of}: {}", String::from_utf8_lossy(&text));
}

fn check_files(tree: &Tree) {
    if run("id", &["-u"]).is_none_or(|output| output.stdout != b"0\n") {
        eprintln!("skipped: pwck and grpck need root to look below another root");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    write(tree, root.path());
    let root = root.path().to_str().unwrap();
    for tool in ["pwck", "grpck"] {
        if let Some(output) = run(tool, &["-r", "-R", root]) {
            assert_liked(&output, tool);
        }
    }
}

#[test]
fn pwck_and_grpck_find_nothing_wrong_after_any_change() {
    let mut tree = image();
    check_files(&tree);
    let state = apply(&mut tree, &everything(), &State::default());
    check_files(&tree);
    let fewer = Settings { users: everything().users.split_off(2), ..Settings::default() };
    let state = apply(&mut tree, &fewer, &state);
    check_files(&tree);
    apply(&mut tree, &Settings::default(), &state);
    check_files(&tree);
}

#[test]
fn pwck_would_see_a_user_without_a_group() {
    let root = tempfile::tempdir().unwrap();
    write(&image().with("/etc/passwd", &PASSWD.replace("1000:1000", "1000:7")), root.path());
    if let Some(output) = run("pwck", &["-r", "-R", root.path().to_str().unwrap()]) {
        assert!(!output.status.success());
    }
}

fn text(tree: &Tree, path: &str) -> String {
    let node = tree.iter().find(|(at, _)| at.as_str() == path).map(|(_, node)| node.clone());
    let Some(Node::File(file)) = node else { panic!("no {path}") };
    String::from_utf8(file.content).unwrap()
}

#[test]
fn visudo_reads_the_rules_of_every_name() {
    let mut names: Vec<String> =
        ["defaults", "include", "user_alias", "all", "_", "a-", "a_b-9", "root2", "x0", "list", "sudoedit", "nopasswd"]
            .map(str::to_owned)
            .into();
    for letter in 'a'..='z' {
        names.push(format!("{letter}{}", "-_9z".repeat(7)));
    }
    let rule = |(at, name): (usize, &String)| user(name, if at % 2 == 0 { Sudo::Password } else { Sudo::NoPassword });
    let settings = Settings { users: names.iter().enumerate().map(rule).collect(), ..Settings::default() };
    let mut tree = image();
    apply(&mut tree, &settings, &State::default());
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("90-handoff");
    fs::write(&file, text(&tree, "/etc/sudoers.d/90-handoff")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
    if let Some(output) = run("visudo", &["-cf", file.to_str().unwrap()]) {
        assert_liked(&output, "visudo");
    }
    let Some(output) = run("cvtsudoers", &["-f", "json", file.to_str().unwrap()]) else { return };
    assert_liked(&output, "cvtsudoers");
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let users: Vec<&str> = read["User_Specs"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|spec| spec["User_List"].as_array().unwrap())
        .map(|user| user["username"].as_str().unwrap())
        .collect();
    assert_eq!(users, names, "sudo reads the same names");
}

#[test]
fn ssh_keygen_reads_the_host_key_and_the_users_keys() {
    let mut tree = image();
    apply(&mut tree, &everything(), &State::default());
    let root = tempfile::tempdir().unwrap();
    write(&tree, root.path());
    let at = |path: &str| root.path().join(path).to_str().unwrap().to_owned();
    let key = at("etc/ssh/ssh_host_ed25519_key");
    let Some(private) = run("ssh-keygen", &["-lf", &key]) else { return };
    assert_liked(&private, "ssh-keygen -l");
    assert!(String::from_utf8_lossy(&private.stdout).ends_with(" root@lb-1 (ED25519)\n"));
    let derived = run("ssh-keygen", &["-yf", &key]).unwrap();
    assert_liked(&derived, "ssh-keygen -y");
    assert_eq!(String::from_utf8_lossy(&derived.stdout), text(&tree, "/etc/ssh/ssh_host_ed25519_key.pub"));
    let keys = run("ssh-keygen", &["-lf", &at("home/ops/.ssh/authorized_keys")]).unwrap();
    assert_liked(&keys, "ssh-keygen -l authorized_keys");
    assert_eq!(String::from_utf8_lossy(&keys.stdout).lines().count(), 1);
}
