//! Carries out a plan, all of it or nothing, and mends what an interrupted run left.

use super::hand::{Hand, Observer, waiting};
use super::journal::{self, Entry, Journal, Phase};
use super::lock::Locks;
use super::store;
use super::undo::directories_to_remove;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node, Owner, View};
use crate::plan::Step;
use crate::platform::{self, files::Stat, files::SystemError};
use crate::root::Root;
use std::time::SystemTime;

/// What a commit did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How many steps were carried out.
    pub steps: usize,
    /// Directories that were to be removed, and stay because something is in them.
    pub kept: Vec<GuestPath>,
    /// What was found otherwise than expected, one line each; the next plan sees it as a difference.
    pub warnings: Vec<String>,
}

/// What the start of a run found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recovery {
    /// No commit was interrupted.
    Nothing,
    /// A commit was interrupted before anything had changed. What it had staged is gone.
    CleanedUp,
    /// A commit was interrupted while it changed things. The rest has been done now.
    RolledForward(Report),
}

/// Carries out a plan: guest's steps first, the record of the generation last, in one list.
///
/// An empty plan writes nothing and opens nothing for writing.
///
/// # Errors
/// What the planner saw has changed; the plan cannot be done in one commit; another run holds the lock; the disk is full or
/// fails. Whenever the error is of class *not applied*, the guest is as before, unless the error itself says that the rest
/// follows at the next start.
pub fn commit(root: &Root, plan: &[Step]) -> Result<Report> {
    if !plan.is_empty() {
        platform::make_root_writable()?;
    }
    commit_observed(root, plan, &mut let_pass)
}

/// Ends what an interrupted commit began. To be run at each start, before anything is read. Writes nothing where no commit was
/// interrupted.
///
/// # Errors
/// The journal cannot be read; another run holds the lock; a change is refused by the system. The journal stays then.
pub fn recover(root: &Root) -> Result<Recovery> {
    if interrupted(root)? {
        platform::make_root_writable()?;
    }
    recover_observed(root, &mut let_pass)
}

/// The observer of every real run.
fn let_pass() -> Result<(), SystemError> {
    #[cfg(all(test, feature = "operator"))]
    super::fuse::burn();
    Ok(())
}

pub(super) fn commit_observed(root: &Root, plan: &[Step], observer: Observer<'_>) -> Result<Report> {
    if plan.is_empty() {
        return Ok(Report::default());
    }
    // Before anything is touched: whether it can be written at all.
    let mut steps: Vec<&Step> = plan.iter().collect();
    Journal::of(steps.iter().copied(), 1)?.to_bytes()?;
    let mut report = Report::default();
    verify(root, &mut steps, &mut report.warnings)?;
    if steps.is_empty() {
        return Ok(report);
    }
    let mut hand = Hand::new(root, observer);
    hand.make_own_directory()?;
    let _locks = Locks::take(root, steps.iter().map(|step| step.path()))?;
    if Journal::load(root)?.is_some() {
        return Err(Error::not_applied(store::JOURNAL, "an interrupted commit waits there", "run again"));
    }
    // Once more, because another program may have changed something until we had the locks.
    verify(root, &mut steps, &mut report.warnings)?;
    let mut journal = Journal::of(steps.iter().copied(), 1)?;
    avoid_directories(root, &mut journal)?;
    let emptied = directories_to_remove(root, &steps)?;
    let next_number = steps.len().saturating_add(1);

    let staged = hand.write_journal(&journal).and_then(|()| hand.stage(&mut steps, &mut journal, &mut report.warnings));
    if let Err(error) = staged {
        hand.discard(&journal).map_err(|second| left_over(&error, &second))?;
        return Err(unchanged(error));
    }
    journal.phase = Phase::Commit;
    if let Err(error) = hand.write_journal(&journal) {
        hand.back_to_staging(&mut journal).map_err(|second| half_way(&error, &second))?;
        hand.discard(&journal).map_err(|second| left_over(&error, &second))?;
        return Err(unchanged(error));
    }
    match hand.carry_out(&journal) {
        Ok(mut done) => {
            hand.finish()?;
            report.warnings.append(&mut done.warnings);
            Ok(Report { steps: steps.len(), kept: done.kept, ..report })
        }
        Err((done, error)) => {
            // Something that cannot be seen before: a file that is protected or mounted upon. It would be refused at each
            // start again, so what was done is taken back, by a commit of its own.
            // A directory may have its new owner and not yet its new mode; every other change is one system call.
            let done = done + usize::from(matches!(journal.entries.get(done), Some(Entry::Directory { .. })));
            let left = hand
                .take_back(&steps, &journal, &emptied, done, next_number)
                .map_err(|second| half_way(&error, &second))?;
            Err(unchanged_but(error, &left))
        }
    }
}

/// Whether a commit was interrupted, or is under way. Only looks.
///
/// # Errors
/// What cannot be looked at.
pub fn interrupted(root: &Root) -> Result<bool> {
    let unfinished = GuestPath::of(&format!("{}.new", store::JOURNAL));
    Ok(root.stat(&GuestPath::of(store::JOURNAL))?.is_some() || root.stat(&unfinished)?.is_some())
}

pub(super) fn recover_observed(root: &Root, observer: Observer<'_>) -> Result<Recovery> {
    if !interrupted(root)? {
        return Ok(Recovery::Nothing);
    }
    let seen = Journal::load(root)?;
    let _locks = Locks::take(root, seen.iter().flat_map(Journal::paths))?;
    // What was seen may have been another run's commit, which has ended by now.
    if !interrupted(root)? {
        return Ok(Recovery::Nothing);
    }
    let mut hand = Hand::new(root, observer);
    let Some(journal) = Journal::load(root)? else {
        hand.remove_journal()?;
        return Ok(Recovery::CleanedUp);
    };
    match journal.phase {
        Phase::Staging => {
            hand.discard(&journal)?;
            Ok(Recovery::CleanedUp)
        }
        Phase::Commit => {
            let mut report = hand.carry_out(&journal).map_err(|(_, error)| waiting(error))?;
            hand.finish()?;
            report.steps = journal.entries.len();
            Ok(Recovery::RolledForward(report))
        }
    }
}

/// Holds that every path still holds what the planner saw there. Where users may write one that does not is taken out of the
/// plan, with a warning: who changes the own files without pause keeps nobody else's from being changed.
fn verify(root: &Root, plan: &mut Vec<&Step>, warnings: &mut Vec<String>) -> Result<()> {
    let mut failure = None;
    plan.retain(|step| match verify_step(root, step) {
        Ok(()) => true,
        Err(error) if !error.is_failure() && root.is_in_reach_of_users(step.path()) => {
            warnings.push(format!("{}: {}; left as it is", error.object(), error.problem()));
            false
        }
        Err(error) => {
            failure.get_or_insert(error);
            true
        }
    });
    failure.map_or(Ok(()), |error| Err(unchanged(error)))
}

fn verify_step(root: &Root, step: &Step) -> Result<()> {
    let expected = match step {
        Step::MakeDirectory { path, .. } if journal::is_own(path) => return Ok(()),
        Step::MakeDirectory { .. } => None,
        Step::WriteFile { before, .. } | Step::WriteLink { before, .. } => before.as_ref(),
        Step::SetAttributes { before, .. } | Step::Remove { before, .. } => Some(before),
        Step::RemoveDirectory { path } => match root.stat(path)? {
            Some(stat) if stat.kind != Kind::Directory => return Err(changed(path)),
            _ => return Ok(()),
        },
    };
    let same = match (expected, root.node(step.path())?) {
        (None, None) => true,
        (Some(expected), Some(found)) => alike(root, expected, &found),
        _ => false,
    };
    if same { Ok(()) } else { Err(changed(step.path())) }
}

/// What stands at a path. `None` also where a user has put something in its way.
pub(super) fn stat_or_spoilt(root: &Root, path: &GuestPath) -> Result<Option<Stat>> {
    match root.stat(path) {
        Err(error) if !error.is_failure() && root.is_in_reach_of_users(path) => Ok(None),
        found => found,
    }
}

/// Whether two nodes are the same, by what this process can set.
fn alike(root: &Root, one: &Node, other: &Node) -> bool {
    let owners = |one: Owner, other: Owner| one == other || !root.compares_owners();
    match (one, other) {
        (Node::File(one), Node::File(other)) => {
            one.content == other.content && one.mode == other.mode && owners(one.owner, other.owner)
        }
        (Node::Directory { mode, owner }, Node::Directory { mode: other_mode, owner: other_owner }) => {
            mode == other_mode && owners(*owner, *other_owner)
        }
        (Node::Link(one), Node::Link(other)) => one == other,
        _ => false,
    }
}

/// Chooses another name for what would be staged where a directory stands. A user could put one into a directory of the
/// user's own, and it could not be taken away; so the other name is one that cannot be guessed.
pub(super) fn avoid_directories(root: &Root, journal: &mut Journal) -> Result<()> {
    for entry in &mut journal.entries {
        let path = entry.path().clone();
        let (Some(staged), Some(directory)) = (entry.staged_mut(), path.parent()) else { continue };
        for _ in 0..ATTEMPTS {
            match stat_or_spoilt(root, &directory.join(staged)?)? {
                Some(stat) if stat.kind == Kind::Directory => *staged = journal::staged_name(fraction_of_second()),
                _ => break,
            }
        }
    }
    Ok(())
}

/// How many names are tried.
const ATTEMPTS: usize = 16;

/// The nanoseconds of the clock, below a thousand million.
fn fraction_of_second() -> usize {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.subsec_nanos() as usize)
}

fn changed(path: &GuestPath) -> Error {
    Error::not_applied(path, "was changed while it was being planned", "run again")
}

/// The error, which also says that the guest is as before.
fn unchanged(error: Error) -> Error {
    let problem = format!("{}, nothing was changed", error.problem());
    Error::not_applied(error.object(), problem, error.remedy())
}

/// The same, except for what a user has kept from being put back.
fn unchanged_but(error: Error, left: &[String]) -> Error {
    if left.is_empty() {
        return unchanged(error);
    }
    let problem = format!("{}, nothing was changed but where users may write: {}", error.problem(), left.join(", "));
    Error::not_applied(error.object(), problem, error.remedy())
}

/// Both errors: what stopped the commit, and what stopped the way back before anything had changed.
fn left_over(error: &Error, second: &Error) -> Error {
    let problem = format!("{}, nothing was changed but left-overs stay: {}", error.problem(), second);
    Error::not_applied(error.object(), problem, format_args!("{}; the next start removes them", error.remedy()))
}

/// Both errors: what stopped the commit, and what stopped the way back.
fn half_way(error: &Error, second: &Error) -> Error {
    let problem = format!("{}, and the way back failed too ({second}), so the change is half done", error.problem());
    Error::not_applied(error.object(), problem, format_args!("{}; the next start completes it", error.remedy()))
}
