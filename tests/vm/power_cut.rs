//! The power goes in the middle of a change. Every boot after that comes up with the old settings or the new ones, whole.
//!
//! The guest changes a hundred paths: files on `/` and below `/var`, accounts, services. Its disk is made slow, so that the
//! change takes seconds, and the power goes when the disk has carried out a number of writes that is spread over the change.
//! What QEMU's process had given to its file stays; what the guest had in memory, and what waited for the slow disk, is lost.
//!
//! `HANDOFF_POWER_CUTS` says how often (10 where nothing is said), `HANDOFF_CRASH_SEED` chooses other moments.

use crate::dice::Dice;
use crate::harness::{Image, Layer, Machine, RootDisk, RunAs, Scratch, SshKey, pack, trusted_line};
use crate::report::Counts;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CLASS: &str = r#"{ "version": 1, "policy": { "settings": "optional", "wait_seconds": 1 } }"#;
const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
const JUDGE_UNIT: &str = "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/usr/lib/judge\nStandardOutput=tty\n\
    TTYPath=/dev/console\n";

/// Tells on the console what the guest is like, when its boot is over. What it says of a sound guest is [`whole`].
const JUDGE: &str = r#"#!/bin/sh
PATH=/usr/sbin:/usr/bin
running=$(systemctl is-system-running --wait)
say() { echo "judge: $*"; }
say "is $running, failed: $(systemctl list-units --failed --no-legend --plain | tr '\n' ' ')"
say "$(find /etc/app /srv/app /opt/app /var/lib/app -type f | sort | xargs cat | sha256sum | cut -c1-64)"
say "$(find /etc/app /srv/app /opt/app /var/lib/app | sort | xargs stat -c '%n %a %U' | sha256sum | cut -c1-64)"
say "$(getent passwd | grep -E '^(root|ops|dev):' | tr '\n' ' ')"
say "$(getent shadow | cut -d: -f1 | grep -E '^(root|ops|dev)$' | tr '\n' ' ')"
pwck -qr >/dev/null; accounts=$?
grpck -r >/dev/null
say "pwck $accounts, grpck $?"
for unit in alpha beta; do
  pid=$(systemctl show -P MainPID $unit)
  say "$unit is $(systemctl is-active $unit) $(cat /proc/$pid/environ 2>/dev/null | tr '\0' '\n' | grep ^GENERATION=)"
done
say "$(cat /etc/hostname) $(hostname)"
say "left over: $(find /etc /srv /opt /var /usr/lib /home /root -name '.handoff-*' | tr '\n' ' ')$(ls /var/lib/handoff | tr '\n' ' ')"
say "end"
"#;

const DIRECTORIES: [&str; 4] = ["/etc/app", "/opt/app", "/srv/app", "/var/lib/app"];
const FILES: usize = 60;
const A_WHILE: Duration = Duration::from_secs(500);
const APPLIED: &str = "applied lb-1 serial 2 (generation 2)";
/// The writes of a boot before the agent begins.
const BEFORE: u64 = 5;
/// How slow the disk is while the power may go.
const WRITES_PER_SECOND: u32 = 12;

/// The files of a generation by path. Fifteen lie in each directory, and one more has the generation's own name.
fn files(generation: u32) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        for number in 0..FILES / DIRECTORIES.len() {
            let line = format!("generation {generation} of {directory}/{number:02}\n");
            files.push((format!("{directory}/{number:02}"), line.repeat(150)));
        }
        files.push((format!("{directory}/only-{generation}"), format!("{generation}\n")));
    }
    files
}

fn settings(generation: u32) -> String {
    let files =
        files(generation).into_iter().map(|(path, content)| serde_json::json!({"path": path, "content": content}));
    let environment = serde_json::json!([{ "name": "GENERATION", "value": generation.to_string() }]);
    let user = |name: &str, uid: u32| serde_json::json!({"name": name, "uid": uid, "shell": "/bin/sh"});
    let users = if generation == 1 { vec![user("ops", 1200)] } else { vec![user("ops", 1200), user("dev", 1201)] };
    serde_json::json!({
        "version": 1,
        "instance": { "id": "lb-1", "serial": generation },
        "hostname": format!("generation-{generation}"),
        "users": users,
        "services": [
            { "name": "alpha", "enabled": true, "environment": environment },
            { "name": "beta", "enabled": generation == 2, "environment": environment },
        ],
        "files": files.collect::<Vec<_>>(),
    })
    .to_string()
}

fn sha256(text: &str) -> String {
    use std::io::Write as _;
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum is not there");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

/// What the judge says of a guest that has the settings of this generation, all of them, and nothing else.
fn whole(generation: u32) -> String {
    let files = files(generation);
    let mut nodes: Vec<String> = files.iter().map(|(path, _)| format!("{path} 644 root\n")).collect();
    nodes.extend(DIRECTORIES.iter().map(|path| format!("{path} 755 root\n")));
    nodes.sort();
    let contents: String = files.iter().map(|(_, content)| content.as_str()).collect();
    let mut text = String::from("is running, failed: \n");
    let _ = writeln!(text, "{}\n{}", sha256(&contents), sha256(&nodes.concat()));
    let ops = "ops:x:1200:1200::/home/ops:/bin/sh ";
    let dev = if generation == 2 { "dev:x:1201:1201::/home/dev:/bin/sh " } else { "" };
    let _ = writeln!(text, "root:x:0:0:root:/root:/bin/bash {ops}{dev}");
    let _ = writeln!(text, "root ops {}", if generation == 2 { "dev " } else { "" });
    text += "pwck 0, grpck 0\n";
    let _ = writeln!(text, "alpha is active GENERATION={generation}");
    text += if generation == 2 { "beta is active GENERATION=2\n" } else { "beta is inactive \n" };
    let _ = writeln!(text, "generation-{generation} generation-{generation}");
    text += "left over: generations objects state.json \n";
    text
}

/// A guest with the first settings, and a disk with the second.
struct Bench {
    _scratch: Scratch,
    root: RootDisk,
    second: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let signer: SshKey = scratch.ssh_key("signer");
        let layer = Layer::new()
            .agent()
            .trusted_keys(&trusted_line(&signer))
            .file("/usr/lib/handoff/class.json", 0o644, CLASS)
            .file("/usr/lib/judge", 0o755, JUDGE)
            .file("/usr/lib/systemd/system/judge.service", 0o644, JUDGE_UNIT)
            .wanted("judge.service")
            .file("/usr/lib/systemd/system/alpha.service", 0o644, UNIT)
            .file("/usr/lib/systemd/system/beta.service", 0o644, UNIT);
        let root = RootDisk::new(Image::debian(), &layer);
        let first = pack(&scratch, "first", &settings(1), &signer);
        let second = pack(&scratch, "second", &settings(2), &signer);
        let bench = Bench { _scratch: scratch, root, second };
        let mut machine = bench.builder("power-cut-first", &bench.root).disk(&first).boot();
        machine.wait_for_line("applied lb-1 serial 1 (generation 1)", A_WHILE);
        machine.cut_power();
        bench
    }

    fn builder(&self, name: &str, root: &RootDisk) -> crate::harness::Builder {
        Machine::builder(Image::debian(), name, root).run_as(RunAs::Pid1).deadline(Duration::from_secs(600))
    }

    /// A boot with the second settings on a slow disk.
    fn change(&self, name: &str, root: &RootDisk) -> Machine {
        self.builder(name, root).disk(&self.second).writes_per_second(WRITES_PER_SECOND).boot()
    }
}

/// What the judge of a booted guest said.
fn judged(console: &str) -> String {
    console.lines().filter_map(|line| line.split_once("judge: ")).map(|(_, said)| format!("{said}\n")).collect()
}

/// How far a change had come, as the disk tells before anybody mends anything.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Left {
    /// Nothing of it reached the disk.
    Nothing,
    /// A journal that says *staging*.
    Staging,
    /// A journal that says *commit*.
    Commit,
    /// It was over.
    All,
}

impl Left {
    fn on(root: &RootDisk) -> Left {
        // The journal of the file system is replayed in a copy, so that the guest finds what was left.
        let copy = root.copied();
        match copy.read("/var/lib/handoff/journal.json").map(|journal| String::from_utf8(journal).unwrap()) {
            Some(journal) if journal.contains(r#""commit""#) => Left::Commit,
            Some(journal) => {
                assert!(journal.contains(r#""staging""#), "{journal}");
                Left::Staging
            }
            None if copy.list("/var/lib/handoff").contains(&"journal.json.new".to_owned()) => Left::Staging,
            None if copy.list("/var/lib/handoff/generations").contains(&"2".to_owned()) => Left::All,
            None => Left::Nothing,
        }
    }

    /// What the next start says of it.
    fn told(self) -> Option<&'static str> {
        match self {
            Left::Staging => Some("handoff: an interrupted commit was taken back; it had changed nothing"),
            Left::Commit => Some("handoff: an interrupted commit was completed"),
            Left::Nothing | Left::All => None,
        }
    }

    fn is_new(self) -> bool {
        self >= Left::Commit
    }
}

/// Cuts the power after so many writes, and judges the guest that comes up then: with the disk of the new settings, which
/// has to bring them, or without it.
fn cut(bench: &Bench, name: &str, writes: u64, with_disk: bool) -> Left {
    let root = bench.root.copied();
    bench.change(name, &root).cut_power_after(writes, APPLIED, A_WHILE);
    let left = Left::on(&root);
    let mut builder = bench.builder(name, &root);
    if with_disk {
        builder = builder.disk(&bench.second);
    }
    let mut machine = builder.boot();
    machine.wait_for_line("judge: end", A_WHILE);
    let generation = if with_disk || left.is_new() { 2 } else { 1 };
    let console = machine.cut_power();
    assert_eq!(judged(&console), whole(generation) + "end\n", "{name}: cut after {writes} writes, which left {left:?}");
    let told = console.lines().find(|line| line.contains("an interrupted commit"));
    assert_eq!(told, left.told(), "{name}: cut after {writes} writes, which left {left:?}");
    let outcome = if with_disk { "with the disk" } else { "without the disk" };
    eprintln!("{name}: cut after {writes} writes, which left {left:?}; {outcome} generation {generation}, whole");
    left
}

#[test]
fn power_cut_in_the_middle_of_a_change_leaves_the_old_settings_or_the_new_ones() {
    let number = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (cuts, seed): (u64, u64) = (number("HANDOFF_POWER_CUTS", 10), number("HANDOFF_CRASH_SEED", 4));
    let began = Instant::now();
    let bench = Bench::new();
    // How many writes it is when nobody cuts the power. The first few make the file system writable.
    let root = bench.root.copied();
    let mut machine = bench.change("power-cut-uncut", &root);
    machine.wait_for_line(APPLIED, A_WHILE);
    let all = machine.root_writes();
    machine.cut_power();
    assert!(all > 4 * BEFORE, "the change took only {all} writes");

    // One moment in each of as many parts as there are cuts.
    let mut dice = Dice(seed);
    let part = (all - BEFORE) / cuts;
    let moments: Vec<u64> =
        (0..cuts).map(|number| BEFORE + number * part + dice.below(part as usize) as u64 + 1).collect();
    eprintln!("{all} writes when nobody cuts the power; it is cut after {moments:?} (seed {seed})");
    let next = AtomicUsize::new(0);
    let left = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(moment) = moments.get(number) else { break };
                    let found = cut(&bench, &format!("power-cut-{number}"), *moment, number % 2 == 1);
                    left.lock().unwrap().push(found);
                }
            });
        }
    });
    let left = left.into_inner().unwrap();
    let mut counts = Counts { seed: Some(seed), ..Counts::default() };
    left.iter().for_each(|left| counts.count(left.is_new()));
    counts.report("machine: power cut in the middle of a change", began.elapsed());
    let hits = left.iter().filter(|left| left.told().is_some()).count();
    eprintln!("{hits} of {cuts} hit the middle of the change: {left:?}");
    // Three of ten at the least.
    assert!(hits as u64 * 10 >= cuts * 3, "{left:?}");
}
