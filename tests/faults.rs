//! The agent as a program on a disk that fails it: an error of any call that writes, a file system without room, one that
//! is read-only, a directory that is missing, a file that is protected. Each ends in one line that names the object, and in
//! the old guest, or in the new one where the change was already certain.
//!
//! `HANDOFF_CRASH_FULL=1`: every call and every amount of room, and not a share of them.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use handoff::commit;
use handoff::root::Root;
use nix::mount::{MsFlags, mount};
use proof::report::Counts;
use proof::strace::{Call, Fate, apply, calls, copy, each, is_new, share, share_of};
use proof::{Guest, Picture, Run, agent, assert_one_line, differing, has, is_root, picture, same};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

const ONE: &str = include_str!("golden/design/1.json");
const TWO: &str = include_str!("golden/design/2.json");

/// A change: the guest before it, the settings that make it, and both pictures.
struct Change {
    name: &'static str,
    bench: Guest,
    source: String,
    old: Picture,
    new: Picture,
    /// The system calls of the change when nothing fails.
    calls: Vec<Call>,
}

impl Change {
    /// One by which much comes, and one by which it goes again.
    fn both() -> [Change; 2] {
        let earlier = TWO.replace("\"serial\": 8", "\"serial\": 6");
        [
            Change::new("settings that add", &[&earlier], ONE),
            Change::new("settings that take away", &[&earlier, ONE], TWO),
        ]
    }

    fn new(name: &'static str, before: &[&str], settings: &str) -> Self {
        let bench = Guest::debian_in_memory();
        before.iter().for_each(|settings| drop(bench.apply(settings).succeeded()));
        let source = bench.offer(settings);
        let (trace, victim) = (bench.beside("trace"), bench.beside("victim"));
        copy(&bench.root(), &victim);
        let old = picture(&victim);
        apply(&victim, &source, &trace, Fate::Spared).succeeded();
        let new = picture(&victim);
        assert!(same(&old, &new).is_err(), "nothing changes");
        let calls = calls(&trace);
        Change { name, bench, source, old, new, calls }
    }

    fn again(&self, root: &Path) -> Run {
        let mut again = Command::new(agent());
        again.arg("--root").arg(root).args(["--source", &self.source, "apply"]);
        proof::run(&mut again)
    }

    /// Judges a run that something failed in: its words, and the guest that it left. Then mends, as the next start does, and
    /// says whether the guest is the new one.
    fn judge(&self, run: &Run, root: &Path, place: &str) -> bool {
        assert_eq!(run.signal, None, "{place}: {run:?}");
        match run.code {
            Some(0) => return self.judge_done(run, root, place),
            // What cannot be read is refused as what it is: settings, a trusted key, the class.
            Some(10..=13) => {
                self.judge_words(&run.err, place);
                // Code 13 promises that nothing was changed; an error that cannot says when the rest follows.
                if !run.err.contains("; the next start ") {
                    assert_eq!(same(&self.old, &picture(root)), Ok(()), "{place}: {run:?}");
                }
            }
            code => panic!("{place}: ended with {code:?}: {run:?}"),
        }
        self.mended(root, place)
    }

    /// Judges a run that came to its end: the guest is the new one, but for what a user could have brought about, which the run
    /// has named; and the next one changes nothing else.
    fn judge_done(&self, run: &Run, root: &Path, place: &str) -> bool {
        let Err(paths) = same(&self.new, &picture(root)) else { return self.mended(root, place) };
        for path in &paths {
            let is_named = run.err.lines().any(|line| line.contains(path) && line.contains("left as it is"));
            // What was staged there stays beside it where it cannot be taken away.
            let (_, name) = path.rsplit_once('/').unwrap();
            let is_staged = run.err.contains(&format!("`{name}` stays beside it"));
            assert!(path.starts_with("/home/") && (is_named || is_staged), "{place}: {path}: {run:?}");
            if is_staged {
                fs::remove_file(root.join(path.trim_start_matches('/'))).unwrap();
            }
        }
        assert!(!commit::interrupted(&Root::open(root).unwrap()).unwrap(), "{place}");
        self.again(root).succeeded();
        // What is made once, and what is not ours any more, is not looked at again.
        if let Err(left) = same(&self.new, &picture(root)) {
            assert!(left.iter().all(|path| paths.contains(path)), "{place}: the next apply leaves {left:?} otherwise");
        }
        true
    }

    fn judge_words(&self, err: &str, place: &str) {
        assert_one_line(err);
        let object = err.strip_prefix("handoff-agent: ").unwrap();
        assert!(object.starts_with('/') || object.starts_with("the guest's file systems"), "{place}: {err}");
    }

    fn mended(&self, root: &Path, place: &str) -> bool {
        commit::recover(&Root::open(root).unwrap()).unwrap_or_else(|error| panic!("{place}: {error}"));
        let new = is_new(&self.old, &self.new, &picture(root), place);
        self.again(root).succeeded();
        if let Err(paths) = same(&self.new, &picture(root)) {
            panic!("{place}: the next apply leaves {paths:?} otherwise");
        }
        new
    }
}

/// Whether a call changes the guest or its disks.
fn writes(call: &Call) -> bool {
    match call.name.as_str() {
        "openat" => call.text.contains("O_CREAT"),
        "write" => !call.text.starts_with("write(1,") && !call.text.starts_with("write(2,"),
        "pwrite64" | "writev" | "fsync" | "fdatasync" | "syncfs" | "rename" | "renameat" | "renameat2" | "link"
        | "linkat" | "symlink" | "symlinkat" | "mkdir" | "mkdirat" | "unlink" | "unlinkat" | "rmdir" | "fchmod"
        | "fchmodat" | "fchown" | "fchownat" | "ftruncate" => true,
        _ => false,
    }
}

#[test]
fn an_error_of_any_call_that_writes_is_one_line_and_leaves_the_old_guest_or_the_new_one() {
    if !has("strace", "an_error_of_any_call_that_writes_is_one_line_and_leaves_the_old_guest_or_the_new_one") {
        return;
    }
    for change in Change::both() {
        for error in ["EIO", "ENOSPC", "EROFS", "EDQUOT"] {
            let began = Instant::now();
            let points = share(change.calls.iter().filter(|call| writes(call)).collect(), 20);
            let counts = Mutex::new(Counts::default());
            each(&points, &change.bench.beside(""), |call, directory| {
                let (victim, trace) = (directory.join("victim"), directory.join("trace"));
                copy(&change.bench.root(), &victim);
                let run = apply(&victim, &change.source, &trace, Fate::Refused(call, error));
                let place = format!("{}, {error} at {} number {}: {}", change.name, call.name, call.number, call.text);
                let is_new = change.judge(&run, &victim, &place);
                counts.lock().unwrap().count(is_new);
            });
            counts
                .into_inner()
                .unwrap()
                .report(&format!("{error} of a writing call, {}", change.name), began.elapsed());
        }
    }
}

/// The calls that touch the file system, after the agent has begun its work.
fn touches(call: &Call) -> bool {
    const READING: [&str; 9] =
        ["openat", "read", "pread64", "newfstatat", "fstat", "statx", "getdents64", "readlinkat", "flock"];
    writes(call) || READING.contains(&call.name.as_str())
}

/// The calls from the one that opens the guest's root; before it the program is being loaded.
fn work(calls: &[Call]) -> &[Call] {
    let begins = calls.iter().position(|call| call.name == "openat" && call.text.contains("victim\"")).unwrap();
    &calls[begins..]
}

#[test]
fn a_call_that_cannot_read_leaves_the_old_guest_or_the_new_one() {
    if !has("strace", "a_call_that_cannot_read_leaves_the_old_guest_or_the_new_one") {
        return;
    }
    for change in Change::both() {
        let began = Instant::now();
        let reading = |calls: &[Call]| calls.iter().filter(|call| touches(call) && !writes(call)).cloned().collect();
        let (before, after) = work(&change.calls).split_at(
            // What comes when the journal says *commit* is where nobody may mistake a disk that fails for a file that is gone.
            work(&change.calls)
                .iter()
                .rposition(|call| call.name == "renameat" && call.text.contains("\"journal.json.new\", "))
                .unwrap(),
        );
        let mut points = share_of(reading(before), 15, 250);
        points.extend(share_of(reading(after), 30, 250));
        let counts = Mutex::new(Counts::default());
        each(&points, &change.bench.beside(""), |call, directory| {
            let (victim, trace) = (directory.join("victim"), directory.join("trace"));
            copy(&change.bench.root(), &victim);
            let run = apply(&victim, &change.source, &trace, Fate::Refused(call, "EIO"));
            let place = format!("{}, EIO at {} number {}: {}", change.name, call.name, call.number, call.text);
            counts.lock().unwrap().count(change.judge(&run, &victim, &place));
        });
        counts.into_inner().unwrap().report(&format!("EIO of a reading call, {}", change.name), began.elapsed());
    }
}

#[test]
fn a_disk_that_dies_in_the_middle_leaves_the_old_guest_or_the_new_one() {
    if !has("strace", "a_disk_that_dies_in_the_middle_leaves_the_old_guest_or_the_new_one") {
        return;
    }
    for change in Change::both() {
        let began = Instant::now();
        let points: Vec<usize> = (0..change.calls.len()).filter(|at| writes(&change.calls[*at])).collect();
        let points = share(points, 30);
        let counts = Mutex::new(Counts::default());
        each(&points, &change.bench.beside(""), |at, directory| {
            let (victim, trace) = (directory.join("victim"), directory.join("trace"));
            copy(&change.bench.root(), &victim);
            // Of each kind of call that touches files, how many come before, and one more.
            let mut first = BTreeMap::new();
            for call in change.calls.iter().filter(|call| touches(call)) {
                first.insert(call.name.clone(), 1);
            }
            for call in change.calls[..*at].iter() {
                first.entry(call.name.clone()).and_modify(|number| *number = call.number + 1);
            }
            let run = apply(&victim, &change.source, &trace, Fate::Cut(&first, "EIO"));
            let call = &change.calls[*at];
            let place = format!("{}, dead from {} number {}: {}", change.name, call.name, call.number, call.text);
            // It cannot say anything either, for what it says is written, too.
            assert!(run.signal.is_none() && matches!(run.code, Some(0 | 13)), "{place}: {run:?}");
            counts.lock().unwrap().count(change.mended(&victim, &place));
        });
        counts.into_inner().unwrap().report(&format!("a disk that dies, {}", change.name), began.elapsed());
    }
}

const INSIDE: &str = "HANDOFF_TEST_INSIDE";

/// Runs the work in a mount name space of its own, with a file system in memory at a scratch directory, and the copy of the
/// guest before the change on it. Where the system allows none, says so.
fn on_own_file_system(test: &str, work: impl Fn(&Change, &Path)) {
    if std::env::var_os(INSIDE).is_none() {
        let mut unshare = Command::new("unshare");
        unshare.arg("-m").arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
        if !is_root() || !Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|run| run.status.success()) {
            println!("{test}: SKIPPED, this user gets no mount name space");
            return;
        }
        // Without the deadline of a run of the agent: it makes many.
        let output = unshare.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        // A name that is no test's would pass by running nothing.
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    for change in Change::both() {
        let scratch = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), scratch.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64m,mode=755")).unwrap();
        let root = scratch.path().join("root");
        copy(&change.bench.root(), &root);
        work(&change, &root);
        nix::mount::umount(scratch.path()).unwrap();
    }
}

fn remount(root: &Path, flags: MsFlags, options: &str) {
    mount(None::<&str>, root.parent().unwrap(), None::<&str>, MsFlags::MS_REMOUNT | flags, Some(options)).unwrap();
}

/// Blocks or inodes in use, as `df` tells them.
fn used(root: &Path, what: &str) -> u64 {
    let output = Command::new("df").args(["-B4096", &format!("--output={what}")]).arg(root).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}

/// Gives the file system one unit of room more at each attempt, until the change succeeds.
fn more_and_more_room(change: &Change, root: &Path, what: &str, option: impl Fn(u64) -> String) {
    let began = Instant::now();
    let mut counts = Counts::default();
    let plenty = "size=64m,nr_inodes=100k";
    for room in 0..400 {
        remount(root, MsFlags::empty(), &option(used(root, what) + room));
        let run = change.again(root);
        let place = format!("{}, room for {room} {what}: {run:?}", change.name);
        if run.code == Some(0) {
            assert_eq!(same(&change.new, &picture(root)), Ok(()), "{place}");
            counts.count(true);
            break;
        }
        change.judge_words(&run.err, &place);
        assert!(run.code == Some(13) && run.err.contains("make room on the file system it lies on"), "{place}");
        if !run.err.contains("; the next start ") {
            assert_eq!(same(&change.old, &picture(root)), Ok(()), "{place}");
        }
        remount(root, MsFlags::empty(), plenty);
        commit::recover(&Root::open(root).unwrap()).unwrap();
        let new = is_new(&change.old, &change.new, &picture(root), &place);
        counts.count(new);
        if new {
            copy(&change.bench.root(), root);
        }
    }
    remount(root, MsFlags::empty(), plenty);
    counts.report(&format!("no room ({what}), {}", change.name), began.elapsed());
    assert!(counts.new > 0 && counts.old > 10, "{counts:?}");
}

#[test]
fn a_disk_without_blocks_is_an_error_until_there_is_room() {
    on_own_file_system("a_disk_without_blocks_is_an_error_until_there_is_room", |change, root| {
        more_and_more_room(change, root, "used", |pages| format!("nr_blocks={pages}"));
    });
}

#[test]
fn a_disk_without_inodes_is_an_error_until_there_is_room() {
    on_own_file_system("a_disk_without_inodes_is_an_error_until_there_is_room", |change, root| {
        more_and_more_room(change, root, "iused", |inodes| format!("nr_inodes={inodes}"));
    });
}

#[test]
fn a_read_only_root_is_an_error_and_nothing_was_changed() {
    on_own_file_system("a_read_only_root_is_an_error_and_nothing_was_changed", |change, root| {
        remount(root, MsFlags::MS_RDONLY, "");
        let run = change.again(root).refused(13, &["Read-only file system", "writable"]);
        change.judge_words(&run.err, change.name);
        assert_eq!(same(&change.old, &picture(root)), Ok(()));
        // It may become so in the middle, when the kernel finds the file system damaged; that is one of the calls that fail.
        remount(root, MsFlags::empty(), "");
        change.again(root).succeeded();
        assert_eq!(same(&change.new, &picture(root)), Ok(()));
    });
}

#[test]
fn a_directory_that_is_missing_is_made_or_named() {
    for change in Change::both() {
        let began = Instant::now();
        let directories: Vec<&String> =
            change.old.iter().filter(|(path, thing)| thing.kind == 'd' && *path != "/").map(|(path, _)| path).collect();
        let counts = Mutex::new(Counts::default());
        each(&directories, &change.bench.beside(""), |path, directory| {
            let victim = directory.join("victim");
            copy(&change.bench.root(), &victim);
            let there = victim.join(path.trim_start_matches('/'));
            let aside = directory.join("aside");
            let _ = fs::remove_dir_all(&aside);
            fs::rename(&there, &aside).unwrap();
            let before = picture(&victim);
            let run = change.again(&victim);
            let place = format!("{}, without {path}: {run:?}", change.name);
            let is_done = run.code == Some(0);
            if !is_done {
                assert!(matches!(run.code, Some(10..=13)), "{place}");
                let left = differing(&before, &picture(&victim));
                assert!(left.iter().all(|path| path.starts_with("/var")), "{place}: {left:?}");
                assert_one_line(&run.err);
            }
            assert!(!commit::interrupted(&Root::open(&victim).unwrap()).unwrap(), "{place}");
            counts.lock().unwrap().count(is_done);
        });
        counts.into_inner().unwrap().report(&format!("a missing directory, {}", change.name), began.elapsed());
    }
}

fn set_attribute(change: &str, path: &Path) -> bool {
    Command::new("chattr").arg(change).arg(path).output().is_ok_and(|run| run.status.success())
}

#[test]
fn a_protected_file_or_directory_takes_the_whole_change_back() {
    // Not in memory, where files have no attributes.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let probe = scratch.path().join("probe");
    fs::write(&probe, "").unwrap();
    if !is_root() || !set_attribute("+i", &probe) {
        println!("SKIPPED, no attribute can be set here");
        return;
    }
    assert!(set_attribute("-i", &probe));
    for change in Change::both() {
        let began = Instant::now();
        let mut points: Vec<(String, &str)> = Vec::new();
        for path in differing(&change.old, &change.new) {
            let parent = Path::new(&path).parent().unwrap().to_str().unwrap().to_owned();
            for path in [path, parent] {
                if change.old.get(&path).is_some_and(|thing| thing.kind != 'l') {
                    points.extend([(path.clone(), "i"), (path, "a")]);
                }
            }
        }
        points.sort();
        points.dedup();
        let points = share(points, 20);
        let mut counts = Counts::default();
        let root: PathBuf = scratch.path().join("root");
        for (path, attribute) in points {
            copy(&change.bench.root(), &root);
            let there = root.join(path.trim_start_matches('/'));
            assert!(set_attribute(&format!("+{attribute}"), &there));
            let run = change.again(&root);
            let found = picture(&root);
            assert!(set_attribute(&format!("-{attribute}"), &there));
            let place = format!("{}, chattr +{attribute} {path}: {run:?}", change.name);
            if run.code == Some(0) {
                counts.count(change.judge_done(&run, &root, &place));
                continue;
            }
            assert_eq!(run.code, Some(13), "{place}");
            change.judge_words(&run.err, &place);
            if !run.err.contains("; the next start ") {
                assert_eq!(same(&change.old, &found), Ok(()), "{place}");
            }
            counts.count(change.mended(&root, &place));
        }
        counts.report(&format!("a protected path, {}", change.name), began.elapsed());
        let _ = fs::remove_dir_all(&root);
    }
}
