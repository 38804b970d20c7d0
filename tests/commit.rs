//! The engine on file systems that are full, several, read-only, or mounted upon. Each test runs itself again in a mount
//! name space of its own.

// The helpers of an integration test are test code too, which the lints do not know.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
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
