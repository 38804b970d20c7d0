//! What is remembered of a plan: the next state, the settings of its generation, and the contents to give back.

use super::difference::Difference;
use super::{Desired, Situation, Step};
use crate::class::Class;
use crate::commit::state::{Change, Changes, Committed, Kept, SerialMark, Standing, State, Trace, Trial};
use crate::commit::store::{GENERATIONS, OBJECTS, STATE, generation_directory, object_path};
use crate::error::Result;
use crate::guest::{File, GuestPath, Node, Owner, View};
use crate::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// How many generations of settings are kept, the current one included.
pub const KEPT_GENERATIONS: u64 = 5;

/// How many hand-edited texts are kept.
const KEPT_EDITS: usize = 32;

/// How many of one path are: who writes the own file again and again shall not drive out what others wrote elsewhere.
const KEPT_EDITS_OF_ONE: usize = 4;

/// The settings that are being applied, with where they come from.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The settings, read.
    pub settings: &'a Settings,
    /// The class of the guest.
    pub class: &'a Class,
    /// Their exact bytes.
    pub text: &'a [u8],
    /// The exact bytes of their signature.
    pub signature: Option<&'a [u8]>,
    /// SHA-256 of the text, as `sha256:…`.
    pub digest: &'a str,
    /// Who answers for them, for people.
    pub authority: &'a str,
    /// Where they come from, for people.
    pub source: &'a str,
    /// Unix time, in seconds.
    pub now: u64,
    /// Whether new settings are on trial until the appliance is seen to get ready with them.
    pub on_trial: bool,
}

fn is_old(number: u64, current: u64) -> bool {
    number.saturating_add(KEPT_GENERATIONS) <= current
}

/// The next state, and the steps that record it. No steps where there is nothing new to remember.
pub(super) fn remember(
    desired: &Desired,
    difference: &mut Difference,
    incoming: &Incoming<'_>,
    situation: &Situation<'_>,
) -> Result<(State, Vec<Step>)> {
    let previous = situation.previous;
    let mut state = previous.clone();
    state.version = 1;
    state.owned = std::mem::take(&mut difference.owned);
    state.accounts = desired.accounts.clone();
    state.identity = desired.identity.clone().or(state.identity);
    let same_settings = previous.current().is_some_and(|committed| committed.digest == incoming.digest);
    if !same_settings {
        state.generation = previous.generation.saturating_add(1);
        let instance = incoming.settings.instance.as_ref();
        let mut committed = Committed {
            digest: incoming.digest.into(),
            instance: instance.map(|instance| instance.id.to_string()),
            serial: instance.map(|instance| instance.serial),
            authority: incoming.authority.into(),
            time: incoming.now,
            source: Some(incoming.source.into()),
            standing: None,
            left: None,
            changes: Some(changes(&difference.steps)),
        };
        let good = previous.good();
        let known =
            |generation: &u64| previous.history.get(generation).is_some_and(|one| one.digest == incoming.digest);
        // What was good before has nothing to show.
        let on_trial = incoming.on_trial && !good.as_ref().is_some_and(known);
        state.trial = on_trial.then_some(Trial { attempt: 1, good });
        let is_same = |one: &&Committed| one.digest == incoming.digest;
        let was_good = previous.history.values().filter(is_same).any(|one| one.standing == Some(Standing::Good));
        committed.standing = Some(match (&state.trial, was_good) {
            (Some(_), _) => Standing::Trial,
            (None, true) => Standing::Good,
            (None, false) => Standing::Untried,
        });
        state.history.insert(state.generation, committed);
        // The good one is needed for the way back, however many were tried since.
        let good = state.good();
        state.history.retain(|number, _| !is_old(*number, state.generation) || Some(*number) == good);
        if let Some(instance) = instance {
            let mark = SerialMark { serial: instance.serial, digest: incoming.digest.into() };
            let known = state.serials.entry(instance.id.to_string()).or_insert_with(|| mark.clone());
            if known.serial <= mark.serial {
                *known = mark;
            }
        }
    }
    for kept in &mut difference.kept {
        kept.generation = state.generation;
    }
    // A program that writes the same again and again shall not drive out what a person wrote.
    let is_new = |old: &Kept| !difference.kept.iter().any(|new| new.path == old.path && new.sha256 == old.sha256);
    state.kept.retain(is_new);
    state.kept.append(&mut difference.kept);
    forget_old_edits(&mut state.kept);
    if state == *previous {
        return Ok((state, Vec::new()));
    }

    let mut book = Book { situation, steps: Vec::new() };
    book.objects(&state, difference)?;
    if !same_settings {
        book.generation(&state, incoming)?;
    }
    book.write(GuestPath::of(STATE), state.to_bytes()?)?;
    Ok((state, book.in_order()))
}

/// Keeps the newest, which are the last.
fn forget_old_edits(kept: &mut Vec<Kept>) {
    let mut of_path: BTreeMap<GuestPath, usize> = BTreeMap::new();
    kept.reverse();
    kept.retain(|edit| {
        let number = of_path.entry(edit.path.clone()).or_default();
        *number += 1;
        *number <= KEPT_EDITS_OF_ONE
    });
    kept.truncate(KEPT_EDITS);
    kept.reverse();
}

/// What the steps change, for those who ask later.
fn changes(steps: &[Step]) -> Changes {
    let mut changes = Changes::default();
    let mut room = Changes::MAX_BYTES;
    for step in steps {
        let change = match step {
            Step::MakeDirectory { .. }
            | Step::WriteFile { before: None, .. }
            | Step::WriteLink { before: None, .. } => Change::Created,
            Step::WriteFile { .. } | Step::WriteLink { .. } | Step::SetAttributes { .. } => Change::Changed,
            Step::Remove { .. } | Step::RemoveDirectory { .. } => Change::Removed,
        };
        match change {
            Change::Created => changes.created += 1,
            Change::Changed => changes.changed += 1,
            Change::Removed => changes.removed += 1,
        }
        let length = step.path().as_str().len();
        if changes.paths.len() < Changes::MAX_PATHS && length <= room {
            room -= length;
            changes.paths.insert(step.path().clone(), change);
        }
    }
    changes
}

/// The steps that record a state in which only our own memory has changed. None where it has not.
///
/// # Errors
/// The state would be too large, or what is there cannot be read.
pub fn record(guest: &dyn View, state: &State) -> Result<Vec<Step>> {
    let path = GuestPath::of(STATE);
    let content = state.to_bytes()?;
    let before = guest.node(&path)?;
    if matches!(&before, Some(Node::File(there)) if there.content == content) {
        return Ok(Vec::new());
    }
    let file = File { content, mode: 0o600, owner: Owner::ROOT };
    Ok(vec![Step::WriteFile { path, file, before, secret: true }])
}

/// The steps that remove all that is remembered.
pub(super) fn forget(guest: &dyn View) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for directory in [GuestPath::of(OBJECTS), GuestPath::of(GENERATIONS)] {
        clear(guest, &directory, &mut steps)?;
    }
    let state = GuestPath::of(STATE);
    if let Some(before) = guest.node(&state)? {
        steps.push(Step::Remove { path: state, before });
    }
    Ok(steps)
}

/// Removes what is in a directory of ours, and then the directory.
fn clear(guest: &dyn View, directory: &GuestPath, steps: &mut Vec<Step>) -> Result<()> {
    let Some(names) = guest.list(directory)? else { return Ok(()) };
    for name in names {
        let path = directory.join(&name)?;
        match guest.node(&path)? {
            None => {}
            Some(Node::Directory { .. }) => clear(guest, &path, steps)?,
            Some(before) => steps.push(Step::Remove { path, before }),
        }
    }
    steps.push(Step::RemoveDirectory { path: directory.clone() });
    Ok(())
}

struct Book<'a> {
    situation: &'a Situation<'a>,
    steps: Vec<Step>,
}

impl Book<'_> {
    /// Remembers the contents that the state speaks of, and forgets the others.
    fn objects(&mut self, state: &State, difference: &Difference) -> Result<()> {
        let mut needed: BTreeSet<&str> = state.kept.iter().map(|kept| kept.sha256.as_str()).collect();
        needed.extend(state.owned.values().filter_map(|owned| match &owned.replaced {
            Trace::File { sha256, .. } => Some(sha256.as_str()),
            _ => None,
        }));
        for (sha256, content) in &difference.objects {
            if needed.contains(sha256.as_str()) {
                self.write(object_path(sha256)?, content.clone())?;
            }
        }
        let directory = GuestPath::of(OBJECTS);
        for name in self.situation.guest.list(&directory)?.unwrap_or_default() {
            if !needed.contains(name.as_str()) {
                self.remove(directory.join(&name)?)?;
            }
        }
        Ok(())
    }

    /// Remembers the settings of this generation, and forgets those of old ones.
    fn generation(&mut self, state: &State, incoming: &Incoming<'_>) -> Result<()> {
        let directory = generation_directory(state.generation);
        self.write(directory.join("settings.json")?, incoming.text.to_vec())?;
        if let Some(signature) = incoming.signature {
            self.write(directory.join("settings.json.sig")?, signature.to_vec())?;
        }
        let Some(parent) = directory.parent() else { return Ok(()) };
        for name in self.situation.guest.list(&parent)?.unwrap_or_default() {
            let is_forgotten = |number| is_old(number, state.generation) && !state.history.contains_key(&number);
            if name.parse::<u64>().is_ok_and(is_forgotten) {
                clear(self.situation.guest, &parent.join(&name)?, &mut self.steps)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, path: GuestPath, content: Vec<u8>) -> Result<()> {
        let file = File { content, mode: 0o600, owner: Owner::ROOT };
        let before = self.situation.guest.node(&path)?;
        let same = |there: &Node| matches!(there, Node::File(there) if there.content == file.content && there.mode == file.mode);
        if before.as_ref().is_some_and(same) {
            return Ok(());
        }
        let mut next = path.parent();
        while let Some(parent) = next {
            let planned = self.steps.iter().any(|step| *step.path() == parent);
            if !planned && self.situation.guest.kind(&parent)?.is_none() {
                self.steps.push(Step::MakeDirectory { path: parent.clone(), mode: 0o700, owner: Owner::ROOT });
            }
            next = parent.parent();
        }
        self.steps.push(Step::WriteFile { path, file, before, secret: true });
        Ok(())
    }

    fn remove(&mut self, path: GuestPath) -> Result<()> {
        if let Some(before) = self.situation.guest.node(&path)? {
            self.steps.push(Step::Remove { path, before });
        }
        Ok(())
    }

    /// Directories first, the state last of the writes, then removals, so that whoever reads the state finds what it names.
    fn in_order(mut self) -> Vec<Step> {
        self.steps.sort_by_cached_key(|step| {
            let depth = step.path().components().count();
            match step {
                Step::MakeDirectory { .. } => (0, depth),
                Step::WriteFile { path, .. } if path.as_str() == STATE => (2, 0),
                Step::Remove { .. } => (3, 0),
                Step::RemoveDirectory { .. } => (4, 0),
                _ => (1, 0),
            }
        });
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_edits_one_file_again_and_again_drives_out_no_text_of_another() {
        let edit = |path: &str, generation| Kept { path: GuestPath::of(path), sha256: "0".into(), generation };
        let mut kept = vec![edit("/etc/motd", 1)];
        for generation in 2..200 {
            kept.push(edit("/home/user/.profile", generation));
            forget_old_edits(&mut kept);
        }
        let found: Vec<_> = kept.iter().map(|one| (one.path.as_str(), one.generation)).collect();
        let own = "/home/user/.profile";
        assert_eq!(found, [("/etc/motd", 1), (own, 196), (own, 197), (own, 198), (own, 199)]);
        for number in 200..300 {
            kept.push(edit(&format!("/etc/{number}"), number));
            forget_old_edits(&mut kept);
        }
        assert_eq!((kept.len(), kept[0].generation, kept[31].generation), (KEPT_EDITS, 268, 299));
    }
}
