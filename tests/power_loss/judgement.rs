//! Whether what a power loss left is the old guest or the new one, and becomes the new one.

use super::disk::Partitions;
use super::proof::{self, Guest, Picture, agent, picture, same};
use handoff::commit;
use handoff::root::Root;
use std::path::PathBuf;
use std::process::Command;

/// What was found of a commit, before anything was mended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// No journal.
    Idle,
    Staging,
    Commit,
}

/// What a point was.
#[derive(Clone, Debug)]
pub struct Seen {
    pub phase: Phase,
    /// Files that wait beside their places.
    pub staged: usize,
    /// Which guest it became: the new one, or the old one.
    pub is_new: bool,
}

impl Seen {
    /// Whether the power went in the middle of a commit.
    pub fn is_within(&self) -> bool {
        self.phase != Phase::Idle || self.staged > 0
    }
}

/// Knows both guests, and where to mount what is to be judged.
#[derive(Debug)]
pub struct Bench {
    place: PathBuf,
    source: String,
    old: Picture,
    new: Picture,
}

impl Bench {
    /// The disks before and after the recorded boot, and the settings that it brought.
    pub fn new(guest: &Guest, source: String, before: &Partitions, after: &Partitions) -> Self {
        let (place, scratch) = (guest.beside("mounted"), guest.beside("looked-at"));
        let look = |disk: &Partitions| {
            let mounted = disk.copy(&scratch).mount(&place).unwrap();
            let found = picture(mounted.root());
            mounted.unmount().unwrap();
            found
        };
        let (old, new) = (look(before), look(after));
        for (guest, text) in [(&old, "<p>one</p>\n"), (&new, "<p>two</p>\n")] {
            assert_eq!(guest["/var/www/html/index.html"].text(), text);
            assert!(phase(guest) == Ok(Phase::Idle) && staged(guest) == 0);
        }
        Bench { place, source, old, new }
    }

    /// Judges a disk, which is not the same afterwards.
    pub fn judge(&self, disk: &Partitions) -> Result<Seen, String> {
        let mounted = disk.mount(&self.place)?;
        let left = picture(mounted.root());
        let (phase, staged) = (phase(&left)?, staged(&left));
        let recovery = Root::open(mounted.root()).and_then(|root| commit::recover(&root));
        recovery.map_err(|error| format!("recovery fails: {error}"))?;
        let found = picture(mounted.root());
        let is_new = match (same(&self.old, &found), same(&self.new, &found)) {
            (Ok(()), _) => false,
            (_, Ok(())) => true,
            (Err(from_old), Err(from_new)) => {
                return Err(format!(
                    "neither the old guest (differs in {from_old:?}) nor the new one ({from_new:?}); was in {phase:?}"
                ));
            }
        };
        self.apply()?;
        let converged = picture(mounted.root());
        same(&self.new, &converged).map_err(|paths| format!("the next apply leaves {paths:?} otherwise"))?;
        self.apply()?;
        let again = picture(mounted.root());
        if again != converged {
            return Err(format!("a second apply changes {:?}", changed(&converged, &again)));
        }
        mounted.unmount()?;
        disk.check_clean()?;
        Ok(Seen { phase, staged, is_new })
    }

    fn apply(&self) -> Result<(), String> {
        let mut command = Command::new(agent());
        let run = proof::run(command.arg("--root").arg(&self.place).args(["--source", &self.source, "apply"]));
        if run.code == Some(0) { Ok(()) } else { Err(format!("apply fails: {}{}", run.out, run.err)) }
    }
}

fn changed<'a>(before: &'a Picture, after: &'a Picture) -> Vec<&'a String> {
    let paths = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    paths.filter(|path| before.get(*path) != after.get(*path)).collect()
}

/// The phase of the journal in a picture.
fn phase(guest: &Picture) -> Result<Phase, String> {
    let Some(journal) = guest.get("/var/lib/handoff/journal.json") else { return Ok(Phase::Idle) };
    let journal: serde_json::Value =
        serde_json::from_slice(&journal.content).map_err(|error| format!("the journal is broken: {error}"))?;
    match journal["phase"].as_str() {
        Some("staging") => Ok(Phase::Staging),
        Some("commit") => Ok(Phase::Commit),
        other => Err(format!("the journal has the phase {other:?}")),
    }
}

/// How many files wait beside their places, a journal among them.
fn staged(guest: &Picture) -> usize {
    let waits = |path: &&String| {
        path.rsplit('/').next().is_some_and(|name| name.starts_with(".handoff-") && name.ends_with(".new"))
    };
    guest.keys().filter(waits).count()
}
