//! What the agent costs and what it does to a system, seen from outside: a static program, small, little memory, no process
//! started, and nothing opened for writing when there is nothing to do.
//!
//! HANDOFF_TEST_AGENT names the program as it is shipped (`dist/handoff-agent`); without it, cargo's own build is used, of which
//! size and memory say nothing.

#![cfg(feature = "operator")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod proof;

use proof::{Guest, agent, assert_untouched, has, is_shipped, operators_key};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MAX_SIZE: u64 = 1_468_006;
const MAX_MEMORY_KIB: u64 = 6 << 10;

/// What begins a word of little-endian ELF64 at this place.
fn word(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// The interpreter and the libraries that an ELF64 program asks for: whether there is one, and how many.
fn asks_for(program: &[u8]) -> (bool, usize) {
    assert_eq!(&program[..6], b"\x7fELF\x02\x01", "little-endian ELF64");
    let (table, size, count) = (word(program, 32, 8), word(program, 54, 2), word(program, 56, 2));
    let (mut interpreter, mut needed) = (false, 0);
    for header in (0..count).map(|index| table + index * size) {
        match word(program, header, 4) {
            3 => interpreter = true,
            2 => {
                let (start, length) = (word(program, header + 8, 8), word(program, header + 32, 8));
                let tags = (start..start + length).step_by(16).map(|at| word(program, at, 8));
                needed += tags.take_while(|tag| *tag != 0).filter(|tag| *tag == 1).count();
            }
            _ => {}
        }
    }
    (interpreter, needed)
}

#[test]
fn the_agent_is_one_small_static_file() {
    // A dynamic program, so that a check that sees nothing is noticed.
    let this = fs::read(std::env::current_exe().unwrap()).unwrap();
    let (interpreter, needed) = asks_for(&this);
    assert!(!cfg!(target_env = "gnu") || (interpreter && needed > 0), "this test is a dynamic program");
    if !is_shipped("the_agent_is_one_small_static_file") {
        return;
    }
    let program = fs::read(agent()).unwrap();
    assert_eq!(asks_for(&program), (false, 0), "interpreter, libraries");
    println!("agent: {} KiB", program.len() / 1024);
    assert!(program.len() as u64 <= MAX_SIZE, "{} bytes", program.len());
}

/// Valid settings of at least 300 KiB: many users with keys, hosts, files.
fn large() -> String {
    let key = operators_key().public_line().unwrap();
    let users: Vec<Value> = (0..400)
        .map(|n| {
            json!({ "name": format!("user{n}"), "groups": ["users"], "sudo": "password",
                    "ssh_authorized_keys": [format!("{key}-{n}"), format!("{key}-other-{n}")] })
        })
        .collect();
    let hosts: Vec<Value> = (0..1000)
        .map(|n| json!({ "address": format!("10.0.{}.{}", n / 250, n % 250 + 1), "names": [format!("host-{n}.example.net")] }))
        .collect();
    let files: Vec<Value> = (0..200)
        .map(
            |n| json!({ "path": format!("/srv/app/{}/{n}.conf", n % 10), "content": format!("line {n}\n").repeat(90) }),
        )
        .collect();
    let settings = json!({ "version": 1, "instance": { "id": "large", "serial": 1 }, "hostname": "large",
        "users": users, "hosts": hosts, "files": files });
    let text = settings.to_string();
    assert!(text.len() > 300 << 10 && text.len() < 400 << 10, "{}", text.len());
    text
}

/// The peak of a run's memory in KiB, as the kernel counts it. The run is held at its end until it has been read.
fn peak(guest: &Guest, arguments: &[&str]) -> u64 {
    let trace = guest.beside("trace");
    let mut strace = Command::new("strace");
    strace.args(["-q", "-o"]).arg(&trace).args([
        "-e",
        "trace=exit_group",
        "-e",
        "inject=exit_group:delay_enter=400000",
    ]);
    let mut child = strace
        .arg(agent())
        .arg("--root")
        .arg(guest.root())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    // The kernel keeps 15 characters of a name.
    let name: String = agent().file_name().unwrap().to_str().unwrap().chars().take(15).collect();
    let mut peak = 0;
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60));
        let processes = fs::read_to_string(&children).unwrap_or_default();
        for process in processes.split_whitespace() {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let field =
                |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
            // Before it executes the agent, the process is a copy of strace.
            if field("Name:") == name {
                let kib = field("VmHWM:").trim_end_matches(" kB").parse().unwrap_or(0);
                peak = peak.max(kib);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success(), "{arguments:?}");
    assert!(peak > 0, "no peak was seen");
    peak
}

#[test]
fn little_memory_is_enough_for_large_settings() {
    let test = "little_memory_is_enough_for_large_settings";
    if !has("strace", test) {
        return;
    }
    let shipped = is_shipped(test);
    let guest = Guest::debian();
    let text = large();
    let source = guest.offer(&text);
    let changed = text.replace("\"serial\":1", "\"serial\":2").replace("line ", "other ").replace("host-", "node-");
    let runs: [(&[&str], &str); 6] = [
        (&["plan"], &source),
        (&["plan", "--diff"], &source),
        (&["apply"], &source),
        (&["apply"], &source),
        (&["plan", "--diff"], &changed),
        (&["apply"], &changed),
    ];
    for (command, offered) in runs {
        if offered == changed {
            guest.offer(&changed);
        }
        let arguments = [&["--source", &source], command].concat();
        let kib = peak(&guest, &arguments);
        println!("{command:?} of {} KiB of settings: {kib} KiB at most", text.len() >> 10);
        assert!(!shipped || kib <= MAX_MEMORY_KIB, "{command:?} took {kib} KiB");
    }
    for command in [&["status"][..], &["rollback"], &["reset"]] {
        let kib = peak(&guest, command);
        println!("{command:?}: {kib} KiB at most");
        assert!(!shipped || kib <= MAX_MEMORY_KIB, "{command:?} took {kib} KiB");
    }
}

#[test]
fn many_large_files_of_a_user_cost_little_memory() {
    let test = "many_large_files_of_a_user_cost_little_memory";
    if !has("strace", test) || !proof::is_root() {
        return;
    }
    let guest = Guest::debian();
    let files: Vec<Value> =
        (0..20).map(|n| json!({ "path": format!("/srv/app/{n}.conf"), "content": "ours\n" })).collect();
    let settings = json!({ "version": 1, "hostname": "large", "files": files }).to_string();
    fs::create_dir_all(guest.at("/srv/app")).unwrap();
    guest.own("/srv/app", 1000, 1000);
    for n in 0..20 {
        guest.write(&format!("/srv/app/{n}.conf"), &vec![b'x'; 8 << 20], 0o644);
    }
    let source = guest.offer(&settings);
    for command in ["plan", "apply", "apply"] {
        let kib = peak(&guest, &["--source", &source, command]);
        println!("{command} beside 160 MiB of a user's: {kib} KiB at most");
        assert!(kib <= 40 << 10, "{command} took {kib} KiB");
    }
    assert_eq!(guest.read("/etc/hostname"), "large\n");
}

/// The system calls of a run of the agent, one a line, of these kinds.
fn calls(guest: &Guest, kinds: &str, arguments: &[&str]) -> Vec<String> {
    let trace = guest.beside("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "200", "-o"]).arg(&trace).arg("-e").arg(format!("trace={kinds}"));
    proof::run(strace.arg(agent()).arg("--root").arg(guest.root()).args(arguments)).succeeded();
    fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect()
}

const SETTINGS: &str = include_str!("golden/design/1.json");
const CHANGED: &str = include_str!("golden/design/2.json");

#[test]
fn no_process_is_started_for_a_scratch_root() {
    if !has("strace", "no_process_is_started_for_a_scratch_root") {
        return;
    }
    let guest = Guest::debian();
    let source = guest.offer(SETTINGS);
    let kinds = "execve,execveat,clone,clone3,fork,vfork";
    let from = ["--source", &source];
    for (options, command) in [
        (&from[..], &["plan", "--diff"][..]),
        (&from, &["apply"]),
        (&from, &["apply"]),
        (&[], &["status"]),
        (&[], &["log"]),
        (&[], &["plan", "--against", "1"]),
        (&[], &["reset"]),
    ] {
        let calls = calls(&guest, kinds, &[options, command].concat());
        // Its own start.
        assert!(calls.len() == 1 && calls[0].contains("execve("), "{command:?}: {calls:#?}");
    }
}

/// Everything that opens, and everything that changes a file system. What this machine has not, strace leaves out (`?`).
const KINDS: &str = "?open,openat,openat2,?creat,?rename,renameat,renameat2,?unlink,unlinkat,?rmdir,?mkdir,mkdirat,?mknod,mknodat,\
    ?symlink,symlinkat,?link,linkat,?chmod,fchmod,fchmodat,?fchmodat2,?chown,?lchown,fchown,fchownat,truncate,ftruncate,\
    fallocate,?utime,?utimes,?futimesat,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,mount,umount2,\
    sync,syncfs,fsync,fdatasync,pwrite64,pwritev,sendfile,copy_file_range,splice";

/// Whether a call of [`KINDS`] is more than to open something for reading.
fn changes_something(call: &str) -> bool {
    assert!(!call.contains("exited with"), "{call}");
    let opens = call.contains(" open(") || call.contains(" openat(") || call.contains(" openat2(");
    !opens || ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| call.contains(flag))
}

#[test]
fn a_second_run_changes_nothing_and_opens_nothing_for_writing() {
    if !has("strace", "a_second_run_changes_nothing_and_opens_nothing_for_writing") {
        return;
    }
    let guest = Guest::debian();
    for settings in [SETTINGS, CHANGED] {
        let source = guest.offer(settings);
        let first = calls(&guest, KINDS, &["--source", &source, "apply"]);
        assert!(first.iter().any(|call| call.contains("renameat")), "the first run is seen");
        assert!(first.iter().any(|call| call.contains("O_WRONLY") || call.contains("O_RDWR")), "{first:#?}");
        let before = guest.picture();
        let generation = if settings == SETTINGS { "1" } else { "2" };
        let from = ["--source", &source];
        for (options, command) in [
            (&from[..], &["plan", "--diff"][..]),
            (&from, &["apply"]),
            (&[], &["status"]),
            (&[], &["log", "1"]),
            (&[], &["plan", "--against", generation]),
            (&[], &["rollback", generation]),
            (&from, &["apply"]),
        ] {
            for call in calls(&guest, KINDS, &[options, command].concat()) {
                assert!(!changes_something(&call), "{command:?}: {call}");
            }
            assert_untouched(&before, &guest.picture(), "a second run");
        }
    }
}

/// A machine in namespaces of its own, whose root is a guest's: the agent runs there as at boot, with `/run` in memory.
struct Machine {
    guest: Guest,
}

impl Machine {
    /// `None` where this machine cannot run it, which is said.
    fn new(test: &str) -> Option<Self> {
        if !proof::is_root() {
            println!("{test}: SKIPPED, it needs root");
            return None;
        }
        if !["strace", "unshare", "ldd"].iter().all(|tool| has(tool, test)) {
            return None;
        }
        let guest = Guest::debian();
        for name in ["dev/null", "dev/urandom", "proc/x", "run/x"] {
            guest.write(&format!("/{name}"), b"", 0o644);
        }
        fs::remove_file(guest.at("/proc/x")).unwrap();
        fs::remove_file(guest.at("/run/x")).unwrap();
        guest.write("/usr/sbin/handoff-agent", &fs::read(agent()).unwrap(), 0o755);
        // The shipped one needs none.
        let libraries = Command::new("ldd").arg(agent()).output().unwrap();
        for path in String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
        {
            guest.write(path, &fs::read(path).unwrap(), 0o755);
        }
        Some(Machine { guest })
    }

    /// With settings that are on trial when they come.
    fn of_one_class(test: &str) -> Option<Self> {
        let machine = Machine::new(test)?;
        let guest = &machine.guest;
        let mut class: Value = serde_json::from_str(&guest.read("/usr/lib/handoff/class.json")).unwrap();
        class["policy"]["sources"] = json!(["file:/settings.img"]);
        class["policy"]["wait_seconds"] = json!(0);
        guest.write("/usr/lib/handoff/class.json", class.to_string().as_bytes(), 0o644);
        let judge = "handoff-ready.service";
        guest.link(
            &format!("/etc/systemd/system/multi-user.target.wants/{judge}"),
            &format!("/usr/lib/systemd/system/{judge}"),
        );
        guest.offer(SETTINGS);
        fs::copy(guest.beside("settings.img"), guest.at("/settings.img")).unwrap();
        Some(machine)
    }

    /// One boot: these lines of arguments one after the other. Gives the system calls of each, and what it said.
    fn boot(&self, lines: &[&str]) -> Vec<(Vec<String>, String)> {
        let mut script =
            "set -e; cd \"$0\"; mount --bind . .; cd \"$0\"; mount -t proc proc proc; mount -t tmpfs tmpfs run\n\
            for device in null urandom; do mount --bind /dev/$device dev/$device; done\n"
                .to_owned();
        for (number, line) in lines.iter().enumerate() {
            let strace =
                format!("strace -f -qq -y -s 200 -e signal=none -o ../trace-{number} -e 'trace={KINDS}' chroot .");
            script += &format!("{strace} /usr/sbin/handoff-agent {line} >../out-{number} 2>&1\n");
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--uts", "--net", "--ipc", "sh", "-c", &script]).arg(self.guest.root());
        let run = proof::run(&mut command);
        let text = |name: String| fs::read_to_string(self.guest.beside(&name)).unwrap_or_default();
        let said: Vec<String> = (0..lines.len()).map(|number| text(format!("out-{number}"))).collect();
        assert_eq!(run.code, Some(0), "{}{}{said:?}", run.out, run.err);
        let calls = |number| text(format!("trace-{number}")).lines().map(str::to_owned).collect();
        said.into_iter().enumerate().map(|(number, said)| (calls(number), said)).collect()
    }
}

/// Whether it is about a file of this boot, in memory.
fn is_of_this_boot(call: &str) -> bool {
    let path = call.split('"').nth(1).unwrap_or(call);
    path == "/run/handoff" || path.starts_with("/run/handoff/") || call.contains("/run/handoff/") && !call.contains('"')
}

#[test]
fn a_boot_with_the_same_settings_writes_nothing_but_the_status_in_memory() {
    let Some(machine) = Machine::of_one_class("a_boot_with_the_same_settings_writes_nothing_but_the_status_in_memory")
    else {
        return;
    };
    let guest = &machine.guest;
    let first = machine.boot(&["boot", "ready"]);
    assert!(first[0].1.contains("generation 1, on trial"), "{}", first[0].1);
    assert!(first[1].1.contains("is over: it is the last good one now"), "{}", first[1].1);
    for (calls, said) in &first {
        assert!(
            calls.iter().any(|call| changes_something(call) && !is_of_this_boot(call)),
            "the writes are seen: {said}"
        );
    }
    assert!(guest.read("/var/lib/handoff/state.json").contains("\"standing\": \"good\""));

    let before = guest.picture();
    let by_hand = ["status", "log", "log 1", "plan --diff", "plan --against 1", "apply", "rollback 1"];
    for boot in [&["boot", "ready"][..], &["boot --pid1", "boot", "ready"]] {
        let lines = [boot, &by_hand].concat();
        for ((calls, said), line) in machine.boot(&lines).into_iter().zip(&lines) {
            let told = match *line {
                "boot" | "boot --pid1" | "apply" | "rollback 1" => "nothing to do: lb-eu-1 serial",
                "ready" => "handoff: ready after",
                _ => "",
            };
            // After PID 1 the service says nothing.
            let silent = line == &"boot" && boot.len() == 3;
            assert!(said.contains(told) || silent, "{line}: {said}");
            assert!(
                !calls.is_empty() && calls.iter().any(|call| call.contains("/var/lib/handoff")) || silent,
                "{line}"
            );
            for call in calls.iter().filter(|call| changes_something(call) && !is_of_this_boot(call)) {
                // The kernel's log is in memory, and missing here.
                assert!(call.contains("\"/dev/kmsg\""), "{line}: {call}");
            }
            assert_untouched(&before, &guest.picture(), line);
        }
    }
}

#[test]
fn a_boot_before_the_init_leaves_each_byte_of_the_disk_as_it_is() {
    let Some(machine) = Machine::of_one_class("a_boot_before_the_init_leaves_each_byte_of_the_disk_as_it_is") else {
        return;
    };
    let guest = &machine.guest;
    let size = fs::metadata(agent()).unwrap().len() / 2 + (48 << 20);
    let make = "set -e; truncate -s \"$1\" disk; mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -d root disk; mkdir mnt";
    // The root is as the kernel hands it over: read-only.
    let boot = |options: &str, command: &str| {
        format!(
            "set -e; loop=$(losetup --find --show disk); trap 'losetup -d $loop' EXIT\n\
             mount -o {options} $loop mnt; cd mnt; mount -t proc proc proc; mount -t tmpfs tmpfs run\n\
             for device in null urandom; do mount --bind /dev/$device dev/$device; done\n\
             chroot . /usr/sbin/handoff-agent {command}\n\
             [ {options} = rw ] || ! touch etc/x 2>/dev/null; cd ..; umount -R mnt"
        )
    };
    let before_init = boot("ro", "boot --pid1");
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--uts", "--net", "--ipc", "sh", "-c", script, "sh", &size.to_string()]);
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        proof::run(command.current_dir(guest.beside("")).env("PATH", path)).succeeded().err
    };
    run(make);
    let disk = || fs::read(guest.beside("disk")).unwrap();
    let empty = disk();
    let first = run(&before_init);
    assert!(first.contains("generation 1, on trial"), "{first}");
    assert!(disk() != empty, "the first boot writes");
    let on_trial = disk();
    run(&before_init);
    assert!(disk() != on_trial, "an attempt is counted");
    assert!(run(&boot("rw", "ready")).contains("is over"));
    let good = disk();
    for _ in 0..2 {
        assert!(run(&before_init).contains("nothing to do: lb-eu-1 serial"));
        assert!(disk() == good, "a boot with the same settings has written to its disk");
    }
}
