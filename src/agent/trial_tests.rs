//! A guest that lives through anything: new settings, good and bad and refused, resets, power cuts in the middle of a commit,
//! ways back by hand. Random lives on a scratch root, with the real engine; what must hold holds after each event.

use super::arguments::{Arguments, Command};
use super::boot::{self, exit_code};
use super::commands::{self, Run};
use super::offer;
use super::ready;
use super::status::{Mode, Outcome};
use super::stopped;
use super::trial::{self, Next};
use crate::class::Class;
use crate::commit::fuse::until_cut;
use crate::commit::state::State;
use crate::commit::{self, store};
use crate::error::Error;
use crate::guest::Facts;
use crate::operator::sign::SigningKey;
use crate::platform;
use crate::root::Root;
use crate::source::{self, Found, Places, Spec};
use crate::trust::{Blob, Digest, container};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How an appliance behaves with some settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Nature {
    Good,
    /// It does not get ready, and says so in time.
    NeverReady,
    /// It takes the guest with it before anybody has looked.
    Resets,
    /// Now so, now so.
    Flaky,
}

/// Why settings are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flaw {
    Forged,
    Unsigned,
    Damaged,
    OlderSerial,
    SameSerial,
    OtherClass,
    OtherMachine,
    Unreadable,
    OutOfRange,
    Missing,
}

const FLAWS: [(Flaw, u8); 10] = [
    (Flaw::Forged, 11),
    (Flaw::Unsigned, 11),
    (Flaw::Damaged, 11),
    (Flaw::OlderSerial, 11),
    (Flaw::SameSerial, 11),
    (Flaw::OtherClass, 12),
    (Flaw::OtherMachine, 11),
    (Flaw::Unreadable, 12),
    (Flaw::OutOfRange, 12),
    (Flaw::Missing, 10),
];

/// Everything in a tree that a write could change.
type Picture = BTreeMap<PathBuf, (u64, u32, i64, i64, Vec<u8>)>;

/// A guest with its disk and its operator.
struct Guest {
    _directory: tempfile::TempDir,
    tree: PathBuf,
    disk: PathBuf,
    root: Root,
    operator: SigningKey,
    stranger: SigningKey,
    attempts: u32,
}

impl Guest {
    fn new(attempts: u32, failure: &str, trust: &str) -> Self {
        // In memory where that is possible: it flushes thousands of times.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (tree, disk) = (directory.path().join("root"), directory.path().join("disk"));
        let wants = tree.join("etc/systemd/system/multi-user.target.wants");
        for path in [&wants, &tree.join("usr/lib/handoff"), &tree.join("var/lib")] {
            fs::create_dir_all(path).unwrap();
        }
        symlink(format!("/usr/lib/systemd/system/{}", trial::JUDGE), wants.join(trial::JUDGE)).unwrap();
        let class = format!(
            r#"{{ "version": 1, "class": "model", "policy": {{ "attempts": {attempts}, "failure": "{failure}",
            "trust": "{trust}" }},
            "fields": {{ "port": {{ "type": "port", "help": "where it listens", "default": 80 }} }} }}"#
        );
        fs::write(tree.join("usr/lib/handoff/class.json"), class).unwrap();
        let (operator, stranger) = (SigningKey::random("ops").unwrap(), SigningKey::random("else").unwrap());
        let line = format!("ops@example.net {}\n", operator.public_line().unwrap());
        fs::write(tree.join("usr/lib/handoff/trusted-keys"), line).unwrap();
        let root = Root::open(&tree).unwrap();
        Guest { _directory: directory, tree, disk, root, operator, stranger, attempts }
    }

    /// Settings that show in the guest which they are.
    fn settings(serial: u64) -> String {
        format!(
            r#"{{"version": 1, "instance": {{"id": "m-1", "serial": {serial}}}, "appliance": {{"class": "model"}},
            "files": [{{"path": "/etc/marker", "content": "{serial}"}}]}}"#
        )
    }

    fn offer(&self, settings: &str, signer: Option<&SigningKey>) {
        let signature = signer.map(|key| key.sign(settings.as_bytes()).unwrap());
        let blob = Blob::new("test", settings.into(), signature).unwrap();
        fs::write(&self.disk, container::encode(&blob)).unwrap();
    }

    fn offer_good(&self, serial: u64) {
        self.offer(&Self::settings(serial), Some(&self.operator));
    }

    /// Offers what has to be refused by a guest that has committed `highest`.
    fn offer_flawed(&self, flaw: Flaw, highest: u64) {
        let next = Self::settings(highest + 1);
        let (good, bad) = (Some(&self.operator), Some(&self.stranger));
        match flaw {
            Flaw::Forged => self.offer(&next, bad),
            Flaw::Unsigned => self.offer(&next, None),
            Flaw::Damaged => {
                self.offer(&next, good);
                let mut bytes = fs::read(&self.disk).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&self.disk, bytes).unwrap();
            }
            Flaw::OlderSerial => self.offer(&Self::settings(0).replace("/etc/marker", "/etc/older"), good),
            Flaw::SameSerial => self.offer(&Self::settings(highest).replace("/etc/marker", "/etc/other"), good),
            Flaw::OtherClass => self.offer(&next.replace("\"model\"", "\"other\""), good),
            Flaw::OtherMachine => {
                let machine =
                    format!(r#""serial": {}, "machine": "4c4c4544-0042-3510-8052-b4c04f4e3132""#, highest + 1);
                self.offer(&next.replace(&format!(r#""serial": {}"#, highest + 1), &machine), good);
            }
            Flaw::Unreadable => self.offer(&next.replace("files", "filse"), good),
            Flaw::OutOfRange => {
                self.offer(&next.replace("\"files\"", "\"fields\": {\"port\": 65536}, \"files\""), good);
            }
            Flaw::Missing => drop(fs::remove_file(&self.disk)),
        }
    }

    fn state(&self) -> State {
        State::load(&self.root).unwrap()
    }

    fn arguments(&self, command: Command) -> Arguments {
        let source = Some(Spec::File(self.disk.clone()));
        Arguments { root: self.tree.clone(), source, wait: Some(Duration::ZERO), command }
    }

    /// What the agent does in a boot, as far as it ends in the guest's files. The code with which it ends, and the line.
    fn boot(&self) -> (u8, Outcome, String) {
        let arguments = self.arguments(Command::Boot { pid1: false });
        let status = boot::attempt(&self.root, &arguments, Mode::Service, &mut Vec::new())
            .unwrap_or_else(|error| boot::refused(&self.root, Mode::Service, &error));
        (exit_code(&status), status.outcome, status.message)
    }

    /// What it does in a boot that is stopped, with what is on the disk then.
    fn wait(&self) -> (u8, Outcome, String) {
        let Ok(bytes) = fs::read(&self.disk) else { return (13, Outcome::Stopped, "no disk".into()) };
        let result = container::decode("disk", &bytes)
            .and_then(|blob| stopped::attempt(&self.root, Found { blob, place: "disk".into() }, &mut Vec::new()));
        let status = result.unwrap_or_else(|error| boot::refused(&self.root, Mode::Stopped, &error));
        (exit_code(&status), status.outcome, status.message)
    }

    /// What `ready` makes of one look at the appliance. Whether it looks again.
    fn look(&self, is_ready: bool) -> bool {
        let mut state = self.state();
        if state.trial.is_none() {
            return false;
        }
        let next = trial::judged(&self.root, &mut state, self.attempts, is_ready).unwrap();
        if let Some(Next::GoBack(good)) = next {
            let live = Some(platform::live(&self.root, false).unwrap());
            let facts = Facts { entropy: platform::entropy().unwrap(), live, ..Facts::default() };
            let mut run = Run::new(&self.root, facts).unwrap();
            trial::go_back(&mut run, good, "it was not ready", Mode::Service, &mut Vec::new()).unwrap();
        }
        matches!(next, Some(Next::Again(_) | Next::GoBack(_)))
    }

    fn roll_back(&self, generation: u64) {
        let command = Command::Rollback { generation: Some(generation) };
        let arguments = Arguments { source: None, ..self.arguments(command) };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        commands::rollback(&self.root, &arguments, Some(generation), &mut out, &mut err).unwrap();
    }

    /// Starts with these settings pinned from now on, or with none.
    fn pin(&self, settings: Option<&str>) {
        let pin = settings.map_or(String::new(), |text| format!("handoff.digest={}", Digest::of(text.as_bytes())));
        self.command_line(&pin);
    }

    fn command_line(&self, words: &str) {
        fs::create_dir_all(self.tree.join("proc")).unwrap();
        fs::write(self.tree.join("proc/cmdline"), format!("quiet {words}\n")).unwrap();
    }

    fn picture(&self) -> Picture {
        let mut found = Picture::new();
        let mut open = vec![self.tree.clone()];
        while let Some(path) = open.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = match metadata.is_dir() {
                true => {
                    open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                    Vec::new()
                }
                false => fs::read(&path).unwrap_or_default(),
            };
            let times = (metadata.ctime(), metadata.ctime_nsec());
            found.insert(path, (metadata.ino(), metadata.mode(), times.0, times.1, content));
        }
        found
    }

    fn marker(&self) -> String {
        fs::read_to_string(self.tree.join("etc/marker")).unwrap_or_default()
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What the world knows of a guest, beside what the guest remembers.
struct Life {
    guest: Guest,
    dice: Dice,
    natures: BTreeMap<u64, Nature>,
    /// The settings that were last seen to work or chosen by hand.
    good: Option<u64>,
    /// Settings that the power cut may have let become good.
    maybe_good: Option<u64>,
    /// How often an appliance was started with each generation, while on trial.
    attempts: BTreeMap<u64, u32>,
    rejected: BTreeSet<String>,
    stopped: bool,
    /// Whether the power does not fail any more.
    steady: bool,
    /// For the message of a failure.
    story: Vec<String>,
    cuts: u32,
    ways_back: u32,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let attempts = u32::try_from(1 + dice.roll(4)).unwrap();
        let failure = ["last-good", "stop", "continue"][usize::try_from(dice.roll(3)).unwrap()];
        Life {
            // What is signed by whom has tests of its own, and checking it takes longer than all the rest.
            guest: Guest::new(attempts, failure, "none"),
            dice,
            natures: BTreeMap::new(),
            good: None,
            maybe_good: None,
            attempts: BTreeMap::new(),
            rejected: BTreeSet::new(),
            stopped: false,
            steady: false,
            story: vec![format!("seed {seed}, {attempts} attempts, {failure}")],
            cuts: 0,
            ways_back: 0,
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    fn highest(&self) -> u64 {
        self.guest.state().serials.get("m-1").map_or(0, |mark| mark.serial)
    }

    fn new_settings(&mut self, nature: Nature) {
        let serial = self.natures.keys().next_back().map_or(1, |last| last + 1);
        self.natures.insert(serial, nature);
        self.guest.offer(&Guest::settings(serial), None);
        self.tell(format!("serial {serial} is offered: {nature:?}"));
    }

    /// How many steps are left until the power fails, for some of the events.
    fn fuse(&mut self) -> Option<u32> {
        match self.dice.roll(2) {
            0 if !self.steady => u32::try_from(self.dice.roll(50)).ok(),
            _ => None,
        }
    }

    fn with_power<T>(&mut self, fuse: Option<u32>, work: impl FnOnce(&Guest) -> T) -> Option<T> {
        let result = until_cut(fuse, || work(&self.guest));
        if result.is_none() {
            self.cuts += 1;
            self.tell(format!("the power fails after {} steps", fuse.unwrap_or_default()));
            // The next start ends what was begun, unless the power fails again.
            let fuse = self.fuse();
            if until_cut(fuse, || commit::recover(&self.guest.root).unwrap()).is_none() {
                commit::recover(&self.guest.root).unwrap();
            }
        }
        self.check();
        result
    }

    fn serial(state: &State, generation: u64) -> Option<u64> {
        state.history.get(&generation).and_then(|committed| committed.serial)
    }

    /// What holds at any moment.
    fn check(&mut self) {
        let state = self.guest.state();
        let story = || self.story.join("\n  ");
        let current = Self::serial(&state, state.generation);
        let shown = current.map(|serial| serial.to_string()).unwrap_or_default();
        assert_eq!(self.guest.marker(), shown, "half of a generation\n  {}", story());
        let good = state.good().and_then(|good| Self::serial(&state, good));
        if good.is_some() && good == self.maybe_good {
            self.good = good;
        }
        assert_eq!(good, self.good, "the last good one is not what was seen to work\n  {}", story());
        let class = Class::load(&self.guest.root).unwrap();
        for generation in state.good().into_iter().chain(Some(state.generation)).filter(|number| *number > 0) {
            let kept = offer::committed(&self.guest.root, &class, &state, generation);
            assert!(kept.is_ok(), "generation {generation} is not kept: {kept:?}\n  {}", story());
        }
        for digest in &self.rejected {
            assert!(state.rejected.contains_key(digest), "bad settings were forgotten\n  {}", story());
        }
        let digest = state.current().map(|current| &current.digest);
        assert!(!digest.is_some_and(|digest| self.rejected.contains(digest)), "taken again\n  {}", story());
        let directory = self.guest.tree.join(&store::GENERATIONS[1..]);
        let kept = fs::read_dir(directory).map_or(0, Iterator::count);
        assert!(kept <= 7, "{kept} generations are kept\n  {}", story());
        for (digest, reason) in &state.rejected {
            let is_new = self.rejected.insert(digest.clone());
            self.ways_back += u32::from(is_new && !reason.contains("by hand"));
        }
        if let Some(serial) = self.good {
            self.maybe_good = Some(serial);
        }
    }

    /// One boot, from power on to the moment when nothing more happens, or the guest is reset.
    fn boot(&mut self, fuse: Option<u32>) {
        self.stopped = false;
        let Some((code, outcome, message)) = self.with_power(fuse, Guest::boot) else { return };
        self.tell(format!("boot: {code} {message}"));
        self.stopped = outcome == Outcome::Stopped;
        assert_eq!(self.stopped, !matches!(code, 0 | 14));
        if !self.stopped {
            self.appliance();
        }
    }

    /// The services are started, and somebody looks whether they get ready.
    fn appliance(&mut self) {
        loop {
            let state = self.guest.state();
            let Some(serial) = Self::serial(&state, state.generation) else { return };
            if state.trial.is_some() {
                let attempts = self.attempts.entry(state.generation).or_default();
                *attempts += 1;
                // With a policy that lets any boot go on, one that has nothing to go back to goes on with what it has.
                let is_endless = state.good().is_none() && self.story[0].ends_with("continue");
                let within = *attempts <= self.guest.attempts || is_endless;
                assert!(
                    within,
                    "{attempts} attempts with generation {}\n  {}",
                    state.generation,
                    self.story.join("\n  ")
                );
            }
            let is_ready = match self.natures[&serial] {
                Nature::Resets => {
                    self.tell(format!("serial {serial} resets the guest"));
                    return;
                }
                Nature::Good => true,
                Nature::NeverReady => false,
                Nature::Flaky => self.dice.roll(2) == 0,
            };
            if is_ready {
                self.maybe_good = Some(serial);
            }
            let fuse = self.fuse();
            let Some(again) = self.with_power(fuse, |guest| guest.look(is_ready)) else { return };
            let now = self.guest.state();
            self.tell(format!(
                "serial {serial} ready: {is_ready}; then generation {}, {:?}",
                now.generation, now.trial
            ));
            if !again {
                return;
            }
        }
    }

    fn event(&mut self) {
        match self.dice.roll(12) {
            0..4 => {
                let nature = match self.dice.roll(5) {
                    0 | 1 => Nature::Good,
                    2 => Nature::NeverReady,
                    3 => Nature::Resets,
                    _ => Nature::Flaky,
                };
                self.new_settings(nature);
            }
            4 | 5 => {
                let unsigned = |(flaw, _): &&(Flaw, u8)| !matches!(flaw, Flaw::Forged | Flaw::Unsigned);
                let flaws: Vec<Flaw> = FLAWS.iter().filter(unsigned).map(|(flaw, _)| *flaw).collect();
                let flaw = flaws[usize::try_from(self.dice.roll(flaws.len() as u64)).unwrap()];
                let highest = self.highest();
                if highest > 0 {
                    self.guest.offer_flawed(flaw, highest);
                    self.tell(format!("what is offered is {flaw:?}"));
                }
            }
            6 => {
                let state = self.guest.state();
                let others: Vec<u64> = state.history.keys().copied().filter(|n| *n != state.generation).collect();
                if !others.is_empty() {
                    let chosen = others[usize::try_from(self.dice.roll(others.len() as u64)).unwrap()];
                    let is_same =
                        state.current().map(|one| &one.digest) == state.history.get(&chosen).map(|one| &one.digest);
                    self.tell(format!("rolled back by hand from {} to {chosen}", state.generation));
                    if is_same {
                        return;
                    }
                    self.maybe_good = Self::serial(&state, chosen);
                    // Who chooses it takes it, whatever was said of it.
                    self.rejected.remove(&state.history[&chosen].digest);
                    let fuse = self.fuse();
                    self.with_power(fuse, |guest| guest.roll_back(chosen));
                }
            }
            _ => {
                if self.stopped && self.dice.roll(2) == 0 {
                    let fuse = self.fuse();
                    let Some((code, outcome, message)) = self.with_power(fuse, Guest::wait) else {
                        self.stopped = false;
                        return;
                    };
                    self.tell(format!("while stopped: {code} {message}"));
                    self.stopped = outcome == Outcome::Stopped;
                    if !self.stopped {
                        self.appliance();
                    }
                } else {
                    let fuse = self.fuse();
                    self.boot(fuse);
                }
            }
        }
    }

    /// Whatever it went through, it comes to rest, and takes corrected settings.
    fn end(&mut self) {
        for nature in self.natures.values_mut() {
            *nature = if *nature == Nature::Flaky { Nature::Good } else { *nature };
        }
        self.steady = true;
        self.tell("the power is steady from here on");
        for _ in 0..self.guest.attempts + 2 {
            self.boot(None);
        }
        let before = self.guest.picture();
        self.boot(None);
        let after = self.guest.picture();
        let changed: Vec<&PathBuf> =
            after.iter().filter(|(path, seen)| before.get(*path) != Some(*seen)).map(|one| one.0).collect();
        assert!(
            changed.is_empty() && before.len() == after.len(),
            "no rest: {changed:?}\n  {}",
            self.story.join("\n  ")
        );
        self.new_settings(Nature::Good);
        match self.stopped {
            true => {
                let (code, ..) = self.with_power(None, Guest::wait).unwrap();
                assert_eq!(code, 0, "{}", self.story.join("\n  "));
                self.appliance();
            }
            false => self.boot(None),
        }
        let newest = self.natures.keys().next_back().copied();
        assert_eq!(self.good, newest, "{}", self.story.join("\n  "));
    }
}

#[test]
fn whatever_happens_the_last_good_settings_are_kept_and_bad_ones_are_left() {
    const LIVES: u64 = 30;
    let (mut cuts, mut ways_back) = (0, 0);
    for seed in 1..=LIVES {
        let mut life = Life::new(seed);
        for _ in 0..25 {
            life.event();
        }
        life.end();
        cuts += life.cuts;
        ways_back += life.ways_back;
    }
    eprintln!("{LIVES} lives, {cuts} power cuts, {ways_back} ways back");
    assert!(cuts > 50 && ways_back > 8, "{cuts} power cuts, {ways_back} ways back");
}

/// Places with two disks that hold what the guest would take.
fn two_disks(guest: &Guest) -> Places {
    let directory = guest.disk.parent().unwrap();
    let places = Places { sys_class_block: directory.join("class"), dev: directory.join("dev") };
    guest.offer_good(9);
    for name in ["vdb", "vdc"] {
        let sys = places.sys_class_block.join(name);
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("size"), "8\n").unwrap();
        fs::create_dir_all(&places.dev).unwrap();
        fs::copy(&guest.disk, places.dev.join(name)).unwrap();
    }
    places
}

#[test]
fn what_is_refused_costs_a_guest_nothing_on_trial_or_not() {
    for (flaw, code) in FLAWS {
        let guest = Guest::new(3, "last-good", "signature");
        guest.offer_good(1);
        assert_eq!(guest.boot().0, 0);
        assert!(!guest.look(true));
        let before = guest.picture();
        guest.offer_flawed(flaw, 1);
        let (exit, outcome, message) = guest.boot();
        assert_eq!((exit, outcome), (14, Outcome::LastGood), "{flaw:?}: {message}");
        assert!(message.starts_with(&format!("NOT APPLIED (code {code}): ")), "{flaw:?}: {message}");
        assert!(message.ends_with("; running on the last good settings, m-1 serial 1 (generation 1)"), "{message}");
        assert_eq!(guest.picture(), before, "{flaw:?}");

        // Two disks at once are no choice, whatever they hold.
        let places = two_disks(&guest);
        let error = source::wait(&[Spec::Auto], &places, Instant::now(), &mut None).unwrap_err();
        let status = boot::refused(&guest.root, Mode::Service, &error);
        assert_eq!(
            (exit_code(&status), status.code, status.outcome),
            (14, 11, Outcome::LastGood),
            "{}",
            status.message
        );
        assert_eq!(guest.picture(), before);

        // The same while others are on trial: only the attempt is counted.
        guest.offer_good(2);
        assert_eq!(guest.boot().0, 0);
        let before = guest.picture();
        guest.offer_flawed(flaw, 2);
        let (exit, _, message) = guest.boot();
        assert_eq!(exit, 14, "{flaw:?}: {message}");
        assert!(
            message.ends_with("; running on the settings of before, m-1 serial 2 (generation 2, on trial)"),
            "{message}"
        );
        let state = Path::new("var/lib/handoff/state.json");
        let differing = |after: Picture| -> Vec<PathBuf> {
            let paths = after
                .into_iter()
                .filter(|(path, seen)| before.get(path) != Some(seen) && !path.ends_with("var/lib/handoff"));
            paths.map(|(path, _)| path.strip_prefix(&guest.tree).unwrap().to_owned()).collect()
        };
        assert_eq!(differing(guest.picture()), [state], "{flaw:?}");
        assert_eq!(guest.state().trial.map(|trial| (trial.attempt, trial.good)), Some((2, Some(1))), "{flaw:?}");
    }
}

/// A guest that was seen to work with serial 1.
fn with_a_good_one(failure: &str) -> Guest {
    let guest = Guest::new(2, failure, "signature");
    guest.offer_good(1);
    assert_eq!(guest.boot().0, 0);
    assert!(!guest.look(true));
    guest
}

#[test]
fn a_guest_never_goes_back_to_settings_that_are_not_pinned() {
    for failure in ["last-good", "stop", "continue"] {
        let guest = with_a_good_one(failure);
        guest.offer_good(2);
        guest.pin(Some(&Guest::settings(2)));
        assert_eq!(guest.boot().0, 0);
        for _ in 0..3 {
            // There is nothing to go back to, so a boot counts and a look does not.
            assert!(!guest.look(false));
            guest.boot();
            assert_eq!(guest.marker(), "2", "{failure}");
        }
        let (code, outcome, message) = guest.boot();
        let why = "generation 2 did not get ready in 2 attempts, and the pinned ones are all that it may run on";
        assert!(message.contains(why), "{message}");
        let expected = if failure == "continue" { (0, Outcome::Continued) } else { (13, Outcome::Stopped) };
        assert_eq!((code, outcome), expected, "{message}");
        if failure != "continue" {
            assert_eq!(guest.wait().1, Outcome::Stopped);
        }
        let state = guest.state();
        assert_eq!((state.good(), state.rejected.len(), guest.marker()), (Some(1), 0, "2".into()));

        // The good ones are not forgotten. Without the pin it is as it would have been.
        guest.pin(None);
        guest.boot();
        assert_eq!(guest.marker(), "1", "{failure}");
    }
}

#[test]
fn settings_in_place_that_are_not_pinned_count_as_none() {
    let refused = |guest: &Guest| {
        guest.offer_flawed(Flaw::Forged, 1);
        guest.boot()
    };
    let other = "m-1 serial 1 (generation 1) is not what the kernel's command line pins";
    for (failure, code) in [("last-good", 11), ("stop", 11), ("continue", 0)] {
        let guest = with_a_good_one(failure);
        guest.pin(Some(&Guest::settings(1)));
        let (_, _, message) = refused(&guest);
        assert!(!message.contains(other), "{message}");
        guest.pin(Some(&Guest::settings(2)));
        let (exit, _, message) = refused(&guest);
        assert_eq!(exit, code, "{message}");
        assert!(message.contains(other), "{message}");
    }
}

#[test]
fn a_guest_that_may_run_on_its_last_good_settings_alone_stops_where_others_are_pinned() {
    let guest = with_a_good_one("last-good");
    // The pinned ones are there and refused for something else, or are not there.
    let forged = || guest.offer(&Guest::settings(2), Some(&guest.stranger));
    let missing = || guest.offer_flawed(Flaw::Missing, 1);
    guest.pin(Some(&Guest::settings(1)));
    missing();
    assert_eq!(guest.boot().1, Outcome::LastGood);
    guest.pin(Some(&Guest::settings(2)));
    let before = guest.picture();
    missing();
    assert_eq!((guest.boot().0, guest.boot().1), (10, Outcome::Stopped));
    forged();
    assert_eq!((guest.boot().0, guest.boot().1), (11, Outcome::Stopped));
    // What comes while it is stopped and is refused does not let the boot go on either.
    assert_eq!(guest.wait().1, Outcome::Stopped);
    assert_eq!(boot::refused(&guest.root, Mode::Service, &Error::not_applied("a", "b", "c")).outcome, Outcome::Stopped);
    // A pin that cannot be read is not none.
    guest.command_line("handoff.digest=sha256:1");
    assert_eq!(guest.boot().1, Outcome::Stopped);
    guest.pin(Some(&Guest::settings(2)));
    let changed = guest.picture().into_iter().filter(|(path, seen)| before.get(path) != Some(seen));
    let changed: Vec<PathBuf> = changed.map(|one| one.0).filter(|path| !path.ends_with("proc/cmdline")).collect();
    assert!(changed.is_empty(), "{changed:?}");

    // A boot that needs no settings needs those that are in place to be the pinned ones.
    let class = guest.tree.join("usr/lib/handoff/class.json");
    let text = fs::read_to_string(&class).unwrap();
    fs::write(&class, text.replace("\"trust\"", "\"settings\": \"optional\", \"trust\"")).unwrap();
    missing();
    let (code, outcome, message) = guest.boot();
    assert_eq!((code, outcome), (11, Outcome::Stopped), "{message}");
    assert!(message.contains("generation 1: its settings have the digest"), "{message}");
    guest.pin(Some(&Guest::settings(1)));
    assert_eq!((guest.boot().0, guest.boot().1), (0, Outcome::NoSettings));

    // The pinned ones, in the stopped boot.
    guest.pin(Some(&Guest::settings(2)));
    guest.offer_good(2);
    assert_eq!((guest.wait().1, guest.marker()), (Outcome::Applied, "2".into()));
}

#[test]
fn a_rollback_by_hand_to_what_is_not_pinned_is_refused() {
    let guest = with_a_good_one("last-good");
    guest.offer_good(2);
    guest.boot();
    guest.pin(Some(&Guest::settings(2)));
    let before = guest.picture();
    let arguments = guest.arguments(Command::Rollback { generation: Some(1) });
    let roll_back = || commands::rollback(&guest.root, &arguments, Some(1), &mut Vec::new(), &mut Vec::new());
    let error = roll_back().unwrap_err();
    assert_eq!((error.class().exit_code(), error.object()), (11, "generation 1"));
    assert!(error.remedy().starts_with("start the guest with handoff.digest=sha256:"), "{error}");
    assert_eq!(guest.picture(), before);
    guest.pin(Some(&Guest::settings(1)));
    roll_back().unwrap();
    assert_eq!(guest.marker(), "1");
}

#[test]
fn who_looks_ends_what_it_was_killed_in() {
    let mut cuts = 0;
    for steps in 0.. {
        let guest = with_a_good_one("last-good");
        guest.offer_good(2);
        guest.boot();
        let ended = until_cut(Some(steps), || ready::ready(&guest.root, &mut Vec::new()).unwrap());
        if ended.is_some() {
            break;
        }
        cuts += u32::from(commit::interrupted(&guest.root).unwrap());
        assert_eq!(ready::ready(&guest.root, &mut Vec::new()), Ok(0), "killed after {steps} steps");
        assert_eq!((guest.state().trial, guest.state().good()), (None, Some(2)));
    }
    assert!(cuts > 1, "{cuts}");
}

#[test]
fn what_came_while_somebody_looked_is_not_judged_by_that_look() {
    let guest = with_a_good_one("last-good");
    guest.offer_good(2);
    guest.boot();
    let mut seen = guest.state();
    guest.offer_good(3);
    guest.boot();
    let before = guest.picture();
    let mut err = Vec::new();
    let went_back = ready::go_back(&guest.root, 2, 1, "generation 2 was not ready", &mut err);
    assert_eq!(went_back, Ok(false));
    let told = "handoff: generation 2 was not ready; m-1 serial 3 (generation 3, on trial) came meanwhile and stays\n";
    assert_eq!(String::from_utf8(err).unwrap(), told);
    // Nor is the memory of before written over theirs.
    assert!(trial::judged(&guest.root, &mut seen, 2, true).is_err());
    assert!(trial::judged(&guest.root, &mut seen, 2, false).is_err());
    assert_eq!(guest.picture(), before);
}
