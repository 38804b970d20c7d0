use super::*;
use std::process::Command;

const INSIDE: &str = "HANDOFF_TEST_INSIDE";

/// Runs `work` in a mount namespace of its own, by running the test in it again.
fn in_own_namespace(test: &str, work: impl FnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let scratch = tempfile::tempdir().unwrap();
        return work(scratch.path());
    }
    if !Uid::effective().is_root() || !Command::new("unshare").args(["-m", "true"]).status().unwrap().success() {
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("-m").arg(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// In one directory a mount with flags, and in that another.
fn mounts(scratch: &Path) -> [std::path::PathBuf; 3] {
    let (one, two) = (scratch.join("a b"), scratch.join("a b/two"));
    fs::create_dir(&one).unwrap();
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &one, Some("tmpfs"), flags, None::<&str>).unwrap();
    fs::create_dir(&two).unwrap();
    mount(Some("tmpfs"), &two, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    [scratch.to_owned(), one, two]
}

fn assert_read_only(directories: &[std::path::PathBuf]) {
    for directory in directories {
        let error = File::create(directory.join("file")).unwrap_err();
        assert_eq!(number_of(&error), Errno::EROFS, "{}", directory.display());
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains("a\\040b ")).unwrap();
    assert!(line.contains("noexec") && line.contains("nodev"), "{line}");
}

#[test]
fn every_mount_becomes_read_only_in_one_call() {
    in_own_namespace("platform::sandbox::linux::tests::every_mount_becomes_read_only_in_one_call", |scratch| {
        let directories = mounts(scratch);
        if all_read_only() == Err(Errno::ENOSYS) {
            return;
        }
        assert_read_only(&directories);
    });
}

#[test]
fn every_mount_becomes_read_only_on_an_older_kernel() {
    in_own_namespace("platform::sandbox::linux::tests::every_mount_becomes_read_only_on_an_older_kernel", |scratch| {
        let directories = mounts(scratch);
        each_read_only().unwrap();
        assert_read_only(&directories);
    });
}

#[test]
fn a_link_that_a_user_puts_in_the_way_of_a_picture_is_not_followed() {
    if !Uid::effective().is_root() {
        return;
    }
    // As after a swap: the planner saw a directory in the user's home, and meanwhile it is a link to the programs.
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    for directory in ["stage", "programs", "home", "home/real"] {
        fs::create_dir(at(directory)).unwrap();
    }
    symlink(at("programs"), at("home/link")).unwrap();
    symlink(at("home"), at("way")).unwrap();
    let run = |to: &str| {
        let (owner, path) = (Owner::ROOT, at("stage/1"));
        let acts = [
            Act::Stage { path: at("stage") },
            Act::Directory { path: path.clone(), mode: 0o755, owner },
            Act::File { path: at("stage/1/program"), content: b"", mode: 0o755, owner },
            Act::Bind { from: path, to: at(to) },
        ];
        let command = ["/bin/ls", &at("programs"), &at("home/real")].map(|word| CString::new(word).unwrap());
        run_in_sandbox(Path::new("/"), &acts, &command, Duration::from_secs(9)).unwrap()
    };
    let good = run("home/real");
    if let Ending::NoSandbox(_) = good.ending {
        return;
    }
    assert_eq!(good.ending, Ending::Code(0));
    let seen = String::from_utf8_lossy(&good.output);
    assert!(seen.contains("real:\nprogram\n"), "{seen}");
    assert!(matches!(run("home/link").ending, Ending::NotBuilt(_, Errno::ELOOP)), "the last name is a link");
    assert!(matches!(run("way/real").ending, Ending::NotBuilt(_, Errno::ENOTDIR)), "a directory on the way is one");
}
