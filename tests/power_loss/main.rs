//! The power goes while new settings are committed: whatever the disk holds then, fsck and a mount make of it the old guest
//! or the new one, and the next `apply` ends in the new one.
//!
//! A guest with `/var` on a file system of its own boots twice in QEMU, with the agent as PID 1. The second boot brings other
//! settings, and every block that it writes is recorded, with the flushes in between. From the record this test makes the
//! disks that a power loss would have left: at each flush, and between two flushes with a random part of what was in flight,
//! some of it torn. A disk may keep or lose any write that was not flushed yet.
//!
//! `HANDOFF_CRASH_POINTS` is how many random points are tried on each file system (300 and more are a thorough run),
//! `HANDOFF_CRASH_SEED` repeats the choice of an earlier run. A record is never quite the same twice, so what fails is kept in
//! `target/power-loss/`. Needs root, the packages of `tests/packages`, and a kernel that mounts the file systems.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

mod disk;
#[path = "../vm/harness/mod.rs"]
mod harness;
mod judgement;
mod log;
mod points;
#[path = "../proof/mod.rs"]
mod proof;

use disk::{Kind, Partitions};
use harness::{Image, Layer, Machine, TinyRoot, built_agent, program};
use judgement::{Bench, Phase, Seen};
use log::{Boundary, Entry};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use points::{Kept, Point};
use proof::Guest;
use proof::dice::Dice;
use proof::report::Counts;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const ONE: &str = include_str!("../golden/design/1.json");
const TWO: &str = include_str!("../golden/design/2.json");

/// Random points on each file system where nobody says how many.
const POINTS: usize = 40;
/// Failures that are told one by one.
const TOLD: usize = 5;

#[test]
fn a_power_loss_on_ext4_leaves_the_old_guest_or_the_new_one() {
    on(Kind::Ext4);
}

#[test]
fn a_power_loss_on_xfs_leaves_the_old_guest_or_the_new_one() {
    on(Kind::Xfs);
}

#[test]
fn a_power_loss_on_btrfs_leaves_the_old_guest_or_the_new_one() {
    on(Kind::Btrfs);
}

fn on(kind: Kind) {
    let test = format!("a_power_loss_on_{}_leaves_the_old_guest_or_the_new_one", kind.name());
    if !kind.programs().iter().all(|tool| proof::has(tool, &test)) || !is_mountable(kind, &test) {
        return;
    }
    // Built first, where it must be, and with a clear word where this is not root.
    Image::debian();
    // In a thread of its own, because mounts made in it shall be nobody else's, and shall go with it.
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        Trial::new(kind).run();
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Whether this kernel mounts the file system. Where it does not, says that the test does without.
fn is_mountable(kind: Kind, test: &str) -> bool {
    let knows = || fs::read_to_string("/proc/filesystems").unwrap().lines().any(|line| line.trim() == kind.name());
    if !knows() {
        let _ = std::process::Command::new("modprobe").arg(kind.name()).status();
    }
    let found = knows();
    if !found {
        let problem = format!("this machine's kernel has no {}", kind.name());
        assert!(std::env::var_os("HANDOFF_TEST_ALL").is_none(), "{test}: {problem}; build where it has");
        println!("{test}: SKIPPED, {problem}");
    }
    found
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

/// Settings 1 and 2, which differ in much: what 2 adds, replaces and takes away, on both file systems.
fn settings() -> (String, String) {
    let text = |word: &str| word.repeat(60_000 / word.len());
    let one = serde_json::json!([
        { "path": "/etc/motd", "content": "Welcome.\n" },
        { "path": "/etc/issue.net", "content": "one\n" },
        { "path": "/srv/data/one.txt", "content": text("one\n") },
        { "path": "/srv/data/both.txt", "mode": "0600", "content": text("one of both\n") },
        { "path": "/var/www/html/index.html", "content": "<p>one</p>\n" },
        { "path": "/var/www/html/old.html", "content": text("<p>old</p>\n") },
    ]);
    let two = serde_json::json!([
        { "path": "/etc/issue.net", "content": "two\n" },
        { "path": "/opt/new/deep/two.txt", "content": text("two\n") },
        { "path": "/srv/data/both.txt", "mode": "0640", "content": text("two of both\n") },
        { "path": "/var/www/html/index.html", "content": "<p>two</p>\n" },
        { "path": "/var/www/html/new.html", "content": text("<p>new</p>\n") },
        { "path": "/var/lib/app/deep/two.txt", "content": "two\n" },
    ]);
    let with = |text: &str, files: serde_json::Value| {
        let mut settings: serde_json::Value = serde_json::from_str(text).unwrap();
        settings["files"] = files;
        settings
    };
    let mut second = with(TWO, two);
    second["users"] = serde_json::json!([{ "name": "night", "uid": 1300, "groups": ["sudo"], "sudo": "password" }]);
    (with(ONE, one).to_string(), second.to_string())
}

/// The whole of it on one file system.
struct Trial {
    kind: Kind,
    bench: Guest,
    /// The disk before the recorded boot.
    base: Partitions,
    log: Vec<u8>,
    entries: Vec<Entry>,
    boundaries: Vec<Boundary>,
    judge: Bench,
    started: Instant,
    failures: usize,
}

impl Trial {
    /// Makes the guest, and lets it boot twice.
    fn new(kind: Kind) -> Self {
        let started = Instant::now();
        let bench = Guest::debian_in_memory();
        let (one, two) = settings();
        let disk = bench.beside("disk.img");
        furnish(&bench);
        {
            let parts = Partitions::make(kind, &bench.beside("made"));
            let mounted = parts.mount(&bench.beside("mounted")).unwrap();
            proof::run(program("cp").arg("-a").arg(bench.root().join(".")).arg(mounted.root())).succeeded();
            mounted.unmount().unwrap();
            parts.check_clean().unwrap();
            parts.assemble(&disk);
        }
        let starter = Starter::new(kind);
        bench.offer(&one);
        let console = starter.boot(&bench.beside("settings.img"), |builder| builder.writable_disk(&disk));
        assert!(console.contains("applied lb-eu-1 serial 7 (generation 1)"), "{console}");
        let base = Partitions::of(kind, &disk, &bench.beside("base"));

        let source = bench.offer(&two);
        let record = bench.beside("record");
        fs::write(&record, "").unwrap();
        let console = starter.boot(&bench.beside("settings.img"), |builder| builder.recorded_disk(&disk, &record));
        assert!(console.contains("applied lb-eu-1 serial 8 (generation 2)"), "{console}");
        let end = Partitions::of(kind, &disk, &bench.beside("end"));
        fs::remove_file(&disk).unwrap();

        let log = fs::read(&record).unwrap();
        let entries = log::read(&log, disk::disk_size(kind) / log::SECTOR as u64).unwrap();
        let boundaries = log::boundaries(&entries);
        let judge = Bench::new(&bench, source, &base, &end);
        let trial = Trial { kind, bench, base, log, entries, boundaries, judge, started, failures: 0 };
        // The record is whole, and read as it was meant: all of it makes the disk that the guest left.
        let replayed = trial.base.copy(&trial.bench.beside("replayed"));
        trial.replay_all(&replayed, 0..trial.entries.len());
        assert!(replayed.are_same(&end), "the record of {} does not lead to the disk that the guest left", kind.name());
        trial
    }

    fn run(mut self) {
        let name = self.kind.name();
        let seed = number("HANDOFF_CRASH_SEED").unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as u64 % 1_000_000_000)
        });
        let count = number("HANDOFF_CRASH_POINTS").map_or(POINTS, |count| count as usize);
        println!(
            "{name}: recorded {} writes and {} flushes in {} s, HANDOFF_CRASH_SEED={seed}",
            self.entries.iter().filter(|entry| **entry != Entry::Flush).count(),
            self.entries.iter().filter(|entry| **entry == Entry::Flush).count(),
            self.started.elapsed().as_secs(),
        );
        let each = (0..self.boundaries.len()).map(|boundary| Point { boundary, kept: Vec::new() });
        let seen = self.try_all("every flush", None, each.collect());
        let busy: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].as_ref().is_none_or(Seen::is_within)).collect();
        let (first, last) = (busy.first().expect("no boundary is in the commit"), busy.last().unwrap());
        let commit: Range<usize> = first.saturating_sub(1)..last + 1;
        let mut dice = Dice(seed);
        let random = points::random(&self.entries, &self.boundaries, commit, count, &mut dice);
        assert!(random.len() * 10 >= count * 9, "{name}: only {} different points exist", random.len());
        let mut all = seen;
        all.extend(self.try_all("random subsets", Some(seed), random.into_iter().collect()));
        assert!(self.failures == 0, "{name}: {} points are wrong, with HANDOFF_CRASH_SEED={seed}", self.failures);
        let has = |what: &dyn Fn(&Seen) -> bool| all.iter().flatten().any(what);
        assert!(has(&|seen| !seen.is_new) && has(&|seen| seen.is_new), "{name}: only one side of the change was seen");
        for phase in [Phase::Staging, Phase::Commit] {
            assert!(has(&|seen| seen.phase == phase), "{name}: no point lies in the phase {phase:?}");
        }
    }

    /// Tries points, which are in the order of their boundaries. `None` for one that is wrong.
    fn try_all(&mut self, what: &str, seed: Option<u64>, points: Vec<Point>) -> Vec<Option<Seen>> {
        let started = Instant::now();
        let reached = self.base.copy(&self.bench.beside("reached"));
        let mut done = 0;
        let mut all = Vec::new();
        for point in points {
            let boundary = &self.boundaries[point.boundary];
            self.replay_all(&reached, done..boundary.flushed);
            done = boundary.flushed;
            let victim = self.victim(&reached, &point, "victim");
            let seen = self.judge.judge(&victim);
            if let Err(problem) = &seen {
                self.failures += 1;
                let (name, at) = (self.kind.name(), point.boundary);
                if self.failures <= TOLD {
                    let kept = keep(&self.victim(&reached, &point, "again"), self.kind, self.failures);
                    println!("{name}: after flush {at} of {}: {problem}", self.boundaries.len() - 1);
                    println!(
                        "  with of {:?} in flight: {:?}; disk in {}",
                        boundary.in_flight,
                        point.kept,
                        kept.display()
                    );
                }
            }
            all.push(seen.ok());
        }
        let count = |what: &dyn Fn(&Seen) -> bool| all.iter().flatten().filter(|seen| what(seen)).count();
        println!(
            "{}, {what}: {} points tried, {} old, {} new, neither {}; within the commit {} ({} staging, {} commit, {} with \
             staged files); {} s",
            self.kind.name(),
            all.len(),
            count(&|seen| !seen.is_new),
            count(&|seen| seen.is_new),
            all.iter().filter(|seen| seen.is_none()).count(),
            count(&Seen::is_within),
            count(&|seen| seen.phase == Phase::Staging),
            count(&|seen| seen.phase == Phase::Commit),
            count(&|seen| seen.staged > 0),
            started.elapsed().as_secs(),
        );
        if self.failures == 0 {
            let mut counts = Counts { seed, ..Counts::default() };
            all.iter().flatten().for_each(|seen| counts.count(seen.is_new));
            counts.report(&format!("power loss, {}, {what}", self.kind.name()), started.elapsed());
        }
        all
    }

    /// The disk of a point, from that of its boundary.
    fn victim(&self, reached: &Partitions, point: &Point, name: &str) -> Partitions {
        let victim = reached.copy(&self.bench.beside(name));
        for entry in &self.boundaries[point.boundary].through {
            victim.replay(&self.log, &self.entries[*entry], &Kept::whole(*entry));
        }
        for kept in &point.kept {
            victim.replay(&self.log, &self.entries[kept.entry], kept);
        }
        victim
    }

    fn replay_all(&self, disk: &Partitions, entries: Range<usize>) {
        for entry in entries {
            disk.replay(&self.log, &self.entries[entry], &Kept::whole(entry));
        }
    }
}

/// Leaves a disk where it can be looked at.
fn keep(disk: &Partitions, kind: Kind, number: usize) -> PathBuf {
    let directory = harness::target_dir().join("power-loss").join(format!("{}-{number}", kind.name()));
    disk.copy(&directory);
    directory
}

/// Makes the golden guest one that boots: with a shell, the agent, an init, and its two file systems in `/etc/fstab`.
fn furnish(guest: &Guest) {
    let busybox = fs::read(harness::find("busybox")).unwrap();
    guest.write("/usr/bin/busybox", &busybox, 0o755);
    fs::remove_file(guest.at("/usr/bin/sh")).unwrap();
    guest.link("/usr/bin/sh", "busybox");
    guest.write("/usr/sbin/handoff-agent", &fs::read(built_agent()).unwrap(), 0o755);
    let init = "#!/bin/sh\nbusybox sync\necho init has begun\nexec busybox poweroff -f\n";
    guest.write("/usr/sbin/init", init.as_bytes(), 0o755);
    for checker in ["/usr/sbin/visudo", "/usr/sbin/sshd"] {
        guest.write(checker, b"#!/bin/sh\nexit 0\n", 0o755);
    }
    guest.write("/etc/fstab", b"/dev/vda1 / auto defaults 0 1\n/dev/vda2 /var auto defaults 0 2\n", 0o644);
}

/// What starts the guest: Debian's kernel with an initramfs that knows the file system.
struct Starter {
    kind: Kind,
    initramfs: TinyRoot,
}

impl Starter {
    fn new(kind: Kind) -> Self {
        let image = Image::debian();
        let initramfs = TinyRoot::new(image, &Layer::new(), "");
        let mut script = String::new();
        for module in ["crc32c_generic", kind.name()].iter().flat_map(|module| image.find_modules(module)) {
            let path = Path::new("/lib/modules").join(module.file_name().unwrap());
            let path = path.to_str().unwrap();
            initramfs.file(path, fs::read(&module).unwrap());
            script += &format!("insmod {path}\n");
        }
        let name = kind.name();
        // Everything as the initramfs of a distribution leaves it: the root read-only, other file systems writable.
        script += &format!(
            "/bin/busybox mkdir /guest\nmount -t {name} -o ro /dev/vda1 /guest\nmount -t {name} /dev/vda2 /guest/var\n\
             for place in proc sys dev run; do mount --move /$place /guest/$place; done\n\
             exec /bin/busybox switch_root /guest /usr/sbin/handoff-agent\n"
        );
        initramfs.program("/enter", &script);
        Starter { kind, initramfs }
    }

    /// Boots with the disk that is added first, and the settings on a second one. Returns the console.
    fn boot(&self, settings: &Path, disk: impl FnOnce(harness::Builder) -> harness::Builder) -> String {
        let name = format!("power-loss-{}", self.kind.name());
        let builder = self.initramfs.builder_with_init(Image::debian(), &name, "/enter").uuid(proof::MACHINE);
        let machine: Machine = disk(builder).disk(settings).deadline(Duration::from_secs(310)).boot();
        let console = machine.wait_for_end(Duration::from_secs(300));
        assert!(console.contains("init has begun"), "{console}");
        console
    }
}
