//! The engine on a real scratch root, stopped at every point.

use super::engine::{commit_observed, recover_observed};
use super::hand::Observer;
use super::{Recovery, commit, interrupted, recover, store};
use crate::guest::{File as GuestFile, GuestPath, Node, Owner, View as _};
use crate::plan::Step;
use crate::platform::files::{self, SystemError};
use crate::root::Root;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[path = "../../tests/proof/report.rs"]
mod report;
use report::Counts;

/// A scratch root.
pub(super) struct Scratch {
    directory: tempfile::TempDir,
    pub(super) root: Root,
}

/// Everything that a user of the guest could tell apart.
pub(super) type Snapshot = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

impl Scratch {
    /// In memory where that is possible: the tests flush thousands of times.
    pub(super) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = Root::open(directory.path()).unwrap();
        Scratch { directory, root }
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub(super) fn file(&self, path: &str, text: &str, mode: u32) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    pub(super) fn node(&self, path: &str) -> Option<Node> {
        self.root.node(&GuestPath::of(path)).unwrap()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        let mut open = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(self.directory.path().join(&directory)).unwrap() {
                let path = directory.join(entry.unwrap().file_name());
                let full = self.directory.path().join(&path);
                let metadata = fs::symlink_metadata(&full).unwrap();
                let content = if metadata.is_dir() {
                    open.push(path.clone());
                    Vec::new()
                } else if metadata.is_symlink() {
                    fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes()
                } else {
                    fs::read(&full).unwrap()
                };
                found.insert(path, (metadata.mode(), metadata.uid(), metadata.gid(), content));
            }
        }
        found
    }

    pub(super) fn caller(&self) -> Owner {
        files::caller()
    }

    pub(super) fn write(&self, path: &str, text: &str, mode: u32, uid: u32) -> Step {
        let owner = if self.root.compares_owners() { Owner { uid, gid: uid } } else { self.caller() };
        let file = GuestFile { content: text.into(), mode, owner };
        Step::WriteFile { path: GuestPath::of(path), file, before: self.node(path), secret: false }
    }

    pub(super) fn make(&self, path: &str, mode: u32, uid: u32) -> Step {
        Step::MakeDirectory { path: GuestPath::of(path), mode, owner: Owner { uid, gid: uid } }
    }

    pub(super) fn link(&self, path: &str, target: &str) -> Step {
        Step::WriteLink { path: GuestPath::of(path), target: target.into(), before: self.node(path) }
    }

    pub(super) fn attributes(&self, path: &str, mode: u32, uid: u32) -> Step {
        let owner = Owner { uid, gid: uid };
        Step::SetAttributes { path: GuestPath::of(path), mode, owner, before: self.node(path).unwrap() }
    }

    pub(super) fn remove(&self, path: &str) -> Step {
        Step::Remove { path: GuestPath::of(path), before: self.node(path).unwrap() }
    }

    pub(super) fn remove_directory(&self, path: &str) -> Step {
        Step::RemoveDirectory { path: GuestPath::of(path) }
    }

    /// A guest on which every kind of step has something to do.
    pub(super) fn busy() -> Self {
        let scratch = Scratch::new();
        scratch.file("/etc/hostname", "old\n", 0o644);
        scratch.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o644);
        scratch.file("/etc/.pwd.lock", "", 0o600);
        scratch.file("/etc/attributes", "same\n", 0o644);
        scratch.file("/etc/gone", "gone\n", 0o640);
        scratch.file("/etc/kept/theirs", "theirs\n", 0o644);
        scratch.file("/etc/old/file", "old\n", 0o600);
        scratch.file("/etc/open/x", "x\n", 0o644);
        scratch.file("/usr/lib/y", "y\n", 0o644);
        symlink("usr/lib", scratch.at("/lib")).unwrap();
        symlink("/usr/share/zoneinfo/UTC", scratch.at("/etc/localtime")).unwrap();
        fs::create_dir_all(scratch.at(store::DIRECTORY)).unwrap();
        fs::set_permissions(scratch.at(store::DIRECTORY), fs::Permissions::from_mode(0o700)).unwrap();
        scratch
    }

    pub(super) fn plan(&self) -> Vec<Step> {
        vec![
            self.make("/home", 0o755, 0),
            self.make("/home/ops", 0o750, 1200),
            self.make("/home/ops/.ssh", 0o700, 1200),
            self.write("/home/ops/.ssh/authorized_keys", "key\n", 0o600, 1200),
            self.write("/etc/hostname", "new\n", 0o644, 0),
            self.write("/etc/passwd", "root:x:0:0::/:/bin/sh\nops:x:1200:1200::/home/ops:/bin/sh\n", 0o644, 0),
            self.link("/etc/localtime", "/usr/share/zoneinfo/Europe/Paris"),
            self.link("/etc/link", "hostname"),
            self.write("/lib/z", "z\n", 0o4755, 7),
            self.attributes("/etc/attributes", 0o600, 7),
            self.attributes("/etc/open", 0o711, 7),
            self.remove("/etc/gone"),
            self.remove("/etc/old/file"),
            self.remove_directory("/etc/old"),
            self.remove_directory("/etc/kept"),
            self.make(store::DIRECTORY, 0o700, 0),
            self.make("/var/lib/handoff/generations", 0o700, 0),
            self.write("/var/lib/handoff/generations/settings.json", "{}\n", 0o600, 0),
            self.write(store::STATE, "{}\n", 0o600, 0),
        ]
    }
}

struct Crash;

/// Runs `work` and stops it before its `n`th effect, as a power failure would: nothing of ours runs afterwards. `None`: it
/// was stopped.
fn crashing<T>(n: usize, work: impl FnOnce(Observer<'_>) -> T) -> Option<T> {
    let count = Cell::new(0);
    let mut observer = || {
        count.set(count.get() + 1);
        if count.get() > n {
            resume_unwind(Box::new(Crash));
        }
        Ok(())
    };
    catch_unwind(AssertUnwindSafe(|| work(&mut observer))).ok()
}

/// Runs `work`, whose `n`th effect fails with `error`.
fn failing<T>(n: usize, error: SystemError, work: impl FnOnce(Observer<'_>) -> T) -> T {
    let mut count = 0;
    work(&mut || {
        count += 1;
        if count == n { Err(error) } else { Ok(()) }
    })
}

fn effects(scratch: &Scratch) -> usize {
    let mut count = 0;
    let report = commit_observed(&scratch.root, &scratch.plan(), &mut || {
        count += 1;
        Ok(())
    });
    report.unwrap();
    count
}

#[test]
fn a_plan_is_carried_out_and_leaves_nothing_behind() {
    let scratch = Scratch::busy();
    let report = commit(&scratch.root, &scratch.plan()).unwrap();
    assert_eq!(report.kept, [GuestPath::of("/etc/kept")]);
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!(report.steps, 19);
    assert_eq!(scratch.text("/etc/hostname").as_deref(), Some("new\n"));
    assert_eq!(scratch.text("/usr/lib/z").as_deref(), Some("z\n"));
    assert_eq!(scratch.node("/etc/localtime"), Some(Node::link("/usr/share/zoneinfo/Europe/Paris")));
    assert_eq!(scratch.node("/etc/old"), None);
    assert_eq!(scratch.text("/etc/kept/theirs").as_deref(), Some("theirs\n"));
    let snapshot = scratch.snapshot();
    assert!(!snapshot.keys().any(|path| path.to_string_lossy().contains(".handoff-")), "{snapshot:?}");
    assert!(!snapshot.contains_key(Path::new("var/lib/handoff/journal.json")));
    let mode_of = |path: &str| snapshot[Path::new(path)].0 & 0o7777;
    assert_eq!(mode_of("home/ops/.ssh/authorized_keys"), 0o600);
    assert_eq!(mode_of("home/ops"), 0o750);
    assert_eq!(mode_of("etc/attributes"), 0o600);
    assert_eq!(mode_of("etc/open"), 0o711);
    assert_eq!(mode_of("usr/lib/z"), 0o4755);
    if scratch.root.compares_owners() {
        let owner_of = |path: &str| (snapshot[Path::new(path)].1, snapshot[Path::new(path)].2);
        assert_eq!(owner_of("home/ops/.ssh"), (1200, 1200));
        assert_eq!(owner_of("home/ops/.ssh/authorized_keys"), (1200, 1200));
        assert_eq!(owner_of("etc/attributes"), (7, 7));
        assert_eq!(owner_of("etc/open"), (7, 7));
        assert_eq!(owner_of("etc/hostname"), (0, 0));
    }
    assert_eq!(recover(&scratch.root).unwrap(), Recovery::Nothing);
}

#[test]
fn an_interruption_at_any_point_leaves_the_old_or_the_new_guest() {
    let reference = Scratch::busy();
    let old = reference.snapshot();
    let all = effects(&reference);
    let new = reference.snapshot();
    assert_ne!(old, new);
    let (mut counts, began) = (Counts::default(), Instant::now());
    for n in 0..=all {
        let scratch = Scratch::busy();
        let plan = scratch.plan();
        let done = crashing(n, |observer| commit_observed(&scratch.root, &plan, observer));
        assert_eq!(done.is_some(), n == all, "{n}");
        recover(&scratch.root).unwrap();
        assert!(!interrupted(&scratch.root).unwrap());
        let after = scratch.snapshot();
        assert!(after == old || after == new, "stopped after {n} of {all}: {after:?}");
        counts.count(after == new);
        // From the old guest the same plan succeeds, from the new one there is nothing to mend.
        if after == old {
            commit(&scratch.root, &scratch.plan()).unwrap();
            assert_eq!(scratch.snapshot(), new);
        }
    }
    counts.report("engine: stopped before each effect", began.elapsed());
    assert!(counts.old > 20 && counts.new > 10, "{counts:?}");
}

#[test]
fn a_recovery_that_is_interrupted_itself_is_completed_by_the_next_one() {
    let reference = Scratch::busy();
    let old = reference.snapshot();
    let all = effects(&reference);
    let new = reference.snapshot();
    let (mut counts, began) = (Counts::default(), Instant::now());
    for n in 0..all {
        for m in 0.. {
            let scratch = Scratch::busy();
            let plan = scratch.plan();
            assert!(crashing(n, |observer| commit_observed(&scratch.root, &plan, observer)).is_none());
            let recovered = crashing(m, |observer| recover_observed(&scratch.root, observer));
            recover(&scratch.root).unwrap();
            let after = scratch.snapshot();
            assert!(after == old || after == new, "stopped after {n}, then after {m}: {after:?}");
            counts.count(after == new);
            if recovered.is_some() {
                break;
            }
        }
    }
    counts.report("engine: stopped, and its recovery stopped", began.elapsed());
    assert!(counts.points > 500, "{counts:?}");
}

/// Without what lies in the home of a user.
fn of_root(snapshot: &Snapshot) -> Snapshot {
    let outside = |(path, _): &(&PathBuf, _)| !path.starts_with("home/ops");
    snapshot.iter().filter(outside).map(|(path, thing)| (path.clone(), thing.clone())).collect()
}

#[test]
fn a_refusal_of_the_system_at_any_point_leaves_the_old_guest_or_completes() {
    let reference = Scratch::busy();
    let old = reference.snapshot();
    let all = effects(&reference);
    let new = reference.snapshot();
    let (mut counts, began) = (Counts::default(), Instant::now());
    for error in [SystemError::ENOSPC, SystemError::EPERM, SystemError::EBUSY] {
        for n in 1..=all {
            let scratch = Scratch::busy();
            let plan = scratch.plan();
            let result = failing(n, error, |observer| commit_observed(&scratch.root, &plan, observer));
            let after = scratch.snapshot();
            match result {
                Ok(report) => {
                    // Only a directory that could not be removed is no failure, and what a user could have brought about.
                    let is_users = |line: &String| line.starts_with("/home/ops/") && error != SystemError::ENOSPC;
                    let left = !report.warnings.is_empty() && report.warnings.iter().all(is_users);
                    let kept = report.kept.len() == 2 && error == SystemError::EBUSY;
                    assert!(after == new || kept || (left && of_root(&after) == of_root(&new)), "{n}: {report:?}");
                    assert!(!interrupted(&scratch.root).unwrap());
                    counts.count(true);
                }
                Err(refused) if refused.problem().contains("not complete") => {
                    recover(&scratch.root).unwrap();
                    assert_eq!(scratch.snapshot(), new, "{n} of {all}: {refused}");
                    counts.count(true);
                }
                Err(refused) => {
                    assert!(refused.problem().contains("nothing was changed"), "{refused}");
                    assert_eq!(after, old, "{n} of {all}: {refused}");
                    assert!(!interrupted(&scratch.root).unwrap());
                    counts.count(false);
                }
            }
        }
    }
    counts.report("engine: each effect refused, with three errors", began.elapsed());
    assert!(counts.old > all, "{counts:?}");
}

#[test]
fn a_way_back_that_is_interrupted_ends_old_or_new() {
    let reference = Scratch::busy();
    let old = reference.snapshot();
    let all = effects(&reference);
    let new = reference.snapshot();
    let (mut counts, began) = (Counts::default(), Instant::now());
    for n in 1..=all {
        for more in 1..200 {
            let scratch = Scratch::busy();
            let plan = scratch.plan();
            let stopped = crashing(n + more, |crash| {
                let mut count = 0;
                commit_observed(&scratch.root, &plan, &mut || {
                    crash()?;
                    count += 1;
                    if count == n { Err(SystemError::EIO) } else { Ok(()) }
                })
                .is_ok()
            });
            if stopped == Some(true) {
                break;
            }
            recover(&scratch.root).unwrap();
            let after = scratch.snapshot();
            assert!(after == old || after == new, "refused at {n}, stopped {more} later: {after:?}");
            counts.count(after == new);
            if stopped.is_some() {
                break;
            }
        }
    }
    counts.report("engine: refused, and its way back stopped", began.elapsed());
    assert!(counts.points > 500, "{counts:?}");
}
