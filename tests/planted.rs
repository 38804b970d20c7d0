//! A user of the guest who plants things where the agent works as root: links to what is not the user's, pipes, loops. One at
//! each name that the agent looks at or writes below any directory that is not root's alone, at each moment between its runs.
//!
//! Nothing here names a renderer. What the agent touches is read from its system calls, and which directories are a user's from
//! the guest; so what is rendered tomorrow is in this test, as long as [`settings`] and the class ask for it.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use nix::sys::stat::Mode;
use proof::{Guest, Picture, Thing, agent, has, is_root, operators_key, picture};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a run may take, however many things are in its way. It takes 30 ms.
const LONGEST: Duration = Duration::from_secs(20);

/// A class that writes where an account of its own, and nobody but root, may write.
const CLASS: &str = r#"{ "version": 1, "class": "planted",
  "fields": { "word": { "type": "string", "default": "first", "help": "A word" },
              "key": { "type": "secret", "default": "hidden", "help": "A secret" } },
  "templates": [
    { "text": "{{ word }}\n", "target": "/var/lib/haproxy/conf/haproxy.conf", "syntax": "json", "owner": "haproxy" },
    { "text": "{{ key }}\n", "target": "/var/lib/haproxy/key", "syntax": "json", "owner": "haproxy", "mode": "0600" },
    { "text": "{{ word }}\n", "target": "/srv/data/pg/settings.conf", "syntax": "json" }],
  "volumes": { "data": { "serial": "data", "mount": "/srv/data", "filesystem": "ext4" } } }"#;

/// Settings that reach into every directory of a user, and their change.
fn settings(serial: u32) -> Value {
    let key = |name: &str| format!("{} {name}-{serial}", operators_key().public_line().unwrap());
    let file = |path: &str, owner: &str| json!({ "path": path, "owner": owner, "content": format!("{serial}\n") });
    let mut files = vec![
        file("/home/alice/.config/app/app.conf", "alice"),
        file("/home/alice/plain", "root"),
        file("/home/builder/.profile", "builder"),
        file("/home/ops/.app/deep/er/conf", "ops"),
        file("/srv/sticky/app/conf", "root"),
        file("/srv/sticky/conf", "alice"),
        file("/srv/team/conf", "root"),
        file("/srv/open/sub/conf", "root"),
        file("/tmp/app/conf", "root"),
        file("/var/www/html/index.html", "www-data"),
        file("/var/www/html/new/page", "root"),
    ];
    let mut users = vec![
        json!({ "name": "alice", "ssh_authorized_keys": [key("alice")] }),
        json!({ "name": "builder", "ssh_authorized_keys": [key("builder")] }),
        json!({ "name": "root", "ssh_authorized_keys": [key("root")] }),
        json!({ "name": "ops", "uid": 2000, "ssh_authorized_keys": [key("ops")] }),
        json!({ "name": "inside", "uid": 2001, "home": "/srv/open/homes/inside", "ssh_authorized_keys": [key("inside")] }),
    ];
    if serial == 2 {
        files.retain(|file| !matches!(file["path"].as_str().unwrap(), "/home/alice/plain" | "/srv/sticky/app/conf"));
        files.push(file("/home/builder/bin/added", "builder"));
        users.retain(|user| user["name"] != "builder" && user["name"] != "inside");
    }
    json!({ "version": 1, "instance": { "id": "planted", "serial": serial }, "appliance": { "class": "planted" },
        "hostname": format!("host-{serial}"), "users": users, "files": files,
        "fields": { "word": format!("word-{serial}"), "key": format!("key-{serial}") } })
}

/// A guest in which many directories are not root's alone.
fn guest() -> Guest {
    let guest = Guest::debian_in_memory();
    guest.write("/usr/lib/handoff/class.json", CLASS.as_bytes(), 0o644);
    for (path, uid, gid, mode) in [
        ("/srv/sticky", 0, 0, 0o1777),
        ("/srv/team", 0, 1000, 0o2775),
        ("/srv/open", 0, 0, 0o777),
        ("/srv/open/homes", 0, 0, 0o777),
        ("/srv/data", 0, 0, 0o755),
        ("/srv/data/pg", 101, 103, 0o750),
        ("/var/www/html", 33, 33, 0o755),
        ("/outside", 0, 0, 0o755),
        ("/outside/directory", 0, 0, 0o755),
    ] {
        fs::create_dir_all(guest.at(path)).unwrap();
        guest.own(path, uid, gid);
        fs::set_permissions(guest.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    guest.link("/outside/link", "/outside/directory");
    for path in ["/outside/canary", "/outside/directory/canary"] {
        guest.write(path, b"canary\n", 0o600);
    }
    guest
}

/// One run of the agent.
type Act = fn(&Guest) -> Vec<String>;

fn words(guest: &Guest, serial: u32, command: &[&str]) -> Vec<String> {
    let source = guest.offer(&settings(serial).to_string());
    ["--source", &source].iter().chain(command).map(|word| (*word).to_owned()).collect()
}

const FIRST: Act = |guest| words(guest, 1, &["apply"]);
const CHANGE: Act = |guest| words(guest, 2, &["apply"]);
const PLAN: Act = |guest| words(guest, 2, &["plan", "--diff"]);
const STATUS: Act = |_| vec!["status".to_owned()];
const ROLLBACK: Act = |_| vec!["rollback".to_owned()];
const RESET: Act = |_| vec!["reset".to_owned()];

/// What is done before somebody plants, and after.
type Course = (&'static [Act], &'static [Act]);

fn run(guest: &Guest, act: Act, context: &str) {
    let arguments = act(guest);
    let began = Instant::now();
    let run = guest.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(began.elapsed() < LONGEST, "{context}: {arguments:?} took {:?}", began.elapsed());
    // What stands in the way in a user's place is told, and is no reason not to do the rest.
    assert_eq!((run.code, run.signal), (Some(0), None), "{context}: {arguments:?}: {}", run.err);
}

/// The paths below the root that a run names to the system, and the directories that it goes through on the way.
fn touched(guest: &Guest, act: Act) -> BTreeSet<String> {
    let trace = guest.beside("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "4096", "-o"]).arg(&trace).args(["-e", "trace=%file,%desc"]);
    strace.arg(agent()).arg("--root").arg(guest.root()).args(act(guest));
    proof::run(&mut strace).succeeded();
    let root = guest.root().display().to_string();
    let mut touched = BTreeSet::new();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        // What is written looks like a name.
        if line.split('(').next().is_some_and(|call| call.ends_with("write") || call.ends_with("read")) {
            continue;
        }
        // `openat(4</scratch/root/home>, "alice", …`
        for part in line.split(&format!("<{root}")).skip(1) {
            let Some((directory, rest)) = part.split_once('>') else { continue };
            let Some(name) = rest.strip_prefix(", \"").and_then(|rest| rest.split('"').next()) else { continue };
            if name != "." && !name.is_empty() && !name.contains('/') {
                touched.insert(format!("{directory}/{name}"));
            }
        }
    }
    assert!(!touched.is_empty(), "the trace of {} is not understood", agent().display());
    touched
}

/// Whether somebody else than root may make names in a directory.
fn is_open(thing: &Thing) -> bool {
    thing.kind == 'd' && (thing.uid != 0 || thing.mode & 0o002 != 0 || (thing.mode & 0o020 != 0 && thing.gid != 0))
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(parent, _)| parent), |path| {
        path.rsplit_once('/').map(|(parent, _)| parent)
    })
    .take_while(|path| !path.is_empty())
}

/// What could be planted: the names, by how deep they lie, with who can plant there.
fn places(now: &Picture, touched: &BTreeSet<String>) -> BTreeMap<usize, BTreeMap<String, (u32, u32)>> {
    let mut places: BTreeMap<usize, BTreeMap<String, (u32, u32)>> = BTreeMap::new();
    for path in touched {
        // The deepest directory on the way that is there is the one in which the user begins.
        let Some((above, directory)) = parents(path).find_map(|above| Some((above, now.get(above)?))) else { continue };
        if !is_open(directory) {
            continue;
        }
        let user = if directory.uid != 0 { (directory.uid, directory.gid) } else { (1000, 1000) };
        // In a sticky directory, what is there belongs to its owner.
        let sticks = directory.mode & 0o1000 != 0 && directory.uid != user.0;
        let is_there = parents(path).next() == Some(above) && now.contains_key(path);
        if is_there && sticks && now[path].uid != user.0 {
            continue;
        }
        places.entry(path.matches('/').count()).or_default().insert(path.clone(), user);
    }
    places
}

/// What is planted at a path. `None`: it cannot be planted there.
type Plant = fn(&Guest, &Path) -> Option<()>;

fn link(at: &Path, target: impl AsRef<Path>) -> Option<()> {
    symlink(target, at).ok()
}

const PLANTS: [(&str, Plant); 19] = [
    ("a link to a file", |_, at| link(at, "/outside/canary")),
    ("a link to a directory", |_, at| link(at, "/outside/directory")),
    ("a link to a name that is not there", |_, at| link(at, "/outside/directory/new")),
    ("a relative link", |_, at| link(at, "../../../../../../../outside/directory")),
    ("a link out of the root", |guest, at| link(at, guest.beside("host/canary"))),
    ("a link to a directory out of the root", |guest, at| link(at, guest.beside("host"))),
    ("a link to the passwords", |_, at| link(at, "/etc/shadow")),
    ("a link to root's keys", |_, at| link(at, "/root/.ssh")),
    ("a link to itself", |_, at| link(at, at.file_name()?)),
    ("a link to where it stands", |_, at| link(at, ".")),
    ("a link to the kernel's view of the process", |_, at| link(at, "/proc/self/root")),
    ("a hard link", |guest, at| fs::hard_link(guest.at("/outside/canary"), at).ok()),
    ("a second name of a link of root's", |guest, at| fs::hard_link(guest.at("/outside/link"), at).ok()),
    ("nothing at all", |_, _| Some(())),
    ("a pipe", |_, at| nix::unistd::mkfifo(at, Mode::S_IRWXU).ok()),
    ("a directory with something in it", |_, at| {
        fs::create_dir(at).ok()?;
        fs::write(at.join("mine"), "mine").ok()
    }),
    ("a large file", |_, at| fs::File::create(at).ok()?.set_len(1 << 40).ok()),
    ("a directory that hands down an access list", |_, at| {
        fs::create_dir(at).ok()?;
        // Owner, a user, group, mask and others may do everything.
        let list = "0x0200000001000700ffffffff02000700e803000004000700ffffffff10000700ffffffff20000700ffffffff";
        let set = "import os,sys;os.setxattr(sys.argv[1],'system.posix_acl_default',bytes.fromhex(sys.argv[2][2:]))";
        let set = Command::new("python3").args(["-c", set]).arg(at).arg(list).output().ok()?;
        set.status.success().then_some(())
    }),
    ("a socket", |_, at| std::os::unix::net::UnixListener::bind(at).ok().map(drop)),
];

/// Puts it there in the place of what was, as the user could.
fn plant(guest: &Guest, path: &str, (uid, gid): (u32, u32), plant: Plant) -> bool {
    let at = guest.at(path);
    let mut missing: Vec<PathBuf> = Vec::new();
    for above in parents(path).map(|above| guest.at(above)) {
        match fs::symlink_metadata(&above) {
            Ok(there) if there.is_dir() => break,
            Ok(_) => return false,
            Err(_) => missing.push(above),
        }
    }
    for directory in missing.iter().rev() {
        fs::create_dir(directory).unwrap();
        chown(directory, Some(uid), Some(gid)).unwrap();
    }
    // A user can move away whatever stands in the own directory.
    if fs::symlink_metadata(&at).is_ok() {
        fs::rename(&at, at.with_file_name(format!("{}.aside", at.file_name().unwrap().to_str().unwrap()))).unwrap();
    }
    if plant(guest, &at).is_none() {
        return false;
    }
    // A hard link has the owner of the file.
    if fs::symlink_metadata(&at).is_ok_and(|there| there.nlink() == 1 || there.is_dir()) {
        lchown(&at, Some(uid), Some(gid)).unwrap();
    }
    true
}

/// What is nobody's but root's, and not the agent's own: by path, without what is random.
fn outside(now: &Picture, open: &BTreeSet<String>) -> BTreeMap<String, (char, u32, u32, u32, Vec<u8>)> {
    let random = ["/var/lib/handoff", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/etc/.pwd.lock"];
    let aside = |path: &str| random.iter().any(|start| path.starts_with(start));
    let kept = now.iter().filter(|(path, _)| !aside(path) && !parents(path).any(|above| open.contains(above)));
    kept.map(|(path, thing)| (path.clone(), (thing.kind, thing.mode, thing.uid, thing.gid, thing.content.clone())))
        .collect()
}

/// The guest as a course leaves it, step by step, where nobody plants anything.
struct Reference {
    touched: BTreeSet<String>,
    open: BTreeSet<String>,
    before: Guest,
    after: Vec<Picture>,
}

fn reference((before, after): Course) -> Reference {
    let mut open = BTreeSet::new();
    let mut note = |picture: &Picture| {
        open.extend(picture.iter().filter(|(_, thing)| is_open(thing)).map(|(path, _)| path.clone()));
    };
    let prepared = guest();
    for act in before {
        run(&prepared, *act, "before");
    }
    note(&prepared.picture());
    let traced = copy(&prepared);
    let mut touched_by_all = BTreeSet::new();
    let mut pictures = Vec::new();
    for act in after {
        touched_by_all.extend(touched(&traced, *act));
        let picture = traced.picture();
        note(&picture);
        pictures.push(picture);
    }
    Reference { touched: touched_by_all, open, before: prepared, after: pictures }
}

fn copy(guest: &Guest) -> Guest {
    let other = Guest::debian_in_memory();
    fs::remove_dir_all(other.root()).unwrap();
    let copied = Command::new("cp").arg("-a").arg(guest.root()).arg(other.root()).status().unwrap();
    assert!(copied.success());
    other
}

/// In how many rounds a course is held. The courses together put everything at every name.
const ROUNDS: usize = PLANTS.len().div_ceil(COURSES);
const COURSES: usize = 4;

/// Something at every name of one depth at once, a few times with other things, and then the rest of the course.
fn holds(test: &str, number: usize, course: Course) {
    if !is_root() {
        println!("{test}: SKIPPED, owners cannot be set");
        return;
    }
    if !has("strace", test) {
        return;
    }
    let reference = reference(course);
    let places = places(&reference.before.picture(), &reference.touched);
    let (mut planted, mut runs) = (0, 0);
    for round in 0..ROUNDS {
        for (depth, names) in &places {
            let guest = copy(&reference.before);
            fs::create_dir(guest.beside("host")).unwrap();
            fs::write(guest.beside("host/canary"), "canary\n").unwrap();
            let mut context = format!("round {round}, depth {depth}");
            for (place, (path, user)) in names.iter().enumerate() {
                let (kind, how) = PLANTS[(place + COURSES * round + number) % PLANTS.len()];
                if plant(&guest, path, *user, how) {
                    planted += 1;
                    context.push_str(&format!("\n  {path}: {kind}"));
                }
            }
            let before = canaries(&guest);
            for (act, expected) in course.1.iter().zip(&reference.after) {
                run(&guest, *act, &context);
                runs += 1;
                let now = guest.picture();
                let (now, expected) = (outside(&now, &reference.open), outside(expected, &reference.open));
                for path in now.keys().chain(expected.keys()) {
                    assert_eq!(now.get(path), expected.get(path), "{path}, {context}");
                }
            }
            assert_eq!(canaries(&guest), before, "{context}");
        }
    }
    let names: usize = places.values().map(BTreeMap::len).sum();
    println!("{test}: {planted} things planted at {names} names, {runs} runs");
    assert!(planted > 5 * ROUNDS, "{names} names");
}

/// What nobody may touch, in the guest and beside it, with its times. A name that a user gives to a file changes the number of its
/// names and when that was; nothing else.
fn canaries(guest: &Guest) -> Picture {
    let mut seen = picture(&guest.beside("host"));
    seen.extend(guest.picture().into_iter().filter(|(path, _)| path.starts_with("/outside")));
    for thing in seen.values_mut().filter(|thing| thing.kind != 'd') {
        (thing.inode[1], thing.inode[4], thing.inode[5]) = (0, 0, 0);
    }
    seen
}

#[test]
fn what_is_planted_before_the_first_settings_leads_nowhere() {
    holds(
        "what_is_planted_before_the_first_settings_leads_nowhere",
        0,
        (&[], &[FIRST, STATUS, CHANGE, ROLLBACK, RESET]),
    );
}

#[test]
fn what_is_planted_before_a_change_leads_nowhere() {
    holds("what_is_planted_before_a_change_leads_nowhere", 1, (&[FIRST], &[PLAN, CHANGE, STATUS, RESET]));
}

#[test]
fn what_is_planted_before_the_way_back_leads_nowhere() {
    holds("what_is_planted_before_the_way_back_leads_nowhere", 2, (&[FIRST, CHANGE], &[STATUS, ROLLBACK, RESET]));
}

#[test]
fn what_is_planted_before_a_reset_leads_nowhere() {
    holds("what_is_planted_before_a_reset_leads_nowhere", 3, (&[FIRST], &[RESET, STATUS]));
}
