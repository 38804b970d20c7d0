//! The difference between the desired tree and the guest's: steps, and what is ours afterwards.

use super::{Desired, Entry, Keeping, Situation, Step, drift};
use crate::commit::state::{Kept, Owned, Trace};
use crate::commit::store::{OBJECTS, replaced};
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node, Owner};
use crate::trust::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The most bytes of a file in reach of users that is not as the settings left it. It is kept in memory and on the disk until
/// it is forgotten, and one user may plant as many of them as the settings have paths there.
const MAX_PLANTED: usize = 128 << 10;

/// What [`difference`] finds.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// The changes, in order.
    pub steps: Vec<Step>,
    /// The paths that are ours afterwards.
    pub owned: BTreeMap<GuestPath, Owned>,
    /// File contents that must be remembered, by digest.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Files that were edited by hand and are overwritten. The generation is filled in later.
    pub kept: Vec<Kept>,
    /// Lines for the operator.
    pub warnings: Vec<String>,
}

impl Trace {
    /// The trace of what stands, or does not stand, at a path.
    pub(super) fn of(node: Option<&Node>) -> Trace {
        match node {
            None => Trace::Absent,
            Some(Node::File(file)) => {
                Trace::File { sha256: Digest::of(&file.content).hex(), mode: file.mode, owner: file.owner }
            }
            Some(Node::Link(target)) => Trace::Link { target: target.clone() },
            Some(Node::Directory { mode, owner }) => Trace::Directory { mode: *mode, owner: *owner },
        }
    }

    fn without_owner(&self) -> Trace {
        let mut trace = self.clone();
        match &mut trace {
            Trace::File { owner, .. } | Trace::Directory { owner, .. } => *owner = Owner::default(),
            Trace::Absent | Trace::Link { .. } => {}
        }
        trace
    }
}

/// Whether two traces are of the same thing.
pub(super) fn same(a: &Trace, b: &Trace, compare_owners: bool) -> bool {
    if compare_owners { a == b } else { a.without_owner() == b.without_owner() }
}

/// Why a path is looked at.
enum Want<'a> {
    /// The settings speak of it.
    Entry(&'a Entry),
    /// It was ours, and the settings no longer speak of it: this is what it replaced.
    GiveBack(Option<Node>),
    /// A directory that is needed for something below it. It is ours where it is needed only for what is ours: below what
    /// stays when it leaves the settings, it stays too.
    Parent { ours: bool },
}

pub(super) fn difference(desired: &Desired, situation: &Situation<'_>) -> Result<Difference> {
    let mut work = Work { situation, found: Difference::default(), blocked: BTreeSet::new() };
    let mut wants: BTreeMap<GuestPath, Want<'_>> = BTreeMap::new();
    for (path, entry) in desired.entries() {
        wants.insert(path.clone(), Want::Entry(entry));
    }
    for (path, owned) in &situation.previous.owned {
        if !wants.contains_key(path) {
            wants.insert(path.clone(), Want::GiveBack(replaced(situation.guest, path, &owned.replaced)?));
        }
    }
    add_parents(&mut wants);
    for (path, want) in &wants {
        work.path(path, want)?;
    }
    work.found.steps.sort_by_cached_key(order);
    Ok(work.found)
}

/// Every directory above something that shall stand is wanted, if only as a parent.
fn add_parents(wants: &mut BTreeMap<GuestPath, Want<'_>>) {
    let stands = |(path, want): (&GuestPath, &Want<'_>)| match want {
        Want::Entry(entry) if entry.node.is_some() => Some((path.clone(), entry.keeping == Keeping::Owned)),
        Want::GiveBack(Some(_)) => Some((path.clone(), false)),
        _ => None,
    };
    let standing: Vec<(GuestPath, bool)> = wants.iter().filter_map(stands).collect();
    for (path, owned) in standing {
        let mut next = path.parent();
        while let Some(parent) = next {
            next = parent.parent();
            if next.is_none() {
                break;
            }
            match wants.entry(parent).or_insert(Want::Parent { ours: owned }) {
                Want::Parent { ours } => *ours &= owned,
                want @ Want::GiveBack(None) => *want = Want::Parent { ours: owned },
                _ => {}
            }
        }
    }
}

/// Directories from the top, then what is put in them, then removals from the bottom.
fn order(step: &Step) -> (u8, usize, GuestPath) {
    let depth = step.path().components().count();
    let (group, depth) = match step {
        Step::MakeDirectory { .. } => (0, depth),
        Step::WriteFile { .. } | Step::WriteLink { .. } => (1, 0),
        Step::SetAttributes { .. } => (2, 0),
        Step::Remove { .. } => (3, 0),
        Step::RemoveDirectory { .. } => (4, usize::MAX - depth),
    };
    (group, depth, step.path().clone())
}

struct Work<'a> {
    situation: &'a Situation<'a>,
    found: Difference,
    /// Directories that are not what they should be, where a user could have spoilt them; nothing below them is touched.
    blocked: BTreeSet<GuestPath>,
}

impl Work<'_> {
    fn same(&self, a: &Trace, b: &Trace) -> bool {
        same(a, b, self.situation.compare_owners)
    }

    fn is_blocked(&self, path: &GuestPath) -> bool {
        self.blocked.iter().any(|blocked| path.is_within(blocked))
    }

    /// One path. Where users may write, what stands in the way is left alone and told: a user may spoil the own keys, and
    /// neither reach out of the home nor keep the rest of the settings from being applied.
    fn path(&mut self, path: &GuestPath, want: &Want<'_>) -> Result<()> {
        if self.is_blocked(path) {
            self.stays_ours(path);
            return Ok(());
        }
        match self.try_path(path, want) {
            Err(error)
                if !error.is_failure()
                    && self.situation.compare_owners
                    && self.situation.guest.is_in_reach_of_users(path) =>
            {
                self.blocked.insert(path.clone());
                self.stays_ours(path);
                self.found.warnings.push(format!("{error}; left as it is"));
                Ok(())
            }
            other => other,
        }
    }

    /// What was ours at this path stays so, unchanged.
    fn stays_ours(&mut self, path: &GuestPath) {
        if let Some(owned) = self.situation.previous.owned.get(path) {
            self.found.owned.insert(path.clone(), owned.clone());
        }
    }

    fn try_path(&mut self, path: &GuestPath, want: &Want<'_>) -> Result<()> {
        let now = self.situation.guest.node(path)?;
        self.check_planted(path, now.as_ref(), want)?;
        match want {
            Want::Parent { ours } => self.parent(path, now, *ours),
            Want::Entry(entry) => {
                match entry.keeping {
                    Keeping::Seeded if now.is_some() && !self.stands_by_us_alone(path, now.as_ref()) => {
                        return self.is_seeded(path, entry);
                    }
                    Keeping::Seeded | Keeping::Edited => {}
                    Keeping::Owned => self.own(path, now.as_ref(), entry.node.as_ref()),
                }
                self.change(path, now, entry.node.clone(), entry.secret)
            }
            Want::GiveBack(node) => {
                let Some(owned) = self.situation.previous.owned.get(path) else { return Ok(()) };
                let trace = Trace::of(now.as_ref());
                match (&owned.ours, &now) {
                    // A directory that we made stays when somebody else's files are in it; the engine looks.
                    (Trace::Directory { .. }, Some(Node::Directory { .. })) if node.is_none() => {
                        self.found.steps.push(Step::RemoveDirectory { path: path.clone() });
                        return Ok(());
                    }
                    // Something else stands where our directory was. It is not ours.
                    (Trace::Directory { .. }, Some(_)) => return Ok(()),
                    _ => {}
                }
                if !self.same(&trace, &owned.ours) && !self.same(&trace, &Trace::of(node.as_ref())) {
                    self.keep(path, now.as_ref(), &owned.ours);
                }
                // What everybody may read in the guest may be read in a plan. What it replaces is judged where it is shown.
                let secret = matches!(node, Some(Node::File(file)) if file.mode & 0o004 == 0);
                self.change(path, now, node.clone(), secret)
            }
        }
    }

    /// Refuses a large file that a user may have put there, whose content would have to be kept.
    fn check_planted(&self, path: &GuestPath, now: Option<&Node>, want: &Want<'_>) -> Result<()> {
        let Some(Node::File(file)) = now else { return Ok(()) };
        if file.content.len() <= MAX_PLANTED || !self.situation.compare_owners {
            return Ok(());
        }
        let sha256 = |trace: &Trace| match trace {
            Trace::File { sha256, .. } => Some(sha256.clone()),
            _ => None,
        };
        let is_wanted =
            matches!(want, Want::Entry(Entry { node: Some(Node::File(wanted)), .. }) if wanted.content == file.content);
        let ours = self.situation.previous.owned.get(path).and_then(|owned| sha256(&owned.ours));
        if is_wanted || (ours.is_some() && ours == sha256(&Trace::of(now))) {
            return Ok(());
        }
        if !self.situation.guest.is_in_reach_of_users(path) {
            return Ok(());
        }
        Err(in_the_way(path, "is larger than 128 KiB, not what the settings put there, and in reach of users"))
    }

    /// Whether what stands at a path is what we put where nothing was, such as the parent of a file of the settings. It would
    /// go with what it was made for; so what is wanted there now is made of it, as if nothing stood there.
    fn stands_by_us_alone(&self, path: &GuestPath, now: Option<&Node>) -> bool {
        let owned = self.situation.previous.owned.get(path);
        owned.is_some_and(|owned| owned.replaced == Trace::Absent && self.same(&Trace::of(now), &owned.ours))
    }

    /// What is made once and stands already is left as it is. Where a directory was meant, it must be one, if only by a link:
    /// something may be wanted below it.
    fn is_seeded(&self, path: &GuestPath, entry: &Entry) -> Result<()> {
        let directory = matches!(entry.node, Some(Node::Directory { .. }));
        if directory && self.situation.guest.kind(path)? != Some(Kind::Directory) {
            return Err(in_the_way(path, "is not a directory, and one is wanted there"));
        }
        Ok(())
    }

    fn parent(&mut self, path: &GuestPath, now: Option<Node>, ours: bool) -> Result<()> {
        let made = Node::directory(0o755);
        match now {
            None => {
                if ours {
                    let owned = Owned { ours: Trace::of(Some(&made)), replaced: Trace::Absent };
                    self.found.owned.insert(path.clone(), owned);
                }
                self.found.steps.push(Step::MakeDirectory { path: path.clone(), mode: 0o755, owner: Owner::ROOT });
            }
            Some(_) => {
                if ours {
                    self.stays_ours(path);
                }
                // A link in the middle is followed by the view and by the engine, which judge whether it is safe.
                if self.situation.guest.kind(path)? != Some(Kind::Directory) {
                    return Err(in_the_way(path, "is not a directory, and something is wanted below it"));
                }
            }
        }
        Ok(())
    }

    /// Records that a path is ours, and what it replaced; keeps the text of a file that was edited by hand.
    fn own(&mut self, path: &GuestPath, now: Option<&Node>, wanted: Option<&Node>) {
        let trace = Trace::of(now);
        let ours = Trace::of(wanted);
        let replaced = match self.situation.previous.owned.get(path) {
            Some(before) => {
                if !self.same(&trace, &before.ours) && !self.same(&trace, &ours) {
                    self.keep(path, now, &before.ours);
                }
                before.replaced.clone()
            }
            None => {
                self.remember(now);
                trace
            }
        };
        self.found.owned.insert(path.clone(), Owned { ours, replaced });
    }

    fn remember(&mut self, node: Option<&Node>) {
        if let Some(Node::File(file)) = node {
            self.found.objects.insert(Digest::of(&file.content).hex(), file.content.clone());
        }
    }

    /// Keeps the text that somebody else has put where we had left something, and says so.
    fn keep(&mut self, path: &GuestPath, now: Option<&Node>, ours: &Trace) {
        let edited = match Trace::of(now) {
            // Where mode and owner alone were changed there is no text to keep.
            Trace::File { sha256, .. } if !matches!(ours, Trace::File { sha256: ours, .. } if *ours == sha256) => {
                Some(sha256)
            }
            _ => None,
        };
        if let Some(sha256) = edited {
            self.found.warnings.push(format!(
                "{path}: was edited by hand; the settings win, and the edited text is kept as {OBJECTS}/{sha256}"
            ));
            self.remember(now);
            self.found.kept.push(Kept { path: path.clone(), sha256, generation: 0 });
        } else {
            let words = drift(ours, now, self.situation.compare_owners).join(", ");
            self.found.warnings.push(format!("{path}: was changed by hand ({words}); the settings win"));
        }
    }

    /// The step that makes `wanted` of `now`, if one is needed.
    fn change(&mut self, path: &GuestPath, now: Option<Node>, wanted: Option<Node>, secret: bool) -> Result<()> {
        let path = path.clone();
        let same_attributes = |mode: u32, owner: Owner, other_mode: u32, other_owner: Owner| {
            mode == other_mode && (owner == other_owner || !self.situation.compare_owners)
        };
        let step = match (now, wanted) {
            (None, None) => return Ok(()),
            (Some(Node::Directory { .. }), None) => Step::RemoveDirectory { path },
            (Some(before), None) => Step::Remove { path, before },
            (None, Some(Node::Directory { mode, owner })) => Step::MakeDirectory { path, mode, owner },
            (Some(before @ Node::Directory { .. }), Some(Node::Directory { mode, owner })) => {
                if let Node::Directory { mode: now_mode, owner: now_owner } = before
                    && same_attributes(now_mode, now_owner, mode, owner)
                {
                    return Ok(());
                }
                Step::SetAttributes { path, mode, owner, before }
            }
            (Some(Node::Directory { .. }), Some(_)) => {
                return Err(in_the_way(&path, "is a directory, and a file or link is wanted there"));
            }
            (Some(_), Some(Node::Directory { .. })) => {
                return Err(in_the_way(&path, "is not a directory, and one is wanted there"));
            }
            (before, Some(Node::Link(target))) => {
                if before == Some(Node::Link(target.clone())) {
                    return Ok(());
                }
                Step::WriteLink { path, target, before }
            }
            (Some(Node::File(before)), Some(Node::File(file))) if before.content == file.content => {
                if same_attributes(before.mode, before.owner, file.mode, file.owner) {
                    return Ok(());
                }
                Step::SetAttributes { path, mode: file.mode, owner: file.owner, before: Node::File(before) }
            }
            (before, Some(Node::File(file))) => Step::WriteFile { path, file, before, secret },
        };
        self.found.steps.push(step);
        Ok(())
    }
}

fn in_the_way(path: &GuestPath, problem: &str) -> Error {
    Error::not_applied(path, problem, "move what stands there away, or change the settings")
}
