//! What the agent takes over from whoever starts it: nothing. Each test is the real program, started by somebody careless.

#![cfg(all(feature = "operator", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod proof;

use proof::{Guest, is_root};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An agent that waits for a disk which never comes. It is ended with the test.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Waiting {
    /// A shell does this first, and then becomes the agent. Returns when that has begun its work.
    fn after(guest: &Guest, shell: &str) -> Self {
        Waiting::by(&proof::agent(), &guest.root(), shell, &mut |_| {})
    }

    fn by(agent: &Path, root: &Path, shell: &str, change: &mut dyn FnMut(&mut Command)) -> Self {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{shell}\nexec \"$@\"")).arg("sh").arg(agent).arg("--root").arg(root);
        command.args(["--source", "disk:/dev/no-such-disk", "--wait", "60", "apply"]);
        change(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        let mut waiting = Waiting(command.spawn().unwrap());
        let began = Instant::now();
        // It listens for devices before it waits for one.
        while !waiting.descriptors(agent).values().any(|target| target.starts_with("socket:")) {
            assert_eq!(waiting.0.try_wait().unwrap(), None, "does not wait");
            assert!(began.elapsed() < Duration::from_secs(30), "does not wait: {:?}", waiting.descriptors(agent));
            std::thread::sleep(Duration::from_millis(5));
        }
        waiting
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.id()))
    }

    /// Its descriptors and what they lead to. None while it is still the shell.
    fn descriptors(&self, agent: &Path) -> BTreeMap<u32, String> {
        if fs::read_link(self.proc("exe")).unwrap_or_default() != fs::canonicalize(agent).unwrap() {
            return BTreeMap::new();
        }
        let Ok(entries) = fs::read_dir(self.proc("fd")) else { return BTreeMap::new() };
        let target = |path: PathBuf| Some(fs::read_link(path).ok()?.display().to_string());
        let number = |entry: &fs::DirEntry| entry.file_name().to_str().unwrap().parse().unwrap();
        entries.filter_map(|entry| entry.ok().and_then(|entry| Some((number(&entry), target(entry.path())?)))).collect()
    }

    /// A line of what the kernel says of it.
    fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().to_owned()
    }
}

#[test]
fn inherited_descriptors_are_closed_however_high() {
    let guest = Guest::debian();
    let secret = guest.beside("secret");
    fs::write(&secret, "secret").unwrap();
    let shell = format!("exec 3<{0} 7<{0}", secret.display());
    let waiting = Waiting::by(&proof::agent(), &guest.root(), &shell, &mut |command| {
        let file = fs::File::open(&secret).unwrap();
        // SAFETY: only calls that may be made between fork and exec.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                use std::os::fd::AsRawFd as _;
                // Duplicates are not closed by the exec.
                for number in [30, 1000] {
                    if nix::libc::dup2(file.as_raw_fd(), number) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    });
    let held = waiting.descriptors(&proof::agent());
    assert!(!held.values().any(|target| *target == secret.display().to_string()), "{held:?}");
}

#[test]
fn closed_inputs_and_outputs_lead_nowhere_and_not_into_what_is_opened_next() {
    let guest = Guest::debian();
    let waiting = Waiting::after(&guest, "exec <&- >&- 2>&-");
    let held = waiting.descriptors(&proof::agent());
    for standard in 0..3 {
        assert_eq!(held.get(&standard).map(String::as_str), Some("/dev/null"), "{held:?}");
    }
}

#[test]
fn ignored_and_blocked_signals_are_not_taken_over_but_for_those_of_nohup() {
    let guest = Guest::debian();
    let waiting =
        Waiting::by(&proof::agent(), &guest.root(), "trap '' HUP INT QUIT TERM CHLD USR1 ALRM", &mut |command| {
            // SAFETY: only calls that may be made between fork and exec.
            #[allow(unsafe_code)]
            unsafe {
                command.pre_exec(|| {
                    use nix::sys::signal::SigSet;
                    Ok(SigSet::all().thread_set_mask()?)
                });
            }
        });
    // HUP 1, INT 2, QUIT 3, and PIPE 13, which Rust ignores so that a write says it.
    let ignored = u64::from_str_radix(&waiting.status("SigIgn"), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0b1_0000_0000_0111, "{ignored:x}");
    assert_eq!(u64::from_str_radix(&waiting.status("SigBlk"), 16).unwrap(), 0);
}

#[test]
fn the_children_of_a_starter_that_ignores_their_end_are_still_waited_for() {
    // `boot` works in a child. Its code is known only where its end is seen; 13 is what is said where it is not.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "sh"]).arg(proof::agent()).args(["boot", "--no-such-option"]);
    let run = proof::run(&mut command);
    assert_eq!(run.code, Some(2), "{}{}", run.out, run.err);
}

#[test]
fn the_memory_is_hidden_from_other_programs_of_the_same_user() {
    if !is_root() {
        println!("SKIPPED, it needs root");
        return;
    }
    // What the kernel says of a process that may be looked at belongs to its user, and else to root.
    let public = tempfile::tempdir().unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (agent, root) = (public.path().join("agent"), public.path().join("root"));
    fs::copy(proof::agent(), &agent).unwrap();
    fs::create_dir(&root).unwrap();
    let owner = |waiting: &Waiting| fs::metadata(waiting.proc("environ")).unwrap().uid();
    let shell = Waiting(Command::new("/bin/sleep").arg("60").uid(65534).spawn().unwrap());
    assert_eq!(owner(&shell), 65534);
    let waiting = Waiting::by(&agent, &root, "", &mut |command| {
        command.uid(65534);
    });
    assert_eq!((owner(&waiting), waiting.status("Uid").contains("65534")), (0, true));
}

#[test]
fn the_umask_of_the_starter_changes_nothing() {
    let modes = |umask: &str| {
        let guest = Guest::debian();
        let source = guest.offer(
            r#"{ "version": 1, "instance": { "id": "a", "serial": 1 }, "hostname": "a",
            "users": [{ "name": "ops", "uid": 2000 }], "files": [{ "path": "/srv/deep/er/new", "content": "x" }] }"#,
        );
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("umask {umask}; exec \"$@\"")).arg("sh");
        command.arg(proof::agent()).arg("--root").arg(guest.root()).args(["--source", &source, "apply"]);
        proof::run(&mut command).succeeded();
        guest.picture().into_iter().map(|(path, thing)| (path, thing.kind, thing.mode)).collect::<Vec<_>>()
    };
    let usual = modes("022");
    assert!(usual.iter().any(|(path, _, mode)| path == "/var/lib/handoff/state.json" && *mode == 0o600), "{usual:?}");
    assert_eq!(modes("0"), usual);
    assert_eq!(modes("777"), usual);
    let guest = Guest::debian();
    assert_eq!(Waiting::after(&guest, "umask 0").status("Umask"), "0077");
}
