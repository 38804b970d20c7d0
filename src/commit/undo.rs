//! The way back out of a commit that the system refuses in the middle.
//!
//! A file may be protected by an attribute, or something mounted upon it, and only the attempt to replace it shows that. It
//! would be refused at each start again. So what was done before is taken back, and that is itself a commit: of the opposite
//! steps.

use super::engine::{avoid_directories, stat_or_spoilt};
use super::hand::Hand;
use super::journal::{Entry, Journal, Phase};
use crate::error::Result;
use crate::guest::{GuestPath, Node};
use crate::plan::Step;
use crate::root::Root;

impl Hand<'_> {
    /// Takes back the first `done` entries of a commit, by committing their opposite, and removes what is staged. Its own
    /// staged names are numbered from `first`. Returns the warnings of what a user keeps from being taken back.
    pub(super) fn take_back(
        &mut self,
        plan: &[&Step],
        journal: &Journal,
        emptied: &[Step],
        done: usize,
        first: usize,
    ) -> Result<Vec<String>> {
        let mut back = Vec::new();
        for step in plan.iter().filter(|step| !matches!(step, Step::MakeDirectory { .. })).take(done) {
            match step {
                Step::RemoveDirectory { path } if stat_or_spoilt(self.root, path)?.is_none() => {
                    back.extend(emptied.iter().find(|made| made.path() == path).cloned());
                }
                step => back.extend(opposite(step)),
            }
        }
        back.reverse();
        let mut back: Vec<&Step> = back.iter().collect();
        let mut warnings = Vec::new();
        let mut way = Journal::of(back.iter().copied(), first)?;
        avoid_directories(self.root, &mut way)?;
        // Until the way back is written down, an interruption still leads forward, past what has been staged for it.
        let mut forward = journal.clone();
        forward.entries.splice(0..0, removals_of_staged(&way)?);
        self.write_journal(&forward)?;
        self.stage(&mut back, &mut way, &mut warnings)?;
        way.entries.extend(removals_of_staged(journal)?);
        way.entries.extend(journal.made.iter().rev().map(|path| Entry::Empty { path: path.clone() }));
        way.phase = Phase::Commit;
        self.write_journal(&way)?;
        warnings.append(&mut self.carry_out(&way).map_err(|(_, error)| error)?.warnings);
        self.finish()?;
        Ok(warnings)
    }
}

/// The directories that the plan may remove, as the steps that make them again.
pub(super) fn directories_to_remove(root: &Root, plan: &[&Step]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for step in plan {
        let Step::RemoveDirectory { path } = step else { continue };
        if let Some(stat) = stat_or_spoilt(root, path)? {
            steps.push(Step::MakeDirectory { path: path.clone(), mode: stat.mode, owner: stat.owner });
        }
    }
    Ok(steps)
}

/// What removes everything that a journal has staged and not renamed.
fn removals_of_staged(journal: &Journal) -> Result<Vec<Entry>> {
    let mut removals = Vec::new();
    for entry in &journal.entries {
        if let (Some(staged), Some(directory)) = (entry.staged(), entry.path().parent()) {
            removals.push(Entry::Remove { path: directory.join(staged)? });
        }
    }
    Ok(removals)
}

/// The step that undoes this one. `None`: there is nothing to undo.
fn opposite(step: &Step) -> Option<Step> {
    let path = step.path().clone();
    let put_back = |path: GuestPath, node: &Node| match node {
        Node::File(file) => Some(Step::WriteFile { path, file: file.clone(), before: None, secret: true }),
        Node::Link(target) => Some(Step::WriteLink { path, target: target.clone(), before: None }),
        Node::Directory { mode, owner } => {
            Some(Step::SetAttributes { path, mode: *mode, owner: *owner, before: node.clone() })
        }
    };
    match step {
        Step::MakeDirectory { .. } | Step::RemoveDirectory { .. } => None,
        Step::WriteFile { before: None, file, .. } => Some(Step::Remove { path, before: Node::File(file.clone()) }),
        Step::WriteLink { before: None, target, .. } => Some(Step::Remove { path, before: Node::Link(target.clone()) }),
        Step::WriteFile { before: Some(before), .. }
        | Step::WriteLink { before: Some(before), .. }
        | Step::SetAttributes { before, .. }
        | Step::Remove { before, .. } => put_back(path, before),
    }
}
