//! A guest on a scratch root, with its disk and its operator, for tests of what it lives through.

use crate::agent::arguments::{Arguments, Command};
use crate::agent::boot::{self, exit_code};
use crate::agent::commands::{self, Run};
use crate::agent::status::{Mode, Outcome};
use crate::agent::stopped;
use crate::agent::trial::{self, Next};
use crate::commit::state::State;
use crate::guest::Facts;
use crate::operator::sign::SigningKey;
use crate::platform;
use crate::root::Root;
use crate::source::{Found, Spec};
use crate::trust::{Blob, Digest, container};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

/// Why settings are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flaw {
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

pub(super) const FLAWS: [(Flaw, u8); 10] = [
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
pub(super) type Picture = BTreeMap<PathBuf, (u64, u32, i64, i64, Vec<u8>)>;

/// A guest with its disk and its operator.
pub(super) struct Guest {
    _directory: tempfile::TempDir,
    pub(super) tree: PathBuf,
    pub(super) disk: PathBuf,
    pub(super) root: Root,
    pub(super) operator: SigningKey,
    pub(super) stranger: SigningKey,
    pub(super) attempts: u32,
}

impl Guest {
    pub(super) fn new(attempts: u32, failure: &str, trust: &str) -> Self {
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
    pub(super) fn settings(serial: u64) -> String {
        format!(
            r#"{{"version": 1, "instance": {{"id": "m-1", "serial": {serial}}}, "appliance": {{"class": "model"}},
            "files": [{{"path": "/etc/marker", "content": "{serial}"}}]}}"#
        )
    }

    pub(super) fn offer(&self, settings: &str, signer: Option<&SigningKey>) {
        let signature = signer.map(|key| key.sign(settings.as_bytes()).unwrap());
        let blob = Blob::new("test", settings.into(), signature).unwrap();
        fs::write(&self.disk, container::encode(&blob)).unwrap();
    }

    pub(super) fn offer_good(&self, serial: u64) {
        self.offer(&Self::settings(serial), Some(&self.operator));
    }

    /// Offers what has to be refused by a guest that has committed `highest`.
    pub(super) fn offer_flawed(&self, flaw: Flaw, highest: u64) {
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

    pub(super) fn state(&self) -> State {
        State::load(&self.root).unwrap()
    }

    pub(super) fn arguments(&self, command: Command) -> Arguments {
        let source = Some(Spec::File(self.disk.clone()));
        Arguments { root: self.tree.clone(), source, wait: Some(Duration::ZERO), command }
    }

    /// What the agent does in a boot, as far as it ends in the guest's files. The code with which it ends, and the line.
    pub(super) fn boot(&self) -> (u8, Outcome, String) {
        let arguments = self.arguments(Command::Boot { pid1: false });
        let status = boot::attempt(&self.root, &arguments, Mode::Service, &mut Vec::new())
            .unwrap_or_else(|error| boot::refused(&self.root, Mode::Service, &error));
        (exit_code(&status), status.outcome, status.message)
    }

    /// What it does in a boot that is stopped, with what is on the disk then.
    pub(super) fn wait(&self) -> (u8, Outcome, String) {
        let Ok(bytes) = fs::read(&self.disk) else { return (13, Outcome::Stopped, "no disk".into()) };
        let result = container::decode("disk", &bytes)
            .and_then(|blob| stopped::attempt(&self.root, Found { blob, place: "disk".into() }, &mut Vec::new()));
        let status = result.unwrap_or_else(|error| boot::refused(&self.root, Mode::Stopped, &error));
        (exit_code(&status), status.outcome, status.message)
    }

    /// What `ready` makes of one look at the appliance. Whether it looks again.
    pub(super) fn look(&self, is_ready: bool) -> bool {
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

    pub(super) fn roll_back(&self, generation: u64) {
        let command = Command::Rollback { generation: Some(generation) };
        let arguments = Arguments { source: None, ..self.arguments(command) };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        commands::rollback(&self.root, &arguments, Some(generation), &mut out, &mut err).unwrap();
    }

    /// Starts with these settings pinned from now on, or with none.
    pub(super) fn pin(&self, settings: Option<&str>) {
        let pin = settings.map_or(String::new(), |text| format!("handoff.digest={}", Digest::of(text.as_bytes())));
        self.command_line(&pin);
    }

    pub(super) fn command_line(&self, words: &str) {
        fs::create_dir_all(self.tree.join("proc")).unwrap();
        fs::write(self.tree.join("proc/cmdline"), format!("quiet {words}\n")).unwrap();
    }

    pub(super) fn picture(&self) -> Picture {
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

    pub(super) fn marker(&self) -> String {
        fs::read_to_string(self.tree.join("etc/marker")).unwrap_or_default()
    }
}

/// A guest that was seen to work with serial 1.
pub(super) fn with_a_good_one(failure: &str) -> Guest {
    let guest = Guest::new(2, failure, "signature");
    guest.offer_good(1);
    assert_eq!(guest.boot().0, 0);
    assert!(!guest.look(true));
    guest
}
