//! The engine among people who mean ill, and among other programs.

use super::engine::commit_observed;
use super::engine_tests::Scratch;
use super::{Recovery, commit, interrupted, recover, store};
use crate::error::Result;
use crate::guest::{GuestPath, Node};
use crate::plan::Step;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};

const STRANGER: u32 = 65534;

/// Commits, and holds that a refusal left everything as it was.
fn refused(scratch: &Scratch, plan: &[Step]) -> String {
    let before = scratch.snapshot();
    let error = commit(&scratch.root, plan).unwrap_err();
    assert_eq!(scratch.snapshot(), before, "{error}");
    assert_eq!(recover(&scratch.root).unwrap(), Recovery::Nothing);
    error.to_string()
}

#[test]
fn a_planted_staged_name_is_taken_away_and_never_written_through() {
    let scratch = Scratch::busy();
    scratch.file("/outside/secret", "secret\n", 0o600);
    for name in [".handoff-0001.new", ".handoff-0002.new", ".handoff-0003.new"] {
        symlink("/outside/secret", scratch.at(&format!("/etc/{name}"))).unwrap();
    }
    fs::hard_link(scratch.at("/outside/secret"), scratch.at("/etc/.handoff-0004.new")).unwrap();
    symlink(scratch.at("/outside/secret"), scratch.at("/var/lib/handoff/journal.json.new")).unwrap();
    let plan = [
        scratch.write("/etc/a", "a\n", 0o644, 0),
        scratch.link("/etc/b", "a"),
        scratch.attributes("/etc/hostname", 0o600, 0),
        scratch.write("/etc/d", "d\n", 0o666, 7),
    ];
    // The unfinished journal is the trace of an interrupted run.
    assert_eq!(recover(&scratch.root).unwrap(), Recovery::CleanedUp);
    commit(&scratch.root, &plan).unwrap();
    assert_eq!(scratch.text("/outside/secret").as_deref(), Some("secret\n"));
    let secret = fs::metadata(scratch.at("/outside/secret")).unwrap();
    assert_eq!((secret.mode() & 0o7777, secret.nlink()), (0o600, 1));
    assert_eq!(scratch.text("/etc/d").as_deref(), Some("d\n"));
    assert!(!scratch.snapshot().keys().any(|path| path.to_string_lossy().contains(".handoff-")));
}

#[test]
fn a_planted_directory_under_a_staged_name_is_passed_by() {
    let scratch = Scratch::busy();
    let plan = [scratch.write("/etc/a", "a\n", 0o644, 0), scratch.link("/usr/b", "b")];
    scratch.file("/etc/.handoff-0001.new/x", "x", 0o644);
    scratch.file("/usr/.handoff-0002.new/x", "x", 0o644);
    commit(&scratch.root, &plan).unwrap();
    assert_eq!(scratch.text("/etc/a").as_deref(), Some("a\n"));
    assert_eq!(scratch.node("/usr/b"), Some(Node::link("b")));
    assert_eq!(scratch.text("/etc/.handoff-0001.new/x").as_deref(), Some("x"));
    let staged = scratch.snapshot().into_keys().filter(|path| path.to_string_lossy().contains(".handoff-"));
    assert_eq!(staged.count(), 4, "the two directories and what is in them");
}

#[test]
fn a_hard_link_to_another_file_is_replaced_and_the_other_file_keeps_everything() {
    let scratch = Scratch::busy();
    scratch.file("/outside/secret", "secret\n", 0o600);
    fs::create_dir_all(scratch.at("/home/user")).unwrap();
    for name in ["written", "opened", "gone"] {
        fs::hard_link(scratch.at("/outside/secret"), scratch.at(&format!("/home/user/{name}"))).unwrap();
    }
    let plan = [
        scratch.write("/home/user/written", "new\n", 0o644, STRANGER),
        scratch.attributes("/home/user/opened", 0o666, STRANGER),
        scratch.remove("/home/user/gone"),
    ];
    commit(&scratch.root, &plan).unwrap();
    let secret = fs::metadata(scratch.at("/outside/secret")).unwrap();
    assert_eq!((secret.mode() & 0o7777, secret.nlink()), (0o600, 1));
    assert_eq!(secret.uid(), scratch.caller().uid);
    assert_eq!(scratch.text("/outside/secret").as_deref(), Some("secret\n"));
    assert_eq!(fs::metadata(scratch.at("/home/user/opened")).unwrap().mode() & 0o7777, 0o666);
}

#[test]
fn nothing_is_written_through_a_link_that_a_user_planted() {
    let scratch = Scratch::busy();
    if !scratch.root.compares_owners() {
        return; // Owners cannot be set.
    }
    fs::create_dir_all(scratch.at("/root/.ssh")).unwrap();
    fs::create_dir_all(scratch.at("/home/user")).unwrap();
    symlink("/root/.ssh", scratch.at("/home/user/.ssh")).unwrap();
    lchown(scratch.at("/home/user/.ssh"), Some(STRANGER), Some(STRANGER)).unwrap();
    chown(scratch.at("/home/user"), Some(STRANGER), Some(STRANGER)).unwrap();
    let Step::WriteFile { file, .. } = scratch.write("/x", "key\n", 0o600, STRANGER) else { panic!("a file") };
    let path = GuestPath::of("/home/user/.ssh/authorized_keys");
    let plan = [
        Step::WriteFile { path, file, before: None, secret: false },
        scratch.write("/etc/hostname", "new\n", 0o644, 0),
    ];
    let report = commit(&scratch.root, &plan).unwrap();
    assert!(report.warnings[0].contains("planted by a user"), "{report:?}");
    assert_eq!(fs::read_dir(scratch.at("/root/.ssh")).unwrap().count(), 0);
    assert_eq!(scratch.text("/etc/hostname").as_deref(), Some("new\n"));
}

#[test]
fn who_changes_the_own_file_without_pause_keeps_no_other_from_being_changed() {
    let scratch = Scratch::busy();
    if !scratch.root.compares_owners() {
        return; // Owners are not looked at.
    }
    scratch.file("/home/user/.profile", "old\n", 0o600);
    chown(scratch.at("/home/user"), Some(STRANGER), Some(STRANGER)).unwrap();
    let own = scratch.write("/home/user/.profile", "ours\n", 0o600, STRANGER);
    let plan = [own.clone(), scratch.write("/etc/hostname", "new\n", 0o644, 0)];
    scratch.file("/home/user/.profile", "theirs\n", 0o600);
    let report = commit(&scratch.root, &plan).unwrap();
    assert_eq!((report.steps, report.warnings.len()), (1, 1), "{report:?}");
    let expected = "/home/user/.profile: was changed while it was being planned; left as it is";
    assert_eq!(report.warnings[0], expected);
    assert_eq!(scratch.text("/home/user/.profile").as_deref(), Some("theirs\n"));
    assert_eq!(scratch.text("/etc/hostname").as_deref(), Some("new\n"));
    // And where nothing else is to be done, nothing is.
    let report = commit(&scratch.root, &[own]).unwrap();
    assert_eq!((report.steps, report.warnings.len()), (0, 1), "{report:?}");
    assert!(!interrupted(&scratch.root).unwrap());
}

#[test]
fn whatever_differs_from_what_the_planner_saw_stops_the_commit_before_it_begins() {
    type Change = fn(&Scratch);
    let changes: [(&str, Change); 8] = [
        ("/etc/hostname", |s| s.file("/etc/hostname", "other\n", 0o644)),
        ("/etc/hostname", |s| fs::set_permissions(s.at("/etc/hostname"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("/etc/hostname", |s| fs::remove_file(s.at("/etc/hostname")).unwrap()),
        ("/etc/link", |s| s.file("/etc/link", "new\n", 0o644)),
        ("/etc/gone", |s| s.file("/etc/gone", "edited\n", 0o640)),
        ("/home", |s| fs::create_dir(s.at("/home")).unwrap()),
        ("/etc/open", |s| fs::set_permissions(s.at("/etc/open"), fs::Permissions::from_mode(0o700)).unwrap()),
        ("/etc/old", |s| {
            fs::remove_dir_all(s.at("/etc/old")).unwrap();
            s.file("/etc/old", "a file", 0o644);
        }),
    ];
    for (path, change) in changes {
        let scratch = Scratch::busy();
        let plan = scratch.plan();
        change(&scratch);
        let error = refused(&scratch, &plan);
        let named = error.starts_with(&format!("{path}: was changed")) || error.starts_with(&format!("{path}/file: "));
        assert!(named, "{path}: {error}");
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_named_and_left_alone() {
    let scratch = Scratch::busy();
    let plan = [scratch.write("/etc/pipe", "x\n", 0o644, 0)];
    nix::unistd::mkfifo(&scratch.at("/etc/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = commit(&scratch.root, &plan).unwrap_err().to_string();
    assert!(error.starts_with("/etc/pipe: is a device, a pipe or a socket"), "{error}");
}

#[test]
fn a_directory_of_ours_that_somebody_else_can_write_is_refused() {
    let scratch = Scratch::busy();
    if !scratch.root.compares_owners() {
        return; // Owners are not looked at.
    }
    let own = scratch.at(store::DIRECTORY);
    for mode in [0o770, 0o707, 0o1777] {
        fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
        assert!(refused(&scratch, &scratch.plan()).contains("only root can write"));
    }
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&own, Some(STRANGER), None).unwrap();
    assert!(refused(&scratch, &scratch.plan()).contains("only root can write"));
    fs::remove_dir(&own).unwrap();
    symlink("/etc/kept", &own).unwrap();
    assert!(refused(&scratch, &scratch.plan()).contains("only root can write"));
}

#[test]
fn an_empty_guest_gets_our_directory_closed_to_others() {
    let scratch = Scratch::new();
    let plan = [
        scratch.make("/var", 0o755, 0),
        scratch.make("/var/lib", 0o755, 0),
        scratch.make(store::DIRECTORY, 0o755, 0),
        scratch.write(store::STATE, "{}", 0o600, 0),
    ];
    commit(&scratch.root, &plan).unwrap();
    assert!(matches!(scratch.node(store::DIRECTORY), Some(Node::Directory { mode: 0o700, .. })));
    assert!(matches!(scratch.node("/var"), Some(Node::Directory { mode: 0o755, .. })));
    assert_eq!(scratch.text(store::STATE).as_deref(), Some("{}"));
}

#[test]
fn an_empty_plan_makes_nothing() {
    let scratch = Scratch::new();
    commit(&scratch.root, &[]).unwrap();
    assert_eq!(recover(&scratch.root).unwrap(), Recovery::Nothing);
    assert!(scratch.snapshot().is_empty());
}

#[test]
fn of_two_runs_with_the_same_plan_one_commits_and_the_other_says_why_not() {
    let scratch = Scratch::busy();
    let plan = scratch.plan();
    let results: Vec<Result<_>> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| commit(&scratch.root, &plan))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(error.problem().contains("nothing was changed"), "{error}");
    }
    assert_eq!(scratch.text("/etc/hostname").as_deref(), Some("new\n"));
    assert_eq!(recover(&scratch.root).unwrap(), Recovery::Nothing);
}

#[test]
fn a_damaged_journal_is_an_error_and_not_a_guest_without_one() {
    let scratch = Scratch::busy();
    scratch.file(store::JOURNAL, "{", 0o600);
    let error = recover(&scratch.root).unwrap_err();
    assert!(error.to_string().starts_with("/var/lib/handoff/journal.json: is no journal"), "{error}");
    assert!(commit(&scratch.root, &scratch.plan()).is_err());
}

#[test]
fn the_same_directory_under_two_names_is_one_change_after_the_other() {
    let scratch = Scratch::busy();
    let plan = [scratch.write("/lib/same", "first\n", 0o644, 0), scratch.write("/usr/lib/same", "second\n", 0o644, 0)];
    commit(&scratch.root, &plan).unwrap();
    assert_eq!(scratch.text("/usr/lib/same").as_deref(), Some("second\n"));
}

/// The names of the access lists of Linux: the one of what stands, and the one that a directory hands down.
#[cfg(target_os = "linux")]
const LISTS: [&std::ffi::CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

/// Which of them something has.
#[cfg(target_os = "linux")]
fn access_lists(at: &std::path::Path) -> Vec<bool> {
    use std::os::unix::ffi::OsStrExt as _;
    let at = std::ffi::CString::new(at.as_os_str().as_bytes()).unwrap();
    #[allow(unsafe_code)]
    let size =
        |name: &std::ffi::CStr| unsafe { nix::libc::getxattr(at.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    LISTS.iter().map(|name| size(name) > 0).collect()
}

/// Gives a directory a list by which a stranger may do everything in what will be made there. Whether it can have one.
#[cfg(target_os = "linux")]
fn hand_down_access(at: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let none = u32::MAX;
    let mut list = 2_u32.to_le_bytes().to_vec();
    // The owner, a stranger, the group, the mask and others.
    for (tag, id) in [(1_u16, none), (2, STRANGER), (4, none), (0x10, none), (0x20, none)] {
        list.extend(tag.to_le_bytes().into_iter().chain(7_u16.to_le_bytes()).chain(id.to_le_bytes()));
    }
    let at = std::ffi::CString::new(at.as_os_str().as_bytes()).unwrap();
    #[allow(unsafe_code)]
    let answer = unsafe { nix::libc::setxattr(at.as_ptr(), LISTS[1].as_ptr(), list.as_ptr().cast(), list.len(), 0) };
    answer == 0
}

#[cfg(target_os = "linux")]
#[test]
fn an_access_list_that_a_users_directory_hands_down_lets_nobody_in() {
    let scratch = Scratch::busy();
    fs::create_dir_all(scratch.at("/home/user/there")).unwrap();
    for path in ["/home/user", "/home/user/there"] {
        if !hand_down_access(&scratch.at(path)) {
            return; // This file system knows no access lists.
        }
    }
    fs::write(scratch.at("/home/user/proof"), "").unwrap();
    assert_eq!(access_lists(&scratch.at("/home/user/proof")), [true, false], "nothing is handed down");
    let plan = [
        scratch.make("/home/user/made", 0o750, 0),
        scratch.write("/home/user/made/file", "secret\n", 0o640, 0),
        scratch.write("/home/user/file", "secret\n", 0o640, 0),
        scratch.attributes("/home/user/there", 0o750, 0),
    ];
    commit(&scratch.root, &plan).unwrap();
    for path in ["made", "made/file", "file", "there"] {
        assert_eq!(access_lists(&scratch.at(&format!("/home/user/{path}"))), [false, false], "{path}");
    }
    let mode = |path: &str| fs::metadata(scratch.at(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("/home/user/file"), mode("/home/user/made")), (0o640, 0o750));
}

/// What a user can put in the way of an interrupted commit, before the next start.
fn spoil(scratch: &Scratch, how: usize) {
    let keys = scratch.at("/home/user/.ssh/authorized_keys");
    match how {
        0 => {
            fs::rename(scratch.at("/home/user/.ssh"), scratch.at("/home/user/other")).unwrap();
            symlink("/root/.ssh", scratch.at("/home/user/.ssh")).unwrap();
            lchown(scratch.at("/home/user/.ssh"), Some(STRANGER), Some(STRANGER)).unwrap();
        }
        1 => {
            let _ = fs::remove_file(&keys);
            fs::create_dir(&keys).unwrap();
            fs::write(keys.join("x"), "x").unwrap();
        }
        2 => {
            fs::rename(scratch.at("/home/user/.ssh"), scratch.at("/home/user/other")).unwrap();
            fs::write(scratch.at("/home/user/.ssh"), "a file").unwrap();
        }
        _ => {
            for entry in fs::read_dir(scratch.at("/home/user/.ssh")).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            nix::unistd::mkfifo(&keys, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
    }
}

#[test]
fn a_user_cannot_keep_an_interrupted_commit_from_its_end() {
    for how in 0..4 {
        for stop in 0..64 {
            let scratch = Scratch::busy();
            if !scratch.root.compares_owners() {
                return; // Owners are not looked at.
            }
            scratch.file("/home/user/.ssh/old", "x", 0o600);
            for path in ["/home/user", "/home/user/.ssh"] {
                chown(scratch.at(path), Some(STRANGER), Some(STRANGER)).unwrap();
            }
            fs::create_dir_all(scratch.at("/root/.ssh")).unwrap();
            let plan = [
                scratch.write("/home/user/.ssh/authorized_keys", "key\n", 0o600, STRANGER),
                scratch.write("/etc/hostname", "new\n", 0o644, 0),
                scratch.remove("/home/user/.ssh/old"),
            ];
            let mut effects = 0;
            let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                commit_observed(&scratch.root, &plan, &mut || {
                    effects += 1;
                    if effects > stop {
                        std::panic::resume_unwind(Box::new("the power goes"));
                    }
                    Ok(())
                })
            }));
            if killed.is_ok() {
                break;
            }
            spoil(&scratch, how);
            recover(&scratch.root).unwrap_or_else(|error| panic!("way {how}, stopped after {stop}: {error}"));
            assert!(!interrupted(&scratch.root).unwrap());
            assert_eq!(fs::read_dir(scratch.at("/root/.ssh")).unwrap().count(), 0);
        }
    }
}
