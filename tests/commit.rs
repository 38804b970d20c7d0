//! The engine on file systems that are full, several, read-only, or mounted upon. Each test runs itself again in a mount
//! name space of its own.

// The helpers of an integration test are test code too, which the lints do not know.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use handoff::commit::{Recovery, commit, recover};
use handoff::guest::{File, GuestPath, Node, Owner, View as _};
use handoff::plan::Step;
use handoff::root::Root;
use nix::mount::{MsFlags, mount};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "HANDOFF_TEST_INSIDE";

/// Runs `work` on an empty directory in a mount name space of its own. Where the system allows none, says so.
fn in_own_name_space(test: &str, work: impl FnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let scratch = tempfile::tempdir().unwrap();
        work(scratch.path());
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.arg(if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" });
    if !unshare.arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("{test}: skipped, this system gives no mount name space");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.arg(if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" });
    unshare.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = unshare.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // A name that is no test's would pass by running nothing.
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn mount_memory(at: &Path, options: &str) {
    fs::create_dir_all(at).unwrap();
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path.clone());
            }
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path, content);
        }
    }
    found
}

fn write(root: &Root, path: &str, content: Vec<u8>) -> Step {
    let path = GuestPath::of(path);
    let before = root.node(&path).unwrap();
    Step::WriteFile { path, file: File { content, mode: 0o644, owner: Owner::ROOT }, before, secret: false }
}

#[test]
fn a_full_disk_is_an_error_and_the_guest_is_as_before() {
    in_own_name_space("a_full_disk_is_an_error_and_the_guest_is_as_before", |scratch| {
        mount_memory(scratch, "size=128k");
        fs::create_dir_all(scratch.join("etc")).unwrap();
        fs::create_dir_all(scratch.join("var/lib/handoff")).unwrap();
        fs::write(scratch.join("etc/a"), vec![b'o'; 40_000]).unwrap();
        let root = Root::open(scratch).unwrap();
        let before = snapshot(scratch);
        let directory = GuestPath::of("/etc/new");
        let plan = [
            Step::MakeDirectory { path: directory, mode: 0o755, owner: Owner::ROOT },
            write(&root, "/etc/new/small", vec![b'n'; 100]),
            write(&root, "/etc/a", vec![b'n'; 40_000]),
            write(&root, "/etc/b", vec![b'n'; 40_000]),
            write(&root, "/etc/c", vec![b'n'; 40_000]),
        ];
        let error = commit(&root, &plan).unwrap_err();
        assert_eq!(snapshot(scratch), before, "{error}");
        let text = error.to_string();
        assert!(text.contains("No space left") && text.contains("nothing was changed"), "{text}");
        assert!(text.contains("make room"), "{text}");
        assert_eq!(recover(&root).unwrap(), Recovery::Nothing);
        // What fits is still possible.
        commit(&root, &plan[..3]).unwrap();
        assert_eq!(fs::read(scratch.join("etc/a")).unwrap(), vec![b'n'; 40_000]);
    });
}

#[test]
fn a_plan_may_reach_over_several_file_systems() {
    in_own_name_space("a_plan_may_reach_over_several_file_systems", |scratch| {
        for part in ["etc", "var", "home"] {
            mount_memory(&scratch.join(part), "size=1m,mode=755");
        }
        let root = Root::open(scratch).unwrap();
        let plan = [
            write(&root, "/etc/a", b"a".to_vec()),
            write(&root, "/home/b", b"b".to_vec()),
            write(&root, "/c", b"c".to_vec()),
        ];
        commit(&root, &plan).unwrap();
        for (path, content) in [("/etc/a", "a"), ("/home/b", "b"), ("/c", "c")] {
            assert_eq!(root.read(&GuestPath::of(path)).unwrap(), Some(content.into()));
        }
    });
}

#[test]
fn a_read_only_file_system_is_an_error_and_the_rest_is_as_before() {
    in_own_name_space("a_read_only_file_system_is_an_error_and_the_rest_is_as_before", |scratch| {
        fs::create_dir_all(scratch.join("etc")).unwrap();
        fs::create_dir_all(scratch.join("var/lib/handoff")).unwrap();
        mount_memory(&scratch.join("usr"), "size=1m,ro");
        let root = Root::open(scratch).unwrap();
        let before = snapshot(scratch);
        let plan = [write(&root, "/etc/a", b"a".to_vec()), write(&root, "/usr/b", b"b".to_vec())];
        let text = commit(&root, &plan).unwrap_err().to_string();
        assert!(text.starts_with("/usr/b: ") && text.contains("mount the file system it lies on writable"), "{text}");
        assert_eq!(snapshot(scratch), before);
    });
}

#[test]
fn a_file_that_is_mounted_upon_takes_the_whole_commit_back() {
    in_own_name_space("a_file_that_is_mounted_upon_takes_the_whole_commit_back", |scratch| {
        fs::create_dir_all(scratch.join("etc")).unwrap();
        fs::create_dir_all(scratch.join("var/lib/handoff")).unwrap();
        for name in ["hostname", "hosts", "gone", "other"] {
            fs::write(scratch.join("etc").join(name), "old").unwrap();
        }
        // As container managers do with /etc/hosts.
        let hosts = scratch.join("etc/hosts");
        mount(Some(&scratch.join("etc/other")), &hosts, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let root = Root::open(scratch).unwrap();
        let before = snapshot(scratch);
        let gone = GuestPath::of("/etc/gone");
        let there = root.node(&gone).unwrap().unwrap();
        let plan = [
            Step::MakeDirectory { path: GuestPath::of("/etc/d"), mode: 0o755, owner: Owner::ROOT },
            write(&root, "/etc/d/x", b"x".to_vec()),
            write(&root, "/etc/hostname", b"new".to_vec()),
            Step::Remove { path: gone, before: there },
            write(&root, "/etc/hosts", b"new".to_vec()),
        ];
        let text = commit(&root, &plan).unwrap_err().to_string();
        assert!(text.starts_with("/etc/hosts: cannot be replaced") && text.contains("is mounted there"), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
        assert_eq!(snapshot(scratch), before);
        assert_eq!(recover(&root).unwrap(), Recovery::Nothing);
        assert_eq!(root.node(&GuestPath::of("/etc/hostname")).unwrap(), Some(Node::file("old", 0o644)));
    });
}

const USER: u32 = 1000;

/// Whether these tools are there. Where they are not, says so.
fn has(tools: &[&str], test: &str) -> bool {
    let is_there = |tool: &&&str| Command::new(tool).arg("--version").output().is_ok();
    let missing = tools.iter().find(|tool| !is_there(tool));
    if let Some(tool) = missing {
        println!("{test}: SKIPPED, {tool} is not installed");
    }
    missing.is_none() && nix::unistd::geteuid().is_root()
}

/// Runs a tool. Whether it did its work.
fn tool(words: &[&str], at: &Path) -> bool {
    Command::new(words[0]).args(&words[1..]).arg(at).output().is_ok_and(|output| output.status.success())
}

/// Mounts a new file system of a kind in a file beside, if this system knows it.
fn mount_new(make: &[&str], at: &Path) -> bool {
    let image = at.with_extension("image");
    fs::create_dir_all(at).unwrap();
    fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
    assert!(tool(make, &image), "{make:?}");
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at).output().unwrap();
    if !mounted.status.success() {
        println!("SKIPPED, {}", String::from_utf8_lossy(&mounted.stderr));
    }
    mounted.status.success()
}

/// A guest on a file system of its own, with a file of a user's beside one of root's.
fn users_guest(at: &Path) -> Root {
    for directory in ["etc", "var/lib/handoff", "home/user"] {
        fs::create_dir_all(at.join(directory)).unwrap();
    }
    chmod(at, 0o755);
    chmod(&at.join("var/lib/handoff"), 0o700);
    fs::write(at.join("etc/hostname"), "old").unwrap();
    std::os::unix::fs::chown(at.join("home/user"), Some(USER), Some(USER)).unwrap();
    Root::open(at).unwrap()
}

fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An interrupted commit of one file of root's and one of a user's, which are staged.
fn interrupt(at: &Path, phase: &str) {
    use std::fmt::Write as _;
    let mut entries = String::new();
    for (path, content) in [("home/user/.ssh/authorized_keys", "key"), ("etc/hostname", "new")] {
        let staged = at.join(path).with_file_name(".handoff-0001.new");
        fs::write(staged, content).unwrap();
        let sha256 = handoff::trust::Digest::of(content.as_bytes()).hex();
        let comma = if entries.is_empty() { "" } else { "," };
        let owner = r#"{"uid":0,"gid":0}"#;
        let staged = ".handoff-0001.new";
        write!(
            entries,
            r#"{comma}{{"file":{{"path":"/{path}","staged":"{staged}","sha256":"{sha256}","mode":420,"owner":{owner}}}}}"#
        )
        .unwrap();
    }
    entries.push_str(r#",{"remove":{"path":"/home/user/.ssh/old"}},{"empty":{"path":"/home/user/.ssh/sub"}}"#);
    let journal = format!(r#"{{"version":1,"phase":"{phase}","made":["/home/user/.ssh/sub"],"entries":[{entries}]}}"#);
    fs::write(at.join("var/lib/handoff/journal.json"), journal).unwrap();
}

/// Recovers what was interrupted in both phases, after a user has closed the own directory: the rest is done, and nothing
/// waits any more.
fn recovers_in_spite_of(at: &Path, root: &Root, close: impl Fn(bool)) {
    let ssh = at.join("home/user/.ssh");
    fs::create_dir_all(ssh.join("sub")).unwrap();
    let _ = fs::remove_file(ssh.join("authorized_keys"));
    fs::write(ssh.join("old"), "old").unwrap();
    for phase in ["staging", "commit"] {
        interrupt(at, phase);
        close(true);
        let recovery = recover(root).unwrap_or_else(|error| panic!("{phase}: {error}"));
        assert!(!handoff::commit::interrupted(root).unwrap());
        match recovery {
            Recovery::RolledForward(report) => {
                assert_eq!(phase, "commit");
                assert!(!report.warnings.is_empty(), "{report:?}");
                assert!(report.warnings.iter().all(|line| line.starts_with("/home/user/.ssh/")), "{report:?}");
            }
            other => assert_eq!((phase, other), ("staging", Recovery::CleanedUp)),
        }
        assert!(!ssh.join("authorized_keys").exists());
        close(false);
        let _ = fs::remove_file(ssh.join(".handoff-0001.new"));
    }
    assert_eq!(fs::read_to_string(at.join("etc/hostname")).unwrap(), "new");
}

#[test]
fn a_subvolume_that_a_user_sets_read_only_spoils_only_what_is_in_it() {
    const TEST: &str = "a_subvolume_that_a_user_sets_read_only_spoils_only_what_is_in_it";
    if !has(&["mkfs.btrfs", "btrfs"], TEST) {
        return;
    }
    in_own_name_space(TEST, |scratch| {
        let at = scratch.join("root");
        if !mount_new(&["mkfs.btrfs", "-q"], &at) {
            return;
        }
        let root = users_guest(&at);
        let ssh = at.join("home/user/.ssh");
        assert!(tool(&["btrfs", "subvolume", "create"], &ssh));
        std::os::unix::fs::chown(&ssh, Some(USER), Some(USER)).unwrap();
        let read_only = |yes: bool| {
            let mut set = Command::new("btrfs");
            set.args(["property", "set", "-ts"]).arg(&ssh).args(["ro", if yes { "true" } else { "false" }]);
            assert!(set.output().unwrap().status.success());
        };
        // Before a commit, and the way back out of one that fails elsewhere.
        read_only(true);
        let plan = [
            Step::MakeDirectory { path: GuestPath::of("/home/user/.ssh/made"), mode: 0o755, owner: Owner::ROOT },
            write(&root, "/home/user/.ssh/made/file", b"key".to_vec()),
            write(&root, "/home/user/.ssh/authorized_keys", b"key".to_vec()),
            write(&root, "/etc/hostname", b"first".to_vec()),
        ];
        let report = commit(&root, &plan).unwrap();
        assert_eq!((report.steps, report.warnings.len()), (1, 3), "{report:?}");
        assert_eq!(fs::read_to_string(at.join("etc/hostname")).unwrap(), "first");
        read_only(false);
        // While a commit runs, which then ends, or is taken back because of something else.
        let ends = Instant::now() + Duration::from_secs(4);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while Instant::now() < ends {
                    std::thread::sleep(Duration::from_millis(3 + number % 7));
                    number += 1;
                    read_only(number % 2 == 1);
                }
                read_only(false);
            });
            let mounted = at.join("etc/mounted");
            fs::write(&mounted, "").unwrap();
            mount(Some(&mounted), &mounted, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            for number in 0.. {
                if Instant::now() >= ends {
                    break;
                }
                let text = format!("{number}").into_bytes();
                let keys = write(&root, "/home/user/.ssh/authorized_keys", text.clone());
                let mut plan = vec![keys, write(&root, "/etc/hostname", text.clone())];
                if number % 2 == 1 {
                    plan.push(write(&root, "/etc/mounted", text.clone()));
                    let error = commit(&root, &plan).unwrap_err().to_string();
                    assert!(error.starts_with("/etc/mounted: ") && error.contains("nothing was changed"), "{error}");
                } else {
                    commit(&root, &plan).unwrap_or_else(|error| panic!("{number}: {error}"));
                    assert_eq!(fs::read(at.join("etc/hostname")).unwrap(), text);
                }
                assert!(!handoff::commit::interrupted(&root).unwrap());
            }
        });
        recovers_in_spite_of(&at, &root, read_only);
        // A file system that is read-only as a whole is nobody's doing.
        mount(None::<&str>, &at, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>).unwrap();
        let plan = [write(&root, "/home/user/.ssh/authorized_keys", b"other".to_vec())];
        assert!(commit(&root, &plan).unwrap_err().to_string().contains("writable"));
    });
}

#[test]
fn a_home_that_is_read_only_as_a_whole_is_an_error_and_nothing_was_changed() {
    const TEST: &str = "a_home_that_is_read_only_as_a_whole_is_an_error_and_nothing_was_changed";
    if !has(&[], TEST) {
        return;
    }
    in_own_name_space(TEST, |scratch| {
        let root = users_guest(scratch);
        mount_memory(&scratch.join("home/user"), "size=1m,mode=755,uid=1000");
        let before = snapshot(scratch);
        let plan = [write(&root, "/home/user/file", b"a".to_vec()), write(&root, "/etc/hostname", b"new".to_vec())];
        mount_flags(&scratch.join("home/user"), MsFlags::MS_RDONLY);
        let text = commit(&root, &plan).unwrap_err().to_string();
        assert!(text.starts_with("/home/user/file: ") && text.contains("nothing was changed"), "{text}");
        let mut after = snapshot(scratch);
        after.retain(|path, _| before.contains_key(path));
        assert_eq!(after, before);
        assert!(!handoff::commit::interrupted(&root).unwrap());
    });
}

fn mount_flags(at: &Path, flags: MsFlags) {
    mount(None::<&str>, at, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>).unwrap();
}

#[test]
fn a_project_that_a_user_gives_to_a_directory_spoils_only_what_is_in_it() {
    const TEST: &str = "a_project_that_a_user_gives_to_a_directory_spoils_only_what_is_in_it";
    if !has(&["mkfs.xfs", "chattr"], TEST) {
        return;
    }
    in_own_name_space(TEST, |scratch| {
        let at = scratch.join("root");
        if !mount_new(&["mkfs.xfs", "-q"], &at) {
            return;
        }
        let root = users_guest(&at);
        let ssh = at.join("home/user/.ssh");
        let project = std::cell::Cell::new(6);
        // What is staged has the project that the directory had.
        recovers_in_spite_of(&at, &root, |_| {
            project.set(project.get() + 1);
            assert!(tool(&["chattr", "+P", "-p", &project.get().to_string()], &ssh));
        });
    });
}

const HOLD: &str = "HANDOFF_TEST_HOLD";

/// Another program that holds the lock of the account tools, as `lckpwdf(3)` takes it, for half a second, and changes
/// a file while it does.
fn hold_account_lock(etc: &Path) {
    let file = fs::File::create(etc.join(".pwd.lock")).unwrap();
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&whole)).unwrap();
    fs::write(etc.join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    fs::write(etc.join("passwd"), "changed\n").unwrap();
}

#[test]
fn accounts_are_not_changed_while_another_program_changes_them() {
    if let Some(etc) = std::env::var_os(HOLD) {
        return hold_account_lock(Path::new(&etc));
    }
    let scratch = tempfile::tempdir().unwrap();
    let etc = scratch.path().join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("passwd"), "old\n").unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "accounts_are_not_changed_while_another_program_changes_them"]).env(HOLD, &etc);
    let mut other = other.stdout(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !etc.join("ready").exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let root = Root::open(scratch.path()).unwrap();
    // Other files do not wait for it; and what the other program changed meanwhile is not overwritten.
    commit(&root, &[write(&root, "/etc/motd", b"m".to_vec())]).unwrap();
    assert_eq!(fs::read(etc.join("passwd")).unwrap(), b"old\n");
    let error = commit(&root, &[write(&root, "/etc/passwd", b"ours\n".to_vec())]).unwrap_err();
    assert!(other.wait().unwrap().success());
    assert!(error.to_string().starts_with("/etc/passwd: was changed while it was being planned"), "{error}");
    assert_eq!(fs::read(etc.join("passwd")).unwrap(), b"changed\n");
    commit(&root, &[write(&root, "/etc/passwd", b"ours\n".to_vec())]).unwrap();
    assert_eq!(fs::read(etc.join("passwd")).unwrap(), b"ours\n");
}
