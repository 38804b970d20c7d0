//! A plan judged before it is committed: what a checker sees of it, what it can do, and that the guest is not touched. The
//! guest is a small root with busybox in it.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod proof;

use handoff::guest::{File, GuestPath, Node, Owner, View as _};
use handoff::judge::{Verdict, judge};
use handoff::plan::Step;
use handoff::root::Root;
use nix::mount::{MsFlags, mount};
use proof::{Picture, assert_untouched, picture};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
const INSIDE: &str = "HANDOFF_TEST_INSIDE";

/// A sandbox waits until nobody holds its pipes, and all tests of this program are one process: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Guest {
    scratch: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Guest {
    /// `None` where this machine cannot run these tests, which is said.
    fn new(test: &str) -> Option<Self> {
        if !proof::is_root() {
            println!("{test}: SKIPPED, it needs root");
            return None;
        }
        if !proof::has("busybox", test) {
            return None;
        }
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = tempfile::tempdir().unwrap();
        let guest = Guest { scratch, _alone: alone };
        for directory in ["bin", "dev", "etc/app/conf.d", "proc", "run/app", "tmp", "usr/lib", "var/tmp", "var/log/app"]
        {
            fs::create_dir_all(guest.at(directory)).unwrap();
        }
        fs::set_permissions(guest.scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(BUSYBOX, guest.at("bin/busybox")).unwrap();
        for applet in ["sh", "cat", "ls", "stat", "test", "sleep", "touch", "mkdir", "seq", "readlink", "setsid", "id"]
        {
            symlink("busybox", guest.at("bin").join(applet)).unwrap();
        }
        let device = nix::sys::stat::makedev(1, 3);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&guest.at("dev/null"), nix::sys::stat::SFlag::S_IFCHR, mode, device).unwrap();
        symlink("/etc/app", guest.at("usr/lib/app")).unwrap();
        symlink("app/absent", guest.at("etc/dangling")).unwrap();
        fs::write(guest.at("etc/app/app.conf"), "old\n").unwrap();
        fs::write(guest.at("etc/app/conf.d/one"), "one\n").unwrap();
        fs::write(guest.at("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        fs::write(guest.at("run/app/socket"), "live").unwrap();
        Some(guest)
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.scratch.path().join(path.trim_start_matches('/'))
    }

    fn root(&self) -> Root {
        Root::open(self.scratch.path()).unwrap()
    }

    fn picture(&self) -> Picture {
        picture(self.scratch.path())
    }

    fn before(&self, path: &str) -> Node {
        self.root().node(&GuestPath::of(path)).unwrap().unwrap()
    }

    /// Runs one checker, and holds the guest and this machine's mounts against what they were.
    fn judge(&self, steps: &[Step], command: &[&str], secrets: &[&str]) -> Verdict {
        let (before, mounts) = (self.picture(), fs::read("/proc/self/mountinfo").unwrap());
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let verdicts = judge(&self.root(), self.scratch.path(), steps, &[command], secrets).unwrap();
        assert_untouched(&before, &self.picture(), "a judgement");
        assert_eq!(mounts, fs::read("/proc/self/mountinfo").unwrap(), "mounts are left");
        verdicts.into_iter().next().unwrap()
    }

    /// The script ends at its first line that is not so; `not` is for what must fail.
    #[track_caller]
    fn sees(&self, steps: &[Step], script: &str) {
        let script = format!("not() {{ if \"$@\"; then exit 9; fi; }}\n{script}");
        assert_eq!(self.judge(steps, &["/bin/sh", "-exc", &script], &[]), Verdict::Passed);
    }
}

fn write(path: &str, content: &str, mode: u32, before: Option<Node>) -> Step {
    let owner = Owner { uid: 7, gid: 9 };
    let file = File { content: content.into(), mode, owner };
    Step::WriteFile { path: GuestPath::of(path), file, before, secret: false }
}

fn directory(path: &str) -> Step {
    Step::MakeDirectory { path: GuestPath::of(path), mode: 0o750, owner: Owner { uid: 3, gid: 4 } }
}

#[test]
fn a_changed_file_is_seen_with_its_mode_and_owner() {
    let Some(guest) = Guest::new("a_changed_file") else { return };
    let old = guest.before("/etc/app/app.conf");
    let steps = [write("/etc/app/app.conf", "new\n", 0o640, Some(old))];
    guest.sees(
        &steps,
        r#"[ "$(cat /etc/app/app.conf)" = new ]
        [ "$(stat -c '%a %u %g' /etc/app/app.conf)" = '640 7 9' ]
        [ "$(cat /etc/app/conf.d/one)" = one ]"#,
    );
    guest.sees(&[], r#"[ "$(cat /etc/app/app.conf)" = old ]"#);
}

#[test]
fn a_new_file_is_seen_beside_its_old_neighbours() {
    let Some(guest) = Guest::new("a_new_file") else { return };
    chown(guest.at("etc/app"), Some(5), Some(6)).unwrap();
    let old = guest.before("/etc/app/app.conf");
    // The one that changes lies in a directory that is covered, twice over.
    let steps = [
        write("/etc/app/app.conf", "new\n", 0o600, Some(old)),
        write("/etc/app/two", "two\n", 0o644, None),
        write("/etc/hosts", "hosts\n", 0o644, None),
        write("/etc/app/conf.d/two", "dtwo\n", 0o644, None),
    ];
    guest.sees(
        &steps,
        r#"[ "$(cat /etc/app/app.conf /etc/app/two /etc/hosts)" = "new
two
hosts" ]
        [ "$(ls /etc)" = "app
dangling
hosts
passwd" ]
        [ "$(cd /etc/app; busybox echo * conf.d/*)" = "app.conf conf.d two conf.d/one conf.d/two" ]
        [ "$(cat /etc/app/conf.d/two)" = dtwo ]
        [ "$(stat -c '%a %u %g' /etc/app)" = '755 5 6' ]
        [ "$(stat -c '%a' /etc/app/app.conf)" = 600 ]
        [ "$(readlink /etc/dangling)" = app/absent ]"#,
    );
}

#[test]
fn a_path_behind_a_link_is_seen_on_both_ways() {
    let Some(guest) = Guest::new("a_path_behind_a_link") else { return };
    let steps = [write("/usr/lib/app/two", "two\n", 0o644, None), write("/usr/lib/app/new/three", "3\n", 0o644, None)];
    guest.sees(
        &steps,
        r#"[ "$(cat /etc/app/two)" = two ]
        [ "$(cat /usr/lib/app/two)" = two ]
        [ "$(cat /etc/app/new/three)" = 3 ]
        [ "$(readlink /usr/lib/app)" = /etc/app ]"#,
    );
}

#[test]
fn new_directories_are_seen_also_in_the_root() {
    let Some(guest) = Guest::new("new_directories") else { return };
    let steps = [
        directory("/srv"),
        directory("/srv/deep"),
        directory("/srv/deep/empty"),
        write("/srv/deep/file", "deep\n", 0o644, None),
        Step::WriteLink { path: GuestPath::of("/srv/link"), target: "deep/file".into(), before: None },
        write("/etc/new", "new\n", 0o644, None),
    ];
    guest.sees(
        &steps,
        r#"[ "$(cat /srv/link)" = deep ]
        [ "$(stat -c '%a %u %g' /srv/deep/empty)" = '750 3 4' ]
        [ "$(cat /etc/new)" = new ]
        [ "$(cat /etc/app/conf.d/one)" = one ]
        [ "$(ls / | busybox tr '\n' ' ')" = "bin dev etc proc run srv tmp usr var " ]
        touch /run/app/pid /tmp/x
        [ -z "$(ls /run/app | busybox grep socket)" ]
        not touch /srv/x"#,
    );
}

#[test]
fn removed_names_links_and_attributes_are_seen() {
    let Some(guest) = Guest::new("removed_names") else { return };
    let (one, conf) = (guest.before("/etc/app/conf.d/one"), guest.before("/etc/app/app.conf"));
    let (passwd, app) = (guest.before("/etc/passwd"), guest.before("/etc/app"));
    let owner = Owner { uid: 1, gid: 2 };
    let steps = [
        Step::WriteLink { path: GuestPath::of("/etc/app/app.conf"), target: "/etc/passwd".into(), before: Some(conf) },
        Step::SetAttributes { path: GuestPath::of("/etc/passwd"), mode: 0o600, owner, before: passwd },
        Step::SetAttributes { path: GuestPath::of("/etc/app"), mode: 0o710, owner, before: app },
        Step::Remove { path: GuestPath::of("/etc/app/conf.d/one"), before: one },
        Step::RemoveDirectory { path: GuestPath::of("/etc/app/conf.d") },
        // It is not empty, so it stays.
        Step::RemoveDirectory { path: GuestPath::of("/var/log") },
    ];
    guest.sees(
        &steps,
        r#"[ "$(cat /etc/app/app.conf)" = root:x:0:0::/:/bin/sh ]
        [ "$(readlink /etc/app/app.conf)" = /etc/passwd ]
        [ "$(stat -c '%a %u %g' /etc/passwd)" = '600 1 2' ]
        [ "$(stat -c '%a %u %g' /etc/app)" = '710 1 2' ]
        [ "$(ls /etc/app)" = app.conf ]
        [ -d /var/log/app ]"#,
    );
}

#[test]
fn a_checker_can_write_nothing_but_what_is_thrown_away() {
    let Some(guest) = Guest::new("a_checker_can_write_nothing") else { return };
    let steps = [
        write("/etc/app/two", "two\n", 0o666, None),
        write("/run/app/new", "run\n", 0o644, None),
        write("/var/log/app/x/y", "log\n", 0o644, None),
    ];
    guest.sees(
        &steps,
        r#"for path in /etc/app/app.conf /etc/app/two /etc/app/conf.d/one /etc/passwd /bin/busybox; do
            not sh -c "echo x >>$path"
        done
        for path in /x /etc/x /etc/app/x /etc/app/conf.d/x /usr/x /var/x; do
            not touch $path
            not mkdir $path
        done
        [ "$(cat /run/app/new /var/log/app/x/y)" = "run
log" ]
        [ -d /run/app ] && [ ! -e /run/app/socket ]
        echo x | busybox tee /run/app/pid /tmp/x /var/tmp/x /var/log/app/error.log"#,
    );
    let said = guest.judge(&[], &["/bin/touch", "/etc/x"], &[]);
    assert_eq!(said, Verdict::Failed("touch: /etc/x: Read-only file system (exit code 1)".into()));
}

#[test]
fn a_checker_gets_no_input_no_descriptors_and_no_environment() {
    let Some(guest) = Guest::new("a_checker_gets") else { return };
    let said = guest.judge(&[], &["/bin/sh", "-c", "busybox env; cat; [ $(busybox pwd) = / ]; echo $$; exit 3"], &[]);
    let Verdict::Failed(said) = said else { panic!("{said:?}") };
    for word in ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(said.ends_with(" | 1 (exit code 3)"), "{said}");
    for word in ["CARGO", "HOME", "USER"] {
        assert!(!said.contains(word), "{said}");
    }
}

#[test]
fn a_checker_that_hangs_is_stopped_with_all_that_it_started() {
    let Some(guest) = Guest::new("a_checker_that_hangs") else { return };
    let start = Instant::now();
    let script = "setsid sleep 987 & (setsid sh -c 'sleep 986; true' &) ; echo waiting; sleep 985";
    let said = guest.judge(&[], &["/bin/sh", "-c", script], &[]);
    assert_eq!(said, Verdict::Failed("waiting (did not end within 10 s and was stopped)".into()));
    assert!(start.elapsed() < Duration::from_secs(14), "{:?}", start.elapsed());
    // Also one that ends and leaves others behind, who hold its output.
    let start = Instant::now();
    assert_eq!(guest.judge(&[], &["/bin/sh", "-c", "setsid sleep 984 & exit 0"], &[]), Verdict::Passed);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(processes("sleep 98"), [] as [String; 0]);
}

/// The command lines of this machine's processes that have these words in them.
fn processes(words: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let command = fs::read(entry.unwrap().path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&command).replace('\0', " "))
    });
    lines.filter(|line| line.contains(words)).collect()
}

#[test]
fn nothing_goes_on_when_the_agent_is_killed() {
    const TEST: &str = "nothing_goes_on_when_the_agent_is_killed";
    if std::env::var_os(INSIDE).is_some() {
        let guest = Guest::new(TEST).unwrap();
        let script = "setsid sleep 977 & sleep 978";
        panic!("{:?}", guest.judge(&[], &["/bin/sh", "-c", script], &[]));
    }
    if Guest::new(TEST).is_none() {
        return;
    }
    // Killed, it cleans nothing up; so its scratch lies in ours.
    let scratch = tempfile::tempdir().unwrap();
    let mut agent = Command::new(std::env::current_exe().unwrap());
    agent.args(["--exact", TEST, "--nocapture"]).env(INSIDE, "1").env("TMPDIR", scratch.path());
    let mut agent = agent.stdout(std::process::Stdio::null()).spawn().unwrap();
    let until = |wanted: usize| {
        let end = Instant::now() + Duration::from_secs(8);
        while processes("sleep 97").iter().filter(|line| line.starts_with("sleep")).count() != wanted {
            assert!(Instant::now() < end, "{:?}", processes("sleep 97"));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(2);
    agent.kill().unwrap();
    agent.wait().unwrap();
    until(0);
}

#[test]
fn a_checker_that_floods_is_heard_at_its_end() {
    let Some(guest) = Guest::new("a_checker_that_floods") else { return };
    let said = guest.judge(&[], &["/bin/sh", "-c", "seq 1 400000; echo the end >&2; exit 1"], &[]);
    let Verdict::Failed(said) = said else { panic!("{said:?}") };
    assert!(said.ends_with("400000 | the end (exit code 1)") && said.len() < 600, "{said}");
}

#[test]
fn the_words_of_a_checker_are_told_without_secrets() {
    let Some(guest) = Guest::new("the_words_of_a_checker") else { return };
    let steps = [write("/etc/app/two", "password topsecret1\n", 0o600, None)];
    let said = guest.judge(&steps, &["/bin/sh", "-c", "echo in line 1:; cat /etc/app/two; exit 2"], &["topsecret1"]);
    assert_eq!(said, Verdict::Failed("in line 1: | password <secret> (exit code 2)".into()));
    let said = guest.judge(&[], &["/bin/sh", "-c", "kill -SEGV $$; busybox kill -9 1; exit 4"], &[]);
    assert_eq!(said, Verdict::Failed("exit code 4".into()));
}

#[test]
fn a_missing_checker_is_an_error_with_a_remedy() {
    let Some(guest) = Guest::new("a_missing_checker") else { return };
    let command = [vec!["/usr/sbin/absent".to_owned(), "-c".to_owned()]];
    let error = judge(&guest.root(), guest.scratch.path(), &[], &command, &[]).unwrap_err();
    assert_eq!((error.class().exit_code(), error.object()), (13, "/usr/sbin/absent"), "{error}");
    assert!(error.remedy().contains("build the image again"), "{error}");
}

#[test]
fn what_lies_on_another_file_system_is_seen_too() {
    const TEST: &str = "what_lies_on_another_file_system_is_seen_too";
    if std::env::var_os(INSIDE).is_none() {
        if Guest::new(TEST).is_none() {
            return;
        }
        let mut unshare = Command::new("unshare");
        unshare.arg("-m").arg(std::env::current_exe().unwrap()).args(["--exact", TEST, "--nocapture"]);
        let run = proof::run(unshare.env(INSIDE, "1")).succeeded();
        // A name that is no test's would pass by running nothing.
        assert!(run.out.contains("1 passed"), "{run:?}");
        return;
    }
    let guest = Guest::new(TEST).unwrap();
    let at: &Path = &guest.at("etc/app");
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::MS_NOEXEC, None::<&str>).unwrap();
    fs::write(at.join("there"), "there\n").unwrap();
    fs::create_dir(at.join("below")).unwrap();
    mount(Some("tmpfs"), &at.join("below"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(at.join("below/deep"), "deep\n").unwrap();
    let steps = [
        write("/etc/app/new", "new\n", 0o644, None),
        write("/etc/app/below/new", "new\n", 0o644, None),
        write("/etc/beside", "beside\n", 0o644, None),
        directory("/top"),
    ];
    guest.sees(
        &steps,
        r#"[ "$(cat /etc/app/there /etc/app/new /etc/app/below/deep /etc/app/below/new /etc/beside)" = "there
new
deep
new
beside" ]
        [ -d /top ]
        not touch /etc/app/x
        not touch /etc/app/below/x
        not busybox rm /etc/app/there"#,
    );
}
